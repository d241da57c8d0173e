/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/base/uuid.h"
#include "core/clock.h"

static void test_text_round_trip(void **state)
{
	char text[UUID_TEXT_BYTES];
	struct uuid u, same;

	for (unsigned i = 0; i < 100; i++) {
		u = uuid_random();
		assert_int_equal(u.b[6] >> 4, 4);
		assert_int_equal(u.b[8] >> 6, 2);
		uuid_format(&u, text);
		assert_int_equal(strlen(text), 36);
		assert_int_equal(uuid_parse(text, &same), 0);
		assert_true(uuid_equal(&u, &same));
	}
}

static void test_both_cases_are_read(void **state)
{
	static const struct uuid want = { {
		0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
		0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10
	} };
	char text[UUID_TEXT_BYTES];
	struct uuid u;

	assert_int_equal(uuid_parse("01234567-89AB-cdef-FEDC-ba9876543210", &u), 0);
	assert_true(uuid_equal(&u, &want));
	uuid_format(&u, text);
	assert_string_equal(text, "01234567-89ab-cdef-fedc-ba9876543210");
}

static void test_malformed_text_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "-", "01234567", "0123456789abcdeffedcba9876543210",
		"01234567-89ab-cdef-fedc-ba987654321", "01234567-89ab-cdef-fedc-ba98765432100",
		"01234567-89ab-cdef-fedc-ba987654321g", "01234567_89ab-cdef-fedc-ba9876543210",
		"0123456-789ab-cdef-fedc-ba9876543210", " 1234567-89ab-cdef-fedc-ba9876543210",
		"01234567-89ab-cdef-fedc-ba9876543210 ",
	};
	struct uuid u, before;

	memset(&u, 0x5a, sizeof(u));
	before = u;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(uuid_parse(bad[i], &u), -EINVAL);
		assert_true(uuid_equal(&u, &before));
	}
}

/* The literal is a promise to users: disks keep their UUIDs over updates of the firmware. */
static void test_names_give_the_same_uuid_for_ever(void **state)
{
	char text[UUID_TEXT_BYTES];
	struct uuid a = uuid_from_name("x", "abc", 3), b;

	uuid_format(&a, text);
	assert_string_equal(text, "36795649-3b78-8003-a818-98460f672d83");
	b = uuid_from_name("x", "abd", 3);
	assert_false(uuid_equal(&a, &b));
	b = uuid_from_name("xa", "bc", 2);
	assert_false(uuid_equal(&a, &b));
	b = uuid_from_name("x", "ab", 2);
	assert_false(uuid_equal(&a, &b));
}

/* Neighbouring names differ in about half of the bits. */
static void test_names_spread(void **state)
{
	for (unsigned i = 0; i < 1000; i++) {
		unsigned j = i + 1, bits = 0;
		struct uuid a = uuid_from_name("disk", &i, sizeof(i));
		struct uuid b = uuid_from_name("disk", &j, sizeof(j));

		for (unsigned k = 0; k < 16; k++)
			bits += (unsigned)__builtin_popcount(a.b[k] ^ b.b[k]);
		assert_in_range(bits, 25, 100);
	}
}

static void test_nil(void **state)
{
	struct uuid nil = { { 0 } }, one = { { [15] = 1 } };

	assert_true(uuid_is_nil(&nil));
	assert_false(uuid_is_nil(&one));
}

static void test_randomness_follows_the_seed_when_simulated(void **state)
{
	struct uuid a, b, c;

	clock_simulate(7);
	a = uuid_random();
	clock_simulate(7);
	b = uuid_random();
	c = uuid_random();
	clock_simulate_end();
	assert_true(uuid_equal(&a, &b));
	assert_false(uuid_equal(&b, &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_round_trip),
		cmocka_unit_test(test_both_cases_are_read),
		cmocka_unit_test(test_malformed_text_is_refused),
		cmocka_unit_test(test_names_give_the_same_uuid_for_ever),
		cmocka_unit_test(test_names_spread),
		cmocka_unit_test(test_nil),
		cmocka_unit_test(test_randomness_follows_the_seed_when_simulated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
