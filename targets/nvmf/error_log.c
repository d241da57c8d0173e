/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The Error Information log page's entries (base 2.0c 5.16.1.2). A request that failed is described
 * on its own reactor and carried to the controller on reactor 0 by one message per queue; while
 * that one is under way further errors of the queue are counted only.
 */
#include "targets/nvmf/nvmf.h"

static void error_arrive(struct msg *msg)
{
	struct nvmf_queue *queue = container_of(msg, struct nvmf_queue, error_msg);
	struct nvmf_ctrl *ctrl = queue->ctrl;

	if (ctrl) {
		struct nvme_log_error *entry;

		entry = &ctrl->errors[ctrl->error_count++ % NVMF_ERROR_LOG_MAX];
		*entry = queue->error;
		entry->error_count = le64_make(ctrl->error_count);
	}
	atomic_store_explicit(&queue->error_busy, false, memory_order_release);
}

void nvmf_error_init(struct nvmf_queue *queue)
{
	atomic_init(&queue->error_busy, false);
}

void nvmf_error_record(struct nvmf_req *req)
{
	struct nvmf_queue *queue = req->queue;

	if (!queue->subsys || atomic_load_explicit(&queue->error_busy, memory_order_acquire))
		return;
	queue->error = (struct nvme_log_error){
		.sqid = le16_make(queue->qid),
		.cid = req->sqe.cid,
		.status = le16_make((uint16_t)(req->status << NVME_STATUS_SHIFT)),
		.parameter_error_location = le16_make(0xffff),
		.lba = queue->qid ? req->sqe.slba : le64_make(0),
		.nsid = req->sqe.nsid,
		.trtype = queue->ops->trtype,
	};
	atomic_store_explicit(&queue->error_busy, true, memory_order_relaxed);
	reactor_send(reactor_at(0), &queue->error_msg, error_arrive);
}
