/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of a connection: slots and their memory.
 *
 * Memory comes before data: a request waits until its connection's share allows it
 * (tcp_share.c), asks for all of its buffers, waits in line when there are none, and only then
 * sends R2T or runs. Requests that wait do not stop the connection from being read; only data in a
 * capsule does.
 */
#include "targets/nvmf/tcp.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/panic.h"

static void req_buf_ready(struct buf_wait *wait);

static void req_init(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr, unsigned ttag)
{
	tr->req.queue = &conn->queue;
	tr->ttag = (uint16_t)ttag;
	tr->share = NVMF_TCP_SHARE_NONE;
	tr->wait.ready = req_buf_ready;
	list_init(&tr->wait.link);
	list_init(&tr->link);
}

int nvmf_tcp_req_alloc(struct nvmf_tcp_conn *conn, unsigned count)
{
	struct nvmf_tcp_req *reqs;

	if (count == 1) {               /* before Connect */
		req_init(conn, &conn->first, 0);
		conn->reqs = conn->free = &conn->first;
		conn->req_count = 1;
		return 0;
	}
	ASSERT(count <= 1u << NVMF_TCP_TTAG_BITS);
	/* once: the request that is being served is Connect in conn->first */
	ASSERT(conn->reqs == &conn->first);
	reqs = calloc(count, sizeof(*reqs));
	conn->reqs = reqs ? reqs : &conn->first;
	conn->req_count = reqs ? count : 1;
	conn->free = NULL;
	if (!reqs)
		return -ENOMEM;
	for (unsigned i = count; i-- > 0;) {
		req_init(conn, &reqs[i], i);
		reqs[i].next = conn->free;
		conn->free = &reqs[i];
	}
	return 0;
}

struct nvmf_tcp_req *nvmf_tcp_req_get(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_req *tr = conn->free;

	if (tr)
		conn->free = tr->next;
	return tr;
}

void nvmf_tcp_req_drop(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	if (tr->req.iov_count == 0)
		return;
	if (nvmf_tcp_rx_holds(conn->group, tr->req.iov[0].iov_base))
		nvmf_tcp_rx_release(conn->group, tr->req.iov[0].iov_base);
	else
		buf_put(tr->req.iov, tr->req.iov_count);
	tr->req.iov_count = 0;
}

void nvmf_tcp_req_put(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	nvmf_tcp_req_drop(conn, tr);
	if (tr->share != NVMF_TCP_SHARE_NONE)
		nvmf_tcp_share_return(conn, tr);
	tr->req.state = NVMF_REQ_FREE;
	tr->phase = NVMF_TCP_IDLE;
	/* once connected the Connect slot is not used again */
	if (unlikely(tr == &conn->first && conn->reqs != &conn->first))
		return;
	tr->next = conn->free;
	conn->free = tr;
	if (unlikely(conn->rx == NVMF_TCP_RX_SLOT))
		nvmf_tcp_ready(conn);
}

/* TR has its memory. */
static void req_has_memory(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr, unsigned count)
{
	tr->req.iov_count = (uint16_t)count;
	if (tr->req.dir == NVMF_DIR_C2H) {
		tr->phase = NVMF_TCP_IDLE;
		nvmf_req_exec(&tr->req);
		return;
	}
	/* who answers one at a time is asked for all at once */
	tr->r2t_bytes = tr->req.data_len;
	tr->r2ts = 1;
	if (conn->framing.maxr2t && tr->req.data_len > NVMF_TCP_R2T_BYTES) {
		tr->r2t_bytes = NVMF_TCP_R2T_BYTES;
		tr->r2ts = (uint8_t)div_round_up(tr->req.data_len, NVMF_TCP_R2T_BYTES);
	}
	tr->r2ts_sent = tr->r2ts_done = 0;
	nvmf_tcp_send_r2t(conn, tr);
}

void nvmf_tcp_req_fill(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	unsigned count = buf_get(tr->req.data_len, tr->req.iov, &tr->wait);

	if (likely(count))
		req_has_memory(conn, tr, count);
	else
		tr->phase = NVMF_TCP_WAIT_BUF;
}

static void req_buf_ready(struct buf_wait *wait)
{
	struct nvmf_tcp_req *tr = container_of(wait, struct nvmf_tcp_req, wait);

	nvmf_tcp_req_fill(nvmf_tcp_conn_of(tr->req.queue), tr);
}

void nvmf_tcp_req_go(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	if (likely(nvmf_tcp_share_take(conn, tr)))
		nvmf_tcp_req_fill(conn, tr);
}

void nvmf_tcp_req_ready(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	tr->phase = NVMF_TCP_IDLE;
	if (tr->share != NVMF_TCP_SHARE_NONE)
		nvmf_tcp_share_return(conn, tr);
	/* transport 1.0 3.5.1.2: the command fails, the connection goes on */
	if (unlikely(tr->digest_bad))
		nvmf_req_done(&tr->req, NVME_SC_TRANSIENT_TRANSPORT);
	else
		nvmf_req_exec(&tr->req);
}

void nvmf_tcp_req_abandon(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	if (tr->req.state == NVMF_REQ_FREE || tr->req.state == NVMF_REQ_EXEC)
		return;
	/* answered and in tx: its memory may be in use by the stream until that is closed */
	if (tr->req.state == NVMF_REQ_DONE && tr->phase == NVMF_TCP_IDLE)
		return;
	if (tr->phase == NVMF_TCP_WAIT_DATA)
		conn->r2t_open -= tr->r2ts_sent - tr->r2ts_done;
	buf_wait_cancel(&tr->wait);
	list_del(&tr->link);
	nvmf_tcp_req_put(conn, tr);
}
