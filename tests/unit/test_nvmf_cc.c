/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CC and CSTS: each way from one state to another, with I/O at the disk and without; a host that
 * falls silent; identifiers of hosts and controllers.
 */
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
#define ENTRIES (6 << NVME_CC_IOSQES_SHIFT | 4 << NVME_CC_IOCQES_SHIFT)
#define ON (NVME_CC_EN | ENTRIES)

enum {
	RDY = NVME_CSTS_RDY,
	CFS = NVME_CSTS_CFS,
	OCCURRING = NVME_SHST_OCCURRING << NVME_CSTS_SHST_SHIFT,
	COMPLETE = NVME_SHST_COMPLETE << NVME_CSTS_SHST_SHIFT,
	NORMAL = NVME_SHN_NORMAL << NVME_CC_SHN_SHIFT,
	ABRUPT = NVME_SHN_ABRUPT << NVME_CC_SHN_SHIFT,
};

static struct tbox_conn admin, io;

static void cc(uint32_t value)
{
	assert_int_equal(tbox_property_set(&admin, NVME_REG_CC, value), 0);
}

static uint32_t csts(void)
{
	return (uint32_t)tbox_property_get(&admin, NVME_REG_CSTS, false);
}

static void connect_admin(void)
{
	tbox_dial(&admin);
	tbox_ic(&admin, false, false);
	assert_int_equal(tbox_connect(&admin, TBOX_NQN, 0, 31, NVMF_CNTLID_DYNAMIC, 0).status, 0);
}

/* A read that the disk keeps. */
static void read_held(void)
{
	struct nvme_sqe sqe = tbox_rw(NVME_NVM_READ, 0, 8);

	tbox_disk->mode = FAKE_HELD;
	sqe.sgl.length = le32_make(4096);
	sqe.sgl.id = 0x5a;
	tbox_cmd(&io, &sqe, NULL, 0);
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 1);
}

static void release(void)
{
	fake_release_all(tbox_disk);
	loop_drain();
}

static void test_values_of_cc_that_cannot_be(void **state)
{
	static const uint32_t bad[] = {
		ON | 1 << NVME_CC_MPS_SHIFT, ON | 7 << NVME_CC_AMS_SHIFT,
		ON | 1 << NVME_CC_CSS_SHIFT, ON | 7 << NVME_CC_CSS_SHIFT, NVME_CC_EN,
		NVME_CC_EN | 5 << NVME_CC_IOSQES_SHIFT | 4 << NVME_CC_IOCQES_SHIFT,
		NVME_CC_EN | 6 << NVME_CC_IOSQES_SHIFT | 5 << NVME_CC_IOCQES_SHIFT,
	};

	connect_admin();
	assert_int_equal(csts(), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		cc(bad[i]);
		assert_int_equal(csts(), CFS);
		cc(0);
		assert_int_equal(csts(), 0);
	}
	cc(ON | NVME_CC_CSS_ALL << NVME_CC_CSS_SHIFT);
	assert_int_equal(csts(), RDY);
	tbox_hangup(&admin);
}

static void test_cap_is_as_configured(void **state)
{
	uint64_t cap;

	connect_admin();
	cap = tbox_property_get(&admin, NVME_REG_CAP, true);
	assert_int_equal(nvme_cap_mqes(cap), config.nvmf_queue_depth_max - 1);
	assert_int_equal(nvme_cap_to(cap) * 500, config.nvmf_ready_timeout_ms);
	assert_true(cap >> NVME_CAP_CQR_SHIFT & 1);
	assert_int_equal(tbox_property_get(&admin, NVME_REG_CRTO, false), nvme_cap_to(cap));
	tbox_hangup(&admin);
}

static void test_ways_without_io(void **state)
{
	static const struct {
		uint32_t cc, csts;
	} steps[] = {
		{ ON, RDY }, { 0, 0 }, { ON, RDY },
		{ ON | NORMAL, RDY | COMPLETE }, { ON | NORMAL, RDY | COMPLETE },
		{ 0, 0 }, { ON, RDY }, { ON | ABRUPT, RDY | COMPLETE }, { NORMAL, COMPLETE },
		{ 0, COMPLETE }, { ON, RDY }, { 0, 0 }, { NORMAL, COMPLETE }, { ON, RDY },
	};

	connect_admin();
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		cc(steps[i].cc);
		if (csts() != steps[i].csts)
			fail_msg("step %u: CC %#x: CSTS %#x, expected %#x", i, steps[i].cc,
				 csts(), steps[i].csts);
	}
	tbox_hangup(&admin);
}

/* What is written while I/O is at the disk, what CSTS is then, and what once the I/O has ended. */
static void test_ways_with_io_at_the_disk(void **state)
{
	static const struct {
		uint32_t cc[3];
		unsigned count;
		uint32_t before, after;
	} rows[] = {
		{ { 0 }, 1, RDY, 0 },
		{ { ON | NORMAL }, 1, RDY | OCCURRING, RDY | COMPLETE },
		{ { ON | ABRUPT }, 1, RDY | OCCURRING, RDY | COMPLETE },
		{ { ON | NORMAL, 0 }, 2, RDY | OCCURRING, 0 },
		{ { 0, NORMAL }, 2, RDY | OCCURRING, COMPLETE },
		{ { 0, ON }, 2, RDY, RDY },
		{ { 0, ON, 0 }, 3, RDY, 0 },
		{ { ON | NORMAL, ON }, 2, RDY | OCCURRING, RDY | COMPLETE },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint16_t cntlid = tbox_host(&admin, &io, 0);

		read_held();
		for (unsigned k = 0; k < rows[i].count; k++)
			cc(rows[i].cc[k]);
		if (csts() != rows[i].before)
			fail_msg("row %u: before: CSTS %#x", i, csts());
		tbox_expect_end(&io, 0, 0);
		if (csts() != rows[i].before)
			fail_msg("row %u: connection gone: CSTS %#x", i, csts());
		release();
		if (csts() != rows[i].after)
			fail_msg("row %u: after: CSTS %#x", i, csts());
		tbox_hangup(&io);
		/* it can be used again, under the same identifier */
		tbox_disk->mode = FAKE_INSTANT;
		cc(0);
		cc(ON);
		assert_int_equal(csts(), RDY);
		tbox_dial(&io);
		tbox_ic(&io, false, false);
		assert_int_equal(tbox_connect(&io, TBOX_NQN, 1, 31, cntlid, 0).status, 0);
		tbox_hangup(&io);
		tbox_hangup(&admin);
	}
}

