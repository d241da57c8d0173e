/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a connection.
 *
 *   IC -ICReq-> LIVE ----------------------> CLOSING -> GONE
 *    \________________\__fault, Disconnect__> LINGER _/
 *
 * nvmf_tcp_close is the only way out, from any state and any place: it gives up whatever waits
 * (memory, data, room to send), closes the stream, and leaves executing requests alone. When the
 * stream has said CLOSED and the last request is done nothing refers to the connection but reactor
 * 0, which is told (gone_msg) and frees it. A close that reactor 0 asks for travels as close_msg,
 * at most once, and comes back: no connection is freed while a message of reactor 0 is out.
 *
 * LINGER sends what is queued, ends our side, and drops what comes in until the peer has closed
 * too, so that it gets our last bytes (a reset would destroy them), but not for longer than
 * NVMF_TCP_LINGER_MS.
 */
#include "targets/nvmf/tcp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/trace.h"

static struct list conns_all = LIST_INIT(conns_all);

/* ---- the end ---- */

static void conn_free(struct nvmf_tcp_conn *conn)
{
	nvmf_queue_gone(&conn->queue);
	list_del(&conn->all);
	if (conn->reqs != &conn->first)
		free(conn->reqs);
	free(conn);
	nvmf_target.conn_count--;
	event_signal(&nvmf_target.conn_gone);
}

/* On reactor 0. */
static void conn_gone(struct msg *msg)
{
	struct nvmf_tcp_conn *conn = container_of(msg, struct nvmf_tcp_conn, gone_msg);

	conn->gone = true;
	if (conn->out == 0)
		conn_free(conn);
}

void nvmf_tcp_back(struct nvmf_tcp_conn *conn)
{
	conn->out--;
	if (conn->gone && conn->out == 0)
		conn_free(conn);
}

void nvmf_tcp_check_gone(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_group *group = conn->group;

	if (conn->state != NVMF_TCP_CLOSING || conn->stream || conn->queue.executing)
		return;
	conn->state = NVMF_TCP_GONE;
	list_del(&conn->link);
	if (--group->conn_count == 0)
		timer_cancel(&group->scan);
	nvmf_queue_leave(&conn->queue);
	reactor_send(reactor_at(0), &conn->gone_msg, conn_gone);
}

/* Everything that is not executing and not in the stream's hands. */
static void conn_abandon(struct nvmf_tcp_conn *conn)
{
	nvmf_tcp_move_abort(conn);
	conn->rx_tr = NULL;
	buf_wait_cancel(&conn->rx_wait);
	/* out of the line first: a place that becomes free must not go to one of ours */
	nvmf_tcp_share_leave(conn);
	for (unsigned i = 0; i < conn->req_count; i++)
		nvmf_tcp_req_abandon(conn, &conn->reqs[i]);
	if (conn->reqs != &conn->first)
		nvmf_tcp_req_abandon(conn, &conn->first);
	ASSERT(list_empty(&conn->tx_wait));
}

void nvmf_tcp_close(struct nvmf_tcp_conn *conn, const char *fmt, ...)
{
	char why[NVMF_WHY_BYTES], text[32];
	va_list args;

	if (conn->state >= NVMF_TCP_CLOSING)
		return;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	log_debug("nvmf/tcp %s: closing: %s", nvmf_queue_text(&conn->queue, text), why);
	conn->state = NVMF_TCP_CLOSING;
	trace(TRACE_NVMF_STATE, (uintptr_t)conn, conn->state);
	nvmf_queue_closing(&conn->queue);
	conn_abandon(conn);
	nvmf_tcp_rx_drop(conn);
	list_del(&conn->ready);
	list_del(&conn->sending);
	if (conn->stream)
		stream_close(conn->stream);
	nvmf_tcp_check_gone(conn);
}

void nvmf_tcp_linger(struct nvmf_tcp_conn *conn)
{
	if (conn->state >= NVMF_TCP_LINGER)
		return;
	conn->state = NVMF_TCP_LINGER;
	trace(TRACE_NVMF_STATE, (uintptr_t)conn, conn->state);
	conn_abandon(conn);
	conn->deadline_us = reactor_now_us() + NVMF_TCP_LINGER_MS * 1000ull;
	if (!list_linked(&conn->sending))
		list_push(&conn->group->sending, &conn->sending);
	nvmf_tcp_ready(conn);
}

void nvmf_tcp_fatal(struct nvmf_tcp_conn *conn, const struct nvmf_tcp_fault *fault,
		    const uint8_t *header, size_t len)
{
	char text[32];

	nvmf_queue_text(&conn->queue, text);
	if (fault->fes == 0) {
		nvmf_tcp_close(conn, "the host terminated the connection");
		return;
	}
	log_warn("nvmf/tcp %s: PDU type %u is refused: FES %u FEI %u", text, header[0],
		 fault->fes, fault->fei);
	nvmf_tcp_send_term(conn, fault, header, len);
	nvmf_tcp_linger(conn);
}

