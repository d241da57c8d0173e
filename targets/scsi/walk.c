/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges of any length, a piece after the other, in memory of our own: writing one block over and
 * over, comparing with it, and looking for the place where the medium differs from the initiator's
 * data or cannot be read, which sense data names (SBC-3 4.18.1). A disk says only that it differs.
 */
#include "targets/scsi/scsi.h"

#include <string.h>

#include "core/clock.h"

enum {
	WALK_BYTES = 128 * 1024,        /* a piece */
	DIFFER_BYTES = 512,             /* that are compared at once; divides a block */
	LOCATE_US = 1000 * 1000,        /* a drive may try for seconds to read a bad block */
};

/* ---- memory ---- */

/* The initiator's first block, over and over in task->iov: buffers may be smaller than a block. */
static void pattern_fill(struct scsi_task *task)
{
	size_t block = task->lu->bdev->block_bytes, done = 0, part;

	for (unsigned i = 0; i < task->iov_count; i++) {
		uint8_t *p = task->iov[i].iov_base;

		for (size_t at = 0; at < task->iov[i].iov_len; at += part, done += part) {
			part = MIN(block - done % block, task->iov[i].iov_len - at);
			scsi_fetch(task, done % block, p + at, part);
		}
	}
}

/* The first BYTES of task->iov as the memory of task->io. */
static void take_part(struct scsi_task *task, size_t bytes)
{
	size_t whole = 0;
	uint16_t count = 0;

	for (unsigned i = 0; i < task->iov_count; i++)
		whole += task->iov[i].iov_len;
	if (bytes == whole) {
		task->io.iov = task->iov;
		task->io.iov_count = (uint16_t)task->iov_count;
		return;
	}
	/* the last piece is shorter: the buffers go back as they came, so they are not cut */
	for (; bytes; count++) {
		task->part[count].iov_base = task->iov[count].iov_base;
		task->part[count].iov_len = MIN(bytes, task->iov[count].iov_len);
		bytes -= task->part[count].iov_len;
	}
	task->io.iov = task->part;
	task->io.iov_count = count;
}

/*
 * Where the piece that was read into task->io.iov first differs from the initiator's data, as an
 * offset in that. False: nowhere.
 */
static bool first_difference(const struct scsi_task *task, uint64_t *offset)
{
	size_t block = task->lu->bdev->block_bytes, done = 0;
	uint8_t theirs[DIFFER_BYTES];

	for (unsigned i = 0; i < task->io.iov_count; i++) {
		const uint8_t *ours = task->io.iov[i].iov_base;

		for (size_t at = 0; at < task->io.iov[i].iov_len; at += DIFFER_BYTES) {
			*offset = task->one_block ? done % block : task->compared + done;
			scsi_fetch(task, *offset, theirs, sizeof(theirs));
			for (unsigned j = 0; j < DIFFER_BYTES; j++, (*offset)++) {
				if (ours[at + j] != theirs[j])
					return true;
			}
			done += DIFFER_BYTES;
		}
	}
	return false;
}

/* ---- the walk ---- */

static void walk_step(struct scsi_task *task);

static void walk_done(struct io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);
	bool differs = task->walk == SCSI_WALK_DIFFER;
	uint64_t offset;

	if (io->status != IO_OK) {
		if (differs)
			scsi_fail_unlocated(task, IO_ERR_MISCOMPARE);
		else
			scsi_fail_io(task, io->status);
		return;
	}
	if (differs && first_difference(task, &offset)) {
		scsi_fail_at(task, IO_ERR_MISCOMPARE, offset);
		return;
	}
	task->lba += io->lba_count;
	task->blocks_left -= io->lba_count;
	task->compared += (uint64_t)io->lba_count << task->lu->bdev->block_shift;
	walk_step(task);
}

static void walk_memory(struct buf_wait *wait)
{
	walk_step(container_of(wait, struct scsi_task, wait));
}

static void walk_end(struct scsi_task *task)
{
	/* somebody else has written meanwhile what was missed before */
	if (task->walk == SCSI_WALK_DIFFER)
		scsi_fail_unlocated(task, IO_ERR_MISCOMPARE);
	else
		scsi_good(task);
}

static void walk_step(struct scsi_task *task)
{
	static const uint8_t op[] = {
		[SCSI_WALK_WRITE] = IO_WRITE,
		[SCSI_WALK_COMPARE] = IO_COMPARE,
		[SCSI_WALK_DIFFER] = IO_READ,
	};
	unsigned shift = task->lu->bdev->block_shift;
	uint32_t blocks = MIN(task->blocks_left, (uint32_t)WALK_BYTES >> shift);

	if (scsi_killed(task))
		return;
	if (blocks == 0) {
		walk_end(task);
		return;
	}
	if (task->iov_count == 0) {
		task->wait.ready = walk_memory;
		task->iov_count = buf_get((size_t)blocks << shift, task->iov, &task->wait);
		if (task->iov_count == 0)
			return;
		if (task->walk != SCSI_WALK_DIFFER)
			pattern_fill(task);
	}
	task->io.op = op[task->walk];
	task->io.flags = 0;
	task->io.lba = task->lba;
	task->io.lba_count = blocks;
	take_part(task, (size_t)blocks << shift);
	scsi_submit(task, walk_done);
}

void scsi_walk(struct scsi_task *task, enum scsi_walk walk, uint64_t lba, uint32_t blocks)
{
	task->walk = (uint8_t)walk;
	task->one_block = walk != SCSI_WALK_DIFFER || task->one_block;
	task->lba = lba;
	task->blocks_left = blocks;
	task->compared = 0;
	walk_step(task);
}

void scsi_locate_difference(struct scsi_task *task)
{
	scsi_walk(task, SCSI_WALK_DIFFER, task->io.lba, task->io.lba_count);
}

/* ---- which block cannot be read ---- */

static void halve(struct scsi_task *task);

static void halve_done(struct io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);
	bool bad = io->status == IO_ERR_MEDIA_READ;

	if ((io->status != IO_OK && !bad) || (task->blocks_left == 1 && !bad)) {
		scsi_fail_unlocated(task, IO_ERR_MEDIA_READ);
		return;
	}
	if (task->blocks_left == 1) {
		scsi_fail_at(task, IO_ERR_MEDIA_READ, task->lba);
		return;
	}
	if (bad) {
		task->blocks_left = io->lba_count;
	} else {
		task->lba += io->lba_count;
		task->blocks_left -= io->lba_count;
	}
	halve(task);
}

static void halve(struct scsi_task *task)
{
	if (scsi_killed(task))
		return;
	if (clock_now_us() > task->locate_until_us) {
		scsi_fail_unlocated(task, IO_ERR_MEDIA_READ);
		return;
	}
	task->io.op = IO_VERIFY;
	task->io.flags = 0;
	task->io.lba = task->lba;
	task->io.lba_count = MAX(task->blocks_left / 2, 1u);
	task->io.iov_count = 0;
	scsi_submit(task, halve_done);
}

void scsi_locate_bad_block(struct scsi_task *task)
{
	task->lba = task->io.lba;
	task->blocks_left = task->io.lba_count;
	task->locate_until_us = clock_now_us() + LOCATE_US;
	halve(task);
}
