/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses as text, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "core/addr.h"
#include "core/base/util.h"

static void test_good_addresses(void **state)
{
	static const struct {
		const char *text;
		bool prefix;
		uint8_t family, prefix_len;
		const char *again, *with_port;
	} cases[] = {
		{ "10.0.0.5", false, 4, 32, "10.0.0.5", "10.0.0.5:4420" },
		{ "0.0.0.0", false, 4, 32, "0.0.0.0", "0.0.0.0:4420" },
		{ "255.255.255.255", true, 4, 32, "255.255.255.255", "255.255.255.255:4420" },
		{ "10.0.0.5/24", true, 4, 24, "10.0.0.5", "10.0.0.5:4420" },
		{ "10.0.0.5/0", true, 4, 0, "10.0.0.5", "10.0.0.5:4420" },
		{ "::", false, 6, 128, "::", "[::]:4420" },
		{ "::1", false, 6, 128, "::1", "[::1]:4420" },
		{ "fd00::5", true, 6, 128, "fd00::5", "[fd00::5]:4420" },
		{ "FD00:0::0:5/64", true, 6, 64, "fd00::5", "[fd00::5]:4420" },
		{ "fe80::1%lo", false, 6, 128, "fe80::1%lo", "[fe80::1%lo]:4420" },
		{ "fe80::1%1", false, 6, 128, "fe80::1%lo", "[fe80::1%lo]:4420" },
		{ "fe80::1%lo/64", true, 6, 64, "fe80::1%lo", "[fe80::1%lo]:4420" },
		{ "::ffff:1.2.3.4", false, 6, 128, "::ffff:1.2.3.4", "[::ffff:1.2.3.4]:4420" },
		{ "1111:2222:3333:4444:5555:6666:7777:8888", false, 6, 128,
		  "1111:2222:3333:4444:5555:6666:7777:8888",
		  "[1111:2222:3333:4444:5555:6666:7777:8888]:4420" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[ADDR_TEXT_BYTES];
		struct net_addr a, b;

		assert_int_equal(addr_parse(cases[i].text, cases[i].prefix, &a), 0);
		assert_int_equal(a.family, cases[i].family);
		assert_int_equal(a.prefix_len, cases[i].prefix_len);
		assert_int_equal(a.port, 0);
		addr_format(&a, text);
		assert_string_equal(text, cases[i].again);
		assert_int_equal(addr_parse(text, false, &b), 0);
		assert_true(addr_equal(&a, &b));
		a.port = 4420;
		assert_false(addr_equal(&a, &b));
		addr_format_port(&a, text);
		assert_string_equal(text, cases[i].with_port);
	}
}

static void test_bad_addresses(void **state)
{
	static const char *const cases[] = {
		"", " ", "10.0.0", "10.0.0.256", "10.0.0.5.6", "010.0.0.5", "10.0.0.5 ", "x",
		"10.0.0.5%lo", "fe80::1%", "fe80::1%nosuchif0", "fe80::1%0", "::1::2", ":::",
		"12345::", "10.0.0.5/33", "10.0.0.5/", "10.0.0.5/x", "10.0.0.5/-1", "::1/129",
		"10.0.0.5/24/24", "[::1]", "10.0.0.5:4420",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999",
		"0000000000000000000000000000000000000000000000000000000000000000000000000::1",
	};
	struct net_addr a = { .port = 7 };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(addr_parse(cases[i], true, &a), -EINVAL);
	/* Untouched. */
	assert_int_equal(a.port, 7);
	assert_int_equal(addr_parse("10.0.0.5/24", false, &a), -EINVAL);
}

static void test_any_and_equal(void **state)
{
	struct net_addr a, b;

	assert_int_equal(addr_parse("0.0.0.0", false, &a), 0);
	assert_int_equal(addr_parse("::", false, &b), 0);
	assert_true(addr_is_any(&a) && addr_is_any(&b));
	assert_false(addr_equal(&a, &b));
	assert_int_equal(addr_parse("0.0.0.1", false, &a), 0);
	assert_int_equal(addr_parse("::1", false, &b), 0);
	assert_false(addr_is_any(&a) || addr_is_any(&b));
	/* What is behind an IPv4 address means nothing. */
	b = a;
	memset(b.ip + 4, 0xff, 12);
	assert_true(addr_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_addresses),
		cmocka_unit_test(test_bad_addresses),
		cmocka_unit_test(test_any_and_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
