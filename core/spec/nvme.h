/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe base specification 2.0c and NVM command set 1.0: registers, queue entries, opcodes, status
 * codes, features, and the data of single commands. Identify data is in nvme_identify.h, log pages
 * in nvme_log.h. Fields keep the names of the specifications, in lower case.
 */
#ifndef SPEC_NVME_H
#define SPEC_NVME_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"

enum {
	NVME_NSID_ALL = -1,             /* FFFFFFFFh as le32: broadcast */
	NVME_VS_2_0_0 = 0x00020000,
	NVME_NQN_BYTES = 256,           /* field in data structures, NUL-padded */
	NVME_NQN_TEXT_MAX = 223,        /* longest name, without NUL */
	NVME_DATA_BYTES = 4096,         /* most data structures of admin commands */
	NVME_CNTLID_MAX = 0xffef,
};

/* ---- controller registers and properties: base 2.0c 3.1.3 ---- */

enum nvme_reg {
	NVME_REG_CAP = 0x00,            /* 64 bits */
	NVME_REG_VS = 0x08,
	NVME_REG_INTMS = 0x0c,
	NVME_REG_INTMC = 0x10,
	NVME_REG_CC = 0x14,
	NVME_REG_CSTS = 0x1c,
	NVME_REG_NSSR = 0x20,
	NVME_REG_AQA = 0x24,
	NVME_REG_ASQ = 0x28,            /* 64 bits */
	NVME_REG_ACQ = 0x30,            /* 64 bits */
	NVME_REG_CMBLOC = 0x38,
	NVME_REG_CMBSZ = 0x3c,
	NVME_REG_CRTO = 0x68,
	/* SQ y tail at + 2y * (4 << DSTRD), CQ y head at + (2y + 1) * (4 << DSTRD) */
	NVME_REG_DOORBELLS = 0x1000,
};

/* CAP, as shifts of the 64-bit value. */
enum nvme_cap_shift {
	NVME_CAP_MQES_SHIFT = 0,        /* 16 bits, 0-based */
	NVME_CAP_CQR_SHIFT = 16,
	NVME_CAP_AMS_SHIFT = 17,        /* 2 bits */
	NVME_CAP_TO_SHIFT = 24,         /* 8 bits, 500 ms */
	NVME_CAP_DSTRD_SHIFT = 32,      /* 4 bits */
	NVME_CAP_NSSRS_SHIFT = 36,
	NVME_CAP_CSS_SHIFT = 37,        /* 8 bits, see below */
	NVME_CAP_BPS_SHIFT = 45,
	NVME_CAP_MPSMIN_SHIFT = 48,     /* 4 bits, 2^(12 + n) */
	NVME_CAP_MPSMAX_SHIFT = 52,     /* 4 bits */
	NVME_CAP_PMRS_SHIFT = 56,
	NVME_CAP_CMBS_SHIFT = 57,
	NVME_CAP_CRMS_SHIFT = 59,       /* 2 bits: bit 0 with media, bit 1 independent of media */
};

enum nvme_cap_css {
	NVME_CAP_CSS_NVM = 1 << 0,
	NVME_CAP_CSS_CSI = 1 << 6,      /* one or more I/O command sets */
	NVME_CAP_CSS_NONE = 1 << 7,     /* no I/O command set */
};

static inline uint16_t nvme_cap_mqes(uint64_t cap) { return (uint16_t)cap; }
static inline uint8_t nvme_cap_to(uint64_t cap) { return (uint8_t)(cap >> NVME_CAP_TO_SHIFT); }
static inline uint8_t nvme_cap_dstrd(uint64_t cap) { return cap >> NVME_CAP_DSTRD_SHIFT & 15; }
static inline uint8_t nvme_cap_css(uint64_t cap) { return (uint8_t)(cap >> NVME_CAP_CSS_SHIFT); }
static inline uint8_t nvme_cap_mpsmin(uint64_t cap) { return cap >> NVME_CAP_MPSMIN_SHIFT & 15; }
static inline uint8_t nvme_cap_mpsmax(uint64_t cap) { return cap >> NVME_CAP_MPSMAX_SHIFT & 15; }
static inline uint8_t nvme_cap_crms(uint64_t cap) { return cap >> NVME_CAP_CRMS_SHIFT & 3; }

