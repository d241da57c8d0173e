/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `top`: once a second what every disk and every reactor did, with a sparkline of the last minute.
 * Figures are differences of two samples of the counters. Without a terminal: one sample, as rows.
 */
#include "core/cmd_core.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/clock.h"
#include "core/reactor.h"
#include "core/task.h"

enum { DISKS_MAX = 64, HISTORY = 60, EVERY_US = 1000000, CTRL_C = 3, ROW_BYTES = 512 };

struct top_disk {
	char name[BDEV_NAME_BYTES];
	bool seen;
	uint64_t ops, bytes, latency_ns, latency_count;         /* counters of the last sample */
	double iops, bytes_per_s, mean_ns;                      /* of the last second */
	float history[HISTORY];
};

struct top {
	uint64_t sampled_us;
	unsigned samples, disk_count;
	struct top_disk disk[DISKS_MAX];
	struct reactor_stats reactor[REACTOR_MAX];
	float reactor_history[REACTOR_MAX][HISTORY];
	struct stat_io io;              /* of the disk being sampled */
	char row[ROW_BYTES];
	size_t row_len;
	unsigned columns;
};

/* ---- sampling ---- */

static struct top_disk *disk_of(struct top *t, const char *name)
{
	struct top_disk *d;

	for (unsigned i = 0; i < t->disk_count; i++)
		if (strcmp(t->disk[i].name, name) == 0)
			return &t->disk[i];
	if (t->disk_count == DISKS_MAX)
		return NULL;
	d = &t->disk[t->disk_count++];
	memset(d, 0, sizeof(*d));
	snprintf(d->name, sizeof(d->name), "%s", name);
	return d;
}

static void history_push(float *history, float v)
{
	memmove(history, history + 1, (HISTORY - 1) * sizeof(*history));
	history[HISTORY - 1] = v;
}

/* Counters may have been cleared in between: then the difference counts from zero. */
static uint64_t since(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : now;
}

static void disk_sample(struct top *t, const struct bdev *b, double seconds)
{
	struct top_disk *d = disk_of(t, b->name);
	uint64_t ops = 0, bytes = 0, ns = 0, count = 0, done;

	if (!d)
		return;
	memset(&t->io, 0, sizeof(t->io));
	bdev_stats(b, &t->io);
	for (unsigned i = 0; i < STAT_CLASS_COUNT; i++) {
		ops += t->io.cls[i].ops;
		bytes += t->io.cls[i].bytes;
		ns += t->io.cls[i].latency.sum_ns;
		count += t->io.cls[i].latency.count;
	}
	done = since(count, d->latency_count);
	d->iops = (double)since(ops, d->ops) / seconds;
	d->bytes_per_s = (double)since(bytes, d->bytes) / seconds;
	d->mean_ns = done ? (double)since(ns, d->latency_ns) / (double)done : 0;
	d->ops = ops;
	d->bytes = bytes;
	d->latency_ns = ns;
	d->latency_count = count;
	d->seen = true;
	if (t->samples > 0)
		history_push(d->history, (float)d->iops);
}

static void sample(struct top *t)
{
	uint64_t now = clock_now_us();
	double seconds = now > t->sampled_us ? (double)(now - t->sampled_us) / 1e6 : 1;

	for (unsigned i = 0; i < t->disk_count; i++)
		t->disk[i].seen = false;
	for (struct bdev *b = bdev_next(NULL); b; b = bdev_next(b))
		disk_sample(t, b, seconds);
	for (unsigned i = 0; i < t->disk_count; )
		if (t->disk[i].seen)
			i++;
		else
			memmove(&t->disk[i], &t->disk[i + 1],
				(--t->disk_count - i) * sizeof(t->disk[0]));
	for (unsigned i = 0; i < reactor_count(); i++) {
		reactor_stats(reactor_at(i), &t->reactor[i]);
		history_push(t->reactor_history[i], (float)t->reactor[i].busy_percent);
	}
	t->sampled_us = now;
	t->samples++;
}

/* ---- drawing ---- */

__attribute__((format(printf, 2, 3)))
static void put(struct top *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->row + t->row_len, sizeof(t->row) - t->row_len, fmt, ap);
	va_end(ap);
	t->row_len = MIN(t->row_len + (size_t)MAX(n, 0), sizeof(t->row) - 1);
}

static void put_end(struct cmd_ctx *ctx, struct top *t)
{
	put(t, "\x1b[K\n");
	cmd_raw(ctx, t->row, t->row_len);
	t->row_len = 0;
}

