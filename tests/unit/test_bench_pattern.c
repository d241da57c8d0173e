/* SPDX-License-Identifier: BSD-3-Clause */
/* Patterns of `disk bench … verify`: every way in which a block can be wrong is found and named. */
#include "core/bench_pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

enum { BLOCK = 4096, LBA = 77 };

static const struct bench_stamp stamp = { 0x1234567890abcdef, 3 };
static uint64_t block[BLOCK / sizeof(uint64_t)];
static char what[160];

static bool check(struct bench_stamp want, uint64_t lba)
{
	what[0] = '\0';
	return bench_pattern_check(block, BLOCK, lba, want, what, sizeof(what));
}

static int fill(void **state)
{
	bench_pattern_fill(block, BLOCK, LBA, stamp);
	return 0;
}

static void test_a_whole_block_is_known_again(void **state)
{
	assert_true(check(stamp, LBA));
	assert_true(check((struct bench_stamp){ 1, 0 }, LBA));
	assert_string_equal(what, "");
}

static void test_every_bit_counts(void **state)
{
	for (size_t bit = 0; bit < BLOCK * 8; bit++) {
		((uint8_t *)block)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(check((struct bench_stamp){ 0 }, LBA));
		((uint8_t *)block)[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(check(stamp, LBA));
}

static void test_what_is_wrong_is_named(void **state)
{
	assert_false(check(stamp, LBA + 1));
	assert_non_null(strstr(what, "block 77"));
	assert_false(check((struct bench_stamp){ stamp.run, 4 }, LBA));
	assert_string_equal(what, "generation 3 instead of 4");
	assert_false(check((struct bench_stamp){ 1, 3 }, LBA));
	assert_non_null(strstr(what, "earlier run"));
	memset((uint8_t *)block + BLOCK / 2, 0, BLOCK / 2);
	assert_false(check(stamp, LBA));
	assert_non_null(strstr(what, "CRC"));
	bench_pattern_spoil(block);
	assert_false(check(stamp, LBA));
	assert_non_null(strstr(what, "no pattern"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_whole_block_is_known_again, fill),
		cmocka_unit_test_setup(test_every_bit_counts, fill),
		cmocka_unit_test_setup(test_what_is_wrong_is_named, fill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
