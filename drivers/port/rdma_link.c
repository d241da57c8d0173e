/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA links: devices in software over a port, made and removed by one netlink message each, and
 * the devices that there are, asked for when somebody wants to see them (rdma_netlink.h of the
 * kernel's interface; client NLDEV).
 *
 * Messages have no struct of their own: attributes follow the header. The kernel gives devices an
 * index, which removing wants; it removes links only, and says EINVAL for adapters.
 */
#include <errno.h>
#include <rdma/rdma_netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/port/rdma_link.h"

struct list rdma_links = LIST_INIT(rdma_links);
const char *const rdma_link_types[] = { "rxe", "siw", NULL };

/* ---- messages ---- */

static void rdma_begin(struct netlink_msg *m, unsigned command)
{
	netlink_begin(m, RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, command), 0, NULL, 0);
	m->protocol = NETLINK_RDMA;
}

void rlink_new_msg(struct netlink_msg *m, const char *name, enum rdma_link_type type,
		       const char *port)
{
	const char *kind = rdma_link_types[type];

	rdma_begin(m, RDMA_NLDEV_CMD_NEWLINK);
	netlink_attr(m, RDMA_NLDEV_ATTR_DEV_NAME, name, strlen(name) + 1);
	netlink_attr(m, RDMA_NLDEV_ATTR_LINK_TYPE, kind, strlen(kind) + 1);
	netlink_attr(m, RDMA_NLDEV_ATTR_NDEV_NAME, port, strlen(port) + 1);
}

void rlink_delete_msg(struct netlink_msg *m, uint32_t index)
{
	rdma_begin(m, RDMA_NLDEV_CMD_DELLINK);
	netlink_attr_u32(m, RDMA_NLDEV_ATTR_DEV_INDEX, index);
}

/* A text of the kernel's, which ends it with a NUL; cut when it is too long. */
static void attr_text(const struct rtattr *attr, char *text, size_t bytes)
{
	text[0] = '\0';
	if (attr)
		snprintf(text, bytes, "%.*s", (int)(attr->rta_len - RTA_LENGTH(0)),
			 (const char *)RTA_DATA(attr));
}

int rlink_device_parse(const struct nlmsghdr *head, struct rdma_device *d)
{
	const struct rtattr *attr[RDMA_NLDEV_ATTR_DEV_PROTOCOL + 1];
	const uint32_t *index;

	if (netlink_parse(head, 0, attr, ARRAY_SIZE(attr)))
		return -EBADMSG;
	index = netlink_data(attr[RDMA_NLDEV_ATTR_DEV_INDEX], sizeof(*index));
	if (!index || !attr[RDMA_NLDEV_ATTR_DEV_NAME])
		return -EBADMSG;
	*d = (struct rdma_device){ .index = *index };
	attr_text(attr[RDMA_NLDEV_ATTR_DEV_NAME], d->name, sizeof(d->name));
	attr_text(attr[RDMA_NLDEV_ATTR_DEV_PROTOCOL], d->protocol, sizeof(d->protocol));
	return 0;
}

static void resource_entry(struct rdma_device *d, const struct rtattr *entry)
{
	const struct { const char *name; uint64_t *count; } counts[] = {
		{ "pd", &d->pds }, { "cq", &d->cqs }, { "qp", &d->qps }, { "srq", &d->srqs },
		{ "cm_id", &d->cm_ids }, { "mr", &d->mrs }, { "ctx", &d->contexts },
	};
	const struct rtattr *attr[RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY_CURR + 1];
	const void *count;
	char name[16];

	if (netlink_nested(entry, attr, ARRAY_SIZE(attr)))
		return;
	count = netlink_data(attr[RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY_CURR], sizeof(uint64_t));
	attr_text(attr[RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY_NAME], name, sizeof(name));
	for (size_t i = 0; count && i < ARRAY_SIZE(counts); i++) {
		if (strcmp(counts[i].name, name) == 0)
			memcpy(counts[i].count, count, sizeof(uint64_t));
	}
}

int rlink_resource_parse(const struct nlmsghdr *head, struct rdma_device *d)
{
	const struct rtattr *attr[RDMA_NLDEV_ATTR_RES_SUMMARY + 1], *entry = NULL;
	const struct rtattr *summary;
	const uint32_t *index;

	if (netlink_parse(head, 0, attr, ARRAY_SIZE(attr)))
		return -EBADMSG;
	index = netlink_data(attr[RDMA_NLDEV_ATTR_DEV_INDEX], sizeof(*index));
	summary = attr[RDMA_NLDEV_ATTR_RES_SUMMARY];
	if (!index || *index != d->index || !summary)
		return -EBADMSG;
	while ((entry = netlink_next(summary, entry)))
		resource_entry(d, entry);
	d->counted = true;
	return 0;
}

