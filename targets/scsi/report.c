/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device says of itself besides INQUIRY: units, commands, task management functions, sense,
 * logs; and whether it is started (SPC-4 6, SBC-3 5.25).
 */
#include "targets/scsi/scsi.h"

#include <string.h>

#include "core/stat.h"

void scsi_report_luns(struct scsi_task *task)
{
	enum { DISKS, WELL_KNOWN, BOTH };
	uint8_t data[8 + 8 * (SCSI_LUNS_MAX + 1)] = { 0 };
	uint8_t select = task->cdb[2];
	size_t at = 8;

	if (select > BOTH) {
		scsi_fail_cdb(task, 2, 7);
		return;
	}
	for (unsigned lun = 0; select != WELL_KNOWN && lun < SCSI_LUNS_MAX; lun++) {
		if (!task->target->lu[lun])
			continue;
		data[at + 1] = (uint8_t)lun;
		at += 8;
	}
	if (select != DISKS) {
		scsi_be_put(data + at, 2, SCSI_LUN_REPORT_LUNS);
		at += 8;
	}
	scsi_be_put(data, 4, at - 8);
	/* SPC-4 6.33: the initiator knows now, for every unit of the target */
	for (unsigned lun = 0; lun < SCSI_LUNS_MAX; lun++) {
		if (task->target->lu[lun])
			atomic_fetch_and(&task->target->lu[lun]->attention,
					 ~(1u << SCSI_UA_LUNS_CHANGED));
	}
	scsi_reply(task, data, at, scsi_be(task->cdb + 6, 4));
}

/* ---- REPORT SUPPORTED OPERATION CODES, SPC-4 6.35 ---- */

enum { TIMEOUTS_BYTES = 12, RSOC_RCTD = 0x80 };

static size_t put_timeouts(uint8_t *p)
{
	scsi_be_put(p, 2, TIMEOUTS_BYTES - 2);          /* nominal, recommended: none given */
	return TIMEOUTS_BYTES;
}

static void report_all_opcodes(struct scsi_task *task, bool timeouts)
{
	uint8_t data[SCSI_REPLY_BYTES] = { 0 };
	size_t at = 4;

	for (const struct scsi_cmd *cmd = scsi_cmds; cmd->name; cmd++) {
		uint8_t *p = data + at;

		if (!scsi_cmd_offered(cmd, task->lu))
			continue;
		p[0] = cmd->opcode;
		if (cmd->sa != SCSI_NO_SA) {
			scsi_be_put(p + 2, 2, cmd->sa);
			p[5] = 0x01;                    /* SERVACTV */
		}
		if (timeouts)
			p[5] |= 0x02;                   /* CTDP */
		scsi_be_put(p + 6, 2, cmd->len);
		at += 8;
		if (timeouts)
			at += put_timeouts(data + at);
	}
	scsi_be_put(data, 4, at - 4);
	scsi_reply(task, data, at, scsi_be(task->cdb + 6, 4));
}

static void report_one_opcode(struct scsi_task *task, const struct scsi_cmd *cmd, bool timeouts)
{
	uint8_t data[4 + sizeof(cmd->usage) + TIMEOUTS_BYTES] = { 0 };
	size_t at = 4;

	data[1] = 0x01;                                 /* not supported */
	if (cmd && scsi_cmd_offered(cmd, task->lu)) {
		data[1] = 0x03;                         /* as the standard says */
		scsi_be_put(data + 2, 2, cmd->len);
		memcpy(data + at, cmd->usage, cmd->len);
		at += cmd->len;
		if (timeouts) {
			data[1] |= 0x80;                /* CTDP */
			at += put_timeouts(data + at);
		}
	}
	scsi_reply(task, data, at, scsi_be(task->cdb + 6, 4));
}

