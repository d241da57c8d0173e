/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of a connection, from the capsule to the answer's completion.
 *
 *   FREE -capsule-> IDLE ----------------------------------> (WAIT_SEND ->) SENDING -> FREE
 *                     \-> WAIT_TURN -> WAIT_BUF -> (WAIT_READ ->) READING -> IDLE (exec) _/
 *                      \-> WAIT_BUF -> IDLE (exec) ___________________________________/
 *
 * Data to the controller is read when it is the request's turn: as many reads are in flight as the
 * host's adapter answers at once, and only those requests hold memory, so a host that is gone holds
 * no more than that until its connection breaks. Room in the send queue is taken last. Everything
 * that is waited for comes by itself or is given up by nvmf_rdma_req_abandon.
 *
 * The receive goes back before the request runs, unless its in-capsule data is needed, and always
 * before the answer is posted: see rdma_lane.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/config.h"
#include "core/dma.h"
#include "core/trace.h"
#include "targets/nvmf/rdma.h"

static void req_buf_ready(struct buf_wait *wait);

/* ---- slots ---- */

int nvmf_rdma_req_alloc(struct nvmf_rdma_conn *conn)
{
	unsigned count = conn->ask.depth + NVMF_RDMA_SLOTS_EXTRA;

	conn->reqs = calloc(count, sizeof(*conn->reqs));
	conn->cqes = dma_alloc(count * sizeof(*conn->cqes), CACHE_LINE);
	if (!conn->reqs || !conn->cqes ||
	    !rnic_region_of(conn->lane->domain, conn->cqes, count * sizeof(*conn->cqes))) {
		nvmf_rdma_req_free(conn);
		return -ENOMEM;
	}
	conn->req_count = count;
	for (unsigned i = count; i-- > 0;) {
		struct nvmf_rdma_req *tr = &conn->reqs[i];

		tr->req.queue = &conn->queue;
		tr->cqe = &conn->cqes[i];
		tr->wait.ready = req_buf_ready;
		list_init(&tr->wait.link);
		list_init(&tr->link);
		tr->next = conn->free;
		conn->free = tr;
	}
	return 0;
}

void nvmf_rdma_req_free(struct nvmf_rdma_conn *conn)
{
	free(conn->reqs);
	dma_free(conn->cqes);
	conn->reqs = conn->free = NULL;
	conn->cqes = NULL;
	conn->req_count = 0;
}

static void recv_return(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	if (!tr->recv)
		return;
	nvmf_rdma_recv_put(conn->group, tr->recv);
	tr->recv = NULL;
}

static void turn_run(struct nvmf_rdma_conn *conn);

static void turn_return(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	if (!tr->turns)
		return;
	conn->turns -= tr->turns;
	tr->turns = 0;
	turn_run(conn);
}

void nvmf_rdma_req_put(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	if (tr->req.iov_count && !tr->sgl.in_capsule)
		buf_put(tr->req.iov, tr->req.iov_count);
	tr->req.iov_count = 0;
	recv_return(conn, tr);
	tr->req.state = NVMF_REQ_FREE;
	tr->phase = NVMF_RDMA_FREE;
	tr->next = conn->free;
	conn->free = tr;
	conn->active--;
	turn_return(conn, tr);
}

/* ---- running ---- */

/* On reactor 0, where Connect runs; nothing else of the connection is looked at meanwhile. */
static void connect_exec(struct msg *msg)
{
	nvmf_req_exec(container_of(msg, struct nvmf_rdma_conn, lend_msg)->lent_req);
}

/* All data is here. */
static void req_exec(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	tr->phase = NVMF_RDMA_IDLE;
	if (likely(conn->queue.subsys)) {
		nvmf_req_exec(&tr->req);
		return;
	}
	/* Connect */
	conn->lent = true;
	conn->lent_req = &tr->req;
	reactor_send(reactor_at(0), &conn->lend_msg, connect_exec);
}

