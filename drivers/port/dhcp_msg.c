/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DHCP messages: RFC 2131 section 2 (the fixed part), RFC 2132 (options). Bytes come from whoever
 * is on the network: every length is checked before it is used, a message with one malformed
 * option is refused whole, and values that make no sense as a lease are refused here, so that the
 * client's states only see plausible ones.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/endian.h"
#include "core/base/util.h"
#include "drivers/port/dhcp.h"

struct dhcp_fixed {
	uint8_t op, htype, hlen, hops;
	be32 xid;
	be16 secs, flags;
	be32 ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16];
	uint8_t sname[64];
	uint8_t file[128];
	be32 cookie;
};

_Static_assert(sizeof(struct dhcp_fixed) == 240, "RFC 2131 figure 1 and the cookie");

enum {
	BOOTREQUEST = 1,
	BOOTREPLY = 2,
	HTYPE_ETHERNET = 1,
	FLAG_BROADCAST = 0x8000,
	COOKIE = 0x63825363,

	OPT_PAD = 0, OPT_MASK = 1, OPT_ROUTER = 3, OPT_REQUESTED = 50, OPT_LEASE = 51,
	OPT_OVERLOAD = 52, OPT_TYPE = 53, OPT_SERVER = 54, OPT_PARAMETERS = 55,
	OPT_MAX_SIZE = 57, OPT_T1 = 58, OPT_T2 = 59, OPT_CLIENT_ID = 61, OPT_END = 255,
};

struct dhcp_options {
	uint32_t mask, router, lease_s, server, t1_s, t2_s;
	uint8_t type, overload;
};

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int dhcp_option(struct dhcp_options *o, unsigned code, const uint8_t *data, size_t len)
{
	uint32_t *word = NULL;

	switch (code) {
	case OPT_TYPE:
	case OPT_OVERLOAD:
		if (len != 1)
			return -EBADMSG;
		*(code == OPT_TYPE ? &o->type : &o->overload) = data[0];
		return 0;
	case OPT_ROUTER:
		/* a list; the first is the preferred one (RFC 2132 3.5) */
		if (len == 0 || len % 4)
			return -EBADMSG;
		o->router = get_be32(data);
		return 0;
	case OPT_MASK:
		word = &o->mask;
		break;
	case OPT_LEASE:
		word = &o->lease_s;
		break;
	case OPT_SERVER:
		word = &o->server;
		break;
	case OPT_T1:
		word = &o->t1_s;
		break;
	case OPT_T2:
		word = &o->t2_s;
		break;
	default:
		return 0;
	}
	if (len != 4)
		return -EBADMSG;
	*word = get_be32(data);
	return 0;
}

/* One field of options: it must be well-formed up to its END, which it may lack. */
static int dhcp_options(struct dhcp_options *o, const uint8_t *p, size_t len)
{
	while (len > 0) {
		size_t n;

		if (*p == OPT_END)
			return 0;
		if (*p == OPT_PAD) {
			p++;
			len--;
			continue;
		}
		if (len < 2 || (n = p[1]) > len - 2)
			return -EBADMSG;
		if (dhcp_option(o, p[0], p + 2, n))
			return -EBADMSG;
		p += 2 + n;
		len -= 2 + n;
	}
	return 0;
}

/* Whether a host may have this address. */
static bool is_host_address(uint32_t a)
{
	unsigned first = a >> 24;

	return first != 0 && first != 127 && first < 224;
}

static int mask_to_prefix(uint32_t mask, uint8_t *prefix_len)
{
	/* ones, then zeroes */
	if (~mask & (~mask + 1))
		return -EBADMSG;
	*prefix_len = (uint8_t)__builtin_popcount(mask);
	return 0;
}

