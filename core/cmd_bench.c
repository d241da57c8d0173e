/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `disk bench`: how fast a disk is without any network before it. Every reactor keeps QD requests
 * in flight through its own channel until the time is over; each that completes is replaced at
 * once, at a random place or at the next one of the reactor's own part of the disk.
 *
 * It runs in slices of a second, so that it can show how far it is and be cancelled: between two,
 * nothing is in flight. It opens the disk like any other user: for writing, alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bdev.h"
#include "core/clock.h"
#include "core/cmd.h"
#include "core/cmd_core.h"
#include "core/dma.h"
#include "core/task.h"

enum { SLICE_US = 1000 * 1000, QD_MAX = 256, BS_MAX = 1024 * 1024 };
enum bench_rw { BENCH_READ, BENCH_WRITE, BENCH_RANDREAD, BENCH_RANDWRITE, BENCH_RANDRW };

static const char *const rw_names[] = {
	"read", "write", "randread", "randwrite", "randrw", NULL,
};

struct bench_reactor;

struct bench_slot {
	struct io io;
	struct iovec iov;
	struct bench_reactor *reactor;
	uint64_t start_ticks;
};

struct bench_reactor {
	struct bench *bench;
	uint64_t deadline_us, random, first, next;      /* places, in units of a request */
	unsigned inflight;
	struct event ended;
	uint64_t ops;
	enum io_status status;          /* the first that was not IO_OK */
	struct stat_hist latency;
	uint8_t *memory;
	struct bench_slot slot[QD_MAX];
};

struct bench {
	struct bdev_user user;
	enum bench_rw rw;
	uint32_t io_bytes, io_blocks;
	unsigned qd;
	uint64_t time_us, run_us;
	uint64_t places;                /* requests that fit on the disk, of each reactor */
	bool gone;
	struct bench_reactor *reactor[REACTOR_MAX];
};

/* ---- on every reactor ---- */

static uint64_t bench_random(struct bench_reactor *r)
{
	/* xorshift64: quality does not matter, cost does */
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return r->random;
}

static void bench_done(struct io *io);

static void bench_next(struct bench_slot *slot)
{
	struct bench_reactor *r = slot->reactor;
	const struct bench *b = r->bench;
	bool random = b->rw >= BENCH_RANDREAD;
	bool write = b->rw == BENCH_WRITE || b->rw == BENCH_RANDWRITE ||
		     (b->rw == BENCH_RANDRW && (bench_random(r) & 1));
	uint64_t place = random ? bench_random(r) % b->places : r->next++ % b->places;

	slot->io = (struct io){
		.op = write ? IO_WRITE : IO_READ, .iov = &slot->iov, .iov_count = 1,
		.lba = (r->first + place) * b->io_blocks, .lba_count = b->io_blocks,
		.done = bench_done,
	};
	slot->start_ticks = clock_ticks();
	r->inflight++;
	bdev_submit(bdev_chan(b->user.bdev), &slot->io);
}

static void bench_done(struct io *io)
{
	struct bench_slot *slot = container_of(io, struct bench_slot, io);
	struct bench_reactor *r = slot->reactor;

	r->inflight--;
	if (io->status == IO_OK) {
		r->ops++;
		stat_hist_add(&r->latency, clock_ticks_to_ns(clock_ticks() - slot->start_ticks));
	} else if (r->status == IO_OK) {
		r->status = io->status;
	}
	if (r->status == IO_OK && !r->bench->gone && reactor_now_us() < r->deadline_us)
		bench_next(slot);
	else if (r->inflight == 0)
		event_signal(&r->ended);
}

/* A slice; in a task of each reactor. */
static void bench_slice(void *arg)
{
	struct bench *b = arg;
	struct bench_reactor *r = b->reactor[reactor_index()];
	uint64_t slice_us = MIN(b->time_us - b->run_us, (uint64_t)SLICE_US);

	event_init(&r->ended);
	r->deadline_us = clock_now_us() + slice_us;
	for (unsigned i = 0; i < b->qd; i++)
		bench_next(&r->slot[i]);
	task_wait(&r->ended);
}

/* ---- the command ---- */

static void bench_event(struct bdev_user *user, enum bdev_event event)
{
	if (event == BDEV_REMOVED)
		container_of(user, struct bench, user)->gone = true;
}

static void bench_free(struct bench *b)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		if (b->reactor[i])
			dma_free(b->reactor[i]->memory);
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
		if (!r->memory)
			return -ENOMEM;
		clock_random(r->memory, MIN(bytes, (size_t)b->io_bytes));
		for (size_t at = b->io_bytes; at < bytes; at += b->io_bytes)
			memcpy(r->memory + at, r->memory, b->io_bytes);
		r->bench = b;
		r->random = clock_random64() | 1;
		r->first = b->rw >= BENCH_RANDREAD ? 0 : i * b->places;
		for (unsigned s = 0; s < b->qd; s++) {
			r->slot[s].reactor = r;
			r->slot[s].iov.iov_base = r->memory + (size_t)s * b->io_bytes;
			r->slot[s].iov.iov_len = b->io_bytes;
		}
	}
	return 0;
}

