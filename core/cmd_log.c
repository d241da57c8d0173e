/* SPDX-License-Identifier: BSD-3-Clause */
/* `log show` and `log follow`: the records of the log's ring, and new ones as they come. */
#include "core/cmd_core.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/log.h"
#include "core/base/util.h"

enum { FOLLOW_US = 250000, FOLLOW_FIRST = 10, CTRL_C = 3, TIME_BYTES = 40 };

static const char *const levels[] = { "error", "warn", "info", "debug", NULL };

static void time_format(const struct log_record *rec, char buf[TIME_BYTES])
{
	time_t seconds = (time_t)(rec->realtime_us / 1000000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(buf, TIME_BYTES, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(buf + n, TIME_BYTES - n, ".%03u", (unsigned)(rec->realtime_us / 1000 % 1000));
}

/* The number from which on there are LAST records up to LEVEL. */
static uint64_t seq_of_last(uint64_t last, enum log_level level)
{
	uint64_t seq = 0, from = 0, count = 0;
	struct log_record rec;

	while (log_read(&seq, &rec) == 0)
		count += rec.level <= level;
	if (count <= last)
		return 0;
	for (count -= last; count > 0 && log_read(&from, &rec) == 0; )
		count -= rec.level <= level;
	return from;
}

static int log_show(struct cmd_ctx *ctx)
{
	enum log_level level = (enum log_level)cmd_u64(ctx, "level", LOG_DEBUG);
	uint64_t seq = 0, end = log_seq();
	struct log_record rec;
	char when[TIME_BYTES];

	if (cmd_has(ctx, "last"))
		seq = seq_of_last(cmd_u64(ctx, "last", 0), level);
	while (seq < end && log_read(&seq, &rec) == 0) {
		if (rec.level > level)
			continue;
		time_format(&rec, when);
		cmd_row(ctx);
		cmd_col(ctx, "time", "%s", when);
		cmd_col(ctx, "level", "%s", log_level_name(rec.level));
		cmd_col(ctx, "text", "%s", rec.text);
	}
	return 0;
}

static void follow_print(struct cmd_ctx *ctx, const struct log_record *rec)
{
	char when[TIME_BYTES], text[LOG_TEXT_BYTES + TIME_BYTES + 16];
	int n;

	time_format(rec, when);
	n = snprintf(text, sizeof(text), "%s  %-5s  %s\n", when, log_level_name(rec->level),
		     rec->text);
	cmd_raw(ctx, text, MIN((size_t)n, sizeof(text) - 1));
}

static int log_follow(struct cmd_ctx *ctx)
{
	enum log_level level = (enum log_level)cmd_u64(ctx, "level", LOG_DEBUG);
	uint64_t seq = seq_of_last(cmd_u64(ctx, "last", FOLLOW_FIRST), level);
	struct log_record rec;
	int key = 0;

	if (!cmd_interactive(ctx))
		return log_show(ctx);
	while (key != 'q' && key != CTRL_C && key != -EPIPE) {
		while (log_read(&seq, &rec) == 0)
			if (rec.level <= level)
				follow_print(ctx, &rec);
		key = cmd_key(ctx, FOLLOW_US);
	}
	return 0;
}

static const struct cmd_arg log_args[] = {
	{ .name = "level", .type = CMD_CHOICE, .keyed = true, .choices = levels,
	  .help = "up to this one" },
	{ .name = "last", .type = CMD_U64, .keyed = true, .min = 1, .max = LOG_RECORDS,
	  .help = "only so many, the newest" },
	{ 0 },
};

const struct cmd cmd_log_table[] = {
	{ .noun = "log", .verb = "show", .help = "what has happened", .args = log_args,
	  .run = log_show },
	{ .noun = "log", .verb = "follow", .help = "what happens, until q", .args = log_args,
	  .run = log_follow, .flags = CMD_LIVE | CMD_RESCUE },
	{ 0 },
};
