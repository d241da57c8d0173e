/* SPDX-License-Identifier: BSD-3-Clause */
/* Reservations that persist: kept before they are acknowledged, read back, or refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/resv_box.h"

static void test_what_persists_is_kept_before_it_is_acknowledged(void **state)
{
	struct resv_request req = { .verb = RESV_REGISTER, .new_key = 10,
				    .ptpl = RESV_PTPL_SET };

	assert_int_equal(rbox_register(1, 11), 0);
	assert_int_equal(rbox_saves, 0);
	rbox_save_rc = -EIO;
	assert_int_equal(rbox_run(req, 0), -EIO);
	assert_int_equal(rbox_index(0), -1);
	assert_false(rbox_now()->ptpl);
	rbox_save_rc = 0;
	assert_int_equal(rbox_run(req, 0), 0);
	assert_int_equal(rbox_saves, 1);
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_WRITE_EXCLUSIVE, 0), 0);
	assert_int_equal(rbox_saves, 2);
	rbox_save_rc = -EIO;
	assert_int_equal(rbox_verb(0, RESV_RELEASE, 10, RESV_WRITE_EXCLUSIVE, 0), -EIO);
	assert_int_equal(rbox_now()->type, RESV_WRITE_EXCLUSIVE);
	rbox_save_rc = 0;
	/* the disk of before the power went away is found by its UUID */
	loop_task(rbox_disk_close, NULL);
	resv_fini();
	assert_int_equal(rbox_load(), 0);
	loop_task(rbox_disk_open, NULL);
	assert_int_equal(rbox_now()->count, 2);
	assert_int_equal(rbox_now()->generation, 2);
	assert_true(rbox_now()->ptpl);
	assert_false(resv_allows(&rbox_disk->bdev, &rbox_hosts[1], RESV_WRITE));
	assert_true(resv_allows(&rbox_disk->bdev, &rbox_hosts[0], RESV_WRITE));
	assert_int_equal(rbox_now()->reg[rbox_index(1)].key, 11);
	/* and it ends when PTPL does */
	req.ptpl = RESV_PTPL_CLEAR;
	assert_int_equal(rbox_run(req, 0), 0);
	assert_null(strstr(rbox_kept, "disk"));
}

static void test_a_disk_that_comes_back_is_still_reserved(void **state)
{
	rbox_three();
	assert_int_equal(rbox_verb(0, RESV_ACQUIRE, 10, RESV_EXCLUSIVE_ACCESS, 0), 0);
	loop_task(rbox_disk_close, NULL);
	loop_task(rbox_disk_open, NULL);
	assert_false(resv_allows(&rbox_disk->bdev, &rbox_hosts[1], RESV_READ));
}

static void test_kept_text_that_is_damaged_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"karst-reservations 2\n",
		"karst-reservations 1\nx\n",
		"karst-reservations 1\ndisk 12345678-1234-1234-1234-123456789abc generation 1 "
		"type 7 registrants 0\n",
		"karst-reservations 1\ndisk 12345678-1234-1234-1234-123456789abc generation 1 "
		"type 0 registrants 257\n",
		"karst-reservations 1\ndisk 12345678-1234-1234-1234-123456789abc generation 1 "
		"type 0 registrants 1\n",
		"karst-reservations 1\ndisk 12345678-1234-1234-1234-123456789abc generation 1 "
		"type 0 registrants 1\nhost 1 0 0000000000000001\n",
		"karst-reservations 1\ndisk 12345678-1234-1234-1234-123456789abc generation 1 "
		"type 0 registrants 1\nhost 3 00 0000000000000001\n",
		"karst-reservations 1\ndisk 12345678-1234-1234-1234-123456789abc generation 1 "
		"type 1 registrants 1\nhost 1 00 0000000000000001\n",
		"karst-reservations 1\ndisk 12345678-1234-1234-1234-123456789abc generation 1 "
		"type 0 registrants 2\nhost 1 00 0000000000000001\nhost 1 00 0000000000000001\n",
		"karst-reservations 1\ndisk 12345678-1234-1234-1234-123456789abc generation 1 "
		"type 0 registrants 1\nhost 1 00 0000000000000001 holder x\n",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		resv_fini();
		free(rbox_kept);
		rbox_kept = strdup(bad[i]);
		assert_int_equal(rbox_load(), -EBADMSG);
		assert_null(resv_next(NULL));
	}
}

static void test_without_a_place_nothing_persists(void **state)
{
	struct resv_request req = { .verb = RESV_REGISTER, .new_key = 10,
				    .ptpl = RESV_PTPL_SET };

	resv_fini();
	assert_int_equal(resv_init(NULL), 0);
	assert_false(resv_ptpl_offered());
	assert_int_equal(rbox_run(req, 0), -EOPNOTSUPP);
	req.ptpl = RESV_PTPL_KEEP;
	assert_int_equal(rbox_run(req, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		rbox_test(test_what_persists_is_kept_before_it_is_acknowledged),
		rbox_test(test_a_disk_that_comes_back_is_still_reserved),
		rbox_test(test_kept_text_that_is_damaged_is_refused),
		rbox_test(test_without_a_place_nothing_persists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
