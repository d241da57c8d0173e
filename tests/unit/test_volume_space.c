/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What volumes do to the disk beneath: io that go on to it as they are, first writes that fill no
 * more than they must, unmap that gives back what can be given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blob/serve.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/volume_box.h"

enum { MIB = 1 << 20, CLUSTER = BOX_CLUSTER_BYTES, BLOCK = 4096 };

/* Bytes that the disk was asked to fill with zeroes or with a copy, since the last call. */
static uint64_t filled(struct store_box *box)
{
	struct stat_io sum;

	bdev_stats(&box->disk->bdev, &sum);
	bdev_stats_clear(&box->disk->bdev);
	assert_int_equal(sum.cls[STAT_OTHER].errors, 0);
	return sum.cls[STAT_OTHER].bytes;
}

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

static void first_writes(uint32_t block_bytes)
{
	struct store_box box;
	struct blob *b;

	volume_box_open(&box, 64 * MIB, block_bytes);
	disk_is_stale(&box);
	b = volume_box_make(&box, "v", 40, true);
	filled(&box);
	volume_box_fill("v", 3 * CLUSTER, CLUSTER, 0x11);
	assert_int_equal(filled(&box), 0);
	volume_box_fill("v", 5 * CLUSTER, BLOCK, 0x12);
	assert_int_equal(filled(&box), CLUSTER - BLOCK);
	volume_box_fill("v", 7 * CLUSTER + 3 * BLOCK, 2 * BLOCK, 0x13);
	assert_int_equal(filled(&box), CLUSTER - 2 * BLOCK);
	/* Over the border of two. */
	volume_box_fill("v", 10 * CLUSTER - 2 * BLOCK, 4 * BLOCK, 0x14);
	assert_int_equal(filled(&box), 2 * CLUSTER - 4 * BLOCK);
	/* From one that is there into one that is not. */
	volume_box_fill("v", 4 * CLUSTER - BLOCK, 2 * BLOCK, 0x15);
	assert_int_equal(filled(&box), CLUSTER - BLOCK);
	volume_box_crash(&box);
	volume_box_is("v", 3 * CLUSTER, CLUSTER - BLOCK, 0x11);
	volume_box_is("v", 4 * CLUSTER - BLOCK, 2 * BLOCK, 0x15);
	volume_box_is("v", 4 * CLUSTER + BLOCK, CLUSTER - BLOCK, 0);
	volume_box_is("v", 5 * CLUSTER, BLOCK, 0x12);
	volume_box_is("v", 5 * CLUSTER + BLOCK, CLUSTER - BLOCK, 0);
	volume_box_is("v", 7 * CLUSTER, 3 * BLOCK, 0);
	volume_box_is("v", 7 * CLUSTER + 3 * BLOCK, 2 * BLOCK, 0x13);
	volume_box_is("v", 7 * CLUSTER + 5 * BLOCK, CLUSTER - 5 * BLOCK, 0);
	volume_box_is("v", 10 * CLUSTER - 2 * BLOCK, 4 * BLOCK, 0x14);
	volume_box_is("v", 10 * CLUSTER + 2 * BLOCK, CLUSTER - 2 * BLOCK, 0);
	/* The rest comes from beneath when there is something, and nothing when all is new. */
	b = volume_box_find("v");
	assert_int_equal(volume_snapshot(b, "s", NULL, &box.why), 0);
	filled(&box);
	volume_box_fill("v", 3 * CLUSTER, CLUSTER, 0x21);
	assert_int_equal(filled(&box), 0);
	volume_box_fill("v", 7 * CLUSTER + BLOCK, BLOCK, 0x22);
	volume_box_crash(&box);
	volume_box_is("v", 3 * CLUSTER, CLUSTER, 0x21);
	volume_box_is("s", 3 * CLUSTER, CLUSTER - BLOCK, 0x11);
	volume_box_is("v", 7 * CLUSTER, BLOCK, 0);
	volume_box_is("v", 7 * CLUSTER + BLOCK, BLOCK, 0x22);
	volume_box_is("v", 7 * CLUSTER + 3 * BLOCK, 2 * BLOCK, 0x13);
	store_box_sound(&box);
	volume_box_close(&box);
}

