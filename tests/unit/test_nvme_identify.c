/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "drivers/nvme/nvme.h"

static struct nvme_id_ctrl good_ctrl(void)
{
	struct nvme_id_ctrl id = { .sqes = 0x66, .cqes = 0x44, .cntrltype = 1, .mdts = 5 };

	memset(id.sn, ' ', sizeof(id.sn));
	memcpy(id.sn, "  AB C", 6);
	memset(id.mn, 'm', sizeof(id.mn));
	return id;
}

static struct nvme_id_ns good_ns(void)
{
	struct nvme_id_ns id = { .nsze = le64_make(1000), .nlbaf = 1, .flbas = 1 };

	id.lbaf[0].lbads = 9;
	id.lbaf[1].lbads = 12;
	return id;
}

static void test_controller(void **state)
{
	struct nvme_id_ctrl id = good_ctrl();
	struct nvme_ctrl_info info;
	const char *why;

	id.crdt2 = le16_make(3);
	id.mn[1] = '\x1b';
	assert_int_equal(nvme_ctrl_decode(&id, 4096, &info, &why), 0);
	assert_string_equal(info.serial, "AB C");
	assert_int_equal(strlen(info.model), 40);
	assert_int_equal(info.model[1], '?');
	assert_int_equal(info.xfer_bytes_max, 128 * 1024);
	assert_int_equal(info.retry_delay_ms[0], 0);
	assert_int_equal(info.retry_delay_ms[2], 300);
	id.mdts = 0;
	assert_int_equal(nvme_ctrl_decode(&id, 4096, &info, &why), 0);
	assert_int_equal(info.xfer_bytes_max, 0);
	id.mdts = 255;
	assert_int_equal(nvme_ctrl_decode(&id, 4096, &info, &why), 0);
	assert_int_equal(info.xfer_bytes_max, 0);
}

static void test_controllers_that_cannot_be_used(void **state)
{
	struct nvme_id_ctrl id = good_ctrl();
	struct nvme_ctrl_info info;
	const char *why = NULL;

	id.cntrltype = NVME_CNTRLTYPE_ADMIN;
	assert_int_equal(nvme_ctrl_decode(&id, 4096, &info, &why), -ENOTSUP);
	assert_non_null(why);
	id = good_ctrl();
	id.sqes = 0x77;
	assert_int_equal(nvme_ctrl_decode(&id, 4096, &info, &why), -EPROTO);
	id = good_ctrl();
	id.cqes = 0x33;
	assert_int_equal(nvme_ctrl_decode(&id, 4096, &info, &why), -EPROTO);
}

static void test_namespace(void **state)
{
	struct nvme_id_ns id = good_ns();
	struct nvme_ns_info info;
	const char *why;

	assert_int_equal(nvme_ns_decode(&id, 7, &info, &why), 0);
	assert_int_equal(info.block_bytes, 4096);
	assert_int_equal(info.block_count, 1000);
	assert_int_equal(info.atomic_blocks, 8);
	assert_false(info.unmap_zeroes || info.readonly || info.write_zeroes_unmaps);
	id.nsfeat = NVME_NSFEAT_NSABP | NVME_NSFEAT_OPTPERF;
	id.nawupf = le16_make(0);
	id.npwg = le16_make(15);
	id.dlfeat = NVME_DLFEAT_ZEROES | NVME_DLFEAT_DEAC;
	id.nsattr = NVME_NSATTR_WRITE_PROTECTED;
	assert_int_equal(nvme_ns_decode(&id, 7, &info, &why), 0);
	assert_int_equal(info.atomic_blocks, 1);
	assert_int_equal(info.optimal_blocks, 16);
	assert_true(info.unmap_zeroes && info.readonly && info.write_zeroes_unmaps);
}

static void test_formats_beyond_sixteen(void **state)
{
	struct nvme_id_ns id = good_ns();
	struct nvme_ns_info info;
	const char *why;

	id.nlbaf = 40;
	id.flbas = 1 | 2 << 5;
	id.lbaf[33].lbads = 9;
	assert_int_equal(nvme_ns_decode(&id, 0, &info, &why), 0);
	assert_int_equal(info.format, 33);
	assert_int_equal(info.block_bytes, 512);
}