enum nvme_cc {
	NVME_CC_EN = 1 << 0,
	NVME_CC_CSS_SHIFT = 4,          /* 3 bits: 0 NVM, 6 all supported, 7 admin only */
	NVME_CC_CSS_ALL = 6,
	NVME_CC_MPS_SHIFT = 7,          /* 4 bits */
	NVME_CC_AMS_SHIFT = 11,         /* 3 bits */
	NVME_CC_SHN_SHIFT = 14,         /* 2 bits, enum nvme_shn */
	NVME_CC_SHN_MASK = 3 << 14,
	NVME_CC_IOSQES_SHIFT = 16,      /* 4 bits, 6 for 64 bytes */
	NVME_CC_IOCQES_SHIFT = 20,      /* 4 bits, 4 for 16 bytes */
	NVME_CC_CRIME = 1 << 24,
};

enum nvme_shn { NVME_SHN_NONE, NVME_SHN_NORMAL, NVME_SHN_ABRUPT };

enum nvme_csts {
	NVME_CSTS_RDY = 1 << 0,
	NVME_CSTS_CFS = 1 << 1,
	NVME_CSTS_SHST_SHIFT = 2,       /* 2 bits, enum nvme_shst */
	NVME_CSTS_SHST_MASK = 3 << 2,
	NVME_CSTS_NSSRO = 1 << 4,
	NVME_CSTS_PP = 1 << 5,
	NVME_CSTS_ST = 1 << 6,
};

enum nvme_shst { NVME_SHST_NORMAL, NVME_SHST_OCCURRING, NVME_SHST_COMPLETE };

enum { NVME_AQA_ASQS_SHIFT = 0, NVME_AQA_ACQS_SHIFT = 16 };    /* 12 bits each, 0-based */

/* ---- queue entries: base 2.0c 3.3.3 ---- */

/* SGL descriptor: base 2.0c 4.1.2. ID is type << 4 | subtype. */
struct nvme_sgl {
	le64 addr;                      /* address or offset */
	union {
		struct {
			le32 length;
			uint8_t rsvd12[3];
			uint8_t id;
		};
		struct {                /* little endian */
			uint8_t keyed_length[3];
			uint8_t keyed_key[4];
			uint8_t keyed_id;
		};
	};
};
static_assert(sizeof(struct nvme_sgl) == 16, "SGL descriptor");
static_assert(offsetof(struct nvme_sgl, keyed_key) == 11, "SGL descriptor");
static_assert(offsetof(struct nvme_sgl, id) == 15, "SGL descriptor");

enum nvme_sgl_type {
	NVME_SGL_DATA = 0x0,
	NVME_SGL_BIT_BUCKET = 0x1,
	NVME_SGL_SEGMENT = 0x2,
	NVME_SGL_LAST_SEGMENT = 0x3,
	NVME_SGL_KEYED = 0x4,
	NVME_SGL_TRANSPORT = 0x5,
};

enum nvme_sgl_subtype {
	NVME_SGL_ADDRESS = 0x0,
	NVME_SGL_OFFSET = 0x1,
	NVME_SGL_TRANSPORT_SPECIFIC = 0xa,
	NVME_SGL_INVALIDATE_KEY = 0xf,  /* keyed: invalidate the key with the response */
};

enum nvme_sqe_flags {
	NVME_FUSE_MASK = 3,             /* 0 none, 1 first, 2 second */
	NVME_FUSE_FIRST = 1,
	NVME_FUSE_SECOND = 2,
	NVME_PSDT_MASK = 3 << 6,
	NVME_PSDT_PRP = 0 << 6,
	NVME_PSDT_SGL = 1 << 6,         /* metadata pointer is an address */
	NVME_PSDT_SGL_MPTR = 2 << 6,    /* metadata pointer is an SGL segment */
};

struct nvme_sqe {
	uint8_t opc;
	uint8_t flags;
	le16 cid;
	le32 nsid;
	le32 cdw2;
	le32 cdw3;
	le64 mptr;
	union {
		struct {
			le64 prp1;
			le64 prp2;
		};
		struct nvme_sgl sgl;
	};
	union {
		struct {
			le32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
		};
		struct {                /* I/O with a range */
			le64 slba;
			le32 rw_cdw12, rw_cdw13, rw_cdw14, rw_cdw15;
		};
	};
};
static_assert(sizeof(struct nvme_sqe) == 64, "SQE");
static_assert(offsetof(struct nvme_sqe, mptr) == 16, "SQE");
static_assert(offsetof(struct nvme_sqe, prp1) == 24, "SQE");
static_assert(offsetof(struct nvme_sqe, cdw10) == 40, "SQE");

