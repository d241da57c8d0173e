/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"

/* Both clocks are read around each other, so that being preempted cannot break the comparison. */
static void test_ticks_agree_with_the_clock(void **state)
{
	uint64_t before_ns = clock_now_ns(), ticks0 = clock_ticks(), ns0 = clock_now_ns();
	uint64_t ns1, ticks1, after_ns, measured;

	do
		ns1 = clock_now_ns();
	while (ns1 - ns0 < 20 * 1000 * 1000);
	ticks1 = clock_ticks();
	after_ns = clock_now_ns();
	measured = clock_ticks_to_ns(ticks1 - ticks0);
	assert_true(measured >= (ns1 - ns0) - (ns1 - ns0) / 500);
	assert_true(measured <= (after_ns - before_ns) + (after_ns - before_ns) / 500);
}

static void test_long_tick_counts_do_not_overflow(void **state)
{
	uint64_t second = 0, ticks = 1;

	/* ticks of at least one second, by doubling */
	while (second < 1000000000u) {
		ticks *= 2;
		second = clock_ticks_to_ns(ticks);
	}
	assert_true(clock_ticks_to_ns(ticks * 1000000) / 1000000 <= second + 1);
	assert_true(clock_ticks_to_ns(ticks * 1000000) / 1000000 >= second - 1);
}

static void test_simulated_time_stands_still(void **state)
{
	uint64_t us, ns, ticks, real, up;

	clock_simulate(3);
	us = clock_now_us();
	ns = clock_now_ns();
	ticks = clock_ticks();
	real = clock_realtime_us();
	up = clock_uptime_us();
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(clock_now_ns(), ns);
	clock_simulate_advance(250);
	assert_int_equal(clock_now_us() - us, 250);
	assert_int_equal(clock_now_ns() - ns, 250000);
	assert_int_equal(clock_ticks_to_ns(clock_ticks() - ticks), 250000);
	assert_int_equal(clock_realtime_us() - real, 250);
	assert_int_equal(clock_uptime_us() - up, 250);
	clock_simulate_end();
	assert_true(clock_now_ns() > 0);
}

static void test_randomness(void **state)
{
	uint8_t a[64] = { 0 }, b[64] = { 0 };

	clock_random(a, sizeof(a));
	clock_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_not_equal(clock_random64(), clock_random64());
	clock_simulate(9);
	clock_random(a, sizeof(a));
	clock_simulate(9);
	clock_random(b, sizeof(b));
	clock_simulate_end();
	assert_memory_equal(a, b, sizeof(a));
}

static void test_thread_cpu_time_advances_with_work(void **state)
{
	uint64_t before = clock_thread_cpu_us(), loops = 0;

	while (clock_thread_cpu_us() - before < 1000)
		assert_true(++loops < 1000u * 1000 * 1000);
}

static int clock_setup(void **state)
{
	clock_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ticks_agree_with_the_clock),
		cmocka_unit_test(test_long_tick_counts_do_not_overflow),
		cmocka_unit_test(test_simulated_time_stands_still),
		cmocka_unit_test(test_randomness),
		cmocka_unit_test(test_thread_cpu_time_advances_with_work),
	};

	return cmocka_run_group_tests(tests, clock_setup, NULL);
}
