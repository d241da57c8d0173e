/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bdev layer against a plain array: disks of random shape (limits, native ops, cache), random
 * io of all ops with random memory, several at a time on blocks that do not overlap, some aborted.
 * fake_bdev asserts the limits, this the data, status and durability. A failure prints its seed:
 * KARST_SEED=n runs that one alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/task.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/fake_bdev.h"

enum { BLOCKS = 256, COUNT_MAX = 48, SLOTS = 8, STEPS = 400, SEEDS = 120, IOV_MOST = 48 };

struct slot {
	struct bench_io b;
	struct bench_io abort;
	struct iovec iov[IOV_MOST];
	uint8_t *memory;                /* the iov's */
	uint8_t *data;                  /* what it should hold or holds, in one piece */
	enum io_status want;
	bool used, aborting;
};

struct run {
	uint64_t seed, random;
	struct fake_bdev *fake;
	struct bdev_chan *chan;
	uint8_t *model;
	struct slot slot[SLOTS];
};

static uint64_t rnd(struct run *r)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return r->random >> 11;
}

static uint64_t below(struct run *r, uint64_t n)
{
	return rnd(r) % n;
}

static bool chance(struct run *r, unsigned percent)
{
	return below(r, 100) < percent;
}

#define CHECK(cond) \
	do { \
		if (!(cond)) \
			fail_msg("seed %lu: %s", (unsigned long)r->seed, #cond); \
	} while (0)

/* ---- the disk ---- */

static uint32_t pick(struct run *r, const uint32_t *of, unsigned n)
{
	return of[below(r, n)];
}

static struct bdev shape(struct run *r)
{
	static const uint32_t blocks[] = { 512, 512, 4096 }, aligns[] = { 0, 1, 4, 512 };
	static const uint32_t xfers[] = { 0, 1, 3, 8, 17 }, iovs[] = { 0, 1, 2, 5 };
	struct bdev b = { .name = "model" };

	b.block_bytes = pick(r, blocks, ARRAY_SIZE(blocks));
	b.block_count = BLOCKS;
	b.ops_supported = (rnd(r) & ((1 << IO_ABORT) - 1)) | 1 << IO_READ | 1 << IO_WRITE;
	b.fua = chance(r, 40);
	b.volatile_cache = chance(r, 60);
	if (b.volatile_cache)
		b.ops_supported |= 1 << IO_FLUSH;
	b.unmap_zeroes = chance(r, 50);
	b.limits.xfer_bytes_max = pick(r, xfers, ARRAY_SIZE(xfers)) * b.block_bytes;
	b.limits.iov_count_max = pick(r, iovs, ARRAY_SIZE(iovs));
	b.limits.align_bytes = pick(r, aligns, ARRAY_SIZE(aligns));
	b.limits.page_bytes = chance(r, 40) ? 4096 : 0;
	b.limits.unmap_blocks_max = chance(r, 50) ? 5 : 0;
	b.limits.write_zeroes_blocks_max = chance(r, 50) ? 7 : 0;
	return b;
}

/* ---- one io ---- */

static size_t bytes(const struct run *r, uint64_t blocks)
{
	return blocks * r->fake->bdev.block_bytes;
}

static size_t gap(struct run *r, size_t at)
{
	size_t align = 1ul << below(r, 13);

	at += below(r, 3000);
	return ALIGN_UP(at, align);
}

/* Elements of random length at random places of the slot's memory, in order. */
static void make_iov(struct run *r, struct slot *s, size_t len)
{
	bool tidy = chance(r, 40);
	size_t at = tidy ? 0 : below(r, 4096);
	unsigned count = 0;
	/* Sometimes more elements than a piece has room for. */
	size_t most = chance(r, 20) ? 1 + len / 20 : len;

	while (len > 0) {
		size_t part = len, some = tidy ? 4096 * (1 + below(r, 4)) : 1 + below(r, most);

		if (count + 1 < IOV_MOST && chance(r, most < len ? 99 : 75))
			part = MIN(len, some);
		if (!tidy && chance(r, 50) && part > 512 && count + 1 < IOV_MOST)
			part = ALIGN_DOWN(part, 512ul);
		s->iov[count++] = (struct iovec){ s->memory + at, part };
		len -= part;
		at += part;
		if (tidy)
			at = ALIGN_UP(at, 4096ul);
		else if (chance(r, 50))
			at = gap(r, at);
	}
	s->b.io.iov = s->iov;
	s->b.io.iov_count = count;
}

static void iov_move(const struct slot *s, uint8_t *flat, bool to_iov)
{
	for (unsigned i = 0; i < s->b.io.iov_count; i++) {
		if (to_iov)
			memcpy(s->iov[i].iov_base, flat, s->iov[i].iov_len);
		else
			memcpy(flat, s->iov[i].iov_base, s->iov[i].iov_len);
		flat += s->iov[i].iov_len;
	}
}

static bool changes(enum io_op op)
{
	return op == IO_WRITE || op == IO_UNMAP || op == IO_WRITE_ZEROES ||
	       op == IO_COMPARE_WRITE || op == IO_COPY;
}

static bool overlaps(uint64_t a, uint64_t b, uint64_t count_a, uint64_t count_b)
{
	return a < b + count_b && b < a + count_a;
}

/* Whether the range is in the way of an io that is under way. */
static bool range_busy(const struct run *r, uint64_t lba, uint64_t count, bool change)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct io *io = &r->slot[i].b.io;

		if (!r->slot[i].used || io->op == IO_FLUSH)
			continue;
		if ((change || changes(io->op)) && overlaps(lba, io->lba, count, io->lba_count))
			return true;
		if (change && io->op == IO_COPY &&
		    overlaps(lba, io->src_lba, count, io->lba_count))
			return true;
	}
	return false;
}

