/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Transports, and the addresses where the target listens. Reactor 0.
 */
#ifndef NVMF_LISTENER_H
#define NVMF_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/base/list.h"
#include "core/reactor.h"
#include "core/stream.h"
#include "targets/nvmf/subsystem.h"

struct nvmf_port;

/* A transport, as the target sees it: registered by its module. Functions on reactor 0. */
struct nvmf_transport {
	const char *name;
	uint8_t trtype;
	const char *no_device;          /* what -ENODEV means, and what to do */
	/* On port->listener.addr. 0 or -errno. */
	int (*listen)(struct nvmf_port *port);
	void (*unlisten)(struct nvmf_port *port);
	/* The port goes away; connections that came in there go on without. */
	void (*forget)(struct nvmf_port *port);
	struct list link;
};

/* A listening address, shared by all subsystems that are offered on it. */
enum nvmf_port_state { NVMF_PORT_STOPPED, NVMF_PORT_LISTENING, NVMF_PORT_RETRYING };

struct nvmf_port {
	struct list link;
	uint16_t portid;
	struct nvmf_transport *transport;
	unsigned users;                 /* nvmf_listeners */
	enum nvmf_port_state state;
	int error;                      /* of the last attempt */
	uint64_t retry_us;              /* back-off */
	struct timer retry;
	struct stream_listener listener;
};

struct nvmf_listener {
	struct list link;               /* subsys->listeners */
	struct nvmf_port *port;
	uint8_t ana[];                  /* own ANA states, by group - 1; 0: the group's */
};

/* ---- functions, by file ---- */

/* listener.c */
void nvmf_transport_register(struct nvmf_transport *transport);
/* In words, for operators. */
const char *nvmf_listen_text(const struct nvmf_transport *transport, int error);
/* Nothing comes in at PORT any more, for ERROR: it is tried again. */
void nvmf_port_lost(struct nvmf_port *port, int error);
/* Its listeners stay configured, but nothing more comes in. */
void nvmf_transport_unregister(struct nvmf_transport *transport);
/* NULL: not built in. */
struct nvmf_transport *nvmf_transport_find(const char *name);
/* -EEXIST; an address that cannot be bound is no error: it is tried again and again. */
int nvmf_listener_add(struct nvmf_subsystem *subsys, struct nvmf_transport *transport,
		      const struct net_addr *addr);
/* -ENOENT. Connections that came in there stay. */
int nvmf_listener_remove(struct nvmf_subsystem *subsys, struct nvmf_transport *transport,
			 const struct net_addr *addr);
/* Whether SUBSYS is offered where QUEUE came in. */
/* NULL: there is none. */
struct nvmf_listener *nvmf_listener_find(const struct nvmf_subsystem *subsys,
					 const struct nvmf_transport *transport,
					 const struct net_addr *addr);
bool nvmf_listener_offers(const struct nvmf_subsystem *subsys, const struct nvmf_port *port);
void nvmf_listener_clear(struct nvmf_subsystem *subsys);
/* Why a listener of SUBSYS does not listen; 0: it does. */
int nvmf_listener_error(const struct nvmf_subsystem *subsys,
			const struct nvmf_transport *transport, const struct net_addr *addr);

#endif
