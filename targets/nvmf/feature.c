/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Set Features and Get Features (base 2.0c 5.15, 5.27): a table with what each feature is, how it
 * is read and how it is changed. Nothing can be saved.
 */
#include "targets/nvmf/nvmf.h"

#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/spec/nvme_log.h"

enum {
	FEATURE_CHANGEABLE = 1 << 0,
	FEATURE_DISCOVERY = 1 << 1,     /* discovery controllers have it too */
	FEATURE_NS = 1 << 2,            /* of a namespace: NSID says of which */
	FEATURE_WARNS = 1 << 3,         /* changes what the host is warned of: smart.c */
	SUPPORTED_NS = 1 << 1,
	SUPPORTED_CHANGEABLE = 1 << 2,
	ERROR_RECOVERY_DULBE = 1 << 16,
	TEMPERATURE_VALUE = 0xffff,
	TEMPERATURE_SELECT_SHIFT = 16,
	TEMPERATURE_UNDER = 1 << 20,
	TEMPERATURE_DEFAULT_OVER = 0xffff,
};

struct feature {
	uint8_t fid;
	unsigned flags;
	uint32_t data_len;
	uint32_t dflt;
	/* Fills req->dw0, or the data; an NVMe status. */
	uint16_t (*get)(struct nvmf_req *req, struct nvmf_ctrl *ctrl);
	uint16_t (*set)(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11);
	void (*set_exec)(struct nvmf_req *req); /* instead of set, when it takes longer */
};

static uint16_t arbitration_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	req->dw0 = ctrl->arbitration;
	return 0;
}

static uint16_t arbitration_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)req;
	ctrl->arbitration = cdw11;
	return 0;
}

/* One power state. */
static uint16_t power_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	(void)ctrl;
	req->dw0 = 0;
	return 0;
}

static uint16_t power_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)req;
	(void)ctrl;
	return cdw11 & 0x1f ? NVME_SC_INVALID_FIELD : 0;
}

static uint16_t temperature_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	uint32_t cdw11 = le32_get(req->sqe.cdw11);

	if (cdw11 >> TEMPERATURE_SELECT_SHIFT & 15)
		return NVME_SC_INVALID_FIELD;
	req->dw0 = ctrl->temperature[cdw11 & TEMPERATURE_UNDER ? 1 : 0];
	return 0;
}

static uint16_t temperature_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	uint32_t select = cdw11 >> TEMPERATURE_SELECT_SHIFT & 15;

	(void)req;
	if (select != 0 && select != 15)
		return NVME_SC_INVALID_FIELD;
	ctrl->temperature[cdw11 & TEMPERATURE_UNDER ? 1 : 0] = cdw11 & TEMPERATURE_VALUE;
	return 0;
}

/* Each namespace has its own; that of none in particular is what was set for all last. */
static uint16_t error_recovery_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	uint32_t nsid = le32_get(req->sqe.nsid);

	if (nsid == 0 || nsid == (uint32_t)NVME_NSID_ALL) {
		req->dw0 = ctrl->error_recovery;
		return 0;
	}
	if (!nvmf_view_find(ctrl, nsid))
		return NVME_SC_INVALID_NS;
	req->dw0 = ctrl->error_recovery_ns ? ctrl->error_recovery_ns[nsid - 1]
					   : ctrl->error_recovery;
	return 0;
}

static void error_recovery_all(struct nvmf_ctrl *ctrl, uint16_t tler)
{
	ctrl->error_recovery = tler;
	free(ctrl->error_recovery_ns);
	ctrl->error_recovery_ns = NULL;
}

