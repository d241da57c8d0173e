/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots and clones. A snapshot takes over the origin's map as it is, with its extent pages, and
 * the origin begins anew with an empty one above it: nothing is copied but the chain, whatever the
 * size. Three commits, and what a load makes of a crash after each:
 *
 *   1. the snapshot, with SNAPTMP = origin     origin has its own map: the snapshot is deleted
 *   2. the origin, with SNAP = snapshot        origin is its clone: the snapshot is kept
 *   3. the snapshot, without SNAPTMP, read-only
 *
 * Writes of the origin's volume wait while 2 is under way; reads and, before it, writes go on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blob/op.h"
#include "core/base/log.h"
#include "core/clock.h"

/* ---- snapshot ---- */

struct snapshot {
	struct blob *origin, *snap;
	struct blob_map *empty;         /* for one of the two */
	struct blob_map *full;          /* the origin's until now */
	struct blob_view *origin_view, *snap_view;
	struct blob_saved saved;        /* of the origin */
};

/* The copy of an internal xattr, if there is one. */
static int xattr_inherit(struct blob *to, const struct blob *from, const char *name)
{
	const struct blob_xattr *x = blob_xattr_find(from, true, name);

	return x ? blob_xattr_put(to, true, name, x->value, x->value_len) : 0;
}

/* The snapshot in memory, a copy of the origin that names the same clusters and pages. */
static int snapshot_make(struct snapshot *t, const struct blob_xattr *xattrs, unsigned count)
{
	struct blob *origin = t->origin, *snap;
	struct blob_map *full;
	int rc = blob_new(origin->store, 0, xattrs, count, &snap);

	if (rc < 0)
		return rc;
	t->snap = snap;
	snap->invalid_flags = origin->invalid_flags & ~(uint64_t)BS_INTERNAL_XATTR;
	snap->md_ro_flags = origin->md_ro_flags;
	rc = xattr_inherit(snap, origin, BS_XATTR_SNAPSHOT);
	if (rc == 0)
		rc = xattr_inherit(snap, origin, BS_XATTR_EXTERNAL);
	if (rc == 0)
		rc = xattr_put_id(snap, BS_XATTR_SNAP_PENDING, origin->id);
	if (rc < 0)
		return rc;
	full = blob_map_resized(origin->map, origin->map->cluster_count);
	if (!full)
		return -ENOMEM;
	blob_map_destroy(snap->map);
	snap->map = full;
	blob_parent_set(snap, origin->parent);
	snap->external = origin->external;
	return blob_view_make(snap, &snap->view);
}

/* The origin in memory, as a clone with nothing of its own. */
static int origin_make(struct snapshot *t)
{
	struct blob *origin = t->origin;
	int rc = xattr_put_id(origin, BS_XATTR_SNAPSHOT, t->snap->id);

	if (rc < 0)
		return rc;
	blob_xattr_drop(origin, true, BS_XATTR_EXTERNAL);
	origin->invalid_flags &= ~(uint64_t)BS_EXTERNAL_SNAPSHOT;
	/* Whatever form its map had: it begins anew. */
	origin->invalid_flags |= BS_THIN | BS_EXTENT_TABLE;
	t->full = origin->map;
	origin->map = t->empty;
	t->empty = NULL;
	origin->external = NULL;
	blob_parent_set(origin, t->snap);
	return blob_view_make(origin, &t->origin_view);
}

static void origin_restore(struct snapshot *t)
{
	struct blob *origin = t->origin, *snap = t->snap;

	blob_view_free(t->origin_view);
	t->origin_view = NULL;
	xattrs_restore(origin, &t->saved);
	origin->external = snap->external;
	blob_parent_set(origin, snap->parent);
	if (t->full) {
		t->empty = origin->map;
		origin->map = t->full;
		t->full = NULL;
	}
}

/* Nobody is to find the snapshot: off the disk (ON_DISK) and out of memory. */
static void snapshot_undo(struct snapshot *t, bool on_disk)
{
	struct blob *snap = t->snap;

	if (!snap)
		return;
	t->snap = NULL;
	snap->external = NULL;
	if (snap->map->cluster_count > 0 && t->empty) {
		map_forget(snap, t->empty);
		t->empty = NULL;
	}
	if (on_disk && !snap->store->failed) {
		task_lock(&snap->lock);
		if (blob_remove(snap) == 0)
			return;
		task_unlock(&snap->lock);
	}
	blob_undo(snap);
}

