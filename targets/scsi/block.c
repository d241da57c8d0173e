/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads, writes, verification and capacity (SBC-3 5). A read or write goes to the disk as it is,
 * with the initiator's memory.
 */
#include "targets/scsi/scsi.h"

#include <string.h>

enum { BYTCHK_NONE = 0, BYTCHK_BLOCKS = 1, BYTCHK_ONE = 3 };

/* ---- ranges ---- */

struct range_form {
	uint8_t lba_at, lba_bytes, len_at, len_bytes;
};

/* The group of an operation code (SPC-4 4.2.5.1) says where the fields are. */
static const struct range_form *range_form(const uint8_t *cdb)
{
	static const struct range_form form[8] = {
		[0] = { 1, 3, 4, 1 }, [1] = { 2, 4, 7, 2 }, [2] = { 2, 4, 7, 2 },
		[4] = { 2, 8, 10, 4 }, [5] = { 2, 4, 6, 4 },
	};
	static const struct range_form compare_and_write = { 2, 8, 13, 1 };

	return cdb[0] == SCSI_COMPARE_AND_WRITE ? &compare_and_write : &form[cdb[0] >> 5];
}

bool scsi_range(struct scsi_task *task, uint64_t *lba, uint32_t *blocks)
{
	const struct range_form *form = range_form(task->cdb);
	uint64_t count = task->lu->bdev->block_count;

	*lba = scsi_be(task->cdb + form->lba_at, form->lba_bytes);
	*blocks = (uint32_t)scsi_be(task->cdb + form->len_at, form->len_bytes);
	if (form->len_at == 4) {
		*lba &= 0x1fffff;
		if (*blocks == 0)               /* SBC-3 5.7: of READ(6), WRITE(6) */
			*blocks = 256;
	}
	if (unlikely(*lba > count || *blocks > count - *lba)) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE);
		return false;
	}
	return true;
}

/* The range of a transfer, in task->io. False: the task has ended, or has nothing to do and did. */
static bool transfer_range(struct scsi_task *task)
{
	uint64_t lba;
	uint32_t blocks;

	if (unlikely(!scsi_range(task, &lba, &blocks)))
		return false;
	if (unlikely(blocks > (uint32_t)SCSI_XFER_BYTES_MAX >> task->lu->bdev->block_shift)) {
		scsi_fail_cdb(task, range_form(task->cdb)->len_at, 7);
		return false;
	}
	if (unlikely(blocks == 0)) {
		scsi_good(task);
		return false;
	}
	task->io.lba = lba;
	task->io.lba_count = blocks;
	return true;
}

/* ---- the way to the disk ---- */

void scsi_submit(struct scsi_task *task, void (*done)(struct io *io))
{
	task->io.done = done;
	if (task->foreign)
		task->io.flags |= IO_FOREIGN;
	bdev_submit(bdev_chan(task->lu->bdev), &task->io);
}

static void plain_done(struct io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);

	if (unlikely(io->status != IO_OK))
		scsi_fail_io(task, io->status);
	else
		scsi_good(task);
}

/* The initiator's data, BYTES of it, as the memory of task->io. False: there is less. */
static bool take_out(struct scsi_task *task, uint64_t bytes)
{
	if (unlikely(task->out_bytes < bytes)) {
		scsi_overrun(task);
		return false;
	}
	scsi_iov_cut(task->out, &task->out_count, (uint32_t)bytes);
	task->io.iov = task->out;
	task->io.iov_count = task->out_count;
	task->moved = (uint32_t)bytes;
	return true;
}

void scsi_read(struct scsi_task *task)
{
	uint32_t bytes;

	if (unlikely(!transfer_range(task)))
		return;
	bytes = task->io.lba_count << task->lu->bdev->block_shift;
	if (unlikely(task->in_bytes < bytes)) {
		scsi_overrun(task);
		return;
	}
	scsi_iov_cut(task->in, &task->in_count, bytes);
	task->moved = bytes;
	task->io.op = IO_READ;
	task->io.flags = 0;
	task->io.iov = task->in;
	task->io.iov_count = task->in_count;
	scsi_submit(task, plain_done);
}

static bool write_begin(struct scsi_task *task)
{
	if (unlikely(!transfer_range(task)))
		return false;
	task->io.op = IO_WRITE;
	return take_out(task, (uint64_t)task->io.lba_count << task->lu->bdev->block_shift);
}

void scsi_write(struct scsi_task *task)
{
	bool fua = task->cdb[0] != SCSI_WRITE_6 && (task->cdb[1] & SCSI_CDB1_FUA);

	if (unlikely(!write_begin(task)))
		return;
	task->io.flags = fua ? IO_FUA : 0;
	scsi_submit(task, plain_done);
}

/* ---- verification ---- */

