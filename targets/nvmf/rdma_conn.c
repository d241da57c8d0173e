/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a connection.
 *
 *   (request, checked on reactor 0) -> ACCEPTED -> LIVE ----------> FLUSHING -> CLOSING -> GONE
 *                                          \________\_Disconnect_> LINGER _/
 *
 * nvmf_rdma_close is the only way out, from any state and any place: it gives up whatever waits,
 * disconnects, and leaves executing requests alone. FLUSHING waits for the device to give back what
 * is posted, but not for longer than NVMF_RDMA_FLUSH_MS, and not at all when the device goes or
 * posting has failed. CLOSING destroys the queue pair: from then on the device touches nothing of
 * the connection, given back or not. When the last request is done, and Connect is not on reactor
 * 0, the queue leaves its controller (left_msg), however long a queue pair takes to go of which
 * nothing is posted. When that is gone too, nothing refers to the connection but reactor 0, which
 * is told (gone_msg) and frees it, unless a message of its own is still out: that comes back first.
 */
#include "targets/nvmf/rdma.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/config.h"
#include "core/trace.h"

static struct list conns_all = LIST_INIT(conns_all);

/* ---- the end ---- */

static void conn_free(struct nvmf_rdma_conn *conn)
{
	list_del(&conn->all);
	free(conn);
	nvmf_target.conn_count--;
	event_signal(&nvmf_target.conn_gone);
}

/* On reactor 0. */
static void conn_left(struct msg *msg)
{
	nvmf_queue_gone(&container_of(msg, struct nvmf_rdma_conn, left_msg)->queue);
}

/* On reactor 0, after that. */
static void conn_gone(struct msg *msg)
{
	struct nvmf_rdma_conn *conn = container_of(msg, struct nvmf_rdma_conn, gone_msg);

	conn->gone = true;
	if (conn->out == 0)
		conn_free(conn);
}

static void conn_close_back(struct msg *msg)
{
	struct nvmf_rdma_conn *conn = container_of(msg, struct nvmf_rdma_conn, close_msg);

	if (--conn->out == 0 && conn->gone)
		conn_free(conn);
}

static void conn_close_arrive(struct msg *msg)
{
	struct nvmf_rdma_conn *conn = container_of(msg, struct nvmf_rdma_conn, close_msg);

	nvmf_rdma_close(conn, "%s", conn->close_why);
	reactor_send(reactor_at(0), msg, conn_close_back);
}

static void conn_close(struct nvmf_queue *queue, const char *why)
{
	struct nvmf_rdma_conn *conn = nvmf_rdma_conn_of(queue);

	if (conn->close_asked)
		return;
	conn->close_asked = true;
	conn->out++;
	queue->closing = true;
	snprintf(conn->close_why, sizeof(conn->close_why), "%s", why);
	reactor_send(reactor_at(queue->reactor), &conn->close_msg, conn_close_arrive);
}

static void state_set(struct nvmf_rdma_conn *conn, enum nvmf_rdma_state state)
{
	conn->state = state;
	trace(TRACE_NVMF_STATE, (uintptr_t)conn, state);
}

static void conn_closing(struct nvmf_rdma_conn *conn)
{
	state_set(conn, NVMF_RDMA_CLOSING);
	rnic_close(conn->rnic);
}

void nvmf_rdma_check(struct nvmf_rdma_conn *conn)
{
	struct nvmf_rdma_group *group = conn->group;

	if (conn->state == NVMF_RDMA_LINGER && conn->active == 0)
		nvmf_rdma_close(conn, "disconnected");
	if (conn->state == NVMF_RDMA_FLUSHING && conn->pending == 0)
		conn_closing(conn);
	if (conn->state != NVMF_RDMA_CLOSING || conn->pending || conn->queue.executing ||
	    conn->lent)
		return;
	ASSERT(conn->active == 0);
	if (!conn->left) {
		conn->left = true;
		nvmf_queue_leave(&conn->queue);
		reactor_send(reactor_at(0), &conn->left_msg, conn_left);
	}
	if (conn->rnic)
		return;
	state_set(conn, NVMF_RDMA_GONE);
	nvmf_rdma_req_free(conn);
	/* not before: requests at the disk may have had their data in receives */
	nvmf_rdma_pool_leave(conn);
	nvmf_rdma_lane_leave(conn);
	list_del(&conn->link);
	if (--group->conn_count == 0)
		timer_cancel(&group->scan);
	reactor_send(reactor_at(0), &conn->gone_msg, conn_gone);
}

