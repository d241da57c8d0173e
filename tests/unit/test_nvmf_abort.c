/* SPDX-License-Identifier: BSD-3-Clause */
/* Abort: of commands in every place where one can be, and of all that a host leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

#define ABORTED NVME_SC_ABORT_REQUESTED

static struct tbox_conn admin, io;
static uint8_t data[8192];

static void up(void)
{
	tbox_host(&admin, &io, 0);
	tbox_disk->mode = FAKE_HELD;
	tbox_disk->obeys = true;
}

static void down(void)
{
	tbox_disk->mode = FAKE_INSTANT;
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

static uint16_t send(uint8_t opc, bool in_capsule)
{
	struct nvme_sqe sqe = tbox_rw(opc, 0, 8);
	bool write = opc == NVME_NVM_WRITE || opc == NVME_NVM_COMPARE;
	uint16_t cid;

	sqe.sgl.length = le32_make(4096);
	sqe.sgl.id = write && in_capsule ? 0x01 : 0x5a;
	cid = tbox_cmd(&io, &sqe, data, write && in_capsule ? 4096 : 0);
	loop_drain();
	return cid;
}

static uint16_t send_abort(uint16_t sqid, uint16_t cid)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_ABORT, 0, sqid | (uint32_t)cid << 16, 0);

	return tbox_cmd(&admin, &sqe, NULL, 0);
}

/* Whether it says that the command was aborted. */
static bool abort_says(uint16_t abort)
{
	struct tbox_end end = tbox_wait(&admin, abort, NULL, 0, NULL, 0);

	assert_int_equal(end.status, 0);
	return !(end.dw0 & NVME_ABORT_NOT_DONE);
}

static uint16_t ends(uint16_t cid)
{
	return tbox_wait(&io, cid, data, 4096, data, sizeof(data)).status;
}

static void test_a_command_at_the_disk_is_aborted_there(void **state)
{
	static const uint8_t opcs[] = {
		NVME_NVM_READ, NVME_NVM_WRITE, NVME_NVM_FLUSH, NVME_NVM_COMPARE,
		NVME_NVM_WRITE_ZEROES, NVME_NVM_VERIFY,
	};

	up();
	for (unsigned i = 0; i < ARRAY_SIZE(opcs); i++) {
		uint16_t cid = send(opcs[i], true);

		assert_int_equal(tbox_disk->held_count, 1);
		assert_true(abort_says(send_abort(1, cid)));
		assert_int_equal(tbox_disk->aborts, i + 1);
		assert_int_equal(ends(cid), ABORTED);
		assert_int_equal(tbox_disk->held_count, 0);
	}
	down();
}

static void test_a_disk_that_goes_on_makes_abort_say_so(void **state)
{
	uint16_t cid, abort;

	up();
	tbox_disk->obeys = false;
	cid = send(NVME_NVM_READ, false);
	abort = send_abort(1, cid);
	loop_drain();
	assert_int_equal(tbox_disk->aborts, 1);
	fake_release(tbox_disk, 1);
	assert_false(abort_says(abort));
	assert_int_equal(ends(cid), 0);
	/* and one that hangs does not hold the Abort for ever */
	cid = send(NVME_NVM_READ, false);
	abort = send_abort(1, cid);
	loop_drain();
	loop_advance(3000000);
	assert_false(abort_says(abort));
	fake_release(tbox_disk, 1);
	assert_int_equal(ends(cid), 0);
	down();
}

static void test_a_command_whose_data_is_missing_does_not_run(void **state)
{
	struct tbox_pdu r2t;
	uint16_t cid;

	up();
	cid = send(NVME_NVM_WRITE, false);
	tbox_expect(&io, NVME_TCP_R2T, &r2t);
	assert_true(abort_says(send_abort(1, cid)));
	tbox_h2c(&io, &r2t.r2t, data, 0, 4096, true);
	assert_int_equal(ends(cid), ABORTED);
	assert_int_equal(tbox_disk->held_peak, 0);
	down();
}

static void test_a_command_with_several_steps_begins_no_other(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_NVM_DSM, 1, 3, NVME_DSM_AD);
	struct nvme_dsm_range ranges[4] = { 0 };
	uint16_t cid, abort;

	up();
	for (unsigned i = 0; i < 4; i++)
		ranges[i] = (struct nvme_dsm_range){ .nlb = le32_make(1), .slba = le64_make(i) };
	sqe.sgl.length = le32_make(sizeof(ranges));
	sqe.sgl.id = 0x01;
	tbox_disk->obeys = false;
	cid = tbox_cmd(&io, &sqe, ranges, sizeof(ranges));
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 1);
	abort = send_abort(1, cid);
	loop_drain();
	fake_release(tbox_disk, 1);
	assert_int_equal(ends(cid), ABORTED);
	assert_int_equal(tbox_disk->held_count, 0);
	abort_says(abort);
	down();
}

