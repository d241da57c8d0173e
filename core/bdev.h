/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block devices. A driver embeds a struct bdev, fills the first part and registers it; a user opens
 * it by name and submits struct io through the channel of its own reactor.
 *
 * Every reactor has a channel (its own queue pair, ring, buffers) to every registered bdev, opened
 * at registration: on the data path bdev_chan() is an array look-up. core/bdev.c checks op, range,
 * alignment and read-only, splits on the driver's limits, bounces memory that the driver cannot
 * take, and emulates FUA (write + flush), write-zeroes (writes of zeroes), compare (read and
 * compare) and compare-write (under a lock of the range, for bdevs whose every writer comes through
 * here). What a driver gets is always in range, aligned and within limits.
 *
 * Life: REGISTERED → REMOVING (every user is told; new io fail with IO_ERR_GONE; users close) →
 * channels closed → destroy(). Control functions are called in tasks on reactor 0.
 */
#ifndef CORE_BDEV_H
#define CORE_BDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/base/uuid.h"
#include "core/io.h"
#include "core/reactor.h"
#include "core/stat.h"

enum { BDEV_NAME_BYTES = 128, BDEV_TEXT_BYTES = 64 };

struct bdev;
struct cmd_ctx;
struct config_out;
struct resv_state;

enum bdev_event {
	BDEV_REMOVED,           /* stop submitting, let io finish, then bdev_close() */
	BDEV_RESIZED,           /* block_count changed (it never shrinks below an io in flight) */
	BDEV_THRESHOLD,         /* space_low has changed */
	BDEV_HEALTH,            /* the drive warns: bdev->told */
};

struct bdev_ctl;
struct bdev_chan_ctl;

enum bdev_warning {
	BDEV_WARN_SPARE = 1 << 0,
	BDEV_WARN_TEMPERATURE = 1 << 1,
	BDEV_WARN_RELIABILITY = 1 << 2,
	BDEV_WARN_READONLY = 1 << 3,
	BDEV_WARN_BACKUP = 1 << 4,
};

enum { BDEV_SENSORS = 8 };

/* What a drive says of itself. */
struct bdev_health {
	uint8_t warnings;               /* enum bdev_warning */
	uint8_t spare, spare_threshold; /* percent */
	uint8_t used;                   /* percent of its expected life; may pass 100 */
	uint16_t temperature_k;         /* 0: it does not tell; so sensors */
	uint16_t sensor_k[BDEV_SENSORS];
	uint64_t busy_minutes, power_cycles, power_on_hours, unsafe_shutdowns, media_errors;
	uint32_t warm_minutes, hot_minutes;
};

/* A channel: one per reactor and bdev. */
struct bdev_chan {
	struct bdev *bdev;
	void *priv;                     /* the driver's */
	unsigned reactor;
	uint32_t inflight;              /* io that the bdev owns */
	uint32_t writers;               /* those of them that change the medium, once started */
	/* core/bdev_impl.h: why an io may not just pass; 0 nearly always */
	uint8_t gate;
	uint8_t epoch;                  /* core/bdev_lock.c */
	struct bdev_chan_ctl *ctl;      /* core's */
	struct stat_io stats;
};

