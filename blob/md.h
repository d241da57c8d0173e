/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What loading, writing and checking share: pages decoded and encoded, masks, the scan of all
 * metadata, and the parts of a store's life that commands do not see.
 */
#ifndef BLOB_MD_H
#define BLOB_MD_H

#include "blob/store.h"

/* ---- store.c ---- */

/* With the disk open, for itself when WRITE; not among the loaded ones. */
int store_make(const char *disk, bool write, struct store **out, struct why *why);
/* Among the loaded ones from now on. */
void store_publish(struct store *s);
/* Closes the disk and frees everything; nobody is inside or can come. */
void store_destroy(struct store *s);
/* Those who wait to enter are told -ENODEV; the caller is alone. Then as store_destroy(). */
void store_end(struct store *s);

/* ---- write.c ---- */

/* The field clean alone. */
int super_write_clean(struct store *s, bool clean);
/* COUNT pages next to each other, as page_write_fresh(). */
int pages_write_fresh(struct store *s, uint32_t page, struct bs_md_page *md, uint32_t count);

/* ---- cover.c: see there ---- */

enum { COVER_REGION_PAGES = 2048 };
enum slot_kind { SLOT_PAGE, SLOT_SUPER };

/* An empty cover for the store's layout. */
int cover_init(struct store *s);
/* Announces all pages that are in use now; write_lock is held. */
int cover_start(struct store *s);
/* Announces PAGE, unless it is. */
int cover_page(struct store *s, uint32_t page);
/* What was announced before the crash, and the slot. -ENOENT: no word of it, read everything. */
int cover_read(struct store *s);

/* A page that is about to be written in place; durable. write_lock is held. */
int slot_write(struct store *s, enum slot_kind kind, uint32_t page, const void *image);
/* What lies in the slot; -ENOENT: nothing. IMAGE: a page. */
int slot_read(struct store *s, enum slot_kind *kind, uint32_t *page, void *image);
/* Completes a torn write of a page. */
int slot_replay(struct store *s);

/* ---- super.c, load.c, unload.c ---- */

/* As super_decode(), of a superblock whose checksum is not right and whose fields may be. */
int super_decode_fields(const struct bs_super *raw, uint64_t disk_bytes, struct super *out);
/* Reads and decodes page 0 into s->super. */
int super_read(struct store *s, struct why *why);
/* No store is there afterwards; durable. */
int super_wipe(struct store *s);

/* ---- page.c: one page ---- */

static inline uint64_t page_at(const struct store *s, uint32_t page)
{
	return ((uint64_t)s->super.md_start + page) * MD_PAGE_BYTES;
}

bool page_crc_good(const struct bs_md_page *md);
void page_crc_set(struct bs_md_page *md);
/* A page whose id is a root's, whose checksum is right, and that lies where its id says. */
bool page_is_root(const struct bs_md_page *md, uint32_t page);

/* ---- decode.c: pages into blobs; the checksum was verified ---- */

/*
 * Takes in the next page of B's chain (id and sequence are checked here). When it was the last one
 * the whole is checked and B is complete but for its extent pages. Clusters are within the disk,
 * not yet checked against others. -EILSEQ with WHY; -ENOMEM. B keeps what was understood before.
 */
int blob_decode(struct blob *b, const struct bs_md_page *md, struct why *why);
/* The page of extent E of B. -EILSEQ, -ENOMEM; then the extent stays empty. */
int extent_decode(struct blob *b, uint32_t e, const struct bs_md_page *md, struct why *why);
/* Whether the page is an extent page by its look; which one by its own word. */
bool page_is_extent(const struct bs_md_page *md, uint32_t *e);

/* ---- encode.c ---- */

struct md_chain {
	struct bs_md_page *page;        /* root first; id and sequence are set, next and crc not */
	uint32_t count, room;
};

/* All descriptors of B as it is in memory. -ENOMEM. The chain is the caller's to free. */
int blob_encode(const struct blob *b, struct md_chain *chain);
void extent_encode(const struct blob *b, uint32_t e, struct bs_md_page *md);
void md_chain_free(struct md_chain *chain);

/* ---- check_report.c ---- */

__attribute__((format(printf, 6, 7)))
struct finding *check_report_add(struct check_report *report, enum finding_kind kind,
				 uint64_t blob, uint64_t first, uint64_t count,
				 const char *fmt, ...);

/* ---- mask.c ---- */

/*
 * BYTES: what lies on disk, LEN of it. Fills BITS, which has its count. A length of more bits than
 * there are is cut (a growth that failed). -EILSEQ: another type, or too short.
 */
int mask_decode(const void *bytes, size_t len, enum bs_mask_type type, struct bits *bits);
/* The same way back: header and bits; the rest up to LEN is zero. */
void mask_encode(const struct bits *bits, enum bs_mask_type type, void *bytes, size_t len);
/* Reads or writes a mask of the store. */
int mask_read(struct store *s, enum bs_mask_type type, struct bits *bits, struct why *why);
int mask_write(struct store *s, enum bs_mask_type type, const struct bits *bits);

#endif
