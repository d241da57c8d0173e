/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading a store: its superblock, then all of its metadata (scan.c), then what a crash interrupted
 * (settle.c). Nothing is written unless something was interrupted.
 *
 * Clean: the masks say what to read, and what is taken stays taken. Not clean: the regions that
 * were announced are read (cover.c), or everything, and what is taken follows from the blobs.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/scan.h"
#include "core/base/log.h"
#include "core/clock.h"

/* ---- the superblock ---- */

/* Of a tearing disk: the slot has all of it, and the fields that lead there lie in one block. */
static int super_untear(struct store *s)
{
	uint8_t *image = malloc(MD_PAGE_BYTES);
	enum slot_kind kind;
	uint32_t page;
	int rc;

	if (!image)
		return -ENOMEM;
	rc = super_decode_fields((struct bs_super *)s->super_page,
				 s->disk.bdev->block_count << s->block_shift,
				 &s->super);
	if (rc == 0)
		rc = cover_init(s);
	if (rc == 0)
		rc = cover_read(s);
	if (rc == 0)
		rc = slot_read(s, &kind, &page, image);
	if (rc == 0 && kind == SLOT_SUPER)
		rc = store_write(s, 0, image, MD_PAGE_BYTES);
	if (rc == 0)
		rc = store_flush(s);
	if (rc == 0 && kind == SLOT_SUPER)
		memcpy(s->super_page, image, MD_PAGE_BYTES);
	s->slot = 0;
	free(image);
	return rc;
}

int super_read(struct store *s, struct why *why)
{
	uint64_t disk_bytes = s->disk.bdev->block_count << s->block_shift;
	struct why reason = { "" };
	int rc;

	if (s->disk.bdev->block_bytes > MD_PAGE_BYTES || disk_bytes < MD_PAGE_BYTES)
		return why_fail(why, -ENOTSUP, "disk %s: has blocks of %u bytes; a store needs at "
				"most %d", store_disk(s), s->disk.bdev->block_bytes,
				MD_PAGE_BYTES);
	rc = store_read(s, 0, s->super_page, MD_PAGE_BYTES);
	if (rc < 0)
		return why_fail(why, rc, "disk %s: its first page cannot be read: %s",
				store_disk(s), strerror(-rc));
	rc = super_decode(s->super_page, disk_bytes, &s->super, &reason);
	if (rc == -EILSEQ && s->tears && s->disk.write && super_untear(s) == 0)
		rc = super_decode(s->super_page, disk_bytes, &s->super, &reason);
	if (rc < 0)
		return why_fail(why, rc, "disk %s: %s", store_disk(s), reason.text);
	if (s->super.block_bytes % s->disk.bdev->block_bytes)
		return why_fail(why, -ENOTSUP, "disk %s: its store has blocks of %u bytes, and it "
				"has %u", store_disk(s), s->super.block_bytes,
				s->disk.bdev->block_bytes);
	s->pages_per_cluster = s->super.cluster_bytes / MD_PAGE_BYTES;
	return 0;
}

