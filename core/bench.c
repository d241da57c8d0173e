/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The load of `disk bench`: every reactor keeps QD requests in flight through its own channel until
 * its slice is over; each that completes is replaced at once, at a random place or at the next one
 * of the reactor's own part of the disk.
 *
 * With `verify` each reactor has a part of the disk for itself and remembers the generation of each
 * place there, so that a read knows what it must find; no place has two requests at a time. Without
 * writing, every block must hold the pattern of some earlier run.
 */
#include "core/bench.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/bench_pattern.h"
#include "core/clock.h"

/* In the table of generations: a request is under way there. */
#define PLACE_BUSY 0x80000000u

static uint64_t bench_random(struct bench_reactor *r)
{
	/* xorshift64: quality does not matter, cost does */
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return r->random;
}

static uint64_t bench_place(struct bench_reactor *r)
{
	const struct bench *b = r->bench;

	if (b->rw >= BENCH_RANDREAD)
		return (uint64_t)((unsigned __int128)bench_random(r) * b->places >> 64);
	if (r->next >= b->places)
		r->next = 0;
	return r->next++;
}

/* The next place that nobody is at; there are as many places as requests at least. */
static uint64_t verify_place(struct bench_reactor *r)
{
	uint64_t place = bench_place(r);

	while (r->generation[place] & PLACE_BUSY)
		place = (place + 1) % r->bench->places;
	return place;
}

/* In the end: the next place that was written; false when there is none. */
static bool check_place(struct bench_reactor *r, uint64_t *place)
{
	while (r->next < r->bench->places && r->generation[r->next] == 0)
		r->next++;
	*place = r->next++;
	return *place < r->bench->places;
}

static struct bench_stamp slot_stamp(const struct bench_slot *slot)
{
	return (struct bench_stamp){ slot->reactor->bench->run, slot->generation };
}

static void verify_prepare(struct bench_slot *slot, bool write)
{
	struct bench_reactor *r = slot->reactor;
	uint64_t lba = (r->first + slot->place) * r->bench->io_blocks;
	size_t bytes = r->bench->user.bdev->block_bytes;
	uint8_t *block = slot->iov.iov_base;

	slot->generation = r->generation[slot->place] + write;
	r->generation[slot->place] |= PLACE_BUSY;
	for (uint32_t i = 0; i < r->bench->io_blocks; i++, block += bytes) {
		if (write)
			bench_pattern_fill(block, bytes, lba + i, slot_stamp(slot));
		else
			bench_pattern_spoil(block);
	}
}

static void verify_done(struct bench_slot *slot)
{
	struct bench_reactor *r = slot->reactor;
	size_t bytes = r->bench->user.bdev->block_bytes;
	const uint8_t *block = slot->iov.iov_base;
	char what[BENCH_FOUND_BYTES / 2 + 32];

	r->generation[slot->place] = slot->generation;
	if (slot->io.op == IO_WRITE)
		return;
	for (uint32_t i = 0; i < r->bench->io_blocks; i++, block += bytes) {
		if (bench_pattern_check(block, bytes, slot->io.lba + i, slot_stamp(slot), what,
					sizeof(what)))
			continue;
		if (r->status == IO_OK)
			snprintf(r->found, sizeof(r->found), "block %" PRIu64 " holds %s",
				 slot->io.lba + i, what);
		r->status = IO_ERR_MISCOMPARE;
		return;
	}
	r->verified++;
}

static void bench_done(struct io *io);

/* False when there is nothing more to do. */
static bool bench_next(struct bench_slot *slot)
{
	struct bench_reactor *r = slot->reactor;
	const struct bench *b = r->bench;
	bool write = b->rw == BENCH_WRITE || b->rw == BENCH_RANDWRITE ||
		     (b->rw == BENCH_RANDRW && (bench_random(r) & 1));

	if (b->checking) {
		write = false;
		if (!check_place(r, &slot->place))
			return false;
	} else {
		slot->place = b->verify ? verify_place(r) : bench_place(r);
	}
	if (b->verify) {
		write |= bench_writes(b) && r->generation[slot->place] == 0;
		verify_prepare(slot, write);
		/* which takes longer than many a disk */
		clock_ticks();
	}
	slot->io.op = write ? IO_WRITE : IO_READ;
	slot->io.lba = (r->first + slot->place) * b->io_blocks;
	slot->start_ticks = clock_ticks_recent();
	r->inflight++;
	bdev_submit(bdev_chan(b->user.bdev), &slot->io);
	return true;
}

static void bench_done(struct io *io)
{
	struct bench_slot *slot = container_of(io, struct bench_slot, io);
	struct bench_reactor *r = slot->reactor;
	const struct bench *b = r->bench;

	r->inflight--;
	if (io->status == IO_OK) {
		if (!b->checking) {
			r->ops++;
			stat_hist_add(&r->latency,
				      clock_ticks_to_ns(clock_ticks_recent() - slot->start_ticks));
		}
		if (b->verify)
			verify_done(slot);
	} else if (r->status == IO_OK) {
		r->status = io->status;
	}
	if (r->status == IO_OK && !b->gone && reactor_now_us() < r->deadline_us &&
	    bench_next(slot))
		return;
	if (r->inflight == 0)
		event_signal(&r->ended);
}

void bench_slice(void *arg)
{
	struct bench *b = arg;
	struct bench_reactor *r = b->reactor[reactor_index()];
	uint64_t slice_us = b->checking ? BENCH_SLICE_US : MIN(b->time_us - b->run_us,
							  (uint64_t)BENCH_SLICE_US);

	event_init(&r->ended);
	r->deadline_us = clock_now_us() + slice_us;
	clock_ticks();
	for (unsigned i = 0; i < b->qd; i++) {
		r->slot[i].io = (struct io){
			.iov = &r->slot[i].iov, .iov_count = 1, .lba_count = b->io_blocks,
			.done = bench_done,
		};
		if (!bench_next(&r->slot[i]))
			break;
	}
	if (r->inflight > 0)
		task_wait(&r->ended);
}
