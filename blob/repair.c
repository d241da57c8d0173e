/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Repair. Every damaged blob is made one that can be used again, with what of it is known:
 *
 *   memory is whole, the disk is not     written again from memory
 *   pages cannot be read                 thin and read-only; what they mapped is lost, and reads as
 *                                        zeroes; extent pages that still name it are taken back
 *   clusters or extent pages shared      the later owner gets copies of its own
 *   its snapshot is not there            it stands alone; what it had of it is lost
 *
 * Read-only tells its owner to look before using it: `volume set readonly=off` ends it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/check.h"
#include "core/base/log.h"

void repair_told(struct check *check, uint64_t blob, bool lost, const char *fmt, ...)
{
	struct finding *f, *last = NULL;
	char text[sizeof(f->text)];
	va_list args;
	size_t len;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_warn("store %s: blob 0x%" PRIx64 ": %s", check->s->name, blob, text);
	check->report->mended++;
	check->report->lost += lost;
	list_for_each(f, &check->report->findings, link)
		if (f->blob == blob) {
			f->mended = true;
			last = f;
		}
	if (!last)
		return;
	len = strlen(last->text);
	snprintf(last->text + len, sizeof(last->text) - len, "; %s", text);
}

/* ---- from memory ---- */

/* All that B has on disk, written again. */
static int write_again(struct blob *b)
{
	int rc = 0;

	for (uint32_t e = 0; rc == 0 && blob_has_table(b) && e < b->map->extent_count; e++)
		if (b->map->extent[e].page)
			rc = blob_sync_extent(b, e);
	return rc == 0 ? blob_sync(b) : rc;
}

/* ---- extent pages that still name a blob whose chain is lost ---- */

struct search {
	struct reader_ops ops;
	struct check *check;
	struct blob *blob;
	uint64_t at;
};

static bool search_next(const struct reader_ops *ops, uint32_t *page, uint32_t *count)
{
	struct search *h = container_of(ops, struct search, ops);
	uint64_t from = bits_next_set(&h->check->s->pages, h->at);

	if (from == BITS_NONE)
		return false;
	*page = (uint32_t)from;
	*count = 1;
	while (from + *count < h->check->s->pages.count &&
	       bits_test(&h->check->s->pages, from + *count))
		++*count;
	h->at = from + *count;
	return true;
}

/* Whether a sound blob has the page, or any as extent page. */
static bool page_owned(const struct store *s, uint32_t page)
{
	const struct blob *b;

	list_for_each(b, &s->blobs, link) {
		for (uint32_t i = 0; !b->damage && i < b->chain_count; i++)
			if (b->chain[i] == page)
				return true;
		for (uint32_t e = 0; e < b->map->extent_count; e++)
			if (b->map->extent[e].page == page)
				return true;
	}
	return blob_find(s, BLOB_ID_BASE | page);
}

static int map_extend(struct blob *b, uint32_t e)
{
	uint64_t need = ((uint64_t)e + 1) * BS_EXTENT_CLUSTERS;
	struct blob_map *map;

	if (need <= b->map->cluster_count)
		return 0;
	map = blob_map_resized(b->map, need);
	if (!map)
		return -ENOMEM;
	blob_map_free_shell(b->map);
	b->map = map;
	return 0;
}

static int search_page(const struct reader_ops *ops, uint32_t page, const struct bs_md_page *md)
{
	struct search *h = container_of(ops, struct search, ops);
	struct blob *b = h->blob;
	uint32_t e;
	int rc;

	if (!md || le64_un_get(md->id) != b->id || !page_crc_good(md) || !page_is_extent(md, &e) ||
	    e > UINT32_MAX / BS_EXTENT_CLUSTERS - 1 || page_owned(h->check->s, page))
		return 0;
	rc = map_extend(b, e);
	if (rc < 0 || b->map->extent[e].cluster)
		return rc;
	b->map->extent[e].page = page;
	rc = extent_decode(b, e, md, NULL);
	if (rc == -EILSEQ)
		b->map->extent[e].page = 0;
	return rc == -ENOMEM ? rc : 0;
}

static int extents_search(struct check *check, struct blob *b)
{
	struct search h = { .ops = { search_next, search_page }, .check = check, .blob = b };

	b->invalid_flags |= BS_THIN | BS_EXTENT_TABLE;
	return reader_run(check->s, &h.ops);
}

/* ---- salvage ---- */

/* Extents whose pages could not be read are holes from now on; returns how many. */
static uint64_t holes_make(struct blob *b)
{
	uint64_t holes = 0;

	for (uint32_t e = 0; e < b->map->extent_count; e++)
		if (b->map->extent[e].page && !b->map->extent[e].cluster) {
			b->map->extent[e].page = 0;
			holes++;
		}
	return holes;
}