/* Steps 2 and what comes with it: the origin changes, on disk and for readers. */
static int origin_change(struct snapshot *t)
{
	struct blob *origin = t->origin;
	uint64_t from, us;
	int rc = xattrs_save(origin, &t->saved);

	if (rc < 0)
		return rc;
	from = clock_now_us();
	volume_hold(origin);
	rc = origin_make(t);
	if (rc == 0)
		rc = blob_sync(origin);
	if (rc < 0) {
		origin_restore(t);
		volume_let_go(origin);
		return rc;
	}
	t->origin_view = blob_view_swap(origin, t->origin_view);
	volume_let_go(origin);
	us = clock_now_us() - from;
	if (us > origin->store->figures.freeze_us_max)
		origin->store->figures.freeze_us_max = us;
	blob_drain(origin->store);
	blob_view_free(t->origin_view);
	blob_map_free_shell(t->full);
	xattrs_saved_free(&t->saved);
	return 0;
}

static int snapshot_finish(struct blob *snap)
{
	int rc;

	task_lock(&snap->lock);
	blob_xattr_drop(snap, true, BS_XATTR_SNAP_PENDING);
	snap->data_ro_flags |= BS_READ_ONLY;
	rc = blob_sync(snap);
	snap->dying = false;
	task_unlock(&snap->lock);
	return rc;
}

static int snapshot_take(struct snapshot *t, const struct blob_xattr *xattrs, unsigned count)
{
	bool on_disk = false;
	int rc;

	t->empty = blob_map_create(t->origin->map->cluster_count);
	rc = t->empty ? snapshot_make(t, xattrs, count) : -ENOMEM;
	if (rc == 0) {
		task_lock(&t->snap->lock);
		rc = blob_sync(t->snap);
		task_unlock(&t->snap->lock);
		on_disk = rc == 0;
	}
	if (rc == 0)
		rc = origin_change(t);
	if (rc < 0) {
		snapshot_undo(t, on_disk);
		blob_map_destroy(t->empty);
		return rc;
	}
	return snapshot_finish(t->snap);
}

int blob_snapshot(struct blob *b, const struct blob_xattr *xattrs, unsigned count,
		  struct blob **out, struct why *why)
{
	struct snapshot t = { .origin = b };
	int rc = blob_begin_change(b, why);

	if (rc < 0)
		return rc;
	if (blob_is_readonly(b)) {
		blob_end(b);
		return why_fail(why, -EROFS, "store %s: blob 0x%" PRIx64 " is read-only: it does "
				"not change, clone it instead", b->store->name, b->id);
	}
	rc = snapshot_take(&t, xattrs, count);
	blob_fail(b, rc, "make a snapshot", why);
	blob_end(b);
	if (rc == 0)
		*out = t.snap;
	return rc;
}

/* ---- clones ---- */

int blob_clone(struct blob *snapshot, const struct blob_xattr *xattrs, unsigned count,
	       struct blob **out, struct why *why)
{
	struct store *s = snapshot->store;
	struct blob *b = NULL;
	int rc = blob_begin(snapshot, why);

	if (rc < 0)
		return rc;
	if (!blob_is_readonly(snapshot)) {
		blob_end(snapshot);
		return why_fail(why, -EINVAL, "store %s: blob 0x%" PRIx64 " can change: take a "
				"snapshot of it and clone that", s->name, snapshot->id);
	}
	rc = blob_new(s, snapshot->map->cluster_count, xattrs, count, &b);
	if (rc == 0) {
		task_lock(&b->lock);
		b->invalid_flags |= BS_THIN;
		rc = xattr_put_id(b, BS_XATTR_SNAPSHOT, snapshot->id);
		if (rc == 0) {
			blob_parent_set(b, snapshot);
			rc = blob_view_make(b, &b->view);
		}
		if (rc == 0)
			rc = blob_sync(b);
		b->dying = false;
		task_unlock(&b->lock);
		if (rc < 0)
			blob_undo(b);
	}
	blob_fail(snapshot, rc, "make a clone", why);
	blob_end(snapshot);
	*out = b;
	return rc;
}

