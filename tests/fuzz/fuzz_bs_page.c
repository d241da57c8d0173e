/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of metadata: a chain of up to four, then an extent page, each as long as the input says (a
 * le16 before it). What decodes is encoded and decoded again to the same.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/list.h"
#include "core/base/panic.h"

enum { PAGES = 64, CLUSTERS = 4096, ROOT = 3, CHAIN_MAX = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct store *store_create_bare(void)
{
	struct store *s = calloc(1, sizeof(*s));

	ASSERT(s);
	s->shadow = true;
	s->super = (struct super){ .md_start = 4, .md_len = PAGES, .cluster_bytes = 65536,
				   .size_bytes = CLUSTERS * 65536ULL };
	list_init(&s->link);
	list_init(&s->blobs);
	ASSERT(bits_init(&s->clusters, CLUSTERS) == 0);
	return s;
}

static void store_destroy_bare(struct store *s)
{
	struct blob *b;

	while ((b = list_first_entry(&s->blobs, struct blob, link)))
		blob_free(b);
	bits_fini(&s->clusters);
	free(s->hash);
	free(s);
}

/* The next piece of the input as the descriptors of a page. */
static void page_take(struct bs_md_page *md, const uint8_t **data, size_t *size)
{
	size_t len = 0;

	memset(md, 0, sizeof(*md));
	if (*size >= 2) {
		len = (*data)[0] | (size_t)(*data)[1] << 8;
		*data += 2;
		*size -= 2;
	}
	len = len < *size ? len : *size;
	len = len < MD_DESC_BYTES ? len : MD_DESC_BYTES;
	memcpy(md->descriptors, *data, len);
	*data += len;
	*size -= len;
	md->id = le64_un_make(BLOB_ID_BASE | ROOT);
	md->next = le32_un_make(MD_PAGE_NONE);
}

static void map_check(const struct blob *b)
{
	for (uint32_t e = 0; e < b->map->extent_count; e++) {
		ASSERT(b->map->extent[e].page < PAGES);
		for (uint32_t i = 0; b->map->extent[e].cluster && i < BS_EXTENT_CLUSTERS; i++)
			ASSERT(b->map->extent[e].cluster[i] < CLUSTERS);
	}
}

/* A complete blob survives the way to the disk and back. */
static void round_trip(const struct blob *b)
{
	struct store *s = store_create_bare();
	struct blob *again = blob_make(s, b->id);
	struct md_chain chain;
	struct why why;

	ASSERT(again && blob_encode(b, &chain) == 0);
	again->read.wanted = ROOT;
	for (uint32_t i = 0; i < chain.count; i++) {
		if (i + 1 < chain.count)
			chain.page[i].next = le32_un_make(ROOT + 1);
		ASSERT(blob_decode(again, &chain.page[i], &why) == 0);
	}
	ASSERT(again->map->cluster_count == b->map->cluster_count);
	for (uint32_t e = 0; e < b->map->extent_count; e++) {
		ASSERT(again->map->extent[e].page == b->map->extent[e].page);
		ASSERT(blob_has_table(b) ||
		       again->map->extent[e].mapped == b->map->extent[e].mapped);
	}
	md_chain_free(&chain);
	store_destroy_bare(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store *s = store_create_bare();
	struct blob *b = blob_make(s, BLOB_ID_BASE | ROOT);
	struct bs_md_page md;
	struct why why = { "" };
	int rc = 0;

	ASSERT(b);
	b->read.wanted = ROOT;
	for (unsigned i = 0; i < CHAIN_MAX && b->read.wanted != MD_PAGE_NONE; i++) {
		int now;

		page_take(&md, &data, &size);
		md.sequence_num = le32_un_make(i);
		if (size > 0 && i + 1 < CHAIN_MAX)
			md.next = le32_un_make(ROOT + 1 + i);
		now = blob_decode(b, &md, &why);
		ASSERT(now == 0 || now == -EILSEQ || now == -ENOMEM);
		ASSERT(now == 0 || why.text[0] || now == -ENOMEM);
		if (now < 0 && rc == 0)
			blob_damage(b, "%s", why.text);
		rc = rc < 0 ? rc : now;
	}
	map_check(b);
	if (rc == 0 && b->map->cluster_count < 1 << 20)
		round_trip(b);
	page_take(&md, &data, &size);
	for (uint32_t e = 0; e < b->map->extent_count && e < 8; e++)
		extent_decode(b, e, &md, &why);
	map_check(b);
	store_destroy_bare(s);
	return 0;
}