/* ---- the kernel ---- */

struct device_scan {
	struct rdma_device *devices;
	unsigned count, max;
};

static void device_scan_one(const struct nlmsghdr *head, void *arg)
{
	struct device_scan *scan = arg;

	if (scan->count < scan->max && rlink_device_parse(head, &scan->devices[scan->count]) == 0)
		scan->count++;
}

static void resource_scan_one(const struct nlmsghdr *head, void *arg)
{
	struct device_scan *scan = arg;

	for (unsigned i = 0; i < scan->count; i++)
		rlink_resource_parse(head, &scan->devices[i]);
}

int rlink_device_list(struct rdma_device *devices, unsigned max)
{
	struct device_scan scan = { .devices = devices, .max = max };
	struct netlink_msg m;
	int rc;

	rdma_begin(&m, RDMA_NLDEV_CMD_GET);
	rc = netlink_dump(&m, device_scan_one, &scan);
	if (rc)
		return rc;
	rdma_begin(&m, RDMA_NLDEV_CMD_RES_GET);
	rc = netlink_dump(&m, resource_scan_one, &scan);
	return rc ? rc : (int)scan.count;
}

/* ---- the configuration ---- */

struct rdma_link *rlink_find(const char *name)
{
	struct rdma_link *l;

	list_for_each(l, &rdma_links, link) {
		if (strcmp(l->name, name) == 0)
			return l;
	}
	return NULL;
}

int rlink_add(const char *name, enum rdma_link_type type, const struct port *port)
{
	struct rdma_link *l;
	struct netlink_msg m;
	int rc;

	if (strlen(name) >= sizeof(l->name))
		return -ENAMETOOLONG;
	l = rlink_find(name);
	if (l && l->leaving && l->type == type && strcmp(l->port, port->name) == 0) {
		l->leaving = false;
		return 0;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	rlink_new_msg(&m, name, type, port->name);
	rc = netlink_request(&m);
	if (rc) {
		free(l);
		return rc;
	}
	snprintf(l->name, sizeof(l->name), "%s", name);
	memcpy(l->port, port->name, sizeof(l->port));
	l->type = type;
	list_push(&rdma_links, &l->link);
	return 0;
}

int rlink_remove(const char *name)
{
	struct rdma_device devices[RDMA_DEVICE_MAX];
	struct rdma_link *l = rlink_find(name);
	int count = rlink_device_list(devices, RDMA_DEVICE_MAX), rc = -ENOENT;
	struct netlink_msg m;

	if (count < 0)
		return count;
	for (int i = 0; i < count; i++) {
		if (strcmp(devices[i].name, name) != 0)
			continue;
		if (l && (!devices[i].counted || devices[i].contexts > 0)) {
			l->leaving = true;
			return 1;
		}
		rlink_delete_msg(&m, devices[i].index);
		rc = netlink_request(&m);
	}
	/* its port may have gone, and the device with it */
	if (l && (rc == 0 || rc == -ENOENT)) {
		list_del(&l->link);
		free(l);
		return 0;
	}
	return rc;
}

void rlink_config(struct config_out *out)
{
	struct rdma_link *l;

	list_for_each(l, &rdma_links, link) {
		if (l->leaving)
			continue;
		config_line(out, "rdma link add %s port=%s type=%s", l->name, l->port,
			    rdma_link_types[l->type]);
	}
}

void rlink_flush(void)
{
	struct rdma_device devices[RDMA_DEVICE_MAX];
	int count = rlink_device_list(devices, RDMA_DEVICE_MAX), rc;
	struct netlink_msg m;

	for (int i = 0; i < count; i++) {
		rlink_delete_msg(&m, devices[i].index);
		rc = netlink_request(&m);
		if (rc && rc != -EINVAL)
			log_warn("rdma link %s: cannot be removed: %s", devices[i].name,
				 strerror(-rc));
	}
}

void rlink_fini(void)
{
	struct rdma_link *l;

	while ((l = list_pop_entry(&rdma_links, struct rdma_link, link)))
		free(l);
}
