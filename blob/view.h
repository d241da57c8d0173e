/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What reactors read of a blob while it is served: its view, one immutable object that a change
 * replaces as a whole. Only entries of the arrays that its map names change beneath a reader, one
 * by one, and only so that both the old and the new one are right for him.
 *
 * A reader takes a view, looks up a cluster and submits to the disk in one go, and is counted in
 * its reactor's lane until the disk has answered. blob_drain() returns when all who were counted
 * before it are gone: then nobody uses a view that was replaced, or a cluster that no view names
 * any more.
 *
 * blob->map is reactor 0's own: the state that is on disk, or being written. The view is behind
 * it, never ahead: nobody finds a cluster whose mapping is not durable.
 */
#ifndef BLOB_VIEW_H
#define BLOB_VIEW_H

#include "blob/store.h"

struct blob_view {
	struct blob_map *map;           /* a shell: names the arrays of blob->map */
	struct blob *parent;            /* where clusters are that are not in map; NULL */
	struct bdev *external;          /* or there; NULL: also while it is absent; atomic */
	bool has_external;
	bool thin;                      /* may have clusters that are not mapped */
};

enum { LANE_IOS = 256, LANE_IOV = 32 };

/* An io of a lane's own: one cluster's part (or several that lie together) of a volume's io. */
struct lane_io {
	struct io io;                   /* link: among the free ones */
	struct io *parent;
	uint8_t epoch;
	bool writes;
	struct iovec iov[LANE_IOV];     /* when the parent's cannot be used as they are */
};

/* A reactor's part of a store. */
struct lane {
	struct bdev_chan *disk;
	struct list free;               /* struct lane_io */
	struct list starved;            /* struct io of volumes, that wait for one of them */
	uint32_t inflight[2];           /* by epoch */
	uint8_t epoch;
	struct event drained;           /* an epoch that is over has nobody left */
	struct lane_io slot[LANE_IOS];
};

/* ---- view.c ---- */

/* Lanes on all reactors, views of all sound blobs. -ENOMEM. */
int lanes_start(struct store *s);
/* No volume is left. */
void lanes_stop(struct store *s);
static inline struct lane *lane_self(const struct store *s)
{
	return s->lanes[reactor_index()];
}

/* Whoever looked something up before has its answer. Nothing when the store has no lanes. */
void blob_drain(struct store *s);
/* A view of B as it is in memory; *VIEW is NULL when the store has no lanes. -ENOMEM. */
int blob_view_make(const struct blob *b, struct blob_view **view);
/* VIEW instead of the old one, which is freed after blob_drain(). */
struct blob_view *blob_view_swap(struct blob *b, struct blob_view *view);
void blob_view_free(struct blob_view *view);
/* All three; -ENOMEM. Waits. */
int blob_publish(struct blob *b);

static inline const struct blob_view *blob_view(const struct blob *b)
{
	return __atomic_load_n(&b->view, __ATOMIC_ACQUIRE);
}

/* Where the data of a cluster is. */
enum place_kind { PLACE_NOWHERE, PLACE_DISK, PLACE_EXTERNAL, PLACE_ABSENT };

struct place {
	enum place_kind kind;
	uint32_t cluster;               /* of the store's disk */
	struct bdev *external;
};

/* Of cluster C beneath VIEW, not in its own map. Any reactor. */
struct place blob_view_beneath(const struct blob_view *view, uint64_t c);
/* The same of reactor 0's own state, beneath B; also for stores without lanes. */
struct place blob_beneath(const struct blob *b, uint64_t c);

/* ---- batch.c: io of a task, many at a time ---- */

enum { BATCH_IOS = 16 };

struct batch;

struct batch_io {
	struct io io;
	struct batch *batch;
};

struct batch {
	struct bdev_chan *chan;
	struct list free;
	unsigned inflight;
	enum io_status status;          /* the first error */
	struct event ended;
	struct batch_io slot[BATCH_IOS];
};

void batch_init(struct batch *batch, struct bdev_chan *chan);
/* Waits for a free one; NULL after an error. Fill in op, lba, …; cleared. */
struct io *batch_io(struct batch *batch);
void batch_submit(struct batch *batch, struct io *io);
/* Waits for all. 0/-errno. */
int batch_end(struct batch *batch);

/* Clusters of the disk; not flushed, and no word of them on disk yet. */
int clusters_zero(struct store *s, const uint32_t *cluster, uint64_t count);
/* Tells the disk that nobody needs them any more; whether it listens is its own affair. */
void clusters_discard(struct store *s, const uint32_t *cluster, uint64_t count);
/* What somebody writes to a part of a new cluster: COUNT blocks of the disk, AT blocks in. */
struct cluster_data {
	const struct iovec *iov;
	uint16_t iov_count;             /* 0: nothing */
	uint32_t at, count;
};

/* A cluster that comes to a blob. */
struct cluster_fill {
	uint64_t c;                     /* of the blob */
	uint32_t cluster;               /* of the disk */
	struct place from;              /* what it holds but for the data; zeroes for nowhere */
	struct cluster_data *data;      /* NULL: none */
	int *rc;                        /* blob_fill's: where the result goes */
};

/* All of each: its data, and the rest from beneath. Not flushed. */
int clusters_fill(struct store *s, const struct cluster_fill *fill, unsigned count);

/* ---- fill.c: in a task, inside the store, the blob's lock held ---- */

enum { FILL_MAX = 64 };

/*
 * Makes clusters C[0…COUNT-1] of a thin blob its own, with the data that was beneath, durable, and
 * shows them to readers. RC gets the result of each; those that are mapped already are 0. COUNT is
 * at most FILL_MAX. DATA (NULL: none of any) says for each of them what it holds from the beginning
 * instead; its iov_count is 0 afterwards when that was not written.
 */
void blob_fill(struct blob *b, const uint64_t *c, struct cluster_data *data, unsigned count,
	       int *rc);
/*
 * Takes those of clusters FIRST…LAST beneath which there is nothing out of the map, durable, and
 * frees them; the others stay, or what they cover would come to light. 0/-errno.
 */
int blob_release(struct blob *b, uint64_t first, uint64_t last);
/* Frees what LIST names: nothing on disk does, and readers are drained. */
void clusters_free(struct store *s, const struct blob *b, const uint32_t *cluster, uint64_t count);
/* Extent pages that nothing on disk names. */
void extent_page_free(struct store *s, uint32_t page);

/* ---- external.c ---- */

/* Opens the disk that B wants beneath it, if it is there; nothing without lanes. */
void external_connect(struct blob *b);

/* ---- volume_io.c ---- */

/* Writes of the blob's volume wait from now on, and none is under way; nothing without a volume. */
void volume_hold(struct blob *b);
void volume_let_go(struct blob *b);

#endif
