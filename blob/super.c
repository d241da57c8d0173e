/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The superblock: decoded and checked, encoded, and the layout of a new store. What passes
 * super_decode() is consistent: every area lies on the disk, none overlaps another, every mask has
 * room for its bits. docs/blob-format.md has the fields.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/crc32c.h"
#include "core/base/util.h"

enum {
	IO_UNIT_DEFAULT = 4096,
	CLUSTER_BYTES_MIN = 64 * 1024,
	CLUSTER_BYTES_MAX = 1 << 30,
	GROW_TIMES = 4,                 /* a new store's cluster mask can grow that much */
};

struct area {
	const char *name;
	uint64_t start, len;
};

static uint64_t mask_pages(uint64_t bits)
{
	return div_round_up(sizeof(struct bs_mask) + div_round_up(bits, 8), MD_PAGE_BYTES);
}

uint32_t super_md_clusters(const struct super *super)
{
	uint64_t end = ((uint64_t)super->md_start + super->md_len) * MD_PAGE_BYTES;

	return (uint32_t)div_round_up(end, super->cluster_bytes);
}

/* ---- decode ---- */

/*
 * The field clean is rewritten in place, and a disk may write the sectors of a page one by one:
 * then the checksum is that of the other value.
 */
static bool crc_good(const struct bs_super *raw, bool *torn)
{
	struct bs_super other = *raw;

	*torn = false;
	if (crc32c(raw, MD_CRC_BYTES) == le32_un_get(raw->crc))
		return true;
	*torn = true;
	other.clean = le32_un_make(!le32_un_get(raw->clean));
	return le32_un_get(raw->clean) <= 1 &&
	       crc32c(&other, MD_CRC_BYTES) == le32_un_get(raw->crc);
}

static void fields_get(const struct bs_super *raw, uint64_t disk_bytes, struct super *out)
{
	*out = (struct super){
		.version = le32_un_get(raw->version),
		.clean = le32_un_get(raw->clean) == 1,
		.super_blob = le64_un_get(raw->super_blob),
		.cluster_bytes = le32_un_get(raw->cluster_size),
		.page_mask_start = le32_un_get(raw->used_page_mask_start),
		.page_mask_len = le32_un_get(raw->used_page_mask_len),
		.cluster_mask_start = le32_un_get(raw->used_cluster_mask_start),
		.cluster_mask_len = le32_un_get(raw->used_cluster_mask_len),
		.md_start = le32_un_get(raw->md_start),
		.md_len = le32_un_get(raw->md_len),
		.size_bytes = disk_bytes,
		.block_bytes = IO_UNIT_DEFAULT,
	};
	memcpy(out->type, raw->bstype, BS_TYPE_BYTES);
	if (out->version < BS_VERSION)
		return;
	out->blobid_mask_start = le32_un_get(raw->used_blobid_mask_start);
	out->blobid_mask_len = le32_un_get(raw->used_blobid_mask_len);
	if (le64_un_get(raw->size))
		out->size_bytes = le64_un_get(raw->size);
	if (le32_un_get(raw->io_unit_size))
		out->block_bytes = le32_un_get(raw->io_unit_size);
}

static int sizes_check(const struct super *s, uint64_t disk_bytes, struct why *why)
{
	if (s->size_bytes > disk_bytes)
		return why_fail(why, -EILSEQ, "is %" PRIu64 " bytes large and its disk %" PRIu64
				"; the disk has shrunk, or is another one", s->size_bytes,
				disk_bytes);
	if (s->cluster_bytes == 0 || s->cluster_bytes % MD_PAGE_BYTES)
		return why_fail(why, -EILSEQ, "has clusters of %u bytes", s->cluster_bytes);
	if (!IS_POWER_OF_2(s->block_bytes) || s->block_bytes < 512 ||
	    s->cluster_bytes % s->block_bytes)
		return why_fail(why, -EILSEQ, "has blocks of %u bytes", s->block_bytes);
	if (super_cluster_count(s) > UINT32_MAX)
		return why_fail(why, -EILSEQ, "has more clusters than 32 bits can count");
	return 0;
}

static int areas_check(const struct super *s, struct why *why)
{
	const struct area areas[] = {
		{ "page mask", s->page_mask_start, s->page_mask_len },
		{ "cluster mask", s->cluster_mask_start, s->cluster_mask_len },
		{ "blobid mask", s->blobid_mask_start, s->blobid_mask_len },
		{ "metadata", s->md_start, s->md_len },
		{ "superblock", 0, 1 },
	};
	const uint64_t bits[] = { s->md_len, super_cluster_count(s), s->md_len };

	for (unsigned i = 0; i < ARRAY_SIZE(areas); i++) {
		const struct area *a = &areas[i];

		if (a->len == 0 && i == 2)
			continue;
		if (a->len == 0 || a->start + a->len > s->size_bytes / MD_PAGE_BYTES)
			return why_fail(why, -EILSEQ, "has its %s outside of the disk", a->name);
		if (i < ARRAY_SIZE(bits) && a->len < mask_pages(bits[i]))
			return why_fail(why, -EILSEQ, "has a %s too short", a->name);
		for (unsigned j = 0; j < i; j++)
			if (a->start < areas[j].start + areas[j].len &&
			    areas[j].start < a->start + a->len)
				return why_fail(why, -EILSEQ, "has its %s in its %s", a->name,
						areas[j].name);
	}
	if (super_md_clusters(s) > super_cluster_count(s))
		return why_fail(why, -EILSEQ, "has metadata behind its last cluster");
	return 0;
}

