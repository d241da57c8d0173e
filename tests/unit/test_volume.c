/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes as their users see them: data, sizes, snapshots, clones; and disks that go away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/volume_box.h"

enum { MIB = 1 << 20, CLUSTER = BOX_CLUSTER_BYTES };

/* Fills every free byte of the disk with what no test writes: stale data. */
static void disk_is_stale(struct store_box *box)
{
	struct store *s = box->store;

	for (uint64_t c = 0; c < s->clusters.count; c++) {
		if (bits_test(&s->clusters, c))
			continue;
		memset(box->disk->view + c * CLUSTER, 0xee, CLUSTER);
		memset(box->disk->media + c * CLUSTER, 0xee, CLUSTER);
	}
}

static void test_a_thick_volume_reads_zeroes_and_then_what_was_written(void *arg)
{
	struct store_box box;

	volume_box_open(&box, 64 * MIB, 4096);
	disk_is_stale(&box);
	volume_box_make(&box, "v", 20, false);
	assert_int_equal(volume_box_mapped("v"), 20);
	volume_box_is("v", 0, 20 * CLUSTER, 0);
	volume_box_fill("v", 3 * CLUSTER - 8192, 5 * CLUSTER, 0x11);
	volume_box_is("v", 3 * CLUSTER - 8192, 5 * CLUSTER, 0x11);
	volume_box_is("v", 0, 3 * CLUSTER - 8192, 0);
	volume_box_is("v", 8 * CLUSTER - 8192, 12 * CLUSTER + 8192, 0);
	store_box_sound(&box);
	volume_box_reload(&box);
	volume_box_is("v", 3 * CLUSTER - 8192, 5 * CLUSTER, 0x11);
	assert_int_equal(volume_delete(volume_box_find("v"), NULL), 0);
	assert_null(bdev_find("box/v"));
	store_box_sound(&box);
	volume_box_close(&box);
}

static void thin(uint32_t block_bytes)
{
	struct store_box box;

	volume_box_open(&box, 64 * MIB, block_bytes);
	disk_is_stale(&box);
	volume_box_make(&box, "v", 2000, true);
	assert_int_equal(volume_box_mapped("v"), 0);
	volume_box_is("v", 0, CLUSTER, 0);
	assert_int_equal(volume_box_mapped("v"), 0);
	volume_box_fill("v", 600 * CLUSTER + 4096, 4096, 0x22);
	assert_int_equal(volume_box_mapped("v"), 1);
	volume_box_is("v", 600 * CLUSTER, 4096, 0);
	volume_box_is("v", 600 * CLUSTER + 4096, 4096, 0x22);
	volume_box_is("v", 600 * CLUSTER + 8192, CLUSTER - 8192, 0);
	/* Across three clusters and an extent's end. */
	volume_box_fill("v", 511 * CLUSTER - 4096, CLUSTER + 8192, 0x33);
	assert_int_equal(volume_box_mapped("v"), 4);
	volume_box_is("v", 511 * CLUSTER - 4096, CLUSTER + 8192, 0x33);
	store_box_sound(&box);
	volume_box_crash(&box);
	assert_int_equal(volume_box_mapped("v"), 4);
	store_box_sound(&box);
	volume_box_close(&box);
}

static void test_a_thin_volume_takes_clusters_as_it_is_written(void *arg)
{
	thin(4096);
}

static void test_a_thin_volume_on_a_disk_of_small_blocks(void *arg)
{
	thin(512);
}

static void test_unmap_gives_clusters_back_and_they_read_as_zeroes(void *arg)
{
	struct store_box box;
	uint64_t free_before;

	volume_box_open(&box, 64 * MIB, 4096);
	volume_box_make(&box, "v", 100, true);
	volume_box_fill("v", 0, 10 * CLUSTER, 0x44);
	free_before = bits_free(&box.store->clusters);
	assert_int_equal(volume_box_io("v", IO_UNMAP, 0, 8, 16 * 5, NULL), IO_OK);
	/* Clusters 1 to 4 whole; the rest of 0 and 5 only in part. */
	assert_int_equal(volume_box_mapped("v"), 6);
	assert_int_equal(bits_free(&box.store->clusters), free_before + 4);
	volume_box_is("v", CLUSTER, 4 * CLUSTER, 0);
	volume_box_is("v", 6 * CLUSTER, 4 * CLUSTER, 0x44);
	volume_box_is("v", 0, 8 * 4096, 0x44);
	store_box_sound(&box);
	volume_box_crash(&box);
	assert_int_equal(volume_box_mapped("v"), 6);
	volume_box_is("v", CLUSTER, 4 * CLUSTER, 0);
	/* Nothing is taken for zeroes where there are zeroes; all for those who ask for it. */
	assert_int_equal(volume_box_io("v", IO_WRITE_ZEROES, 0, 16, 64, NULL), IO_OK);
	assert_int_equal(volume_box_mapped("v"), 6);
	assert_int_equal(volume_box_io("v", IO_WRITE_ZEROES, IO_NO_UNMAP, 16, 64, NULL), IO_OK);
	assert_int_equal(volume_box_mapped("v"), 10);
	volume_box_fill("v", 0, CLUSTER, 0x55);
	assert_int_equal(volume_box_io("v", IO_WRITE_ZEROES, 0, 0, 16, NULL), IO_OK);
	volume_box_is("v", 0, CLUSTER, 0);
	store_box_sound(&box);
	volume_box_close(&box);
}