static void undamage(struct blob *b)
{
	b->read.partial = false;
	free(b->damage);
	b->damage = NULL;
}

/* Pages of B that are no good and that it will not have any more. */
static void bad_pages_clear(struct check *check, const struct blob *b)
{
	const struct finding *f;

	list_for_each(f, &check->report->findings, link)
		if (f->blob == b->id && (f->kind == FIND_CRC || f->kind == FIND_CONTENT) &&
		    f->first != blob_root(b) && !page_owned(check->s, (uint32_t)f->first))
			page_zero(check->s, (uint32_t)f->first);
}

/* Links to blobs that are not there, and marks of changes that were under way, end here. */
static void links_mend(struct blob *b)
{
	const struct blob_xattr *x;

	if (!b->parent)
		blob_xattr_drop(b, true, BS_XATTR_SNAPSHOT);
	blob_xattr_drop(b, true, BS_XATTR_SNAP_PENDING);
	blob_xattr_drop(b, true, BS_XATTR_SNAP_REMOVING);
	list_for_each(x, &b->xattrs, link)
		if (x->internal)
			b->invalid_flags |= BS_INTERNAL_XATTR;
}

static int salvage(struct check *check, struct blob *b)
{
	uint64_t holes, mapped;
	bool runs = b->read.at > 0 && !b->map->extent_count;
	struct blob_map *map;
	int rc = 0;

	/* Runs that were being read have room for more than came. */
	if (!blob_has_table(b) && b->read.at < b->map->cluster_count && !runs) {
		map = blob_map_resized(b->map, b->read.at);
		if (!map)
			return -ENOMEM;
		blob_map_free_shell(b->map);
		b->map = map;
	}
	holes = holes_make(b);
	if (b->map->cluster_count == 0)
		rc = extents_search(check, b);
	if (rc < 0)
		return rc;
	mapped = blob_map_mapped(b->map);
	b->invalid_flags &= BS_INVALID_KNOWN;
	b->invalid_flags |= BS_THIN;
	b->data_ro_flags = BS_READ_ONLY;
	rc = repair_name_give(b);
	links_mend(b);
	bad_pages_clear(check, b);
	if (rc == 0)
		rc = blob_sync(b);
	if (rc < 0)
		return rc;
	undamage(b);
	repair_told(check, b->id, true, "mended: read-only, with %" PRIu64 " clusters; %" PRIu64
		    " extents and what else its bad pages named are lost", mapped, holes);
	return 0;
}

/* ---- what two have ---- */

static int cluster_copy(struct store *s, uint32_t from, uint32_t to)
{
	uint64_t at = 0, bytes = s->super.cluster_bytes;
	size_t piece = (size_t)MIN(bytes, (uint64_t)1 << 20);
	void *buf = malloc(piece);
	int rc = buf ? 0 : -ENOMEM;

	for (; rc == 0 && at < bytes; at += piece) {
		rc = store_read(s, from * bytes + at, buf, piece);
		if (rc == 0)
			rc = store_write(s, to * bytes + at, buf, piece);
	}
	free(buf);
	return rc;
}

/* Everything of B that an earlier blob has too becomes B's own. */
static int part(struct check *check, struct blob *b, struct bits *clusters, struct bits *pages)
{
	struct store *s = check->s;
	uint64_t copies = 0, moved = 0;
	uint32_t fresh;
	int rc = 0;

	for (uint32_t e = 0; e < b->map->extent_count; e++)
		if (b->map->extent[e].page && bits_set(pages, b->map->extent[e].page)) {
			b->map->extent[e].page = 0;
			moved++;
		}
	for (uint64_t c = 0; rc == 0 && c < b->map->cluster_count; c++) {
		uint32_t cluster = blob_map_get(b->map, c);

		if (!cluster || !bits_set(clusters, cluster))
			continue;
		rc = cluster_alloc(s, &fresh, 1);
		if (rc == 0)
			rc = cluster_copy(s, cluster, fresh);
		if (rc == 0) {
			blob_map_set(b->map, c, fresh);
			bits_set(clusters, fresh);
			copies++;
		}
	}
	if (rc == 0 && (copies || moved))
		rc = store_flush(s);
	if (rc == 0 && (copies || moved))
		rc = write_again(b);
	if (rc == 0 && (copies || moved))
		repair_told(check, b->id, false, "mended: %" PRIu64 " clusters copied, %" PRIu64
		     " extent pages written anew; either owner may have the other's data in "
		     "them", copies, moved);
	return rc;
}