/* ---- events of the stream ---- */

static void conn_event(struct stream *stream, unsigned events)
{
	struct nvmf_tcp_conn *conn = stream->owner;

	if (events & STREAM_CLOSED) {
		nvmf_tcp_tx_drop(conn);
		conn->stream = NULL;
		nvmf_tcp_check_gone(conn);
		return;
	}
	if (conn->state >= NVMF_TCP_CLOSING)
		return;
	if (events & STREAM_RELEASED)
		nvmf_tcp_released(conn);
	if (events & STREAM_WRITABLE)
		conn->tx_blocked = false;
	if (events & (STREAM_RELEASED | STREAM_WRITABLE) && !list_linked(&conn->sending))
		list_push(&conn->group->sending, &conn->sending);
	if (events & (STREAM_READABLE | STREAM_HANGUP)) {
		conn->readable = true;
		nvmf_tcp_ready(conn);
	}
}

/* ---- what the target asks for ---- */

static void conn_close_back(struct msg *msg)
{
	nvmf_tcp_back(container_of(msg, struct nvmf_tcp_conn, close_msg));
}

static void conn_close_arrive(struct msg *msg)
{
	struct nvmf_tcp_conn *conn = container_of(msg, struct nvmf_tcp_conn, close_msg);

	nvmf_tcp_close(conn, "%s", conn->close_why);
	reactor_send(reactor_at(0), msg, conn_close_back);
}

void nvmf_tcp_close_held(struct nvmf_tcp_conn *conn)
{
	if (!conn->close_held || conn->leaving)
		return;
	conn->close_held = false;
	conn->out++;
	reactor_send(reactor_at(conn->queue.reactor), &conn->close_msg, conn_close_arrive);
}

static void conn_close(struct nvmf_queue *queue, const char *why)
{
	struct nvmf_tcp_conn *conn = nvmf_tcp_conn_of(queue);

	if (conn->close_asked)
		return;
	conn->close_asked = conn->close_held = true;
	queue->closing = true;
	snprintf(conn->close_why, sizeof(conn->close_why), "%s", why);
	nvmf_tcp_close_held(conn);
}

static void conn_drain(struct nvmf_queue *queue, const char *why)
{
	(void)why;
	nvmf_tcp_linger(nvmf_tcp_conn_of(queue));
}

static void conn_each(struct nvmf_queue *queue, void (*fn)(struct nvmf_req *req, void *arg),
		      void *arg)
{
	struct nvmf_tcp_conn *conn = nvmf_tcp_conn_of(queue);

	for (unsigned i = 0; i < conn->req_count; i++)
		if (conn->reqs[i].req.state != NVMF_REQ_FREE)
			fn(&conn->reqs[i].req, arg);
}

/* In the middle of Connect: from now on the queue has as many requests as the host asked for. */
static int conn_connected(struct nvmf_queue *queue, unsigned depth)
{
	return nvmf_tcp_req_alloc(nvmf_tcp_conn_of(queue), depth + NVMF_TCP_SLOTS_EXTRA);
}

const struct nvmf_queue_ops nvmf_tcp_queue_ops = {
	.name = "tcp",
	.trtype = NVMF_TRTYPE_TCP,
	.sgls = NVME_SGLS_OFFSET | NVME_SGLS_TRANSPORT,
	.msdbd = 1,
	.respond = nvmf_tcp_respond,
	.connected = conn_connected,
	.move = nvmf_tcp_move,
	.shift = nvmf_tcp_shift,
	.close = conn_close,
	.drain = conn_drain,
	.each = conn_each,
};

/* ---- the beginning ---- */

/* A stream that nobody wants: it is closed, and that is all. */
static void stray_event(struct stream *stream, unsigned events)
{
	(void)stream;
	(void)events;
}

static void stray_close(struct stream *stream)
{
	stream->event = stray_event;
	stream_attach(stream);
	stream_close(stream);
}

static void conn_rx_ready(struct buf_wait *wait)
{
	nvmf_tcp_ready(container_of(wait, struct nvmf_tcp_conn, rx_wait));
}