static void test_a_full_store_answers_no_space_and_room_is_made_by_deleting(void *arg)
{
	struct store_box box;
	struct blob *b;
	uint64_t left;
	uint8_t *data = calloc(1, CLUSTER);

	volume_box_open(&box, 16 * MIB, 4096);
	volume_box_make(&box, "v", 1000, true);
	left = bits_free(&box.store->clusters);
	assert_int_equal(volume_create(box.store, "w", (left + 1) * CLUSTER, false, NULL, &b,
				       &box.why), -ENOSPC);
	volume_box_make(&box, "w", left - 2, false);
	assert_int_equal(volume_box_io("v", IO_WRITE, 0, 0, 16, data), IO_OK);
	assert_int_equal(volume_box_io("v", IO_WRITE, 0, 16, 16, data), IO_OK);
	assert_int_equal(volume_box_io("v", IO_WRITE, 0, 32, 16, data), IO_ERR_NOSPC);
	assert_int_equal(volume_box_io("v", IO_WRITE, 0, 0, 16, data), IO_OK);
	store_box_sound(&box);
	assert_int_equal(volume_delete(volume_box_find("w"), &box.why), 0);
	assert_int_equal(volume_box_io("v", IO_WRITE, 0, 32, 16, data), IO_OK);
	store_box_sound(&box);
	free(data);
	volume_box_close(&box);
}

static void test_a_snapshot_keeps_what_was_there_and_the_volume_goes_on(void *arg)
{
	struct store_box box;
	struct blob *b, *snap;

	volume_box_open(&box, 64 * MIB, 4096);
	disk_is_stale(&box);
	b = volume_box_make(&box, "v", 1100, true);
	volume_box_fill("v", 0, 4 * CLUSTER, 0x11);
	volume_box_fill("v", 700 * CLUSTER, CLUSTER, 0x12);
	assert_int_equal(volume_snapshot(b, "s", &snap, &box.why), 0);
	assert_true(blob_is_snapshot(snap));
	assert_ptr_equal(b->parent, snap);
	assert_int_equal(volume_box_mapped("v"), 0);
	assert_int_equal(volume_box_mapped("s"), 5);
	volume_box_is("v", 0, 4 * CLUSTER, 0x11);
	volume_box_fill("v", CLUSTER + 4096, 4096, 0x21);
	volume_box_is("v", CLUSTER, 4096, 0x11);
	volume_box_is("v", CLUSTER + 4096, 4096, 0x21);
	volume_box_is("v", CLUSTER + 8192, CLUSTER - 8192, 0x11);
	volume_box_is("s", 0, 4 * CLUSTER, 0x11);
	assert_int_equal(volume_box_mapped("v"), 1);
	/* Where nothing is beneath there are zeroes. */
	volume_box_fill("v", 9 * CLUSTER, 4096, 0x22);
	volume_box_is("v", 9 * CLUSTER + 4096, CLUSTER - 4096, 0);
	assert_int_equal(volume_snapshot(snap, "no", NULL, &box.why), -EROFS);
	store_box_sound(&box);
	volume_box_crash(&box);
	volume_box_is("s", 0, 4 * CLUSTER, 0x11);
	volume_box_is("v", CLUSTER, 4096, 0x11);
	volume_box_is("v", 700 * CLUSTER, CLUSTER, 0x12);
	store_box_sound(&box);
	volume_box_close(&box);
}

