/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fabrics commands by their type: Connect (connect.c), Property Get and Set, Disconnect: base 2.0c
 * 6. Which are allowed depends on the queue: before Connect only Connect, Disconnect on I/O queues
 * only, properties on the admin queue only.
 */
#include "targets/nvmf/nvmf.h"

#include <string.h>

static void property_get_exec(struct nvmf_req *req)
{
	struct nvmf_ctrl *ctrl = req->queue->ctrl;
	struct nvmf_property_sqe sqe;
	uint32_t offset;
	uint64_t value;
	bool wide;

	memcpy(&sqe, &req->sqe, sizeof(sqe));
	offset = le32_get(sqe.ofst);
	switch (offset) {
	case NVME_REG_CAP:
		value = nvmf_ctrl_cap(ctrl);
		break;
	case NVME_REG_VS:
		value = NVME_VS_2_0_0;
		break;
	case NVME_REG_CC:
		value = ctrl->cc;
		break;
	case NVME_REG_CSTS:
		value = ctrl->csts;
		break;
	case NVME_REG_CRTO:
		/* CRWMT in units of 500 ms, as CAP.TO */
		value = nvme_cap_to(nvmf_ctrl_cap(ctrl));
		break;
	default:
		nvmf_req_done(req, NVME_SC_INVALID_FIELD | NVME_STATUS_DNR);
		return;
	}
	wide = offset == NVME_REG_CAP;
	if ((sqe.attrib & NVMF_PROPERTY_SIZE_MASK) != (wide ? NVMF_PROPERTY_8 : NVMF_PROPERTY_4)) {
		nvmf_req_done(req, NVME_SC_INVALID_FIELD | NVME_STATUS_DNR);
		return;
	}
	req->dw0 = (uint32_t)value;
	req->dw1 = (uint32_t)(value >> 32);
	nvmf_req_done(req, 0);
}

static void property_set_exec(struct nvmf_req *req)
{
	struct nvmf_property_sqe sqe;

	memcpy(&sqe, &req->sqe, sizeof(sqe));
	/* CC is the only property that can be written */
	if (le32_get(sqe.ofst) != NVME_REG_CC ||
	    (sqe.attrib & NVMF_PROPERTY_SIZE_MASK) != NVMF_PROPERTY_4) {
		nvmf_req_done(req, NVME_SC_INVALID_FIELD | NVME_STATUS_DNR);
		return;
	}
	nvmf_ctrl_cc_set(req->queue->ctrl, (uint32_t)le64_get(sqe.value));
	nvmf_req_done(req, 0);
}

static void disconnect_exec(struct nvmf_req *req)
{
	struct nvmf_queue *queue = req->queue;
	struct nvmf_disconnect_sqe sqe;

	memcpy(&sqe, &req->sqe, sizeof(sqe));
	if (le16_get(sqe.recfmt) != 0) {
		nvmf_req_done(req, NVME_SC_CONNECT_FORMAT | NVME_STATUS_DNR);
		return;
	}
	/* base 2.0c 6.4: the admin queue ends with its association */
	if (queue->qid == 0) {
		nvmf_req_done(req, NVME_SC_DISCONNECT_QUEUE_TYPE | NVME_STATUS_DNR);
		return;
	}
	nvmf_req_done(req, 0);
	queue->ops->drain(queue, "the host disconnected the queue");
}

uint16_t nvmf_fabrics_parse(struct nvmf_req *req)
{
	const struct nvmf_queue *queue = req->queue;
	struct nvmf_sqe sqe;

	memcpy(&sqe, &req->sqe, sizeof(sqe));
	if (sqe.fctype == NVMF_CONNECT)
		return nvmf_connect_parse(req);
	if (!queue->subsys)
		return NVME_SC_SEQUENCE_ERROR;
	switch (sqe.fctype) {
	case NVMF_PROPERTY_GET:
		req->exec = property_get_exec;
		break;
	case NVMF_PROPERTY_SET:
		req->exec = property_set_exec;
		break;
	case NVMF_DISCONNECT:
		req->exec = disconnect_exec;
		return 0;
	default:                        /* 3.3.3.1.1: FCTYPE is a field */
		return NVME_SC_INVALID_FIELD;
	}
	return queue->qid == 0 ? 0 : NVME_SC_INVALID_FIELD;
}

/* Parse puts the right one in its place. */
void nvmf_fabrics_exec(struct nvmf_req *req)
{
	nvmf_req_done(req, NVME_SC_INVALID_FIELD | NVME_STATUS_DNR);
}
