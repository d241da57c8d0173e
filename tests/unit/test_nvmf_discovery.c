/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Discovery: which entries a host sees, of which transport and address, the generation counter,
 * referrals, change events of persistent controllers, and addresses that cannot be bound yet.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "core/spec/nvme_identify.h"
#include "core/spec/nvme_log.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_hosts.h"

#define DNR NVME_STATUS_DNR

enum { KATO_MS = 10000 };

static struct hosts_host d;             /* its I/O connection is not used */
static struct nvmf_discovery_log head;
static struct nvmf_discovery_entry entries[8];

static void discovery_up(uint32_t kato_ms)
{
	tbox_dial(&d.admin);
	tbox_ic(&d.admin, false, false);
	assert_int_equal(tbox_connect(&d.admin, NVMF_DISCOVERY_NQN, 0, 31, NVMF_CNTLID_DYNAMIC,
				      kato_ms).status, 0);
	tbox_enable(&d.admin);
}

/* Reads the log with its entries, as many as the array has room for. Returns how many there are. */
static unsigned read_log(void)
{
	unsigned count;

	assert_int_equal(hosts_log(&d, NVME_LID_DISCOVERY, sizeof(head), 0, 0), 0);
	memcpy(&head, hosts_page, sizeof(head));
	assert_int_equal(le16_get(head.recfmt), 0);
	count = (unsigned)le64_get(head.numrec);
	assert_in_range(count, 0, ARRAY_SIZE(entries));
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(hosts_log(&d, NVME_LID_DISCOVERY, sizeof(entries[0]),
					   (i + 1) * sizeof(entries[0]), NVME_LOG_RAE), 0);
		memcpy(&entries[i], hosts_page, sizeof(entries[i]));
	}
	/* nothing behind them */
	assert_int_equal(hosts_log(&d, NVME_LID_DISCOVERY, 4,
				   (count + 1) * sizeof(entries[0]) + 4, NVME_LOG_RAE),
			 NVME_SC_INVALID_FIELD | DNR);
	return count;
}

static bool text_is(const char *field, size_t len, const char *text)
{
	size_t n = strlen(text);

	if (memcmp(field, text, n) != 0)
		return false;
	for (size_t i = n; i < len; i++)
		if (field[i] != ' ')
			return false;
	return true;
}

static void assert_entry(const struct nvmf_discovery_entry *e, uint8_t subtype, const char *nqn,
			 uint8_t trtype, uint8_t adrfam, const char *addr, const char *port)
{
	assert_int_equal(e->subtype, subtype);
	assert_string_equal(e->subnqn, nqn);
	assert_int_equal(e->trtype, trtype);
	assert_int_equal(e->adrfam, adrfam);
	assert_true(text_is(e->traddr, sizeof(e->traddr), addr));
	assert_true(text_is(e->trsvcid, sizeof(e->trsvcid), port));
	assert_int_equal(le16_get(e->cntlid), NVMF_CNTLID_DYNAMIC);
	assert_true(le16_get(e->asqsz) >= NVMF_ADMIN_SQSIZE_MIN);
}

static void test_a_host_sees_what_it_may_use(void **state)
{
	struct nvmf_subsystem *closed = nvmf_subsystem_find(TBOX_CLOSED_NQN);

	discovery_up(0);
	assert_int_equal(read_log(), 2);
	assert_entry(&entries[0], NVMF_SUBTYPE_CURRENT_DISCOVERY, NVMF_DISCOVERY_NQN,
		     NVMF_TRTYPE_TCP, NVMF_ADRFAM_IPV4, "10.0.0.1", "4420");
	assert_int_equal(le16_get(entries[0].eflags), NVMF_EFLAGS_EPCSD | NVMF_EFLAGS_DUPRETINFO);
	assert_entry(&entries[1], NVMF_SUBTYPE_NVM, TBOX_NQN, NVMF_TRTYPE_TCP, NVMF_ADRFAM_IPV4,
		     "10.0.0.1", "4420");
	assert_int_equal(nvmf_host_allow(closed, HOSTS_OTHER), 0);
	assert_int_equal(read_log(), 2);
	assert_int_equal(nvmf_host_allow(closed, TBOX_HOST), 0);
	assert_int_equal(read_log(), 3);
	assert_int_equal(nvmf_host_deny(closed, TBOX_HOST), 0);
	assert_int_equal(read_log(), 2);
	tbox_hangup(&d.admin);
}

