/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compare-write on a disk that cannot do it, between reactors in threads of their own: increments
 * of one number are never lost, and neither are plain writes of other reactors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/dma.h"
#include "core/task.h"

enum { REACTORS = 3, BLOCK = 512, BLOCKS = 64 };
enum { INCREMENTS = 400, WRITES = 4000, MET = 10 };

struct block {
	uint64_t number, tag;
	uint8_t rest[BLOCK - 16];
};

static struct block disk[BLOCKS];

static void mem_submit(struct bdev_chan *chan, struct io *io)
{
	uint8_t *at = (uint8_t *)&disk[io->lba];

	for (unsigned i = 0; i < io->iov_count; i++) {
		if (io->op == IO_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	io_complete(io, IO_OK);
}

static const struct bdev_ops mem_ops = { .submit = mem_submit };

static struct bdev mem = {
	.name = "mem",
	.driver = "mem",
	.ops = &mem_ops,
	.block_bytes = BLOCK,
	.block_count = BLOCKS,
	.ops_supported = 1 << IO_READ | 1 << IO_WRITE,
};

static unsigned lost, failed, met, writing;

static enum io_status transfer(enum io_op op, uint64_t lba, struct block *data, unsigned count)
{
	struct iovec iov = { data, count * sizeof(*data) };
	struct io io = {
		.op = op,
		.lba = lba,
		.lba_count = op == IO_COMPARE_WRITE ? count / 2 : count,
		.iov = &iov,
		.iov_count = 1,
	};

	return task_io(bdev_chan(&mem), &io);
}

/* All reactors increment block 1. */
static void increment(void *arg)
{
	struct block b[2];

	for (unsigned i = 0; i < INCREMENTS; i++) {
		enum io_status status;

		do {
			failed += transfer(IO_READ, 1, b, 1) != IO_OK;
			b[1] = b[0];
			b[1].number++;
			status = transfer(IO_COMPARE_WRITE, 1, b, 2);
			failed += status != IO_OK && status != IO_ERR_MISCOMPARE;
		} while (status == IO_ERR_MISCOMPARE);
	}
}

/* Reactor 1 writes the tag of block 2 plainly; the others increment its number. */
static void write_against(void *arg)
{
	struct block b[2] = { 0 };

	if (reactor_index() != 1) {
		while (__atomic_load_n(&writing, __ATOMIC_RELAXED)) {
			enum io_status status;

			failed += transfer(IO_READ, 2, b, 1) != IO_OK;
			b[1] = b[0];
			b[1].number++;
			status = transfer(IO_COMPARE_WRITE, 2, b, 2);
			failed += status != IO_OK && status != IO_ERR_MISCOMPARE;
			__atomic_add_fetch(&met, status == IO_OK, __ATOMIC_RELAXED);
		}
		return;
	}
	/* Until enough of both came through, however the threads run. */
	for (unsigned i = 1; i <= WRITES || __atomic_load_n(&met, __ATOMIC_RELAXED) < MET; i++) {
		/* From no time to enough for a compare-write in between. */
		for (unsigned pause = i * 7 % 64; pause > 0; pause--)
			task_yield();
		b[0].tag = i;
		failed += transfer(IO_WRITE, 2, b, 1) != IO_OK;
		failed += transfer(IO_READ, 2, b, 1) != IO_OK;
		lost += b[0].tag != i;
	}
	__atomic_store_n(&writing, 0, __ATOMIC_RELAXED);
}

static int registered = -1;

static void run_all(void *arg)
{
	registered = buf_init() == 0 && bdev_init() == 0 ? bdev_register(&mem) : -1;
	if (registered == 0) {
		task_call_all(increment, NULL);
		writing = 1;
		task_call_all(write_against, NULL);
		bdev_unregister(&mem);
	}
	bdev_fini();
	buf_fini();
	reactor_stop();
}

static void test_compare_write_is_atomic_between_reactors(void **state)
{
	struct dma_opts opts = { .memory_mib = 32, .no_huge = true, .program = "test" };

	clock_init();
	assert_int_equal(dma_init(&opts), 0);
	assert_int_equal(reactor_init(REACTORS, NULL), 0);
	reactor_run(run_all, NULL);
	reactor_fini();
	dma_fini();
	assert_int_equal(registered, 0);
	assert_int_equal(failed, 0);
	assert_int_equal(disk[1].number, REACTORS * INCREMENTS);
	assert_int_equal(lost, 0);
	assert_true(disk[2].tag >= WRITES);
	print_message("%u compare-writes among %u writes\n", met, WRITES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare_write_is_atomic_between_reactors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
