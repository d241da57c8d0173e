/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/pool.h"

static void test_objects_are_zeroed_aligned_and_distinct(void **state)
{
	struct pool p;
	char *obj[8];

	assert_int_equal(pool_init(&p, "test", 100, 8), 0);
	for (unsigned i = 0; i < 8; i++) {
		obj[i] = pool_get(&p);
		assert_non_null(obj[i]);
		assert_int_equal((uintptr_t)obj[i] % 64, 0);
		for (unsigned k = 0; k < 100; k++)
			assert_int_equal(obj[i][k], 0);
		memset(obj[i], (int)i + 1, 100);
	}
	assert_null(pool_get(&p));
	for (unsigned i = 0; i < 8; i++)
		for (unsigned k = 0; k < 100; k++)
			assert_int_equal(obj[i][k], i + 1);
	for (unsigned i = 0; i < 8; i++)
		pool_put(&p, obj[i]);
	pool_fini(&p);
}

static void test_last_in_is_first_out_and_low_water_is_kept(void **state)
{
	struct pool p;
	void *a, *b, *c;

	assert_int_equal(pool_init(&p, "test", 1, 4), 0);
	a = pool_get(&p);
	b = pool_get(&p);
	c = pool_get(&p);
	assert_int_equal(p.free_count, 1);
	pool_put(&p, a);
	pool_put(&p, c);
	pool_put(&p, b);
	assert_ptr_equal(pool_get(&p), b);
	assert_int_equal(p.low_water, 1);
	pool_put(&p, b);
	assert_int_equal(p.free_count, 4);
	pool_fini(&p);
}

static void test_empty_pool_gives_nothing(void **state)
{
	struct pool p;

	assert_int_equal(pool_init(&p, "test", 64, 0), 0);
	assert_null(pool_get(&p));
	pool_fini(&p);
}

static void test_size_that_wraps_is_no_memory(void **state)
{
	struct pool p;

	assert_int_equal(pool_init(&p, "test", SIZE_MAX / 4, 64), -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects_are_zeroed_aligned_and_distinct),
		cmocka_unit_test(test_last_in_is_first_out_and_low_water_is_kept),
		cmocka_unit_test(test_empty_pool_gives_nothing),
		cmocka_unit_test(test_size_that_wraps_is_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
