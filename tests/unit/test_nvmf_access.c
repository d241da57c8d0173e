/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may use what: private namespaces, allow-any, controllers of one port and of a range. */
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

static void test_private_namespace_is_there_for_its_hosts_only(void **state)
{
	struct hosts_host a, b;
	const le32 *list = (const void *)hosts_page;
	static const uint8_t zero[4096];

	assert_int_equal(hosts_ns_add(2, .private = true), 0);
	assert_int_equal(hosts_grant(2, TBOX_HOST), 0);
	hosts_up(&a, TBOX_HOST, &hosts_addr);
	hosts_up(&b, HOSTS_OTHER, &hosts_addr);
	assert_int_equal(hosts_read(&a, 2), 0);
	assert_int_equal(hosts_read(&b, 1), 0);
	assert_int_equal(hosts_read(&b, 2), NVME_SC_INVALID_NS | DNR);
	assert_int_equal(hosts_identify(&a, NVME_CNS_NS_LIST, 0), 0);
	assert_int_equal(le32_get(list[1]), 2);
	for (uint8_t cns = NVME_CNS_NS_LIST; cns <= NVME_CNS_IOCS_NS_LIST;
	     cns += NVME_CNS_IOCS_NS_LIST - NVME_CNS_NS_LIST) {
		assert_int_equal(hosts_identify(&b, cns, 0), 0);
		assert_int_equal(le32_get(list[0]), 1);
		assert_int_equal(le32_get(list[1]), 0);
	}
	/* as if it were not there: an inactive NSID */
	assert_int_equal(hosts_identify(&b, NVME_CNS_NS, 2), 0);
	assert_memory_equal(hosts_page, zero, sizeof(zero));
	assert_int_equal(hosts_identify(&b, NVME_CNS_NS_INDEPENDENT, 2), 0);
	assert_memory_equal(hosts_page, zero, sizeof(zero));
	assert_int_equal(hosts_identify(&b, NVME_CNS_NS_DESCS, 2), NVME_SC_INVALID_NS | DNR);
	/* nor in the ANA log */
	assert_int_equal(hosts_log(&b, NVME_LID_ANA, 56, 0, 0), 0);
	assert_int_equal(hosts_page[16 + 4], 1);
	hosts_down(&a);
	hosts_down(&b);
}

static void test_grant_and_revoke_are_told_to_the_host_alone(void **state)
{
	struct hosts_host a, b;
	uint16_t cid_a, cid_b;

	assert_int_equal(hosts_ns_add(2, .private = true), 0);
	hosts_up(&a, TBOX_HOST, &hosts_addr);
	hosts_up(&b, HOSTS_OTHER, &hosts_addr);
	hosts_want_events(&a, NVME_OAES_NS_CHANGED, &cid_a);
	hosts_want_events(&b, NVME_OAES_NS_CHANGED, &cid_b);
	assert_int_equal(hosts_read(&b, 2), NVME_SC_INVALID_NS | DNR);
	assert_int_equal(hosts_grant(2, HOSTS_OTHER), 0);
	assert_int_equal(hosts_event(&b, cid_b), 0x040002);
	assert_true(hosts_silent(&a));
	assert_int_equal(hosts_log(&b, NVME_LID_CHANGED_NS, 4096, 0, 0), 0);
	assert_int_equal(hosts_page[0], 2);
	assert_int_equal(hosts_log(&a, NVME_LID_CHANGED_NS, 4096, 0, 0), 0);
	assert_int_equal(hosts_page[0], 0);
	assert_int_equal(hosts_read(&b, 2), 0);
	hosts_want_events(&b, NVME_OAES_NS_CHANGED, &cid_b);
	assert_int_equal(hosts_revoke(2, HOSTS_OTHER), 0);
	assert_int_equal(hosts_event(&b, cid_b), 0x040002);
	assert_true(hosts_silent(&a));
	assert_int_equal(hosts_read(&b, 2), NVME_SC_INVALID_NS | DNR);
	/* what comes and goes where it cannot be seen is nobody's business */
	assert_int_equal(hosts_log(&b, NVME_LID_CHANGED_NS, 4096, 0, 0), 0);
	hosts_want_events(&b, NVME_OAES_NS_CHANGED, &cid_b);
	assert_int_equal(hosts_ns_remove(2), 0);
	assert_true(hosts_silent(&a));
	assert_true(hosts_silent(&b));
	hosts_down(&a);
	hosts_down(&b);
}

