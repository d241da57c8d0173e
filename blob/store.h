/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store: its disk, its layout, what is used, and its life.
 *
 *   create ─→ load ─→ LOADED ─→ unload
 *                       └─(disk removed)─→ GONE ─→ closed by itself when nobody is inside
 *
 * Changes to metadata go on between store_enter() and store_leave(), many at a time; what wants the
 * store to itself (unload, grow, check) takes store_enter_alone(). Data I/O does not enter.
 */
#ifndef BLOB_STORE_H
#define BLOB_STORE_H

#include "blob/blob.h"

/* A superblock, decoded and checked. "pages" are MD_PAGE_BYTES. */
struct super {
	uint32_t version;
	bool clean;
	uint64_t super_blob;
	uint32_t cluster_bytes;         /* multiple of 4096, at least one page */
	uint32_t page_mask_start, page_mask_len;
	uint32_t cluster_mask_start, cluster_mask_len;
	uint32_t blobid_mask_start, blobid_mask_len;
	uint32_t md_start, md_len;
	char type[BS_TYPE_BYTES];
	uint64_t size_bytes;            /* never 0 */
	uint32_t block_bytes;           /* io_unit_size, never 0 */
	/* a torn update (clean and the checksum disagree), mended here; clean is false then */
	bool torn;
};

/*
 * super.c. PAGE is MD_PAGE_BYTES. -ENOENT: no signature; -EILSEQ: checksum, or sizes that
 * contradict each other or the disk; -ENOTSUP: version or md page size. WHY has no object's name.
 */
int super_decode(const void *page, uint64_t disk_bytes, struct super *out, struct why *why);
/* PAGE holds zeroes, or what was decoded: bytes without a meaning here stay. */
void super_encode(const struct super *super, void *page);
/* The layout of a new store (A2). -EINVAL: cluster size; -ENOSPC: too small for two clusters. */
int super_layout(uint64_t disk_bytes, uint32_t cluster_bytes, uint32_t block_bytes,
		 struct super *out);
static inline uint64_t super_cluster_count(const struct super *super)
{
	return super->size_bytes / super->cluster_bytes;
}

/* Clusters 0…this-1 hold superblock, masks and metadata. */
uint32_t super_md_clusters(const struct super *super);

enum store_state { STORE_LOADING, STORE_LOADED, STORE_GONE };

struct lane;

struct store_figures {
	uint64_t cluster_bytes, clusters, clusters_free;
	uint64_t pages, pages_free;     /* of metadata */
	uint64_t blobs, damaged;
	/* since load */
	uint64_t flushes, md_writes, cluster_allocs, cluster_frees;
	uint64_t freeze_us_max;         /* longest time that I/O of a volume was held */
	uint64_t load_us;
	bool recovered;                 /* was not unloaded before */
};

struct store {
	char name[STORE_NAME_BYTES];    /* of the volume store, or of its disk when it has none */
	struct uuid uuid;
	struct list link;
	enum store_state state;
	struct bdev_user disk;          /* exclusive */
	struct super super;             /* as it is on disk */
	unsigned block_shift;           /* of the disk */
	uint32_t pages_per_cluster;

	/* what is taken; clusters of damaged blobs are */
	struct bits pages, clusters;
	uint64_t cluster_hint;          /* where the search for a free one begins */
	struct list blobs;
	struct blob **hash;             /* by root page, hash_mask + 1 heads */
	uint32_t hash_mask, blob_count;
	struct blob *super_blob;        /* name and uuid of the store; NULL */

	/* write.c */
	bool dirty;                     /* clean=0 is on the disk */
	bool unflushed;                 /* something was written since the last flush began */
	bool failed;                    /* read-only until loaded again */
	bool tears;                     /* the disk may tear a page: in-place writes go twice */
	uint32_t slot;                  /* first of the two pages for that, 0: none taken */
	uint8_t *super_page;            /* page 0 as it is on disk */
	struct task_lock write_lock, flush_lock;
	struct bits cover;              /* regions of pages whose use is announced on disk */

