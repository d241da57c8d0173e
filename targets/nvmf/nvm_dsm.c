/* SPDX-License-Identifier: BSD-3-Clause */
/* Dataset Management (NVM 1.0 3.2.3): deallocation, one range after the other. */
#include <string.h>

#include "core/resv.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvm.h"
#include "targets/nvmf/nvmf.h"

uint16_t nvm_dsm_parse(struct nvmf_req *req)
{
	uint16_t status = nvm_ns_parse(req);

	if (status)
		return status;
	req->data_len = ((le32_get(req->sqe.cdw10) & 0xff) + 1) *
			(uint32_t)sizeof(struct nvme_dsm_range);
	return 0;
}

static struct nvme_dsm_range dsm_range(const struct nvmf_req *req, unsigned i)
{
	struct nvme_dsm_range range;

	/* at most 4 KiB: one piece of memory */
	memcpy(&range, (char *)req->iov[0].iov_base + i * sizeof(range), sizeof(range));
	return range;
}

static void dsm_done(struct io *io);

static void dsm_step(struct nvmf_req *req)
{
	unsigned count = req->data_len / sizeof(struct nvme_dsm_range);

	while (req->range < count) {
		struct nvme_dsm_range range = dsm_range(req, req->range++);

		if (le32_get(range.nlb) == 0)
			continue;
		req->io.op = IO_UNMAP;
		req->io.flags = 0;
		req->io.iov_count = 0;
		req->io.lba = le64_get(range.slba);
		req->io.lba_count = le32_get(range.nlb);
		nvm_submit_io(req, dsm_done);
		return;
	}
	nvmf_req_done(req, 0);
}

static void dsm_done(struct io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	if (io->status != IO_OK)
		nvmf_req_done(req, nvmf_status_of_io(io->status));
	else if (req->exec == nvmf_aborted_exec)
		nvmf_req_done(req, req->status);
	else
		dsm_step(req);
}

/* All ranges, before anything is done. */
static uint16_t dsm_check(const struct nvmf_req *req)
{
	unsigned count = req->data_len / sizeof(struct nvme_dsm_range);
	uint64_t blocks = req->ns->bdev->block_count;

	for (unsigned i = 0; i < count; i++) {
		struct nvme_dsm_range range = dsm_range(req, i);

		if (le64_get(range.slba) > blocks ||
		    le32_get(range.nlb) > blocks - le64_get(range.slba))
			return NVME_SC_LBA_RANGE | NVME_STATUS_DNR;
	}
	return 0;
}

void nvm_dsm_exec(struct nvmf_req *req)
{
	uint16_t status;

	if (nvm_refused(req, RESV_WRITE, &status) || (status = dsm_check(req))) {
		nvmf_req_done(req, status);
		return;
	}
	/* the other attributes are hints; so is deallocation to a disk that has none */
	if (!(le32_get(req->sqe.cdw11) & NVME_DSM_AD) || !bdev_supports(req->ns->bdev, IO_UNMAP)) {
		nvmf_req_done(req, 0);
		return;
	}
	req->range = 0;
	dsm_step(req);
}
