/* SPDX-License-Identifier: BSD-3-Clause */
/* Subsystems: the list of them, their names, creation and deletion. Reactor 0. */
#include "targets/nvmf/nvmf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/config.h"

#define MODEL_DEFAULT "Karst"

struct nvmf_target nvmf_target;

/* base 2.0c 4.5: "nqn.", at most 223 bytes of UTF-8; we want printable text without spaces */
bool nvmf_nqn_valid(const char *nqn)
{
	size_t len = strnlen(nqn, NVMF_NQN_BYTES);

	if (len < 5 || len >= NVMF_NQN_BYTES || strncmp(nqn, "nqn.", 4) != 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)nqn[i] <= ' ' || nqn[i] == 0x7f)
			return false;
	return true;
}

struct nvmf_subsystem *nvmf_subsystem_find(const char *nqn)
{
	struct nvmf_subsystem *subsys;

	list_for_each(subsys, &nvmf_target.subsystems, link)
		if (strcmp(subsys->nqn, nqn) == 0)
			return subsys;
	return NULL;
}

static unsigned subsystem_count(void)
{
	struct nvmf_subsystem *subsys;
	unsigned count = 0;

	list_for_each(subsys, &nvmf_target.subsystems, link)
		count += !subsys->discovery;
	return count;
}

/* Stable, and different for each name: hosts see one machine's subsystems apart by it. */
static void subsystem_serial(struct nvmf_subsystem *subsys)
{
	struct uuid uuid = uuid_from_name("nvmf-serial", subsys->nqn, strlen(subsys->nqn));

	for (unsigned i = 0; i < 8; i++)
		snprintf(subsys->serial + 2 * i, 3, "%02X", uuid.b[i]);
}

int nvmf_subsystem_create(const char *nqn, bool discovery, struct nvmf_subsystem **result)
{
	struct nvmf_subsystem *subsys;
	struct nvmf_ns_table *table;

	if (!nvmf_nqn_valid(nqn))
		return -EINVAL;
	if (nvmf_subsystem_find(nqn))
		return -EEXIST;
	if (!discovery && subsystem_count() >= config.nvmf_subsystems_max)
		return -ENOSPC;
	subsys = calloc(1, sizeof(*subsys));
	table = calloc(1, sizeof(*table));
	if (!subsys || !table)
		goto no_memory;
	list_init(&subsys->listeners);
	if (nvmf_ana_init(subsys))
		goto no_memory;
	snprintf(subsys->nqn, sizeof(subsys->nqn), "%s", nqn);
	snprintf(subsys->model, sizeof(subsys->model), "%s", MODEL_DEFAULT);
	subsystem_serial(subsys);
	subsys->discovery = discovery;
	subsys->cntlid_min = subsys->cntlid_next = 1;
	subsys->cntlid_max = NVME_CNTLID_MAX;
	subsys->table = table;
	list_init(&subsys->hosts);
	list_init(&subsys->ctrls);
	list_init(&subsys->absent);
	task_lock_init(&subsys->lock);
	event_init(&subsys->ctrl_gone);
	list_push(&nvmf_target.subsystems, &subsys->link);
	nvmf_discovery_changed();
	*result = subsys;
	return 0;
no_memory:
	free(subsys);
	free(table);
	return -ENOMEM;
}

/* In a task: disconnects all hosts and waits until they are gone. */
static void subsystem_disconnect(struct nvmf_subsystem *subsys)
{
	struct nvmf_ctrl *ctrl, *tmp;

	for (;;) {
		list_for_each_safe(ctrl, tmp, &subsys->ctrls, link)
			nvmf_ctrl_kill(ctrl, "the subsystem is deleted");
		if (list_empty(&subsys->ctrls))
			return;
		event_clear(&subsys->ctrl_gone);
		task_wait(&subsys->ctrl_gone);
	}
}

int nvmf_subsystem_delete(struct nvmf_subsystem *subsys, bool force)
{
	struct nvmf_absent *absent;

	if (subsys->deleting)
		return -EINPROGRESS;
	if (!force && !list_empty(&subsys->ctrls))
		return -EBUSY;
	subsys->deleting = true;
	nvmf_listener_clear(subsys);
	subsystem_disconnect(subsys);
	for (uint32_t nsid = 1; nsid <= nvmf_ns_table(subsys)->nn; nsid++)
		if (nvmf_ns_find(subsys, nsid))
			nvmf_ns_remove(subsys, nsid);
	nvmf_grants_free(&subsys->hosts);
	list_del(&subsys->link);
	nvmf_discovery_changed();
	/* who waits for the lock found its namespace gone */
	task_lock(&subsys->lock);
	while ((absent = list_first_entry(&subsys->absent, struct nvmf_absent, link)))
		nvmf_absent_drop(absent);
	task_unlock(&subsys->lock);
	free(subsys->table);
	nvmf_ana_fini(subsys);
	free(subsys);
	return 0;
}
