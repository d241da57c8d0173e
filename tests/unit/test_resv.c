/* SPDX-License-Identifier: BSD-3-Clause */
/* The reservation engine: its rules, who may do what, what is kept, who is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/resv_box.h"

static void may(unsigned host, unsigned access, bool yes)
{
	assert_int_equal(resv_allows(&rbox_disk->bdev, &rbox_hosts[host], access), yes);
}

static void test_each_type_opens_what_it_says_to_whom(void **state)
{
	/* holder, registrant, nobody in particular: read and write bits */
	static const uint8_t open[RESV_TYPE_COUNT][3] = {
		[RESV_WRITE_EXCLUSIVE] = { 3, 1, 1 },
		[RESV_EXCLUSIVE_ACCESS] = { 3, 0, 0 },
		[RESV_WRITE_EXCLUSIVE_REGISTRANTS] = { 3, 3, 1 },
		[RESV_EXCLUSIVE_ACCESS_REGISTRANTS] = { 3, 3, 0 },
		[RESV_WRITE_EXCLUSIVE_ALL] = { 3, 3, 1 },
		[RESV_EXCLUSIVE_ACCESS_ALL] = { 3, 3, 0 },
	};
	static const unsigned host[3] = { 0, 1, 3 };

	rbox_three();
	for (enum resv_type type = RESV_WRITE_EXCLUSIVE; type < RESV_TYPE_COUNT; type++) {
		assert_null(rbox_disk->bdev.resv);
		assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, type, 0), 0);
		assert_ptr_equal(rbox_disk->bdev.resv, rbox_now());
		for (unsigned i = 0; i < 3; i++)
			for (unsigned access = 1; access < 4; access++)
				may(host[i], access, (open[type][i] & access) == access);
		assert_int_equal(rbox_verb(0, RESV_RELEASE, 10, type, 0), 0);
	}
	assert_true(resv_allows(&rbox_disk->bdev, &rbox_hosts[3], RESV_READ | RESV_WRITE));
}

static void test_registering(void **state)
{
	assert_int_equal(rbox_register(0, 0), -EINVAL);
	assert_int_equal(rbox_register(0, 10), 0);
	assert_int_equal(rbox_now()->generation, 1);
	assert_int_equal(rbox_register(0, 10), 0);
	assert_int_equal(rbox_register(0, 11), -EBUSY);
	assert_int_equal(rbox_now()->count, 1);
	assert_int_equal(rbox_now()->reg[0].key, 10);
	/* without a registration nothing but registering works */
	for (enum resv_verb v = RESV_UNREGISTER; v <= RESV_CLEAR; v++)
		assert_int_equal(rbox_verb(1, v, 0, RESV_WRITE_EXCLUSIVE, 10), -EBUSY);
	/* nor with a wrong key, unless it need not be known */
	for (enum resv_verb v = RESV_UNREGISTER; v <= RESV_CLEAR; v++)
		assert_int_equal(rbox_run((struct resv_request){ .verb = v, .key = 9, .new_key = 12,
							    .type = RESV_WRITE_EXCLUSIVE,
							    .other_key = 10 }, 0), -EBUSY);
	assert_int_equal(rbox_run((struct resv_request){ .verb = RESV_UNREGISTER, .key = 9,
						    .ignore_key = true }, 0), 0);
	assert_int_equal(rbox_now()->count, 0);
}

static void test_replacing_a_key(void **state)
{
	struct resv_request req = { .verb = RESV_REPLACE, .key = 10, .new_key = 20 };

	assert_int_equal(rbox_run(req, 0), -EBUSY);
	assert_int_equal(rbox_register(0, 10), 0);
	assert_int_equal(rbox_run(req, 0), 0);
	assert_int_equal(rbox_now()->reg[0].key, 20);
	assert_int_equal(rbox_run(req, 0), -EBUSY);
	req.ignore_key = true;
	req.new_key = 0;
	assert_int_equal(rbox_run(req, 0), -EINVAL);
	req.new_key = 21;
	assert_int_equal(rbox_run(req, 0), 0);
	assert_int_equal(rbox_now()->reg[0].key, 21);
	/* a host that does not know whether it is registered */
	assert_int_equal(rbox_run(req, 1), 0);
	assert_int_equal(rbox_now()->count, 2);
}

