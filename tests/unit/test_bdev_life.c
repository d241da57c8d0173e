/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of a bdev in every state, and changes of its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/task.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/fake_bdev.h"

enum { BLOCK = 512 };

static const struct bdev plain = {
	.name = "d0",
	.block_bytes = BLOCK,
	.block_count = 4096,
	.ops_supported = 1 << IO_READ | 1 << IO_WRITE,
};

static uint8_t memory[1 << 18] __attribute__((aligned(4096)));

struct watcher {
	struct bdev_user user;
	unsigned removed, resized;
	bool close_at_once;
};

static void watch(struct bdev_user *user, enum bdev_event event)
{
	struct watcher *w = container_of(user, struct watcher, user);

	w->removed += event == BDEV_REMOVED;
	w->resized += event == BDEV_RESIZED;
	if (event == BDEV_REMOVED && w->close_at_once)
		bdev_close(user);
}

static void watcher_open(struct watcher *w, const char *who, bool close_at_once)
{
	*w = (struct watcher){ .close_at_once = close_at_once };
	w->user = (struct bdev_user){ .event = watch, .write = true };
	memcpy(w->user.who, who, strlen(who));
	assert_int_equal(bdev_open("d0", &w->user), 0);
}

static void rounds(unsigned n)
{
	while (n-- > 0)
		task_yield();
}

static void remover(void *arg)
{
	struct fake_bdev *f = arg;

	bdev_unregister(&f->bdev);
}

static void remove_start(struct fake_bdev *f)
{
	assert_non_null(task_start("remove", remover, f));
	rounds(20);
}

static void destroyed_wait(struct fake_bdev *f)
{
	rounds(50);
	assert_true(f->destroyed);
	fake_free(f);
}

/* ---- removal ---- */

static void test_removal_without_users_is_at_once(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_INSTANT, 1);

	remove_start(f);
	destroyed_wait(f);
}

static void test_removal_waits_for_every_user(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_INSTANT, 1);
	struct bdev_user late = { .who = "late" };
	struct watcher a, b, c;

	watcher_open(&a, "a", true);
	watcher_open(&b, "b", false);
	watcher_open(&c, "c", true);
	remove_start(f);
	assert_int_equal(a.removed + b.removed + c.removed, 3);
	assert_false(f->destroyed);
	assert_int_equal(bdev_open("d0", &late), -ENODEV);
	/* A second removal, by an operator: no effect. */
	bdev_unregister(&f->bdev);
	assert_false(f->destroyed);
	bdev_close(&b.user);
	destroyed_wait(f);
	assert_int_equal(bdev_open("d0", &late), -ENOENT);
}

static void test_removal_lets_io_in_the_driver_end(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_HELD, 1);
	struct watcher a;
	struct bench_io b, late;

	watcher_open(&a, "a", false);
	bench_fill(&b, IO_WRITE, 3, 1, memory, BLOCK);
	bench_submit(bdev_chan(&f->bdev), &b);
	remove_start(f);
	assert_false(b.done);
	bench_fill(&late, IO_WRITE, 3, 1, memory, BLOCK);
	bench_submit(bdev_chan(&f->bdev), &late);
	rounds(3);
	assert_true(late.done && late.io.status == IO_ERR_GONE);
	fake_release(f, 1);
	rounds(3);
	assert_true(b.done && b.io.status == IO_OK);
	bdev_close(&a.user);
	destroyed_wait(f);
}

