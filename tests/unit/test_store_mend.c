/* SPDX-License-Identifier: BSD-3-Clause */
/* store check repair: several things wrong at once, and names; afterwards nothing is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/store_box.h"

enum { BYTES = 64 << 20 };

static void begin(struct store_box *box)
{
	log_level_set(LOG_ERROR);
	store_box_open(box, BYTES, 4096);
}

static void end(struct store_box *box)
{
	store_box_close(box);
	log_level_set(LOG_INFO);
}

/* Something is found, of KIND too; after the repair nothing is: not now, not after a load. */
static void mends(struct store_box *box, enum finding_kind kind)
{
	struct check_report report;

	check_report_init(&report);
	if (store_check(box->store, true, &report, &box->why) < 0)
		fail_msg("%s", box->why.text);
	assert_false(list_empty(&report.findings));
	assert_true(kind == FIND_KINDS || report.counts[kind] > 0);
	check_report_fini(&report);
	store_box_sound(box);
	store_box_reload(box);
	for (struct blob *b = blob_next(box->store, NULL); b; b = blob_next(box->store, b))
		assert_null(b->damage);
	store_box_sound(box);
}

static uint8_t *page_bytes(const struct store_box *box, uint32_t page)
{
	return box->disk->view + page_at(box->store, page);
}

static void load_again(struct store_box *box)
{
	store_box_forget(box);
	store_box_load(box);
}

static void root_destroyed(uint64_t step)
{
	struct store_box box;
	struct blob *b;
	uint64_t id, mapped;

	begin(&box);
	b = store_box_blob(&box, "a", 1200, step, false);
	id = b->id;
	mapped = blob_map_mapped(b->map);
	store_box_reload(&box);
	memset(page_bytes(&box, (uint32_t)id), 0xee, MD_PAGE_BYTES);
	load_again(&box);
	b = blob_find(box.store, id);
	assert_true(b && b->damage);
	mends(&box, FIND_KINDS);
	b = blob_find(box.store, id);
	assert_true(b && blob_is_readonly(b));
	assert_memory_equal(blob_xattr_text(b, BS_XATTR_NAME), "recovered-", 10);
	assert_int_equal(blob_map_mapped(b->map), mapped);
	end(&box);
}

static void test_a_root_destroyed_in_a_clean_store_is_rebuilt_from_its_extent_pages(void *arg)
{
	root_destroyed(2);
}

static void test_a_root_of_which_nothing_else_is_left_becomes_a_volume_with_a_name(void *arg)
{
	root_destroyed(0);
}

static void test_a_damaged_clone_whose_snapshot_is_gone_too_stands_alone(void *arg)
{
	le64 id = le64_make(BLOB_ID_BASE | 77);
	struct store_box box;
	struct blob *b;

	begin(&box);
	b = store_box_blob(&box, "a", 20, 3, false);
	assert_int_equal(blob_xattr_put(b, true, BS_XATTR_SNAPSHOT, &id, sizeof(id)), 0);
	assert_int_equal(blob_sync(b), 0);
	store_box_reload(&box);
	page_bytes(&box, blob_root(store_box_find(&box, "a")))[4000] ^= 1;
	load_again(&box);
	mends(&box, FIND_CRC);
	b = store_box_find(&box, "a");
	assert_null(blob_xattr_find(b, true, BS_XATTR_SNAPSHOT));
	assert_true(blob_is_readonly(b));
	end(&box);
}

static void test_a_volume_without_a_name_is_given_one(void *arg)
{
	struct store_box box;
	struct blob *b;

	begin(&box);
	b = store_box_blob(&box, "a", 20, 3, false);
	assert_int_equal(blob_xattr_drop(b, false, BS_XATTR_NAME), 0);
	assert_int_equal(blob_sync(b), 0);
	mends(&box, FIND_NAME);
	end(&box);
}

static void test_a_store_that_has_lost_its_own_blob_gets_one(void *arg)
{
	struct store_box box;
	uint64_t super_id;
	uint32_t root;

	begin(&box);
	store_box_blob(&box, "a", 20, 3, false);
	store_box_reload(&box);
	super_id = box.store->super.super_blob;
	root = blob_root(box.store->super_blob);
	/* Its pages are no good. */
	memset(page_bytes(&box, root), 0xee, MD_PAGE_BYTES);
	load_again(&box);
	assert_null(box.store->super_blob);
	mends(&box, FIND_NAME);
	assert_non_null(box.store->super_blob);
	assert_int_equal(box.store->super_blob->id, super_id);
	/* It is whole, and the superblock names another: the same one is found again. */
	box.store->super.super_blob = BLOB_ID_BASE | 99;
	assert_int_equal(store_dirty(box.store), 0);
	assert_int_equal(super_write(box.store), 0);
	load_again(&box);
	assert_null(box.store->super_blob);
	mends(&box, FIND_NAME);
	assert_int_equal(box.store->super.super_blob, super_id);
	assert_non_null(box.store->super_blob);
	end(&box);
}

static void test_a_mask_of_another_length_does_not_count(void *arg)
{
	struct store_box box;
	uint8_t *mask;

	begin(&box);
	store_box_blob(&box, "a", 20, 3, false);
	store_box_reload(&box);
	assert_false(box.store->figures.recovered);
	mask = box.disk->view + (uint64_t)box.store->super.blobid_mask_start * MD_PAGE_BYTES;
	mask[4] ^= 1;
	load_again(&box);
	assert_true(box.store->figures.recovered);
	store_box_reload(&box);
	assert_false(box.store->figures.recovered);
	store_box_sound(&box);
	end(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_a_root_destroyed_in_a_clean_store_is_rebuilt_from_its_extent_pages),
		bench_task(test_a_root_of_which_nothing_else_is_left_becomes_a_volume_with_a_name),
		bench_task(test_a_damaged_clone_whose_snapshot_is_gone_too_stands_alone),
		bench_task(test_a_volume_without_a_name_is_given_one),
		bench_task(test_a_store_that_has_lost_its_own_blob_gets_one),
		bench_task(test_a_mask_of_another_length_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
