/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The groups: per reactor a poller, the lanes of its connections, and what a round has gathered for
 * posting. A round takes the completions of each lane and then posts: first all receives, then each
 * connection's chain. What is answered between rounds goes out with the next.
 */
#include "targets/nvmf/rdma.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/log.h"
#include "core/config.h"
#include "targets/nvmf/module.h"

static struct nvmf_rdma_group groups[REACTOR_MAX];

struct nvmf_rdma_group *nvmf_rdma_group_at(unsigned reactor)
{
	return &groups[reactor];
}

/* ---- completions ---- */

static void recv_done(struct nvmf_rdma_lane *lane, struct nvmf_rdma_conn *conn,
		      const struct rnic_done *done)
{
	struct nvmf_rdma_recv *recv = (struct nvmf_rdma_recv *)(uintptr_t)done->id;

	if (likely(conn && done->status == RNIC_OK)) {
		recv->len = done->len;
		nvmf_rdma_recv(conn, recv);
		return;
	}
	/* a lane's receives outlive connections, a connection's own do not */
	if (conn || lane->srq_size)
		nvmf_rdma_recv_put(nvmf_rdma_group_at(reactor_index()), recv);
	if (conn)
		nvmf_rdma_close(conn, "receiving: %s", rnic_status_text(done->status));
}

/* Requests that waited for room in the send queue. */
static void room_run(struct nvmf_rdma_conn *conn)
{
	struct nvmf_rdma_req *tr;

	if (conn->state >= NVMF_RDMA_FLUSHING)
		return;
	while ((tr = list_first_entry(&conn->send_wait, struct nvmf_rdma_req, link)) &&
	       nvmf_rdma_send_answer(conn, tr)) {
		list_del(&tr->link);
		tr->phase = NVMF_RDMA_SENDING;
	}
	while ((tr = list_first_entry(&conn->read_wait, struct nvmf_rdma_req, link)) &&
	       nvmf_rdma_send_reads(conn, tr)) {
		list_del(&tr->link);
		tr->phase = NVMF_RDMA_READING;
	}
}

static void send_done(struct nvmf_rdma_conn *conn, const struct rnic_done *done)
{
	struct nvmf_rdma_req *tr =
		(struct nvmf_rdma_req *)(uintptr_t)(done->id & ~(uint64_t)NVMF_RDMA_KIND_MASK);
	unsigned kind = done->id & NVMF_RDMA_KIND_MASK;
	bool good = done->status == RNIC_OK;

	/* first: it abandons what waits */
	if (unlikely(!good))
		nvmf_rdma_close(conn, "%s: %s", kind == NVMF_RDMA_KIND_READ ? "reading" : "sending",
				rnic_status_text(done->status));
	if (unlikely(kind == NVMF_RDMA_KIND_PART))
		return;
	nvmf_rdma_send_done(conn, tr);
	if (kind == NVMF_RDMA_KIND_READ && good && conn->state < NVMF_RDMA_FLUSHING)
		nvmf_rdma_req_read(conn, tr);
	else
		nvmf_rdma_req_put(conn, tr);
	room_run(conn);
	nvmf_rdma_resume(conn);
	nvmf_rdma_check(conn);
}

int nvmf_rdma_lane_poll(struct nvmf_rdma_lane *lane)
{
	struct rnic_done dones[NVMF_RDMA_DONES];
	int count = rnic_cq_poll(lane->cq, dones, NVMF_RDMA_DONES);

	for (int i = 0; i < count; i++) {
		struct nvmf_rdma_conn *conn = nvmf_rdma_lane_find(lane, dones[i].qp);

		if ((dones[i].id & NVMF_RDMA_KIND_MASK) == NVMF_RDMA_KIND_RECV)
			recv_done(lane, conn, &dones[i]);
		else if (likely(conn))
			send_done(conn, &dones[i]);
	}
	return MAX(count, 0);
}

/* ---- the poller ---- */

static int group_poll(struct poller *poller)
{
	struct nvmf_rdma_group *group = container_of(poller, struct nvmf_rdma_group, poller);
	struct nvmf_rdma_lane *lane;
	int work = 0;

	/* lanes come and go with connections, in messages only */
	list_for_each(lane, &group->lanes, link)
		work += nvmf_rdma_lane_poll(lane);
	if (!list_empty(&group->pools) || !list_empty(&group->posting)) {
		work++;
		nvmf_rdma_pools_post(group);
		nvmf_rdma_sends_post(group);
	}
	return work;
}

static enum poller_arm group_arm(struct poller *poller)
{
	struct nvmf_rdma_group *group = container_of(poller, struct nvmf_rdma_group, poller);
	struct nvmf_rdma_lane *lane;

	if (!list_empty(&group->pools) || !list_empty(&group->posting))
		return POLLER_BUSY;
	list_for_each(lane, &group->lanes, link) {
		enum poller_arm armed = rnic_cq_arm(lane->cq);

		if (armed != POLLER_ARMED)
			return armed;
	}
	return POLLER_ARMED;
}

static void group_scan(struct timer *t)
{
	struct nvmf_rdma_group *group = container_of(t, struct nvmf_rdma_group, scan);
	uint64_t now = reactor_now_us();
	struct nvmf_rdma_conn *conn, *tmp;

	timer_arm(t, NVMF_RDMA_SCAN_MS * 1000ull);
	list_for_each_safe(conn, tmp, &group->conns, link)
		nvmf_rdma_scan(conn, now);
}

/* ---- life ---- */

static int group_init(struct nvmf_rdma_group *group, unsigned index)
{
	*group = (struct nvmf_rdma_group){
		.poller = { .name = "nvmf/rdma", .poll = group_poll, .arm = group_arm },
		.index = index,
	};
	list_init(&group->conns);
	list_init(&group->lanes);
	list_init(&group->pools);
	list_init(&group->posting);
	timer_setup(&group->scan, group_scan);
	group->wrs = calloc(NVMF_RDMA_WRS, sizeof(*group->wrs));
	return group->wrs ? 0 : -ENOMEM;
}

/* Tasks on each reactor. */
static void group_start(void *arg)
{
	(void)arg;
	poller_start(&groups[reactor_index()].poller);
}

static void group_stop(void *arg)
{
	(void)arg;
	poller_stop(&groups[reactor_index()].poller);
}

static void groups_free(void)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		free(groups[i].wrs);
		groups[i].wrs = NULL;
	}
}

static struct nvmf_transport rdma_transport = {
	.name = "rdma",
	.trtype = NVMF_TRTYPE_RDMA,
	.no_device = "no RDMA device has this address; rdma link add makes one",
	.listen = nvmf_rdma_listen,
	.unlisten = nvmf_rdma_unlisten,
	.forget = nvmf_rdma_port_forget,
};

int nvmf_rdma_init(void)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		int rc = group_init(&groups[i], i);

		if (rc) {
			groups_free();
			return rc;
		}
	}
	task_call_all(group_start, NULL);
	nvmf_transport_register(&rdma_transport);
	return 0;
}

void nvmf_rdma_fini(void)
{
	nvmf_transport_unregister(&rdma_transport);
	nvmf_rdma_close_all();
	nvmf_rdma_keep_none();
	task_call_all(group_stop, NULL);
	groups_free();
}
