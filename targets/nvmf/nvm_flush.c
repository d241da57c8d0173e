/* SPDX-License-Identifier: BSD-3-Clause */
/* Flush, of one namespace or, with NSID FFFFFFFFh, of all one after the other. */
#include "core/resv.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvm.h"
#include "targets/nvmf/nvmf.h"

static void flush_submit(struct nvmf_req *req, void (*done)(struct io *io))
{
	req->io.op = IO_FLUSH;
	req->io.flags = 0;
	req->io.lba = 0;
	req->io.lba_count = 0;
	req->io.iov_count = 0;
	nvm_submit_io(req, done);
}

static void flush_done(struct io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	nvmf_req_done(req, nvmf_status_of_io(io->status));
}

void nvm_flush_exec(struct nvmf_req *req)
{
	uint16_t status;

	if (nvm_refused(req, RESV_WRITE, &status))
		nvmf_req_done(req, status);
	else if (!req->ns->bdev->volatile_cache)
		nvmf_req_done(req, 0);
	else
		flush_submit(req, flush_done);
}

/* ---- all ---- */

static void flush_all_done(struct io *io);

/*
 * The namespaces are those of the moment: one that is added now has nothing of before in its cache,
 * one that was taken away was waited for, and what cannot be reached here was not written here.
 */
static void flush_all_step(struct nvmf_req *req)
{
	uint16_t status;

	while (req->range < nvmf_view(req->queue->ctrl)->nn) {
		if (nvmf_view_get(req->queue, ++req->range, &req->ns) ||
		    !req->ns->bdev->volatile_cache)
			continue;
		if (nvm_refused(req, RESV_WRITE, &status)) {
			nvmf_req_done(req, status);
			return;
		}
		flush_submit(req, flush_all_done);
		return;
	}
	nvmf_req_done(req, 0);
}

static void flush_all_done(struct io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);

	if (io->status != IO_OK)
		nvmf_req_done(req, nvmf_status_of_io(io->status));
	else if (req->exec == nvmf_aborted_exec)
		nvmf_req_done(req, req->status);
	else
		flush_all_step(req);
}

static void flush_all_exec(struct nvmf_req *req)
{
	req->range = 0;
	flush_all_step(req);
}

uint16_t nvm_flush_parse(struct nvmf_req *req)
{
	if (le32_get(req->sqe.nsid) != (uint32_t)NVME_NSID_ALL)
		return nvm_ns_parse(req);
	req->exec = flush_all_exec;
	return 0;
}