void scsi_report_opcodes(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;
	bool timeouts = cdb[2] & RSOC_RCTD;
	uint64_t sa = scsi_be(cdb + 4, 2);
	bool has_sa = scsi_opcode_has_sa(cdb[3]);

	switch (cdb[2] & 0x07) {
	case 0:
		report_all_opcodes(task, timeouts);
		return;
	case 1:                                         /* an operation code without actions */
		if (has_sa)
			break;
		report_one_opcode(task, scsi_cmd_lookup(cdb[3], SCSI_NO_SA), timeouts);
		return;
	case 2:                                         /* and one with */
		if (!has_sa && scsi_cmd_lookup(cdb[3], SCSI_NO_SA))
			break;
		report_one_opcode(task, sa < SCSI_NO_SA ? scsi_cmd_lookup(cdb[3], (uint8_t)sa) :
				  NULL, timeouts);
		return;
	case 3:                                         /* either */
		report_one_opcode(task, !has_sa && sa ? NULL : sa < SCSI_NO_SA ?
				  scsi_cmd_lookup(cdb[3], has_sa ? (uint8_t)sa : SCSI_NO_SA) :
				  NULL, timeouts);
		return;
	default:
		break;
	}
	scsi_fail_cdb(task, 2, 2);
}

/* SPC-4 6.36 */
void scsi_report_tmf(struct scsi_task *task)
{
	bool extended = task->cdb[2] & 0x80;
	uint8_t data[16] = { 0 };

	data[0] = 0xdc;         /* abort task (set), clear task set, LU reset, query task */
	data[1] = 0x03;         /* query task set, I_T nexus reset */
	if (extended)
		data[3] = sizeof(data) - 4;
	scsi_reply(task, data, extended ? sizeof(data) : 4, scsi_be(task->cdb + 6, 4));
}

/* ---- readiness ---- */

/* SPC-4 6.39: the sense data is the data, and the status is good. */
void scsi_request_sense(struct scsi_task *task)
{
	struct scsi_sense sense = { .key = SCSI_KEY_NONE, .asc = SCSI_ASC_NONE };
	int ua = task->lu ? scsi_lu_attention_take(task->lu) : -1;
	uint8_t data[SCSI_SENSE_BYTES_MAX];

	if (ua >= 0) {
		sense.key = SCSI_KEY_UNIT_ATTENTION;
		sense.asc = scsi_attention_asc(ua);
	} else if (task->lu && atomic_load(&task->lu->stopped)) {
		sense.key = SCSI_KEY_NOT_READY;
		sense.asc = SCSI_ASC_NOT_READY_INITIALIZE;
	} else if (!task->lu && task->lun != SCSI_LUN_REPORT_LUNS) {
		sense.key = SCSI_KEY_ILLEGAL_REQUEST;
		sense.asc = SCSI_ASC_LUN_NOT_SUPPORTED;
	}
	/* DESC, whatever D_SENSE says */
	scsi_reply(task, data, scsi_sense_put(&sense, task->cdb[1] & 0x01, data), task->cdb[4]);
}

void scsi_test_unit_ready(struct scsi_task *task)
{
	scsi_good(task);
}

static void stop_done(struct io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);

	if (io->status != IO_OK) {
		scsi_fail_io(task, io->status);
		return;
	}
	atomic_store(&task->lu->stopped, true);
	scsi_good(task);
}

/* SBC-3 5.25: a unit that is stopped has its cache written first, unless NO_FLUSH. */
void scsi_start_stop(struct scsi_task *task)
{
	struct scsi_lu *lu = task->lu;
	bool start = task->cdb[4] & 0x01, no_flush = task->cdb[4] & 0x04;

	if (start) {
		atomic_store(&lu->stopped, false);
		scsi_good(task);
		return;
	}
	/* SBC-3 table 13: stopping conflicts, starting does not */
	if (!scsi_persistent_allows(task)) {
		scsi_status(task, SCSI_RESERVATION_CONFLICT);
		return;
	}
	if (no_flush || !lu->bdev->volatile_cache || lu->bdev->readonly) {
		atomic_store(&lu->stopped, true);
		scsi_good(task);
		return;
	}
	task->io.op = IO_FLUSH;
	task->io.flags = 0;
	task->io.lba = 0;
	task->io.lba_count = 0;
	task->io.iov_count = 0;
	scsi_submit(task, stop_done);
}