static void req_reads(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	if (unlikely(nvmf_rdma_send_count(conn, tr) == 0)) {
		tr->phase = NVMF_RDMA_IDLE;
		nvmf_req_done(&tr->req, NVME_SC_INTERNAL);
		return;
	}
	if (list_empty(&conn->read_wait) && nvmf_rdma_send_reads(conn, tr)) {
		tr->phase = NVMF_RDMA_READING;
		return;
	}
	if (unlikely(conn->state >= NVMF_RDMA_FLUSHING)) {
		nvmf_rdma_req_put(conn, tr);
		return;
	}
	tr->phase = NVMF_RDMA_WAIT_READ;
	list_push(&conn->read_wait, &tr->link);
}

static void req_buf_get(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	unsigned count = buf_get(tr->req.data_len, tr->req.iov, &tr->wait);

	if (unlikely(count == 0)) {
		tr->phase = NVMF_RDMA_WAIT_BUF;
		return;
	}
	tr->req.iov_count = (uint16_t)count;
	if (tr->req.dir == NVMF_DIR_H2C)
		req_reads(conn, tr);
	else
		req_exec(conn, tr);
}

static void req_buf_ready(struct buf_wait *wait)
{
	struct nvmf_rdma_req *tr = container_of(wait, struct nvmf_rdma_req, wait);

	req_buf_get(nvmf_rdma_conn_of(tr->req.queue), tr);
}

static bool turn_take(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	unsigned turns = MAX(tr->sgl.block_count, 1u);

	/* more than the host answers at once: alone, then */
	if (conn->turns && conn->turns + turns > conn->turns_max)
		return false;
	tr->turns = (uint8_t)turns;
	conn->turns += turns;
	return true;
}

static void turn_run(struct nvmf_rdma_conn *conn)
{
	struct nvmf_rdma_req *tr;

	while ((tr = list_first_entry(&conn->turn_wait, struct nvmf_rdma_req, link)) &&
	       turn_take(conn, tr)) {
		list_del(&tr->link);
		req_buf_get(conn, tr);
	}
}

static void req_in_capsule(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	tr->req.iov[0] = (struct iovec){ tr->recv->data + tr->sgl.offset, tr->req.data_len };
	tr->req.iov_count = 1;
	req_exec(conn, tr);
}

static void req_begin(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	struct nvmf_rdma_recv *recv = tr->recv;
	bool in_capsule;

	memcpy(&tr->req.sqe, recv->cmd, sizeof(tr->req.sqe));
	nvmf_rdma_sgl_decode(&tr->req.sqe, recv->data,
			     recv->len - (uint32_t)sizeof(tr->req.sqe), &tr->sgl);
	tr->req.sgl_len = tr->sgl.len;
	tr->req.sgl_status = tr->sgl.status;
	in_capsule = tr->sgl.in_capsule;
	trace(TRACE_NVMF_RECV, (uintptr_t)conn, tr->req.sqe.opc);
	if (!in_capsule)
		recv_return(conn, tr);
	if (unlikely(!nvmf_req_start(&tr->req)))
		nvmf_req_done(&tr->req, tr->req.status);
	else if (tr->req.dir == NVMF_DIR_NONE)
		req_exec(conn, tr);
	else if (in_capsule)
		req_in_capsule(conn, tr);
	else if (tr->req.dir == NVMF_DIR_C2H)
		req_buf_get(conn, tr);
	else if (!list_empty(&conn->turn_wait) || !turn_take(conn, tr)) {
		tr->phase = NVMF_RDMA_WAIT_TURN;
		list_push(&conn->turn_wait, &tr->link);
	} else {
		req_buf_get(conn, tr);
	}
}

/* ---- receiving ---- */

static bool recv_may(const struct nvmf_rdma_conn *conn)
{
	return conn->free && !conn->lent;
}