static void test_an_entry_for_each_listener_of_each_family(void **state)
{
	static const struct net_addr six = {
		.family = 6, .prefix_len = 128, .port = 8009, .ip = { 0xfd, [15] = 5 },
	};
	struct nvmf_transport *tcp = nvmf_transport_find("tcp");

	hosts_far_listener();
	assert_int_equal(nvmf_listener_add(hosts_subsystem(), tcp, &six), 0);
	discovery_up(0);
	assert_int_equal(read_log(), 4);
	assert_entry(&entries[2], NVMF_SUBTYPE_NVM, TBOX_NQN, NVMF_TRTYPE_TCP, NVMF_ADRFAM_IPV4,
		     "10.0.0.2", "4420");
	assert_entry(&entries[3], NVMF_SUBTYPE_NVM, TBOX_NQN, NVMF_TRTYPE_TCP, NVMF_ADRFAM_IPV6,
		     "fd00::5", "8009");
	assert_int_not_equal(le16_get(entries[2].portid), le16_get(entries[3].portid));
	assert_int_equal(nvmf_listener_remove(hosts_subsystem(), tcp, &six), 0);
	assert_int_equal(read_log(), 3);
	tbox_hangup(&d.admin);
}

static void test_any_address_is_where_the_host_came_in(void **state)
{
	struct net_addr any = { .family = 4, .prefix_len = 32, .port = 4421 };
	struct nvmf_transport *tcp = nvmf_transport_find("tcp");

	assert_int_equal(nvmf_listener_add(hosts_subsystem(), tcp, &any), 0);
	discovery_up(0);
	assert_int_equal(read_log(), 3);
	assert_false(text_is(entries[2].traddr, sizeof(entries[2].traddr), "0.0.0.0"));
	assert_true(text_is(entries[2].trsvcid, sizeof(entries[2].trsvcid), "4421"));
	/* in the other family: by an address of this machine, if it has one */
	any.family = 6;
	any.prefix_len = 128;
	assert_int_equal(nvmf_listener_add(hosts_subsystem(), tcp, &any), 0);
	if (read_log() == 4) {
		assert_int_equal(entries[3].adrfam, NVMF_ADRFAM_IPV6);
		assert_false(text_is(entries[3].traddr, sizeof(entries[3].traddr), "::"));
	}
	tbox_hangup(&d.admin);
}

/* ---- a transport whose addresses come and go ---- */

static int bind_error;
static unsigned binds;

static int slow_listen(struct nvmf_port *port)
{
	binds++;
	return bind_error;
}

static void slow_nothing(struct nvmf_port *port)
{
}

static struct nvmf_transport slow = {
	.name = "rdma", .trtype = NVMF_TRTYPE_RDMA, .listen = slow_listen,
	.unlisten = slow_nothing, .forget = slow_nothing,
};

