/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A blob's metadata as descriptors, packed into pages in the order FLAGS, xattrs, internal xattrs,
 * extent table or runs. An xattr that does not fit what is left begins a page; tables and runs are
 * cut into pieces, each with a header of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/panic.h"

struct packer {
	const struct blob *blob;
	struct md_chain *chain;
	uint32_t used;                  /* of the last page's descriptors */
	struct bs_desc *open;           /* the table or runs being written; NULL */
};

void md_chain_free(struct md_chain *chain)
{
	free(chain->page);
	*chain = (struct md_chain){ 0 };
}

static int page_begin(struct packer *p)
{
	struct md_chain *c = p->chain;
	struct bs_md_page *page;

	if (c->count == c->room) {
		uint32_t room = MAX(c->room * 2, 2u);

		page = realloc(c->page, room * sizeof(*page));
		if (!page)
			return -ENOMEM;
		c->page = page;
		c->room = room;
	}
	page = &c->page[c->count];
	memset(page, 0, sizeof(*page));
	page->id = le64_un_make(p->blob->id);
	page->sequence_num = le32_un_make(c->count++);
	page->next = le32_un_make(MD_PAGE_NONE);
	p->used = 0;
	p->open = NULL;
	return 0;
}

/* A descriptor of LEN bytes, on a new page when this one has no room. NULL: no memory. */
static void *desc_put(struct packer *p, enum bs_desc_type type, uint32_t len)
{
	struct bs_desc *desc;

	ASSERT(sizeof(*desc) + len <= MD_DESC_BYTES);
	if (p->used + sizeof(*desc) + len > MD_DESC_BYTES && page_begin(p) < 0)
		return NULL;
	desc = (struct bs_desc *)(p->chain->page[p->chain->count - 1].descriptors + p->used);
	desc->type = (uint8_t)type;
	desc->length = le32_un_make(len);
	p->used += sizeof(*desc) + len;
	p->open = desc;
	return desc + 1;
}

/* LEN more bytes of the open descriptor; NULL when the page is full or none is open. */
static void *desc_more(struct packer *p, uint32_t len)
{
	void *at;

	if (!p->open || p->used + len > MD_DESC_BYTES)
		return NULL;
	at = p->chain->page[p->chain->count - 1].descriptors + p->used;
	p->open->length = le32_un_make(le32_un_get(p->open->length) + len);
	p->used += len;
	return at;
}

static int flags_put(struct packer *p)
{
	struct bs_flags *flags = desc_put(p, BS_DESC_FLAGS, sizeof(*flags));

	if (!flags)
		return -ENOMEM;
	flags->invalid_flags = le64_un_make(p->blob->invalid_flags);
	flags->data_ro_flags = le64_un_make(p->blob->data_ro_flags);
	flags->md_ro_flags = le64_un_make(p->blob->md_ro_flags);
	return 0;
}

static int xattrs_put(struct packer *p, bool internal)
{
	const struct blob_xattr *x;
	struct bs_xattr *at;

	list_for_each(x, &p->blob->xattrs, link) {
		if (x->internal != internal)
			continue;
		at = desc_put(p, internal ? BS_DESC_XATTR_INTERNAL : BS_DESC_XATTR,
			      (uint32_t)sizeof(*at) + x->name_len + x->value_len);
		if (!at)
			return -ENOMEM;
		at->name_length = le16_un_make(x->name_len);
		at->value_length = le16_un_make(x->value_len);
		memcpy(at + 1, x->name, x->name_len);
		memcpy((char *)(at + 1) + x->name_len, x->value, x->value_len);
	}
	return 0;
}

/* ---- the extent table ---- */

static int table_begin(struct packer *p)
{
	le64_un *count = desc_put(p, BS_DESC_EXTENT_TABLE, sizeof(*count));

	if (!count)
		return -ENOMEM;
	*count = le64_un_make(p->blob->map->cluster_count);
	return 0;
}

static int entry_put(struct packer *p, uint32_t page, uint32_t count)
{
	struct bs_table_entry *entry = desc_more(p, sizeof(*entry));

	if (!entry) {
		if (page_begin(p) < 0 || table_begin(p) < 0)
			return -ENOMEM;
		entry = desc_more(p, sizeof(*entry));
	}
	entry->page_idx = le32_un_make(page);
	entry->num_pages = le32_un_make(count);
	return 0;
}

static int table_put(struct packer *p)
{
	const struct blob_map *map = p->blob->map;
	uint32_t empty = 0;
	int rc = table_begin(p);

	for (uint32_t e = 0; rc == 0 && e < map->extent_count; e++) {
		bool last = e + 1 == map->extent_count;

		if (!map->extent[e].page) {
			empty++;
			if (last)
				rc = entry_put(p, 0, empty);
			continue;
		}
		if (empty)
			rc = entry_put(p, 0, empty);
		empty = 0;
		if (rc == 0)
			rc = entry_put(p, map->extent[e].page, 1);
	}
	return rc;
}

/* ---- runs ---- */

static int run_put(struct packer *p, uint32_t cluster, uint32_t count)
{
	struct bs_run *run = desc_more(p, sizeof(*run));

	if (!run) {
		run = desc_put(p, BS_DESC_EXTENT_RLE, sizeof(*run));
		if (!run)
			return -ENOMEM;
	}
	run->cluster_idx = le32_un_make(cluster);
	run->length = le32_un_make(count);
	return 0;
}

static int runs_put(struct packer *p)
{
	const struct blob_map *map = p->blob->map;
	uint32_t first = 0, count = 0;
	int rc = 0;

	p->open = NULL;
	for (uint64_t c = 0; rc == 0 && c < map->cluster_count; c++) {
		uint32_t cluster = blob_map_get(map, c);

		if (count > 0 && (first ? cluster == first + count : cluster == 0)) {
			count++;
			continue;
		}
		if (count > 0)
			rc = run_put(p, first, count);
		first = cluster;
		count = 1;
	}
	return rc < 0 || count == 0 ? rc : run_put(p, first, count);
}

int blob_encode(const struct blob *b, struct md_chain *chain)
{
	struct packer p = { .blob = b, .chain = chain };
	int rc;

	*chain = (struct md_chain){ 0 };
	rc = page_begin(&p);
	if (rc == 0)
		rc = flags_put(&p);
	if (rc == 0)
		rc = xattrs_put(&p, false);
	if (rc == 0)
		rc = xattrs_put(&p, true);
	if (rc == 0)
		rc = blob_has_table(b) ? table_put(&p) : runs_put(&p);
	if (rc < 0)
		md_chain_free(chain);
	return rc;
}

/* ---- extent pages ---- */

void extent_encode(const struct blob *b, uint32_t e, struct bs_md_page *md)
{
	uint64_t first = (uint64_t)e * BS_EXTENT_CLUSTERS;
	uint32_t count = (uint32_t)MIN(b->map->cluster_count - first, BS_EXTENT_CLUSTERS);
	struct bs_desc *desc = (struct bs_desc *)md->descriptors;
	le32_un *at = (le32_un *)(desc + 1);

	memset(md, 0, sizeof(*md));
	md->id = le64_un_make(b->id);
	md->next = le32_un_make(MD_PAGE_NONE);
	desc->type = BS_DESC_EXTENT_PAGE;
	desc->length = le32_un_make((count + 1) * (uint32_t)sizeof(*at));
	*at++ = le32_un_make((uint32_t)first);
	for (uint32_t i = 0; i < count; i++)
		*at++ = le32_un_make(blob_map_get(b->map, first + i));
}
