/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The groups: per reactor a poller, receive buffers, and the lists of connections that have
 * something to do. A round first sends, for each connection what was answered since the last round
 * in one writev, then receives from those that are ready.
 */
#include "targets/nvmf/tcp.h"

#include <errno.h>

#include "core/base/log.h"
#include "core/config.h"
#include "core/dma.h"
#include "targets/nvmf/module.h"

static struct nvmf_tcp_group groups[REACTOR_MAX];

struct nvmf_tcp_group *nvmf_tcp_group_at(unsigned reactor)
{
	return &groups[reactor];
}

void nvmf_tcp_ready(struct nvmf_tcp_conn *conn)
{
	if (list_linked(&conn->ready) || conn->state > NVMF_TCP_LINGER)
		return;
	list_push(&conn->group->ready, &conn->ready);
	conn->group->ready_next++;
}

/* Sends, and ends our side of a lingering connection when all is sent and released. */
static int group_send(struct nvmf_tcp_conn *conn)
{
	int work = nvmf_tcp_send_step(conn);

	if (conn->state == NVMF_TCP_LINGER && !conn->shut &&
	    conn->tx.record_head == conn->tx.record_tail) {
		conn->shut = true;
		stream_shutdown(conn->stream);
		work++;
	}
	return work;
}

static int group_poll(struct poller *poller)
{
	struct nvmf_tcp_group *group = container_of(poller, struct nvmf_tcp_group, poller);
	struct nvmf_tcp_conn *conn, *tmp;
	struct list ready;
	int work = 0;

	group->ready_count = group->ready_next;
	group->ready_next = 0;
	while ((conn = list_pop_entry(&group->sending, struct nvmf_tcp_conn, sending)))
		work += group_send(conn);
	/* one visit each: who is not through comes again in the next round */
	list_init(&ready);
	list_splice(&ready, &group->ready);
	while ((conn = list_pop_entry(&ready, struct nvmf_tcp_conn, ready))) {
		work += nvmf_tcp_recv(conn);
		if (conn->move == NVMF_TCP_CONNECTED)
			nvmf_tcp_move_connected(conn);
	}
	list_for_each_safe(conn, tmp, &group->moving, moving)
		nvmf_tcp_move_step(conn);
	return work;
}

static enum poller_arm group_arm(struct poller *poller)
{
	struct nvmf_tcp_group *group = container_of(poller, struct nvmf_tcp_group, poller);

	return list_empty(&group->ready) && list_empty(&group->sending) &&
	       list_empty(&group->moving) ? POLLER_ARMED : POLLER_BUSY;
}

static void group_scan(struct timer *t)
{
	struct nvmf_tcp_group *group = container_of(t, struct nvmf_tcp_group, scan);
	uint64_t now = reactor_now_us();
	struct nvmf_tcp_conn *conn, *tmp;

	timer_arm(t, NVMF_TCP_SCAN_MS * 1000ull);
	list_for_each_safe(conn, tmp, &group->conns, link)
		nvmf_tcp_scan(conn, now);
}

/* ---- life ---- */

static int group_init(struct nvmf_tcp_group *group, unsigned index)
{
	group->poller = (struct poller){
		.name = "nvmf/tcp", .poll = group_poll, .arm = group_arm,
	};
	group->index = index;
	list_init(&group->conns);
	list_init(&group->ready);
	list_init(&group->sending);
	list_init(&group->moving);
	nvmf_tcp_shares_init(group);
	timer_setup(&group->scan, group_scan);
	group->rx_memory = dma_alloc((size_t)NVMF_TCP_RX_COUNT * NVMF_TCP_RX_BYTES,
				     DMA_PAGE_BYTES);
	if (!group->rx_memory)
		return -ENOMEM;
	for (unsigned i = 0; i < NVMF_TCP_RX_COUNT; i++)
		group->rx_free[i] = group->rx_memory + (size_t)i * NVMF_TCP_RX_BYTES;
	group->rx_free_count = NVMF_TCP_RX_COUNT;
	return 0;
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
		dma_free(groups[i].rx_memory);
		groups[i].rx_memory = NULL;
	}
}

static int tcp_listen(struct nvmf_port *port)
{
	port->listener.accept = nvmf_tcp_accept;
	return stream_listen(&port->listener);
}

static void tcp_unlisten(struct nvmf_port *port)
{
	stream_unlisten(&port->listener);
}

static struct nvmf_transport tcp_transport = {
	.name = "tcp",
	.trtype = NVMF_TRTYPE_TCP,
	.listen = tcp_listen,
	.unlisten = tcp_unlisten,
	.forget = nvmf_tcp_port_forget,
};

int nvmf_tcp_init(void)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		int rc = group_init(&groups[i], i);

		if (rc) {
			groups_free();
			return rc;
		}
	}
	task_call_all(group_start, NULL);
	nvmf_transport_register(&tcp_transport);
	return 0;
}

void nvmf_tcp_fini(void)
{
	nvmf_transport_unregister(&tcp_transport);
	nvmf_tcp_close_all();
	task_call_all(group_stop, NULL);
	groups_free();
}
