/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asymmetric namespace access: groups, their states, and the log page. A state is looked up when a
 * view is made (view.c); the data path knows only the status that it gives.
 */
#include "targets/nvmf/ana.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "targets/nvmf/nvmf.h"

static const struct {
	uint8_t state;
	uint16_t status;
} states[] = {
	{ NVME_ANA_OPTIMIZED, 0 },
	{ NVME_ANA_NON_OPTIMIZED, 0 },
	{ NVME_ANA_INACCESSIBLE, NVME_SC_ANA_INACCESSIBLE },
	{ NVME_ANA_PERSISTENT_LOSS, NVME_SC_ANA_PERSISTENT_LOSS },
	{ NVME_ANA_CHANGE, NVME_SC_ANA_TRANSITION },
};

const char *const nvmf_ana_names[] = {
	"optimized", "non-optimized", "inaccessible", "persistent-loss", "change", NULL,
};

uint8_t nvmf_ana_of_index(unsigned index)
{
	return states[index].state;
}

const char *nvmf_ana_name(uint8_t state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(states); i++)
		if (states[i].state == state)
			return nvmf_ana_names[i];
	return "none";
}

uint16_t nvmf_ana_status(uint8_t state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(states); i++)
		if (states[i].state == state)
			return states[i].status;
	return NVME_SC_ANA_INACCESSIBLE;
}

int nvmf_ana_init(struct nvmf_subsystem *subsys)
{
	subsys->ana = calloc(config.nvmf_ana_groups_max, sizeof(subsys->ana[0]));
	if (!subsys->ana)
		return -ENOMEM;
	nvmf_ana_create(subsys, NVMF_ANA_DEFAULT, NVME_ANA_OPTIMIZED);
	return 0;
}

void nvmf_ana_fini(struct nvmf_subsystem *subsys)
{
	free(subsys->ana);
}

bool nvmf_ana_exists(const struct nvmf_subsystem *subsys, unsigned group)
{
	return group - 1 < config.nvmf_ana_groups_max && subsys->ana[group - 1].exists;
}

void nvmf_ana_touch(struct nvmf_subsystem *subsys, unsigned group)
{
	subsys->ana[group - 1].change = ++subsys->ana_change;
}

enum { ANA_VOID = 0x80 };               /* of a listener's own state: about to be forgotten */

enum ana_own { ANA_OWN_VOID, ANA_OWN_FORGET, ANA_OWN_KEEP };

/* What becomes of the listeners' own states of the group. */
static void ana_own(struct nvmf_subsystem *subsys, unsigned group, enum ana_own how)
{
	struct nvmf_listener *listener;

	list_for_each(listener, &subsys->listeners, link) {
		uint8_t *own = &listener->ana[group - 1];

		if (how == ANA_OWN_VOID)
			*own |= *own ? ANA_VOID : 0;
		else if (how == ANA_OWN_FORGET)
			*own = 0;
		else
			*own &= (uint8_t)~ANA_VOID;
	}
}

int nvmf_ana_create(struct nvmf_subsystem *subsys, unsigned group, uint8_t state)
{
	if (group - 1 >= config.nvmf_ana_groups_max)
		return -ENOSPC;
	if (nvmf_ana_exists(subsys, group))
		return -EEXIST;
	ana_own(subsys, group, ANA_OWN_FORGET);
	subsys->ana[group - 1].exists = true;
	subsys->ana[group - 1].state = state;
	nvmf_ana_touch(subsys, group);
	return 0;
}

static bool ana_in_use(const struct nvmf_subsystem *subsys, unsigned group)
{
	const struct nvmf_ns_table *table = nvmf_ns_table(subsys);
	const struct nvmf_absent *absent;

	for (uint32_t i = 0; i < table->nn; i++)
		if (table->ns[i] && table->ns[i]->ana_group == group)
			return true;
	list_for_each(absent, &subsys->absent, link)
		if (absent->spec.ana_group == group)
			return true;
	return false;
}

int nvmf_ana_delete(struct nvmf_subsystem *subsys, unsigned group)
{
	if (!nvmf_ana_exists(subsys, group))
		return -ENOENT;
	if (group == NVMF_ANA_DEFAULT)
		return -EPERM;
	if (ana_in_use(subsys, group))
		return -EBUSY;
	subsys->ana[group - 1].exists = false;
	subsys->ana_change++;
	return 0;
}

static const struct nvmf_listener *ana_listener(const struct nvmf_subsystem *subsys,
						uint16_t portid)
{
	const struct nvmf_listener *listener;

	list_for_each(listener, &subsys->listeners, link)
		if (listener->port->portid == portid)
			return listener;
	return NULL;
}

uint8_t nvmf_ana_state(const struct nvmf_subsystem *subsys, uint16_t portid, unsigned group)
{
	const struct nvmf_listener *listener = ana_listener(subsys, portid);
	uint8_t own = listener ? listener->ana[group - 1] : 0;

	return own && !(own & ANA_VOID) ? own : subsys->ana[group - 1].state;
}

