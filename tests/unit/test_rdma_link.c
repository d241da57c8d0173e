/* SPDX-License-Identifier: BSD-3-Clause */
/* RDMA links: the messages to the kernel byte by byte, its answers, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "drivers/port/rdma_link.h"
#include "tests/unit/cmd_box.h"

/* As the kernel's rdma_netlink.h numbers them. */
enum {
	NEWLINK = 5 << 10 | 3, DELLINK = 5 << 10 | 4, GET = 5 << 10 | 1,
	DEV_INDEX = 1, DEV_NAME = 2, SUMMARY = 15, ENTRY = 16, ENTRY_NAME = 17, ENTRY_CURR = 18,
	NDEV_NAME = 51, LINK_TYPE = 65, PROTOCOL = 67,
};

static void test_a_link_is_made_by_this_message(void **state)
{
	static const uint8_t wanted[] = {
		9, 0, DEV_NAME, 0, 'r', 'x', 'e', '0', 0, 0, 0, 0,
		8, 0, LINK_TYPE, 0, 's', 'i', 'w', 0,
		9, 0, NDEV_NAME, 0, 'e', 't', 'h', '1', 0,
	};
	struct netlink_msg m;

	rlink_new_msg(&m, "rxe0", RDMA_LINK_SIW, "eth1");
	assert_false(m.overflow);
	assert_int_equal(m.protocol, NETLINK_RDMA);
	assert_int_equal(m.head.nlmsg_type, NEWLINK);
	assert_int_equal(m.head.nlmsg_len, NLMSG_HDRLEN + sizeof(wanted));
	assert_memory_equal(m.bytes + NLMSG_HDRLEN, wanted, sizeof(wanted));
}

static void test_a_link_is_removed_by_its_index(void **state)
{
	static const uint8_t wanted[] = { 8, 0, DEV_INDEX, 0, 0x34, 0x12, 0, 0 };
	struct netlink_msg m;

	rlink_delete_msg(&m, 0x1234);
	assert_int_equal(m.protocol, NETLINK_RDMA);
	assert_int_equal(m.head.nlmsg_type, DELLINK);
	assert_int_equal(m.head.nlmsg_len, NLMSG_HDRLEN + sizeof(wanted));
	assert_memory_equal(m.bytes + NLMSG_HDRLEN, wanted, sizeof(wanted));
}

/* ---- answers ---- */

static struct netlink_msg device(void)
{
	struct netlink_msg m;

	netlink_begin(&m, GET, 0, NULL, 0);
	netlink_attr_u32(&m, DEV_INDEX, 7);
	netlink_attr(&m, DEV_NAME, "mlx5_0", 7);
	netlink_attr(&m, PROTOCOL, "roce", 5);
	return m;
}

static void test_a_device_is_read(void **state)
{
	struct netlink_msg m = device();
	struct rdma_device d;

	assert_int_equal(rlink_device_parse(&m.head, &d), 0);
	assert_int_equal(d.index, 7);
	assert_string_equal(d.name, "mlx5_0");
	assert_string_equal(d.protocol, "roce");
	assert_false(d.counted);
}

static void test_a_device_without_a_name_or_an_index_is_none(void **state)
{
	struct rdma_device d;
	struct netlink_msg m;

	netlink_begin(&m, GET, 0, NULL, 0);
	netlink_attr_u32(&m, DEV_INDEX, 7);
	assert_int_equal(rlink_device_parse(&m.head, &d), -EBADMSG);
	netlink_begin(&m, GET, 0, NULL, 0);
	netlink_attr(&m, DEV_NAME, "rxe0", 5);
	assert_int_equal(rlink_device_parse(&m.head, &d), -EBADMSG);
	m = device();
	((struct rtattr *)(m.bytes + NLMSG_HDRLEN))->rta_len = 200;
	assert_int_equal(rlink_device_parse(&m.head, &d), -EBADMSG);
}

static void test_a_name_that_is_too_long_is_cut(void **state)
{
	char name[200];
	struct rdma_device d;
	struct netlink_msg m;

	memset(name, 'x', sizeof(name));
	netlink_begin(&m, GET, 0, NULL, 0);
	netlink_attr_u32(&m, DEV_INDEX, 1);
	netlink_attr(&m, DEV_NAME, name, sizeof(name));
	assert_int_equal(rlink_device_parse(&m.head, &d), 0);
	assert_int_equal(strlen(d.name), RDMA_DEVICE_BYTES - 1);
}

