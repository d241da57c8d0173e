/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the ana commands: groups of namespaces and the state of the paths to them. */
#include <errno.h>
#include <string.h>

#include "core/cmd.h"
#include "core/config.h"
#include "targets/nvmf/cmd.h"
#include "targets/nvmf/nvmf.h"

static unsigned ana_group(struct cmd_ctx *ctx)
{
	return (unsigned)cmd_u64(ctx, "GROUP", 0);
}

static int ana_fail(struct cmd_ctx *ctx, const struct nvmf_subsystem *subsys, int rc)
{
	unsigned group = ana_group(ctx);

	switch (rc) {
	case 0:
		return 0;
	case -EEXIST:
		return cmd_fail(ctx, rc, "ana group %u of %s: exists already; ana set changes its "
				"state", group, subsys->nqn);
	case -ENOSPC:
		return cmd_fail(ctx, rc, "ana group %u of %s: past the limit; the highest is %u",
				group, subsys->nqn, config.nvmf_ana_groups_max);
	case -ENOENT:
		return cmd_fail(ctx, rc, "ana group %u of %s: there is none; ana list shows them, "
				"ana create makes one", group, subsys->nqn);
	case -EPERM:
		return cmd_fail(ctx, rc, "ana group %u of %s: it is always there; namespaces that "
				"name no group are in it", group, subsys->nqn);
	case -EBUSY:
		return cmd_fail(ctx, rc, "ana group %u of %s: namespaces are in it; remove them "
				"first", group, subsys->nqn);
	default:
		return cmd_fail(ctx, rc, "ana group %u of %s: %s", group, subsys->nqn,
				strerror(-rc));
	}
}

/* NULL after an error message. */
static struct nvmf_subsystem *ana_subsystem(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);

	return subsys && nvmf_cmd_fixed(ctx, subsys) == 0 ? subsys : NULL;
}

int nvmf_cmd_ana_create(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = ana_subsystem(ctx);
	uint8_t state = nvmf_ana_of_index((unsigned)cmd_u64(ctx, "state", 0));

	if (!subsys)
		return -ENOENT;
	return ana_fail(ctx, subsys, nvmf_ana_create(subsys, ana_group(ctx), state));
}

int nvmf_cmd_ana_delete(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = ana_subsystem(ctx);

	if (!subsys)
		return -ENOENT;
	return ana_fail(ctx, subsys, nvmf_ana_delete(subsys, ana_group(ctx)));
}

int nvmf_cmd_ana_set(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = ana_subsystem(ctx);
	uint8_t state = nvmf_ana_of_index((unsigned)cmd_u64(ctx, "state", 0));
	struct nvmf_listener *listener = NULL;

	if (!subsys)
		return -ENOENT;
	if (cmd_has(ctx, "address")) {
		listener = nvmf_cmd_listener(ctx, subsys);
		if (!listener)
			return -ENOENT;
	} else if (cmd_has(ctx, "transport") || cmd_has(ctx, "port")) {
		return cmd_fail(ctx, -EINVAL, "ana set: address= is needed to name a listener; "
				"leave transport and port out to set the group's state everywhere");
	}
	return ana_fail(ctx, subsys, nvmf_ana_set(subsys, ana_group(ctx), listener, state));
}

static void ana_row(struct cmd_ctx *ctx, const struct nvmf_subsystem *subsys, unsigned group,
		    const struct nvmf_listener *listener)
{
	char addr[ADDR_TEXT_BYTES] = "-";
	uint8_t state = subsys->ana[group - 1].state;
	unsigned count = 0;

	for (uint32_t i = 0; i < nvmf_ns_table(subsys)->nn; i++) {
		const struct nvmf_ns *ns = nvmf_ns_table(subsys)->ns[i];

		count += ns && ns->ana_group == group;
	}
	if (listener) {
		addr_format_port(&listener->port->listener.addr, addr);
		state = nvmf_ana_state(subsys, listener->port->portid, group);
	}
	cmd_row(ctx);
	cmd_col(ctx, "subsystem", "%s", subsys->nqn);
	cmd_col_u64(ctx, "group", group);
	cmd_col(ctx, "transport", "%s", listener ? listener->port->transport->name : "-");
	cmd_col(ctx, "listener", "%s", addr);
	cmd_col(ctx, "state", "%s", nvmf_ana_name(state));
	cmd_col_u64(ctx, "namespaces", count);
	cmd_col_u64(ctx, "changes", subsys->ana[group - 1].change);
}

/* A row for each listener, since that is where a host sees a state; one when there is none. */
int nvmf_cmd_ana_list(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys;
	struct nvmf_listener *listener;

	list_for_each(subsys, &nvmf_target.subsystems, link) {
		if (subsys->discovery)
			continue;
		for (unsigned g = 1; g <= config.nvmf_ana_groups_max; g++) {
			if (!nvmf_ana_exists(subsys, g))
				continue;
			if (list_empty(&subsys->listeners))
				ana_row(ctx, subsys, g, NULL);
			list_for_each(listener, &subsys->listeners, link)
				ana_row(ctx, subsys, g, listener);
		}
	}
	return 0;
}
