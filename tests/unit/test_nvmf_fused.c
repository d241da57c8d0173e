/* SPDX-License-Identifier: BSD-3-Clause */
/* Fused Compare and Write: pairs that work, and pairs that are broken in every way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/task.h"
#include "targets/nvmf/nvm.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

enum { LBA = 64, LEN = 1024, DNR = NVME_STATUS_DNR, CAPSULE = 0x01, LATER = 0x5a };

static struct tbox_conn admin, io;
static uint8_t old[LEN], new[LEN], wrong[LEN], big[2 * NVM_FUSED_BYTES_MAX];

static void up(void)
{
	tbox_host(&admin, &io, 0);
	memset(old, 0x11, LEN);
	memset(new, 0x22, LEN);
	memset(wrong, 0x33, LEN);
	memcpy(tbox_disk->view + LBA * TBOX_BLOCK_BYTES, old, LEN);
}

static void down(void)
{
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

static struct nvme_sqe half(uint8_t opc, unsigned fuse, uint8_t sgl)
{
	struct nvme_sqe sqe = tbox_rw(opc, LBA, LEN / TBOX_BLOCK_BYTES);

	sqe.flags |= (uint8_t)fuse;
	sqe.sgl.length = le32_make(LEN);
	sqe.sgl.id = sgl;
	return sqe;
}

static uint16_t send(const struct nvme_sqe *sqe, const void *data)
{
	return tbox_cmd(&io, sqe, data, sqe->sgl.id == CAPSULE ? le32_get(sqe->sgl.length) : 0);
}

static uint16_t send_first(const void *data, uint8_t sgl)
{
	struct nvme_sqe sqe = half(NVME_NVM_COMPARE, NVME_FUSE_FIRST, sgl);

	return send(&sqe, data);
}

static uint16_t send_second(uint8_t sgl)
{
	struct nvme_sqe sqe = half(NVME_NVM_WRITE, NVME_FUSE_SECOND, sgl);

	return send(&sqe, new);
}

static uint16_t ends(uint16_t cid, const void *data)
{
	return tbox_wait(&io, cid, data, LEN, NULL, 0).status;
}

static void holds(const void *data)
{
	assert_memory_equal(tbox_disk->view + LBA * TBOX_BLOCK_BYTES, data, LEN);
}

/* The connection is none the worse for it. */
static void pair_works(void)
{
	uint16_t a, b;

	memcpy(tbox_disk->view + LBA * TBOX_BLOCK_BYTES, old, LEN);
	a = send_first(old, CAPSULE);
	b = send_second(CAPSULE);
	assert_int_equal(ends(a, NULL), 0);
	assert_int_equal(ends(b, NULL), 0);
	holds(new);
}

static void test_equal_blocks_are_written_and_others_are_not(void **state)
{
	uint16_t a, b;

	up();
	a = send_first(wrong, CAPSULE);
	b = send_second(CAPSULE);
	assert_int_equal(ends(a, NULL), NVME_SC_COMPARE_FAILURE | DNR);
	assert_int_equal(ends(b, NULL), NVME_SC_ABORTED_FAILED_FUSED);
	holds(old);
	pair_works();
	down();
}

static void test_data_of_either_half_may_come_later(void **state)
{
	struct tbox_pdu r2t;
	uint16_t a, b;

	up();
	a = send_first(NULL, LATER);
	b = send_second(CAPSULE);
	assert_int_equal(ends(a, old), 0);
	assert_int_equal(ends(b, NULL), 0);
	holds(new);
	memcpy(tbox_disk->view + LBA * TBOX_BLOCK_BYTES, old, LEN);
	a = send_first(old, CAPSULE);
	b = send_second(LATER);
	tbox_expect(&io, NVME_TCP_R2T, &r2t);
	assert_int_equal(le16_get(r2t.r2t.cccid), b);
	assert_int_equal(tbox_disk->ops[IO_COMPARE] + tbox_disk->ops[IO_WRITE], 2);
	tbox_h2c(&io, &r2t.r2t, new, 0, LEN, true);
	assert_int_equal(ends(a, NULL), 0);
	assert_int_equal(ends(b, NULL), 0);
	holds(new);
	down();
}

