/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/stat.h"

static void test_empty_histogram(void **state)
{
	static struct stat_hist h;

	assert_int_equal(stat_hist_percentile(&h, 5000), 0);
	assert_int_equal(stat_hist_mean(&h), 0);
}

/* Every value from 1 ns to minutes is found again, at most 1/16 too large and never too small. */
static void test_error_of_a_single_value(void **state)
{
	static struct stat_hist h;

	for (uint64_t ns = 1; ns < 500ull * 1000000000; ns += 1 + ns / 37) {
		uint64_t p;

		memset(&h, 0, sizeof(h));
		stat_hist_add(&h, ns);
		/* another one above, so that max_ns does not give the answer */
		stat_hist_add(&h, 501ull * 1000000000);
		p = stat_hist_percentile(&h, 5000);
		assert_true(p >= ns);
		assert_true(p - ns <= ns / 16);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void test_percentiles_against_sorting(void **state)
{
	enum { COUNT = 20000 };
	static const unsigned asked[] = { 1, 100, 5000, 9000, 9900, 9990, 9999, 10000 };
	static uint64_t value[COUNT];
	static struct stat_hist h;
	uint64_t x = 1, sum = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		/* spread over many powers of two */
		value[i] = (x >> 33) >> (x >> 60);
		sum += value[i];
		stat_hist_add(&h, value[i]);
	}
	qsort(value, COUNT, sizeof(value[0]), compare);
	for (unsigned i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		uint64_t rank = ((uint64_t)COUNT * asked[i] + 9999) / 10000;
		uint64_t exact = value[rank - 1], p = stat_hist_percentile(&h, asked[i]);

		assert_true(p >= exact);
		assert_true(p - exact <= exact / 16);
	}
	assert_int_equal(stat_hist_percentile(&h, 10000), value[COUNT - 1]);
	assert_int_equal(stat_hist_mean(&h), sum / COUNT);
}

static void test_too_long_is_counted_in_the_last_bucket(void **state)
{
	static struct stat_hist h;

	stat_hist_add(&h, UINT64_MAX);
	stat_hist_add(&h, 5);
	assert_int_equal(h.count, 2);
	assert_int_equal(stat_hist_percentile(&h, 5000), 5);
	assert_int_equal(stat_hist_percentile(&h, 10000), UINT64_MAX);
}

static void test_merge_equals_adding_all(void **state)
{
	static struct stat_hist a, b, all, empty;

	for (unsigned i = 0; i < 1000; i++) {
		stat_hist_add(i % 3 ? &a : &b, i * i);
		stat_hist_add(&all, i * i);
	}
	stat_hist_merge(&a, &empty);
	stat_hist_merge(&a, &b);
	assert_memory_equal(&a, &all, sizeof(all));
	stat_hist_merge(&empty, &b);
	assert_memory_equal(&empty, &b, sizeof(b));
}

static void test_io_counters_merge_by_class(void **state)
{
	static struct stat_io a, b;

	a.cls[STAT_READ].ops = 1;
	b.cls[STAT_READ].ops = 2;
	b.cls[STAT_WRITE].bytes = 4096;
	b.cls[STAT_FLUSH].errors = 3;
	stat_hist_add(&b.cls[STAT_OTHER].latency, 77);
	stat_io_merge(&a, &b);
	assert_int_equal(a.cls[STAT_READ].ops, 3);
	assert_int_equal(a.cls[STAT_WRITE].bytes, 4096);
	assert_int_equal(a.cls[STAT_FLUSH].errors, 3);
	assert_int_equal(a.cls[STAT_OTHER].latency.count, 1);
	for (unsigned i = 0; i < STAT_CLASS_COUNT; i++)
		assert_true(strlen(stat_class_name(i)) > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_histogram),
		cmocka_unit_test(test_error_of_a_single_value),
		cmocka_unit_test(test_percentiles_against_sorting),
		cmocka_unit_test(test_too_long_is_counted_in_the_last_bucket),
		cmocka_unit_test(test_merge_equals_adding_all),
		cmocka_unit_test(test_io_counters_merge_by_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