static void test_an_address_that_cannot_be_bound_is_tried_with_back_off(void **state)
{
	struct nvmf_listener *listener;
	uint16_t cid;

	bind_error = -EADDRNOTAVAIL;
	binds = 0;
	nvmf_transport_register(&slow);
	discovery_up(20 * KATO_MS);
	hosts_want_events(&d, (uint32_t)NVME_OAES_DISCOVERY, &cid);
	assert_int_equal(nvmf_listener_add(hosts_subsystem(), &slow, &hosts_far_addr), 0);
	assert_true(hosts_silent(&d));
	listener = nvmf_listener_find(hosts_subsystem(), &slow, &hosts_far_addr);
	assert_int_equal(listener->port->state, NVMF_PORT_RETRYING);
	assert_int_equal(nvmf_listener_error(hosts_subsystem(), &slow, &hosts_far_addr),
			 -EADDRNOTAVAIL);
	/* 250 ms, 500 ms, 1 s, 2 s … at most 10 s */
	for (unsigned i = 0; i < 8; i++)
		loop_advance(500 * 1000);
	assert_int_equal(binds, 5);
	for (unsigned i = 0; i < 60; i++)
		loop_advance(1000 * 1000);
	assert_in_range(binds, 10, 12);
	bind_error = 0;
	loop_advance(10500 * 1000);
	assert_int_equal(hosts_event(&d, cid), 0x70f002);
	assert_int_equal(read_log(), 3);        /* before that a host could not get there */
	assert_entry(&entries[2], NVMF_SUBTYPE_NVM, TBOX_NQN, NVMF_TRTYPE_RDMA, NVMF_ADRFAM_IPV4,
		     "10.0.0.2", "4420");
	assert_int_equal(entries[2].rdma.qptype, 1);
	assert_int_equal(entries[2].rdma.prtype, 1);
	assert_int_equal(entries[2].rdma.cms, 1);
	assert_int_equal(nvmf_listener_remove(hosts_subsystem(), &slow, &hosts_far_addr), 0);
	nvmf_transport_unregister(&slow);
	tbox_hangup(&d.admin);
}

static void test_referrals(void **state)
{
	static const struct net_addr any = { .family = 6, .prefix_len = 128, .port = 8009 };
	struct net_addr there = hosts_far_addr;

	there.port = 8009;
	assert_int_equal(nvmf_referral_add(NVMF_TRTYPE_TCP, &any), -EINVAL);
	assert_int_equal(nvmf_referral_add(NVMF_TRTYPE_TCP, &there), 0);
	assert_int_equal(nvmf_referral_add(NVMF_TRTYPE_TCP, &there), -EEXIST);
	assert_int_equal(nvmf_referral_add(NVMF_TRTYPE_RDMA, &there), 0);
	discovery_up(0);
	assert_int_equal(read_log(), 4);
	assert_entry(&entries[2], NVMF_SUBTYPE_REFERRAL, NVMF_DISCOVERY_NQN, NVMF_TRTYPE_TCP,
		     NVMF_ADRFAM_IPV4, "10.0.0.2", "8009");
	assert_entry(&entries[3], NVMF_SUBTYPE_REFERRAL, NVMF_DISCOVERY_NQN, NVMF_TRTYPE_RDMA,
		     NVMF_ADRFAM_IPV4, "10.0.0.2", "8009");
	assert_int_equal(nvmf_referral_remove(NVMF_TRTYPE_TCP, &there), 0);
	assert_int_equal(nvmf_referral_remove(NVMF_TRTYPE_TCP, &there), -ENOENT);
	assert_int_equal(read_log(), 3);
	tbox_hangup(&d.admin);
}