static uint16_t error_recovery_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	uint32_t nsid = le32_get(req->sqe.nsid), max = config.nvmf_namespaces_max;

	/* errors of deallocated blocks are for namespaces that say so: none does */
	if (cdw11 & ERROR_RECOVERY_DULBE)
		return NVME_SC_INVALID_FIELD;
	if (nsid == 0 || nsid == (uint32_t)NVME_NSID_ALL) {
		error_recovery_all(ctrl, (uint16_t)cdw11);
		return 0;
	}
	if (!ctrl->error_recovery_ns) {
		ctrl->error_recovery_ns = calloc(max, sizeof(ctrl->error_recovery_ns[0]));
		if (!ctrl->error_recovery_ns)
			return NVME_SC_INTERNAL;
		for (uint32_t i = 0; i < max; i++)
			ctrl->error_recovery_ns[i] = ctrl->error_recovery;
	}
	ctrl->error_recovery_ns[nsid - 1] = (uint16_t)cdw11;
	return 0;
}

/* One combination of command sets: Identify, CNS 1Ch. */
static uint16_t profile_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	(void)ctrl;
	req->dw0 = 0;
	return 0;
}

static uint16_t profile_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)req;
	(void)ctrl;
	return cdw11 & 0x1ff ? NVME_SC_CSI_COMBINATION : 0;
}

/* The caches are the disks' own and stay on; a host that wants none has each write go through. */
static uint16_t write_cache_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	req->dw0 = !atomic_load(&ctrl->write_through);
	return 0;
}

static uint16_t write_cache_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)req;
	atomic_store(&ctrl->write_through, !(cdw11 & 1));
	return 0;
}

static uint32_t queues_value(unsigned count)
{
	return (count - 1) | (count - 1) << 16;
}

static uint16_t queues_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	req->dw0 = queues_value(ctrl->queues_granted);
	return 0;
}

static uint16_t queues_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	uint32_t nsq = cdw11 & 0xffff, ncq = cdw11 >> 16;

	if (nsq == 0xffff || ncq == 0xffff)
		return NVME_SC_INVALID_FIELD;
	if (ctrl->queue_count)
		return NVME_SC_SEQUENCE_ERROR;
	ctrl->queues_granted = MIN(MIN(nsq, ncq) + 1, config.nvmf_queues_max);
	req->dw0 = queues_value(ctrl->queues_granted);
	return 0;
}

static uint16_t atomicity_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	req->dw0 = ctrl->atomicity;
	return 0;
}

static uint16_t atomicity_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)req;
	ctrl->atomicity = cdw11 & 1;
	return 0;
}

static uint16_t aec_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	req->dw0 = ctrl->aec;
	return 0;
}

/* The low 8 bits are SMART's; of the others those that Identify (OAES) promises. */
static uint16_t aec_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)req;
	if (cdw11 & ~(nvmf_event_supported(ctrl->subsys) | NVME_SMART_WARNINGS))
		return NVME_SC_INVALID_FIELD;
	nvmf_event_configure(ctrl, cdw11);
	return 0;
}

static uint16_t kato_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	req->dw0 = ctrl->kato_ms;
	return 0;
}

static uint16_t kato_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)req;
	nvmf_ctrl_kato_set(ctrl, cdw11);
	return 0;
}

static uint16_t behavior_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	nvmf_req_emit(req, 0, 0, ctrl->host_behavior, sizeof(ctrl->host_behavior));
	return 0;
}

static uint16_t behavior_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)cdw11;
	nvmf_req_fetch(req, ctrl->host_behavior, sizeof(ctrl->host_behavior));
	return 0;
}

static uint16_t hostid_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	/* over Fabrics only the 128-bit form: base 2.0c 5.27.1.25 */
	if (!(le32_get(req->sqe.cdw11) & NVME_FEAT_HOSTID_EXHID))
		return NVME_SC_INVALID_FIELD;
	nvmf_req_emit(req, 0, 0, ctrl->hostid, sizeof(ctrl->hostid));
	return 0;
}

/* Connect has set it. */
static uint16_t hostid_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	(void)req;
	(void)ctrl;
	(void)cdw11;
	return NVME_SC_SEQUENCE_ERROR;
}

