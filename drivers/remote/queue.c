/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands that are outstanding on a connection. A slot is taken with its command and put back
 * when two things are over: the target has answered, and the stream has let go of the memory, in
 * whichever order. A cid carries its slot's generation, so that an answer that comes twice, or for
 * a command long finished, is recognized. An io without a slot or without room to send waits in
 * line.
 *
 * Free slots are used in the order in which they became free: headers lie beside each other, and
 * those of one round mostly go out as one piece.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/config.h"
#include "core/trace.h"
#include "drivers/remote/remote.h"

/* Of a slot, so that the 64-bit fields in it are aligned. */
enum { HEADER_BYTES_MAX = 80 };
static_assert(HEADER_BYTES_MAX % 8 == 0 &&
	      HEADER_BYTES_MAX >= sizeof(struct nvme_tcp_cmd) + NVME_TCP_DIGEST_BYTES, "header");

enum { LARGE_READ_BYTES = 16 * 1024, SCANS_PER_TIMEOUT = 4, SCAN_MAX_US = 1000 * 1000 };

static_assert(sizeof(struct remote_io) <= sizeof(((struct io *)0)->scratch), "io scratch");

/* ---- memory ---- */

void remote_queue_free(struct remote_queue *q)
{
	free(q->slots);
	free(q->free);
	free(q->headers);
	q->slots = NULL;
	q->free = NULL;
	q->headers = NULL;
	q->count = q->free_count = 0;
}

int remote_queue_alloc(struct remote_queue *q, unsigned count)
{
	remote_queue_free(q);
	q->slots = calloc(count, sizeof(*q->slots));
	q->free = calloc(count, sizeof(*q->free));
	q->headers = calloc(count, HEADER_BYTES_MAX);
	if (!q->slots || !q->free || !q->headers) {
		remote_queue_free(q);
		return -ENOMEM;
	}
	q->header_stride = HEADER_BYTES_MAX;
	q->count = q->free_count = count;
	q->free_head = 0;
	for (unsigned i = 0; i < count; i++) {
		list_init(&q->slots[i].link);
		q->slots[i].cid = i;
		q->free[i] = i;
	}
	return 0;
}

/* ---- slots ---- */

static struct remote_slot *slot_take(struct remote_queue *q)
{
	struct remote_slot *slot;

	slot = &q->slots[q->free[q->free_head]];
	if (++q->free_head == q->count)
		q->free_head = 0;
	q->free_count--;
	return slot;
}

static void slot_put(struct remote_queue *q, struct remote_slot *slot)
{
	unsigned at = q->free_head + q->free_count++;

	/* the only one that was in use: it is the next again, while the caches know it */
	if (q->free_count == q->count) {
		q->free_head = q->free_head ? q->free_head - 1 : q->count - 1;
		at = q->free_head;
	}
	if (unlikely(list_linked(&slot->link)))
		list_del(&slot->link);
	if (slot->dir == REMOTE_IN && slot->len >= LARGE_READ_BYTES)
		q->large_reads--;
	slot->io = NULL;
	slot->req = NULL;
	slot->state = REMOTE_SLOT_FREE;
	slot->cid += REMOTE_DEPTH_MAX;
	q->free[at < q->count ? at : at - q->count] = slot - q->slots;
}

struct remote_slot *remote_slot_find(struct remote_queue *q, uint16_t cid)
{
	unsigned index = cid & (REMOTE_DEPTH_MAX - 1);
	struct remote_slot *slot = &q->slots[index];

	if (unlikely(index >= q->count || slot->state != REMOTE_SLOT_BUSY || slot->cid != cid))
		return NULL;
	return slot;
}

static void scan_later(struct remote_queue *q)
{
	timer_arm(&q->scan, MIN(config.remote_timeout_ms * 1000ull / SCANS_PER_TIMEOUT,
				(uint64_t)SCAN_MAX_US));
}

/* Where the command of SLOT is made; TCP sends it from there, the others copy it. */
static struct nvme_sqe *slot_sqe(const struct remote_queue *q, const struct remote_slot *slot)
{
	unsigned index = slot->cid & (REMOTE_DEPTH_MAX - 1);

	return (struct nvme_sqe *)(q->headers + (size_t)index * q->header_stride +
				   offsetof(struct nvme_tcp_cmd, sqe));
}

/* Fabrics commands have the same on every queue: TCP transport 1.0 3.3.1. */
static uint32_t in_capsule_max(const struct remote_queue *q, const struct nvme_sqe *sqe)
{
	return unlikely(sqe->opc == NVME_ADM_FABRICS) ? q->transport->in_capsule_fabrics
						      : q->in_capsule_max;
}

/* Sends the command whose owner and data SLOT names. */
static void slot_post(struct remote_queue *q, struct remote_slot *slot, struct nvme_sqe *sqe)
{
	slot->done_bytes = slot->asked = 0;
	slot->iov_at = 0;
	slot->iov_off = 0;
	slot->last = slot->digest_bad = false;
	slot->r2t_head = slot->r2t_count = 0;
	slot->in_capsule = slot->dir == REMOTE_OUT && slot->len <= in_capsule_max(q, sqe);
	slot->state = REMOTE_SLOT_BUSY;
	slot->posted_us = reactor_now_us();
	if (slot->dir == REMOTE_IN && slot->len >= LARGE_READ_BYTES)
		q->large_reads++;
	q->commands++;
	trace(TRACE_NVME_POST, q->qid, slot->cid);
	q->transport->post(q, slot, sqe);
	if (unlikely(!timer_armed(&q->scan)))
		scan_later(q);
}

