/* SPDX-License-Identifier: BSD-3-Clause */
/* Features: each way of asking for each, namespaces where none belongs, and what cannot be set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_hosts.h"

#define DNR NVME_STATUS_DNR

enum { CHANGEABLE = 1 << 2, OF_NS = 1 << 1, OVER = 0xffff };

static struct hosts_host h;
static uint8_t data[512];

static struct tbox_end get(uint8_t fid, unsigned select, uint32_t cdw11, uint32_t len)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_FEATURES, 0,
				       fid | select << NVME_FEAT_SEL_SHIFT, cdw11);

	return tbox_run(&h.admin, &sqe, NULL, 0, false, data, len);
}

static struct tbox_end set(uint8_t fid, uint32_t nsid, uint32_t cdw11)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_SET_FEATURES, nsid, fid, cdw11);

	return tbox_run(&h.admin, &sqe, NULL, 0, false, NULL, 0);
}

static struct tbox_end error_recovery(uint32_t nsid)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_FEATURES, nsid, NVME_FEAT_ERROR_RECOVERY, 0);

	return tbox_run(&h.admin, &sqe, NULL, 0, false, NULL, 0);
}

/* A value to set, what it is before, and by default; that there is one that cannot be set. */
static const struct row {
	uint8_t fid;
	uint32_t value, dflt, supported, bad;
	uint16_t bad_status;
} rows[] = {
	{ NVME_FEAT_ARBITRATION, 0x01020304, 0, CHANGEABLE, 0, 0 },
	{ NVME_FEAT_POWER, 0, 0, CHANGEABLE, 1, NVME_SC_INVALID_FIELD },
	{ NVME_FEAT_TEMPERATURE, 350, OVER, CHANGEABLE, 3 << 16, NVME_SC_INVALID_FIELD },
	{ NVME_FEAT_ERROR_RECOVERY, 77, 0, CHANGEABLE | OF_NS, 1 << 16, NVME_SC_INVALID_FIELD },
	{ NVME_FEAT_AEC, NVME_OAES_ANA | NVME_OAES_NS_CHANGED | 0x1f, 0, CHANGEABLE,
	  (uint32_t)NVME_OAES_DISCOVERY, NVME_SC_INVALID_FIELD },
	{ NVME_FEAT_WRITE_CACHE, 0, 1, CHANGEABLE, 0, 0 },
	{ NVME_FEAT_KATO, 5000, 0, CHANGEABLE, 0, 0 },
	{ NVME_FEAT_IOCS_PROFILE, 0, 0, CHANGEABLE, 1, NVME_SC_CSI_COMBINATION },
};

static void test_current_default_saved_and_supported(void **state)
{
	hosts_up(&h, TBOX_HOST, &hosts_addr);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];

		assert_int_equal(get(r->fid, NVME_FEAT_SEL_CURRENT, 0, 0).dw0, r->dflt);
		assert_int_equal(set(r->fid, 0, r->value).status, 0);
		assert_int_equal(get(r->fid, NVME_FEAT_SEL_CURRENT, 0, 0).dw0, r->value);
		assert_int_equal(get(r->fid, NVME_FEAT_SEL_DEFAULT, 0, 0).dw0, r->dflt);
		assert_int_equal(get(r->fid, NVME_FEAT_SEL_SAVED, 0, 0).dw0, r->dflt);
		assert_int_equal(get(r->fid, NVME_FEAT_SEL_SUPPORTED, 0, 0).dw0, r->supported);
		assert_int_equal(get(r->fid, NVME_FEAT_SEL_SUPPORTED + 1, 0, 0).status,
				 NVME_SC_INVALID_FIELD | DNR);
		if (r->bad_status) {
			assert_int_equal(set(r->fid, 0, r->bad).status, r->bad_status | DNR);
			assert_int_equal(get(r->fid, NVME_FEAT_SEL_CURRENT, 0, 0).dw0, r->value);
		}
	}
	hosts_down(&h);
}

static void test_nothing_can_be_saved(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_SET_FEATURES, 0,
				       NVME_FEAT_ARBITRATION | (uint32_t)NVME_FEAT_SV, 0);

	hosts_up(&h, TBOX_HOST, &hosts_addr);
	assert_int_equal(tbox_run(&h.admin, &sqe, NULL, 0, false, NULL, 0).status,
			 NVME_SC_FEATURE_NOT_SAVEABLE | DNR);
	hosts_down(&h);
}

static void test_namespaces_of_features(void **state)
{
	hosts_up(&h, TBOX_HOST, &hosts_addr);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		bool of_ns = rows[i].supported & OF_NS;

		assert_int_equal(set(rows[i].fid, 1, rows[i].value).status,
				 of_ns ? 0 : NVME_SC_FEATURE_NOT_NS | DNR);
		assert_int_equal(set(rows[i].fid, 9, rows[i].value).status,
				 NVME_SC_INVALID_NS | DNR);
		assert_int_equal(set(rows[i].fid, 0xffffffff, rows[i].value).status, 0);
	}
	hosts_down(&h);
}

/* Whether what a command writes to block 0 is durable when it has ended. */
static bool is_durable(struct nvme_sqe sqe, const void *out, size_t len)
{
	memset(tbox_disk->view, 0x11, TBOX_BLOCK_BYTES);
	memset(tbox_disk->media, 0x22, TBOX_BLOCK_BYTES);
	assert_int_equal(tbox_run(&h.io, &sqe, out, len, true, NULL, 0).status, 0);
	return memcmp(tbox_disk->media, tbox_disk->view, TBOX_BLOCK_BYTES) == 0;
}

