/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of the bdev layer stand on: a loop with DMA memory, buffers, bounce memory. */
#ifndef TESTS_BDEV_BENCH_H
#define TESTS_BDEV_BENCH_H

#include "core/io.h"
#include "tests/unit/loop.h"

int bench_setup(void **state);
int bench_teardown(void **state);
#define bench_test(name) cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
/* NAME is a task_fn: the test is that task. */
#define bench_task(name) { #name, bench_run_task, bench_setup, bench_teardown, (void *)name }
void bench_run_task(void **state);

/* An io that tells whether it is done; done inside of bench_submit fails the test. */
struct bench_io {
	struct io io;
	struct iovec iov[16];
	bool done;
	unsigned order;                 /* of all that were done, from 1 */
};

void bench_submit(struct bdev_chan *chan, struct bench_io *b);
/* One element at BUF, or none. */
void bench_fill(struct bench_io *b, enum io_op op, uint64_t lba, uint32_t lba_count, void *buf,
		size_t len);

#endif
