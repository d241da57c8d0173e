/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may belong to a blob that is not whole. When a page of a chain cannot be read, nobody knows
 * which pages and clusters it named; giving them out again would end what a repair could still
 * save. So every page that nobody owns, but whose checksum is good and which names a blob, stays
 * taken, with its clusters, and after a crash also what the last cluster mask says. A store in
 * which nothing is broken is not looked at again.
 */
#include <errno.h>
#include <stdlib.h>

#include "blob/scan.h"
#include "core/base/log.h"

struct orphans {
	struct reader_ops ops;
	struct scan *scan;
	bool keep;                      /* second time: claim them */
	uint64_t at;
};

static bool orphan_next(const struct reader_ops *ops, uint32_t *page, uint32_t *count)
{
	struct orphans *o = container_of(ops, struct orphans, ops);
	const struct bits *only = o->scan->only, *taken = &o->scan->s->pages;
	uint64_t from = o->at;

	do {
		if (only && from < only->count)
			from = bits_next_set(only, from);
		if (from < taken->count && bits_test(taken, from))
			from = bits_next_clear(taken, from);
	} while (only && from < only->count && !bits_test(only, from));
	if (from >= taken->count)
		return false;
	*page = (uint32_t)from;
	*count = 1;
	while (from + *count < taken->count && !bits_test(taken, from + *count) &&
	       (!only || bits_test(only, from + *count)))
		++*count;
	o->at = from + *count;
	return true;
}

static void clusters_keep(struct store *s, uint64_t first, uint64_t count)
{
	if (first < super_md_clusters(&s->super) || first >= s->clusters.count ||
	    count > s->clusters.count - first)
		return;
	bits_set_range(&s->clusters, first, count);
}

static void desc_keep(struct store *s, const struct bs_desc *desc, uint32_t len)
{
	const struct bs_run *run = (const void *)(desc + 1);
	const le32_un *cluster = (const void *)(desc + 1);

	if (desc->type == BS_DESC_EXTENT_RLE)
		for (uint32_t i = 0; i < len / sizeof(*run); i++)
			clusters_keep(s, le32_un_get(run[i].cluster_idx),
				      le32_un_get(run[i].length));
	if (desc->type == BS_DESC_EXTENT_PAGE)
		for (uint32_t i = 1; i < len / sizeof(*cluster); i++)
			clusters_keep(s, le32_un_get(cluster[i]), 1);
}

static void page_keep(struct store *s, const struct bs_md_page *md)
{
	uint32_t at = 0;

	while (at + sizeof(struct bs_desc) <= MD_DESC_BYTES) {
		const struct bs_desc *desc = (const void *)(md->descriptors + at);
		uint32_t len = le32_un_get(desc->length);

		at += sizeof(*desc);
		if ((desc->type == BS_DESC_PADDING && len == 0) || len > MD_DESC_BYTES - at)
			return;
		desc_keep(s, desc, len);
		at += len;
	}
}

static int page_order(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool is_suspect(const struct scan *scan, uint32_t page)
{
	return bsearch(&page, scan->suspect, scan->suspect_count, sizeof(page), page_order);
}

/* A blob whose root is no page any more. */
static int root_lost(struct scan *scan, uint32_t root)
{
	struct blob *b = blob_make(scan->s, BLOB_ID_BASE | root);

	if (!b)
		return -ENOMEM;
	bits_set(&scan->s->pages, root);
	scan->broken = true;
	scan_found(scan, b, FIND_CRC, root, 1, "its root page %u is destroyed", root);
	return 0;
}

/*
 * A page with a bad checksum that nobody names: it was a root, unless it still looks like an extent
 * page or a continuation of another blob. Where pages tear, a new page that was cut off is like
 * this; roots are not cut off there.
 */
static bool was_root(const struct scan *scan, uint32_t page, const struct bs_md_page *md)
{
	bool names_other = le64_un_get(md->id) >> 32 == BLOB_ID_BASE >> 32 &&
			   (uint32_t)le64_un_get(md->id) != page;

	if (scan->known)
		return blob_find(scan->known, BLOB_ID_BASE | page);
	if (scan->tears)
		return page_is_root(md, page);
	return !names_other || (md->descriptors[0] != BS_DESC_EXTENT_PAGE &&
				le32_un_get(md->sequence_num) == 0);
}

static int orphan_page(const struct reader_ops *ops, uint32_t page, const struct bs_md_page *md)
{
	struct orphans *o = container_of(ops, struct orphans, ops);
	struct scan *scan = o->scan;
	uint64_t id = md ? le64_un_get(md->id) : 0;
	bool good = md && page_crc_good(md);

	scan->pages_again++;
	if (!o->keep && md && !good && is_suspect(scan, page) && was_root(scan, page, md)) {
		page_keep(scan->s, md);
		return blob_find(scan->s, BLOB_ID_BASE | page) ? 0 : root_lost(scan, page);
	}
	if (id >> 32 != BLOB_ID_BASE >> 32 || !good)
		return 0;
	/* It says that it belongs to a blob whose root is not one. */
	if (!o->keep)
		return blob_find(scan->s, id) || !is_suspect(scan, (uint32_t)id) ||
		       (scan->known && !blob_find(scan->known, id)) ? 0 :
		       root_lost(scan, (uint32_t)id);
	bits_set(&scan->s->pages, page);
	page_keep(scan->s, md);
	return 0;
}

static int pass(struct scan *scan, bool keep)
{
	struct orphans o = { .ops = { orphan_next, orphan_page }, .scan = scan, .keep = keep };

	return reader_run(scan->s, &o.ops);
}

/* What was in use when the masks were last written. */
static int old_mask_keep(struct store *s)
{
	struct bits old;
	int rc = bits_init(&old, s->clusters.count);

	if (rc < 0)
		return rc;
	if (mask_read(s, BS_MASK_CLUSTERS, &old, NULL) == 0)
		for (uint64_t c = bits_next_set(&old, 0); c != BITS_NONE;
		     c = bits_next_set(&old, c + 1))
			bits_set(&s->clusters, c);
	bits_fini(&old);
	return s->state == STORE_GONE ? -ENODEV : 0;
}

int scan_orphans(struct scan *scan)
{
	int rc = 0;

	if (scan->suspect_count > 0)
		rc = pass(scan, false);
	if (rc == 0 && scan->suspect_count > 0 && !scan->report)
		log_warn("store %s: %u pages of metadata have bad checksums, the first is %u; see "
			 "store check", scan->s->name, scan->suspect_count, scan->suspect[0]);
	if (rc < 0 || !scan->broken)
		return rc;
	for (uint32_t i = 0; i < scan->suspect_count; i++)
		bits_set(&scan->s->pages, scan->suspect[i]);
	rc = pass(scan, true);
	return rc < 0 || scan->report ? rc : old_mask_keep(scan->s);
}