struct bdev_ops {
	/* In a task on the channel's reactor. chan->priv has priv_bytes zeroed bytes. 0/-errno. */
	int (*chan_open)(struct bdev_chan *chan);
	/* In a task on the channel's reactor; no io is in flight. */
	void (*chan_close)(struct bdev_chan *chan);
	/*
	 * Takes ownership; never calls done; ends in io_complete(). A full queue is the driver's to
	 * wait for.
	 */
	void (*submit)(struct bdev_chan *chan, struct io *io);
	/* An io that the driver has forwarded has ended; its owner is told next. */
	void (*forwarded)(struct bdev_chan *chan, struct io *io);
	/*
	 * Asks for the early end of an io that the driver has: it ends as ever, with
	 * IO_ERR_ABORTED if that worked. NULL: it cannot. May complete VICTIM, or do nothing.
	 */
	void (*abort)(struct bdev_chan *chan, struct io *victim);
	/* In a task on reactor 0, all channels closed: free the bdev. */
	void (*destroy)(struct bdev *bdev);
	/* In a task on reactor 0; 0/-errno. NULL: nothing is known. */
	int (*health)(struct bdev *bdev, struct bdev_health *health);
	/* Rows for `disk show`, after the common ones; may be NULL. */
	void (*show)(struct bdev *bdev, struct cmd_ctx *ctx);
	/*
	 * The command that makes this disk again (`config show`), or NULL when it appears by
	 * itself.
	 */
	void (*config)(struct bdev *bdev, struct config_out *out);
	/*
	 * `disk delete NAME` for disks made by command; NULL when it cannot. Starts removal
	 * (bdev_unregister). 0/-errno.
	 */
	int (*remove)(struct bdev *bdev);
};

struct bdev {
	/* filled by the driver before registration, constant after it (block_count: bdev_resize) */
	char name[BDEV_NAME_BYTES];     /* letters, digits, - _ . and one / for volumes */
	const char *driver;             /* "nvme", "ram", "null", "uring", … */
	const struct bdev_ops *ops;
	size_t priv_bytes;
	uint32_t block_bytes;           /* power of two, 512…65536 */
	uint64_t block_count;
	uint32_t ops_supported;         /* bits 1 << enum io_op, natively; read is always there */
	bool fua;                       /* takes IO_FUA natively */
	bool volatile_cache;            /* flush means something */
	bool readonly;
	bool unmap_zeroes;              /* unmapped blocks read as zeroes */
	bool dma_only;                  /* takes no IO_FOREIGN memory: its hardware reads it */
	bool rotational;
	bool space_low;                 /* what it takes space from fills up: bdev_space_set */
	struct {
		uint32_t xfer_bytes_max;        /* per read/write/compare io; 0: no limit */
		uint32_t unmap_blocks_max;      /* 0: no limit */
		uint32_t write_zeroes_blocks_max;
		uint16_t iov_count_max;         /* 0: no limit */
		/* address and length of each iov element; a power of two, 1…4096; 0 is 1 */
		uint32_t align_bytes;
		/*
		 * not 0: elements after the first start, and before the last end, on this boundary
		 * (at most 4096)
		 */
		uint32_t page_bytes;
	} limits;
	uint32_t optimal_blocks;        /* preferred write granularity; 0 unknown */
	/* blocks written all or nothing on power fail, at least 1 */
	uint32_t atomic_blocks;
	/* nil: registration makes one from driver, serial and name */
	struct uuid uuid;
	uint8_t nguid[16], eui64[8];    /* zero: none */
	char serial[BDEV_TEXT_BYTES], model[BDEV_TEXT_BYTES];

	/* core/bdev.c's */
	struct list link;
	struct list users;
	bool removing;
	bool exclusive;                 /* a user opened it exclusively */
	uint8_t block_shift;
	/* what bdev_submit may hand over after the shortest check; flags that it must not */
	uint8_t straight_ops, pieces_flags;
	/* limits without the special meaning of 0, and as masks */
	uint16_t iov_max;
	uint32_t xfer_max;
	uint32_t align_mask, page_mask;
	struct bdev_ctl *ctl;
	/* core/resv.c's; NULL while nobody holds a reservation */
	const struct resv_state *resv;
	struct bdev_chan *chan[REACTOR_MAX];
	struct bdev_health told;        /* what the drive told by itself last: bdev_health_tell */
};

/* A user of a bdev; embedded by its owner. */
struct bdev_user {
	/* "subsystem nqn… ns 1", "store a": shown when the disk is busy */
	char who[BDEV_TEXT_BYTES];
	/* In a task on reactor 0. */
	void (*event)(struct bdev_user *user, enum bdev_event event);
	bool write, exclusive;
	struct bdev *bdev;
	struct list link;
};

