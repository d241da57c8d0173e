/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command interpreter as a target: a line, or a script of several, parsed, bound to a table
 * with every type of argument, printed as table and as JSON, and completed at every place.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/cmd.h"

static const char *const choices[] = { "one", "two", NULL };

static const struct cmd_arg args[] = {
	{ .name = "NAME", .type = CMD_NAME, .required = true },
	{ .name = "TEXT", .type = CMD_TEXT },
	{ .name = "number", .type = CMD_U64, .keyed = true, .min = 1, .max = 1000 },
	{ .name = "size", .type = CMD_SIZE, .keyed = true },
	{ .name = "time", .type = CMD_TIME, .keyed = true },
	{ .name = "address", .type = CMD_ADDR, .keyed = true },
	{ .name = "prefix", .type = CMD_PREFIX, .keyed = true },
	{ .name = "uuid", .type = CMD_UUID, .keyed = true },
	{ .name = "choice", .type = CMD_CHOICE, .keyed = true, .choices = choices },
	{ .name = "bool", .type = CMD_BOOL, .keyed = true },
	{ .name = "flag", .type = CMD_FLAG },
	{ 0 },
};

static int fuzz_run(struct cmd_ctx *ctx)
{
	uint64_t number = cmd_u64(ctx, "number", 1);

	ASSERT(number >= 1 && number <= 1000);
	ASSERT(strlen(cmd_str(ctx, "NAME")) <= 223);
	for (unsigned i = 0; i < 2; i++) {
		cmd_row(ctx);
		cmd_col(ctx, "name", "%s", cmd_str(ctx, "NAME"));
		cmd_col(ctx, "text", "%s", cmd_str(ctx, "TEXT") ? cmd_str(ctx, "TEXT") : "");
		cmd_col_size(ctx, "size", cmd_u64(ctx, "size", 0));
		cmd_col_time(ctx, "time", cmd_u64(ctx, "time", 0));
		cmd_col_bool(ctx, "flag", cmd_has(ctx, "flag"));
	}
	return cmd_has(ctx, "flag") ? cmd_fail(ctx, -5, "%s: fails", cmd_str(ctx, "NAME")) : 0;
}

static const struct cmd table[] = {
	{ .noun = "fuzz", .verb = "run", .help = "x", .args = args, .run = fuzz_run },
	{ .noun = "fuzz", .verb = "run again", .help = "x", .args = args, .run = fuzz_run,
	  .flags = CMD_DESTRUCTIVE },
	{ .noun = "fuzzy", .help = "x", .run = fuzz_run, .args = args },
	{ 0 },
};

/* What is printed is text: no control character but the end of a line ever comes out. */
static void sink_write(struct cmd_out *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ASSERT((unsigned char)text[i] >= 0x20 || text[i] == '\n');
}

static void offer(void *arg, const char *candidate, const char *help)
{
	ASSERT(!candidate || strlen(candidate) < 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cmd_out out = { .write = sink_write };
	char *text = malloc(size + 1);
	size_t len;

	cmd_register(table);
	memcpy(text, data, size);
	text[size] = '\0';
	len = strlen(text);
	cmd_run(text, &out);
	out.json = out.exact = true;
	cmd_script("fuzz", text, CMD_SCRIPT_GO_ON, &out);
	for (size_t i = 0; i <= len && i < 64; i++)
		ASSERT(cmd_complete_line(text, i, offer, NULL) <= i);
	if (len >= 64)
		ASSERT(cmd_complete_line(text, len, offer, NULL) <= len);
	free(text);
	return 0;
}
