/* SPDX-License-Identifier: BSD-3-Clause */
/* The target as a module: its start, its end, and its configuration as commands. */
#include "targets/nvmf/module.h"

#include <stdio.h>
#include <string.h>

#include "core/cmd.h"
#include "core/config.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvmf.h"

int nvmf_module_init(void)
{
	int rc;

	nvmf_queue_setup();
	nvmf_balance_init();
	list_init(&nvmf_target.subsystems);
	list_init(&nvmf_target.ports);
	list_init(&nvmf_target.transports);
	list_init(&nvmf_target.referrals);
	event_init(&nvmf_target.conn_gone);
	nvmf_target.genctr = 0;
	rc = nvmf_abort_init();
	if (rc)
		return rc;
	nvmf_resv_init();
	nvmf_absent_init();
	return nvmf_discovery_init();
}

void nvmf_module_fini(void)
{
	struct nvmf_subsystem *subsys, *tmp;

	nvmf_balance_stop();
	nvmf_absent_fini();
	nvmf_referral_clear();
	list_for_each_safe(subsys, tmp, &nvmf_target.subsystems, link)
		if (!subsys->discovery)
			nvmf_subsystem_delete(subsys, true);
	subsys = nvmf_target.discovery;
	nvmf_target.discovery = NULL;
	nvmf_subsystem_delete(subsys, true);
	nvmf_resv_fini();
	nvmf_abort_fini();
}

/* One that waits for its disk stays in the configuration too. */
static void config_namespace(struct config_out *out, const struct nvmf_subsystem *subsys,
			     const char *disk, uint32_t nsid, const struct nvmf_ns_spec *spec,
			     const struct list *grants)
{
	char uuid[UUID_TEXT_BYTES], nguid[UUID_TEXT_BYTES], group[32] = "";
	const struct nvmf_host *host;
	struct uuid id;

	memcpy(&id, spec->nguid, sizeof(id));
	uuid_format(&spec->uuid, uuid);
	uuid_format(&id, nguid);
	if (spec->ana_group)
		snprintf(group, sizeof(group), " ana-group=%u", spec->ana_group);
	config_line(out, "namespace add %s disk=%s nsid=%u%s%s%s%s%s%s", subsys->nqn, disk, nsid,
		    spec->uuid_given ? " uuid=" : "", spec->uuid_given ? uuid : "",
		    spec->nguid_given ? " nguid=" : "", spec->nguid_given ? nguid : "", group,
		    spec->private ? " private" : "");
	list_for_each(host, grants, link)
		config_line(out, "namespace grant %s %u %s", subsys->nqn, nsid, host->nqn);
}

static void config_namespaces(struct config_out *out, const struct nvmf_subsystem *subsys)
{
	const struct nvmf_ns_table *table = nvmf_ns_table(subsys);
	const struct nvmf_absent *absent;

	for (uint32_t i = 0; i < table->nn; i++) {
		const struct nvmf_ns *ns = table->ns[i];

		if (ns)
			config_namespace(out, subsys, ns->bdev->name, ns->nsid, &ns->spec,
					 &ns->grants);
	}
	list_for_each(absent, &subsys->absent, link)
		config_namespace(out, subsys, absent->disk, absent->nsid, &absent->spec,
				 &absent->grants);
}

static void config_ana_groups(struct config_out *out, const struct nvmf_subsystem *subsys)
{
	for (unsigned g = 1; g <= config.nvmf_ana_groups_max; g++) {
		const char *state;

		if (!nvmf_ana_exists(subsys, g))
			continue;
		state = nvmf_ana_name(subsys->ana[g - 1].state);
		if (g != NVMF_ANA_DEFAULT)
			config_line(out, "ana create %s %u state=%s", subsys->nqn, g, state);
		else if (subsys->ana[g - 1].state != NVME_ANA_OPTIMIZED)
			config_line(out, "ana set %s %u state=%s", subsys->nqn, g, state);
	}
}

static void config_listener(struct config_out *out, const struct nvmf_subsystem *subsys,
			    const struct nvmf_listener *listener)
{
	const struct nvmf_port *port = listener->port;
	char addr[ADDR_TEXT_BYTES];

	addr_format(&port->listener.addr, addr);
	config_line(out, "listener add %s transport=%s address=%s port=%u",
		    subsys->discovery ? "discovery" : subsys->nqn, port->transport->name, addr,
		    port->listener.addr.port);
	for (unsigned g = 1; g <= config.nvmf_ana_groups_max; g++)
		if (nvmf_ana_exists(subsys, g) && listener->ana[g - 1])
			config_line(out, "ana set %s %u state=%s transport=%s address=%s port=%u",
				    subsys->nqn, g, nvmf_ana_name(listener->ana[g - 1]),
				    port->transport->name, addr, port->listener.addr.port);
}

static void config_subsystem(struct config_out *out, struct nvmf_subsystem *subsys)
{
	/* each character may be one that is quoted */
	char quoted[2 * NVMF_MODEL_BYTES + 3], serial[sizeof(quoted) + 16];
	char model[sizeof(quoted) + 16], cntlid[64];
	struct nvmf_host *host;

	serial[0] = model[0] = cntlid[0] = 0;
	if (subsys->serial_given)
		snprintf(serial, sizeof(serial), " serial=%s",
			 cmd_quote(subsys->serial, quoted, sizeof(quoted)));
	if (subsys->model_given)
		snprintf(model, sizeof(model), " model=%s",
			 cmd_quote(subsys->model, quoted, sizeof(quoted)));
	if (subsys->cntlid_min != 1 || subsys->cntlid_max != NVME_CNTLID_MAX)
		snprintf(cntlid, sizeof(cntlid), " cntlid-min=%u cntlid-max=%u", subsys->cntlid_min,
			 subsys->cntlid_max);
	config_line(out, "subsystem create %s%s%s%s%s", subsys->nqn, serial, model, cntlid,
		    subsys->allow_any ? " allow-any" : "");
	config_ana_groups(out, subsys);
	config_namespaces(out, subsys);
	list_for_each(host, &subsys->hosts, link)
		config_line(out, "host allow %s %s", subsys->nqn, host->nqn);
}

void nvmf_config(struct config_out *out)
{
	struct nvmf_subsystem *subsys;
	const struct nvmf_referral *referral;
	struct nvmf_listener *listener;

	list_for_each(subsys, &nvmf_target.subsystems, link) {
		if (!subsys->discovery)
			config_subsystem(out, subsys);
		list_for_each(listener, &subsys->listeners, link)
			config_listener(out, subsys, listener);
	}
	list_for_each(referral, &nvmf_target.referrals, link) {
		char addr[ADDR_TEXT_BYTES];

		addr_format(&referral->addr, addr);
		config_line(out, "referral add transport=%s address=%s port=%u",
			    nvmf_referral_transport(referral), addr, referral->addr.port);
	}
}
