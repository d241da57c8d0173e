/* SPDX-License-Identifier: BSD-3-Clause */
/* Which hosts may use a subsystem. Reactor 0, where Connect runs. */
#include "targets/nvmf/nvmf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct nvmf_host *host_find(const struct nvmf_subsystem *subsys, const char *nqn)
{
	struct nvmf_host *host;

	list_for_each(host, &subsys->hosts, link)
		if (strcmp(host->nqn, nqn) == 0)
			return host;
	return NULL;
}

bool nvmf_host_allowed(const struct nvmf_subsystem *subsys, const char *nqn)
{
	return subsys->allow_any || host_find(subsys, nqn);
}

int nvmf_host_allow(struct nvmf_subsystem *subsys, const char *nqn)
{
	struct nvmf_host *host;

	if (!nvmf_nqn_valid(nqn))
		return -EINVAL;
	if (host_find(subsys, nqn))
		return -EEXIST;
	host = calloc(1, sizeof(*host));
	if (!host)
		return -ENOMEM;
	snprintf(host->nqn, sizeof(host->nqn), "%s", nqn);
	list_push(&subsys->hosts, &host->link);
	nvmf_discovery_changed();
	return 0;
}

int nvmf_host_deny(struct nvmf_subsystem *subsys, const char *nqn)
{
	struct nvmf_host *host = host_find(subsys, nqn);
	struct nvmf_ctrl *ctrl, *tmp;

	if (!host)
		return -ENOENT;
	list_del(&host->link);
	free(host);
	list_for_each_safe(ctrl, tmp, &subsys->ctrls, link)
		if (!nvmf_host_allowed(subsys, ctrl->hostnqn))
			nvmf_ctrl_kill(ctrl, "the host is not allowed any more");
	nvmf_discovery_changed();
	return 0;
}
