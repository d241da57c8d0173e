/* SPDX-License-Identifier: BSD-3-Clause */
/* Connect: each check has its own status and says where the wrong parameter is; who may come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

#define SQE(field) offsetof(struct nvmf_connect_sqe, field)
#define DATA(field) (NVMF_IATTR_DATA | offsetof(struct nvmf_connect_data, field))
#define DNR NVME_STATUS_DNR

typedef void change_fn(struct nvmf_connect_sqe *sqe, struct nvmf_connect_data *data);

static uint16_t cntlid;

static struct tbox_end connect_with(struct tbox_conn *c, uint16_t qid, change_fn *change)
{
	struct nvmf_connect_data data = tbox_connect_data(TBOX_NQN, qid ? cntlid : 0xffff);
	struct nvme_sqe sqe = tbox_connect_sqe(qid, 31, 0);
	struct nvmf_connect_sqe s;

	memcpy(&s, &sqe, sizeof(s));
	change(&s, &data);
	memcpy(&sqe, &s, sizeof(sqe));
	return tbox_run(c, &sqe, &data, sizeof(data), true, NULL, 0);
}

#define CHANGE(name, statement) \
	static void name(struct nvmf_connect_sqe *sqe, struct nvmf_connect_data *data) \
	{ \
		statement; \
	}

CHANGE(nothing, (void)sqe)
CHANGE(recfmt_1, sqe->recfmt = le16_make(1))
CHANGE(sqsize_0, sqe->sqsize = le16_make(0))
CHANGE(sqsize_huge, sqe->sqsize = le16_make(65535))
CHANGE(sqsize_one_more, sqe->sqsize = le16_make((uint16_t)config.nvmf_queue_depth_max))
CHANGE(cntlid_5, data->cntlid = le16_make(5))
CHANGE(cntlid_static, data->cntlid = le16_make(NVMF_CNTLID_STATIC_ANY))
CHANGE(cntlid_other, data->cntlid = le16_make(cntlid + 1))
CHANGE(cntlid_dynamic, data->cntlid = le16_make(0xffff))
CHANGE(no_such_nqn, memcpy(data->subnqn, "nqn.none", 9))
CHANGE(empty_nqn, data->subnqn[0] = 0)
CHANGE(endless_nqn, memset(data->subnqn, 'n', 256))
CHANGE(long_nqn, memset(data->subnqn + 4, 'n', 220); data->subnqn[224] = 0)
CHANGE(empty_host, data->hostnqn[0] = 0)
CHANGE(endless_host, memset(data->hostnqn, 'n', 256))
CHANGE(odd_host, memcpy(data->hostnqn, "nqn.\x01\x02", 7))
CHANGE(other_host, memcpy(data->hostnqn, "nqn.other", 10))
CHANGE(other_hostid, data->hostid[15] = 0xff)
CHANGE(closed_nqn, memcpy(data->subnqn, TBOX_CLOSED_NQN, sizeof(TBOX_CLOSED_NQN)))
CHANGE(qid_one_more, sqe->qid = le16_make((uint16_t)(config.nvmf_queues_max + 1)))
CHANGE(qid_65535, sqe->qid = le16_make(65535))

struct row {
	change_fn *change;
	uint16_t status;
	uint32_t where;
};

static void check_rows(const struct row *rows, unsigned count, uint16_t qid)
{
	for (unsigned i = 0; i < count; i++) {
		struct tbox_conn c;
		struct tbox_end end;

		tbox_dial(&c);
		tbox_ic(&c, i & 1, i & 2);
		end = connect_with(&c, qid, rows[i].change);
		if (end.status != rows[i].status || end.dw0 != rows[i].where)
			fail_msg("row %u: status %#x at %#x, expected %#x at %#x", i, end.status,
				 end.dw0, rows[i].status, rows[i].where);
		tbox_hangup(&c);
	}
}

static void test_wrong_admin_connect(void **state)
{
	static const struct row rows[] = {
		{ recfmt_1, NVME_SC_CONNECT_FORMAT | DNR, 0 },
		{ sqsize_0, NVME_SC_CONNECT_PARAM | DNR, SQE(sqsize) },
		{ sqsize_huge, NVME_SC_CONNECT_PARAM | DNR, SQE(sqsize) },
		{ cntlid_5, NVME_SC_CONNECT_PARAM | DNR, DATA(cntlid) },
		{ cntlid_static, NVME_SC_CONNECT_PARAM | DNR, DATA(cntlid) },
		{ no_such_nqn, NVME_SC_CONNECT_PARAM | DNR, DATA(subnqn) },
		{ empty_nqn, NVME_SC_CONNECT_PARAM | DNR, DATA(subnqn) },
		{ endless_nqn, NVME_SC_CONNECT_PARAM | DNR, DATA(subnqn) },
		{ long_nqn, NVME_SC_CONNECT_PARAM | DNR, DATA(subnqn) },
		{ empty_host, NVME_SC_CONNECT_PARAM | DNR, DATA(hostnqn) },
		{ endless_host, NVME_SC_CONNECT_PARAM | DNR, DATA(hostnqn) },
		{ odd_host, NVME_SC_CONNECT_PARAM | DNR, DATA(hostnqn) },
		{ closed_nqn, NVME_SC_CONNECT_HOST | DNR, 0 },
	};

	check_rows(rows, ARRAY_SIZE(rows), 0);
	assert_int_equal(nvmf_target.ctrl_count, 0);
}

static void test_wrong_io_connect(void **state)
{
	static const struct row rows[] = {
		{ recfmt_1, NVME_SC_CONNECT_FORMAT | DNR, 0 },
		{ sqsize_0, NVME_SC_CONNECT_PARAM | DNR, SQE(sqsize) },
		{ sqsize_one_more, NVME_SC_CONNECT_PARAM | DNR, SQE(sqsize) },
		{ cntlid_other, NVME_SC_CONNECT_PARAM | DNR, DATA(cntlid) },
		{ cntlid_dynamic, NVME_SC_CONNECT_PARAM | DNR, DATA(cntlid) },
		{ closed_nqn, NVME_SC_CONNECT_PARAM | DNR, DATA(cntlid) },
		{ other_host, NVME_SC_CONNECT_PARAM | DNR, DATA(hostnqn) },
		{ other_hostid, NVME_SC_CONNECT_PARAM | DNR, DATA(hostid) },
		{ qid_one_more, NVME_SC_CONNECT_PARAM | DNR, SQE(qid) },
		{ qid_65535, NVME_SC_CONNECT_PARAM | DNR, SQE(qid) },
	};
	static const struct row taken = { nothing, NVME_SC_SEQUENCE_ERROR | DNR, 0 };
	struct tbox_conn admin, io;

	cntlid = tbox_host(&admin, &io, 0);
	check_rows(rows, ARRAY_SIZE(rows), 2);
	check_rows(&taken, 1, 1);
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

/* The connection stays as it was, so that the host may ask again on it. */
static void test_connect_while_busy_and_again(void **state)
{
	unsigned real = nvmf_target.ctrl_count;
	struct tbox_conn c;

	tbox_dial(&c);
	tbox_ic(&c, false, false);
	nvmf_target.ctrl_count = config.nvmf_controllers_max;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(tbox_connect(&c, TBOX_NQN, 0, 31, NVMF_CNTLID_DYNAMIC, 0).status,
				 NVME_SC_CONNECT_BUSY);
	nvmf_target.ctrl_count = real;
	assert_int_equal(tbox_connect(&c, TBOX_NQN, 0, 31, NVMF_CNTLID_DYNAMIC, 0).status, 0);
	tbox_enable(&c);
	tbox_hangup(&c);
}