static void test_wrong_grants(void **state)
{
	assert_int_equal(hosts_grant(1, TBOX_HOST), -EPERM);
	assert_int_equal(hosts_grant(3, TBOX_HOST), -ENOENT);
	assert_int_equal(hosts_ns_add(2, .private = true), 0);
	assert_int_equal(hosts_grant(2, "host"), -EINVAL);
	assert_int_equal(hosts_revoke(2, TBOX_HOST), -ESRCH);
	assert_int_equal(hosts_revoke(1, TBOX_HOST), -EPERM);
	assert_int_equal(hosts_grant(2, TBOX_HOST), 0);
	assert_int_equal(hosts_grant(2, TBOX_HOST), -EEXIST);
}

/* Only the host's own requests are revoked, and what is at the disk ends first. */
static void test_revoke_under_load(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8), w = tbox_rw(NVME_NVM_WRITE, 0, 128);
	struct hosts_change c = { .what = HOSTS_REVOKE, .nsid = 2, .host = HOSTS_OTHER, .rc = 1 };
	struct nvme_tcp_r2t r2t[2];
	static uint8_t out[65536];
	uint16_t read_cid, write_cid[2];
	struct hosts_host h[2];
	struct tbox_pdu pdu;

	assert_int_equal(hosts_ns_add(2, .private = true), 0);
	assert_int_equal(hosts_grant(2, TBOX_HOST), 0);
	assert_int_equal(hosts_grant(2, HOSTS_OTHER), 0);
	hosts_up(&h[0], TBOX_HOST, &hosts_addr);
	hosts_up(&h[1], HOSTS_OTHER, &hosts_addr);
	tbox_disk->mode = FAKE_HELD;
	r.nsid = w.nsid = le32_make(2);
	r.sgl.length = le32_make(4096);
	w.sgl.length = le32_make(65536);
	r.sgl.id = w.sgl.id = 0x5a;
	read_cid = tbox_cmd(&h[1].io, &r, NULL, 0);
	for (unsigned i = 0; i < 2; i++) {
		write_cid[i] = tbox_cmd(&h[i].io, &w, NULL, 0);
		tbox_expect(&h[i].io, NVME_TCP_R2T, &pdu);
		r2t[i] = pdu.r2t;
	}
	assert_non_null(task_start("revoke", hosts_change_task, &c));
	loop_advance(10000);
	assert_int_equal(c.rc, 1);      /* the read is at the disk */
	tbox_h2c(&h[1].io, &r2t[1], out, 0, 65536, true);
	assert_int_equal(tbox_wait(&h[1].io, write_cid[1], NULL, 0, NULL, 0).status,
			 NVME_SC_INVALID_NS | DNR);
	fake_release(tbox_disk, 1);
	assert_int_equal(tbox_wait(&h[1].io, read_cid, NULL, 0, hosts_data, 4096).status, 0);
	loop_advance(10000);
	assert_int_equal(c.rc, 0);
	tbox_h2c(&h[0].io, &r2t[0], out, 0, 65536, true);
	loop_drain();
	fake_release(tbox_disk, 1);
	assert_int_equal(tbox_wait(&h[0].io, write_cid[0], NULL, 0, NULL, 0).status, 0);
	hosts_down(&h[0]);
	hosts_down(&h[1]);
}

static void test_allow_any_taken_back_disconnects_who_has_no_name(void **state)
{
	struct hosts_host a, b;

	hosts_up(&a, TBOX_HOST, &hosts_addr);
	hosts_up(&b, HOSTS_OTHER, &hosts_addr);
	assert_int_equal(nvmf_host_allow(hosts_subsystem(), NULL), -EEXIST);
	assert_int_equal(nvmf_host_allow(hosts_subsystem(), TBOX_HOST), 0);
	assert_int_equal(nvmf_host_deny(hosts_subsystem(), NULL), 0);
	assert_int_equal(nvmf_host_deny(hosts_subsystem(), NULL), -ENOENT);
	tbox_expect_end(&b.admin, 0, 0);
	tbox_expect_end(&b.io, 0, 0);
	assert_int_equal(hosts_read(&a, 1), 0);
	assert_int_equal(nvmf_host_allow(hosts_subsystem(), NULL), 0);
	hosts_down(&a);
	hosts_down(&b);
}

