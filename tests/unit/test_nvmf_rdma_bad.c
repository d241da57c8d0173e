/* SPDX-License-Identifier: BSD-3-Clause */
/* The RDMA transport of the target: what hosts do wrong, and what they get for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_rdma_box.h"

static void hang_up(struct qpbox_conn *admin, struct qpbox_conn *io)
{
	qpbox_hangup(io);
	qpbox_hangup(admin);
}

static int rw(struct qpbox_conn *io, uint8_t opc, uint32_t blocks, struct nvme_sgl sgl,
	      const void *capsule, size_t len)
{
	struct nvme_sqe sqe = tbox_rw(opc, 16, blocks);

	sqe.sgl = sgl;
	return qpbox_run(io, &sqe, capsule, len);
}

/* ---- what must be refused ---- */

static void test_private_data_is_checked(void **state)
{
	struct row {
		const char *what;
		struct nvme_rdma_request ask;
		size_t len;
		unsigned status;
	} rows[] = {
		{ "nothing", qpbox_ask(0, 31), 0, NVME_RDMA_BAD_LENGTH },
		{ "short", qpbox_ask(0, 31), 31, NVME_RDMA_BAD_LENGTH },
		{ "format", qpbox_ask(0, 31), 32, NVME_RDMA_BAD_RECFMT },
		{ "queue", qpbox_ask((uint16_t)(config.nvmf_queues_max + 1), 31), 32,
		  NVME_RDMA_BAD_QID },
		{ "no sends", qpbox_ask(0, 0), 32, NVME_RDMA_BAD_HSQSIZE },
		{ "sends", qpbox_ask(1, (uint16_t)config.nvmf_queue_depth_max), 32,
		  NVME_RDMA_BAD_HSQSIZE },
		{ "no receives", qpbox_ask(0, 31), 32, NVME_RDMA_BAD_HRQSIZE },
		{ "controller", qpbox_ask(1, 31), 32, NVME_RDMA_BAD_CNTLID },
		{ "padded", qpbox_ask(0, 31), 32, 0 },
	};
	struct qpbox_conn c;

	rows[2].ask.recfmt = le16_make(1);
	rows[6].ask.hrqsize = le16_make(0);
	rows[7].ask.cntlid = le16_make(0x1234);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		print_message("%s\n", rows[i].what);
		qpbox_dial(&c, &rows[i].ask, rows[i].len);
		assert_int_equal(c.refused, rows[i].status);
		assert_int_equal(c.up, rows[i].status == 0);
		qpbox_hangup(&c);
		assert_int_equal(nvmf_target.conn_count, 0);
	}
}

static void test_no_more_connections_than_are_configured(void **state)
{
	struct nvme_rdma_request ask = qpbox_ask(0, 31);
	unsigned others = config.nvmf_connections_max - 1;
	struct qpbox_conn one, other;

	/* as if there were so many */
	nvmf_target.conn_count += others;
	qpbox_dial(&one, &ask, sizeof(ask));
	qpbox_dial(&other, &ask, sizeof(ask));
	nvmf_target.conn_count -= others;
	assert_true(one.up);
	assert_int_equal(other.refused, NVME_RDMA_NO_RESOURCES);
	hang_up(&one, &other);
}

static void test_no_memory_refuses_the_connection(void **state)
{
	struct nvme_rdma_request ask = qpbox_ask(0, (uint16_t)(config.nvmf_queue_depth_max - 1));
	struct qpbox_conn c[64];
	unsigned count = 0, refused = 0;

	/* 16 MiB are there */
	for (; count < ARRAY_SIZE(c) && !refused; count++) {
		qpbox_dial(&c[count], &ask, sizeof(ask));
		refused = c[count].refused;
	}
	assert_int_equal(refused, NVME_RDMA_NO_RESOURCES);
	while (count)
		qpbox_hangup(&c[--count]);
	assert_int_equal(nvmf_target.conn_count, 0);
}

