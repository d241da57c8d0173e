/* SPDX-License-Identifier: BSD-3-Clause */
/* NVMe/TCP transport specification 1.0c: PDU headers, 3.6. */
#ifndef SPEC_NVME_TCP_H
#define SPEC_NVME_TCP_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"
#include "core/spec/nvme.h"

enum nvme_tcp_type {
	NVME_TCP_IC_REQ = 0x00,
	NVME_TCP_IC_RESP = 0x01,
	NVME_TCP_H2C_TERM = 0x02,
	NVME_TCP_C2H_TERM = 0x03,
	NVME_TCP_CMD = 0x04,
	NVME_TCP_RSP = 0x05,
	NVME_TCP_H2C_DATA = 0x06,
	NVME_TCP_C2H_DATA = 0x07,
	NVME_TCP_R2T = 0x09,
};

enum nvme_tcp_flags {
	NVME_TCP_HDGST = 1 << 0,        /* a header digest follows the header */
	NVME_TCP_DDGST = 1 << 1,        /* a data digest follows the data */
	NVME_TCP_LAST = 1 << 2,         /* H2CData, C2HData: last of this transfer */
	NVME_TCP_SUCCESS = 1 << 3,      /* C2HData: no response capsule follows */
};

enum {
	NVME_TCP_DIGEST_BYTES = 4,
	NVME_TCP_PFV = 0,
	NVME_TCP_PDA_MAX = 31,          /* CPDA and HPDA: (n + 1) * 4 bytes */
	NVME_TCP_DGST_HEADER = 1 << 0,  /* dgst of ICReq and ICResp */
	NVME_TCP_DGST_DATA = 1 << 1,
	NVME_TCP_MAXH2CDATA_MIN = 4096,
	NVME_TCP_TERM_DATA_MAX = 128,   /* bytes of the offending header that TermReq carries */
	NVME_TCP_IN_CAPSULE_ADMIN = 8192,       /* bytes every admin queue takes in a capsule */
};

/* Common header. */
struct nvme_tcp_ch {
	uint8_t type;
	uint8_t flags;
	uint8_t hlen;                   /* header, without digest */
	uint8_t pdo;                    /* data offset from the start of the PDU */
	le32 plen;                      /* everything */
};
static_assert(sizeof(struct nvme_tcp_ch) == 8, "common header");

struct nvme_tcp_ic_req {
	struct nvme_tcp_ch ch;
	le16 pfv;
	uint8_t hpda;
	uint8_t dgst;
	le32 maxr2t;                    /* 0-based */
	uint8_t rsvd16[112];
};
static_assert(sizeof(struct nvme_tcp_ic_req) == 128, "ICReq");

struct nvme_tcp_ic_resp {
	struct nvme_tcp_ch ch;
	le16 pfv;
	uint8_t cpda;
	uint8_t dgst;
	le32 maxh2cdata;
	uint8_t rsvd16[112];
};
static_assert(sizeof(struct nvme_tcp_ic_resp) == 128, "ICResp");

enum nvme_tcp_fes {
	NVME_TCP_FES_HEADER_FIELD = 0x01,       /* FEI: offset of the field in the header */
	NVME_TCP_FES_SEQUENCE = 0x02,
	NVME_TCP_FES_HEADER_DIGEST = 0x03,      /* FEI: the digest that was received */
	NVME_TCP_FES_OUT_OF_RANGE = 0x04,
	NVME_TCP_FES_LIMIT = 0x05,              /* C2H: transfer limit; H2C: R2T limit */
	NVME_TCP_FES_UNSUPPORTED = 0x06,        /* FEI: offset of the field in the header */
};

/* H2CTermReq and C2HTermReq; the header in error follows. */
struct nvme_tcp_term {
	struct nvme_tcp_ch ch;
	le16 fes;
	le32_un fei;
	uint8_t rsvd14[10];
};
static_assert(sizeof(struct nvme_tcp_term) == 24, "TermReq");
static_assert(offsetof(struct nvme_tcp_term, fei) == 10, "TermReq");

struct nvme_tcp_cmd {
	struct nvme_tcp_ch ch;
	struct nvme_sqe sqe;
};
static_assert(sizeof(struct nvme_tcp_cmd) == 72, "CapsuleCmd");

struct nvme_tcp_rsp {
	struct nvme_tcp_ch ch;
	struct nvme_cqe cqe;
};
static_assert(sizeof(struct nvme_tcp_rsp) == 24, "CapsuleResp");

/* H2CData and C2HData; C2HData has no ttag. */
struct nvme_tcp_data {
	struct nvme_tcp_ch ch;
	le16 cccid;
	le16 ttag;
	le32 datao;
	le32 datal;
	uint8_t rsvd20[4];
};
static_assert(sizeof(struct nvme_tcp_data) == 24, "H2CData, C2HData");
static_assert(offsetof(struct nvme_tcp_data, datao) == 12, "H2CData, C2HData");

struct nvme_tcp_r2t {
	struct nvme_tcp_ch ch;
	le16 cccid;
	le16 ttag;
	le32 r2to;
	le32 r2tl;
	uint8_t rsvd20[4];
};
static_assert(sizeof(struct nvme_tcp_r2t) == 24, "R2T");

#endif
