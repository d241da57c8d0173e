/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of an RDMA connection, of core/rdma.h's verbs:
 *
 *   resolve -ROUTED-> queue pair, receives, request -ESTABLISHED-> UP
 *   CLOSING: disconnect, every posted work request completes, rnic_close -CLOSED-> DOWN
 *
 * Whatever the adapter, the fabric or the target says ends in remote_conn_fail. In CLOSING the
 * completions are counted down; when they do not come (the device is gone, or broken) it goes on
 * after FLUSH_US: a queue pair that does not exist any more touches no memory.
 *
 * Private data: NVMe/RDMA transport 1.0b, 3.2.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/spec/nvme_rdma.h"
#include "drivers/remote/module.h"
#include "drivers/remote/rdma.h"
#include "drivers/remote/remote.h"

enum {
	/* the fabric repeats a request that was lost after 4.3 s */
	CONNECT_US = 10 * 1000 * 1000,
	FLUSH_US = 2 * 1000 * 1000,
	READS_MAX = 128,
	PARTS_MIN = 2,
};

/* ---- the end ---- */

static void rdma_down(struct remote_rdma *r)
{
	struct remote_queue *q = r->q;

	timer_cancel(&r->flush);
	if (r->queued)
		remote_rdma_lane_remove(r);
	if (r->cq)
		rnic_cq_destroy(r->cq);
	if (r->domain)
		rnic_domain_put(r->domain);
	q->rdma = NULL;
	remote_conn_down(q);
	remote_rdma_free(r);
	free(r);
}

static void close_now(struct remote_rdma *r)
{
	if (r->closing)
		return;
	r->closing = true;
	rnic_close(r->conn);
}

void remote_rdma_flushed(struct remote_rdma *r)
{
	if (r->gone || r->sends_out + r->recvs_out == 0)
		close_now(r);
}

void remote_rdma_broken(struct remote_rdma *r)
{
	if (r->q->state == REMOTE_QUEUE_CLOSING || timer_armed(&r->flush))
		return;
	r->q->live = false;
	timer_arm(&r->flush, FLUSH_US);
}

static void flush_due(struct timer *t)
{
	struct remote_rdma *r = container_of(t, struct remote_rdma, flush);

	if (r->q->state != REMOTE_QUEUE_CLOSING) {
		remote_conn_fail(r->q, "the connection broke");
		return;
	}
	log_warn("%s q%u: %u work requests never completed", r->q->ctrl->opt.name, r->q->qid,
		 r->sends_out + r->recvs_out);
	close_now(r);
}

/* Work that was chained only is not under way. */
static void chains_drop(struct remote_rdma *r)
{
	for (const struct rnic_send *s = r->send_first; s; s = s->next)
		r->sends_out--;
	for (const struct rnic_recv *v = r->recv_first; v; v = v->next)
		r->recvs_out--;
	r->send_first = NULL;
	r->recv_first = NULL;
	r->send_tail = &r->send_first;
	r->recv_tail = &r->recv_first;
}

static void rdma_close(struct remote_queue *q)
{
	struct remote_rdma *r = q->rdma;

	event_signal(&q->changed);
	chains_drop(r);
	if (!r->queued || r->gone) {
		close_now(r);
		return;
	}
	timer_arm(&r->flush, FLUSH_US);
	rnic_disconnect(r->conn);
}

/* ---- events ---- */

static const char *reject_text(unsigned status)
{
	static const char *const texts[] = {
		[NVME_RDMA_BAD_LENGTH] = "length of the private data",
		[NVME_RDMA_BAD_RECFMT] = "format of the private data",
		[NVME_RDMA_BAD_QID] = "queue",
		[NVME_RDMA_BAD_HSQSIZE] = "depth",
		[NVME_RDMA_BAD_HRQSIZE] = "number of receives",
		[NVME_RDMA_NO_RESOURCES] = "it has no resources left",
		[NVME_RDMA_BAD_IRD] = "reads in",
		[NVME_RDMA_BAD_ORD] = "reads out",
		[NVME_RDMA_BAD_CNTLID] = "controller",
	};

	return status < ARRAY_SIZE(texts) && texts[status] ? texts[status] : "no known reason";
}

static void rdma_failed(struct remote_queue *q, const struct rnic_event *event)
{
	struct nvme_rdma_reject reject = { 0 };

	if (event->error != -ECONNREFUSED) {
		remote_conn_fail(q, "no connection: %s", strerror(-event->error));
		return;
	}
	/* without one, the fabric itself says no; it pads with zeroes */
	if (event->private_len >= sizeof(reject))
		memcpy(&reject, event->private, sizeof(reject));
	if (le16_get(reject.sts) == 0) {
		remote_conn_fail(q, "no connection: nobody listens there (reason %u)",
				 event->reason);
		return;
	}
	remote_conn_fail(q, "the target rejects the connection: %s (%u)",
			 reject_text(le16_get(reject.sts)), le16_get(reject.sts));
}

/* The target may have fewer receives than we have commands. */
static void rdma_established(struct remote_queue *q, const struct rnic_event *event)
{
	struct nvme_rdma_accept accept = { 0 };

	if (q->state != REMOTE_QUEUE_IC)
		return;
	if (event->private_len >= sizeof(accept))
		memcpy(&accept, event->private, sizeof(accept));
	if (event->private_len < sizeof(accept) ||
	    le16_get(accept.recfmt) != NVME_RDMA_RECFMT || le16_get(accept.crqsize) == 0) {
		remote_conn_fail(q, "the target's private data makes no sense");
		return;
	}
	remote_queue_limit(q, le16_get(accept.crqsize));
	q->state = REMOTE_QUEUE_UP;
	event_signal(&q->changed);
}

