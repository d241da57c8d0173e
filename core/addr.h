/* SPDX-License-Identifier: BSD-3-Clause */
/* Network addresses: IPv4 or IPv6 and a port. */
#ifndef CORE_ADDR_H
#define CORE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ADDR_TEXT_BYTES = 64 };

struct net_addr {
	uint8_t family;                 /* 4 or 6 */
	uint8_t prefix_len;             /* for ADDR/LEN forms, else 32 or 128 */
	uint16_t port;
	uint32_t scope;                 /* IPv6 zone, 0: none */
	uint8_t ip[16];                 /* network order; the first 4 for IPv4 */
};

/* "10.0.0.5", "fd00::5", "fe80::1%eth0", with /LEN only when PREFIX. No port. -EINVAL. */
int addr_parse(const char *text, bool prefix, struct net_addr *addr);
/* The address without port. */
void addr_format(const struct net_addr *addr, char text[ADDR_TEXT_BYTES]);
/* "10.0.0.5:4420", "[fd00::5]:4420". */
void addr_format_port(const struct net_addr *addr, char text[ADDR_TEXT_BYTES]);
bool addr_equal(const struct net_addr *a, const struct net_addr *b);
bool addr_is_any(const struct net_addr *a);

#endif
