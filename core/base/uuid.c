/* SPDX-License-Identifier: BSD-3-Clause */
/* UUIDs: text form, random ones (version 4) and ones made from a name (version 8), RFC 9562. */
#include "core/base/uuid.h"

#include <errno.h>
#include <string.h>

#include "core/base/util.h"
#include "core/clock.h"

static void set_version(struct uuid *u, unsigned version)
{
	u->b[6] = (uint8_t)((u->b[6] & 0x0f) | version << 4);
	u->b[8] = (u->b[8] & 0x3f) | 0x80;
}

struct uuid uuid_random(void)
{
	struct uuid u;

	clock_random(u.b, sizeof(u.b));
	set_version(&u, 4);
	return u;
}

/* FNV-1a with 128 bits: the prime is 2^88 + 0x13b. */
static unsigned __int128 hash_bytes(unsigned __int128 h, const void *data, size_t len)
{
	const unsigned __int128 prime = ((unsigned __int128)1 << 88) + 0x13b;
	const uint8_t *p = data;

	while (len--)
		h = (h ^ *p++) * prime;
	return h;
}

/*
 * SPACE, its NUL, then NAME. The hash is no cryptographic one: names come from our own
 * configuration and drives. It is part of what users see and never changes.
 */
struct uuid uuid_from_name(const char *space, const void *name, size_t len)
{
	unsigned __int128 h = (unsigned __int128)0x6c62272e07bb0142u << 64 | 0x62b821756295c58du;
	struct uuid u;

	h = hash_bytes(h, space, strlen(space) + 1);
	h = hash_bytes(h, name, len);
	/* the last bytes have only moved upwards: fold them down and spread once more */
	h ^= h >> 67;
	h = hash_bytes(h, &len, sizeof(len));
	h ^= h >> 61;
	for (unsigned i = 0; i < 16; i++)
		u.b[i] = (uint8_t)(h >> (120 - 8 * i));
	set_version(&u, 8);
	return u;
}

bool uuid_is_nil(const struct uuid *u)
{
	static const struct uuid nil;

	return uuid_equal(u, &nil);
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* A dash stands before these bytes. */
static bool dash_before(unsigned byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const struct uuid *u, char text[UUID_TEXT_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 16; i++) {
		if (dash_before(i))
			*text++ = '-';
		*text++ = digits[u->b[i] >> 4];
		*text++ = digits[u->b[i] & 15];
	}
	*text = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int uuid_parse(const char *text, struct uuid *u)
{
	struct uuid out;

	for (unsigned i = 0; i < 16; i++) {
		int high, low;

		if (dash_before(i) && *text++ != '-')
			return -EINVAL;
		high = digit_value(text[0]);
		low = high < 0 ? -1 : digit_value(text[1]);
		if (low < 0)
			return -EINVAL;
		out.b[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text)
		return -EINVAL;
	*u = out;
	return 0;
}