static void random_bytes(struct run *r, uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t v = rnd(r);

		memcpy(buf + i, &v, MIN(len - i, 8));
	}
}

/* The data of a compare, right or with one wrong byte. */
static void compare_data(struct run *r, struct slot *s)
{
	struct io *io = &s->b.io;
	size_t len = bytes(r, io->lba_count);

	memcpy(s->data, r->model + bytes(r, io->lba), len);
	if (chance(r, 30)) {
		s->data[below(r, len)] ^= 1 << below(r, 8);
		s->want = IO_ERR_MISCOMPARE;
	}
}

static void give_data(struct run *r, struct slot *s)
{
	struct io *io = &s->b.io;
	size_t len = bytes(r, io->lba_count);

	switch (io->op) {
	case IO_READ:
		make_iov(r, s, len);
		memset(s->data, 0xa5, len);
		iov_move(s, s->data, true);
		break;
	case IO_WRITE:
		make_iov(r, s, len);
		random_bytes(r, s->data, len);
		iov_move(s, s->data, true);
		break;
	case IO_COMPARE:
		make_iov(r, s, len);
		compare_data(r, s);
		iov_move(s, s->data, true);
		break;
	case IO_COMPARE_WRITE:
		make_iov(r, s, 2 * len);
		compare_data(r, s);
		random_bytes(r, s->data + len, len);
		iov_move(s, s->data, true);
		break;
	}
}

static bool make_io(struct run *r, struct slot *s)
{
	struct io *io = &s->b.io;

	memset(io, 0, sizeof(*io));
	io->op = below(r, IO_ABORT);
	io->lba = below(r, BLOCKS);
	io->lba_count = 1 + below(r, MIN(COUNT_MAX, BLOCKS - io->lba));
	io->flags = chance(r, 25) ? IO_FUA : 0;
	s->want = IO_OK;
	if (io->op == IO_COPY) {
		io->src_lba = below(r, BLOCKS - io->lba_count + 1);
		if (overlaps(io->lba, io->src_lba, io->lba_count, io->lba_count) ||
		    range_busy(r, io->src_lba, io->lba_count, false))
			return false;
	}
	if (io->op != IO_FLUSH && range_busy(r, io->lba, io->lba_count, changes(io->op)))
		return false;
	if (!bdev_supports(&r->fake->bdev, io->op))
		s->want = IO_ERR_UNSUPPORTED;
	if (io->op != IO_FLUSH && chance(r, 3)) {
		/* Past the end, or around it. */
		io->lba = chance(r, 50) ? BLOCKS - io->lba_count + 1 : UINT64_MAX - below(r, 8);
		s->want = IO_ERR_RANGE;
		make_iov(r, s, bytes(r, io->lba_count) * (io->op == IO_COMPARE_WRITE ? 2 : 1));
		return true;
	}
	give_data(r, s);
	return true;
}

/* ---- its end ---- */

/* An aborted change: each block is old or new. The model takes what is there. */
static void settle_aborted(struct run *r, const struct io *io, const uint8_t *new_data)
{
	for (uint32_t i = 0; i < io->lba_count; i++) {
		size_t at = bytes(r, io->lba + i);
		const uint8_t *now = r->fake->view + at;

		CHECK(memcmp(now, r->model + at, bytes(r, 1)) == 0 ||
		      memcmp(now, new_data + bytes(r, i), bytes(r, 1)) == 0);
		memcpy(r->model + at, now, bytes(r, 1));
	}
}