static void test_what_follows_a_first_half_and_is_no_second(void **state)
{
	struct nvme_sqe read = half(NVME_NVM_READ, 0, LATER);
	uint16_t a, b;

	up();
	a = send_first(old, CAPSULE);
	b = send(&read, NULL);
	assert_int_equal(ends(a, NULL), NVME_SC_ABORTED_MISSING_FUSED);
	assert_int_equal(tbox_wait(&io, b, NULL, 0, wrong, LEN).status, 0);
	/* two first ones */
	a = send_first(old, CAPSULE);
	b = send_first(old, CAPSULE);
	assert_int_equal(ends(a, NULL), NVME_SC_ABORTED_MISSING_FUSED);
	a = send_second(CAPSULE);
	assert_int_equal(ends(b, NULL), 0);
	assert_int_equal(ends(a, NULL), 0);
	holds(new);
	down();
}

static void test_a_first_half_without_its_data_is_answered_when_that_is_there(void **state)
{
	struct nvme_sqe read = half(NVME_NVM_READ, 0, LATER);
	struct tbox_pdu r2t;
	uint16_t a, b;

	up();
	a = send_first(NULL, LATER);
	b = send(&read, NULL);
	tbox_expect(&io, NVME_TCP_R2T, &r2t);
	assert_int_equal(tbox_wait(&io, b, NULL, 0, wrong, LEN).status, 0);
	tbox_h2c(&io, &r2t.r2t, old, 0, LEN, true);
	assert_int_equal(ends(a, NULL), NVME_SC_ABORTED_MISSING_FUSED);
	pair_works();
	down();
}

static void test_a_second_half_alone(void **state)
{
	up();
	assert_int_equal(ends(send_second(CAPSULE), NULL), NVME_SC_ABORTED_MISSING_FUSED | DNR);
	holds(old);
	pair_works();
	assert_int_equal(ends(send_second(CAPSULE), NULL), NVME_SC_ABORTED_MISSING_FUSED | DNR);
	down();
}

static void test_a_first_half_that_is_refused_takes_its_second_along(void **state)
{
	static const struct {
		uint8_t opc;
		uint64_t lba;
		uint32_t nsid, sgl_len;
		uint16_t status;
	} rows[] = {
		{ NVME_NVM_COMPARE, TBOX_BLOCKS, 1, LEN, NVME_SC_LBA_RANGE },
		{ NVME_NVM_COMPARE, UINT64_MAX, 1, LEN, NVME_SC_LBA_RANGE },
		{ NVME_NVM_COMPARE, LBA, 2, LEN, NVME_SC_INVALID_NS },
		{ NVME_NVM_COMPARE, LBA, 1, LEN - 4, NVME_SC_DATA_SGL_LENGTH },
		{ NVME_NVM_WRITE, LBA, 1, LEN, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_FLUSH, LBA, 1, LEN, NVME_SC_INVALID_FIELD },
		{ 0xff, LBA, 1, LEN, NVME_SC_INVALID_OPCODE },
	};

	up();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nvme_sqe sqe = half(rows[i].opc, NVME_FUSE_FIRST, LATER);
		uint16_t a, b;

		sqe.slba = le64_make(rows[i].lba);
		sqe.nsid = le32_make(rows[i].nsid);
		sqe.sgl.length = le32_make(rows[i].sgl_len);
		a = send(&sqe, NULL);
		b = send_second(CAPSULE);
		assert_int_equal(ends(a, NULL), rows[i].status | DNR);
		assert_int_equal(ends(b, NULL), NVME_SC_ABORTED_FAILED_FUSED | DNR);
		holds(old);
	}
	pair_works();
	down();
}

