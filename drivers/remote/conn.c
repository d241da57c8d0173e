/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a connection:
 *
 *   DOWN -open-> IC -ICResp-> UP ----------> CLOSING -CLOSED-> DOWN
 *                 \____________\__-> TERM __/
 *
 * Whatever goes wrong ends in remote_conn_fail, from any state and any place. Commands are given
 * back as lost when the stream has said CLOSED: from then on it holds none of their memory. TERM
 * sends H2CTermReq, ends our side, and drops what comes in until the target has closed too, so that
 * it gets our last bytes, but not for longer than REMOTE_TERM_MS.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/remote/remote.h"

static void close_begin(struct remote_queue *q)
{
	q->live = false;
	q->state = REMOTE_QUEUE_CLOSING;
	list_del(&q->ready);
	list_del(&q->sending);
	timer_cancel(&q->scan);
	stream_close(q->stream);
}

static bool is_ending(const struct remote_queue *q)
{
	return q->state == REMOTE_QUEUE_DOWN || q->state == REMOTE_QUEUE_CLOSING;
}

__attribute__((format(printf, 2, 0)))
static void why_set(struct remote_queue *q, const char *fmt, va_list ap)
{
	vsnprintf(q->why, sizeof(q->why), fmt, ap);
	if (q->ctrl->state == REMOTE_CTRL_LIVE)
		log_warn("%s q%u: %s", q->ctrl->opt.name, q->qid, q->why);
}

void remote_conn_fail(struct remote_queue *q, const char *fmt, ...)
{
	va_list ap;

	if (is_ending(q))
		return;
	if (q->state != REMOTE_QUEUE_TERM) {
		va_start(ap, fmt);
		why_set(q, fmt, ap);
		va_end(ap);
	}
	close_begin(q);
	remote_ctrl_want(q->ctrl, REMOTE_WANT_RESET);
}

__attribute__((format(printf, 2, 3)))
static void fault_why(struct remote_queue *q, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	why_set(q, fmt, ap);
	va_end(ap);
}

void remote_conn_fault(struct remote_queue *q, const struct remote_fault *fault,
		       const uint8_t *header, size_t len)
{
	if (q->state != REMOTE_QUEUE_IC && q->state != REMOTE_QUEUE_UP)
		return;
	if (fault->fes == 0) {
		remote_conn_fail(q, "%s", fault->what);
		return;
	}
	fault_why(q, "PDU type %u from the target is refused: %s (FES %u FEI %u)", header[0],
		  fault->what, fault->fes, fault->fei);
	q->live = false;
	q->state = REMOTE_QUEUE_TERM;
	remote_tx_term(q, fault, header, len);
	timer_arm(&q->scan, REMOTE_TERM_MS * 1000ull);
	event_signal(&q->changed);
	remote_ctrl_want(q->ctrl, REMOTE_WANT_RESET);
}

static void scan_due(struct timer *t)
{
	struct remote_queue *q = container_of(t, struct remote_queue, scan);

	if (q->state == REMOTE_QUEUE_TERM)
		close_begin(q);
	else
		remote_queue_scan(q);
}

static void conn_down(struct remote_queue *q)
{
	q->stream = NULL;
	q->state = REMOTE_QUEUE_DOWN;
	q->tx_head = q->tx_tail = 0;
	remote_queue_lost(q);
	event_signal(&q->changed);
}

static void conn_event(struct stream *stream, unsigned events)
{
	struct remote_queue *q = stream->owner;

	if (events & STREAM_CLOSED) {
		conn_down(q);
		return;
	}
	if (is_ending(q))
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

/* ---- in tasks ---- */

static void conn_reset(struct remote_queue *q)
{
	q->why[0] = '\0';
	q->live = q->tx_blocked = false;
	q->readable = true;
	q->rx = REMOTE_RX_HEADER;
	q->rx_slot = NULL;
	q->rx_pad = q->rx_left = 0;
	q->header_have = 0;
	q->large_reads = 0;
	q->tx_head = q->tx_tail = 0;
	q->tx_queued = 0;
	q->cpda = 0;
	q->framing = (struct remote_framing){
		.hdgst = q->ctrl->opt.hdgst, .ddgst = q->ctrl->opt.ddgst,
	};
	q->header_bytes = sizeof(struct nvme_tcp_cmd) +
			  (q->framing.hdgst ? NVME_TCP_DIGEST_BYTES : 0);
	q->lane = remote_lane_here();
	list_init(&q->ready);
	list_init(&q->sending);
	list_init(&q->waiting);
	list_init(&q->pending);
	event_init(&q->changed);
	timer_setup(&q->scan, scan_due);
}

static void down_wait(struct remote_queue *q)
{
	while (q->state != REMOTE_QUEUE_DOWN) {
		event_clear(&q->changed);
		task_wait(&q->changed);
	}
}

int remote_conn_open(struct remote_queue *q)
{
	struct stream *stream;
	int rc;

	conn_reset(q);
	rc = stream_connect(&q->ctrl->opt.addr, REMOTE_CONNECT_MS * 1000ull, &stream);
	if (rc < 0) {
		snprintf(q->why, sizeof(q->why), "no connection: %s", strerror(-rc));
		return rc;
	}
	q->stream = stream;
	stream->owner = q;
	stream->event = conn_event;
	q->state = REMOTE_QUEUE_IC;
	/* a stream may have had bytes before: positions count from here */
	q->tx_queued = stream->accepted;
	remote_tx_ic_req(q);
	remote_lane_ready(q);
	while (q->state == REMOTE_QUEUE_IC) {
		event_clear(&q->changed);
		if (task_wait_timeout(&q->changed, REMOTE_CONNECT_MS * 1000ull) < 0)
			remote_conn_fail(q, "no answer to ICReq");
	}
	if (q->state == REMOTE_QUEUE_UP)
		return 0;
	down_wait(q);
	return -EPROTO;
}

void remote_conn_close(struct remote_queue *q, const char *why)
{
	if (q->state == REMOTE_QUEUE_DOWN)
		return;
	if (q->state != REMOTE_QUEUE_TERM && q->state != REMOTE_QUEUE_CLOSING) {
		snprintf(q->why, sizeof(q->why), "%s", why);
		close_begin(q);
	}
	down_wait(q);
}
