/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of the NVM command set that move no data to or from the host, or only ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/spec/nvme_identify.h"
#include "targets/nvmf/nvm.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

enum { BLOCK = TBOX_BLOCK_BYTES, DNR = NVME_STATUS_DNR };

static struct tbox_conn admin, io;
static uint8_t page[4096];

static void up(void)
{
	tbox_host(&admin, &io, 0);
	for (unsigned i = 0; i < TBOX_BLOCKS; i++)
		memset(tbox_disk->view + i * BLOCK, (uint8_t)(i ^ i >> 8), BLOCK);
}

static void down(void)
{
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

static uint8_t fill_of(uint64_t lba)
{
	return (uint8_t)(lba ^ lba >> 8);
}

static bool block_is(uint64_t lba, uint8_t value)
{
	for (unsigned i = 0; i < BLOCK; i++)
		if (tbox_disk->view[lba * BLOCK + i] != value)
			return false;
	return true;
}

/* ---- Copy ---- */

struct range {
	uint64_t lba;
	uint32_t blocks;
};

static struct tbox_end copy(uint64_t to, uint32_t cdw12, const struct range *ranges, unsigned count)
{
	struct nvme_copy_range data[256] = { 0 };
	struct nvme_sqe sqe = tbox_sqe(NVME_NVM_COPY, 1, 0, 0);

	sqe.slba = le64_make(to);
	sqe.rw_cdw12 = le32_make((count - 1) | cdw12);
	for (unsigned i = 0; i < count; i++) {
		data[i].slba = le64_make(ranges[i].lba);
		data[i].nlb = le16_make((uint16_t)(ranges[i].blocks - 1));
	}
	return tbox_run(&io, &sqe, data, count * sizeof(data[0]), false, NULL, 0);
}

static void test_ranges_are_copied_one_behind_the_other(void **state)
{
	static const struct range ranges[] = { { 10, 3 }, { 500, 1 }, { 10, 2 }, { 7000, 64 } };
	uint64_t at = 1000;

	up();
	/* what the command says of protection information is ignored: there is none */
	assert_int_equal(copy(at, NVME_RW_FUA | NVME_COPY_PI_MASK, ranges,
			      ARRAY_SIZE(ranges)).status, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		for (unsigned k = 0; k < ranges[i].blocks; k++)
			assert_true(block_is(at++, fill_of(ranges[i].lba + k)));
	assert_true(block_is(at, fill_of(at)));
	/* durable, each range by itself */
	assert_memory_equal(tbox_disk->media + 1000 * BLOCK, tbox_disk->view + 1000 * BLOCK,
			    70 * BLOCK);
	down();
}

static void test_as_many_ranges_as_identify_says(void **state)
{
	struct range ranges[NVM_COPY_RANGES_MAX + 1];
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_IDENTIFY, 1, NVME_CNS_NS, 0);
	struct nvme_id_ns id;

	up();
	assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, page, 4096).status, 0);
	memcpy(&id, page, sizeof(id));
	assert_int_equal(id.msrc, NVM_COPY_RANGES_MAX - 1);
	assert_int_equal(le16_get(id.mssrl), 32768);
	assert_int_equal(le32_get(id.mcl), NVM_COPY_BYTES_MAX / BLOCK);
	assert_int_equal(le16_get(id.nacwu), NVM_FUSED_BYTES_MAX / BLOCK - 1);
	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct range){ 2 * i, 1 };
	assert_int_equal(copy(4000, 0, ranges, NVM_COPY_RANGES_MAX).status, 0);
	assert_true(block_is(4127, fill_of(254)));
	assert_int_equal(copy(5000, 0, ranges, ARRAY_SIZE(ranges)).status,
			 NVME_SC_SIZE_LIMIT | DNR);
	assert_true(block_is(5000, fill_of(5000)));
	down();
}

