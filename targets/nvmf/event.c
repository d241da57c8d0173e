/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asynchronous events (base 2.0c 5.2): requests held for a controller, and the events that end
 * them. An event is sent once and then masked until its log page is read; one that finds no held
 * request waits for one. All on reactor 0.
 */
#include "targets/nvmf/nvmf.h"

#include <string.h>

static const struct {
	uint32_t enable;                /* bit of AEC; those above 7 are in OAES too; 0: always */
	uint32_t dw0;
	bool discovery;                 /* of discovery controllers, or of the others */
} events[NVMF_EVENT_COUNT] = {
	[NVMF_EVENT_NS_CHANGED] = {
		NVME_OAES_NS_CHANGED,
		NVME_AER_NOTICE | NVME_AER_NOTICE_NS_CHANGED << NVME_AER_INFO_SHIFT |
			NVME_LID_CHANGED_NS << NVME_AER_LID_SHIFT,
		false,
	},
	[NVMF_EVENT_ANA] = {
		NVME_OAES_ANA,
		NVME_AER_NOTICE | NVME_AER_NOTICE_ANA << NVME_AER_INFO_SHIFT |
			NVME_LID_ANA << NVME_AER_LID_SHIFT,
		false,
	},
	[NVMF_EVENT_SPARE] = {
		NVME_SMART_SPARE,
		NVME_AER_SMART | NVME_AER_SMART_SPARE << NVME_AER_INFO_SHIFT |
			NVME_LID_SMART << NVME_AER_LID_SHIFT,
		false,
	},
	[NVMF_EVENT_TEMPERATURE] = {
		NVME_SMART_TEMPERATURE,
		NVME_AER_SMART | NVME_AER_SMART_TEMPERATURE << NVME_AER_INFO_SHIFT |
			NVME_LID_SMART << NVME_AER_LID_SHIFT,
		false,
	},
	/* smart.c looks at each of these warnings */
	[NVMF_EVENT_RELIABILITY] = {
		NVME_SMART_RELIABILITY | NVME_SMART_READONLY | NVME_SMART_BACKUP_FAILED,
		NVME_AER_SMART | NVME_AER_SMART_RELIABILITY << NVME_AER_INFO_SHIFT |
			NVME_LID_SMART << NVME_AER_LID_SHIFT,
		false,
	},
	[NVMF_EVENT_DISCOVERY] = {
		(uint32_t)NVME_OAES_DISCOVERY,
		NVME_AER_NOTICE | NVME_AER_NOTICE_DISCOVERY << NVME_AER_INFO_SHIFT |
			NVME_LID_DISCOVERY << NVME_AER_LID_SHIFT,
		true,
	},
	/* feature 82h says which are wanted: resv_log.c */
	[NVMF_EVENT_RESERVATION] = {
		0,
		NVME_AER_IO_SET | NVME_AER_IO_SET_RESERVATION << NVME_AER_INFO_SHIFT |
			NVME_LID_RESERVATION << NVME_AER_LID_SHIFT,
	},
};

uint32_t nvmf_event_supported(const struct nvmf_subsystem *subsys)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < NVMF_EVENT_COUNT; i++)
		if (events[i].discovery == subsys->discovery)
			bits |= events[i].enable;
	return bits & ~(uint32_t)NVME_SMART_WARNINGS;
}

void nvmf_event_configure(struct nvmf_ctrl *ctrl, uint32_t aec)
{
	ctrl->aec = aec;
	for (unsigned i = 0; i < NVMF_EVENT_COUNT; i++)
		if (events[i].enable && !(aec & events[i].enable))
			ctrl->events_pending &= ~(1u << i);
}

static void event_flush(struct nvmf_ctrl *ctrl)
{
	for (unsigned i = 0; i < NVMF_EVENT_COUNT && ctrl->aer_count; i++) {
		struct nvmf_req *req;

		if (!(ctrl->events_pending & 1u << i))
			continue;
		ctrl->events_pending &= ~(1u << i);
		ctrl->events_masked |= 1u << i;
		req = ctrl->aer[--ctrl->aer_count];
		req->dw0 = events[i].dw0;
		nvmf_req_done(req, 0);
	}
}

void nvmf_event_request(struct nvmf_ctrl *ctrl, struct nvmf_req *req)
{
	if (ctrl->aer_count == NVMF_AER_MAX) {
		nvmf_req_done(req, NVME_SC_AER_LIMIT | NVME_STATUS_DNR);
		return;
	}
	ctrl->aer[ctrl->aer_count++] = req;
	event_flush(ctrl);
}

void nvmf_event_raise(struct nvmf_ctrl *ctrl, enum nvmf_event event)
{
	uint32_t enable = events[event].enable;

	if (ctrl->dying || (enable && !(ctrl->aec & enable)) ||
	    (ctrl->events_masked & 1u << event))
		return;
	ctrl->events_pending |= 1u << event;
	event_flush(ctrl);
}

void nvmf_event_read(struct nvmf_ctrl *ctrl, enum nvmf_event event)
{
	ctrl->events_masked &= ~(1u << event);
	ctrl->events_pending &= ~(1u << event);
}

void nvmf_event_drop(struct nvmf_ctrl *ctrl, uint16_t status)
{
	while (ctrl->aer_count)
		nvmf_req_done(ctrl->aer[--ctrl->aer_count], status);
}

bool nvmf_event_abort(struct nvmf_ctrl *ctrl, uint16_t cid)
{
	for (unsigned i = 0; i < ctrl->aer_count; i++) {
		struct nvmf_req *req = ctrl->aer[i];

		if (le16_get(req->sqe.cid) != cid)
			continue;
		ctrl->aer[i] = ctrl->aer[--ctrl->aer_count];
		nvmf_req_done(req, NVME_SC_ABORT_REQUESTED);
		return true;
	}
	return false;
}

void nvmf_event_ns_note(struct nvmf_ctrl *ctrl, uint32_t nsid)
{
	unsigned at = 0, max = ARRAY_SIZE(ctrl->changed);

	if (ctrl->changed_count > max)
		return;
	while (at < ctrl->changed_count && ctrl->changed[at] < nsid)
		at++;
	if (at < ctrl->changed_count && ctrl->changed[at] == nsid)
		return;
	if (ctrl->changed_count == max) {
		ctrl->changed_count = max + 1;
		return;
	}
	memmove(&ctrl->changed[at + 1], &ctrl->changed[at],
		(ctrl->changed_count - at) * sizeof(ctrl->changed[0]));
	ctrl->changed[at] = nsid;
	ctrl->changed_count++;
}

void nvmf_event_ns_changed(struct nvmf_subsystem *subsys, uint32_t nsid)
{
	struct nvmf_ctrl *ctrl;

	list_for_each(ctrl, &subsys->ctrls, link) {
		if (!nvmf_view_find(ctrl, nsid))
			continue;
		nvmf_event_ns_note(ctrl, nsid);
		nvmf_event_raise(ctrl, NVMF_EVENT_NS_CHANGED);
	}
}

void nvmf_event_space_low(struct nvmf_subsystem *subsys, uint32_t nsid)
{
	struct nvmf_ctrl *ctrl;

	list_for_each(ctrl, &subsys->ctrls, link)
		if (nvmf_view_find(ctrl, nsid))
			nvmf_event_raise(ctrl, NVMF_EVENT_SPARE);
}
