/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A submission and a completion queue with their table of outstanding commands: the data path.
 *
 * Submitting fills the entry at sq_tail; the poller (lane.c) tells the controller once a round, and
 * likewise once a round how far completions were taken. There are depth - 1 slots, so the rings
 * never overflow; an io without a slot waits in line. A cid carries its slot's generation, so that
 * a completion that comes twice, or for a command long finished, is recognized. Whatever a
 * completion says is checked before use; a bad one stops the queue and asks for a reset.
 *
 * Base 2.0c 3.3.1 (queues), 3.3.3 (entries), 5.8 (shadow doorbells).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/dma.h"
#include "core/trace.h"
#include "drivers/nvme/nvme.h"

static_assert(sizeof(struct nvme_io) <= sizeof(((struct io *)0)->scratch), "io scratch");

enum { RETRY_DELAY_MS = 100 };

/* ---- memory ---- */

/* Whether the memory is one piece for the controller, as rings have to be. */
static bool is_contiguous(const char *p, size_t len)
{
	uint64_t iova = dma_iova(p);

	for (size_t at = 0; at < len; at += DMA_PAGE_BYTES)
		if (iova == DMA_IOVA_BAD || dma_iova(p + at) != iova + at)
			return false;
	return true;
}

static void *ring_alloc(size_t len)
{
	void *ring;

	len = ALIGN_UP(len, (size_t)DMA_PAGE_BYTES);
	ring = dma_alloc(len, DMA_PAGE_BYTES);
	if (ring && is_contiguous(ring, len))
		return ring;
	dma_free(ring);
	return NULL;
}

static int slots_init(struct nvme_queue *q, size_t list_bytes)
{
	unsigned count = q->depth - 1;

	q->slots = calloc(count, sizeof(*q->slots));
	q->free = calloc(count, sizeof(*q->free));
	if (!q->slots || !q->free)
		return -ENOMEM;
	q->list_bytes = list_bytes;
	if (list_bytes == 0)
		return 0;
	q->lists = dma_alloc(count * list_bytes, DMA_PAGE_BYTES);
	if (!q->lists)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		q->slots[i].list = (char *)q->lists + i * list_bytes;
		q->slots[i].list_iova = dma_iova(q->slots[i].list);
	}
	return 0;
}

int nvme_queue_init(struct nvme_queue *q, struct nvme_ctrl *ctrl, uint16_t qid, unsigned depth,
		    size_t list_bytes)
{
	int rc;

	q->ctrl = ctrl;
	q->qid = qid;
	q->vector = -1;
	q->irq.fd = -1;
	list_init(&q->waiting);
	list_init(&q->delayed);
	q->depth = depth;
	q->sq = ring_alloc(depth * sizeof(*q->sq));
	q->cq = ring_alloc(depth * sizeof(*q->cq));
	rc = q->sq && q->cq ? slots_init(q, list_bytes) : -ENOMEM;
	if (rc < 0) {
		nvme_queue_fini(q);
		return rc;
	}
	nvme_queue_clear(q);
	return 0;
}

void nvme_queue_fini(struct nvme_queue *q)
{
	dma_free(q->sq);
	dma_free(q->cq);
	dma_free(q->lists);
	free(q->slots);
	free(q->free);
	q->sq = NULL;
	q->cq = NULL;
	q->lists = NULL;
	q->slots = NULL;
	q->free = NULL;
}

void nvme_queue_clear(struct nvme_queue *q)
{
	unsigned count = q->depth - 1;

	memset(q->sq, 0, q->depth * sizeof(*q->sq));
	memset(q->cq, 0, q->depth * sizeof(*q->cq));
	q->sq_tail = q->sq_rung = q->cq_head = 0;
	q->phase = 1;
	for (unsigned i = 0; i < count; i++) {
		struct nvme_slot *slot = &q->slots[i];

		/* a new generation: what the old life may still say is not believed */
		if (slot->state != NVME_SLOT_FREE)
			slot->cid += NVME_DEPTH_MAX;
		slot->cid = (slot->cid & ~(NVME_DEPTH_MAX - 1)) | i;
		slot->io = NULL;
		slot->state = NVME_SLOT_FREE;
		q->free[i] = count - 1 - i;
	}
	q->free_count = count;
	if (q->sq_shadow.value) {
		*q->sq_shadow.value = *q->cq_shadow.value = 0;
		*q->sq_shadow.event = *q->cq_shadow.event = 0;
	}
}

