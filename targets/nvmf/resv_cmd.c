/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reservation commands (base 2.0c 7.2 to 7.5): fields to requests of core/resv.h and back. A
 * host is its 128-bit host identifier, whatever the controller, subsystem or transport.
 */
#include <errno.h>
#include <string.h>

#include "core/resv.h"
#include "core/spec/nvme_resv.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvm.h"
#include "targets/nvmf/nvmf.h"

static uint16_t resv_status(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case -EBUSY:
		return NVME_SC_RESERVATION_CONFLICT | NVME_STATUS_DNR;
	case -EINVAL:
	case -EOPNOTSUPP:
		return NVME_SC_INVALID_FIELD | NVME_STATUS_DNR;
	default:
		return NVME_SC_INTERNAL;
	}
}

/* A host without an identifier cannot be told from others: base 2.0c 8.19. */
static bool resv_host_nameless(const struct nvmf_req *req)
{
	static const uint8_t zero[16];

	return memcmp(req->queue->ctrl->hostid, zero, sizeof(zero)) == 0;
}

static uint16_t resv_parse(struct nvmf_req *req, uint32_t data_len, uint32_t fields)
{
	if (resv_host_nameless(req))
		return NVME_SC_SEQUENCE_ERROR;
	if (le32_get(req->sqe.cdw10) & ~fields)
		return NVME_SC_INVALID_FIELD;
	req->data_len = data_len;
	return nvm_ns_parse(req);
}

static struct resv_request resv_request(const struct nvmf_req *req, enum resv_verb verb)
{
	uint32_t cdw10 = le32_get(req->sqe.cdw10);

	return (struct resv_request){
		.disk = req->ns->bdev->uuid,
		.host = &req->queue->ctrl->resv_host,
		.verb = verb,
		.ignore_key = cdw10 & NVME_RESV_IEKEY,
		.type = (enum resv_type)(cdw10 >> NVME_RESV_RTYPE_SHIFT & 0xff),
	};
}

static void resv_exec(struct nvmf_req *req, uint16_t (*fn)(struct nvmf_req *req))
{
	if (req->ns)
		nvmf_req_call(req, fn);
	else
		nvmf_req_done(req, NVME_SC_INVALID_NS | NVME_STATUS_DNR);
}

/* ---- Register ---- */

uint16_t nvmf_resv_register_parse(struct nvmf_req *req)
{
	uint32_t cdw10 = le32_get(req->sqe.cdw10);

	if ((cdw10 & NVME_RESV_ACTION_MASK) > NVME_RREGA_REPLACE ||
	    cdw10 >> NVME_RESV_CPTPL_SHIFT == 1)
		return NVME_SC_INVALID_FIELD;
	return resv_parse(req, sizeof(struct nvme_resv_register),
			  NVME_RESV_ACTION_MASK | NVME_RESV_IEKEY | 3u << NVME_RESV_CPTPL_SHIFT);
}

static uint16_t resv_register(struct nvmf_req *req)
{
	static const enum resv_verb verbs[] = {
		[NVME_RREGA_REGISTER] = RESV_REGISTER,
		[NVME_RREGA_UNREGISTER] = RESV_UNREGISTER,
		[NVME_RREGA_REPLACE] = RESV_REPLACE,
	};
	static const enum resv_ptpl ptpl[] = {
		[NVME_CPTPL_KEEP] = RESV_PTPL_KEEP,
		[NVME_CPTPL_CLEAR] = RESV_PTPL_CLEAR,
		[NVME_CPTPL_SET] = RESV_PTPL_SET,
	};
	uint32_t cdw10 = le32_get(req->sqe.cdw10);
	struct resv_request resv = resv_request(req, verbs[cdw10 & NVME_RESV_ACTION_MASK]);
	struct nvme_resv_register data;

	nvmf_req_fetch(req, &data, sizeof(data));
	resv.key = le64_get(data.crkey);
	resv.new_key = le64_get(data.nrkey);
	resv.ptpl = ptpl[cdw10 >> NVME_RESV_CPTPL_SHIFT];
	return resv_status(resv_run(&resv));
}

void nvmf_resv_register_exec(struct nvmf_req *req)
{
	resv_exec(req, resv_register);
}

/* ---- Acquire ---- */

uint16_t nvmf_resv_acquire_parse(struct nvmf_req *req)
{
	if ((le32_get(req->sqe.cdw10) & NVME_RESV_ACTION_MASK) > NVME_RACQA_PREEMPT_ABORT)
		return NVME_SC_INVALID_FIELD;
	return resv_parse(req, sizeof(struct nvme_resv_acquire),
			  NVME_RESV_ACTION_MASK | NVME_RESV_IEKEY | 0xff << NVME_RESV_RTYPE_SHIFT);
}