static void after_change(struct run *r, struct slot *s, const uint8_t *new_data)
{
	const struct io *io = &s->b.io;
	size_t at = bytes(r, io->lba), len = bytes(r, io->lba_count);

	if (io->status == IO_ERR_ABORTED) {
		settle_aborted(r, io, new_data);
		return;
	}
	if (io->status != IO_OK)
		return;
	memcpy(r->model + at, new_data, len);
	if ((io->flags & IO_FUA) && io->op != IO_UNMAP && io->op != IO_COPY)
		CHECK(memcmp(r->fake->media + at, new_data, len) == 0);
}

static void settle(struct run *r, struct slot *s)
{
	struct io *io = &s->b.io;
	size_t len = bytes(r, io->lba_count), at = bytes(r, io->lba);

	if (s->aborting) {
		CHECK(s->abort.done && s->abort.io.status == IO_OK);
		CHECK(s->abort.order > s->b.order);
	}
	CHECK(io->status == s->want || (s->aborting && io->status == IO_ERR_ABORTED));
	s->used = false;
	if (s->want == IO_ERR_RANGE || s->want == IO_ERR_UNSUPPORTED)
		return;
	switch (io->op) {
	case IO_READ:
		if (io->status != IO_OK)
			return;
		iov_move(s, s->data, false);
		CHECK(memcmp(s->data, r->model + at, len) == 0);
		break;
	case IO_WRITE:
		after_change(r, s, s->data);
		break;
	case IO_COMPARE_WRITE:
		after_change(r, s, s->data + len);
		break;
	case IO_UNMAP:
		if (r->fake->bdev.unmap_zeroes)
			after_change(r, s, memset(s->data, 0, len));
		break;
	case IO_WRITE_ZEROES:
		after_change(r, s, memset(s->data, 0, len));
		break;
	case IO_COPY:
		after_change(r, s, r->model + bytes(r, io->src_lba));
		break;
	}
}

static bool settled(const struct slot *s)
{
	return s->b.done && (!s->aborting || s->abort.done);
}

static void maybe_abort(struct run *r, struct slot *s)
{
	if (s->aborting || !chance(r, 10))
		return;
	s->aborting = true;
	bench_fill(&s->abort, IO_ABORT, 0, 0, NULL, 0);
	s->abort.io.victim = &s->b.io;
	bench_submit(r->chan, &s->abort);
}

static unsigned reap(struct run *r)
{
	unsigned busy = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *s = &r->slot[i];

		if (!s->used)
			continue;
		if (settled(s))
			settle(r, s);
		else
			maybe_abort(r, s);
		busy += s->used;
	}
	return busy;
}

static void run_steps(struct run *r)
{
	for (unsigned step = 0; step < STEPS; step++) {
		struct slot *s = &r->slot[below(r, SLOTS)];

		if (!s->used && make_io(r, s)) {
			s->used = true;
			s->aborting = false;
			bench_submit(r->chan, &s->b);
		}
		if (chance(r, 60))
			task_yield();
		reap(r);
	}
	while (reap(r) > 0)
		task_yield();
}

static void run_seed(uint64_t seed)
{
	struct run *r = calloc(1, sizeof(*r));
	struct bdev b;

	r->seed = seed;
	r->random = seed * 0x9e3779b97f4a7c15 | 1;
	b = shape(r);
	r->fake = fake_create(&b, chance(r, 20) ? FAKE_INSTANT : FAKE_RANDOM, seed);
	r->chan = bdev_chan(&r->fake->bdev);
	r->model = calloc(BLOCKS, b.block_bytes);
	for (unsigned i = 0; i < SLOTS; i++) {
		r->slot[i].memory = aligned_alloc(4096, 1 << 20);
		r->slot[i].data = malloc(2 * COUNT_MAX * b.block_bytes);
	}
	run_steps(r);
	CHECK(memcmp(r->model, r->fake->view, bytes(r, BLOCKS)) == 0);
	CHECK(r->chan->inflight == 0 && r->chan->writers == 0);
	fake_remove(r->fake);
	for (unsigned i = 0; i < SLOTS; i++) {
		free(r->slot[i].memory);
		free(r->slot[i].data);
	}
	free(r->model);
	free(r);
}

static void all_seeds(void *arg)
{
	const char *one = getenv("KARST_SEED");

	if (one) {
		run_seed(strtoull(one, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run_seed(seed);
}

static void test_bdev_behaves_like_an_array(void **state)
{
	loop_task(all_seeds, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_test(test_bdev_behaves_like_an_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
