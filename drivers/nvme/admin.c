/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Admin commands, executed by tasks on reactor 0. Data goes through one page of the controller: a
 * lock makes the commands that use it one at a time. A command without an answer leaves its slot
 * taken and stops all admin commands until the reset that it asks for, so that the page is not
 * used while the controller may still write to it.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/config.h"
#include "core/dma.h"
#include "drivers/nvme/nvme.h"

void nvme_admin_complete(struct nvme_ctrl *c, struct nvme_slot *slot, uint32_t dw0, uint16_t status)
{
	struct nvme_admin_req *req = slot->req;

	nvme_slot_put(&c->admin, slot);
	if (!req)
		return;
	req->dw0 = dw0;
	req->status = status & ~(NVME_STATUS_MORE);
	req->rc = nvme_status_errno(status);
	req->finished = true;
	if (req->event)
		req->event(c, dw0);
	else
		event_signal(&req->done);
}

void nvme_admin_cancel(struct nvme_ctrl *c, int rc)
{
	struct nvme_queue *q = &c->admin;

	q->live = false;
	c->admin_live = false;
	if (!q->slots)
		return;
	for (unsigned i = 0; i < q->depth - 1u; i++) {
		struct nvme_slot *slot = &q->slots[i];

		if (slot->state == NVME_SLOT_FREE || !slot->req || slot->req->event)
			continue;
		slot->req->rc = rc;
		slot->req->finished = true;
		event_signal(&slot->req->done);
	}
	nvme_queue_clear(q);
}

static struct nvme_slot *admin_post(struct nvme_ctrl *c, const struct nvme_sqe *sqe,
				    struct nvme_admin_req *req)
{
	struct nvme_queue *q = &c->admin;
	struct nvme_slot *slot = nvme_slot_take(q);

	if (!slot)
		return NULL;
	q->sq[q->sq_tail] = *sqe;
	slot->req = req;
	nvme_queue_post(q, slot);
	nvme_queue_ring(q);
	return slot;
}

/* What is left is the page's and the slot's until the reset. */
static int admin_timed_out(struct nvme_ctrl *c, struct nvme_slot *slot, uint8_t opc)
{
	slot->req = NULL;
	c->admin_live = false;
	nvme_ctrl_want_reset(c, "admin command %02x has no answer", opc);
	return -ETIMEDOUT;
}

int nvme_admin_exec(struct nvme_ctrl *c, struct nvme_sqe *sqe, unsigned timeout_ms,
		    struct nvme_admin_result *result)
{
	struct nvme_admin_req req = { .rc = -ENODEV };
	struct nvme_slot *slot;
	int rc;

	event_init(&req.done);
	for (;;) {
		if (!c->admin_live)
			return c->state == NVME_CTRL_GONE ? -ENODEV : -ECANCELED;
		slot = admin_post(c, sqe, &req);
		if (slot)
			break;
		task_yield();
	}
	c->admin_users++;
	/* some drives answer nothing else while they format: that is no reason for a reset */
	do
		rc = task_wait_timeout(&req.done, timeout_ms * 1000ull);
	while (rc < 0 && !req.finished && c->formatting && sqe->opc != NVME_ADM_FORMAT_NVM);
	c->admin_users--;
	if (rc < 0 && !req.finished) {
		/* an interrupt may have been lost: the answer may be there */
		nvme_queue_reap(&c->admin);
		if (!req.finished)
			return admin_timed_out(c, slot, sqe->opc);
	}
	if (result)
		*result = (struct nvme_admin_result){ .dw0 = req.dw0, .status = req.status };
	return req.rc;
}

int nvme_admin_read(struct nvme_ctrl *c, struct nvme_sqe *sqe, void *data, size_t len)
{
	int rc;

	c->admin_users++;
	task_lock(&c->page_lock);
	sqe->prp1 = le64_make(dma_iova(c->page));
	rc = nvme_admin_exec(c, sqe, NVME_ADMIN_TIMEOUT_MS, NULL);
	if (rc == 0)
		memcpy(data, c->page, len);
	task_unlock(&c->page_lock);
	c->admin_users--;
	return rc;
}