/* ---- slots and doorbells ---- */

struct nvme_slot *nvme_slot_take(struct nvme_queue *q)
{
	if (q->free_count == 0)
		return NULL;
	return &q->slots[q->free[--q->free_count]];
}

void nvme_slot_put(struct nvme_queue *q, struct nvme_slot *slot)
{
	slot->io = NULL;
	slot->state = NVME_SLOT_FREE;
	slot->cid += NVME_DEPTH_MAX;
	q->free[q->free_count++] = slot - q->slots;
}

void nvme_queue_post(struct nvme_queue *q, struct nvme_slot *slot)
{
	q->sq[q->sq_tail].cid = le16_make(slot->cid);
	slot->state = NVME_SLOT_BUSY;
	slot->posted_us = reactor_now_us();
	if (++q->sq_tail == q->depth)
		q->sq_tail = 0;
	q->posted++;
	trace(TRACE_NVME_POST, q->qid, slot->cid);
}

/*
 * With a shadow the register is only written when the controller asked for it: the new value has
 * passed its event index (base 2.0c appendix B.5).
 */
static void doorbell_write(volatile uint32_t *doorbell, const struct nvme_shadow *shadow,
			   uint16_t value, bool always)
{
	if (shadow->value) {
		uint16_t old = *shadow->value, event;

		__atomic_store_n(shadow->value, value, __ATOMIC_RELEASE);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		event = *shadow->event;
		if ((uint16_t)(value - event - 1) >= (uint16_t)(value - old) && !always)
			return;
	}
	__atomic_thread_fence(__ATOMIC_RELEASE);
	*doorbell = value;
}

void nvme_queue_ring(struct nvme_queue *q)
{
	if (q->sq_rung == q->sq_tail)
		return;
	q->sq_rung = q->sq_tail;
	doorbell_write(q->sq_doorbell, &q->sq_shadow, q->sq_tail, q->qid == 0);
}

/* ---- io in ---- */

/* Posts IO, or completes it when its memory cannot be described. A slot is free. */
static void io_post(struct nvme_queue *q, struct io *io)
{
	struct nvme_slot *slot = nvme_slot_take(q);
	int rc = nvme_disk_encode(q, slot, io, &q->sq[q->sq_tail]);

	if (unlikely(rc < 0)) {
		nvme_slot_put(q, slot);
		nvme_queue_give_back(q, io, IO_ERR_INVALID);
		return;
	}
	slot->io = io;
	nvme_queue_post(q, slot);
	if (unlikely(!timer_armed(&q->scan)))
		nvme_lane_scan_later(q);
}

void nvme_queue_submit(struct nvme_queue *q, struct io *io)
{
	if (likely(q->live && q->free_count > 0 && list_empty(&q->waiting)))
		io_post(q, io);
	else if (likely(q->ctrl->state != NVME_CTRL_GONE))
		list_push(&q->waiting, &io->link);
	else
		nvme_queue_give_back(q, io, IO_ERR_GONE);
}

void nvme_queue_pump(struct nvme_queue *q)
{
	while (q->live && q->free_count > 0 && !list_empty(&q->waiting))
		io_post(q, list_pop_entry(&q->waiting, struct io, link));
}

/* ---- io out ---- */

void nvme_queue_give_back(struct nvme_queue *q, struct io *io, enum io_status status)
{
	unsigned home = io->chan->reactor;

	if (likely(home == q->reactor)) {
		io_complete(io, status);
		return;
	}
	nvme_io_of(io)->status = status;
	list_push(&q->back[home], &io->link);
	q->back_reactors |= 1ull << home;
}