struct nvme_cqe {
	le32 dw0;
	le32 dw1;
	le16 sqhd;
	le16 sqid;
	le16 cid;
	le16 status;                    /* bit 0 phase, then the 15-bit status field */
};
static_assert(sizeof(struct nvme_cqe) == 16, "CQE");
static_assert(offsetof(struct nvme_cqe, status) == 14, "CQE");

/*
 * The status field without the phase bit, as one number: SC 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14.
 * The constants of enum nvme_status below are such numbers.
 */
enum {
	NVME_STATUS_SHIFT = 1,          /* in nvme_cqe.status */
	NVME_STATUS_CODE_MASK = 0x7ff,  /* SCT and SC */
	NVME_STATUS_CRD_SHIFT = 11,
	NVME_STATUS_MORE = 1 << 13,
	NVME_STATUS_DNR = 1 << 14,
};

static inline uint16_t nvme_cqe_status(const struct nvme_cqe *cqe)
{
	return le16_get(cqe->status) >> NVME_STATUS_SHIFT;
}

static inline uint8_t nvme_status_sct(uint16_t status) { return status >> 8 & 7; }
static inline uint8_t nvme_status_sc(uint16_t status) { return (uint8_t)status; }

enum nvme_sct {
	NVME_SCT_GENERIC = 0,
	NVME_SCT_COMMAND = 1,
	NVME_SCT_MEDIA = 2,
	NVME_SCT_PATH = 3,
	NVME_SCT_VENDOR = 7,
};

/* SCT << 8 | SC: base 2.0c 3.3.3.2.1, NVM 1.0 3.1. */
enum nvme_status {
	NVME_SC_SUCCESS = 0x000,
	NVME_SC_INVALID_OPCODE = 0x001,
	NVME_SC_INVALID_FIELD = 0x002,
	NVME_SC_CID_CONFLICT = 0x003,
	NVME_SC_DATA_XFER_ERROR = 0x004,
	NVME_SC_ABORTED_POWER_LOSS = 0x005,
	NVME_SC_INTERNAL = 0x006,
	NVME_SC_ABORT_REQUESTED = 0x007,
	NVME_SC_ABORTED_SQ_DELETED = 0x008,
	NVME_SC_ABORTED_FAILED_FUSED = 0x009,
	NVME_SC_ABORTED_MISSING_FUSED = 0x00a,
	NVME_SC_INVALID_NS = 0x00b,     /* or format */
	NVME_SC_SEQUENCE_ERROR = 0x00c,
	NVME_SC_INVALID_SGL_SEGMENT = 0x00d,
	NVME_SC_INVALID_SGL_COUNT = 0x00e,
	NVME_SC_DATA_SGL_LENGTH = 0x00f,
	NVME_SC_METADATA_SGL_LENGTH = 0x010,
	NVME_SC_SGL_TYPE = 0x011,
	NVME_SC_CMB_USE = 0x012,
	NVME_SC_PRP_OFFSET = 0x013,
	NVME_SC_ATOMIC_EXCEEDED = 0x014,
	NVME_SC_OPERATION_DENIED = 0x015,
	NVME_SC_SGL_OFFSET = 0x016,
	NVME_SC_HOSTID_FORMAT = 0x018,
	NVME_SC_KATO_EXPIRED = 0x019,
	NVME_SC_KATO_INVALID = 0x01a,
	NVME_SC_ABORTED_PREEMPT = 0x01b,
	NVME_SC_SANITIZE_FAILED = 0x01c,
	NVME_SC_SANITIZE_IN_PROGRESS = 0x01d,
	NVME_SC_SGL_GRANULARITY = 0x01e,
	NVME_SC_NS_WRITE_PROTECTED = 0x020,
	NVME_SC_INTERRUPTED = 0x021,
	NVME_SC_TRANSIENT_TRANSPORT = 0x022,
	NVME_SC_LOCKDOWN = 0x023,
	NVME_SC_MEDIA_NOT_READY = 0x024,
	NVME_SC_LBA_RANGE = 0x080,
	NVME_SC_CAPACITY_EXCEEDED = 0x081,
	NVME_SC_NS_NOT_READY = 0x082,
	NVME_SC_RESERVATION_CONFLICT = 0x083,
	NVME_SC_FORMAT_IN_PROGRESS = 0x084,

