/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the bdev layer share with each other and with nobody else.
 *
 * bdev.c       names, users, life and death, figures
 * bdev_io.c    submit: check, then straight to the driver or to the pieces; account; abort
 * bdev_split.c io that go to the driver in pieces: split, bounced, emulated
 * bdev_piece.c one piece: its memory, its slice of the data, its end
 * bdev_lock.c  ranges closed to writers on all reactors, for compare-write
 */
#ifndef CORE_BDEV_IMPL_H
#define CORE_BDEV_IMPL_H

#include <assert.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/clock.h"
#include "core/stat.h"
#include "core/task.h"
#include "core/trace.h"

enum {
	BDEV_PIECES = 16,               /* children of a channel: pieces in flight at once */
	BDEV_PIECE_IOV = 16,            /* elements of a child's own array */
	BDEV_BOUNCE_BYTES = 128 * 1024, /* largest bounce: one large buffer of core/buf.c */
};

enum bdev_gate {
	BDEV_GATE_GONE = 1 << 0,        /* removing: new io fail */
	BDEV_GATE_GUARD = 1 << 1,       /* writes into guard are held */
	BDEV_GATE_DRAIN = 1 << 2,       /* writers of the old epoch are counted down */
	BDEV_GATE_ABORT = 1 << 3,       /* aborts wait for their victims */
};

/* What check and route need to know of each op. */
struct bdev_op_rule {
	bool range;                     /* lba and lba_count mean something */
	uint8_t data;                   /* iov holds so many times lba_count blocks */
	bool writes;
	/* offset of its class in struct stat_io: an index would be multiplied again and again */
	uint16_t stat_at;
};

/* For every value of io->op: those that are no op count as other. */
extern const struct bdev_op_rule bdev_op_rules[UINT8_MAX + 1];

/* A claim on a range of a bdev; one at a time holds the bdev's lock. */
struct bdev_lock_req {
	struct msg msg;
	struct list link;
	struct bdev *bdev;
	unsigned reactor;               /* whose it is; both callbacks come there */
	uint64_t lba, lba_count;
	/* No writer is in the range and none gets in. */
	void (*granted)(struct bdev_lock_req *req);
	/* After bdev_lock_release: the request may be used again. */
	void (*released)(struct bdev_lock_req *req);
};

enum bdev_lock_state { BDEV_LOCK_FREE, BDEV_LOCK_CLOSING, BDEV_LOCK_HELD, BDEV_LOCK_OPENING };

/* Reactor 0's. */
struct bdev_lock {
	enum bdev_lock_state state;
	struct list queue;              /* struct bdev_lock_req; the first has the lock */
	uint64_t lba, lba_count;        /* of the first; constant from CLOSING to FREE */
	unsigned answers;               /* channels that have yet to answer */
	struct event idle;              /* set while free */
};

struct bdev_ctl {
	struct bdev_lock lock;
	struct event closed;            /* a removed bdev's last user has closed */
	struct event resized;           /* set while no bdev_resize is under way */
	bool live;                      /* registered: every channel is open */
};

/* A piece on its way through the driver. */
struct bdev_piece {
	struct io io;                   /* link: in the channel's free list */
	struct io *parent;
	uint8_t kind;                   /* enum bdev_piece_kind */
	/* where its data is in the parent's iov */
	uint16_t iov_index;
	uint64_t iov_offset;
	struct iovec bounce;            /* base NULL: none */
	struct iovec iov[BDEV_PIECE_IOV];
};

struct bdev_chan_ctl {
	struct bdev_chan *chan;
	struct list pieces;             /* free ones */
	struct list waiting;            /* parents that wait for a piece or a bounce buffer */
	struct list starved;            /* link: among the channels that want bounce memory */
	struct list aborts;             /* io that wait for their victims */

	/* core/bdev_lock.c */
	struct msg guard_msg;
	uint64_t guard_lba, guard_count;
	uint32_t old_writers;           /* writers of the epoch before the guard */
	struct list held;               /* writes that the guard stopped, in order */
	struct list claims;             /* compare-writes; lock_req asks for the first */
	struct bdev_lock_req lock_req;  /* bdev NULL: idle */

	struct bdev_piece piece[BDEV_PIECES];
};

