/* SPDX-License-Identifier: BSD-3-Clause */
/* Views: what each controller's host may use of its subsystem's namespaces. See view.h. */
#include "targets/nvmf/view.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/panic.h"
#include "targets/nvmf/ana.h"
#include "targets/nvmf/nvmf.h"

struct nvmf_view *nvmf_view_make(const struct nvmf_ctrl *ctrl, const struct nvmf_ns_table *table)
{
	struct nvmf_view *view = calloc(1, sizeof(*view) + table->nn * sizeof(view->slots[0]));

	if (!view)
		return NULL;
	view->nn = table->nn;
	for (uint32_t i = 0; i < table->nn; i++) {
		struct nvmf_view_slot *slot = &view->slots[i];
		struct nvmf_ns *ns = table->ns[i];

		if (!ns || !nvmf_host_sees(ns, ctrl->hostnqn))
			continue;
		slot->ns = ns;
		slot->ana_state = nvmf_ana_state(ctrl->subsys, ctrl->portid, ns->ana_group);
		slot->status = nvmf_ana_status(slot->ana_state);
	}
	return view;
}

int nvmf_view_prepare(struct nvmf_subsystem *subsys, const struct nvmf_ns_table *table)
{
	struct nvmf_ctrl *ctrl, *undo;

	list_for_each(ctrl, &subsys->ctrls, link) {
		ASSERT(!ctrl->view_next);
		ctrl->view_next = nvmf_view_make(ctrl, table);
		if (ctrl->view_next)
			continue;
		list_for_each(undo, &subsys->ctrls, link) {
			free(undo->view_next);
			undo->view_next = NULL;
		}
		return -ENOMEM;
	}
	return 0;
}

static const struct nvmf_ns *view_ns(const struct nvmf_view *view, uint32_t i)
{
	return i < view->nn ? view->slots[i].ns : NULL;
}

/* The old view goes to view_next, which ctrl_destroy frees too: nobody reads it then either. */
static void view_switch(struct nvmf_ctrl *ctrl)
{
	struct nvmf_view *old = atomic_load_explicit(&ctrl->view, memory_order_relaxed);
	struct nvmf_view *view = ctrl->view_next;
	bool changed = false;

	ctrl->view_next = old;
	atomic_store_explicit(&ctrl->view, view, memory_order_release);
	for (uint32_t i = 0; i < MAX(old->nn, view->nn); i++) {
		if (view_ns(old, i) == view_ns(view, i))
			continue;
		nvmf_event_ns_note(ctrl, i + 1);
		changed = true;
	}
	if (changed)
		nvmf_event_raise(ctrl, NVMF_EVENT_NS_CHANGED);
}

void nvmf_view_commit(struct nvmf_subsystem *subsys)
{
	struct nvmf_ctrl *ctrl;

	list_for_each(ctrl, &subsys->ctrls, link)
		view_switch(ctrl);
	task_barrier();
	/* who connected meanwhile has none */
	list_for_each(ctrl, &subsys->ctrls, link) {
		free(ctrl->view_next);
		ctrl->view_next = NULL;
	}
}

const struct nvmf_view_slot *nvmf_view_find(const struct nvmf_ctrl *ctrl, uint32_t nsid)
{
	const struct nvmf_view *view = nvmf_view(ctrl);

	return nsid - 1 < view->nn && view->slots[nsid - 1].ns ? &view->slots[nsid - 1] : NULL;
}