static void test_io_queue_needs_an_enabled_controller(void **state)
{
	static const struct row early = { nothing, NVME_SC_SEQUENCE_ERROR | DNR, 0 };
	struct tbox_conn admin;
	struct tbox_end end;

	tbox_dial(&admin);
	tbox_ic(&admin, false, false);
	end = tbox_connect(&admin, TBOX_NQN, 0, 31, 0xffff, 0);
	assert_int_equal(end.status, 0);
	cntlid = (uint16_t)end.dw0;
	check_rows(&early, 1, 1);
	tbox_hangup(&admin);
}

static void test_queue_connects_once(void **state)
{
	struct tbox_conn admin, io;

	cntlid = tbox_host(&admin, &io, 0);
	assert_int_equal(connect_with(&admin, 0, nothing).status, NVME_SC_SEQUENCE_ERROR | DNR);
	assert_int_equal(connect_with(&io, 2, nothing).status, NVME_SC_SEQUENCE_ERROR | DNR);
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

static void test_connect_data_of_wrong_length(void **state)
{
	struct nvmf_connect_data data[2] = { tbox_connect_data(TBOX_NQN, 0xffff) };
	struct nvme_sqe sqe = tbox_connect_sqe(0, 31, 0);
	struct tbox_conn c;

	tbox_dial(&c);
	tbox_ic(&c, true, true);
	assert_int_equal(tbox_run(&c, &sqe, data, 1020, true, NULL, 0).status,
			 NVME_SC_DATA_SGL_LENGTH | DNR);
	assert_int_equal(tbox_run(&c, &sqe, data, 1028, true, NULL, 0).status,
			 NVME_SC_DATA_SGL_LENGTH | DNR);
	/* by R2T it is as good */
	assert_int_equal(tbox_run(&c, &sqe, data, 1024, false, NULL, 0).status, 0);
	tbox_hangup(&c);
}

static void test_commands_before_connect(void **state)
{
	static const uint8_t opcs[] = { NVME_ADM_IDENTIFY, NVME_ADM_KEEP_ALIVE, NVME_NVM_FLUSH,
					NVME_NVM_READ, 0xff };
	struct tbox_conn c;

	tbox_dial(&c);
	tbox_ic(&c, false, false);
	for (unsigned i = 0; i < ARRAY_SIZE(opcs); i++) {
		struct nvme_sqe sqe = tbox_sqe(opcs[i], 1, 1, 0);

		assert_int_equal(tbox_run(&c, &sqe, NULL, 0, false, NULL, 0).status,
				 NVME_SC_SEQUENCE_ERROR | DNR);
	}
	for (unsigned fctype = 0; fctype < 256; fctype++) {
		struct nvmf_sqe f = { .opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL,
				      .fctype = (uint8_t)fctype };
		struct nvme_sqe sqe;

		if (fctype == NVMF_CONNECT)
			continue;
		memcpy(&sqe, &f, sizeof(sqe));
		assert_int_equal(tbox_run(&c, &sqe, NULL, 0, false, NULL, 0).status,
				 NVME_SC_SEQUENCE_ERROR | DNR);
	}
	assert_int_equal(tbox_connect(&c, TBOX_NQN, 0, 31, 0xffff, 0).status, 0);
	tbox_hangup(&c);
}

static void test_host_is_allowed_by_name_and_denied_again(void **state)
{
	struct nvmf_subsystem *subsys = nvmf_subsystem_find(TBOX_CLOSED_NQN);
	struct tbox_conn c;

	tbox_dial(&c);
	tbox_ic(&c, false, false);
	assert_int_equal(tbox_connect(&c, TBOX_CLOSED_NQN, 0, 31, 0xffff, 0).status,
			 NVME_SC_CONNECT_HOST | DNR);
	assert_int_equal(nvmf_host_allow(subsys, TBOX_HOST), 0);
	assert_int_equal(tbox_connect(&c, TBOX_CLOSED_NQN, 0, 31, 0xffff, 0).status, 0);
	assert_int_equal(nvmf_host_deny(subsys, TBOX_HOST), 0);
	tbox_expect_end(&c, 0, 0);
	tbox_hangup(&c);
}

static void test_controller_identifiers_differ_and_are_reused(void **state)
{
	struct tbox_conn c[8];
	bool seen[16] = { false };

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		struct tbox_end end;

		tbox_dial(&c[i]);
		tbox_ic(&c[i], false, false);
		end = tbox_connect(&c[i], TBOX_NQN, 0, 31, 0xffff, 0);
		assert_int_equal(end.status, 0);
		assert_in_range(end.dw0, 1, 15);
		assert_false(seen[end.dw0]);
		seen[end.dw0] = true;
	}
	nvmf_subsystem_find(TBOX_NQN)->cntlid_next = NVME_CNTLID_MAX;
	for (unsigned i = 0; i < 3; i++) {
		struct tbox_conn d;

		tbox_dial(&d);
		tbox_ic(&d, false, false);
		assert_int_equal(tbox_connect(&d, TBOX_NQN, 0, 31, 0xffff, 0).dw0,
				 i == 0 ? NVME_CNTLID_MAX : 8 + i);
		tbox_hangup(&d);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++)
		tbox_hangup(&c[i]);
}

static void test_connecting_has_a_deadline(void **state)
{
	struct tbox_conn quiet, slow;

	tbox_dial(&quiet);
	tbox_dial(&slow);
	tbox_ic(&slow, false, false);
	for (unsigned i = 0; i < config.nvmf_connect_timeout_ms / 250; i++) {
		loop_advance(250 * 1000);
		tbox_send(&slow, "\4", 1);      /* a command, one byte at a time */
	}
	loop_advance(500 * 1000);
	assert_int_equal(nvmf_target.conn_count, 0);
	tbox_hangup(&quiet);
	tbox_hangup(&slow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_wrong_admin_connect),
		tbox_test(test_wrong_io_connect),
		tbox_test(test_io_queue_needs_an_enabled_controller),
		tbox_test(test_queue_connects_once),
		tbox_test(test_connect_data_of_wrong_length),
		tbox_test(test_commands_before_connect),
		tbox_test(test_host_is_allowed_by_name_and_denied_again),
		tbox_test(test_controller_identifiers_differ_and_are_reused),
		tbox_test(test_connecting_has_a_deadline),
		tbox_test(test_connect_while_busy_and_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