/* Everything that waits. First what waits for a turn: a turn given back must not go to it. */
static void conn_abandon(struct nvmf_rdma_conn *conn)
{
	struct nvmf_rdma_recv *recv;
	struct nvmf_rdma_req *tr, *tmp;

	while ((recv = list_pop_entry(&conn->held, struct nvmf_rdma_recv, link)))
		nvmf_rdma_recv_put(conn->group, recv);
	list_for_each_safe(tr, tmp, &conn->turn_wait, link)
		nvmf_rdma_req_abandon(conn, tr);
	for (unsigned i = 0; i < conn->req_count; i++)
		nvmf_rdma_req_abandon(conn, &conn->reqs[i]);
}

void nvmf_rdma_close(struct nvmf_rdma_conn *conn, const char *fmt, ...)
{
	char why[NVMF_WHY_BYTES], text[32];
	va_list args;

	if (conn->state >= NVMF_RDMA_FLUSHING)
		return;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	log_debug("nvmf/rdma %s: closing: %s", nvmf_queue_text(&conn->queue, text), why);
	/* what is gathered has been counted as posted */
	nvmf_rdma_send_post(conn);
	if (conn->state >= NVMF_RDMA_FLUSHING)
		return;
	state_set(conn, NVMF_RDMA_FLUSHING);
	conn->deadline_us = reactor_now_us() + NVMF_RDMA_FLUSH_MS * 1000ull;
	nvmf_queue_closing(&conn->queue);
	conn_abandon(conn);
	rnic_disconnect(conn->rnic);
	nvmf_rdma_check(conn);
}

/* No completion is waited for. */
static void conn_cut(struct nvmf_rdma_conn *conn, const char *why)
{
	nvmf_rdma_close(conn, "%s", why);
	if (conn->state == NVMF_RDMA_FLUSHING)
		conn_closing(conn);
}

void nvmf_rdma_broken(struct nvmf_rdma_conn *conn)
{
	conn_cut(conn, "posting failed");
}

/* The queue pair does not exist any more. */
static void conn_closed(struct nvmf_rdma_conn *conn)
{
	/* its completions that are still there, so that none is found later */
	if (conn->lane)
		while (nvmf_rdma_lane_poll(conn->lane) == NVMF_RDMA_DONES)
			;
	for (unsigned i = 0; i < conn->req_count; i++) {
		struct nvmf_rdma_req *tr = &conn->reqs[i];

		if (tr->phase != NVMF_RDMA_READING && tr->phase != NVMF_RDMA_SENDING)
			continue;
		nvmf_rdma_send_done(conn, tr);
		nvmf_rdma_req_put(conn, tr);
	}
	list_del(&conn->hash);
	conn->rnic = NULL;
	nvmf_rdma_check(conn);
}

/* ---- events ---- */

static void conn_event(struct rnic_conn *rnic, const struct rnic_event *event)
{
	struct nvmf_rdma_conn *conn = rnic->owner;

	switch (event->type) {
	case RNIC_ESTABLISHED:
		if (conn->state == NVMF_RDMA_ACCEPTED)
			state_set(conn, NVMF_RDMA_LIVE);
		return;
	case RNIC_FAILED:
		nvmf_rdma_close(conn, "the host did not complete the connection: %s",
				strerror(-event->error));
		return;
	case RNIC_DISCONNECTED:
		nvmf_rdma_close(conn, "the host disconnected");
		return;
	case RNIC_REMOVED:
		conn_cut(conn, "the device is removed");
		return;
	case RNIC_CLOSED:
		conn_closed(conn);
		return;
	case RNIC_ROUTED:
	case RNIC_EVENT_COUNT:
		return;
	}
}

/* ---- the beginning ---- */