static struct nvmf_tcp_conn *conn_create(struct stream *stream)
{
	struct nvmf_tcp_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	nvmf_queue_init(&conn->queue, &nvmf_tcp_queue_ops);
	conn->queue.local_addr = stream->local;
	conn->queue.peer_addr = stream->peer;
	conn->stream = stream;
	stream->event = conn_event;
	stream->owner = conn;
	conn->state = NVMF_TCP_IC;
	conn->framing.in_capsule_max = NVME_TCP_IN_CAPSULE_ADMIN;
	conn->framing.maxh2cdata = MAX(MIN(config.nvmf_mdts_bytes, BUF_REQUEST_MAX),
				       NVME_TCP_MAXH2CDATA_MIN);
	list_init(&conn->link);
	list_init(&conn->ready);
	list_init(&conn->sending);
	list_init(&conn->all);
	list_init(&conn->moving);
	list_init(&conn->parked);
	nvmf_tcp_parts_init(conn);
	list_init(&conn->rx_wait.link);
	conn->rx_wait.ready = conn_rx_ready;
	nvmf_tcp_tx_init(conn);
	nvmf_tcp_req_alloc(conn, 1);
	conn->deadline_us = reactor_now_us() + config.nvmf_connect_timeout_ms * 1000ull;
	return conn;
}

void nvmf_tcp_accept(struct stream_listener *listener, struct stream *stream)
{
	struct nvmf_tcp_conn *conn = NULL;

	if (nvmf_target.conn_count < config.nvmf_connections_max)
		conn = conn_create(stream);
	if (!conn) {
		log_warn("nvmf/tcp: a connection is refused; %u is the limit",
			 config.nvmf_connections_max);
		stray_close(stream);
		return;
	}
	conn->queue.port = container_of(listener, struct nvmf_port, listener);
	list_push(&conns_all, &conn->all);
	nvmf_target.conn_count++;
	nvmf_tcp_join(conn);
}

void nvmf_tcp_port_forget(struct nvmf_port *port)
{
	struct nvmf_tcp_conn *conn;

	list_for_each(conn, &conns_all, all)
		if (conn->queue.port == port)
			conn->queue.port = NULL;
}

void nvmf_tcp_close_all(void)
{
	struct nvmf_tcp_conn *conn;

	while (nvmf_target.conn_count) {
		list_for_each(conn, &conns_all, all)
			conn_close(&conn->queue, "the target stops");
		event_clear(&nvmf_target.conn_gone);
		task_wait(&nvmf_target.conn_gone);
	}
}

/* ---- timeouts ---- */

enum { PACE_BYTES = 4096 };             /* in the time that a peer has: less is no progress */

/*
 * For how long nothing has moved, in us. BUSY: something is to move; AT: how far it is, STEP: what
 * counts as progress.
 */
static uint64_t pace_stuck(struct nvmf_tcp_pace *pace, uint64_t now, bool busy, uint64_t at,
			   uint64_t step)
{
	if (!busy || pace->since_us == 0 || at - pace->mark >= step) {
		pace->since_us = now;
		pace->mark = at;
	}
	return now - pace->since_us;
}

/*
 * A peer that does not finish Connect, a PDU it has begun, does not take what we send, or does not
 * send what it was asked for (which hold memory), for as long as nvmf_connect_timeout_ms; drops of
 * bytes are no progress. Waiting for our own memory is not its fault.
 */
void nvmf_tcp_scan(struct nvmf_tcp_conn *conn, uint64_t now)
{
	uint64_t limit_us = config.nvmf_connect_timeout_ms * 1000ull;
	bool in_pdu = conn->rx == NVMF_TCP_RX_PDU || conn->rx == NVMF_TCP_RX_DATA ||
		      conn->rx == NVMF_TCP_RX_DIGEST;
	bool unsent = conn->tx.iov_head != conn->tx.iov_tail;
	/* each write that is complete is progress, however short */
	uint64_t h2c = conn->h2c_bytes + conn->h2c_ends * PACE_BYTES;

	if (conn->state >= NVMF_TCP_CLOSING)
		return;
	if (conn->state < NVMF_TCP_LINGER && conn->queue.subsys)
		conn->deadline_us = 0;
	if (conn->deadline_us && now >= conn->deadline_us) {
		nvmf_tcp_close(conn, conn->state == NVMF_TCP_LINGER
				     ? "the host did not close"
				     : "the host did not connect in time");
		return;
	}
	if (pace_stuck(&conn->pdu_pace, now, in_pdu, conn->pdus, 1) >= limit_us)
		nvmf_tcp_close(conn, "the host did not finish a PDU");
	else if (pace_stuck(&conn->tx_pace, now, unsent, conn->stream->released,
			    PACE_BYTES) >= limit_us)
		nvmf_tcp_close(conn, "the host does not take data");
	else if (pace_stuck(&conn->h2c_pace, now, conn->r2t_open, h2c,
			    PACE_BYTES) >= limit_us)
		nvmf_tcp_close(conn, "the host does not send the data it was asked for");
}
