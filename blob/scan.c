/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scan: all metadata, read once in the order of the disk.
 *
 * First pass: every root makes a blob; a continuation that lies behind what names it (most do) and
 * an extent page of a blob that is known already are taken in as they pass by. What lay before is
 * fetched afterwards, in rounds, sorted by place: continuations until no chain is open, then extent
 * pages. Memory beyond the blobs themselves is the reader's and one sorted piece of the list.
 *
 * A page is claimed by the one blob that it is read for, and its clusters with it.
 */
#include "blob/scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/log.h"

/* Of pages fetched in one round; and of suspects. */
enum { FETCH_MAX = 1 << 18, SUSPECTS_MAX = 4096 };

/* A page that is wanted by a blob: of its chain, or of an extent. */
struct want {
	uint32_t page, extent;
	struct blob *blob;
};

struct pass {
	struct reader_ops ops;
	struct scan *scan;
	uint64_t at;                    /* first pass: where the next run begins */
	struct want *want;
	size_t room;
	size_t count, next, now;        /* wants: all, those given to the reader, those that came */
	bool extents;
};

void scan_fini(struct scan *scan)
{
	free(scan->suspect);
	scan->suspect = NULL;
}

void scan_found(struct scan *scan, struct blob *b, enum finding_kind kind, uint64_t first,
		uint64_t count, const char *fmt, ...)
{
	char text[BLOB_WHY_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (scan->report)
		check_report_add(scan->report, kind, b ? b->id : BLOB_ID_NONE, first, count, "%s",
				 text);
	if (!b)
		return;
	b->read.partial |= kind == FIND_CRC || kind == FIND_CHAIN || kind == FIND_CONTENT;
	blob_damage(b, "%s", text);
}

/* ---- one page ---- */

/* MD is the next page of B's chain; GOOD: its checksum. */
static int chain_take(struct scan *scan, struct blob *b, const struct bs_md_page *md, bool good)
{
	uint32_t page = b->read.wanted;
	struct why why = { "" };
	int rc;

	if (good && le64_un_get(md->id) != b->id) {
		b->read.wanted = MD_PAGE_NONE;
		scan->broken = true;
		scan_found(scan, b, FIND_CHAIN, page, 1,
			   "page %u of its chain belongs to blob 0x%" PRIx64, page,
			   le64_un_get(md->id));
		return 0;
	}
	if (bits_set(&scan->s->pages, page)) {
		b->read.wanted = MD_PAGE_NONE;
		b->read.partial = true;
		scan->broken = true;
		scan_found(scan, b, FIND_PAGE_TWICE, page, 1,
			   "page %u of its chain belongs to another blob, or comes twice", page);
		return 0;
	}
	if (!good)
		scan_found(scan, b, FIND_CRC, page, 1, "page %u of its chain has a bad checksum",
			   page);
	if (!md) {
		b->read.wanted = MD_PAGE_NONE;
		scan->broken = true;
		return 0;
	}
	rc = blob_decode(b, md, &why);
	if (rc == -ENOMEM)
		return rc;
	scan->broken |= !good || rc < 0;
	if (rc < 0)
		scan_found(scan, b, b->read.wanted == MD_PAGE_NONE ? FIND_CHAIN : FIND_CONTENT,
			   page, 1, "%s", why.text);
	return 0;
}

static int root_take(struct scan *scan, uint32_t page, const struct bs_md_page *md, bool good)
{
	struct blob *b = blob_make(scan->s, BLOB_ID_BASE | page);

	if (!b)
		return -ENOMEM;
	b->read.wanted = page;
	return chain_take(scan, b, md, good);
}

/* The page of extent E of B. */
static int extent_take(struct scan *scan, struct blob *b, uint32_t e, const struct bs_md_page *md,
		       bool good)
{
	uint32_t page = b->map->extent[e].page;
	struct why why = { "" };
	int rc;

	if (bits_set(&scan->s->pages, page)) {
		scan->twice = true;
		scan_found(scan, b, FIND_PAGE_TWICE, page, 1,
			   "extent page %u belongs to another blob, or comes twice", page);
		return 0;
	}
	if (!good) {
		scan_found(scan, b, FIND_CRC, page, 1, "extent page %u has a bad checksum", page);
		scan->broken = true;
		if (!md)
			return 0;
	}
	rc = extent_decode(b, e, md, &why);
	if (rc == -ENOMEM)
		return rc;
	if (rc < 0) {
		scan->broken = true;
		scan_found(scan, b, FIND_CONTENT, page, 1, "%s", why.text);
	}
	scan->shared |= scan_extent_claim(scan->s, &b->map->extent[e]);
	return 0;
}

static int suspect_add(struct scan *scan, uint32_t page)
{
	if (scan->suspect_count == SUSPECTS_MAX)
		return 0;
	if (!scan->suspect)
		scan->suspect = malloc(SUSPECTS_MAX * sizeof(*scan->suspect));
	if (!scan->suspect)
		return -ENOMEM;
	scan->suspect[scan->suspect_count++] = page;
	return 0;
}

/* Neither a root nor something that is wanted: does it look as if it had been a root? */
static int stray_take(struct scan *scan, uint32_t page, const struct bs_md_page *md)
{
	if (md && (bytes_zero(md, sizeof(*md)) || page_crc_good(md)))
		return 0;
	return suspect_add(scan, page);
}

static int first_page(const struct reader_ops *ops, uint32_t page, const struct bs_md_page *md)
{
	struct pass *pass = container_of(ops, struct pass, ops);
	struct scan *scan = pass->scan;
	bool root = scan->roots && bits_test(scan->roots, page);
	struct blob *b;
	uint32_t e;

	if (scan->s->slot && page - scan->s->slot < 2)
		return 0;
	if (scan->pages_read++ % 4096 == 0)
		task_progress(scan->pages_read, scan->only ? scan->only->set_count :
			      scan->s->super.md_len);
	if (md && le64_un_get(md->id) == 0 && !root)
		return stray_take(scan, page, md);
	/* A mask has no checksum: a page that has a good one knows better. */
	if (root && md && page_crc_good(md) && !page_is_root(md, page))
		root = false;
	if (root || (md && page_is_root(md, page)))
		return root_take(scan, page, md, md && page_crc_good(md));
	b = md && page_crc_good(md) ? blob_find(scan->s, le64_un_get(md->id)) : NULL;
	if (!b)
		return stray_take(scan, page, md);
	if (b->read.wanted == page)
		return chain_take(scan, b, md, true);
	if (page_is_extent(md, &e) && e < b->map->extent_count && b->map->extent[e].page == page &&
	    !b->map->extent[e].cluster)
		return extent_take(scan, b, e, md, true);
	return 0;
}

/* ---- the passes ---- */

static bool first_next(const struct reader_ops *ops, uint32_t *page, uint32_t *count)
{
	struct pass *pass = container_of(ops, struct pass, ops);
	const struct bits *only = pass->scan->only;
	uint64_t len = pass->scan->s->super.md_len, from = pass->at, to = len;

	if (only && from < len)
		from = bits_next_set(only, from);
	if (from >= len)
		return false;
	if (only)
		to = MIN(bits_next_clear(only, from), len);
	*page = (uint32_t)from;
	*count = (uint32_t)(to - from);
	pass->at = to;
	return true;
}

static bool fetch_next(const struct reader_ops *ops, uint32_t *page, uint32_t *count)
{
	struct pass *pass = container_of(ops, struct pass, ops);
	size_t first = pass->next;

	if (first == pass->count)
		return false;
	*page = pass->want[first].page;
	*count = 1;
	while (++pass->next < pass->count) {
		uint32_t next = pass->want[pass->next].page;

		/* Pages that two blobs want come twice in the list, and once from the disk. */
		if (next == *page + *count)
			++*count;
		else if (next != *page + *count - 1)
			break;
	}
	return true;
}

static int fetch_page(const struct reader_ops *ops, uint32_t page, const struct bs_md_page *md)
{
	struct pass *pass = container_of(ops, struct pass, ops);
	int rc = 0;

	pass->scan->pages_again++;
	for (; rc == 0 && pass->now < pass->count && pass->want[pass->now].page == page;
	     pass->now++) {
		struct want *w = &pass->want[pass->now];

		bool good = md && page_crc_good(md);

		rc = pass->extents ? extent_take(pass->scan, w->blob, w->extent, md, good) :
		     chain_take(pass->scan, w->blob, md, good);
	}
	return rc;
}

static int want_order(const void *a, const void *b)
{
	const struct want *x = a, *y = b;

	return x->page < y->page ? -1 : x->page > y->page;
}

static int fetch(struct pass *pass)
{
	qsort(pass->want, pass->count, sizeof(*pass->want), want_order);
	pass->next = pass->now = 0;
	return reader_run(pass->scan->s, &pass->ops);
}

static int want_add(struct pass *pass, uint32_t page, uint32_t e, struct blob *b)
{
	struct want *want = pass->want;

	if (pass->count == pass->room) {
		size_t room = MAX(pass->room * 2, (size_t)64);

		want = realloc(want, room * sizeof(*want));
		if (!want)
			return -ENOMEM;
		pass->want = want;
		pass->room = room;
	}
	want[pass->count++] = (struct want){ page, e, b };
	return 0;
}

/* Continuations, until no chain wants one. */
static int chains_fetch(struct pass *pass)
{
	struct blob *b;
	int rc = 0;

	do {
		pass->count = 0;
		list_for_each(b, &pass->scan->s->blobs, link)
			if (rc == 0 && b->read.wanted != MD_PAGE_NONE && pass->count < FETCH_MAX)
				rc = want_add(pass, b->read.wanted, 0, b);
		if (rc == 0 && pass->count)
			rc = fetch(pass);
	} while (rc == 0 && pass->count > 0);
	return rc;
}

static int extents_fetch(struct pass *pass)
{
	struct blob *b;
	int rc = 0;

	pass->extents = true;
	pass->count = 0;
	list_for_each(b, &pass->scan->s->blobs, link)
		for (uint32_t e = 0; rc == 0 && e < b->map->extent_count; e++) {
			struct blob_extent *ext = &b->map->extent[e];

			if (!ext->page || ext->cluster)
				continue;
			rc = want_add(pass, ext->page, e, b);
			if (rc < 0 || pass->count < FETCH_MAX)
				continue;
			rc = fetch(pass);
			pass->count = 0;
		}
	return rc == 0 && pass->count > 0 ? fetch(pass) : rc;
}

/*
 * Who was being made or deleted shares pages and clusters with the one it was made of, whose they
 * are.
 */
static int doomed_empty(struct scan *scan)
{
	struct blob *b;

	list_for_each(b, &scan->s->blobs, link) {
		struct blob_map *empty;

		if (!blob_is_doomed(b))
			continue;
		scan->doomed = true;
		empty = blob_map_create(0);
		if (!empty)
			return -ENOMEM;
		for (uint32_t e = 0; e < b->map->extent_count; e++)
			if (b->map->extent[e].cluster)
				bits_clear(&scan->s->pages, b->map->extent[e].page);
		blob_map_destroy(b->map);
		b->map = empty;
	}
	return 0;
}

/* The blobid mask says that there is a root, and the page mask left its page out. */
static int roots_missing(struct scan *scan)
{
	int rc = 0;

	for (uint64_t p = scan->roots ? bits_next_set(scan->roots, 0) : BITS_NONE;
	     rc == 0 && p != BITS_NONE; p = bits_next_set(scan->roots, p + 1))
		if (!blob_find(scan->s, BLOB_ID_BASE | p))
			rc = root_take(scan, (uint32_t)p, NULL, false);
	return rc;
}

int scan_run(struct scan *scan)
{
	struct pass *pass = calloc(1, sizeof(*pass));
	int rc = pass ? 0 : -ENOMEM;

	if (rc < 0)
		return rc;
	pass->scan = scan;
	pass->ops = (struct reader_ops){ first_next, first_page };
	rc = reader_run(scan->s, &pass->ops);
	if (rc == 0)
		rc = roots_missing(scan);
	pass->ops = (struct reader_ops){ fetch_next, fetch_page };
	if (rc == 0)
		rc = chains_fetch(pass);
	if (rc == 0)
		rc = doomed_empty(scan);
	if (rc == 0)
		rc = extents_fetch(pass);
	free(pass->want);
	free(pass);
	if (rc == 0)
		rc = scan_claim(scan);
	if (rc == 0)
		rc = scan_orphans(scan);
	if (rc == 0)
		scan_link(scan);
	return rc;
}
