/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From bdev_submit() to the driver and back.
 *
 * The straight road, of nearly every io: checked in one pass over its iov, handed to the driver as
 * it is, accounted for when it comes back. chan->gate is 0 on it: one test in, one test out.
 * What the driver cannot take as it is goes to bdev_split.c.
 *
 * Aborts are answered here: a victim that waits is taken out and ends with IO_ERR_ABORTED, one in
 * pieces issues no more of them, and a driver that can is asked to end what it has. In any case the
 * abort is done after its victim.
 */
#include <stddef.h>

#include "core/base/panic.h"
#include "core/bdev_impl.h"
#include "core/clock.h"
#include "core/trace.h"

#define AT(class) offsetof(struct stat_io, cls[class])

const struct bdev_op_rule bdev_op_rules[UINT8_MAX + 1] = {
	[IO_READ] = { .range = true, .data = 1, .stat_at = AT(STAT_READ) },
	[IO_WRITE] = { .range = true, .data = 1, .writes = true, .stat_at = AT(STAT_WRITE) },
	[IO_FLUSH] = { .stat_at = AT(STAT_FLUSH) },
	[IO_UNMAP] = { .range = true, .writes = true, .stat_at = AT(STAT_UNMAP) },
	[IO_WRITE_ZEROES] = { .range = true, .writes = true, .stat_at = AT(STAT_OTHER) },
	[IO_COMPARE] = { .range = true, .data = 1, .stat_at = AT(STAT_OTHER) },
	[IO_VERIFY] = { .range = true, .stat_at = AT(STAT_OTHER) },
	[IO_COMPARE_WRITE] = { .range = true, .data = 2, .writes = true,
			       .stat_at = AT(STAT_OTHER) },
	[IO_COPY] = { .range = true, .writes = true, .stat_at = AT(STAT_OTHER) },
	[IO_ABORT] = { .stat_at = AT(STAT_OTHER) },
	[IO_OP_COUNT ... UINT8_MAX] = { .stat_at = AT(STAT_OTHER) },
};

/* How an io goes on. */
enum route {
	ROUTE_DRIVER,
	ROUTE_PIECES,
	ROUTE_END,              /* with the status that came along */
};

static bool range_fits(const struct bdev *bdev, uint64_t lba, uint32_t lba_count)
{
	uint64_t end = __atomic_load_n(&bdev->block_count, __ATOMIC_RELAXED);

	return lba <= end && lba_count <= end - lba;
}

/* Data against what the driver takes; the lengths must add up. */
static enum route route_data(const struct bdev *bdev, const struct io *io, unsigned shares)
{
	uint64_t want = ((uint64_t)io->lba_count * shares) << bdev->block_shift;
	uint64_t bytes = 0;
	uintptr_t bits = 0, page = 0;

	for (unsigned i = 0; i < io->iov_count; i++) {
		uintptr_t base = (uintptr_t)io->iov[i].iov_base;
		size_t len = io->iov[i].iov_len;

		if (unlikely(len == 0))
			return ROUTE_END;
		bytes += len;
		bits |= base | len;
		if (i > 0)
			page |= base;
		if (i + 1u < io->iov_count)
			page |= base + len;
	}
	if (unlikely(bytes != want))
		return ROUTE_END;
	if (bytes > bdev->xfer_max || io->iov_count > bdev->iov_max ||
	    (bits & bdev->align_mask) || (page & bdev->page_mask))
		return ROUTE_PIECES;
	return ROUTE_DRIVER;
}

