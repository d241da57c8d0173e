/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DHCP server that sends anything: the first byte chooses the client's state, the rest is the
 * message. Besides not crashing, a decoded lease must be one that an interface can take.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "drivers/port/dhcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	struct dhcp_reply reply;
	struct dhcp d;
	uint8_t msg[DHCP_MSG_BYTES];
	uint32_t to;

	if (size < 1)
		return 0;
	clock_simulate(1);
	dhcp_start(&d, mac, 1000);
	d.state = data[0] % 5;
	if (dhcp_decode(data + 1, size - 1, &reply) == 0) {
		if (reply.prefix_len > 32)
			abort();
		if (reply.type != DHCP_NAK && (reply.address == 0 || reply.lease_s == 0))
			abort();
		d.xid = reply.xid;
		d.offer_server = d.lease.server = reply.server;
		memcpy(d.mac, reply.mac, sizeof(d.mac));
	}
	d.lease.t2_us = d.lease.end_us = 1000000000;
	dhcp_input(&d, 2000, data + 1, size - 1);
	if (d.state >= DHCP_BOUND && d.lease.end_us < d.lease.t2_us)
		abort();
	if (dhcp_message(&d, 3000, msg, &to) > sizeof(msg))
		abort();
	dhcp_timeout(&d, d.deadline_us);
	return 0;
}
