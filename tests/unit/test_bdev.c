/* SPDX-License-Identifier: BSD-3-Clause */
/* Bdevs: names, users, errors of pieces, waiting lines, aborts, and removal in every state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/task.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/fake_bdev.h"

enum { BLOCK = 512, ALL_OPS = (1 << IO_ABORT) - 1 };

static const struct bdev plain = {
	.name = "d0",
	.block_bytes = BLOCK,
	.block_count = 4096,
	.ops_supported = 1 << IO_READ | 1 << IO_WRITE,
};

static uint8_t memory[1 << 20] __attribute__((aligned(4096)));

static void wait_done(const struct bench_io *b)
{
	while (!b->done)
		task_yield();
}

/* ---- names and users ---- */

static void test_names_are_unique_and_checked(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_INSTANT, 1);
	static const char *const bad[] = { "", "a b", "a/b/c", "ä", "d0;", "d\n" };
	struct bdev other = plain;

	other.ops = f->bdev.ops;
	other.driver = "fake";
	assert_int_equal(bdev_register(&other), -EEXIST);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		memset(other.name, 0, sizeof(other.name));
		memcpy(other.name, bad[i], strlen(bad[i]));
		assert_int_equal(bdev_register(&other), -EINVAL);
	}
	memset(other.name, 'x', sizeof(other.name));
	assert_int_equal(bdev_register(&other), -EINVAL);
	assert_ptr_equal(bdev_find("d0"), &f->bdev);
	assert_null(bdev_find("d1"));
	fake_remove(f);
	assert_null(bdev_find("d0"));
}

static void test_shapes_that_make_no_sense_are_refused(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_INSTANT, 1);
	struct bdev shapes[8];

	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		shapes[i] = plain;
		shapes[i].name[1] = 'x';
		shapes[i].ops = f->bdev.ops;
		shapes[i].driver = "fake";
	}
	shapes[0].block_bytes = 256;
	shapes[1].block_bytes = 513;
	shapes[2].block_bytes = 1 << 17;
	shapes[3].block_count = 0;
	shapes[4].block_count = UINT64_MAX;
	shapes[5].limits.align_bytes = 3;
	shapes[6].limits.xfer_bytes_max = 100;
	shapes[7].volatile_cache = true;
	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++)
		assert_int_equal(bdev_register(&shapes[i]), -EINVAL);
	fake_remove(f);
}

static void test_exclusive_users_are_alone(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_INSTANT, 1);
	struct bdev_user a = { .who = "a", .write = true };
	struct bdev_user b = { .who = "b", .write = true };
	struct bdev_user x = { .who = "x", .write = true, .exclusive = true };

	assert_int_equal(bdev_open("none", &a), -ENOENT);
	assert_int_equal(bdev_open("d0", &a), 0);
	assert_int_equal(bdev_open("d0", &b), 0);
	assert_int_equal(bdev_open("d0", &x), -EBUSY);
	bdev_close(&a);
	assert_int_equal(bdev_open("d0", &x), -EBUSY);
	bdev_close(&b);
	assert_int_equal(bdev_open("d0", &x), 0);
	assert_int_equal(bdev_open("d0", &a), -EBUSY);
	bdev_close(&x);
	assert_int_equal(bdev_open("d0", &a), 0);
	bdev_close(&a);
	fake_remove(f);
}

static void test_disks_are_found_by_serial_number(void *arg)
{
	struct bdev shape = plain;
	struct fake_bdev *f, *g;

	memcpy(shape.serial, "SN7", 4);
	f = fake_create(&shape, FAKE_INSTANT, 1);
	shape.name[1] = '1';
	memcpy(shape.serial, "SN8", 4);
	g = fake_create(&shape, FAKE_INSTANT, 1);
	assert_ptr_equal(bdev_find("serial:SN8"), &g->bdev);
	assert_null(bdev_find("serial:SN"));
	assert_false(uuid_equal(&f->bdev.uuid, &g->bdev.uuid));
	assert_ptr_equal(bdev_next(bdev_next(NULL)), &g->bdev);
	assert_null(bdev_next(&g->bdev));
	fake_remove(f);
	fake_remove(g);
}

