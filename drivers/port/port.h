/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports: the network interfaces of the kernel, their addresses and routes. The appliance owns them;
 * a hosted karst only looks. All on reactor 0.
 */
#ifndef PORT_PORT_H
#define PORT_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/base/list.h"
#include "core/cmd.h"
#include "core/reactor.h"
#include "core/task.h"
#include "drivers/port/dhcp.h"

struct config_out;

enum { PORT_NAME_BYTES = 16, PORT_MAX = 64, PORT_BUS_BYTES = 128 };

/* An Ethernet interface as the kernel tells it, at one moment. */
struct port {
	char name[PORT_NAME_BYTES];
	int index;
	uint8_t mac[6];
	uint32_t mtu;
	bool up, carrier;
	uint64_t rx_bytes, tx_bytes, rx_errors, tx_errors;
};

/* link.c */

/* At most MAX ports in order of their index; returns how many, or -errno. */
int port_list(struct port *ports, unsigned max);
/* -ENODEV when there is none of that name. */
int port_find(const char *name, struct port *port);
/* The name of the interface of INDEX; "" when it is gone. Loopback counts. */
void port_name(int index, char name[PORT_NAME_BYTES]);
/* Driver and place on its bus ("0000:00:03.0"), "" when unknown. */
void port_driver(const char *name, char driver[PORT_BUS_BYTES], char bus[PORT_BUS_BYTES]);
/* The RDMA device over it ("mlx5_0", "rxe0"), "" when there is none. */
void port_rdma(const char *name, char device[PORT_BUS_BYTES]);
int port_set_up(int index, bool up);
/* Gives interfaces the names eth0, eth1… in the order of their places on the buses. */
void port_name_all(void);

/* address.c: what this configuration has set */

struct address {
	struct list link;
	char port[PORT_NAME_BYTES];
	struct net_addr addr;
};

struct route {
	struct list link;
	struct net_addr prefix, via;
};

extern struct list addresses, routes;

/* In the kernel alone. 0/-errno. */
int address_set(int index, const struct net_addr *addr, bool add);
int route_set(const struct net_addr *prefix, const struct net_addr *via, bool add);

/* In the configuration too. -EEXIST, -ENOENT, or what the kernel says. */
int address_add(const struct port *port, const struct net_addr *addr);
int address_remove(const struct port *port, const struct net_addr *addr);
int route_add(const struct net_addr *prefix, const struct net_addr *via);
int route_remove(const struct net_addr *prefix);
void address_config(struct config_out *out);
void address_fini(void);

/* One address or route of the kernel's. */
struct address_info {
	int index;
	struct net_addr addr;
	bool link_local, tentative;
};

struct route_info {
	int index;
	struct net_addr prefix, via;    /* via.family 0: directly connected */
};

int address_dump(void (*each)(const struct address_info *info, void *arg), void *arg);
int route_dump(void (*each)(const struct route_info *info, void *arg), void *arg);
/* Takes every address off that the kernel has not made itself: what an earlier karst left. */
void address_flush(void);

/* lease.c: DHCP, a task for each port that asks for its address */

struct lease {
	struct list link;
	char port[PORT_NAME_BYTES];
	int index;
	struct dhcp dhcp;
	struct fd_source src;
	struct event wake, ended;
	bool stop, bound;
	struct net_addr addr, via;      /* what was set when bound; via.family 0: no router */
};

extern struct list leases;

int lease_start(const struct port *port);       /* -EEXIST */
int lease_stop(const char *port);               /* In a task; -ENOENT */
struct lease *lease_find(const char *port);
void lease_fini(void);

/* port_cmd.c */
extern const struct cmd port_cmds[];

/* port.c: the module */
int port_init(void);
void port_fini(void);
void port_config(struct config_out *out);

#endif
