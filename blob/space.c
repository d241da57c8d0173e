/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free pages and clusters, in memory. Pages come from the lowest end, so that what a load has to
 * read stays small. Clusters come from where the last ones came: those of a volume that grows lie
 * side by side, and a freed one rests for as long as possible.
 */
#include <errno.h>

#include "blob/volume.h"
#include "core/base/log.h"
#include "core/base/panic.h"

/* ---- pages ---- */

static uint64_t page_take(struct store *s, uint64_t from)
{
	uint64_t page = bits_next_clear(&s->pages, from);

	if (page != BITS_NONE)
		bits_set(&s->pages, page);
	return page;
}

uint32_t page_alloc(struct store *s)
{
	/* Page 0 in an extent table means that there is none. */
	uint64_t page = page_take(s, 1);

	return page == BITS_NONE ? 0 : (uint32_t)page;
}

uint32_t page_alloc_root(struct store *s)
{
	uint64_t page = page_take(s, 0);

	return page == BITS_NONE ? MD_PAGE_NONE : (uint32_t)page;
}

void page_free(struct store *s, uint32_t page)
{
	bool taken = bits_clear(&s->pages, page);

	ASSERT(taken);
}

/* ---- clusters ---- */

static uint64_t cluster_take(struct store *s)
{
	uint64_t cluster = bits_next_clear(&s->clusters, s->cluster_hint);

	if (cluster == BITS_NONE)
		cluster = bits_next_clear(&s->clusters, 0);
	ASSERT(cluster != BITS_NONE);
	bits_set(&s->clusters, cluster);
	s->cluster_hint = cluster + 1;
	return cluster;
}

int cluster_alloc(struct store *s, uint32_t *cluster, uint64_t count)
{
	if (count > bits_free(&s->clusters))
		return -ENOSPC;
	for (uint64_t i = 0; i < count; i++)
		cluster[i] = (uint32_t)cluster_take(s);
	s->figures.cluster_allocs += count;
	store_level_check(s);
	return 0;
}

void cluster_free(struct store *s, uint32_t cluster)
{
	bool taken = bits_clear(&s->clusters, cluster);

	ASSERT(taken && cluster >= super_md_clusters(&s->super));
	s->figures.cluster_frees++;
}

void store_level_check(struct store *s)
{
	unsigned percent = (unsigned)(s->clusters.set_count * 100 / MAX(s->clusters.count, 1u));
	unsigned passed = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(s->warn_percent); i++)
		passed += s->warn_percent[i] && percent >= s->warn_percent[i];
	if (passed > s->warned)
		log_warn("store %s: %u %% of its clusters are in use; delete volumes or grow it",
			 s->name, percent);
	if (passed != s->warned) {
		s->warned = passed;
		volumes_threshold(s);
	}
}