static void test_connect_must_say_what_the_request_said(void **state)
{
	struct nvme_rdma_request ask = qpbox_ask(0, 31);
	int bad = NVME_SC_CONNECT_PARAM | NVME_STATUS_DNR;
	struct qpbox_conn c;

	qpbox_dial(&c, &ask, sizeof(ask));
	assert_int_equal(qpbox_connect(&c, TBOX_NQN, 1, 31, 1), bad);
	assert_int_equal(le32_get(c.cqes[0].dw0), offsetof(struct nvmf_connect_sqe, qid));
	assert_int_equal(qpbox_connect(&c, TBOX_NQN, 0, 32, 0xffff), bad);
	assert_int_equal(le32_get(c.cqes[0].dw0), offsetof(struct nvmf_connect_sqe, sqsize));
	assert_int_equal(qpbox_connect(&c, TBOX_NQN, 0, 31, 0xffff), 0);
	qpbox_hangup(&c);
}

static void test_nothing_goes_before_connect(void **state)
{
	struct nvme_rdma_request ask = qpbox_ask(0, 31);
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_IDENTIFY, 0, 1, 0);
	struct qpbox_conn c;

	qpbox_dial(&c, &ask, sizeof(ask));
	sqe.sgl = qpbox_keyed(c.memory, 4096, QPBOX_KEY, false);
	assert_int_equal(qpbox_run(&c, &sqe, NULL, 0) & 0x7ff, NVME_SC_SEQUENCE_ERROR);
	assert_false(c.ended);
	qpbox_hangup(&c);
}

static void test_bad_sgls_get_their_status_and_the_queue_goes_on(void **state)
{
	uint8_t m[4096] = { 0 };
	struct row {
		const char *what;
		uint8_t opc;
		struct nvme_sgl sgl;
		size_t capsule;
		int status;
	} rows[] = {
		{ "offset of the capsule's end", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_DATA, 513, 512), 512, NVME_SC_SGL_OFFSET },
		{ "offset that wraps", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_DATA, UINT64_MAX, 512), 512, NVME_SC_SGL_OFFSET },
		{ "more than the capsule has", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_DATA, 0, 512), 511, NVME_SC_DATA_SGL_LENGTH },
		{ "less than the command moves", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_DATA, 0, 511), 512, NVME_SC_DATA_SGL_LENGTH },
		{ "keyed, less than the command moves", NVME_NVM_READ,
		  qpbox_keyed(m, 511, QPBOX_KEY, false), 0, NVME_SC_DATA_SGL_LENGTH },
		{ "data to the host in the capsule", NVME_NVM_READ,
		  qpbox_offset(NVME_SGL_DATA, 0, 512), 512, NVME_SC_SGL_TYPE },
		{ "a data block by address", NVME_NVM_WRITE, { .id = 0x00 }, 512,
		  NVME_SC_SGL_TYPE },
		{ "TCP's", NVME_NVM_WRITE, { .length = le32_make(512), .id = 0x5a }, 0,
		  NVME_SC_SGL_TYPE },
		{ "keyed by offset", NVME_NVM_WRITE, { .id = 0x41 }, 512, NVME_SC_SGL_TYPE },
		{ "a segment that is not the last", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_SEGMENT, 0, 16), 16, NVME_SC_SGL_TYPE },
		{ "an empty segment", NVME_NVM_WRITE, qpbox_offset(NVME_SGL_LAST_SEGMENT, 0, 0), 16,
		  NVME_SC_INVALID_SGL_SEGMENT },
		{ "a segment of half a block", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_LAST_SEGMENT, 0, 24), 32, NVME_SC_INVALID_SGL_SEGMENT },
		{ "too many blocks", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_LAST_SEGMENT, 0, 17 * 16), 17 * 16,
		  NVME_SC_INVALID_SGL_COUNT },
		{ "a segment behind the capsule", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_LAST_SEGMENT, 16, 16), 16, NVME_SC_DATA_SGL_LENGTH },
		{ "a segment of data blocks", NVME_NVM_WRITE,
		  qpbox_offset(NVME_SGL_LAST_SEGMENT, 0, 16), 16, NVME_SC_SGL_TYPE },
	};
	struct qpbox_conn admin, io;

	qpbox_host(&admin, &io);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		print_message("%s\n", rows[i].what);
		assert_int_equal(rw(&io, rows[i].opc, 1, rows[i].sgl, m, rows[i].capsule),
				 rows[i].status | NVME_STATUS_DNR);
	}
	assert_false(io.ended);
	assert_int_equal(rw(&io, NVME_NVM_WRITE, 1, qpbox_offset(NVME_SGL_DATA, 0, 512), m,
			    512), 0);
	hang_up(&admin, &io);
}

