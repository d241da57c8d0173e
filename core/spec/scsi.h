/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SCSI: operation codes, sense data, pages and parameter data (SPC-4, SBC-3). Fields of CDBs and of
 * parameter data are big-endian and lie anywhere: they are read and written with scsi_be and
 * scsi_be_put at the byte offsets of the standard.
 */
#ifndef SPEC_SCSI_H
#define SPEC_SCSI_H

#include <stdint.h>
#include <string.h>

enum scsi_opcode {
	SCSI_TEST_UNIT_READY = 0x00,
	SCSI_REQUEST_SENSE = 0x03,
	SCSI_READ_6 = 0x08,
	SCSI_WRITE_6 = 0x0a,
	SCSI_INQUIRY = 0x12,
	SCSI_MODE_SELECT_6 = 0x15,
	SCSI_MODE_SENSE_6 = 0x1a,
	SCSI_START_STOP_UNIT = 0x1b,
	SCSI_SEND_DIAGNOSTIC = 0x1d,
	SCSI_READ_CAPACITY_10 = 0x25,
	SCSI_READ_10 = 0x28,
	SCSI_WRITE_10 = 0x2a,
	SCSI_WRITE_VERIFY_10 = 0x2e,
	SCSI_VERIFY_10 = 0x2f,
	SCSI_PREFETCH_10 = 0x34,
	SCSI_SYNC_CACHE_10 = 0x35,
	SCSI_WRITE_SAME_10 = 0x41,
	SCSI_UNMAP = 0x42,
	SCSI_LOG_SENSE = 0x4d,
	SCSI_MODE_SELECT_10 = 0x55,
	SCSI_MODE_SENSE_10 = 0x5a,
	SCSI_PERSISTENT_RESERVE_IN = 0x5e,
	SCSI_PERSISTENT_RESERVE_OUT = 0x5f,
	SCSI_READ_16 = 0x88,
	SCSI_COMPARE_AND_WRITE = 0x89,
	SCSI_WRITE_16 = 0x8a,
	SCSI_WRITE_VERIFY_16 = 0x8e,
	SCSI_VERIFY_16 = 0x8f,
	SCSI_PREFETCH_16 = 0x90,
	SCSI_SYNC_CACHE_16 = 0x91,
	SCSI_WRITE_SAME_16 = 0x93,
	SCSI_SERVICE_ACTION_IN_16 = 0x9e,
	SCSI_REPORT_LUNS = 0xa0,
	SCSI_MAINTENANCE_IN = 0xa3,
	SCSI_READ_12 = 0xa8,
	SCSI_WRITE_12 = 0xaa,
	SCSI_WRITE_VERIFY_12 = 0xae,
	SCSI_VERIFY_12 = 0xaf,
};

enum scsi_service_action {
	SCSI_SAI_READ_CAPACITY_16 = 0x10,
	SCSI_SAI_GET_LBA_STATUS = 0x12,
	SCSI_MI_REPORT_OPCODES = 0x0c,
	SCSI_MI_REPORT_TMF = 0x0d,
	SCSI_PRI_READ_KEYS = 0x00,
	SCSI_PRI_READ_RESERVATION = 0x01,
	SCSI_PRI_REPORT_CAPABILITIES = 0x02,
	SCSI_PRI_READ_FULL_STATUS = 0x03,
	SCSI_PRO_REGISTER = 0x00,
	SCSI_PRO_RESERVE = 0x01,
	SCSI_PRO_RELEASE = 0x02,
	SCSI_PRO_CLEAR = 0x03,
	SCSI_PRO_PREEMPT = 0x04,
	SCSI_PRO_PREEMPT_ABORT = 0x05,
	SCSI_PRO_REGISTER_IGNORE = 0x06,
};

enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18,
	SCSI_TASK_SET_FULL = 0x28,
	SCSI_TASK_ABORTED = 0x40,
};

enum scsi_sense_key {
	SCSI_KEY_NONE = 0x0,
	SCSI_KEY_NOT_READY = 0x2,
	SCSI_KEY_MEDIUM_ERROR = 0x3,
	SCSI_KEY_HARDWARE_ERROR = 0x4,
	SCSI_KEY_ILLEGAL_REQUEST = 0x5,
	SCSI_KEY_UNIT_ATTENTION = 0x6,
	SCSI_KEY_DATA_PROTECT = 0x7,
	SCSI_KEY_ABORTED_COMMAND = 0xb,
	SCSI_KEY_MISCOMPARE = 0xe,
};

