/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVM command set (1.0): Read, Write, Flush, Compare, Write Zeroes, Dataset Management. Parse
 * checks what the host may have wrong and fills req->io; exec adds the data and submits on the
 * queue's own reactor. The block device checks ranges again, splits and emulates.
 */
#include "targets/nvmf/nvmf.h"

#include <string.h>

static void nvm_done(struct io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	nvmf_req_done(req, nvmf_status_of_io(io->status));
}

static void nvm_submit(struct nvmf_req *req)
{
	struct nvmf_ns *ns = req->ns;

	if (unlikely(!ns)) {
		nvmf_req_done(req, NVME_SC_INVALID_NS | NVME_STATUS_DNR);
		return;
	}
	req->io.iov = req->iov;
	req->io.iov_count = req->iov_count;
	req->io.done = nvm_done;
	bdev_submit(bdev_chan(ns->bdev), &req->io);
}

/* Namespace, range and flags of all commands with SLBA and NLB. */
static inline uint16_t nvm_range_parse(struct nvmf_req *req, enum io_op op)
{
	struct nvmf_ns *ns;
	uint16_t status = nvmf_view_get(req->queue, le32_get(req->sqe.nsid), &ns);
	uint32_t cdw12 = le32_get(req->sqe.rw_cdw12);
	uint32_t blocks = (cdw12 & NVME_RW_NLB_MASK) + 1;
	uint64_t lba = le64_get(req->sqe.slba), count;

	if (unlikely(status))
		return status;
	/* no protection information: nothing to check or to generate */
	if (unlikely(cdw12 & (NVME_RW_PRACT | NVME_RW_PRCHK_MASK | NVME_RW_STC)))
		return NVME_SC_INVALID_FIELD;
	count = ns->bdev->block_count;
	if (unlikely(lba >= count || blocks > count - lba))
		return NVME_SC_LBA_RANGE;
	req->ns = ns;
	req->io.op = (uint8_t)op;
	req->io.flags = cdw12 & NVME_RW_FUA ? IO_FUA : 0;
	req->io.lba = lba;
	req->io.lba_count = blocks;
	return 0;
}

static inline uint16_t nvm_data_parse(struct nvmf_req *req, enum io_op op)
{
	uint16_t status = nvm_range_parse(req, op);

	if (unlikely(status))
		return status;
	/* base 2.0c 5.17.2.1: past MDTS is Invalid Field in Command */
	if (unlikely(req->io.lba_count > req->ns->blocks_max))
		return NVME_SC_INVALID_FIELD;
	req->data_len = req->io.lba_count << req->ns->lba_shift;
	return 0;
}

static uint16_t nvm_read_parse(struct nvmf_req *req)
{
	return nvm_data_parse(req, IO_READ);
}

static uint16_t nvm_write_parse(struct nvmf_req *req)
{
	return nvm_data_parse(req, IO_WRITE);
}

static uint16_t nvm_compare_parse(struct nvmf_req *req)
{
	return nvm_data_parse(req, IO_COMPARE);
}

static uint16_t nvm_write_zeroes_parse(struct nvmf_req *req)
{
	uint16_t status = nvm_range_parse(req, IO_WRITE_ZEROES);

	if (status)
		return status;
	if (!(le32_get(req->sqe.rw_cdw12) & NVME_RW_DEAC))
		req->io.flags |= IO_NO_UNMAP;
	return 0;
}

static uint16_t nvm_ns_parse(struct nvmf_req *req)
{
	return nvmf_view_get(req->queue, le32_get(req->sqe.nsid), &req->ns);
}

static void nvm_flush_exec(struct nvmf_req *req)
{
	if (req->ns && !req->ns->bdev->volatile_cache) {
		nvmf_req_done(req, 0);
		return;
	}
	req->io.op = IO_FLUSH;
	req->io.flags = 0;
	req->io.lba = 0;
	req->io.lba_count = 0;
	nvm_submit(req);
}

/* ---- Dataset Management: deallocation, one range after the other ---- */

