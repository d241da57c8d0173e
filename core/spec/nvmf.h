/* SPDX-License-Identifier: BSD-3-Clause */
/* NVMe over Fabrics: commands, Connect data, discovery log: NVMe base 2.0c 3.3.2, 5.16.1.23, 6. */
#ifndef SPEC_NVMF_H
#define SPEC_NVMF_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"
#include "core/spec/nvme.h"

#define NVMF_DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"

enum {
	NVMF_PORT = 4420,
	NVMF_DISCOVERY_PORT = 8009,
	NVMF_CNTLID_DYNAMIC = 0xffff,
	NVMF_CNTLID_STATIC_ANY = 0xfffe,
	NVMF_ADMIN_SQSIZE_MIN = 32,     /* entries: base 2.0c 6.3, ASQSZ */
};

enum nvmf_fctype {
	NVMF_PROPERTY_SET = 0x00,
	NVMF_CONNECT = 0x01,
	NVMF_PROPERTY_GET = 0x04,
	NVMF_AUTH_SEND = 0x05,
	NVMF_AUTH_RECEIVE = 0x06,
	NVMF_DISCONNECT = 0x08,
};

/* What all Fabrics commands share. */
struct nvmf_sqe {
	uint8_t opc;                    /* NVME_ADM_FABRICS */
	uint8_t flags;
	le16 cid;
	uint8_t fctype;
	uint8_t rsvd5[19];
	struct nvme_sgl sgl;
	uint8_t specific[24];
};
static_assert(sizeof(struct nvmf_sqe) == 64, "Fabrics SQE");
static_assert(offsetof(struct nvmf_sqe, sgl) == 24, "Fabrics SQE");

struct nvmf_connect_sqe {
	uint8_t opc;
	uint8_t flags;
	le16 cid;
	uint8_t fctype;
	uint8_t rsvd5[19];
	struct nvme_sgl sgl;
	le16 recfmt;
	le16 qid;
	le16 sqsize;                    /* 0-based */
	uint8_t cattr;
	uint8_t rsvd47;
	le32 kato;                      /* ms */
	uint8_t rsvd52[12];
};
static_assert(sizeof(struct nvmf_connect_sqe) == 64, "Connect");
static_assert(offsetof(struct nvmf_connect_sqe, sqsize) == 44, "Connect");
static_assert(offsetof(struct nvmf_connect_sqe, kato) == 48, "Connect");

enum nvmf_cattr {
	NVMF_CATTR_PRIORITY_MASK = 3,
	NVMF_CATTR_NO_SQ_FLOW = 1 << 2,         /* disable SQ flow control */
	NVMF_CATTR_QUEUE_DELETION = 1 << 3,     /* host may Disconnect I/O queues */
};

struct nvmf_connect_data {
	uint8_t hostid[16];
	le16 cntlid;
	uint8_t rsvd18[238];
	char subnqn[NVME_NQN_BYTES];
	char hostnqn[NVME_NQN_BYTES];
	uint8_t rsvd768[256];
};
static_assert(sizeof(struct nvmf_connect_data) == 1024, "Connect data");
static_assert(offsetof(struct nvmf_connect_data, subnqn) == 256, "Connect data");
static_assert(offsetof(struct nvmf_connect_data, hostnqn) == 512, "Connect data");

/*
 * Connect response, dw0: CNTLID 15:0 and AUTHREQ 31:16; or, with NVME_SC_CONNECT_PARAM, the byte
 * offset of the bad parameter (IPO, 15:0) and IATTR in bit 16: 0 in the SQE, 1 in the data.
 */
enum { NVMF_IATTR_DATA = 1 << 16 };

struct nvmf_property_sqe {
	uint8_t opc;
	uint8_t flags;
	le16 cid;
	uint8_t fctype;
	uint8_t rsvd5[35];
	uint8_t attrib;
	uint8_t rsvd41[3];
	le32 ofst;
	le64 value;                     /* Set only */
	uint8_t rsvd56[8];
};
static_assert(sizeof(struct nvmf_property_sqe) == 64, "Property Get and Set");
static_assert(offsetof(struct nvmf_property_sqe, attrib) == 40, "Property Get and Set");
static_assert(offsetof(struct nvmf_property_sqe, value) == 48, "Property Get and Set");

