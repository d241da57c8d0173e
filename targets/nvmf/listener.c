/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports and listeners. A port is a listening address, shared by all subsystems offered on it; a
 * listener says that a subsystem is. An address that cannot be bound (not there yet, or taken) is
 * tried again with back-off for as long as a listener wants it, and `listener list` shows why.
 */
#include "targets/nvmf/nvmf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/config.h"

enum { RETRY_MIN_US = 250 * 1000, RETRY_MAX_US = 10 * 1000 * 1000 };

const char *nvmf_listen_text(const struct nvmf_transport *transport, int error)
{
	return error == -ENODEV && transport->no_device ? transport->no_device : strerror(-error);
}

static void port_listen(struct nvmf_port *port)
{
	char text[ADDR_TEXT_BYTES];
	int rc = port->transport->listen(port);

	addr_format_port(&port->listener.addr, text);
	if (rc == 0) {
		if (port->error)
			log_info("nvmf %s: listening", text);
		port->state = NVMF_PORT_LISTENING;
		port->error = 0;
		port->retry_us = 0;
		nvmf_discovery_changed();
		return;
	}
	if (rc != port->error)
		log_warn("nvmf %s: cannot listen: %s; will go on trying", text,
			 nvmf_listen_text(port->transport, rc));
	port->error = rc;
	port->state = NVMF_PORT_RETRYING;
	port->retry_us = MIN(MAX(port->retry_us * 2, RETRY_MIN_US), RETRY_MAX_US);
	timer_arm(&port->retry, port->retry_us);
}

void nvmf_port_lost(struct nvmf_port *port, int error)
{
	char text[ADDR_TEXT_BYTES];

	if (port->state != NVMF_PORT_LISTENING)
		return;
	addr_format_port(&port->listener.addr, text);
	log_warn("nvmf %s: %s; will go on trying", text, nvmf_listen_text(port->transport, error));
	port->transport->unlisten(port);
	port->error = error;
	port->state = NVMF_PORT_RETRYING;
	port->retry_us = RETRY_MIN_US;
	timer_arm(&port->retry, port->retry_us);
}

static void port_stop(struct nvmf_port *port)
{
	timer_cancel(&port->retry);
	if (port->state == NVMF_PORT_LISTENING)
		port->transport->unlisten(port);
	port->state = NVMF_PORT_STOPPED;
}

static void port_retry(struct timer *t)
{
	port_listen(container_of(t, struct nvmf_port, retry));
}

static struct nvmf_port *port_find(const struct nvmf_transport *transport,
				   const struct net_addr *addr)
{
	struct nvmf_port *port;

	list_for_each(port, &nvmf_target.ports, link)
		if (port->transport == transport && port->listener.addr.port == addr->port &&
		    addr_equal(&port->listener.addr, addr))
			return port;
	return NULL;
}

static struct nvmf_port *port_get(struct nvmf_transport *transport,
				  const struct net_addr *addr)
{
	struct nvmf_port *port = port_find(transport, addr);

	if (port)
		return port;
	port = calloc(1, sizeof(*port));
	if (!port)
		return NULL;
	port->transport = transport;
	port->portid = ++nvmf_target.portid_next;
	port->listener.addr = *addr;
	timer_setup(&port->retry, port_retry);
	list_push(&nvmf_target.ports, &port->link);
	port_listen(port);
	return port;
}

void nvmf_transport_register(struct nvmf_transport *transport)
{
	list_push(&nvmf_target.transports, &transport->link);
}

void nvmf_transport_unregister(struct nvmf_transport *transport)
{
	struct nvmf_port *port;

	list_for_each(port, &nvmf_target.ports, link)
		if (port->transport == transport)
			port_stop(port);
	list_del(&transport->link);
}

struct nvmf_transport *nvmf_transport_find(const char *name)
{
	struct nvmf_transport *transport;

	list_for_each(transport, &nvmf_target.transports, link)
		if (strcmp(transport->name, name) == 0)
			return transport;
	return NULL;
}

/* The port must outlive the connections that refer to it: they forget it. */
static void port_put(struct nvmf_port *port)
{
	if (--port->users)
		return;
	port_stop(port);
	port->transport->forget(port);
	list_del(&port->link);
	free(port);
}

static struct nvmf_listener *listener_find(const struct nvmf_subsystem *subsys,
					   const struct nvmf_port *port)
{
	struct nvmf_listener *listener;

	list_for_each(listener, &subsys->listeners, link)
		if (listener->port == port)
			return listener;
	return NULL;
}

int nvmf_listener_add(struct nvmf_subsystem *subsys, struct nvmf_transport *transport,
		      const struct net_addr *addr)
{
	struct nvmf_port *port = port_find(transport, addr);
	struct nvmf_listener *listener;

	if (port && listener_find(subsys, port))
		return -EEXIST;
	listener = calloc(1, sizeof(*listener) + config.nvmf_ana_groups_max);
	if (!listener)
		return -ENOMEM;
	port = port_get(transport, addr);
	if (!port) {
		free(listener);
		return -ENOMEM;
	}
	port->users++;
	listener->port = port;
	list_push(&subsys->listeners, &listener->link);
	nvmf_discovery_changed();
	return 0;
}

static void listener_drop(struct nvmf_listener *listener)
{
	list_del(&listener->link);
	port_put(listener->port);
	free(listener);
}

struct nvmf_listener *nvmf_listener_find(const struct nvmf_subsystem *subsys,
					 const struct nvmf_transport *transport,
					 const struct net_addr *addr)
{
	const struct nvmf_port *port = port_find(transport, addr);

	return port ? listener_find(subsys, port) : NULL;
}

int nvmf_listener_remove(struct nvmf_subsystem *subsys, struct nvmf_transport *transport,
			 const struct net_addr *addr)
{
	struct nvmf_port *port = port_find(transport, addr);
	struct nvmf_listener *listener = port ? listener_find(subsys, port) : NULL;

	if (!listener)
		return -ENOENT;
	listener_drop(listener);
	nvmf_discovery_changed();
	return 0;
}

void nvmf_listener_clear(struct nvmf_subsystem *subsys)
{
	struct nvmf_listener *listener, *tmp;

	list_for_each_safe(listener, tmp, &subsys->listeners, link)
		listener_drop(listener);
	nvmf_discovery_changed();
}

bool nvmf_listener_offers(const struct nvmf_subsystem *subsys, const struct nvmf_port *port)
{
	if (!port)
		return false;
	/* the discovery subsystem answers everywhere: base 2.0c 3.1.2.3 */
	return subsys->discovery || listener_find(subsys, port);
}

int nvmf_listener_error(const struct nvmf_subsystem *subsys,
			const struct nvmf_transport *transport, const struct net_addr *addr)
{
	const struct nvmf_port *port = port_find(transport, addr);

	return port && listener_find(subsys, port) ? port->error : -ENOENT;
}