static void test_wrong_copies_change_nothing(void **state)
{
	static const struct {
		uint64_t to;
		uint32_t cdw12;
		struct range ranges[2];
		uint16_t status;
	} rows[] = {
		{ 100, 1 << 8, { { 0, 1 }, { 1, 1 } }, NVME_SC_INVALID_FIELD },
		{ 100, 0, { { 0, 1 }, { TBOX_BLOCKS, 1 } }, NVME_SC_LBA_RANGE },
		{ 100, 0, { { 0, 1 }, { TBOX_BLOCKS - 1, 2 } }, NVME_SC_LBA_RANGE },
		{ 100, 0, { { 0, 1 }, { UINT64_MAX, 1 } }, NVME_SC_LBA_RANGE },
		{ 100, 0, { { 0, 1 }, { UINT64_MAX - 1, 4 } }, NVME_SC_LBA_RANGE },
		{ TBOX_BLOCKS, 0, { { 0, 1 }, { 1, 1 } }, NVME_SC_LBA_RANGE },
		{ TBOX_BLOCKS - 1, 0, { { 0, 1 }, { 1, 1 } }, NVME_SC_LBA_RANGE },
		{ UINT64_MAX, 0, { { 0, 1 }, { 1, 1 } }, NVME_SC_LBA_RANGE },
		{ 100, 0, { { 0, 1 }, { 1, 65536 } }, NVME_SC_SIZE_LIMIT },
		{ 100, 0, { { 0, 1 }, { 1, 32769 } }, NVME_SC_SIZE_LIMIT },
		/* a source in what the copy writes, whichever range it is */
		{ 100, 0, { { 0, 1 }, { 101, 1 } }, NVME_SC_INVALID_FIELD },
		{ 100, 0, { { 99, 2 }, { 0, 1 } }, NVME_SC_INVALID_FIELD },
		{ 100, 0, { { 101, 2 }, { 0, 1 } }, NVME_SC_INVALID_FIELD },
	};

	up();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(copy(rows[i].to, rows[i].cdw12, rows[i].ranges, 2).status,
				 rows[i].status | DNR);
		assert_true(block_is(100, fill_of(100)));
	}
	down();
}

static void test_copy_tells_how_far_it_came(void **state)
{
	static const struct range ranges[] = { { 10, 3 }, { 20, 3 }, { 30, 3 } };
	struct fake_rule rule = { IO_READ, 20, 3, 0, 1, IO_ERR_MEDIA_READ };
	struct tbox_end end;

	up();
	fake_fail(tbox_disk, &rule);
	end = copy(100, 0, ranges, 3);
	assert_int_equal(end.status, NVME_SC_READ_ERROR | DNR);
	assert_int_equal(end.dw0, 1);
	assert_true(block_is(102, fill_of(12)));
	assert_true(block_is(103, fill_of(103)));
	down();
}

/* ---- Verify, Flush, Write Zeroes, Dataset Management ---- */

static void test_verify_reads(void **state)
{
	struct fake_rule rule = { IO_READ, 3000, 1, 0, 1, IO_ERR_MEDIA_READ };
	struct nvme_sqe sqe = tbox_rw(NVME_NVM_VERIFY, 0, TBOX_BLOCKS);

	up();
	assert_int_equal(tbox_run(&io, &sqe, NULL, 0, false, NULL, 0).status, 0);
	assert_true(tbox_disk->ops[IO_READ] >= TBOX_BLOCKS * BLOCK / (128 * 1024));
	fake_fail(tbox_disk, &rule);
	assert_int_equal(tbox_run(&io, &sqe, NULL, 0, false, NULL, 0).status,
			 NVME_SC_READ_ERROR | DNR);
	down();
}

static struct fake_bdev *second;

static void second_add(void *arg)
{
	struct bdev shape = {
		.name = "second", .block_bytes = 4096, .block_count = 16, .volatile_cache = true,
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH,
	};
	uint32_t nsid = 7;

	second = fake_create(&shape, FAKE_INSTANT, 2);
	assert_int_equal(nvmf_ns_add(nvmf_subsystem_find(TBOX_NQN), "second", &nsid, NULL), 0);
}

