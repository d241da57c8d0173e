/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which reactor serves a queue. A new one goes to the reactor with the fewest; from then on loads
 * are compared every config.nvmf_balance_ms. The load of a reactor is the share of time in which
 * its rounds found work; a queue's part of it is its part of the work that was done there (a
 * command counts one, and its data one for each 16 KiB).
 *
 * When the busiest reactor has been busier than the idlest by BALANCE_GAP for BALANCE_STREAK times
 * in a row, one queue moves: the one that comes closest to making the two equal. A queue that moved
 * stays for BALANCE_STAY_US at least, and a move that would only exchange the two loads is none: so
 * that nothing goes to and fro.
 *
 * All of it on reactor 0; the figures of other reactors are read as they are.
 */
#include "targets/nvmf/nvmf.h"

#include <errno.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/clock.h"
#include "core/config.h"

enum {
	BALANCE_GAP = 200,              /* per mille of a reactor's time */
	BALANCE_BUSY = 300,             /* the busiest one at least */
	BALANCE_GAIN = 100,             /* by which a move must shrink the gap */
	BALANCE_STREAK = 3,
	BALANCE_STAY_US = 5 * 1000 * 1000,
	BALANCE_QUEUES = 1024,          /* looked at in one comparison */
};

static struct {
	struct timer timer;
	uint64_t busy_us[REACTOR_MAX], all_us[REACTOR_MAX];     /* at the last comparison */
	unsigned streak, busiest;
	struct nvmf_load loads[BALANCE_QUEUES];
	struct nvmf_queue *queues[BALANCE_QUEUES];
} balance;

/* ---- where queues are ---- */

static void queue_count_at(struct nvmf_queue *queue, unsigned reactor)
{
	nvmf_target.reactor_queues[queue->placed]--;
	queue->placed = reactor;
	nvmf_target.reactor_queues[reactor]++;
}

unsigned nvmf_queue_place(struct nvmf_queue *queue)
{
	unsigned best = 0, count = reactor_count();

	/* from the last on, so that equal ones leave reactor 0 to control work */
	for (unsigned i = count; i-- > 0;)
		if (i == count - 1 ||
		    nvmf_target.reactor_queues[i] < nvmf_target.reactor_queues[best])
			best = i;
	queue->placed = best;
	queue->counted = true;
	nvmf_target.reactor_queues[best]++;
	/* who can move later says by himself where he is */
	if (!queue->ops->shift)
		queue->reactor = best;
	nvmf_balance_start();
	return best;
}

void nvmf_queue_settle(struct nvmf_queue *queue, unsigned reactor)
{
	queue->reactor = reactor;
}

int nvmf_queue_shift(struct nvmf_queue *queue, unsigned reactor)
{
	if (!queue->ops->shift || queue->qid == 0)
		return -EOPNOTSUPP;
	if (queue->moving || queue->closing)
		return -EBUSY;
	if (reactor == queue->reactor)
		return 0;
	queue->moving = true;
	queue->shift_us = clock_now_us();
	queue_count_at(queue, reactor);
	queue->ops->shift(queue, reactor);
	return 0;
}

void nvmf_queue_moved(struct nvmf_queue *queue, bool moved)
{
	char text[32];

	ASSERT(queue->moving);
	queue->moving = false;
	if (queue->placed != queue->reactor)
		queue_count_at(queue, queue->reactor);
	if (moved && queue->shift_us) {
		queue->moves++;
		log_debug("nvmf %s: on reactor %u now", nvmf_queue_text(queue, text),
			  queue->reactor);
	}
}

/* ---- loads ---- */

int nvmf_balance_pick(const unsigned *busy, unsigned reactors, const struct nvmf_load *loads,
		      unsigned count, unsigned *to)
{
	unsigned from = 0, gap, best_gap;
	uint64_t work = 0;
	int best = -1;

	*to = 0;
	for (unsigned i = 1; i < reactors; i++) {
		if (busy[i] > busy[from])
			from = i;
		if (busy[i] < busy[*to])
			*to = i;
	}
	gap = best_gap = busy[from] - busy[*to];
	if (gap < BALANCE_GAP || busy[from] < BALANCE_BUSY)
		return -1;
	for (unsigned i = 0; i < count; i++)
		work += loads[i].reactor == from ? loads[i].work : 0;
	for (unsigned i = 0; i < count && work; i++) {
		unsigned share = (unsigned)(busy[from] * loads[i].work / work);
		unsigned after = 2 * share > gap ? 2 * share - gap : gap - 2 * share;

		if (loads[i].reactor != from || !loads[i].may_move ||
		    after + BALANCE_GAIN > gap || after >= best_gap)
			continue;
		best = (int)i;
		best_gap = after;
	}
	return best;
}

/* Per mille of the time since the last comparison. */
static void busy_measure(unsigned *busy)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		struct reactor_stats stats;
		uint64_t all, busy_us;

		reactor_stats(reactor_at(i), &stats);
		all = stats.busy_us + stats.idle_us + stats.sleep_us;
		busy_us = stats.busy_us - balance.busy_us[i];
		busy[i] = all > balance.all_us[i]
			? (unsigned)MIN(busy_us * 1000 / (all - balance.all_us[i]), 1000ull) : 0;
		balance.busy_us[i] = stats.busy_us;
		balance.all_us[i] = all;
	}
}

static unsigned loads_measure(void)
{
	uint64_t now = clock_now_us();
	unsigned count = 0;
	struct nvmf_queue *queue;
	bool rested;

	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl)) {
		list_for_each(queue, &ctrl->queues, link) {
			uint64_t work = __atomic_load_n(&queue->work, __ATOMIC_RELAXED);

			if (count == BALANCE_QUEUES)
				return count;
			rested = !queue->shift_us || now - queue->shift_us >= BALANCE_STAY_US;
			balance.queues[count] = queue;
			balance.loads[count++] = (struct nvmf_load){
				.reactor = queue->reactor,
				.work = work - queue->work_seen,
				.may_move = rested && queue->ops->shift && !queue->moving &&
					    !queue->closing,
			};
			queue->work_seen = work;
		}
	}
	return count;
}

static void balance_compare(struct timer *t)
{
	unsigned busy[REACTOR_MAX], to, count;
	int pick;

	busy_measure(busy);
	count = loads_measure();
	/* the next queue that is placed starts it again */
	if (count == 0)
		return;
	timer_arm(t, config.nvmf_balance_ms * 1000ull);
	pick = nvmf_balance_pick(busy, reactor_count(), balance.loads, count, &to);
	if (pick < 0 || (balance.streak && balance.busiest != balance.loads[pick].reactor)) {
		balance.streak = 0;
		return;
	}
	balance.busiest = balance.loads[pick].reactor;
	if (++balance.streak < BALANCE_STREAK)
		return;
	balance.streak = 0;
	nvmf_queue_shift(balance.queues[pick], to);
}

void nvmf_balance_init(void)
{
	timer_setup(&balance.timer, balance_compare);
	balance.streak = 0;
}

void nvmf_balance_start(void)
{
	if (reactor_count() == 1 || config.nvmf_balance_ms == 0 || timer_armed(&balance.timer))
		return;
	timer_arm(&balance.timer, config.nvmf_balance_ms * 1000ull);
}

void nvmf_balance_stop(void)
{
	timer_cancel(&balance.timer);
}
