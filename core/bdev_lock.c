/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compare-write on a bdev that cannot do it itself: a range that is closed to every writer of every
 * reactor while one io compares and writes it. Plain writes pay one test of chan->gate, which they
 * pay anyway.
 *
 * Each bdev has one lock, kept by reactor 0; claims to it queue there. For the first in the queue:
 *
 *   CLOSING  every reactor is told the range (guard). From then on its channel holds back new
 *            writes that overlap it, and answers when all writes that were started before have
 *            ended; it tells those apart by the parity of an epoch, which begins with the guard.
 *   HELD     all have answered: nobody writes there but the claimant, whose pieces go straight to
 *            the driver. It reads, compares, writes.
 *   OPENING  every reactor is told that it is over, lets go of what it held back, and answers.
 *   FREE     the claimant is told, the next claim begins.
 *
 * A channel has at most one claim under way; more compare-writes wait behind it. They are not
 * counted as writers: the lock waits for writers, and they wait for the lock. All a channel's
 * messages with the lock's keeper use one struct msg, since each is answered before the next.
 */
#include "core/base/panic.h"
#include "core/bdev_impl.h"

void bdev_lock_init(struct bdev_lock *lock)
{
	lock->state = BDEV_LOCK_FREE;
	list_init(&lock->queue);
	lock->answers = 0;
	event_init(&lock->idle);
	event_signal(&lock->idle);
}

/* ---- on every reactor: the guard ---- */

static void guard_answered(struct msg *msg);

static void guard_answer(struct bdev_chan *chan)
{
	reactor_send(reactor_at(0), &chan->ctl->guard_msg, guard_answered);
}

static void guard_close(struct msg *msg)
{
	struct bdev_chan_ctl *ctl = container_of(msg, struct bdev_chan_ctl, guard_msg);
	struct bdev_chan *chan = ctl->chan;
	const struct bdev_lock *lock = &chan->bdev->ctl->lock;

	ctl->guard_lba = lock->lba;
	ctl->guard_count = lock->lba_count;
	ctl->old_writers = chan->writers;
	chan->epoch ^= 1;
	chan->gate |= BDEV_GATE_GUARD;
	if (ctl->old_writers == 0)
		guard_answer(chan);
	else
		chan->gate |= BDEV_GATE_DRAIN;
}

void bdev_guard_writer_done(struct bdev_chan *chan)
{
	if (--chan->ctl->old_writers > 0)
		return;
	chan->gate &= ~BDEV_GATE_DRAIN;
	guard_answer(chan);
}

static void guard_open(struct msg *msg)
{
	struct bdev_chan_ctl *ctl = container_of(msg, struct bdev_chan_ctl, guard_msg);
	struct bdev_chan *chan = ctl->chan;
	struct io *io;

	chan->gate &= ~BDEV_GATE_GUARD;
	while ((io = list_pop_entry(&ctl->held, struct io, link)))
		bdev_dispatch(chan, io);
	guard_answer(chan);
}

bool bdev_guard_holds(struct bdev_chan *chan, struct io *io)
{
	struct bdev_chan_ctl *ctl = chan->ctl;

	if (!bdev_op_rules[io->op].writes)
		return false;
	/* Ranges are checked later: lba may be anything, so no sums of it. */
	if (io->lba >= ctl->guard_lba ? io->lba - ctl->guard_lba >= ctl->guard_count :
					ctl->guard_lba - io->lba >= io->lba_count)
		return false;
	io->stage = IO_HELD;
	list_push(&ctl->held, &io->link);
	return true;
}

/* ---- on reactor 0: the lock ---- */

static void lock_tell_all(struct bdev *bdev, void (*fn)(struct msg *msg))
{
	bdev->ctl->lock.answers = reactor_count();
	for (unsigned i = 0; i < reactor_count(); i++)
		reactor_send(reactor_at(i), &bdev->chan[i]->ctl->guard_msg, fn);
}