static const struct feature features[] = {
	{ NVME_FEAT_ARBITRATION, FEATURE_CHANGEABLE, 0, 0, arbitration_get, arbitration_set },
	{ NVME_FEAT_POWER, FEATURE_CHANGEABLE, 0, 0, power_get, power_set },
	{ NVME_FEAT_TEMPERATURE, FEATURE_CHANGEABLE | FEATURE_WARNS, 0, TEMPERATURE_DEFAULT_OVER,
	  temperature_get, temperature_set },
	{ NVME_FEAT_ERROR_RECOVERY, FEATURE_CHANGEABLE | FEATURE_NS, 0, 0, error_recovery_get,
	  error_recovery_set },
	{ NVME_FEAT_WRITE_CACHE, FEATURE_CHANGEABLE, 0, 1, write_cache_get, write_cache_set },
	{ NVME_FEAT_QUEUES, FEATURE_CHANGEABLE, 0, 0, queues_get, queues_set },
	{ NVME_FEAT_WRITE_ATOMICITY, FEATURE_CHANGEABLE, 0, 0, atomicity_get, atomicity_set },
	{ NVME_FEAT_AEC, FEATURE_CHANGEABLE | FEATURE_DISCOVERY | FEATURE_WARNS, 0, 0, aec_get,
	  aec_set },
	{ NVME_FEAT_KATO, FEATURE_CHANGEABLE | FEATURE_DISCOVERY, 0, 0, kato_get, kato_set },
	{ NVME_FEAT_HOST_BEHAVIOR, FEATURE_CHANGEABLE, 512, 0, behavior_get, behavior_set },
	{ NVME_FEAT_IOCS_PROFILE, FEATURE_CHANGEABLE, 0, 0, profile_get, profile_set },
	{ NVME_FEAT_HOSTID, 0, 16, 0, hostid_get, hostid_set },
	{ NVME_FEAT_RESV_MASK, FEATURE_CHANGEABLE | FEATURE_NS, 0, 0, nvmf_resv_mask_get,
	  nvmf_resv_mask_set },
	{ NVME_FEAT_RESV_PERSIST, FEATURE_CHANGEABLE | FEATURE_NS, 0, 0, nvmf_resv_persist_get,
	  NULL, nvmf_resv_persist_exec },
};

/* As they are before a host changes them. */
void nvmf_feature_reset(struct nvmf_ctrl *ctrl)
{
	ctrl->aec = ctrl->arbitration = ctrl->atomicity = 0;
	error_recovery_all(ctrl, 0);
	atomic_store(&ctrl->write_through, false);
	ctrl->smart_told = 0;
	ctrl->temperature[0] = TEMPERATURE_DEFAULT_OVER;
	ctrl->temperature[1] = 0;
	memset(ctrl->host_behavior, 0, sizeof(ctrl->host_behavior));
}

static uint32_t feature_default(const struct nvmf_req *req, const struct feature *feature)
{
	bool under = le32_get(req->sqe.cdw11) & TEMPERATURE_UNDER;

	if (feature->fid == NVME_FEAT_QUEUES)
		return queues_value(config.nvmf_queues_max);
	return feature->fid == NVME_FEAT_TEMPERATURE && under ? 0 : feature->dflt;
}

/* Whether controllers of the kind that REQ is for have it. */
static bool feature_there(const struct nvmf_req *req, const struct feature *feature)
{
	return !req->queue->subsys->discovery || (feature->flags & FEATURE_DISCOVERY);
}

static const struct feature *feature_find(const struct nvmf_req *req)
{
	uint8_t fid = (uint8_t)le32_get(req->sqe.cdw10);

	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		if (features[i].fid == fid)
			return feature_there(req, &features[i]) ? &features[i] : NULL;
	return NULL;
}

static unsigned feature_select(const struct nvmf_req *req)
{
	return le32_get(req->sqe.cdw10) >> NVME_FEAT_SEL_SHIFT & 7;
}

/* What a namespace has cannot be told, nor changed, over a path that does not reach it. */
static uint16_t feature_path(const struct nvmf_req *req, const struct feature *feature)
{
	const struct nvmf_view_slot *slot;

	if (!(feature->flags & FEATURE_NS))
		return 0;
	slot = nvmf_view_find(req->queue->ctrl, le32_get(req->sqe.nsid));
	return slot ? slot->status : 0;
}