int super_decode(const void *page, uint64_t disk_bytes, struct super *out, struct why *why)
{
	const struct bs_super *raw = page;
	uint32_t version = le32_un_get(raw->version);
	bool torn;
	int rc;

	if (memcmp(raw->signature, BS_SIGNATURE, BS_SIGNATURE_BYTES) != 0)
		return why_fail(why, -ENOENT, "has no superblock");
	if (version < BS_VERSION_OLDEST || version > BS_VERSION)
		return why_fail(why, -ENOTSUP, "is of version %u; known are %d to %d", version,
				BS_VERSION_OLDEST, BS_VERSION);
	if (!crc_good(raw, &torn))
		return why_fail(why, -EILSEQ, "has a superblock with a bad checksum");
	if (le32_un_get(raw->length) != MD_PAGE_BYTES)
		return why_fail(why, -EILSEQ, "has a superblock of %u bytes",
				le32_un_get(raw->length));
	if (version == BS_VERSION && le32_un_get(raw->md_page_size) != 0 &&
	    le32_un_get(raw->md_page_size) != MD_PAGE_BYTES)
		return why_fail(why, -ENOTSUP, "has metadata pages of %u bytes; known are %d",
				le32_un_get(raw->md_page_size), MD_PAGE_BYTES);
	fields_get(raw, disk_bytes, out);
	out->torn = torn;
	out->clean &= !torn;
	rc = sizes_check(out, disk_bytes, why);
	return rc < 0 ? rc : areas_check(out, why);
}

int super_decode_fields(const struct bs_super *raw, uint64_t disk_bytes, struct super *out)
{
	uint32_t version = le32_un_get(raw->version);
	int rc;

	if (memcmp(raw->signature, BS_SIGNATURE, BS_SIGNATURE_BYTES) != 0 || version != BS_VERSION)
		return -EILSEQ;
	fields_get(raw, disk_bytes, out);
	rc = sizes_check(out, disk_bytes, NULL);
	return rc < 0 ? rc : areas_check(out, NULL);
}

/* ---- encode ---- */

void super_encode(const struct super *super, void *page)
{
	struct bs_super *raw = page;

	memcpy(raw->signature, BS_SIGNATURE, BS_SIGNATURE_BYTES);
	raw->version = le32_un_make(super->version);
	raw->length = le32_un_make(MD_PAGE_BYTES);
	raw->clean = le32_un_make(super->clean);
	raw->super_blob = le64_un_make(super->super_blob);
	raw->cluster_size = le32_un_make(super->cluster_bytes);
	raw->used_page_mask_start = le32_un_make(super->page_mask_start);
	raw->used_page_mask_len = le32_un_make(super->page_mask_len);
	raw->used_cluster_mask_start = le32_un_make(super->cluster_mask_start);
	raw->used_cluster_mask_len = le32_un_make(super->cluster_mask_len);
	raw->md_start = le32_un_make(super->md_start);
	raw->md_len = le32_un_make(super->md_len);
	memcpy(raw->bstype, super->type, BS_TYPE_BYTES);
	if (super->version >= BS_VERSION) {
		raw->used_blobid_mask_start = le32_un_make(super->blobid_mask_start);
		raw->used_blobid_mask_len = le32_un_make(super->blobid_mask_len);
		raw->size = le64_un_make(super->size_bytes);
		raw->io_unit_size = le32_un_make(super->block_bytes);
		raw->md_page_size = le32_un_make(MD_PAGE_BYTES);
	}
	raw->crc = le32_un_make(crc32c(raw, MD_CRC_BYTES));
}

/* ---- a new store ---- */

int super_layout(uint64_t disk_bytes, uint32_t cluster_bytes, uint32_t block_bytes,
		 struct super *out)
{
	uint64_t clusters = cluster_bytes ? disk_bytes / cluster_bytes : 0;
	uint64_t mask = mask_pages(clusters), room = mask_pages(clusters * GROW_TIMES);
	uint64_t end = 1 + 2 * mask + room + clusters;

	if (cluster_bytes < CLUSTER_BYTES_MIN || cluster_bytes > CLUSTER_BYTES_MAX ||
	    !IS_POWER_OF_2(cluster_bytes))
		return -EINVAL;
	if (clusters > UINT32_MAX - 3 * mask - room ||
	    div_round_up(end * MD_PAGE_BYTES, cluster_bytes) >= clusters)
		return -ENOSPC;
	*out = (struct super){
		.version = BS_VERSION,
		.super_blob = BLOB_ID_NONE,
		.cluster_bytes = cluster_bytes,
		.page_mask_start = 1,
		.page_mask_len = (uint32_t)mask,
		.cluster_mask_start = (uint32_t)(1 + mask),
		.cluster_mask_len = (uint32_t)mask,
		.blobid_mask_start = (uint32_t)(1 + mask + room),
		.blobid_mask_len = (uint32_t)mask,
		.md_start = (uint32_t)(1 + 2 * mask + room),
		.md_len = (uint32_t)clusters,
		.type = BS_TYPE_LVOL,
		.size_bytes = disk_bytes,
		.block_bytes = block_bytes,
	};
	return 0;
}
