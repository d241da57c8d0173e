/* SPDX-License-Identifier: BSD-3-Clause */
/* Asymmetric namespace access: states by group and listener, their statuses, log page, events. */
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

static void test_states_are_answered_with_their_statuses(void **state)
{
	static const struct {
		uint8_t state;
		uint16_t status;
	} rows[] = {
		{ NVME_ANA_NON_OPTIMIZED, 0 },
		/* no DNR: another path, or the same later, may do */
		{ NVME_ANA_INACCESSIBLE, NVME_SC_ANA_INACCESSIBLE },
		{ NVME_ANA_PERSISTENT_LOSS, NVME_SC_ANA_PERSISTENT_LOSS },
		{ NVME_ANA_CHANGE, NVME_SC_ANA_TRANSITION },
		{ NVME_ANA_OPTIMIZED, 0 },
	};
	struct nvme_sqe flush = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0);
	struct nvme_id_ns id;
	struct hosts_host h;

	hosts_up(&h, TBOX_HOST, &hosts_addr);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		bool lost = rows[i].state == NVME_ANA_INACCESSIBLE ||
			    rows[i].state == NVME_ANA_PERSISTENT_LOSS;

		assert_int_equal(hosts_ana_set(1, NULL, rows[i].state), 0);
		assert_int_equal(hosts_read(&h, 1), rows[i].status);
		assert_int_equal(tbox_run(&h.io, &flush, NULL, 0, false, NULL, 0).status,
				 rows[i].status);
		assert_int_equal(hosts_log(&h, NVME_LID_ANA, 52, 0, 0), 0);
		assert_int_equal(hosts_page[16 + 16], rows[i].state);
		assert_int_equal(hosts_identify(&h, NVME_CNS_NS, 1), 0);
		memcpy(&id, hosts_page, sizeof(id));
		assert_int_equal(le32_get(id.anagrpid), 1);
		assert_int_equal(le64_get(id.nsze), TBOX_BLOCKS);
		assert_int_equal(le64_get(id.nuse), lost ? 0 : TBOX_BLOCKS);
		assert_int_equal(id.nvmcap[1] | id.nvmcap[2], lost ? 0 : 0x40);
	}
	hosts_down(&h);
}

static void test_a_listener_may_have_a_state_of_its_own(void **state)
{
	struct nvmf_listener *far = hosts_far_listener();
	struct hosts_host a, b;
	uint16_t cid_a, cid_b;

	assert_int_equal(nvmf_ana_create(hosts_subsystem(), 7, NVME_ANA_NON_OPTIMIZED), 0);
	assert_int_equal(hosts_ns_add(2, .ana_group = 7), 0);
	assert_int_equal(hosts_ns_add(3, .ana_group = 8), -EINVAL);
	hosts_up(&a, TBOX_HOST, &hosts_addr);
	hosts_up(&b, TBOX_HOST, &hosts_far_addr);
	assert_int_not_equal(a.cntlid, b.cntlid);
	hosts_want_events(&a, NVME_OAES_ANA, &cid_a);
	hosts_want_events(&b, NVME_OAES_ANA, &cid_b);
	assert_int_equal(hosts_ana_set(7, far, NVME_ANA_INACCESSIBLE), 0);
	assert_true(hosts_silent(&a));
	assert_int_equal(hosts_event(&b, cid_b), 0x0c0302);
	assert_int_equal(hosts_read(&a, 2), 0);
	assert_int_equal(hosts_read(&b, 1), 0);
	assert_int_equal(hosts_read(&b, 2), NVME_SC_ANA_INACCESSIBLE);
	/* for all: the listener has none of its own any more */
	assert_int_equal(hosts_ana_set(7, NULL, NVME_ANA_OPTIMIZED), 0);
	assert_int_equal(hosts_event(&a, cid_a), 0x0c0302);
	assert_int_equal(hosts_read(&b, 2), 0);
	assert_int_equal(far->ana[6], 0);
	assert_int_equal(nvmf_ana_delete(hosts_subsystem(), 7), -EBUSY);
	assert_int_equal(nvmf_ana_delete(hosts_subsystem(), 1), -EPERM);
	assert_int_equal(hosts_ns_remove(2), 0);
	assert_int_equal(nvmf_ana_delete(hosts_subsystem(), 7), 0);
	assert_int_equal(nvmf_ana_delete(hosts_subsystem(), 7), -ENOENT);
	assert_int_equal(hosts_ana_set(7, NULL, NVME_ANA_OPTIMIZED), -ENOENT);
	assert_int_equal(nvmf_ana_create(hosts_subsystem(), 1, NVME_ANA_OPTIMIZED), -EEXIST);
	assert_int_equal(nvmf_ana_create(hosts_subsystem(), config.nvmf_ana_groups_max + 1,
					 NVME_ANA_OPTIMIZED), -ENOSPC);
	hosts_down(&a);
	hosts_down(&b);
}

static uint64_t field64(const uint8_t *at)
{
	le64_un v;

	memcpy(&v, at, sizeof(v));
	return le64_un_get(v);
}

