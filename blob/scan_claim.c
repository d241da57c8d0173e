/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who owns which cluster. Those of an extent page are claimed as it is read, while it is at hand;
 * those of runs when all blobs are complete, and all of them once more, from the maps, when a blob
 * is doomed whose clusters are another's. When something has two owners, both are damaged: a write
 * to one would change the other.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "blob/scan.h"

enum { CHUNK = 64 };

/* ---- what has two owners ---- */

/* Names of B what is in TWICE: clusters, or extent pages. */
static void owner_found(struct scan *scan, struct blob *b, const struct bits *twice, bool pages)
{
	uint64_t count = 0, first = 0;

	for (uint32_t e = 0; pages && e < b->map->extent_count; e++) {
		uint32_t page = b->map->extent[e].page;

		if (page && bits_test(twice, page) && count++ == 0)
			first = page;
	}
	for (uint64_t c = 0; !pages && c < b->map->cluster_count; c++) {
		uint32_t cluster = blob_map_get(b->map, c);

		if (cluster && bits_test(twice, cluster) && count++ == 0)
			first = cluster;
	}
	if (count > 0)
		scan_found(scan, b, pages ? FIND_PAGE_TWICE : FIND_CLUSTER_TWICE, first, count,
			   "%" PRIu64 " of its %s belong to another blob too, the first is %"
			   PRIu64, count, pages ? "extent pages" : "clusters", first);
}

/* A second look, with memory for what was met twice: this hardly ever happens. */
static int owners_find(struct scan *scan, bool pages)
{
	struct store *s = scan->s;
	uint64_t count = pages ? s->pages.count : s->clusters.count;
	struct bits once, twice;
	struct blob *b;
	int rc = bits_init(&once, count);

	if (rc < 0)
		return rc;
	rc = bits_init(&twice, count);
	if (rc == 0) {
		list_for_each(b, &s->blobs, link) {
			for (uint32_t e = 0; pages && e < b->map->extent_count; e++) {
				uint32_t page = b->map->extent[e].page;

				if (page && bits_set(&once, page))
					bits_set(&twice, page);
			}
			for (uint64_t c = 0; !pages && c < b->map->cluster_count; c++) {
				uint32_t cluster = blob_map_get(b->map, c);

				if (cluster && bits_set(&once, cluster))
					bits_set(&twice, cluster);
			}
		}
		list_for_each(b, &s->blobs, link)
			owner_found(scan, b, &twice, pages);
		bits_fini(&twice);
	}
	bits_fini(&once);
	return rc;
}

/* ---- claims ---- */

/* Whether CHUNK clusters are neighbours, counted from the first; none of them is 0 then. */
static bool is_run(const uint32_t *cluster)
{
	uint32_t differ = cluster[0] == 0;

	for (uint32_t i = 0; i < CHUNK; i++)
		differ |= cluster[i] ^ (cluster[0] + i);
	return differ == 0;
}

/* Neighbours that are claimed in one go: most are. */
struct run {
	uint32_t first, count;
};

static bool run_add(struct store *s, struct run *run, uint32_t first, uint32_t count)
{
	bool twice = false;

	if (run->count > 0 && first == run->first + run->count) {
		run->count += count;
		return false;
	}
	if (run->count > 0)
		twice = bits_set_range(&s->clusters, run->first, run->count) > 0;
	*run = (struct run){ first, first ? count : 0 };
	return twice;
}

bool scan_extent_claim(struct store *s, const struct blob_extent *e)
{
	const uint32_t *cluster = e->cluster;
	uint32_t left = e->mapped, n;
	struct run run = { 0 };
	bool twice = false;

	for (uint32_t i = 0; left > 0; i += n) {
		if (left >= CHUNK && is_run(cluster + i)) {
			n = CHUNK;
		} else {
			for (n = 1; n < left && cluster[i] && i + n < BS_EXTENT_CLUSTERS &&
			     cluster[i + n] == cluster[i] + n; n++)
				;
		}
		twice |= run_add(s, &run, cluster[i], n);
		left -= cluster[i] ? n : 0;
	}
	return run_add(s, &run, 0, 0) || twice;
}

int scan_claim(struct scan *scan)
{
	struct store *s = scan->s;
	struct blob *b;
	int rc = 0;

	if (scan->doomed) {
		bits_fini(&s->clusters);
		rc = bits_init(&s->clusters, super_cluster_count(&s->super));
		if (rc < 0)
			return rc;
		scan->shared = false;
	}
	bits_set_range(&s->clusters, 0, super_md_clusters(&s->super));
	list_for_each(b, &s->blobs, link)
		for (uint32_t e = 0; e < b->map->extent_count; e++)
			if (scan->doomed || !b->map->extent[e].page)
				scan->shared |= scan_extent_claim(s, &b->map->extent[e]);
	if (scan->shared)
		rc = owners_find(scan, false);
	if (rc == 0 && scan->twice)
		rc = owners_find(scan, true);
	scan->twice |= scan->shared;
	return rc;
}
