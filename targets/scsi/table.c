/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SCSI commands that there are. Dispatch, the check for reserved bits and REPORT SUPPORTED
 * OPERATION CODES read this table, so that none can promise what another refuses.
 *
 * Usage bytes of LBA and length fields are all ones; RDPROTECT and WRPROTECT are not offered, so
 * their bits are 0 and setting them is an invalid field. A group number may be given, and what is
 * collected of groups (SBC-3 4.23) is nothing.
 */
#include "targets/scsi/scsi.h"

#include <string.h>

#define LBA4 0xff, 0xff, 0xff, 0xff
#define LBA8 LBA4, LBA4
#define LEN2 0xff, 0xff
#define LEN4 0xff, 0xff, 0xff, 0xff
#define NONE3 0, 0, 0
#define NONE6 NONE3, NONE3

enum {
	ANY = SCSI_CMD_ANY_LUN | SCSI_CMD_NO_UA | SCSI_CMD_PR_FREE,
	READS = SCSI_CMD_MEDIUM | SCSI_CMD_PR_READ,
	WRITES = SCSI_CMD_MEDIUM | SCSI_CMD_WRITES,
	FREE = SCSI_CMD_PR_FREE,
	DPO_FUA = SCSI_CDB1_DPO | SCSI_CDB1_FUA,
	BYTCHK = 0x06,
	GROUP = 0x1f,
};