/* ---- for drivers ---- */

/* Opens the channels, makes the name visible. -EEXIST, -EINVAL (logged), or what chan_open said. */
int bdev_register(struct bdev *bdev);
/*
 * Tells every user, waits until all have closed, fails what still waits, closes channels, calls
 * destroy. The driver must complete what it owns (IO_ERR_GONE is right when the hardware is gone).
 * A second call while the first is under way has no effect and returns at once.
 */
void bdev_unregister(struct bdev *bdev);
/*
 * Grows or shrinks, tells users. In a task on reactor 0: when it shrinks, io beyond the new end
 * are waited for before users are told.
 */
void bdev_resize(struct bdev *bdev, uint64_t block_count);
/*
 * For the submit of a bdev above another, of the same blocks and with limits that are not wider: a
 * read or write goes on, itself, to LBA of the disk beneath, whose channel is UNDER. Both count it;
 * ops->forwarded comes with TAG in over_tag when it has ended. False, and nothing has happened: the
 * disk does not take it like that; send an io of your own.
 */
static inline bool bdev_forward(struct bdev_chan *under, struct io *io, uint64_t lba, uint8_t tag)
{
	const struct bdev *bdev = under->bdev;
	uint64_t end = __atomic_load_n(&bdev->block_count, __ATOMIC_RELAXED);

	if (under->gate || io->over || (io->flags & bdev->pieces_flags) || lba >= end ||
	    io->lba_count > end - lba)
		return false;
	io->over = io->chan;
	io->over_lba = io->lba;
	io->over_epoch = io->epoch;
	io->over_tag = tag;
	io->chan = under;
	io->lba = lba;
	io->epoch = under->epoch;
	under->inflight++;
	under->writers += io->writer;
	bdev->ops->submit(under, io);
	return true;
}
/* For thin disks: LOW as long as their pool is past a threshold. Tells users when it changes. */
void bdev_space_set(struct bdev *bdev, bool low);
/* The drive has told by itself that its health is another. In a task; users are told. */
void bdev_health_tell(struct bdev *bdev, const struct bdev_health *health);

/* ---- for users ---- */

/* Told of every bdev that has been registered, in the task that did. Must not wait. */
struct bdev_watch {
	void (*arrived)(struct bdev_watch *watch, const struct bdev *bdev);
	struct list link;
};

void bdev_watch_start(struct bdev_watch *watch);
void bdev_watch_stop(struct bdev_watch *watch);

/* By name, or "serial:TEXT"; NULL. */
struct bdev *bdev_find(const char *name);
/*
 * Fills user->bdev. -ENOENT, -EBUSY (an exclusive user, or exclusive asked and in use), -EROFS,
 * -ENODEV when removing.
 */
int bdev_open(const char *name, struct bdev_user *user);
/* No io of the user is in flight on any reactor. */
void bdev_close(struct bdev_user *user);
/* First or next registered bdev, in order of registration. */
struct bdev *bdev_next(const struct bdev *prev);

/* The calling reactor's channel. */
static inline struct bdev_chan *bdev_chan(const struct bdev *bdev)
{
	return bdev->chan[reactor_index()];
}

/* See core/io.h. Any reactor, through its own channel. */
void bdev_submit(struct bdev_chan *chan, struct io *io);

/* Whether OP works on this bdev, natively or emulated (nothing that writes, when read-only). */
bool bdev_supports(const struct bdev *bdev, enum io_op op);
/* Sums the channels; from reactor 0. */
void bdev_stats(const struct bdev *bdev, struct stat_io *sum);
void bdev_stats_clear(struct bdev *bdev);

/*
 * Bounce memory of each reactor, for when core/buf.c has none; called by boot after dma_init,
 * reactor_init and buf_init. -ENOMEM.
 */
int bdev_init(void);
void bdev_fini(void);

#endif
