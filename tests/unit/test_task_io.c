/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks that wait for I/O, several at once, whose ends come in another order than they began. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/bdev_bench.h"
#include "tests/unit/fake_bdev.h"

enum { BLOCK = 512, READERS = 5 };

static const struct bdev shape = {
	.name = "disk",
	.block_bytes = BLOCK,
	.block_count = 64,
	.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH,
	.limits.align_bytes = 1,
};

static struct fake_bdev *disk;

struct reader {
	struct io io;
	struct iovec iov;
	uint8_t block[BLOCK];
	unsigned order;
	enum io_status status;
};

static unsigned ended;

static void reader_main(void *arg)
{
	struct reader *r = arg;

	r->status = task_io(bdev_chan(&disk->bdev), &r->io);
	assert_int_equal(r->io.status, r->status);
	r->order = ++ended;
}

static void reader_start(struct reader *r, uint64_t lba)
{
	memset(r, 0, sizeof(*r));
	r->iov = (struct iovec){ r->block, BLOCK };
	r->io = (struct io){
		.op = IO_READ, .lba = lba, .lba_count = 1, .iov = &r->iov, .iov_count = 1
	};
	assert_non_null(task_start("reader", reader_main, r));
}

static void test_each_task_gets_its_own_io(void *arg)
{
	static struct reader r[READERS];

	disk = fake_create(&shape, FAKE_HELD, 1);
	ended = 0;
	for (unsigned i = 0; i < READERS; i++) {
		memset(disk->view + i * BLOCK, (int)i + 1, BLOCK);
		reader_start(&r[i], i);
	}
	while (disk->held_count < READERS)
		task_yield();
	assert_int_equal(ended, 0);
	/* the last one first, each with its own end */
	for (unsigned i = READERS; i-- > 0;) {
		fake_release_one(disk, &r[i].io, i == 2 ? IO_ERR_MEDIA_READ : IO_OK);
		while (ended < READERS - i)
			task_yield();
		assert_int_equal(r[i].order, READERS - i);
		assert_int_equal(r[i].status, i == 2 ? IO_ERR_MEDIA_READ : IO_OK);
		if (i != 2)
			assert_int_equal(r[i].block[BLOCK - 1], i + 1);
	}
	fake_remove(disk);
}

static void test_an_invalid_io_comes_back_too(void *arg)
{
	static struct reader r;

	disk = fake_create(&shape, FAKE_INSTANT, 1);
	ended = 0;
	reader_start(&r, 64);
	while (!ended)
		task_yield();
	assert_int_equal(r.status, IO_ERR_RANGE);
	fake_remove(disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_each_task_gets_its_own_io),
		bench_task(test_an_invalid_io_comes_back_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
