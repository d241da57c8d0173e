/* SPDX-License-Identifier: BSD-3-Clause */
/* store check: each kind of inconsistency is found by its name, mended, and then gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
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

/* A check finds COUNT of KIND; with REPAIR a second one finds nothing at all. */
static void finds(struct store_box *box, enum finding_kind kind, uint64_t count, bool repair)
{
	struct check_report report;

	check_report_init(&report);
	if (store_check(box->store, repair, &report, &box->why) < 0)
		fail_msg("%s", box->why.text);
	assert_int_equal(report.counts[kind], count);
	assert_false(list_empty(&report.findings));
	if (repair)
		assert_true(report.mended > 0);
	check_report_fini(&report);
	if (repair)
		store_box_sound(box);
}

static void test_leaked_clusters_and_pages_are_found_and_freed(void *arg)
{
	uint64_t free_clusters, free_pages;
	struct store_box box;
	uint32_t cluster[3];

	begin(&box);
	store_box_blob(&box, "a", 20, 1, false);
	free_clusters = bits_free(&box.store->clusters);
	free_pages = bits_free(&box.store->pages);
	assert_int_equal(cluster_alloc(box.store, cluster, 3), 0);
	page_alloc(box.store);
	store_box_reload(&box);
	finds(&box, FIND_CLUSTER_LEAKED, 1, false);
	finds(&box, FIND_PAGE_LEAKED, 1, true);
	assert_int_equal(bits_free(&box.store->clusters), free_clusters);
	assert_int_equal(bits_free(&box.store->pages), free_pages);
	end(&box);
}

static uint8_t *cluster_at(const struct store_box *box, uint32_t cluster)
{
	return box->disk->view + (uint64_t)cluster * BOX_CLUSTER_BYTES;
}

static void test_a_cluster_with_two_owners_damages_both_until_each_has_its_own(void *arg)
{
	struct blob *a, *b, *c;
	struct store_box box;
	uint32_t shared;

	begin(&box);
	a = store_box_blob(&box, "a", 20, 1, false);
	b = store_box_blob(&box, "b", 20, 1, false);
	store_box_blob(&box, "c", 20, 1, false);
	shared = blob_map_get(a->map, 3);
	cluster_free(box.store, blob_map_set(b->map, 5, shared));
	assert_int_equal(blob_sync_extent(b, 0), 0);
	store_box_crash(&box);
	memset(cluster_at(&box, shared), 0x77, BOX_CLUSTER_BYTES);
	a = store_box_find(&box, "a");
	b = store_box_find(&box, "b");
	c = store_box_find(&box, "c");
	assert_true(a->damage && b->damage && !c->damage);
	assert_int_equal(blob_map_get(a->map, 3), blob_map_get(b->map, 5));
	finds(&box, FIND_CLUSTER_TWICE, 2, true);
	assert_true(!a->damage && !b->damage);
	assert_int_not_equal(blob_map_get(a->map, 3), blob_map_get(b->map, 5));
	assert_memory_equal(cluster_at(&box, blob_map_get(a->map, 3)),
			    cluster_at(&box, blob_map_get(b->map, 5)), BOX_CLUSTER_BYTES);
	store_box_reload(&box);
	assert_int_equal(cluster_at(&box, blob_map_get(store_box_find(&box, "b")->map, 5))[9],
			 0x77);
	store_box_sound(&box);
	end(&box);
}

static void test_an_extent_page_with_two_owners_is_written_twice(void *arg)
{
	struct store_box box;
	struct blob *a, *b;
	uint32_t page;

	begin(&box);
	a = store_box_blob(&box, "a", 20, 1, false);
	b = store_box_blob(&box, "b", 20, 0, false);
	page = b->map->extent[0].page = a->map->extent[0].page;
	assert_int_equal(blob_sync(b), 0);
	store_box_crash(&box);
	finds(&box, FIND_PAGE_TWICE, 3, true);
	a = store_box_find(&box, "a");
	b = store_box_find(&box, "b");
	assert_true(!a->damage && !b->damage);
	assert_true((a->map->extent[0].page == page) != (b->map->extent[0].page == page));
	end(&box);
}

static void test_a_lost_chain_keeps_what_was_read_before_it(void *arg)
{
	static const char big[3000];
	struct store_box box;
	struct blob *b;
	uint64_t used;

	begin(&box);
	b = store_box_blob(&box, "a", 20, 1, false);
	for (unsigned i = 0; i < 3; i++) {
		char name[4] = { 'x', (char)('0' + i) };

		assert_int_equal(blob_xattr_put(b, false, name, big, sizeof(big)), 0);
	}
	assert_int_equal(blob_sync(b), 0);
	used = box.store->clusters.set_count;
	/* The last page has the table. */
	box.disk->view[page_at(box.store, b->chain[b->chain_count - 1]) + 50] ^= 4;
	store_box_forget(&box);
	store_box_load(&box);
	b = store_box_find(&box, "a");
	assert_non_null(b->damage);
	assert_int_equal(box.store->clusters.set_count, used);
	finds(&box, FIND_CRC, 1, true);
	assert_null(b->damage);
	assert_true(blob_is_readonly(b) && blob_is_thin(b));
	end(&box);
}