	NVME_SC_CQ_INVALID = 0x100,
	NVME_SC_QID_INVALID = 0x101,
	NVME_SC_QSIZE_INVALID = 0x102,
	NVME_SC_ABORT_LIMIT = 0x103,
	NVME_SC_AER_LIMIT = 0x105,
	NVME_SC_FW_SLOT_INVALID = 0x106,
	NVME_SC_FW_IMAGE_INVALID = 0x107,
	NVME_SC_VECTOR_INVALID = 0x108,
	NVME_SC_LOG_PAGE_INVALID = 0x109,
	NVME_SC_FORMAT_INVALID = 0x10a,
	NVME_SC_FW_NEEDS_RESET = 0x10b,
	NVME_SC_QUEUE_DELETION_INVALID = 0x10c,
	NVME_SC_FEATURE_NOT_SAVEABLE = 0x10d,
	NVME_SC_FEATURE_NOT_CHANGEABLE = 0x10e,
	NVME_SC_FEATURE_NOT_NS = 0x10f,
	NVME_SC_OVERLAPPING_RANGE = 0x114,
	NVME_SC_NS_CAPACITY = 0x115,
	NVME_SC_NSID_UNAVAILABLE = 0x116,
	NVME_SC_NS_ATTACHED = 0x118,
	NVME_SC_NS_PRIVATE = 0x119,
	NVME_SC_NS_NOT_ATTACHED = 0x11a,
	NVME_SC_THIN_UNSUPPORTED = 0x11b,
	NVME_SC_CTRL_LIST_INVALID = 0x11c,
	NVME_SC_CTRL_ID_INVALID = 0x11f,
	NVME_SC_ANA_GROUP_INVALID = 0x124,
	NVME_SC_ANA_ATTACH_FAILED = 0x125,
	NVME_SC_CSI_UNSUPPORTED = 0x129,
	NVME_SC_CSI_NOT_ENABLED = 0x12a,
	NVME_SC_CSI_COMBINATION = 0x12b,
	NVME_SC_CSI_INVALID = 0x12c,
	/* NVM command set */
	NVME_SC_CONFLICTING_ATTRIBUTES = 0x180,
	NVME_SC_PI_INVALID = 0x181,
	NVME_SC_READONLY_RANGE = 0x182,
	NVME_SC_SIZE_LIMIT = 0x183,
	/* Fabrics commands */
	NVME_SC_CONNECT_FORMAT = 0x180,
	NVME_SC_CONNECT_BUSY = 0x181,
	NVME_SC_CONNECT_PARAM = 0x182,
	NVME_SC_CONNECT_RESTART_DISCOVERY = 0x183,
	NVME_SC_CONNECT_HOST = 0x184,
	NVME_SC_DISCONNECT_QUEUE_TYPE = 0x185,
	NVME_SC_DISCOVER_RESTART = 0x190,
	NVME_SC_AUTH_REQUIRED = 0x191,

	NVME_SC_WRITE_FAULT = 0x280,
	NVME_SC_READ_ERROR = 0x281,
	NVME_SC_GUARD_CHECK = 0x282,
	NVME_SC_APPTAG_CHECK = 0x283,
	NVME_SC_REFTAG_CHECK = 0x284,
	NVME_SC_COMPARE_FAILURE = 0x285,
	NVME_SC_ACCESS_DENIED = 0x286,
	NVME_SC_UNWRITTEN = 0x287,

	NVME_SC_PATH_INTERNAL = 0x300,
	NVME_SC_ANA_PERSISTENT_LOSS = 0x301,
	NVME_SC_ANA_INACCESSIBLE = 0x302,
	NVME_SC_ANA_TRANSITION = 0x303,
	NVME_SC_PATH_CTRL = 0x360,
	NVME_SC_PATH_HOST = 0x370,
	NVME_SC_PATH_ABORTED_BY_HOST = 0x371,
};

/* ---- admin commands: base 2.0c 5 ---- */

