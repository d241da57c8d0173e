/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Damage: bytes of the metadata are changed, pages cleared, exchanged, cut off. Whatever was done,
 * a load ends with an error or with every blob as it was or marked as damaged; a check finds
 * something; a repair makes a store that is sound. The seed is printed.
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
#include "tests/unit/store_box.h"

enum { MIB = 1 << 20, BLOBS = 8, ROUNDS = 300, REPAIRS = 40, SEED = 20261121 };

struct was {
	uint64_t id, digest;
};

static uint64_t state = SEED;
static struct was was[BLOBS];
static unsigned was_count;

static uint64_t random_next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void link_clone(struct blob *clone, const struct blob *snapshot)
{
	le64 id = le64_make(snapshot->id);

	assert_int_equal(blob_xattr_put(clone, true, BS_XATTR_SNAPSHOT, &id, sizeof(id)), 0);
	assert_int_equal(blob_sync(clone), 0);
}

static void fill(struct store_box *box)
{
	static const char big[2500];
	struct blob *b, *snapshot;

	store_box_blob(box, "thick", 40, 1, false);
	store_box_blob(box, "runs", 700, 2, true);
	snapshot = store_box_blob(box, "snapshot", 1500, 9, false);
	snapshot->data_ro_flags = BS_READ_ONLY;
	assert_int_equal(blob_sync(snapshot), 0);
	link_clone(store_box_blob(box, "clone", 1500, 31, false), snapshot);
	store_box_blob(box, "empty", 100, 0, false);
	b = store_box_blob(box, "wide", 10, 3, false);
	for (unsigned i = 0; i < 4; i++) {
		char name[8] = { 'n', (char)('0' + i) };

		assert_int_equal(blob_xattr_put(b, false, name, big, sizeof(big)), 0);
	}
	assert_int_equal(blob_sync(b), 0);
	store_box_reload(box);
	was_count = 0;
	list_for_each(b, &box->store->blobs, link)
		was[was_count++] = (struct was){ b->id, store_box_blob_digest(b) };
	assert_int_equal(was_count, 7);
}

/* Every blob is as it was, or says that it is not. */
static void blobs_check(const struct store_box *box, const char *what)
{
	for (unsigned i = 0; i < was_count; i++) {
		const struct blob *b = blob_find(box->store, was[i].id);

		if (!b)
			fail_msg("%s: blob %u is missing", what, i);
		if (!b->damage && store_box_blob_digest(b) != was[i].digest)
			fail_msg("%s: blob %u is not what it was", what, i);
	}
}

/* A page that matters, most of the time. */
static uint64_t page_pick(const struct store_box *box)
{
	const struct super *super = &box->store->super;
	uint64_t r = random_next() % 100;

	if (r < 5)
		return 0;
	if (r < 20)
		return 1 + random_next() % (super->md_start - 1);
	return super->md_start + random_next() % (box->store->pages.set_count + 2);
}

enum { DAMAGE_BIT, DAMAGE_BYTES, DAMAGE_ZERO, DAMAGE_COPY, DAMAGE_CUT, DAMAGE_KINDS };

/* Changes the page at BYTES, for good; what it did as text. */
static const char *damage(const struct store_box *box, uint8_t *bytes)
{
	const uint8_t *other = box->disk->view + page_pick(box) * MD_PAGE_BYTES;
	unsigned kind = random_next() % (DAMAGE_KINDS * 2);

	switch (kind) {
	case DAMAGE_ZERO:
		memset(bytes, 0, MD_PAGE_BYTES);
		return "zeroed";
	case DAMAGE_COPY:
		memcpy(bytes, other, MD_PAGE_BYTES);
		return "overwritten by another page";
	case DAMAGE_CUT:
		memset(bytes + random_next() % 8 * 512, 0, 512);
		return "cut";
	case DAMAGE_BYTES:
		for (unsigned i = 0; i < 32; i++)
			bytes[random_next() % MD_PAGE_BYTES] = (uint8_t)random_next();
		return "full of noise";
	default:
		bytes[random_next() % (random_next() % 2 ? 64 : MD_PAGE_BYTES)] ^=
			(uint8_t)(1 << random_next() % 8);
		return "off by a bit";
	}
}

