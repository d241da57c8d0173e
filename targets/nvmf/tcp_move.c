/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection's way between reactors: once after Connect, and whenever loads are uneven
 * (balance.c).
 *
 * Reactor 0 directs, so that it knows at any moment where its messages to a connection belong:
 *
 *   reactor 0             the connection's            the new one
 *      --- drain ------------>  DRAIN
 *      <-- ready -------------  QUIET
 *      --- leave ------------>  detached
 *      <-- left --------------
 *      --- arrive ------------------------------------>  goes on
 *      <-- arrived -----------------------------------
 *
 * One message goes to and fro, and reactor 0 keeps the connection until it is back. The connection
 * answers "stays" instead of ready or left when it ends, or does not come to rest within
 * NVMF_TCP_MOVE_MS. A close that is asked for between leave and left is sent after arrive, to
 * where the connection is then. After Connect the connection is on reactor 0 already and begins
 * with left.
 *
 * DRAIN: what has begun goes to its end. While the host still owes data the connection is read, and
 * commands that would need R2T are parked: decoded, but not started, so that they refer to no
 * namespace and hold no memory. They start on the new reactor. As soon as no data is owed nothing
 * more is read; bytes that are in the receive buffer then are carried along.
 */
#include "targets/nvmf/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/config.h"
#include "core/trace.h"

/* ---- on the connection's reactor ---- */

/* Data of a command that has begun, or the other half of a pair, is still to come from the host. */
static bool move_owed(const struct nvmf_tcp_conn *conn)
{
	if (conn->queue.fused)
		return true;
	for (unsigned i = 0; i < conn->req_count; i++) {
		const struct nvmf_req *req = &conn->reqs[i].req;

		if (req->state == NVMF_REQ_STARTED && req->dir == NVMF_DIR_H2C)
			return true;
	}
	return false;
}

bool nvmf_tcp_move_holds(const struct nvmf_tcp_conn *conn)
{
	if (conn->move != NVMF_TCP_DRAIN)
		return conn->move != NVMF_TCP_STAY;
	return conn->rx <= NVMF_TCP_RX_PDU && !move_owed(conn);
}

bool nvmf_tcp_move_parks(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	/* bits 1:0 of the opcode: data to the controller; a fused pair must not be torn apart */
	if (conn->move != NVMF_TCP_DRAIN || tr->in_capsule || (tr->req.sqe.opc & 3) != 1 ||
	    tr->req.sqe.flags & NVME_FUSE_MASK)
		return false;
	tr->phase = NVMF_TCP_PARKED;
	list_push(&conn->parked, &tr->link);
	return true;
}

static void move_unpark(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_req *tr;

	while (conn->state == NVMF_TCP_LIVE &&
	       (tr = list_pop_entry(&conn->parked, struct nvmf_tcp_req, link))) {
		tr->phase = NVMF_TCP_IDLE;
		nvmf_tcp_cmd_run(conn, tr);
	}
}

static void move_stays(struct msg *msg);

static void move_answer(struct nvmf_tcp_conn *conn, void (*fn)(struct msg *msg))
{
	reactor_send(reactor_at(0), &conn->move_msg, fn);
}

/* The connection goes on where it is. */
static void move_resume(struct nvmf_tcp_conn *conn)
{
	conn->move = NVMF_TCP_STAY;
	list_del(&conn->moving);
	move_unpark(conn);
	nvmf_tcp_ready(conn);
}

void nvmf_tcp_move_abort(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_req *tr;

	/* a quiet one is told to leave, and says then that it stays */
	if (conn->move == NVMF_TCP_DRAIN || conn->move == NVMF_TCP_CONNECTED)
		move_answer(conn, move_stays);
	conn->move = NVMF_TCP_STAY;
	list_del(&conn->moving);
	while ((tr = list_pop_entry(&conn->parked, struct nvmf_tcp_req, link)))
		nvmf_tcp_req_put(conn, tr);
	free(conn->carry);
	conn->carry = NULL;
}

/* Nothing is in flight: every request is free or parked, every byte is out. */
static bool move_quiet(const struct nvmf_tcp_conn *conn)
{
	if (!nvmf_tcp_move_holds(conn) || conn->queue.executing ||
	    conn->tx.record_head != conn->tx.record_tail || !list_empty(&conn->tx_wait))
		return false;
	for (unsigned i = 0; i < conn->req_count; i++)
		if (conn->reqs[i].req.state != NVMF_REQ_FREE)
			return false;
	return true;
}

static void move_ready(struct msg *msg);

void nvmf_tcp_move_step(struct nvmf_tcp_conn *conn)
{
	/* a header that waits for a slot that a parked command has would wait for ever */
	if (conn->rx == NVMF_TCP_RX_SLOT || reactor_now_us() >= conn->move_end_us) {
		move_resume(conn);
		move_answer(conn, move_stays);
	} else if (move_quiet(conn)) {
		conn->move = NVMF_TCP_QUIET;
		list_del(&conn->moving);
		trace(TRACE_NVMF_STATE, (uintptr_t)conn, conn->state);
		move_answer(conn, move_ready);
	}
}

static void move_drain(struct msg *msg)
{
	struct nvmf_tcp_conn *conn = container_of(msg, struct nvmf_tcp_conn, move_msg);

	if (conn->state != NVMF_TCP_LIVE) {
		move_answer(conn, move_stays);
		return;
	}
	conn->move = NVMF_TCP_DRAIN;
	conn->move_end_us = reactor_now_us() + NVMF_TCP_MOVE_MS * 1000ull;
	list_push(&conn->group->moving, &conn->moving);
}

