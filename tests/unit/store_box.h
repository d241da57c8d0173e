/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store on a fake disk, for tests of everything in blob/: made, crashed, loaded again. In tasks.
 */
#ifndef TESTS_STORE_BOX_H
#define TESTS_STORE_BOX_H

#include "blob/md.h"
#include "tests/unit/fake_bdev.h"

enum { BOX_CLUSTER_BYTES = 64 * 1024 };

struct store_box {
	struct fake_bdev *disk;
	struct store *store;
	struct why why;
	/* of what a test's own task does */
	int rc;
	bool ended;
};

/* 4096-byte blocks, or smaller ones that tear; with a volatile cache. */
void store_box_disk(struct store_box *box, const char *name, uint64_t bytes, uint32_t block_bytes);
/* The same with an empty store. */
void store_box_open(struct store_box *box, uint64_t bytes, uint32_t block_bytes);
void store_box_close(struct store_box *box);
/* Unloads (clean), or forgets everything as a crash does; loads again. */
void store_box_reload(struct store_box *box);
void store_box_crash(struct store_box *box);
/* store_load with the reason printed when it fails. */
void store_box_load(struct store_box *box);
/* Drops the store's memory; the disk is as it is. */
void store_box_forget(struct store_box *box);

/* A blob with CLUSTERS clusters, every STEPth of them mapped (0: none), synced. */
struct blob *store_box_blob(struct store_box *box, const char *name, uint64_t clusters,
			    uint64_t step, bool rle);
struct blob *store_box_find(const struct store_box *box, const char *name);
/* All that a store says about itself, as one number: maps, xattrs, flags; not pages. */
uint64_t store_box_digest(const struct store *s);
uint64_t store_box_blob_digest(const struct blob *b);
/* A check finds nothing. */
void store_box_sound(struct store_box *box);

#endif
