/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Check: all metadata is read again into a shadow of the store, by the same scan that loads it, and
 * then compared with what is in memory: blob by blob, page by page, cluster by cluster. Changes of
 * metadata wait meanwhile. repair.c mends; after it the store is looked at once more, and what
 * nobody owns then is free.
 */
#include "blob/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bytes.h"

/* ---- the shadow ---- */

static void shadow_destroy(struct store *shadow)
{
	struct blob *b;

	list_for_each(b, &shadow->blobs, link)
		blob_parent_set(b, NULL);
	while ((b = list_first_entry(&shadow->blobs, struct blob, link)))
		blob_free(b);
	bits_fini(&shadow->pages);
	bits_fini(&shadow->clusters);
	free(shadow->hash);
	free(shadow);
}

/* The same disk and layout; nothing taken. Only for reading. */
static struct store *shadow_create(const struct store *s)
{
	struct store *shadow = calloc(1, sizeof(*shadow));

	if (!shadow)
		return NULL;
	memcpy(shadow->name, s->name, sizeof(s->name));
	shadow->shadow = true;
	shadow->disk.bdev = s->disk.bdev;
	shadow->super = s->super;
	shadow->block_shift = s->block_shift;
	shadow->slot = s->slot;
	list_init(&shadow->link);
	list_init(&shadow->blobs);
	event_init(&shadow->left);
	if (bits_init(&shadow->pages, s->pages.count) == 0 &&
	    bits_init(&shadow->clusters, s->clusters.count) == 0)
		return shadow;
	shadow_destroy(shadow);
	return NULL;
}

/* Pages of all regions in which something is, or was announced. */
static int regions_used(const struct store *s, struct bits *only)
{
	int rc = bits_init(only, s->pages.count);

	for (uint64_t first = 0; rc == 0 && first < only->count; first += COVER_REGION_PAGES) {
		uint64_t count = MIN((uint64_t)COVER_REGION_PAGES, only->count - first);
		uint64_t used = bits_next_set(&s->pages, first);

		if ((used != BITS_NONE && used < first + count) ||
		    bits_test(&s->cover, first / COVER_REGION_PAGES))
			bits_set_range(only, first, count);
	}
	return rc;
}

/* ---- comparing ---- */

static bool xattrs_differ(const struct blob *a, const struct blob *b)
{
	const struct blob_xattr *x, *y;
	unsigned count = 0;

	list_for_each(x, &a->xattrs, link) {
		y = blob_xattr_find(b, x->internal, x->name);
		if (!y || x->value_len != y->value_len ||
		    !bytes_equal(x->value, y->value, x->value_len))
			return true;
		count++;
	}
	list_for_each(y, &b->xattrs, link)
		count--;
	return count != 0;
}

/* What differs, in a word; NULL: nothing. */
static const char *difference(const struct blob *disk, const struct blob *memory)
{
	if (disk->map->cluster_count != memory->map->cluster_count)
		return "size";
	if (disk->invalid_flags != memory->invalid_flags ||
	    disk->data_ro_flags != memory->data_ro_flags ||
	    disk->md_ro_flags != memory->md_ro_flags)
		return "flags";
	if (xattrs_differ(disk, memory))
		return "xattrs";
	for (uint64_t c = 0; c < disk->map->cluster_count; c++)
		if (blob_map_get(disk->map, c) != blob_map_get(memory->map, c))
			return "map";
	return NULL;
}

static void blobs_compare(struct check *check)
{
	const struct blob *b, *other;
	const char *what;

	list_for_each(b, &check->s->blobs, link) {
		other = blob_find(check->shadow, b->id);
		what = !other ? "all of it" : other->damage || b->damage ? NULL :
		       difference(other, b);
		if (what)
			check_report_add(check->report, FIND_MEMORY, b->id, 0, 0,
					 "disk and memory differ: %s", what);
	}
	list_for_each(b, &check->shadow->blobs, link)
		if (!blob_find(check->s, b->id))
			check_report_add(check->report, FIND_MEMORY, b->id, blob_root(b), 1,
					 "on disk at page %u, not in memory", blob_root(b));
}

/* Runs of what is in A and not in B. */
static void bits_compare(struct check *check, const struct bits *a, const struct bits *b,
			 enum finding_kind kind, const char *text)
{
	uint64_t run = 0, i;

	for (i = bits_next_set(a, 0); i != BITS_NONE; i = bits_next_set(a, i + run)) {
		run = 1;
		if (bits_test(b, i))
			continue;
		while (i + run < a->count && bits_test(a, i + run) && !bits_test(b, i + run))
			run++;
		check_report_add(check->report, kind, BLOB_ID_NONE, i, run,
				 "%" PRIu64 " from %" PRIu64 " on: %s", run, i, text);
	}
}

