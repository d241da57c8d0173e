/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who owns which cluster: claimed from the maps of all blobs, once these are complete. When
 * something has two owners, both are damaged: a write to one would change the other.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "blob/scan.h"

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

static bool extent_claim(struct store *s, const struct blob_extent *e)
{
	uint32_t first = 0, count = 0;
	bool twice = false;

	/* Neighbours in one go: most are. */
	for (uint32_t i = 0; e->cluster && i < BS_EXTENT_CLUSTERS; i++) {
		if (count > 0 && e->cluster[i] == first + count) {
			count++;
			continue;
		}
		if (count > 0)
			twice |= bits_set_range(&s->clusters, first, count) > 0;
		first = e->cluster[i];
		count = first != 0;
	}
	if (count > 0)
		twice |= bits_set_range(&s->clusters, first, count) > 0;
	return twice;
}

int scan_claim(struct scan *scan)
{
	struct store *s = scan->s;
	bool twice = false;
	struct blob *b;
	int rc = 0;

	bits_set_range(&s->clusters, 0, super_md_clusters(&s->super));
	list_for_each(b, &s->blobs, link)
		for (uint32_t e = 0; e < b->map->extent_count; e++)
			twice |= extent_claim(s, &b->map->extent[e]);
	if (twice)
		rc = owners_find(scan, false);
	if (rc == 0 && scan->twice)
		rc = owners_find(scan, true);
	scan->twice |= twice;
	return rc;
}