static void test_writes_without_the_cache_are_durable(void **state)
{
	struct nvme_copy_range range = { .slba = le64_make(100) };
	struct nvme_sqe copy = tbox_sqe(NVME_NVM_COPY, 1, 0, 0);
	struct nvme_sqe write = tbox_rw(NVME_NVM_WRITE, 0, 1);
	struct nvme_sqe zeroes = tbox_rw(NVME_NVM_WRITE_ZEROES, 0, 1);

	hosts_up(&h, TBOX_HOST, &hosts_addr);
	for (unsigned on = 2; on-- > 0;) {
		assert_int_equal(set(NVME_FEAT_WRITE_CACHE, 0, on).status, 0);
		assert_int_equal(is_durable(write, data, TBOX_BLOCK_BYTES), !on);
		assert_int_equal(is_durable(zeroes, NULL, 0), !on);
		assert_int_equal(is_durable(copy, &range, sizeof(range)), !on);
	}
	hosts_down(&h);
}

/* Error recovery is each namespace's own, until it is set for all. */
static void test_error_recovery_is_of_a_namespace(void **state)
{
	static const struct {
		uint32_t set_nsid, tler, one, two, all;
	} steps[] = {
		{ 1, 5, 5, 0, 0 }, { 2, 6, 5, 6, 0 }, { 0xffffffff, 7, 7, 7, 7 }, { 2, 8, 7, 8, 7 },
	};

	hosts_up(&h, TBOX_HOST, &hosts_addr);
	assert_int_equal(hosts_ns_add(2, .private = false), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		assert_int_equal(set(NVME_FEAT_ERROR_RECOVERY, steps[i].set_nsid,
				     steps[i].tler).status, 0);
		assert_int_equal(error_recovery(1).dw0, steps[i].one);
		assert_int_equal(error_recovery(2).dw0, steps[i].two);
		assert_int_equal(error_recovery(0xffffffff).dw0, steps[i].all);
	}
	assert_int_equal(error_recovery(9).status, NVME_SC_INVALID_NS | DNR);
	hosts_down(&h);
}

/* The data of a feature comes with its value, not with the question whether it can be changed. */
static void test_features_with_data_by_select(void **state)
{
	hosts_up(&h, TBOX_HOST, &hosts_addr);
	assert_int_equal(get(NVME_FEAT_HOST_BEHAVIOR, NVME_FEAT_SEL_CURRENT, 0, 512).got, 512);
	assert_int_equal(get(NVME_FEAT_HOST_BEHAVIOR, NVME_FEAT_SEL_DEFAULT, 0, 512).got, 512);
	assert_int_equal(get(NVME_FEAT_HOST_BEHAVIOR, NVME_FEAT_SEL_SUPPORTED, 0, 512).got, 0);
	assert_int_equal(get(NVME_FEAT_HOSTID, NVME_FEAT_SEL_SUPPORTED, NVME_FEAT_HOSTID_EXHID,
			     16).dw0, 0);
	/* as many queues as there can be, until the host wants fewer */
	assert_int_equal(get(NVME_FEAT_QUEUES, NVME_FEAT_SEL_DEFAULT, 0, 0).dw0,
			 (config.nvmf_queues_max - 1) * 0x10001u);
	hosts_down(&h);
}

/* A namespace's features are as far away as the namespace; whether they can be changed is known. */
static void test_features_of_a_namespace_that_is_out_of_reach(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_FEATURES, 1, NVME_FEAT_ERROR_RECOVERY, 0);

	hosts_up(&h, TBOX_HOST, &hosts_addr);
	assert_int_equal(hosts_ana_set(1, NULL, NVME_ANA_INACCESSIBLE), 0);
	assert_int_equal(tbox_run(&h.admin, &sqe, NULL, 0, false, NULL, 0).status,
			 NVME_SC_ANA_INACCESSIBLE);
	assert_int_equal(set(NVME_FEAT_ERROR_RECOVERY, 1, 5).status, NVME_SC_ANA_INACCESSIBLE);
	assert_int_equal(set(NVME_FEAT_ARBITRATION, 0, 5).status, 0);
	sqe.cdw10 = le32_make(NVME_FEAT_ERROR_RECOVERY |
			      NVME_FEAT_SEL_SUPPORTED << NVME_FEAT_SEL_SHIFT);
	assert_int_equal(tbox_run(&h.admin, &sqe, NULL, 0, false, NULL, 0).status, 0);
	hosts_down(&h);
}

/* An event that was not sent yet is not wanted any more. */
static void test_events_that_are_masked_later(void **state)
{
	struct nvme_sqe aer = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);

	hosts_up(&h, TBOX_HOST, &hosts_addr);
	assert_int_equal(set(NVME_FEAT_AEC, 0, NVME_OAES_ANA).status, 0);
	assert_int_equal(hosts_ana_set(1, NULL, NVME_ANA_NON_OPTIMIZED), 0);
	assert_int_equal(set(NVME_FEAT_AEC, 0, 0).status, 0);
	tbox_cmd(&h.admin, &aer, NULL, 0);
	assert_true(hosts_silent(&h));
	hosts_down(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_current_default_saved_and_supported),
		tbox_test(test_nothing_can_be_saved),
		tbox_test(test_namespaces_of_features),
		tbox_test(test_writes_without_the_cache_are_durable),
		tbox_test(test_error_recovery_is_of_a_namespace),
		tbox_test(test_features_with_data_by_select),
		tbox_test(test_features_of_a_namespace_that_is_out_of_reach),
		tbox_test(test_events_that_are_masked_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
