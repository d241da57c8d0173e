/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/nvme_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "core/dma.h"

enum { BLOCKS = 8192, BLOCK = 512, IO_BLOCKS_MAX = 600 };

static unsigned seed;

static unsigned dice(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % n;
}

/* ---- everything against a model ---- */

static uint8_t model[BLOCKS * BLOCK];

struct flight {
	struct box_io *b;
	uint32_t lba, count;
	enum io_op op;
	enum io_status expected;
};

static struct box_io *random_io(struct flight *fl)
{
	static const enum io_op ops[] = { IO_READ, IO_WRITE, IO_READ, IO_WRITE, IO_COMPARE,
					  IO_FLUSH, IO_UNMAP, IO_WRITE_ZEROES };
	size_t len, offset = dice(64) * 4 * dice(2);

	fl->op = ops[dice(ARRAY_SIZE(ops))];
	fl->count = fl->op == IO_FLUSH ? 0 : 1 + dice(dice(4) ? 16 : IO_BLOCKS_MAX);
	len = fl->op == IO_UNMAP || fl->op == IO_WRITE_ZEROES ? 0 : fl->count * BLOCK;
	fl->b = box_io_new(fl->op, fl->op == IO_FLUSH ? 0 : fl->lba, fl->count,
			   len ? len + offset : 0);
	if (len)
		fl->b->iov = (struct iovec){ fl->b->data + offset, len };
	fl->b->io.flags = fl->op == IO_WRITE ? dice(2) * IO_FUA : 0;
	return fl->b;
}

/* What it does to the model, and what it shall find. */
static void apply(struct flight *fl)
{
	uint8_t *m = model + fl->lba * BLOCK, *data = fl->b->iov.iov_base;
	size_t len = fl->count * BLOCK;

	fl->expected = IO_OK;
	if (fl->op == IO_WRITE) {
		for (size_t i = 0; i < len; i++)
			data[i] = dice(256);
		memcpy(m, data, len);
	} else if (fl->op == IO_UNMAP || fl->op == IO_WRITE_ZEROES) {
		memset(m, 0, len);
	} else if (fl->op == IO_COMPARE) {
		memcpy(data, m, len);
		if (dice(2)) {
			data[dice(len)] ^= 1 + dice(255);
			fl->expected = IO_ERR_MISCOMPARE;
		}
	}
}

static void check(const struct flight *fl)
{
	assert_int_equal(fl->b->done, 1);
	assert_int_equal(fl->b->io.status, fl->expected);
	if (fl->op == IO_READ)
		assert_memory_equal(fl->b->iov.iov_base, model + fl->lba * BLOCK,
				    fl->count * BLOCK);
}

/* Up to 8 io at once, each in a part of the disk of its own. */
static void model_run(unsigned rounds)
{
	enum { PARTS = 8, PART = BLOCKS / PARTS };

	memset(model, 0, sizeof(model));
	for (unsigned i = 0; i < rounds; i++) {
		struct flight fl[PARTS];
		unsigned n = 1 + dice(PARTS);

		for (unsigned k = 0; k < n; k++) {
			fl[k].lba = k * PART + dice(PART - IO_BLOCKS_MAX);
			random_io(&fl[k]);
			apply(&fl[k]);
			box_submit(fl[k].b, "nvme0n1");
		}
		assert_true(box_until(box_disk("nvme0n1")->chan[0]->inflight == 0, 1000));
		for (unsigned k = 0; k < n; k++) {
			check(&fl[k]);
			box_io_free(fl[k].b);
		}
	}
	assert_memory_equal(fake.ns[0].data, model, sizeof(model));
}

static void test_every_op_against_a_model(void **state)
{
	seed = 1;
	assert_int_equal(box_attach(), 0);
	model_run(400);
	assert_true(fake.commands[NVME_NVM_COMPARE] && fake.commands[NVME_NVM_DSM] &&
		    fake.commands[NVME_NVM_WRITE_ZEROES] && fake.commands[NVME_NVM_FLUSH]);
}

static void test_completions_out_of_order(void **state)
{
	seed = 2;
	assert_int_equal(box_attach(), 0);
	fake.disorder = 77;
	model_run(200);
}

static void test_with_sgls(void **state)
{
	seed = 3;
	fake.sgls = 1;
	assert_int_equal(box_attach(), 0);
	assert_int_equal(box_disk("nvme0n1")->limits.page_bytes, 0);
	model_run(200);
}

static void test_with_shadow_doorbells(void **state)
{
	unsigned before;

	seed = 4;
	fake.oacs = NVME_OACS_DOORBELL_BUFFER;
	assert_int_equal(box_attach(), 0);
	assert_true(box_ctrl()->shadow_on);
	before = fake.doorbells;
	model_run(200);
	assert_true(fake.doorbells > before);
}

static void test_with_fewer_commands(void **state)
{
	seed = 5;
	fake.oncs = 0;
	fake.cap = (fake.cap & ~0xffffull) | 3;
	assert_int_equal(box_attach(), 0);
	assert_false(box_disk("nvme0n1")->ops_supported & 1 << IO_UNMAP);
	fake.disorder = 5;
	for (unsigned i = 0; i < 100; i++) {
		struct box_io *b = box_io_new(IO_WRITE, dice(BLOCKS - 8), 8, 4096);

		assert_int_equal(box_run(b, "nvme0n1"), IO_OK);
		box_io_free(b);
	}
}

/* ---- queue full, doorbells ---- */

static int hold_io(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return sqid > 0 ? FAKE_HOLD : FAKE_DO;
}