/* What is known of a parent while it is in pieces: in its io->scratch. */
struct bdev_parent {
	uint32_t issued;                /* blocks of this phase that have been handed out */
	uint16_t pending;               /* pieces in flight */
	uint16_t iov_index;             /* where the next piece's data starts */
	uint64_t iov_offset;
	uint8_t state;                  /* enum bdev_parent_state: bdev_split.c */
	uint8_t status;                 /* enum io_status: the first error */
};

static_assert(sizeof(struct bdev_parent) <= sizeof(((struct io *)0)->scratch), "scratch is full");

static inline struct bdev_parent *bdev_parent(struct io *io)
{
	return (struct bdev_parent *)io->scratch;
}

/* bdev_io.c */
/* An io has ended and the gate is not clear: who waited for it? */
void bdev_account_gate(struct bdev_chan *chan, struct io *io);
/* An io that passed the gate: counts it as a writer, and starts it. */
void bdev_dispatch(struct bdev_chan *chan, struct io *io);
/* On each reactor when removal starts: nothing new gets in, what waits is failed. */
void bdev_chan_shut(struct bdev_chan *chan);

/* bdev_split.c */
void bdev_split_start(struct io *io);
/* Goes on after a piece ended, a lock was granted, or memory came back. */
void bdev_split_step(struct io *io);
/* Issues nothing more, ends with STATUS when what is in flight has ended. */
void bdev_split_cancel(struct io *io, enum io_status status);
/* Memory came back: goes on with who waits. */
void bdev_split_kick(struct bdev_chan *chan);

/* bdev_piece.c */
void bdev_piece_init(struct bdev_chan_ctl *ctl);
/*
 * The parent's next piece, as part of an OP, to the driver. False: memory is missing, and the
 * channel is in line for it.
 */
bool bdev_piece_issue(struct io *parent, enum io_op op);
/* Asks the driver for the early end of the pieces that it has of PARENT. */
void bdev_pieces_abort(const struct io *parent);
int bdev_bounce_init(void);
void bdev_bounce_fini(void);

/* bdev_lock.c */
void bdev_lock_init(struct bdev_lock *lock);
void bdev_lock_acquire(struct bdev_lock_req *req);
void bdev_lock_release(struct bdev_lock_req *req);
/* A write that overlaps the channel's guard: takes it, to be dispatched later. */
bool bdev_guard_holds(struct bdev_chan *chan, struct io *io);
/* A writer of the old epoch has ended. */
void bdev_guard_writer_done(struct bdev_chan *chan);
/*
 * The claim of a compare-write in pieces (bdev_split_step when it is granted), and the end of the
 * channel's granted one.
 */
void bdev_claim(struct io *io);
void bdev_claim_end(struct bdev_chan *chan);


/* IO, which took NS, leaves CHAN. */
static inline void bdev_account_chan(struct bdev_chan *chan, struct io *io, uint64_t ns)
{
	const struct bdev_op_rule *rule = &bdev_op_rules[io->op];
	struct stat_io_class *cls = (void *)((char *)&chan->stats + rule->stat_at);

	chan->inflight--;
	chan->writers -= io->writer;
	if (unlikely(chan->gate))
		bdev_account_gate(chan, io);
	cls->ops++;
	if (likely(io->status == IO_OK))
		cls->bytes += rule->range ? (uint64_t)io->lba_count << chan->bdev->block_shift : 0;
	else
		cls->errors++;
	stat_hist_add(&cls->latency, ns);
}

/* For io.c, of each io that bdev_submit has counted: it has ended. */
static inline void bdev_account(struct io *io, uint64_t now_ticks)
{
	uint64_t ns = clock_ticks_to_ns(now_ticks - io->start_ticks);
	struct bdev_chan *over = io->over;

	trace_at(now_ticks, TRACE_IO_DONE, (uintptr_t)io, io->status);
	bdev_account_chan(io->chan, io, ns);
	if (!over)
		return;
	io->chan = over;
	io->over = NULL;
	io->lba = io->over_lba;
	io->epoch = io->over_epoch;
	bdev_account_chan(over, io, ns);
	over->bdev->ops->forwarded(over, io);
}

#endif