int store_probe(const char *disk, struct super *super, struct why *why)
{
	struct store *s;
	int rc = store_make(disk, false, &s, why);

	if (rc < 0)
		return rc;
	rc = super_read(s, why);
	*super = s->super;
	store_destroy(s);
	return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

/* ---- what to read ---- */

struct masks {
	struct bits pages, roots, clusters;
};

static void masks_fini(struct masks *m)
{
	bits_fini(&m->pages);
	bits_fini(&m->roots);
	bits_fini(&m->clusters);
}

/* Of a clean store. -EILSEQ: they are none; the store is read like one that is not clean. */
static int masks_read(struct store *s, struct masks *m, struct why *why)
{
	int rc = bits_init(&m->pages, s->super.md_len);

	if (rc == 0)
		rc = bits_init(&m->roots, s->super.md_len);
	if (rc == 0)
		rc = bits_init(&m->clusters, super_cluster_count(&s->super));
	if (rc < 0)
		return why_fail(why, rc, "store %s: not enough memory", s->name);
	rc = mask_read(s, BS_MASK_PAGES, &m->pages, why);
	if (rc == 0)
		rc = mask_read(s, BS_MASK_BLOBIDS, &m->roots, why);
	if (rc == 0)
		rc = mask_read(s, BS_MASK_CLUSTERS, &m->clusters, why);
	if (rc == -EIO)
		rc = -EILSEQ;
	if (rc == -EILSEQ && why)
		log_warn("%s; it is read as after a crash", why->text);
	for (uint64_t p = rc == 0 ? bits_next_set(&m->roots, 0) : BITS_NONE; p != BITS_NONE;
	     p = bits_next_set(&m->roots, p + 1))
		bits_set(&m->pages, p);
	return rc;
}

/* What a mask says to be taken stays so, though nobody owns it: check finds and frees it. */
static void taken_keep(struct store *s, const char *what, struct bits *own, const struct bits *mask)
{
	uint64_t missing, leaked;

	bits_merge(own, mask, &missing, &leaked);
	if (missing || leaked)
		log_warn("store %s: the mask of %s lacks %" PRIu64 " that are in use, and has %"
			 PRIu64 " that are not; see store check", s->name, what, missing, leaked);
}

static int clean_scan(struct store *s, struct why *why)
{
	struct masks m = { 0 };
	struct scan scan = { .s = s, .only = &m.pages, .roots = &m.roots,
			     .tears = s->tears };
	int rc = masks_read(s, &m, why);

	if (rc == 0)
		rc = scan_run(&scan);
	if (rc == 0) {
		taken_keep(s, "pages", &s->pages, &m.pages);
		taken_keep(s, "clusters", &s->clusters, &m.clusters);
	}
	scan_fini(&scan);
	masks_fini(&m);
	return rc;
}

/* Pages of the regions that are announced. */
static int regions_expand(struct store *s, struct bits *only)
{
	int rc = bits_init(only, s->super.md_len);

	for (uint64_t r = rc == 0 ? bits_next_set(&s->cover, 0) : BITS_NONE; r != BITS_NONE;
	     r = bits_next_set(&s->cover, r + 1)) {
		uint64_t first = r * COVER_REGION_PAGES;

		bits_set_range(only, first, MIN((uint64_t)COVER_REGION_PAGES,
						only->count - first));
	}
	return rc;
}

static int dirty_scan(struct store *s)
{
	struct scan scan = { .s = s, .tears = s->tears };
	struct bits only = { 0 };
	int rc = cover_read(s);
	bool announced = rc == 0;

	if (rc < 0 && rc != -ENOENT)
		return rc;
	rc = announced ? regions_expand(s, &only) : 0;
	if (s->slot) {
		bits_set(&s->pages, s->slot);
		bits_set(&s->pages, s->slot + 1);
	}
	if (rc == 0)
		rc = slot_replay(s);
	if (announced)
		scan.only = &only;
	if (rc == 0)
		rc = scan_run(&scan);
	log_info("store %s: was not unloaded; %" PRIu64 " of %u pages of metadata were read, %"
		 PRIu64 " twice", s->name, scan.pages_read, s->super.md_len, scan.pages_again);
	s->dirty = announced && !s->super.torn && (!s->tears || s->slot);
	s->figures.recovered = true;
	scan_fini(&scan);
	bits_fini(&only);
	return rc;
}

/* ---- the store ---- */

/* Names of volumes are names of disks: other characters of foreign names become '_'. */
static void name_take(struct store *s, const char *name)
{
	size_t len = strnlen(name, sizeof(s->name) - 1);

	for (size_t i = 0; i < len; i++)
		s->name[i] = (char)(isalnum((unsigned char)name[i]) || strchr("-_.", name[i]) ?
				    name[i] : '_');
	s->name[len] = '\0';
}

static void identity_take(struct store *s)
{
	uint64_t id[2] = { s->super.super_blob, s->super.size_bytes };
	struct blob *b = blob_find(s, s->super.super_blob);

	s->super_blob = b && !b->damage ? b : NULL;
	if (s->super_blob && *blob_xattr_text(b, BS_XATTR_NAME))
		name_take(s, blob_xattr_text(b, BS_XATTR_NAME));
	else
		name_take(s, store_disk(s));
	if (!s->super_blob || uuid_parse(blob_xattr_text(b, BS_XATTR_UUID), &s->uuid) < 0)
		s->uuid = uuid_from_name(store_disk(s), id, sizeof(id));
	if (s->super.super_blob != BLOB_ID_NONE && !s->super_blob)
		log_warn("store %s: its super blob 0x%" PRIx64 " is %s; the store goes by its "
			 "disk's name", s->name, s->super.super_blob, b ? "damaged" : "missing");
}

static int identity_check(const struct store *s, struct why *why)
{
	struct store *other = store_find(s->name);

	if (other)
		return why_fail(why, -EEXIST, "store %s: disk %s has another store of this name; "
				"rename one of them", s->name, store_disk(other));
	for (other = store_next(NULL); other; other = store_next(other))
		if (uuid_equal(&other->uuid, &s->uuid))
			return why_fail(why, -EEXIST, "store %s: disk %s has a copy of it; unload "
					"store %s first", s->name, store_disk(other), other->name);
	return 0;
}

static int space_init(struct store *s)
{
	int rc = bits_init(&s->pages, s->super.md_len);

	if (rc == 0)
		rc = bits_init(&s->clusters, super_cluster_count(&s->super));
	return rc == 0 ? cover_init(s) : rc;
}

static int read_all(struct store *s, struct why *why)
{
	int rc = space_init(s);

	if (rc < 0)
		return rc;
	rc = s->super.clean && s->super.blobid_mask_len ? clean_scan(s, why) : -EILSEQ;
	if (rc == -EILSEQ) {
		s->super.clean = false;
		rc = dirty_scan(s);
	}
	return rc;
}

static int load(struct store *s, struct why *why)
{
	uint64_t start = clock_now_us();
	int rc = super_read(s, why);

	if (rc < 0)
		return rc;
	rc = read_all(s, why);
	if (rc < 0)
		return why_fail(why, rc, "store %s: its metadata cannot be read: %s", s->name,
				strerror(-rc));
	identity_take(s);
	s->cluster_hint = super_md_clusters(&s->super);
	rc = identity_check(s, why);
	if (rc == 0)
		rc = blob_settle(s, why);
	if (rc == 0 && s->state == STORE_GONE)
		rc = why_fail(why, -ENODEV, "store %s: its disk is gone", s->name);
	s->figures.load_us = clock_now_us() - start;
	return rc;
}

int store_load(const char *disk, struct store **out, struct why *why)
{
	struct store *s;
	int rc;

	if (store_of_disk(disk))
		return why_fail(why, -EEXIST, "disk %s: its store %s is loaded already", disk,
				store_of_disk(disk)->name);
	rc = store_make(disk, true, &s, why);
	if (rc < 0)
		return rc;
	rc = load(s, why);
	if (rc < 0) {
		store_destroy(s);
		return rc;
	}
	store_publish(s);
	log_info("store %s: loaded from disk %s, %u blobs, in %" PRIu64 " ms", s->name, disk,
		 s->blob_count, s->figures.load_us / 1000);
	*out = s;
	return 0;
}
