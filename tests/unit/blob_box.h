/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A store on a fake disk beside a model of it: arrays that say what each block of each volume
 * holds, and, for crashes, what it may hold. Operations are random; each is done to both. A block
 * that was written holds its stamp (a number that grows with every write) and its address, a block
 * that was not is zeroes: what another volume, or the disk before the store, has left is neither.
 * In a task.
 */
#ifndef TESTS_BLOB_BOX_H
#define TESTS_BLOB_BOX_H

#include <stdbool.h>
#include <stdint.h>

#include "blob/volume.h"
#include "tests/unit/fake_bdev.h"

enum {
	BOX_BLOCK = 512,
	BOX_CLUSTER = 65536,
	BOX_CLUSTER_BLOCKS = BOX_CLUSTER / BOX_BLOCK,
	BOX_CLUSTERS = 5,               /* of a volume, at most */
	BOX_BLOCKS = BOX_CLUSTERS * BOX_CLUSTER_BLOCKS,
	BOX_VOLUMES = 10,
	BOX_NAME_BYTES = 16,
	BOX_DISK_CLUSTERS = 28,
};

struct box_volume {
	bool used, snapshot, readonly;
	char name[BOX_NAME_BYTES];
	unsigned clusters;
	int parent;                     /* -1: none */
	uint32_t latest[BOX_BLOCKS];    /* stamp that is read; 0: zeroes */
	/* what a crash leaves: `settled`, or a stamp after `since`, or zeroes when `zeroed` */
	uint32_t settled[BOX_BLOCKS], since[BOX_BLOCKS];
	bool zeroed[BOX_BLOCKS];
};

struct box_state {
	struct box_volume volume[BOX_VOLUMES];
	uint32_t stamp;                 /* the newest */
};

enum box_op {
	BOX_WRITE, BOX_READ, BOX_ZERO, BOX_UNMAP, BOX_FLUSH,
	BOX_CREATE, BOX_DELETE, BOX_RESIZE, BOX_RENAME, BOX_SNAPSHOT, BOX_CLONE, BOX_INFLATE,
	BOX_DECOUPLE, BOX_READONLY,
	BOX_OPS,
};

struct blob_box {
	struct fake_bdev *disk;
	struct store *store;
	struct box_state now;
	uint64_t seed, random;
	unsigned done[BOX_OPS], refused[BOX_OPS], nospc;
	unsigned names;
	bool told;                      /* KARST_SEED is set: operations are printed */
	char said[160];                 /* the operation that was done last */
};

/* The disk's shape: of SEED's cache, FUA, unmap, write-zeroes and atomic unit. */
struct bdev box_shape(const char *name, uint64_t seed);
/* With an empty store on a new disk that is full of what no store has written. */
void box_begin(struct blob_box *box, enum fake_mode mode, uint64_t seed);
void box_end(struct blob_box *box);
/* The store of a disk, up or down. */
void box_load(struct blob_box *box, const char *disk);
void box_unload(struct blob_box *box);

uint64_t box_random(struct blob_box *box);
/* Does OP if something can be done by it; whether it was. */
bool box_do(struct blob_box *box, enum box_op op);
/* Every volume is there, is what the model says, and holds what the model says. */
void box_verify(struct blob_box *box);
/* Of a store after a crash: it is as STATE says, where LATER is the newest write that was tried. */
bool box_may_be(struct blob_box *box, const struct box_state *state,
		const struct box_state *later, char *why, size_t why_bytes);
/* The model becomes STATE, whose volumes hold what is read. */
void box_adopt(struct blob_box *box, const struct box_state *state);
/* store_check finds nothing, and clusters in use are those that volumes own. */
void box_check(struct blob_box *box);
/* Fails the test, with the seed and the last operation. */
__attribute__((format(printf, 2, 3), noreturn))
void box_fail(const struct blob_box *box, const char *fmt, ...);

/* ---- within these files ---- */

enum { BOX_WORDS = BOX_BLOCK / 8 };
#define BOX_GARBAGE UINT32_MAX

/* Data of the io under way: room for the largest volume. */
extern uint64_t box_memory[BOX_BLOCKS * BOX_WORDS];
unsigned box_below(struct blob_box *box, unsigned n);
/* Fails the test unless RC is 0. */
void box_ok(const struct blob_box *box, int rc, const struct why *why, const char *what);
void box_block_fill(uint64_t *to, uint32_t stamp, uint64_t lba);
/* The stamp of a block; BOX_GARBAGE: it is not what anybody wrote there. */
uint32_t box_block_stamp(const uint64_t *from, uint64_t lba);
struct bdev *box_bdev(const struct blob_box *box, const struct box_volume *v);
struct blob *box_blob(const struct blob_box *box, const struct box_volume *v);
enum io_status box_request(const struct blob_box *box, const struct box_volume *v, enum io_op op,
			   unsigned flags, unsigned lba, unsigned count);
void box_read(const struct blob_box *box, const struct box_volume *v, unsigned lba,
	      unsigned count);
unsigned box_clones(const struct box_state *state, const struct box_volume *v);

#endif
