/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Delete of a snapshot that has one clone. Where the snapshot ends before the clone, and what is
 * below the snapshot does not, the clone first gets zeroed clusters of its own. The clone gets the
 * clusters that it has none of its own for; an extent of which it has nothing at all is taken over
 * with its page. Commits, and what a load makes of a crash after each:
 *
 *   1. the snapshot, with SNAPRM = clone       clone's parent is the snapshot: it is kept
 *   2. the clone, merged                       it has another parent: the snapshot is deleted,
 *   3. the snapshot's root is cleared          but not what the clone has now
 *
 * Mixed extents are written to new pages before 2, never in place: until then the old map counts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/op.h"

struct merge {
	struct blob *snap, *clone;
	struct blob_map *map;           /* the clone's, merged */
	struct blob_map *old;
	struct blob_map *empty;         /* for the snapshot when it is deleted */
	uint32_t *freed;                /* clusters that the clone had of its own */
	uint64_t freed_count;
	uint32_t *pages;                /* extent pages that neither map names afterwards */
	uint32_t page_count;
};

/* An extent of which both have something: another array, another page. */
static int mix_extent(struct merge *m, uint32_t e)
{
	const struct blob_extent *from = &m->snap->map->extent[e];
	struct blob_extent *to = &m->map->extent[e];
	uint32_t *mixed = malloc(BS_EXTENT_CLUSTERS * sizeof(*mixed));

	if (!mixed)
		return -ENOMEM;
	memcpy(mixed, to->cluster, BS_EXTENT_CLUSTERS * sizeof(*mixed));
	to->mapped = 0;
	for (unsigned i = 0; i < BS_EXTENT_CLUSTERS; i++) {
		uint64_t c = e * (uint64_t)BS_EXTENT_CLUSTERS + i;

		if (mixed[i] && from->cluster[i])
			m->freed[m->freed_count++] = from->cluster[i];
		else if (!mixed[i] && c < m->map->cluster_count)
			mixed[i] = from->cluster[i];
		else if (from->cluster[i])
			m->freed[m->freed_count++] = from->cluster[i];
		to->mapped += mixed[i] != 0;
	}
	if (to->page)
		m->pages[m->page_count++] = to->page;
	if (from->page)
		m->pages[m->page_count++] = from->page;
	to->cluster = mixed;
	to->page = 0;
	return 0;
}

static void free_extent(struct merge *m, uint32_t e)
{
	const struct blob_extent *from = &m->snap->map->extent[e];

	for (unsigned i = 0; from->cluster && i < BS_EXTENT_CLUSTERS; i++)
		if (from->cluster[i])
			m->freed[m->freed_count++] = from->cluster[i];
	if (from->page)
		m->pages[m->page_count++] = from->page;
}

/* Whether the page of extent E says as much as the clone's must: it ends where the blob does. */
static bool same_end(const struct merge *m, uint32_t e)
{
	uint64_t end = (e + 1) * (uint64_t)BS_EXTENT_CLUSTERS;

	return MIN(end, m->map->cluster_count) == MIN(end, m->snap->map->cluster_count);
}

/* The clone has nothing there. */
static int take_extent(struct merge *m, uint32_t e)
{
	const struct blob_extent *from = &m->snap->map->extent[e];
	struct blob_extent *to = &m->map->extent[e];
	uint32_t *none;

	if (same_end(m, e) && blob_has_table(m->snap) == blob_has_table(m->clone)) {
		if (to->page)
			m->pages[m->page_count++] = to->page;
		*to = *from;
		return 0;
	}
	if (to->cluster)
		return mix_extent(m, e);
	none = calloc(BS_EXTENT_CLUSTERS, sizeof(*none));
	if (!none)
		return -ENOMEM;
	to->cluster = none;
	if (mix_extent(m, e) < 0) {
		to->cluster = NULL;
		free(none);
		return -ENOMEM;
	}
	free(none);
	return 0;
}