/* In each state the host goes away: the controller follows when its I/O has ended, not before. */
static void test_host_leaves_in_each_state(void **state)
{
	static const uint32_t states[] = { ON, 0, ON | NORMAL, ON | ABRUPT };

	for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
		tbox_host(&admin, &io, 0);
		read_held();
		cc(states[i]);
		tbox_hangup(&admin);
		loop_drain();
		assert_int_equal(nvmf_target.ctrl_count, 1);
		release();
		assert_int_equal(nvmf_target.ctrl_count, 0);
		assert_int_equal(nvmf_target.conn_count, 0);
		tbox_hangup(&io);
		tbox_disk->mode = FAKE_INSTANT;
	}
}

static void test_silent_host_ends_after_its_io(void **state)
{
	enum { KATO_MS = 2000 };

	tbox_host(&admin, &io, KATO_MS);
	read_held();
	for (unsigned i = 0; i < 30; i++)
		loop_advance(KATO_MS * 50);
	tbox_expect_end(&admin, 0, 0);
	tbox_expect_end(&io, 0, 0);
	/* the read is at the disk still: nobody gets the identifier, nor the memory */
	assert_int_equal(nvmf_target.ctrl_count, 1);
	release();
	assert_int_equal(nvmf_target.ctrl_count, 0);
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

/* Commands of an I/O queue keep the association alive: TBKAS. */
static void test_io_counts_as_keep_alive(void **state)
{
	enum { KATO_MS = 2000 };
	struct nvme_sqe sqe = tbox_rw(NVME_NVM_READ, 0, 8);
	static uint8_t in[4096];

	tbox_host(&admin, &io, KATO_MS);
	for (unsigned i = 0; i < 10; i++) {
		loop_advance(KATO_MS * 900);
		assert_int_equal(tbox_run(&io, &sqe, NULL, 0, false, in, 4096).status, 0);
	}
	assert_int_equal(nvmf_target.ctrl_count, 1);
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

/* A keep alive timeout of 0: never; one of the largest number does not wrap to a short one. */
static void test_keep_alive_timeouts_at_the_ends(void **state)
{
	static const uint32_t katos[] = { 0, UINT32_MAX };
	struct nvme_sqe alive = tbox_sqe(NVME_ADM_KEEP_ALIVE, 0, 0, 0);

	for (unsigned i = 0; i < ARRAY_SIZE(katos); i++) {
		tbox_host(&admin, &io, katos[i]);
		for (unsigned k = 0; k < 100; k++)
			loop_advance(60 * 1000 * 1000);
		assert_int_equal(tbox_run(&admin, &alive, NULL, 0, false, NULL, 0).status, 0);
		assert_int_equal(nvmf_target.ctrl_count, 1);
		tbox_hangup(&io);
		tbox_hangup(&admin);
	}
}

/* A host without an identifier is let in; two of them are not taken for one. */
static void test_host_identifier_of_zero(void **state)
{
	struct nvmf_connect_data data = tbox_connect_data(TBOX_NQN, NVMF_CNTLID_DYNAMIC);
	struct nvme_sqe sqe = tbox_connect_sqe(0, 31, 0);
	static const uint8_t keys[16];
	struct tbox_end end[2];

	memset(data.hostid, 0, sizeof(data.hostid));
	tbox_dial(&admin);
	tbox_ic(&admin, false, false);
	end[0] = tbox_run(&admin, &sqe, &data, sizeof(data), true, NULL, 0);
	assert_int_equal(end[0].status, 0);
	tbox_dial(&io);
	tbox_ic(&io, false, false);
	end[1] = tbox_run(&io, &sqe, &data, sizeof(data), true, NULL, 0);
	assert_int_equal(end[1].status, 0);
	assert_int_not_equal(end[0].dw0, end[1].dw0);
	tbox_hangup(&io);
	/* nor can it reserve anything */
	tbox_enable(&admin);
	data.cntlid = le16_make((uint16_t)end[0].dw0);
	sqe = tbox_connect_sqe(1, 31, 0);
	tbox_dial(&io);
	tbox_ic(&io, false, false);
	assert_int_equal(tbox_run(&io, &sqe, &data, sizeof(data), true, NULL, 0).status, 0);
	sqe = tbox_sqe(NVME_NVM_RESV_REGISTER, 1, 0, 0);
	assert_int_equal(tbox_run(&io, &sqe, keys, sizeof(keys), true, NULL, 0).status,
			 NVME_SC_SEQUENCE_ERROR | DNR);
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_values_of_cc_that_cannot_be),
		tbox_test(test_cap_is_as_configured),
		tbox_test(test_ways_without_io),
		tbox_test(test_ways_with_io_at_the_disk),
		tbox_test(test_host_leaves_in_each_state),
		tbox_test(test_silent_host_ends_after_its_io),
		tbox_test(test_io_counts_as_keep_alive),
		tbox_test(test_keep_alive_timeouts_at_the_ends),
		tbox_test(test_host_identifier_of_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