static void test_acquiring_and_releasing(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_NONE, 0), -EINVAL);
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_TYPE_COUNT, 0), -EINVAL);
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE, 0), 0);
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE, 0), 0);
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_EXCLUSIVE_ACCESS, 0), -EBUSY);
	assert_int_equal(rbox_verb(1, RESV_ACQUIRE, 11, RESV_WRITE_EXCLUSIVE, 0), -EBUSY);
	/* who does not hold it releases nothing, and does no wrong */
	assert_int_equal(rbox_verb(1, RESV_RELEASE, 11, RESV_WRITE_EXCLUSIVE, 0), 0);
	assert_int_equal(rbox_now()->type, RESV_WRITE_EXCLUSIVE);
	assert_int_equal(rbox_verb(0, RESV_RELEASE, 10, RESV_EXCLUSIVE_ACCESS, 0), -EINVAL);
	assert_int_equal(rbox_verb(0, RESV_RELEASE, 10, RESV_WRITE_EXCLUSIVE, 0), 0);
	assert_int_equal(rbox_now()->type, RESV_NONE);
	assert_int_equal(rbox_told_count, 0);
	assert_int_equal(rbox_verb(0, RESV_RELEASE, 10, RESV_WRITE_EXCLUSIVE, 0), 0);
	assert_int_equal(rbox_now()->generation, 3);
}

static void test_a_shared_reservation_that_ends_is_told(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(1, RESV_ACQUIRE, 11, RESV_WRITE_EXCLUSIVE_REGISTRANTS, 0), 0);
	assert_int_equal(rbox_verb(1, RESV_RELEASE, 11, RESV_WRITE_EXCLUSIVE_REGISTRANTS, 0), 0);
	assert_int_equal(rbox_told_count, 2);
	rbox_told_is(0, RESV_RELEASED);
	rbox_told_is(2, RESV_RELEASED);
	assert_int_equal(rbox_verb(1, RESV_ACQUIRE, 11, RESV_EXCLUSIVE_ACCESS_REGISTRANTS, 0), 0);
	assert_int_equal(rbox_verb(1, RESV_UNREGISTER, 11, 0, 0), 0);
	assert_int_equal(rbox_told_count, 2);
	rbox_told_is(2, RESV_RELEASED);
	assert_int_equal(rbox_now()->type, RESV_NONE);
}

static void test_all_registrants_hold_until_the_last_has_gone(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(1, RESV_ACQUIRE, 11, RESV_EXCLUSIVE_ACCESS_ALL, 0), 0);
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_EXCLUSIVE_ACCESS_ALL, 0), 0);
	assert_int_equal(rbox_verb(1, RESV_UNREGISTER, 11, 0, 0), 0);
	assert_int_equal(rbox_now()->type, RESV_EXCLUSIVE_ACCESS_ALL);
	assert_int_equal(rbox_verb(0, RESV_UNREGISTER, 10, 0, 0), 0);
	assert_true(resv_is_holder(rbox_now(), rbox_index(2)));
	assert_int_equal(rbox_verb(2, RESV_UNREGISTER, 12, 0, 0), 0);
	assert_int_equal(rbox_now()->type, RESV_NONE);
	assert_null(rbox_disk->bdev.resv);
}

