/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UNMAP, WRITE SAME, GET LBA STATUS (SBC-3 5.28, 5.41, 5.4). Nothing is changed before the whole
 * command has been checked; ranges then follow one another.
 */
#include "targets/scsi/scsi.h"

#include <string.h>

#include "core/base/bytes.h"

enum {
	UNMAP_HEADER_BYTES = 8,
	UNMAP_RANGE_BYTES = 16,
	WRITE_SAME_UNMAP = 0x08,
	WRITE_SAME_NDOB = 0x01,
};

/* ---- UNMAP ---- */

static unsigned unmap_ranges(const struct scsi_task *task)
{
	uint8_t header[UNMAP_HEADER_BYTES];
	size_t total = scsi_be(task->cdb + 7, 2), given;

	scsi_fetch(task, 0, header, sizeof(header));
	given = scsi_be(header + 2, 2);
	return (unsigned)(MIN(given, total - UNMAP_HEADER_BYTES) / UNMAP_RANGE_BYTES);
}

static void unmap_range(const struct scsi_task *task, unsigned i, uint64_t *lba, uint32_t *blocks)
{
	uint8_t range[UNMAP_RANGE_BYTES];

	scsi_fetch(task, UNMAP_HEADER_BYTES + i * UNMAP_RANGE_BYTES, range, sizeof(range));
	*lba = scsi_be(range, 8);
	*blocks = (uint32_t)scsi_be(range + 8, 4);
}

static void unmap_step(struct scsi_task *task);

static void unmap_done(struct io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);

	if (io->status == IO_OK)
		unmap_step(task);
	else
		scsi_fail_io(task, io->status);
}

static void unmap_step(struct scsi_task *task)
{
	uint64_t lba, count = task->lu->bdev->block_count;
	uint32_t blocks;

	if (scsi_killed(task))
		return;
	while (task->range < task->ranges) {
		/* the initiator may have changed its memory since the check */
		unmap_range(task, task->range++, &lba, &blocks);
		if (blocks == 0)
			continue;
		if (lba > count || blocks > count - lba) {
			scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE);
			return;
		}
		task->io.op = IO_UNMAP;
		task->io.flags = 0;
		task->io.lba = lba;
		task->io.lba_count = blocks;
		task->io.iov_count = 0;
		scsi_submit(task, unmap_done);
		return;
	}
	scsi_good(task);
}

void scsi_unmap(struct scsi_task *task)
{
	size_t total = scsi_be(task->cdb + 7, 2);
	uint64_t lba, count = task->lu->bdev->block_count;
	uint32_t blocks;
	unsigned ranges;

	if (total == 0) {
		scsi_good(task);
		return;
	}
	if (total < UNMAP_HEADER_BYTES) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return;
	}
	if (task->out_bytes < total) {
		scsi_overrun(task);
		return;
	}
	ranges = unmap_ranges(task);
	if (ranges > SCSI_UNMAP_RANGES) {
		scsi_fail_parameter(task, 2);
		return;
	}
	for (unsigned i = 0; i < ranges; i++) {
		unmap_range(task, i, &lba, &blocks);
		if (lba > count || blocks > count - lba) {
			scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE);
			return;
		}
	}
	task->moved = (uint32_t)total;
	task->range = 0;
	task->ranges = (uint16_t)ranges;
	unmap_step(task);
}

/* ---- WRITE SAME ---- */

static bool pattern_zero(const struct scsi_task *task)
{
	uint8_t piece[512];

	if (task->cdb[0] == SCSI_WRITE_SAME_16 && (task->cdb[1] & WRITE_SAME_NDOB))
		return true;
	for (size_t at = 0; at < task->lu->bdev->block_bytes; at += sizeof(piece)) {
		scsi_fetch(task, at, piece, sizeof(piece));
		if (!bytes_zero(piece, sizeof(piece)))
			return false;
	}
	return true;
}

static void zeroes_done(struct io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);

	if (io->status == IO_OK)
		scsi_good(task);
	else
		scsi_fail_io(task, io->status);
}

/* Zeroes are deallocated when that was asked for, and the disk reads them as zeroes afterwards. */
static void same_zeroes(struct scsi_task *task, uint64_t lba, uint32_t blocks)
{
	const struct bdev *bdev = task->lu->bdev;
	bool unmap = task->cdb[1] & WRITE_SAME_UNMAP;

	task->io.op = IO_WRITE_ZEROES;
	task->io.flags = unmap && bdev->unmap_zeroes ? 0 : IO_NO_UNMAP;
	task->io.lba = lba;
	task->io.lba_count = blocks;
	task->io.iov_count = 0;
	scsi_submit(task, zeroes_done);
}

void scsi_write_same(struct scsi_task *task)
{
	const struct bdev *bdev = task->lu->bdev;
	bool ndob = task->cdb[0] == SCSI_WRITE_SAME_16 && (task->cdb[1] & WRITE_SAME_NDOB);
	unsigned len_at = task->cdb[0] == SCSI_WRITE_SAME_16 ? 10 : 7;
	uint64_t lba;
	uint32_t blocks;

	if ((task->cdb[1] & WRITE_SAME_UNMAP) && !bdev_supports(bdev, IO_UNMAP)) {
		scsi_fail_cdb(task, 1, 3);
		return;
	}
	if (!scsi_range(task, &lba, &blocks))
		return;
	/* 0 would mean up to the end: WSNZ of the block limits page */
	if (blocks == 0 || blocks > SCSI_WRITE_SAME_BLOCKS) {
		scsi_fail_cdb(task, len_at, 7);
		return;
	}
	if (!ndob && task->out_bytes < bdev->block_bytes) {
		scsi_overrun(task);
		return;
	}
	task->moved = ndob ? 0 : bdev->block_bytes;
	if (pattern_zero(task)) {
		same_zeroes(task, lba, blocks);
		return;
	}
	scsi_walk(task, SCSI_WALK_WRITE, lba, blocks);
}

/* ---- GET LBA STATUS ---- */

/* A disk does not say what of it is mapped: one descriptor, "mapped or unknown". SBC-3 5.4.2 */
void scsi_get_lba_status(struct scsi_task *task)
{
	uint64_t count = task->lu->bdev->block_count;
	uint64_t lba = scsi_be(task->cdb + 2, 8);
	uint8_t data[24] = { 0 };

	if (lba >= count) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE);
		return;
	}
	scsi_be_put(data, 4, sizeof(data) - 4);
	scsi_be_put(data + 8, 8, lba);
	scsi_be_put(data + 16, 4, MIN(count - lba, UINT32_MAX));
	scsi_reply(task, data, sizeof(data), scsi_be(task->cdb + 10, 4));
}
