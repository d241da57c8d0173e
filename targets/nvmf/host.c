/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which hosts may use a subsystem, and which of its private namespaces. Reactor 0, where Connect
 * runs. Taking a right away disconnects the host, or hides the namespace from it, at once.
 */
#include "targets/nvmf/nvmf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct nvmf_host *host_find(const struct list *hosts, const char *nqn)
{
	struct nvmf_host *host;

	list_for_each(host, hosts, link)
		if (strcmp(host->nqn, nqn) == 0)
			return host;
	return NULL;
}

static int host_add(struct list *hosts, const char *nqn)
{
	struct nvmf_host *host;

	if (!nvmf_nqn_valid(nqn))
		return -EINVAL;
	if (host_find(hosts, nqn))
		return -EEXIST;
	host = calloc(1, sizeof(*host));
	if (!host)
		return -ENOMEM;
	snprintf(host->nqn, sizeof(host->nqn), "%s", nqn);
	list_push(hosts, &host->link);
	return 0;
}

static void host_drop(struct nvmf_host *host)
{
	list_del(&host->link);
	free(host);
}

/* ---- subsystems ---- */

bool nvmf_host_allowed(const struct nvmf_subsystem *subsys, const char *nqn)
{
	return subsys->allow_any || host_find(&subsys->hosts, nqn);
}

int nvmf_host_allow(struct nvmf_subsystem *subsys, const char *nqn)
{
	int rc = 0;

	if (nqn)
		rc = host_add(&subsys->hosts, nqn);
	else if (subsys->allow_any)
		rc = -EEXIST;
	else
		subsys->allow_any = true;
	if (rc == 0)
		nvmf_discovery_changed();
	return rc;
}

int nvmf_host_deny(struct nvmf_subsystem *subsys, const char *nqn)
{
	struct nvmf_host *host = nqn ? host_find(&subsys->hosts, nqn) : NULL;
	struct nvmf_ctrl *ctrl, *tmp;

	if (nqn ? !host : !subsys->allow_any)
		return -ENOENT;
	if (host)
		host_drop(host);
	else
		subsys->allow_any = false;
	list_for_each_safe(ctrl, tmp, &subsys->ctrls, link)
		if (!nvmf_host_allowed(subsys, ctrl->hostnqn))
			nvmf_ctrl_kill(ctrl, "the host is not allowed any more");
	nvmf_discovery_changed();
	return 0;
}

/* ---- private namespaces ---- */

bool nvmf_host_sees(const struct nvmf_ns *ns, const char *nqn)
{
	return !ns->spec.private || host_find(&ns->grants, nqn);
}

void nvmf_grants_free(struct list *grants)
{
	struct nvmf_host *host;

	while ((host = list_pop_entry(grants, struct nvmf_host, link)))
		free(host);
}

struct list *nvmf_ns_grants(struct nvmf_subsystem *subsys, uint32_t nsid, bool *is_private)
{
	struct nvmf_absent *absent = nvmf_absent_find(subsys, nsid);
	struct nvmf_ns *ns = nvmf_ns_find(subsys, nsid);

	if (!ns && !absent)
		return NULL;
	*is_private = ns ? ns->spec.private : absent->spec.private;
	return ns ? &ns->grants : &absent->grants;
}

/* Under the lock: the namespace's list of hosts, or an error. */
static int grants_find(struct nvmf_subsystem *subsys, uint32_t nsid, struct list **grants)
{
	bool is_private;

	*grants = nvmf_ns_grants(subsys, nsid, &is_private);
	if (!*grants)
		return -ENOENT;
	return is_private ? 0 : -EPERM;
}

int nvmf_ns_grant(struct nvmf_subsystem *subsys, uint32_t nsid, const char *nqn)
{
	struct list *grants;
	int rc;

	task_lock(&subsys->lock);
	rc = grants_find(subsys, nsid, &grants);
	if (rc == 0)
		rc = host_add(grants, nqn);
	if (rc)
		goto out;
	rc = nvmf_view_prepare(subsys, nvmf_ns_table(subsys));
	if (rc)
		host_drop(host_find(grants, nqn));
	else
		nvmf_view_commit(subsys);
out:
	task_unlock(&subsys->lock);
	return rc;
}

int nvmf_ns_revoke(struct nvmf_subsystem *subsys, uint32_t nsid, const char *nqn)
{
	struct nvmf_host *host;
	struct list *grants;
	struct nvmf_ns *ns;
	int rc;

	task_lock(&subsys->lock);
	rc = grants_find(subsys, nsid, &grants);
	if (rc)
		goto out;
	host = host_find(grants, nqn);
	if (!host) {
		rc = -ESRCH;
		goto out;
	}
	list_del(&host->link);
	rc = nvmf_view_prepare(subsys, nvmf_ns_table(subsys));
	if (rc) {
		list_push(grants, &host->link);
		goto out;
	}
	nvmf_view_commit(subsys);
	ns = nvmf_ns_find(subsys, nsid);
	if (ns)
		nvmf_queue_revoke_ns(ns, host->nqn);
	free(host);
out:
	task_unlock(&subsys->lock);
	return rc;
}
