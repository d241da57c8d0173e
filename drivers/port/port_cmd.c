/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nouns port, address and route, and the table of these and of rdma. Lists show what the kernel
 * has, whoever set it; what changes the network works in the appliance only.
 */
#include <errno.h>
#include <string.h>

#include "core/cmd.h"
#include "core/config.h"
#include "drivers/port/port.h"
#include "drivers/port/rdma_link.h"

static void complete_port(struct cmd_complete *c)
{
	struct port ports[PORT_MAX];
	int count = port_list(ports, PORT_MAX);

	for (int i = 0; i < count; i++)
		cmd_offer(c, ports[i].name);
}

/* Finds the port that the command names; in a hosted karst nothing may be changed. */
static int cmd_port(struct cmd_ctx *ctx, bool change, struct port *port)
{
	const char *name = cmd_str(ctx, "port");
	int rc;

	if (change && !karst_run.appliance)
		return cmd_fail(ctx, -EPERM, "port %s: a hosted karst leaves the machine's network "
				"to its owner; use ip(8)", name);
	rc = port_find(name, port);
	if (rc == -ENODEV)
		return cmd_fail(ctx, rc, "port %s: no such port; see port list", name);
	return rc ? cmd_fail(ctx, rc, "port %s: %s", name, strerror(-rc)) : 0;
}

/* ---- port ---- */

static void port_mac(const struct port *p, struct cmd_ctx *ctx)
{
	cmd_col(ctx, "mac", "%02x:%02x:%02x:%02x:%02x:%02x", p->mac[0], p->mac[1], p->mac[2],
		p->mac[3], p->mac[4], p->mac[5]);
}

static const char *port_state(const struct port *p)
{
	return !p->up ? "off" : p->carrier ? "up" : "no carrier";
}

static int run_port_list(struct cmd_ctx *ctx)
{
	struct port ports[PORT_MAX];
	int count = port_list(ports, PORT_MAX);

	if (count < 0)
		return cmd_fail(ctx, count, "port: %s", strerror(-count));
	for (int i = 0; i < count; i++) {
		char driver[PORT_BUS_BYTES], bus[PORT_BUS_BYTES], rdma[PORT_BUS_BYTES];

		port_driver(ports[i].name, driver, bus);
		port_rdma(ports[i].name, rdma);
		cmd_row(ctx);
		cmd_col(ctx, "port", "%s", ports[i].name);
		cmd_col(ctx, "state", "%s", port_state(&ports[i]));
		port_mac(&ports[i], ctx);
		cmd_col_u64(ctx, "mtu", ports[i].mtu);
		cmd_col(ctx, "driver", "%s", driver);
		cmd_col(ctx, "bus", "%s", bus);
		cmd_col(ctx, "rdma", "%s", rdma);
	}
	return 0;
}

static int run_port_show(struct cmd_ctx *ctx)
{
	char driver[PORT_BUS_BYTES], bus[PORT_BUS_BYTES], rdma[PORT_BUS_BYTES];
	struct lease *l;
	struct port p;
	int rc = cmd_port(ctx, false, &p);

	if (rc)
		return rc;
	port_driver(p.name, driver, bus);
	port_rdma(p.name, rdma);
	l = lease_find(p.name);
	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "port", "%s", p.name);
	cmd_col(ctx, "state", "%s", port_state(&p));
	port_mac(&p, ctx);
	cmd_col_u64(ctx, "mtu", p.mtu);
	cmd_col(ctx, "driver", "%s", driver);
	cmd_col(ctx, "bus", "%s", bus);
	cmd_col(ctx, "rdma", "%s", rdma);
	cmd_col(ctx, "dhcp", "%s", l ? dhcp_state_name(l->dhcp.state) : "off");
	cmd_col_size(ctx, "received", p.rx_bytes);
	cmd_col_size(ctx, "sent", p.tx_bytes);
	cmd_col_u64(ctx, "receive_errors", p.rx_errors);
	cmd_col_u64(ctx, "send_errors", p.tx_errors);
	return 0;
}

/* ---- address ---- */