static enum route route_rest(const struct bdev *bdev, const struct io *io, enum io_status *status)
{
	switch (io->op) {
	case IO_FLUSH:
		*status = IO_OK;
		return bdev->volatile_cache ? ROUTE_DRIVER : ROUTE_END;
	case IO_UNMAP:
		if (bdev->limits.unmap_blocks_max && io->lba_count > bdev->limits.unmap_blocks_max)
			return ROUTE_PIECES;
		break;
	case IO_WRITE_ZEROES:
		if (bdev->limits.write_zeroes_blocks_max &&
		    io->lba_count > bdev->limits.write_zeroes_blocks_max)
			return ROUTE_PIECES;
		break;
	case IO_COPY:
		*status = IO_ERR_RANGE;
		if (!range_fits(bdev, io->src_lba, io->lba_count))
			return ROUTE_END;
		*status = IO_ERR_INVALID;
		if (io->lba < io->src_lba + io->lba_count && io->src_lba < io->lba + io->lba_count)
			return ROUTE_END;
		break;
	}
	return ROUTE_DRIVER;
}

/* Checks the whole io. Ops that the driver lacks, and FUA that it lacks, are made of pieces. */
static inline enum route route_of(const struct bdev *bdev, const struct io *io,
				  enum io_status *status)
{
	const struct bdev_op_rule *rule = &bdev_op_rules[io->op];
	enum route route;

	if (rule->range) {
		*status = IO_ERR_INVALID;
		if (unlikely(io->lba_count == 0))
			return ROUTE_END;
		*status = IO_ERR_RANGE;
		if (unlikely(!range_fits(bdev, io->lba, io->lba_count)))
			return ROUTE_END;
	}
	*status = IO_ERR_READONLY;
	if (rule->writes && unlikely(bdev->readonly))
		return ROUTE_END;
	*status = IO_ERR_INVALID;
	route = rule->data ? route_data(bdev, io, rule->data) : route_rest(bdev, io, status);
	if (route == ROUTE_END)
		return route;
	if (unlikely(!(bdev->ops_supported & 1u << io->op))) {
		*status = IO_ERR_UNSUPPORTED;
		return bdev_supports(bdev, io->op) ? ROUTE_PIECES : ROUTE_END;
	}
	if ((io->flags & IO_FUA) && rule->writes && !bdev->fua && bdev->volatile_cache)
		return ROUTE_PIECES;
	if ((io->flags & IO_FOREIGN) && rule->data && bdev->dma_only)
		return ROUTE_PIECES;
	return route;
}

static void start(struct bdev_chan *chan, struct io *io, enum route route, enum io_status status)
{
	switch (route) {
	case ROUTE_DRIVER:
		if (bdev_op_rules[io->op].writes) {
			io->writer = true;
			io->epoch = chan->epoch;
			chan->writers++;
		}
		io->stage = IO_AT_DRIVER;
		chan->bdev->ops->submit(chan, io);
		break;
	case ROUTE_PIECES:
		/* One that waits for the lock must not be waited for by it: bdev_lock.c. */
		if (bdev_op_rules[io->op].writes && io->op != IO_COMPARE_WRITE) {
			io->writer = true;
			io->epoch = chan->epoch;
			chan->writers++;
		}
		io->stage = IO_IN_PIECES;
		bdev_split_start(io);
		break;
	case ROUTE_END:
		io_complete(io, status);
		break;
	}
}

void bdev_dispatch(struct bdev_chan *chan, struct io *io)
{
	enum io_status status;
	enum route route = route_of(chan->bdev, io, &status);

	start(chan, io, route, status);
}

/* ---- aborts ---- */

static void abort_submit(struct bdev_chan *chan, struct io *io)
{
	struct io *victim = io->victim;

	if (victim->stage == IO_AT_OWNER) {
		io_complete(io, IO_OK);
		return;
	}
	/* One that went on to the disk beneath is aborted there. */
	if (victim->chan != chan && victim->over == chan)
		chan = victim->chan;
	if (victim->chan != chan || victim->op == IO_ABORT) {
		io_complete(io, IO_ERR_INVALID);
		return;
	}
	io->stage = IO_HELD;
	list_push(&chan->ctl->aborts, &io->link);
	chan->gate |= BDEV_GATE_ABORT;
	if (victim->stage == IO_HELD) {
		list_del(&victim->link);
		io_complete(victim, IO_ERR_ABORTED);
	} else if (victim->stage == IO_IN_PIECES) {
		bdev_split_cancel(victim, IO_ERR_ABORTED);
		bdev_pieces_abort(victim);
	} else if (victim->stage == IO_AT_DRIVER && chan->bdev->ops->abort) {
		chan->bdev->ops->abort(chan, victim);
	}
}