/* In order of ids: the first owner keeps what two have. */
static int part_all(struct check *check)
{
	struct store *s = check->s;
	struct bits clusters, pages;
	struct blob *b;
	int rc = bits_init(&clusters, s->clusters.count);

	if (rc < 0)
		return rc;
	rc = bits_init(&pages, s->pages.count);
	for (b = blob_next(s, NULL); rc == 0 && b; b = blob_next(s, b)) {
		bits_set(&pages, blob_root(b));
		for (uint32_t i = 0; i < b->chain_count; i++)
			bits_set(&pages, b->chain[i]);
	}
	for (b = blob_next(s, NULL); rc == 0 && b; b = blob_next(s, b))
		rc = part(check, b, &clusters, &pages);
	bits_fini(&pages);
	bits_fini(&clusters);
	return rc;
}

/* ---- one blob after the other ---- */

/* Whether the disk, read just now, has less of B than memory. */
static bool memory_is_better(const struct check *check, const struct blob *b)
{
	const struct blob *disk = blob_find(check->shadow, b->id);
	const struct finding *f;

	if (b->damage)
		return false;
	if (!disk || disk->damage)
		return true;
	list_for_each(f, &check->report->findings, link)
		if (f->kind == FIND_MEMORY && f->blob == b->id)
			return true;
	return false;
}

/* Only its parents were wrong, or what it shares: all of its own pages were, and are, known. */
static bool is_whole(const struct check *check, const struct blob *b)
{
	const struct finding *f;

	if (b->read.partial)
		return false;
	list_for_each(f, &check->report->findings, link)
		if (f->blob == b->id && (f->kind == FIND_CRC || f->kind == FIND_CHAIN ||
					 f->kind == FIND_CONTENT))
			return false;
	return b->read.wanted == MD_PAGE_NONE;
}

static int parent_mend(struct check *check, struct blob *b)
{
	uint64_t id = blob_xattr_id(b, BS_XATTR_SNAPSHOT);
	int rc;

	undamage(b);
	if (!blob_xattr_find(b, true, BS_XATTR_SNAPSHOT))
		return 0;
	if (b->parent && blob_is_thin(b))
		return 0;
	if (!b->parent) {
		blob_xattr_drop(b, true, BS_XATTR_SNAPSHOT);
		b->data_ro_flags |= BS_READ_ONLY;
	}
	b->invalid_flags |= BS_THIN;
	rc = blob_sync(b);
	if (rc == 0)
		repair_told(check, b->id, true, "mended: read-only, without its snapshot 0x%" PRIx64
		     "; what was there is lost", id);
	return rc;
}

int repair_blobs(struct check *check)
{
	struct store *s = check->s;
	struct blob *b;
	int rc = 0;

	for (b = blob_next(s, NULL); rc == 0 && b; b = blob_next(s, b))
		if (b->damage && !is_whole(check, b))
			rc = salvage(check, b);
	if (rc == 0)
		rc = part_all(check);
	for (b = blob_next(s, NULL); rc == 0 && b; b = blob_next(s, b))
		if (b->damage)
			rc = parent_mend(check, b);
	for (b = blob_next(s, NULL); rc == 0 && b; b = blob_next(s, b))
		if (memory_is_better(check, b)) {
			rc = write_again(b);
			if (rc == 0)
				repair_told(check, b->id, false,
					    "mended: written again from memory");
		}
	return rc == 0 ? repair_names(check) : rc;
}

/* ---- space ---- */

/* What SHADOW does not have is free; what it has is taken. */
static void space_take(struct bits *own, const struct bits *found)
{
	for (uint64_t i = bits_next_set(own, 0); i != BITS_NONE; i = bits_next_set(own, i + 1))
		if (!bits_test(found, i))
			bits_clear(own, i);
	for (uint64_t i = bits_next_set(found, 0); i != BITS_NONE; i = bits_next_set(found, i + 1))
		bits_set(own, i);
}

void repair_space(struct check *check, const struct check *again)
{
	struct store *s = check->s;
	struct finding *f;

	if (check->left > 0)
		return;
	list_for_each(f, &again->report->findings, link)
		if (f->kind == FIND_CRC && f->blob == BLOB_ID_NONE)
			page_zero(s, (uint32_t)f->first);
	space_take(&s->clusters, &again->shadow->clusters);
	space_take(&s->pages, &again->shadow->pages);
	list_for_each(f, &check->report->findings, link)
		f->mended = true;
	check->report->mended = 0;
	for (unsigned k = 0; k < FIND_KINDS; k++)
		check->report->mended += check->report->counts[k];
	if (store_dirty(s) < 0)
		log_warn("store %s: its masks stay as they are", s->name);
}