static void space_compare(struct check *check)
{
	struct store *s = check->s, *shadow = check->shadow;

	if (s->slot) {
		bits_set(&shadow->pages, s->slot);
		bits_set(&shadow->pages, s->slot + 1);
	}
	check->report->pages = shadow->pages.set_count;
	check->report->clusters = shadow->clusters.set_count;
	bits_compare(check, &s->clusters, &shadow->clusters, FIND_CLUSTER_LEAKED,
		     "taken, and no blob has them");
	bits_compare(check, &s->pages, &shadow->pages, FIND_PAGE_LEAKED,
		     "taken, and no blob has them");
	bits_compare(check, &shadow->clusters, &s->clusters, FIND_MASK,
		     "in use, and not marked as taken");
	bits_compare(check, &shadow->pages, &s->pages, FIND_MASK,
		     "pages in use, and not marked as taken");
}

/* What lies on disk as masks, while it is said to be valid. */
static int mask_compare(struct check *check, enum bs_mask_type type, const struct bits *now,
			const char *name)
{
	struct bits mask;
	int rc;

	rc = bits_init(&mask, now->count);
	if (rc < 0)
		return rc;
	rc = mask_read(check->s, type, &mask, NULL);
	if (rc < 0)
		check_report_add(check->report, FIND_MASK, BLOB_ID_NONE, 0, 0, "the %s on disk is "
				 "none", name);
	else
		bits_compare(check, now, &mask, FIND_MASK, "in use, and not in the mask on disk");
	bits_fini(&mask);
	return rc == -EILSEQ || rc == -EIO ? 0 : rc;
}

static int masks_compare(struct check *check)
{
	struct store *s = check->s;
	struct bits roots;
	struct blob *b;
	int rc;

	if (!s->super.clean)
		return 0;
	rc = bits_init(&roots, s->super.md_len);
	if (rc < 0)
		return rc;
	list_for_each(b, &s->blobs, link)
		bits_set(&roots, blob_root(b));
	rc = mask_compare(check, BS_MASK_PAGES, &s->pages, "page mask");
	if (rc == 0)
		rc = mask_compare(check, BS_MASK_CLUSTERS, &s->clusters, "cluster mask");
	if (rc == 0 && s->super.blobid_mask_len)
		rc = mask_compare(check, BS_MASK_BLOBIDS, &roots, "blobid mask");
	bits_fini(&roots);
	return rc;
}

static int look(struct check *check)
{
	struct scan scan = { .report = check->report, .known = check->s,
			     .tears = check->s->tears };
	struct bits only = { 0 };
	int rc;

	check->shadow = shadow_create(check->s);
	if (!check->shadow)
		return -ENOMEM;
	rc = regions_used(check->s, &only);
	scan.s = check->shadow;
	scan.only = &only;
	if (rc == 0)
		rc = scan_run(&scan);
	/*
	 * A page with a bad checksum that nothing names is no finding: a crash may have torn it
	 * before anything did.
	 */
	check->report->blobs = check->shadow->blob_count;
	if (rc == 0) {
		blobs_compare(check);
		names_check(check);
		space_compare(check);
		rc = masks_compare(check);
	}
	scan_fini(&scan);
	bits_fini(&only);
	return rc;
}

static bool found_something(const struct check_report *report)
{
	for (unsigned k = 0; k < FIND_KINDS; k++)
		if (report->counts[k])
			return true;
	return false;
}

/*
 * After a repair what the disk says is what is so: pages and clusters that nobody has are free,
 * unless a blob is left of which not all is known.
 */
static int look_again(struct check *check)
{
	struct check again = { .s = check->s };
	struct check_report report;
	struct blob *b;
	int rc;

	check_report_init(&report);
	again.report = &report;
	rc = look(&again);
	list_for_each(b, &check->s->blobs, link)
		check->left += b->damage != NULL;
	if (rc == 0)
		repair_space(check, &again);
	if (again.shadow)
		shadow_destroy(again.shadow);
	check_report_fini(&report);
	return rc;
}

int store_check(struct store *s, bool repair, struct check_report *report, struct why *why)
{
	struct check check = { .s = s, .report = report };
	int rc = store_enter_alone(s, why);

	if (rc < 0)
		return rc;
	if (repair && s->failed) {
		store_leave_alone(s);
		return why_fail(why, -EROFS, "store %s: read-only since a write of metadata failed;"
				" unload and load it again", s->name);
	}
	rc = look(&check);
	if (rc == 0 && repair && found_something(report)) {
		rc = repair_blobs(&check);
		if (rc == 0)
			rc = look_again(&check);
	}
	if (check.shadow)
		shadow_destroy(check.shadow);
	store_leave_alone(s);
	return rc < 0 ? why_fail(why, rc, "store %s: its metadata cannot be %s: %s", s->name,
				 repair ? "mended" : "read", strerror(-rc)) : 0;
}
