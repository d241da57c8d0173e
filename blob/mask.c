/* SPDX-License-Identifier: BSD-3-Clause */
/* The three masks: sets of pages, clusters and blob ids as they lie on disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"

static const char *const names[] = { "page mask", "cluster mask", "blobid mask" };

int mask_decode(const void *bytes, size_t len, enum bs_mask_type type, struct bits *bits)
{
	const struct bs_mask *mask = bytes;
	uint64_t said;

	if (len < sizeof(*mask) || mask->type != type)
		return -EILSEQ;
	said = le32_un_get(mask->length);
	/* That of clusters may be longer: of a growth that was not completed. */
	if (said < bits->count || (said > bits->count && type != BS_MASK_CLUSTERS) ||
	    (len - sizeof(*mask)) * 8 < bits->count)
		return -EILSEQ;
	bits_load(bits, mask->bits);
	return 0;
}

void mask_encode(const struct bits *bits, enum bs_mask_type type, void *bytes, size_t len)
{
	struct bs_mask *mask = bytes;

	memset(bytes, 0, len);
	mask->type = type;
	mask->length = le32_un_make((uint32_t)bits->count);
	bits_store(bits, mask->bits);
}

static void area_of(const struct super *super, enum bs_mask_type type, uint64_t *at, size_t *len)
{
	const uint32_t start[] = { super->page_mask_start, super->cluster_mask_start,
				   super->blobid_mask_start };
	const uint32_t pages[] = { super->page_mask_len, super->cluster_mask_len,
				   super->blobid_mask_len };

	*at = (uint64_t)start[type] * MD_PAGE_BYTES;
	*len = (size_t)pages[type] * MD_PAGE_BYTES;
}

/* What an area says is its own length may be more than its bits need. */
static size_t len_needed(const struct bits *bits)
{
	return ALIGN_UP(sizeof(struct bs_mask) + (bits->count + 7) / 8, (size_t)MD_PAGE_BYTES);
}

int mask_read(struct store *s, enum bs_mask_type type, struct bits *bits, struct why *why)
{
	size_t len, need = len_needed(bits);
	uint64_t at;
	void *bytes;
	int rc;

	area_of(&s->super, type, &at, &len);
	if (len < need)
		return why_fail(why, -EILSEQ, "store %s: its %s is too short", s->name,
				names[type]);
	bytes = malloc(need);
	if (!bytes)
		return why_fail(why, -ENOMEM, "store %s: not enough memory", s->name);
	rc = store_read(s, at, bytes, need);
	if (rc < 0)
		why_fail(why, rc, "store %s: its %s cannot be read: %s", s->name, names[type],
			 strerror(-rc));
	else if ((rc = mask_decode(bytes, need, type, bits)) < 0)
		why_fail(why, rc, "store %s: its %s is not one", s->name, names[type]);
	free(bytes);
	return rc;
}

int mask_write(struct store *s, enum bs_mask_type type, const struct bits *bits)
{
	uint64_t at;
	size_t len;
	void *bytes;
	int rc;

	area_of(&s->super, type, &at, &len);
	if (len == 0)
		return 0;
	bytes = malloc(len);
	if (!bytes)
		return -ENOMEM;
	mask_encode(bits, type, bytes, len);
	rc = store_write(s, at, bytes, len);
	free(bytes);
	return rc;
}