static void bench_report(struct cmd_ctx *ctx, struct bench *b)
{
	static const struct {
		const char *name;
		unsigned permyriad;
	} points[] = { { "p50", 5000 }, { "p99", 9900 }, { "p99.9", 9990 } };
	struct stat_hist *sum = &b->reactor[0]->latency;
	uint64_t ops = b->reactor[0]->ops;

	for (unsigned i = 1; i < reactor_count(); i++) {
		ops += b->reactor[i]->ops;
		stat_hist_merge(sum, &b->reactor[i]->latency);
	}
	cmd_row(ctx);
	cmd_col(ctx, "disk", "%s", b->user.bdev->name);
	cmd_col(ctx, "rw", "%s", rw_names[b->rw]);
	cmd_col_size(ctx, "bs", b->io_bytes);
	cmd_col_u64(ctx, "qd", (uint64_t)b->qd * reactor_count());
	cmd_col_u64(ctx, "iops", ops * 1000000 / MAX(b->run_us, 1u));
	cmd_col_size(ctx, "per_second", ops * b->io_bytes * 1000000 / MAX(b->run_us, 1u));
	cmd_col_time(ctx, "mean", stat_hist_mean(sum));
	for (size_t i = 0; i < ARRAY_SIZE(points); i++)
		cmd_col_time(ctx, points[i].name, stat_hist_percentile(sum, points[i].permyriad));
	cmd_col_time(ctx, "max", sum->max_ns);
}

/* Runs until the time is over, somebody cancels, the disk goes or a request fails. */
static int bench_run(struct cmd_ctx *ctx, struct bench *b)
{
	const char *name = b->user.bdev->name;

	task_describe("disk bench %s", name);
	while (b->run_us < b->time_us && !b->gone && !task_cancelled()) {
		uint64_t start_us = clock_now_us();

		task_call_all(bench_slice, b);
		b->run_us += clock_now_us() - start_us;
		task_progress(MIN(b->run_us, b->time_us), b->time_us);
		for (unsigned i = 0; i < reactor_count(); i++) {
			enum io_status status = b->reactor[i]->status;

			if (status != IO_OK)
				return cmd_fail(ctx, io_status_errno(status), "disk %s: a request "
						"failed: %s; see log show", name,
						io_status_name(status));
		}
	}
	if (b->gone)
		return cmd_fail(ctx, -ENODEV, "disk %s: was removed", name);
	bench_report(ctx, b);
	return 0;
}

static int bench_prepare(struct cmd_ctx *ctx, struct bench *b)
{
	const struct bdev *bdev = b->user.bdev;
	unsigned parts = b->rw >= BENCH_RANDREAD ? 1 : reactor_count();
	int rc;

	if (b->io_bytes % bdev->block_bytes)
		return cmd_fail(ctx, -EINVAL, "disk %s: bs=%u is not a multiple of its block, %u",
				bdev->name, b->io_bytes, bdev->block_bytes);
	b->io_blocks = b->io_bytes / bdev->block_bytes;
	b->places = bdev->block_count / b->io_blocks / parts;
	if (b->places == 0)
		return cmd_fail(ctx, -EINVAL, "disk %s: too small for bs=%u", bdev->name,
				b->io_bytes);
	rc = bench_alloc(b);
	return rc ? cmd_fail(ctx, rc, "disk %s: no memory for %u requests of %u bytes on each of "
			     "%u reactors; ask for less", bdev->name, b->qd, b->io_bytes,
			     reactor_count()) : 0;
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
	b->time_us = cmd_u64(ctx, "time", 10 * SLICE_US);
	b->user.write = b->user.exclusive = b->rw != BENCH_READ && b->rw != BENCH_RANDREAD;
	b->user.event = bench_event;
	snprintf(b->user.who, sizeof(b->user.who), "disk bench");
	rc = b->user.write ? cmd_confirm(ctx, name, "what is on it will be overwritten") : 0;
	if (rc == 0) {
		rc = bdev_open(name, &b->user);
		if (rc)
			rc = cmd_fail(ctx, rc, "disk %s: %s; see disk list", name, strerror(-rc));
	}
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
	{ .name = "qd", .type = CMD_U64, .keyed = true, .min = 1, .max = QD_MAX,
	  .help = "requests in flight on each reactor; 32 unless told" },
	{ .name = "time", .type = CMD_TIME, .keyed = true, .min = 1000, .max = 3600ull * SLICE_US,
	  .help = "how long; 10s unless told" },
	{ .name = "force", .type = CMD_FLAG, .help = "overwrite without asking" },
	{ 0 },
};

const struct cmd cmd_bench_table[] = {
	{ .noun = "disk", .verb = "bench", .help = "how fast a disk is; writing overwrites it",
	  .args = bench_args, .run = disk_bench },
	{ 0 },
};
