/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI task from its CDB to its status. The checks are in the order of SAM-5 5.14: logical unit,
 * unit attention, operation code, reserved bits, reservation, readiness; then the command itself.
 * Every way out is scsi_end, once.
 */
#include "targets/scsi/scsi.h"

#include <assert.h>
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
	size_t left = MIN(len, allocation);

	if (unlikely(left > task->in_bytes)) {
		scsi_overrun(task);
		return;
	}
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

/* Whether the CDB sets no bit that its command does not know; otherwise the task has ended. */
static bool fields_known(struct scsi_task *task)
{
	const struct scsi_cmd *cmd = task->cmd;
	uint64_t cdb[2], usage[2];

	static_assert(sizeof(cdb) == sizeof(cmd->usage), "a CDB is two words");
	/* nearly always there is nothing, not even behind a shorter CDB */
	memcpy(cdb, task->cdb, sizeof(cdb));
	memcpy(usage, cmd->usage, sizeof(usage));
	if (likely(((cdb[0] & ~usage[0]) | (cdb[1] & ~usage[1])) == 0))
		return true;
	for (unsigned i = 1; i < cmd->len; i++) {
		uint8_t foreign = (uint8_t)(task->cdb[i] & ~cmd->usage[i]);

		if (likely(!foreign))
			continue;
		/* the service action was matched; the vendor's bits of the control byte are free */
		if (i == 1 && cmd->sa != SCSI_NO_SA)
			foreign &= 0xe0;
		if (i == cmd->len - 1u)
			foreign &= 0x3f;
		if (foreign) {
			scsi_fail_cdb(task, i, log2_floor(foreign));
			return false;
		}
	}
	return true;
}

/*
 * A task without a disk: for a number where no unit is (SPC-4 4.6.4), or for the well known unit
 * that reports the others (SPC-4 8.2).
 */
static void exec_no_disk(struct scsi_task *task)
{
	bool well_known = task->lun == SCSI_LUN_REPORT_LUNS;
	const struct scsi_cmd *cmd = task->cmd;

	if (cmd && (cmd->flags & SCSI_CMD_ANY_LUN)) {
		if (fields_known(task))
			cmd->exec(task);
	} else if (!well_known) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	} else if (!cmd || cmd->opcode != SCSI_TEST_UNIT_READY) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	} else if (fields_known(task)) {
		scsi_good(task);
	}
}

static bool may_run(struct scsi_task *task)
{
	const struct scsi_cmd *cmd = task->cmd;
	const struct scsi_lu *lu = task->lu;

	if (unlikely(!scsi_cmd_offered(cmd, lu))) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		return false;
	}
	if (unlikely(!fields_known(task)))
		return false;
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
	task->one_block = false;
	task->lu = NULL;
	task->cmd = scsi_cmd_find(task->cdb, &sa_unknown);
	if (unlikely(!lu)) {
		exec_no_disk(task);
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