static int conn_open(struct nvmf_rdma_conn *conn)
{
	struct rnic_device *device = conn->rnic->device;
	struct rnic_queue queue = {
		.send_sges = MIN(device->sge_max, (uint32_t)BUF_IOV_MAX), .recv_sges = 2,
		.recvs = conn->ask.depth + 1,
	};
	struct nvme_rdma_accept accept = {
		.recfmt = le16_make(NVME_RDMA_RECFMT),
		.crqsize = le16_make((uint16_t)conn->ask.depth),
	};
	struct rnic_param param = {
		.reads_out = conn->turns_max, .private = &accept, .private_len = sizeof(accept),
	};
	int rc;

	conn->sends_max = MIN(device->send_max, 2 * conn->ask.depth + NVMF_RDMA_SENDS_EXTRA);
	if (conn->sends_max < NVMF_RDMA_SENDS_MIN)
		return -ENOSPC;
	rc = nvmf_rdma_lane_join(conn);
	if (rc)
		return rc;
	queue.domain = conn->lane->domain;
	queue.cq = conn->lane->cq;
	queue.srq = conn->lane->pool.srq;
	queue.sends = conn->sends_max;
	rc = nvmf_rdma_req_alloc(conn);
	if (rc == 0)
		rc = rnic_queue_create(conn->rnic, &queue);
	if (rc)
		return rc;
	nvmf_rdma_lane_bind(conn);
	rc = nvmf_rdma_pool_join(conn);
	return rc ? rc : rnic_accept(conn->rnic, &param);
}

/* On the connection's reactor, first of all. */
static void conn_begin(struct msg *msg)
{
	struct nvmf_rdma_conn *conn = container_of(msg, struct nvmf_rdma_conn, begin_msg);
	struct nvme_rdma_reject reject = { .sts = le16_make(NVME_RDMA_NO_RESOURCES) };
	struct nvmf_rdma_group *group = nvmf_rdma_group_at(reactor_index());
	char text[32];
	int rc;

	conn->group = group;
	list_push(&group->conns, &conn->link);
	if (group->conn_count++ == 0)
		timer_arm(&group->scan, NVMF_RDMA_SCAN_MS * 1000ull);
	nvmf_queue_enter(&conn->queue);
	rc = conn_open(conn);
	if (rc == 0)
		return;
	log_warn("nvmf/rdma %s: a connection is refused: %s",
		 nvmf_queue_text(&conn->queue, text), strerror(-rc));
	rnic_reject(conn->rnic, &reject, sizeof(reject));
	conn_closing(conn);
}

static void stray_event(struct rnic_conn *rnic, const struct rnic_event *event)
{
	(void)rnic;
	(void)event;
}

static void request_refuse(struct rnic_conn *rnic, unsigned status)
{
	struct nvme_rdma_reject reject = { .sts = le16_make((uint16_t)status) };
	char text[ADDR_TEXT_BYTES];

	addr_format_port(&rnic->peer, text);
	log_warn("nvmf/rdma %s: a connection is refused: status %u", text, status);
	rnic->event = stray_event;
	rnic_reject(rnic, &reject, sizeof(reject));
	rnic_close(rnic);
}

/* Whether some controller has that identifier: hosts may not tell, and say 0 or FFFFh. */
static bool cntlid_known(uint16_t cntlid)
{
	if (cntlid == 0 || cntlid == NVME_RDMA_CNTLID_ANY)
		return true;
	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl))
		if (ctrl->cntlid == cntlid)
			return true;
	return false;
}

static unsigned request_check(const struct rnic_conn *rnic, const struct rnic_event *event,
			      struct nvmf_rdma_ask *ask)
{
	unsigned status = nvmf_rdma_ask_decode(event->private, event->private_len, ask);

	if (status)
		return status;
	if (ask->qid != 0 && !cntlid_known(ask->cntlid))
		return NVME_RDMA_BAD_CNTLID;
	/* its memory could not be read */
	if (event->reads_out == 0)
		return NVME_RDMA_BAD_IRD;
	if (nvmf_target.conn_count >= config.nvmf_connections_max ||
	    rnic->device->reads_out_max == 0)
		return NVME_RDMA_NO_RESOURCES;
	return 0;
}

static struct nvmf_rdma_conn *conn_create(struct rnic_conn *rnic, const struct nvmf_rdma_ask *ask)
{
	struct nvmf_rdma_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	nvmf_queue_init(&conn->queue, &nvmf_rdma_queue_ops);
	conn->queue.local_addr = rnic->local;
	conn->queue.peer_addr = rnic->peer;
	conn->queue.told = true;
	conn->queue.told_qid = ask->qid;
	conn->queue.told_sqsize = (uint16_t)(ask->depth - 1);
	conn->rnic = rnic;
	rnic->event = conn_event;
	rnic->owner = conn;
	conn->ask = *ask;
	list_init(&conn->link);
	list_init(&conn->hash);
	list_init(&conn->held);
	list_init(&conn->turn_wait);
	list_init(&conn->read_wait);
	list_init(&conn->send_wait);
	list_init(&conn->posting);
	list_init(&conn->all);
	conn->last = &conn->first;
	conn->deadline_us = reactor_now_us() + config.nvmf_connect_timeout_ms * 1000ull;
	return conn;
}