static void second_remove(void *arg)
{
	assert_int_equal(nvmf_ns_remove(nvmf_subsystem_find(TBOX_NQN), 7), 0);
	fake_remove(second);
}

static void test_flush_of_all_namespaces(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_NVM_FLUSH, 0xffffffff, 0, 0);
	struct fake_rule rule = { IO_FLUSH, 0, 0, 0, 1, IO_ERR_MEDIA_WRITE };
	uint16_t cid;

	up();
	loop_task(second_add, NULL);
	assert_int_equal(tbox_run(&io, &sqe, NULL, 0, false, NULL, 0).status, 0);
	assert_int_equal(tbox_disk->ops[IO_FLUSH], 1);
	assert_int_equal(second->ops[IO_FLUSH], 1);
	fake_fail(tbox_disk, &rule);
	assert_int_equal(tbox_run(&io, &sqe, NULL, 0, false, NULL, 0).status,
			 NVME_SC_WRITE_FAULT | DNR);
	/* a namespace that goes in the middle of it is waited for, and then left out */
	tbox_disk->mode = FAKE_HELD;
	cid = tbox_cmd(&io, &sqe, NULL, 0);
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 1);
	loop_task(second_remove, NULL);
	tbox_disk->mode = FAKE_INSTANT;
	fake_release(tbox_disk, 1);
	assert_int_equal(tbox_wait(&io, cid, NULL, 0, NULL, 0).status, 0);
	down();
}

static void test_write_zeroes_of_the_longest_length(void **state)
{
	struct nvme_sqe sqe = tbox_rw(NVME_NVM_WRITE_ZEROES, 1, TBOX_BLOCKS - 1);

	up();
	assert_int_equal(tbox_run(&io, &sqe, NULL, 0, false, NULL, 0).status, 0);
	assert_true(block_is(0, fill_of(0)));
	assert_true(block_is(1, 0));
	assert_true(block_is(TBOX_BLOCKS - 1, 0));
	sqe = tbox_rw(NVME_NVM_WRITE_ZEROES, 0, 1);
	sqe.rw_cdw12 = le32_make(NVME_RW_DEAC | NVME_RW_FUA);
	assert_int_equal(tbox_run(&io, &sqe, NULL, 0, false, NULL, 0).status, 0);
	assert_true(block_is(0, 0));
	assert_memory_equal(tbox_disk->media, tbox_disk->view, BLOCK);
	down();
}

static void test_wrong_ranges_of_a_deallocation_change_nothing(void **state)
{
	static const struct range bad[] = {
		{ TBOX_BLOCKS, 1 }, { TBOX_BLOCKS - 1, 2 }, { UINT64_MAX, 1 }, { 1, UINT32_MAX },
		{ UINT64_MAX - 1, UINT32_MAX },
	};
	struct nvme_sqe sqe = tbox_sqe(NVME_NVM_DSM, 1, 1, NVME_DSM_AD);

	up();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct nvme_dsm_range ranges[2] = {
			{ .nlb = le32_make(4) },
			{ .nlb = le32_make(bad[i].blocks), .slba = le64_make(bad[i].lba) },
		};

		assert_int_equal(tbox_run(&io, &sqe, ranges, sizeof(ranges), true, NULL, 0).status,
				 NVME_SC_LBA_RANGE | DNR);
		assert_true(block_is(1, fill_of(1)));
	}
	/* fewer bytes than ranges */
	assert_int_equal(tbox_run(&io, &sqe, page, 31, true, NULL, 0).status,
			 NVME_SC_DATA_SGL_LENGTH | DNR);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_ranges_are_copied_one_behind_the_other),
		tbox_test(test_as_many_ranges_as_identify_says),
		tbox_test(test_wrong_copies_change_nothing),
		tbox_test(test_copy_tells_how_far_it_came),
		tbox_test(test_verify_reads),
		tbox_test(test_flush_of_all_namespaces),
		tbox_test(test_write_zeroes_of_the_longest_length),
		tbox_test(test_wrong_ranges_of_a_deallocation_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
