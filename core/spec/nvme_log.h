/* SPDX-License-Identifier: BSD-3-Clause */
/* Log pages: NVMe base specification 2.0c 5.16.1. */
#ifndef SPEC_NVME_LOG_H
#define SPEC_NVME_LOG_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"

enum nvme_lid {
	NVME_LID_SUPPORTED = 0x00,
	NVME_LID_ERROR = 0x01,
	NVME_LID_SMART = 0x02,
	NVME_LID_FW_SLOT = 0x03,
	NVME_LID_CHANGED_NS = 0x04,
	NVME_LID_EFFECTS = 0x05,
	NVME_LID_SELF_TEST = 0x06,
	NVME_LID_ANA = 0x0c,
	NVME_LID_FEATURES = 0x12,
	NVME_LID_DISCOVERY = 0x70,
	NVME_LID_RESERVATION = 0x80,
};

/* 00h: one entry per log page. */
enum { NVME_LIDSUPP = 1 << 0, NVME_LID_IOS = 1 << 1 };  /* supported; offset may be an index */

struct nvme_log_supported {
	le32 lid[256];
};
static_assert(sizeof(struct nvme_log_supported) == 1024, "supported log pages");

/* 01h: newest first; error_count 0 marks an unused entry. */
struct nvme_log_error {
	le64 error_count;
	le16 sqid;
	le16 cid;
	le16 status;                    /* as in the CQE, with the phase bit */
	le16 parameter_error_location;  /* byte 7:0, bit 10:8; FFFFh unknown */
	le64 lba;
	le32 nsid;
	uint8_t vs;
	uint8_t trtype;
	uint8_t rsvd30[2];
	le64 command_specific;
	le16 transport_specific;
	uint8_t rsvd42[22];
};
static_assert(sizeof(struct nvme_log_error) == 64, "error log entry");
static_assert(offsetof(struct nvme_log_error, command_specific) == 32, "error log entry");

enum nvme_smart_warning {
	NVME_SMART_SPARE = 1 << 0,
	NVME_SMART_TEMPERATURE = 1 << 1,
	NVME_SMART_RELIABILITY = 1 << 2,
	NVME_SMART_READONLY = 1 << 3,
	NVME_SMART_BACKUP_FAILED = 1 << 4,
	NVME_SMART_PMR = 1 << 5,
	NVME_SMART_WARNINGS = 0xff,     /* their bits in AEC */
};

/* 02h. The 16-byte numbers are little endian. */
struct nvme_log_smart {
	uint8_t critical_warning;
	le16_un composite_temperature;  /* kelvin */
	uint8_t available_spare;        /* percent */
	uint8_t available_spare_threshold;
	uint8_t percentage_used;
	uint8_t endurance_group_warning;
	uint8_t rsvd7[25];
	uint8_t data_units_read[16];    /* thousands of 512-byte units */
	uint8_t data_units_written[16];
	uint8_t host_read_commands[16];
	uint8_t host_write_commands[16];
	uint8_t controller_busy_time[16];       /* minutes */
	uint8_t power_cycles[16];
	uint8_t power_on_hours[16];
	uint8_t unsafe_shutdowns[16];
	uint8_t media_errors[16];
	uint8_t error_log_entries[16];
	le32 warning_temperature_time;  /* minutes */
	le32 critical_temperature_time;
	le16 temperature_sensor[8];     /* kelvin, 0: none */
	le32 tmt1_transitions, tmt2_transitions;
	le32 tmt1_time, tmt2_time;
	uint8_t rsvd232[280];
};
static_assert(sizeof(struct nvme_log_smart) == 512, "SMART log page");
static_assert(offsetof(struct nvme_log_smart, data_units_read) == 32, "SMART log page");
static_assert(offsetof(struct nvme_log_smart, warning_temperature_time) == 192, "SMART log page");

/* 03h. */
struct nvme_log_fw_slot {
	uint8_t afi;                    /* active slot 2:0, next 6:4 */
	uint8_t rsvd1[7];
	char frs[7][8];                 /* slots 1…7 */
	uint8_t rsvd64[448];
};
static_assert(sizeof(struct nvme_log_fw_slot) == 512, "firmware slot log page");

/* 04h: ascending NSIDs, zero-filled; a first entry of FFFFFFFFh means more than fit. */
struct nvme_log_changed_ns {
	le32 nsid[1024];
};
static_assert(sizeof(struct nvme_log_changed_ns) == 4096, "changed namespace log page");

/* 05h. */
enum nvme_effects {
	NVME_EFFECT_CSUPP = 1 << 0,
	NVME_EFFECT_LBCC = 1 << 1,      /* changes logical block content */
	NVME_EFFECT_NCC = 1 << 2,       /* changes a namespace's capabilities */
	NVME_EFFECT_NIC = 1 << 3,       /* changes the number of namespaces */
	NVME_EFFECT_CCC = 1 << 4,       /* changes the controller's capabilities */
};

struct nvme_log_effects {
	le32 acs[256];
	le32 iocs[256];
	uint8_t rsvd2048[2048];
};
static_assert(sizeof(struct nvme_log_effects) == 4096, "effects log page");

/* 0Ch: asymmetric namespace access; group descriptors follow, each with its NSIDs. */
struct nvme_log_ana {
	le64 chgcnt;
	le16 ngrps;
	uint8_t rsvd10[6];
};
static_assert(sizeof(struct nvme_log_ana) == 16, "ANA log page");

enum nvme_ana_state {
	NVME_ANA_OPTIMIZED = 0x1,
	NVME_ANA_NON_OPTIMIZED = 0x2,
	NVME_ANA_INACCESSIBLE = 0x3,
	NVME_ANA_PERSISTENT_LOSS = 0x4,
	NVME_ANA_CHANGE = 0xf,
};

struct nvme_log_ana_group {
	le32 grpid;
	le32 nnsids;
	le64 chgcnt;
	uint8_t state;                  /* bits 3:0 */
	uint8_t rsvd17[15];
};
static_assert(sizeof(struct nvme_log_ana_group) == 32, "ANA group descriptor");

/* 12h: one entry per feature. */
enum nvme_feature_effects {
	NVME_FEATURE_SUPPORTED = 1 << 0,
	NVME_FEATURE_CCC = 1 << 4,      /* changes the controller's capabilities */
	NVME_FEATURE_SCOPE_NS = 1 << 20,
	NVME_FEATURE_SCOPE_CTRL = 1 << 21,
};

struct nvme_log_features {
	le32 fid[256];
};
static_assert(sizeof(struct nvme_log_features) == 1024, "feature effects log page");

#endif