static void test_a_second_half_that_is_refused_takes_its_first_along(void **state)
{
	static const struct {
		uint8_t opc;
		uint64_t lba;
		uint32_t nlb, nsid, sgl_len;
		uint16_t status;
	} rows[] = {
		{ NVME_NVM_WRITE, LBA + 1, 1, 1, LEN, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_WRITE, LBA, 0, 1, LEN, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_COMPARE, LBA, 1, 1, LEN, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_WRITE, LBA, 1, 2, LEN, NVME_SC_INVALID_NS },
		{ NVME_NVM_WRITE, TBOX_BLOCKS, 1, 1, LEN, NVME_SC_LBA_RANGE },
		{ NVME_NVM_WRITE, LBA, 1, 1, LEN - 1, NVME_SC_DATA_SGL_LENGTH },
	};

	up();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nvme_sqe sqe = half(rows[i].opc, NVME_FUSE_SECOND, LATER);
		uint16_t a, b;

		sqe.slba = le64_make(rows[i].lba);
		sqe.rw_cdw12 = le32_make(rows[i].nlb);
		sqe.nsid = le32_make(rows[i].nsid);
		sqe.sgl.length = le32_make(rows[i].sgl_len);
		a = send_first(old, CAPSULE);
		b = send(&sqe, NULL);
		assert_int_equal(ends(a, NULL), NVME_SC_ABORTED_FAILED_FUSED);
		assert_int_equal(ends(b, NULL), rows[i].status | DNR);
		holds(old);
	}
	pair_works();
	down();
}

static void test_both_fuse_bits_at_once(void **state)
{
	struct nvme_sqe sqe = half(NVME_NVM_COMPARE, NVME_FUSE_MASK, LATER);
	uint16_t a, b;

	up();
	a = send_first(old, CAPSULE);
	b = send(&sqe, NULL);
	assert_int_equal(ends(a, NULL), NVME_SC_ABORTED_MISSING_FUSED);
	assert_int_equal(ends(b, NULL), NVME_SC_INVALID_FIELD | DNR);
	/* admin commands are never fused */
	sqe = tbox_sqe(NVME_ADM_KEEP_ALIVE, 0, 0, 0);
	sqe.flags |= NVME_FUSE_FIRST;
	assert_int_equal(tbox_run(&admin, &sqe, NULL, 0, false, NULL, 0).status,
			 NVME_SC_INVALID_FIELD | DNR);
	pair_works();
	down();
}

static void test_longer_than_nacwu(void **state)
{
	struct nvme_sqe sqe = half(NVME_NVM_COMPARE, NVME_FUSE_FIRST, LATER);
	uint32_t blocks = NVM_FUSED_BYTES_MAX / TBOX_BLOCK_BYTES;
	uint16_t a, b;

	up();
	sqe.rw_cdw12 = le32_make(blocks);
	sqe.sgl.length = le32_make(sizeof(big));
	a = send(&sqe, NULL);
	assert_int_equal(ends(a, NULL), NVME_SC_ATOMIC_EXCEEDED | DNR);
	/* the longest, whatever buffers its halves are of */
	for (uint32_t n = blocks - 9; n <= blocks; n++) {
		sqe = half(NVME_NVM_COMPARE, NVME_FUSE_FIRST, LATER);
		sqe.rw_cdw12 = le32_make(n - 1);
		sqe.sgl.length = le32_make(n * TBOX_BLOCK_BYTES);
		memcpy(big, tbox_disk->view + LBA * TBOX_BLOCK_BYTES, n * TBOX_BLOCK_BYTES);
		a = send(&sqe, NULL);
		sqe.opc = NVME_NVM_WRITE;
		sqe.flags ^= NVME_FUSE_MASK;
		/* neither is answered before both have their data */
		b = send(&sqe, NULL);
		for (unsigned r2ts = 0; r2ts < 2; r2ts++) {
			struct tbox_pdu r2t;

			tbox_expect(&io, NVME_TCP_R2T, &r2t);
			tbox_h2c(&io, &r2t.r2t, big, 0, n * TBOX_BLOCK_BYTES, true);
		}
		assert_int_equal(ends(a, NULL), 0);
		assert_int_equal(ends(b, NULL), 0);
	}
	down();
}

