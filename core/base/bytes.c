/* SPDX-License-Identifier: BSD-3-Clause */
/* Bulk comparison by 64-byte blocks, the rest by bytes. Any alignment. */
#include "core/base/bytes.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK_WORDS = 8, BLOCK_BYTES = BLOCK_WORDS * 8 };

static inline uint64_t block_differs(const uint8_t *a, const uint8_t *b)
{
	uint64_t x[BLOCK_WORDS], y[BLOCK_WORDS], differs = 0;

	memcpy(x, a, BLOCK_BYTES);
	memcpy(y, b, BLOCK_BYTES);
	for (int i = 0; i < BLOCK_WORDS; i++)
		differs |= x[i] ^ y[i];
	return differs;
}

bool bytes_equal(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;
	uint8_t rest = 0;

	for (; len >= BLOCK_BYTES; p += BLOCK_BYTES, q += BLOCK_BYTES, len -= BLOCK_BYTES) {
		if (block_differs(p, q))
			return false;
	}
	for (; len > 0; len--)
		rest |= *p++ ^ *q++;
	return rest == 0;
}

bool bytes_zero(const void *a, size_t len)
{
	const uint8_t *p = a;

	/* Equal to itself one byte further, and that byte is zero. */
	return len == 0 || (*p == 0 && bytes_equal(p, p + 1, len - 1));
}