void nvmf_rdma_resume(struct nvmf_rdma_conn *conn)
{
	while (!list_empty(&conn->held) && conn->state < NVMF_RDMA_LINGER && recv_may(conn)) {
		struct nvmf_rdma_req *tr = conn->free;

		conn->free = tr->next;
		conn->active++;
		tr->phase = NVMF_RDMA_IDLE;
		tr->recv = list_pop_entry(&conn->held, struct nvmf_rdma_recv, link);
		req_begin(conn, tr);
	}
}

void nvmf_rdma_recv(struct nvmf_rdma_conn *conn, struct nvmf_rdma_recv *recv)
{
	if (unlikely(conn->state > NVMF_RDMA_LIVE)) {
		nvmf_rdma_recv_put(conn->group, recv);
		return;
	}
	/* the host's first word also says that it has our acceptance */
	conn->state = NVMF_RDMA_LIVE;
	list_push(&conn->held, &recv->link);
	conn->owed++;
	if (unlikely(recv->len < sizeof(struct nvme_sqe)))
		nvmf_rdma_close(conn, "a capsule of %u bytes", recv->len);
	else if (unlikely(conn->owed > conn->ask.depth))
		nvmf_rdma_close(conn, "more commands than fit in its queue");
	else
		nvmf_rdma_resume(conn);
}

void nvmf_rdma_req_read(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	turn_return(conn, tr);
	req_exec(conn, tr);
}

/* ---- answering ---- */

void nvmf_rdma_answer(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	if (unlikely(conn->state >= NVMF_RDMA_FLUSHING)) {
		nvmf_rdma_req_put(conn, tr);
		nvmf_rdma_check(conn);
		return;
	}
	conn->owed--;
	if (tr->sgl.in_capsule)
		tr->req.iov_count = 0;
	recv_return(conn, tr);
	/* only when memory has been added that the device does not know */
	if (unlikely(tr->req.dir == NVMF_DIR_C2H && tr->req.iov_count && tr->req.status == 0 &&
		     nvmf_rdma_send_count(conn, tr) == 0))
		tr->req.status = NVME_SC_INTERNAL;
	if (likely(list_empty(&conn->send_wait)) && nvmf_rdma_send_answer(conn, tr)) {
		tr->phase = NVMF_RDMA_SENDING;
		return;
	}
	if (unlikely(conn->state >= NVMF_RDMA_FLUSHING)) {
		nvmf_rdma_req_put(conn, tr);
		return;
	}
	tr->phase = NVMF_RDMA_WAIT_SEND;
	list_push(&conn->send_wait, &tr->link);
}

/* Connect has been answered on reactor 0, and its answer goes out from here. */
static void respond_return(struct msg *msg)
{
	struct nvmf_rdma_conn *conn = container_of(msg, struct nvmf_rdma_conn, return_msg);
	struct nvmf_rdma_req *tr = nvmf_rdma_req_of(conn->lent_req);

	conn->lent = false;
	conn->lent_req = NULL;
	nvmf_rdma_answer(conn, tr);
	nvmf_rdma_resume(conn);
}

void nvmf_rdma_respond(struct nvmf_req *req)
{
	struct nvmf_rdma_conn *conn = nvmf_rdma_conn_of(req->queue);

	if (unlikely(conn->lent_req == req)) {
		reactor_send(reactor_at(conn->group->index), &conn->return_msg, respond_return);
		return;
	}
	nvmf_rdma_answer(conn, nvmf_rdma_req_of(req));
}

/* ---- the end ---- */

void nvmf_rdma_req_abandon(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	switch ((enum nvmf_rdma_phase)tr->phase) {
	case NVMF_RDMA_FREE:
	case NVMF_RDMA_IDLE:
	case NVMF_RDMA_READING:
	case NVMF_RDMA_SENDING:
		return;
	case NVMF_RDMA_WAIT_TURN:
	case NVMF_RDMA_WAIT_READ:
	case NVMF_RDMA_WAIT_SEND:
		list_del(&tr->link);
		break;
	case NVMF_RDMA_WAIT_BUF:
		buf_wait_cancel(&tr->wait);
		break;
	}
	nvmf_rdma_req_put(conn, tr);
}
