/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands and answers over RDMA: NVMe/RDMA transport 1.0b. A command is a send of its capsule; the
 * target moves the data by itself, with the key of our memory that the command names; the answer is
 * a receive. So nothing here copies data, but for memory that is not registered: that goes through
 * a buffer of core/buf.h.
 *
 * All sends are signalled and complete in order; q->tx_queued counts them, r->released those that
 * are done. A slot is free again when its answer has come and its send is done (queue.c): until
 * then the adapter may send the capsule once more. Memory stays registered, so that keys are not
 * given up command by command and a target has no business invalidating them.
 *
 * Receives: one for each command that can be outstanding, and one more; each is posted again before
 * the command that may need it is sent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/buf.h"
#include "core/dma.h"
#include "drivers/remote/rdma.h"
#include "drivers/remote/remote.h"

enum { REAP_MAX = 32, REAP_ROUNDS = 4 };

/* Of a receive; sends have their number in the order of sending. */
#define RECV_ID (1ull << 63)

/* ---- memory ---- */

int remote_rdma_alloc(struct remote_rdma *r, unsigned count)
{
	unsigned recvs = count + 1;

	r->count = count;
	r->capsules = dma_alloc(count * sizeof(*r->capsules), DMA_PAGE_BYTES);
	r->answers = dma_alloc(recvs * sizeof(*r->answers), DMA_PAGE_BYTES);
	r->sends = calloc(count, sizeof(*r->sends));
	r->send_sges = calloc(count, sizeof(*r->send_sges));
	r->recvs = calloc(recvs, sizeof(*r->recvs));
	r->recv_sges = calloc(recvs, sizeof(*r->recv_sges));
	r->bounces = calloc(count, sizeof(*r->bounces));
	r->send_tail = &r->send_first;
	r->recv_tail = &r->recv_first;
	return r->capsules && r->answers && r->sends && r->send_sges && r->recvs &&
	       r->recv_sges && r->bounces ? 0 : -ENOMEM;
}

static void bounce_put(struct iovec *bounce)
{
	buf_put(bounce, 1);
	bounce->iov_base = NULL;
}

void remote_rdma_free(struct remote_rdma *r)
{
	for (unsigned i = 0; r->bounces && i < r->count; i++) {
		if (r->bounces[i].iov_base)
			bounce_put(&r->bounces[i]);
	}
	dma_free(r->capsules);
	dma_free(r->answers);
	free(r->sends);
	free(r->send_sges);
	free(r->recvs);
	free(r->recv_sges);
	free(r->bounces);
}

/* ---- receives ---- */

static void recv_chain(struct remote_rdma *r, struct rnic_recv *recv)
{
	recv->next = NULL;
	*r->recv_tail = recv;
	r->recv_tail = &recv->next;
	r->recvs_out++;
}

int remote_rdma_prepare(struct remote_rdma *r)
{
	const struct rnic_region *capsules, *answers;
	unsigned recvs = r->count + 1;

	capsules = rnic_region_of(r->domain, r->capsules, r->count * sizeof(*r->capsules));
	answers = rnic_region_of(r->domain, r->answers, recvs * sizeof(*r->answers));
	if (!capsules || !answers)
		return -EFAULT;
	r->lkey = capsules->lkey;
	r->rkey = capsules->rkey;
	for (unsigned i = 0; i < recvs; i++) {
		r->recv_sges[i] = (struct rnic_sge){
			.addr = (uintptr_t)&r->answers[i], .len = sizeof(*r->answers),
			.lkey = answers->lkey,
		};
		r->recvs[i] = (struct rnic_recv){
			.id = RECV_ID | i, .sge = &r->recv_sges[i], .sge_count = 1,
		};
		recv_chain(r, &r->recvs[i]);
	}
	return 0;
}

/* ---- posting ---- */

bool remote_rdma_room(struct remote_queue *q)
{
	return true;
}

static void sgl_keyed(struct nvme_sqe *sqe, uint64_t addr, uint32_t len, uint32_t key)
{
	le32 length = le32_make(len), wire_key = le32_make(key);

	sqe->sgl.addr = le64_make(addr);
	memcpy(sqe->sgl.keyed_length, &length, sizeof(sqe->sgl.keyed_length));
	memcpy(sqe->sgl.keyed_key, &wire_key, sizeof(sqe->sgl.keyed_key));
	sqe->sgl.keyed_id = NVME_SGL_KEYED << 4 | NVME_SGL_ADDRESS;
}

