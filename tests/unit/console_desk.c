/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/console_desk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "core/base/util.h"
#include "core/cmd_core.h"
#include "tests/unit/loop.h"

static size_t desk_room(struct console_port *port)
{
	return container_of(port, struct desk, port)->room;
}

static void desk_write(struct console_port *port, const char *text, size_t len)
{
	struct desk *d = container_of(port, struct desk, port);

	assert_true(len <= d->room);
	d->room -= len;
	d->text = realloc(d->text, d->len + len + 1);
	memcpy(d->text + d->len, text, len);
	d->len += len;
	d->text[d->len] = '\0';
}

static void desk_pause(struct console_port *port, bool pause)
{
	container_of(port, struct desk, port)->paused = pause;
}

static void desk_ended(struct console_port *port, int status)
{
	struct desk *d = container_of(port, struct desk, port);

	d->ended = true;
	d->status = status;
	d->session = NULL;
}

/* ---- commands: many lines; one that runs until it is cancelled; one that asks ---- */

bool slow_running;

static int run_lines(struct cmd_ctx *ctx)
{
	for (uint64_t i = 1; i <= cmd_u64(ctx, "count", 1); i++)
		cmd_line(ctx, "line %llu", (unsigned long long)i);
	return 0;
}

static int run_slow(struct cmd_ctx *ctx)
{
	slow_running = true;
	task_describe("being slow");
	for (unsigned i = 0; !task_cancelled(); i++) {
		task_progress(i, 100);
		task_sleep(SECOND / 10);
	}
	slow_running = false;
	return cmd_fail(ctx, -ECANCELED, "slow: cancelled");
}

/* Pays no heed to who cancels it; ends when the test says so. */
static int run_deaf(struct cmd_ctx *ctx)
{
	slow_running = true;
	while (slow_running)
		task_sleep(SECOND / 10);
	return 0;
}

static int run_ask(struct cmd_ctx *ctx)
{
	int rc = cmd_confirm(ctx, "it", "all will be gone");

	if (rc == 0)
		cmd_line(ctx, "done it");
	return rc;
}

static int run_live(struct cmd_ctx *ctx)
{
	int key = 0;

	while (key != 'q' && key != -EPIPE) {
		cmd_raw(ctx, "frame\n", 6);
		key = cmd_key(ctx, SECOND);
	}
	slow_running = false;
	return 0;
}

static const struct cmd_arg count_args[] = {
	{ .name = "count", .type = CMD_U64, .keyed = true }, { 0 },
};

static const struct cmd_arg force_args[] = {
	{ .name = "force", .type = CMD_FLAG }, { 0 },
};

static const struct cmd table[] = {
	{ .noun = "try", .verb = "lines", .help = "x", .args = count_args, .run = run_lines },
	{ .noun = "try", .verb = "slow", .help = "x", .run = run_slow },
	{ .noun = "try", .verb = "deaf", .help = "x", .run = run_deaf },
	{ .noun = "try", .verb = "ask", .help = "x", .args = force_args, .run = run_ask },
	{ .noun = "try", .verb = "live", .help = "x", .run = run_live, .flags = CMD_LIVE },
	{ 0 },
};

/* ---- the desk ---- */

struct desk *desk_make(enum session_kind kind, unsigned rows, const char *line)
{
	struct session_opts opts = { .kind = kind, .columns = 80, .rows = rows,
				     .keys = kind != SESSION_COMMAND, .line = line };
	struct desk *d = calloc(1, sizeof(*d));

	cmd_register(table);
	for (unsigned i = 0; cmd_core_tables[i]; i++)
		cmd_register(cmd_core_tables[i]);
	d->port = (struct console_port){ desk_room, desk_write, desk_pause, desk_ended };
	d->room = 1 << 20;
	d->text = calloc(1, 1);
	d->session = session_start(&d->port, &opts);
	assert_non_null(d->session);
	console_ready();
	loop_drain();
	return d;
}

void desk_free(struct desk *d)
{
	if (d->session)
		session_hangup(d->session);
	loop_drain();
	assert_int_equal(session_count(), 0);
	assert_int_equal(job_count(), 0);
	free(d->text);
	free(d);
}

void desk_type(struct desk *d, const char *text)
{
	session_input(d->session, text, strlen(text));
	loop_drain();
}

void desk_expect(struct desk *d, const char *text)
{
	if (strcmp(d->text, text) != 0)
		fail_msg("--- written\n%s\n--- expected\n%s", d->text, text);
	d->len = 0;
	d->text[0] = '\0';
}

void desk_expect_has(struct desk *d, const char *text)
{
	if (!strstr(d->text, text))
		fail_msg("--- written\n%s\n--- expected in it\n%s", d->text, text);
	d->len = 0;
	d->text[0] = '\0';
}
