/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an NVMe controller says, decoded and checked, whatever transport it came over: Identify data
 * (identify.c) and statuses (status.c). Pure functions of bytes; drivers/remote uses them too.
 */
#ifndef NVME_DECODE_H
#define NVME_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/uuid.h"
#include "core/io.h"
#include "core/spec/nvme.h"
#include "core/spec/nvme_identify.h"

/* ---- identify.c: Identify data, decoded and checked ---- */

struct nvme_ctrl_info {
	char serial[21], model[41], firmware[9];
	uint16_t vid;
	uint32_t ver;
	uint64_t xfer_bytes_max;        /* MDTS; 0: no limit */
	uint32_t nn;
	uint16_t oacs, oncs;
	uint32_t oaes, sgls;
	uint8_t fna, lpa;
	bool volatile_cache;
	unsigned error_entries;         /* of the error log */
	uint32_t retry_delay_ms[4];     /* by CRD; [0] is 0 */
	uint32_t shutdown_us;           /* RTD3E, 0: unknown */
	uint16_t warning_kelvin, critical_kelvin;
};

/* Limits of the NVM command set (CNS 06h), in bytes or blocks; 0: none reported. */
struct nvme_nvm_limits {
	uint64_t write_zeroes_bytes_max;
	uint32_t unmap_blocks_max;
};

struct nvme_ns_info {
	uint64_t block_count;
	uint32_t block_bytes;
	uint8_t format;                 /* index into the LBA formats */
	bool readonly;
	bool unmap_zeroes;
	bool write_zeroes_unmaps;       /* takes DEAC */
	uint32_t atomic_blocks, optimal_blocks;
	uint8_t nguid[16], eui64[8];
	struct uuid uuid;               /* nil: none */
	uint8_t csi;
};

/* 0; -EPROTO: makes no sense, WHY says what; -ENOTSUP: no I/O controller. */
int nvme_ctrl_decode(const struct nvme_id_ctrl *id, uint64_t page_min_bytes,
		     struct nvme_ctrl_info *info, const char **why);
void nvme_nvm_limits_decode(const struct nvme_id_ctrl_nvm *id, uint64_t page_min_bytes,
			    struct nvme_nvm_limits *limits);
/* 0; -ENOENT: not active; -ENOTSUP: cannot be served, WHY says why; -EPROTO likewise. */
int nvme_ns_decode(const struct nvme_id_ns *id, uint16_t awupf, struct nvme_ns_info *info,
		   const char **why);
/* Adds UUID, NGUID, EUI64 and command set; ignores what is broken. */
void nvme_ns_descs_decode(const uint8_t *data, size_t len, struct nvme_ns_info *info);
/*
 * NSIDs above AFTER of an active list, in order, into NSIDS (room for NVME_NS_LIST_MAX). How many;
 * -EPROTO when the list is not ascending.
 */
int nvme_ns_list_decode(const le32 *list, uint32_t after, uint32_t *nsids);
/* Index of the LBA format with this block size and no metadata; -ENOENT. */
int nvme_format_find(const struct nvme_id_ns *id, uint32_t block_bytes);

/* ---- status.c ---- */

/* The only place where an NVMe status (nvme_cqe_status) becomes an io_status. */
enum io_status nvme_status_map(uint16_t status);
/* Whether the same command may succeed later: the controller did not say DNR. */
bool nvme_status_retryable(uint16_t status);
/* For admin commands, 0/-errno. */
int nvme_status_errno(uint16_t status);

#endif
