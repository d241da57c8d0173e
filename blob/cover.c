/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which part of the metadata a load after a crash has to read.
 *
 * While a store is not clean the format ignores its page mask. Karst keeps a coarse one there:
 * before the first page of a region is written, the bits of the whole region are set and durable,
 * so that every page in use is in a region that is set. A marker in the mask's padding says so: a
 * recovery by another program rewrites the mask with zeroes in its padding, and then, or when there
 * was no room for the marker, the load reads everything.
 *
 * The marker also says where the slot for torn writes is (write.c): two pages, the first with what
 * the second is, the second with the image, its bits inverted so that it is never taken for a page.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/crc32c.h"
#include "core/base/log.h"
#include "core/base/panic.h"

enum { REGION_BITS = COVER_REGION_PAGES, REGION_BYTES = REGION_BITS / 8 };

#define COVER_MAGIC "KARSTCOV"
#define SLOT_MAGIC "KARSTSLT"

struct cover_marker {
	uint8_t magic[8];
	le32 region_pages;
	le32 slot;                      /* first of its pages, 0: none */
	le32 reserved;
	le32 crc;                       /* of the fields before it */
};

static_assert(sizeof(struct cover_marker) == 24, "no padding");

struct slot_head {
	uint8_t magic[8];
	le32 kind;                      /* enum slot_kind */
	le32 page;
	le32 image_crc;
	uint8_t reserved[MD_PAGE_BYTES - 24];
	le32 crc;                       /* of all before it */
};

static_assert(sizeof(struct slot_head) == MD_PAGE_BYTES, "one page");

/* ---- the mask ---- */

/* Bytes of header and bits. */
static size_t mask_used(const struct store *s)
{
	return sizeof(struct bs_mask) + div_round_up(s->super.md_len, 8);
}

static size_t mask_len(const struct store *s)
{
	return (size_t)s->super.page_mask_len * MD_PAGE_BYTES;
}

static bool marker_fits(const struct store *s)
{
	return mask_len(s) - mask_used(s) >= sizeof(struct cover_marker);
}

/* Pages FIRST… of the mask as they should be, with region ALSO set. */
static void mask_build(const struct store *s, uint64_t also, size_t first, size_t count,
		       bool marker, uint8_t *bytes)
{
	struct bs_mask head = { BS_MASK_PAGES, le32_un_make(s->super.md_len) };
	size_t from = first * MD_PAGE_BYTES, to = from + count * MD_PAGE_BYTES;
	struct cover_marker m = { .region_pages = le32_make(REGION_BITS),
				  .slot = le32_make(s->slot) };

	memset(bytes, 0, to - from);
	for (size_t at = MAX(from, sizeof(head)); at < MIN(to, mask_used(s)); at++) {
		uint64_t region = (at - sizeof(head)) / REGION_BYTES;

		if (region == also || bits_test(&s->cover, region))
			bytes[at - from] = 0xff;
	}
	if (s->super.md_len % 8 && mask_used(s) - 1 >= from && mask_used(s) - 1 < to)
		bytes[mask_used(s) - 1 - from] &= (uint8_t)~(0xff << s->super.md_len % 8);
	if (from == 0)
		memcpy(bytes, &head, sizeof(head));
	if (!marker || to != mask_len(s))
		return;
	memcpy(m.magic, COVER_MAGIC, sizeof(m.magic));
	m.crc = le32_make(crc32c(&m, offsetof(struct cover_marker, crc)));
	memcpy(bytes + (to - from) - sizeof(m), &m, sizeof(m));
}

static int mask_put(struct store *s, uint64_t also, size_t first, size_t count, bool marker)
{
	uint8_t *bytes = malloc(count * MD_PAGE_BYTES);
	int rc;

	if (!bytes)
		return -ENOMEM;
	mask_build(s, also, first, count, marker, bytes);
	rc = store_write(s, ((uint64_t)s->super.page_mask_start + first) * MD_PAGE_BYTES, bytes,
			 count * MD_PAGE_BYTES);
	free(bytes);
	return rc < 0 ? rc : store_flush(s);
}

static int slot_take(struct store *s)
{
	uint64_t page = 0;

	if (!s->tears || s->slot)
		return 0;
	do {
		page = bits_next_clear(&s->pages, page + 1);
		if (page == BITS_NONE || page + 1 >= s->pages.count)
			return -ENOSPC;
	} while (bits_test(&s->pages, page + 1));
	bits_set(&s->pages, page);
	bits_set(&s->pages, page + 1);
	s->slot = (uint32_t)page;
	return 0;
}

int cover_init(struct store *s)
{
	bits_fini(&s->cover);
	return bits_init(&s->cover, div_round_up(s->super.md_len, REGION_BITS));
}

int cover_start(struct store *s)
{
	int rc = slot_take(s);

	if (rc < 0)
		return rc;
	for (uint64_t p = bits_next_set(&s->pages, 0); p != BITS_NONE;
	     p = bits_next_set(&s->pages, (p / REGION_BITS + 1) * REGION_BITS))
		bits_set(&s->cover, p / REGION_BITS);
	/* The marker only when all of the mask is there. */
	rc = mask_put(s, BITS_NONE, 0, s->super.page_mask_len, false);
	if (rc == 0 && marker_fits(s))
		rc = mask_put(s, BITS_NONE, s->super.page_mask_len - 1, 1, true);
	return rc;
}

