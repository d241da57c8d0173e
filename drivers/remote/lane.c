/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reactor's share: the connections that have something to receive or to send, one receive buffer
 * for all of them, and the poller. A round sends what the last one has brought, one writev per
 * connection, and receives, and posts what has waited for slots.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/base/util.h"
#include "drivers/remote/tcp.h"

static struct remote_lane lanes[REACTOR_MAX];

struct remote_lane *remote_lane_here(void)
{
	return &lanes[reactor_index()];
}

void remote_lane_ready(struct remote_queue *q)
{
	if (!list_linked(&q->ready))
		list_push(&q->lane->ready, &q->ready);
}

void remote_lane_send(struct remote_queue *q)
{
	if (!list_linked(&q->sending))
		list_push(&q->lane->sending, &q->sending);
}

static int lane_poll(struct poller *p)
{
	struct remote_lane *lane = container_of(p, struct remote_lane, poller);
	struct remote_queue *q;
	struct list list;
	int work = 0;

	/* one visit each: who is not through comes again in the next round */
	list_init(&list);
	list_splice(&list, &lane->sending);
	while ((q = list_pop_entry(&list, struct remote_queue, sending))) {
		work += remote_tx_step(q);
		if (unlikely(!list_empty(&q->waiting)))
			remote_queue_pump(q);
	}
	list_splice(&list, &lane->ready);
	while ((q = list_pop_entry(&list, struct remote_queue, ready))) {
		work += remote_recv(q);
		if (unlikely(!list_empty(&q->waiting)))
			remote_queue_pump(q);
	}
	return work;
}

static enum poller_arm lane_arm(struct poller *p)
{
	struct remote_lane *lane = container_of(p, struct remote_lane, poller);

	return list_empty(&lane->ready) && list_empty(&lane->sending) ? POLLER_ARMED
								      : POLLER_BUSY;
}

static void lane_start(void *arg)
{
	struct remote_lane *lane = remote_lane_here();

	list_init(&lane->ready);
	list_init(&lane->sending);
	lane->poller = (struct poller){ .name = "remote", .poll = lane_poll, .arm = lane_arm };
	poller_start(&lane->poller);
}

static void lane_stop(void *arg)
{
	poller_stop(&remote_lane_here()->poller);
}

static void rx_free(void)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		free(lanes[i].rx);
		lanes[i].rx = NULL;
	}
}

int remote_lanes_init(void)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		lanes[i].rx = malloc(REMOTE_RX_BYTES);
		if (!lanes[i].rx) {
			rx_free();
			return -ENOMEM;
		}
	}
	task_call_all(lane_start, NULL);
	return 0;
}

void remote_lanes_fini(void)
{
	task_call_all(lane_stop, NULL);
	rx_free();
}
