/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blobs become larger and smaller. The commit is the root, with the new size; the extent page in
 * which the old or the new end lies is written to a new page before it, since it holds exactly as
 * many entries as there are clusters.
 *
 * What is given back is out of the view, and readers are drained, before anything is written: a
 * write that is under way must not reach a cluster that is somebody else's by then.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blob/op.h"

int blob_map_fill(struct blob *b, struct blob_map *map, uint64_t first, uint64_t count,
		  uint32_t *cluster)
{
	int rc = cluster_alloc(b->store, cluster, count);

	if (rc < 0)
		return rc;
	rc = clusters_zero(b->store, cluster, count);
	for (uint64_t i = 0; rc == 0 && i < count; i++) {
		rc = blob_map_reserve(map, first + i);
		if (rc == 0)
			blob_map_set(map, first + i, cluster[i]);
	}
	for (uint64_t i = 0; rc < 0 && i < count; i++)
		cluster_free(b->store, cluster[i]);
	return rc;
}

/* Forgets what NEW has and OLD has not. */
static void grow_undo(struct blob_map *new, const struct blob_map *old)
{
	for (uint64_t c = old->cluster_count; c < new->cluster_count; c++)
		blob_map_set(new, c, 0);
	for (uint32_t e = 0; e < new->extent_count; e++)
		if (e >= old->extent_count || !old->extent[e].cluster)
			free(new->extent[e].cluster);
	blob_map_free_shell(new);
}

/*
 * The extent in which a map of COUNT clusters ends holds as many entries as there are clusters:
 * when the end moves, it is written anew. Returns the page that it had; 0: none.
 */
static uint32_t tail_renew(const struct blob_map *from, struct blob_map *to)
{
	uint64_t end = MIN(from->cluster_count, to->cluster_count);
	uint32_t e = (uint32_t)(end / BS_EXTENT_CLUSTERS), page;

	if (end % BS_EXTENT_CLUSTERS == 0)
		return 0;
	page = to->extent[e].page;
	to->extent[e].page = 0;
	return page;
}

static int grow(struct blob *b, uint64_t cluster_count)
{
	uint64_t more = cluster_count - b->map->cluster_count;
	struct blob_map *old = b->map, *new = blob_map_resized(old, cluster_count);
	uint32_t *cluster = NULL, page = 0;
	struct blob_view *view = NULL;
	int rc = new ? 0 : -ENOMEM;

	if (rc == 0 && !blob_is_thin(b)) {
		rc = more > bits_free(&b->store->clusters) ? -ENOSPC : 0;
		cluster = rc == 0 ? malloc(more * sizeof(*cluster)) : NULL;
		rc = rc == 0 && !cluster ? -ENOMEM : rc;
		if (rc == 0)
			rc = blob_map_fill(b, new, old->cluster_count, more, cluster);
		if (rc < 0) {
			free(cluster);
			cluster = NULL;
		}
	}
	if (rc == 0) {
		page = tail_renew(old, new);
		b->map = new;
		rc = blob_view_make(b, &view);
		if (rc == 0) {
			rc = blob_sync(b);
			if (rc < 0)
				blob_view_free(view);
		}
	}
	if (rc < 0) {
		b->map = old;
		for (uint64_t i = 0; cluster && !b->store->failed && i < more; i++)
			cluster_free(b->store, cluster[i]);
		if (new)
			grow_undo(new, old);
		free(cluster);
		return rc;
	}
	free(cluster);
	extent_page_free(b->store, page);
	view = blob_view_swap(b, view);
	blob_drain(b->store);
	blob_view_free(view);
	blob_map_free_shell(old);
	return 0;
}

/* A map with the first CLUSTER_COUNT of B's; its last array is a copy when it is cut. */
static struct blob_map *map_cut(const struct blob_map *old, uint64_t cluster_count)
{
	struct blob_map *new = blob_map_resized(old, cluster_count);
	uint64_t tail = cluster_count % BS_EXTENT_CLUSTERS;
	struct blob_extent *last;

	if (!new || tail == 0)
		return new;
	last = &new->extent[new->extent_count - 1];
	if (!last->cluster)
		return new;
	last->cluster = calloc(BS_EXTENT_CLUSTERS, sizeof(*last->cluster));
	if (!last->cluster) {
		blob_map_free_shell(new);
		return NULL;
	}
	memcpy(last->cluster, old->extent[new->extent_count - 1].cluster,
	       tail * sizeof(*last->cluster));
	last->mapped = 0;
	for (uint64_t i = 0; i < tail; i++)
		last->mapped += last->cluster[i] != 0;
	return new;
}

/* Clusters of OLD past the end of NEW into LIST; returns how many. */
static uint64_t cut_clusters(const struct blob_map *old, const struct blob_map *new, uint32_t *list)
{
	uint64_t n = 0;

	for (uint64_t c = new->cluster_count; c < old->cluster_count; c++)
		if (blob_map_get(old, c))
			list[n++] = blob_map_get(old, c);
	return n;
}

/* What OLD had and NEW, which took its place on disk, has not. Readers are drained. */
static void cut_free(struct blob *b, struct blob_map *old, const struct blob_map *new,
		     uint32_t tail_page)
{
	uint32_t e = new->extent_count;

	extent_page_free(b->store, tail_page);
	if (e > 0 && old->extent[e - 1].cluster != new->extent[e - 1].cluster)
		free(old->extent[e - 1].cluster);
	for (; e < old->extent_count; e++) {
		extent_page_free(b->store, old->extent[e].page);
		free(old->extent[e].cluster);
	}
	blob_map_free_shell(old);
}

static int shrink(struct blob *b, uint64_t cluster_count)
{
	struct blob_map *old = b->map, *new = map_cut(old, cluster_count);
	uint64_t lost = blob_map_mapped(old), n = 0;
	uint32_t *list = malloc(MAX(lost, 1) * sizeof(*list)), page = 0;
	struct blob_view *view = NULL;
	int rc = new && list ? 0 : -ENOMEM;

	if (rc == 0) {
		n = cut_clusters(old, new, list);
		page = tail_renew(old, new);
		b->map = new;
		rc = blob_view_make(b, &view);
	}
	if (rc == 0) {
		/* Nobody may be writing to what is given away. */
		view = blob_view_swap(b, view);
		blob_drain(b->store);
		rc = blob_sync(b);
		if (rc < 0) {
			view = blob_view_swap(b, view);
			blob_drain(b->store);
		}
		blob_view_free(view);
	}
	b->map = rc < 0 ? old : new;
	if (rc == 0) {
		cut_free(b, old, new, page);
		clusters_free(b->store, b, list, n);
	} else if (new) {
		uint32_t e = new->extent_count;

		if (e > 0 && old->extent[e - 1].cluster != new->extent[e - 1].cluster)
			free(new->extent[e - 1].cluster);
		blob_map_free_shell(new);
	}
	free(list);
	return rc;
}

int blob_resize(struct blob *b, uint64_t cluster_count, struct why *why)
{
	uint64_t now;
	int rc = blob_begin_change(b, why);

	if (rc < 0)
		return rc;
	now = b->map->cluster_count;
	if (blob_is_readonly(b) || !list_empty(&b->clones)) {
		blob_end(b);
		return why_fail(why, -EROFS, "store %s: blob 0x%" PRIx64 " is read-only",
				b->store->name, b->id);
	}
	if (cluster_count > now)
		rc = grow(b, cluster_count);
	else if (cluster_count < now)
		rc = shrink(b, cluster_count);
	blob_fail(b, rc, "resize a blob", why);
	blob_end(b);
	return rc;
}
