/* SPDX-License-Identifier: BSD-3-Clause */
/* The rtnetlink codec: what it builds, and what it makes of malformed answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "drivers/port/netlink.h"
#include "drivers/port/port.h"

static struct netlink_msg message(void)
{
	struct ifaddrmsg body = { .ifa_family = 2, .ifa_index = 3 };
	struct netlink_msg m;

	netlink_begin(&m, RTM_NEWADDR, 0, &body, sizeof(body));
	netlink_attr_u32(&m, IFA_LOCAL, 0x0100007f);
	netlink_attr(&m, IFA_LABEL, "eth0", 5);
	return m;
}

static void test_attributes_come_back(void **state)
{
	const struct rtattr *attr[IFA_LABEL + 1];
	struct netlink_msg m = message();

	assert_false(m.overflow);
	assert_int_equal(m.head.nlmsg_flags, NLM_F_REQUEST);
	assert_int_equal(netlink_parse(&m.head, sizeof(struct ifaddrmsg), attr,
				       ARRAY_SIZE(attr)), 0);
	assert_null(attr[IFA_ADDRESS]);
	assert_int_equal(*(const uint32_t *)netlink_data(attr[IFA_LOCAL], 4), 0x0100007f);
	assert_null(netlink_data(attr[IFA_LOCAL], 8));
	assert_string_equal(netlink_data(attr[IFA_LABEL], 5), "eth0");
	assert_null(netlink_data(attr[IFA_ADDRESS], 4));
}

static void test_malformed_attributes_are_refused(void **state)
{
	static const uint16_t lengths[] = { 0, 1, 3, 100, 65535 };
	const struct rtattr *attr[IFA_LABEL + 1];

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct netlink_msg m = message();
		struct rtattr *first = (struct rtattr *)(m.bytes + NLMSG_LENGTH(8));

		first->rta_len = lengths[i];
		assert_int_equal(netlink_parse(&m.head, 8, attr, ARRAY_SIZE(attr)), -EBADMSG);
	}
}

static void test_a_message_shorter_than_its_type_is_refused(void **state)
{
	const struct rtattr *attr[IFA_LABEL + 1];
	struct netlink_msg m = message();

	m.head.nlmsg_len = NLMSG_HDRLEN + 7;
	assert_int_equal(netlink_parse(&m.head, 8, attr, ARRAY_SIZE(attr)), -EBADMSG);
}

static void test_too_many_attributes_are_not_sent(void **state)
{
	struct netlink_msg m = message();

	for (int i = 0; i < 100; i++)
		netlink_attr_u32(&m, IFA_LOCAL, 1);
	assert_true(m.overflow);
	assert_int_equal(netlink_request(&m), -EMSGSIZE);
}

static void test_the_kernel_answers(void **state)
{
	struct netlink_msg m;
	struct ifinfomsg body = { .ifi_index = 0x7fffffff, .ifi_change = 1 };
	struct port port;

	netlink_begin(&m, RTM_NEWLINK, 0, &body, sizeof(body));
	/* -ENODEV from root, -EPERM from others: an error either way, and it comes back */
	assert_in_range(-netlink_request(&m), 1, 4095);
	assert_int_equal(port_find("no-such-port", &port), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attributes_come_back),
		cmocka_unit_test(test_malformed_attributes_are_refused),
		cmocka_unit_test(test_a_message_shorter_than_its_type_is_refused),
		cmocka_unit_test(test_too_many_attributes_are_not_sent),
		cmocka_unit_test(test_the_kernel_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
