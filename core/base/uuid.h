/* SPDX-License-Identifier: BSD-3-Clause */
/* UUIDs as 16 bytes in network order (RFC 9562). */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UUID_TEXT_BYTES = 37 };

struct uuid {
	uint8_t b[16];
};

/* Version 4 from the system's random source. */
struct uuid uuid_random(void);
/* Version 8, from a hash of SPACE and NAME: the same name gives the same UUID on every machine. */
struct uuid uuid_from_name(const char *space, const void *name, size_t len);
bool uuid_is_nil(const struct uuid *u);
bool uuid_equal(const struct uuid *a, const struct uuid *b);
/* Lower case, 8-4-4-4-12, NUL-terminated. */
void uuid_format(const struct uuid *u, char text[UUID_TEXT_BYTES]);
/* Accepts upper and lower case; -EINVAL. */
int uuid_parse(const char *text, struct uuid *u);

#endif
