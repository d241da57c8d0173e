/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `disk bench`: how fast a disk is without any network before it, and whether it keeps what it is
 * given. core/bench.c makes the load.
 *
 * It runs in slices of a second, so that it can show how far it is and be cancelled: between two,
 * nothing is in flight. It opens the disk like any other user: for writing alone, unless the
 * operator insists on writing beside those who share it. With `verify`, everything that was written
 * is read once more in the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/bench.h"
#include "core/bench_pattern.h"
#include "core/clock.h"
#include "core/cmd.h"
#include "core/cmd_core.h"
#include "core/dma.h"

enum {
	BS_MAX = 1024 * 1024,
	LOOK_BYTES = 1024 * 1024,               /* where file systems and partitions begin */
	VERIFY_PLACES_MAX = 4 * 1024 * 1024,    /* of each reactor: it remembers every one */
};

static const char *const rw_names[] = {
	"read", "write", "randread", "randwrite", "randrw", NULL,
};

static void bench_event(struct bdev_user *user, enum bdev_event event)
{
	if (event == BDEV_REMOVED)
		container_of(user, struct bench, user)->gone = true;
}

static void bench_free(struct bench *b)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		if (b->reactor[i]) {
			dma_free(b->reactor[i]->memory);
			free(b->reactor[i]->generation);
		}
		free(b->reactor[i]);
	}
	free(b);
}

static int bench_alloc(struct bench *b)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		struct bench_reactor *r = calloc(1, sizeof(*r));
		size_t bytes = (size_t)b->qd * b->io_bytes;

		b->reactor[i] = r;
		if (!r)
			return -ENOMEM;
		r->memory = dma_alloc(bytes, DMA_PAGE_BYTES);
		if (b->verify)
			r->generation = calloc(b->places, sizeof(*r->generation));
		if (!r->memory || (b->verify && !r->generation))
			return -ENOMEM;
		clock_random(r->memory, MIN(bytes, (size_t)b->io_bytes));
		for (size_t at = 0; at < b->io_bytes; at += b->user.bdev->block_bytes)
			bench_pattern_mark(r->memory + at);
		for (size_t at = b->io_bytes; at < bytes; at += b->io_bytes)
			memcpy(r->memory + at, r->memory, b->io_bytes);
		r->bench = b;
		r->random = clock_random64() | 1;
		r->first = b->parts > 1 ? i * b->places : 0;
		for (unsigned s = 0; s < b->qd; s++) {
			r->slot[s].reactor = r;
			r->slot[s].iov.iov_base = r->memory + (size_t)s * b->io_bytes;
			r->slot[s].iov.iov_len = b->io_bytes;
		}
	}
	return 0;
}

static void bench_row(struct cmd_ctx *ctx, const struct bench *b, const char *core, unsigned qd,
		      const struct bench_reactor *r)
{
	static const struct {
		const char *name;
		unsigned permyriad;
	} points[] = { { "p50", 5000 }, { "p90", 9000 }, { "p99", 9900 }, { "p99.9", 9990 },
		       { "p99.99", 9999 } };

	cmd_row(ctx);
	cmd_col(ctx, "core", "%s", core);
	cmd_col(ctx, "disk", "%s", b->user.bdev->name);
	cmd_col(ctx, "rw", "%s", rw_names[b->rw]);
	cmd_col_size(ctx, "bs", b->io_bytes);
	cmd_col_u64(ctx, "qd", qd);
	cmd_col_u64(ctx, "requests", r->ops);
	cmd_col_u64(ctx, "iops", r->ops * 1000000 / MAX(b->run_us, 1u));
	cmd_col_size(ctx, "per_second", r->ops * b->io_bytes * 1000000 / MAX(b->run_us, 1u));
	cmd_col_time(ctx, "mean", stat_hist_mean(&r->latency));
	for (size_t i = 0; i < ARRAY_SIZE(points); i++)
		cmd_col_time(ctx, points[i].name,
			     stat_hist_percentile(&r->latency, points[i].permyriad));
	cmd_col_time(ctx, "max", r->latency.max_ns);
	if (b->verify)
		cmd_col_u64(ctx, "verified", r->verified);
}

/* A row of each core, and the sum; the first reactor's figures become it. */
static void bench_report(struct cmd_ctx *ctx, struct bench *b)
{
	struct bench_reactor *sum = b->reactor[0];
	char core[16];

	for (unsigned i = 0; i < reactor_count(); i++) {
		snprintf(core, sizeof(core), "%u", i);
		bench_row(ctx, b, core, b->qd, b->reactor[i]);
	}
	for (unsigned i = 1; i < reactor_count(); i++) {
		sum->ops += b->reactor[i]->ops;
		sum->verified += b->reactor[i]->verified;
		stat_hist_merge(&sum->latency, &b->reactor[i]->latency);
	}
	bench_row(ctx, b, "all", b->qd * reactor_count(), sum);
}

