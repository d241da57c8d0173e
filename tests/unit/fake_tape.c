/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/fake_tape.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/base/util.h"

/* A write that need not be on the medium; `dead`: blocks that something newer there replaces. */
struct tape_pending {
	size_t write;
	size_t done;            /* where on the tape, 0: not yet */
	uint8_t *dead;          /* a byte for each block; NULL: none */
};

/* ---- recording ---- */

static struct tape_entry *entry_add(struct fake_tape *tape, enum tape_kind kind)
{
	struct tape_entry *entry;

	if (tape->count == tape->room) {
		tape->room = MAX(tape->room * 2, (size_t)1024);
		tape->entries = realloc(tape->entries, tape->room * sizeof(*tape->entries));
		ASSERT(tape->entries);
	}
	entry = &tape->entries[tape->count++];
	*entry = (struct tape_entry){ .kind = kind };
	return entry;
}

void tape_start(struct fake_tape *tape, struct fake_bdev *f)
{
	size_t len = f->bdev.block_count * f->bdev.block_bytes;

	ASSERT(f->held_count == 0);
	*tape = (struct fake_tape){ .disk = f, .start = malloc(len) };
	ASSERT(tape->start);
	memcpy(tape->start, f->view, len);
	f->tape = tape;
}

void tape_stop(struct fake_tape *tape)
{
	if (tape->disk)
		tape->disk->tape = NULL;
	tape->disk = NULL;
}

void tape_free(struct fake_tape *tape)
{
	tape_stop(tape);
	for (size_t i = 0; i < tape->count; i++)
		free(tape->entries[i].data);
	free(tape->entries);
	free(tape->start);
	*tape = (struct fake_tape){ 0 };
}

void tape_mark(struct fake_tape *tape, uint64_t mark)
{
	entry_add(tape, TAPE_MARK)->mark = mark;
}

