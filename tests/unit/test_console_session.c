/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions on a terminal that takes as much as the test wants: commands, pages, logs, ends. */
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "boot/console.h"
#include "core/base/util.h"
#include "core/cmd_core.h"

enum { SECOND = 1000000 };

struct desk {
	struct console_port port;
	struct console_session *session;
	size_t room;
	char *text;                     /* everything that was written, NUL-terminated */
	size_t len;
	bool ended;
	int status;
};

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

static void desk_ended(struct console_port *port, int status)
{
	struct desk *d = container_of(port, struct desk, port);

	d->ended = true;
	d->status = status;
	d->session = NULL;
}

/* ---- commands: many lines; one that runs until it is cancelled; one that asks ---- */

static unsigned slow_rounds;
static bool slow_running;

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
	for (slow_rounds = 0; !task_cancelled(); slow_rounds++) {
		task_progress(slow_rounds, 100);
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

static struct desk *desk_make(enum session_kind kind, unsigned rows, const char *line)
{
	struct session_opts opts = { .kind = kind, .columns = 80, .rows = rows,
				     .keys = kind != SESSION_COMMAND, .line = line };
	struct desk *d = calloc(1, sizeof(*d));

	cmd_register(table);
	for (unsigned i = 0; cmd_core_tables[i]; i++)
		cmd_register(cmd_core_tables[i]);
	d->port = (struct console_port){ desk_room, desk_write, desk_ended };
	d->room = 1 << 20;
	d->text = calloc(1, 1);
	d->session = session_start(&d->port, &opts);
	assert_non_null(d->session);
	console_ready();
	loop_drain();
	return d;
}

static void desk_free(struct desk *d)
{
	if (d->session)
		session_hangup(d->session);
	loop_drain();
	assert_int_equal(session_count(), 0);
	assert_int_equal(job_count(), 0);
	free(d->text);
	free(d);
}

static void type(struct desk *d, const char *text)
{
	session_input(d->session, text, strlen(text));
	loop_drain();
}

/* What has been written since the last look. */
static void expect(struct desk *d, const char *text)
{
	if (strcmp(d->text, text) != 0)
		fail_msg("--- written\n%s\n--- expected\n%s", d->text, text);
	d->len = 0;
	d->text[0] = '\0';
}

static void expect_has(struct desk *d, const char *text)
{
	if (!strstr(d->text, text))
		fail_msg("--- written\n%s\n--- expected in it\n%s", d->text, text);
	d->len = 0;
	d->text[0] = '\0';
}

/* ---- tests ---- */

static void test_a_command_at_the_prompt(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	expect(d, "\rkarst> ");
	type(d, "try lines count=2\r");
	expect(d, "try lines count=2\nline 1\nline 2\n\rkarst> ");
	type(d, "\r\r");
	expect(d, "\n\rkarst> \n\rkarst> ");
	type(d, "no\r");
	expect_has(d, "error: no: no such command");
	type(d, "\x04");
	assert_true(d->ended);
	desk_free(d);
}

static void test_one_command_ends_with_its_status(void **state)
{
	struct desk *d = desk_make(SESSION_COMMAND, 0, "try lines count=1");

	expect(d, "line 1\n");
	assert_true(d->ended);
	assert_int_equal(d->status, 0);
	desk_free(d);
	d = desk_make(SESSION_COMMAND, 0, "try lin");
	expect_has(d, "abbreviated");
	assert_int_equal(d->status, EINVAL);
	desk_free(d);
	d = desk_make(SESSION_COMMAND, 0, "try ask");
	expect_has(d, "add force");
	assert_int_equal(d->status, EPERM);
	desk_free(d);
}

static void test_pages(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 5, NULL);

	expect(d, "\rkarst> ");
	type(d, "try lines count=12\r");
	expect(d, "try lines count=12\nline 1\nline 2\nline 3\nline 4\n"
	       "--More-- (space: page, Enter: line, q: stop)");
	type(d, "\r");
	expect_has(d, "line 5\n--More--");
	type(d, "x");
	expect(d, "");
	type(d, " ");
	expect_has(d, "line 9\n--More--");
	type(d, "q");
	expect_has(d, "\rkarst> ");
	type(d, "try lines count=3\r");
	expect(d, "try lines count=3\nline 1\nline 2\nline 3\n\rkarst> ");
	desk_free(d);
}

static void test_scripts_meet_no_pager(void **state)
{
	struct desk *d = desk_make(SESSION_COMMAND, 5, "try lines count=100");

	assert_null(strstr(d->text, "More"));
	expect_has(d, "line 100\n");
	desk_free(d);
}

static void test_a_terminal_that_takes_nothing_holds_up_nobody(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 0, NULL);

	expect(d, "\rkarst> ");
	d->room = 200;
	type(d, "try lines count=20000\r");
	assert_true(d->len <= 200);
	for (unsigned i = 0; i < 100; i++)
		type(d, "typed ahead of a dead terminal");
	d->room = 64 << 20;
	session_wake(d->session);
	loop_drain();
	expect_has(d, "line 20000\n");
	desk_free(d);
}

static void test_what_is_dropped_is_counted(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 0, NULL);

	expect(d, "\rkarst> ");
	d->room = 3;
	type(d, "abcdefgh");
	expect(d, "abc");
	d->room = 1000;
	session_wake(d->session);
	loop_drain();
	expect(d, "\n[… 5 bytes dropped]\n");
	desk_free(d);
}

static void test_ctrl_c_cancels(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	type(d, "try slow\r");
	loop_advance(SECOND);
	assert_true(slow_running);
	expect_has(d, "%");
	type(d, "abc\x03");
	loop_advance(SECOND);
	assert_false(slow_running);
	expect_has(d, "error: slow: cancelled\n\rkarst> abc");
	desk_free(d);
}

