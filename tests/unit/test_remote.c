/* SPDX-License-Identifier: BSD-3-Clause */
/* drivers/remote against a target in the same reactor, under simulated time. */
#include "tests/unit/remote_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "tests/unit/bdev_bench.h"

enum { SECOND_US = 1000 * 1000, DATA_BYTES = 64 * 1024 };

static uint8_t out[DATA_BYTES], back[DATA_BYTES];

static struct bdev_chan *chan(void)
{
	struct bdev *bdev = bdev_find("farn1");

	assert_non_null(bdev);
	return bdev_chan(bdev);
}

static void pattern(unsigned seed)
{
	for (unsigned i = 0; i < DATA_BYTES; i++)
		out[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
	memset(back, 0, sizeof(back));
}

/* Data in three pieces that fit no boundary. */
static void fill(struct bench_io *b, enum io_op op, uint64_t lba, uint8_t *data, size_t len)
{
	bench_fill(b, op, lba, len / 512, data, len);
	b->iov[0] = (struct iovec){ data, 100 };
	b->iov[1] = (struct iovec){ data + 100, len - 333 };
	b->iov[2] = (struct iovec){ data + len - 233, 233 };
	b->io.iov_count = 3;
}

static void submit(struct bench_io *b)
{
	bench_submit(chan(), b);
	loop_drain();
}

static void write_and_read(uint64_t lba, size_t len, unsigned seed)
{
	struct bench_io w, r;

	pattern(seed);
	fill(&w, IO_WRITE, lba, out, len);
	submit(&w);
	assert_true(w.done);
	assert_int_equal(w.io.status, IO_OK);
	assert_memory_equal(far.media + lba * 512, out, len);
	fill(&r, IO_READ, lba, back, len);
	submit(&r);
	assert_true(r.done);
	assert_int_equal(r.io.status, IO_OK);
	assert_memory_equal(back, out, len);
}

static void test_attach_makes_a_disk_and_detach_shuts_down(void **state)
{
	struct remote_options opt = far_options();
	struct bdev *disk;

	assert_int_equal(far_attach_remote(&opt, false), 0);
	assert_int_equal(far_attach_remote(&opt, false), -EEXIST);
	disk = bdev_find("farn1");
	assert_non_null(disk);
	assert_int_equal(disk->block_count, FAR_BLOCKS);
	assert_int_equal(disk->nguid[0], 0xb0);
	assert_false(disk->ops_supported & 1 << IO_COMPARE);
	assert_true(disk->ops_supported & 1 << IO_UNMAP);
	far_detach();
	assert_null(bdev_find("farn1"));
	assert_null(remote_ctrl_next(NULL));
	assert_int_equal(far.shutdowns, 1);
}

/* Every shape of transfer, in whole and in tiny segments. */
static void test_data_arrives_in_every_shape(void **state)
{
	static const size_t segments[] = { 0, 1, 7, 4096 };
	struct remote_options opt = far_options();

	for (unsigned i = 0; i < 64; i++) {
		far.r2ts = 1 + i % 4;
		far.pieces = 1 + i % 3;
		far.success = i & 1;
		far.maxh2cdata = i & 2 ? 4096 : 65536;
		far.ioccsz = i & 4 ? 0 : 8192;
		far.segment = segments[i / 16];
		opt.hdgst = i & 8;
		opt.ddgst = i & 1;
		opt.depth = i % 5 ? 2 : 0;
		assert_int_equal(far_attach_remote(&opt, false), 0);
		write_and_read(3, 4096, i);
		write_and_read(64, DATA_BYTES, i + 1);
		write_and_read(9, 512, i + 2);
		far_detach();
	}
}

/* The connection ends after each PDU of the way up: attach fails, or goes on trying. */
static void test_close_at_every_step_of_the_way_up(void **state)
{
	struct remote_options opt = far_options();
	unsigned steps = 1;

	for (;; steps++) {
		int rc;

		far.pdus = 0;
		far.close_after = steps;
		rc = far_attach_remote(&opt, false);
		if (far.close_after)
			break;
		if (rc == 0) {
			loop_advance(SECOND_US);
			assert_int_equal(remote_ctrl_find("far")->state, REMOTE_CTRL_LIVE);
			far_detach();
		}
		assert_null(remote_ctrl_next(NULL));
		far.pdus = 0;
		far.close_after = steps;
		assert_int_equal(far_attach_remote(&opt, true), 0);
		loop_advance(SECOND_US);
		loop_advance(SECOND_US);
		write_and_read(0, 4096, steps);
		far_detach();
	}
	/* Connect, properties, Identify, features, event, I/O queue, namespace */
	assert_true(steps > 13);
	far.close_after = 0;
	far_detach();
}

static void test_io_wait_for_the_connection_and_are_sent_again(void **state)
{
	struct remote_options opt = far_options();
	struct bench_io w, r;

	assert_int_equal(far_attach_remote(&opt, false), 0);
	loop_advance(SECOND_US);
	far.mute = true;
	pattern(1);
	fill(&w, IO_WRITE, 8, out, DATA_BYTES);
	submit(&w);
	far.refuse = true;
	far_hang_up();
	loop_drain();
	assert_int_equal(remote_ctrl_find("far")->state, REMOTE_CTRL_RECONNECTING);
	fill(&r, IO_READ, 8, back, 4096);
	submit(&r);
	loop_advance(20 * SECOND_US);
	assert_false(w.done || r.done);
	far.mute = far.refuse = false;
	loop_advance(11 * SECOND_US);
	assert_true(w.done && r.done);
	assert_int_equal(w.io.status, IO_OK);
	assert_int_equal(r.io.status, IO_OK);
	assert_memory_equal(far.media + 8 * 512, out, DATA_BYTES);
	assert_int_equal(remote_ctrl_find("far")->reconnects, 1);
	far_detach();
}

static void test_io_fail_after_fast_fail_and_are_gone_after_loss(void **state)
{
	struct remote_options opt = far_options();
	struct bench_io a, b;

	opt.fast_fail_us = 3 * SECOND_US;
	opt.loss_us = 10 * SECOND_US;
	assert_int_equal(far_attach_remote(&opt, false), 0);
	far.refuse = true;
	far_hang_up();
	loop_drain();
	fill(&a, IO_READ, 0, back, 4096);
	submit(&a);
	loop_advance(2 * SECOND_US);
	assert_false(a.done);
	loop_advance(SECOND_US + SECOND_US / 10);
	assert_true(a.done);
	assert_int_equal(a.io.status, IO_ERR_TIMEOUT);
	fill(&b, IO_READ, 0, back, 4096);
	submit(&b);
	assert_true(b.done);
	assert_int_equal(b.io.status, IO_ERR_TIMEOUT);
	loop_advance(10 * SECOND_US);
	assert_int_equal(remote_ctrl_find("far")->state, REMOTE_CTRL_LOST);
	fill(&b, IO_READ, 0, back, 4096);
	submit(&b);
	assert_true(b.done);
	assert_int_equal(b.io.status, IO_ERR_GONE);
	far_detach();
}

/* No answer: the connection is reset, and the io is sent again on the next. */
static void test_a_command_without_an_answer_resets_the_connection(void **state)
{
	struct remote_options opt = far_options();
	uint64_t limit_us = config.remote_timeout_ms * 1000ull;
	struct bench_io r;

	assert_int_equal(far_attach_remote(&opt, false), 0);
	far.mute = true;
	fill(&r, IO_READ, 0, back, 4096);
	submit(&r);
	for (uint64_t us = 0; us < limit_us - SECOND_US; us += SECOND_US / 2)
		loop_advance(SECOND_US / 2);
	assert_int_equal(remote_ctrl_find("far")->reconnects, 0);
	far.mute = false;
	for (unsigned i = 0; i < 8; i++)
		loop_advance(SECOND_US / 2);
	assert_int_equal(remote_ctrl_find("far")->reconnects, 1);
	assert_true(r.done);
	assert_int_equal(r.io.status, IO_OK);
	far_detach();
}

/* A stream that does not copy: an io is not done before its memory is released. */
static void test_memory_is_kept_until_the_stream_releases_it(void **state)
{
	struct remote_options opt = far_options();
	struct bench_io w;

	far.r2ts = 4;
	far.maxh2cdata = 8192;
	assert_int_equal(far_attach_remote(&opt, false), 0);
	far_hold(true);
	pattern(5);
	fill(&w, IO_WRITE, 16, out, DATA_BYTES);
	submit(&w);
	assert_int_equal(far.writes, 0);
	for (unsigned i = 0; !w.done; i++) {
		assert_true(i < 1000);
		assert_true(far_release(1000));
		loop_drain();
	}
	assert_int_equal(w.io.status, IO_OK);
	assert_memory_equal(far.media + 16 * 512, out, DATA_BYTES);
	/* and when the connection breaks while it holds some */
	fill(&w, IO_WRITE, 16, out, DATA_BYTES);
	submit(&w);
	far_release(100);
	loop_drain();
	assert_false(w.done);
	far_hang_up();
	loop_advance(SECOND_US);
	loop_advance(SECOND_US);
	assert_true(w.done);
	assert_int_equal(w.io.status, IO_OK);
	far_detach();
}

static void test_damaged_data_is_read_again(void **state)
{
	struct remote_options opt = far_options();
	struct bench_io r;

	opt.ddgst = true;
	assert_int_equal(far_attach_remote(&opt, false), 0);
	write_and_read(0, 4096, 3);
	far.reads = 0;
	far.spoil = 2;
	memset(back, 0, sizeof(back));
	fill(&r, IO_READ, 0, back, 4096);
	submit(&r);
	assert_false(r.done);
	loop_advance(SECOND_US / 2);
	loop_advance(SECOND_US / 2);
	assert_true(r.done);
	assert_int_equal(r.io.status, IO_OK);
	assert_memory_equal(back, out, 4096);
	assert_int_equal(far.reads, 3);
	assert_int_equal(remote_ctrl_find("far")->reconnects, 0);
	far_detach();
}

static void test_more_io_than_slots_all_end(void **state)
{
	enum { COUNT = 200 };
	struct remote_options opt = far_options();
	struct bench_io *b = calloc(COUNT, sizeof(*b));
	unsigned done = 0;

	opt.depth = 5;
	assert_int_equal(far_attach_remote(&opt, false), 0);
	pattern(9);
	for (unsigned i = 0; i < COUNT; i++) {
		bench_fill(&b[i], IO_WRITE, i * 8, 8, out + i % 8 * 4096, 4096);
		b[i].io.iov_count = 1;
		bench_submit(chan(), &b[i]);
	}
	loop_drain();
	for (unsigned i = 0; i < COUNT; i++) {
		done += b[i].done && b[i].io.status == IO_OK;
		assert_memory_equal(far.media + i * 4096, out + i % 8 * 4096, 4096);
	}
	assert_int_equal(done, COUNT);
	assert_int_equal(far.writes, COUNT);
	far_detach();
	free(b);
}

static void test_events_change_and_remove_the_disk(void **state)
{
	struct remote_options opt = far_options();

	assert_int_equal(far_attach_remote(&opt, false), 0);
	far.blocks = FAR_BLOCKS / 2;
	far_notify();
	loop_drain();
	assert_int_equal(bdev_find("farn1")->block_count, FAR_BLOCKS / 2);
	far.blocks = 0;
	far_notify();
	loop_advance(SECOND_US);
	assert_null(bdev_find("farn1"));
	far.blocks = FAR_BLOCKS;
	far_notify();
	loop_advance(SECOND_US);
	assert_int_equal(bdev_find("farn1")->block_count, FAR_BLOCKS);
	far_detach();
}

/* What comes back under the same number may be something else: nothing is written to it. */
static void test_another_disk_after_reconnecting_is_not_written_to(void **state)
{
	struct remote_options opt = far_options();
	struct bench_io w;

	assert_int_equal(far_attach_remote(&opt, false), 0);
	far.refuse = true;
	far_hang_up();
	loop_drain();
	pattern(1);
	fill(&w, IO_WRITE, 0, out, 4096);
	submit(&w);
	assert_false(w.done);
	far.refuse = false;
	far.nguid = 0xb1;
	for (unsigned i = 0; i < 4; i++)
		loop_advance(SECOND_US);
	assert_true(w.done);
	assert_int_equal(w.io.status, IO_ERR_GONE);
	assert_int_equal(far.writes, 0);
	assert_int_equal(bdev_find("farn1")->nguid[0], 0xb1);
	write_and_read(0, 4096, 2);
	far_detach();
}

static void test_inaccessible_paths_are_waited_for(void **state)
{
	struct remote_options opt = far_options();
	struct bench_io r;

	far.ana = REMOTE_ANA_NON_OPTIMIZED;
	assert_int_equal(far_attach_remote(&opt, false), 0);
	write_and_read(0, 4096, 1);
	far.ana = REMOTE_ANA_INACCESSIBLE;
	remote_ctrl_want(remote_ctrl_find("far"), REMOTE_WANT_ANA);
	loop_drain();
	fill(&r, IO_READ, 0, back, 4096);
	submit(&r);
	loop_advance(SECOND_US);
	assert_false(r.done);
	far.ana = REMOTE_ANA_OPTIMIZED;
	remote_ctrl_want(remote_ctrl_find("far"), REMOTE_WANT_ANA);
	loop_drain();
	assert_true(r.done);
	assert_int_equal(r.io.status, IO_OK);
	far_detach();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		far_test(test_attach_makes_a_disk_and_detach_shuts_down),
		far_test(test_data_arrives_in_every_shape),
		far_test(test_close_at_every_step_of_the_way_up),
		far_test(test_io_wait_for_the_connection_and_are_sent_again),
		far_test(test_io_fail_after_fast_fail_and_are_gone_after_loss),
		far_test(test_a_command_without_an_answer_resets_the_connection),
		far_test(test_memory_is_kept_until_the_stream_releases_it),
		far_test(test_damaged_data_is_read_again),
		far_test(test_more_io_than_slots_all_end),
		far_test(test_events_change_and_remove_the_disk),
		far_test(test_another_disk_after_reconnecting_is_not_written_to),
		far_test(test_inaccessible_paths_are_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
