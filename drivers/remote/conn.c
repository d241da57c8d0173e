/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a connection, over whatever transport:
 *
 *   DOWN -open-> IC ------> UP ----------> CLOSING -------> DOWN
 *                 \__________\__-> TERM __/
 *
 * Whatever goes wrong ends in remote_conn_fail, from any state and any place. Commands are given
 * back as lost when the transport says that the connection is down: from then on it holds none of
 * their memory. TERM is TCP's (tcp.c): last bytes go out, but not for longer than REMOTE_TERM_MS.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/remote/remote.h"

static void close_begin(struct remote_queue *q)
{
	q->live = false;
	q->state = REMOTE_QUEUE_CLOSING;
	timer_cancel(&q->scan);
	q->transport->close(q);
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

void remote_conn_why(struct remote_queue *q, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	why_set(q, fmt, ap);
	va_end(ap);
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

static void scan_due(struct timer *t)
{
	struct remote_queue *q = container_of(t, struct remote_queue, scan);

	if (q->state == REMOTE_QUEUE_TERM)
		close_begin(q);
	else
		remote_queue_scan(q);
}

void remote_conn_reset(struct remote_queue *q)
{
	q->why[0] = '\0';
	q->live = false;
	q->large_reads = 0;
	q->tx_queued = 0;
	list_init(&q->waiting);
	list_init(&q->pending);
	event_init(&q->changed);
	timer_setup(&q->scan, scan_due);
}

void remote_conn_down(struct remote_queue *q)
{
	q->state = REMOTE_QUEUE_DOWN;
	remote_queue_lost(q);
	event_signal(&q->changed);
}

void remote_conn_down_wait(struct remote_queue *q)
{
	while (q->state != REMOTE_QUEUE_DOWN) {
		event_clear(&q->changed);
		task_wait(&q->changed);
	}
}

void remote_conn_close(struct remote_queue *q, const char *why)
{
	if (q->state == REMOTE_QUEUE_DOWN)
		return;
	if (q->state != REMOTE_QUEUE_TERM && q->state != REMOTE_QUEUE_CLOSING) {
		snprintf(q->why, sizeof(q->why), "%s", why);
		close_begin(q);
	}
	remote_conn_down_wait(q);
}
