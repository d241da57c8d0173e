/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * struct io: the only block request.
 *
 * The owner embeds it, fills the first part and calls bdev_submit(), which takes ownership.
 * io->done(io) gives it back exactly once, on the same reactor, and never inside bdev_submit().
 * After that nobody but the owner touches it. The owner finds itself with container_of.
 */
#ifndef CORE_IO_H
#define CORE_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/list.h"

struct bdev_chan;

enum io_op {
	IO_READ,
	IO_WRITE,
	IO_FLUSH,               /* all that was completed before it is durable; no lba, no data */
	/* deallocate: reads afterwards are defined by the bdev (unmap_zeroes) */
	IO_UNMAP,
	IO_WRITE_ZEROES,
	IO_COMPARE,             /* iov against the medium: IO_ERR_MISCOMPARE when it differs */
	IO_VERIFY,              /* whether the blocks can be read; no data */
	/* iov holds lba_count blocks to compare, then lba_count to write; atomic */
	IO_COMPARE_WRITE,
	IO_COPY,                /* lba_count blocks from src_lba to lba; they must not overlap */
	/* victim: an io of the same channel; done after it, however it ended */
	IO_ABORT,
	IO_OP_COUNT,
};

enum io_flag {
	IO_FUA = 1 << 0,        /* durable before done (write, write-zeroes, compare-write) */
	IO_NO_UNMAP = 1 << 1,   /* write-zeroes must keep the blocks allocated */
	IO_FOREIGN = 1 << 2,    /* the memory is not for devices: bounced where one would read it */
};

enum io_status {
	IO_OK,
	IO_ERR_INVALID,         /* request makes no sense for this bdev */
	IO_ERR_UNSUPPORTED,     /* op that the bdev does not offer */
	IO_ERR_RANGE,           /* lba + lba_count past the end, or wraps */
	IO_ERR_READONLY,
	IO_ERR_MEDIA_READ,      /* unrecovered read error */
	IO_ERR_MEDIA_WRITE,     /* write fault */
	IO_ERR_MISCOMPARE,
	IO_ERR_NOSPC,           /* thin pool or file system full */
	IO_ERR_ABORTED,         /* by IO_ABORT */
	IO_ERR_TIMEOUT,         /* device did not answer, recovery gave up */
	IO_ERR_GONE,            /* device removed or bdev closing */
	/* a bounded resource is exhausted for good; never used for mere back-pressure */
	IO_ERR_NOMEM,
	IO_ERR_DEVICE,          /* any other failure the device reported */
	IO_STATUS_COUNT,
};

/* Who has the io just now. */
enum io_stage {
	IO_AT_OWNER,
	IO_AT_DRIVER,
	IO_IN_PIECES,           /* core/bdev_split.c works on it, by io of its own */
	IO_HELD,                /* a write behind a compare-write: core/bdev_lock.c */
	IO_COMPLETING,          /* on the completion list */
};

struct io {
	/* filled by the owner */
	uint8_t op;                     /* enum io_op */
	uint8_t flags;                  /* enum io_flag */
	uint16_t iov_count;
	uint32_t lba_count;
	uint64_t lba;
	/* stays valid until done; DMA-able memory (core/buf.h, dma_alloc, dma_register) */
	const struct iovec *iov;
	union {
		uint64_t src_lba;       /* IO_COPY */
		struct io *victim;      /* IO_ABORT */
		uint64_t over_lba;      /* core's, of one that is forwarded: the owner's lba */
	};
	void (*done)(struct io *io);

	/* result */
	uint8_t status;                 /* enum io_status */

	/* core's, from bdev_submit to done */
	uint8_t stage;                  /* enum io_stage */
	uint8_t counted;                /* came through bdev_submit: in stats and inflight */
	uint8_t writer, epoch;          /* core/bdev_lock.c */
	uint8_t over_epoch, over_tag;   /* while forwarded: epoch of over, and its driver's tag */
	struct bdev_chan *over;         /* whence it was forwarded (bdev_forward); NULL */

	/* the bdev's while it owns the io; link is the owner's before and after */
	struct bdev_chan *chan;
	uint64_t start_ticks;
	struct list link;
	uint64_t scratch[6];            /* the driver's */
};

const char *io_op_name(enum io_op op);
const char *io_status_name(enum io_status status);
/* -errno of a status, for the control path (0 for IO_OK). */
int io_status_errno(enum io_status status);
/* IO status of an -errno, for drivers over system calls. */
enum io_status io_status_from_errno(int rc, enum io_op op);

/*
 * For drivers: gives IO back with STATUS. It is put on the reactor's completion list; done runs
 * later in the same round.
 */
void io_complete(struct io *io, enum io_status status);

/*
 * For drivers of bdevs above others, in done of an io of their own and as the last thing there: as
 * io_complete(), but IO is given back at once. Nobody can be re-entered: that done, too, was called
 * by the reactor.
 */
void io_complete_now(struct io *io, enum io_status status);

/*
 * For reactor.c: calls done of what this reactor's completion list holds, at most what it held on
 * entry; returns how many. An io completed meanwhile is for the next call.
 */
unsigned io_run_completions(void);
/* Whether the list is not empty: the reactor must not sleep. */
bool io_completions_pending(void);

#endif