static void test_namespaces_that_cannot_be_served(void **state)
{
	struct nvme_id_ns id = good_ns();
	struct nvme_ns_info info;
	const char *why;

	id.nsze = le64_make(0);
	assert_int_equal(nvme_ns_decode(&id, 0, &info, &why), -ENOENT);
	id = good_ns();
	id.flbas = 2;
	assert_int_equal(nvme_ns_decode(&id, 0, &info, &why), -EPROTO);
	for (unsigned lbads = 0; lbads < 256; lbads++) {
		id = good_ns();
		id.lbaf[1].lbads = lbads;
		assert_int_equal(nvme_ns_decode(&id, 0, &info, &why),
				 lbads >= 9 && lbads <= 16 ? 0 : -ENOTSUP);
	}
	id = good_ns();
	id.lbaf[1].ms = le16_make(8);
	assert_int_equal(nvme_ns_decode(&id, 0, &info, &why), -ENOTSUP);
	assert_non_null(strstr(why, "metadata"));
	id = good_ns();
	id.nsze = le64_make(UINT64_MAX);
	assert_int_equal(nvme_ns_decode(&id, 0, &info, &why), -EPROTO);
	id.nsze = le64_make(1ull << 51);
	assert_int_equal(nvme_ns_decode(&id, 0, &info, &why), -EPROTO);
	id.nsze = le64_make((1ull << 51) - 1);
	assert_int_equal(nvme_ns_decode(&id, 0, &info, &why), 0);
}

static void test_lists_ascend(void **state)
{
	le32 list[NVME_NS_LIST_MAX] = { { 1 }, { 2 }, { 9 } };
	uint32_t nsids[NVME_NS_LIST_MAX];

	assert_int_equal(nvme_ns_list_decode(list, 0, nsids), 3);
	assert_int_equal(nsids[2], 9);
	assert_int_equal(nvme_ns_list_decode(list, 1, nsids), -EPROTO);
	list[1] = le32_make(1);
	assert_int_equal(nvme_ns_list_decode(list, 0, nsids), -EPROTO);
	list[1] = le32_make(UINT32_MAX);
	assert_int_equal(nvme_ns_list_decode(list, 0, nsids), -EPROTO);
	for (uint32_t i = 0; i < NVME_NS_LIST_MAX; i++)
		list[i] = le32_make(i + 1);
	assert_int_equal(nvme_ns_list_decode(list, 0, nsids), NVME_NS_LIST_MAX);
}

static void test_descriptors(void **state)
{
	uint8_t data[] = {
		NVME_NIDT_EUI64, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
		99, 2, 0, 0, 7, 7,
		NVME_NIDT_UUID, 16, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		NVME_NIDT_CSI, 1, 0, 0, 2,
		NVME_NIDT_NGUID, 200, 0, 0, 1,
	};
	struct nvme_ns_info info = { .csi = 0 };

	nvme_ns_descs_decode(data, sizeof(data), &info);
	assert_int_equal(info.eui64[7], 8);
	assert_int_equal(info.uuid.b[15], 1);
	assert_int_equal(info.csi, 2);
	assert_int_equal(info.nguid[0], 0);
	for (size_t len = 0; len <= sizeof(data); len++) {
		struct nvme_ns_info any = { .csi = 0 };

		nvme_ns_descs_decode(data, len, &any);
	}
}

static void test_formats_without_metadata_are_found(void **state)
{
	struct nvme_id_ns id = good_ns();

	assert_int_equal(nvme_format_find(&id, 512), 0);
	assert_int_equal(nvme_format_find(&id, 4096), 1);
	assert_int_equal(nvme_format_find(&id, 8192), -ENOENT);
	id.lbaf[0].ms = le16_make(8);
	assert_int_equal(nvme_format_find(&id, 512), -ENOENT);
	id.nlbaf = 0;
	assert_int_equal(nvme_format_find(&id, 4096), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_controller),
		cmocka_unit_test(test_controllers_that_cannot_be_used),
		cmocka_unit_test(test_namespace),
		cmocka_unit_test(test_formats_beyond_sixteen),
		cmocka_unit_test(test_namespaces_that_cannot_be_served),
		cmocka_unit_test(test_lists_ascend),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_formats_without_metadata_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
