/* SPDX-License-Identifier: BSD-3-Clause */
/* Buffers: what a request gets, and who waits for whom when there are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/buf.h"
#include "core/dma.h"
#include "tests/unit/loop.h"

enum { LARGE = 128 * 1024, HELD_MAX = 4096 };

static int setup(void **state)
{
	struct dma_opts opts = { .memory_mib = 8, .no_huge = true, .program = "test" };

	assert_int_equal(dma_init(&opts), 0);
	loop_setup(state);
	assert_int_equal(buf_init(), 0);
	return 0;
}

static int teardown(void **state)
{
	struct buf_stats st;

	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
		buf_stats(c, &st);
		assert_int_equal(st.used, 0);
	}
	buf_fini();
	loop_teardown(state);
	dma_fini();
	return 0;
}

#define buf_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Somebody who wants LEN bytes: gets them when called, and keeps them. */
struct want {
	struct buf_wait w;
	size_t len;
	struct iovec iov[BUF_IOV_MAX];
	unsigned count, order, called;
};

static unsigned served;

static void want_try(struct want *x)
{
	x->count = buf_get(x->len, x->iov, &x->w);
	if (x->count)
		x->order = ++served;
}

static void want_ready(struct buf_wait *w)
{
	struct want *x = container_of(w, struct want, w);

	x->called++;
	want_try(x);
}

static void want(struct want *x, size_t len)
{
	*x = (struct want){ .len = len, .w.ready = want_ready };
	want_try(x);
}

static void give_back(struct want *x)
{
	buf_put(x->iov, x->count);
	x->count = 0;
}

/* All of one size. */
static unsigned take_all(struct iovec *held, size_t len)
{
	unsigned count = 0, n;

	while ((n = buf_get(len, held + count, NULL)) > 0)
		count += n;
	return count;
}

static void test_any_length_is_covered_exactly(void **state)
{
	for (size_t len = 1; len <= BUF_REQUEST_MAX; len += len < 300000 ? 509 : 4093) {
		struct iovec iov[BUF_IOV_MAX];
		unsigned count = buf_get(len, iov, NULL);
		size_t sum = 0;

		assert_in_range(count, 1, BUF_IOV_MAX);
		for (unsigned i = 0; i < count; i++) {
			assert_true(IS_ALIGNED((uintptr_t)iov[i].iov_base, 4096));
			assert_true(i + 1 == count || IS_ALIGNED(iov[i].iov_len, 4096));
			sum += iov[i].iov_len;
			memset(iov[i].iov_base, i, iov[i].iov_len);
		}
		assert_int_equal(sum, len);
		buf_put(iov, count);
	}
	/* The largest fits too, and a size class is one element. */
	for (size_t len = 4096; len <= LARGE; len *= len == 4096 ? 4 : 8) {
		struct iovec iov[BUF_IOV_MAX];

		assert_int_equal(buf_get(len, iov, NULL), 1);
		buf_put(iov, 1);
	}
}

static void test_buffers_do_not_overlap(void **state)
{
	struct iovec *held = calloc(HELD_MAX, sizeof(*held));
	unsigned large = take_all(held, LARGE), count = large;

	count += take_all(held + count, 16384);
	count += take_all(held + count, 4096);
	for (unsigned i = 0; i < count; i++)
		memset(held[i].iov_base, i, held[i].iov_len);
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *b = held[i].iov_base;

		assert_int_equal(b[0], (uint8_t)i);
		assert_int_equal(b[held[i].iov_len - 1], (uint8_t)i);
	}
	buf_put(held, count);
	free(held);
}

static void test_waiters_are_served_in_order_and_never_inside_put(void **state)
{
	struct iovec *held = calloc(HELD_MAX, sizeof(*held));
	unsigned count = take_all(held, LARGE);
	struct want x[4];

	served = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(x); i++) {
		want(&x[i], LARGE);
		assert_int_equal(x[i].count, 0);
	}
	loop_drain();
	assert_int_equal(x[0].called, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(x); i++) {
		buf_put(held + --count, 1);
		assert_int_equal(x[i].called, 0);
		loop_drain();
		assert_int_equal(x[i].order, i + 1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(x); i++)
		give_back(&x[i]);
	buf_put(held, count);
	loop_drain();
	free(held);
}

