/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores and blobs in memory, and everything that is done with them.
 *
 * A store is a disk with the format of blob/format.h. All of its metadata is in memory while it is
 * loaded; a blob is its map (which cluster of the disk holds which of the blob), its xattrs and the
 * pages that hold all that on disk. Stores and blobs belong to reactor 0: every function here is
 * called there, and those that do I/O in a task. Other reactors only read maps (blob/volume.h).
 *
 * Units: "cluster" of a blob counts from the blob's start, a cluster of the disk from the disk's;
 * 0 there means not allocated (cluster 0 holds the superblock). "page" counts from md_start.
 *
 * Errors are 0/-errno; WHY (may be NULL) then has a line "store a: what is wrong; what to do". A
 * write of metadata that failed leaves nobody knowing what the disk holds: the store becomes
 * read-only then (store->failed) and every change ends with -EROFS until it is loaded again. When
 * the disk is gone everything ends with -ENODEV.
 */
#ifndef BLOB_BLOB_H
#define BLOB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blob/bits.h"
#include "blob/format.h"
#include "core/base/list.h"
#include "core/base/uuid.h"
#include "core/bdev.h"
#include "core/task.h"

struct store;
struct blob;
struct volume;
struct blob_view;

enum { BLOB_WHY_BYTES = 240, STORE_NAME_BYTES = BS_VOLUME_NAME_BYTES };

struct why {
	char text[BLOB_WHY_BYTES];
};

/* Writes the text, unless WHY is NULL; returns RC. */
__attribute__((format(printf, 3, 4)))
int why_fail(struct why *why, int rc, const char *fmt, ...);

/* ---- maps ---- */

/* 512 clusters of a blob: what an extent page holds. */
struct blob_extent {
	uint32_t page;                  /* its extent page, 0: none on disk (RLE form: always) */
	uint32_t mapped;                /* clusters that are not 0 */
	uint32_t *cluster;              /* BS_EXTENT_CLUSTERS of the disk's; NULL: all 0 */
};

/*
 * Any reactor reads it, reactor 0 alone changes it: entries one by one, atomically; everything else
 * by publishing another map in blob->map, task_barrier(), blob_map_free_shell() of the old one.
 */
struct blob_map {
	uint64_t cluster_count;         /* size of the blob */
	uint32_t extent_count;          /* cluster_count / 512, rounded up */
	struct blob_extent extent[];
};

/* Cluster of the disk that holds cluster C of the blob, C < cluster_count; 0: none. Any reactor. */
static inline uint32_t blob_map_get(const struct blob_map *map, uint64_t c)
{
	uint32_t *const *at = &map->extent[c / BS_EXTENT_CLUSTERS].cluster;
	const uint32_t *cluster = __atomic_load_n(at, __ATOMIC_ACQUIRE);

	return cluster ? __atomic_load_n(&cluster[c % BS_EXTENT_CLUSTERS], __ATOMIC_ACQUIRE) : 0;
}

/* map.c. Nothing mapped; NULL when no memory. */
struct blob_map *blob_map_create(uint64_t cluster_count);
/* With the arrays that it names; NULL allowed. */
void blob_map_destroy(struct blob_map *map);
/*
 * A map of another size that names the same arrays (those past the end are left out: the caller
 * frees them, with the clusters in them). NULL when no memory.
 */
struct blob_map *blob_map_resized(const struct blob_map *map, uint64_t cluster_count);
/* Without the arrays: another map has them. */
void blob_map_free_shell(struct blob_map *map);
/* Room for C, so that a blob_map_set cannot fail. -ENOMEM. */
int blob_map_reserve(struct blob_map *map, uint64_t c);
/* CLUSTER may be 0. There is room for it. Returns what was there. */
uint32_t blob_map_set(struct blob_map *map, uint64_t c, uint32_t cluster);
uint64_t blob_map_mapped(const struct blob_map *map);

/* ---- blobs ---- */

struct blob_xattr {
	struct list link;
	bool internal;                  /* the format's own: SNAP, … */
	uint16_t name_len, value_len;
	char *name;                     /* with a NUL added; in the same memory */
	uint8_t *value;
};

struct blob {
	uint64_t id;
	struct store *store;
	struct list link;               /* store->blobs, by id after a load, then by creation */
	struct blob *hash_next;

	/* as on disk; blob_flags_* says what they mean */
	uint64_t invalid_flags, data_ro_flags, md_ro_flags;
	struct blob_map *map;           /* published: see struct blob_map */
	struct list xattrs;             /* struct blob_xattr, as they come on disk */
	uint32_t *chain;                /* continuation pages, in order, without the root */
	uint32_t chain_count;

	/*
	 * What is wrong with it, on the heap; NULL: nothing. Such a blob is listed and can be
	 * deleted by check; nothing else is done with it. Its clusters and pages stay taken.
	 */
	char *damage;

	struct blob *parent;            /* its snapshot; NULL */
	struct list clones;             /* struct blob, by clone_link */
	struct list clone_link;

	struct task_lock lock;          /* of changes to its metadata, and to its map */
	struct volume *volume;          /* blob/volume.h: what serves it; NULL */
	unsigned open_count;            /* who needs it: its volume, running operations */
	bool dying;                     /* being made or deleted: not to be opened */
	struct blob_view *view;         /* blob/view.h: what all reactors read; NULL: not served */
	struct bdev *external;          /* the disk beneath it, while there is one */

