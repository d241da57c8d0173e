/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a store in memory: masks of what is taken, a flush, and then the word that they are
 * valid, and a flush. A store that was not changed since it was loaded clean is not written to.
 */
#include <errno.h>
#include <string.h>

#include "blob/scan.h"
#include "core/base/log.h"

static int blobids_write(struct store *s)
{
	struct bits ids;
	struct blob *b;
	int rc;

	if (s->super.blobid_mask_len == 0)
		return 0;
	rc = bits_init(&ids, s->super.md_len);
	if (rc < 0)
		return rc;
	list_for_each(b, &s->blobs, link)
		bits_set(&ids, blob_root(b));
	rc = mask_write(s, BS_MASK_BLOBIDS, &ids);
	bits_fini(&ids);
	return rc;
}

static int slot_free(struct store *s)
{
	int rc;

	if (!s->slot)
		return 0;
	rc = store_zero(s, page_at(s, s->slot), 2 * MD_PAGE_BYTES);
	page_free(s, s->slot);
	page_free(s, s->slot + 1);
	s->slot = 0;
	return rc;
}

static int clean_write(struct store *s)
{
	int rc;

	if (s->super.clean)
		return 0;
	rc = store_dirty(s);
	if (rc == 0)
		rc = slot_free(s);
	if (rc == 0)
		rc = mask_write(s, BS_MASK_PAGES, &s->pages);
	if (rc == 0)
		rc = blobids_write(s);
	if (rc == 0)
		rc = mask_write(s, BS_MASK_CLUSTERS, &s->clusters);
	return rc < 0 ? rc : super_write_clean(s, true);
}

static int open_check(const struct store *s, struct why *why)
{
	const struct blob *b;

	list_for_each(b, &s->blobs, link)
		if (b->open_count > 0)
			return why_fail(why, -EBUSY, "store %s: its volumes are in use; remove "
					"what uses them first", s->name);
	return 0;
}

int store_unload(struct store *s, struct why *why)
{
	int rc = store_enter_alone(s, why);

	if (rc < 0)
		return rc;
	rc = open_check(s, why);
	if (rc < 0) {
		store_leave_alone(s);
		return rc;
	}
	rc = s->failed ? 0 : clean_write(s);
	if (s->state == STORE_GONE) {
		store_leave_alone(s);
		return why_fail(why, -ENODEV, "store %s: its disk is gone", s->name);
	}
	if (rc < 0 || s->failed)
		log_warn("store %s: is not clean, the next load will recover it", s->name);
	store_end(s);
	return 0;
}

/* The first block alone goes first: no disk tears that. */
int super_wipe(struct store *s)
{
	static const uint8_t zeroes[MD_PAGE_BYTES];
	int rc = store_write(s, 0, zeroes, 1u << s->block_shift);

	if (rc == 0)
		rc = store_flush(s);
	if (rc == 0)
		rc = store_write(s, 0, zeroes, MD_PAGE_BYTES);
	return rc < 0 ? rc : store_flush(s);
}

int store_delete(struct store *s, struct why *why)
{
	int rc = store_enter_alone(s, why);

	if (rc < 0)
		return rc;
	rc = open_check(s, why);
	if (rc == 0) {
		rc = super_wipe(s);
		if (rc < 0)
			why_fail(why, rc, "store %s: its superblock cannot be wiped: %s", s->name,
				 strerror(-rc));
	}
	if (rc < 0 || s->state == STORE_GONE) {
		store_leave_alone(s);
		return rc < 0 ? rc : why_fail(why, -ENODEV, "store %s: its disk is gone", s->name);
	}
	store_end(s);
	return 0;
}
