/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connect (base 2.0c 6.3): each check with the status and the parameter offset that it owes. Always
 * on reactor 0, where the connection was born, so that subsystems, hosts and controllers can be
 * looked at as they are.
 */
#include "targets/nvmf/nvmf.h"

#include <string.h>

#include "core/base/log.h"
#include "core/config.h"

/* "The parameter at byte OFFSET of the SQE is invalid." */
#define BAD_SQE(req, field) \
	connect_bad(req, offsetof(struct nvmf_connect_sqe, field))
/* The same of the data. */
#define BAD_DATA(req, field) \
	connect_bad(req, NVMF_IATTR_DATA | offsetof(struct nvmf_connect_data, field))

static uint16_t connect_bad(struct nvmf_req *req, uint32_t where)
{
	req->dw0 = where;
	return NVME_SC_CONNECT_PARAM | NVME_STATUS_DNR;
}

uint16_t nvmf_connect_parse(struct nvmf_req *req)
{
	/* a queue connects once */
	if (req->queue->subsys)
		return NVME_SC_SEQUENCE_ERROR;
	if (req->sgl_len != sizeof(struct nvmf_connect_data))
		return NVME_SC_DATA_SGL_LENGTH;
	req->dir = NVMF_DIR_H2C;
	req->data_len = sizeof(struct nvmf_connect_data);
	req->exec = nvmf_connect_exec;
	return 0;
}

static uint16_t connect_admin(struct nvmf_req *req, const struct nvmf_connect_sqe *sqe,
			      const struct nvmf_connect_data *data, struct nvmf_subsystem *subsys)
{
	struct nvmf_queue *queue = req->queue;
	uint16_t sqsize = le16_get(sqe->sqsize);
	struct nvmf_ctrl *ctrl;

	if (sqsize == 0 || sqsize >= MAX(config.nvmf_queue_depth_max, NVMF_ADMIN_SQSIZE_MIN))
		return BAD_SQE(req, sqsize);
	/* controllers are dynamic: base 2.0c 3.1.2 */
	if (le16_get(data->cntlid) != NVMF_CNTLID_DYNAMIC)
		return BAD_DATA(req, cntlid);
	if (!nvmf_host_allowed(subsys, data->hostnqn)) {
		log_warn("nvmf %s: host %s is not allowed; host allow %s %s would let it in",
			 subsys->nqn, data->hostnqn, subsys->nqn, data->hostnqn);
		return NVME_SC_CONNECT_HOST | NVME_STATUS_DNR;
	}
	ctrl = nvmf_ctrl_create(subsys, queue, data->hostnqn, data->hostid, le32_get(sqe->kato));
	if (!ctrl)
		return NVME_SC_CONNECT_BUSY;
	/* last: a queue whose Connect fails still has the one request of before */
	if (queue->ops->connected(queue, sqsize + 1u)) {
		nvmf_ctrl_queue_gone(ctrl, queue);
		return NVME_SC_CONNECT_BUSY;
	}
	queue->cmds = subsys->discovery ? nvmf_discovery_cmds : nvmf_admin_cmds;
	log_info("nvmf s%u: host %s connected to %s, cntlid %u", ctrl->session, ctrl->hostnqn,
		 subsys->nqn, ctrl->cntlid);
	return 0;
}

