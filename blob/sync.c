/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A blob's metadata made durable. New extent pages and the new chain go to pages that nothing on
 * disk names; the root, replaced in place, is the commit; then the old chain is cleared. A crash
 * before the root's write leaves the old blob and some pages that nobody names, which a load
 * ignores; after it the new one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/panic.h"

enum { BATCH_PAGES = 64 };

/* Pages next to each other, gathered for one write. */
struct batch {
	struct store *s;
	uint32_t first, count;
	struct bs_md_page page[BATCH_PAGES];
};

static int batch_write(struct batch *batch)
{
	int rc = batch->count ? pages_write_fresh(batch->s, batch->first, batch->page,
						  batch->count) : 0;

	batch->count = 0;
	return rc;
}

/* Where the caller puts what goes to PAGE; NULL: *RC says why. */
static struct bs_md_page *batch_next(struct batch *batch, uint32_t page, int *rc)
{
	if (batch->count == BATCH_PAGES || page != batch->first + batch->count) {
		*rc = batch_write(batch);
		if (*rc < 0)
			return NULL;
	}
	if (batch->count == 0)
		batch->first = page;
	return &batch->page[batch->count++];
}

static bool extent_is_new(const struct blob *b, uint32_t e)
{
	return blob_has_table(b) && !b->map->extent[e].page && b->map->extent[e].mapped > 0;
}

/* ---- clearing ---- */

/* Of COUNT pages that nothing names any more; runs of them go in one request. */
static int pages_clear(struct store *s, const uint32_t *page, uint32_t count)
{
	uint32_t run;
	int rc = 0;

	for (uint32_t i = 0; i < count; i += run) {
		for (run = 1; i + run < count && page[i + run] == page[i] + run; run++)
			;
		if (rc == 0)
			rc = run == 1 ? page_zero(s, page[i]) :
			     store_zero(s, page_at(s, page[i]), (uint64_t)run * MD_PAGE_BYTES);
		for (uint32_t j = i; j < i + run; j++)
			page_free(s, page[j]);
	}
	return rc;
}

/* ---- sync ---- */

/* Pages of extents that were given one now, so that it can be taken back. */
struct sync {
	struct blob *blob;
	uint32_t *extent, extent_count;
	uint32_t *chain, chain_count;
	struct md_chain md;
};

static void sync_undo(struct sync *y)
{
	struct blob *b = y->blob;

	for (uint32_t i = 0; i < y->extent_count; i++) {
		page_free(b->store, b->map->extent[y->extent[i]].page);
		b->map->extent[y->extent[i]].page = 0;
	}
	for (uint32_t i = 0; i < y->chain_count; i++)
		page_free(b->store, y->chain[i]);
	free(y->chain);
}

static int extents_alloc(struct sync *y)
{
	struct blob *b = y->blob;
	uint32_t page, count = 0;

	for (uint32_t e = 0; e < b->map->extent_count; e++)
		count += extent_is_new(b, e);
	if (count == 0)
		return 0;
	y->extent = malloc(count * sizeof(*y->extent));
	if (!y->extent)
		return -ENOMEM;
	for (uint32_t e = 0; e < b->map->extent_count; e++) {
		if (!extent_is_new(b, e))
			continue;
		page = page_alloc(b->store);
		if (!page)
			return -ENOSPC;
		b->map->extent[e].page = page;
		y->extent[y->extent_count++] = e;
	}
	return 0;
}

static int chain_alloc(struct sync *y)
{
	uint32_t count = y->md.count - 1;

	y->chain = calloc(MAX(count, 1u), sizeof(*y->chain));
	if (!y->chain)
		return -ENOMEM;
	while (y->chain_count < count) {
		uint32_t page = page_alloc(y->blob->store);

		if (!page)
			return -ENOSPC;
		y->md.page[y->chain_count].next = le32_un_make(page);
		y->chain[y->chain_count++] = page;
	}
	return 0;
}

static int sync_write(struct sync *y)
{
	struct blob *b = y->blob;
	struct batch *batch = malloc(sizeof(*batch));
	struct bs_md_page *at;
	int rc = 0;

	if (!batch)
		return -ENOMEM;
	batch->s = b->store;
	batch->count = 0;
	for (uint32_t i = 0; rc == 0 && i < y->extent_count; i++) {
		at = batch_next(batch, b->map->extent[y->extent[i]].page, &rc);
		if (at)
			extent_encode(b, y->extent[i], at);
	}
	for (uint32_t i = 0; rc == 0 && i < y->chain_count; i++) {
		at = batch_next(batch, y->chain[i], &rc);
		if (at)
			*at = y->md.page[i + 1];
	}
	if (rc == 0)
		rc = batch_write(batch);
	free(batch);
	return rc < 0 ? rc : page_commit(b->store, blob_root(b), y->md.page);
}

int blob_sync(struct blob *b)
{
	struct sync y = { .blob = b };
	uint32_t *old = b->chain, old_count = b->chain_count;
	int rc = extents_alloc(&y);

	if (rc == 0)
		rc = blob_encode(b, &y.md);
	if (rc == 0)
		rc = chain_alloc(&y);
	if (rc == 0)
		rc = sync_write(&y);
	if (rc < 0) {
		sync_undo(&y);
	} else {
		b->chain = y.chain;
		b->chain_count = y.chain_count;
		rc = pages_clear(b->store, old, old_count);
		free(old);
	}
	md_chain_free(&y.md);
	free(y.extent);
	return rc;
}

int blob_sync_extent(struct blob *b, uint32_t e)
{
	struct bs_md_page *md;
	int rc;

	if (!blob_has_table(b) || !b->map->extent[e].page)
		return blob_sync(b);
	md = malloc(sizeof(*md));
	if (!md)
		return -ENOMEM;
	extent_encode(b, e, md);
	rc = page_commit(b->store, b->map->extent[e].page, md);
	free(md);
	return rc;
}

int blob_unlink(struct blob *b)
{
	struct blob_map *map = b->map;
	uint32_t *extent = calloc(map->extent_count + 1u, sizeof(*extent)), count = 0;
	int rc = extent ? page_commit_zero(b->store, blob_root(b)) : -ENOMEM;

	if (rc < 0) {
		free(extent);
		return rc;
	}
	page_free(b->store, blob_root(b));
	rc = pages_clear(b->store, b->chain, b->chain_count);
	b->chain_count = 0;
	for (uint32_t e = 0; e < map->extent_count; e++) {
		if (map->extent[e].page)
			extent[count++] = map->extent[e].page;
		map->extent[e].page = 0;
	}
	if (rc == 0)
		rc = pages_clear(b->store, extent, count);
	free(extent);
	return rc;
}