static void test_a_chain_of_snapshots_is_read_through_and_taken_apart(void *arg)
{
	static const char *const names[] = { "s0", "s1", "s2", "s3" };
	struct store_box box;
	struct blob *b;

	volume_box_open(&box, 64 * MIB, 4096);
	b = volume_box_make(&box, "v", 1200, true);
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned c = i; c < 8; c++) {
			volume_box_fill("v", c * CLUSTER, CLUSTER, (uint8_t)(i + 1));
			volume_box_fill("v", (600 + c) * (uint64_t)CLUSTER, CLUSTER,
					(uint8_t)(i + 1));
		}
		assert_int_equal(volume_snapshot(b, names[i], NULL, &box.why), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		volume_box_is("v", i * CLUSTER, CLUSTER, (uint8_t)(i + 1));
	store_box_sound(&box);
	/* From the middle, the end, the beginning. */
	assert_int_equal(volume_delete(volume_box_find("s1"), &box.why), 0);
	store_box_sound(&box);
	volume_box_is("s2", CLUSTER, CLUSTER, 2);
	volume_box_is("s2", 0, CLUSTER, 1);
	assert_int_equal(volume_delete(volume_box_find("s3"), &box.why), 0);
	store_box_sound(&box);
	volume_box_crash(&box);
	assert_int_equal(volume_delete(volume_box_find("s0"), &box.why), 0);
	assert_int_equal(volume_delete(volume_box_find("s2"), &box.why), 0);
	store_box_sound(&box);
	for (unsigned i = 0; i < 4; i++) {
		volume_box_is("v", i * CLUSTER, CLUSTER, (uint8_t)(i + 1));
		volume_box_is("v", (600 + i) * (uint64_t)CLUSTER, CLUSTER, (uint8_t)(i + 1));
	}
	assert_int_equal(volume_box_mapped("v"), 16);
	assert_null(volume_box_find("v")->parent);
	volume_box_close(&box);
}

static void test_clones_share_and_part(void *arg)
{
	struct store_box box;
	struct blob *b, *snap;

	volume_box_open(&box, 64 * MIB, 4096);
	b = volume_box_make(&box, "v", 30, false);
	volume_box_fill("v", 0, 30 * CLUSTER, 0x11);
	assert_int_equal(volume_clone(b, "c", NULL, &box.why), -EINVAL);
	assert_int_equal(volume_snapshot(b, "s", &snap, &box.why), 0);
	assert_int_equal(volume_clone(snap, "c1", NULL, &box.why), 0);
	assert_int_equal(volume_clone(snap, "c2", NULL, &box.why), 0);
	volume_box_fill("c1", 0, CLUSTER, 0x21);
	volume_box_fill("c2", CLUSTER, CLUSTER, 0x22);
	volume_box_is("c1", CLUSTER, 29 * CLUSTER, 0x11);
	volume_box_is("c2", 0, CLUSTER, 0x11);
	volume_box_is("v", 0, 30 * CLUSTER, 0x11);
	assert_int_equal(volume_delete(snap, &box.why), -EBUSY);
	assert_int_equal(volume_readonly_set(snap, false, &box.why), -EBUSY);
	assert_int_equal(volume_inflate(volume_box_find("c1"), &box.why), 0);
	assert_int_equal(volume_box_mapped("c1"), 30);
	assert_null(volume_box_find("c1")->parent);
	assert_int_equal(volume_decouple(volume_box_find("v"), &box.why), 0);
	assert_int_equal(volume_box_mapped("v"), 30);
	store_box_sound(&box);
	volume_box_crash(&box);
	assert_int_equal(volume_delete(volume_box_find("s"), &box.why), 0);
	volume_box_is("c2", 0, CLUSTER, 0x11);
	volume_box_is("c2", CLUSTER, CLUSTER, 0x22);
	volume_box_is("c1", 0, CLUSTER, 0x21);
	volume_box_is("v", 0, 30 * CLUSTER, 0x11);
	store_box_sound(&box);
	volume_box_close(&box);
}