static void data_gather(struct tape_entry *entry, const struct io *io, size_t len)
{
	size_t at = 0;

	entry->data = malloc(len);
	ASSERT(entry->data);
	for (unsigned i = 0; at < len; i++) {
		ASSERT(i < io->iov_count);
		memcpy(entry->data + at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

/* An unmap that does not promise zeroes changes nothing that anybody may rely on. */
static bool io_changes(const struct fake_bdev *f, const struct io *io)
{
	return io->op == IO_WRITE || io->op == IO_WRITE_ZEROES ||
	       (io->op == IO_UNMAP && f->bdev.unmap_zeroes);
}

void tape_submitted(struct fake_tape *tape, struct io *io)
{
	const struct bdev *bdev = &tape->disk->bdev;
	struct tape_entry *entry;

	ASSERT(io->op != IO_COPY && io->op != IO_COMPARE_WRITE);
	io->scratch[0] = tape->count;
	if (!io_changes(tape->disk, io))
		return;
	entry = entry_add(tape, TAPE_WRITE);
	entry->lba = io->lba;
	entry->lba_count = io->lba_count;
	entry->durable = !bdev->volatile_cache || (io->op != IO_UNMAP && (io->flags & IO_FUA));
	if (io->op == IO_WRITE)
		data_gather(entry, io, (size_t)io->lba_count * bdev->block_bytes);
}

void tape_done(struct fake_tape *tape, struct io *io)
{
	if (io->op == IO_FLUSH)
		entry_add(tape, TAPE_FLUSH)->upto = io->scratch[0];
	else if (io_changes(tape->disk, io))
		entry_add(tape, TAPE_DONE)->write = io->scratch[0];
}

/* ---- crashes ---- */

static const struct tape_entry *write_of(const struct tape_crash *crash,
					 const struct tape_pending *pending)
{
	return &crash->tape->entries[pending->write];
}

static void block_put(const struct tape_crash *crash, const struct tape_entry *entry, uint64_t nth,
		      uint8_t *medium)
{
	uint8_t *to = medium + (entry->lba + nth) * crash->block_bytes;

	if (entry->data)
		memcpy(to, entry->data + nth * crash->block_bytes, crash->block_bytes);
	else
		memset(to, 0, crash->block_bytes);
}

static void entry_put(const struct tape_crash *crash, const struct tape_pending *pending,
		      uint8_t *medium)
{
	const struct tape_entry *entry = write_of(crash, pending);

	for (uint64_t i = 0; i < entry->lba_count; i++)
		if (!pending->dead || !pending->dead[i])
			block_put(crash, entry, i, medium);
}

/* Blocks of OLD that NEW, which is on the medium for sure, has too. */
static void mark_dead(struct tape_pending *old, const struct tape_entry *was,
		      const struct tape_entry *is)
{
	uint64_t from = MAX(was->lba, is->lba);
	uint64_t to = MIN(was->lba + was->lba_count, is->lba + is->lba_count);

	if (from >= to)
		return;
	if (!old->dead)
		old->dead = calloc(1, was->lba_count);
	ASSERT(old->dead);
	memset(old->dead + (from - was->lba), 1, to - from);
}

/* Pending write NTH is on the medium for sure; those done before it are no longer wanted there. */
static void settle(struct tape_crash *crash, size_t nth)
{
	struct tape_pending mine = crash->pending[nth];
	const struct tape_entry *entry = write_of(crash, &mine);

	entry_put(crash, &mine, crash->medium);
	memmove(&crash->pending[nth], &crash->pending[nth + 1],
		(--crash->pending_count - nth) * sizeof(mine));
	for (size_t i = 0; i < crash->pending_count; i++) {
		struct tape_pending *old = &crash->pending[i];

		if (old->done && old->done < mine.done)
			mark_dead(old, write_of(crash, old), entry);
	}
	free(mine.dead);
}

static void pending_add(struct tape_crash *crash, size_t write)
{
	if (crash->pending_count == crash->pending_room) {
		crash->pending_room = MAX(crash->pending_room * 2, (size_t)64);
		crash->pending = realloc(crash->pending,
					 crash->pending_room * sizeof(*crash->pending));
		ASSERT(crash->pending);
	}
	crash->pending[crash->pending_count++] = (struct tape_pending){ .write = write };
}

/* Done: it moves behind those that were done before it and before those that are not. */
static void pending_done(struct tape_crash *crash, size_t write)
{
	struct tape_pending mine;
	size_t nth = 0, to = 0;

	while (crash->pending[nth].write != write)
		ASSERT(++nth < crash->pending_count);
	mine = crash->pending[nth];
	mine.done = crash->at;
	while (to < nth && crash->pending[to].done)
		to++;
	memmove(&crash->pending[to + 1], &crash->pending[to], (nth - to) * sizeof(mine));
	crash->pending[to] = mine;
	if (write_of(crash, &mine)->durable)
		settle(crash, to);
}

static void pending_flushed(struct tape_crash *crash, size_t upto)
{
	size_t nth = 0;

	while (nth < crash->pending_count) {
		if (crash->pending[nth].done && crash->pending[nth].done <= upto)
			settle(crash, nth);
		else
			nth++;
	}
}

void crash_start(struct tape_crash *crash, const struct fake_tape *tape)
{
	const struct bdev *bdev = &tape->disk->bdev;
	size_t len = bdev->block_count * bdev->block_bytes;

	*crash = (struct tape_crash){
		.tape = tape,
		.medium = malloc(len),
		.block_bytes = bdev->block_bytes,
		.block_count = bdev->block_count,
	};
	ASSERT(crash->medium);
	memcpy(crash->medium, tape->start, len);
}

bool crash_next(struct tape_crash *crash)
{
	while (crash->at < crash->tape->count) {
		const struct tape_entry *entry = &crash->tape->entries[crash->at++];

		switch (entry->kind) {
		case TAPE_WRITE:
			pending_add(crash, crash->at - 1);
			return true;
		case TAPE_DONE:
			pending_done(crash, entry->write);
			return true;
		case TAPE_FLUSH:
			pending_flushed(crash, entry->upto);
			return true;
		case TAPE_MARK:
			crash->mark = entry->mark;
			return true;
		}
	}
	return false;
}

static uint64_t chance(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 11;
}

static void torn_put(const struct tape_crash *crash, const struct tape_pending *pending,
		     unsigned atomic, uint64_t *random, uint8_t *medium)
{
	const struct tape_entry *entry = write_of(crash, pending);
	bool there = false;

	for (uint64_t i = 0; i < entry->lba_count; i++) {
		if (i == 0 || (entry->lba + i) % atomic == 0)
			there = chance(random) & 1;
		if (there && (!pending->dead || !pending->dead[i]))
			block_put(crash, entry, i, medium);
	}
}

void crash_medium(const struct tape_crash *crash, enum tape_loss loss, unsigned atomic,
		  uint64_t seed, uint8_t *medium)
{
	uint64_t random = seed * 0x9e3779b97f4a7c15 | 1;

	memcpy(medium, crash->medium, crash->block_count * crash->block_bytes);
	for (size_t i = 0; loss != TAPE_LOST && i < crash->pending_count; i++) {
		if (loss == TAPE_TORN)
			torn_put(crash, &crash->pending[i], MAX(atomic, 1u), &random, medium);
		else if (loss == TAPE_KEPT || (chance(&random) & 1))
			entry_put(crash, &crash->pending[i], medium);
	}
}

void crash_end(struct tape_crash *crash)
{
	for (size_t i = 0; i < crash->pending_count; i++)
		free(crash->pending[i].dead);
	free(crash->pending);
	free(crash->medium);
	*crash = (struct tape_crash){ 0 };
}
