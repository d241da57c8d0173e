/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/bdev_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/bdev.h"
#include "core/buf.h"
#include "core/dma.h"

static bool submitting;
static unsigned done_count;

int bench_setup(void **state)
{
	struct dma_opts opts = { .memory_mib = 16, .no_huge = true, .program = "test" };

	assert_int_equal(dma_init(&opts), 0);
	loop_setup(state);
	assert_int_equal(buf_init(), 0);
	assert_int_equal(bdev_init(), 0);
	done_count = 0;
	return 0;
}

int bench_teardown(void **state)
{
	struct dma_stats st;

	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
		struct buf_stats buf;

		buf_stats(c, &buf);
		assert_int_equal(buf.used, 0);
	}
	assert_null(bdev_next(NULL));
	bdev_fini();
	buf_fini();
	loop_teardown(state);
	dma_stats(&st);
	assert_int_equal(st.used_bytes, 0);
	dma_fini();
	return 0;
}

void bench_run_task(void **state)
{
	loop_task((task_fn *)*state, NULL);
}

static void bench_done(struct io *io)
{
	struct bench_io *b = container_of(io, struct bench_io, io);

	assert_false(submitting);
	assert_false(b->done);
	b->done = true;
	b->order = ++done_count;
}

void bench_submit(struct bdev_chan *chan, struct bench_io *b)
{
	b->done = false;
	b->io.done = bench_done;
	submitting = true;
	bdev_submit(chan, &b->io);
	submitting = false;
}

void bench_fill(struct bench_io *b, enum io_op op, uint64_t lba, uint32_t lba_count, void *buf,
		size_t len)
{
	memset(b, 0, sizeof(*b));
	b->iov[0] = (struct iovec){ buf, len };
	b->io.op = op;
	b->io.lba = lba;
	b->io.lba_count = lba_count;
	b->io.iov = b->iov;
	b->io.iov_count = len ? 1 : 0;
}
