/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Netlink (RFC 3549, rtnetlink(7), and the messages of NETLINK_RDMA, which are built alike): a
 * codec and a socket, as much as ports need.
 */
#ifndef PORT_NETLINK_H
#define PORT_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NL_MSG_BYTES = 512 };

/* A request being built: header, the type's own struct, attributes. */
struct netlink_msg {
	union {
		struct nlmsghdr head;
		uint8_t bytes[NL_MSG_BYTES];
	};
	bool overflow;
	int protocol;                   /* NETLINK_ROUTE unless set after netlink_begin */
};

void netlink_begin(struct netlink_msg *m, uint16_t type, uint16_t flags, const void *body,
		   size_t len);
void netlink_attr(struct netlink_msg *m, uint16_t type, const void *data, size_t len);
void netlink_attr_u32(struct netlink_msg *m, uint16_t type, uint32_t v);

/*
 * The attributes of a message whose own struct is BODY_LEN long: ATTR[type] for types below COUNT,
 * NULL where there is none. -EBADMSG when they are not well-formed.
 */
int netlink_parse(const struct nlmsghdr *head, size_t body_len, const struct rtattr **attr,
	     unsigned count);
/* The attribute's data when it has exactly LEN bytes, else NULL. */
const void *netlink_data(const struct rtattr *attr, size_t len);

/* Likewise, the attributes inside ATTR. */
int netlink_nested(const struct rtattr *nest, const struct rtattr **attr, unsigned count);
/* The attribute in NEST behind PREV, the first one for NULL; NULL: no more that is well-formed. */
const struct rtattr *netlink_next(const struct rtattr *nest, const struct rtattr *prev);

/* Sends and waits for the kernel's acknowledgement, which it gives at once. 0/-errno. */
int netlink_request(struct netlink_msg *m);
/* EACH comes for every message of the answer. 0/-errno. */
int netlink_dump(struct netlink_msg *m, void (*each)(const struct nlmsghdr *head, void *arg),
		 void *arg);

#endif
