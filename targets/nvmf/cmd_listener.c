/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the listener commands: where subsystems are offered. */
#include <errno.h>
#include <string.h>

#include "core/cmd.h"
#include "targets/nvmf/cmd.h"
#include "targets/nvmf/nvmf.h"

/* NULL after an error message. */
static struct nvmf_transport *listener_transport(struct cmd_ctx *ctx)
{
	const char *given = cmd_str(ctx, "transport"), *name = given ? given : "tcp";
	struct nvmf_transport *transport = nvmf_transport_find(name);

	if (!transport)
		cmd_fail(ctx, -EPROTONOSUPPORT, "transport %s: is not built into this firmware",
			 name);
	return transport;
}

static struct net_addr listener_addr(struct cmd_ctx *ctx)
{
	struct net_addr addr = *cmd_addr(ctx, "address");

	addr.port = (uint16_t)cmd_u64(ctx, "port", NVMF_PORT);
	return addr;
}

struct nvmf_listener *nvmf_cmd_listener(struct cmd_ctx *ctx, struct nvmf_subsystem *subsys)
{
	struct nvmf_transport *transport = listener_transport(ctx);
	struct nvmf_listener *listener;
	char text[ADDR_TEXT_BYTES];
	struct net_addr addr;

	if (!transport)
		return NULL;
	addr = listener_addr(ctx);
	listener = nvmf_listener_find(subsys, transport, &addr);
	addr_format_port(&addr, text);
	if (!listener)
		cmd_fail(ctx, -ENOENT, "listener %s of %s: there is none; listener list shows them",
			 text, subsys->nqn);
	return listener;
}

int nvmf_cmd_listener_add(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	struct nvmf_transport *transport;
	struct net_addr addr;
	char text[ADDR_TEXT_BYTES];
	int rc;

	if (!subsys)
		return -ENOENT;
	transport = listener_transport(ctx);
	if (!transport)
		return -EPROTONOSUPPORT;
	addr = listener_addr(ctx);
	rc = nvmf_listener_add(subsys, transport, &addr);
	addr_format_port(&addr, text);
	if (rc == -EEXIST)
		return cmd_fail(ctx, rc, "listener %s of %s: exists already", text, subsys->nqn);
	if (rc)
		return cmd_fail(ctx, rc, "listener %s of %s: %s", text, subsys->nqn,
				strerror(-rc));
	rc = nvmf_listener_error(subsys, transport, &addr);
	if (rc)
		cmd_line(ctx, "listener %s: cannot listen: %s; will go on trying, see listener "
			 "list", text, nvmf_listen_text(transport, rc));
	return 0;
}

int nvmf_cmd_listener_remove(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	struct nvmf_transport *transport;
	struct net_addr addr;
	char text[ADDR_TEXT_BYTES];
	int rc;

	if (!subsys)
		return -ENOENT;
	transport = listener_transport(ctx);
	if (!transport)
		return -EPROTONOSUPPORT;
	addr = listener_addr(ctx);
	rc = nvmf_listener_remove(subsys, transport, &addr);
	addr_format_port(&addr, text);
	return rc ? cmd_fail(ctx, rc, "listener %s of %s: there is none; listener list shows them",
			     text, subsys->nqn) : 0;
}

int nvmf_cmd_listener_list(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys;
	struct nvmf_listener *listener;
	char text[ADDR_TEXT_BYTES];

	list_for_each(subsys, &nvmf_target.subsystems, link) {
		list_for_each(listener, &subsys->listeners, link) {
			const struct nvmf_port *port = listener->port;

			addr_format(&port->listener.addr, text);
			cmd_row(ctx);
			cmd_col(ctx, "subsystem", "%s",
				subsys->discovery ? "discovery" : subsys->nqn);
			cmd_col(ctx, "transport", "%s", port->transport->name);
			cmd_col(ctx, "address", "%s", text);
			cmd_col_u64(ctx, "port", port->listener.addr.port);
			if (port->state == NVMF_PORT_LISTENING)
				cmd_col(ctx, "state", "listening");
			else if (port->state == NVMF_PORT_STOPPED)
				cmd_col(ctx, "state", "stopped");
			else
				cmd_col(ctx, "state", "retrying: %s",
					nvmf_listen_text(port->transport, port->error));
			cmd_col_time(ctx, "retry-every", port->state == NVMF_PORT_RETRYING ?
				     port->retry_us * 1000 : 0);
		}
	}
	return 0;
}
