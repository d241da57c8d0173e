/* SPDX-License-Identifier: BSD-3-Clause */
/* NVMe over RDMA: private data of the connection manager: NVMe RDMA transport 1.0, 3.2. */
#ifndef SPEC_NVME_RDMA_H
#define SPEC_NVME_RDMA_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"

enum {
	NVME_RDMA_RECFMT = 0,
	NVME_RDMA_ADMIN_DEPTH = 32,     /* entries: the least that an admin queue offers */
	NVME_RDMA_CNTLID_ANY = 0xffff,
};

/* With the host's connection request. */
struct nvme_rdma_request {
	le16 recfmt;
	le16 qid;
	le16 hrqsize;                   /* receives of the host: entries */
	le16 hsqsize;                   /* sends of the host: 0-based, as SQSIZE in Connect */
	le16 cntlid;                    /* I/O queues, FFFFh or 0: not told */
	uint8_t rsvd10[22];
};
static_assert(sizeof(struct nvme_rdma_request) == 32, "request private data");

struct nvme_rdma_accept {
	le16 recfmt;
	le16 crqsize;                   /* receives of the controller: entries */
	uint8_t rsvd4[28];
};
static_assert(sizeof(struct nvme_rdma_accept) == 32, "accept private data");

struct nvme_rdma_reject {
	le16 recfmt;
	le16 sts;                       /* enum nvme_rdma_status */
};
static_assert(sizeof(struct nvme_rdma_reject) == 4, "reject private data");

enum nvme_rdma_status {
	NVME_RDMA_BAD_LENGTH = 0x1,     /* of the private data */
	NVME_RDMA_BAD_RECFMT = 0x2,
	NVME_RDMA_BAD_QID = 0x3,
	NVME_RDMA_BAD_HSQSIZE = 0x4,
	NVME_RDMA_BAD_HRQSIZE = 0x5,
	NVME_RDMA_NO_RESOURCES = 0x6,
	NVME_RDMA_BAD_IRD = 0x7,
	NVME_RDMA_BAD_ORD = 0x8,
	NVME_RDMA_BAD_CNTLID = 0x9,
};

#endif