static void lock_next(struct bdev *bdev)
{
	struct bdev_lock *lock = &bdev->ctl->lock;
	const struct bdev_lock_req *req;

	req = list_first_entry(&lock->queue, struct bdev_lock_req, link);
	if (!req) {
		lock->state = BDEV_LOCK_FREE;
		event_signal(&lock->idle);
		return;
	}
	event_clear(&lock->idle);
	lock->state = BDEV_LOCK_CLOSING;
	lock->lba = req->lba;
	lock->lba_count = req->lba_count;
	lock_tell_all(bdev, guard_close);
}

static void req_granted(struct msg *msg)
{
	struct bdev_lock_req *req = container_of(msg, struct bdev_lock_req, msg);

	req->granted(req);
}

static void req_released(struct msg *msg)
{
	struct bdev_lock_req *req = container_of(msg, struct bdev_lock_req, msg);

	req->released(req);
}

static void guard_answered(struct msg *msg)
{
	struct bdev_chan_ctl *ctl = container_of(msg, struct bdev_chan_ctl, guard_msg);
	struct bdev *bdev = ctl->chan->bdev;
	struct bdev_lock *lock = &bdev->ctl->lock;
	struct bdev_lock_req *req;

	req = list_first_entry(&lock->queue, struct bdev_lock_req, link);
	ASSERT(lock->answers > 0 && req);
	if (--lock->answers > 0)
		return;
	if (lock->state == BDEV_LOCK_CLOSING) {
		lock->state = BDEV_LOCK_HELD;
		reactor_send(reactor_at(req->reactor), &req->msg, req_granted);
		return;
	}
	ASSERT(lock->state == BDEV_LOCK_OPENING);
	list_del(&req->link);
	reactor_send(reactor_at(req->reactor), &req->msg, req_released);
	lock_next(bdev);
}

static void lock_acquire(struct msg *msg)
{
	struct bdev_lock_req *req = container_of(msg, struct bdev_lock_req, msg);
	struct bdev_lock *lock = &req->bdev->ctl->lock;

	list_push(&lock->queue, &req->link);
	if (lock->state == BDEV_LOCK_FREE)
		lock_next(req->bdev);
}

static void lock_release(struct msg *msg)
{
	struct bdev_lock_req *req = container_of(msg, struct bdev_lock_req, msg);
	struct bdev_lock *lock = &req->bdev->ctl->lock;

	ASSERT(lock->state == BDEV_LOCK_HELD && lock->queue.next == &req->link);
	lock->state = BDEV_LOCK_OPENING;
	lock_tell_all(req->bdev, guard_open);
}

void bdev_lock_acquire(struct bdev_lock_req *req)
{
	req->reactor = reactor_index();
	reactor_send(reactor_at(0), &req->msg, lock_acquire);
}

void bdev_lock_release(struct bdev_lock_req *req)
{
	reactor_send(reactor_at(0), &req->msg, lock_release);
}

/* ---- compare-writes of a channel, one claim after another ---- */

static void claim_granted(struct bdev_lock_req *req)
{
	struct bdev_chan_ctl *ctl = container_of(req, struct bdev_chan_ctl, lock_req);

	bdev_split_step(list_pop_entry(&ctl->claims, struct io, link));
}

static void claim_start(struct bdev_chan_ctl *ctl);

static void claim_released(struct bdev_lock_req *req)
{
	struct bdev_chan_ctl *ctl = container_of(req, struct bdev_chan_ctl, lock_req);

	req->bdev = NULL;
	if (!list_empty(&ctl->claims))
		claim_start(ctl);
}

static void claim_start(struct bdev_chan_ctl *ctl)
{
	struct io *io = list_first_entry(&ctl->claims, struct io, link);
	struct bdev_lock_req *req = &ctl->lock_req;

	req->bdev = ctl->chan->bdev;
	req->lba = io->lba;
	req->lba_count = io->lba_count;
	req->granted = claim_granted;
	req->released = claim_released;
	bdev_lock_acquire(req);
}

void bdev_claim(struct io *io)
{
	struct bdev_chan_ctl *ctl = io->chan->ctl;

	list_push(&ctl->claims, &io->link);
	if (!ctl->lock_req.bdev)
		claim_start(ctl);
}

void bdev_claim_end(struct bdev_chan *chan)
{
	bdev_lock_release(&chan->ctl->lock_req);
}