/* All queues of a controller come in at one port, else one controller had two states. */
static void test_queue_from_another_listener_is_refused(void **state)
{
	struct tbox_conn c;
	struct tbox_end end;
	struct hosts_host h;

	hosts_far_listener();
	hosts_up(&h, TBOX_HOST, &hosts_addr);
	tbox_dial_at(&c, &hosts_far_addr);
	tbox_ic(&c, false, false);
	end = hosts_connect(&c, TBOX_HOST, 2, h.cntlid);
	assert_int_equal(end.status, NVME_SC_CONNECT_PARAM | DNR);
	assert_int_equal(end.dw0, NVMF_IATTR_DATA | offsetof(struct nvmf_connect_data, cntlid));
	tbox_hangup(&c);
	hosts_down(&h);
}

static void test_controller_identifiers_of_a_range(void **state)
{
	struct hosts_host h[3];
	struct tbox_conn c;

	hosts_subsystem()->cntlid_min = hosts_subsystem()->cntlid_next = 500;
	hosts_subsystem()->cntlid_max = 502;
	for (unsigned i = 0; i < 3; i++) {
		hosts_up(&h[i], TBOX_HOST, &hosts_addr);
		assert_int_equal(h[i].cntlid, 500 + i);
	}
	tbox_dial(&c);
	tbox_ic(&c, false, false);
	assert_int_equal(hosts_connect(&c, TBOX_HOST, 0, NVMF_CNTLID_DYNAMIC).status,
			 NVME_SC_CONNECT_BUSY);
	hosts_down(&h[1]);
	assert_int_equal(hosts_connect(&c, TBOX_HOST, 0, NVMF_CNTLID_DYNAMIC).dw0, 501);
	tbox_hangup(&c);
	hosts_down(&h[0]);
	hosts_down(&h[2]);
}

/* UUID of a namespace, as its descriptors tell it. */
static struct uuid uuid_of(struct hosts_host *h, uint32_t nsid)
{
	struct uuid uuid;

	assert_int_equal(hosts_identify(h, NVME_CNS_NS_DESCS, nsid), 0);
	assert_int_equal(hosts_page[0], NVME_NIDT_UUID);
	memcpy(&uuid, hosts_page + sizeof(struct nvme_ns_desc), sizeof(uuid));
	return uuid;
}

/* Hosts refuse a second namespace with the identifiers of the first, also of the same disk. */
static void test_each_namespace_of_a_disk_has_identifiers_of_its_own(void **state)
{
	struct uuid one, two;
	struct hosts_host h;

	assert_int_equal(hosts_ns_add(2, .private = false), 0);
	assert_int_equal(hosts_ns_add(3, .private = false), 0);
	hosts_up(&h, TBOX_HOST, &hosts_addr);
	one = uuid_of(&h, 1);
	two = uuid_of(&h, 2);
	assert_memory_equal(&one, &tbox_disk->bdev.uuid, sizeof(one));
	assert_memory_not_equal(&one, &two, sizeof(one));
	one = uuid_of(&h, 3);
	assert_memory_not_equal(&one, &two, sizeof(one));
	/* the same each time, and in the configuration, whoever comes first */
	assert_true(nvmf_ns_find(hosts_subsystem(), 2)->spec.uuid_given);
	assert_int_equal(hosts_ns_remove(2), 0);
	assert_int_equal(hosts_ns_add(2, .private = false), 0);
	one = uuid_of(&h, 2);
	assert_memory_equal(&one, &two, sizeof(one));
	/* those that the operator gives must be free */
	assert_int_equal(hosts_ns_add(4, .uuid_given = true, .uuid = two), -EADDRINUSE);
	assert_null(nvmf_ns_find(hosts_subsystem(), 4));
	hosts_down(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_private_namespace_is_there_for_its_hosts_only),
		tbox_test(test_grant_and_revoke_are_told_to_the_host_alone),
		tbox_test(test_wrong_grants),
		tbox_test(test_revoke_under_load),
		tbox_test(test_allow_any_taken_back_disconnects_who_has_no_name),
		tbox_test(test_queue_from_another_listener_is_refused),
		tbox_test(test_controller_identifiers_of_a_range),
		tbox_test(test_each_namespace_of_a_disk_has_identifiers_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
