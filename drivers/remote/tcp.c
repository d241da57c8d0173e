/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP: a connection is a stream; recv.c and send.c speak its PDUs. From its event CLOSED on the
 * stream holds none of our memory. A target that breaks the rules gets H2CTermReq: our side ends
 * behind it, and what comes in is dropped until the target has closed too, so that it gets our last
 * bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/util.h"
#include "drivers/remote/tcp.h"

void remote_conn_fault(struct remote_queue *q, const struct remote_fault *fault,
		       const uint8_t *header, size_t len)
{
	if (q->state != REMOTE_QUEUE_IC && q->state != REMOTE_QUEUE_UP)
		return;
	if (fault->fes == 0) {
		remote_conn_fail(q, "%s", fault->what);
		return;
	}
	remote_conn_why(q, "PDU type %u from the target is refused: %s (FES %u FEI %u)",
			header[0], fault->what, fault->fes, fault->fei);
	q->live = false;
	q->state = REMOTE_QUEUE_TERM;
	remote_tx_term(q, fault, header, len);
	timer_arm(&q->scan, REMOTE_TERM_MS * 1000ull);
	event_signal(&q->changed);
	remote_ctrl_want(q->ctrl, REMOTE_WANT_RESET);
}

static void tcp_event(struct stream *stream, unsigned events)
{
	struct remote_queue *q = stream->owner;

	if (events & STREAM_CLOSED) {
		q->stream = NULL;
		q->tx_head = q->tx_tail = 0;
		remote_conn_down(q);
		return;
	}
	if (q->state == REMOTE_QUEUE_CLOSING)
		return;
	if ((events & STREAM_RELEASED) && !list_empty(&q->pending))
		remote_tx_pending(q);
	if (events & STREAM_WRITABLE) {
		q->tx_blocked = false;
		remote_lane_send(q);
	}
	if (events & (STREAM_READABLE | STREAM_HANGUP)) {
		q->readable = true;
		remote_lane_ready(q);
	}
}

static void tcp_reset(struct remote_queue *q)
{
	remote_conn_reset(q);
	q->tx_blocked = false;
	q->readable = true;
	q->rx = REMOTE_RX_HEADER;
	q->rx_slot = NULL;
	q->rx_pad = q->rx_left = 0;
	q->header_have = 0;
	q->tx_head = q->tx_tail = 0;
	q->cpda = 0;
	q->framing = (struct remote_framing){
		.hdgst = q->ctrl->opt.hdgst, .ddgst = q->ctrl->opt.ddgst,
	};
	q->header_bytes = sizeof(struct nvme_tcp_cmd) +
			  (q->framing.hdgst ? NVME_TCP_DIGEST_BYTES : 0);
	q->header_stride = (q->header_bytes + 7) & ~7u;
	q->lane = remote_lane_here();
	list_init(&q->ready);
	list_init(&q->sending);
}

static int tcp_open(struct remote_queue *q)
{
	struct stream *stream;
	int rc;

	tcp_reset(q);
	rc = stream_connect(&q->ctrl->opt.addr, REMOTE_CONNECT_MS * 1000ull, &stream);
	if (rc < 0) {
		snprintf(q->why, sizeof(q->why), "no connection: %s", strerror(-rc));
		return rc;
	}
	q->stream = stream;
	stream->owner = q;
	stream->event = tcp_event;
	q->state = REMOTE_QUEUE_IC;
	/* a stream may have had bytes before: positions count from here */
	q->tx_queued = stream->accepted;
	q->released = &stream->released;
	remote_tx_ic_req(q);
	remote_lane_ready(q);
	while (q->state == REMOTE_QUEUE_IC) {
		event_clear(&q->changed);
		if (task_wait_timeout(&q->changed, REMOTE_CONNECT_MS * 1000ull) < 0)
			remote_conn_fail(q, "no answer to ICReq");
	}
	if (q->state == REMOTE_QUEUE_UP)
		return 0;
	remote_conn_down_wait(q);
	return -EPROTO;
}

static void tcp_close(struct remote_queue *q)
{
	list_del(&q->ready);
	list_del(&q->sending);
	stream_close(q->stream);
}

static bool tcp_room(struct remote_queue *q)
{
	return remote_tx_room(q, REMOTE_IOV_MAX);
}

const struct remote_transport remote_tcp = {
	.name = "tcp",
	.in_capsule_fabrics = NVME_TCP_IN_CAPSULE_ADMIN,
	.open = tcp_open,
	.close = tcp_close,
	.room = tcp_room,
	.post = remote_tx_command,
};
