/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of a DHCP client, RFC 2131 section 4.4, as functions of an event and the time.
 *
 *   SELECTING --offer--> REQUESTING --ack--> BOUND --T1--> RENEWING --T2--> REBINDING
 *       ^                    |                 ^               |ack             |ack
 *       |<--nak, no answer---+                 +---------------+----------------+
 *       |<-------------------- nak, or the lease ends --------------------------+
 *
 * A retransmission comes after 1, 2, 4, 8 and then every 16 seconds, each up to a quarter earlier
 * or later by chance (4.1); in RENEWING and REBINDING after half of what is left, at least a
 * minute (4.4.5).
 */
#include <stdbool.h>
#include <string.h>

#include "core/base/util.h"
#include "core/clock.h"
#include "drivers/port/dhcp.h"

enum {
	US_PER_S = 1000 * 1000,
	BACKOFF_MAX_LOG2 = 4,
	REQUEST_TRIES = 4,              /* then the offer is given up */
	RENEW_EVERY_S = 60,
	LEASE_S_MIN = 10,               /* a shorter lease would only be renewing */
	BROADCAST = -1,
};

static uint64_t dhcp_backoff_us(unsigned tries)
{
	uint64_t us = (uint64_t)US_PER_S << MIN(tries, BACKOFF_MAX_LOG2);

	return us - us / 4 + clock_random64() % (us / 2);
}

static unsigned dhcp_select(struct dhcp *d, uint64_t now_us)
{
	d->state = DHCP_SELECTING;
	d->tries = 0;
	d->xid = (uint32_t)clock_random64();
	d->began_us = now_us;
	d->deadline_us = now_us + dhcp_backoff_us(0);
	return DHCP_DO_SEND;
}

static unsigned dhcp_lose(struct dhcp *d, uint64_t now_us)
{
	return DHCP_DO_LOSE | dhcp_select(d, now_us);
}

unsigned dhcp_start(struct dhcp *d, const uint8_t mac[6], uint64_t now_us)
{
	*d = (struct dhcp){ 0 };
	memcpy(d->mac, mac, sizeof(d->mac));
	return dhcp_select(d, now_us);
}

/* When to ask again: half of the time until END is left, but not too often. */
static uint64_t dhcp_half_way(uint64_t now_us, uint64_t end_us)
{
	uint64_t wait = MAX((end_us - now_us) / 2, (uint64_t)RENEW_EVERY_S * US_PER_S);

	return MIN(now_us + wait, end_us);
}

static unsigned dhcp_renew(struct dhcp *d, uint64_t now_us, enum dhcp_state state, uint64_t end_us)
{
	if (d->state != state) {
		if (d->state == DHCP_BOUND) {
			d->xid = (uint32_t)clock_random64();
			d->began_us = now_us;
		}
		d->state = state;
		d->tries = 0;
	}
	d->deadline_us = dhcp_half_way(now_us, end_us);
	return DHCP_DO_SEND;
}

unsigned dhcp_timeout(struct dhcp *d, uint64_t now_us)
{
	if (now_us < d->deadline_us)
		return 0;
	d->tries++;
	switch (d->state) {
	case DHCP_SELECTING:
		d->deadline_us = now_us + dhcp_backoff_us(d->tries);
		return DHCP_DO_SEND;
	case DHCP_REQUESTING:
		if (d->tries >= REQUEST_TRIES)
			return dhcp_select(d, now_us);
		d->deadline_us = now_us + dhcp_backoff_us(d->tries);
		return DHCP_DO_SEND;
	case DHCP_BOUND:
	case DHCP_RENEWING:
	case DHCP_REBINDING:
		break;
	}
	if (now_us >= d->lease.end_us)
		return dhcp_lose(d, now_us);
	if (now_us >= d->lease.t2_us)
		return dhcp_renew(d, now_us, DHCP_REBINDING, d->lease.end_us);
	return dhcp_renew(d, now_us, DHCP_RENEWING, d->lease.t2_us);
}

static uint8_t dhcp_class_prefix(uint32_t address)
{
	return address >> 31 == 0 ? 8 : address >> 30 == 2 ? 16 : 24;
}