const struct scsi_cmd scsi_cmds[] = {
	{ "test unit ready", SCSI_TEST_UNIT_READY, SCSI_NO_SA, 6, SCSI_CMD_MEDIUM | FREE,
	  { 0x00 }, scsi_test_unit_ready },
	{ "request sense", SCSI_REQUEST_SENSE, SCSI_NO_SA, 6, ANY,
	  { 0x03, 0x01, 0, 0, 0xff, 0 }, scsi_request_sense },
	{ "read(6)", SCSI_READ_6, SCSI_NO_SA, 6, READS,
	  { 0x08, 0x1f, 0xff, 0xff, 0xff, 0 }, scsi_read },
	{ "write(6)", SCSI_WRITE_6, SCSI_NO_SA, 6, WRITES,
	  { 0x0a, 0x1f, 0xff, 0xff, 0xff, 0 }, scsi_write },
	{ "inquiry", SCSI_INQUIRY, SCSI_NO_SA, 6, ANY,
	  { 0x12, 0x01, 0xff, LEN2, 0 }, scsi_inquiry },
	{ "mode select(6)", SCSI_MODE_SELECT_6, SCSI_NO_SA, 6, 0,
	  { 0x15, 0x11, 0, 0, 0xff, 0 }, scsi_mode_select },
	{ "mode sense(6)", SCSI_MODE_SENSE_6, SCSI_NO_SA, 6, SCSI_CMD_PR_READ,
	  { 0x1a, 0x08, 0xff, 0xff, 0xff, 0 }, scsi_mode_sense },
	{ "start stop unit", SCSI_START_STOP_UNIT, SCSI_NO_SA, 6, FREE,
	  { 0x1b, 0x01, 0, 0, 0x05, 0 }, scsi_start_stop },
	{ "send diagnostic", SCSI_SEND_DIAGNOSTIC, SCSI_NO_SA, 6, SCSI_CMD_MEDIUM,
	  { 0x1d, 0x04, 0, 0, 0, 0 }, scsi_send_diagnostic },
	{ "read capacity(10)", SCSI_READ_CAPACITY_10, SCSI_NO_SA, 10, SCSI_CMD_MEDIUM | FREE,
	  { 0x25, 0, LBA4, 0, 0, 0x01, 0 }, scsi_read_capacity_10 },
	{ "read(10)", SCSI_READ_10, SCSI_NO_SA, 10, READS,
	  { 0x28, DPO_FUA, LBA4, GROUP, LEN2, 0 }, scsi_read },
	{ "write(10)", SCSI_WRITE_10, SCSI_NO_SA, 10, WRITES,
	  { 0x2a, DPO_FUA, LBA4, GROUP, LEN2, 0 }, scsi_write },
	{ "write and verify(10)", SCSI_WRITE_VERIFY_10, SCSI_NO_SA, 10, WRITES,
	  { 0x2e, SCSI_CDB1_DPO | BYTCHK, LBA4, GROUP, LEN2, 0 }, scsi_write_verify },
	{ "verify(10)", SCSI_VERIFY_10, SCSI_NO_SA, 10, READS,
	  { 0x2f, SCSI_CDB1_DPO | BYTCHK, LBA4, GROUP, LEN2, 0 }, scsi_verify },
	{ "pre-fetch(10)", SCSI_PREFETCH_10, SCSI_NO_SA, 10, READS,
	  { 0x34, 0x02, LBA4, GROUP, LEN2, 0 }, scsi_prefetch },
	{ "synchronize cache(10)", SCSI_SYNC_CACHE_10, SCSI_NO_SA, 10, SCSI_CMD_MEDIUM,
	  { 0x35, 0x02, LBA4, GROUP, LEN2, 0 }, scsi_sync_cache },
	{ "write same(10)", SCSI_WRITE_SAME_10, SCSI_NO_SA, 10, WRITES,
	  { 0x41, 0x08, LBA4, GROUP, LEN2, 0 }, scsi_write_same },
	{ "unmap", SCSI_UNMAP, SCSI_NO_SA, 10, WRITES,
	  { 0x42, 0, NONE3, 0, GROUP, LEN2, 0 }, scsi_unmap },
	{ "log sense", SCSI_LOG_SENSE, SCSI_NO_SA, 10, FREE,
	  { 0x4d, 0, 0xff, 0xff, 0, LEN2, LEN2, 0 }, scsi_log_sense },
	{ "mode select(10)", SCSI_MODE_SELECT_10, SCSI_NO_SA, 10, 0,
	  { 0x55, 0x11, NONE3, 0, 0, LEN2, 0 }, scsi_mode_select },
	{ "mode sense(10)", SCSI_MODE_SENSE_10, SCSI_NO_SA, 10, SCSI_CMD_PR_READ,
	  { 0x5a, 0x18, 0xff, 0xff, NONE3, LEN2, 0 }, scsi_mode_sense },
	{ "read keys", SCSI_PERSISTENT_RESERVE_IN, SCSI_PRI_READ_KEYS, 10, FREE,
	  { 0x5e, 0x00, 0, 0, NONE3, LEN2, 0 }, scsi_persistent_in },
	{ "read reservation", SCSI_PERSISTENT_RESERVE_IN, SCSI_PRI_READ_RESERVATION, 10, FREE,
	  { 0x5e, 0x01, 0, 0, NONE3, LEN2, 0 }, scsi_persistent_in },
	{ "report capabilities", SCSI_PERSISTENT_RESERVE_IN, SCSI_PRI_REPORT_CAPABILITIES, 10, FREE,
	  { 0x5e, 0x02, 0, 0, NONE3, LEN2, 0 }, scsi_persistent_in },
	{ "read full status", SCSI_PERSISTENT_RESERVE_IN, SCSI_PRI_READ_FULL_STATUS, 10, FREE,
	  { 0x5e, 0x03, 0, 0, NONE3, LEN2, 0 }, scsi_persistent_in },
	{ "register", SCSI_PERSISTENT_RESERVE_OUT, SCSI_PRO_REGISTER, 10, FREE,
	  { 0x5f, 0x00, 0xff, 0, 0, LEN4, 0 }, scsi_persistent_out },
	{ "reserve", SCSI_PERSISTENT_RESERVE_OUT, SCSI_PRO_RESERVE, 10, FREE,
	  { 0x5f, 0x01, 0xff, 0, 0, LEN4, 0 }, scsi_persistent_out },
	{ "release", SCSI_PERSISTENT_RESERVE_OUT, SCSI_PRO_RELEASE, 10, FREE,
	  { 0x5f, 0x02, 0xff, 0, 0, LEN4, 0 }, scsi_persistent_out },
	{ "clear", SCSI_PERSISTENT_RESERVE_OUT, SCSI_PRO_CLEAR, 10, FREE,
	  { 0x5f, 0x03, 0xff, 0, 0, LEN4, 0 }, scsi_persistent_out },
	{ "preempt", SCSI_PERSISTENT_RESERVE_OUT, SCSI_PRO_PREEMPT, 10, FREE,
	  { 0x5f, 0x04, 0xff, 0, 0, LEN4, 0 }, scsi_persistent_out },
	{ "preempt and abort", SCSI_PERSISTENT_RESERVE_OUT, SCSI_PRO_PREEMPT_ABORT, 10, FREE,
	  { 0x5f, 0x05, 0xff, 0, 0, LEN4, 0 }, scsi_persistent_out },
	{ "register and ignore", SCSI_PERSISTENT_RESERVE_OUT, SCSI_PRO_REGISTER_IGNORE, 10, FREE,
	  { 0x5f, 0x06, 0xff, 0, 0, LEN4, 0 }, scsi_persistent_out },
	{ "read(16)", SCSI_READ_16, SCSI_NO_SA, 16, READS,
	  { 0x88, DPO_FUA, LBA8, LEN4, GROUP, 0 }, scsi_read },
	{ "compare and write", SCSI_COMPARE_AND_WRITE, SCSI_NO_SA, 16, WRITES,
	  { 0x89, DPO_FUA, LBA8, NONE3, 0xff, GROUP, 0 }, scsi_compare_and_write },
	{ "write(16)", SCSI_WRITE_16, SCSI_NO_SA, 16, WRITES,
	  { 0x8a, DPO_FUA, LBA8, LEN4, GROUP, 0 }, scsi_write },
	{ "write and verify(16)", SCSI_WRITE_VERIFY_16, SCSI_NO_SA, 16, WRITES,
	  { 0x8e, SCSI_CDB1_DPO | BYTCHK, LBA8, LEN4, GROUP, 0 }, scsi_write_verify },
	{ "verify(16)", SCSI_VERIFY_16, SCSI_NO_SA, 16, READS,
	  { 0x8f, SCSI_CDB1_DPO | BYTCHK, LBA8, LEN4, GROUP, 0 }, scsi_verify },
	{ "pre-fetch(16)", SCSI_PREFETCH_16, SCSI_NO_SA, 16, READS,
	  { 0x90, 0x02, LBA8, LEN4, GROUP, 0 }, scsi_prefetch },
	{ "synchronize cache(16)", SCSI_SYNC_CACHE_16, SCSI_NO_SA, 16, SCSI_CMD_MEDIUM,
	  { 0x91, 0x02, LBA8, LEN4, GROUP, 0 }, scsi_sync_cache },
	{ "write same(16)", SCSI_WRITE_SAME_16, SCSI_NO_SA, 16, WRITES,
	  { 0x93, 0x09, LBA8, LEN4, GROUP, 0 }, scsi_write_same },
	{ "read capacity(16)", SCSI_SERVICE_ACTION_IN_16, SCSI_SAI_READ_CAPACITY_16, 16,
	  SCSI_CMD_MEDIUM | FREE, { 0x9e, 0x10, LBA8, LEN4, 0x01, 0 }, scsi_read_capacity_16 },
	{ "get lba status", SCSI_SERVICE_ACTION_IN_16, SCSI_SAI_GET_LBA_STATUS, 16, READS,
	  { 0x9e, 0x12, LBA8, LEN4, 0, 0 }, scsi_get_lba_status },
	{ "report luns", SCSI_REPORT_LUNS, SCSI_NO_SA, 12, ANY,
	  { 0xa0, 0, 0xff, NONE3, LEN4, 0, 0 }, scsi_report_luns },
	{ "report supported operation codes", SCSI_MAINTENANCE_IN, SCSI_MI_REPORT_OPCODES, 12,
	  SCSI_CMD_PR_READ, { 0xa3, 0x0c, 0x87, 0xff, LEN2, LEN4, 0, 0 }, scsi_report_opcodes },
	{ "report supported task management functions", SCSI_MAINTENANCE_IN, SCSI_MI_REPORT_TMF, 12,
	  SCSI_CMD_PR_READ, { 0xa3, 0x0d, 0x80, NONE3, LEN4, 0, 0 }, scsi_report_tmf },
	{ "read(12)", SCSI_READ_12, SCSI_NO_SA, 12, READS,
	  { 0xa8, DPO_FUA, LBA4, LEN4, GROUP, 0 }, scsi_read },
	{ "write(12)", SCSI_WRITE_12, SCSI_NO_SA, 12, WRITES,
	  { 0xaa, DPO_FUA, LBA4, LEN4, GROUP, 0 }, scsi_write },
	{ "write and verify(12)", SCSI_WRITE_VERIFY_12, SCSI_NO_SA, 12, WRITES,
	  { 0xae, SCSI_CDB1_DPO | BYTCHK, LBA4, LEN4, GROUP, 0 }, scsi_write_verify },
	{ "verify(12)", SCSI_VERIFY_12, SCSI_NO_SA, 12, READS,
	  { 0xaf, SCSI_CDB1_DPO | BYTCHK, LBA4, LEN4, GROUP, 0 }, scsi_verify },
	{ 0 },
};

