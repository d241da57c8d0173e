/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copy (NVM 1.0 3.2.2), descriptor format 0: source ranges of the namespace, one after the other,
 * to consecutive blocks from SDLBA on. All ranges are checked before anything is copied.
 */
#include <string.h>

#include "core/resv.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvm.h"
#include "targets/nvmf/nvmf.h"

uint32_t nvm_copy_range_max(unsigned lba_shift)
{
	return MIN((uint32_t)NVM_COPY_RANGE_BYTES_MAX >> lba_shift, (uint32_t)UINT16_MAX);
}

uint32_t nvm_copy_total_max(unsigned lba_shift)
{
	return (uint32_t)NVM_COPY_BYTES_MAX >> lba_shift;
}

uint16_t nvm_copy_parse(struct nvmf_req *req)
{
	uint32_t cdw12 = le32_get(req->sqe.rw_cdw12);
	uint32_t count = (cdw12 & NVME_COPY_NR_MASK) + 1;
	uint16_t status = nvm_ns_parse(req);

	if (status)
		return status;
	/* what is said of protection information is ignored: no namespace has any */
	if (cdw12 & NVME_COPY_FORMAT_MASK)
		return NVME_SC_INVALID_FIELD;
	if (count > NVM_COPY_RANGES_MAX)
		return NVME_SC_SIZE_LIMIT;
	req->data_len = count * (uint32_t)sizeof(struct nvme_copy_range);
	return 0;
}

static struct nvme_copy_range copy_range(const struct nvmf_req *req, unsigned i)
{
	struct nvme_copy_range range;

	/* at most 4 KiB: one piece of memory */
	memcpy(&range, (char *)req->iov[0].iov_base + i * sizeof(range), sizeof(range));
	return range;
}

static bool outside(uint64_t lba, uint64_t lba_count, uint64_t blocks)
{
	return lba > blocks || lba_count > blocks - lba;
}

static uint16_t copy_check(const struct nvmf_req *req)
{
	unsigned count = req->data_len / sizeof(struct nvme_copy_range);
	uint64_t to = le64_get(req->sqe.slba), blocks = req->ns->bdev->block_count, total = 0;

	for (unsigned i = 0; i < count; i++) {
		struct nvme_copy_range range = copy_range(req, i);
		uint64_t len = le16_get(range.nlb) + 1ull;

		if (len > nvm_copy_range_max(req->ns->lba_shift))
			return NVME_SC_SIZE_LIMIT;
		if (outside(le64_get(range.slba), len, blocks))
			return NVME_SC_LBA_RANGE;
		total += len;
	}
	if (total > nvm_copy_total_max(req->ns->lba_shift))
		return NVME_SC_SIZE_LIMIT;
	if (outside(to, total, blocks))
		return NVME_SC_LBA_RANGE;
	/* what a source holds must not depend on how far the copy is */
	for (unsigned i = 0; i < count; i++) {
		struct nvme_copy_range range = copy_range(req, i);
		uint64_t from = le64_get(range.slba), len = le16_get(range.nlb) + 1ull;

		if (from < to + total && to < from + len)
			return NVME_SC_INVALID_FIELD;
	}
	return 0;
}

static void copy_done(struct io *io);

/* The next range, to io.lba. */
static void copy_step(struct nvmf_req *req)
{
	struct nvme_copy_range range = copy_range(req, req->range++);

	req->io.op = IO_COPY;
	req->io.flags = nvmf_write_flags(req->queue);
	req->io.flags |= le32_get(req->sqe.rw_cdw12) & NVME_RW_FUA ? IO_FUA : 0;
	req->io.iov_count = 0;
	req->io.src_lba = le64_get(range.slba);
	req->io.lba_count = le16_get(range.nlb) + 1u;
	nvm_submit_io(req, copy_done);
}

static void copy_done(struct io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	/* dw0: how many ranges are whole, when not all are */
	if (io->status != IO_OK) {
		req->dw0 = req->range - 1u;
		nvmf_req_done(req, nvmf_status_of_io(io->status));
	} else if (req->range * sizeof(struct nvme_copy_range) == req->data_len) {
		nvmf_req_done(req, 0);
	} else if (req->exec == nvmf_aborted_exec) {
		req->dw0 = req->range;
		nvmf_req_done(req, req->status);
	} else {
		io->lba += io->lba_count;
		copy_step(req);
	}
}

void nvm_copy_exec(struct nvmf_req *req)
{
	uint16_t status;

	if (nvm_refused(req, RESV_READ | RESV_WRITE, &status)) {
		nvmf_req_done(req, status);
		return;
	}
	if (req->ns->bdev->readonly)
		status = NVME_SC_NS_WRITE_PROTECTED;
	else
		status = copy_check(req);
	if (status) {
		nvmf_req_done(req, status | NVME_STATUS_DNR);
		return;
	}
	req->range = 0;
	req->io.lba = le64_get(req->sqe.slba);
	copy_step(req);
}