int cover_page(struct store *s, uint32_t page)
{
	uint64_t region = page / REGION_BITS;
	size_t first, last;
	int rc = 0;

	if (bits_test(&s->cover, region))
		return 0;
	first = (sizeof(struct bs_mask) + region * REGION_BYTES) / MD_PAGE_BYTES;
	last = MIN(sizeof(struct bs_mask) + (region + 1) * REGION_BYTES, mask_used(s)) - 1;
	last /= MD_PAGE_BYTES;
	task_lock(&s->write_lock);
	if (!bits_test(&s->cover, region))
		rc = mask_put(s, region, first, last - first + 1, marker_fits(s));
	if (rc == 0)
		bits_set(&s->cover, region);
	task_unlock(&s->write_lock);
	return rc;
}

int cover_read(struct store *s)
{
	uint8_t *bytes = malloc(mask_len(s));
	struct cover_marker m;
	struct bits pages;
	int rc;

	if (!bytes)
		return -ENOMEM;
	rc = bits_init(&pages, s->super.md_len);
	if (rc == 0)
		rc = store_read(s, (uint64_t)s->super.page_mask_start * MD_PAGE_BYTES, bytes,
				mask_len(s));
	if (rc == 0)
		rc = mask_decode(bytes, mask_len(s), BS_MASK_PAGES, &pages) < 0 ? -ENOENT : 0;
	memcpy(&m, bytes + mask_len(s) - sizeof(m), sizeof(m));
	if (rc == 0 && (!marker_fits(s) || memcmp(m.magic, COVER_MAGIC, sizeof(m.magic)) != 0 ||
			le32_get(m.crc) != crc32c(&m, offsetof(struct cover_marker, crc)) ||
			le32_get(m.region_pages) != REGION_BITS))
		rc = -ENOENT;
	if (rc == 0) {
		for (uint64_t p = bits_next_set(&pages, 0); p != BITS_NONE;
		     p = bits_next_set(&pages, (p / REGION_BITS + 1) * REGION_BITS))
			bits_set(&s->cover, p / REGION_BITS);
		if (le32_get(m.slot) + 1 < s->super.md_len)
			s->slot = le32_get(m.slot);
	}
	bits_fini(&pages);
	free(bytes);
	return rc;
}

/* ---- the slot ---- */

int slot_write(struct store *s, enum slot_kind kind, uint32_t page, const void *image)
{
	struct {
		struct slot_head head;
		uint64_t image[MD_PAGE_BYTES / 8];
	} *slot = calloc(1, sizeof(*slot));
	int rc;

	if (!slot)
		return -ENOMEM;
	ASSERT(s->slot);
	memcpy(slot->head.magic, SLOT_MAGIC, sizeof(slot->head.magic));
	slot->head.kind = le32_make(kind);
	slot->head.page = le32_make(page);
	slot->head.image_crc = le32_make(crc32c(image, MD_PAGE_BYTES));
	slot->head.crc = le32_make(crc32c(&slot->head, MD_CRC_BYTES));
	memcpy(slot->image, image, MD_PAGE_BYTES);
	for (unsigned i = 0; i < MD_PAGE_BYTES / 8; i++)
		slot->image[i] = ~slot->image[i];
	rc = store_write(s, page_at(s, s->slot), slot, sizeof(*slot));
	free(slot);
	return rc < 0 ? rc : store_flush(s);
}

int slot_read(struct store *s, enum slot_kind *kind, uint32_t *page, void *image)
{
	uint64_t *words = image;
	struct slot_head head;
	int rc;

	if (!s->slot)
		return -ENOENT;
	rc = store_read(s, page_at(s, s->slot), &head, sizeof(head));
	if (rc == 0)
		rc = store_read(s, page_at(s, s->slot + 1), image, MD_PAGE_BYTES);
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < MD_PAGE_BYTES / 8; i++)
		words[i] = ~words[i];
	if (memcmp(head.magic, SLOT_MAGIC, sizeof(head.magic)) != 0 ||
	    le32_get(head.crc) != crc32c(&head, MD_CRC_BYTES) ||
	    le32_get(head.image_crc) != crc32c(image, MD_PAGE_BYTES) ||
	    le32_get(head.kind) > SLOT_SUPER || le32_get(head.page) >= s->super.md_len)
		return -ENOENT;
	*kind = le32_get(head.kind);
	*page = le32_get(head.page);
	return 0;
}

int slot_replay(struct store *s)
{
	struct bs_md_page *at = malloc(sizeof(*at)), *image = malloc(sizeof(*image));
	enum slot_kind kind;
	uint32_t page;
	int rc = at && image ? slot_read(s, &kind, &page, image) : -ENOMEM;

	if (rc == 0 && kind == SLOT_PAGE)
		rc = store_read(s, page_at(s, page), at, sizeof(*at));
	if (rc == 0 && kind == SLOT_PAGE && !page_crc_good(at)) {
		log_info("store %s: a torn write of page %u is completed", s->name, page);
		rc = store_write(s, page_at(s, page), image, sizeof(*image));
		if (rc == 0)
			rc = store_flush(s);
	}
	free(at);
	free(image);
	return rc == -ENOENT ? 0 : rc;
}