/* ---- what ends the queue ---- */

static void expect_end(void (*wrong)(struct qpbox_conn *io))
{
	struct qpbox_conn admin, io;

	qpbox_host(&admin, &io);
	wrong(&io);
	qpbox_answer(&io, 0);
	assert_true(io.ended);
	assert_int_equal(nvmf_target.conn_count, 1);
	/* the controller lives on */
	assert_int_equal(qpbox_property_set(&admin, NVME_REG_CC, 0), 0);
	hang_up(&admin, &io);
}

static void wrong_short(struct qpbox_conn *io)
{
	uint8_t bytes[63] = { NVME_NVM_FLUSH };

	qpbox_send(io, bytes, sizeof(bytes));
}

static void wrong_long(struct qpbox_conn *io)
{
	static uint8_t bytes[QPBOX_CAPSULE];

	qpbox_send(io, bytes, 64 + config.nvmf_in_capsule_bytes + 1);
}

static void wrong_key_to_read(struct qpbox_conn *io)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 8);

	w.sgl = qpbox_keyed(io->memory, 4096, QPBOX_KEY + 1, false);
	qpbox_cmd(io, &w, NULL, 0);
	/* and others behind it */
	w.sgl = qpbox_keyed(io->memory, 4096, QPBOX_KEY, false);
	for (unsigned i = 0; i < 8; i++)
		qpbox_cmd(io, &w, NULL, 0);
}

static void wrong_key_to_write(struct qpbox_conn *io)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8);

	r.sgl = qpbox_keyed(io->memory, 4096, QPBOX_KEY + 1, false);
	for (unsigned i = 0; i < 8; i++)
		qpbox_cmd(io, &r, NULL, 0);
}

static void wrong_count(struct qpbox_conn *io)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8);

	tbox_disk->mode = FAKE_HELD;
	r.sgl = qpbox_keyed(io->memory, 4096, QPBOX_KEY, false);
	for (unsigned i = 0; i < 100; i++)
		qpbox_cmd(io, &r, NULL, 0);
	loop_drain();
	tbox_disk->mode = FAKE_INSTANT;
	fake_release_all(tbox_disk);
}

static void test_a_capsule_too_short_ends_its_queue(void **state)
{
	expect_end(wrong_short);
}

static void test_a_capsule_too_long_ends_its_queue(void **state)
{
	expect_end(wrong_long);
}

static void test_a_wrong_key_ends_its_queue(void **state)
{
	expect_end(wrong_key_to_read);
}

static void test_a_wrong_key_for_the_answer_ends_its_queue(void **state)
{
	expect_end(wrong_key_to_write);
}

static void test_more_commands_than_the_queue_holds_end_it(void **state)
{
	expect_end(wrong_count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		qpbox_test(test_private_data_is_checked),
		qpbox_test(test_no_more_connections_than_are_configured),
		qpbox_test(test_no_memory_refuses_the_connection),
		qpbox_test(test_connect_must_say_what_the_request_said),
		qpbox_test(test_nothing_goes_before_connect),
		qpbox_test(test_bad_sgls_get_their_status_and_the_queue_goes_on),
		qpbox_test(test_a_capsule_too_short_ends_its_queue),
		qpbox_test(test_a_capsule_too_long_ends_its_queue),
		qpbox_test(test_a_wrong_key_ends_its_queue),
		qpbox_test(test_a_wrong_key_for_the_answer_ends_its_queue),
		qpbox_test(test_more_commands_than_the_queue_holds_end_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
