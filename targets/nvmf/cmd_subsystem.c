/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the subsystem commands, and who may connect: host. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cmd.h"
#include "targets/nvmf/cmd.h"
#include "targets/nvmf/nvmf.h"

struct nvmf_subsystem *nvmf_cmd_subsystem(struct cmd_ctx *ctx)
{
	const char *nqn = cmd_str(ctx, "NQN");
	struct nvmf_subsystem *subsys;

	if (strcmp(nqn, "discovery") == 0)
		nqn = NVMF_DISCOVERY_NQN;
	subsys = nvmf_subsystem_find(nqn);
	if (!subsys || subsys->deleting) {
		cmd_fail(ctx, -ENOENT, "subsystem %s: there is none; subsystem list shows them",
			 nqn);
		return NULL;
	}
	return subsys;
}

void nvmf_complete_subsystem(struct cmd_complete *c)
{
	struct nvmf_subsystem *subsys;

	list_for_each(subsys, &nvmf_target.subsystems, link)
		if (!subsys->discovery)
			cmd_offer(c, subsys->nqn);
}

int nvmf_cmd_fixed(struct cmd_ctx *ctx, const struct nvmf_subsystem *subsys)
{
	if (!subsys->discovery)
		return 0;
	return cmd_fail(ctx, -EPERM, "subsystem discovery: it is always there and has no "
			"namespaces; only listeners can be changed");
}

/* ---- subsystem ---- */

static int check_text(struct cmd_ctx *ctx, const char *arg, size_t max)
{
	const char *text = cmd_str(ctx, arg);

	if (!text)
		return 0;
	for (size_t i = 0; text[i]; i++)
		if (text[i] < ' ' || text[i] > '~' || i >= max)
			return cmd_fail(ctx, -EINVAL, "%s \"%s\": wants at most %zu printable "
					"ASCII characters", arg, text, max);
	return 0;
}

int nvmf_cmd_subsystem_create(struct cmd_ctx *ctx)
{
	const char *nqn = cmd_str(ctx, "NQN");
	const char *serial = cmd_str(ctx, "serial"), *model = cmd_str(ctx, "model");
	uint16_t cntlid_min = (uint16_t)cmd_u64(ctx, "cntlid-min", 1);
	uint16_t cntlid_max = (uint16_t)cmd_u64(ctx, "cntlid-max", NVME_CNTLID_MAX);
	struct nvmf_subsystem *subsys;
	int rc;

	if (cntlid_min > cntlid_max)
		return cmd_fail(ctx, -EINVAL, "subsystem %s: cntlid-min=%u is above cntlid-max=%u",
				nqn, cntlid_min, cntlid_max);
	if (check_text(ctx, "serial", NVMF_SERIAL_BYTES - 1) ||
	    check_text(ctx, "model", NVMF_MODEL_BYTES - 1))
		return -EINVAL;
	rc = nvmf_subsystem_create(nqn, false, &subsys);
	if (rc == -EINVAL)
		return cmd_fail(ctx, rc, "subsystem %s: not an NQN; take one like "
				"nqn.2024-01.com.example:name", nqn);
	if (rc)
		return cmd_fail(ctx, rc, "subsystem %s: %s", nqn,
				rc == -EEXIST ? "exists already; subsystem list shows it" :
				rc == -ENOSPC ? "the limit of subsystems is reached" :
						strerror(-rc));
	subsys->allow_any = cmd_has(ctx, "allow-any");
	subsys->cntlid_min = subsys->cntlid_next = cntlid_min;
	subsys->cntlid_max = cntlid_max;
	subsys->serial_given = serial;
	subsys->model_given = model;
	if (serial)
		snprintf(subsys->serial, sizeof(subsys->serial), "%s", serial);
	if (model)
		snprintf(subsys->model, sizeof(subsys->model), "%s", model);
	return 0;
}

