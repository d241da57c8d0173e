/* SPDX-License-Identifier: BSD-3-Clause */
/* Stores that are made, unloaded, crashed and loaded again; and disks that go away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/store_box.h"

enum { MIB = 1 << 20 };

static void fill(struct store_box *box)
{
	char big[3000];

	memset(big, 'x', sizeof(big));
	store_box_blob(box, "thick", 40, 1, false);
	store_box_blob(box, "thin", 2000, 7, false);
	store_box_blob(box, "runs", 900, 2, true);
	struct blob *b = store_box_blob(box, "wide", 10, 0, false);

	for (unsigned i = 0; i < 9; i++) {
		char name[8] = { 'n', (char)('0' + i) };

		assert_int_equal(blob_xattr_put(b, false, name, big, sizeof(big)), 0);
	}
	assert_int_equal(blob_sync(b), 0);
	assert_int_equal(b->chain_count, 8);
}

static void test_a_new_store_is_empty_and_known_by_its_name(void *arg)
{
	struct store_figures figures;
	struct store_box box;

	store_box_open(&box, 64 * MIB, 4096);
	assert_ptr_equal(store_find("box"), box.store);
	assert_ptr_equal(store_of_disk("d0"), box.store);
	store_figures(box.store, &figures);
	assert_int_equal(figures.blobs, 1);
	assert_int_equal(figures.clusters, 1024);
	store_box_sound(&box);
	store_box_reload(&box);
	assert_string_equal(box.store->name, "box");
	assert_false(box.store->figures.recovered);
	store_box_close(&box);
}

static void reload(uint32_t block_bytes)
{
	uint64_t digest;
	struct store_box box;

	store_box_open(&box, 256 * MIB, block_bytes);
	fill(&box);
	digest = store_box_digest(box.store);
	store_box_sound(&box);
	store_box_reload(&box);
	assert_false(box.store->figures.recovered);
	assert_int_equal(store_box_digest(box.store), digest);
	store_box_sound(&box);
	fill(&box);
	digest = store_box_digest(box.store);
	store_box_crash(&box);
	assert_true(box.store->figures.recovered);
	assert_int_equal(store_box_digest(box.store), digest);
	store_box_sound(&box);
	store_box_crash(&box);
	assert_int_equal(store_box_digest(box.store), digest);
	store_box_reload(&box);
	assert_int_equal(store_box_digest(box.store), digest);
	store_box_sound(&box);
	store_box_close(&box);
}

static void test_what_was_synced_is_there_after_unload_and_after_a_crash(void *arg)
{
	reload(4096);
	reload(512);
}

static void test_a_clean_load_writes_nothing_and_the_first_change_says_so(void *arg)
{
	struct bs_super *super;
	unsigned writes;
	struct store_box box;

	store_box_open(&box, 64 * MIB, 4096);
	store_box_blob(&box, "a", 10, 1, false);
	store_box_reload(&box);
	super = (struct bs_super *)box.disk->media;
	writes = box.disk->ops[IO_WRITE];
	assert_int_equal(le32_un_get(super->clean), 1);
	store_box_reload(&box);
	assert_int_equal(box.disk->ops[IO_WRITE], writes);
	store_box_blob(&box, "b", 10, 1, false);
	assert_int_equal(le32_un_get(super->clean), 0);
	store_box_close(&box);
}

static void test_a_load_after_a_crash_reads_what_was_announced(void *arg)
{
	unsigned reads;
	struct store_box box;

	store_box_open(&box, 1024ULL * MIB, 4096);
	store_box_blob(&box, "a", 10, 1, false);
	reads = box.disk->ops[IO_READ];
	store_box_crash(&box);
	/* 16384 pages of metadata are 512 requests; one region is 64. */
	assert_in_range(box.disk->ops[IO_READ] - reads, 64, 72);
	assert_non_null(store_box_find(&box, "a"));
	/* Another program's recovery writes a mask without the marker. */
	memset(box.disk->view + 4096, 0, box.store->super.page_mask_len * 4096);
	reads = box.disk->ops[IO_READ];
	store_box_forget(&box);
	store_box_load(&box);
	assert_in_range(box.disk->ops[IO_READ] - reads, 512, 524);
	assert_non_null(store_box_find(&box, "a"));
	store_box_close(&box);
}

