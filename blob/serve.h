/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of volumes share: volume.c (names, life), volume_io.c (the data path on every
 * reactor), volume_ask.c (what it asks of reactor 0), external.c (disks beneath volumes).
 */
#ifndef BLOB_SERVE_H
#define BLOB_SERVE_H

#include <assert.h>

#include "blob/view.h"
#include "blob/volume.h"

/* A blob that is served. */
struct volume {
	struct bdev bdev;
	struct blob *blob;
	uint64_t cluster_blocks;        /* of the volume's blocks */
	uint8_t ratio_shift;            /* a block of it is so many of the disk's */

	/* volume_ask.c, reactor 0's */
	struct list asks;               /* struct io, by their link */
	bool answering;                 /* a task works on them */

	/* volume_io.c, reactor 0's */
	bool holding;                   /* writes wait */
	bool closing;                   /* and never will again */
	struct event held_none;         /* set while not holding */
};

enum part_state {
	PART_RUNS,
	PART_WAITS,                     /* on a list of its reactor: held, starved */
	PART_ASKS,                      /* reactor 0 has it */
};

/* How far an io of a volume is: in its scratch. */
struct part {
	struct msg msg;                 /* to reactor 0 and back */
	uint64_t iov_offset;
	uint32_t issued;                /* blocks that are done or on their way */
	uint16_t pending;               /* io of the lane under way */
	uint16_t iov_index;
	uint8_t state;                  /* enum part_state */
	uint8_t status;                 /* enum io_status: the first error */
	uint8_t answer;                 /* enum io_status: reactor 0's */
	bool gives_back;                /* there are whole clusters to give back */
};

static_assert(sizeof(struct part) <= sizeof(((struct io *)0)->scratch), "scratch is full");

static inline struct part *part_of(struct io *io)
{
	return (struct part *)io->scratch;
}

static inline struct io *part_io(struct msg *msg)
{
	return container_of((uint64_t (*)[6])msg, struct io, scratch);
}

static inline struct volume *volume_of(const struct io *io)
{
	return container_of(io->chan->bdev, struct volume, bdev);
}

/* ---- volume.c ---- */

/* By the name in its store; NULL. */
struct blob *volume_find_in(const struct store *s, const char *name);
/* Registers its bdev; nothing to do for a blob without clusters. */
int volume_serve(struct blob *b, struct why *why);
/* Nobody uses it; or the store is gone: its users are told and waited for. */
void volume_unserve(struct blob *b);
bool volume_in_use(const struct blob *b);

/* ---- volume_io.c ---- */

extern const struct bdev_ops volume_ops;
/* Size of a channel's own part. */
size_t volume_chan_bytes(void);
/* Its next BYTES of memory, which has at most LANE_IOV elements; P moves on. Returns how many. */
unsigned part_slice(const struct io *io, struct part *p, uint64_t bytes, struct iovec *slice);
/* On the io's reactor: it has been answered, part->answer says how. */
void volume_io_answered(struct msg *msg);

/* ---- volume_ask.c ---- */

/*
 * Any reactor: the clusters of a write from part->issued on are needed, or those of an unmap are
 * to be given back. volume_io_answered() comes.
 */
void volume_ask(struct io *io);

/* ---- external.c ---- */

/* Begins to look for the disks that blobs of the store want beneath them. */
void externals_start(struct store *s);
/* In a task: lets go of those that no blob needs any more. */
void externals_release(struct store *s);
/* Lets go of all; nobody reads any more. */
void externals_stop(struct store *s);

#endif
