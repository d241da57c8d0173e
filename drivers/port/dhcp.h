/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DHCPv4 client, RFC 2131 and 2132: the messages (dhcp_msg.c) and the client's states (dhcp.c),
 * without any I/O. drivers/port/lease.c is the task that moves the packets and sets the addresses.
 */
#ifndef PORT_DHCP_H
#define PORT_DHCP_H

#include <stddef.h>
#include <stdint.h>

enum { DHCP_MSG_BYTES = 576, DHCP_SERVER_PORT = 67, DHCP_CLIENT_PORT = 68 };

/* Option 53 */
enum dhcp_type {
	DHCP_DISCOVER = 1, DHCP_OFFER = 2, DHCP_REQUEST = 3, DHCP_DECLINE = 4,
	DHCP_ACK = 5, DHCP_NAK = 6, DHCP_RELEASE = 7,
};

/* dhcp_msg.c */

/* What a server said, in CPU order; 0 where it said nothing. */
struct dhcp_reply {
	enum dhcp_type type;            /* OFFER, ACK or NAK */
	uint32_t xid;
	uint8_t mac[6];
	uint32_t address, server, router;
	uint8_t prefix_len;             /* 0: not said */
	uint32_t lease_s, t1_s, t2_s;
};

/*
 * Strict and total: every length is checked, what this client uses must make sense. -EBADMSG
 * otherwise.
 */
int dhcp_decode(const void *msg, size_t len, struct dhcp_reply *reply);

struct dhcp_query {
	enum dhcp_type type;
	uint32_t xid;
	uint16_t secs;
	uint8_t mac[6];
	uint32_t ciaddr;                /* renewing, rebinding */
	uint32_t requested, server;     /* requesting */
};

/* The message's length; MSG has room for DHCP_MSG_BYTES. */
size_t dhcp_encode(const struct dhcp_query *query, void *msg);

/* dhcp.c */

enum dhcp_state {
	DHCP_SELECTING,         /* DISCOVER sent, again and again */
	DHCP_REQUESTING,        /* REQUEST of an offer sent */
	DHCP_BOUND,
	DHCP_RENEWING,          /* past T1: asks its server */
	DHCP_REBINDING,         /* past T2: asks everybody */
};

/* What the caller has to do after an event, in this order. */
enum dhcp_action {
	DHCP_DO_LOSE = 1 << 0,  /* the address is not ours any more */
	DHCP_DO_BIND = 1 << 1,  /* the lease is new or changed */
	DHCP_DO_SEND = 1 << 2,  /* dhcp_message() */
};

struct dhcp_lease {
	uint32_t address, server, router;
	uint8_t prefix_len;
	uint32_t lease_s;
	uint64_t t1_us, t2_us, end_us;  /* points in time */
};

struct dhcp {
	enum dhcp_state state;
	uint8_t mac[6];
	uint32_t xid;
	unsigned tries;                 /* in this state */
	uint64_t began_us;              /* this acquisition or renewal */
	uint64_t deadline_us;           /* call dhcp_timeout() then */
	uint32_t offered, offer_server;
	struct dhcp_lease lease;        /* in BOUND, RENEWING, REBINDING */
};

/* Each returns dhcp_action bits. */
unsigned dhcp_start(struct dhcp *d, const uint8_t mac[6], uint64_t now_us);
unsigned dhcp_timeout(struct dhcp *d, uint64_t now_us);
unsigned dhcp_input(struct dhcp *d, uint64_t now_us, const void *msg, size_t len);
/* The message of this state, and where to: an address in CPU order. */
size_t dhcp_message(const struct dhcp *d, uint64_t now_us, void *msg, uint32_t *to);
const char *dhcp_state_name(enum dhcp_state state);

#endif