static int run_address_add(struct cmd_ctx *ctx)
{
	const struct net_addr *addr = cmd_addr(ctx, "address");
	char text[ADDR_TEXT_BYTES];
	struct port p;
	int rc = cmd_port(ctx, true, &p);

	if (rc)
		return rc;
	rc = address_add(&p, addr);
	addr_format(addr, text);
	if (rc == -EEXIST)
		return cmd_fail(ctx, rc, "port %s: has %s already; see address list", p.name, text);
	return rc ? cmd_fail(ctx, rc, "port %s: %s: %s", p.name, text, strerror(-rc)) : 0;
}

static int run_address_remove(struct cmd_ctx *ctx)
{
	const struct net_addr *addr = cmd_addr(ctx, "address");
	char text[ADDR_TEXT_BYTES];
	struct port p;
	int rc = cmd_port(ctx, true, &p);

	if (rc)
		return rc;
	rc = address_remove(&p, addr);
	addr_format(addr, text);
	if (rc == -ENOENT)
		return cmd_fail(ctx, rc, "port %s: %s/%u was not added by address add; see "
				"address list", p.name, text, addr->prefix_len);
	return rc ? cmd_fail(ctx, rc, "port %s: %s: %s", p.name, text, strerror(-rc)) : 0;
}

static int run_address_dhcp(struct cmd_ctx *ctx)
{
	struct port p;
	int rc = cmd_port(ctx, true, &p);

	if (rc)
		return rc;
	if (cmd_has(ctx, "off")) {
		rc = lease_stop(p.name);
		if (rc)
			return cmd_fail(ctx, rc, "port %s: does not use DHCP", p.name);
		return 0;
	}
	rc = lease_start(&p);
	if (rc == -EEXIST)
		return cmd_fail(ctx, rc, "port %s: uses DHCP already; see port show %s", p.name,
				p.name);
	return rc ? cmd_fail(ctx, rc, "port %s: DHCP: %s", p.name, strerror(-rc)) : 0;
}

static const char *address_origin(const struct address_info *info, const char *port)
{
	struct lease *l = lease_find(port);
	struct address *a;

	if (l && l->bound && addr_equal(&l->addr, &info->addr))
		return "dhcp";
	list_for_each(a, &addresses, link) {
		if (strcmp(a->port, port) == 0 && addr_equal(&a->addr, &info->addr))
			return "static";
	}
	return "kernel";
}

static void show_address(const struct address_info *info, void *arg)
{
	struct cmd_ctx *ctx = arg;
	char port[PORT_NAME_BYTES], text[ADDR_TEXT_BYTES];

	port_name(info->index, port);
	addr_format(&info->addr, text);
	cmd_row(ctx);
	cmd_col(ctx, "port", "%s", port);
	cmd_col(ctx, "address", "%s/%u", text, info->addr.prefix_len);
	cmd_col(ctx, "origin", "%s", address_origin(info, port));
	cmd_col(ctx, "state", "%s", info->tentative ? "tentative" : "usable");
}

static int run_address_list(struct cmd_ctx *ctx)
{
	int rc = address_dump(show_address, ctx);

	return rc ? cmd_fail(ctx, rc, "address: %s", strerror(-rc)) : 0;
}

/* ---- route ---- */

static int cmd_route_allowed(struct cmd_ctx *ctx)
{
	if (karst_run.appliance)
		return 0;
	return cmd_fail(ctx, -EPERM, "route: a hosted karst leaves the machine's network to its "
			"owner; use ip(8)");
}

static int run_route_add(struct cmd_ctx *ctx)
{
	const struct net_addr *prefix = cmd_addr(ctx, "prefix"), *via = cmd_addr(ctx, "via");
	char text[ADDR_TEXT_BYTES], via_text[ADDR_TEXT_BYTES];
	int rc = cmd_route_allowed(ctx);

	if (rc)
		return rc;
	addr_format(prefix, text);
	addr_format(via, via_text);
	if (prefix->family != via->family)
		return cmd_fail(ctx, -EINVAL, "route %s/%u: via=%s is of the other family", text,
				prefix->prefix_len, via_text);
	rc = route_add(prefix, via);
	if (rc == -EEXIST)
		return cmd_fail(ctx, rc, "route %s/%u: exists; route remove %s/%u first", text,
				prefix->prefix_len, text, prefix->prefix_len);
	if (rc == -ENETUNREACH)
		return cmd_fail(ctx, rc, "route %s/%u: no port has an address beside %s; see "
				"address list", text, prefix->prefix_len, via_text);
	return rc ? cmd_fail(ctx, rc, "route %s/%u: %s", text, prefix->prefix_len, strerror(-rc)) :
		    0;
}

