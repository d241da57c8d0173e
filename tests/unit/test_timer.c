/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/clock.h"
#include "core/reactor.h"

struct shot {
	struct timer timer;
	struct shot *cancels, *arms;
	unsigned place;                 /* among all that fired */
	uint64_t arms_us;
	uint64_t due_us, fired_us;
	unsigned fired;
};

static unsigned order;

static void shot_fire(struct timer *t)
{
	struct shot *s = container_of(t, struct shot, timer);

	assert_false(timer_armed(t));
	s->fired_us = clock_now_us();
	s->fired++;
	s->place = order++;
	if (s->cancels)
		timer_cancel(&s->cancels->timer);
	if (s->arms)
		timer_arm(&s->arms->timer, s->arms_us);
}

static void shot_arm(struct shot *s, uint64_t us)
{
	if (!s->timer.fn)
		timer_setup(&s->timer, shot_fire);
	s->due_us = clock_now_us() + us;
	timer_arm(&s->timer, us);
}

static uint32_t timer_count(void)
{
	struct reactor_stats stats;

	reactor_stats(reactor_self(), &stats);
	return stats.timers;
}

static void test_fires_at_its_microsecond_once(void **state)
{
	struct shot s = { 0 };

	shot_arm(&s, 100);
	assert_true(timer_armed(&s.timer));
	loop_advance(99);
	assert_int_equal(s.fired, 0);
	loop_advance(1);
	assert_int_equal(s.fired, 1);
	loop_advance(1000000);
	assert_int_equal(s.fired, 1);
	assert_int_equal(timer_count(), 0);
}

/* The deadlines around the steps of the wheel, from one microsecond to years, one by one. */
static void test_every_distance_is_exact(void **state)
{
	for (unsigned shift = 0; shift < 45; shift++) {
		for (int off = -1; off <= 1; off++) {
			uint64_t us = (1ull << shift) + (uint64_t)(int64_t)off;
			struct shot s = { 0 };

			if (us == 0)
				continue;
			shot_arm(&s, us);
			loop_advance(us - 1);
			assert_int_equal(s.fired, 0);
			loop_advance(1);
			assert_int_equal(s.fired, 1);
			/* another phase for the next one */
			loop_advance(us % 7919);
		}
	}
}

static void test_zero_fires_in_a_later_round_without_time_passing(void **state)
{
	struct shot a = { 0 }, b = { 0 };

	timer_setup(&b.timer, shot_fire);
	a.arms = &b;
	shot_arm(&a, 0);
	assert_int_equal(reactor_round(), 1);
	assert_int_equal(a.fired, 1);
	assert_int_equal(b.fired, 0);
	assert_int_equal(reactor_round(), 1);
	assert_int_equal(b.fired, 1);
}

static void test_for_ever_never_fires(void **state)
{
	struct shot s = { 0 };

	shot_arm(&s, UINT64_MAX);
	loop_advance(365ull * 24 * 3600 * 1000000);
	assert_int_equal(s.fired, 0);
	timer_cancel(&s.timer);
	assert_int_equal(timer_count(), 0);
}

static void test_arming_anew_moves_the_deadline(void **state)
{
	struct shot s = { 0 };

	for (unsigned i = 0; i < 1000; i++) {
		shot_arm(&s, 5000000);
		loop_advance(777);
	}
	assert_int_equal(timer_count(), 1);
	assert_int_equal(s.fired, 0);
	loop_advance(5000000 - 778);
	assert_int_equal(s.fired, 0);
	loop_advance(1);
	assert_int_equal(s.fired, 1);
	/* and nearer */
	shot_arm(&s, 5000000);
	shot_arm(&s, 10);
	loop_advance(10);
	assert_int_equal(s.fired, 2);
}

/* Both are due in the same round; the first one's callback decides. */
static void test_cancel_of_a_timer_that_is_due_already(void **state)
{
	struct shot a = { 0 }, b = { 0 };

	a.cancels = &b;
	shot_arm(&a, 10);
	shot_arm(&b, 11);
	loop_advance(50);
	assert_int_equal(a.fired, 1);
	assert_int_equal(b.fired, 0);
	timer_cancel(&b.timer);
	assert_int_equal(timer_count(), 0);
}

static void test_a_timer_may_arm_itself(void **state)
{
	struct shot s = { 0 };

	s.arms = &s;
	s.arms_us = 1000;
	shot_arm(&s, 1000);
	for (unsigned i = 1; i <= 50; i++) {
		loop_advance(1000);
		assert_int_equal(s.fired, i);
	}
	timer_cancel(&s.timer);
}

/* Tens of thousands at random distances, some cancelled, some moved, against their deadlines. */
static void test_a_crowd_fires_in_time(void **state)
{
	enum { COUNT = 30000 };
	struct shot *s = calloc(COUNT, sizeof(*s));
	unsigned fired = 0;

	assert_non_null(s);
	for (unsigned i = 0; i < COUNT; i++)
		shot_arm(&s[i], 1 + (clock_random64() >> (24 + clock_random64() % 38)));
	for (unsigned i = 0; i < COUNT; i += 5)
		timer_cancel(&s[i].timer);
	for (unsigned i = 1; i < COUNT; i += 5)
		shot_arm(&s[i], 1 + (clock_random64() >> (24 + clock_random64() % 38)));
	assert_int_equal(timer_count(), COUNT - COUNT / 5);
	/* ever longer steps, up to the longest distance */
	for (uint64_t step = 1; step < 1ull << 41; step += step / 8 + 1) {
		uint64_t before = clock_now_us();

		loop_advance(step);
		for (unsigned i = 0; i < COUNT; i++) {
			if (s[i].fired && s[i].fired_us > before)
				assert_in_range(s[i].due_us, before + 1, before + step);
			else if (!s[i].fired && i % 5)
				assert_true(s[i].due_us > before + step);
		}
	}
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(s[i].fired, i % 5 ? 1 : 0);
		fired += s[i].fired;
	}
	assert_int_equal(fired, COUNT - COUNT / 5);
	assert_int_equal(timer_count(), 0);
	free(s);
}

static void test_one_round_calls_them_in_order_of_deadline(void **state)
{
	struct shot s[100] = { 0 };

	order = 0;
	for (unsigned i = 0; i < 100; i++)
		shot_arm(&s[i], 1 + i * 37 % 100 * 1000);
	clock_simulate_advance(200000);
	assert_int_equal(reactor_round(), 100);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(s[i].fired, 1);
		assert_int_equal(s[i].place, i * 37 % 100);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(test_fires_at_its_microsecond_once),
		loop_test(test_every_distance_is_exact),
		loop_test(test_zero_fires_in_a_later_round_without_time_passing),
		loop_test(test_for_ever_never_fires),
		loop_test(test_arming_anew_moves_the_deadline),
		loop_test(test_cancel_of_a_timer_that_is_due_already),
		loop_test(test_a_timer_may_arm_itself),
		loop_test(test_a_crowd_fires_in_time),
		loop_test(test_one_round_calls_them_in_order_of_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