/* By operation code: the first of its commands. */
static const struct scsi_cmd *by_opcode[256];

void scsi_setup(void)
{
	for (const struct scsi_cmd *cmd = scsi_cmds; cmd->name; cmd++) {
		if (!by_opcode[cmd->opcode])
			by_opcode[cmd->opcode] = cmd;
	}
	scsi_persistent_setup();
}

bool scsi_cmd_offered(const struct scsi_cmd *cmd, const struct scsi_lu *lu)
{
	switch (cmd->opcode) {
	case SCSI_UNMAP:
		return bdev_supports(lu->bdev, IO_UNMAP);
	case SCSI_COMPARE_AND_WRITE:
		return bdev_supports(lu->bdev, IO_COMPARE_WRITE);
	default:
		return true;
	}
}

bool scsi_opcode_has_sa(uint8_t opcode)
{
	return by_opcode[opcode] && by_opcode[opcode]->sa != SCSI_NO_SA;
}

/* The service actions of an operation code stand together. */
const struct scsi_cmd *scsi_cmd_lookup(uint8_t opcode, uint8_t sa)
{
	const struct scsi_cmd *cmd = by_opcode[opcode];

	while (cmd && cmd->sa != sa)
		cmd = cmd[1].name && cmd[1].opcode == opcode ? cmd + 1 : NULL;
	return cmd;
}

const struct scsi_cmd *scsi_cmd_find(const uint8_t *cdb, bool *sa_unknown)
{
	const struct scsi_cmd *cmd = by_opcode[cdb[0]];

	*sa_unknown = false;
	if (likely(!cmd || cmd->sa == SCSI_NO_SA))
		return cmd;
	cmd = scsi_cmd_lookup(cdb[0], cdb[1] & 0x1f);
	*sa_unknown = !cmd;
	return cmd;
}
