/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands that tasks wait for: Fabrics commands on any queue, and the admin commands that a host
 * needs. One without an answer closes its connection; only then does the task go on, because until
 * then the stream may use the task's memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/util.h"
#include "core/dma.h"
#include "drivers/remote/remote.h"

static_assert(sizeof(struct nvmf_connect_sqe) == sizeof(struct nvme_sqe), "a queue entry");

static int exec(struct remote_queue *q, struct nvme_sqe *sqe, enum remote_dir dir, void *data,
		uint32_t len, unsigned timeout_ms, struct remote_result *result)
{
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct remote_req req = { .answered = NULL };
	uint8_t opc = sqe->opc;

	event_init(&req.done);
	if (!remote_queue_post(q, sqe, dir, &iov, len, &req))
		return -ENOTCONN;
	if (task_wait_timeout(&req.done, timeout_ms * 1000ull) < 0 && !req.finished) {
		remote_conn_fail(q, "no answer to command %02xh", opc);
		task_wait(&req.done);
		return -ETIMEDOUT;
	}
	if (req.status == REMOTE_LOST)
		return -ENOTCONN;
	if (result)
		*result = (struct remote_result){ .dw0 = req.dw0, .dw1 = req.dw1,
						  .sqhd = req.sqhd, .status = req.status };
	return nvme_status_errno(req.status);
}

int remote_exec(struct remote_queue *q, struct nvme_sqe *sqe, enum remote_dir dir, void *data,
		uint32_t len, unsigned timeout_ms, struct remote_result *result)
{
	void *bounce;
	int rc;

	if (len == 0 || q->transport->piece_bytes_max == 0)
		return exec(q, sqe, dir, data, len, timeout_ms, result);
	/* what a task has is seldom memory that an adapter can reach */
	bounce = dma_alloc(len, DMA_PAGE_BYTES);
	if (!bounce)
		return -ENOMEM;
	if (dir == REMOTE_OUT)
		memcpy(bounce, data, len);
	rc = exec(q, sqe, dir, bounce, len, timeout_ms, result);
	if (dir == REMOTE_IN && rc == 0)
		memcpy(data, bounce, len);
	dma_free(bounce);
	return rc;
}

/* ---- Fabrics: base 2.0c 3.3.2 ---- */

/* Connect Invalid Parameters: WHERE, dw0, says which; old targets leave it 0. */
static int connect_param(struct remote_queue *q, uint32_t where)
{
	const struct remote_options *opt = &q->ctrl->opt;
	bool data = where & NVMF_IATTR_DATA;

	switch (where) {
	case 0:
	case NVMF_IATTR_DATA | offsetof(struct nvmf_connect_data, subnqn):
		snprintf(q->why, sizeof(q->why), "the target knows no subsystem %s", opt->nqn);
		return -ENOENT;
	case NVMF_IATTR_DATA | offsetof(struct nvmf_connect_data, hostnqn):
		snprintf(q->why, sizeof(q->why), "the target takes no host of the name %s",
			 opt->hostnqn);
		return -EINVAL;
	default:
		snprintf(q->why, sizeof(q->why), "the target refuses byte %u of the %s of Connect",
			 where & 0xffff, data ? "data" : "command");
		return -EINVAL;
	}
}

int remote_connect_cmd(struct remote_queue *q, uint16_t *cntlid)
{
	struct remote_ctrl *c = q->ctrl;
	union {
		struct nvmf_connect_sqe connect;
		struct nvme_sqe sqe;
	} cmd = {
		.connect = {
			.opc = NVME_ADM_FABRICS,
			.fctype = NVMF_CONNECT,
			.qid = le16_make(q->qid),
			.sqsize = le16_make(q->count),
			.cattr = NVMF_CATTR_NO_SQ_FLOW,
			.kato = le32_make(q->qid == 0 ? REMOTE_KATO_MS : 0),
		},
	};
	struct nvmf_connect_data data = { .cntlid = le16_make(*cntlid) };
	struct remote_result result = { 0 };
	int rc;

	memcpy(data.hostid, c->hostid, sizeof(data.hostid));
	snprintf(data.subnqn, sizeof(data.subnqn), "%s", c->opt.nqn);
	snprintf(data.hostnqn, sizeof(data.hostnqn), "%s", c->opt.hostnqn);
	rc = remote_exec(q, &cmd.sqe, REMOTE_OUT, &data, sizeof(data), REMOTE_CONNECT_MS, &result);
	switch (result.status & NVME_STATUS_CODE_MASK) {
	case 0:
		if (rc == 0 && result.dw0 >> 16) {
			snprintf(q->why, sizeof(q->why), "the target wants authentication");
			return -EACCES;
		}
		*cntlid = result.dw0 & 0xffff;
		return rc;
	case NVME_SC_CONNECT_HOST:
		snprintf(q->why, sizeof(q->why), "the target does not allow the host %s",
			 c->opt.hostnqn);
		return -EACCES;
	case NVME_SC_CONNECT_PARAM:
		return connect_param(q, result.dw0);
	case NVME_SC_CONNECT_BUSY:
		snprintf(q->why, sizeof(q->why), "the target has no controller free");
		return -EBUSY;
	default:
		snprintf(q->why, sizeof(q->why), "Connect is refused, status %x/%02x",
			 nvme_status_sct(result.status), nvme_status_sc(result.status));
		return rc;
	}
}

