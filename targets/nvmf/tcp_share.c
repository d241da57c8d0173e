/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much of a reactor's memory a connection's requests may hold, and who is next.
 *
 * A request that waits for its peer holds memory for as long as the peer likes: a write until its
 * data has come, a read until its answer was taken. So that a peer that is slow, or sends and takes
 * nothing at all, delays its own requests and nobody else's, a connection may hold as much as is
 * still free for others: alone it gets half of what there is, and whoever comes later finds some
 * left. Small, medium and large buffers are counted apart. Writes whose data was asked for get half
 * of each at most: in-capsule data, which cannot wait in line, finds the other half.
 *
 * Connections whose requests wait take turns. A share that is not used at all is given to whoever
 * asks, however much it is, so that the largest transfer is always possible.
 */
#include "targets/nvmf/tcp.h"

void nvmf_tcp_shares_init(struct nvmf_tcp_group *group)
{
	for (unsigned i = 0; i < BUF_CLASS_COUNT; i++) {
		struct nvmf_tcp_share *reads = &group->shares[i];
		struct nvmf_tcp_share *writes = &group->shares[BUF_CLASS_COUNT + i];
		struct buf_stats stats;
		uint64_t bytes;

		buf_stats(i, &stats);
		bytes = stats.total / reactor_count() * stats.class_bytes;
		reads->max = (uint32_t)MIN(bytes, (uint64_t)UINT32_MAX);
		writes->max = reads->max / 2;
		reads->used = writes->used = 0;
		list_init(&reads->wait);
		list_init(&writes->wait);
	}
}

void nvmf_tcp_parts_init(struct nvmf_tcp_conn *conn)
{
	for (unsigned i = 0; i < NVMF_TCP_SHARES; i++) {
		list_init(&conn->parts[i].wait);
		list_init(&conn->parts[i].link);
	}
}

/* What most of a request's buffers are: see buf.c. */
static unsigned share_kind(const struct nvmf_req *req)
{
	unsigned cls = req->data_len <= 8192 ? 0 : req->data_len <= 65536 ? 1 : 2;

	return req->dir == NVMF_DIR_H2C ? BUF_CLASS_COUNT + cls : cls;
}

static bool share_may(const struct nvmf_tcp_share *share, const struct nvmf_tcp_part *part,
		      uint32_t len)
{
	return (uint64_t)part->used + share->used + len <= share->max || share->used == 0;
}

static void share_count(struct nvmf_tcp_share *share, struct nvmf_tcp_part *part,
			struct nvmf_tcp_req *tr, unsigned kind)
{
	tr->share = (uint8_t)kind;
	tr->taken = tr->req.data_len;
	part->used += tr->taken;
	share->used += tr->taken;
}

bool nvmf_tcp_share_take(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	unsigned kind = share_kind(&tr->req);
	struct nvmf_tcp_share *share = &conn->group->shares[kind];
	struct nvmf_tcp_part *part = &conn->parts[kind];

	if (likely(list_empty(&part->wait) && share_may(share, part, tr->req.data_len))) {
		share_count(share, part, tr, kind);
		return true;
	}
	tr->phase = NVMF_TCP_WAIT_SHARE;
	list_push(&part->wait, &tr->link);
	if (!list_linked(&part->link))
		list_push(&share->wait, &part->link);
	return false;
}

/* Those who may go on, one request of each connection in turn. */
static void share_run(struct nvmf_tcp_share *share, unsigned kind)
{
	struct list over = LIST_INIT(over);
	struct nvmf_tcp_part *part;

	while ((part = list_pop_entry(&share->wait, struct nvmf_tcp_part, link))) {
		struct nvmf_tcp_req *tr = list_first_entry(&part->wait, struct nvmf_tcp_req, link);

		/* what is free only shrinks here: once over its share, over it until we are done */
		if (!share_may(share, part, tr->req.data_len)) {
			list_push(&over, &part->link);
			continue;
		}
		list_del(&tr->link);
		if (!list_empty(&part->wait))
			list_push(&share->wait, &part->link);
		share_count(share, part, tr, kind);
		nvmf_tcp_req_fill(nvmf_tcp_conn_of(tr->req.queue), tr);
	}
	list_splice(&share->wait, &over);
}

void nvmf_tcp_share_return(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	unsigned kind = tr->share;
	struct nvmf_tcp_share *share = &conn->group->shares[kind];

	tr->share = NVMF_TCP_SHARE_NONE;
	conn->parts[kind].used -= tr->taken;
	share->used -= tr->taken;
	if (unlikely(!list_empty(&share->wait)))
		share_run(share, kind);
}

void nvmf_tcp_share_leave(struct nvmf_tcp_conn *conn)
{
	for (unsigned i = 0; i < NVMF_TCP_SHARES; i++) {
		struct nvmf_tcp_part *part = &conn->parts[i];

		list_del(&part->link);
		while (list_pop_entry(&part->wait, struct nvmf_tcp_req, link))
			;
	}
}