static void test_a_disk_with_data_is_refused_without_force(void *arg)
{
	struct store_opts opts = { .cluster_bytes = BOX_CLUSTER_BYTES };
	struct store *s;
	struct store_box box;

	store_box_disk(&box, "d0", 64 * MIB, 512);
	assert_int_equal(store_load("d0", &s, &box.why), -ENOENT);
	box.disk->view[20000] = 1;
	assert_int_equal(store_create("a", "d0", &opts, &s, &box.why), -EEXIST);
	opts.force = true;
	assert_int_equal(store_create("a", "d0", &opts, &box.store, &box.why), 0);
	assert_int_equal(store_create("a", "d0", &opts, &s, &box.why), -EEXIST);
	assert_int_equal(store_create("b", "d0", &opts, &s, &box.why), -EBUSY);
	assert_int_equal(store_create("b", "none", &opts, &s, &box.why), -ENOENT);
	assert_int_equal(store_delete(box.store, &box.why), 0);
	box.store = NULL;
	assert_int_equal(store_load("d0", &s, &box.why), -ENOENT);
	opts.cluster_bytes = 3 << 16;
	assert_int_equal(store_create("b", "d0", &opts, &s, &box.why), -EINVAL);
	opts.cluster_bytes = 64 * MIB;
	assert_int_equal(store_create("b", "d0", &opts, &s, &box.why), -ENOSPC);
	store_box_close(&box);
}

static void test_one_damaged_blob_leaves_the_others_alone(void *arg)
{
	uint64_t used;
	struct blob *b;
	struct store_box box;

	store_box_open(&box, 256 * MIB, 4096);
	fill(&box);
	used = box.store->clusters.set_count;
	b = store_box_find(&box, "thin");
	box.disk->view[page_at(box.store, blob_root(b)) + 100] ^= 1;
	store_box_forget(&box);
	store_box_load(&box);
	assert_int_equal(box.store->figures.recovered, 1);
	assert_int_equal(box.store->clusters.set_count, used);
	list_for_each(b, &box.store->blobs, link)
		if (b->damage)
			break;
	assert_ptr_not_equal(&b->link, &box.store->blobs);
	assert_non_null(strstr(b->damage, "checksum"));
	assert_null(store_box_find(&box, "thick")->damage);
	assert_null(store_box_find(&box, "runs")->damage);
	assert_null(store_box_find(&box, "wide")->damage);
	/* Also after a clean unload. */
	store_box_reload(&box);
	assert_false(box.store->figures.recovered);
	assert_int_equal(box.store->clusters.set_count, used);
	store_box_close(&box);
}

static void test_a_store_grows_with_its_disk_while_it_is_used(void *arg)
{
	struct store_opts opts = { .cluster_bytes = BOX_CLUSTER_BYTES };
	struct store_box box;
	uint64_t added;

	store_box_disk(&box, "d0", 512ULL * MIB, 4096);
	bdev_resize(&box.disk->bdev, 64 * MIB / 4096);
	assert_int_equal(store_create("box", "d0", &opts, &box.store, &box.why), 0);
	store_box_blob(&box, "a", 900, 1, false);
	assert_int_equal(store_grow(box.store, &added, &box.why), 0);
	assert_int_equal(added, 0);
	bdev_resize(&box.disk->bdev, 128 * MIB / 4096);
	assert_int_equal(store_grow(box.store, &added, &box.why), 0);
	assert_int_equal(added, 1024);
	store_box_blob(&box, "b", 1000, 1, false);
	store_box_sound(&box);
	store_box_crash(&box);
	assert_int_equal(box.store->clusters.count, 2048);
	assert_non_null(store_box_find(&box, "b"));
	store_box_sound(&box);
	store_box_reload(&box);
	store_box_sound(&box);
	/* As far as its mask goes, and then no further. */
	bdev_resize(&box.disk->bdev, 512 * MIB / 4096);
	assert_int_equal(store_grow(box.store, &added, &box.why), 0);
	assert_true(added > 0);
	store_box_reload(&box);
	store_box_sound(&box);
	store_box_close(&box);
}

