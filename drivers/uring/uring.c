/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Io on a file through io_uring. Each channel has a ring. Submit fills a request; the channel's
 * poller tells the kernel of all that were filled, once a round, and finds completions by looking
 * into the ring, so that a busy reactor makes one system call a round and a sleeping one is woken
 * by the ring's eventfd. Io beyond the ring's depth wait in order.
 *
 * A transfer that the kernel cut short goes on where it stopped: with the rest of one iov element,
 * then with all elements after it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/reactor.h"
#include "drivers/uring/ring.h"
#include "drivers/uring/uring.h"

enum { RING_DEPTH = 128 };

struct uring_chan {
	struct bdev_chan *chan;
	struct ring ring;
	unsigned inflight;              /* requests in the ring */
	struct list waiting;            /* io that it has no room for */
	struct poller poller;
	struct fd_source src;
};

const size_t uring_chan_bytes = sizeof(struct uring_chan);

/* In io->scratch. */
struct uring_io {
	uint64_t done_bytes;            /* of a transfer */
	bool syncing;                   /* write-zeroes with FUA: the flush after it */
};

static_assert(sizeof(struct uring_io) <= sizeof(((struct io *)0)->scratch), "scratch is full");

static struct uring_io *uring_io(struct io *io)
{
	return (struct uring_io *)io->scratch;
}

/* ---- requests ---- */

/* What is left of the transfer, in one request or its first part in one. */
static void prep_transfer(struct io *io, struct io_uring_sqe *sqe)
{
	bool write = io->op == IO_WRITE;
	uint64_t skip = uring_io(io)->done_bytes;
	unsigned i = 0;

	while (skip > 0 && skip >= io->iov[i].iov_len)
		skip -= io->iov[i++].iov_len;
	if (skip > 0 || i + 1u == io->iov_count) {
		sqe->opcode = write ? IORING_OP_WRITE : IORING_OP_READ;
		sqe->addr = (uintptr_t)io->iov[i].iov_base + skip;
		sqe->len = MIN(io->iov[i].iov_len - skip, 1u << 30);
	} else {
		sqe->opcode = write ? IORING_OP_WRITEV : IORING_OP_READV;
		sqe->addr = (uintptr_t)&io->iov[i];
		sqe->len = io->iov_count - i;
	}
	sqe->rw_flags = write && (io->flags & IO_FUA) ? RWF_DSYNC : 0;
}

static void prep_fallocate(const struct io *io, struct io_uring_sqe *sqe, int mode, uint64_t len)
{
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->addr = len;
	sqe->len = mode | FALLOC_FL_KEEP_SIZE;
}

static void prep(struct uring_chan *u, struct io *io)
{
	struct io_uring_sqe *sqe = ring_next(&u->ring);
	unsigned shift = u->chan->bdev->block_shift;
	uint64_t len = (uint64_t)io->lba_count << shift;

	sqe->fd = 0;
	sqe->off = (io->lba << shift) + uring_io(io)->done_bytes;
	sqe->user_data = (uintptr_t)io;
	switch (uring_io(io)->syncing ? IO_FLUSH : io->op) {
	case IO_READ:
	case IO_WRITE:
		prep_transfer(io, sqe);
		break;
	case IO_UNMAP:
		prep_fallocate(io, sqe, FALLOC_FL_PUNCH_HOLE, len);
		break;
	case IO_WRITE_ZEROES:
		prep_fallocate(io, sqe, FALLOC_FL_ZERO_RANGE, len);
		break;
	case IO_FLUSH:
		sqe->opcode = IORING_OP_FSYNC;
		sqe->off = 0;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	default:
		panic("disk %s: %s came to a file", u->chan->bdev->name, io_op_name(io->op));
	}
	u->inflight++;
}

void uring_submit(struct bdev_chan *chan, struct io *io)
{
	struct uring_chan *u = chan->priv;

	*uring_io(io) = (struct uring_io){ 0 };
	if (u->inflight < RING_DEPTH && list_empty(&u->waiting))
		prep(u, io);
	else
		list_push(&u->waiting, &io->link);
}

/* ---- completions ---- */

