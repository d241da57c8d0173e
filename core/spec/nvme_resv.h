/* SPDX-License-Identifier: BSD-3-Clause */
/* Reservations: NVMe base specification 2.0c 7.2 to 7.5 and 8.19, and log page 80h (5.16.1.24). */
#ifndef SPEC_NVME_RESV_H
#define SPEC_NVME_RESV_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"

/* cdw10 of Register, Acquire and Release: the action, then these. */
enum nvme_resv_cdw10 {
	NVME_RESV_ACTION_MASK = 7,
	NVME_RESV_IEKEY = 1 << 3,       /* the current key is not checked */
	NVME_RESV_RTYPE_SHIFT = 8,      /* Acquire, Release: 8 bits */
	NVME_RESV_CPTPL_SHIFT = 30,     /* Register: 2 bits, enum nvme_resv_cptpl */
};

enum nvme_resv_rrega { NVME_RREGA_REGISTER, NVME_RREGA_UNREGISTER, NVME_RREGA_REPLACE };
enum nvme_resv_racqa { NVME_RACQA_ACQUIRE, NVME_RACQA_PREEMPT, NVME_RACQA_PREEMPT_ABORT };
enum nvme_resv_rrela { NVME_RRELA_RELEASE, NVME_RRELA_CLEAR };
enum nvme_resv_cptpl { NVME_CPTPL_KEEP = 0, NVME_CPTPL_CLEAR = 2, NVME_CPTPL_SET = 3 };

enum nvme_resv_type {
	NVME_RTYPE_WRITE_EXCLUSIVE = 1,
	NVME_RTYPE_EXCLUSIVE_ACCESS = 2,
	NVME_RTYPE_WRITE_EXCLUSIVE_REGISTRANTS = 3,
	NVME_RTYPE_EXCLUSIVE_ACCESS_REGISTRANTS = 4,
	NVME_RTYPE_WRITE_EXCLUSIVE_ALL = 5,
	NVME_RTYPE_EXCLUSIVE_ACCESS_ALL = 6,
};

struct nvme_resv_register {
	le64 crkey, nrkey;
};
static_assert(sizeof(struct nvme_resv_register) == 16, "Reservation Register");

struct nvme_resv_acquire {
	le64 crkey, prkey;
};
static_assert(sizeof(struct nvme_resv_acquire) == 16, "Reservation Acquire");

struct nvme_resv_release {
	le64 crkey;
};
static_assert(sizeof(struct nvme_resv_release) == 8, "Reservation Release");

/* Reservation Report: cdw10 numd (0-based), cdw11 as below. */
enum { NVME_RESV_EDS = 1 << 0 };                /* extended data structure */
enum { NVME_RCSTS_HOLDER = 1 << 0 };
enum { NVME_RESV_CNTLID_DYNAMIC = 0xffff };

/* Unaligned, as published; registrants follow: 24 bytes each, or after 40 more bytes 64 each. */
struct nvme_resv_status {
	le32_un gen;
	uint8_t rtype;
	le16_un regctl;
	uint8_t rsvd7[2];
	uint8_t ptpls;
	uint8_t rsvd10[14];
};
static_assert(sizeof(struct nvme_resv_status) == 24, "Reservation Status");

struct nvme_resv_status_ext {
	struct nvme_resv_status status;
	uint8_t rsvd24[40];
};
static_assert(sizeof(struct nvme_resv_status_ext) == 64, "Reservation Status, extended");

struct nvme_resv_ctrl_ext {
	le16 cntlid;
	uint8_t rcsts;
	uint8_t rsvd3[5];
	le64 rkey;
	uint8_t hostid[16];
	uint8_t rsvd32[32];
};
static_assert(sizeof(struct nvme_resv_ctrl_ext) == 64, "Registered Controller, extended");

/* RESCAP of Identify Namespace. */
enum nvme_rescap {
	NVME_RESCAP_PTPL = 1 << 0,
	NVME_RESCAP_TYPES = 0x7e,       /* all six */
	NVME_RESCAP_IEKEY = 1 << 7,     /* as defined by 1.3 and later */
};

/* Feature 82h: bits that mask; feature 83h. */
enum nvme_resv_mask {
	NVME_RESV_MASK_REGPRE = 1 << 1,
	NVME_RESV_MASK_RESREL = 1 << 2,
	NVME_RESV_MASK_RESPRE = 1 << 3,
	NVME_RESV_MASK_ALL = 7 << 1,
};
enum { NVME_RESV_PERSIST_PTPL = 1 << 0 };

/* Log page 80h. */
enum nvme_resv_note {
	NVME_RESV_NOTE_NONE,
	NVME_RESV_NOTE_REGISTRATION_PREEMPTED,
	NVME_RESV_NOTE_RELEASED,
	NVME_RESV_NOTE_PREEMPTED,
};

struct nvme_log_resv {
	le64 count;
	uint8_t type;                   /* enum nvme_resv_note */
	uint8_t available;              /* further pages */
	uint8_t rsvd10[2];
	le32 nsid;
	uint8_t rsvd16[48];
};
static_assert(sizeof(struct nvme_log_resv) == 64, "reservation notification log page");

#endif
