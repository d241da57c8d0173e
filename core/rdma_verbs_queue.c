/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion queues, shared receive queues and posting, by libibverbs.
 *
 * Work and completions have the layout of libibverbs' own structs, which the assertions below hold
 * to: posting and polling are one call of the provider each. A completion queue is armed before its
 * reactor sleeps; what came between the last poll and the arming is looked for after it, by polling
 * one completion ahead, which the next poll returns first.
 */
#include "core/rdma_verbs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "core/base/log.h"
#include "core/base/panic.h"

#define SAME(ours, field, theirs, its) \
	static_assert(offsetof(struct ours, field) == offsetof(struct theirs, its) && \
		      sizeof(((struct ours *)0)->field) == sizeof(((struct theirs *)0)->its), \
		      "layout of " #its)

static_assert(sizeof(struct rnic_sge) == sizeof(struct ibv_sge), "layout");
SAME(rnic_sge, addr, ibv_sge, addr);
SAME(rnic_sge, len, ibv_sge, length);
SAME(rnic_sge, lkey, ibv_sge, lkey);

static_assert(sizeof(struct rnic_send) == sizeof(struct ibv_send_wr), "layout");
SAME(rnic_send, id, ibv_send_wr, wr_id);
SAME(rnic_send, next, ibv_send_wr, next);
SAME(rnic_send, sge, ibv_send_wr, sg_list);
SAME(rnic_send, sge_count, ibv_send_wr, num_sge);
SAME(rnic_send, op, ibv_send_wr, opcode);
SAME(rnic_send, flags, ibv_send_wr, send_flags);
SAME(rnic_send, invalidate, ibv_send_wr, invalidate_rkey);
SAME(rnic_send, remote_addr, ibv_send_wr, wr.rdma.remote_addr);
SAME(rnic_send, rkey, ibv_send_wr, wr.rdma.rkey);

static_assert(sizeof(struct rnic_recv) == sizeof(struct ibv_recv_wr), "layout");
SAME(rnic_recv, id, ibv_recv_wr, wr_id);
SAME(rnic_recv, next, ibv_recv_wr, next);
SAME(rnic_recv, sge, ibv_recv_wr, sg_list);
SAME(rnic_recv, sge_count, ibv_recv_wr, num_sge);

static_assert(sizeof(struct rnic_done) == sizeof(struct ibv_wc), "layout");
SAME(rnic_done, id, ibv_wc, wr_id);
SAME(rnic_done, status, ibv_wc, status);
SAME(rnic_done, op, ibv_wc, opcode);
SAME(rnic_done, len, ibv_wc, byte_len);
SAME(rnic_done, invalidated, ibv_wc, invalidated_rkey);
SAME(rnic_done, qp, ibv_wc, qp_num);
SAME(rnic_done, flags, ibv_wc, wc_flags);

static_assert((int)RNIC_OP_WRITE == (int)IBV_WR_RDMA_WRITE &&
	      (int)RNIC_OP_SEND == (int)IBV_WR_SEND && (int)RNIC_OP_READ == (int)IBV_WR_RDMA_READ &&
	      (int)RNIC_OP_SEND_INVALIDATE == (int)IBV_WR_SEND_WITH_INV, "operations");
static_assert((int)RNIC_FENCE == (int)IBV_SEND_FENCE &&
	      (int)RNIC_SIGNALED == (int)IBV_SEND_SIGNALED &&
	      (int)RNIC_SOLICITED == (int)IBV_SEND_SOLICITED &&
	      (int)RNIC_INLINE == (int)IBV_SEND_INLINE, "flags");
static_assert((int)RNIC_OK == (int)IBV_WC_SUCCESS &&
	      (int)RNIC_FLUSHED == (int)IBV_WC_WR_FLUSH_ERR &&
	      (int)RNIC_REMOTE_ACCESS == (int)IBV_WC_REM_ACCESS_ERR &&
	      (int)RNIC_DONE_INVALIDATED == (int)IBV_WC_WITH_INV, "status");

enum { CQ_ACK_BATCH = 64 };

struct rnic_cq {
	struct verbs_device *device;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct fd_source source;
	unsigned unacked;
	bool ahead;                     /* a completion was polled by arming */
	struct rnic_done first;
};

struct rnic_srq {
	struct verbs_device *device;
	struct ibv_srq *srq;
};

const char *rnic_status_text(uint32_t status)
{
	return ibv_wc_status_str((enum ibv_wc_status)status);
}

struct ibv_cq *rnic_verbs_cq(struct rnic_cq *cq)
{
	return cq->cq;
}

struct ibv_srq *rnic_verbs_srq(struct rnic_srq *srq)
{
	return srq ? srq->srq : NULL;
}

/* ---- completion queues ---- */

/* The event's work is done by waking the reactor, whose poller polls. */
static void cq_event(struct fd_source *src, uint32_t events)
{
	struct rnic_cq *cq = container_of(src, struct rnic_cq, source);
	struct ibv_cq *which;
	void *context;

	while (ibv_get_cq_event(cq->channel, &which, &context) == 0)
		cq->unacked++;
	if (cq->unacked >= CQ_ACK_BATCH) {
		ibv_ack_cq_events(cq->cq, cq->unacked);
		cq->unacked = 0;
	}
	/* the device is gone: it would wake us for ever */
	if (events & (EPOLLHUP | EPOLLERR))
		fd_source_remove(src);
}

static int cq_open(struct rnic_cq *cq, unsigned entries)
{
	struct ibv_context *context = cq->device->context;

	cq->channel = ibv_create_comp_channel(context);
	if (!cq->channel)
		return -errno;
	if (fcntl(cq->channel->fd, F_SETFL, fcntl(cq->channel->fd, F_GETFL) | O_NONBLOCK) < 0)
		return -errno;
	cq->cq = ibv_create_cq(context, (int)entries, cq, cq->channel, 0);
	if (!cq->cq)
		return -errno;
	cq->source = (struct fd_source){ .fd = cq->channel->fd, .event = cq_event };
	list_init(&cq->source.link);
	return fd_source_add(&cq->source, EPOLLIN);
}

struct rnic_cq *rnic_cq_create(struct rnic_device *device, unsigned entries)
{
	struct rnic_cq *cq = calloc(1, sizeof(*cq));
	int rc;

	if (!cq)
		return NULL;
	cq->device = verbs_device_of(device);
	list_init(&cq->source.link);
	pthread_mutex_lock(&rnic_verbs_lock);
	rnic_verbs_ref(cq->device);
	pthread_mutex_unlock(&rnic_verbs_lock);
	rc = cq_open(cq, entries);
	if (rc) {
		rnic_cq_destroy(cq);
		errno = -rc;
		return NULL;
	}
	return cq;
}

void rnic_cq_destroy(struct rnic_cq *cq)
{
	if (list_linked(&cq->source.link))
		fd_source_remove(&cq->source);
	if (cq->cq) {
		ibv_ack_cq_events(cq->cq, cq->unacked);
		ibv_destroy_cq(cq->cq);
	}
	if (cq->channel)
		ibv_destroy_comp_channel(cq->channel);
	rnic_verbs_put(cq->device);
	free(cq);
}

int rnic_cq_poll(struct rnic_cq *cq, struct rnic_done *done, int max)
{
	int ahead = 0, count;

	if (unlikely(cq->ahead)) {
		done[0] = cq->first;
		cq->ahead = false;
		ahead = 1;
	}
	if (ahead == max)
		return ahead;
	count = ibv_poll_cq(cq->cq, max - ahead, (struct ibv_wc *)(done + ahead));
	if (likely(count >= 0))
		return count + ahead;
	return ahead ? ahead : -EIO;
}

enum poller_arm rnic_cq_arm(struct rnic_cq *cq)
{
	if (cq->ahead)
		return POLLER_BUSY;
	/* a device that is gone has nothing to tell any more */
	if (ibv_req_notify_cq(cq->cq, 0) != 0)
		return atomic_load(&cq->device->device.removed) ? POLLER_ARMED : POLLER_DEAF;
	if (ibv_poll_cq(cq->cq, 1, (struct ibv_wc *)&cq->first) <= 0)
		return POLLER_ARMED;
	cq->ahead = true;
	return POLLER_BUSY;
}

/* ---- shared receive queues ---- */

struct rnic_srq *rnic_srq_create(struct rnic_domain *domain, unsigned entries, unsigned sges)
{
	struct ibv_srq_init_attr attr = { .attr = { .max_wr = entries, .max_sge = sges } };
	struct rnic_srq *srq = calloc(1, sizeof(*srq));

	if (!srq)
		return NULL;
	srq->device = verbs_device_of(domain->device);
	srq->srq = ibv_create_srq(rnic_verbs_pd(domain), &attr);
	if (!srq->srq) {
		free(srq);
		return NULL;
	}
	return srq;
}

void rnic_srq_destroy(struct rnic_srq *srq)
{
	ibv_destroy_srq(srq->srq);
	free(srq);
}

int rnic_srq_post(struct rnic_srq *srq, struct rnic_recv *first)
{
	struct ibv_recv_wr *bad;
	int rc = ibv_post_srq_recv(srq->srq, (struct ibv_recv_wr *)first, &bad);

	return rc > 0 ? -rc : rc;
}
