/* SPDX-License-Identifier: BSD-3-Clause */
/* drivers/remote: which of two paths io take, and a size that changes under them. */
#include "tests/unit/remote_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/bdev_bench.h"

enum { SECOND_US = 1000 * 1000 };

static uint8_t data[4096];

static struct bdev_chan *chan(void)
{
	struct bdev *bdev = bdev_find("farn1");

	assert_non_null(bdev);
	return bdev_chan(bdev);
}

static void submit(struct bench_io *b, enum io_op op, uint64_t lba)
{
	bench_fill(b, op, lba, sizeof(data) / 512, data, sizeof(data));
	bench_submit(chan(), b);
	loop_drain();
}

static const struct remote_route *route(unsigned index)
{
	return &((struct remote_chan *)chan()->priv)->routes[index];
}

/* Paths 0 and 1, both optimized. */
static void two_paths(enum remote_policy policy)
{
	struct remote_options opt = far_options();

	far.ana = REMOTE_ANA_OPTIMIZED;
	opt.policy = policy;
	assert_int_equal(far_attach_remote(&opt, false), 0);
	snprintf(opt.name, sizeof(opt.name), "other");
	assert_int_equal(far_attach_remote(&opt, false), 0);
	assert_null(bdev_find("othern1"));
	assert_int_equal(remote_disk_paths(remote_disk_next(NULL)), 2);
}

/* Only this controller looks at the state. */
static void ana_set(const char *name, uint8_t ana)
{
	far.ana = ana;
	remote_ctrl_want(remote_ctrl_find(name), REMOTE_WANT_ANA);
	loop_drain();
}

static void reads_submit(struct bench_io *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		submit(&b[i], IO_READ, i * 8);
	}
}

static void test_io_use_the_best_of_two_paths(void **state)
{
	static struct bench_io b[8];

	two_paths(REMOTE_ROUND_ROBIN);
	reads_submit(b, 8);
	assert_int_equal(route(0)->ios, 4);
	assert_int_equal(route(1)->ios, 4);
	ana_set("far", REMOTE_ANA_NON_OPTIMIZED);
	reads_submit(b, 8);
	assert_int_equal(route(0)->ios, 4);
	assert_int_equal(route(1)->ios, 12);
	ana_set("other", REMOTE_ANA_INACCESSIBLE);
	reads_submit(b, 8);
	assert_int_equal(route(0)->ios, 12);
	assert_int_equal(route(1)->ios, 12);
	ana_set("other", REMOTE_ANA_NON_OPTIMIZED);
	reads_submit(b, 8);
	assert_int_equal(route(0)->ios, 16);
	assert_int_equal(route(1)->ios, 16);
	assert_int_equal(far.reads, 32);
}

static void test_queue_depth_fills_the_shorter_path(void **state)
{
	static struct bench_io b[8];

	two_paths(REMOTE_QUEUE_DEPTH);
	ana_set("other", REMOTE_ANA_NON_OPTIMIZED);
	far.mute = true;
	reads_submit(b, 3);
	assert_int_equal(route(0)->inflight, 3);
	ana_set("other", REMOTE_ANA_OPTIMIZED);
	reads_submit(b + 3, 3);
	assert_int_equal(route(0)->inflight, 3);
	assert_int_equal(route(1)->inflight, 3);
	reads_submit(b + 6, 2);
	assert_int_equal(route(0)->inflight, 4);
	assert_int_equal(route(1)->inflight, 4);
	far.mute = false;
	far_hang_up();
	for (unsigned i = 0; i < 4; i++)
		loop_advance(SECOND_US);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(b[i].done);
		assert_int_equal(b[i].io.status, IO_OK);
	}
	assert_int_equal(route(0)->inflight + route(1)->inflight, 0);
}

static void test_a_disk_changes_its_size_under_writes(void **state)
{
	struct remote_options opt = far_options();
	static struct bench_io w, late;

	assert_int_equal(far_attach_remote(&opt, false), 0);
	far.mute = true;
	submit(&w, IO_WRITE, FAR_BLOCKS - 8);
	far.blocks = FAR_BLOCKS / 2;
	far_notify();
	loop_drain();
	assert_int_equal(bdev_find("farn1")->block_count, FAR_BLOCKS / 2);
	assert_false(w.done);
	submit(&late, IO_WRITE, FAR_BLOCKS - 8);
	far.mute = false;
	far_hang_up();
	for (unsigned i = 0; i < 4; i++)
		loop_advance(SECOND_US);
	assert_true(w.done);
	assert_int_equal(w.io.status, IO_OK);
	assert_true(late.done);
	assert_int_equal(late.io.status, IO_ERR_RANGE);
	assert_int_equal(far.writes, 1);
	far.blocks = FAR_BLOCKS;
	far_notify();
	loop_drain();
	assert_int_equal(bdev_find("farn1")->block_count, FAR_BLOCKS);
	submit(&late, IO_WRITE, FAR_BLOCKS - 8);
	assert_true(late.done);
	assert_int_equal(late.io.status, IO_OK);
	assert_int_equal(far.writes, 2);
	far_detach();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		far_test(test_io_use_the_best_of_two_paths),
		far_test(test_queue_depth_fills_the_shorter_path),
		far_test(test_a_disk_changes_its_size_under_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