static void test_a_first_write_fills_only_the_rest_of_its_cluster(void *arg)
{
	first_writes(BLOCK);
}

static void test_a_first_write_of_small_blocks_fills_only_the_rest(void *arg)
{
	first_writes(512);
}

static void test_a_first_write_that_fails_has_taken_no_cluster(void *arg)
{
	struct store_box box;
	uint64_t left;
	uint8_t *data = calloc(1, CLUSTER);
	struct fake_rule rule = { .op = IO_WRITE, .count = 1, .status = IO_ERR_MEDIA_WRITE };

	volume_box_open(&box, 64 * MIB, BLOCK);
	volume_box_make(&box, "v", 40, true);
	volume_box_fill("v", 0, BLOCK, 0x11);
	left = bits_free(&box.store->clusters);
	rule.lba = super_md_clusters(&box.store->super) * (CLUSTER / BLOCK);
	rule.lba_count = box.disk->bdev.block_count - rule.lba;
	fake_fail(box.disk, &rule);
	assert_int_equal(volume_box_io("v", IO_WRITE, 0, 32, 16, data), IO_ERR_MEDIA_WRITE);
	assert_int_equal(bits_free(&box.store->clusters), left);
	volume_box_is("v", 2 * CLUSTER, CLUSTER, 0);
	volume_box_fill("v", 2 * CLUSTER, CLUSTER, 0x12);
	volume_box_is("v", 2 * CLUSTER, CLUSTER, 0x12);
	store_box_sound(&box);
	free(data);
	volume_box_close(&box);
}

static void test_unmap_of_a_clone_gives_back_what_covers_nothing(void *arg)
{
	struct store_box box;
	struct blob *b;
	uint64_t left;

	volume_box_open(&box, 64 * MIB, BLOCK);
	b = volume_box_make(&box, "v", 1200, true);
	volume_box_fill("v", 0, 4 * CLUSTER, 0x11);
	assert_int_equal(volume_snapshot(b, "s0", NULL, &box.why), 0);
	volume_box_fill("v", 4 * CLUSTER, CLUSTER, 0x12);
	assert_int_equal(volume_snapshot(b, "s1", NULL, &box.why), 0);
	volume_box_fill("v", 0, 8 * CLUSTER, 0x13);
	volume_box_fill("v", 600 * CLUSTER, CLUSTER, 0x14);
	assert_int_equal(volume_box_mapped("v"), 9);
	left = bits_free(&box.store->clusters);
	/* Clusters 0 to 4 cover something of s0 or s1, 5 to 7 and 600 nothing. */
	assert_int_equal(volume_box_io("v", IO_UNMAP, 0, 0, 1200 * CLUSTER / BLOCK, NULL), IO_OK);
	assert_int_equal(volume_box_mapped("v"), 5);
	assert_int_equal(bits_free(&box.store->clusters), left + 4);
	volume_box_is("v", 5 * CLUSTER, 3 * CLUSTER, 0);
	volume_box_is("v", 600 * CLUSTER, CLUSTER, 0);
	volume_box_is("s1", 0, 4 * CLUSTER, 0x11);
	store_box_sound(&box);
	volume_box_crash(&box);
	assert_int_equal(volume_box_mapped("v"), 5);
	volume_box_is("v", 5 * CLUSTER, 3 * CLUSTER, 0);
	volume_box_is("s1", 4 * CLUSTER, CLUSTER, 0x12);
	volume_box_fill("v", 6 * CLUSTER, BLOCK, 0x15);
	volume_box_is("v", 6 * CLUSTER + BLOCK, CLUSTER - BLOCK, 0);
	/* A thick one has all of its clusters, for good. */
	volume_box_make(&box, "t", 10, false);
	assert_int_equal(volume_box_io("t", IO_UNMAP, 0, 0, 10 * CLUSTER / BLOCK, NULL), IO_OK);
	assert_int_equal(volume_box_mapped("t"), 10);
	store_box_sound(&box);
	volume_box_close(&box);
}