static void test_a_destroyed_root_is_found_by_its_extent_pages(void *arg)
{
	struct store_box box;
	struct blob *b;
	uint64_t id, used, map[1200];

	begin(&box);
	store_box_blob(&box, "other", 20, 1, false);
	b = store_box_blob(&box, "a", 1200, 2, false);
	id = b->id;
	used = box.store->clusters.set_count;
	for (unsigned c = 0; c < ARRAY_SIZE(map); c++)
		map[c] = blob_map_get(b->map, c);
	memset(box.disk->view + page_at(box.store, blob_root(b)), 0xee, 3000);
	store_box_forget(&box);
	store_box_load(&box);
	b = blob_find(box.store, id);
	assert_true(b && b->damage);
	assert_int_equal(box.store->clusters.set_count, used);
	finds(&box, FIND_CRC, 1, true);
	assert_true(blob_is_readonly(b));
	assert_memory_equal(blob_xattr_text(b, BS_XATTR_NAME), "recovered-", 10);
	for (unsigned c = 0; c < ARRAY_SIZE(map); c++)
		assert_int_equal(blob_map_get(b->map, c), map[c]);
	end(&box);
}

static void test_a_clone_without_its_snapshot_stands_alone_after_repair(void *arg)
{
	struct store_box box;
	struct blob *b;
	le64 id;

	begin(&box);
	b = store_box_blob(&box, "a", 20, 3, false);
	id = le64_make(BLOB_ID_BASE | 77);
	assert_int_equal(blob_xattr_put(b, true, BS_XATTR_SNAPSHOT, &id, sizeof(id)), 0);
	assert_int_equal(blob_sync(b), 0);
	store_box_reload(&box);
	b = store_box_find(&box, "a");
	assert_non_null(strstr(b->damage, "snapshot"));
	finds(&box, FIND_PARENT, 1, true);
	assert_null(b->damage);
	assert_null(blob_xattr_find(b, true, BS_XATTR_SNAPSHOT));
	assert_true(blob_is_readonly(b));
	end(&box);
}

static void test_a_mask_that_lacks_something_is_found_and_written_again(void *arg)
{
	struct store_box box;
	struct blob *b;
	uint32_t cluster;
	uint8_t *mask;

	begin(&box);
	b = store_box_blob(&box, "a", 20, 1, false);
	cluster = blob_map_get(b->map, 4);
	store_box_reload(&box);
	mask = box.disk->view + (uint64_t)box.store->super.cluster_mask_start * MD_PAGE_BYTES;
	mask[sizeof(struct bs_mask) + cluster / 8] &= (uint8_t)~(1 << cluster % 8);
	store_box_forget(&box);
	store_box_load(&box);
	/* It is not given out all the same. */
	assert_true(bits_test(&box.store->clusters, cluster));
	finds(&box, FIND_MASK, 1, true);
	store_box_reload(&box);
	store_box_sound(&box);
	end(&box);
}

static void test_damage_after_the_load_is_mended_from_memory(void *arg)
{
	struct store_box box;
	uint64_t digest;
	struct blob *b;

	begin(&box);
	b = store_box_blob(&box, "a", 1000, 3, false);
	store_box_blob(&box, "b", 1000, 3, true);
	digest = store_box_digest(box.store);
	box.disk->view[page_at(box.store, blob_root(b)) + 30] ^= 1;
	box.disk->view[page_at(box.store, b->map->extent[1].page) + 30] ^= 1;
	finds(&box, FIND_CRC, 2, false);
	finds(&box, FIND_CRC, 2, true);
	store_box_crash(&box);
	assert_int_equal(store_box_digest(box.store), digest);
	store_box_sound(&box);
	end(&box);
}

static void test_a_store_that_failed_is_checked_but_not_mended(void *arg)
{
	struct check_report report;
	struct store_box box;

	begin(&box);
	box.store->failed = true;
	check_report_init(&report);
	assert_int_equal(store_check(box.store, true, &report, &box.why), -EROFS);
	assert_int_equal(store_check(box.store, false, &report, &box.why), 0);
	assert_int_equal(store_enter(box.store, NULL), -EROFS);
	box.store->failed = false;
	assert_int_equal(store_enter(box.store, NULL), 0);
	store_leave(box.store);
	check_report_fini(&report);
	end(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_leaked_clusters_and_pages_are_found_and_freed),
		bench_task(test_a_cluster_with_two_owners_damages_both_until_each_has_its_own),
		bench_task(test_an_extent_page_with_two_owners_is_written_twice),
		bench_task(test_a_lost_chain_keeps_what_was_read_before_it),
		bench_task(test_a_destroyed_root_is_found_by_its_extent_pages),
		bench_task(test_a_clone_without_its_snapshot_stands_alone_after_repair),
		bench_task(test_a_mask_that_lacks_something_is_found_and_written_again),
		bench_task(test_damage_after_the_load_is_mended_from_memory),
		bench_task(test_a_store_that_failed_is_checked_but_not_mended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