static void test_a_readonly_disk_refuses_writers_and_writes(void *arg)
{
	struct bdev shape = plain;
	struct bdev_user a = { .who = "a", .write = true };
	struct fake_bdev *f;
	struct bench_io b;

	shape.readonly = true;
	shape.ops_supported = ALL_OPS;
	f = fake_create(&shape, FAKE_INSTANT, 1);
	assert_int_equal(bdev_open("d0", &a), -EROFS);
	for (enum io_op op = IO_READ; op < IO_ABORT; op++) {
		bool write = op == IO_WRITE || op == IO_UNMAP || op == IO_WRITE_ZEROES ||
			     op == IO_COPY || op == IO_COMPARE_WRITE;

		bench_fill(&b, op, 0, 1, memory, op == IO_COMPARE_WRITE ? 2 * BLOCK : BLOCK);
		b.io.src_lba = 100;
		memset(memory, 0, sizeof(memory));
		bench_submit(bdev_chan(&f->bdev), &b);
		wait_done(&b);
		assert_int_equal(b.io.status, write ? IO_ERR_READONLY : IO_OK);
		assert_int_equal(bdev_supports(&f->bdev, op), !write);
	}
	fake_remove(f);
}

/* ---- checks ---- */

static void test_requests_that_make_no_sense_fail(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_INSTANT, 1);
	static const struct {
		enum io_op op;
		uint64_t lba;
		uint32_t lba_count;
		size_t len;
		enum io_status status;
	} cases[] = {
		{ IO_READ, 0, 0, BLOCK, IO_ERR_INVALID },
		{ IO_READ, 0, 2, BLOCK, IO_ERR_INVALID },
		{ IO_READ, 0, 1, 2 * BLOCK, IO_ERR_INVALID },
		{ IO_READ, 0, 1, 0, IO_ERR_INVALID },
		{ IO_READ, 4096, 1, BLOCK, IO_ERR_RANGE },
		{ IO_READ, 4095, 2, 2 * BLOCK, IO_ERR_RANGE },
		{ IO_WRITE, UINT64_MAX, 1, BLOCK, IO_ERR_RANGE },
		{ IO_WRITE, UINT64_MAX - 1, 3, 3 * BLOCK, IO_ERR_RANGE },
		{ IO_WRITE_ZEROES, 1, UINT32_MAX, 0, IO_ERR_RANGE },
		{ IO_COMPARE_WRITE, 0, 1, BLOCK, IO_ERR_INVALID },
		{ IO_COPY, 0, 4, 0, IO_ERR_INVALID },
		{ IO_UNMAP, 0, 4, 0, IO_ERR_UNSUPPORTED },
		{ IO_OP_COUNT, 0, 1, BLOCK, IO_ERR_INVALID },
		{ 255, 0, 1, BLOCK, IO_ERR_INVALID },
	};
	struct bench_io b;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bench_fill(&b, cases[i].op, cases[i].lba, cases[i].lba_count, memory,
			   cases[i].len);
		bench_submit(bdev_chan(&f->bdev), &b);
		wait_done(&b);
		assert_int_equal(b.io.status, cases[i].status);
	}
	assert_int_equal(bdev_chan(&f->bdev)->inflight, 0);
	fake_remove(f);
}

/* ---- pieces ---- */

static void test_the_first_error_of_a_piece_is_the_parents(void *arg)
{
	struct bdev shape = plain;
	struct fake_rule rule = { IO_WRITE, 8, 1, 0, 1, IO_ERR_NOSPC };
	struct fake_bdev *f;
	struct bench_io b;

	shape.limits.xfer_bytes_max = BLOCK;
	f = fake_create(&shape, FAKE_RANDOM, 3);
	fake_fail(f, &rule);
	bench_fill(&b, IO_WRITE, 0, 1024, memory, 1024 * BLOCK);
	bench_submit(bdev_chan(&f->bdev), &b);
	wait_done(&b);
	assert_int_equal(b.io.status, IO_ERR_NOSPC);
	/* The rest was not even tried. */
	assert_true(f->ops[IO_WRITE] < 64);
	fake_remove(f);
}

static void test_fua_is_a_write_and_a_flush_and_fails_with_it(void *arg)
{
	struct bdev shape = plain;
	struct fake_rule rule = { IO_FLUSH, 0, 0, 1, 1, IO_ERR_MEDIA_WRITE };
	struct fake_bdev *f;
	struct bench_io b;

	shape.volatile_cache = true;
	shape.ops_supported |= 1 << IO_FLUSH;
	f = fake_create(&shape, FAKE_RANDOM, 3);
	fake_fail(f, &rule);
	for (unsigned i = 0; i < 2; i++) {
		bench_fill(&b, IO_WRITE, 7, 1, memory, BLOCK);
		memset(memory, 0x55 + i, BLOCK);
		b.io.flags = IO_FUA;
		bench_submit(bdev_chan(&f->bdev), &b);
		wait_done(&b);
		assert_int_equal(b.io.status, i == 0 ? IO_OK : IO_ERR_MEDIA_WRITE);
	}
	assert_int_equal(f->media[7 * BLOCK], 0x55);
	assert_int_equal(f->ops[IO_FLUSH], 2);
	fake_crash(f);
	fake_remove(f);
}