/* Of a feature of the controller nobody can change one namespace's: base 2.0c 5.27. */
static uint16_t feature_set_nsid(const struct nvmf_req *req, const struct feature *feature)
{
	uint32_t nsid = le32_get(req->sqe.nsid);

	if (nsid == 0 || nsid == (uint32_t)NVME_NSID_ALL)
		return 0;
	if (!nvmf_view_find(req->queue->ctrl, nsid))
		return NVME_SC_INVALID_NS;
	return feature->flags & FEATURE_NS ? feature_path(req, feature) : NVME_SC_FEATURE_NOT_NS;
}

uint16_t nvmf_feature_set_parse(struct nvmf_req *req)
{
	const struct feature *feature = feature_find(req);

	if (!feature)
		return NVME_SC_INVALID_FIELD;
	if (le32_get(req->sqe.cdw10) & (uint32_t)NVME_FEAT_SV)
		return NVME_SC_FEATURE_NOT_SAVEABLE;
	if (feature->set_exec)
		req->exec = feature->set_exec;
	req->data_len = feature->data_len;
	req->dir = feature->data_len ? NVMF_DIR_H2C : NVMF_DIR_NONE;
	return feature_set_nsid(req, feature);
}

void nvmf_feature_set_exec(struct nvmf_req *req)
{
	const struct feature *feature = feature_find(req);
	struct nvmf_ctrl *ctrl = req->queue->ctrl;
	uint16_t status = feature->set(req, ctrl, le32_get(req->sqe.cdw11));

	if (status)
		nvmf_req_done(req, status | NVME_STATUS_DNR);
	else if ((feature->flags & FEATURE_WARNS) && (ctrl->aec & NVME_SMART_WARNINGS))
		nvmf_smart_look(req);
	else
		nvmf_req_done(req, 0);
}

uint16_t nvmf_feature_get_parse(struct nvmf_req *req)
{
	const struct feature *feature = feature_find(req);

	if (!feature || feature_select(req) > NVME_FEAT_SEL_SUPPORTED)
		return NVME_SC_INVALID_FIELD;
	if (feature_select(req) != NVME_FEAT_SEL_SUPPORTED) {
		req->data_len = feature->data_len;
		req->dir = feature->data_len ? NVMF_DIR_C2H : NVMF_DIR_NONE;
		return feature_path(req, feature);
	}
	return 0;
}

void nvmf_feature_get_exec(struct nvmf_req *req)
{
	const struct feature *feature = feature_find(req);
	uint16_t status = 0;

	nvmf_req_clear(req);
	switch (feature_select(req)) {
	case NVME_FEAT_SEL_CURRENT:
		status = feature->get(req, req->queue->ctrl);
		break;
	case NVME_FEAT_SEL_SUPPORTED:
		req->dw0 = (feature->flags & FEATURE_CHANGEABLE ? SUPPORTED_CHANGEABLE : 0) |
			   (feature->flags & FEATURE_NS ? SUPPORTED_NS : 0);
		break;
	default:                        /* nothing is saved, so saved is default */
		req->dw0 = feature_default(req, feature);
	}
	nvmf_req_done(req, status ? status | NVME_STATUS_DNR : 0);
}

/* Base 2.0c 5.16.1.18. */
void nvmf_feature_log_emit(struct nvmf_req *req)
{
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *f = &features[i];
		le32 effects = le32_make(NVME_FEATURE_SUPPORTED |
					 (f->flags & FEATURE_CHANGEABLE ? NVME_FEATURE_CCC : 0) |
					 (f->flags & FEATURE_NS ? NVME_FEATURE_SCOPE_NS
								: NVME_FEATURE_SCOPE_CTRL));

		if (feature_there(req, f))
			nvmf_req_emit(req, nvmf_log_offset(req), f->fid * sizeof(effects),
				      &effects, sizeof(effects));
	}
}
