/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of small integers against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blob/bits.h"
#include "core/base/util.h"

static const uint64_t sizes[] = { 1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 262144, 262145 };

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t plain_next(const uint8_t *plain, uint64_t count, uint64_t from, uint8_t what)
{
	while (from < count && plain[from] != what)
		from++;
	return from < count ? from : BITS_NONE;
}

static void against_plain(uint64_t count, unsigned fill_percent)
{
	uint8_t *plain = calloc(count, 1), *bytes = calloc(count / 8 + 1, 1);
	uint64_t seed = count * 31 + fill_percent + 1, used = 0;
	struct bits b, copy;

	assert_int_equal(bits_init(&b, count), 0);
	for (uint64_t i = 0; i < count; i++)
		if (random_next(&seed) % 100 < fill_percent) {
			plain[i] = 1;
			assert_false(bits_set(&b, i));
			assert_true(bits_set(&b, i));
			used++;
		}
	for (unsigned n = 0; n < 2000; n++) {
		uint64_t i = random_next(&seed) % count;

		assert_int_equal(bits_test(&b, i), plain[i]);
		assert_int_equal(bits_next_clear(&b, i), plain_next(plain, count, i, 0));
		assert_int_equal(bits_next_set(&b, i), plain_next(plain, count, i, 1));
		used += plain[i] ? -1 : 1;
		assert_int_equal(plain[i] ? bits_clear(&b, i) : bits_set(&b, i), plain[i]);
		plain[i] ^= 1;
		assert_int_equal(b.set_count, used);
	}
	assert_int_equal(bits_next_clear(&b, count), BITS_NONE);
	bits_store(&b, bytes);
	assert_int_equal(bits_init(&copy, count), 0);
	bits_load(&copy, bytes);
	assert_int_equal(bits_grow(&copy, count * 2 + 1), 0);
	assert_int_equal(copy.set_count, used);
	for (uint64_t i = 0; i < copy.count; i++)
		assert_int_equal(bits_test(&copy, i), i < count && plain[i]);
	bits_fini(&copy);
	bits_fini(&b);
	free(plain);
	free(bytes);
}

static void test_a_set_is_what_a_plain_array_is(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		against_plain(sizes[i], 0);
		against_plain(sizes[i], 50);
		against_plain(sizes[i], 99);
		against_plain(sizes[i], 100);
	}
}

static void test_the_last_free_one_of_millions_is_found_at_once(void **state)
{
	struct bits b;

	assert_int_equal(bits_init(&b, 8000000), 0);
	bits_set_range(&b, 0, 8000000);
	assert_int_equal(bits_next_clear(&b, 0), BITS_NONE);
	assert_int_equal(bits_free(&b), 0);
	bits_clear(&b, 7999999);
	for (uint64_t i = 0; i < 1000000; i++)
		assert_int_equal(bits_next_clear(&b, i), 7999999);
	bits_clear(&b, 0);
	assert_int_equal(bits_next_clear(&b, 0), 0);
	assert_int_equal(bits_next_clear(&b, 1), 7999999);
	bits_fini(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_set_is_what_a_plain_array_is),
		cmocka_unit_test(test_the_last_free_one_of_millions_is_found_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
