/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reactor's lane to a controller: polling its queue, sleeping and waking by the queue's interrupt
 * vector, and looking for commands that take too long.
 *
 * The vector is masked while the reactor is awake, so that a busy queue raises no interrupts;
 * masking is a write to the MSI-X table, no system call. Where the table cannot be written the
 * vector stays on. The eventfd is edge triggered and never read.
 *
 * Time-outs cost nothing per io: while commands are outstanding a timer looks at all slots a few
 * times per time-out. The first time-out of a command asks for its Abort, the second one for a
 * reset. An io that its owner does not want any more is aborted in the same way, at once.
 */
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/config.h"
#include "drivers/nvme/nvme.h"

enum {
	SCANS_PER_TIMEOUT = 4, SCAN_MAX_MS = 1000,
	ABORT_WAIT_US = 1000,
	WARNINGS_PER_SECOND = 10,
};

static unsigned outstanding(const struct nvme_queue *q)
{
	return q->depth - 1u - q->free_count;
}

void nvme_lane_flush(struct nvme_queue *q)
{
	while (q->back_reactors) {
		unsigned home = __builtin_ctzll(q->back_reactors);

		q->back_reactors &= q->back_reactors - 1;
		nvme_forward_back(&q->back[home], home);
	}
}

/* ---- polling ---- */

static int lane_poll(struct poller *p)
{
	struct nvme_queue *q = container_of(p, struct nvme_queue, poller);
	int n;

	if (unlikely(!q->live))
		return 0;
	n = nvme_queue_reap(q);
	if (unlikely(!list_empty(&q->waiting)))
		nvme_queue_pump(q);
	if (q->sq_rung != q->sq_tail) {
		nvme_queue_ring(q);
		n++;
	}
	if (unlikely(q->back_reactors))
		nvme_lane_flush(q);
	return n;
}

static bool completion_ready(const struct nvme_queue *q)
{
	const struct nvme_cqe *next = &q->cq[q->cq_head];

	return (__atomic_load_n(&next->status.raw, __ATOMIC_ACQUIRE) & 1) == q->phase;
}

static void vector_mask(struct nvme_queue *q, bool masked)
{
	if (q->maskable && q->unmasked == masked) {
		pci_vector_mask(q->ctrl->pci, q->vector, masked);
		q->unmasked = !masked;
	}
}

static enum poller_arm lane_arm(struct poller *p)
{
	struct nvme_queue *q = container_of(p, struct nvme_queue, poller);

	if (q->back_reactors)
		return POLLER_BUSY;
	if (!q->live)
		return POLLER_ARMED;
	if (q->sq_rung != q->sq_tail || (q->free_count > 0 && !list_empty(&q->waiting)))
		return POLLER_BUSY;
	if (outstanding(q) == 0)
		return POLLER_ARMED;
	if (q->vector < 0)
		return POLLER_DEAF;
	vector_mask(q, false);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!completion_ready(q))
		return POLLER_ARMED;
	vector_mask(q, true);
	return POLLER_BUSY;
}

static void lane_disarm(struct poller *p)
{
	vector_mask(container_of(p, struct nvme_queue, poller), true);
}

/* Being awake is all that is wanted: the poller does the rest. */
static void lane_woken(struct fd_source *src, uint32_t events)
{
}

/* ---- time-outs ---- */

struct abort_call {
	struct nvme_queue *q;
	uint16_t cid;
};

/* On reactor 0. The command may have completed meanwhile: then Abort does nothing. */
static void abort_send(void *arg)
{
	const struct abort_call *call = arg;
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_ABORT,
		.cdw10 = le32_make((uint32_t)call->cid << NVME_ABORT_CID_SHIFT | call->q->qid),
	};

	nvme_admin_exec(call->q->ctrl, &sqe, config.nvme_timeout_ms, NULL);
}

static struct nvme_slot *slot_late(struct nvme_queue *q)
{
	for (unsigned i = 0; i < q->depth - 1u; i++)
		if (q->slots[i].state == NVME_SLOT_LATE)
			return &q->slots[i];
	return NULL;
}

static void abort_task(void *arg)
{
	struct nvme_queue *q = arg;
	struct nvme_slot *slot;

	while (q->live && (slot = slot_late(q))) {
		struct abort_call call = { q, slot->cid };

		slot->state = NVME_SLOT_ABORTED;
		task_call(reactor_at(0), abort_send, &call);
	}
	q->aborting = false;
}

void nvme_lane_abort(struct nvme_queue *q, struct io *io)
{
	nvme_io_of(io)->unwanted = true;
	for (unsigned i = 0; i < q->depth - 1u; i++) {
		struct nvme_slot *slot = &q->slots[i];

		if (slot->state == NVME_SLOT_FREE || slot->io != io)
			continue;
		if (slot->state == NVME_SLOT_BUSY) {
			slot->state = NVME_SLOT_LATE;
			slot->posted_us = reactor_now_us();
		}
		if (q->live && !q->aborting)
			q->aborting = task_start("nvme abort", abort_task, q) != NULL;
		return;
	}
	/* in line, or to be tried again later */
	list_del(&io->link);
	nvme_queue_give_back(q, io, IO_ERR_ABORTED);
}

bool nvme_lane_may_warn(struct nvme_queue *q)
{
	if (reactor_now_us() - q->warn_us >= 1000 * 1000) {
		q->warn_us = reactor_now_us();
		q->warn_count = 0;
	}
	return q->warn_count++ < WARNINGS_PER_SECOND;
}

