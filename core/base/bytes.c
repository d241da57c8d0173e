/* SPDX-License-Identifier: BSD-3-Clause */
/* Bulk comparison and streaming by 64-byte blocks, the rest by bytes. Any alignment. */
#include "core/base/bytes.h"

#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

#include "core/base/util.h"

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

void bytes_stream(void *to, const void *from, size_t len)
{
	const char *p = from;
	char *q = to;
	size_t head = MIN(-(uintptr_t)q & (BLOCK_BYTES - 1), len);

	memcpy(q, p, head);
	for (q += head, p += head, len -= head; len >= BLOCK_BYTES;
	     q += BLOCK_BYTES, p += BLOCK_BYTES, len -= BLOCK_BYTES) {
		const __m128i *load = (const __m128i *)p;
		__m128i *store = (__m128i *)q;
		__m128i a = _mm_loadu_si128(load), b = _mm_loadu_si128(load + 1);
		__m128i c = _mm_loadu_si128(load + 2), d = _mm_loadu_si128(load + 3);

		_mm_stream_si128(store, a);
		_mm_stream_si128(store + 1, b);
		_mm_stream_si128(store + 2, c);
		_mm_stream_si128(store + 3, d);
	}
	memcpy(q, p, len);
}

void bytes_stream_end(void)
{
	_mm_sfence();
}