static int bench_failed(struct cmd_ctx *ctx, const struct bench *b)
{
	const char *name = b->user.bdev->name;

	if (b->gone)
		return cmd_fail(ctx, -ENODEV, "disk %s: was removed", name);
	for (unsigned i = 0; i < reactor_count(); i++) {
		const struct bench_reactor *r = b->reactor[i];

		if (r->found[0])
			return cmd_fail(ctx, -EIO, "disk %s: verify: %s; what is read is not what "
					"was written", name, r->found);
		if (r->status != IO_OK)
			return cmd_fail(ctx, io_status_errno(r->status), "disk %s: a request "
					"failed: %s; see log show", name,
					io_status_name(r->status));
	}
	return 0;
}

/* The live line: a terminal shows it beside the bar, `task list` always. */
static void bench_describe(const struct bench *b, uint64_t ops, uint64_t slice_us)
{
	uint64_t iops = ops * 1000000 / MAX(slice_us, 1u);

	task_describe("%" PRIu64 " IOPS %" PRIu64 " MB/s, disk bench %s", iops,
		      iops * b->io_bytes / 1000000, b->user.bdev->name);
}

static uint64_t bench_ops(const struct bench *b)
{
	uint64_t ops = 0;

	for (unsigned i = 0; i < reactor_count(); i++)
		ops += b->checking ? b->reactor[i]->verified : b->reactor[i]->ops;
	return ops;
}

/* Reads all that was written; it ends when no reactor finds a place any more. */
static int bench_check(struct cmd_ctx *ctx, struct bench *b)
{
	uint64_t lowest = 0;
	int rc = 0;

	b->checking = true;
	for (unsigned i = 0; i < reactor_count(); i++)
		b->reactor[i]->next = 0;
	while (rc == 0 && lowest < b->places) {
		if (task_cancelled())
			return cmd_fail(ctx, -ECANCELED, "disk %s: cancelled before all that was "
					"written had been read", b->user.bdev->name);
		task_describe("disk bench %s: reads what it wrote", b->user.bdev->name);
		task_progress(lowest, b->places);
		task_call_all(bench_slice, b);
		rc = bench_failed(ctx, b);
		lowest = b->places;
		for (unsigned i = 0; i < reactor_count(); i++)
			lowest = MIN(lowest, b->reactor[i]->next);
	}
	b->checking = false;
	return rc;
}

/* Runs until the time is over, somebody cancels, the disk goes or a request fails. */
static int bench_run(struct cmd_ctx *ctx, struct bench *b)
{
	int rc = 0;

	task_describe("disk bench %s", b->user.bdev->name);
	while (rc == 0 && b->run_us < b->time_us && !task_cancelled()) {
		uint64_t start_us = clock_now_us(), ops = bench_ops(b), slice_us;

		task_progress(MIN(b->run_us, b->time_us), b->time_us);
		task_call_all(bench_slice, b);
		slice_us = clock_now_us() - start_us;
		b->run_us += slice_us;
		bench_describe(b, bench_ops(b) - ops, slice_us);
		rc = bench_failed(ctx, b);
	}
	if (rc == 0 && b->verify && bench_writes(b))
		rc = bench_check(ctx, b);
	if (rc == 0)
		bench_report(ctx, b);
	return rc;
}

static int bench_prepare(struct cmd_ctx *ctx, struct bench *b)
{
	const struct bdev *bdev = b->user.bdev;
	int rc;

	b->parts = b->rw >= BENCH_RANDREAD && !b->verify ? 1 : reactor_count();
	if (b->io_bytes % bdev->block_bytes)
		return cmd_fail(ctx, -EINVAL, "disk %s: bs=%u is not a multiple of its block, %u",
				bdev->name, b->io_bytes, bdev->block_bytes);
	b->io_blocks = b->io_bytes / bdev->block_bytes;
	b->places = bdev->block_count / b->io_blocks / b->parts;
	if (b->verify)
		b->places = MIN(b->places, (uint64_t)VERIFY_PLACES_MAX);
	if (b->places < (b->verify ? b->qd : 1))
		return cmd_fail(ctx, -EINVAL, "disk %s: too small for bs=%u%s", bdev->name,
				b->io_bytes, b->verify ? " and this qd with verify" : "");
	rc = bench_alloc(b);
	return rc ? cmd_fail(ctx, rc, "disk %s: no memory for %u requests of %u bytes on each of "
			     "%u reactors; ask for less", bdev->name, b->qd, b->io_bytes,
			     reactor_count()) : 0;
}