int nvmf_cmd_subsystem_delete(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	int rc;

	if (!subsys)
		return -ENOENT;
	rc = nvmf_cmd_fixed(ctx, subsys);
	if (rc)
		return rc;
	rc = nvmf_subsystem_delete(subsys, cmd_has(ctx, "force"));
	if (rc == -EBUSY)
		return cmd_fail(ctx, rc, "subsystem %s: %u hosts are connected; add force to "
				"disconnect them", subsys->nqn, subsys->ctrl_count);
	return rc;
}

static unsigned namespace_count(struct nvmf_subsystem *subsys)
{
	const struct nvmf_ns_table *table = nvmf_ns_table(subsys);
	unsigned count = 0;

	for (uint32_t i = 0; i < table->nn; i++)
		count += table->ns[i] != NULL;
	return count;
}

static unsigned list_length(const struct list *head)
{
	unsigned count = 0;

	for (const struct list *l = head->next; l != head; l = l->next)
		count++;
	return count;
}

static void subsystem_row(struct cmd_ctx *ctx, struct nvmf_subsystem *subsys)
{
	cmd_row(ctx);
	cmd_col(ctx, "nqn", "%s", subsys->nqn);
	cmd_col(ctx, "serial", "%s", subsys->serial);
	cmd_col(ctx, "model", "%s", subsys->model);
	cmd_col_u64(ctx, "namespaces", namespace_count(subsys));
	cmd_col_u64(ctx, "listeners", list_length(&subsys->listeners));
	cmd_col(ctx, "hosts", subsys->allow_any ? "any" : "%u", list_length(&subsys->hosts));
	cmd_col_u64(ctx, "sessions", subsys->ctrl_count);
}

int nvmf_cmd_subsystem_list(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys;

	list_for_each(subsys, &nvmf_target.subsystems, link)
		if (!subsys->discovery)
			subsystem_row(ctx, subsys);
	return 0;
}

int nvmf_cmd_subsystem_show(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);

	if (!subsys)
		return -ENOENT;
	cmd_as_record(ctx);
	subsystem_row(ctx, subsys);
	return 0;
}

/* ---- host ---- */

/* NULL: any host. */
static const char *host_name(const char *arg)
{
	return strcmp(arg, "any") == 0 ? NULL : arg;
}

int nvmf_cmd_host_allow(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	const char *host = cmd_str(ctx, "HOSTNQN");
	int rc;

	if (!subsys)
		return -ENOENT;
	rc = nvmf_cmd_fixed(ctx, subsys);
	if (rc)
		return rc;
	rc = nvmf_host_allow(subsys, host_name(host));
	if (rc)
		return cmd_fail(ctx, rc, "host %s: %s", host,
				rc == -EEXIST ? "is allowed already" :
				rc == -EINVAL ? "not an NQN; /etc/nvme/hostnqn of the host has it" :
						strerror(-rc));
	return 0;
}

int nvmf_cmd_host_deny(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	const char *host = cmd_str(ctx, "HOSTNQN");
	int rc;

	if (!subsys)
		return -ENOENT;
	rc = nvmf_cmd_fixed(ctx, subsys);
	if (rc)
		return rc;
	rc = nvmf_host_deny(subsys, host_name(host));
	if (rc)
		return cmd_fail(ctx, rc, "host %s: is not allowed %s; host list shows who is",
				host, host_name(host) ? "by name" : "in general");
	return 0;
}

int nvmf_cmd_host_list(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys;
	struct nvmf_host *host;

	list_for_each(subsys, &nvmf_target.subsystems, link) {
		if (subsys->discovery)
			continue;
		if (subsys->allow_any) {
			cmd_row(ctx);
			cmd_col(ctx, "subsystem", "%s", subsys->nqn);
			cmd_col(ctx, "host", "any");
		}
		list_for_each(host, &subsys->hosts, link) {
			cmd_row(ctx);
			cmd_col(ctx, "subsystem", "%s", subsys->nqn);
			cmd_col(ctx, "host", "%s", host->nqn);
		}
	}
	return 0;
}