static void test_more_pieces_than_there_are_wait_in_line(void *arg)
{
	enum { PARENTS = 40 };
	static struct bench_io b[PARENTS];
	struct bdev shape = plain;
	struct fake_bdev *f;
	struct bdev_chan *chan;
	unsigned rounds = 0;

	shape.limits.xfer_bytes_max = BLOCK;
	f = fake_create(&shape, FAKE_HELD, 1);
	chan = bdev_chan(&f->bdev);
	for (unsigned i = 0; i < PARENTS; i++) {
		bench_fill(&b[i], IO_WRITE, i * 64, 64, memory, 64 * BLOCK);
		bench_submit(chan, &b[i]);
	}
	assert_int_equal(chan->inflight, PARENTS);
	/* One at a time, so that nobody is ever given more than one piece at once. */
	while (fake_release(f, 1) > 0) {
		task_yield();
		rounds++;
	}
	assert_int_equal(rounds, PARENTS * 64);
	for (unsigned i = 0; i < PARENTS; i++) {
		wait_done(&b[i]);
		assert_int_equal(b[i].io.status, IO_OK);
		/* They take turns, so that nobody ends long before the others. */
		assert_true(f->held_peak <= 16);
	}
	fake_remove(f);
}

/* Everything that could be bounced into. */
static unsigned take_buffers(struct iovec *held)
{
	unsigned count = 0, n;

	while ((n = buf_get(128 * 1024, held + count, NULL)) > 0)
		count += n;
	while ((n = buf_get(16 * 1024, held + count, NULL)) > 0)
		count += n;
	while ((n = buf_get(4 * 1024, held + count, NULL)) > 0)
		count += n;
	return count;
}

static void test_bounces_go_on_without_buffers(void *arg)
{
	enum { READS = 24 };
	static struct iovec held[1024];
	static struct bench_io b[READS];
	struct bdev shape = plain;
	struct fake_bdev *f;
	unsigned count = take_buffers(held);

	shape.limits.align_bytes = 512;
	f = fake_create(&shape, FAKE_RANDOM, 5);
	for (unsigned i = 0; i < 4096; i++)
		memset(f->view + i * BLOCK, i, BLOCK);
	for (unsigned i = 0; i < READS; i++) {
		bench_fill(&b[i], IO_READ, i * 16, 16, memory + i * 16 * BLOCK + 4, 16 * BLOCK);
		bench_submit(bdev_chan(&f->bdev), &b[i]);
	}
	for (unsigned i = 0; i < READS; i++) {
		wait_done(&b[i]);
		assert_int_equal(b[i].io.status, IO_OK);
	}
	assert_memory_equal(memory + 4, f->view, READS * 16 * BLOCK);
	fake_remove(f);
	buf_put(held, count);
}

/* The one reserve goes from disk to disk. */
static void test_disks_wait_for_each_others_bounce_memory(void *arg)
{
	static struct iovec held[1024];
	static struct bench_io b[3];
	struct fake_bdev *f[3];
	struct bdev shape = plain;
	unsigned count = take_buffers(held);

	shape.limits.align_bytes = 512;
	for (unsigned i = 0; i < 3; i++) {
		shape.name[1] = '0' + i;
		f[i] = fake_create(&shape, FAKE_HELD, 1);
		bench_fill(&b[i], IO_READ, 0, 1, memory + 1000 * i + 4, BLOCK);
		bench_submit(bdev_chan(&f[i]->bdev), &b[i]);
	}
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(f[k]->held_count, k == i);
		fake_release(f[i], 1);
		wait_done(&b[i]);
		task_yield();
	}
	for (unsigned i = 0; i < 3; i++)
		fake_remove(f[i]);
	buf_put(held, count);
}

/* ---- aborts ---- */

static enum io_status abort_and_wait(struct bdev_chan *chan, struct bench_io *victim)
{
	struct bench_io a;

	bench_fill(&a, IO_ABORT, 0, 0, NULL, 0);
	a.io.victim = &victim->io;
	bench_submit(chan, &a);
	wait_done(&a);
	assert_true(victim->done);
	assert_true(victim->order < a.order);
	return a.io.status;
}

