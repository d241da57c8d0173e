/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which way an io goes. A channel has a copy of its disk's paths (struct remote_route), that the
 * keepers renew when something has changed (remote_paths_publish), and of those the best that can
 * be used just now: the optimized ones, or else the non-optimized. With one it is a look-up; among
 * several the policy chooses.
 *
 * An io that comes back because its connection went away takes that route out of use until the
 * keeper says otherwise, and goes another way; when there is none it waits. Waiting is over when no
 * route can come back: with IO_ERR_TIMEOUT after fast-fail, with IO_ERR_GONE after loss-timeout or
 * when the namespace is gone.
 *
 * A queue that belongs to another reactor gets an io by message; it comes back by one.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/remote/remote.h"

enum { TICK_US = 50 * 1000 };

static_assert(offsetof(struct remote_io, msg) == 0, "a message is found back as scratch");

static struct io *io_of_msg(struct msg *msg)
{
	return container_of((uint64_t *)(void *)msg, struct io, scratch[0]);
}

/* ---- choosing ---- */

static void best_find(struct remote_chan *rc)
{
	uint8_t rank = REMOTE_ANA_INACCESSIBLE;

	rc->best_count = 0;
	for (unsigned i = 0; i < REMOTE_PATHS_MAX; i++)
		if (rc->routes[i].queue && rc->routes[i].usable)
			rank = MIN(rank, rc->routes[i].ana);
	if (rank == REMOTE_ANA_INACCESSIBLE)
		return;
	for (unsigned i = 0; i < REMOTE_PATHS_MAX; i++)
		if (rc->routes[i].queue && rc->routes[i].usable && rc->routes[i].ana == rank)
			rc->best[rc->best_count++] = &rc->routes[i];
}

static struct remote_route *route_among(struct remote_chan *rc)
{
	struct remote_route *best;

	if (rc->best_count == 0)
		return NULL;
	if (!rc->by_depth)
		return rc->best[rc->next++ % rc->best_count];
	best = rc->best[0];
	for (unsigned i = 1; i < rc->best_count; i++)
		if (rc->best[i]->inflight < best->inflight)
			best = rc->best[i];
	return best;
}

static void submit_arrived(struct msg *msg)
{
	struct io *io = io_of_msg(msg);

	remote_queue_submit(remote_io_of(io)->route->queue, io);
}

/* When waiting is over, and how; IO_OK: it is not. */
static enum io_status verdict(const struct remote_chan *rc)
{
	enum io_status status = IO_ERR_GONE;
	uint64_t now = reactor_now_us();

	for (unsigned i = 0; i < REMOTE_PATHS_MAX; i++) {
		const struct remote_route *route = &rc->routes[i];

		if (!route->queue || (route->gone_us && now >= route->gone_us))
			continue;
		if (!route->fail_us || now < route->fail_us)
			return IO_OK;
		status = IO_ERR_TIMEOUT;
	}
	return status;
}

static void io_wait(struct remote_chan *rc, struct io *io, uint64_t delay_us)
{
	enum io_status status = verdict(rc);

	if (status != IO_OK) {
		io_complete(io, status);
		return;
	}
	remote_io_of(io)->due_us = reactor_now_us() + delay_us;
	list_push(&rc->waiting, &io->link);
	if (!timer_armed(&rc->tick))
		timer_arm(&rc->tick, TICK_US);
}

static inline void io_go(struct remote_chan *rc, struct io *io)
{
	struct remote_route *route = likely(rc->best_count == 1) ? rc->best[0] : route_among(rc);
	struct remote_io *n = remote_io_of(io);
	struct remote_queue *q;

	if (unlikely(!route)) {
		io_wait(rc, io, 0);
		return;
	}
	q = route->queue;
	n->route = route;
	n->gen = (uint8_t)route->gen;
	route->inflight++;
	if (likely(q->reactor == rc->chan->reactor))
		remote_queue_submit(q, io);
	else
		reactor_send(reactor_at(q->reactor), &n->msg, submit_arrived);
}

void remote_chan_submit(struct remote_chan *rc, struct io *io)
{
	remote_io_of(io)->tries = 0;
	io_go(rc, io);
}

/* Io that wait: go, go on waiting, or have waited too long. */
static void waiting_go(struct remote_chan *rc)
{
	uint64_t now = reactor_now_us();
	struct list list;
	struct io *io;

	list_init(&list);
	list_splice(&list, &rc->waiting);
	while ((io = list_pop_entry(&list, struct io, link))) {
		uint64_t due_us = remote_io_of(io)->due_us;

		if (due_us > now)
			io_wait(rc, io, due_us - now);
		else
			io_go(rc, io);
	}
}

static void tick_due(struct timer *t)
{
	waiting_go(container_of(t, struct remote_chan, tick));
}

/* ---- back ---- */

static void route_lost(struct remote_chan *rc, struct remote_route *route, const struct io *io)
{
	route->lost++;
	/* of an older connection: the route has been renewed since */
	if ((uint8_t)route->gen != remote_io_of((struct io *)io)->gen)
		return;
	route->usable = false;
	best_find(rc);
}

/* A status of the path, not of the namespace: base 2.0c 8.1. */
static bool is_path_status(uint16_t status)
{
	return nvme_status_sct(status) == NVME_SCT_PATH;
}

