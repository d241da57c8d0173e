/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What controllers are told of reservations (base 2.0c 8.19.12): each has a queue of notifications,
 * read oldest first by log page 80h, and an event while there are any. Here too: which of them a
 * host does not want (feature 82h), PTPL (feature 83h), and the end of a preempted host's commands.
 * All on reactor 0.
 */
#include "core/resv.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/config.h"
#include "core/spec/nvme_resv.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvmf.h"

static uint8_t *mask_of(const struct nvmf_ctrl *ctrl, uint32_t nsid)
{
	return ctrl->resv_mask && nsid - 1 < config.nvmf_namespaces_max ?
	       &ctrl->resv_mask[nsid - 1] : NULL;
}

static void note_add(struct nvmf_ctrl *ctrl, uint32_t nsid, uint8_t type)
{
	struct nvmf_resv_log *log = &ctrl->resv_log;
	const uint8_t *mask = mask_of(ctrl, nsid);

	if (ctrl->dying || (mask && (*mask & 1u << type)))
		return;
	/* one that finds no room is counted all the same: the host sees that there was one */
	log->count++;
	if (log->used == NVMF_RESV_NOTES_MAX)
		return;
	log->notes[(log->first + log->used) % NVMF_RESV_NOTES_MAX] = (struct nvmf_resv_note){
		.count = log->count, .nsid = nsid, .type = type,
	};
	log->used++;
	nvmf_event_raise(ctrl, NVMF_EVENT_RESERVATION);
}

static void resv_event(struct resv_watch *watch, const struct uuid *disk,
		       const struct resv_host *host, enum resv_event event)
{
	static const uint8_t types[] = {
		[RESV_REGISTRATION_PREEMPTED] = NVME_RESV_NOTE_REGISTRATION_PREEMPTED,
		[RESV_RELEASED] = NVME_RESV_NOTE_RELEASED,
		[RESV_PREEMPTED] = NVME_RESV_NOTE_PREEMPTED,
	};

	(void)watch;
	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl)) {
		const struct nvmf_view *view = nvmf_view(ctrl);

		if (!resv_host_equal(&ctrl->resv_host, host))
			continue;
		for (uint32_t i = 0; i < view->nn; i++)
			if (view->slots[i].ns &&
			    uuid_equal(&view->slots[i].ns->bdev->uuid, disk))
				note_add(ctrl, i + 1, types[event]);
	}
}

static void resv_abort(struct resv_watch *watch, const struct uuid *disk,
		       const struct resv_host *const *hosts, unsigned count)
{
	(void)watch;
	nvmf_abort_hosts(disk, hosts, count);
}

static struct resv_watch resv_watch = { .event = resv_event, .abort = resv_abort };

void nvmf_resv_init(void)
{
	resv_watch_start(&resv_watch);
}

void nvmf_resv_fini(void)
{
	resv_watch_stop(&resv_watch);
}

/* ---- log page 80h ---- */

void nvmf_resv_log_read(struct nvmf_ctrl *ctrl, bool retain, struct nvme_log_resv *page)
{
	struct nvmf_resv_log *log = &ctrl->resv_log;
	const struct nvmf_resv_note *note = &log->notes[log->first];

	memset(page, 0, sizeof(*page));
	if (log->used == 0)
		return;
	page->count = le64_make(note->count);
	page->type = note->type;
	page->available = (uint8_t)(log->used - 1);
	page->nsid = le32_make(note->nsid);
	if (retain)
		return;
	log->first = (log->first + 1) % NVMF_RESV_NOTES_MAX;
	log->used--;
}

/* ---- features ---- */

/* A controller that begins anew has seen nothing and wants everything. */
void nvmf_resv_log_reset(struct nvmf_ctrl *ctrl)
{
	ctrl->resv_log.used = 0;
	free(ctrl->resv_mask);
	ctrl->resv_mask = NULL;
}

uint16_t nvmf_resv_mask_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	uint32_t nsid = le32_get(req->sqe.nsid);
	const uint8_t *mask = mask_of(ctrl, nsid);

	if (!nvmf_view_find(ctrl, nsid))
		return nsid == (uint32_t)NVME_NSID_ALL ? NVME_SC_INVALID_FIELD : NVME_SC_INVALID_NS;
	req->dw0 = mask ? *mask : 0;
	return 0;
}

uint16_t nvmf_resv_mask_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11)
{
	uint32_t nsid = le32_get(req->sqe.nsid);

	if (cdw11 & ~NVME_RESV_MASK_ALL)
		return NVME_SC_INVALID_FIELD;
	if (nsid != (uint32_t)NVME_NSID_ALL && !nvmf_view_find(ctrl, nsid))
		return NVME_SC_INVALID_NS;
	if (!ctrl->resv_mask)
		ctrl->resv_mask = calloc(config.nvmf_namespaces_max, 1);
	if (!ctrl->resv_mask)
		return NVME_SC_INTERNAL;
	if (nsid == (uint32_t)NVME_NSID_ALL)
		memset(ctrl->resv_mask, (int)cdw11, config.nvmf_namespaces_max);
	else
		ctrl->resv_mask[nsid - 1] = (uint8_t)cdw11;
	return 0;
}

uint16_t nvmf_resv_persist_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl)
{
	uint32_t nsid = le32_get(req->sqe.nsid);
	const struct nvmf_view_slot *slot = nvmf_view_find(ctrl, nsid);
	const struct resv_state *state;

	if (!slot)
		return nsid == (uint32_t)NVME_NSID_ALL ? NVME_SC_INVALID_FIELD : NVME_SC_INVALID_NS;
	state = resv_find(&slot->ns->bdev->uuid);
	req->dw0 = state && state->ptpl ? NVME_RESV_PERSIST_PTPL : 0;
	return 0;
}

static int persist_one(const struct nvmf_view_slot *slot, bool ptpl)
{
	struct resv_request resv = {
		.verb = RESV_PERSIST, .ptpl = ptpl ? RESV_PTPL_SET : RESV_PTPL_CLEAR,
	};

	if (!slot)
		return 0;
	resv.disk = slot->ns->bdev->uuid;
	return resv_run(&resv);
}

/* In a task: it is durable before it is answered. Namespaces may come and go meanwhile. */
static uint16_t persist_set(struct nvmf_req *req)
{
	const struct nvmf_ctrl *ctrl = req->queue->ctrl;
	uint32_t nsid = le32_get(req->sqe.nsid), cdw11 = le32_get(req->sqe.cdw11);
	bool all = nsid == (uint32_t)NVME_NSID_ALL, ptpl = cdw11 & NVME_RESV_PERSIST_PTPL;
	int rc = 0;

	if ((cdw11 & ~NVME_RESV_PERSIST_PTPL) || (ptpl && !resv_ptpl_offered()))
		return NVME_SC_INVALID_FIELD | NVME_STATUS_DNR;
	if (!all && !nvmf_view_find(ctrl, nsid))
		return NVME_SC_INVALID_NS | NVME_STATUS_DNR;
	if (!all)
		rc = persist_one(nvmf_view_find(ctrl, nsid), ptpl);
	for (uint32_t i = 1; all && rc == 0 && i <= nvmf_view(ctrl)->nn; i++)
		rc = persist_one(nvmf_view_find(ctrl, i), ptpl);
	return rc ? NVME_SC_INTERNAL : 0;
}

void nvmf_resv_persist_exec(struct nvmf_req *req)
{
	nvmf_req_call(req, persist_set);
}