int remote_property_get(struct remote_ctrl *c, unsigned reg, bool wide, uint64_t *value)
{
	union {
		struct nvmf_property_sqe property;
		struct nvme_sqe sqe;
	} cmd = {
		.property = {
			.opc = NVME_ADM_FABRICS,
			.fctype = NVMF_PROPERTY_GET,
			.attrib = wide ? NVMF_PROPERTY_8 : NVMF_PROPERTY_4,
			.ofst = le32_make(reg),
		},
	};
	struct remote_result result = { 0 };
	int rc = remote_exec(c->admin, &cmd.sqe, REMOTE_NONE, NULL, 0, REMOTE_CONNECT_MS, &result);

	*value = wide ? (uint64_t)result.dw1 << 32 | result.dw0 : result.dw0;
	return rc;
}

int remote_property_set(struct remote_ctrl *c, unsigned reg, uint32_t value)
{
	union {
		struct nvmf_property_sqe property;
		struct nvme_sqe sqe;
	} cmd = {
		.property = {
			.opc = NVME_ADM_FABRICS,
			.fctype = NVMF_PROPERTY_SET,
			.ofst = le32_make(reg),
			.value = le64_make(value),
		},
	};

	return remote_exec(c->admin, &cmd.sqe, REMOTE_NONE, NULL, 0, REMOTE_CONNECT_MS, NULL);
}

/* ---- admin commands ---- */

int remote_identify(struct remote_ctrl *c, uint8_t cns, uint32_t nsid, uint8_t csi, void *data)
{
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_IDENTIFY,
		.nsid = le32_make(nsid),
		.cdw10 = le32_make(cns),
		.cdw11 = le32_make((uint32_t)csi << NVME_IDENTIFY_CSI_SHIFT),
	};

	return remote_exec(c->admin, &sqe, REMOTE_IN, data, NVME_DATA_BYTES, REMOTE_CONNECT_MS,
			   NULL);
}

int remote_log(struct remote_ctrl *c, uint8_t lid, uint64_t offset, void *data, uint32_t len)
{
	uint32_t dwords = len / 4 - 1;
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_GET_LOG_PAGE,
		.nsid = le32_make(UINT32_MAX),
		.cdw10 = le32_make(lid | (dwords & 0xffff) << NVME_LOG_NUMDL_SHIFT),
		.cdw11 = le32_make(dwords >> 16),
		.cdw12 = le32_make((uint32_t)offset),
		.cdw13 = le32_make((uint32_t)(offset >> 32)),
	};

	return remote_exec(c->admin, &sqe, REMOTE_IN, data, len, REMOTE_CONNECT_MS, NULL);
}

int remote_feature(struct remote_ctrl *c, uint8_t fid, uint32_t value,
		   struct remote_result *result)
{
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_SET_FEATURES,
		.cdw10 = le32_make(fid),
		.cdw11 = le32_make(value),
	};

	return remote_exec(c->admin, &sqe, REMOTE_NONE, NULL, 0, REMOTE_CONNECT_MS, result);
}

int remote_keep_alive(struct remote_ctrl *c)
{
	struct nvme_sqe sqe = { .opc = NVME_ADM_KEEP_ALIVE };

	return remote_exec(c->admin, &sqe, REMOTE_NONE, NULL, 0, REMOTE_KATO_MS, NULL);
}

/* ---- asynchronous events: base 2.0c 5.2 ---- */

static void aer_answered(struct remote_req *req)
{
	struct remote_ctrl *c = container_of(req, struct remote_ctrl, aer_req);

	c->aer_posted = false;
	if (req->status != 0)
		return;
	c->aer = true;
	c->aer_dw0 = req->dw0;
	remote_ctrl_wake(c);
}

void remote_aer_post(struct remote_ctrl *c)
{
	struct nvme_sqe sqe = { .opc = NVME_ADM_ASYNC_EVENT };

	if (c->aer_posted)
		return;
	c->aer_req.answered = aer_answered;
	c->aer_posted = remote_queue_post(c->admin, &sqe, REMOTE_NONE, NULL, 0, &c->aer_req);
}
