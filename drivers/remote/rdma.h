/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA queues: what a connection has beside the queue's own slots. All of it is made when the
 * connection is, and goes with it.
 */
#ifndef REMOTE_RDMA_H
#define REMOTE_RDMA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/list.h"
#include "core/rdma.h"
#include "core/reactor.h"
#include "core/spec/nvme.h"

struct remote_queue;

enum {
	REMOTE_RDMA_INLINE_BYTES = 64,          /* small data that stands behind its command */
	REMOTE_RDMA_PIECE_BYTES = 128 * 1024,   /* the largest buffer of core/buf.h */
};

/* What goes out: DMA memory. */
struct remote_capsule {
	struct nvme_sqe sqe;
	uint8_t data[REMOTE_RDMA_INLINE_BYTES];
};

struct remote_rdma {
	struct remote_queue *q;
	struct rnic_conn *conn;                 /* NULL: not yet, or closed */
	struct rnic_domain *domain;
	struct rnic_cq *cq;
	bool routed, queued;                    /* how far it is; a queue pair is there */
	bool closing;                           /* rnic_close() was called */
	bool gone;                              /* completions may never come */
	unsigned sends_out, recvs_out;          /* posted and not completed */
	uint64_t released;
	struct timer flush;                     /* the end of waiting for completions, or why */
	struct list link;                       /* of the reactor's queues */

	unsigned count;
	struct remote_capsule *capsules;        /* count; DMA */
	struct nvme_cqe *answers;               /* count + 1; DMA */
	struct rnic_send *sends, *send_first, **send_tail;      /* to be posted */
	struct rnic_sge (*send_sges)[2];
	struct rnic_recv *recvs, *recv_first, **recv_tail;
	struct rnic_sge *recv_sges;
	struct iovec *bounces;                  /* of slots whose data is elsewhere */
	uint32_t lkey, rkey;                    /* of the capsules */
};

/* ---- rdma.c: commands and answers ---- */

/* -ENOMEM. */
int remote_rdma_alloc(struct remote_rdma *r, unsigned count);
void remote_rdma_free(struct remote_rdma *r);
/* Keys of our own memory; every receive is ready to be posted. -EFAULT: it is not registered. */
int remote_rdma_prepare(struct remote_rdma *r);
/* Posts what has been chained. */
void remote_rdma_flush(struct remote_rdma *r);
/* Completions within a budget; work done. */
int remote_rdma_reap(struct remote_rdma *r);
bool remote_rdma_room(struct remote_queue *q);
struct remote_slot;
void remote_rdma_post(struct remote_queue *q, struct remote_slot *slot, struct nvme_sqe *sqe);

/* ---- rdma_conn.c: connections ---- */

/* Work came back undone: the connection is over, and an event will say why. */
void remote_rdma_broken(struct remote_rdma *r);
/* Goes on with an end that waits for completions. */
void remote_rdma_flushed(struct remote_rdma *r);

/* ---- rdma_lane.c: a reactor's queues ---- */

void remote_rdma_lane_add(struct remote_rdma *r);
void remote_rdma_lane_remove(struct remote_rdma *r);

#endif
