/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The three verbs of the target: nvmf_req_start parses by the queue's command table, nvmf_req_exec
 * runs, nvmf_req_done answers. Nothing here knows a transport or a command.
 *
 * FREE -start-> STARTED -exec-> EXEC -done-> DONE -(transport has sent it)-> FREE; a request that
 * start refused goes from STARTED to DONE. queue->executing counts the requests in EXEC: when it is
 * 0, nothing below the target knows the queue any more.
 */
#include "targets/nvmf/nvmf.h"

#include <string.h>

#include "core/base/panic.h"
#include "core/trace.h"
#include "targets/nvmf/nvm.h"

static uint16_t req_parse(struct nvmf_req *req, const struct nvmf_cmd *cmd)
{
	struct nvmf_queue *queue = req->queue;
	uint16_t status;

	if (unlikely(!cmd->exec))
		return queue->subsys ? NVME_SC_INVALID_OPCODE : NVME_SC_SEQUENCE_ERROR;
	/* base 2.0c 3.3.3.1: Fabrics commands use SGLs */
	if (unlikely((req->sqe.flags & NVME_PSDT_MASK) != NVME_PSDT_SGL))
		return NVME_SC_INVALID_FIELD;
	if ((cmd->flags & NVMF_CMD_READY) && !(queue->ctrl->csts & NVME_CSTS_RDY))
		return NVME_SC_SEQUENCE_ERROR;
	if (cmd->parse) {
		status = cmd->parse(req);
		if (unlikely(status))
			return status;
	}
	if (req->dir == NVMF_DIR_NONE)
		return 0;
	if (unlikely(req->data_len == 0)) {
		req->dir = NVMF_DIR_NONE;
		return 0;
	}
	if (unlikely(req->sgl_status))
		return req->sgl_status;
	return req->sgl_len < req->data_len ? NVME_SC_DATA_SGL_LENGTH : 0;
}

bool nvmf_req_start(struct nvmf_req *req)
{
	struct nvmf_queue *queue = req->queue;
	const struct nvmf_cmd *cmd = &queue->cmds[req->sqe.opc];
	uint16_t status;

	req->state = NVMF_REQ_STARTED;
	req->ns = NULL;
	req->exec = cmd->exec;
	req->dir = (uint8_t)cmd->dir;
	req->data_len = 0;
	req->dw0 = req->dw1 = 0;
	queue->commands++;
	if (++queue->sqhd > queue->sqsize)
		queue->sqhd = 0;
	status = req_parse(req, cmd);
	if (unlikely((req->sqe.flags & NVME_FUSE_MASK) || queue->fused || queue->fused_failed))
		status = nvmf_fused_start(req, status);
	if (unlikely(status)) {
		/* what is wrong with this path only may go well on another, or later */
		req->status = nvme_status_sct(status) == NVME_SCT_PATH ? status
								       : status | NVME_STATUS_DNR;
		req->data_len = 0;
		return false;
	}
	queue->work += 1 + (req->data_len >> 14);
	req->status = 0;
	return true;
}

void nvmf_req_exec(struct nvmf_req *req)
{
	ASSERT(req->state == NVMF_REQ_STARTED);
	req->state = NVMF_REQ_EXEC;
	req->queue->executing++;
	trace(TRACE_NVMF_EXEC, (uintptr_t)req, req->sqe.opc);
	req->exec(req);
}

void nvmf_req_done(struct nvmf_req *req, uint16_t status)
{
	struct nvmf_queue *queue = req->queue;

	ASSERT(req->state == NVMF_REQ_EXEC || req->state == NVMF_REQ_STARTED);
	if (likely(req->state == NVMF_REQ_EXEC))
		queue->executing--;
	req->state = NVMF_REQ_DONE;
	req->status = status;
	trace(TRACE_NVMF_DONE, (uintptr_t)req, status);
	if (unlikely(status)) {
		queue->errors++;
		nvmf_fused_failed(req);
		nvmf_error_record(req);
	}
	queue->ops->respond(req);
}

void nvmf_req_cqe(struct nvmf_req *req, struct nvme_cqe *cqe)
{
	const struct nvmf_queue *queue = req->queue;

	cqe->dw0 = le32_make(req->dw0);
	cqe->dw1 = le32_make(req->dw1);
	/* base 2.0c 6.3: FFFFh when SQ flow control is off */
	cqe->sqhd = le16_make(queue->sq_flow ? queue->sqhd : 0xffff);
	cqe->sqid = le16_make(queue->qid);
	cqe->cid = req->sqe.cid;
	cqe->status = le16_make((uint16_t)(req->status << NVME_STATUS_SHIFT));
}

uint16_t nvmf_status_of_io(enum io_status status)
{
	static const uint16_t map[IO_STATUS_COUNT] = {
		[IO_OK] = 0,
		[IO_ERR_INVALID] = NVME_SC_INVALID_FIELD | NVME_STATUS_DNR,
		[IO_ERR_UNSUPPORTED] = NVME_SC_INVALID_OPCODE | NVME_STATUS_DNR,
		[IO_ERR_RANGE] = NVME_SC_LBA_RANGE | NVME_STATUS_DNR,
		[IO_ERR_READONLY] = NVME_SC_NS_WRITE_PROTECTED | NVME_STATUS_DNR,
		[IO_ERR_MEDIA_READ] = NVME_SC_READ_ERROR | NVME_STATUS_DNR,
		[IO_ERR_MEDIA_WRITE] = NVME_SC_WRITE_FAULT | NVME_STATUS_DNR,
		[IO_ERR_MISCOMPARE] = NVME_SC_COMPARE_FAILURE | NVME_STATUS_DNR,
		[IO_ERR_NOSPC] = NVME_SC_CAPACITY_EXCEEDED | NVME_STATUS_DNR,
		[IO_ERR_ABORTED] = NVME_SC_ABORT_REQUESTED,
		[IO_ERR_TIMEOUT] = NVME_SC_INTERNAL,
		[IO_ERR_GONE] = NVME_SC_INVALID_NS | NVME_STATUS_DNR,
		[IO_ERR_NOMEM] = NVME_SC_INTERNAL,
		[IO_ERR_DEVICE] = NVME_SC_INTERNAL | NVME_STATUS_DNR,
	};

	return map[status];
}

/* ---- data of admin commands ---- */

void nvmf_req_emit(struct nvmf_req *req, uint64_t window, uint64_t at, const void *src, size_t len)
{
	const char *from = src;
	uint64_t begin = MAX(at, window);
	uint64_t end = MIN(at + len, window + req->data_len);
	uint64_t pos = 0;

	for (unsigned i = 0; i < req->iov_count && begin < end; i++) {
		uint64_t first = window + pos;
		uint64_t last = first + req->iov[i].iov_len;

		if (begin < last) {
			size_t part = MIN(end, last) - begin;

			memcpy((char *)req->iov[i].iov_base + (begin - first), from + (begin - at),
			       part);
			begin += part;
		}
		pos += req->iov[i].iov_len;
	}
}

void nvmf_req_clear(struct nvmf_req *req)
{
	for (unsigned i = 0; i < req->iov_count; i++)
		memset(req->iov[i].iov_base, 0, req->iov[i].iov_len);
}

void nvmf_req_fetch(const struct nvmf_req *req, void *dst, size_t len)
{
	char *to = dst;

	ASSERT(len <= req->data_len);
	for (unsigned i = 0; i < req->iov_count && len; i++) {
		size_t part = MIN(len, req->iov[i].iov_len);

		memcpy(to, req->iov[i].iov_base, part);
		to += part;
		len -= part;
	}
}