static void abort_victim_done(struct bdev_chan *chan, struct io *victim)
{
	struct io *io, *tmp;

	list_for_each_safe(io, tmp, &chan->ctl->aborts, link) {
		if (io->victim != victim)
			continue;
		list_del(&io->link);
		io_complete(io, IO_OK);
	}
	if (list_empty(&chan->ctl->aborts))
		chan->gate &= ~BDEV_GATE_ABORT;
}

/* ---- in ---- */

/* The gate is not clear: true when the io goes no further here. */
static bool gate_stops(struct bdev_chan *chan, struct io *io)
{
	if (chan->gate & BDEV_GATE_GONE) {
		io_complete(io, IO_ERR_GONE);
		return true;
	}
	return (chan->gate & BDEV_GATE_GUARD) && bdev_guard_holds(chan, io);
}

static void submit_checked(struct bdev_chan *chan, struct io *io)
{
	if (unlikely(io->op >= IO_ABORT)) {
		if (io->op == IO_ABORT)
			abort_submit(chan, io);
		else
			io_complete(io, IO_ERR_INVALID);
		return;
	}
	if (unlikely(chan->gate) && gate_stops(chan, io))
		return;
	bdev_dispatch(chan, io);
}

/*
 * Whether it is a read or write with one element of data that the driver takes: what route_of()
 * would say, said sooner. Everything else is looked at more closely.
 */
static inline bool is_straight(const struct bdev_chan *chan, const struct io *io)
{
	const struct bdev *bdev = chan->bdev;
	uint64_t end = __atomic_load_n(&bdev->block_count, __ATOMIC_RELAXED);
	uint64_t bytes = (uint64_t)io->lba_count << bdev->block_shift;

	return io->op <= IO_WRITE && (bdev->straight_ops & 1u << io->op) && !chan->gate &&
	       !(io->flags & bdev->pieces_flags) && io->iov_count == 1 &&
	       io->lba < end && io->lba_count <= end - io->lba &&
	       io->iov->iov_len == bytes && bytes - 1 < bdev->xfer_max &&
	       !(((uintptr_t)io->iov->iov_base | bytes) & bdev->align_mask);
}

void bdev_submit(struct bdev_chan *chan, struct io *io)
{
	uint64_t now = clock_ticks_recent();

	io->chan = chan;
	io->over = NULL;
	io->start_ticks = now;
	io->stage = IO_AT_DRIVER;
	io->counted = true;
	io->writer = io->op == IO_WRITE;
	io->epoch = chan->epoch;
	chan->inflight++;
	trace_at(now, TRACE_IO_SUBMIT, (uintptr_t)io, io->op);
	if (likely(is_straight(chan, io))) {
		chan->writers += io->writer;
		chan->bdev->ops->submit(chan, io);
		return;
	}
	io->writer = false;
	submit_checked(chan, io);
}

/* ---- out ---- */

void bdev_account_gate(struct bdev_chan *chan, struct io *io)
{
	if (chan->gate & BDEV_GATE_ABORT)
		abort_victim_done(chan, io);
	if ((chan->gate & BDEV_GATE_DRAIN) && io->writer && io->epoch != chan->epoch)
		bdev_guard_writer_done(chan);
}

void bdev_chan_shut(struct bdev_chan *chan)
{
	struct io *io;

	chan->gate |= BDEV_GATE_GONE;
	while ((io = list_pop_entry(&chan->ctl->held, struct io, link)))
		io_complete(io, IO_ERR_GONE);
	while ((io = list_first_entry(&chan->ctl->waiting, struct io, link)))
		bdev_split_cancel(io, IO_ERR_GONE);
	list_for_each(io, &chan->ctl->claims, link)
		bdev_split_cancel(io, IO_ERR_GONE);
}
