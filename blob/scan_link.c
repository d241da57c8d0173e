/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parents: a clone names its snapshot in an internal xattr. A clone whose snapshot is not there, or
 * is damaged, cannot be read as it was written, and is damaged too.
 */
#include <inttypes.h>

#include "blob/scan.h"

/* Whether B would be its own ancestor. */
static bool in_a_ring(const struct blob *b, const struct blob *parent)
{
	for (; parent; parent = parent->parent)
		if (parent == b)
			return true;
	return false;
}

static void parent_find(struct scan *scan, struct blob *b)
{
	uint64_t id = blob_xattr_id(b, BS_XATTR_SNAPSHOT);
	struct blob *parent;

	if (!blob_xattr_find(b, true, BS_XATTR_SNAPSHOT) || blob_is_doomed(b))
		return;
	parent = blob_find(scan->s, id);
	if (!parent || blob_is_doomed(parent)) {
		scan_found(scan, b, FIND_PARENT, 0, 0, "its snapshot 0x%" PRIx64 " is not there",
			   id);
		return;
	}
	if (in_a_ring(b, parent)) {
		scan_found(scan, b, FIND_PARENT, 0, 0, "it is a clone of itself, by 0x%" PRIx64,
			   id);
		return;
	}
	if (!blob_is_thin(b))
		scan_found(scan, b, FIND_PARENT, 0, 0, "it is a clone of 0x%" PRIx64
			   " and not thin", id);
	blob_parent_set(b, parent);
}

/* Damage goes down from a snapshot to all its descendants. */
static void damage_inherit(struct scan *scan, struct blob *b)
{
	const struct blob *up = b->parent;

	while (up && !up->damage)
		up = up->parent;
	if (up && !b->damage)
		scan_found(scan, b, FIND_PARENT, 0, 0, "its snapshot 0x%" PRIx64 " is damaged",
			   up->id);
}

void scan_link(struct scan *scan)
{
	struct blob *b;

	list_for_each(b, &scan->s->blobs, link)
		parent_find(scan, b);
	list_for_each(b, &scan->s->blobs, link)
		damage_inherit(scan, b);
}
