/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller's view: which namespaces its host may use, and in which ANA state they are where it
 * came in. Immutable: a change of namespaces, grants or ANA states makes new ones for all
 * controllers of the subsystem, publishes them, waits for task_barrier, and frees the old. Readers
 * take ctrl->view once per request: that is all that masking and ANA cost them.
 */
#ifndef NVMF_VIEW_H
#define NVMF_VIEW_H

#include <stdbool.h>
#include <stdint.h>

struct nvmf_ctrl;
struct nvmf_ns;
struct nvmf_ns_table;
struct nvmf_subsystem;

struct nvmf_view_slot {
	struct nvmf_ns *ns;             /* NULL: none, or hidden */
	uint16_t status;                /* what commands to it end with; 0: they may go on */
	uint8_t ana_state;              /* enum nvme_ana_state */
};

struct nvmf_view {
	uint32_t nn;                    /* highest NSID */
	struct nvmf_view_slot slots[];  /* by NSID - 1 */
};

/* NULL: no memory. */
struct nvmf_view *nvmf_view_make(const struct nvmf_ctrl *ctrl, const struct nvmf_ns_table *table);
/*
 * In a task under the subsystem's lock. Prepare makes the new view of each controller: -ENOMEM, and
 * nothing has happened. Commit, called without waiting in between, publishes them, tells the hosts
 * whose namespaces changed, and returns when nobody reads the old ones.
 */
int nvmf_view_prepare(struct nvmf_subsystem *subsys, const struct nvmf_ns_table *table);
void nvmf_view_commit(struct nvmf_subsystem *subsys);
/* On reactor 0. NULL: not active for this controller. */
const struct nvmf_view_slot *nvmf_view_find(const struct nvmf_ctrl *ctrl, uint32_t nsid);
#endif
