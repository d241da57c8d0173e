/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA devices of the kernel, and links: devices in software (soft-RoCE, soft-iWARP) that `rdma
 * link add` puts over a port. All on reactor 0.
 */
#ifndef PORT_RDMA_LINK_H
#define PORT_RDMA_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/cmd.h"
#include "drivers/port/netlink.h"
#include "drivers/port/port.h"

enum { RDMA_DEVICE_BYTES = 64, RDMA_DEVICE_MAX = 32 };

enum rdma_link_type { RDMA_LINK_RXE, RDMA_LINK_SIW };

/* One that the configuration has made. */
struct rdma_link {
	struct list link;
	char name[RDMA_DEVICE_BYTES], port[PORT_NAME_BYTES];
	enum rdma_link_type type;
	bool leaving;                   /* removed, but in use: it goes when karst ends */
};

extern struct list rdma_links;
extern const char *const rdma_link_types[];     /* by enum rdma_link_type; ends with NULL */

/* A device as the kernel tells it, at one moment. */
struct rdma_device {
	char name[RDMA_DEVICE_BYTES];
	uint32_t index;
	char protocol[16];              /* roce, iw, ib */
	bool counted;
	uint64_t pds, cqs, qps, srqs, cm_ids, mrs, contexts;    /* in use, by whomever */
};

/* The messages, for the kernel's NETLINK_RDMA. */
void rlink_new_msg(struct netlink_msg *m, const char *name, enum rdma_link_type type,
		       const char *port);
void rlink_delete_msg(struct netlink_msg *m, uint32_t index);
/* What an answer tells of a device; -EBADMSG. */
int rlink_device_parse(const struct nlmsghdr *head, struct rdma_device *d);
/* Likewise of what is in use of it. */
int rlink_resource_parse(const struct nlmsghdr *head, struct rdma_device *d);

/* At most MAX devices; returns how many, or -errno (-EPROTONOSUPPORT: a kernel without RDMA). */
int rlink_device_list(struct rdma_device *devices, unsigned max);
/* -EEXIST: the name is taken. */
int rlink_add(const char *name, enum rdma_link_type type, const struct port *port);
/*
 * 1: it is in use, and stays, outside of the configuration, until karst ends: the kernel waits for
 * those who have a device in software open, and would hold the reactor up that long.
 */
int rlink_remove(const char *name);
struct rdma_link *rlink_find(const char *name);
void rlink_config(struct config_out *out);
/* Takes away the links that an earlier karst has left in the kernel. */
void rlink_flush(void);
void rlink_fini(void);

/* rdma_cmd.c: for the table in port_cmd.c */
extern const struct cmd_arg rlink_args_add[], rlink_args_link[];
int rlink_cmd_link_add(struct cmd_ctx *ctx);
int rlink_cmd_link_remove(struct cmd_ctx *ctx);
int rlink_cmd_link_list(struct cmd_ctx *ctx);
int rlink_cmd_show(struct cmd_ctx *ctx);

#endif