static void test_abort_waits_for_what_the_driver_has(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_HELD, 1);
	struct bdev_chan *chan = bdev_chan(&f->bdev);
	struct bench_io b;
	struct bench_io a;

	bench_fill(&b, IO_READ, 0, 1, memory, BLOCK);
	bench_submit(chan, &b);
	bench_fill(&a, IO_ABORT, 0, 0, NULL, 0);
	a.io.victim = &b.io;
	bench_submit(chan, &a);
	for (unsigned i = 0; i < 10; i++)
		task_yield();
	assert_false(a.done || b.done);
	fake_release(f, 1);
	wait_done(&a);
	assert_int_equal(b.io.status, IO_OK);
	assert_int_equal(a.io.status, IO_OK);
	/* Of what is done already. */
	assert_int_equal(abort_and_wait(chan, &b), IO_OK);
	assert_int_equal(chan->gate, 0);
	fake_remove(f);
}

static void test_abort_ends_what_waits_in_line(void *arg)
{
	static struct bench_io b[20];
	struct bdev shape = plain;
	struct fake_bdev *f;
	struct bdev_chan *chan;

	shape.limits.xfer_bytes_max = BLOCK;
	f = fake_create(&shape, FAKE_HELD, 1);
	chan = bdev_chan(&f->bdev);
	for (unsigned i = 0; i < ARRAY_SIZE(b); i++) {
		bench_fill(&b[i], IO_WRITE, i * 8, 8, memory, 8 * BLOCK);
		bench_submit(chan, &b[i]);
	}
	/* The last has no piece: it ends without the driver. */
	assert_int_equal(abort_and_wait(chan, &b[19]), IO_OK);
	assert_int_equal(b[19].io.status, IO_ERR_ABORTED);
	f->mode = FAKE_RANDOM;
	/* The first has some in the driver. */
	assert_int_equal(abort_and_wait(chan, &b[0]), IO_OK);
	for (unsigned i = 1; i < 19; i++) {
		wait_done(&b[i]);
		assert_int_equal(b[i].io.status, IO_OK);
	}
	fake_remove(f);
}

/* ---- figures ---- */

static void test_io_are_counted_once(void *arg)
{
	struct bdev shape = plain;
	struct fake_rule rule = { IO_READ, 0, 1, 0, 1, IO_ERR_MEDIA_READ };
	static struct stat_io st;
	struct fake_bdev *f;
	struct bench_io b;

	shape.limits.xfer_bytes_max = BLOCK;
	f = fake_create(&shape, FAKE_RANDOM, 1);
	for (unsigned i = 0; i < 3; i++) {
		bench_fill(&b, IO_WRITE, 0, 8, memory, 8 * BLOCK);
		bench_submit(bdev_chan(&f->bdev), &b);
		wait_done(&b);
	}
	fake_fail(f, &rule);
	bench_fill(&b, IO_READ, 0, 8, memory, 8 * BLOCK);
	bench_submit(bdev_chan(&f->bdev), &b);
	wait_done(&b);
	bdev_stats(&f->bdev, &st);
	assert_int_equal(st.cls[STAT_WRITE].ops, 3);
	assert_int_equal(st.cls[STAT_WRITE].bytes, 3 * 8 * BLOCK);
	assert_int_equal(st.cls[STAT_WRITE].latency.count, 3);
	assert_int_equal(st.cls[STAT_READ].ops, 1);
	assert_int_equal(st.cls[STAT_READ].errors, 1);
	assert_int_equal(st.cls[STAT_READ].bytes, 0);
	bdev_stats_clear(&f->bdev);
	bdev_stats(&f->bdev, &st);
	assert_int_equal(st.cls[STAT_WRITE].ops, 0);
	fake_remove(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_names_are_unique_and_checked),
		bench_task(test_shapes_that_make_no_sense_are_refused),
		bench_task(test_exclusive_users_are_alone),
		bench_task(test_disks_are_found_by_serial_number),
		bench_task(test_a_readonly_disk_refuses_writers_and_writes),
		bench_task(test_requests_that_make_no_sense_fail),
		bench_task(test_the_first_error_of_a_piece_is_the_parents),
		bench_task(test_fua_is_a_write_and_a_flush_and_fails_with_it),
		bench_task(test_more_pieces_than_there_are_wait_in_line),
		bench_task(test_bounces_go_on_without_buffers),
		bench_task(test_disks_wait_for_each_others_bounce_memory),
		bench_task(test_abort_waits_for_what_the_driver_has),
		bench_task(test_abort_ends_what_waits_in_line),
		bench_task(test_io_are_counted_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
