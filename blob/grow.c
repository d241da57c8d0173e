/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store takes in what its disk has grown by. The commit is the superblock with the new size:
 * while a store is in use its masks on disk do not count, so that nothing else has to be written.
 * The cluster mask grows into the gap behind it, which bounds the growth; a new store has a gap for
 * four times its size (super_layout()). Metadata does not grow: the number of blobs stays bounded.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/log.h"

/* Pages from the cluster mask's start to whatever comes next. */
static uint64_t mask_room(const struct super *super)
{
	const uint32_t starts[] = { super->page_mask_start, super->blobid_mask_start,
				    super->md_start };
	uint64_t end = (uint64_t)super->cluster_mask_start + super->cluster_mask_len;
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < ARRAY_SIZE(starts); i++)
		if (starts[i] >= end && starts[i] < next)
			next = starts[i];
	return next - super->cluster_mask_start;
}

/* What the superblock will be; -ENOSPC. The same when there is nothing to take in. */
static int grown_super(const struct store *s, struct super *super, struct why *why)
{
	uint64_t bytes = s->disk.bdev->block_count << s->block_shift;
	uint64_t room = mask_room(&s->super), clusters = bytes / s->super.cluster_bytes;
	uint64_t max = (room * MD_PAGE_BYTES - sizeof(struct bs_mask)) * 8;

	*super = s->super;
	if (bytes <= s->super.size_bytes || clusters <= s->clusters.count)
		return 0;
	if (clusters > MIN(max, (uint64_t)UINT32_MAX)) {
		clusters = MIN(max, (uint64_t)UINT32_MAX);
		bytes = clusters * s->super.cluster_bytes;
	}
	if (clusters <= s->clusters.count)
		return why_fail(why, -ENOSPC, "store %s: its cluster mask has room for %" PRIu64
				" clusters and no more; make a new store on another disk",
				s->name, s->clusters.count);
	super->size_bytes = bytes;
	super->cluster_mask_len =
		(uint32_t)div_round_up(sizeof(struct bs_mask) + div_round_up(clusters, 8),
				       MD_PAGE_BYTES);
	super->cluster_mask_len = MAX(super->cluster_mask_len, s->super.cluster_mask_len);
	return 0;
}

int store_grow(struct store *s, uint64_t *added, struct why *why)
{
	struct super super, old;
	int rc = store_enter_alone(s, why);

	*added = 0;
	if (rc < 0)
		return rc;
	if (s->failed)
		rc = why_fail(why, -EROFS, "store %s: read-only since a write of metadata failed; "
			      "unload and load it again", s->name);
	if (rc == 0)
		rc = grown_super(s, &super, why);
	old = s->super;
	if (rc == 0)
		*added = super_cluster_count(&super) - s->clusters.count;
	/* The word that the masks do not count is a write of its own: it mends itself when torn. */
	if (rc == 0 && *added > 0)
		rc = store_dirty(s);
	if (rc == 0 && *added > 0) {
		rc = bits_grow(&s->clusters, super_cluster_count(&super));
		s->super.size_bytes = super.size_bytes;
		s->super.cluster_mask_len = super.cluster_mask_len;
		if (rc == 0)
			rc = super_write(s);
		if (rc < 0) {
			s->super.size_bytes = old.size_bytes;
			s->super.cluster_mask_len = old.cluster_mask_len;
			*added = 0;
			why_fail(why, rc, "store %s: cannot grow: %s", s->name, strerror(-rc));
		}
	}
	if (rc == 0 && *added > 0) {
		log_info("store %s: has grown by %" PRIu64 " clusters", s->name, *added);
		store_level_check(s);
	}
	store_leave_alone(s);
	return rc;
}
