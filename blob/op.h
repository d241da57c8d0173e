/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files with operations share: blob_op.c, snapshot.c, inflate.c, merge.c. */
#ifndef BLOB_OP_H
#define BLOB_OP_H

#include "blob/view.h"

/* What a failed commit puts back. */
struct blob_saved {
	struct list xattrs;
	uint64_t invalid_flags, data_ro_flags;
};

/* Inside the store, with the lock; -EUCLEAN: damaged. blob_begin_change: also -EROFS. */
int blob_begin(struct blob *b, struct why *why);
int blob_begin_change(struct blob *b, struct why *why);
void blob_end(struct blob *b);
/* Returns RC; writes why when it is an error. */
int blob_fail(const struct blob *b, int rc, const char *what, struct why *why);

int xattrs_save(const struct blob *b, struct blob_saved *saved);
void xattrs_saved_free(struct blob_saved *saved);
/* And frees. */
void xattrs_restore(struct blob *b, struct blob_saved *saved);
/* Memory only; a value of NULL removes. */
int xattrs_put(struct blob *b, const struct blob_xattr *xattrs, unsigned count);
int xattr_put_id(struct blob *b, const char *name, uint64_t id);

/* In memory, with a root page, in table form, "dying" until it is ready. -ENOSPC, -ENOMEM. */
int blob_new(struct store *s, uint64_t clusters, const struct blob_xattr *xattrs, unsigned count,
	     struct blob **out);
/* Nothing on disk knows of it. Its map's arrays are freed with it: see map_forget(). */
void blob_undo(struct blob *b);
/* Its arrays belong to another map too; EMPTY instead. */
void map_forget(struct blob *b, struct blob_map *empty);
/* resize.c: COUNT free clusters that read as zeroes, into MAP from FIRST on. -ENOSPC: none. */
int blob_map_fill(struct blob *b, struct blob_map *map, uint64_t first, uint64_t count,
		  uint32_t *cluster);
/* Off the disk, memory freed; its lock is held, and gone with it. */
int blob_remove(struct blob *b);
/*
 * snapshot.c: B with another parent (or none; then with the disk that was beneath the old one,
 * while it is THIN), and its map as it is in memory: on disk and for readers. Locked.
 */
int blob_parent_change(struct blob *b, struct blob *parent, bool thin);
/*
 * inflate.c: before B loses its parent for what is below that: zeroed clusters where zeroes are
 * read only since the parent ends there. Locked. -ENOSPC.
 */
int blob_fill_hidden(struct blob *b);
/* merge.c: as blob_remove, when it has one clone, which gets its clusters. */
int blob_merge(struct blob *b);

#endif
