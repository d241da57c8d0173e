/* SPDX-License-Identifier: BSD-3-Clause */
/* Log pages: read in pieces, of which command set, and those made from tables and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "core/spec/nvme_log.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

#define DNR NVME_STATUS_DNR

static struct tbox_conn admin, io;
static uint8_t page[65536];

static uint16_t get_log(uint8_t lid, uint32_t len, uint64_t offset, bool retain)
{
	uint32_t numd = len / 4 - 1;
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_LOG_PAGE, 0,
				       lid | (retain ? NVME_LOG_RAE : 0) | numd << 16, numd >> 16);

	sqe.cdw12 = le32_make((uint32_t)offset);
	sqe.cdw13 = le32_make((uint32_t)(offset >> 32));
	return tbox_run(&admin, &sqe, NULL, 0, false, page, len).status;
}

static struct tbox_end feature(uint8_t opc, uint32_t cdw10, uint32_t cdw11)
{
	struct nvme_sqe sqe = tbox_sqe(opc, 0, cdw10, cdw11);

	return tbox_run(&admin, &sqe, NULL, 0, false, NULL, 0);
}

static void up(void)
{
	tbox_host(&admin, &io, 0);
}

static void down(void)
{
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

static void test_log_pages_in_pieces_are_the_same(void **state)
{
	static const uint8_t lids[] = { NVME_LID_SUPPORTED, NVME_LID_ERROR, NVME_LID_SMART,
					NVME_LID_FW_SLOT, NVME_LID_CHANGED_NS, NVME_LID_EFFECTS };
	static uint8_t whole[4096];

	up();
	for (unsigned i = 0; i < ARRAY_SIZE(lids); i++) {
		uint32_t len = lids[i] == NVME_LID_SMART || lids[i] == NVME_LID_FW_SLOT ? 512 :
			       lids[i] == NVME_LID_SUPPORTED ? 1024 : 4096;

		assert_int_equal(get_log(lids[i], len, 0, true), 0);
		memcpy(whole, page, len);
		for (uint32_t at = 0; at < len; at += 100) {
			uint32_t part = MIN(100, len - at);

			assert_int_equal(get_log(lids[i], part, at, true), 0);
			assert_memory_equal(page, whole + at, part);
		}
		assert_int_equal(get_log(lids[i], 4, len, true), 0);
		assert_int_equal(get_log(lids[i], 4, len + 4, true), NVME_SC_INVALID_FIELD | DNR);
		assert_int_equal(get_log(lids[i], 4, 2, true), NVME_SC_INVALID_FIELD | DNR);
	}
	assert_int_equal(get_log(NVME_LID_DISCOVERY, 1024, 0, true),
			 NVME_SC_LOG_PAGE_INVALID | DNR);
	assert_int_equal(get_log(0xff, 4, 0, true), NVME_SC_LOG_PAGE_INVALID | DNR);
	assert_int_equal(get_log(NVME_LID_ERROR, 4, UINT64_MAX - 3, true),
			 NVME_SC_INVALID_FIELD | DNR);
	down();
}

/* Of which command set is asked only of the pages that differ by it, by hosts that know of it. */
static void test_command_set_of_log_pages(void **state)
{
	static const struct {
		uint8_t lid;
		bool iocs;
	} rows[] = {
		{ NVME_LID_SUPPORTED, false }, { NVME_LID_ERROR, false }, { NVME_LID_SMART, false },
		{ NVME_LID_EFFECTS, true }, { NVME_LID_ANA, false }, { NVME_LID_FEATURES, true },
	};
	static const uint32_t cc = NVME_CC_EN | 6 << NVME_CC_IOSQES_SHIFT |
				   4 << NVME_CC_IOCQES_SHIFT;

	up();
	for (unsigned all = 0; all < 2; all++) {
		for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
			struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_LOG_PAGE, 0,
						       rows[i].lid | 15 << 16, 0);
			bool bad = all && rows[i].iocs;

			sqe.cdw14 = le32_make((uint32_t)NVME_CSI_ZNS << NVME_LOG_CSI_SHIFT);
			assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, page, 64).status,
					 bad ? NVME_SC_INVALID_FIELD | DNR : 0);
		}
		tbox_property_set(&admin, NVME_REG_CC, 0);
		tbox_property_set(&admin, NVME_REG_CC, cc | NVME_CC_CSS_ALL << NVME_CC_CSS_SHIFT);
	}
	down();
}

/* What the log of features has is what Get Features knows. */
static void test_log_of_features(void **state)
{
	const struct nvme_log_features *log = (const void *)page;
	uint32_t effects[256];

	up();
	assert_int_equal(get_log(NVME_LID_FEATURES, sizeof(*log), 0, false), 0);
	for (unsigned fid = 0; fid < 256; fid++)
		effects[fid] = le32_get(log->fid[fid]);
	for (unsigned fid = 0; fid < 256; fid++) {
		struct tbox_end end = feature(NVME_ADM_GET_FEATURES,
					      fid | NVME_FEAT_SEL_SUPPORTED << NVME_FEAT_SEL_SHIFT,
					      0);

		assert_int_equal(!(effects[fid] & NVME_FEATURE_SUPPORTED), end.status != 0);
		if (end.status)
			continue;
		assert_int_equal(!!(effects[fid] & NVME_FEATURE_SCOPE_NS), end.dw0 >> 1 & 1);
		assert_int_equal(!!(effects[fid] & NVME_FEATURE_SCOPE_CTRL), !(end.dw0 >> 1 & 1));
		assert_int_equal(!!(effects[fid] & NVME_FEATURE_CCC), end.dw0 >> 2 & 1);
	}
	assert_true(effects[NVME_FEAT_ERROR_RECOVERY] & NVME_FEATURE_SCOPE_NS);
	assert_true(effects[NVME_FEAT_KATO] & NVME_FEATURE_SUPPORTED);
	down();
}

static void test_failed_commands_are_in_the_error_log(void **state)
{
	struct nvme_sqe bad = tbox_rw(NVME_NVM_READ, 77777777, 1);
	struct nvme_log_error e;

	up();
	assert_int_equal(tbox_run(&io, &bad, NULL, 0, false, page, 512).status,
			 NVME_SC_LBA_RANGE | DNR);
	assert_int_equal(get_log(NVME_LID_ERROR, 4096, 0, false), 0);
	memcpy(&e, page, sizeof(e));
	assert_int_equal(le64_get(e.error_count), 1);
	assert_int_equal(le16_get(e.sqid), 1);
	assert_int_equal(le16_get(e.status) >> 1, NVME_SC_LBA_RANGE | DNR);
	assert_int_equal(le64_get(e.lba), 77777777);
	assert_int_equal(le32_get(e.nsid), 1);
	for (unsigned i = 0; i < 100; i++)
		tbox_run(&io, &bad, NULL, 0, false, page, 512);
	assert_int_equal(get_log(NVME_LID_ERROR, 4096, 0, false), 0);
	memcpy(&e, page, sizeof(e));
	assert_int_equal(le64_get(e.error_count), 101);
	memcpy(&e, page + 63 * 64, sizeof(e));
	assert_int_equal(le64_get(e.error_count), 101 - 63);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_log_pages_in_pieces_are_the_same),
		tbox_test(test_command_set_of_log_pages),
		tbox_test(test_log_of_features),
		tbox_test(test_failed_commands_are_in_the_error_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