static void test_a_full_queue_waits_in_line(void **state)
{
	enum { COUNT = 600 };
	static struct box_io *b[COUNT];
	unsigned done;

	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	for (unsigned i = 0; i < COUNT; i++) {
		b[i] = box_io_new(IO_WRITE, i, 1, 512);
		memset(b[i]->data, i & 0xff, 512);
		box_submit(b[i], "nvme0n1");
	}
	loop_drain();
	assert_int_equal(fake.held_count, box_ctrl()->queue_depth - 1);
	do {
		fake_nvme_release_all(&fake, FAKE_DO);
		loop_drain();
		done = 0;
		for (unsigned i = 0; i < COUNT; i++)
			done += b[i]->done;
	} while (done < COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(b[i]->io.status, IO_OK);
		assert_int_equal(fake.ns[0].data[i * 512], i & 0xff);
		box_io_free(b[i]);
	}
}

static void test_one_doorbell_for_a_round(void **state)
{
	enum { COUNT = 50 };
	struct box_io *b[COUNT];
	unsigned before;

	assert_int_equal(box_attach(), 0);
	loop_drain();
	before = fake.doorbells;
	for (unsigned i = 0; i < COUNT; i++) {
		b[i] = box_io_new(IO_READ, i, 1, 512);
		box_submit(b[i], "nvme0n1");
	}
	loop_drain();
	assert_int_equal(fake.doorbells, before + 1);
	for (unsigned i = 0; i < COUNT; i++)
		box_io_free(b[i]);
}

/* ---- statuses ---- */

static int verdict, verdict_count;

static int some_fail(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	if (sqid == 0 || verdict_count == 0)
		return FAKE_DO;
	verdict_count--;
	return verdict;
}

static enum io_status run_with(int status, int count)
{
	struct box_io *b = box_io_new(IO_READ, 0, 8, 4096);
	enum io_status got;

	verdict = status;
	verdict_count = count;
	fake.rule = some_fail;
	got = box_run(b, "nvme0n1");
	box_io_free(b);
	return got;
}

static void test_statuses_are_mapped(void **state)
{
	static const struct { int status; enum io_status io; } table[] = {
		{ NVME_SC_READ_ERROR, IO_ERR_MEDIA_READ },
		{ NVME_SC_WRITE_FAULT, IO_ERR_MEDIA_WRITE },
		{ NVME_SC_LBA_RANGE, IO_ERR_RANGE },
		{ NVME_SC_NS_WRITE_PROTECTED, IO_ERR_READONLY },
		{ NVME_SC_INVALID_OPCODE, IO_ERR_UNSUPPORTED },
		{ NVME_SC_INVALID_FIELD, IO_ERR_INVALID },
		{ NVME_SC_COMPARE_FAILURE, IO_ERR_MISCOMPARE },
		{ NVME_SC_CAPACITY_EXCEEDED, IO_ERR_NOSPC },
		{ NVME_SC_INVALID_NS, IO_ERR_GONE },
		{ NVME_SC_INTERNAL | NVME_STATUS_DNR, IO_ERR_DEVICE },
		{ 0x7ff, IO_ERR_DEVICE },
		{ NVME_SC_ABORT_REQUESTED | NVME_STATUS_DNR, IO_ERR_ABORTED },
	};

	assert_int_equal(box_attach(), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(run_with(table[i].status, 1), table[i].io);
		assert_int_equal(run_with(0, 0), IO_OK);
	}
	assert_int_equal(nvme_status_map(0), IO_OK);
	for (unsigned s = 1; s <= NVME_STATUS_CODE_MASK; s++) {
		assert_in_range(nvme_status_map(s), IO_OK + 1, IO_STATUS_COUNT - 1);
		assert_true(nvme_status_errno(s) < 0);
		assert_false(nvme_status_retryable(s | NVME_STATUS_DNR));
	}
}

static void test_transient_failures_are_tried_again_a_few_times(void **state)
{
	assert_int_equal(box_attach(), 0);
	assert_int_equal(run_with(NVME_SC_NS_NOT_READY, 3), IO_OK);
	assert_int_equal(run_with(NVME_SC_INTERNAL, NVME_RETRY_MAX), IO_OK);
	assert_int_equal(run_with(NVME_SC_INTERNAL, NVME_RETRY_MAX + 1), IO_ERR_DEVICE);
	assert_int_equal(run_with(NVME_SC_NS_NOT_READY, 100), IO_ERR_DEVICE);
	assert_int_equal(verdict_count, 100 - NVME_RETRY_MAX - 1);
}

static void test_the_controller_says_when_to_try_again(void **state)
{
	struct box_io *b = box_io_new(IO_READ, 0, 8, 4096);

	fake.crdt1 = 20;
	assert_int_equal(box_attach(), 0);
	verdict = NVME_SC_INTERRUPTED | 1 << NVME_STATUS_CRD_SHIFT;
	verdict_count = 1;
	fake.rule = some_fail;
	box_submit(b, "nvme0n1");
	loop_drain();
	loop_advance(1999 * 1000);
	assert_int_equal(b->done, 0);
	assert_int_equal(fake.commands[NVME_NVM_READ], 1);
	loop_advance(2000);
	assert_int_equal(b->done, 1);
	assert_int_equal(b->io.status, IO_OK);
	box_io_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		box_test(test_every_op_against_a_model),
		box_test(test_completions_out_of_order),
		box_test(test_with_sgls),
		box_test(test_with_shadow_doorbells),
		box_test(test_with_fewer_commands),
		box_test(test_a_full_queue_waits_in_line),
		box_test(test_one_doorbell_for_a_round),
		box_test(test_statuses_are_mapped),
		box_test(test_transient_failures_are_tried_again_a_few_times),
		box_test(test_the_controller_says_when_to_try_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
