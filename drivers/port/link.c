/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Links: which Ethernet interfaces there are, what they are called, up and down.
 *
 * The kernel names interfaces in the order in which their drivers find them, which can differ from
 * boot to boot. Configuration names them, so port_name_all() sorts them by their place in sysfs
 * (bus addresses have fixed width and sort as text) and calls them eth0, eth1… in that order: the
 * same cards in the same slots get the same names.
 */
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/port/netlink.h"
#include "drivers/port/port.h"

struct port_scan {
	struct port *ports;
	unsigned count, max;
};

static void port_scan_one(const struct nlmsghdr *head, void *arg)
{
	struct port_scan *scan = arg;
	const struct ifinfomsg *info = NLMSG_DATA(head);
	const struct rtattr *attr[IFLA_STATS64 + 1];
	const void *mac;
	const uint32_t *mtu;
	struct rtnl_link_stats64 stats;
	struct port *p;

	if (head->nlmsg_type != RTM_NEWLINK || scan->count == scan->max ||
	    netlink_parse(head, sizeof(*info), attr, ARRAY_SIZE(attr)) ||
	    info->ifi_type != ARPHRD_ETHER || !attr[IFLA_IFNAME])
		return;
	p = &scan->ports[scan->count++];
	*p = (struct port){
		.index = info->ifi_index,
		.up = info->ifi_flags & IFF_UP,
		.carrier = info->ifi_flags & 0x10000,   /* IFF_LOWER_UP */
	};
	snprintf(p->name, sizeof(p->name), "%.*s",
		 (int)(attr[IFLA_IFNAME]->rta_len - RTA_LENGTH(0)),
		 (const char *)RTA_DATA(attr[IFLA_IFNAME]));
	mac = netlink_data(attr[IFLA_ADDRESS], sizeof(p->mac));
	if (mac)
		memcpy(p->mac, mac, sizeof(p->mac));
	mtu = netlink_data(attr[IFLA_MTU], sizeof(*mtu));
	p->mtu = mtu ? *mtu : 0;
	if (attr[IFLA_STATS64] && attr[IFLA_STATS64]->rta_len >= RTA_LENGTH(6 * 8)) {
		memset(&stats, 0, sizeof(stats));
		memcpy(&stats, RTA_DATA(attr[IFLA_STATS64]), 6 * 8);
		p->rx_bytes = stats.rx_bytes;
		p->tx_bytes = stats.tx_bytes;
		p->rx_errors = stats.rx_errors;
		p->tx_errors = stats.tx_errors;
	}
}

int port_list(struct port *ports, unsigned max)
{
	struct port_scan scan = { .ports = ports, .max = max };
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC };
	struct netlink_msg m;
	int rc;

	netlink_begin(&m, RTM_GETLINK, 0, &info, sizeof(info));
	rc = netlink_dump(&m, port_scan_one, &scan);
	return rc ? rc : (int)scan.count;
}

int port_find(const char *name, struct port *port)
{
	struct port ports[PORT_MAX];
	int count = port_list(ports, PORT_MAX);

	for (int i = 0; i < count; i++) {
		if (strcmp(ports[i].name, name) == 0) {
			*port = ports[i];
			return 0;
		}
	}
	return count < 0 ? count : -ENODEV;
}

void port_name(int index, char name[PORT_NAME_BYTES])
{
	_Static_assert((int)PORT_NAME_BYTES == (int)IF_NAMESIZE, "the kernel's interface names");

	if (!if_indextoname((unsigned)index, name))
		name[0] = '\0';
}

/* The last part of where sysfs link /sys/class/net/NAME/WHAT points to; "" when nowhere. */
static void port_sysfs_link(const char *name, const char *what, char out[PORT_BUS_BYTES])
{
	char path[80], target[PATH_MAX];
	const char *last;
	ssize_t n;

	out[0] = '\0';
	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", name, what);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = '\0';
	last = strrchr(target, '/');
	snprintf(out, PORT_BUS_BYTES, "%.*s", PORT_BUS_BYTES - 1, last ? last + 1 : target);
}

void port_driver(const char *name, char driver[PORT_BUS_BYTES], char bus[PORT_BUS_BYTES])
{
	port_sysfs_link(name, "device/driver", driver);
	port_sysfs_link(name, "device", bus);
}

int port_set_up(int index, bool up)
{
	struct ifinfomsg info = {
		.ifi_index = index, .ifi_change = IFF_UP, .ifi_flags = up ? IFF_UP : 0,
	};
	struct netlink_msg m;

	netlink_begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
	return netlink_request(&m);
}

/* ---- names ---- */

struct port_place {
	struct port port;
	char place[PATH_MAX];           /* in sysfs; "" for what has no hardware */
};

static int port_rename(const struct port *port, const char *name)
{
	struct ifinfomsg info = { .ifi_index = port->index };
	struct netlink_msg m;

	netlink_begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
	netlink_attr(&m, IFLA_IFNAME, name, strlen(name) + 1);
	return netlink_request(&m);
}

static int port_place_cmp(const void *a, const void *b)
{
	return strcmp(((const struct port_place *)a)->place, ((const struct port_place *)b)->place);
}

/* Two rounds, because a name may be another one's until that has moved away. */
static void port_rename_all(const struct port_place *places, unsigned count)
{
	char name[2 * PORT_NAME_BYTES];

	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < count; i++) {
			int rc;

			snprintf(name, sizeof(name), "eth%u", i);
			if (strcmp(places[i].port.name, name) == 0)
				continue;
			if (round == 0) {
				port_set_up(places[i].port.index, false);
				snprintf(name, sizeof(name), "karst%u", i);
			}
			rc = port_rename(&places[i].port, name);
			if (rc)
				log_warn("port %s: cannot be called %s: %s", places[i].port.name,
					 name, strerror(-rc));
		}
	}
}

void port_name_all(void)
{
	struct port ports[PORT_MAX];
	int count = port_list(ports, PORT_MAX);
	struct port_place *places = calloc(PORT_MAX, sizeof(*places));
	unsigned found = 0;

	for (int i = 0; places && i < count; i++) {
		char path[80];

		snprintf(path, sizeof(path), "/sys/class/net/%.*s/device", PORT_NAME_BYTES,
			 ports[i].name);
		places[found].port = ports[i];
		found += realpath(path, places[found].place) != NULL;
	}
	if (found > 1)
		qsort(places, found, sizeof(*places), port_place_cmp);
	if (places)
		port_rename_all(places, found);
	free(places);
}

/* ---- RDMA ---- */

void port_rdma(const char *name, char device[PORT_BUS_BYTES])
{
	static const char class[] = "/sys/class/infiniband/";
	glob_t g = { 0 };

	device[0] = '\0';
	/* what interface each address of an RDMA device belongs to, real adapters and rxe alike */
	glob("/sys/class/infiniband/*/ports/*/gid_attrs/ndevs/*", 0, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc && !device[0]; i++) {
		char interface[PORT_NAME_BYTES + 1] = "";
		const char *path = g.gl_pathv[i] + sizeof(class) - 1;
		FILE *f = fopen(g.gl_pathv[i], "re");

		if (f && fgets(interface, sizeof(interface), f)) {
			interface[strcspn(interface, "\n")] = '\0';
			if (strcmp(interface, name) == 0)
				snprintf(device, PORT_BUS_BYTES, "%.*s",
					 (int)strcspn(path, "/"), path);
		}
		if (f)
			fclose(f);
	}
	globfree(&g);
}