static void remove_task(void *arg)
{
	bdev_unregister(arg);
}

static void test_a_disk_that_goes_takes_its_store_along(void *arg)
{
	struct store_box box;

	store_box_open(&box, 64 * MIB, 4096);
	assert_int_equal(store_enter(box.store, NULL), 0);
	task_start("remove", remove_task, &box.disk->bdev);
	while (box.store->state != STORE_GONE)
		task_yield();
	assert_false(box.disk->destroyed);
	assert_int_equal(store_flush(box.store), -ENODEV);
	assert_int_equal(store_unload(box.store, NULL), -ENODEV);
	store_leave(box.store);
	while (!box.disk->destroyed)
		task_yield();
	assert_null(store_find("box"));
	fake_free(box.disk);
}

static void load_task(void *arg)
{
	struct store_box *box = arg;

	box->rc = store_load("d0", &box->store, &box->why);
	box->ended = true;
}

static void test_a_disk_that_goes_while_it_is_loaded_ends_the_load(void *arg)
{
	struct store_box box;

	for (unsigned held = 1; held < 6; held++) {
		store_box_open(&box, 64 * MIB, 512);
		store_box_blob(&box, "a", 40, 1, false);
		store_box_forget(&box);
		box.disk->mode = FAKE_HELD;
		task_start("load", load_task, &box);
		for (unsigned n = 1; n < held; n++) {
			while (box.disk->held_count == 0)
				task_yield();
			fake_release(box.disk, 1);
		}
		while (box.disk->held_count == 0)
			task_yield();
		task_start("remove", remove_task, &box.disk->bdev);
		while (!box.disk->bdev.removing)
			task_yield();
		while (!box.ended || !box.disk->destroyed) {
			fake_release_all(box.disk);
			task_yield();
		}
		assert_int_equal(box.rc, -ENODEV);
		assert_null(store_of_disk("d0"));
		fake_free(box.disk);
	}
}

static void test_a_failed_write_makes_the_store_read_only(void *arg)
{
	struct fake_rule rule = { .op = IO_WRITE, .lba = 0, .lba_count = UINT32_MAX, .count = 1,
				  .status = IO_ERR_MEDIA_WRITE };
	struct blob *b;
	struct store_box box;

	store_box_open(&box, 64 * MIB, 4096);
	b = store_box_blob(&box, "a", 10, 1, false);
	fake_fail(box.disk, &rule);
	assert_int_equal(blob_sync(b), -EIO);
	assert_int_equal(store_enter(box.store, &box.why), -EROFS);
	store_box_reload(&box);
	assert_true(box.store->figures.recovered);
	assert_non_null(store_box_find(&box, "a"));
	store_box_sound(&box);
	store_box_close(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_a_new_store_is_empty_and_known_by_its_name),
		bench_task(test_what_was_synced_is_there_after_unload_and_after_a_crash),
		bench_task(test_a_clean_load_writes_nothing_and_the_first_change_says_so),
		bench_task(test_a_load_after_a_crash_reads_what_was_announced),
		bench_task(test_a_disk_with_data_is_refused_without_force),
		bench_task(test_one_damaged_blob_leaves_the_others_alone),
		bench_task(test_a_store_grows_with_its_disk_while_it_is_used),
		bench_task(test_a_disk_that_goes_takes_its_store_along),
		bench_task(test_a_disk_that_goes_while_it_is_loaded_ends_the_load),
		bench_task(test_a_failed_write_makes_the_store_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