static void test_a_command_may_be_left_running(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	type(d, "try deaf\r\x1a");
	expect_has(d, "[left running: see `task list`]\n\rkarst> ");
	assert_int_equal(job_count(), 1);
	type(d, "task list\r");
	expect_has(d, "try deaf");
	slow_running = false;
	loop_advance(SECOND);
	assert_int_equal(job_count(), 0);
	type(d, "try deaf\r\x03\x03");
	expect_has(d, "it has not stopped: left running");
	slow_running = false;
	loop_advance(SECOND);
	desk_free(d);
}

static void test_hanging_up_leaves_commands_alone(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	type(d, "try deaf\r");
	session_hangup(d->session);
	d->session = NULL;
	loop_advance(SECOND);
	assert_int_equal(session_count(), 0);
	assert_int_equal(job_count(), 1);
	slow_running = false;
	loop_advance(SECOND);
	desk_free(d);
	d = desk_make(SESSION_ATTACHED, 24, NULL);
	slow_running = true;
	type(d, "try live\r");
	session_hangup(d->session);
	d->session = NULL;
	loop_drain();
	assert_false(slow_running);
	desk_free(d);
}

static void test_live_commands_have_the_terminal(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 5, NULL);

	type(d, "try live\r");
	for (unsigned i = 0; i < 20; i++)
		loop_advance(SECOND);
	assert_null(strstr(d->text, "More"));
	log_error("x: while a live command runs");
	session_wake_all();
	loop_drain();
	assert_null(strstr(d->text, "while a live"));
	type(d, "q");
	expect_has(d, "error: x: while a live command runs\n\rkarst> ");
	desk_free(d);
}

static void test_questions_are_answered_at_the_terminal(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	type(d, "try ask\r");
	expect_has(d, "all will be gone. Type it to go on: ");
	type(d, "it\r");
	expect(d, "it\ndone it\n\rkarst> ");
	type(d, "try ask\rno\r");
	expect_has(d, "not confirmed");
	type(d, "try ask\r");
	loop_advance(61 * (uint64_t)SECOND);
	expect_has(d, "not confirmed");
	desk_free(d);
}

static void test_logs_do_not_tear_the_line(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	type(d, "try li");
	d->len = 0;
	log_warn("nvme0: slow");
	log_info("not for everybody");
	session_wake_all();
	loop_drain();
	assert_null(strstr(d->text, "everybody"));
	assert_true(strncmp(d->text, "\r             \r[", 16) == 0);
	expect_has(d, " warn: nvme0: slow\n\rkarst> try li");
	type(d, "nes\r");
	expect(d, "nes\nline 1\n\rkarst> ");
	for (unsigned i = 0; i < 100; i++)
		log_warn("many %u", i);
	session_wake_all();
	loop_drain();
	expect_has(d, "many 19\n[… more in `log show`]\n\rkarst> ");
	desk_free(d);
}

static void test_failures_at_boot_stand_above_the_prompt(void **state)
{
	struct desk *d;

	boot_facts.commands_failed = 2;
	d = desk_make(SESSION_ATTACHED, 24, NULL);
	expect(d, "2 commands failed at boot: see `system boot`\n\rkarst> ");
	boot_facts.commands_failed = 0;
	desk_free(d);
}

static void test_a_serial_terminal_is_asked_once_and_need_not_answer(void **state)
{
	struct desk *d = desk_make(SESSION_SERIAL, 0, NULL);

	expect(d, "\rkarst> ");
	type(d, "t");
	expect(d, "\x1b" "7\x1b[999;999H\x1b[6n\x1b" "8t");
	type(d, "ry lines count=50\r");
	assert_null(strstr(d->text, "More"));
	expect_has(d, "line 50\n\rkarst> ");
	type(d, "\x1b[10;40R");
	type(d, "try lines count=50\r");
	expect_has(d, "line 9\n--More--");
	type(d, "q\x1b[2;2R");
	type(d, "try lines count=50\r");
	expect_has(d, "line 9\n--More--");
	desk_free(d);
}

static void test_a_million_bytes_of_noise_do_no_harm(void **state)
{
	struct desk *d = desk_make(SESSION_SERIAL, 0, NULL);
	uint64_t seed = 5;

	for (unsigned i = 0; i < 1000000 / 100; i++) {
		char noise[100];

		for (unsigned j = 0; j < sizeof(noise); j++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			noise[j] = (char)(seed >> 56);
		}
		session_input(d->session, noise, sizeof(noise));
		loop_drain();
		d->room = 1 << 16;
		d->len = 0;
	}
	loop_advance(SECOND);
	type(d, "\x03q\x03\r\x03\x15");
	d->len = 0;
	d->room = 1 << 20;
	type(d, "try lines count=1\r");
	expect_has(d, "line 1\n");
	desk_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(test_a_command_at_the_prompt),
		loop_test(test_one_command_ends_with_its_status),
		loop_test(test_pages),
		loop_test(test_scripts_meet_no_pager),
		loop_test(test_a_terminal_that_takes_nothing_holds_up_nobody),
		loop_test(test_what_is_dropped_is_counted),
		loop_test(test_ctrl_c_cancels),
		loop_test(test_a_command_may_be_left_running),
		loop_test(test_hanging_up_leaves_commands_alone),
		loop_test(test_live_commands_have_the_terminal),
		loop_test(test_questions_are_answered_at_the_terminal),
		loop_test(test_logs_do_not_tear_the_line),
		loop_test(test_failures_at_boot_stand_above_the_prompt),
		loop_test(test_a_serial_terminal_is_asked_once_and_need_not_answer),
		loop_test(test_a_million_bytes_of_noise_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
