/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power is lost while a store is made, changed for the first time, unloaded or deleted: each place
 * on the tape, each kind of loss, on disks that tear pages and on disks that do not. There is no
 * store, or one that loads and is sound; what had been synced before is there.
 */
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
#include "tests/unit/fake_tape.h"
#include "tests/unit/store_box.h"

enum { BYTES = 8 << 20, SEEDS = 3 };

/* What must hold after a crash. */
struct promise {
	bool may_be_none;               /* no store at all is right too */
	uint64_t digest, or_digest;     /* one of the two; 0: only the super blob */
};

struct cases {
	struct fake_tape tape;
	struct store_box box;
	unsigned none, loaded;
};

static void medium_check(struct cases *cases, const struct promise *promise, size_t at)
{
	struct store_box *box = &cases->box;
	int rc = store_load(box->disk->bdev.name, &box->store, &box->why);
	uint64_t digest;

	if (rc == -ENOENT && promise->may_be_none) {
		cases->none++;
		return;
	}
	if (rc < 0)
		fail_msg("crash at %zu: %s", at, box->why.text);
	cases->loaded++;
	digest = store_box_digest(box->store);
	if (promise->digest && digest != promise->digest && digest != promise->or_digest)
		fail_msg("crash at %zu: not what was synced", at);
	if (!promise->digest)
		assert_int_equal(box->store->blob_count, 1);
	store_box_sound(box);
	store_box_forget(box);
}

/* Every crash of the tape, tried on the same disk. */
static void crashes(struct cases *cases, const struct promise *promise)
{
	struct fake_bdev *f = cases->box.disk;
	struct tape_crash crash;
	uint8_t *medium = malloc(BYTES);

	assert_non_null(medium);
	/* It records no more, and gives the shape. */
	cases->tape.disk = f;
	crash_start(&crash, &cases->tape);
	while (crash_next(&crash))
		for (unsigned loss = 0; loss < TAPE_LOSSES; loss++)
			for (uint64_t seed = 1; seed <= (loss >= TAPE_SOME ? SEEDS : 1); seed++) {
				crash_medium(&crash, loss, 1, seed, medium);
				fake_fill(f, medium);
				medium_check(cases, promise, crash.at);
			}
	crash_end(&crash);
	free(medium);
	print_message("%u crashes without a store, %u with one\n", cases->none, cases->loaded);
}

static void cases_end(struct cases *cases)
{
	tape_free(&cases->tape);
	store_box_close(&cases->box);
	log_level_set(LOG_INFO);
}

static void create(struct cases *cases, uint32_t block_bytes)
{
	struct store_opts opts = { .cluster_bytes = BOX_CLUSTER_BYTES, .force = true };

	memset(cases, 0, sizeof(*cases));
	log_level_set(LOG_ERROR);
	store_box_disk(&cases->box, "d0", BYTES, block_bytes);
	/* What was there may be anything. */
	memset(cases->box.disk->view, 0x5a, BYTES);
	memset(cases->box.disk->media, 0x5a, BYTES);
	tape_start(&cases->tape, cases->box.disk);
	assert_int_equal(store_create("box", "d0", &opts, &cases->box.store, &cases->box.why), 0);
	tape_stop(&cases->tape);
	store_box_forget(&cases->box);
}

static void create_crashes(uint32_t block_bytes)
{
	struct promise promise = { .may_be_none = true };
	struct cases cases;

	create(&cases, block_bytes);
	crashes(&cases, &promise);
	assert_true(cases.none > 0 && cases.loaded > 0);
	cases_end(&cases);
}

static void test_a_crash_while_it_is_made_leaves_no_store_or_an_empty_one(void *arg)
{
	create_crashes(4096);
	create_crashes(512);
}

/* A store over another one: the old one, none, or the new one. */
static void test_a_store_made_over_another_is_never_a_mixture(void *arg)
{
	struct store_opts opts = { .cluster_bytes = 2 * BOX_CLUSTER_BYTES, .force = true };
	struct promise promise = { .may_be_none = true };
	struct cases cases;

	create(&cases, 512);
	tape_free(&cases.tape);
	tape_start(&cases.tape, cases.box.disk);
	assert_int_equal(store_create("new", "d0", &opts, &cases.box.store, NULL), 0);
	tape_stop(&cases.tape);
	store_box_forget(&cases.box);
	crashes(&cases, &promise);
	cases_end(&cases);
}

/* The first change after a clean load, more changes of the same blob, and the unload. */
static void change_crashes(uint32_t block_bytes)
{
	struct promise promise = { 0 };
	struct cases cases;
	struct blob *b;

	create(&cases, block_bytes);
	tape_free(&cases.tape);
	store_box_load(&cases.box);
	store_box_blob(&cases.box, "a", 20, 1, false);
	store_box_reload(&cases.box);
	promise.digest = store_box_digest(cases.box.store);
	tape_start(&cases.tape, cases.box.disk);
	b = store_box_find(&cases.box, "a");
	assert_int_equal(blob_xattr_put(b, false, "more", "value", 6), 0);
	assert_int_equal(blob_sync(b), 0);
	promise.or_digest = store_box_digest(cases.box.store);
	assert_int_equal(blob_sync_extent(b, 0), 0);
	assert_int_equal(store_unload(cases.box.store, NULL), 0);
	tape_stop(&cases.tape);
	cases.box.store = NULL;
	crashes(&cases, &promise);
	cases_end(&cases);
}

static void test_changes_and_unloads_survive_a_crash_at_any_write(void *arg)
{
	change_crashes(4096);
	change_crashes(512);
}

static void test_a_growth_is_there_or_not_after_a_crash(void *arg)
{
	struct promise promise = { 0 };
	struct cases cases;
	uint64_t added;

	create(&cases, 512);
	tape_free(&cases.tape);
	bdev_resize(&cases.box.disk->bdev, BYTES / 512 / 2);
	assert_int_equal(store_create("box", "d0", &(struct store_opts){ BOX_CLUSTER_BYTES, true },
				      &cases.box.store, NULL), 0);
	store_box_blob(&cases.box, "a", 20, 1, false);
	store_box_reload(&cases.box);
	promise.digest = store_box_digest(cases.box.store);
	bdev_resize(&cases.box.disk->bdev, BYTES / 512);
	tape_start(&cases.tape, cases.box.disk);
	assert_int_equal(store_grow(cases.box.store, &added, NULL), 0);
	assert_int_equal(added, BYTES / BOX_CLUSTER_BYTES / 2);
	tape_stop(&cases.tape);
	store_box_forget(&cases.box);
	crashes(&cases, &promise);
	cases_end(&cases);
}

static void test_a_crash_while_it_is_deleted_leaves_it_or_nothing(void *arg)
{
	struct promise promise = { .may_be_none = true };
	struct cases cases;

	create(&cases, 512);
	tape_free(&cases.tape);
	store_box_load(&cases.box);
	tape_start(&cases.tape, cases.box.disk);
	assert_int_equal(store_delete(cases.box.store, NULL), 0);
	tape_stop(&cases.tape);
	cases.box.store = NULL;
	crashes(&cases, &promise);
	cases_end(&cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_a_crash_while_it_is_made_leaves_no_store_or_an_empty_one),
		bench_task(test_a_store_made_over_another_is_never_a_mixture),
		bench_task(test_changes_and_unloads_survive_a_crash_at_any_write),
		bench_task(test_a_growth_is_there_or_not_after_a_crash),
		bench_task(test_a_crash_while_it_is_deleted_leaves_it_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