/* ---- io that go on as they are ---- */

struct request {
	struct io io;
	struct iovec iov;
	uint8_t data[BLOCK];
	bool done;
};

static void request_done(struct io *io)
{
	struct request *r = container_of(io, struct request, io);

	assert_int_equal(io->lba, 20);
	r->done = true;
}

static void request_submit(struct request *r, struct bdev *bdev, enum io_op op)
{
	r->iov = (struct iovec){ r->data, BLOCK };
	r->io = (struct io){ .op = (uint8_t)op, .lba = 20, .lba_count = 1, .iov = &r->iov,
			     .iov_count = 1, .done = request_done };
	r->done = false;
	bdev_submit(bdev_chan(bdev), &r->io);
}

static void test_an_io_that_goes_on_is_counted_by_both_disks_and_aborted_on_the_way(void *arg)
{
	struct bdev_user user = { .who = "test", .write = true };
	struct request *r = calloc(1, sizeof(*r));
	struct io abort = { .op = IO_ABORT, .victim = &r->io };
	struct stat_io above, below;
	struct store_box box;

	volume_box_open(&box, 64 * MIB, BLOCK);
	volume_box_make(&box, "v", 40, false);
	assert_int_equal(bdev_open("box/v", &user), 0);
	bdev_stats_clear(user.bdev);
	bdev_stats_clear(&box.disk->bdev);
	box.disk->mode = FAKE_HELD;
	box.disk->obeys = true;
	request_submit(r, user.bdev, IO_WRITE);
	assert_int_equal(box.disk->held_count, 1);
	assert_int_equal(bdev_chan(user.bdev)->inflight, 1);
	assert_int_equal(bdev_chan(&box.disk->bdev)->writers, 1);
	fake_release(box.disk, 1);
	while (!r->done)
		task_yield();
	assert_int_equal(bdev_chan(user.bdev)->inflight, 0);
	assert_int_equal(bdev_chan(&box.disk->bdev)->inflight, 0);
	assert_int_equal(bdev_chan(&box.disk->bdev)->writers, 0);
	bdev_stats(user.bdev, &above);
	bdev_stats(&box.disk->bdev, &below);
	assert_int_equal(above.cls[STAT_WRITE].bytes, BLOCK);
	assert_int_equal(below.cls[STAT_WRITE].bytes, BLOCK);
	assert_int_equal(below.cls[STAT_WRITE].latency.count, 1);
	/* The abort finds it where it is. */
	request_submit(r, user.bdev, IO_READ);
	assert_false(r->done);
	assert_int_equal(task_io(bdev_chan(user.bdev), &abort), IO_OK);
	assert_true(r->done);
	assert_int_equal(r->io.status, IO_ERR_ABORTED);
	assert_int_equal(bdev_chan(user.bdev)->inflight, 0);
	assert_int_equal(bdev_chan(&box.disk->bdev)->inflight, 0);
	bdev_stats(user.bdev, &above);
	assert_int_equal(above.cls[STAT_READ].errors, 1);
	box.disk->mode = FAKE_INSTANT;
	bdev_close(&user);
	free(r);
	volume_box_close(&box);
}

/* ---- names that others gave ---- */

static void name_set(struct blob *b, const char *name)
{
	assert_int_equal(blob_xattr_set(b, BS_XATTR_NAME, name, strlen(name) + 1, NULL), 0);
}