static unsigned dhcp_bind(struct dhcp *d, const struct dhcp_reply *r, uint64_t now_us)
{
	uint32_t lease_s = MAX(r->lease_s, (uint32_t)LEASE_S_MIN);
	uint32_t t1_s = r->t1_s, t2_s = r->t2_s;
	bool had = d->state != DHCP_REQUESTING;
	struct dhcp_lease old = d->lease;
	unsigned todo = 0;

	/* RFC 2131 4.4.5: T1 half, T2 seven eighths, unless the server says something sensible */
	if (t2_s == 0 || t2_s >= lease_s)
		t2_s = lease_s - lease_s / 8;
	if (t1_s == 0 || t1_s >= t2_s)
		t1_s = MIN(lease_s / 2, t2_s - 1);
	d->lease = (struct dhcp_lease){
		.address = r->address, .server = r->server, .router = r->router,
		.prefix_len = r->prefix_len ? r->prefix_len : dhcp_class_prefix(r->address),
		.lease_s = lease_s,
		/* the lease counts from when it was asked for */
		.t1_us = now_us + (uint64_t)t1_s * US_PER_S,
		.t2_us = now_us + (uint64_t)t2_s * US_PER_S,
		.end_us = now_us + (uint64_t)lease_s * US_PER_S,
	};
	d->state = DHCP_BOUND;
	d->tries = 0;
	d->deadline_us = d->lease.t1_us;
	if (had && old.address != d->lease.address)
		todo |= DHCP_DO_LOSE;
	if (!had || todo || old.prefix_len != d->lease.prefix_len || old.router != d->lease.router)
		todo |= DHCP_DO_BIND;
	return todo;
}

unsigned dhcp_input(struct dhcp *d, uint64_t now_us, const void *msg, size_t len)
{
	struct dhcp_reply r;

	if (dhcp_decode(msg, len, &r) || r.xid != d->xid || memcmp(r.mac, d->mac, 6) != 0)
		return 0;
	switch (d->state) {
	case DHCP_SELECTING:
		if (r.type != DHCP_OFFER)
			return 0;
		d->state = DHCP_REQUESTING;
		d->offered = r.address;
		d->offer_server = r.server;
		d->tries = 0;
		d->deadline_us = now_us + dhcp_backoff_us(0);
		return DHCP_DO_SEND;
	case DHCP_REQUESTING:
		if (r.server != d->offer_server)
			return 0;
		if (r.type == DHCP_NAK)
			return dhcp_select(d, now_us);
		return r.type == DHCP_ACK ? dhcp_bind(d, &r, now_us) : 0;
	case DHCP_RENEWING:
	case DHCP_REBINDING:
		if (d->state == DHCP_RENEWING && r.server != d->lease.server)
			return 0;
		if (r.type == DHCP_NAK)
			return dhcp_lose(d, now_us);
		return r.type == DHCP_ACK ? dhcp_bind(d, &r, now_us) : 0;
	case DHCP_BOUND:
		return 0;
	}
	return 0;
}

/* RFC 2131 tables 4 and 5: which field carries what in which state */
size_t dhcp_message(const struct dhcp *d, uint64_t now_us, void *msg, uint32_t *to)
{
	uint64_t secs = (now_us - d->began_us) / US_PER_S;
	struct dhcp_query q = {
		.type = d->state == DHCP_SELECTING ? DHCP_DISCOVER : DHCP_REQUEST,
		.xid = d->xid, .secs = (uint16_t)MIN(secs, 65535u),
	};

	memcpy(q.mac, d->mac, sizeof(q.mac));
	*to = (uint32_t)BROADCAST;
	if (d->state == DHCP_REQUESTING) {
		q.requested = d->offered;
		q.server = d->offer_server;
	} else if (d->state != DHCP_SELECTING) {
		q.ciaddr = d->lease.address;
		if (d->state == DHCP_RENEWING)
			*to = d->lease.server;
	}
	return dhcp_encode(&q, msg);
}

const char *dhcp_state_name(enum dhcp_state state)
{
	static const char *const names[] = {
		"selecting", "requesting", "bound", "renewing", "rebinding",
	};

	return (unsigned)state < ARRAY_SIZE(names) ? names[state] : "?";
}