static void self_test_done(struct io *io)
{
	struct scsi_task *task = container_of(io, struct scsi_task, io);

	if (io->status == IO_OK)
		scsi_good(task);
	else
		scsi_fail(task, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_SELF_TEST_FAILED);
}

/* SPC-4 6.42: the default self-test reads the first block. */
void scsi_send_diagnostic(struct scsi_task *task)
{
	if (!(task->cdb[1] & 0x04)) {
		scsi_good(task);
		return;
	}
	task->io.op = IO_VERIFY;
	task->io.flags = 0;
	task->io.lba = 0;
	task->io.lba_count = 1;
	task->io.iov_count = 0;
	scsi_submit(task, self_test_done);
}

/* ---- LOG SENSE, SPC-4 7.3 ---- */

static size_t log_supported(const struct scsi_lu *lu, uint8_t *p)
{
	p[0] = SCSI_LOG_SUPPORTED;
	p[1] = SCSI_LOG_STATISTICS;
	p[2] = SCSI_LOG_EXCEPTIONS;
	return 3;
}

static size_t parameter(uint8_t *p, unsigned code, size_t len)
{
	scsi_be_put(p, 2, code);
	p[2] = 0x03;                                    /* binary list */
	p[3] = (uint8_t)len;
	return 4 + len;
}

/* SPC-4 7.3.9: what the disk has done since it is there, for everybody. */
static size_t log_statistics(const struct scsi_lu *lu, uint8_t *p)
{
	struct stat_io sum;

	memset(&sum, 0, sizeof(sum));
	bdev_stats(lu->bdev, &sum);
	scsi_be_put(p + 4, 8, sum.cls[STAT_READ].ops);
	scsi_be_put(p + 12, 8, sum.cls[STAT_WRITE].ops);
	scsi_be_put(p + 20, 8, sum.cls[STAT_WRITE].bytes >> lu->bdev->block_shift);
	scsi_be_put(p + 28, 8, sum.cls[STAT_READ].bytes >> lu->bdev->block_shift);
	return parameter(p, 1, 64);
}

static size_t log_exceptions(const struct scsi_lu *lu, uint8_t *p)
{
	p[6] = 0xff;                                    /* the temperature is not known here */
	return parameter(p, 0, 4);
}

void scsi_log_sense(struct scsi_task *task)
{
	static const struct {
		uint8_t code, last;                     /* its highest parameter code */
		size_t (*fill)(const struct scsi_lu *lu, uint8_t *p);
	} pages[] = {
		{ SCSI_LOG_SUPPORTED, 0, log_supported },
		{ SCSI_LOG_STATISTICS, 1, log_statistics },
		{ SCSI_LOG_EXCEPTIONS, 0, log_exceptions },
	};
	const uint8_t *cdb = task->cdb;
	uint8_t data[128] = { 0 };
	size_t len;

	/* cumulative values only: there are no thresholds and no defaults */
	if (cdb[2] >> 6 != 1) {
		scsi_fail_cdb(task, 2, 7);
		return;
	}
	if (cdb[3]) {
		scsi_fail_cdb(task, 3, 7);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i].code != (cdb[2] & 0x3f))
			continue;
		if (scsi_be(cdb + 5, 2) > pages[i].last) {
			scsi_fail_cdb(task, 5, 7);
			return;
		}
		len = pages[i].fill(task->lu, data + 4);
		data[0] = pages[i].code;
		scsi_be_put(data + 2, 2, len);
		scsi_reply(task, data, 4 + len, scsi_be(cdb + 7, 2));
		return;
	}
	scsi_fail_cdb(task, 2, 5);
}