int dhcp_decode(const void *msg, size_t len, struct dhcp_reply *reply)
{
	const uint8_t *bytes = msg;
	struct dhcp_fixed f;
	struct dhcp_options o = { 0 };

	if (len < sizeof(f))
		return -EBADMSG;
	memcpy(&f, msg, sizeof(f));
	if (f.op != BOOTREPLY || f.htype != HTYPE_ETHERNET || f.hlen != 6 ||
	    be32_get(f.cookie) != COOKIE)
		return -EBADMSG;
	if (dhcp_options(&o, bytes + sizeof(f), len - sizeof(f)) || o.overload > 3)
		return -EBADMSG;
	/* RFC 2132 9.3: 1 file, 2 sname, 3 both, file first (RFC 2131 4.1) */
	if ((o.overload & 1) && dhcp_options(&o, f.file, sizeof(f.file)))
		return -EBADMSG;
	if ((o.overload & 2) && dhcp_options(&o, f.sname, sizeof(f.sname)))
		return -EBADMSG;
	*reply = (struct dhcp_reply){
		.type = o.type, .xid = be32_get(f.xid), .address = be32_get(f.yiaddr),
		.server = o.server, .router = o.router, .lease_s = o.lease_s, .t1_s = o.t1_s,
		.t2_s = o.t2_s,
	};
	memcpy(reply->mac, f.chaddr, sizeof(reply->mac));
	/* RFC 2131 table 3: the server identifier is a must in all three */
	if (!is_host_address(o.server))
		return -EBADMSG;
	if (o.type == DHCP_NAK)
		return 0;
	if ((o.type != DHCP_OFFER && o.type != DHCP_ACK) || !is_host_address(reply->address))
		return -EBADMSG;
	if (o.router && !is_host_address(o.router))
		return -EBADMSG;
	/* the lease time is a must in both; an ACK without one would bind for no time */
	if (o.lease_s == 0)
		return -EBADMSG;
	return mask_to_prefix(o.mask, &reply->prefix_len);
}

static uint8_t *put_option(uint8_t *p, unsigned code, const void *data, size_t len)
{
	*p++ = (uint8_t)code;
	*p++ = (uint8_t)len;
	memcpy(p, data, len);
	return p + len;
}

static uint8_t *put_be32(uint8_t *p, unsigned code, uint32_t v)
{
	be32 be = be32_make(v);

	return put_option(p, code, &be, sizeof(be));
}

size_t dhcp_encode(const struct dhcp_query *q, void *msg)
{
	static const uint8_t wanted[] = { OPT_MASK, OPT_ROUTER, OPT_LEASE, OPT_T1, OPT_T2 };
	struct dhcp_fixed f = {
		.op = BOOTREQUEST, .htype = HTYPE_ETHERNET, .hlen = 6, .xid = be32_make(q->xid),
		.secs = be16_make(q->secs), .ciaddr = be32_make(q->ciaddr),
		.cookie = be32_make(COOKIE),
		/* an address not yet ours does not reach our socket: broadcast, 2131 4.1 */
		.flags = be16_make(q->ciaddr ? 0 : FLAG_BROADCAST),
	};
	uint8_t id[7] = { HTYPE_ETHERNET }, type = (uint8_t)q->type, *p = msg;
	be16 max = be16_make(DHCP_MSG_BYTES);

	memcpy(f.chaddr, q->mac, sizeof(q->mac));
	memcpy(id + 1, q->mac, sizeof(q->mac));
	memset(msg, 0, DHCP_MSG_BYTES);
	memcpy(p, &f, sizeof(f));
	p += sizeof(f);
	p = put_option(p, OPT_TYPE, &type, 1);
	p = put_option(p, OPT_CLIENT_ID, id, sizeof(id));
	if (q->requested)
		p = put_be32(p, OPT_REQUESTED, q->requested);
	if (q->server)
		p = put_be32(p, OPT_SERVER, q->server);
	p = put_option(p, OPT_MAX_SIZE, &max, sizeof(max));
	p = put_option(p, OPT_PARAMETERS, wanted, sizeof(wanted));
	*p++ = OPT_END;
	/* RFC 1542 2.1: relays may drop what is shorter than a BOOTP message */
	return MAX((size_t)(p - (uint8_t *)msg), 300u);
}