static void test_removal_fails_what_waits_for_pieces(void *arg)
{
	static struct bench_io b[20];
	struct bdev shape = plain;
	struct fake_bdev *f;
	struct watcher a;

	shape.limits.xfer_bytes_max = BLOCK;
	f = fake_create(&shape, FAKE_HELD, 1);
	watcher_open(&a, "a", false);
	for (unsigned i = 0; i < ARRAY_SIZE(b); i++) {
		bench_fill(&b[i], IO_WRITE, i * 8, 8, memory, 8 * BLOCK);
		bench_submit(bdev_chan(&f->bdev), &b[i]);
	}
	remove_start(f);
	/* Two have all their pieces in the driver. */
	for (unsigned i = 2; i < ARRAY_SIZE(b); i++)
		assert_true(b[i].done && b[i].io.status == IO_ERR_GONE);
	assert_false(b[0].done || b[1].done);
	fake_release_all(f);
	rounds(5);
	assert_true(b[0].io.status == IO_OK && b[1].io.status == IO_OK);
	bdev_close(&a.user);
	destroyed_wait(f);
}

static void test_removal_fails_what_waits_for_a_compare_write(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_HELD, 1);
	struct bdev_chan *chan = bdev_chan(&f->bdev);
	struct bench_io first, second, held, apart;
	struct watcher a;

	watcher_open(&a, "a", false);
	bench_fill(&first, IO_COMPARE_WRITE, 8, 8, memory, 16 * BLOCK);
	bench_submit(chan, &first);
	rounds(10);
	assert_int_equal(f->held_count, 1);
	bench_fill(&second, IO_COMPARE_WRITE, 100, 8, memory, 16 * BLOCK);
	bench_submit(chan, &second);
	bench_fill(&held, IO_WRITE, 15, 1, memory, BLOCK);
	bench_submit(chan, &held);
	bench_fill(&apart, IO_WRITE, 16, 1, memory, BLOCK);
	bench_submit(chan, &apart);
	rounds(5);
	/* The first's read and the write beside it, not the one in its range. */
	assert_int_equal(f->held_count, 2);
	remove_start(f);
	assert_true(held.done && held.io.status == IO_ERR_GONE);
	assert_false(first.done || second.done || apart.done);
	f->mode = FAKE_RANDOM;
	rounds(50);
	assert_true(first.done && first.io.status == IO_OK);
	assert_true(second.done && second.io.status == IO_ERR_GONE);
	assert_true(apart.done && apart.io.status == IO_OK);
	bdev_close(&a.user);
	destroyed_wait(f);
}

static void test_removal_right_after_the_last_compare_write(void *arg)
{
	for (unsigned delay = 0; delay < 12; delay++) {
		struct fake_bdev *f = fake_create(&plain, FAKE_INSTANT, 1);
		struct bench_io b;

		bench_fill(&b, IO_COMPARE_WRITE, 8, 8, memory, 16 * BLOCK);
		bench_submit(bdev_chan(&f->bdev), &b);
		while (!b.done)
			task_yield();
		rounds(delay);
		fake_remove(f);
	}
}

static void test_removal_with_an_abort_that_waits(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_HELD, 1);
	struct bench_io b, abort;
	struct watcher a;

	watcher_open(&a, "a", false);
	bench_fill(&b, IO_READ, 3, 1, memory, BLOCK);
	bench_submit(bdev_chan(&f->bdev), &b);
	bench_fill(&abort, IO_ABORT, 0, 0, NULL, 0);
	abort.io.victim = &b.io;
	bench_submit(bdev_chan(&f->bdev), &abort);
	remove_start(f);
	fake_crash(f);
	rounds(5);
	assert_true(b.done && b.io.status == IO_ERR_GONE);
	assert_true(abort.done && abort.io.status == IO_OK);
	bdev_close(&a.user);
	destroyed_wait(f);
}

static void test_a_name_is_free_again_after_removal(void *arg)
{
	for (unsigned i = 0; i < 3; i++)
		fake_remove(fake_create(&plain, FAKE_INSTANT, i));
}

/* ---- size ---- */

struct resize {
	struct fake_bdev *f;
	uint64_t block_count;
	bool ended;
};

static void resizer(void *arg)
{
	struct resize *r = arg;

	bdev_resize(&r->f->bdev, r->block_count);
	r->ended = true;
}

