/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ends what a crash interrupted: a snapshot that was being made (SNAPTMP names its origin), or
 * deleted (SNAPRM names the clone that was to get its clusters). The clone tells how far it was:
 * while it names the snapshot as its parent, it needs it, and the snapshot stays; otherwise all
 * that the snapshot had is the clone's, and the rest of it goes.
 */
#include <errno.h>
#include <inttypes.h>

#include "blob/scan.h"
#include "core/base/log.h"

/* The other one, by either xattr; BLOB_ID_NONE: B is not in between. */
static uint64_t other_id(const struct blob *b)
{
	if (blob_xattr_find(b, true, BS_XATTR_SNAP_PENDING))
		return blob_xattr_id(b, BS_XATTR_SNAP_PENDING);
	return blob_xattr_id(b, BS_XATTR_SNAP_REMOVING);
}

static bool in_between(const struct blob *b)
{
	return blob_xattr_find(b, true, BS_XATTR_SNAP_PENDING) ||
	       blob_xattr_find(b, true, BS_XATTR_SNAP_REMOVING);
}

bool blob_is_doomed(const struct blob *b)
{
	const struct blob *other;

	if (b->damage || !in_between(b))
		return false;
	other = blob_find(b->store, other_id(b));
	/* Nobody knows what a damaged clone says. */
	return other ? !other->damage && blob_xattr_id(other, BS_XATTR_SNAPSHOT) != b->id : true;
}

static int keep(struct blob *b)
{
	blob_xattr_drop(b, true, BS_XATTR_SNAP_PENDING);
	blob_xattr_drop(b, true, BS_XATTR_SNAP_REMOVING);
	b->data_ro_flags |= BS_READ_ONLY;
	log_info("store %s: an interrupted change of snapshot 0x%" PRIx64 " has ended; it stays",
		 b->store->name, b->id);
	return blob_sync(b);
}

static int drop(struct blob *b)
{
	int rc = blob_unlink(b);

	if (rc < 0)
		return rc;
	log_info("store %s: an interrupted change of snapshot 0x%" PRIx64 " has ended; it is "
		 "gone", b->store->name, b->id);
	blob_free(b);
	return 0;
}

int blob_settle(struct store *s, struct why *why)
{
	struct blob *b, *next;
	int rc = 0;

	for (b = blob_next(s, NULL); rc == 0 && b; b = next) {
		next = blob_next(s, b);
		if (blob_is_doomed(b))
			rc = drop(b);
		else if (!b->damage && in_between(b) && !blob_find(s, other_id(b))->damage)
			rc = keep(b);
	}
	return rc < 0 ? why_fail(why, rc, "store %s: an interrupted snapshot cannot be ended",
				 s->name) : 0;
}