static void test_volumes_with_names_that_no_disk_can_have_are_served_all_the_same(void *arg)
{
	char path[64], buf[BS_VOLUME_NAME_BYTES];
	struct blob *two;
	struct store_box box;

	volume_box_open(&box, 64 * MIB, BLOCK);
	name_set(volume_box_make(&box, "v", 4, true), "v\xc3\xa4 m/1");
	volume_box_make(&box, "twin", 4, true);
	two = volume_box_make(&box, "w", 4, true);
	name_set(two, "twin");
	snprintf(path, sizeof(path), "blob-%llx", (unsigned long long)two->id);
	volume_box_reload(&box);
	volume_box_fill("v___m_1", 0, BLOCK, 0x31);
	volume_box_fill("twin", 0, BLOCK, 0x32);
	volume_box_fill(path, 0, BLOCK, 0x33);
	volume_box_is("twin", 0, BLOCK, 0x32);
	two = volume_box_find(path);
	assert_string_equal(volume_name(two, buf), path);
	assert_int_equal(volume_rename(two, "other", &box.why), 0);
	volume_box_is("other", 0, BLOCK, 0x33);
	assert_int_equal(volume_rename(volume_box_find("v___m_1"), "v", &box.why), 0);
	volume_box_is("v", 0, BLOCK, 0x31);
	store_box_sound(&box);
	volume_box_close(&box);
}

/* ---- limits ---- */

static void test_no_volume_is_made_that_could_not_be_loaded_again(void *arg)
{
	uint64_t most = (uint64_t)UINT32_MAX * CLUSTER;
	struct uuid nil = { 0 };
	struct store_box box;
	struct blob *b, *v;

	volume_box_open(&box, 64 * MIB, BLOCK);
	v = volume_box_make(&box, "v", 4, true);
	assert_int_equal(volume_create(box.store, "w", most + 1, true, NULL, &b, &box.why), -EFBIG);
	assert_int_equal(volume_resize(v, most + 1, &box.why), -EFBIG);
	assert_int_equal(volume_create(box.store, "w", CLUSTER, true, &v->volume->bdev.uuid, &b,
				       &box.why), -EEXIST);
	assert_int_equal(volume_create(box.store, "w", CLUSTER, true, &nil, &b, &box.why),
			 -EINVAL);
	/* A thousand times the disk: nothing of it is there. */
	assert_int_equal(volume_resize(v, 64ULL * 1024 * MIB, &box.why), 0);
	volume_box_fill("v", 63ULL * 1024 * MIB, BLOCK, 0x41);
	volume_box_crash(&box);
	volume_box_is("v", 63ULL * 1024 * MIB, BLOCK, 0x41);
	store_box_sound(&box);
	volume_box_close(&box);
}

static void test_a_disk_beneath_is_let_go_of_when_no_volume_needs_it(void *arg)
{
	static const struct bdev shape = { .name = "base", .block_bytes = 512,
					   .block_count = 5 * CLUSTER / 512,
					   .ops_supported = 1 << IO_READ };
	struct fake_bdev *base = fake_create(&shape, FAKE_INSTANT, 1);
	struct store_box box;
	struct blob *v, *w;

	volume_box_open(&box, 64 * MIB, BLOCK);
	assert_int_equal(volume_clone_external(box.store, "base", "v", &v, &box.why), 0);
	assert_int_equal(volume_clone_external(box.store, "base", "w", &w, &box.why), 0);
	assert_int_equal(volume_inflate(v, &box.why), 0);
	assert_false(list_empty(&base->bdev.users));
	assert_int_equal(volume_delete(w, &box.why), 0);
	assert_true(list_empty(&base->bdev.users));
	assert_int_equal(volume_clone_external(box.store, "base", "w", &w, &box.why), 0);
	assert_false(list_empty(&base->bdev.users));
	volume_box_is("w", 0, BLOCK, 0);
	volume_box_close(&box);
	assert_true(list_empty(&base->bdev.users));
	fake_remove(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_a_first_write_fills_only_the_rest_of_its_cluster),
		bench_task(test_a_first_write_of_small_blocks_fills_only_the_rest),
		bench_task(test_a_first_write_that_fails_has_taken_no_cluster),
		bench_task(test_unmap_of_a_clone_gives_back_what_covers_nothing),
		bench_task(test_an_io_that_goes_on_is_counted_by_both_disks_and_aborted_on_the_way),
		bench_task(test_volumes_with_names_that_no_disk_can_have_are_served_all_the_same),
		bench_task(test_no_volume_is_made_that_could_not_be_loaded_again),
		bench_task(test_a_disk_beneath_is_let_go_of_when_no_volume_needs_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