static void test_users_hear_of_a_new_size(void *arg)
{
	struct fake_bdev *f = fake_create(&plain, FAKE_HELD, 1);
	struct resize r = { .f = f, .block_count = 8192 };
	struct bench_io b, beyond;
	struct watcher a;

	watcher_open(&a, "a", false);
	bdev_resize(&f->bdev, 4096);
	assert_int_equal(a.resized, 0);
	/* Only the number: the fake has no more memory than before. */
	resizer(&r);
	assert_int_equal(a.resized, 1);
	bench_fill(&b, IO_WRITE, 4000, 1, memory, BLOCK);
	bench_submit(bdev_chan(&f->bdev), &b);
	r = (struct resize){ .f = f, .block_count = 2000 };
	assert_non_null(task_start("resize", resizer, &r));
	rounds(20);
	/* A write is under way beyond the new end. */
	assert_int_equal(a.resized, 1);
	bench_fill(&beyond, IO_READ, 2000, 1, memory, BLOCK);
	bench_submit(bdev_chan(&f->bdev), &beyond);
	rounds(3);
	assert_true(beyond.done && beyond.io.status == IO_ERR_RANGE);
	fake_release(f, 1);
	rounds(20);
	assert_true(b.done && b.io.status == IO_OK && r.ended);
	assert_int_equal(a.resized, 2);
	bdev_close(&a.user);
	fake_remove(f);
}

/* ---- loss of power ---- */

static void write_all(struct fake_bdev *f, uint8_t byte, unsigned flags)
{
	struct bench_io b;

	for (unsigned lba = 0; lba < 512; lba += 64) {
		memset(memory, byte, 64 * BLOCK);
		bench_fill(&b, IO_WRITE, lba, 64, memory, 64 * BLOCK);
		b.io.flags = flags;
		bench_submit(bdev_chan(&f->bdev), &b);
		while (!b.done)
			task_yield();
	}
}

static void test_a_crash_leaves_old_or_new_blocks_and_what_was_flushed(void *arg)
{
	struct bdev shape = plain;
	unsigned old = 0, new = 0;
	struct fake_bdev *f;
	struct bench_io b;

	shape.volatile_cache = true;
	shape.ops_supported |= 1 << IO_FLUSH;
	f = fake_create(&shape, FAKE_INSTANT, 7);
	write_all(f, 1, 0);
	bench_fill(&b, IO_FLUSH, 0, 0, NULL, 0);
	bench_submit(bdev_chan(&f->bdev), &b);
	while (!b.done)
		task_yield();
	write_all(f, 2, 0);
	/* Durable, whatever was written there before. */
	memset(memory, 3, BLOCK);
	bench_fill(&b, IO_WRITE, 100, 1, memory, BLOCK);
	b.io.flags = IO_FUA;
	f->bdev.fua = true;
	f->bdev.pieces_flags = 0;
	bench_submit(bdev_chan(&f->bdev), &b);
	while (!b.done)
		task_yield();
	fake_crash(f);
	for (unsigned lba = 0; lba < 512; lba++) {
		const uint8_t *block = f->view + lba * BLOCK;

		assert_int_equal(block[0], block[BLOCK - 1]);
		if (lba == 100) {
			assert_int_equal(block[0], 3);
			continue;
		}
		old += block[0] == 1;
		new += block[0] == 2;
	}
	assert_int_equal(old + new, 511);
	assert_true(old > 100 && new > 100);
	fake_remove(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_removal_without_users_is_at_once),
		bench_task(test_removal_waits_for_every_user),
		bench_task(test_removal_lets_io_in_the_driver_end),
		bench_task(test_removal_fails_what_waits_for_pieces),
		bench_task(test_removal_fails_what_waits_for_a_compare_write),
		bench_task(test_removal_right_after_the_last_compare_write),
		bench_task(test_removal_with_an_abort_that_waits),
		bench_task(test_a_name_is_free_again_after_removal),
		bench_task(test_users_hear_of_a_new_size),
		bench_task(test_a_crash_leaves_old_or_new_blocks_and_what_was_flushed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