static void test_halves_of_a_fused_pair(void **state)
{
	struct nvme_sqe c = tbox_rw(NVME_NVM_COMPARE, 0, 1), w = tbox_rw(NVME_NVM_WRITE, 0, 1);
	uint16_t a, b;

	up();
	c.flags |= NVME_FUSE_FIRST;
	w.flags |= NVME_FUSE_SECOND;
	c.sgl.length = w.sgl.length = le32_make(512);
	c.sgl.id = w.sgl.id = 0x01;
	/* one that waits for the other */
	a = tbox_cmd(&io, &c, data, 512);
	loop_drain();
	assert_true(abort_says(send_abort(1, a)));
	assert_int_equal(ends(a), ABORTED);
	b = tbox_cmd(&io, &w, data, 512);
	assert_int_equal(ends(b), NVME_SC_ABORTED_FAILED_FUSED | NVME_STATUS_DNR);
	/* both at the disk, by the second one's identifier */
	a = tbox_cmd(&io, &c, data, 512);
	b = tbox_cmd(&io, &w, data, 512);
	for (unsigned i = 0; tbox_disk->held_count == 0 && i < 20; i++)
		loop_drain();
	assert_int_equal(tbox_disk->held_count, 1);
	assert_true(abort_says(send_abort(1, b)));
	assert_int_equal(ends(a), ABORTED);
	assert_int_equal(ends(b), NVME_SC_ABORTED_FAILED_FUSED);
	down();
}

static void test_nothing_to_abort(void **state)
{
	struct nvme_sqe aer = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);
	uint16_t cid;

	up();
	assert_false(abort_says(send_abort(1, 77)));
	assert_false(abort_says(send_abort(2, 0)));
	assert_false(abort_says(send_abort(0xffff, 0)));
	assert_false(abort_says(send_abort(0, 0x1234)));
	cid = tbox_cmd(&admin, &aer, NULL, 0);
	loop_drain();
	struct tbox_pdu pdu;
	send_abort(0, cid);
	tbox_expect(&admin, NVME_TCP_RSP, &pdu);
	assert_int_equal(le16_get(pdu.rsp.cqe.cid), cid);
	assert_int_equal(nvme_cqe_status(&pdu.rsp.cqe), ABORTED);
	tbox_expect(&admin, NVME_TCP_RSP, &pdu);
	assert_int_equal(le32_get(pdu.rsp.cqe.dw0), 0);
	down();
}

static void test_more_aborts_than_identify_allows(void **state)
{
	uint16_t cids[NVMF_ABORT_MAX + 1], aborts[NVMF_ABORT_MAX + 1];

	up();
	tbox_disk->obeys = false;
	for (unsigned i = 0; i <= NVMF_ABORT_MAX; i++)
		cids[i] = send(NVME_NVM_READ, false);
	for (unsigned i = 0; i <= NVMF_ABORT_MAX; i++)
		aborts[i] = send_abort(1, cids[i]);
	assert_int_equal(tbox_wait(&admin, aborts[NVMF_ABORT_MAX], NULL, 0, NULL, 0).status,
			 NVME_SC_ABORT_LIMIT);
	for (unsigned i = 0; i <= NVMF_ABORT_MAX; i++) {
		fake_release(tbox_disk, 1);
		assert_int_equal(ends(cids[i]), 0);
		if (i < NVMF_ABORT_MAX)
			assert_false(abort_says(aborts[i]));
	}
	down();
}

static void test_a_host_that_goes_has_its_commands_aborted(void **state)
{
	up();
	for (unsigned i = 0; i < 8; i++)
		send(NVME_NVM_WRITE, true);
	assert_int_equal(tbox_disk->held_count, 8);
	tbox_hangup(&io);
	assert_int_equal(tbox_disk->aborts, 8);
	assert_int_equal(tbox_disk->held_count, 0);
	tbox_disk->mode = FAKE_INSTANT;
	tbox_hangup(&admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_a_command_at_the_disk_is_aborted_there),
		tbox_test(test_a_disk_that_goes_on_makes_abort_say_so),
		tbox_test(test_a_command_whose_data_is_missing_does_not_run),
		tbox_test(test_a_command_with_several_steps_begins_no_other),
		tbox_test(test_halves_of_a_fused_pair),
		tbox_test(test_nothing_to_abort),
		tbox_test(test_more_aborts_than_identify_allows),
		tbox_test(test_a_host_that_goes_has_its_commands_aborted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