/* Told is only who sees something else than before. */
static void test_each_change_is_counted_and_told(void **state)
{
	struct nvmf_subsystem *closed = nvmf_subsystem_find(TBOX_CLOSED_NQN), *subsys;
	uint64_t genctr;
	uint16_t cid;

	discovery_up(KATO_MS);
	read_log();
	genctr = le64_get(head.genctr);
	read_log();
	assert_int_equal(le64_get(head.genctr), genctr);
	hosts_want_events(&d, (uint32_t)NVME_OAES_DISCOVERY, &cid);
	assert_int_equal(nvmf_subsystem_create("nqn.2026-01.io.karst.test:new", false, &subsys), 0);
	assert_int_equal(nvmf_host_allow(closed, HOSTS_OTHER), 0);
	assert_true(hosts_silent(&d));
	hosts_far_listener();
	assert_int_equal(hosts_event(&d, cid), 0x70f002);
	hosts_want_events(&d, (uint32_t)NVME_OAES_DISCOVERY, &cid);
	assert_int_equal(nvmf_host_allow(closed, TBOX_HOST), 0);
	assert_true(hosts_silent(&d));  /* told already, and not read since */
	read_log();
	assert_true(le64_get(head.genctr) > genctr);
	genctr = le64_get(head.genctr);
	assert_int_equal(nvmf_host_deny(closed, TBOX_HOST), 0);
	assert_int_equal(hosts_event(&d, cid), 0x70f002);
	read_log();
	assert_true(le64_get(head.genctr) > genctr);
	tbox_hangup(&d.admin);
}

static void test_discovery_controllers_do_discovery_only(void **state)
{
	struct nvme_id_ctrl id;
	struct tbox_conn c;

	discovery_up(0);
	assert_int_equal(hosts_identify(&d, NVME_CNS_CTRL, 0), 0);
	memcpy(&id, hosts_page, sizeof(id));
	assert_int_equal(id.cntrltype, NVME_CNTRLTYPE_DISCOVERY);
	assert_string_equal(id.subnqn, NVMF_DISCOVERY_NQN);
	assert_int_equal(le32_get(id.oaes), (uint32_t)NVME_OAES_DISCOVERY);
	assert_int_equal(id.cmic & NVME_CMIC_ANA, 0);
	assert_int_equal(hosts_identify(&d, NVME_CNS_NS_LIST, 0), NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(hosts_log(&d, NVME_LID_SMART, 512, 0, 0), NVME_SC_LOG_PAGE_INVALID | DNR);
	assert_int_equal(hosts_log(&d, NVME_LID_ANA, 16, 0, 0), NVME_SC_LOG_PAGE_INVALID | DNR);
	tbox_dial(&c);
	tbox_ic(&c, false, false);
	assert_int_equal(tbox_connect(&c, NVMF_DISCOVERY_NQN, 1, 31, 1, 0).status,
			 NVME_SC_CONNECT_PARAM | DNR);
	tbox_hangup(&c);
	tbox_hangup(&d.admin);
}

/* With a keep alive timeout it stays as long as it is fed; without, two minutes after the last. */
static void test_persistent_and_passing_discovery_controllers(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_KEEP_ALIVE, 0, 0, 0);

	discovery_up(KATO_MS);
	for (unsigned i = 0; i < 30; i++) {
		loop_advance(KATO_MS * 900ull);
		assert_int_equal(tbox_run(&d.admin, &sqe, NULL, 0, false, NULL, 0).status, 0);
	}
	for (unsigned i = 0; i < 26; i++)
		loop_advance(KATO_MS * 50ull);
	tbox_expect_end(&d.admin, 0, 0);
	tbox_hangup(&d.admin);
	discovery_up(0);
	for (unsigned i = 0; i < 11; i++)
		loop_advance(10 * 1000 * 1000);
	assert_int_equal(tbox_run(&d.admin, &sqe, NULL, 0, false, NULL, 0).status, 0);
	for (unsigned i = 0; i < 16; i++)
		loop_advance(10 * 1000 * 1000);
	tbox_expect_end(&d.admin, 0, 0);
	tbox_hangup(&d.admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_a_host_sees_what_it_may_use),
		tbox_test(test_an_entry_for_each_listener_of_each_family),
		tbox_test(test_any_address_is_where_the_host_came_in),
		tbox_test(test_an_address_that_cannot_be_bound_is_tried_with_back_off),
		tbox_test(test_referrals),
		tbox_test(test_each_change_is_counted_and_told),
		tbox_test(test_discovery_controllers_do_discovery_only),
		tbox_test(test_persistent_and_passing_discovery_controllers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