/* A page that lost its checksum's protection: all of it is gone, or is another's. */
static bool covered(const char *what)
{
	return strcmp(what, "zeroed") != 0 && strcmp(what, "overwritten by another page") != 0;
}

static void damage_rounds(struct store_box *box)
{
	uint8_t saved[MD_PAGE_BYTES];
	unsigned refused = 0, damaged = 0;

	for (unsigned n = 0; n < ROUNDS; n++) {
		uint8_t *at = box->disk->view + page_pick(box) * MD_PAGE_BYTES;
		const char *what;
		int rc;

		memcpy(saved, at, sizeof(saved));
		what = damage(box, at);
		store_box_forget(box);
		rc = store_load("d0", &box->store, &box->why);
		if (rc < 0) {
			assert_true(rc == -EILSEQ || rc == -ENOENT || rc == -ENOTSUP);
			assert_true(box->why.text[0]);
			refused++;
		} else {
			struct store_figures figures;

			if (covered(what))
				blobs_check(box, what);
			store_figures(box->store, &figures);
			damaged += figures.damaged > 0;
		}
		memcpy(at, saved, sizeof(saved));
		if (rc < 0)
			store_box_load(box);
	}
	print_message("%u damaged stores: %u refused, %u with damaged blobs\n", ROUNDS, refused,
		      damaged);
	assert_true(refused > 0 && damaged > ROUNDS / 4);
}

static void damaged(bool clean)
{
	struct store_box box;

	print_message("seed %d\n", SEED);
	log_level_set(LOG_ERROR);
	store_box_open(&box, 64 * MIB, 4096);
	fill(&box);
	if (!clean) {
		assert_int_equal(blob_sync(store_box_find(&box, "thick")), 0);
		store_box_forget(&box);
		store_box_load(&box);
		assert_true(box.store->figures.recovered);
	}
	damage_rounds(&box);
	store_box_forget(&box);
	store_box_load(&box);
	blobs_check(&box, "nothing");
	store_box_sound(&box);
	store_box_close(&box);
	log_level_set(LOG_INFO);
}

static void test_damage_to_a_clean_store_is_refused_or_shown(void *arg)
{
	damaged(true);
}

static void test_damage_to_a_crashed_store_is_refused_or_shown(void *arg)
{
	damaged(false);
}

/* Damaged, loaded, repaired: sound, and what was not hit is as it was. */
static void repair_round(struct store_box *box)
{
	struct check_report report;
	const char *what = "";
	unsigned hits = 1 + random_next() % 3;

	for (unsigned i = 0; i < hits; i++)
		what = damage(box, box->disk->view + (box->store->super.md_start +
			      random_next() % box->store->pages.set_count) * MD_PAGE_BYTES);
	store_box_forget(box);
	store_box_load(box);
	check_report_init(&report);
	if (store_check(box->store, true, &report, &box->why) < 0)
		fail_msg("%s: %s", what, box->why.text);
	check_report_fini(&report);
	store_box_sound(box);
	store_box_reload(box);
	store_box_sound(box);
}

static void test_a_repaired_store_is_sound(void *arg)
{
	uint8_t *pristine = malloc(64 * MIB);
	struct store_box box;

	print_message("seed %d\n", SEED);
	log_level_set(LOG_ERROR);
	assert_non_null(pristine);
	store_box_open(&box, 64 * MIB, 4096);
	fill(&box);
	memcpy(pristine, box.disk->view, 64 * MIB);
	for (unsigned n = 0; n < REPAIRS; n++) {
		repair_round(&box);
		if (n % 8 < 7)
			continue;
		store_box_forget(&box);
		memcpy(box.disk->view, pristine, 64 * MIB);
		store_box_load(&box);
	}
	store_box_close(&box);
	free(pristine);
	log_level_set(LOG_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_damage_to_a_clean_store_is_refused_or_shown),
		bench_task(test_damage_to_a_crashed_store_is_refused_or_shown),
		bench_task(test_a_repaired_store_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