void nvmf_rdma_request(struct nvmf_port *port, struct rnic_conn *rnic,
		       const struct rnic_event *event)
{
	struct nvmf_rdma_ask ask = { 0 };
	unsigned status = request_check(rnic, event, &ask);
	struct nvmf_rdma_conn *conn = status ? NULL : conn_create(rnic, &ask);
	unsigned reactor = 0;

	if (!conn) {
		request_refuse(rnic, status ? status : NVME_RDMA_NO_RESOURCES);
		return;
	}
	conn->turns_max = MIN(event->reads_out, rnic->device->reads_out_max);
	conn->queue.port = port;
	list_push(&conns_all, &conn->all);
	nvmf_target.conn_count++;
	nvmf_rdma_keep(rnic->device);
	if (ask.qid != 0)
		reactor = nvmf_queue_place(&conn->queue);
	conn->queue.reactor = reactor;
	rnic_give(rnic, reactor);
	reactor_send(reactor_at(reactor), &conn->begin_msg, conn_begin);
}

void nvmf_rdma_port_forget(struct nvmf_port *port)
{
	struct nvmf_rdma_conn *conn;

	list_for_each(conn, &conns_all, all)
		if (conn->queue.port == port)
			conn->queue.port = NULL;
}

void nvmf_rdma_close_all(void)
{
	struct nvmf_rdma_conn *conn;

	while (!list_empty(&conns_all)) {
		list_for_each(conn, &conns_all, all)
			conn_close(&conn->queue, "the target stops");
		event_clear(&nvmf_target.conn_gone);
		task_wait(&nvmf_target.conn_gone);
	}
}

/* ---- what the target asks for ---- */

static void conn_drain(struct nvmf_queue *queue, const char *why)
{
	struct nvmf_rdma_conn *conn = nvmf_rdma_conn_of(queue);
	struct nvmf_rdma_recv *recv;

	(void)why;
	if (conn->state >= NVMF_RDMA_LINGER)
		return;
	state_set(conn, NVMF_RDMA_LINGER);
	conn->deadline_us = reactor_now_us() + NVMF_RDMA_LINGER_MS * 1000ull;
	while ((recv = list_pop_entry(&conn->held, struct nvmf_rdma_recv, link)))
		nvmf_rdma_recv_put(conn->group, recv);
}

static void conn_each(struct nvmf_queue *queue, void (*fn)(struct nvmf_req *req, void *arg),
		      void *arg)
{
	struct nvmf_rdma_conn *conn = nvmf_rdma_conn_of(queue);

	if (conn->lent)
		return;
	for (unsigned i = 0; i < conn->req_count; i++)
		if (conn->reqs[i].req.state != NVMF_REQ_FREE)
			fn(&conn->reqs[i].req, arg);
}

/* There have been as many requests as the host may want since it was accepted. */
static int conn_connected(struct nvmf_queue *queue, unsigned depth)
{
	ASSERT(depth <= nvmf_rdma_conn_of(queue)->ask.depth);
	return 0;
}

const struct nvmf_queue_ops nvmf_rdma_queue_ops = {
	.name = "rdma",
	.trtype = NVMF_TRTYPE_RDMA,
	.sgls = NVME_SGLS_KEYED | NVME_SGLS_OFFSET,
	.msdbd = NVMF_RDMA_BLOCKS_MAX,
	.respond = nvmf_rdma_respond,
	.connected = conn_connected,
	.close = conn_close,
	.drain = conn_drain,
	.each = conn_each,
};

/* ---- timeouts ---- */

void nvmf_rdma_scan(struct nvmf_rdma_conn *conn, uint64_t now)
{
	if (conn->state <= NVMF_RDMA_LIVE && !conn->lent && conn->queue.subsys)
		conn->deadline_us = 0;
	if (conn->state >= NVMF_RDMA_CLOSING || !conn->deadline_us || now < conn->deadline_us)
		return;
	if (conn->state == NVMF_RDMA_FLUSHING)
		conn_closing(conn);
	else
		nvmf_rdma_close(conn, conn->state == NVMF_RDMA_LINGER
				      ? "answers did not go out"
				      : "the host did not connect in time");
}