/* ---- io in ---- */

/* A slot and room are there. */
static void io_post(struct remote_queue *q, struct io *io)
{
	struct remote_slot *slot = slot_take(q);
	struct nvme_sqe *sqe = slot_sqe(q, slot);

	slot->io = io;
	if (unlikely(!remote_disk_encode(slot, io, sqe))) {
		slot->dir = REMOTE_NONE;
		slot_put(q, slot);
		remote_io_end(q, io, NVME_SC_INVALID_FIELD | NVME_STATUS_DNR);
		return;
	}
	slot_post(q, slot, sqe);
}

static bool has_room(struct remote_queue *q)
{
	return q->free_count > 0 && q->transport->room(q);
}

void remote_queue_submit(struct remote_queue *q, struct io *io)
{
	if (likely(q->live && list_empty(&q->waiting) && has_room(q)))
		io_post(q, io);
	else if (q->live)
		list_push(&q->waiting, &io->link);
	else
		remote_io_end(q, io, REMOTE_LOST);
}

void remote_queue_pump(struct remote_queue *q)
{
	while (q->live && !list_empty(&q->waiting) && has_room(q))
		io_post(q, list_pop_entry(&q->waiting, struct io, link));
}

bool remote_queue_post(struct remote_queue *q, struct nvme_sqe *sqe, enum remote_dir dir,
		       const struct iovec *iov, uint32_t len, struct remote_req *req)
{
	struct remote_slot *slot;

	if (q->state != REMOTE_QUEUE_UP || !has_room(q))
		return false;
	req->finished = false;
	slot = slot_take(q);
	slot->req = req;
	slot->dir = dir;
	slot->iov = iov;
	slot->len = len;
	*slot_sqe(q, slot) = *sqe;
	slot_post(q, slot, slot_sqe(q, slot));
	return true;
}

/* ---- out ---- */

static void req_end(struct remote_req *req, const struct nvme_cqe *cqe, uint16_t status)
{
	req->dw0 = le32_get(cqe->dw0);
	req->dw1 = le32_get(cqe->dw1);
	req->sqhd = le16_get(cqe->sqhd);
	req->status = status;
	req->finished = true;
	if (req->answered)
		req->answered(req);
	else
		event_signal(&req->done);
}

void remote_slot_finish(struct remote_queue *q, struct remote_slot *slot)
{
	uint16_t status = nvme_cqe_status(&slot->cqe) & ~NVME_STATUS_MORE;
	struct remote_req *req = slot->req;
	struct io *io = slot->io;

	/* the data is damaged, the command is not: 3.5.1.2 */
	if (unlikely(slot->digest_bad && status == 0))
		status = NVME_SC_TRANSIENT_TRANSPORT;
	slot_put(q, slot);
	if (likely(io))
		remote_io_end(q, io, status);
	else
		req_end(req, &slot->cqe, status);
}

void remote_slot_answered(struct remote_queue *q, struct remote_slot *slot)
{
	trace(TRACE_NVME_REAP, q->qid, slot->cid);
	slot->state = REMOTE_SLOT_DONE;
	slot->r2t_count = 0;
	if (likely(slot->tx_end <= *q->released))
		remote_slot_finish(q, slot);
	else if (!list_linked(&slot->link))
		list_push(&q->pending, &slot->link);
}

void remote_slots_release(struct remote_queue *q)
{
	struct remote_slot *slot;
	struct list list;

	list_init(&list);
	list_splice(&list, &q->pending);
	while ((slot = list_pop_entry(&list, struct remote_slot, link))) {
		if (slot->tx_end <= *q->released)
			remote_slot_finish(q, slot);
		else
			list_push(&q->pending, &slot->link);
	}
}

void remote_queue_limit(struct remote_queue *q, unsigned count)
{
	q->free_count = MIN(q->free_count, count);
}

void remote_queue_lost(struct remote_queue *q)
{
	static const struct nvme_cqe nothing;
	struct io *io;

	q->rx_slot = NULL;
	for (unsigned i = 0; i < q->count; i++) {
		struct remote_slot *slot = &q->slots[i];
		struct remote_req *req = slot->req;

		io = slot->io;
		if (slot->state == REMOTE_SLOT_FREE)
			continue;
		slot_put(q, slot);
		if (io)
			remote_io_end(q, io, REMOTE_LOST);
		else
			req_end(req, &nothing, REMOTE_LOST);
	}
	while ((io = list_pop_entry(&q->waiting, struct io, link)))
		remote_io_end(q, io, REMOTE_LOST);
}

/* ---- time ---- */

void remote_queue_scan(struct remote_queue *q)
{
	uint64_t limit_us = config.remote_timeout_ms * 1000ull, now = reactor_now_us();

	if (q->state != REMOTE_QUEUE_UP || q->free_count == q->count)
		return;
	for (unsigned i = 0; i < q->count; i++) {
		const struct remote_slot *slot = &q->slots[i];

		/* tasks mind their commands themselves */
		if (slot->state == REMOTE_SLOT_FREE || !slot->io ||
		    now - slot->posted_us < limit_us)
			continue;
		remote_conn_fail(q, "%s at block %llu has no answer after %u ms",
				 io_op_name(slot->io->op), (unsigned long long)slot->io->lba,
				 config.remote_timeout_ms);
		return;
	}
	scan_later(q);
}