/* Tries IO again after the delay that the controller names (CRD), or one that doubles. */
static void io_retry(struct nvme_queue *q, struct io *io, uint16_t status)
{
	struct nvme_io *n = nvme_io_of(io);
	unsigned crd = status >> NVME_STATUS_CRD_SHIFT & 3;
	uint64_t delay_ms = q->ctrl->info.retry_delay_ms[crd];
	uint16_t code = status & NVME_STATUS_CODE_MASK;

	if (crd == 0 && (code == NVME_SC_NS_NOT_READY || code == NVME_SC_MEDIA_NOT_READY))
		delay_ms = RETRY_DELAY_MS << n->tries;
	n->tries++;
	q->retries++;
	if (delay_ms == 0) {
		list_push(&q->waiting, &io->link);
		return;
	}
	n->due_us = reactor_now_us() + delay_ms * 1000;
	list_push(&q->delayed, &io->link);
	if (!timer_armed(&q->retry) || q->retry.deadline_us > n->due_us)
		timer_arm(&q->retry, delay_ms * 1000);
}

static void io_failed(struct nvme_queue *q, struct io *io, uint16_t status, bool aborted)
{
	enum io_status result = nvme_status_map(status);

	if (nvme_status_retryable(status) && !nvme_io_of(io)->unwanted &&
	    nvme_io_of(io)->tries < NVME_RETRY_MAX) {
		io_retry(q, io, status);
		return;
	}
	if (aborted && result == IO_ERR_ABORTED && !nvme_io_of(io)->unwanted)
		result = IO_ERR_TIMEOUT;
	if (result != IO_ERR_MISCOMPARE && result != IO_ERR_ABORTED && nvme_lane_may_warn(q))
		log_warn("%s q%u: %s at block %llu failed: status %x/%02x (%s)",
			 io->chan->bdev->name, q->qid, io_op_name(io->op),
			 (unsigned long long)io->lba, nvme_status_sct(status),
			 nvme_status_sc(status), io_status_name(result));
	nvme_queue_give_back(q, io, result);
}

/* One completion; false when no sane controller would have sent it. */
static bool completion_take(struct nvme_queue *q, const struct nvme_cqe *cqe)
{
	uint16_t cid = le16_get(cqe->cid), index = cid & (NVME_DEPTH_MAX - 1);
	uint16_t status = nvme_cqe_status(cqe);
	struct nvme_slot *slot;
	struct io *io;
	bool aborted;

	if (unlikely(index >= q->depth - 1 || le16_get(cqe->sqid) != q->qid ||
		     le16_get(cqe->sqhd) >= q->depth))
		return false;
	slot = &q->slots[index];
	if (unlikely(slot->state == NVME_SLOT_FREE || slot->cid != cid))
		return false;
	trace(TRACE_NVME_REAP, q->qid, cid);
	if (unlikely(q->qid == 0)) {
		nvme_admin_complete(q->ctrl, slot, le32_get(cqe->dw0), status);
		return true;
	}
	io = slot->io;
	aborted = slot->state == NVME_SLOT_ABORTED;
	nvme_slot_put(q, slot);
	if (likely((status & NVME_STATUS_CODE_MASK) == NVME_SC_SUCCESS))
		nvme_queue_give_back(q, io, IO_OK);
	else
		io_failed(q, io, status, aborted);
	return true;
}

int nvme_queue_reap(struct nvme_queue *q)
{
	int n = 0;

	while (n < NVME_REAP_BUDGET && q->live) {
		const struct nvme_cqe *next = &q->cq[q->cq_head];
		struct nvme_cqe cqe;

		/* the phase is in the last word: the rest is there when it has changed */
		cqe.status.raw = __atomic_load_n(&next->status.raw, __ATOMIC_ACQUIRE);
		if ((le16_get(cqe.status) & 1) != q->phase)
			break;
		cqe.dw0 = next->dw0;
		cqe.sqhd = next->sqhd;
		cqe.sqid = next->sqid;
		cqe.cid = next->cid;
		if (++q->cq_head == q->depth) {
			q->cq_head = 0;
			q->phase ^= 1;
		}
		n++;
		if (unlikely(!completion_take(q, &cqe))) {
			q->live = false;
			nvme_ctrl_want_reset(q->ctrl, "q%u: completion of cid %04x sqid %u sqhd %u "
					     "fits no command", q->qid, le16_get(cqe.cid),
					     le16_get(cqe.sqid), le16_get(cqe.sqhd));
			return n;
		}
	}
	if (n > 0 && q->live)
		doorbell_write(q->cq_doorbell, &q->cq_shadow, q->cq_head, q->qid == 0);
	return n;
}