static void ana_learn(struct remote_chan *rc, struct remote_route *route, uint16_t status)
{
	switch (status & NVME_STATUS_CODE_MASK) {
	case NVME_SC_ANA_PERSISTENT_LOSS:
		route->ana = REMOTE_ANA_LOSS;
		break;
	case NVME_SC_ANA_INACCESSIBLE:
		route->ana = REMOTE_ANA_INACCESSIBLE;
		break;
	case NVME_SC_ANA_TRANSITION:
		route->ana = REMOTE_ANA_CHANGE;
		break;
	default:
		return;
	}
	best_find(rc);
	if (route->queue)
		remote_ctrl_want(route->queue->ctrl, REMOTE_WANT_ANA);
}

static void io_failed(struct remote_chan *rc, struct io *io, uint16_t status)
{
	struct remote_io *n = remote_io_of(io);
	struct remote_route *route = n->route;
	enum io_status result = status == REMOTE_LOST ? IO_ERR_TIMEOUT : nvme_status_map(status);

	if (n->tries < REMOTE_TRIES_MAX) {
		n->tries++;
		if (status == REMOTE_LOST) {
			route_lost(rc, route, io);
			io_go(rc, io);
			return;
		}
		if (is_path_status(status)) {
			ana_learn(rc, route, status);
			io_wait(rc, io, rc->best_count ? 0 : REMOTE_RETRY_MS * 1000ull);
			return;
		}
		if (nvme_status_retryable(status)) {
			io_wait(rc, io, (uint64_t)REMOTE_RETRY_MS * 1000 * n->tries);
			return;
		}
	}
	route->errors++;
	if (result != IO_ERR_MISCOMPARE)
		log_warn("%s: %s at block %llu failed: status %x/%02x (%s)", io->chan->bdev->name,
			 io_op_name(io->op), (unsigned long long)io->lba,
			 nvme_status_sct(status), nvme_status_sc(status), io_status_name(result));
	if (result == IO_ERR_GONE && route->queue)
		remote_ctrl_want(route->queue->ctrl, REMOTE_WANT_SCAN);
	io_complete(io, result);
}

/* On the io's own reactor. */
static inline void io_home(struct io *io, uint16_t status)
{
	struct remote_chan *rc = io->chan->priv;
	struct remote_io *n = remote_io_of(io);
	struct remote_route *route = n->route;

	route->inflight--;
	if (likely((status & NVME_STATUS_CODE_MASK) == 0 && status != REMOTE_LOST)) {
		route->ios++;
		route->latency_us += (uint32_t)reactor_now_us() - n->taken_us;
		io_complete(io, IO_OK);
		return;
	}
	io_failed(rc, io, status);
}

static void end_arrived(struct msg *msg)
{
	struct io *io = io_of_msg(msg);

	io_home(io, remote_io_of(io)->status);
}

void remote_io_end(struct remote_queue *q, struct io *io, uint16_t status)
{
	struct remote_io *n = remote_io_of(io);

	if (likely(io->chan->reactor == q->reactor)) {
		io_home(io, status);
		return;
	}
	n->status = status;
	reactor_send(reactor_at(io->chan->reactor), &n->msg, end_arrived);
}

/* ---- channels ---- */

void remote_route_set(struct remote_chan *rc, const struct remote_path *path)
{
	const struct remote_ctrl *c = path->ctrl;
	struct remote_route *route = &rc->routes[path->index];
	unsigned live = MAX(c->queue_live, 1u);

	/* another path may have had the place before */
	if (!route->queue)
		route->ios = route->errors = route->lost = route->latency_us = 0;
	route->gen++;
	route->queue = path->withdrawn || path->stale ? NULL
						     : c->queues[rc->chan->reactor % live];
	route->nsid = path->nsid;
	route->ana = path->ana;
	route->usable = c->state == REMOTE_CTRL_LIVE && route->queue;
	route->fail_us = route->gone_us = 0;
	if (c->down_us) {
		route->gone_us = c->state == REMOTE_CTRL_LOST ? 1 : c->down_us + c->opt.loss_us;
		if (c->opt.fast_fail_us)
			route->fail_us = c->down_us + c->opt.fast_fail_us;
	}
	rc->by_depth = path->disk->policy == REMOTE_QUEUE_DEPTH;
	best_find(rc);
}

void remote_chan_open(struct remote_chan *rc, struct bdev_chan *chan)
{
	rc->chan = chan;
	list_init(&rc->waiting);
	timer_setup(&rc->tick, tick_due);
	rc->open = true;
}

void remote_chan_close(struct remote_chan *rc)
{
	timer_cancel(&rc->tick);
	rc->open = false;
}

static void publish_here(void *arg)
{
	const struct remote_ctrl *c = arg;
	const struct remote_path *path;

	list_for_each(path, &c->paths, link) {
		struct bdev_chan *chan = bdev_chan(&path->disk->bdev);
		struct remote_chan *rc = chan ? chan->priv : NULL;

		if (!rc || !rc->open)
			continue;
		remote_route_set(rc, path);
		waiting_go(rc);
	}
}

void remote_paths_publish(struct remote_ctrl *c)
{
	task_lock(&c->paths_lock);
	if (!list_empty(&c->paths))
		task_call_all(publish_here, c);
	task_unlock(&c->paths_lock);
}