static void test_preempting_the_holder(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE_REGISTRANTS, 0), 0);
	assert_int_equal(rbox_verb(1, RESV_PREEMPT, 11, RESV_NONE, 10), -EINVAL);
	assert_int_equal(rbox_verb(1, RESV_PREEMPT, 11, RESV_EXCLUSIVE_ACCESS, 0), -EINVAL);
	assert_int_equal(rbox_verb(1, RESV_PREEMPT, 11, RESV_EXCLUSIVE_ACCESS, 99), -EBUSY);
	assert_int_equal(rbox_verb(2, RESV_PREEMPT, 12, RESV_EXCLUSIVE_ACCESS, 10), 0);
	assert_int_equal(rbox_now()->type, RESV_EXCLUSIVE_ACCESS);
	assert_true(resv_is_holder(rbox_now(), rbox_index(2)));
	assert_int_equal(rbox_index(0), -1);
	rbox_told_is(0, RESV_REGISTRATION_PREEMPTED);
	rbox_told_is(1, RESV_RELEASED);
	rbox_told_is(2, RESV_EVENT_NONE);
	assert_int_equal(rbox_now()->generation, 4);
	assert_int_equal(rbox_aborts, 0);
}

static void test_preempting_somebody_else_leaves_the_reservation(void **state)
{
	rbox_three();
	assert_int_equal(rbox_register(3, 12), 0);
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE, 0), 0);
	/* two hosts with the same key */
	assert_int_equal(rbox_verb(1, RESV_PREEMPT, 11, RESV_EXCLUSIVE_ACCESS, 12), 0);
	assert_int_equal(rbox_now()->count, 2);
	assert_int_equal(rbox_now()->type, RESV_WRITE_EXCLUSIVE);
	assert_true(resv_is_holder(rbox_now(), rbox_index(0)));
	rbox_told_is(2, RESV_REGISTRATION_PREEMPTED);
	rbox_told_is(3, RESV_REGISTRATION_PREEMPTED);
	assert_int_equal(rbox_told_count, 2);
}

static void test_preempting_when_nobody_holds_unregisters_only(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(1, RESV_PREEMPT, 11, RESV_WRITE_EXCLUSIVE, 0), -EINVAL);
	assert_int_equal(rbox_verb(1, RESV_PREEMPT, 11, RESV_WRITE_EXCLUSIVE, 10), 0);
	assert_int_equal(rbox_now()->type, RESV_NONE);
	assert_int_equal(rbox_now()->count, 2);
}

static void test_preempting_all_registrants(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE_ALL, 0), 0);
	assert_int_equal(rbox_verb(1, RESV_PREEMPT, 11, RESV_WRITE_EXCLUSIVE, 12), 0);
	assert_int_equal(rbox_now()->type, RESV_WRITE_EXCLUSIVE_ALL);
	assert_int_equal(rbox_now()->count, 2);
	assert_int_equal(rbox_verb(1, RESV_PREEMPT, 11, RESV_EXCLUSIVE_ACCESS, 0), 0);
	assert_int_equal(rbox_now()->type, RESV_EXCLUSIVE_ACCESS);
	assert_int_equal(rbox_now()->count, 1);
	assert_true(resv_is_holder(rbox_now(), rbox_index(1)));
}

static void test_a_holder_preempts_itself_to_change_the_type(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE_REGISTRANTS, 0), 0);
	assert_int_equal(rbox_verb(0, RESV_PREEMPT, 10, RESV_EXCLUSIVE_ACCESS, 10), 0);
	assert_int_equal(rbox_now()->type, RESV_EXCLUSIVE_ACCESS);
	assert_int_equal(rbox_now()->count, 3);
	assert_true(resv_is_holder(rbox_now(), rbox_index(0)));
	rbox_told_is(1, RESV_RELEASED);
}

static void test_preempt_and_abort_aborts_who_was_preempted(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE, 0), 0);
	assert_int_equal(rbox_verb(1, RESV_PREEMPT_ABORT, 11, RESV_WRITE_EXCLUSIVE, 10), 0);
	assert_int_equal(rbox_aborts, 1);
	assert_int_equal(rbox_abort_hosts, 1);
	assert_true(resv_is_holder(rbox_now(), rbox_index(1)));
}

