/* SPDX-License-Identifier: BSD-3-Clause */
/* The tape of a fake disk: what a crash may leave, and what it may not. */
#include "tests/unit/fake_tape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/loop.h"

enum { BLOCK = 512, BLOCKS = 64 };

static uint8_t medium[BLOCK * BLOCKS];

static const struct bdev shape = {
	.name = "fake0",
	.block_bytes = BLOCK,
	.block_count = BLOCKS,
	.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH | 1 << IO_WRITE_ZEROES,
	.fua = true,
	.volatile_cache = true,
};

struct fixture {
	struct fake_bdev *disk;
	struct fake_tape tape;
};

static void nothing(struct io *io)
{
	assert_int_equal(io->status, IO_OK);
}

struct request {
	struct io io;
	struct iovec iov;
	uint8_t data[8 * BLOCK];
};

static void submit(struct fixture *f, struct request *r, enum io_op op, uint64_t lba,
		   uint32_t count, uint8_t byte, unsigned flags)
{
	memset(r->data, byte, sizeof(r->data));
	r->iov = (struct iovec){ r->data, (size_t)count * BLOCK };
	r->io = (struct io){ .op = op, .flags = flags, .lba = lba, .lba_count = count,
			     .iov = &r->iov, .iov_count = op == IO_WRITE, .done = nothing };
	bdev_submit(bdev_chan(&f->disk->bdev), &r->io);
}

static void request(struct fixture *f, enum io_op op, uint64_t lba, uint32_t count, uint8_t byte,
		    unsigned flags)
{
	static struct request r;

	submit(f, &r, op, lba, count, byte, flags);
	fake_release_all(f->disk);
	task_yield();
}

static void begin(struct fixture *f)
{
	f->disk = fake_create(&shape, FAKE_HELD, 1);
	tape_start(&f->tape, f->disk);
}

static void end(struct fixture *f)
{
	tape_free(&f->tape);
	fake_remove(f->disk);
}

/* At the end of the tape. */
static void crash_last(struct tape_crash *crash, const struct fake_tape *tape)
{
	crash_start(crash, tape);
	while (crash_next(crash))
		;
}

static void flushed_task(void *arg)
{
	struct fixture f;
	struct tape_crash crash;

	(void)arg;
	begin(&f);
	request(&f, IO_WRITE, 3, 2, 7, 0);
	request(&f, IO_FLUSH, 0, 0, 0, 0);
	request(&f, IO_WRITE, 4, 2, 8, 0);
	tape_mark(&f.tape, 99);
	crash_last(&crash, &f.tape);
	assert_int_equal(crash.mark, 99);
	crash_medium(&crash, TAPE_LOST, 1, 1, medium);
	assert_int_equal(medium[3 * BLOCK], 7);
	assert_int_equal(medium[4 * BLOCK], 7);
	assert_int_equal(medium[5 * BLOCK], 0);
	crash_medium(&crash, TAPE_KEPT, 1, 1, medium);
	assert_int_equal(medium[4 * BLOCK], 8);
	assert_int_equal(medium[5 * BLOCK], 8);
	crash_end(&crash);
	end(&f);
}

static void test_what_was_flushed_stays_and_the_rest_may_be_lost(void **state)
{
	(void)state;
	loop_task(flushed_task, NULL);
}

static void late_task(void *arg)
{
	static struct request w, flush;
	struct fixture f;
	struct tape_crash crash;

	(void)arg;
	begin(&f);
	submit(&f, &w, IO_WRITE, 0, 1, 5, 0);
	submit(&f, &flush, IO_FLUSH, 0, 0, 0, 0);
	fake_release(f.disk, 2);
	task_yield();
	crash_last(&crash, &f.tape);
	crash_medium(&crash, TAPE_LOST, 1, 1, medium);
	assert_int_equal(medium[0], 0);
	crash_end(&crash);
	end(&f);
}

static void test_a_flush_does_not_cover_what_was_not_done_when_it_came(void **state)
{
	(void)state;
	loop_task(late_task, NULL);
}

static void fua_task(void *arg)
{
	struct fixture f;
	struct tape_crash crash;

	(void)arg;
	begin(&f);
	request(&f, IO_WRITE, 0, 4, 1, 0);
	request(&f, IO_WRITE, 1, 1, 2, IO_FUA);
	crash_last(&crash, &f.tape);
	for (unsigned loss = 0; loss < TAPE_LOSSES; loss++) {
		for (unsigned seed = 1; seed < 20; seed++) {
			crash_medium(&crash, loss, 1, seed, medium);
			assert_int_equal(medium[BLOCK], 2);
		}
	}
	crash_medium(&crash, TAPE_KEPT, 1, 1, medium);
	assert_int_equal(medium[0], 1);
	request(&f, IO_FLUSH, 0, 0, 0, 0);
	while (crash_next(&crash))
		;
	crash_medium(&crash, TAPE_LOST, 1, 1, medium);
	assert_int_equal(medium[0], 1);
	assert_int_equal(medium[BLOCK], 2);
	assert_int_equal(medium[2 * BLOCK], 1);
	crash_end(&crash);
	end(&f);
}

static void test_a_durable_write_is_never_hidden_by_an_older_one(void **state)
{
	(void)state;
	loop_task(fua_task, NULL);
}

static void torn_task(void *arg)
{
	struct fixture f;
	struct tape_crash crash;
	unsigned seen[2][2] = { { 0 } };
	bool whole;

	(void)arg;
	begin(&f);
	request(&f, IO_WRITE, 8, 8, 3, 0);
	crash_last(&crash, &f.tape);
	for (unsigned seed = 1; seed <= 200; seed++) {
		for (unsigned torn = 0; torn < 2; torn++) {
			crash_medium(&crash, torn ? TAPE_TORN : TAPE_SOME, 1, seed, medium);
			whole = true;
			for (unsigned i = 9; i < 16; i++)
				whole &= medium[i * BLOCK] == medium[8 * BLOCK];
			seen[torn][whole]++;
		}
		crash_medium(&crash, TAPE_TORN, 8, seed, medium);
		assert_int_equal(medium[8 * BLOCK], medium[15 * BLOCK]);
	}
	assert_int_equal(seen[0][false], 0);
	assert_true(seen[1][false] > 100);
	crash_end(&crash);
	end(&f);
}

static void test_a_torn_write_is_torn_at_the_atomic_unit(void **state)
{
	(void)state;
	loop_task(torn_task, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(test_what_was_flushed_stays_and_the_rest_may_be_lost),
		loop_test(test_a_flush_does_not_cover_what_was_not_done_when_it_came),
		loop_test(test_a_durable_write_is_never_hidden_by_an_older_one),
		loop_test(test_a_torn_write_is_torn_at_the_atomic_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