static uint16_t connect_io(struct nvmf_req *req, const struct nvmf_connect_sqe *sqe,
			   const struct nvmf_connect_data *data, struct nvmf_subsystem *subsys)
{
	struct nvmf_queue *queue = req->queue, *other;
	uint16_t sqsize = le16_get(sqe->sqsize);
	struct nvmf_ctrl *ctrl = nvmf_ctrl_find(subsys, le16_get(data->cntlid));

	/* the queues of a controller come in where its admin queue did: base 2.0c 2.3.1 */
	if (!ctrl || ctrl->dying || ctrl->portid != queue->port->portid)
		return BAD_DATA(req, cntlid);
	if (strcmp(ctrl->hostnqn, data->hostnqn) != 0)
		return BAD_DATA(req, hostnqn);
	if (memcmp(ctrl->hostid, data->hostid, sizeof(ctrl->hostid)) != 0)
		return BAD_DATA(req, hostid);
	if (!(ctrl->csts & NVME_CSTS_RDY) || !(ctrl->cc & NVME_CC_EN) ||
	    (ctrl->cc & NVME_CC_SHN_MASK))
		return NVME_SC_SEQUENCE_ERROR | NVME_STATUS_DNR;
	if (le16_get(sqe->qid) > ctrl->queues_granted)
		return BAD_SQE(req, qid);
	if (sqsize == 0 || sqsize >= config.nvmf_queue_depth_max)
		return BAD_SQE(req, sqsize);
	list_for_each(other, &ctrl->queues, link)
		if (other->qid == le16_get(sqe->qid))
			return NVME_SC_SEQUENCE_ERROR | NVME_STATUS_DNR;
	if (queue->ops->connected(queue, sqsize + 1u))
		return NVME_SC_CONNECT_BUSY;
	queue->qid = le16_get(sqe->qid);
	queue->cmds = nvmf_nvm_cmds;
	nvmf_ctrl_queue_add(ctrl, queue);
	return 0;
}

static uint16_t connect_check(struct nvmf_req *req, const struct nvmf_connect_sqe *sqe,
			      struct nvmf_connect_data *data)
{
	struct nvmf_queue *queue = req->queue;
	struct nvmf_subsystem *subsys;
	uint16_t status;

	if (le16_get(sqe->recfmt) != 0)
		return NVME_SC_CONNECT_FORMAT | NVME_STATUS_DNR;
	if (queue->told && le16_get(sqe->qid) != queue->told_qid)
		return BAD_SQE(req, qid);
	if (queue->told && le16_get(sqe->sqsize) > queue->told_sqsize)
		return BAD_SQE(req, sqsize);
	if (!memchr(data->subnqn, 0, sizeof(data->subnqn)) || !nvmf_nqn_valid(data->subnqn))
		return BAD_DATA(req, subnqn);
	if (!memchr(data->hostnqn, 0, sizeof(data->hostnqn)) || !nvmf_nqn_valid(data->hostnqn))
		return BAD_DATA(req, hostnqn);
	subsys = nvmf_subsystem_find(data->subnqn);
	if (!subsys || subsys->deleting || !nvmf_listener_offers(subsys, queue->port)) {
		log_warn("nvmf: host %s asks for %s, which is not offered where it came in",
			 data->hostnqn, data->subnqn);
		return BAD_DATA(req, subnqn);
	}
	if (le16_get(sqe->qid) == 0)
		status = connect_admin(req, sqe, data, subsys);
	else
		status = connect_io(req, sqe, data, subsys);
	if (status)
		return status;
	queue->subsys = subsys;
	queue->sqsize = le16_get(sqe->sqsize);
	/* the Connect command itself was the first entry */
	queue->sqhd = 1;
	queue->sq_flow = !(sqe->cattr & NVMF_CATTR_NO_SQ_FLOW);
	req->dw0 = queue->ctrl->cntlid;
	return 0;
}

void nvmf_connect_exec(struct nvmf_req *req)
{
	struct nvmf_queue *queue = req->queue;
	struct nvmf_connect_sqe sqe;
	struct nvmf_connect_data data;
	uint16_t status;

	memcpy(&sqe, &req->sqe, sizeof(sqe));
	nvmf_req_fetch(req, &data, sizeof(data));
	status = queue->subsys ? NVME_SC_SEQUENCE_ERROR | NVME_STATUS_DNR
			       : connect_check(req, &sqe, &data);
	nvmf_req_done(req, status);
	if (status == 0 && queue->qid != 0 && !queue->counted)
		queue->ops->move(queue, nvmf_queue_place(queue));
}

const struct nvmf_cmd nvmf_unconnected_cmds[256] = {
	[NVME_ADM_FABRICS] = {
		.name = "fabrics", .parse = nvmf_fabrics_parse, .exec = nvmf_fabrics_exec,
	},
};