enum nvme_admin_opc {
	NVME_ADM_DELETE_SQ = 0x00,
	NVME_ADM_CREATE_SQ = 0x01,
	NVME_ADM_GET_LOG_PAGE = 0x02,
	NVME_ADM_DELETE_CQ = 0x04,
	NVME_ADM_CREATE_CQ = 0x05,
	NVME_ADM_IDENTIFY = 0x06,
	NVME_ADM_ABORT = 0x08,
	NVME_ADM_SET_FEATURES = 0x09,
	NVME_ADM_GET_FEATURES = 0x0a,
	NVME_ADM_ASYNC_EVENT = 0x0c,
	NVME_ADM_NS_MANAGEMENT = 0x0d,
	NVME_ADM_FW_COMMIT = 0x10,
	NVME_ADM_FW_DOWNLOAD = 0x11,
	NVME_ADM_SELF_TEST = 0x14,
	NVME_ADM_NS_ATTACHMENT = 0x15,
	NVME_ADM_KEEP_ALIVE = 0x18,
	NVME_ADM_DIRECTIVE_SEND = 0x19,
	NVME_ADM_DIRECTIVE_RECEIVE = 0x1a,
	NVME_ADM_DOORBELL_BUFFER = 0x7c,
	NVME_ADM_FABRICS = 0x7f,
	NVME_ADM_FORMAT_NVM = 0x80,
	NVME_ADM_SECURITY_SEND = 0x81,
	NVME_ADM_SECURITY_RECEIVE = 0x82,
	NVME_ADM_SANITIZE = 0x84,
};

/* Create I/O SQ and CQ: cdw10 = size (0-based) << 16 | qid. */
enum nvme_create_queue {
	NVME_CREATE_QSIZE_SHIFT = 16,
	NVME_CREATE_PC = 1 << 0,        /* cdw11: physically contiguous */
	NVME_CREATE_CQ_IEN = 1 << 1,    /* cdw11 */
	NVME_CREATE_CQ_IV_SHIFT = 16,   /* cdw11: interrupt vector */
	NVME_CREATE_SQ_CQID_SHIFT = 16, /* cdw11 */
};

/* Get Log Page: cdw10 lid 7:0, lsp 14:8, rae 15, numdl 31:16; cdw11 numdu 15:0. */
enum nvme_get_log {
	NVME_LOG_LSP_SHIFT = 8,
	NVME_LOG_RAE = 1 << 15,
	NVME_LOG_NUMDL_SHIFT = 16,
	NVME_LOG_OT = 1 << 23,          /* cdw14: offset is an index */
	NVME_LOG_CSI_SHIFT = 24,        /* cdw14 */
};

/* Identify: cdw10 cns 7:0, cntid 31:16; cdw11 csi 31:24. */
enum { NVME_IDENTIFY_CNTID_SHIFT = 16, NVME_IDENTIFY_CSI_SHIFT = 24 };

/* Abort: cdw10 sqid 15:0, cid 31:16; dw0 bit 0 of the completion: not aborted. */
enum { NVME_ABORT_CID_SHIFT = 16, NVME_ABORT_NOT_DONE = 1 };

/* Asynchronous event: dw0 of the completion is type | info << 8 | log page << 16. */
enum nvme_aer {
	NVME_AER_ERROR = 0,
	NVME_AER_SMART = 1,
	NVME_AER_NOTICE = 2,
	NVME_AER_IO_SET = 6,
	NVME_AER_VENDOR = 7,
	NVME_AER_INFO_SHIFT = 8,
	NVME_AER_LID_SHIFT = 16,
	NVME_AER_SMART_RELIABILITY = 0x00,
	NVME_AER_SMART_TEMPERATURE = 0x01,
	NVME_AER_SMART_SPARE = 0x02,
	NVME_AER_NOTICE_NS_CHANGED = 0x00,
	NVME_AER_NOTICE_FW_ACTIVATION = 0x01,
	NVME_AER_NOTICE_ANA = 0x03,
	NVME_AER_NOTICE_DISCOVERY = 0xf0,
	NVME_AER_IO_SET_RESERVATION = 0x00,
};

/* ---- features: base 2.0c 5.27.1 ---- */

