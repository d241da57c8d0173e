/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/loop.h"

#include <errno.h>
#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/clock.h"
#include "core/reactor.h"

/* What happened, in order, as letters. */
static char story[256];

static void tell(char c)
{
	size_t len = strlen(story);

	assert_true(len + 1 < sizeof(story));
	story[len] = c;
	story[len + 1] = '\0';
}

static int story_setup(void **state)
{
	story[0] = '\0';
	return loop_setup(state);
}

static uint32_t tasks_alive(void)
{
	struct reactor_stats stats;

	reactor_stats(reactor_self(), &stats);
	return stats.tasks;
}

static void letters(void *arg)
{
	for (const char *p = arg; *p; p++) {
		tell(*p);
		task_yield();
	}
}

static void test_tasks_take_turns(void **state)
{
	assert_null(task_self());
	assert_non_null(task_start("a", letters, "abc"));
	assert_non_null(task_start("b", letters, "xyz"));
	assert_string_equal(story, "");
	loop_drain();
	assert_string_equal(story, "axbycz");
	assert_int_equal(tasks_alive(), 0);
	assert_null(task_self());
}

/* ---- starting tasks in tasks ---- */

static void nest(void *arg)
{
	unsigned depth = *(unsigned *)arg, next = depth - 1;
	struct task *self = task_self();

	tell((char)('0' + depth));
	if (depth) {
		task_start("nest", nest, &next);
		/* NEXT lives on this stack */
		task_yield();
		task_yield();
	}
	assert_ptr_equal(task_self(), self);
}

static void test_tasks_start_tasks(void **state)
{
	unsigned depth = 5;

	assert_non_null(task_start("nest", nest, &depth));
	loop_drain();
	assert_string_equal(story, "543210");
	assert_int_equal(tasks_alive(), 0);
}

static void count_up(void *arg)
{
	char local[4096];

	memset(local, 1, sizeof(local));
	task_yield();
	for (unsigned i = 0; i < sizeof(local); i++)
		*(unsigned *)arg += local[i];
}

static void test_thousands_of_tasks_at_once(void **state)
{
	enum { COUNT = 2000 };
	unsigned sum = 0;

	for (unsigned round = 0; round < 2; round++) {
		sum = 0;
		for (unsigned i = 0; i < COUNT; i++)
			assert_non_null(task_start("many", count_up, &sum));
		assert_int_equal(tasks_alive(), COUNT);
		loop_drain();
		assert_int_equal(sum, COUNT * 4096);
		assert_int_equal(tasks_alive(), 0);
	}
}

/* ---- what a switch keeps ---- */

static void rounding_task(void *arg)
{
	fesetround(FE_UPWARD);
	task_yield();
	assert_int_equal(fegetround(), FE_UPWARD);
	fesetround(FE_TONEAREST);
}

static void test_rounding_modes_stay_with_their_task(void **state)
{
	task_start("rounding", rounding_task, NULL);
	reactor_round();
	assert_int_equal(fegetround(), FE_TONEAREST);
	loop_drain();
}

static void aligned_task(void *arg)
{
	double volatile one = 1;
	char text[64];
	struct { char c[16]; } __attribute__((aligned(16))) here;

	assert_int_equal((uintptr_t)&here % 16, 0);
	/* the formatter keeps vector registers on its stack */
	snprintf(text, sizeof(text), "%.3f", one / 3);
	assert_string_equal(text, "0.333");
	tell('+');
}

static void test_stacks_are_aligned(void **state)
{
	task_start("aligned", aligned_task, NULL);
	loop_drain();
	assert_string_equal(story, "+");
}

/* ---- sleep and events ---- */

static void sleeper(void *arg)
{
	uint64_t begin = clock_now_us();

	task_sleep(1500);
	assert_int_equal(clock_now_us() - begin, 1500);
	tell('s');
}

static void test_sleep(void **state)
{
	task_start("sleeper", sleeper, NULL);
	loop_drain();
	loop_advance(1499);
	assert_string_equal(story, "");
	loop_advance(1);
	assert_string_equal(story, "s");
}

static struct event event;

static void waiter(void *arg)
{
	task_wait(&event);
	tell(*(char *)arg);
}

static void test_an_event_wakes_all_and_stays_set(void **state)
{
	event_init(&event);
	task_start("waiter", waiter, "a");
	task_start("waiter", waiter, "b");
	loop_drain();
	assert_string_equal(story, "");
	event_signal(&event);
	assert_string_equal(story, "");
	loop_drain();
	assert_string_equal(story, "ab");
	task_start("waiter", waiter, "c");
	loop_drain();
	assert_string_equal(story, "abc");
	event_clear(&event);
	task_start("waiter", waiter, "d");
	loop_drain();
	assert_string_equal(story, "abc");
	event_signal(&event);
	loop_drain();
	assert_string_equal(story, "abcd");
}

static void timed_waiter(void *arg)
{
	int rc = task_wait_timeout(&event, 1000);

	tell(rc == 0 ? 'o' : rc == -ETIMEDOUT ? 't' : '?');
	/* an old timer must not end a new wait */
	task_sleep(100000);
	tell('e');
}

