/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses and routes: those that the configuration has set (two lists, for `config show` and for
 * removing), and those that the kernel has, asked for when somebody wants to see them.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/endian.h"
#include "core/base/util.h"
#include "core/cmd.h"
#include "drivers/port/netlink.h"
#include "drivers/port/port.h"

struct list addresses = LIST_INIT(addresses), routes = LIST_INIT(routes);

static uint8_t kernel_family(const struct net_addr *a)
{
	return a->family == 4 ? AF_INET : AF_INET6;
}

static size_t ip_bytes(const struct net_addr *a)
{
	return a->family == 4 ? 4 : 16;
}

static bool prefix_equal(const struct net_addr *a, const struct net_addr *b)
{
	return a->prefix_len == b->prefix_len && addr_equal(a, b);
}

/* ---- to the kernel ---- */

int address_set(int index, const struct net_addr *addr, bool add)
{
	struct ifaddrmsg info = {
		.ifa_family = kernel_family(addr), .ifa_prefixlen = addr->prefix_len,
		.ifa_index = (unsigned)index,
		/* the operator says whose it is; duplicate detection would delay listening */
		.ifa_flags = addr->family == 6 ? IFA_F_NODAD : 0,
	};
	uint32_t mask;
	be32 broadcast;
	struct netlink_msg m;

	netlink_begin(&m, add ? RTM_NEWADDR : RTM_DELADDR,
		      add ? NLM_F_CREATE | NLM_F_REPLACE : 0, &info, sizeof(info));
	netlink_attr(&m, IFA_LOCAL, addr->ip, ip_bytes(addr));
	netlink_attr(&m, IFA_ADDRESS, addr->ip, ip_bytes(addr));
	if (add && addr->family == 4 && addr->prefix_len < 31) {
		memcpy(&broadcast, addr->ip, sizeof(broadcast));
		mask = addr->prefix_len ? ~0u << (32 - addr->prefix_len) : 0;
		broadcast = be32_make(be32_get(broadcast) | ~mask);
		netlink_attr(&m, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	}
	return netlink_request(&m);
}

int route_set(const struct net_addr *prefix, const struct net_addr *via, bool add)
{
	struct rtmsg info = {
		.rtm_family = kernel_family(prefix), .rtm_dst_len = prefix->prefix_len,
		.rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
		.rtm_scope = add ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE, .rtm_type = RTN_UNICAST,
	};
	struct netlink_msg m;

	netlink_begin(&m, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0,
		 &info, sizeof(info));
	if (prefix->prefix_len > 0)
		netlink_attr(&m, RTA_DST, prefix->ip, ip_bytes(prefix));
	netlink_attr(&m, RTA_GATEWAY, via->ip, ip_bytes(via));
	return netlink_request(&m);
}

/* ---- the configuration ---- */

int address_add(const struct port *port, const struct net_addr *addr)
{
	struct address *a;
	int rc;

	list_for_each(a, &addresses, link) {
		if (strcmp(a->port, port->name) == 0 && addr_equal(&a->addr, addr))
			return -EEXIST;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	rc = address_set(port->index, addr, true);
	if (rc) {
		free(a);
		return rc;
	}
	memcpy(a->port, port->name, sizeof(a->port));
	a->addr = *addr;
	list_push(&addresses, &a->link);
	return 0;
}

int address_remove(const struct port *port, const struct net_addr *addr)
{
	struct address *a;
	int rc;

	list_for_each(a, &addresses, link) {
		if (strcmp(a->port, port->name) != 0 || !prefix_equal(&a->addr, addr))
			continue;
		rc = address_set(port->index, addr, false);
		if (rc && rc != -EADDRNOTAVAIL)
			return rc;
		list_del(&a->link);
		free(a);
		return 0;
	}
	return -ENOENT;
}

int route_add(const struct net_addr *prefix, const struct net_addr *via)
{
	struct route *r;
	int rc;

	list_for_each(r, &routes, link) {
		if (prefix_equal(&r->prefix, prefix))
			return -EEXIST;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	rc = route_set(prefix, via, true);
	if (rc) {
		free(r);
		return rc;
	}
	r->prefix = *prefix;
	r->via = *via;
	list_push(&routes, &r->link);
	return 0;
}

int route_remove(const struct net_addr *prefix)
{
	struct route *r;
	int rc;

	list_for_each(r, &routes, link) {
		if (!prefix_equal(&r->prefix, prefix))
			continue;
		rc = route_set(&r->prefix, &r->via, false);
		if (rc && rc != -ESRCH)
			return rc;
		list_del(&r->link);
		free(r);
		return 0;
	}
	return -ENOENT;
}

void address_config(struct config_out *out)
{
	char text[ADDR_TEXT_BYTES], via[ADDR_TEXT_BYTES];
	struct address *a;
	struct route *r;

	list_for_each(a, &addresses, link) {
		addr_format(&a->addr, text);
		config_line(out, "address add %s %s/%u", a->port, text, a->addr.prefix_len);
	}
	list_for_each(r, &routes, link) {
		addr_format(&r->prefix, text);
		addr_format(&r->via, via);
		config_line(out, "route add %s/%u via=%s", text, r->prefix.prefix_len, via);
	}
}

void address_fini(void)
{
	struct address *a;
	struct route *r;

	while ((a = list_pop_entry(&addresses, struct address, link)))
		free(a);
	while ((r = list_pop_entry(&routes, struct route, link)))
		free(r);
}

/* ---- from the kernel ---- */

struct dump {
	void (*address)(const struct address_info *info, void *arg);
	void (*route)(const struct route_info *info, void *arg);
	void *arg;
};

static bool get_ip(const struct rtattr *attr, uint8_t family, struct net_addr *addr)
{
	size_t len = family == AF_INET ? 4 : 16;
	const void *ip = netlink_data(attr, len);

	if (!ip)
		return false;
	addr->family = family == AF_INET ? 4 : 6;
	memcpy(addr->ip, ip, len);
	return true;
}

static void dump_address(const struct nlmsghdr *head, void *arg)
{
	const struct ifaddrmsg *info = NLMSG_DATA(head);
	const struct rtattr *attr[IFA_FLAGS + 1];
	struct address_info out = { 0 };
	struct dump *dump = arg;

	if (head->nlmsg_type != RTM_NEWADDR ||
	    netlink_parse(head, sizeof(*info), attr, ARRAY_SIZE(attr)))
		return;
	if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)
		return;
	if (!get_ip(attr[IFA_LOCAL], info->ifa_family, &out.addr) &&
	    !get_ip(attr[IFA_ADDRESS], info->ifa_family, &out.addr))
		return;
	out.index = (int)info->ifa_index;
	out.addr.prefix_len = info->ifa_prefixlen;
	out.link_local = info->ifa_scope != RT_SCOPE_UNIVERSE;
	out.tentative = info->ifa_flags & IFA_F_TENTATIVE;
	dump->address(&out, dump->arg);
}

static void dump_route(const struct nlmsghdr *head, void *arg)
{
	const struct rtmsg *info = NLMSG_DATA(head);
	const struct rtattr *attr[RTA_TABLE + 1];
	struct route_info out = { 0 };
	struct dump *dump = arg;
	const uint32_t *index;

	if (head->nlmsg_type != RTM_NEWROUTE ||
	    netlink_parse(head, sizeof(*info), attr, ARRAY_SIZE(attr)))
		return;
	if (info->rtm_table != RT_TABLE_MAIN || info->rtm_type != RTN_UNICAST ||
	    (info->rtm_family != AF_INET && info->rtm_family != AF_INET6))
		return;
	if (!get_ip(attr[RTA_DST], info->rtm_family, &out.prefix))
		out.prefix.family = info->rtm_family == AF_INET ? 4 : 6;
	out.prefix.prefix_len = info->rtm_dst_len;
	get_ip(attr[RTA_GATEWAY], info->rtm_family, &out.via);
	index = netlink_data(attr[RTA_OIF], sizeof(*index));
	out.index = index ? (int)*index : 0;
	dump->route(&out, dump->arg);
}

int address_dump(void (*each)(const struct address_info *info, void *arg), void *arg)
{
	struct dump dump = { .address = each, .arg = arg };
	struct ifaddrmsg info = { .ifa_family = AF_UNSPEC };
	struct netlink_msg m;

	netlink_begin(&m, RTM_GETADDR, 0, &info, sizeof(info));
	return netlink_dump(&m, dump_address, &dump);
}

int route_dump(void (*each)(const struct route_info *info, void *arg), void *arg)
{
	struct dump dump = { .route = each, .arg = arg };
	struct rtmsg info = { .rtm_family = AF_UNSPEC };
	struct netlink_msg m;

	netlink_begin(&m, RTM_GETROUTE, 0, &info, sizeof(info));
	return netlink_dump(&m, dump_route, &dump);
}

struct flush {
	struct address_info info[PORT_MAX];
	unsigned count;
};

static void flush_collect(const struct address_info *info, void *arg)
{
	struct flush *flush = arg;

	if (!info->link_local && flush->count < PORT_MAX)
		flush->info[flush->count++] = *info;
}

void address_flush(void)
{
	struct flush flush = { .count = 0 };

	if (address_dump(flush_collect, &flush))
		return;
	for (unsigned i = 0; i < flush.count; i++)
		address_set(flush.info[i].index, &flush.info[i].addr, false);
}
