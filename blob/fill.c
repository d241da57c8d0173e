/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clusters of thin blobs come and go: the first write to one, and unmap.
 *
 * To come: take a free cluster, fill all of it (with what the first write brings, the rest from
 * beneath or with zeroes), write the mapping, and only then show it to readers. The disk's order is
 * made by blob_sync_extent(): it flushes before and after. The mapping is prepared in a copy of the
 * extent's array, so that readers, who see the array itself, do not find the cluster before it is
 * durable.
 *
 * To go, the other way round: out of the array, wait for readers who saw it, write the mapping, and
 * only then the cluster is free.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/view.h"
#include "core/base/panic.h"

/* ---- to come ---- */

struct fill {
	struct blob *blob;
	unsigned count;
	struct cluster_fill item[FILL_MAX];     /* by c: those of an extent lie together */
};

static void fill_add(struct fill *f, const struct cluster_fill *item)
{
	unsigned i = f->count++;

	for (; i > 0 && f->item[i - 1].c > item->c; i--)
		f->item[i] = f->item[i - 1];
	f->item[i] = *item;
}

static bool fill_has(const struct fill *f, uint64_t c)
{
	for (unsigned i = 0; i < f->count; i++)
		if (f->item[i].c == c)
			return true;
	return false;
}

/* A cluster for each that has none; who gets none has its result. */
static void fill_take(struct fill *f, const uint64_t *c, struct cluster_data *data, unsigned count,
		      int *rc)
{
	struct blob *b = f->blob;

	for (unsigned i = 0; i < count; i++) {
		struct cluster_fill item = { .c = c[i], .data = data ? &data[i] : NULL,
					     .rc = &rc[i] };

		rc[i] = c[i] < b->map->cluster_count ? 0 : -ERANGE;
		if (rc[i] == 0 && !blob_map_get(b->map, c[i]) && !fill_has(f, c[i])) {
			rc[i] = cluster_alloc(b->store, &item.cluster, 1);
			item.from = blob_beneath(b, c[i]);
			if (rc[i] == 0) {
				fill_add(f, &item);
				continue;
			}
		}
		if (data)
			data[i].iov_count = 0;
	}
}

static void fill_fail(struct fill *f, unsigned first, unsigned count, int rc)
{
	for (unsigned i = first; i < first + count; i++) {
		struct cluster_fill *item = &f->item[i];

		*item->rc = rc;
		if (item->data)
			item->data->iov_count = 0;
		/* After a failed write of metadata nobody knows what the disk names. */
		if (!f->blob->store->failed)
			cluster_free(f->blob->store, item->cluster);
	}
}

/* Readers see what has become durable. ARRAY was the extent's before, NULL: it had none. */
static void fill_show(struct fill *f, unsigned first, unsigned count, uint32_t *array)
{
	struct blob *b = f->blob;
	uint32_t e = (uint32_t)(f->item[first].c / BS_EXTENT_CLUSTERS);
	uint32_t *copy = b->map->extent[e].cluster;

	if (!array) {
		if (b->view)
			__atomic_store_n(&b->view->map->extent[e].cluster, copy, __ATOMIC_RELEASE);
		return;
	}
	for (unsigned i = first; i < first + count; i++)
		__atomic_store_n(&array[f->item[i].c % BS_EXTENT_CLUSTERS],
				 f->item[i].cluster, __ATOMIC_RELEASE);
	b->map->extent[e].cluster = array;
	free(copy);
}

/* The clusters FIRST… of one extent, whose data is on the disk. */
static void fill_map(struct fill *f, unsigned first, unsigned count)
{
	struct blob *b = f->blob;
	uint32_t e = (uint32_t)(f->item[first].c / BS_EXTENT_CLUSTERS);
	struct blob_extent *extent = &b->map->extent[e];
	uint32_t *array = extent->cluster, mapped = extent->mapped;
	uint32_t *copy = calloc(BS_EXTENT_CLUSTERS, sizeof(*copy));
	int rc = copy ? 0 : -ENOMEM;

	if (rc == 0) {
		if (array)
			memcpy(copy, array, BS_EXTENT_CLUSTERS * sizeof(*copy));
		extent->cluster = copy;
		for (unsigned i = first; i < first + count; i++)
			blob_map_set(b->map, f->item[i].c, f->item[i].cluster);
		rc = blob_sync_extent(b, e);
	}
	if (rc == 0) {
		fill_show(f, first, count, array);
		return;
	}
	extent->cluster = array;
	extent->mapped = mapped;
	free(copy);
	fill_fail(f, first, count, rc);
}