int blob_clone_external(struct store *s, const char *esnap, uint64_t cluster_count,
			const struct blob_xattr *xattrs, unsigned count, struct blob **out,
			struct why *why)
{
	struct blob *b = NULL;
	int rc = store_enter(s, why);

	if (rc < 0)
		return rc;
	rc = blob_new(s, cluster_count, xattrs, count, &b);
	if (rc == 0) {
		task_lock(&b->lock);
		b->invalid_flags |= BS_THIN | BS_EXTERNAL_SNAPSHOT;
		rc = blob_xattr_put(b, true, BS_XATTR_EXTERNAL, esnap, strlen(esnap) + 1);
		if (rc == 0)
			rc = blob_view_make(b, &b->view);
		if (rc == 0)
			rc = blob_sync(b);
		b->dying = false;
		task_unlock(&b->lock);
		if (rc < 0)
			blob_undo(b);
	}
	store_leave(s);
	if (rc < 0)
		return why_fail(why, rc, "store %s: cannot make a clone: %s", s->name,
				strerror(-rc));
	*out = b;
	return 0;
}

/* ---- another parent ---- */

int blob_parent_change(struct blob *b, struct blob *parent, bool thin)
{
	struct blob *old = b->parent;
	struct blob_view *view = NULL;
	struct blob_saved saved;
	int rc = xattrs_save(b, &saved);

	if (rc < 0)
		return rc;
	if (parent) {
		rc = xattr_put_id(b, BS_XATTR_SNAPSHOT, parent->id);
	} else {
		blob_xattr_drop(b, true, BS_XATTR_SNAPSHOT);
		/* What is beneath the old parent is beneath B now. */
		if (thin && old && old->invalid_flags & BS_EXTERNAL_SNAPSHOT)
			rc = xattr_inherit(b, old, BS_XATTR_EXTERNAL);
	}
	if (!parent && thin && old && old->invalid_flags & BS_EXTERNAL_SNAPSHOT) {
		b->invalid_flags |= BS_EXTERNAL_SNAPSHOT;
		b->external = old->external;
	} else {
		blob_xattr_drop(b, true, BS_XATTR_EXTERNAL);
		b->invalid_flags &= ~(uint64_t)BS_EXTERNAL_SNAPSHOT;
		b->external = NULL;
	}
	b->invalid_flags &= ~(uint64_t)BS_THIN;
	if (thin)
		b->invalid_flags |= BS_THIN;
	blob_parent_set(b, parent);
	if (rc == 0)
		rc = blob_view_make(b, &view);
	if (rc == 0)
		rc = blob_sync(b);
	if (rc < 0) {
		blob_view_free(view);
		xattrs_restore(b, &saved);
		b->external = NULL;
		external_connect(b);
		blob_parent_set(b, old);
		return rc;
	}
	view = blob_view_swap(b, view);
	blob_drain(b->store);
	blob_view_free(view);
	xattrs_saved_free(&saved);
	return 0;
}

static const char *parent_refusal(const struct blob *b, const struct blob *parent)
{
	if (parent->store != b->store || parent == b)
		return "is not a snapshot of the same store";
	if (parent->map->cluster_count != b->map->cluster_count)
		return "has another size";
	if (!blob_is_readonly(parent))
		return "can change; take a snapshot of it";
	for (const struct blob *p = parent; p; p = p->parent)
		if (p == b)
			return "is a clone of it";
	return blob_is_thin(b) ? NULL : "cannot be beneath a thick volume";
}

int blob_set_parent(struct blob *b, struct blob *snapshot, struct why *why)
{
	const char *refusal;
	int rc = blob_begin_change(b, why);

	if (rc < 0)
		return rc;
	refusal = parent_refusal(b, snapshot);
	if (refusal)
		rc = why_fail(why, -EINVAL, "store %s: blob 0x%" PRIx64 " %s", b->store->name,
			      snapshot->id, refusal);
	else if (b->parent != snapshot)
		rc = blob_fail(b, blob_parent_change(b, snapshot, true), "set the parent", why);
	blob_end(b);
	return rc;
}
