/* SPDX-License-Identifier: BSD-3-Clause */
/* The target as a module: its start, its end, and its configuration as commands. */
#include "targets/nvmf/module.h"

#include <stdio.h>
#include <string.h>

#include "core/cmd.h"
#include "targets/nvmf/nvmf.h"

int nvmf_module_init(void)
{
	nvmf_queue_setup();
	nvmf_balance_init();
	list_init(&nvmf_target.subsystems);
	list_init(&nvmf_target.ports);
	list_init(&nvmf_target.transports);
	event_init(&nvmf_target.conn_gone);
	nvmf_target.genctr = 0;
	nvmf_absent_init();
	return nvmf_discovery_init();
}

void nvmf_module_fini(void)
{
	struct nvmf_subsystem *subsys, *tmp;

	nvmf_balance_stop();
	nvmf_absent_fini();
	list_for_each_safe(subsys, tmp, &nvmf_target.subsystems, link)
		if (!subsys->discovery)
			nvmf_subsystem_delete(subsys, true);
	subsys = nvmf_target.discovery;
	nvmf_target.discovery = NULL;
	nvmf_subsystem_delete(subsys, true);
}

static void config_namespaces(struct config_out *out, struct nvmf_subsystem *subsys)
{
	const struct nvmf_ns_table *table = nvmf_ns_table(subsys);

	for (uint32_t i = 0; i < table->nn; i++) {
		const struct nvmf_ns *ns = table->ns[i];
		char uuid[UUID_TEXT_BYTES], nguid[UUID_TEXT_BYTES];
		struct uuid id;

		if (!ns)
			continue;
		memcpy(&id, ns->nguid, sizeof(id));
		uuid_format(&ns->uuid, uuid);
		uuid_format(&id, nguid);
		config_line(out, "namespace add %s disk=%s nsid=%u%s%s%s%s", subsys->nqn,
			    ns->bdev->name, ns->nsid, ns->uuid_given ? " uuid=" : "",
			    ns->uuid_given ? uuid : "", ns->nguid_given ? " nguid=" : "",
			    ns->nguid_given ? nguid : "");
	}
}

/* Those whose disk is not there stay in the configuration. */
static void config_absent(struct config_out *out, struct nvmf_subsystem *subsys)
{
	const struct nvmf_absent *absent;

	list_for_each(absent, &subsys->absent, link) {
		char uuid[UUID_TEXT_BYTES], nguid[UUID_TEXT_BYTES];

		uuid_format(&absent->uuid, uuid);
		uuid_format(&absent->nguid, nguid);
		config_line(out, "namespace add %s disk=%s nsid=%u%s%s%s%s", subsys->nqn,
			    absent->disk, absent->nsid, absent->uuid_given ? " uuid=" : "",
			    absent->uuid_given ? uuid : "", absent->nguid_given ? " nguid=" : "",
			    absent->nguid_given ? nguid : "");
	}
}

static void config_subsystem(struct config_out *out, struct nvmf_subsystem *subsys)
{
	char serial[64], model[96], quoted[64];
	struct nvmf_host *host;

	serial[0] = model[0] = 0;
	if (subsys->serial_given)
		snprintf(serial, sizeof(serial), " serial=%s",
			 cmd_quote(subsys->serial, quoted, sizeof(quoted)));
	if (subsys->model_given)
		snprintf(model, sizeof(model), " model=%s",
			 cmd_quote(subsys->model, quoted, sizeof(quoted)));
	config_line(out, "subsystem create %s%s%s%s", subsys->nqn, serial, model,
		    subsys->allow_any ? " allow-any" : "");
	config_namespaces(out, subsys);
	config_absent(out, subsys);
	list_for_each(host, &subsys->hosts, link)
		config_line(out, "host allow %s %s", subsys->nqn, host->nqn);
}

void nvmf_config(struct config_out *out)
{
	struct nvmf_subsystem *subsys;
	struct nvmf_listener *listener;
	char addr[ADDR_TEXT_BYTES];

	list_for_each(subsys, &nvmf_target.subsystems, link) {
		if (!subsys->discovery)
			config_subsystem(out, subsys);
		list_for_each(listener, &subsys->listeners, link) {
			addr_format(&listener->port->listener.addr, addr);
			config_line(out, "listener add %s transport=%s address=%s port=%u",
				    subsys->discovery ? "discovery" : subsys->nqn,
				    listener->port->transport->name, addr,
				    listener->port->listener.addr.port);
		}
	}
}
