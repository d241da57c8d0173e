/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI task from its CDB to its status. The checks are in the order of SAM-5 5.14: logical unit,
 * unit attention, operation code, reserved bits, reservation, readiness; then the command itself.
 * Every way out is scsi_end, once.
 */
#include "targets/scsi/scsi.h"

#include <string.h>

static void scsi_end(struct scsi_task *task)
{
	struct scsi_lu *lu = task->lu;

	if (task->iov_count) {
		buf_put(task->iov, task->iov_count);
		task->iov_count = 0;
	}
	if (lu) {
		struct scsi_lu_chan *chan = &lu->chan[reactor_index()];

		list_del(&task->link);
		if (unlikely(task->kill)) {
			task->outcome = task->kill;
			task->moved = 0;
			chan->killed--;
		}
		if (unlikely(chan->killed == 0 && !chan->settled.set))
			event_signal(&chan->settled);
	}
	task->done(task);
}

void scsi_good(struct scsi_task *task)
{
	scsi_end(task);
}

void scsi_status(struct scsi_task *task, enum scsi_status status)
{
	task->status = (uint8_t)status;
	scsi_end(task);
}

void scsi_overrun(struct scsi_task *task)
{
	task->outcome = SCSI_OUTCOME_OVERRUN;
	scsi_end(task);
}

/* SPC-4 4.5.3 */
void scsi_sense_build(uint8_t sense[SCSI_SENSE_FIXED_BYTES], enum scsi_sense_key key, uint16_t asc)
{
	memset(sense, 0, SCSI_SENSE_FIXED_BYTES);
	sense[0] = SCSI_SENSE_FIXED;
	sense[2] = (uint8_t)key;
	sense[7] = SCSI_SENSE_FIXED_BYTES - 8;
	scsi_be_put(sense + 12, 2, asc);
}

static void check_condition(struct scsi_task *task, enum scsi_sense_key key, uint16_t asc)
{
	scsi_sense_build(task->sense, key, asc);
	task->sense_len = SCSI_SENSE_FIXED_BYTES;
	task->status = SCSI_CHECK_CONDITION;
	task->moved = 0;
}

void scsi_fail(struct scsi_task *task, enum scsi_sense_key key, uint16_t asc)
{
	check_condition(task, key, asc);
	scsi_end(task);
}

/* SPC-4 4.5.2.4.2: field pointer sense key specific data */
static void field_pointer(struct scsi_task *task, bool in_cdb, unsigned byte, unsigned bit)
{
	task->sense[15] = (uint8_t)(0x80 | (in_cdb ? 0x40 : 0) | (bit < 8 ? 0x08 | bit : 0));
	scsi_be_put(task->sense + 16, 2, byte);
}