	/* decode.c, scan.c: where the reading of its chain stands */
	struct {
		uint32_t wanted;        /* page that comes next; MD_PAGE_NONE: complete */
		uint32_t sequence;      /* that it must have */
		uint8_t seen;           /* kinds of descriptors, once each */
		bool partial;           /* pages of its own were no good */
		uint64_t at;            /* clusters of runs, or extents of the table, that came */
	} read;
};

static inline uint32_t blob_root(const struct blob *b)
{
	return (uint32_t)b->id;
}

static inline bool blob_is_thin(const struct blob *b)
{
	return b->invalid_flags & BS_THIN;
}

/* Table form: with extent pages. Otherwise all runs are in the chain, and extents have no page. */
static inline bool blob_has_table(const struct blob *b)
{
	return b->invalid_flags & BS_EXTENT_TABLE;
}

/* Data cannot be changed: snapshots, flags that nobody here knows, and damage. */
bool blob_is_readonly(const struct blob *b);
/* Nor metadata: unknown flags, damage. A snapshot's can. */
bool blob_is_md_readonly(const struct blob *b);
/* Has clones. */
bool blob_is_snapshot(const struct blob *b);

/* blob.c: memory only, for loading and creating. In the store's table and list at once; NULL. */
struct blob *blob_make(struct store *s, uint64_t id);
/* Out of the table, with everything that it owns in memory; clones must be gone or re-parented. */
void blob_free(struct blob *b);
struct blob *blob_find(const struct store *s, uint64_t id);
/* First (NULL) or next. */
struct blob *blob_next(const struct store *s, const struct blob *prev);
/* Says why in damage (the first reason stays) and in the log. */
__attribute__((format(printf, 2, 3)))
void blob_damage(struct blob *b, const char *fmt, ...);
void blob_parent_set(struct blob *b, struct blob *parent);      /* NULL: none */

/* xattr.c: memory only; blob_sync() makes it durable. */
struct blob_xattr *blob_xattr_find(const struct blob *b, bool internal, const char *name);
/* -ENOMEM; -E2BIG: does not fit a page (BS_XATTR_BYTES_MAX); -EINVAL: empty name. */
int blob_xattr_put(struct blob *b, bool internal, const char *name, const void *value, size_t len);
/* -ENOENT. Flag BS_INTERNAL_XATTR follows the internal ones. */
int blob_xattr_drop(struct blob *b, bool internal, const char *name);
/* Value of a le64 xattr (SNAP …); BLOB_ID_NONE when there is none or it has another length. */
uint64_t blob_xattr_id(const struct blob *b, const char *name);
/* Text of a NUL-terminated xattr, "" when there is none or it is malformed. */
const char *blob_xattr_text(const struct blob *b, const char *name);

/*
 * ---- operations (blob_op*.c, snapshot*.c): durable when they return, atomic over a crash ----
 *
 * Each begins with store_enter() and the blob's lock by itself. The caller keeps blobs from going
 * meanwhile (blob_open).
 */

struct blob_opts {
	uint64_t cluster_count;
	bool thin;
	bool rle;                       /* runs instead of the extent table: for tests */
	/* name and value of xattrs that it has from the first moment */
	const struct blob_xattr *xattrs;
	unsigned xattr_count;
};

/* -ENOSPC, -ENOMEM, -EIO. A thick one has all its clusters, which read as zeroes. */
int blob_create(struct store *s, const struct blob_opts *opts, struct blob **out, struct why *why);
/* Keeps it from going. -EUCLEAN: damaged. */
int blob_open(struct blob *b, struct why *why);
void blob_close(struct blob *b);
/* -EBUSY: open, or has more than one clone. A snapshot with one clone gives it its clusters. */
int blob_delete(struct blob *b, struct why *why);
/* Shrinking gives clusters back. -ENOSPC, -EROFS. */
int blob_resize(struct blob *b, uint64_t cluster_count, struct why *why);
/* LEN 0…; name is a text. -E2BIG, -EROFS. Value NULL and not LEN: removes (-ENOENT). */
int blob_xattr_set(struct blob *b, const char *name, const void *value, size_t len,
		   struct why *why);
int blob_xattr_remove(struct blob *b, const char *name, struct why *why);
/* All of OPTS->xattrs at once; a value of NULL removes. */
int blob_xattr_change(struct blob *b, const struct blob_xattr *xattrs, unsigned count,
		      struct why *why);
int blob_readonly_set(struct blob *b, bool readonly, struct why *why);
/* Read-only copy of B as it is; B becomes its clone. XATTRS are the snapshot's. */
int blob_snapshot(struct blob *b, const struct blob_xattr *xattrs, unsigned count,
		  struct blob **out, struct why *why);
/* Thin, with SNAPSHOT (read-only) beneath it. */
int blob_clone(struct blob *snapshot, const struct blob_xattr *xattrs, unsigned count,
	       struct blob **out, struct why *why);
/* All clusters of its own, no parent. -ENOSPC. */
int blob_inflate(struct blob *b, struct why *why);
/* Clusters of its parent copied, those of the parent's parent are not: it is the parent then. */
int blob_decouple(struct blob *b, struct why *why);
/* SNAPSHOT of the same size, which the caller knows to have the same contents. */
int blob_set_parent(struct blob *b, struct blob *snapshot, struct why *why);
/* Thin, with the disk named ESNAP beneath it. */
int blob_clone_external(struct store *s, const char *esnap, uint64_t cluster_count,
			const struct blob_xattr *xattrs, unsigned count, struct blob **out,
			struct why *why);
/* settle.c, for a load: ends what a crash interrupted (SNAPTMP, SNAPRM); all blobs are known. */
int blob_settle(struct store *s, struct why *why);

#endif
