/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network addresses as text. The numbers are parsed by the C library (inet_pton: no octal, no short
 * forms); an IPv6 zone is an interface's name or index.
 */
#include "core/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "core/base/util.h"

enum { V4_BITS = 32, V6_BITS = 128 };

/* Decimal digits only, at most MAX. */
static int number_parse(const char *text, unsigned long max, unsigned long *value)
{
	unsigned long v = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(*text - '0');
		if (v > max)
			return -EINVAL;
	}
	*value = v;
	return 0;
}

static int zone_parse(const char *text, uint32_t *scope)
{
	unsigned long index;

	if (number_parse(text, UINT32_MAX, &index) < 0)
		index = if_nametoindex(text);
	if (index == 0)
		return -EINVAL;
	*scope = index;
	return 0;
}

/* Cuts TEXT at the last SEPARATOR; what follows it, or NULL. */
static char *cut(char *text, char separator)
{
	char *at = strrchr(text, separator);

	if (at)
		*at++ = '\0';
	return at;
}

int addr_parse(const char *text, bool prefix, struct net_addr *addr)
{
	struct net_addr a = { 0 };
	char copy[ADDR_TEXT_BYTES], *len, *zone;
	unsigned long prefix_len;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, strlen(text) + 1);
	len = cut(copy, '/');
	zone = cut(copy, '%');
	if (len && !prefix)
		return -EINVAL;
	if (inet_pton(AF_INET, copy, a.ip) == 1) {
		a.family = 4;
		if (zone)
			return -EINVAL;
	} else if (inet_pton(AF_INET6, copy, a.ip) == 1) {
		a.family = 6;
		if (zone && zone_parse(zone, &a.scope) < 0)
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	prefix_len = a.family == 4 ? V4_BITS : V6_BITS;
	if (len && number_parse(len, prefix_len, &prefix_len) < 0)
		return -EINVAL;
	a.prefix_len = prefix_len;
	*addr = a;
	return 0;
}

void addr_format(const struct net_addr *addr, char text[ADDR_TEXT_BYTES])
{
	char zone[IF_NAMESIZE];
	size_t len;

	if (!inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->ip, text, ADDR_TEXT_BYTES))
		text[0] = '\0';
	if (addr->family == 4 || addr->scope == 0)
		return;
	len = strlen(text);
	if (if_indextoname(addr->scope, zone))
		snprintf(text + len, ADDR_TEXT_BYTES - len, "%%%s", zone);
	else
		snprintf(text + len, ADDR_TEXT_BYTES - len, "%%%u", addr->scope);
}

void addr_format_port(const struct net_addr *addr, char text[ADDR_TEXT_BYTES])
{
	char ip[ADDR_TEXT_BYTES];

	addr_format(addr, ip);
	if (addr->family == 4)
		snprintf(text, ADDR_TEXT_BYTES, "%.15s:%u", ip, addr->port);
	else
		snprintf(text, ADDR_TEXT_BYTES, "[%.55s]:%u", ip, addr->port);
}

bool addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	size_t bytes = a->family == 4 ? V4_BITS / 8 : V6_BITS / 8;

	return a->family == b->family && a->port == b->port && a->scope == b->scope &&
	       memcmp(a->ip, b->ip, bytes) == 0;
}

bool addr_is_any(const struct net_addr *a)
{
	static const uint8_t any[16];

	return memcmp(a->ip, any, a->family == 4 ? V4_BITS / 8 : V6_BITS / 8) == 0;
}
