/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blobstore on disk, version 3: docs/blob-format.md. Everything is little-endian and packed, as
 * its authors fixed it. Pages of the metadata are MD_PAGE_BYTES; "start" fields count pages from
 * the start of the disk, extents count clusters from there. Checksums are CRC-32C over all of a
 * page but its last four bytes.
 */
#ifndef BLOB_FORMAT_H
#define BLOB_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"

enum {
	MD_PAGE_BYTES = 4096,
	MD_CRC_BYTES = MD_PAGE_BYTES - 4,       /* what a checksum covers */
	BS_SIGNATURE_BYTES = 8,
	BS_TYPE_BYTES = 16,
	BS_VERSION = 3,
	BS_VERSION_OLDEST = 1,                  /* those of them that have a checksum */
};

#define BS_SIGNATURE "SPDKBLOB"
#define BS_TYPE_LVOL "LVOLSTORE"
#define BLOB_ID_NONE UINT64_MAX                 /* no super blob */
#define BLOB_ID_BASE 0x100000000ULL             /* id = this | page of its root */
#define MD_PAGE_NONE UINT32_MAX                 /* ends a chain */

/* Page 0 of the disk. */
struct bs_super {
	uint8_t signature[BS_SIGNATURE_BYTES];
	le32_un version;
	le32_un length;                         /* 4096 */
	le32_un clean;                          /* 1: the masks are valid */
	le64_un super_blob;
	le32_un cluster_size;                   /* bytes */
	le32_un used_page_mask_start, used_page_mask_len;
	le32_un used_cluster_mask_start, used_cluster_mask_len;
	le32_un md_start, md_len;
	uint8_t bstype[BS_TYPE_BYTES];          /* NUL padded */
	le32_un used_blobid_mask_start, used_blobid_mask_len;
	le64_un size;                           /* bytes; 0: the disk's */
	le32_un io_unit_size;                   /* bytes; 0: 4096 */
	le32_un md_page_size;                   /* bytes; 0: 4096 */
	uint8_t reserved[3996];
	le32_un crc;
} __attribute__((packed));

static_assert(sizeof(struct bs_super) == MD_PAGE_BYTES, "one page");
static_assert(offsetof(struct bs_super, super_blob) == 20, "packed");
static_assert(offsetof(struct bs_super, bstype) == 56, "packed");
static_assert(offsetof(struct bs_super, used_blobid_mask_start) == 72, "packed");
static_assert(offsetof(struct bs_super, size) == 80, "packed");
static_assert(offsetof(struct bs_super, reserved) == 96, "packed");
static_assert(offsetof(struct bs_super, crc) == MD_CRC_BYTES, "at the end");

enum bs_mask_type {
	BS_MASK_PAGES = 0,
	BS_MASK_CLUSTERS = 1,
	BS_MASK_BLOBIDS = 2,
};

/* Bit i is bit i % 8 of byte i / 8. No checksum. */
struct bs_mask {
	uint8_t type;                           /* enum bs_mask_type */
	le32_un length;                         /* bits */
	uint8_t bits[];
} __attribute__((packed));

static_assert(sizeof(struct bs_mask) == 5, "packed");

/* A page of metadata: a blob's root, a continuation of it, or an extent page. */
struct bs_md_page {
	le64_un id;
	le32_un sequence_num;                   /* 0 in a root and in an extent page */
	le32_un reserved0;
	uint8_t descriptors[4072];
	le32_un next;                           /* page, MD_PAGE_NONE */
	le32_un crc;
} __attribute__((packed));

static_assert(sizeof(struct bs_md_page) == MD_PAGE_BYTES, "one page");
static_assert(offsetof(struct bs_md_page, descriptors) == 16, "packed");
static_assert(offsetof(struct bs_md_page, next) == 4088, "packed");

enum { MD_DESC_BYTES = sizeof(((struct bs_md_page *)0)->descriptors) };

enum bs_desc_type {
	BS_DESC_PADDING = 0,                    /* with length 0: the end of the page */
	BS_DESC_EXTENT_RLE = 1,                 /* struct bs_run[] */
	BS_DESC_XATTR = 2,                      /* struct bs_xattr, name, value */
	BS_DESC_FLAGS = 3,                      /* struct bs_flags */
	BS_DESC_XATTR_INTERNAL = 4,             /* as BS_DESC_XATTR */
	BS_DESC_EXTENT_TABLE = 5,               /* le64 cluster count, struct bs_table_entry[] */
	BS_DESC_EXTENT_PAGE = 6,                /* le32 first cluster, le32 cluster[] */
};

struct bs_desc {
	uint8_t type;                           /* enum bs_desc_type */
	le32_un length;                         /* of what follows this header */
} __attribute__((packed));

static_assert(sizeof(struct bs_desc) == 5, "packed");

struct bs_run {
	le32_un cluster_idx;                    /* 0: not allocated */
	le32_un length;                         /* clusters */
} __attribute__((packed));

struct bs_xattr {
	le16_un name_length;                    /* no NUL */
	le16_un value_length;
} __attribute__((packed));

struct bs_flags {
	le64_un invalid_flags, data_ro_flags, md_ro_flags;
} __attribute__((packed));

static_assert(sizeof(struct bs_flags) == 24, "packed");

struct bs_table_entry {
	le32_un page_idx;                       /* 0: num_pages extent pages that do not exist */
	le32_un num_pages;                      /* 1 when page_idx is not 0 */
} __attribute__((packed));

enum {
	BS_EXTENT_CLUSTERS = 512,               /* of an extent page */
	/* the most that name and value of an xattr can have together */
	BS_XATTR_BYTES_MAX = MD_DESC_BYTES - sizeof(struct bs_desc) - sizeof(struct bs_xattr),
};

/* An unknown bit here: the blob cannot be opened; read-only altogether; metadata read-only. */
enum bs_invalid_flag {
	BS_THIN = 1 << 0,
	BS_INTERNAL_XATTR = 1 << 1,             /* there is one at least */
	BS_EXTENT_TABLE = 1 << 2,
	BS_EXTERNAL_SNAPSHOT = 1 << 3,
	BS_INVALID_KNOWN = BS_THIN | BS_INTERNAL_XATTR | BS_EXTENT_TABLE | BS_EXTERNAL_SNAPSHOT,
};

enum bs_data_ro_flag {
	BS_READ_ONLY = 1 << 0,
	BS_DATA_RO_KNOWN = BS_READ_ONLY,
};

enum bs_md_ro_flag {
	BS_CLEAR_NONE = 1,                      /* what becomes of the clusters of a deleted blob */
	BS_CLEAR_UNMAP = 2,
	BS_CLEAR_ZERO = 3,
	BS_CLEAR_MASK = 3,
	BS_MD_RO_KNOWN = BS_CLEAR_MASK,
};

/* Internal xattrs. The first three hold a le64 blob id. */
#define BS_XATTR_SNAPSHOT "SNAP"                /* of a clone: its parent */
#define BS_XATTR_SNAP_PENDING "SNAPTMP"         /* of a snapshot being made: its origin */
#define BS_XATTR_SNAP_REMOVING "SNAPRM"         /* of a snapshot being deleted: its clone */
#define BS_XATTR_EXTERNAL "EXTSNAP"             /* of a clone of another disk: which, opaque */

/* Xattrs of volumes, and of the super blob of their store. Texts end with a NUL. */
#define BS_XATTR_NAME "name"
#define BS_XATTR_UUID "uuid"
enum { BS_VOLUME_NAME_BYTES = 64 };

#endif