/* Off the calling reactor, which keeps nothing of it. -errno: it is still here. */
static int move_off(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_group *group = conn->group;
	int rc;

	if (conn->in_len) {
		conn->carry = malloc(conn->in_len);
		if (!conn->carry)
			return -ENOMEM;
		memcpy(conn->carry, conn->in, conn->in_len);
		conn->carry_len = conn->in_len;
	}
	rc = stream_detach(conn->stream);
	if (rc)
		return rc;
	nvmf_tcp_rx_drop(conn);
	list_del(&conn->ready);
	list_del(&conn->sending);
	list_del(&conn->link);
	if (--group->conn_count == 0)
		timer_cancel(&group->scan);
	nvmf_queue_leave(&conn->queue);
	return 0;
}

static void move_left(struct msg *msg);

static void move_leave(struct msg *msg)
{
	struct nvmf_tcp_conn *conn = container_of(msg, struct nvmf_tcp_conn, move_msg);

	if (conn->move == NVMF_TCP_QUIET && move_off(conn) == 0) {
		move_answer(conn, move_left);
		return;
	}
	if (conn->move == NVMF_TCP_QUIET) {
		free(conn->carry);
		conn->carry = NULL;
		move_resume(conn);
	}
	move_answer(conn, move_stays);
}

void nvmf_tcp_join(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_group *group = nvmf_tcp_group_at(reactor_index());
	int rc = stream_attach(conn->stream);

	conn->group = group;
	list_push(&group->conns, &conn->link);
	if (group->conn_count++ == 0)
		timer_arm(&group->scan, NVMF_TCP_SCAN_MS * 1000ull);
	nvmf_queue_enter(&conn->queue);
	conn->readable = true;
	conn->tx_blocked = false;
	conn->hot_tries = 0;
	conn->pdu_pace.since_us = conn->tx_pace.since_us = conn->h2c_pace.since_us = 0;
	nvmf_tcp_ready(conn);
	list_push(&group->sending, &conn->sending);
	if (rc)
		nvmf_tcp_close(conn, "attaching: %s", strerror(-rc));
}

static void move_arrived(struct msg *msg);

static void move_arrive(struct msg *msg)
{
	struct nvmf_tcp_conn *conn = container_of(msg, struct nvmf_tcp_conn, move_msg);

	conn->move = NVMF_TCP_STAY;
	nvmf_tcp_join(conn);
	move_unpark(conn);
	move_answer(conn, move_arrived);
}

/* ---- on reactor 0 ---- */

/* The message is back, and CONN lives on queue.reactor. */
static void move_end(struct nvmf_tcp_conn *conn, bool moved)
{
	conn->leaving = false;
	nvmf_queue_moved(&conn->queue, moved);
	nvmf_tcp_close_held(conn);
	nvmf_tcp_back(conn);
}

static void move_stays(struct msg *msg)
{
	move_end(container_of(msg, struct nvmf_tcp_conn, move_msg), false);
}

static void move_arrived(struct msg *msg)
{
	move_end(container_of(msg, struct nvmf_tcp_conn, move_msg), true);
}

static void move_ready(struct msg *msg)
{
	struct nvmf_tcp_conn *conn = container_of(msg, struct nvmf_tcp_conn, move_msg);

	conn->leaving = true;
	reactor_send(reactor_at(conn->queue.reactor), msg, move_leave);
}

static void move_left(struct msg *msg)
{
	struct nvmf_tcp_conn *conn = container_of(msg, struct nvmf_tcp_conn, move_msg);

	nvmf_queue_settle(&conn->queue, conn->move_to);
	reactor_send(reactor_at(conn->move_to), msg, move_arrive);
	conn->leaving = false;
	nvmf_tcp_close_held(conn);
}

void nvmf_tcp_shift(struct nvmf_queue *queue, unsigned reactor)
{
	struct nvmf_tcp_conn *conn = nvmf_tcp_conn_of(queue);

	ASSERT(!conn->leaving);
	conn->move_to = reactor;
	conn->out++;
	reactor_send(reactor_at(queue->reactor), &conn->move_msg, move_drain);
}

void nvmf_tcp_move(struct nvmf_queue *queue, unsigned reactor)
{
	struct nvmf_tcp_conn *conn = nvmf_tcp_conn_of(queue);

	conn->framing.in_capsule_max = config.nvmf_in_capsule_bytes;
	conn->deadline_us = 0;
	if (reactor == queue->reactor)
		return;
	conn->move = NVMF_TCP_CONNECTED;
	conn->move_to = reactor;
	queue->moving = true;
	conn->out++;
}

/*
 * Nothing is in flight: the host waits for the answer to Connect, which goes along unsent. Bytes
 * that it sent before that answer are out of order.
 */
void nvmf_tcp_move_connected(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_fault fault = { .fes = NVME_TCP_FES_SEQUENCE };
	int rc = -ENOTCONN;

	conn->move = NVMF_TCP_STAY;
	if (conn->in_len) {
		nvmf_tcp_fatal(conn, &fault, conn->in, MIN(conn->in_len, 8u));
	} else if (!conn->close_asked) {
		rc = move_off(conn);
		if (rc)
			nvmf_tcp_close(conn, "detaching: %s", strerror(-rc));
	}
	conn->leaving = rc == 0;
	move_answer(conn, rc ? move_stays : move_left);
}