static int run_route_remove(struct cmd_ctx *ctx)
{
	const struct net_addr *prefix = cmd_addr(ctx, "prefix");
	char text[ADDR_TEXT_BYTES];
	int rc = cmd_route_allowed(ctx);

	if (rc)
		return rc;
	rc = route_remove(prefix);
	addr_format(prefix, text);
	return rc ? cmd_fail(ctx, rc, "route %s/%u: was not added by route add; see route list",
			     text, prefix->prefix_len) : 0;
}

static void show_route(const struct route_info *info, void *arg)
{
	struct cmd_ctx *ctx = arg;
	char port[PORT_NAME_BYTES], text[ADDR_TEXT_BYTES], via[ADDR_TEXT_BYTES] = "";

	port_name(info->index, port);
	addr_format(&info->prefix, text);
	if (info->via.family)
		addr_format(&info->via, via);
	cmd_row(ctx);
	cmd_col(ctx, "prefix", "%s/%u", text, info->prefix.prefix_len);
	cmd_col(ctx, "via", "%s", via);
	cmd_col(ctx, "port", "%s", port);
}

static int run_route_list(struct cmd_ctx *ctx)
{
	int rc = route_dump(show_route, ctx);

	return rc ? cmd_fail(ctx, rc, "route: %s", strerror(-rc)) : 0;
}

/* ---- the table ---- */

#define ARG_PORT { "port", CMD_NAME, .required = true, .help = "name of a port", \
		   .complete = complete_port }
#define ARG_ADDRESS { "address", CMD_PREFIX, .required = true, .help = "ADDRESS/LENGTH" }
#define ARG_PREFIX { "prefix", CMD_PREFIX, .required = true, .help = "NETWORK/LENGTH" }

static const struct cmd_arg args_port[] = { ARG_PORT, { NULL } };
static const struct cmd_arg args_address[] = { ARG_PORT, ARG_ADDRESS, { NULL } };
static const struct cmd_arg args_dhcp[] = {
	ARG_PORT,
	{ "off", CMD_FLAG, .help = "give the address up" },
	{ NULL },
};
static const struct cmd_arg args_route[] = {
	ARG_PREFIX,
	{ "via", CMD_ADDR, .keyed = true, .required = true, .help = "address of the router" },
	{ NULL },
};
static const struct cmd_arg args_prefix[] = { ARG_PREFIX, { NULL } };

const struct cmd port_cmds[] = {
	{ "port", "list", "network ports", NULL, run_port_list },
	{ "port", "show", "one port", args_port, run_port_show },
	{ "address", "add", "give a port an address", args_address, run_address_add },
	{ "address", "remove", "take an address off a port", args_address, run_address_remove },
	{ "address", "list", "addresses of all ports", NULL, run_address_list },
	{ "address", "dhcp", "let a port get its address by DHCP", args_dhcp, run_address_dhcp },
	{ "route", "add", "reach a network through a router", args_route, run_route_add },
	{ "route", "remove", "forget a route", args_prefix, run_route_remove },
	{ "route", "list", "routes to other networks", NULL, run_route_list },
	{ "rdma", "link add", "make an RDMA device in software over a port", rlink_args_add,
	  rlink_cmd_link_add },
	{ "rdma", "link remove", "remove an RDMA device in software", rlink_args_link,
	  rlink_cmd_link_remove },
	{ "rdma", "link list", "RDMA devices and their ports", NULL, rlink_cmd_link_list },
	{ "rdma", "show", "what is in use of each RDMA device", NULL, rlink_cmd_show },
	{ NULL },
};