/* The last CELLS values, scaled to the largest, or to FULL when that is not 0. */
static void put_spark(struct top *t, const float *history, unsigned cells, float full)
{
	static const char *const bars[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	float most = full;

	cells = MIN(cells, (unsigned)HISTORY);
	for (unsigned i = HISTORY - cells; full == 0 && i < HISTORY; i++)
		most = MAX(most, history[i]);
	for (unsigned i = HISTORY - cells; i < HISTORY; i++) {
		float part = most > 0 ? history[i] / most : 0;
		unsigned level = (unsigned)(MIN(part, 1.0f) * 8 + 0.5f);

		/* something is never shown as nothing */
		put(t, "%s", bars[level == 0 && history[i] > 0 ? 1 : level]);
	}
}

static void put_count(struct top *t, double v)
{
	if (v < 10000)
		put(t, "%8.0f", v);
	else if (v < 10e6)
		put(t, "%7.1fk", v / 1e3);
	else
		put(t, "%7.1fM", v / 1e6);
}

static void put_latency(struct top *t, double ns)
{
	if (ns < 1e6)
		put(t, " %8.1fus", ns / 1e3);
	else
		put(t, " %8.1fms", ns / 1e6);
}

static void draw(struct cmd_ctx *ctx, struct top *t)
{
	unsigned columns, rows, used = 4, cells;

	cmd_terminal_size(ctx, &columns, &rows);
	cells = columns > 62 ? columns - 56 : 6;
	cmd_raw(ctx, "\x1b[H", 3);
	put(t, "%-20s %8s %10s %10s  last minute    (q leaves)", "DISK", "IOPS", "MB/s", "LATENCY");
	put_end(ctx, t);
	for (unsigned i = 0; i < t->disk_count && used + reactor_count() < rows; i++, used++) {
		const struct top_disk *d = &t->disk[i];

		put(t, "%-20.20s ", d->name);
		put_count(t, d->iops);
		put(t, " %10.1f", d->bytes_per_s / 1e6);
		put_latency(t, d->mean_ns);
		put(t, "  ");
		put_spark(t, d->history, cells, 0);
		put_end(ctx, t);
	}
	put_end(ctx, t);
	put(t, "%-20s %8s %10s", "REACTOR", "BUSY %", "CPU %");
	put_end(ctx, t);
	for (unsigned i = 0; i < reactor_count() && used < rows; i++, used++) {
		put(t, "%-20u %8.1f %10.1f %10s  ", i, t->reactor[i].busy_percent,
		    t->reactor[i].cpu_percent, t->reactor[i].asleep ? "asleep" : "");
		put_spark(t, t->reactor_history[i], cells, 100);
		put_end(ctx, t);
	}
	cmd_raw(ctx, "\x1b[J", 3);
}

/* ---- running ---- */

static void rows_once(struct cmd_ctx *ctx, struct top *t)
{
	task_sleep(EVERY_US);
	sample(t);
	for (unsigned i = 0; i < t->disk_count; i++) {
		const struct top_disk *d = &t->disk[i];

		cmd_row(ctx);
		cmd_col(ctx, "kind", "disk");
		cmd_col(ctx, "name", "%s", d->name);
		cmd_col_u64(ctx, "iops", (uint64_t)d->iops);
		cmd_col_size(ctx, "bytes_per_s", (uint64_t)d->bytes_per_s);
		cmd_col_time(ctx, "latency", (uint64_t)d->mean_ns);
		cmd_col_percent(ctx, "busy", 0);
	}
	for (unsigned i = 0; i < reactor_count(); i++) {
		cmd_row(ctx);
		cmd_col(ctx, "kind", "reactor");
		cmd_col(ctx, "name", "%u", i);
		cmd_col_u64(ctx, "iops", 0);
		cmd_col_size(ctx, "bytes_per_s", 0);
		cmd_col_time(ctx, "latency", 0);
		cmd_col_percent(ctx, "busy", t->reactor[i].busy_percent);
	}
}

static int top_run(struct cmd_ctx *ctx)
{
	/* the other screen, without a cursor, lines cut at the edge; and back */
	static const char enter[] = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
	static const char leave[] = "\x1b[?7h\x1b[?25h\x1b[?1049l\r";
	struct top *t = calloc(1, sizeof(*t));
	int key = 0;

	if (!t)
		return cmd_fail(ctx, -ENOMEM, "top: no memory; try again");
	sample(t);
	if (!cmd_interactive(ctx)) {
		rows_once(ctx, t);
		free(t);
		return 0;
	}
	cmd_raw(ctx, enter, sizeof(enter) - 1);
	draw(ctx, t);
	while (key != 'q' && key != 'Q' && key != CTRL_C && key != -EPIPE) {
		uint64_t past = clock_now_us() - t->sampled_us;

		if (past >= EVERY_US) {
			sample(t);
			draw(ctx, t);
			past = 0;
		}
		key = cmd_key(ctx, EVERY_US - past);
	}
	cmd_raw(ctx, leave, sizeof(leave) - 1);
	free(t);
	return 0;
}

const struct cmd cmd_top_table[] = {
	{ .noun = "top", .help = "live: IOPS, MB/s and latency of disks, busy cores; q leaves",
	  .run = top_run, .flags = CMD_LIVE | CMD_RESCUE },
	{ 0 },
};