static void test_the_ana_log(void **state)
{
	static uint8_t whole[128];
	uint64_t changes;
	struct hosts_host h;

	assert_int_equal(nvmf_ana_create(hosts_subsystem(), 3, NVME_ANA_INACCESSIBLE), 0);
	assert_int_equal(hosts_ns_add(2, .ana_group = 3), 0);
	assert_int_equal(hosts_ns_add(5, .ana_group = 3), 0);
	hosts_up(&h, TBOX_HOST, &hosts_addr);
	/* 16 bytes, group 1 with one namespace (36), group 3 with two (40) */
	assert_int_equal(hosts_log(&h, NVME_LID_ANA, 92, 0, 0), 0);
	memcpy(whole, hosts_page, 92);
	changes = field64(whole);
	assert_int_equal(whole[8], 2);
	assert_int_equal(whole[16], 1);
	assert_int_equal(whole[16 + 4], 1);
	assert_int_equal(whole[16 + 16], NVME_ANA_OPTIMIZED);
	assert_int_equal(whole[48], 1);
	assert_int_equal(whole[52], 3);
	assert_int_equal(whole[52 + 4], 2);
	assert_int_equal(field64(whole + 52 + 8), changes);
	assert_int_equal(whole[52 + 16], NVME_ANA_INACCESSIBLE);
	assert_int_equal(whole[84], 2);
	assert_int_equal(whole[88], 5);
	for (uint32_t at = 0; at < 92; at += 12) {
		uint32_t part = MIN(12, 92 - at);

		assert_int_equal(hosts_log(&h, NVME_LID_ANA, part, at, NVME_LOG_RAE), 0);
		assert_memory_equal(hosts_page, whole + at, part);
	}
	assert_int_equal(hosts_log(&h, NVME_LID_ANA, 4, 92, 0), 0);
	assert_int_equal(hosts_log(&h, NVME_LID_ANA, 4, 96, 0), NVME_SC_INVALID_FIELD | DNR);
	/* groups only */
	assert_int_equal(hosts_log(&h, NVME_LID_ANA, 80, 0, 1 << NVME_LOG_LSP_SHIFT), 0);
	assert_int_equal(hosts_page[16 + 4], 0);
	assert_int_equal(hosts_page[48], 3);
	assert_int_equal(hosts_log(&h, NVME_LID_ANA, 4, 84, 1 << NVME_LOG_LSP_SHIFT),
			 NVME_SC_INVALID_FIELD | DNR);
	assert_int_equal(hosts_ana_set(1, NULL, NVME_ANA_NON_OPTIMIZED), 0);
	assert_int_equal(hosts_log(&h, NVME_LID_ANA, 92, 0, 0), 0);
	assert_int_equal(field64(hosts_page), changes + 1);
	assert_int_equal(field64(hosts_page + 16 + 8), changes + 1);
	assert_int_equal(field64(hosts_page + 52 + 8), changes);
	hosts_down(&h);
}

/* Told once until the log is read without RAE; not at all unless it was asked for. */
static void test_ana_events_are_masked_until_the_log_is_read(void **state)
{
	struct hosts_host h;
	uint16_t cid;

	hosts_up(&h, TBOX_HOST, &hosts_addr);
	assert_int_equal(hosts_ana_set(1, NULL, NVME_ANA_NON_OPTIMIZED), 0);
	hosts_want_events(&h, NVME_OAES_ANA, &cid);
	assert_true(hosts_silent(&h));
	assert_int_equal(hosts_ana_set(1, NULL, NVME_ANA_OPTIMIZED), 0);
	assert_int_equal(hosts_event(&h, cid), 0x0c0302);
	hosts_want_events(&h, NVME_OAES_ANA, &cid);
	assert_int_equal(hosts_ana_set(1, NULL, NVME_ANA_NON_OPTIMIZED), 0);
	assert_int_equal(hosts_log(&h, NVME_LID_ANA, 52, 0, NVME_LOG_RAE), 0);
	assert_int_equal(hosts_ana_set(1, NULL, NVME_ANA_OPTIMIZED), 0);
	assert_true(hosts_silent(&h));
	assert_int_equal(hosts_log(&h, NVME_LID_ANA, 52, 0, 0), 0);
	assert_true(hosts_silent(&h));
	assert_int_equal(hosts_ana_set(1, NULL, NVME_ANA_NON_OPTIMIZED), 0);
	assert_int_equal(hosts_event(&h, cid), 0x0c0302);
	hosts_down(&h);
}

static void test_identify_promises_ana(void **state)
{
	struct nvme_id_ctrl id;
	struct hosts_host h;

	hosts_up(&h, TBOX_HOST, &hosts_addr);
	assert_int_equal(hosts_identify(&h, NVME_CNS_CTRL, 0), 0);
	memcpy(&id, hosts_page, sizeof(id));
	assert_true(id.cmic & NVME_CMIC_ANA);
	assert_true(le32_get(id.oaes) & NVME_OAES_ANA);
	assert_int_equal(id.anacap, 0x5f);
	assert_int_equal(id.anatt, NVMF_ANATT_S);
	assert_int_equal(le32_get(id.anagrpmax), config.nvmf_ana_groups_max);
	assert_int_equal(le32_get(id.nanagrpid), config.nvmf_ana_groups_max);
	hosts_down(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_states_are_answered_with_their_statuses),
		tbox_test(test_a_listener_may_have_a_state_of_its_own),
		tbox_test(test_the_ana_log),
		tbox_test(test_ana_events_are_masked_until_the_log_is_read),
		tbox_test(test_identify_promises_ana),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