static void write_verify_written(struct io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);

	if (io->status != IO_OK) {
		scsi_fail_io(task, io->status);
		return;
	}
	if (scsi_killed(task))
		return;
	io->op = IO_COMPARE;
	io->flags = 0;
	scsi_submit(task, plain_done);
}

/* What was written is compared with what can be read, whether the initiator asked for it or not. */
void scsi_write_verify(struct scsi_task *task)
{
	if ((task->cdb[1] >> 1 & 3) > BYTCHK_BLOCKS) {
		scsi_fail_cdb(task, 1, 2);
		return;
	}
	if (!write_begin(task))
		return;
	task->io.flags = IO_FUA;
	scsi_submit(task, write_verify_written);
}

/* SBC-3 5.29. The limit of a transfer holds only where all of the data is transferred. */
void scsi_verify(struct scsi_task *task)
{
	unsigned check = task->cdb[1] >> 1 & 3;
	unsigned shift = task->lu->bdev->block_shift;
	uint64_t lba;
	uint32_t blocks;

	if (check == BYTCHK_BLOCKS) {
		if (!transfer_range(task))
			return;
		task->io.op = IO_COMPARE;
		task->io.flags = 0;
		if (take_out(task, (uint64_t)task->io.lba_count << shift))
			scsi_submit(task, plain_done);
		return;
	}
	if (check != BYTCHK_NONE && check != BYTCHK_ONE) {
		scsi_fail_cdb(task, 1, 2);
		return;
	}
	if (!scsi_range(task, &lba, &blocks))
		return;
	if (blocks == 0) {
		scsi_good(task);
		return;
	}
	if (check == BYTCHK_ONE) {
		if (take_out(task, 1u << shift))
			scsi_walk(task, SCSI_WALK_COMPARE, lba, blocks);
		return;
	}
	task->io.op = IO_VERIFY;
	task->io.flags = 0;
	task->io.lba = lba;
	task->io.lba_count = blocks;
	task->io.iov_count = 0;
	scsi_submit(task, plain_done);
}

/* ---- the rest ---- */

/* There is no cache of ours to fill; the range is checked all the same. SBC-3 5.8 */
void scsi_prefetch(struct scsi_task *task)
{
	uint64_t lba;
	uint32_t blocks;

	if (scsi_range(task, &lba, &blocks))
		scsi_good(task);
}

/* The whole cache is written, whatever the range. SBC-3 5.26 */
void scsi_sync_cache(struct scsi_task *task)
{
	uint64_t lba;
	uint32_t blocks;

	if (!scsi_range(task, &lba, &blocks))
		return;
	if (!task->lu->bdev->volatile_cache || task->lu->bdev->readonly) {
		scsi_good(task);
		return;
	}
	task->io.op = IO_FLUSH;
	task->io.flags = 0;
	task->io.lba = 0;
	task->io.lba_count = 0;
	task->io.iov_count = 0;
	scsi_submit(task, plain_done);
}

/* SBC-3 5.2: what to compare, then what to write. */
void scsi_compare_and_write(struct scsi_task *task)
{
	if (!transfer_range(task))
		return;
	task->io.op = IO_COMPARE_WRITE;
	task->io.flags = task->cdb[1] & SCSI_CDB1_FUA ? IO_FUA : 0;
	if (take_out(task, 2 * ((uint64_t)task->io.lba_count << task->lu->bdev->block_shift)))
		scsi_submit(task, plain_done);
}

void scsi_read_capacity_10(struct scsi_task *task)
{
	const struct bdev *bdev = task->lu->bdev;
	uint8_t data[8];

	if (!(task->cdb[8] & 1) && scsi_be(task->cdb + 2, 4)) {
		scsi_fail_cdb(task, 2, 7);
		return;
	}
	scsi_be_put(data, 4, MIN(bdev->block_count - 1, UINT32_MAX));
	scsi_be_put(data + 4, 4, bdev->block_bytes);
	scsi_reply(task, data, sizeof(data), sizeof(data));
}

/* SBC-3 5.16 */
void scsi_read_capacity_16(struct scsi_task *task)
{
	const struct bdev *bdev = task->lu->bdev;
	uint8_t data[32] = { 0 };

	if (!(task->cdb[14] & 1) && scsi_be(task->cdb + 2, 8)) {
		scsi_fail_cdb(task, 2, 7);
		return;
	}
	scsi_be_put(data, 8, bdev->block_count - 1);
	scsi_be_put(data + 8, 4, bdev->block_bytes);
	if (bdev_supports(bdev, IO_UNMAP)) {
		data[14] = 0x80;                /* LBPME */
		if (bdev->unmap_zeroes)
			data[14] |= 0x40;       /* LBPRZ */
	}
	scsi_reply(task, data, sizeof(data), scsi_be(task->cdb + 10, 4));
}