static uint16_t resv_acquire(struct nvmf_req *req)
{
	static const enum resv_verb verbs[] = {
		[NVME_RACQA_ACQUIRE] = RESV_ACQUIRE,
		[NVME_RACQA_PREEMPT] = RESV_PREEMPT,
		[NVME_RACQA_PREEMPT_ABORT] = RESV_PREEMPT_ABORT,
	};
	uint32_t action = le32_get(req->sqe.cdw10) & NVME_RESV_ACTION_MASK;
	struct resv_request resv = resv_request(req, verbs[action]);
	struct nvme_resv_acquire data;

	nvmf_req_fetch(req, &data, sizeof(data));
	resv.key = le64_get(data.crkey);
	resv.other_key = le64_get(data.prkey);
	return resv_status(resv_run(&resv));
}

void nvmf_resv_acquire_exec(struct nvmf_req *req)
{
	resv_exec(req, resv_acquire);
}

/* ---- Release ---- */

uint16_t nvmf_resv_release_parse(struct nvmf_req *req)
{
	if ((le32_get(req->sqe.cdw10) & NVME_RESV_ACTION_MASK) > NVME_RRELA_CLEAR)
		return NVME_SC_INVALID_FIELD;
	return resv_parse(req, sizeof(struct nvme_resv_release),
			  NVME_RESV_ACTION_MASK | NVME_RESV_IEKEY | 0xff << NVME_RESV_RTYPE_SHIFT);
}

static uint16_t resv_release(struct nvmf_req *req)
{
	bool clear = (le32_get(req->sqe.cdw10) & NVME_RESV_ACTION_MASK) == NVME_RRELA_CLEAR;
	struct resv_request resv = resv_request(req, clear ? RESV_CLEAR : RESV_RELEASE);
	struct nvme_resv_release data;

	nvmf_req_fetch(req, &data, sizeof(data));
	resv.key = le64_get(data.crkey);
	return resv_status(resv_run(&resv));
}

void nvmf_resv_release_exec(struct nvmf_req *req)
{
	resv_exec(req, resv_release);
}

/* ---- Report ---- */

uint16_t nvmf_resv_report_parse(struct nvmf_req *req)
{
	uint64_t bytes = ((uint64_t)le32_get(req->sqe.cdw10) + 1) * 4;
	uint16_t status = nvm_ns_parse(req);

	if (status)
		return status;
	if (le32_get(req->sqe.cdw11) & ~NVME_RESV_EDS)
		return NVME_SC_INVALID_FIELD;
	/* hosts have 128-bit identifiers here: base 2.0c 7.5 */
	if (!(le32_get(req->sqe.cdw11) & NVME_RESV_EDS))
		return NVME_SC_HOSTID_FORMAT;
	if (bytes > (uint64_t)req->ns->blocks_max << req->ns->lba_shift)
		return NVME_SC_INVALID_FIELD;
	req->data_len = (uint32_t)bytes;
	return 0;
}

/* Only NVMe hosts have a place in it: others are counted by their key, with no identifier. */
static void report_registrant(struct nvmf_req *req, const struct resv_state *state, unsigned i)
{
	const struct resv_registrant *reg = &state->reg[i];
	struct nvme_resv_ctrl_ext entry = {
		/* controllers are dynamic */
		.cntlid = le16_make(NVME_RESV_CNTLID_DYNAMIC),
		.rcsts = resv_is_holder(state, (int)i) ? NVME_RCSTS_HOLDER : 0,
		.rkey = le64_make(reg->key),
	};

	if (reg->host.kind == RESV_HOST_NVME)
		memcpy(entry.hostid, reg->host.id, sizeof(entry.hostid));
	nvmf_req_emit(req, 0, sizeof(struct nvme_resv_status_ext) + i * sizeof(entry), &entry,
		      sizeof(entry));
}

static uint16_t resv_report(struct nvmf_req *req)
{
	const struct resv_state *state = resv_find(&req->ns->bdev->uuid);
	struct nvme_resv_status_ext head = { 0 };

	nvmf_req_clear(req);
	if (state) {
		head.status.gen = le32_un_make(state->generation);
		head.status.rtype = state->type;
		head.status.regctl = le16_un_make(state->count);
		head.status.ptpls = state->ptpl;
	}
	nvmf_req_emit(req, 0, 0, &head, sizeof(head));
	for (unsigned i = 0; state && i < state->count; i++)
		report_registrant(req, state, i);
	return 0;
}

void nvmf_resv_report_exec(struct nvmf_req *req)
{
	resv_exec(req, resv_report);
}