static void test_clearing(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE, 0), 0);
	assert_int_equal(rbox_verb(2, RESV_CLEAR, 12, 0, 0), 0);
	assert_int_equal(rbox_now()->count, 0);
	assert_int_equal(rbox_now()->type, RESV_NONE);
	assert_null(rbox_disk->bdev.resv);
	assert_int_equal(rbox_told_count, 2);
	rbox_told_is(0, RESV_PREEMPTED);
	rbox_told_is(1, RESV_PREEMPTED);
}

static void test_the_operator_clears_without_being_a_host(void **state)
{
	struct resv_request evict = { .verb = RESV_EVICT };

	rbox_three();
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_EXCLUSIVE_ACCESS, 0), 0);
	assert_int_equal(rbox_run(evict, RBOX_HOSTS), 0);
	assert_int_equal(rbox_now()->count, 0);
	assert_null(rbox_disk->bdev.resv);
	assert_int_equal(rbox_told_count, 3);
	rbox_told_is(0, RESV_PREEMPTED);
}

static void test_256_registrants_and_no_more(void **state)
{
	struct resv_host saved = rbox_hosts[0];

	for (unsigned i = 0; i <= RESV_REGISTRANTS_MAX; i++) {
		uint8_t id[16] = { 0, (uint8_t)i, (uint8_t)(i >> 8), 1 };

		resv_host_set(&rbox_hosts[0], RESV_HOST_NVME, id, sizeof(id));
		assert_int_equal(rbox_register(0, 5), i < RESV_REGISTRANTS_MAX ? 0 : -ENOSPC);
		assert_int_equal(rbox_index(0), i < RESV_REGISTRANTS_MAX ? (int)i : -1);
	}
	rbox_hosts[0] = saved;
	assert_int_equal(rbox_now()->count, RESV_REGISTRANTS_MAX);
	assert_int_equal(rbox_index(1), -1);
}

/* A transport ID of the other protocol with the same bytes is somebody else. */
static void test_hosts_of_two_protocols_share_the_state(void **state)
{
	uint8_t id[16] = { 0, 7 };

	resv_host_set(&rbox_hosts[1], RESV_HOST_SCSI, id, sizeof(id));
	assert_int_equal(rbox_register(0, 10), 0);
	assert_int_equal(rbox_register(1, 11), 0);
	assert_int_equal(rbox_verb(1, RESV_ACQUIRE, 11, RESV_EXCLUSIVE_ACCESS, 0), 0);
	assert_false(resv_allows(&rbox_disk->bdev, &rbox_hosts[0], RESV_READ));
	assert_true(resv_allows(&rbox_disk->bdev, &rbox_hosts[1], RESV_WRITE));
}



int main(void)
{
	const struct CMUnitTest tests[] = {
		rbox_test(test_each_type_opens_what_it_says_to_whom),
		rbox_test(test_registering),
		rbox_test(test_replacing_a_key),
		rbox_test(test_acquiring_and_releasing),
		rbox_test(test_a_shared_reservation_that_ends_is_told),
		rbox_test(test_all_registrants_hold_until_the_last_has_gone),
		rbox_test(test_preempting_the_holder),
		rbox_test(test_preempting_somebody_else_leaves_the_reservation),
		rbox_test(test_preempting_when_nobody_holds_unregisters_only),
		rbox_test(test_preempting_all_registrants),
		rbox_test(test_a_holder_preempts_itself_to_change_the_type),
		rbox_test(test_preempt_and_abort_aborts_who_was_preempted),
		rbox_test(test_clearing),
		rbox_test(test_the_operator_clears_without_being_a_host),
		rbox_test(test_256_registrants_and_no_more),
		rbox_test(test_hosts_of_two_protocols_share_the_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