static void slot_timed_out(struct nvme_queue *q, struct nvme_slot *slot)
{
	q->timeouts++;
	if (slot->state == NVME_SLOT_BUSY) {
		const struct io *io = slot->io;

		if (nvme_lane_may_warn(q))
			log_warn("%s q%u: %s at block %llu has no answer after %u ms: Abort",
				 io->chan->bdev->name, q->qid, io_op_name(io->op),
				 (unsigned long long)io->lba, config.nvme_timeout_ms);
		slot->state = NVME_SLOT_LATE;
		slot->posted_us = reactor_now_us();
	} else {
		nvme_ctrl_want_reset(q->ctrl, "q%u: cid %04x has no answer and cannot be aborted",
				     q->qid, slot->cid);
	}
}

void nvme_lane_scan_later(struct nvme_queue *q)
{
	uint64_t limit_us = config.nvme_timeout_ms * 1000ull;

	timer_arm(&q->scan, MIN(limit_us / SCANS_PER_TIMEOUT, SCAN_MAX_MS * 1000ull));
}

static void scan_due(struct timer *t)
{
	struct nvme_queue *q = container_of(t, struct nvme_queue, scan);
	uint64_t limit_us = config.nvme_timeout_ms * 1000ull, now = reactor_now_us();

	if (!q->live || outstanding(q) == 0)
		return;
	nvme_lane_scan_later(q);
	for (unsigned i = 0; i < q->depth - 1u; i++) {
		struct nvme_slot *slot = &q->slots[i];

		if (slot->state != NVME_SLOT_FREE && now - slot->posted_us >= limit_us &&
		    !completion_ready(q))
			slot_timed_out(q, slot);
	}
	if (!q->aborting && slot_late(q))
		q->aborting = task_start("nvme abort", abort_task, q) != NULL;
}

static void retry_due(struct timer *t)
{
	struct nvme_queue *q = container_of(t, struct nvme_queue, retry);
	uint64_t now = reactor_now_us(), next = UINT64_MAX;
	struct io *io, *tmp;

	list_for_each_safe(io, tmp, &q->delayed, link) {
		uint64_t due = nvme_io_of(io)->due_us;

		if (due <= now) {
			list_del(&io->link);
			list_push(&q->waiting, &io->link);
		} else {
			next = MIN(next, due);
		}
	}
	if (next != UINT64_MAX)
		timer_arm(t, next - now);
	nvme_queue_pump(q);
}

/* ---- opening, closing, recovery ---- */

void nvme_lane_open(struct nvme_queue *q)
{
	timer_setup(&q->scan, scan_due);
	timer_setup(&q->retry, retry_due);
	q->poller = (struct poller){ .name = "nvme", .poll = lane_poll, .arm = lane_arm,
				     .disarm = lane_disarm };
	poller_start(&q->poller);
	if (q->irq.fd < 0)
		return;
	q->irq.event = lane_woken;
	if (fd_source_add(&q->irq, EPOLLIN | EPOLLET) < 0) {
		log_warn("%s q%u: no event for its interrupt, the reactor keeps polling",
			 q->ctrl->name, q->qid);
		q->vector = -1;
		q->maskable = false;
		q->irq.fd = -1;
		return;
	}
}

void nvme_lane_start(struct nvme_queue *q)
{
	/* a function reset may have left it unmasked */
	q->unmasked = true;
	vector_mask(q, true);
	q->live = true;
	nvme_queue_pump(q);
}

void nvme_lane_close(struct nvme_queue *q)
{
	q->live = false;
	timer_cancel(&q->scan);
	timer_cancel(&q->retry);
	while (q->aborting)
		task_sleep(ABORT_WAIT_US);
	if (q->irq.fd >= 0)
		fd_source_remove(&q->irq);
	poller_stop(&q->poller);
}

/* All io that are in the controller or to be tried later, in front of those that wait. */
static void lane_collect(struct nvme_queue *q)
{
	struct list all;

	list_init(&all);
	for (unsigned i = 0; i < q->depth - 1u; i++)
		if (q->slots[i].state != NVME_SLOT_FREE)
			list_push(&all, &q->slots[i].io->link);
	nvme_queue_clear(q);
	list_splice(&all, &q->delayed);
	list_splice(&all, &q->waiting);
	list_splice(&q->waiting, &all);
	timer_cancel(&q->retry);
}

void nvme_lane_requeue(struct nvme_queue *q)
{
	struct list failed;
	struct io *io;

	list_init(&failed);
	for (unsigned i = 0; i < q->depth - 1u; i++) {
		struct nvme_slot *slot = &q->slots[i];

		if (slot->state == NVME_SLOT_FREE || nvme_io_of(slot->io)->tries++ < NVME_RETRY_MAX)
			continue;
		list_push(&failed, &slot->io->link);
		nvme_slot_put(q, slot);
	}
	lane_collect(q);
	while ((io = list_pop_entry(&failed, struct io, link)))
		nvme_queue_give_back(q, io, IO_ERR_TIMEOUT);
	nvme_lane_flush(q);
}

void nvme_lane_fail(struct nvme_queue *q, enum io_status status)
{
	struct io *io;

	q->live = false;
	lane_collect(q);
	while ((io = list_pop_entry(&q->waiting, struct io, link)))
		nvme_queue_give_back(q, io, status);
	nvme_lane_flush(q);
}