int nvme_admin_identify(struct nvme_ctrl *c, uint8_t cns, uint32_t nsid, uint8_t csi, void *data)
{
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_IDENTIFY,
		.nsid = le32_make(nsid),
		.cdw10 = le32_make(cns),
		.cdw11 = le32_make((uint32_t)csi << NVME_IDENTIFY_CSI_SHIFT),
	};

	return nvme_admin_read(c, &sqe, data, NVME_DATA_BYTES);
}

int nvme_admin_log(struct nvme_ctrl *c, uint8_t lid, uint32_t nsid, void *data, size_t len)
{
	uint32_t dwords = len / 4 - 1;
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_GET_LOG_PAGE,
		.nsid = le32_make(nsid),
		.cdw10 = le32_make(lid | dwords << NVME_LOG_NUMDL_SHIFT),
	};

	return nvme_admin_read(c, &sqe, data, len);
}

int nvme_admin_feature(struct nvme_ctrl *c, uint8_t fid, uint32_t value,
		       struct nvme_admin_result *result)
{
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_SET_FEATURES,
		.cdw10 = le32_make(fid),
		.cdw11 = le32_make(value),
	};

	return nvme_admin_exec(c, &sqe, NVME_ADMIN_TIMEOUT_MS, result);
}

int nvme_admin_queues_create(struct nvme_ctrl *c, struct nvme_queue *q)
{
	uint32_t id = (q->depth - 1u) << NVME_CREATE_QSIZE_SHIFT | q->qid;
	struct nvme_sqe cq = {
		.opc = NVME_ADM_CREATE_CQ,
		.prp1 = le64_make(dma_iova(q->cq)),
		.cdw10 = le32_make(id),
		.cdw11 = le32_make(NVME_CREATE_PC),
	};
	struct nvme_sqe sq = {
		.opc = NVME_ADM_CREATE_SQ,
		.prp1 = le64_make(dma_iova(q->sq)),
		.cdw10 = le32_make(id),
		.cdw11 = le32_make(NVME_CREATE_PC |
				   (uint32_t)q->qid << NVME_CREATE_SQ_CQID_SHIFT),
	};
	int rc;

	if (q->vector >= 0)
		cq.cdw11 = le32_make(NVME_CREATE_PC | NVME_CREATE_CQ_IEN |
				     (uint32_t)q->vector << NVME_CREATE_CQ_IV_SHIFT);
	rc = nvme_admin_exec(c, &cq, NVME_ADMIN_TIMEOUT_MS, NULL);
	if (rc == 0)
		rc = nvme_admin_exec(c, &sq, NVME_ADMIN_TIMEOUT_MS, NULL);
	return rc;
}

int nvme_admin_shadow(struct nvme_ctrl *c)
{
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_DOORBELL_BUFFER,
		.prp1 = le64_make(dma_iova(c->shadow)),
		.prp2 = le64_make(dma_iova((char *)c->shadow + c->page_bytes)),
	};

	return nvme_admin_exec(c, &sqe, NVME_ADMIN_TIMEOUT_MS, NULL);
}

static void aer_event(struct nvme_ctrl *c, uint32_t dw0)
{
	if (c->aer_req.rc < 0) {
		log_warn("%s: does not report asynchronous events", c->name);
		return;
	}
	c->aer = true;
	c->aer_dw0 = dw0;
	nvme_ctrl_wake(c);
}

void nvme_admin_aer_post(struct nvme_ctrl *c)
{
	struct nvme_sqe sqe = { .opc = NVME_ADM_ASYNC_EVENT };

	c->aer_req = (struct nvme_admin_req){ .event = aer_event };
	if (c->admin_live)
		admin_post(c, &sqe, &c->aer_req);
}