static void rdma_event(struct rnic_conn *conn, const struct rnic_event *event)
{
	struct remote_rdma *r = conn->owner;
	struct remote_queue *q = r->q;

	switch (event->type) {
	case RNIC_ROUTED:
		r->routed = true;
		event_signal(&q->changed);
		break;
	case RNIC_ESTABLISHED:
		rdma_established(q, event);
		break;
	case RNIC_FAILED:
		rdma_failed(q, event);
		break;
	case RNIC_DISCONNECTED:
		remote_conn_fail(q, "the target closed the connection");
		break;
	case RNIC_REMOVED:
		r->gone = true;
		remote_conn_fail(q, "the RDMA device is removed");
		if (q->state == REMOTE_QUEUE_CLOSING)
			close_now(r);
		break;
	case RNIC_CLOSED:
		rdma_down(r);
		break;
	default:
		break;
	}
}

/* ---- the beginning, in tasks ---- */

static int queue_make(struct remote_rdma *r)
{
	struct remote_queue *q = r->q;
	struct rnic_device *device = r->conn->device;
	struct rnic_queue queue = {
		.sends = q->count, .recvs = q->count + 1,
		.send_sges = PARTS_MIN, .recv_sges = 1,
	};
	int rc;

	if (queue.sends > device->send_max || queue.recvs > device->recv_max ||
	    queue.sends + queue.recvs > device->cq_max)
		return -E2BIG;
	r->domain = rnic_domain_get(device, RNIC_REMOTE);
	if (!r->domain)
		return -errno;
	r->cq = rnic_cq_create(device, queue.sends + queue.recvs);
	if (!r->cq)
		return -errno;
	queue.domain = r->domain;
	queue.cq = r->cq;
	rc = rnic_queue_create(r->conn, &queue);
	if (rc < 0)
		return rc;
	r->queued = true;
	remote_rdma_lane_add(r);
	return remote_rdma_prepare(r);
}

static int request_send(struct remote_rdma *r)
{
	struct remote_queue *q = r->q;
	struct nvme_rdma_request request = {
		.recfmt = le16_make(NVME_RDMA_RECFMT),
		.qid = le16_make(q->qid),
		.hrqsize = le16_make(q->count + 1),
		.hsqsize = le16_make(q->count),
		.cntlid = le16_make(q->qid ? q->ctrl->cntlid : 0),
	};
	struct rnic_param param = {
		.reads_in = MIN(r->conn->device->reads_in_max, (uint32_t)READS_MAX),
		.private = &request, .private_len = sizeof(request),
	};

	remote_rdma_flush(r);
	return q->state == REMOTE_QUEUE_IC ? rnic_connect(r->conn, &param) : 0;
}

static void wait_while_ic(struct remote_rdma *r, bool for_route)
{
	struct remote_queue *q = r->q;

	while (q->state == REMOTE_QUEUE_IC && !(for_route && r->routed)) {
		event_clear(&q->changed);
		if (task_wait_timeout(&q->changed, CONNECT_US) < 0)
			remote_conn_fail(q, "no connection: %s", strerror(ETIMEDOUT));
	}
}

static int rdma_start(struct remote_queue *q)
{
	struct remote_rdma *r = calloc(1, sizeof(*r));
	int rc = r ? remote_rdma_alloc(r, q->count) : -ENOMEM;

	if (rc == 0) {
		r->q = q;
		timer_setup(&r->flush, flush_due);
		list_init(&r->link);
		r->conn = rnic_resolve(&q->ctrl->opt.addr, NULL, CONNECT_US,
				       rdma_event, r);
		if (r->conn)
			q->rdma = r;
		else
			rc = -errno;
	}
	if (rc < 0) {
		snprintf(q->why, sizeof(q->why), rc == -ENODEV ?
			 "this machine has no RDMA adapter; see rdma link list" :
			 "no connection: %s", strerror(-rc));
		if (r)
			remote_rdma_free(r);
		free(r);
	}
	return rc;
}

static int rdma_open(struct remote_queue *q)
{
	struct remote_rdma *r;
	int rc;

	remote_conn_reset(q);
	rc = rdma_start(q);
	if (rc < 0)
		return rc;
	r = q->rdma;
	q->released = &r->released;
	q->state = REMOTE_QUEUE_IC;
	wait_while_ic(r, true);
	if (q->state == REMOTE_QUEUE_IC) {
		rc = queue_make(r);
		if (rc == 0)
			rc = request_send(r);
		if (rc < 0)
			remote_conn_fail(q, "no RDMA queue pair of depth %u: %s", q->count,
					 strerror(-rc));
	}
	if (q->state == REMOTE_QUEUE_IC)
		wait_while_ic(r, false);
	if (q->state == REMOTE_QUEUE_UP)
		return 0;
	remote_conn_down_wait(q);
	return -ENOTCONN;
}

const struct remote_transport remote_rdma = {
	.name = "rdma",
	.piece_bytes_max = REMOTE_RDMA_PIECE_BYTES,
	.open = rdma_open,
	.close = rdma_close,
	.room = remote_rdma_room,
	.post = remote_rdma_post,
};

int remote_rdma_init(void)
{
	remote_rdma_offer(&remote_rdma);
	return 0;
}