/* A disk that nobody uses is overwritten without asking when it is blank or a bench's. */
static int bench_look(struct cmd_ctx *ctx, struct bench *b)
{
	struct bdev *bdev = b->user.bdev;
	uint64_t count = MIN(bdev->block_count, (uint64_t)LOOK_BYTES / bdev->block_bytes);
	size_t len = count * bdev->block_bytes;
	uint8_t *memory = dma_alloc(LOOK_BYTES, DMA_PAGE_BYTES);
	struct iovec iov = { memory, len };
	struct io io = {
		.op = IO_READ, .lba_count = (uint32_t)count, .iov = &iov, .iov_count = 1,
	};
	enum io_status status;
	size_t at = 0;

	if (!memory)
		return cmd_fail(ctx, -ENOMEM, "disk %s: no memory", bdev->name);
	memset(memory, 0, len);         /* reading from a null disk moves nothing */
	status = task_io(bdev_chan(bdev), &io);
	while (status == IO_OK && at < len && (bench_pattern_known(memory + at) ||
					       bytes_zero(memory + at, bdev->block_bytes)))
		at += bdev->block_bytes;
	dma_free(memory);
	if (status != IO_OK)
		return cmd_fail(ctx, io_status_errno(status), "disk %s: cannot be read: %s; see "
				"log show", bdev->name, io_status_name(status));
	return at == len ? 0 : cmd_confirm(ctx, bdev->name, "it holds data that will be "
					   "overwritten");
}

/* Who uses the disk already is told; with consent writing goes on beside those who share it. */
static int bench_share(struct cmd_ctx *ctx, const struct bench *b, const struct bdev *bdev,
		       const struct bdev_user *user)
{
	char what[BDEV_TEXT_BYTES + 64];

	if (b->verify || bdev->exclusive)
		return cmd_fail(ctx, -EBUSY, "disk %s: used by %s; %s", bdev->name, user->who,
				bdev->exclusive ? "end that first" :
				"writing with verify wants it alone");
	snprintf(what, sizeof(what), "used by %s, and what is on it will be overwritten",
		 user->who);
	return cmd_confirm(ctx, bdev->name, what);
}

/* Opens the disk, for writing after what may be lost with it was seen. */
static int bench_open(struct cmd_ctx *ctx, struct bench *b, const char *name)
{
	const struct bdev *bdev = bdev_find(name);
	const struct bdev_user *user = bdev ? list_first_entry(&bdev->users, struct bdev_user,
							       link) : NULL;
	int rc = 0;

	snprintf(b->user.who, sizeof(b->user.who), "disk bench");
	b->user.event = bench_event;
	b->user.write = bench_writes(b);
	b->user.exclusive = b->user.write && !user;
	if (b->user.write && user)
		rc = bench_share(ctx, b, bdev, user);
	if (rc)
		return rc;
	rc = bdev_open(name, &b->user);
	if (rc == -ENOENT)
		return cmd_fail(ctx, rc, "disk %s: there is none; disk list shows them", name);
	if (rc == -EBUSY)
		return cmd_fail(ctx, rc, "disk %s: used by %s; end that first", name,
				user ? user->who : "somebody");
	if (rc)
		return cmd_fail(ctx, rc, "disk %s: %s; see disk list", name, strerror(-rc));
	if (b->user.exclusive && !cmd_has(ctx, "force"))
		rc = bench_look(ctx, b);
	if (rc)
		bdev_close(&b->user);
	return rc;
}

static int disk_bench(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "name");
	struct bench *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return cmd_fail(ctx, -ENOMEM, "disk %s: no memory", name);
	b->rw = (enum bench_rw)cmd_u64(ctx, "rw", BENCH_RANDREAD);
	b->io_bytes = (uint32_t)cmd_u64(ctx, "bs", 4096);
	b->qd = (unsigned)cmd_u64(ctx, "qd", 32);
	b->time_us = cmd_u64(ctx, "time", 10 * BENCH_SLICE_US);
	b->verify = cmd_has(ctx, "verify");
	b->run = clock_random64();
	rc = bench_open(ctx, b, name);
	if (rc) {
		free(b);
		return rc;
	}
	rc = bench_prepare(ctx, b);
	if (rc == 0)
		rc = bench_run(ctx, b);
	bdev_close(&b->user);
	bench_free(b);
	return rc;
}

static const struct cmd_arg bench_args[] = {
	{ .name = "name", .type = CMD_NAME, .required = true, .help = "name of the disk",
	  .complete = cmd_complete_disk },
	{ .name = "rw", .type = CMD_CHOICE, .keyed = true, .choices = rw_names,
	  .help = "what to do; randread unless told" },
	{ .name = "bs", .type = CMD_SIZE, .keyed = true, .min = 512, .max = BS_MAX,
	  .help = "bytes of a request; 4K unless told" },
	{ .name = "qd", .type = CMD_U64, .keyed = true, .min = 1, .max = BENCH_QD_MAX,
	  .help = "requests in flight on each reactor; 32 unless told" },
	{ .name = "time", .type = CMD_TIME, .keyed = true, .min = 1000,
	  .max = 3600ull * BENCH_SLICE_US, .help = "how long; 10s unless told" },
	{ .name = "verify", .type = CMD_FLAG,
	  .help = "write blocks that tell what they are, and check what is read" },
	{ .name = "force", .type = CMD_FLAG,
	  .help = "overwrite without asking, even if others share the disk" },
	{ 0 },
};

const struct cmd cmd_bench_table[] = {
	{ .noun = "disk", .verb = "bench", .help = "how fast a disk is; writing overwrites it",
	  .args = bench_args, .run = disk_bench },
	{ 0 },
};