static int merge_maps(struct merge *m)
{
	const struct blob_map *from = m->snap->map;
	int rc = 0;

	for (uint32_t e = 0; rc == 0 && e < from->extent_count; e++) {
		if (from->extent[e].mapped == 0 || e >= m->map->extent_count)
			free_extent(m, e);
		else if (m->map->extent[e].mapped == 0)
			rc = take_extent(m, e);
		else
			rc = mix_extent(m, e);
	}
	return rc;
}

static int merge_prepare(struct merge *m)
{
	const struct blob_map *from = m->snap->map;

	m->old = m->clone->map;
	m->map = blob_map_resized(m->old, m->old->cluster_count);
	m->empty = blob_map_create(0);
	m->freed = malloc((blob_map_mapped(from) + 1) * sizeof(*m->freed));
	m->pages = malloc((2 * (size_t)from->extent_count + 1) * sizeof(*m->pages));
	return m->map && m->empty && m->freed && m->pages ? merge_maps(m) : -ENOMEM;
}

/* Arrays of MAP that neither KEPT nor ALSO names. */
static void arrays_free(struct blob_map *map, const struct blob_map *kept,
			const struct blob_map *also)
{
	for (uint32_t e = 0; e < map->extent_count; e++) {
		uint32_t *array = map->extent[e].cluster;

		if ((e >= kept->extent_count || kept->extent[e].cluster != array) &&
		    (!also || e >= also->extent_count || also->extent[e].cluster != array))
			free(array);
	}
	blob_map_free_shell(map);
}

static int mark(struct blob *snap, uint64_t clone)
{
	struct blob_saved saved;
	int rc = xattrs_save(snap, &saved);

	if (rc < 0)
		return rc;
	if (clone == BLOB_ID_NONE)
		rc = blob_xattr_drop(snap, true, BS_XATTR_SNAP_REMOVING);
	else
		rc = xattr_put_id(snap, BS_XATTR_SNAP_REMOVING, clone);
	if (rc == 0)
		rc = blob_sync(snap);
	if (rc < 0)
		xattrs_restore(snap, &saved);
	else
		xattrs_saved_free(&saved);
	return rc;
}

/* The snapshot has nothing any more but its root and chain. Its lock goes with it. */
static int merge_finish(struct merge *m)
{
	struct store *s = m->snap->store;
	struct blob_map *snap_map = m->snap->map;
	int rc;

	m->snap->map = m->empty;
	m->empty = NULL;
	rc = blob_remove(m->snap);
	if (rc < 0) {
		/* The store has failed; a load ends it. Memory names nothing twice. */
		arrays_free(snap_map, m->map, NULL);
		arrays_free(m->old, m->map, NULL);
		return rc;
	}
	for (uint32_t i = 0; i < m->page_count; i++)
		extent_page_free(s, m->pages[i]);
	clusters_free(s, m->clone, m->freed, m->freed_count);
	arrays_free(snap_map, m->map, NULL);
	arrays_free(m->old, m->map, NULL);
	return 0;
}

static int merge_run(struct merge *m)
{
	struct blob *clone = m->clone;
	int rc = merge_prepare(m);

	if (rc == 0)
		rc = mark(m->snap, clone->id);
	if (rc == 0) {
		clone->map = m->map;
		rc = blob_parent_change(clone, m->snap->parent, true);
		if (rc < 0) {
			clone->map = m->old;
			if (!m->snap->store->failed)
				mark(m->snap, BLOB_ID_NONE);
		}
	}
	if (rc == 0)
		return merge_finish(m);
	if (m->map)
		arrays_free(m->map, m->old, m->snap->map);
	return rc;
}

int blob_merge(struct blob *b)
{
	struct merge m = { .snap = b };
	int rc = -EBUSY;

	m.clone = list_first_entry(&b->clones, struct blob, clone_link);
	m.clone->open_count++;
	task_lock(&m.clone->lock);
	if (m.clone->parent == b && !m.clone->damage)
		rc = blob_fill_hidden(m.clone);
	if (rc == 0)
		rc = merge_run(&m);
	task_unlock(&m.clone->lock);
	m.clone->open_count--;
	blob_map_destroy(m.empty);
	free(m.freed);
	free(m.pages);
	return rc;
}
