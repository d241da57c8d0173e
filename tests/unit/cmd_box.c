/* SPDX-License-Identifier: BSD-3-Clause */
/* See cmd_box.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/cmd_box.h"

/* ---- an output that remembers, and keys that were typed before ---- */

void capture_write(struct cmd_out *out, const char *text, size_t len)
{
	struct capture *c = (struct capture *)out;

	assert_true(cmd_buf_add(&c->text, text, len));
}

int capture_key(struct cmd_out *out, uint64_t us)
{
	struct capture *c = (struct capture *)out;

	return *c->keys ? *c->keys++ : -ETIMEDOUT;
}

const char *capture_text(struct capture *c)
{
	cmd_buf_add(&c->text, "", 1);
	c->text.len--;
	return c->text.data;
}

int capture_run(struct capture *c, const char *line)
{
	c->out.write = capture_write;
	c->text.len = 0;
	return cmd_run(line, &c->out);
}

void expect(struct capture *c, const char *line, int rc, const char *text)
{
	int got = capture_run(c, line);

	if (strcmp(capture_text(c), text) != 0)
		fail_msg("%s\n--- printed\n%s--- expected\n%s", line, capture_text(c), text);
	assert_int_equal(got, rc);
}

void expect_has(struct capture *c, const char *line, int rc, const char *text)
{
	int got = capture_run(c, line);

	if (!strstr(capture_text(c), text))
		fail_msg("%s\n--- printed\n%s--- expected in it\n%s", line, capture_text(c), text);
	assert_int_equal(got, rc);
}

/* ---- commands of the test ---- */

static int box_create(struct cmd_ctx *ctx)
{
	cmd_row(ctx);
	cmd_col(ctx, "name", "%s", cmd_str(ctx, "NAME"));
	cmd_col_size(ctx, "size", cmd_u64(ctx, "size", 0));
	cmd_col_u64(ctx, "block", cmd_u64(ctx, "block", 512));
	cmd_col_time(ctx, "wait", cmd_u64(ctx, "wait", 0) * 1000);
	cmd_col_bool(ctx, "thin", cmd_has(ctx, "thin"));
	if (cmd_str(ctx, "mode"))
		cmd_col_u64(ctx, "mode", cmd_u64(ctx, "mode", 9));
	if (cmd_str(ctx, "open"))
		cmd_col_bool(ctx, "open", cmd_u64(ctx, "open", 0));
	return 0;
}

static int box_list(struct cmd_ctx *ctx)
{
	static const char *const names[] = { "alpha", "bé", "gamma ray" };

	for (unsigned i = 0; i < 3; i++) {
		cmd_row(ctx);
		cmd_col(ctx, "name", "%s", names[i]);
		cmd_col_u64(ctx, "used_blocks", i * 1000);
		cmd_col_percent(ctx, "busy", 12.34 * i);
	}
	return 0;
}

static int box_many(struct cmd_ctx *ctx)
{
	uint64_t count = cmd_u64(ctx, "count", 1);

	for (uint64_t i = 0; i < count; i++) {
		cmd_row(ctx);
		cmd_col_u64(ctx, "n", i);
		cmd_col(ctx, "text", "row number %llu", (unsigned long long)i);
	}
	return cmd_has(ctx, "fail") ? cmd_fail(ctx, -ENOSPC, "box: full; empty it") : 0;
}

static int box_wipe(struct cmd_ctx *ctx)
{
	cmd_line(ctx, "wiped %s", cmd_str(ctx, "NAME"));
	return 0;
}

static int box_drop(struct cmd_ctx *ctx)
{
	int rc = cmd_confirm(ctx, cmd_str(ctx, "NAME"), "its 3 things will be lost");

	if (rc == 0)
		cmd_line(ctx, "dropped");
	return rc;
}

static int box_show(struct cmd_ctx *ctx)
{
	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "name", "%s", cmd_str(ctx, "NAME"));
	cmd_col(ctx, "note", "a\x1b[2J\"\\\xff%c", 1);
	return 0;
}

static int box_break(struct cmd_ctx *ctx)
{
	return -EIO;
}

static void box_names(struct cmd_complete *c)
{
	cmd_offer(c, "alpha");
	cmd_offer(c, "alps");
	cmd_offer(c, "gamma ray");
}

static const char *const modes[] = { "slow", "fast", NULL };

static const struct cmd_arg create_args[] = {
	{ .name = "NAME", .type = CMD_NAME, .required = true, .help = "how to call it" },
	{ .name = "size", .type = CMD_SIZE, .keyed = true, .required = true, .min = 512,
	  .max = 1ull << 40, .help = "how large" },
	{ .name = "block", .type = CMD_U64, .keyed = true, .min = 512, .max = 4096 },
	{ .name = "wait", .type = CMD_TIME, .keyed = true },
	{ .name = "mode", .type = CMD_CHOICE, .keyed = true, .choices = modes },
	{ .name = "open", .type = CMD_BOOL, .keyed = true },
	{ .name = "thin", .type = CMD_FLAG },
	{ 0 },
};

static const struct cmd_arg name_args[] = {
	{ .name = "NAME", .type = CMD_TEXT, .required = true, .complete = box_names },
	{ 0 },
};

static const struct cmd_arg drop_args[] = {
	{ .name = "NAME", .type = CMD_NAME, .required = true },
	{ .name = "force", .type = CMD_FLAG },
	{ 0 },
};

static const struct cmd_arg many_args[] = {
	{ .name = "count", .type = CMD_U64, .keyed = true },
	{ .name = "fail", .type = CMD_FLAG },
	{ 0 },
};

static const struct cmd box_cmds[] = {
	{ .noun = "box", .verb = "create paper", .help = "makes a box", .args = create_args,
	  .run = box_create },
	{ .noun = "box", .verb = "list", .help = "all boxes", .run = box_list },
	{ .noun = "box", .verb = "create wood", .help = "a better box", .args = create_args,
	  .run = box_create },
	{ .noun = "box", .verb = "many", .help = "rows", .args = many_args, .run = box_many },
	{ .noun = "box", .verb = "wipe", .help = "empties it", .args = name_args, .run = box_wipe,
	  .flags = CMD_DESTRUCTIVE },
	{ .noun = "box", .verb = "drop", .help = "drops it", .args = drop_args, .run = box_drop },
	{ .noun = "box", .verb = "show", .help = "one box", .args = name_args, .run = box_show },
	{ .noun = "box", .verb = "break", .help = "fails", .run = box_break },
	{ .noun = "bolt", .verb = "list", .help = "all bolts", .run = box_list },
	{ 0 },
};

int box_setup(void **state)
{
	cmd_register(box_cmds);
	cmd_register(box_cmds);
	*state = calloc(1, sizeof(struct capture));
	return 0;
}

int box_teardown(void **state)
{
	struct capture *c = *state;

	cmd_buf_free(&c->text);
	free(c);
	return 0;
}