/* Additional sense code in the high byte, its qualifier in the low one (SPC-4 annex D). */
enum scsi_asc {
	SCSI_ASC_NONE = 0x0000,
	SCSI_ASC_NOT_READY_INITIALIZE = 0x0402,
	SCSI_ASC_WRITE_ERROR = 0x0c00,
	SCSI_ASC_READ_ERROR = 0x1100,
	SCSI_ASC_PARAMETER_LIST_LENGTH = 0x1a00,
	SCSI_ASC_MISCOMPARE = 0x1d00,
	SCSI_ASC_INVALID_OPCODE = 0x2000,
	SCSI_ASC_LBA_RANGE = 0x2100,
	SCSI_ASC_INVALID_FIELD_CDB = 0x2400,
	SCSI_ASC_LUN_NOT_SUPPORTED = 0x2500,
	SCSI_ASC_INVALID_FIELD_PARAMETER = 0x2600,
	SCSI_ASC_INVALID_RELEASE = 0x2604,
	SCSI_ASC_WRITE_PROTECTED = 0x2700,
	SCSI_ASC_SPACE_ALLOCATION_FAILED = 0x2707,
	SCSI_ASC_POWER_ON = 0x2900,
	SCSI_ASC_LU_RESET = 0x2903,
	SCSI_ASC_NEXUS_LOSS = 0x2907,
	SCSI_ASC_RESERVATIONS_PREEMPTED = 0x2a03,
	SCSI_ASC_RESERVATIONS_RELEASED = 0x2a04,
	SCSI_ASC_REGISTRATIONS_PREEMPTED = 0x2a05,
	SCSI_ASC_CAPACITY_CHANGED = 0x2a09,
	SCSI_ASC_THIN_THRESHOLD = 0x3807,
	SCSI_ASC_SAVING_NOT_SUPPORTED = 0x3900,
	SCSI_ASC_SELF_TEST_FAILED = 0x3e03,
	SCSI_ASC_LUNS_CHANGED = 0x3f0e,
	SCSI_ASC_INTERNAL_FAILURE = 0x4400,
	SCSI_ASC_REGISTRATION_RESOURCES = 0x5504,
};

enum {
	SCSI_CDB_BYTES = 32,            /* the longest; SBC commands here use at most 16 */
	SCSI_SENSE_FIXED = 0x70,
	SCSI_SENSE_DESCRIPTOR = 0x72,
	SCSI_SENSE_FIXED_BYTES = 18,
	SCSI_SENSE_VALID = 0x80,        /* of byte 0, of an information descriptor's byte 2 */
	SCSI_SENSE_INFORMATION = 0x00,  /* descriptors, and the length of each */
	SCSI_SENSE_INFORMATION_BYTES = 12,
	SCSI_SENSE_SPECIFIC = 0x02,
	SCSI_SENSE_SPECIFIC_BYTES = 8,

	SCSI_LUN_REPORT_LUNS = 0xc101,  /* the well known unit that reports the others */

	SCSI_PDT_DISK = 0x00,
	SCSI_PDT_WELL_KNOWN = 0x1e,
	SCSI_PDT_NO_LUN = 0x7f,         /* qualifier 3, type 1Fh */
	SCSI_VERSION_SPC4 = 0x06,

	SCSI_CDB1_DPO = 0x10,
	SCSI_CDB1_FUA = 0x08,
};

enum scsi_vpd {
	SCSI_VPD_SUPPORTED = 0x00,
	SCSI_VPD_SERIAL = 0x80,
	SCSI_VPD_IDENTIFICATION = 0x83,
	SCSI_VPD_MANAGEMENT = 0x85,
	SCSI_VPD_EXTENDED = 0x86,
	SCSI_VPD_MODE_POLICY = 0x87,
	SCSI_VPD_PORTS = 0x88,
	SCSI_VPD_BLOCK_LIMITS = 0xb0,
	SCSI_VPD_BLOCK_CHARACTERISTICS = 0xb1,
	SCSI_VPD_PROVISIONING = 0xb2,
};

enum scsi_mode_page {
	SCSI_MODE_ERROR_RECOVERY = 0x01,
	SCSI_MODE_CACHING = 0x08,
	SCSI_MODE_CONTROL = 0x0a,
	SCSI_MODE_EXCEPTIONS = 0x1c,
	SCSI_MODE_ALL = 0x3f,
};

enum scsi_log_page {
	SCSI_LOG_SUPPORTED = 0x00,
	SCSI_LOG_STATISTICS = 0x19,
	SCSI_LOG_EXCEPTIONS = 0x2f,
};

/* Task management, as SAM-5 names it; the front end translates its own numbers. */
enum scsi_tmf {
	SCSI_TMF_ABORT_TASK,
	SCSI_TMF_ABORT_TASK_SET,
	SCSI_TMF_CLEAR_ACA,
	SCSI_TMF_CLEAR_TASK_SET,
	SCSI_TMF_NEXUS_RESET,
	SCSI_TMF_LU_RESET,
	SCSI_TMF_QUERY_TASK,
	SCSI_TMF_QUERY_TASK_SET,
};

static inline uint64_t scsi_be(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;
	uint32_t half;

	/* the widths of READ and WRITE at once */
	if (bytes == sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		return __builtin_bswap64(v);
	}
	if (bytes == sizeof(half)) {
		memcpy(&half, p, sizeof(half));
		return __builtin_bswap32(half);
	}
	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

static inline void scsi_be_put(uint8_t *p, unsigned bytes, uint64_t v)
{
	while (bytes--) {
		p[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

#endif