static uint16_t nvm_dsm_parse(struct nvmf_req *req)
{
	uint16_t status = nvm_ns_parse(req);

	if (status)
		return status;
	req->data_len = ((le32_get(req->sqe.cdw10) & 0xff) + 1) *
			(uint32_t)sizeof(struct nvme_dsm_range);
	return 0;
}

static struct nvme_dsm_range nvm_dsm_range(const struct nvmf_req *req, unsigned i)
{
	struct nvme_dsm_range range;

	/* at most 4 KiB: one piece of memory */
	memcpy(&range, (char *)req->iov[0].iov_base + i * sizeof(range), sizeof(range));
	return range;
}

static void nvm_dsm_done(struct io *io);

static void nvm_dsm_step(struct nvmf_req *req)
{
	unsigned count = req->data_len / sizeof(struct nvme_dsm_range);

	while (req->range < count) {
		struct nvme_dsm_range range = nvm_dsm_range(req, req->range++);

		if (le32_get(range.nlb) == 0)
			continue;
		req->io.op = IO_UNMAP;
		req->io.flags = 0;
		req->io.iov_count = 0;
		req->io.lba = le64_get(range.slba);
		req->io.lba_count = le32_get(range.nlb);
		req->io.done = nvm_dsm_done;
		bdev_submit(bdev_chan(req->ns->bdev), &req->io);
		return;
	}
	nvmf_req_done(req, 0);
}

static void nvm_dsm_done(struct io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	if (io->status == IO_OK)
		nvm_dsm_step(req);
	else
		nvmf_req_done(req, nvmf_status_of_io(io->status));
}

static void nvm_dsm_exec(struct nvmf_req *req)
{
	unsigned count = req->data_len / sizeof(struct nvme_dsm_range);
	uint64_t blocks;

	if (!req->ns) {
		nvmf_req_done(req, NVME_SC_INVALID_NS | NVME_STATUS_DNR);
		return;
	}
	blocks = req->ns->bdev->block_count;
	for (unsigned i = 0; i < count; i++) {
		struct nvme_dsm_range range = nvm_dsm_range(req, i);

		if (le64_get(range.slba) > blocks ||
		    le32_get(range.nlb) > blocks - le64_get(range.slba)) {
			nvmf_req_done(req, NVME_SC_LBA_RANGE | NVME_STATUS_DNR);
			return;
		}
	}
	/* the other attributes are hints; so is deallocation to a disk that has none */
	if (!(le32_get(req->sqe.cdw11) & NVME_DSM_AD) || !bdev_supports(req->ns->bdev, IO_UNMAP)) {
		nvmf_req_done(req, 0);
		return;
	}
	req->range = 0;
	nvm_dsm_step(req);
}

const struct nvmf_cmd nvmf_nvm_cmds[256] = {
	[NVME_NVM_FLUSH] = {
		.name = "flush", .parse = nvm_ns_parse, .exec = nvm_flush_exec,
	},
	[NVME_NVM_WRITE] = {
		.name = "write", .dir = NVMF_DIR_H2C, .effects = NVME_EFFECT_LBCC,
		.parse = nvm_write_parse, .exec = nvm_submit,
	},
	[NVME_NVM_READ] = {
		.name = "read", .dir = NVMF_DIR_C2H, .parse = nvm_read_parse, .exec = nvm_submit,
	},
	[NVME_NVM_COMPARE] = {
		.name = "compare", .dir = NVMF_DIR_H2C, .parse = nvm_compare_parse,
		.exec = nvm_submit,
	},
	[NVME_NVM_WRITE_ZEROES] = {
		.name = "write zeroes", .effects = NVME_EFFECT_LBCC,
		.parse = nvm_write_zeroes_parse, .exec = nvm_submit,
	},
	[NVME_NVM_DSM] = {
		.name = "dataset management", .dir = NVMF_DIR_H2C, .effects = NVME_EFFECT_LBCC,
		.parse = nvm_dsm_parse, .exec = nvm_dsm_exec,
	},
	[NVME_ADM_FABRICS] = {
		.name = "fabrics", .parse = nvmf_fabrics_parse, .exec = nvmf_fabrics_exec,
	},
};