void scsi_fail_cdb(struct scsi_task *task, unsigned byte, unsigned bit)
{
	check_condition(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	field_pointer(task, true, byte, bit);
	scsi_end(task);
}

void scsi_fail_parameter(struct scsi_task *task, unsigned byte)
{
	check_condition(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_PARAMETER);
	field_pointer(task, false, byte, 0xff);
	scsi_end(task);
}

/* The one place where what a disk says becomes sense data. */
void scsi_fail_io(struct scsi_task *task, enum io_status status)
{
	static const struct {
		uint8_t key;
		uint16_t asc;
	} map[IO_STATUS_COUNT] = {
		[IO_ERR_INVALID] = { SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB },
		[IO_ERR_UNSUPPORTED] = { SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE },
		[IO_ERR_RANGE] = { SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE },
		[IO_ERR_READONLY] = { SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED },
		[IO_ERR_MEDIA_READ] = { SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_READ_ERROR },
		[IO_ERR_MEDIA_WRITE] = { SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR },
		[IO_ERR_MISCOMPARE] = { SCSI_KEY_MISCOMPARE, SCSI_ASC_MISCOMPARE },
		[IO_ERR_NOSPC] = { SCSI_KEY_DATA_PROTECT, SCSI_ASC_SPACE_ALLOCATION_FAILED },
		[IO_ERR_ABORTED] = { SCSI_KEY_ABORTED_COMMAND, SCSI_ASC_NONE },
		[IO_ERR_TIMEOUT] = { SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE },
		[IO_ERR_GONE] = { SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED },
		[IO_ERR_NOMEM] = { SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE },
		[IO_ERR_DEVICE] = { SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE },
	};

	scsi_fail(task, map[status].key, map[status].asc);
}

bool scsi_killed(struct scsi_task *task)
{
	if (likely(!task->kill))
		return false;
	scsi_end(task);
	return true;
}

/* ---- data in memory ---- */

void scsi_reply(struct scsi_task *task, const void *data, size_t len, size_t allocation)
{
	const char *from = data;
	size_t left = MIN(MIN(len, allocation), task->in_bytes);

	task->moved = (uint32_t)left;
	for (unsigned i = 0; left; i++) {
		size_t part = MIN(left, task->in[i].iov_len);

		memcpy(task->in[i].iov_base, from, part);
		from += part;
		left -= part;
	}
	scsi_end(task);
}

bool scsi_fetch(const struct scsi_task *task, size_t at, void *data, size_t len)
{
	char *to = data;

	if (at > task->out_bytes || len > task->out_bytes - at)
		return false;
	for (unsigned i = 0; len; i++) {
		const struct iovec *iov = &task->out[i];
		size_t part;

		if (at >= iov->iov_len) {
			at -= iov->iov_len;
			continue;
		}
		part = MIN(len, iov->iov_len - at);
		memcpy(to, (const char *)iov->iov_base + at, part);
		to += part;
		len -= part;
		at = 0;
	}
	return true;
}

void scsi_iov_cut(struct iovec *iov, uint16_t *count, uint32_t bytes)
{
	uint16_t used = 0;

	while (bytes) {
		iov[used].iov_len = MIN(iov[used].iov_len, bytes);
		bytes -= (uint32_t)iov[used++].iov_len;
	}
	*count = used;
}

/* ---- the way in ---- */

/* A task without a logical unit to belong to. SPC-4 4.6.4 */
static void exec_no_lu(struct scsi_task *task, const struct scsi_cmd *cmd)
{
	if (cmd && (cmd->flags & SCSI_CMD_ANY_LUN))
		cmd->exec(task);
	else
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
}

/* The first byte with bits that the command does not know; -1: none. */
static int foreign_byte(const struct scsi_cmd *cmd, const uint8_t *cdb)
{
	for (unsigned i = 1; i < cmd->len; i++) {
		uint8_t known = cmd->usage[i];

		/* the service action was matched; the vendor's bits of the control byte are free */
		if (i == 1 && cmd->sa != SCSI_NO_SA)
			known |= 0x1f;
		if (i == cmd->len - 1u)
			known |= 0xc0;
		if (unlikely(cdb[i] & ~known))
			return (int)i;
	}
	return -1;
}

static bool may_run(struct scsi_task *task)
{
	const struct scsi_cmd *cmd = task->cmd;
	struct scsi_lu *lu = task->lu;
	int byte = foreign_byte(cmd, task->cdb);

	if (unlikely(!scsi_cmd_offered(cmd, lu))) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		return false;
	}
	if (unlikely(byte >= 0)) {
		uint8_t bits = (uint8_t)(task->cdb[byte] & ~cmd->usage[byte]);

		scsi_fail_cdb(task, (unsigned)byte, log2_floor(bits));
		return false;
	}
	if (unlikely(!(cmd->flags & SCSI_CMD_PR_FREE) && !scsi_persistent_allows(task))) {
		scsi_status(task, SCSI_RESERVATION_CONFLICT);
		return false;
	}
	if (unlikely((cmd->flags & SCSI_CMD_MEDIUM) && atomic_load(&lu->stopped))) {
		scsi_fail(task, SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_INITIALIZE);
		return false;
	}
	if (unlikely((cmd->flags & SCSI_CMD_WRITES) &&
		     (lu->bdev->readonly || atomic_load(&lu->write_protect)))) {
		scsi_fail(task, SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
		return false;
	}
	return true;
}

void scsi_exec(struct scsi_task *task)
{
	struct scsi_lu *lu = task->lun < SCSI_LUNS_MAX ? task->target->lu[task->lun] : NULL;
	bool sa_unknown;

	task->outcome = SCSI_OUTCOME_OK;
	task->status = SCSI_GOOD;
	task->sense_len = 0;
	task->moved = 0;
	task->kill = 0;
	task->iov_count = 0;
	task->lu = NULL;
	task->cmd = scsi_cmd_find(task->cdb, &sa_unknown);
	if (unlikely(!lu)) {
		exec_no_lu(task, task->cmd);
		return;
	}
	task->lu = lu;
	list_push(&lu->chan[reactor_index()].tasks, &task->link);
	if (unlikely(atomic_load_explicit(&lu->attention, memory_order_relaxed)) &&
	    !(task->cmd && (task->cmd->flags & SCSI_CMD_NO_UA))) {
		int ua = scsi_lu_attention_take(lu);

		if (ua >= 0) {
			scsi_fail(task, SCSI_KEY_UNIT_ATTENTION, scsi_attention_asc(ua));
			return;
		}
	}
	if (unlikely(!task->cmd)) {
		if (sa_unknown)
			scsi_fail_cdb(task, 1, 4);
		else
			scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		return;
	}
	if (may_run(task))
		task->cmd->exec(task);
}
