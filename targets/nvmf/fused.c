/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fused Compare and Write (base 2.0c 3.4.2, NVM 1.0 3.2): two commands next to each other in one
 * queue that are done as one, atomically against everything else that goes to the disk.
 *
 * The two are requests of their own, each with its data; whichever is ready first is held, in EXEC,
 * until the other one is. Then both are one IO_COMPARE_WRITE, in the first one's io. A pair is
 * broken when anything but its second half follows the first, when either half is refused or loses
 * its data, or when one is aborted: then the other does not run either.
 *
 * A request is a half as long as its exec is one of this file's.
 */
#include "core/base/panic.h"
#include "core/resv.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvm.h"
#include "targets/nvmf/nvmf.h"

static void fused_exec(struct nvmf_req *req);

/* As exec: the pair is at the disk. */
static void fused_running(struct nvmf_req *req)
{
	panic("nvmf: fused request %p runs twice", (void *)req);
}

bool nvmf_fused_half(const struct nvmf_req *req)
{
	return req->exec == fused_exec;
}

bool nvmf_fused_running(const struct nvmf_req *req)
{
	return req->exec == fused_running;
}

static bool is_first(const struct nvmf_req *req)
{
	return (req->sqe.flags & NVME_FUSE_MASK) == NVME_FUSE_FIRST;
}

struct nvmf_req *nvmf_fused_first(struct nvmf_req *req)
{
	return is_first(req) ? req : req->partner;
}

/* ---- the end of a pair that does not run ---- */

/* A half ends with STATUS: now when it is held, else when its data is there. */
static void half_end(struct nvmf_req *req, uint16_t status)
{
	req->exec = nvmf_aborted_exec;
	req->status = status;
	if (req->state == NVMF_REQ_EXEC)
		nvmf_req_done(req, status);
}

/* REQ is a half no more. Its other half, NULL: it is still to come. */
static struct nvmf_req *half_detach(struct nvmf_req *req)
{
	struct nvmf_queue *queue = req->queue;

	req->exec = nvmf_aborted_exec;
	if (!req->partner) {
		ASSERT(queue->fused == req);
		queue->fused = NULL;
		queue->fused_failed = true;
	}
	return req->partner;
}

void nvmf_fused_end(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_req *partner = half_detach(req);

	half_end(req, status);
	if (partner)
		half_end(partner, NVME_SC_ABORTED_FAILED_FUSED);
}

void nvmf_fused_failed(struct nvmf_req *req)
{
	struct nvmf_req *partner = nvmf_fused_half(req) ? half_detach(req) : NULL;

	if (partner)
		half_end(partner, NVME_SC_ABORTED_FAILED_FUSED);
}

static void fused_closing(struct nvmf_req *req, void *arg)
{
	(void)arg;
	if (nvmf_fused_half(req))
		half_end(req, NVME_SC_ABORTED_SQ_DELETED);
}

void nvmf_fused_drop(struct nvmf_queue *queue)
{
	queue->ops->each(queue, fused_closing, NULL);
	queue->fused = NULL;
	queue->fused_failed = false;
}

/* ---- the pair runs ---- */

static void pair_done(struct io *io)
{
	struct nvmf_req *first = container_of(io, struct nvmf_req, io), *second = first->partner;
	uint16_t status = nvmf_status_of_io(io->status);

	first->exec = second->exec = nvmf_aborted_exec;
	nvmf_req_done(first, status);
	nvmf_req_done(second, status ? NVME_SC_ABORTED_FAILED_FUSED : 0);
}

static void pair_run(struct nvmf_req *first, struct nvmf_req *second)
{
	struct io *io = &first->io;
	uint16_t status;

	if (!second->ns)
		first->ns = NULL;
	if (nvm_refused(first, RESV_READ | RESV_WRITE, &status)) {
		nvmf_fused_end(first, status);
		return;
	}
	first->exec = second->exec = fused_running;
	/* nacwu keeps both halves short enough for one array; each gives its own memory back */
	ASSERT(first->iov_count + second->iov_count <= BUF_IOV_MAX);
	for (unsigned i = 0; i < second->iov_count; i++)
		first->iov[first->iov_count + i] = second->iov[i];
	io->op = IO_COMPARE_WRITE;
	io->flags |= second->io.flags;
	io->iov = first->iov;
	io->iov_count = first->iov_count + second->iov_count;
	nvm_submit_io(first, pair_done);
}

static void fused_exec(struct nvmf_req *req)
{
	struct nvmf_req *partner = req->partner;

	if (!partner || partner->state != NVMF_REQ_EXEC)
		return;
	if (is_first(req))
		pair_run(req, partner);
	else
		pair_run(partner, req);
}

/* ---- as commands come ---- */

/* A first half that waits is not followed by its second. */
static void first_missed(struct nvmf_queue *queue)
{
	struct nvmf_req *first = queue->fused;

	queue->fused = NULL;
	queue->fused_failed = false;
	if (first)
		half_end(first, NVME_SC_ABORTED_MISSING_FUSED);
}

static uint16_t first_start(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_queue *queue = req->queue;

	first_missed(queue);
	if (!status && req->sqe.opc != NVME_NVM_COMPARE)
		status = NVME_SC_INVALID_FIELD;
	if (!status && req->data_len > NVM_FUSED_BYTES_MAX)
		status = NVME_SC_ATOMIC_EXCEEDED;
	queue->fused_failed = status;
	if (status)
		return status;
	queue->fused = req;
	req->partner = NULL;
	req->exec = fused_exec;
	return 0;
}

static uint16_t second_start(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_queue *queue = req->queue;
	struct nvmf_req *first = queue->fused;

	if (!first && !queue->fused_failed)
		return NVME_SC_ABORTED_MISSING_FUSED;
	queue->fused = NULL;
	queue->fused_failed = false;
	if (!first)
		return NVME_SC_ABORTED_FAILED_FUSED;
	if (!status && (req->sqe.opc != NVME_NVM_WRITE || req->ns != first->ns ||
			req->io.lba != first->io.lba || req->io.lba_count != first->io.lba_count))
		status = NVME_SC_INVALID_FIELD;
	if (status) {
		half_end(first, NVME_SC_ABORTED_FAILED_FUSED);
		return status;
	}
	first->partner = req;
	req->partner = first;
	req->exec = fused_exec;
	return 0;
}

uint16_t nvmf_fused_start(struct nvmf_req *req, uint16_t status)
{
	bool io = req->queue->cmds == nvmf_nvm_cmds;

	switch (req->sqe.flags & NVME_FUSE_MASK) {
	case 0:
		first_missed(req->queue);
		return status;
	case NVME_FUSE_FIRST:
		return io ? first_start(req, status) : NVME_SC_INVALID_FIELD;
	case NVME_FUSE_SECOND:
		return io ? second_start(req, status) : NVME_SC_INVALID_FIELD;
	default:
		first_missed(req->queue);
		return NVME_SC_INVALID_FIELD;
	}
}