static void transfer_end(struct uring_chan *u, struct io *io, int res)
{
	struct uring_io *state = uring_io(io);

	state->done_bytes += res;
	if (state->done_bytes == (uint64_t)io->lba_count << u->chan->bdev->block_shift) {
		io_complete(io, IO_OK);
	} else if (res == 0) {
		/* Behind our back the file became shorter. */
		log_error("disk %s: its file ends before block %llu", u->chan->bdev->name,
			  (unsigned long long)(io->lba + io->lba_count));
		io_complete(io, io->op == IO_READ ? IO_ERR_MEDIA_READ : IO_ERR_MEDIA_WRITE);
	} else {
		prep(u, io);
	}
}

static void request_end(struct uring_chan *u, struct io *io, int res)
{
	u->inflight--;
	if (res == -EINTR || res == -EAGAIN) {
		prep(u, io);
	} else if (res < 0) {
		io_complete(io, io_status_from_errno(res, io->op));
	} else if (io->op == IO_READ || io->op == IO_WRITE) {
		transfer_end(u, io, res);
	} else if (io->op == IO_WRITE_ZEROES && (io->flags & IO_FUA) && !uring_io(io)->syncing) {
		uring_io(io)->syncing = true;
		prep(u, io);
	} else {
		io_complete(io, IO_OK);
	}
}

static int uring_poll(struct poller *p)
{
	struct uring_chan *u = container_of(p, struct uring_chan, poller);
	const struct io_uring_cqe *cqe;
	int work = 0, rc;

	if (u->inflight == 0)
		return 0;
	while (work < RING_DEPTH && (cqe = ring_peek(&u->ring))) {
		struct io *io = (struct io *)(uintptr_t)cqe->user_data;
		int res = cqe->res;

		ring_seen(&u->ring);
		request_end(u, io, res);
		work++;
	}
	while (u->inflight < RING_DEPTH && !list_empty(&u->waiting))
		prep(u, list_pop_entry(&u->waiting, struct io, link));
	if (u->ring.filled == 0)
		return work;
	rc = ring_submit(&u->ring);
	/* Out of memory or completions for the moment: the next round tries again. */
	ASSERT_MSG(rc >= 0 || rc == -EAGAIN || rc == -EBUSY || rc == -EINTR || rc == -ENOMEM,
		   "disk %s: io_uring_enter: %d", u->chan->bdev->name, rc);
	return work + 1;
}

static enum poller_arm uring_arm(struct poller *p)
{
	struct uring_chan *u = container_of(p, struct uring_chan, poller);

	if (u->ring.filled > 0 || !ring_arm(&u->ring))
		return POLLER_BUSY;
	return POLLER_ARMED;
}

static void uring_disarm(struct poller *p)
{
	ring_disarm(&container_of(p, struct uring_chan, poller)->ring);
}

/* The eventfd only wakes the reactor, by each of its edges; it is never read. */
static void uring_event(struct fd_source *src, uint32_t events)
{
}

/* ---- channels ---- */

int uring_chan_open(struct bdev_chan *chan)
{
	struct uring_chan *u = chan->priv;
	struct uring_disk *disk = container_of(chan->bdev, struct uring_disk, bdev);
	int rc;

	u->chan = chan;
	list_init(&u->waiting);
	rc = ring_open(&u->ring, RING_DEPTH, disk->file.fd);
	if (rc < 0) {
		log_error("disk %s: no io_uring: %s%s", chan->bdev->name, strerror(-rc),
			  rc == -EPERM || rc == -ENOSYS ?
			  "; the kernel does not allow it: see /proc/sys/kernel/io_uring_disabled, "
			  "and the container's seccomp rules" : "");
		return rc;
	}
	u->src = (struct fd_source){ .fd = u->ring.event_fd, .event = uring_event };
	rc = fd_source_add(&u->src, EPOLLIN | EPOLLET);
	if (rc < 0) {
		ring_close(&u->ring);
		return rc;
	}
	u->poller = (struct poller){
		.name = "uring",
		.poll = uring_poll,
		.arm = uring_arm,
		.disarm = uring_disarm,
		.late = true,
	};
	poller_start(&u->poller);
	return 0;
}

void uring_chan_close(struct bdev_chan *chan)
{
	struct uring_chan *u = chan->priv;

	ASSERT(u->inflight == 0 && list_empty(&u->waiting));
	poller_stop(&u->poller);
	fd_source_remove(&u->src);
	ring_close(&u->ring);
}
