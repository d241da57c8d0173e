/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading all metadata of a store: for a load into the store itself, for a check into a shadow of
 * it. scan.c says how.
 */
#ifndef BLOB_SCAN_H
#define BLOB_SCAN_H

#include "blob/md.h"

/* ---- reader.c ---- */

struct reader_ops {
	/* The next run of pages to read; false: there is none. */
	bool (*next)(const struct reader_ops *ops, uint32_t *page, uint32_t *count);
	/* One of them, in the order of the runs; NULL: cannot be read. May wait. Not 0: ends. */
	int (*page)(const struct reader_ops *ops, uint32_t page, const struct bs_md_page *md);
};

/* -ENODEV, -ENOMEM, or what ops->page returned. */
int reader_run(struct store *s, const struct reader_ops *ops);

/* ---- scan*.c ---- */

struct scan {
	struct store *s;
	/* what is read; NULL: everything */
	const struct bits *only;
	/* clean loads: pages that the blobid mask says to be roots; NULL */
	const struct bits *roots;
	struct check_report *report;    /* of a check; NULL */
	/* of a check: the store in memory, whose blobs are all that there are; NULL */
	const struct store *known;
	bool tears;                     /* the disk may have cut new pages off */

	/* result */
	uint64_t pages_read, pages_again;       /* in the first pass, and in the others */
	bool broken;                    /* a blob of which not all pages are known */
	bool twice;                     /* a cluster or page has two owners */
	bool shared;                    /* a cluster was claimed twice */
	bool doomed;                    /* a blob has to go: what it names is not claimed */

	/* pages that are no page, and may have been a root */
	uint32_t *suspect, suspect_count;
};

/*
 * Fills s->blobs, and claims in s->pages and s->clusters what they own. A blob with something wrong
 * is damaged, with the reason; the others are not touched by it. Blobs that an interrupted snapshot
 * or delete left (blob_is_doomed) have an empty map. -ENOMEM, -ENODEV.
 */
int scan_run(struct scan *scan);
void scan_fini(struct scan *scan);
/* B is damaged, or the check has found something else (B NULL). */
__attribute__((format(printf, 6, 7)))
void scan_found(struct scan *scan, struct blob *b, enum finding_kind kind, uint64_t first,
		uint64_t count, const char *fmt, ...);
/* scan_claim.c: clusters of an extent; whether one of them had an owner. */
bool scan_extent_claim(struct store *s, const struct blob_extent *e);
/* Those of all blobs that are left, and who shares them. */
int scan_claim(struct scan *scan);
/* scan_orphan.c: what may belong to a blob that is not whole stays reserved. */
int scan_orphans(struct scan *scan);
/* scan_link.c: parents of all blobs, from their xattrs. */
void scan_link(struct scan *scan);

/* settle.c */

/* Was being made or deleted when the power went, and has to go. */
bool blob_is_doomed(const struct blob *b);

#endif