static void test_small_requests_do_not_starve_a_large_one(void **state)
{
	struct iovec *held = calloc(HELD_MAX, sizeof(*held)), got[BUF_IOV_MAX];
	unsigned count = take_all(held, LARGE);
	struct want big, late;

	want(&big, BUF_REQUEST_MAX);
	assert_int_equal(big.count, 0);
	/* Buffers come back one by one; whoever comes later does not get them. */
	for (unsigned i = 0; i < BUF_REQUEST_MAX / LARGE - 1; i++) {
		buf_put(held + --count, 1);
		loop_drain();
		assert_int_equal(buf_get(LARGE, got, NULL), 0);
	}
	want(&late, LARGE);
	assert_int_equal(late.count, 0);
	buf_put(held + --count, 1);
	loop_drain();
	assert_int_equal(big.count, BUF_REQUEST_MAX / LARGE);
	assert_int_equal(late.count, 0);
	give_back(&big);
	loop_drain();
	assert_int_equal(late.count, 1);
	give_back(&late);
	buf_put(held, count);
	free(held);
}

static void test_a_large_request_in_line_does_not_stop_small_ones(void **state)
{
	struct iovec *held = calloc(HELD_MAX, sizeof(*held)), got[BUF_IOV_MAX];
	unsigned count = take_all(held, LARGE);
	struct want big;

	want(&big, LARGE);
	assert_int_equal(big.count, 0);
	assert_int_equal(buf_get(4096, got, NULL), 1);
	buf_put(got, 1);
	assert_int_equal(buf_get(20000, got, NULL), 2);
	buf_put(got, 2);
	loop_drain();
	assert_int_equal(big.count, 0);
	buf_put(held, count);
	loop_drain();
	assert_int_equal(big.count, 1);
	give_back(&big);
	free(held);
}

static void test_a_cancelled_waiter_is_not_called_and_claims_nothing(void **state)
{
	struct iovec *held = calloc(HELD_MAX, sizeof(*held));
	unsigned count = take_all(held, LARGE);
	struct want big, next;

	want(&big, BUF_REQUEST_MAX);
	want(&next, LARGE);
	buf_put(held + --count, 1);
	loop_drain();
	assert_int_equal(next.count, 0);
	buf_wait_cancel(&big.w);
	buf_wait_cancel(&big.w);
	loop_drain();
	assert_int_equal(big.called, 0);
	assert_int_equal(next.count, 1);
	give_back(&next);
	buf_put(held, count);
	loop_drain();
	assert_int_equal(big.called, 0);
	free(held);
}

/* One that is called and does not take what it asked for leaves it to the next. */
static void ready_not(struct buf_wait *w)
{
	container_of(w, struct want, w)->called++;
}

static void test_what_a_waiter_leaves_goes_to_the_next(void **state)
{
	struct iovec *held = calloc(HELD_MAX, sizeof(*held));
	unsigned count = take_all(held, LARGE);
	struct want first = { .len = LARGE, .w.ready = ready_not }, second;

	assert_int_equal(buf_get(LARGE, first.iov, &first.w), 0);
	want(&second, LARGE);
	buf_put(held + --count, 1);
	loop_drain();
	assert_int_equal(first.called, 1);
	assert_int_equal(second.count, 1);
	give_back(&second);
	buf_put(held, count);
	free(held);
}

static void test_figures(void **state)
{
	struct iovec iov[BUF_IOV_MAX];
	struct buf_stats st;
	unsigned count = buf_get(3 * LARGE, iov, NULL);

	buf_stats(2, &st);
	assert_int_equal(st.class_bytes, LARGE);
	assert_int_equal(st.used, 3);
	buf_put(iov, count);
	buf_stats(2, &st);
	assert_int_equal(st.used, 0);
	assert_int_equal(st.peak, 3);
	/* 8 MiB do not hold what is configured: all had to be made smaller. */
	assert_true(st.total >= BUF_REQUEST_MAX / LARGE && st.total * st.class_bytes < 4 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		buf_test(test_any_length_is_covered_exactly),
		buf_test(test_buffers_do_not_overlap),
		buf_test(test_waiters_are_served_in_order_and_never_inside_put),
		buf_test(test_small_requests_do_not_starve_a_large_one),
		buf_test(test_a_large_request_in_line_does_not_stop_small_ones),
		buf_test(test_a_cancelled_waiter_is_not_called_and_claims_nothing),
		buf_test(test_what_a_waiter_leaves_goes_to_the_next),
		buf_test(test_figures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