static void test_decouple_leaves_what_is_beneath_the_parent(void *arg)
{
	struct store_box box;
	struct blob *b;

	volume_box_open(&box, 64 * MIB, 4096);
	b = volume_box_make(&box, "v", 30, true);
	volume_box_fill("v", 0, CLUSTER, 0x11);
	assert_int_equal(volume_snapshot(b, "s0", NULL, &box.why), 0);
	volume_box_fill("v", CLUSTER, CLUSTER, 0x12);
	assert_int_equal(volume_snapshot(b, "s1", NULL, &box.why), 0);
	volume_box_fill("v", 2 * CLUSTER, CLUSTER, 0x13);
	assert_int_equal(volume_decouple(b, &box.why), 0);
	assert_int_equal(volume_box_mapped("v"), 2);
	assert_ptr_equal(b->parent, volume_box_find("s0"));
	for (unsigned i = 0; i < 3; i++)
		volume_box_is("v", i * CLUSTER, CLUSTER, (uint8_t)(0x11 + i));
	assert_int_equal(volume_set_parent(b, volume_box_find("s1"), &box.why), 0);
	assert_ptr_equal(b->parent, volume_box_find("s1"));
	volume_box_is("v", 0, CLUSTER, 0x11);
	store_box_sound(&box);
	volume_box_reload(&box);
	store_box_sound(&box);
	volume_box_close(&box);
}

static void sizes(bool thin)
{
	static const uint64_t steps[] = { 5, 700, 511, 512, 513, 1, 1024, 100, 30 };
	struct store_box box;
	struct blob *b;

	volume_box_open(&box, 128 * MIB, 4096);
	disk_is_stale(&box);
	b = volume_box_make(&box, "v", 10, thin);
	volume_box_fill("v", 0, CLUSTER, 0x31);
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		uint64_t end = steps[i] * CLUSTER;

		assert_int_equal(volume_resize(b, end, &box.why), 0);
		assert_int_equal(bdev_find("box/v")->block_count, end / 4096);
		if (!thin)
			assert_int_equal(volume_box_mapped("v"), steps[i]);
		volume_box_is("v", 0, CLUSTER, 0x31);
		if (steps[i] > 1)
			volume_box_is("v", end - CLUSTER, CLUSTER, 0);
		if (steps[i] > 1)
			volume_box_fill("v", end - CLUSTER, CLUSTER, 0x77);
		store_box_sound(&box);
		if (i % 2) {
			volume_box_crash(&box);
			b = volume_box_find("v");
		}
		store_box_sound(&box);
		/* What is cut off does not come back. */
		if (steps[i] > 1) {
			assert_int_equal(volume_resize(b, end - CLUSTER, &box.why), 0);
			assert_int_equal(volume_resize(b, end, &box.why), 0);
			volume_box_is("v", end - CLUSTER, CLUSTER, 0);
		}
	}
	volume_box_close(&box);
}

static void test_a_thick_volume_grows_and_shrinks(void *arg)
{
	sizes(false);
}

static void test_a_thin_volume_grows_and_shrinks(void *arg)
{
	sizes(true);
}

static void test_a_clone_of_another_disk_reads_it_and_does_not_write_it(void *arg)
{
	static const struct bdev shape = { .name = "base", .block_bytes = 512,
					   .block_count = 5 * CLUSTER / 512 + 3,
					   .ops_supported = 1 << IO_READ };
	struct store_box box;
	struct fake_bdev *base = fake_create(&shape, FAKE_INSTANT, 1);
	struct blob *b, *snap;

	memset(base->view, 0x61, shape.block_count * 512);
	volume_box_open(&box, 64 * MIB, 4096);
	disk_is_stale(&box);
	assert_int_equal(volume_clone_external(box.store, "base", "v", &b, &box.why), 0);
	assert_int_equal(b->map->cluster_count, 6);
	volume_box_is("v", 0, 5 * CLUSTER, 0x61);
	/* The base ends in the middle of a block of the store. */
	volume_box_is("v", 5 * CLUSTER + 4096, CLUSTER - 4096, 0);
	volume_box_fill("v", 4096, 4096, 0x62);
	volume_box_is("v", 0, 4096, 0x61);
	volume_box_is("v", 4096, 4096, 0x62);
	volume_box_is("v", 8192, CLUSTER - 8192, 0x61);
	store_box_sound(&box);
	assert_int_equal(volume_snapshot(b, "s", &snap, &box.why), 0);
	volume_box_is("v", 2 * CLUSTER, CLUSTER, 0x61);
	volume_box_reload(&box);
	volume_box_is("v", 2 * CLUSTER, CLUSTER, 0x61);
	volume_box_is("s", 4096, 4096, 0x62);
	assert_int_equal(volume_delete(volume_box_find("s"), &box.why), 0);
	volume_box_is("v", 2 * CLUSTER, CLUSTER, 0x61);
	/* It goes: what is its own is there, the rest is not; it comes again. */
	fake_remove(base);
	{
		uint8_t data[4096];

		assert_int_equal(volume_box_io("v", IO_READ, 0, 1, 1, data), IO_OK);
		assert_int_equal(volume_box_io("v", IO_READ, 0, 32, 1, data), IO_ERR_GONE);
		assert_int_equal(volume_box_io("v", IO_WRITE, 0, 32, 1, data), IO_ERR_GONE);
	}
	base = fake_create(&shape, FAKE_INSTANT, 1);
	memset(base->view, 0x61, shape.block_count * 512);
	volume_box_is("v", 2 * CLUSTER, CLUSTER, 0x61);
	assert_int_equal(volume_inflate(volume_box_find("v"), &box.why), 0);
	fake_remove(base);
	volume_box_is("v", 2 * CLUSTER, 3 * CLUSTER, 0x61);
	store_box_sound(&box);
	volume_box_close(&box);
}