	/* store.c */
	unsigned inside;                /* entered */
	/* its volumes become disks: nobody looks beneath all others for each of them */
	bool serving;
	bool shadow;                    /* of a check: what it finds is not logged */
	bool alone;
	unsigned waiting;               /* tasks in store_enter, store_enter_alone */
	struct event left;              /* somebody left */

	/* view.c, volume.c; NULL: its volumes are not served */
	struct lane **lanes;            /* of each reactor */
	struct task_lock drain_lock;
	unsigned volume_ops;            /* operations on volumes under way */
	bool stopping;                  /* none may begin */
	struct event volume_idle;
	struct list namings;            /* names that are being given */

	/* batch.c, external.c: copies under way from disks beneath volumes */
	unsigned external_copies;
	struct event external_idle;

	/* percent of clusters in use at which to warn; 0: never */
	unsigned warn_percent[2];
	unsigned warned;                /* how many of them are passed */
	struct store_figures figures;
};

/* ---- store.c: all stores, and who is inside ---- */

/* By name; NULL. */
struct store *store_find(const char *name);
struct store *store_next(const struct store *prev);
/* Of a disk; NULL. */
struct store *store_of_disk(const char *disk);
static inline const char *store_disk(const struct store *s)
{
	return s->disk.bdev->name;
}

/*
 * Waits while somebody is alone. 0, -ENODEV (gone), -EROFS (failed): then nothing was entered.
 * A task must not enter twice.
 */
int store_enter(struct store *s, struct why *why);
void store_leave(struct store *s);
/* Waits until nobody is inside; -ENODEV. */
int store_enter_alone(struct store *s, struct why *why);
void store_leave_alone(struct store *s);
void store_figures(const struct store *s, struct store_figures *out);

/* ---- life: create.c, load.c, unload.c, grow.c, check.c ---- */

struct store_opts {
	uint32_t cluster_bytes;         /* 64 KiB…1 GiB, a power of two */
	bool force;                     /* over whatever the disk holds */
};

/*
 * Makes a volume store (with its super blob) on DISK and loads it. -EEXIST: there is data and no
 * force, or the name is taken; -EBUSY, -ENOENT, -EROFS: the disk; -EINVAL, -ENOSPC: sizes. A crash
 * leaves what was there, nothing, or an empty store.
 */
int store_create(const char *name, const char *disk, const struct store_opts *opts,
		 struct store **out, struct why *why);
/* Whether DISK begins with a superblock. 1, 0, or -errno. Fills NAME_SUPER when 1. */
int store_probe(const char *disk, struct super *super, struct why *why);
/*
 * Opens the disk, reads all metadata; recovers when it was not unloaded. -ENOENT: no store there;
 * -EILSEQ, -ENOTSUP: not one that can be loaded; -EEXIST: another of that name or uuid is loaded.
 */
int store_load(const char *disk, struct store **out, struct why *why);
/* -EBUSY: blobs are open. The memory is gone on 0. Works on a store whose disk is gone. */
int store_unload(struct store *s, struct why *why);
/* Unloads and wipes the superblock. */
int store_delete(struct store *s, struct why *why);
/* Takes in what its disk has grown by; the number of new clusters in *ADDED. -ENOSPC, -EROFS. */
int store_grow(struct store *s, uint64_t *added, struct why *why);

/* What check has found, one line each. */
enum finding_kind {
	FIND_CRC,                       /* a page that is used, or should be, has a bad checksum */
	FIND_CHAIN,                     /* id, sequence or order of pages wrong */
	FIND_CONTENT,                   /* descriptors that make no sense */
	FIND_CLUSTER_TWICE, FIND_PAGE_TWICE,
	FIND_CLUSTER_LEAKED, FIND_PAGE_LEAKED,
	FIND_MASK,                      /* taken, and not in the mask */
	FIND_PARENT,                    /* names a snapshot that is not there, or none */
	FIND_NAME,                      /* a volume or the store has none */
	FIND_MEMORY,                    /* disk and memory disagree */
	FIND_KINDS,
};

struct finding {
	struct list link;
	enum finding_kind kind;
	uint64_t blob;                  /* BLOB_ID_NONE */
	uint64_t first, count;          /* clusters of the disk, or pages; count may be 0 */
	bool mended;
	char text[160];                 /* what is wrong; after repair what was done or lost */
};