static void test_a_data_digest_that_is_wrong_breaks_the_pair(void **state)
{
	struct tbox_end end;
	uint16_t a, b;

	tbox_dial(&admin);
	tbox_ic(&admin, false, true);
	end = tbox_connect(&admin, TBOX_NQN, 0, 31, NVMF_CNTLID_DYNAMIC, 0);
	tbox_enable(&admin);
	tbox_dial(&io);
	tbox_ic(&io, false, true);
	assert_int_equal(tbox_connect(&io, TBOX_NQN, 1, 31, (uint16_t)end.dw0, 0).status, 0);
	memcpy(tbox_disk->view + LBA * TBOX_BLOCK_BYTES, old, LEN);
	for (unsigned spoiled = 0; spoiled < 2; spoiled++) {
		io.spoil_ddgst = spoiled == 0;
		a = send_first(old, CAPSULE);
		io.spoil_ddgst = spoiled == 1;
		b = send_second(CAPSULE);
		io.spoil_ddgst = 0;
		assert_int_equal(ends(a, NULL), spoiled == 0 ?
				 NVME_SC_TRANSIENT_TRANSPORT : NVME_SC_ABORTED_FAILED_FUSED);
		assert_int_equal(ends(b, NULL) & ~DNR, spoiled == 1 ?
				 NVME_SC_TRANSIENT_TRANSPORT : NVME_SC_ABORTED_FAILED_FUSED);
		holds(old);
	}
	pair_works();
	down();
}

static void test_the_host_goes_in_the_middle_of_a_pair(void **state)
{
	/* which halves have come, and whether their data has; 2: only the command */
	static const uint8_t scenes[][2] = { { 1, 0 }, { 2, 0 }, { 1, 2 }, { 2, 1 }, { 2, 2 } };

	for (unsigned i = 0; i < ARRAY_SIZE(scenes); i++) {
		up();
		send_first(old, scenes[i][0] == 1 ? CAPSULE : LATER);
		if (scenes[i][1])
			send_second(scenes[i][1] == 1 ? CAPSULE : LATER);
		loop_drain();
		down();
		holds(old);
	}
}

static void remove_ns(void *arg)
{
	assert_int_equal(nvmf_ns_remove(nvmf_subsystem_find(TBOX_NQN), 1), 0);
}

static void test_the_namespace_goes_while_a_half_waits(void **state)
{
	uint16_t a, b;

	up();
	a = send_first(old, CAPSULE);
	loop_drain();
	loop_task(remove_ns, NULL);
	b = send_second(CAPSULE);
	assert_int_equal(ends(a, NULL), NVME_SC_ABORTED_FAILED_FUSED);
	assert_int_equal(ends(b, NULL), NVME_SC_INVALID_NS | DNR);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_equal_blocks_are_written_and_others_are_not),
		tbox_test(test_data_of_either_half_may_come_later),
		tbox_test(test_what_follows_a_first_half_and_is_no_second),
		tbox_test(test_a_first_half_without_its_data_is_answered_when_that_is_there),
		tbox_test(test_a_second_half_alone),
		tbox_test(test_a_first_half_that_is_refused_takes_its_second_along),
		tbox_test(test_a_second_half_that_is_refused_takes_its_first_along),
		tbox_test(test_both_fuse_bits_at_once),
		tbox_test(test_longer_than_nacwu),
		tbox_test(test_a_data_digest_that_is_wrong_breaks_the_pair),
		tbox_test(test_the_host_goes_in_the_middle_of_a_pair),
		tbox_test(test_the_namespace_goes_while_a_half_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