/* One counter; the message's end moves. */
static void put_count(struct netlink_msg *m, const char *name, uint64_t count)
{
	struct rtattr *entry = (struct rtattr *)(m->bytes + m->head.nlmsg_len);

	netlink_attr(m, ENTRY, NULL, 0);
	netlink_attr(m, ENTRY_NAME, name, strlen(name) + 1);
	netlink_attr(m, ENTRY_CURR, &count, sizeof(count));
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len);
	entry->rta_len = (unsigned short)(m->bytes + m->head.nlmsg_len - (uint8_t *)entry);
}

static struct netlink_msg resources(uint32_t index)
{
	struct rtattr *summary;
	struct netlink_msg m;

	netlink_begin(&m, GET, 0, NULL, 0);
	netlink_attr_u32(&m, DEV_INDEX, index);
	summary = (struct rtattr *)(m.bytes + m.head.nlmsg_len);
	netlink_attr(&m, SUMMARY, NULL, 0);
	put_count(&m, "qp", 3);
	put_count(&m, "unheard", 9);
	put_count(&m, "cm_id", 5000000000);
	summary->rta_len = (unsigned short)(m.bytes + m.head.nlmsg_len - (uint8_t *)summary);
	return m;
}

static void test_what_is_in_use_is_read(void **state)
{
	struct netlink_msg m = resources(7);
	struct rdma_device d = { .index = 7 };

	assert_int_equal(rlink_resource_parse(&m.head, &d), 0);
	assert_true(d.counted);
	assert_int_equal(d.qps, 3);
	assert_int_equal(d.cm_ids, 5000000000);
	assert_int_equal(d.pds, 0);
}

static void test_what_is_in_use_of_another_device_is_not_taken(void **state)
{
	struct netlink_msg m = resources(8);
	struct rdma_device d = { .index = 7 };

	assert_int_equal(rlink_resource_parse(&m.head, &d), -EBADMSG);
	assert_false(d.counted);
	assert_int_equal(d.qps, 0);
}

static void test_malformed_counters_are_left_out(void **state)
{
	static const uint16_t lengths[] = { 0, 3, 4, 5, 60000 };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct netlink_msg m = resources(7);
		struct rdma_device d = { .index = 7 };
		/* of the first counter: behind header, index and the summary's own header */
		struct rtattr *entry = (struct rtattr *)(m.bytes + NLMSG_HDRLEN + 8 + 4);

		entry->rta_len = lengths[i];
		rlink_resource_parse(&m.head, &d);
		assert_int_equal(d.qps, 0);
	}
}

/* ---- commands ---- */

static void test_a_hosted_karst_leaves_the_network_alone(void **state)
{
	karst_run.appliance = false;
	expect_has(*state, "rdma link add rxe0 port=lo", -EPERM, "use rdma(8)");
	expect_has(*state, "rdma link remove rxe0", -EPERM, "use rdma(8)");
}

static void test_an_unknown_port_or_type_is_refused(void **state)
{
	karst_run.appliance = true;
	expect_has(*state, "rdma link add rxe0 port=none", -ENODEV, "port none: no such port");
	expect_has(*state, "rdma link add rxe0 port=lo type=ib", -EINVAL, "type");
	expect_has(*state, "rdma link add rxe0", -EINVAL, "port");
	karst_run.appliance = false;
}

static int setup(void **state)
{
	cmd_register(port_cmds);
	return box_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_link_is_made_by_this_message),
		cmocka_unit_test(test_a_link_is_removed_by_its_index),
		cmocka_unit_test(test_a_device_is_read),
		cmocka_unit_test(test_a_device_without_a_name_or_an_index_is_none),
		cmocka_unit_test(test_a_name_that_is_too_long_is_cut),
		cmocka_unit_test(test_what_is_in_use_is_read),
		cmocka_unit_test(test_what_is_in_use_of_another_device_is_not_taken),
		cmocka_unit_test(test_malformed_counters_are_left_out),
		cmocka_unit_test(test_a_hosted_karst_leaves_the_network_alone),
		cmocka_unit_test(test_an_unknown_port_or_type_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, box_teardown);
}