enum nvme_feature {
	NVME_FEAT_ARBITRATION = 0x01,
	NVME_FEAT_POWER = 0x02,
	NVME_FEAT_LBA_RANGE = 0x03,
	NVME_FEAT_TEMPERATURE = 0x04,
	NVME_FEAT_ERROR_RECOVERY = 0x05,
	NVME_FEAT_WRITE_CACHE = 0x06,
	NVME_FEAT_QUEUES = 0x07,        /* NSQR 15:0, NCQR 31:16, both 0-based */
	NVME_FEAT_INT_COALESCING = 0x08,
	NVME_FEAT_INT_VECTOR = 0x09,
	NVME_FEAT_WRITE_ATOMICITY = 0x0a,
	NVME_FEAT_AEC = 0x0b,           /* bits as enum nvme_oaes, and 7:0 SMART warnings */
	NVME_FEAT_APST = 0x0c,
	NVME_FEAT_TIMESTAMP = 0x0e,
	NVME_FEAT_KATO = 0x0f,          /* ms */
	NVME_FEAT_HOST_BEHAVIOR = 0x16,
	NVME_FEAT_IOCS_PROFILE = 0x19,
	NVME_FEAT_HOSTID = 0x81,
	NVME_FEAT_RESV_MASK = 0x82,
	NVME_FEAT_RESV_PERSIST = 0x83,
	NVME_FEAT_WRITE_PROTECT = 0x84,
};

enum nvme_feature_cdw10 {
	NVME_FEAT_SEL_SHIFT = 8,        /* Get: 3 bits, enum nvme_feature_sel */
	NVME_FEAT_SV = 1 << 31,         /* Set: save */
};

enum nvme_feature_sel {
	NVME_FEAT_SEL_CURRENT,
	NVME_FEAT_SEL_DEFAULT,
	NVME_FEAT_SEL_SAVED,
	NVME_FEAT_SEL_SUPPORTED,        /* dw0: bit 0 saveable, 1 per namespace, 2 changeable */
};

enum { NVME_FEAT_HOSTID_EXHID = 1 << 0 };       /* cdw11: 128-bit host identifier */

/* ---- NVM command set 1.0: 3.2 ---- */

enum nvme_nvm_opc {
	NVME_NVM_FLUSH = 0x00,
	NVME_NVM_WRITE = 0x01,
	NVME_NVM_READ = 0x02,
	NVME_NVM_WRITE_UNCORRECTABLE = 0x04,
	NVME_NVM_COMPARE = 0x05,
	NVME_NVM_WRITE_ZEROES = 0x08,
	NVME_NVM_DSM = 0x09,
	NVME_NVM_VERIFY = 0x0c,
	NVME_NVM_RESV_REGISTER = 0x0d,
	NVME_NVM_RESV_REPORT = 0x0e,
	NVME_NVM_RESV_ACQUIRE = 0x11,
	NVME_NVM_RESV_RELEASE = 0x15,
	NVME_NVM_COPY = 0x19,
};

/* cdw12 of Read, Write, Compare, Write Zeroes, Verify: nlb 15:0 (0-based), then these. */
enum nvme_rw_cdw12 {
	NVME_RW_NLB_MASK = 0xffff,
	NVME_RW_DEAC = 1 << 25,         /* Write Zeroes: deallocate */
	NVME_RW_PI_MASK = 0xf << 26 | 1 << 24,  /* protection information: PRINFO, STC */
	NVME_RW_FUA = 1 << 30,
	NVME_RW_LR = 1 << 31,
};

/* Dataset Management: cdw10 nr 7:0 (0-based), cdw11 as below. */
enum nvme_dsm {
	NVME_DSM_IDR = 1 << 0,
	NVME_DSM_IDW = 1 << 1,
	NVME_DSM_AD = 1 << 2,
	NVME_DSM_RANGES_MAX = 256,
};

/* Copy: cdw12 nr 7:0 (0-based), descriptor format 11:8, then these; slba is where to. */
enum nvme_copy_cdw12 {
	NVME_COPY_NR_MASK = 0xff,
	NVME_COPY_FORMAT_MASK = 0xf << 8,
	/* protection information: PRINFO of reading, of writing, STC of both */
	NVME_COPY_PI_MASK = 0xf << 12 | 0xf << 26 | 3 << 24,
};

/* Descriptor format 0. */
struct nvme_copy_range {
	le64 rsvd0;
	le64 slba;
	le16 nlb;                       /* 0-based */
	uint8_t rsvd18[6];
	le32 eilbrt;
	le16 elbat, elbatm;
};
static_assert(sizeof(struct nvme_copy_range) == 32, "copy range");

struct nvme_dsm_range {
	le32 cattr;
	le32 nlb;                       /* blocks, not 0-based */
	le64 slba;
};
static_assert(sizeof(struct nvme_dsm_range) == 16, "DSM range");

#endif