static void test_wait_with_timeout(void **state)
{
	event_init(&event);
	task_start("timed", timed_waiter, NULL);
	loop_drain();
	loop_advance(999);
	assert_string_equal(story, "");
	loop_advance(1);
	assert_string_equal(story, "t");
	assert_true(list_empty(&event.waiters));
	loop_advance(100000);
	assert_string_equal(story, "te");

	story[0] = '\0';
	task_start("timed", timed_waiter, NULL);
	loop_drain();
	event_signal(&event);
	loop_drain();
	assert_string_equal(story, "o");
	loop_advance(5000);
	assert_string_equal(story, "o");
	loop_advance(95000);
	assert_string_equal(story, "oe");
}

static void signal_from_timer(struct timer *t)
{
	event_signal(&event);
}

/* The signal comes first, the timeout in the same round: the wait has succeeded. */
static void test_signal_and_timeout_in_one_round(void **state)
{
	struct timer t;

	event_init(&event);
	timer_setup(&t, signal_from_timer);
	timer_arm(&t, 500);
	task_start("timed", timed_waiter, NULL);
	reactor_round();
	clock_simulate_advance(1000);
	loop_drain();
	assert_string_equal(story, "o");
	loop_advance(100000);
	assert_string_equal(story, "oe");
}

/* ---- locks ---- */

static struct task_lock lock;

static void locker(void *arg)
{
	task_lock(&lock);
	tell(*(char *)arg);
	task_yield();
	task_yield();
	tell(*(char *)arg);
	task_unlock(&lock);
}

static void test_a_lock_is_held_and_comes_in_order(void **state)
{
	task_lock_init(&lock);
	task_start("l", locker, "a");
	task_start("l", locker, "b");
	task_start("l", locker, "c");
	loop_drain();
	assert_string_equal(story, "aabbcc");
	assert_null(lock.owner);
}

static void greedy(void *arg)
{
	for (unsigned i = 0; i < 3; i++) {
		task_lock(&lock);
		tell(*(char *)arg);
		task_yield();
		task_unlock(&lock);
	}
}

/* Who unlocks and locks again at once does not overtake who waits. */
static void test_a_lock_is_fair(void **state)
{
	task_lock_init(&lock);
	task_start("g", greedy, "a");
	task_start("g", greedy, "b");
	loop_drain();
	assert_string_equal(story, "ababab");
}

/* ---- long work ---- */

static void long_work(void *arg)
{
	task_describe("copies %s", (const char *)arg);
	for (uint64_t i = 0; !task_cancelled(); i++) {
		task_progress(i, 100);
		task_sleep(10);
	}
	tell('c');
}

static void test_long_tasks_are_listed_and_cancelled(void **state)
{
	struct task_info info[4];
	uint64_t started = clock_now_us();

	task_start("copy", long_work, "disk0");
	task_start("copy", long_work, "disk1");
	task_start("silent", sleeper, NULL);
	loop_drain();
	for (unsigned i = 0; i < 3; i++)
		loop_advance(10);
	assert_int_equal(task_list(info, 1), 1);
	assert_int_equal(task_list(info, 4), 2);
	assert_string_equal(info[0].name, "copy");
	assert_string_equal(info[0].what, "copies disk0");
	assert_string_equal(info[1].what, "copies disk1");
	assert_int_equal(info[0].done, 3);
	assert_int_equal(info[0].total, 100);
	assert_int_equal(info[0].started_us, started);
	assert_false(info[0].cancelled);
	assert_true(info[0].id != info[1].id);

	assert_int_equal(task_cancel(info[1].id + 1000), -ENOENT);
	assert_int_equal(task_cancel(info[1].id), 0);
	assert_int_equal(task_list(info, 4), 2);
	assert_true(info[1].cancelled);
	loop_advance(10);
	assert_string_equal(story, "c");
	assert_int_equal(task_list(info, 4), 1);
	assert_string_equal(info[0].what, "copies disk0");
	assert_int_equal(task_cancel(info[0].id), 0);
	loop_advance(10);
	assert_int_equal(task_list(info, 4), 0);
}

static void long_name(void *arg)
{
	task_describe("%0200d", 7);
	task_sleep(10);
}

static void test_long_names_are_cut(void **state)
{
	struct task_info info;
	char name[200];

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	task_start(name, long_name, NULL);
	loop_drain();
	assert_int_equal(task_list(&info, 1), 1);
	assert_int_equal(strlen(info.name), sizeof(info.name) - 1);
	assert_int_equal(strlen(info.what), sizeof(info.what) - 1);
}

#define story_test(name) cmocka_unit_test_setup_teardown(name, story_setup, loop_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		story_test(test_tasks_take_turns),
		story_test(test_tasks_start_tasks),
		story_test(test_thousands_of_tasks_at_once),
		story_test(test_rounding_modes_stay_with_their_task),
		story_test(test_stacks_are_aligned),
		story_test(test_sleep),
		story_test(test_an_event_wakes_all_and_stays_set),
		story_test(test_wait_with_timeout),
		story_test(test_signal_and_timeout_in_one_round),
		story_test(test_a_lock_is_held_and_comes_in_order),
		story_test(test_a_lock_is_fair),
		story_test(test_long_tasks_are_listed_and_cancelled),
		story_test(test_long_names_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