static void test_names_are_unique_and_change_when_nobody_looks(void *arg)
{
	struct bdev_user user = { .who = "test" };
	struct store_box box;
	struct blob *b;

	volume_box_open(&box, 64 * MIB, 4096);
	b = volume_box_make(&box, "v", 3, true);
	volume_box_make(&box, "w", 3, true);
	assert_int_equal(volume_rename(b, "w", &box.why), -EEXIST);
	assert_int_equal(volume_rename(b, "a b", &box.why), -EINVAL);
	assert_int_equal(bdev_open("box/v", &user), 0);
	assert_int_equal(volume_rename(b, "x", &box.why), -EBUSY);
	assert_int_equal(volume_delete(b, &box.why), -EBUSY);
	assert_int_equal(volumes_stop(box.store, &box.why), -EBUSY);
	bdev_close(&user);
	assert_int_equal(volume_rename(b, "x", &box.why), 0);
	assert_null(bdev_find("box/v"));
	assert_non_null(bdev_find("box/x"));
	assert_int_equal(store_rename(box.store, "pool", &box.why), 0);
	assert_ptr_equal(volume_find("pool/x"), b);
	assert_non_null(bdev_find("pool/w"));
	assert_int_equal(volume_readonly_set(b, true, &box.why), 0);
	assert_true(bdev_find("pool/x")->readonly);
	volume_box_crash(&box);
	assert_string_equal(box.store->name, "pool");
	assert_true(bdev_find("pool/x")->readonly);
	volume_box_close(&box);
}

static unsigned thresholds;

static void user_event(struct bdev_user *user, enum bdev_event event)
{
	thresholds += event == BDEV_THRESHOLD;
}

static void test_users_of_thin_volumes_learn_that_the_pool_fills_up(void *arg)
{
	struct bdev_user user = { .who = "test", .event = user_event };
	struct store_box box;

	volume_box_open(&box, 16 * MIB, 4096);
	volume_box_make(&box, "v", 1000, true);
	assert_int_equal(bdev_open("box/v", &user), 0);
	thresholds = 0;
	box.store->warn_percent[0] = 50;
	box.store->warn_percent[1] = 90;
	volume_box_fill("v", 0, 100 * CLUSTER, 1);
	task_yield();
	assert_int_equal(thresholds, 0);
	volume_box_fill("v", 0, 150 * CLUSTER, 1);
	task_yield();
	assert_int_equal(thresholds, 1);
	assert_true(user.bdev->space_low);
	assert_int_equal(volume_box_io("v", IO_UNMAP, 0, 0, 100 * 16, NULL), IO_OK);
	task_yield();
	assert_int_equal(thresholds, 2);
	assert_false(user.bdev->space_low);
	bdev_close(&user);
	volume_box_close(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_a_thick_volume_reads_zeroes_and_then_what_was_written),
		bench_task(test_a_thin_volume_takes_clusters_as_it_is_written),
		bench_task(test_a_thin_volume_on_a_disk_of_small_blocks),
		bench_task(test_unmap_gives_clusters_back_and_they_read_as_zeroes),
		bench_task(test_a_full_store_answers_no_space_and_room_is_made_by_deleting),
		bench_task(test_a_snapshot_keeps_what_was_there_and_the_volume_goes_on),
		bench_task(test_a_chain_of_snapshots_is_read_through_and_taken_apart),
		bench_task(test_clones_share_and_part),
		bench_task(test_decouple_leaves_what_is_beneath_the_parent),
		bench_task(test_a_thick_volume_grows_and_shrinks),
		bench_task(test_a_thin_volume_grows_and_shrinks),
		bench_task(test_a_clone_of_another_disk_reads_it_and_does_not_write_it),
		bench_task(test_users_of_thin_volumes_learn_that_the_pool_fills_up),
		bench_task(test_names_are_unique_and_change_when_nobody_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
