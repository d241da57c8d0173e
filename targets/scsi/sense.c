/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sense data (SPC-4 4.5): why a command failed, in fixed format, or in descriptor format when the
 * initiator has set D_SENSE. Each way to fail ends the task.
 */
#include "targets/scsi/scsi.h"

#include <string.h>

/* SPC-4 4.5.3. Information that needs more than 32 bits cannot be given in this format. */
static size_t put_fixed(const struct scsi_sense *sense, uint8_t *p)
{
	memset(p, 0, SCSI_SENSE_FIXED_BYTES);
	p[0] = SCSI_SENSE_FIXED;
	p[2] = (uint8_t)sense->key;
	p[7] = SCSI_SENSE_FIXED_BYTES - 8;
	scsi_be_put(p + 12, 2, sense->asc);
	memcpy(p + 15, sense->specific, sizeof(sense->specific));
	if (sense->informs && sense->information <= UINT32_MAX) {
		p[0] |= SCSI_SENSE_VALID;
		scsi_be_put(p + 3, 4, sense->information);
	}
	return SCSI_SENSE_FIXED_BYTES;
}

/* SPC-4 4.5.2 */
static size_t put_descriptors(const struct scsi_sense *sense, uint8_t *p)
{
	size_t len = 8;

	memset(p, 0, SCSI_SENSE_BYTES_MAX);
	p[0] = SCSI_SENSE_DESCRIPTOR;
	p[1] = (uint8_t)sense->key;
	scsi_be_put(p + 2, 2, sense->asc);
	if (sense->informs) {
		p[len] = SCSI_SENSE_INFORMATION;
		p[len + 1] = SCSI_SENSE_INFORMATION_BYTES - 2;
		p[len + 2] = SCSI_SENSE_VALID;
		scsi_be_put(p + len + 4, 8, sense->information);
		len += SCSI_SENSE_INFORMATION_BYTES;
	}
	if (sense->specific[0]) {
		p[len] = SCSI_SENSE_SPECIFIC;
		p[len + 1] = SCSI_SENSE_SPECIFIC_BYTES - 2;
		memcpy(p + len + 4, sense->specific, sizeof(sense->specific));
		len += SCSI_SENSE_SPECIFIC_BYTES;
	}
	p[7] = (uint8_t)(len - 8);
	return len;
}

size_t scsi_sense_put(const struct scsi_sense *sense, bool descriptors, uint8_t *p)
{
	return descriptors ? put_descriptors(sense, p) : put_fixed(sense, p);
}

static void check_condition(struct scsi_task *task, const struct scsi_sense *sense)
{
	bool descriptors = task->lu && atomic_load(&task->lu->descriptor_sense);

	task->sense_len = (uint8_t)scsi_sense_put(sense, descriptors, task->sense);
	task->moved = 0;
	scsi_status(task, SCSI_CHECK_CONDITION);
}

void scsi_fail(struct scsi_task *task, enum scsi_sense_key key, uint16_t asc)
{
	check_condition(task, &(struct scsi_sense){ .key = key, .asc = asc });
}

/* SPC-4 4.5.2.4.2: field pointer sense key specific data */
static void fail_field(struct scsi_task *task, uint16_t asc, uint8_t where, unsigned byte)
{
	struct scsi_sense sense = {
		.key = SCSI_KEY_ILLEGAL_REQUEST,
		.asc = asc,
		.specific = { 0x80 | where },
	};

	scsi_be_put(sense.specific + 1, 2, byte);
	check_condition(task, &sense);
}

void scsi_fail_cdb(struct scsi_task *task, unsigned byte, unsigned bit)
{
	fail_field(task, SCSI_ASC_INVALID_FIELD_CDB, (uint8_t)(0x40 | 0x08 | bit), byte);
}

void scsi_fail_parameter(struct scsi_task *task, unsigned byte)
{
	fail_field(task, SCSI_ASC_INVALID_FIELD_PARAMETER, 0, byte);
}

/* The one place where what a disk says becomes sense data. */
static void fail_status(struct scsi_task *task, enum io_status status, bool informs,
			uint64_t information)
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
	struct scsi_sense sense = {
		.key = map[status].key,
		.asc = map[status].asc,
		.informs = informs,
		.information = information,
	};

	check_condition(task, &sense);
}

void scsi_fail_unlocated(struct scsi_task *task, enum io_status status)
{
	fail_status(task, status, false, 0);
}

void scsi_fail_at(struct scsi_task *task, enum io_status status, uint64_t information)
{
	fail_status(task, status, true, information);
}

void scsi_fail_io(struct scsi_task *task, enum io_status status)
{
	bool medium = status == IO_ERR_MEDIA_READ || status == IO_ERR_MEDIA_WRITE;

	if (medium && task->io.lba_count == 1)
		scsi_fail_at(task, status, task->io.lba);
	else if (status == IO_ERR_MEDIA_READ)
		scsi_locate_bad_block(task);
	else if (status == IO_ERR_MISCOMPARE)
		scsi_locate_difference(task);
	else
		scsi_fail_unlocated(task, status);
}
