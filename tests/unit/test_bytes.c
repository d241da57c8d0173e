/* SPDX-License-Identifier: BSD-3-Clause */
/* Bulk memory against the C library, at every alignment and around the length of a block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/bytes.h"

enum { SHIFTS = 65, LENS = 200, ROOM = SHIFTS + LENS + 64 };

static void fill(uint8_t *at, unsigned seed)
{
	for (unsigned i = 0; i < ROOM; i++)
		at[i] = (uint8_t)(i * 7 + seed);
}

static void test_streaming_copies_what_memcpy_copies(void **state)
{
	uint8_t from[ROOM], to[ROOM], expected[ROOM];

	fill(from, 1);
	for (size_t shift = 0; shift < SHIFTS; shift++) {
		for (size_t len = 0; len < LENS; len++) {
			fill(to, 100);
			fill(expected, 100);
			memcpy(expected + shift, from + len % 19, len);
			bytes_stream(to + shift, from + len % 19, len);
			bytes_stream_end();
			assert_memory_equal(to, expected, ROOM);
		}
	}
}

static void test_a_byte_that_differs_is_seen_wherever_it_is(void **state)
{
	uint8_t a[ROOM], b[ROOM];

	fill(a, 3);
	fill(b, 3);
	for (size_t len = 1; len < LENS; len++) {
		size_t at = len * len / 3 % len;

		assert_true(bytes_equal(a + 1, b + 1, len));
		b[1 + at] ^= 0x10;
		assert_false(bytes_equal(a + 1, b + 1, len));
		b[1 + at] ^= 0x10;
		b[1 + len] ^= 0x10;
		assert_true(bytes_equal(a + 1, b + 1, len));
		b[1 + len] ^= 0x10;
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streaming_copies_what_memcpy_copies),
		cmocka_unit_test(test_a_byte_that_differs_is_seen_wherever_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