struct check_report {
	struct list findings;           /* struct finding; the first CHECK_FINDINGS_MAX */
	uint64_t counts[FIND_KINDS];
	uint64_t blobs, pages, clusters;        /* looked at */
	uint64_t mended, lost;
};

enum { CHECK_FINDINGS_MAX = 1000 };
const char *finding_kind_name(enum finding_kind kind);

/*
 * Reads all metadata again and compares it with itself and with what is in memory; changes of
 * metadata wait meanwhile, data I/O to what is mapped goes on. REPAIR mends. 0 also with findings.
 * task_progress() tells how far. The report is the caller's, also on an error: check_report_fini().
 */
int store_check(struct store *s, bool repair, struct check_report *report, struct why *why);
void check_report_init(struct check_report *report);
void check_report_fini(struct check_report *report);

/*
 * ---- space: space.c. Memory only; what is freed here may be given out at once, so free only what
 * nothing on disk names any more. ----
 */

/* A free page, marked as taken; 0: none. ROOT: also page 0 may come, and MD_PAGE_NONE is none. */
uint32_t page_alloc(struct store *s);
uint32_t page_alloc_root(struct store *s);
void page_free(struct store *s, uint32_t page);
/* COUNT clusters of the disk, next to each other when possible; all or nothing: -ENOSPC. */
int cluster_alloc(struct store *s, uint32_t *cluster, uint64_t count);
void cluster_free(struct store *s, uint32_t cluster);
/* Called after clusters were taken or freed: warns when a threshold is passed. */
void store_level_check(struct store *s);

/*
 * ---- writing metadata: write.c, sync.c ----
 *
 * The first write after a load makes clean=0 durable before anything else. What these write is
 * ordered by flushes alone: store_flush() makes everything before it durable. Errors of the disk
 * set store->failed.
 */

/* LEN bytes at byte AT of the disk; any alignment to the disk's blocks; any memory. 0/-errno. */
int store_read(struct store *s, uint64_t at, void *buf, size_t len);
int store_write(struct store *s, uint64_t at, const void *buf, size_t len);
int store_zero(struct store *s, uint64_t at, uint64_t len);
/* Nothing when the disk has no volatile cache, or nothing was written since the last one. */
int store_flush(struct store *s);
/* Tells that somebody wrote to the disk past store_write: data of a volume's new cluster. */
static inline void store_wrote(struct store *s)
{
	s->unflushed = true;
}

/* clean=0, durable; does nothing when it is. Called by the writers below. */
int store_dirty(struct store *s);
/* Superblock as in s->super, changed after store_dirty(). Flushes; all or nothing. */
int super_write(struct store *s);

/* Fills in the checksum and writes a page that nothing on disk refers to yet; not flushed. */
int page_write_fresh(struct store *s, uint32_t page, struct bs_md_page *md);
/*
 * The commit of a change: flushes what was written before, replaces the page (all or nothing, also
 * on disks that tear pages), flushes. Fills in the checksum.
 */
int page_commit(struct store *s, uint32_t page, struct bs_md_page *md);
/* The same with zeroes: the end of a blob. */
int page_commit_zero(struct store *s, uint32_t page);
/* Clears pages that nothing on disk refers to any more; not flushed, and no promise. */
int page_zero(struct store *s, uint32_t page);

/*
 * Makes a blob's flags, xattrs and map durable as they are in memory: extent pages that are not on
 * disk yet (extent.page == 0 and something mapped), the chain on fresh pages, the root, then the
 * old chain is cleared and freed. All or nothing. Extent pages that exist are not written:
 * blob_sync_extent(), or, to change several things at once, extent.page = 0 before (the caller
 * frees the old page after: page_zero, page_free). The blob's lock is held. -ENOSPC: no free page
 * (nothing has changed, also not in memory).
 */
int blob_sync(struct blob *b);
/*
 * Makes extent E durable: its page in place, or a new page and blob_sync(). For blobs in RLE form
 * blob_sync().
 */
int blob_sync_extent(struct blob *b, uint32_t e);
/* Removes root, chain and extent pages from the disk, in this order, and frees the pages. */
int blob_unlink(struct blob *b);

#endif