/* The new state and the views that follow from it; or nothing and -ENOMEM. */
static int ana_apply(struct nvmf_subsystem *subsys, unsigned group, struct nvmf_listener *listener,
		     uint8_t state)
{
	uint8_t *field = listener ? &listener->ana[group - 1] : &subsys->ana[group - 1].state;
	uint8_t old = *field;
	int rc;

	*field = state;
	if (!listener)
		ana_own(subsys, group, ANA_OWN_VOID);
	rc = nvmf_view_prepare(subsys, nvmf_ns_table(subsys));
	if (rc)
		*field = old;
	if (!listener)
		ana_own(subsys, group, rc ? ANA_OWN_KEEP : ANA_OWN_FORGET);
	return rc;
}

static void ana_tell(struct nvmf_subsystem *subsys, const struct nvmf_listener *listener)
{
	struct nvmf_ctrl *ctrl;

	list_for_each(ctrl, &subsys->ctrls, link)
		if (!listener || ctrl->portid == listener->port->portid)
			nvmf_event_raise(ctrl, NVMF_EVENT_ANA);
}

int nvmf_ana_set(struct nvmf_subsystem *subsys, unsigned group, struct nvmf_listener *listener,
		 uint8_t state)
{
	int rc = -ENOENT;

	task_lock(&subsys->lock);
	if (!nvmf_ana_exists(subsys, group))
		goto out;
	rc = ana_apply(subsys, group, listener, state);
	if (rc)
		goto out;
	nvmf_ana_touch(subsys, group);
	ana_tell(subsys, listener);
	nvmf_view_commit(subsys);
out:
	task_unlock(&subsys->lock);
	return rc;
}

/* ---- log page 0Ch: base 2.0c 5.16.1.13 ---- */

enum { ANA_RGO = 1 };                   /* LSP: groups only, without their namespaces */

static bool ana_groups_only(const struct nvmf_req *req)
{
	return le32_get(req->sqe.cdw10) >> NVME_LOG_LSP_SHIFT & ANA_RGO;
}

/* Emits a group's NSIDs from AT on, or only counts them when REQ is NULL. */
static uint32_t ana_nsids(const struct nvmf_ctrl *ctrl, unsigned group, struct nvmf_req *req,
			  uint64_t at)
{
	const struct nvmf_view *view = nvmf_view(ctrl);
	uint32_t count = 0;

	for (uint32_t i = 0; i < view->nn; i++) {
		le32 nsid = le32_make(i + 1);

		if (!view->slots[i].ns || view->slots[i].ns->ana_group != group)
			continue;
		if (req)
			nvmf_req_emit(req, nvmf_log_offset(req), at + count * sizeof(nsid), &nsid,
				      sizeof(nsid));
		count++;
	}
	return count;
}

uint64_t nvmf_ana_log_len(const struct nvmf_req *req)
{
	const struct nvmf_ctrl *ctrl = req->queue->ctrl;
	uint64_t len = sizeof(struct nvme_log_ana);

	for (unsigned g = 1; g <= config.nvmf_ana_groups_max; g++) {
		if (!nvmf_ana_exists(ctrl->subsys, g))
			continue;
		len += sizeof(struct nvme_log_ana_group);
		if (!ana_groups_only(req))
			len += ana_nsids(ctrl, g, NULL, 0) * sizeof(le32);
	}
	return len;
}

void nvmf_ana_log_emit(struct nvmf_req *req)
{
	const struct nvmf_ctrl *ctrl = req->queue->ctrl;
	const struct nvmf_subsystem *subsys = ctrl->subsys;
	uint64_t window = nvmf_log_offset(req), at = sizeof(struct nvme_log_ana);
	struct nvme_log_ana head;
	uint16_t count = 0;

	for (unsigned g = 1; g <= config.nvmf_ana_groups_max; g++) {
		struct nvme_log_ana_group group;
		uint32_t nsids = 0;

		if (!nvmf_ana_exists(subsys, g))
			continue;
		if (!ana_groups_only(req))
			nsids = ana_nsids(ctrl, g, req, at + sizeof(group));
		memset(&group, 0, sizeof(group));
		group.grpid = le32_make(g);
		group.nnsids = le32_make(nsids);
		group.chgcnt = le64_make(subsys->ana[g - 1].change);
		group.state = nvmf_ana_state(subsys, ctrl->portid, g);
		nvmf_req_emit(req, window, at, &group, sizeof(group));
		at += sizeof(group) + nsids * sizeof(le32);
		count++;
	}
	memset(&head, 0, sizeof(head));
	head.chgcnt = le64_make(subsys->ana_change);
	head.ngrps = le16_make(count);
	nvmf_req_emit(req, window, 0, &head, sizeof(head));
}
