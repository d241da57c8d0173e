/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reactor's RDMA queues, and the poller that is there while one of them is. A round reaps
 * completions, posts io that waited for slots, and hands the adapter each queue's chain of sends at
 * once: one doorbell.
 */
#include "core/base/util.h"
#include "drivers/remote/rdma.h"
#include "drivers/remote/remote.h"

static struct rdma_lane {
	struct poller poller;
	struct list queues;
	unsigned count;
} lanes[REACTOR_MAX];

static int lane_poll(struct poller *p)
{
	struct rdma_lane *lane = container_of(p, struct rdma_lane, poller);
	struct list *at = lane->queues.next;
	int work = 0;

	/* a queue may leave, and be freed, in its turn: the next one is taken before */
	while (at != &lane->queues) {
		struct remote_rdma *r = list_entry(at, struct remote_rdma, link);

		at = at->next;
		work += remote_rdma_reap(r);
	}
	return work;
}

static enum poller_arm lane_arm(struct poller *p)
{
	struct rdma_lane *lane = container_of(p, struct rdma_lane, poller);
	struct remote_rdma *r;

	list_for_each(r, &lane->queues, link) {
		enum poller_arm arm;

		if (r->send_first || r->recv_first)
			return POLLER_BUSY;
		arm = r->gone ? POLLER_ARMED : rnic_cq_arm(r->cq);
		if (arm != POLLER_ARMED)
			return arm;
	}
	return POLLER_ARMED;
}

void remote_rdma_lane_add(struct remote_rdma *r)
{
	struct rdma_lane *lane = &lanes[reactor_index()];

	if (lane->count++ == 0) {
		list_init(&lane->queues);
		lane->poller = (struct poller){
			.name = "remote-rdma", .poll = lane_poll, .arm = lane_arm,
		};
		poller_start(&lane->poller);
	}
	list_push(&lane->queues, &r->link);
}

void remote_rdma_lane_remove(struct remote_rdma *r)
{
	struct rdma_lane *lane = &lanes[reactor_index()];

	list_del(&r->link);
	if (--lane->count == 0)
		poller_stop(&lane->poller);
}
