/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two files of fake_rdma.h share. */
#ifndef TESTS_FAKE_RDMA_PRIV_H
#define TESTS_FAKE_RDMA_PRIV_H

#include "core/base/util.h"
#include "tests/unit/fake_rdma.h"

enum { LKEY = 0x1111, RKEY = 0x2222, PARTS_MAX = 32, FAKE_CQ_MAX = 65536 };
enum { LENGTH_ERROR = 1, REMOTE_INVALID = 9 };

struct work {
	struct list link;
	bool recv;
	uint64_t id;
	uint32_t op, flags, invalidate, rkey;
	uint64_t remote_addr;
	int parts;
	struct rnic_sge sge[PARTS_MAX];
};

struct done_note {
	struct list link;
	struct rnic_done done;
};

struct rnic_cq {
	struct list notes;
	unsigned room;
};

struct rnic_srq {
	struct list recvs;
	unsigned entries, posted;
};

struct fake_conn {
	struct rnic_conn conn;
	struct list link;
	struct fake_conn *peer;
	struct rnic_listener *listener; /* it was a request of */
	struct list sends, recvs;
	struct rnic_cq *cq;
	struct rnic_srq *srq;
	struct rnic_domain *domain;
	bool has_queue, up, broken, told, closing, invalidate;
};

static inline struct fake_conn *fake_conn_of(struct rnic_conn *conn)
{
	return container_of(conn, struct fake_conn, conn);
}

/* fake_rdma.c */
void fake_conn_tell(struct fake_conn *c, struct rnic_event event);

/* fake_rdma_queue.c */

/* What is posted comes back undone. */
void fake_conn_flush(struct fake_conn *c);
/* Both ends break, and are told. */
void fake_conn_break(struct fake_conn *c);
/* One work request of C; whether there was one that could be done. */
bool fake_conn_step(struct fake_conn *c);
void fake_work_free(struct list *list);

#endif
