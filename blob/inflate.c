/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clones on their own feet. Clusters are filled from beneath a batch at a time, like a first
 * write to each would; between batches, and to clusters that are there, the volume's I/O goes on.
 * When all are there one commit changes the parent. A crash, an error or a cancel before that
 * leaves a clone with more clusters of its own.
 */
#include <errno.h>
#include <inttypes.h>

#include "blob/op.h"

/* Which clusters that are not a blob's own become it. */
enum want {
	WANT_ALL,
	WANT_PARENTS,                   /* those of the parent alone, and the hidden ones */
	WANT_HIDDEN,
};

/*
 * The parent ends before it: zeroes are read there. What lies below the parent would show if the
 * parent went.
 */
static bool hidden(const struct blob *b, uint64_t c)
{
	const struct blob *p = b->parent;

	return p && c >= p->map->cluster_count && blob_beneath(p, c).kind != PLACE_NOWHERE;
}

static bool wanted(const struct blob *b, uint64_t c, enum want want)
{
	const struct blob *p = b->parent;

	if (blob_map_get(b->map, c))
		return false;
	if (want == WANT_ALL || hidden(b, c))
		return true;
	if (want == WANT_HIDDEN)
		return false;
	/* Of the parent alone: itself, or the disk when that is the parent. */
	if (!p)
		return blob_beneath(b, c).kind != PLACE_NOWHERE;
	return c < p->map->cluster_count && blob_map_get(p->map, c);
}

static uint64_t wanted_count(const struct blob *b, enum want want)
{
	uint64_t n = 0;

	for (uint64_t c = 0; c < b->map->cluster_count; c++)
		n += wanted(b, c, want);
	return n;
}

/* The next clusters at *C or after it; 1: some were filled, 0: none is left. */
static int fill_next(struct blob *b, uint64_t *c, enum want want)
{
	uint64_t list[BATCH_IOS];
	int results[BATCH_IOS];
	unsigned n = 0;

	for (; *c < b->map->cluster_count && n < BATCH_IOS; ++*c)
		if (wanted(b, *c, want))
			list[n++] = *c;
	if (n == 0)
		return 0;
	blob_fill(b, list, NULL, n, results);
	for (unsigned i = 0; i < n; i++)
		if (results[i] < 0)
			return results[i];
	return 1;
}

static int fill_all(struct blob *b, enum want want)
{
	uint64_t c = 0, need = wanted_count(b, want);
	int rc;

	if (need > bits_free(&b->store->clusters))
		return -ENOSPC;
	task_describe("store %s: filling blob 0x%" PRIx64, b->store->name, b->id);
	while ((rc = fill_next(b, &c, want)) > 0) {
		task_progress(c, b->map->cluster_count);
		if (task_cancelled())
			return -ECANCELED;
		/* First writes of the volume get a turn. */
		task_unlock(&b->lock);
		task_yield();
		task_lock(&b->lock);
	}
	return rc;
}

int blob_fill_hidden(struct blob *b)
{
	uint64_t c = 0;
	int rc;

	while ((rc = fill_next(b, &c, WANT_HIDDEN)) > 0)
		;
	return rc;
}

static int separate(struct blob *b, bool all, const char *what, struct why *why)
{
	enum want want = all ? WANT_ALL : WANT_PARENTS;
	int rc = blob_begin_change(b, why);

	if (rc < 0)
		return rc;
	if (blob_is_readonly(b)) {
		blob_end(b);
		return why_fail(why, -EROFS, "store %s: blob 0x%" PRIx64 " is read-only",
				b->store->name, b->id);
	}
	if (!all && !b->parent && !(b->invalid_flags & BS_EXTERNAL_SNAPSHOT)) {
		blob_end(b);
		return why_fail(why, -EINVAL, "store %s: blob 0x%" PRIx64 " has no parent",
				b->store->name, b->id);
	}
	/* In RLE form too: a cluster that unmap gave back meanwhile is looked for again. */
	do {
		rc = blob_is_thin(b) ? fill_all(b, want) : 0;
	} while (rc == 0 && blob_is_thin(b) && wanted_count(b, want) > 0);
	if (rc == 0 && blob_is_thin(b))
		rc = blob_parent_change(b, all || !b->parent ? NULL : b->parent->parent, !all);
	blob_fail(b, rc, what, why);
	blob_end(b);
	return rc;
}

int blob_inflate(struct blob *b, struct why *why)
{
	return separate(b, true, "inflate a volume", why);
}

int blob_decouple(struct blob *b, struct why *why)
{
	return separate(b, false, "decouple a volume", why);
}