/* Data that no adapter reaches: a buffer for it. False: there is none. */
static bool bounce_get(struct remote_rdma *r, struct remote_slot *slot, struct iovec *bounce)
{
	static const uint32_t classes[] = { 4096, 16384, REMOTE_RDMA_PIECE_BYTES };
	struct iovec iov[BUF_IOV_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(classes); i++) {
		if (slot->len > classes[i] || buf_get(classes[i], iov, NULL) != 1)
			continue;
		*bounce = iov[0];
		if (slot->dir == REMOTE_OUT)
			memcpy(iov[0].iov_base, slot->iov[0].iov_base, slot->len);
		return true;
	}
	return false;
}

/* The data of the capsule as sges behind the command; how many. */
static int capsule_data(struct remote_rdma *r, struct remote_slot *slot, struct nvme_sqe *sqe,
			struct remote_capsule *capsule, struct rnic_sge *sge,
			const struct rnic_region *region)
{
	sqe->sgl = (struct nvme_sgl){ .length = le32_make(slot->len) };
	sqe->sgl.id = NVME_SGL_DATA << 4 | NVME_SGL_OFFSET;
	if (slot->len <= REMOTE_RDMA_INLINE_BYTES) {
		memcpy(capsule->data, slot->iov[0].iov_base, slot->len);
		sge[0].len += slot->len;
		return 1;
	}
	sge[1] = (struct rnic_sge){
		.addr = (uintptr_t)slot->iov[0].iov_base, .len = slot->len, .lkey = region->lkey,
	};
	return 2;
}

/* Names the data in the command. The number of sges, or 0: there is no memory for it now. */
static int post_data(struct remote_rdma *r, struct remote_slot *slot, struct nvme_sqe *sqe,
		     struct remote_capsule *capsule, struct rnic_sge *sge)
{
	unsigned index = (unsigned)(slot - r->q->slots);
	const struct rnic_region *region = NULL;
	void *data = slot->len ? slot->iov[0].iov_base : NULL;
	bool small = slot->dir == REMOTE_OUT && slot->len <= REMOTE_RDMA_INLINE_BYTES;

	if (slot->len == 0) {
		sgl_keyed(sqe, 0, 0, 0);
		return 1;
	}
	if (!small)
		region = rnic_region_of(r->domain, data, slot->len);
	if (slot->in_capsule && (small || region))
		return capsule_data(r, slot, sqe, capsule, sge, region);
	if (small) {
		memcpy(capsule->data, data, slot->len);
		sgl_keyed(sqe, (uintptr_t)capsule->data, slot->len, r->rkey);
		return 1;
	}
	if (unlikely(!region)) {
		if (!bounce_get(r, slot, &r->bounces[index]))
			return 0;
		data = r->bounces[index].iov_base;
		region = rnic_region_of(r->domain, data, slot->len);
		if (!region)
			return 0;
	}
	sgl_keyed(sqe, (uintptr_t)data, slot->len, region->rkey);
	return 1;
}

void remote_rdma_post(struct remote_queue *q, struct remote_slot *slot, struct nvme_sqe *sqe)
{
	struct remote_rdma *r = q->rdma;
	unsigned index = (unsigned)(slot - q->slots);
	struct remote_capsule *capsule = &r->capsules[index];
	struct rnic_send *send = &r->sends[index];
	struct rnic_sge *sge = r->send_sges[index];
	int sges;

	sqe->flags |= NVME_PSDT_SGL;
	sqe->cid = le16_make(slot->cid);
	sge[0] = (struct rnic_sge){
		.addr = (uintptr_t)capsule, .len = sizeof(*sqe), .lkey = r->lkey,
	};
	sges = post_data(r, slot, sqe, capsule, sge);
	if (unlikely(sges == 0)) {
		/* as if the target had no room: path.c tries again a little later */
		memset(&slot->cqe, 0, sizeof(slot->cqe));
		slot->cqe.status = le16_make(NVME_SC_NS_NOT_READY << NVME_STATUS_SHIFT);
		slot->state = REMOTE_SLOT_DONE;
		slot->tx_end = 0;
		list_push(&q->pending, &slot->link);
		return;
	}
	capsule->sqe = *sqe;
	slot->tx_end = ++q->tx_queued;
	*send = (struct rnic_send){
		.id = slot->tx_end, .sge = sge, .sge_count = sges, .op = RNIC_OP_SEND,
		.flags = RNIC_SIGNALED,
	};
	*r->send_tail = send;
	r->send_tail = &send->next;
	r->sends_out++;
}

