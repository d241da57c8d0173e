/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The noun rdma: links, which only the appliance makes and removes, and what is in use of every
 * RDMA device, counted by the kernel.
 */
#include <errno.h>
#include <string.h>

#include "core/cmd.h"
#include "core/config.h"
#include "drivers/port/rdma_link.h"

static int fail_kernel(struct cmd_ctx *ctx, const char *name, int rc)
{
	if (rc == -EPROTONOSUPPORT)
		return cmd_fail(ctx, rc, "rdma%s%s: this kernel has no RDMA", *name ? " " : "",
				name);
	return cmd_fail(ctx, rc, "rdma%s%s: %s", *name ? " " : "", name, strerror(-rc));
}

static int link_allowed(struct cmd_ctx *ctx, const char *name)
{
	if (karst_run.appliance)
		return 0;
	return cmd_fail(ctx, -EPERM, "rdma link %s: a hosted karst leaves the machine's network "
			"to its owner; use rdma(8)", name);
}

int rlink_cmd_link_add(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "name"), *port_name = cmd_str(ctx, "port");
	enum rdma_link_type type = (enum rdma_link_type)cmd_u64(ctx, "type", RDMA_LINK_RXE);
	char device[PORT_BUS_BYTES];
	struct port port;
	int rc = link_allowed(ctx, name);

	if (rc)
		return rc;
	rc = port_find(port_name, &port);
	if (rc == -ENODEV)
		return cmd_fail(ctx, rc, "port %s: no such port; see port list", port_name);
	if (rc)
		return cmd_fail(ctx, rc, "port %s: %s", port_name, strerror(-rc));
	port_rdma(port_name, device);
	if (device[0] && strcmp(device, name) != 0)
		return cmd_fail(ctx, -EEXIST, "port %s: has RDMA device %s already; see rdma link "
				"list", port_name, device);
	rc = rlink_add(name, type, &port);
	/* -ENFILE: what the kernel says of a name that is taken */
	if (rc == -EEXIST || rc == -ENFILE)
		return cmd_fail(ctx, -EEXIST, "rdma link %s: exists; see rdma link list", name);
	if (rc == -ENAMETOOLONG)
		return cmd_fail(ctx, rc, "rdma link %s: the name is longer than %u", name,
				RDMA_DEVICE_BYTES - 1);
	if (rc == -EINVAL)
		return cmd_fail(ctx, rc, "rdma link %s: the kernel has no type=%s, or it does not "
				"fit port %s", name, rdma_link_types[type], port_name);
	return rc ? fail_kernel(ctx, name, rc) : 0;
}

int rlink_cmd_link_remove(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "name");
	int rc = link_allowed(ctx, name);

	if (rc)
		return rc;
	rc = rlink_remove(name);
	if (rc == -ENOENT)
		return cmd_fail(ctx, rc, "rdma link %s: no such link; see rdma link list", name);
	if (rc == -EINVAL)
		return cmd_fail(ctx, rc, "rdma link %s: is an adapter, which cannot be removed",
				name);
	if (rc < 0)
		return fail_kernel(ctx, name, rc);
	if (rc > 0)
		cmd_line(ctx, "rdma link %s: in use, so it stays until karst starts again; config "
			 "save, or it comes back", name);
	return 0;
}

/* The port that the kernel says DEVICE is over; "" when it says none. */
static void device_port(const char *device, char name[PORT_NAME_BYTES])
{
	struct port ports[PORT_MAX];
	int count = port_list(ports, PORT_MAX);

	name[0] = '\0';
	for (int i = 0; i < count; i++) {
		char over[PORT_BUS_BYTES];

		port_rdma(ports[i].name, over);
		if (strcmp(over, device) == 0)
			memcpy(name, ports[i].name, PORT_NAME_BYTES);
	}
}

int rlink_cmd_link_list(struct cmd_ctx *ctx)
{
	struct rdma_device devices[RDMA_DEVICE_MAX];
	int count = rlink_device_list(devices, RDMA_DEVICE_MAX);

	if (count < 0)
		return fail_kernel(ctx, "", count);
	for (int i = 0; i < count; i++) {
		struct rdma_link *l = rlink_find(devices[i].name);
		char port[PORT_NAME_BYTES];

		device_port(devices[i].name, port);
		cmd_row(ctx);
		cmd_col(ctx, "device", "%s", devices[i].name);
		cmd_col(ctx, "port", "%s", port[0] || !l ? port : l->port);
		cmd_col(ctx, "type", "%s", l ? rdma_link_types[l->type] : "adapter");
		cmd_col(ctx, "protocol", "%s", devices[i].protocol);
		cmd_col(ctx, "state", "%s", l && l->leaving ? "leaving" : "ready");
	}
	return 0;
}

int rlink_cmd_show(struct cmd_ctx *ctx)
{
	struct rdma_device devices[RDMA_DEVICE_MAX];
	int count = rlink_device_list(devices, RDMA_DEVICE_MAX);

	if (count < 0)
		return fail_kernel(ctx, "", count);
	for (int i = 0; i < count; i++) {
		const struct rdma_device *d = &devices[i];

		if (!d->counted)
			return cmd_fail(ctx, -ENODATA, "rdma %s: the kernel does not say what is "
					"in use", d->name);
		cmd_row(ctx);
		cmd_col(ctx, "device", "%s", d->name);
		cmd_col_u64(ctx, "contexts", d->contexts);
		cmd_col_u64(ctx, "pds", d->pds);
		cmd_col_u64(ctx, "mrs", d->mrs);
		cmd_col_u64(ctx, "cqs", d->cqs);
		cmd_col_u64(ctx, "qps", d->qps);
		cmd_col_u64(ctx, "srqs", d->srqs);
		cmd_col_u64(ctx, "cm_ids", d->cm_ids);
	}
	return 0;
}

/* ---- arguments ---- */

static void complete_port(struct cmd_complete *c)
{
	struct port ports[PORT_MAX];
	int count = port_list(ports, PORT_MAX);

	for (int i = 0; i < count; i++)
		cmd_offer(c, ports[i].name);
}

static void complete_link(struct cmd_complete *c)
{
	struct rdma_link *l;

	list_for_each(l, &rdma_links, link)
		cmd_offer(c, l->name);
}

const struct cmd_arg rlink_args_add[] = {
	{ "name", CMD_NAME, .required = true, .help = "name for the RDMA device" },
	{ "port", CMD_NAME, .keyed = true, .required = true, .help = "the port it is over",
	  .complete = complete_port },
	{ "type", CMD_CHOICE, .keyed = true, .choices = rdma_link_types,
	  .help = "soft-RoCE (rxe, when left out) or soft-iWARP (siw)" },
	{ NULL },
};
const struct cmd_arg rlink_args_link[] = {
	{ "name", CMD_NAME, .required = true, .help = "an RDMA link", .complete = complete_link },
	{ NULL },
};
