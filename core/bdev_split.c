/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Io that the driver cannot take as they are: too long, with memory that it cannot reach, or of an
 * op that it lacks. Such a parent is done in phases, each of them a walk over its blocks by pieces
 * (bdev_piece.c), io of the channel's own that go straight to the driver:
 *
 *   LOCK     compare-write: until the range belongs to it (bdev_lock.c)
 *   COMPARE  compare, compare-write
 *   DATA     everything else, and compare-write after its compare
 *   FLUSH    FUA on a device with a volatile cache and no FUA
 *   END
 *
 * The first error of a piece is the parent's, and keeps further pieces from being issued. Parents
 * for which there is no free piece stand in line on their channel; each piece that ends lets the
 * first of the line go on by as much as it can, then to the end of the line.
 *
 * Nothing here can lock up: pieces belong to the channel and wait for its driver alone, even when
 * that driver is a volume on another bdev; one bounce buffer of each reactor is reserved.
 */
#include "core/base/panic.h"
#include "core/bdev_impl.h"

enum bdev_parent_state {
	PARENT_LOCK,
	PARENT_COMPARE,
	PARENT_DATA,
	PARENT_FLUSH,
	PARENT_END,
};

enum step { STEP_AGAIN, STEP_WAIT, STEP_DONE };

/* Pieces until all BLOCKS are handed out; AGAIN when all have come back too. */
static enum step phase_step(struct io *io, enum io_op op, uint32_t blocks)
{
	struct bdev_parent *p = bdev_parent(io);

	while (p->status == IO_OK && p->issued < blocks) {
		if (!bdev_piece_issue(io, op)) {
			list_push(&io->chan->ctl->waiting, &io->link);
			return STEP_WAIT;
		}
	}
	return p->pending ? STEP_WAIT : STEP_AGAIN;
}

static enum bdev_parent_state after_compare(const struct io *io)
{
	if (io->op == IO_COMPARE_WRITE && bdev_parent((struct io *)io)->status == IO_OK)
		return PARENT_DATA;
	return PARENT_END;
}

static enum bdev_parent_state after_data(const struct io *io)
{
	const struct bdev *bdev = io->chan->bdev;
	bool flush = (io->flags & IO_FUA) && bdev_op_rules[io->op].writes &&
		     bdev->volatile_cache && !bdev->fua;

	if (flush && bdev_parent((struct io *)io)->status == IO_OK)
		return PARENT_FLUSH;
	return PARENT_END;
}

static enum step state_step(struct io *io)
{
	struct bdev_parent *p = bdev_parent(io);
	enum io_op op = io->op == IO_COMPARE_WRITE ? IO_WRITE : io->op;
	enum step step;

	switch ((enum bdev_parent_state)p->state) {
	case PARENT_LOCK:
		p->state = PARENT_COMPARE;
		return STEP_AGAIN;
	case PARENT_COMPARE:
		step = phase_step(io, IO_COMPARE, io->lba_count);
		if (step == STEP_AGAIN) {
			p->state = after_compare(io);
			p->issued = 0;
		}
		return step;
	case PARENT_DATA:
		step = phase_step(io, op, io->lba_count);
		if (step == STEP_AGAIN) {
			p->state = after_data(io);
			p->issued = 0;
		}
		return step;
	case PARENT_FLUSH:
		step = phase_step(io, IO_FLUSH, 1);
		if (step == STEP_AGAIN)
			p->state = PARENT_END;
		return step;
	case PARENT_END:
		if (io->op == IO_COMPARE_WRITE)
			bdev_claim_end(io->chan);
		io_complete(io, p->status);
		return STEP_DONE;
	}
	panic("bdev %s: io %p in state %u", io->chan->bdev->name, (void *)io, p->state);
}

static enum step parent_run(struct io *io)
{
	enum step step;

	do {
		step = state_step(io);
	} while (step == STEP_AGAIN);
	return step;
}

void bdev_split_start(struct io *io)
{
	struct bdev_chan_ctl *ctl = io->chan->ctl;
	struct bdev_parent *p = bdev_parent(io);

	*p = (struct bdev_parent){ .state = PARENT_DATA };
	list_init(&io->link);
	if (io->op == IO_COMPARE_WRITE) {
		p->state = PARENT_LOCK;
		bdev_claim(io);
		return;
	}
	if (io->op == IO_COMPARE)
		p->state = PARENT_COMPARE;
	if (list_empty(&ctl->waiting))
		parent_run(io);
	else
		list_push(&ctl->waiting, &io->link);
}

void bdev_split_step(struct io *io)
{
	parent_run(io);
}

void bdev_split_cancel(struct io *io, enum io_status status)
{
	struct bdev_parent *p = bdev_parent(io);

	if (p->status == IO_OK)
		p->status = status;
	/* The lock's keeper knows of the claim: it ends when it is granted. */
	if (p->state == PARENT_LOCK)
		return;
	list_del(&io->link);
	if (p->pending == 0)
		parent_run(io);
}

void bdev_split_kick(struct bdev_chan *chan)
{
	struct bdev_chan_ctl *ctl = chan->ctl;
	struct list last, *end = &last;

	if (list_empty(&ctl->waiting))
		return;
	/* Each parent of the line at most once: who cannot go on stands behind the mark. */
	list_push(&ctl->waiting, end);
	while (ctl->waiting.next != end && !list_empty(&ctl->pieces))
		parent_run(list_pop_entry(&ctl->waiting, struct io, link));
	list_del(end);
}