void remote_rdma_flush(struct remote_rdma *r)
{
	struct rnic_recv *recv = r->recv_first;
	struct rnic_send *send = r->send_first;
	int rc = 0;

	r->recv_first = NULL;
	r->recv_tail = &r->recv_first;
	r->send_first = NULL;
	r->send_tail = &r->send_first;
	if (recv)
		rc = rnic_post_recv(r->conn, recv);
	if (rc == 0 && send)
		rc = rnic_post_send(r->conn, send);
	if (rc < 0) {
		/* nobody knows how much of it was posted */
		r->gone = true;
		remote_conn_fail(r->q, "the RDMA adapter takes no work: %s", strerror(-rc));
	}
}

/* ---- completions ---- */

static void answer_bounced(struct remote_slot *slot, struct iovec *bounce)
{
	if (slot->dir == REMOTE_IN && nvme_cqe_status(&slot->cqe) == 0)
		memcpy(slot->iov[0].iov_base, bounce->iov_base, slot->len);
	bounce_put(bounce);
}

static void answer(struct remote_rdma *r, const struct rnic_done *done)
{
	unsigned index = (unsigned)(done->id & ~RECV_ID);
	const struct nvme_cqe *cqe = &r->answers[index];
	struct remote_queue *q = r->q;
	struct remote_slot *slot;

	if (unlikely(done->len != sizeof(*cqe))) {
		remote_conn_fail(q, "an answer of %u bytes", done->len);
		return;
	}
	if (unlikely(done->flags & RNIC_DONE_INVALIDATED)) {
		remote_conn_fail(q, "the target invalidated a key unasked");
		return;
	}
	slot = remote_slot_find(q, le16_get(cqe->cid));
	if (unlikely(!slot)) {
		remote_conn_fail(q, "answer to no command, cid %04x", le16_get(cqe->cid));
		return;
	}
	slot->cqe = *cqe;
	if (slot->dir == REMOTE_IN && nvme_cqe_status(cqe) == 0)
		q->bytes_in += slot->len;
	if (unlikely(r->bounces[slot - q->slots].iov_base))
		answer_bounced(slot, &r->bounces[slot - q->slots]);
	recv_chain(r, &r->recvs[index]);
	remote_slot_answered(q, slot);
}

static void completion(struct remote_rdma *r, const struct rnic_done *done)
{
	bool recv = done->id & RECV_ID;

	if (recv)
		r->recvs_out--;
	else
		r->sends_out--;
	if (done->status == RNIC_FLUSHED) {
		remote_rdma_broken(r);
		return;
	}
	if (unlikely(done->status != RNIC_OK)) {
		remote_conn_fail(r->q, "RDMA %s failed: %s", recv ? "receive" : "send",
				 rnic_status_text(done->status));
		return;
	}
	if (!recv)
		r->released = done->id;
	else if (r->q->state == REMOTE_QUEUE_UP)
		answer(r, done);
}

int remote_rdma_reap(struct remote_rdma *r)
{
	struct remote_queue *q = r->q;
	struct rnic_done done[REAP_MAX];
	int work = 0, count = REAP_MAX;

	for (int round = 0; count == REAP_MAX && round < REAP_ROUNDS && !r->gone; round++) {
		count = rnic_cq_poll(r->cq, done, REAP_MAX);
		if (unlikely(count < 0)) {
			r->gone = true;
			remote_conn_fail(q, "the RDMA adapter has failed: %s", strerror(-count));
			break;
		}
		for (int i = 0; i < count; i++)
			completion(r, &done[i]);
		work += count;
	}
	if (unlikely(q->state == REMOTE_QUEUE_CLOSING)) {
		remote_rdma_flushed(r);
		return work;
	}
	if (!list_empty(&q->pending))
		remote_slots_release(q);
	if (unlikely(!list_empty(&q->waiting)))
		remote_queue_pump(q);
	if (r->recv_first || r->send_first) {
		remote_rdma_flush(r);
		work++;
	}
	return work;
}