void blob_fill(struct blob *b, const uint64_t *c, struct cluster_data *data, unsigned count,
	       int *rc)
{
	struct fill *f = calloc(1, sizeof(*f));
	unsigned n;
	int filled;

	ASSERT(count <= FILL_MAX && b->lock.owner == task_self());
	if (!f) {
		for (unsigned i = 0; i < count; i++) {
			rc[i] = -ENOMEM;
			if (data)
				data[i].iov_count = 0;
		}
		return;
	}
	f->blob = b;
	fill_take(f, c, data, count, rc);
	filled = f->count ? clusters_fill(b->store, f->item, f->count) : 0;
	if (filled < 0) {
		fill_fail(f, 0, f->count, filled);
	} else {
		for (unsigned i = 0; i < f->count; i += n) {
			uint64_t e = f->item[i].c / BS_EXTENT_CLUSTERS;

			for (n = 1; i + n < f->count && f->item[i + n].c / BS_EXTENT_CLUSTERS == e;)
				n++;
			fill_map(f, i, n);
		}
	}
	/* One that came twice has the result of the first. */
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < f->count && rc[i] == 0; k++)
			if (f->item[k].c == c[i])
				rc[i] = *f->item[k].rc;
	free(f);
}

/* ---- to go ---- */

void clusters_free(struct store *s, const struct blob *b, const uint32_t *cluster, uint64_t count)
{
	unsigned clear = b->md_ro_flags & BS_CLEAR_MASK;

	if (count == 0 || s->failed)
		return;
	if (clear != BS_CLEAR_NONE)
		clusters_discard(s, cluster, count);
	for (uint64_t i = 0; i < count; i++)
		cluster_free(s, cluster[i]);
	store_level_check(s);
}

void extent_page_free(struct store *s, uint32_t page)
{
	if (page == 0 || s->failed)
		return;
	if (page_zero(s, page) == 0)
		page_free(s, page);
}

/* Within extent E; LIST has room for an extent's. */
static int release_extent(struct blob *b, uint32_t e, uint64_t first, uint64_t last, uint32_t *list)
{
	uint64_t count = 0;
	bool any = false;
	int rc;

	for (uint64_t c = first; c <= last; c++) {
		bool bare = blob_beneath(b, c).kind == PLACE_NOWHERE;

		list[c - first] = bare ? blob_map_set(b->map, c, 0) : 0;
		any |= list[c - first] != 0;
	}
	if (!any)
		return 0;
	blob_drain(b->store);
	rc = blob_sync_extent(b, e);
	for (uint64_t c = first; c <= last; c++) {
		if (rc < 0 && list[c - first])
			blob_map_set(b->map, c, list[c - first]);
		else if (list[c - first])
			list[count++] = list[c - first];
	}
	clusters_free(b->store, b, list, count);
	return rc;
}

int blob_release(struct blob *b, uint64_t first, uint64_t last)
{
	uint32_t *list = malloc(BS_EXTENT_CLUSTERS * sizeof(*list));
	int rc = list ? 0 : -ENOMEM;

	ASSERT(b->lock.owner == task_self());
	last = MIN(last, b->map->cluster_count - 1);
	while (rc == 0 && first <= last) {
		uint32_t e = (uint32_t)(first / BS_EXTENT_CLUSTERS);
		uint64_t end = MIN(last, (e + 1) * (uint64_t)BS_EXTENT_CLUSTERS - 1);

		if (b->map->extent[e].mapped > 0)
			rc = release_extent(b, e, first, end, list);
		first = end + 1;
	}
	free(list);
	return rc;
}