enum { NVMF_PROPERTY_SIZE_MASK = 7, NVMF_PROPERTY_4 = 0, NVMF_PROPERTY_8 = 1 };

struct nvmf_disconnect_sqe {
	uint8_t opc;
	uint8_t flags;
	le16 cid;
	uint8_t fctype;
	uint8_t rsvd5[35];
	le16 recfmt;
	uint8_t rsvd42[22];
};
static_assert(sizeof(struct nvmf_disconnect_sqe) == 64, "Disconnect");

/* ---- discovery ---- */

enum nvmf_trtype {
	NVMF_TRTYPE_RDMA = 1,
	NVMF_TRTYPE_FC = 2,
	NVMF_TRTYPE_TCP = 3,
	NVMF_TRTYPE_LOOP = 254,
};

enum nvmf_adrfam { NVMF_ADRFAM_IPV4 = 1, NVMF_ADRFAM_IPV6 = 2, NVMF_ADRFAM_IB = 3 };

enum nvmf_subtype {
	NVMF_SUBTYPE_REFERRAL = 1,
	NVMF_SUBTYPE_NVM = 2,
	NVMF_SUBTYPE_CURRENT_DISCOVERY = 3,
};

enum nvmf_treq {
	NVMF_TREQ_SECURE_UNSPECIFIED = 0,
	NVMF_TREQ_SECURE_REQUIRED = 1,
	NVMF_TREQ_SECURE_NOT_REQUIRED = 2,
	NVMF_TREQ_NO_SQ_FLOW = 1 << 2,          /* SQ flow control can be disabled */
};

enum nvmf_eflags {
	NVMF_EFLAGS_DUPRETINFO = 1 << 0,
	NVMF_EFLAGS_EPCSD = 1 << 1,             /* persistent discovery connections */
};

/* Transport specific address subtype. */
struct nvmf_tsas_tcp {
	uint8_t sectype;                /* 0: none */
	uint8_t rsvd1[255];
};
static_assert(sizeof(struct nvmf_tsas_tcp) == 256, "TSAS");

enum nvmf_tsas_rdma_value {
	NVMF_RDMA_QPTYPE_CONNECTED = 1,         /* reliable */
	NVMF_RDMA_PRTYPE_NONE = 1,              /* not specified */
	NVMF_RDMA_CMS_CM = 1,
};

struct nvmf_tsas_rdma {
	uint8_t qptype;                 /* 1: connected */
	uint8_t prtype;                 /* 1 none, 2 IB, 3 RoCE, 4 RoCEv2, 5 iWARP */
	uint8_t cms;                    /* 1: RDMA_IP_CM */
	uint8_t rsvd3[5];
	le16 pkey;
	uint8_t rsvd10[246];
};
static_assert(sizeof(struct nvmf_tsas_rdma) == 256, "TSAS");

struct nvmf_discovery_entry {
	uint8_t trtype, adrfam, subtype, treq;
	le16 portid;
	le16 cntlid;
	le16 asqsz;                     /* entries */
	le16 eflags;
	uint8_t rsvd12[20];
	char trsvcid[32];               /* padded with spaces */
	uint8_t rsvd64[192];
	char subnqn[NVME_NQN_BYTES];    /* padded with NUL */
	char traddr[256];               /* padded with spaces */
	union {
		struct nvmf_tsas_tcp tcp;
		struct nvmf_tsas_rdma rdma;
	};
};
static_assert(sizeof(struct nvmf_discovery_entry) == 1024, "discovery log entry");
static_assert(offsetof(struct nvmf_discovery_entry, trsvcid) == 32, "discovery log entry");
static_assert(offsetof(struct nvmf_discovery_entry, subnqn) == 256, "discovery log entry");
static_assert(offsetof(struct nvmf_discovery_entry, tcp) == 768, "discovery log entry");

/* Entries follow. */
struct nvmf_discovery_log {
	le64 genctr;
	le64 numrec;
	le16 recfmt;
	uint8_t rsvd18[1006];
};
static_assert(sizeof(struct nvmf_discovery_log) == 1024, "discovery log");

#endif
