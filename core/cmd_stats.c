/* SPDX-License-Identifier: BSD-3-Clause */
/* `stats show | latency | clear` of disks, and `memory show`. */
#include <errno.h>
#include <stdio.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/cmd_core.h"
#include "core/dma.h"

/* ---- stats ---- */

/* The disk that was named, all of them when none was. -errno: said. */
static int each_disk(struct cmd_ctx *ctx, void (*fn)(struct cmd_ctx *ctx, struct bdev *bdev))
{
	const char *name = cmd_str(ctx, "object");
	struct bdev *bdev;

	if (name) {
		bdev = bdev_find(name);
		if (!bdev)
			return cmd_fail(ctx, -ENOENT, "stats %s: there is no such disk; see disk "
					"list", name);
		fn(ctx, bdev);
		return 0;
	}
	for (bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev))
		fn(ctx, bdev);
	return 0;
}

static void counters_rows(struct cmd_ctx *ctx, struct bdev *bdev)
{
	struct stat_io sum;

	bdev_stats(bdev, &sum);
	for (unsigned c = 0; c < STAT_CLASS_COUNT; c++) {
		if (sum.cls[c].ops == 0 && c > STAT_WRITE)
			continue;
		cmd_row(ctx);
		cmd_col(ctx, "object", "%s", bdev->name);
		cmd_col(ctx, "class", "%s", stat_class_name(c));
		cmd_col_u64(ctx, "ops", sum.cls[c].ops);
		cmd_col_size(ctx, "bytes", sum.cls[c].bytes);
		cmd_col_u64(ctx, "errors", sum.cls[c].errors);
		cmd_col_time(ctx, "mean", stat_hist_mean(&sum.cls[c].latency));
		cmd_col_time(ctx, "max", sum.cls[c].latency.count ? sum.cls[c].latency.max_ns : 0);
	}
}

static void latency_rows(struct cmd_ctx *ctx, struct bdev *bdev)
{
	static const struct {
		const char *name;
		unsigned permyriad;
	} points[] = { { "p50", 5000 }, { "p90", 9000 }, { "p99", 9900 }, { "p99.9", 9990 },
		       { "p99.99", 9999 } };
	struct stat_io sum;

	bdev_stats(bdev, &sum);
	for (unsigned c = 0; c < STAT_CLASS_COUNT; c++) {
		const struct stat_hist *h = &sum.cls[c].latency;

		if (h->count == 0)
			continue;
		cmd_row(ctx);
		cmd_col(ctx, "object", "%s", bdev->name);
		cmd_col(ctx, "class", "%s", stat_class_name(c));
		cmd_col_u64(ctx, "count", h->count);
		cmd_col_time(ctx, "min", h->min_ns);
		for (unsigned i = 0; i < ARRAY_SIZE(points); i++)
			cmd_col_time(ctx, points[i].name,
				     stat_hist_percentile(h, points[i].permyriad));
		cmd_col_time(ctx, "max", h->max_ns);
	}
}

static int stats_show(struct cmd_ctx *ctx)
{
	return each_disk(ctx, counters_rows);
}

static int stats_latency(struct cmd_ctx *ctx)
{
	return each_disk(ctx, latency_rows);
}

/* Clearing waits for other reactors: the list may change, so each disk is looked up again. */
static int stats_clear(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "object");
	struct bdev *bdev;
	unsigned at = 0;

	if (name) {
		bdev = bdev_find(name);
		if (!bdev)
			return cmd_fail(ctx, -ENOENT, "stats %s: there is no such disk; see disk "
					"list", name);
		bdev_stats_clear(bdev);
		return 0;
	}
	for (;; at++) {
		unsigned i = 0;

		for (bdev = bdev_next(NULL); bdev && i < at; i++)
			bdev = bdev_next(bdev);
		if (!bdev)
			return 0;
		bdev_stats_clear(bdev);
	}
}

/* ---- memory ---- */

static void memory_row(struct cmd_ctx *ctx, const char *pool, uint64_t each, uint64_t total,
		       uint64_t used, uint64_t peak, uint64_t waits)
{
	cmd_row(ctx);
	cmd_col(ctx, "pool", "%s", pool);
	cmd_col_size(ctx, "each", each);
	cmd_col_u64(ctx, "total", total);
	cmd_col_u64(ctx, "used", used);
	cmd_col_u64(ctx, "peak", peak);
	cmd_col_u64(ctx, "waits", waits);
	cmd_col_size(ctx, "bytes", each * total);
}

static int memory_show(struct cmd_ctx *ctx)
{
	static const char *const classes[BUF_CLASS_COUNT] = { "buf small", "buf medium",
							      "buf large" };
	struct dma_stats dma;

	dma_stats(&dma);
	memory_row(ctx, dma.huge ? "dma hugepages" : "dma", 1, dma.total_bytes, dma.used_bytes,
		   dma.peak_bytes, 0);
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
		struct buf_stats st;

		buf_stats(c, &st);
		memory_row(ctx, classes[c], st.class_bytes, st.total, st.used, st.peak, st.waits);
	}
	return 0;
}

static const struct cmd_arg object_args[] = {
	{ .name = "object", .type = CMD_NAME, .help = "a disk; all of them when left out",
	  .complete = cmd_complete_disk },
	{ 0 },
};

const struct cmd cmd_stats_table[] = {
	{ .noun = "stats", .verb = "show", .help = "operations, bytes and errors since the start",
	  .args = object_args, .run = stats_show, .flags = CMD_RESCUE },
	{ .noun = "stats", .verb = "latency", .help = "how long operations took: p50 … p99.99",
	  .args = object_args, .run = stats_latency, .flags = CMD_RESCUE },
	{ .noun = "stats", .verb = "clear", .help = "count from zero again",
	  .args = object_args, .run = stats_clear },
	{ .noun = "memory", .verb = "show", .help = "what is reserved, in use, most ever used",
	  .run = memory_show, .flags = CMD_RESCUE },
	{ 0 },
};
