/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections by librdmacm, and their queue pairs by libibverbs.
 *
 * What an event of the connection manager says travels from reactor 0 to the connection's reactor
 * as a message; each kind comes at most once per connection, so the messages are part of it.
 * Closing travels the other way. Destroying the queue pair and the identifier waits for what is on
 * its way, and a peer that has stopped can hold that up: it is a job of a helper thread. Reactor 0,
 * which reads all events, leaves those of a connection that is being destroyed aside; when it is
 * done no event can name it, and the last message, RNIC_CLOSED, comes after all others, because
 * messages of one sender keep their order.
 *
 * The queue pair is made in our own context of the device and given to the identifier, which then
 * moves it through its states.
 */
#include "core/rdma_verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"

enum {
	CONN_RESOLVE_MS = 2000,         /* unless said otherwise */
	CONN_ENDS_MAX = 4,              /* that block at a time */
};

static struct list conns = LIST_INIT(conns);
static struct task_line ends;           /* reactor 0's */

static struct cm_conn *cm_of(struct rnic_conn *conn)
{
	return container_of(conn, struct cm_conn, conn);
}

void rnic_verbs_addr(const struct net_addr *addr, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (addr->family == 4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(addr->port);
		memcpy(&in->sin_addr, addr->ip, 4);
	} else {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(addr->port);
		in6->sin6_scope_id = addr->scope;
		memcpy(&in6->sin6_addr, addr->ip, 16);
	}
}

/* ---- telling the owner ---- */

static void note_arrive(struct msg *msg)
{
	struct cm_note *note = container_of(msg, struct cm_note, msg);
	struct cm_conn *cc = note->conn;

	if (note->event.type == RNIC_CLOSED) {
		cc->conn.event(&cc->conn, &note->event);
		free(cc);
		return;
	}
	if (!cc->closing)
		cc->conn.event(&cc->conn, &note->event);
}

/* On reactor 0. */
void rnic_verbs_tell(struct cm_conn *cc, const struct rnic_event *event)
{
	struct cm_note *note = &cc->notes[event->type];

	if (note->sent)
		return;
	note->sent = true;
	note->conn = cc;
	note->event = *event;
	reactor_send(reactor_at(cc->conn.reactor), &note->msg, note_arrive);
}

void rnic_verbs_removed(struct verbs_device *vd)
{
	struct cm_conn *cc;

	atomic_store(&vd->device.removed, true);
	pthread_mutex_lock(&rnic_verbs_lock);
	list_for_each(cc, &conns, link)
		if (cc->conn.device == &vd->device)
			rnic_verbs_tell(cc, &(struct rnic_event){ .type = RNIC_REMOVED });
	pthread_mutex_unlock(&rnic_verbs_lock);
	rnic_verbs_deafen(vd);
}

void rnic_verbs_talks(struct ibv_qp *qp)
{
	struct cm_conn *cc = qp->qp_context;

	if (!cc->ending)
		rdma_notify(cc->cm.id, IBV_EVENT_COMM_EST);
}

/* ---- life ---- */

struct cm_conn *rnic_verbs_conn(void)
{
	struct cm_conn *cc = calloc(1, sizeof(*cc));

	if (!cc)
		return NULL;
	cc->conn.reactor = reactor_index();
	pthread_mutex_lock(&rnic_verbs_lock);
	list_push(&conns, &cc->link);
	pthread_mutex_unlock(&rnic_verbs_lock);
	return cc;
}

static void conn_unlist(struct cm_conn *cc)
{
	pthread_mutex_lock(&rnic_verbs_lock);
	list_del(&cc->link);
	pthread_mutex_unlock(&rnic_verbs_lock);
}

/* In a helper thread. Events of the queue pair and the identifier are answered before they go. */
static void conn_destroy(struct task_job *job)
{
	struct cm_conn *cc = container_of(job, struct cm_conn, end);

	if (cc->qp && ibv_destroy_qp(cc->qp) != 0)
		log_error("rdma: queue pair %u cannot be destroyed: errno %d", cc->conn.qp, errno);
	rdma_destroy_id(cc->cm.id);
}

static void conn_destroyed(struct task_job *job)
{
	struct cm_conn *cc = container_of(job, struct cm_conn, end);

	if (cc->conn.device)
		rnic_verbs_put(verbs_device_of(cc->conn.device));
	rnic_verbs_tell(cc, &(struct rnic_event){ .type = RNIC_CLOSED });
}

/* On reactor 0. */
static void conn_close(struct msg *msg)
{
	struct cm_conn *cc = container_of(msg, struct cm_conn, close_msg);

	conn_unlist(cc);
	cc->ending = true;
	/* librdmacm looks at it while it reads an event */
	cc->cm.id->qp = NULL;
	cc->end = (struct task_job){ .block = conn_destroy, .done = conn_destroyed };
	task_line_add(&ends, &cc->end);
}

void rnic_verbs_ends_init(void)
{
	task_line_init(&ends, "rdma end", CONN_ENDS_MAX);
}

void rnic_verbs_ends_wait(void)
{
	task_line_wait(&ends);
}

void rnic_close(struct rnic_conn *conn)
{
	struct cm_conn *cc = cm_of(conn);

	ASSERT(!cc->closing);
	cc->closing = true;
	reactor_send(reactor_at(0), &cc->close_msg, conn_close);
}

void rnic_give(struct rnic_conn *conn, unsigned reactor)
{
	conn->reactor = reactor;
}

/* ---- what owners call ---- */

struct rnic_conn *rnic_resolve(const struct net_addr *peer, const struct net_addr *local,
			       uint64_t timeout_us,
			       void (*event)(struct rnic_conn *conn,
					     const struct rnic_event *event), void *owner)
{
	struct sockaddr_storage to, from;
	struct rdma_event_channel *events;
	struct cm_conn *cc;
	int rc = rnic_verbs_channel(&events);

	if (rc) {
		errno = -rc;
		return NULL;
	}
	cc = rnic_verbs_conn();
	if (!cc)
		return NULL;
	cc->conn.event = event;
	cc->conn.owner = owner;
	cc->conn.peer = *peer;
	cc->resolve_ms = timeout_us ? (int)MIN(div_round_up(timeout_us, 1000), 60000ull)
				    : CONN_RESOLVE_MS;
	rnic_verbs_addr(peer, &to);
	if (local)
		rnic_verbs_addr(local, &from);
	rc = rdma_create_id(events, &cc->cm.id, &cc->cm, RDMA_PS_TCP) < 0 ? errno : 0;
	if (rc == 0 && rdma_resolve_addr(cc->cm.id, local ? (struct sockaddr *)&from : NULL,
					 (struct sockaddr *)&to, cc->resolve_ms) < 0) {
		rc = errno;
		rdma_destroy_id(cc->cm.id);
	}
	if (rc) {
		conn_unlist(cc);
		free(cc);
		errno = rc;
		return NULL;
	}
	return &cc->conn;
}

int rnic_queue_create(struct rnic_conn *conn, const struct rnic_queue *queue)
{
	struct cm_conn *cc = cm_of(conn);
	struct ibv_qp_init_attr init = {
		.qp_context = cc, .send_cq = rnic_verbs_cq(queue->cq),
		.recv_cq = rnic_verbs_cq(queue->cq), .srq = rnic_verbs_srq(queue->srq),
		.cap = {
			.max_send_wr = queue->sends, .max_send_sge = queue->send_sges,
			.max_recv_wr = queue->srq ? 0 : queue->recvs,
			.max_recv_sge = queue->srq ? 0 : queue->recv_sges,
		},
		.qp_type = IBV_QPT_RC,
	};
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT };
	int mask, rc;

	cc->qp = ibv_create_qp(rnic_verbs_pd(queue->domain), &init);
	if (!cc->qp)
		return -errno;
	rc = rdma_init_qp_attr(cc->cm.id, &attr, &mask) < 0 ? errno
							    : ibv_modify_qp(cc->qp, &attr, mask);
	if (rc) {
		ibv_destroy_qp(cc->qp);
		cc->qp = NULL;
		return -rc;
	}
	cc->cm.id->qp = cc->qp;
	conn->qp = cc->qp->qp_num;
	return 0;
}

static struct rdma_conn_param cm_param(const struct rnic_param *param)
{
	return (struct rdma_conn_param){
		.private_data = param->private, .private_data_len = (uint8_t)param->private_len,
		.responder_resources = (uint8_t)param->reads_in,
		.initiator_depth = (uint8_t)param->reads_out, .retry_count = RNIC_RETRIES,
		.rnr_retry_count = RNIC_RNR_FOREVER,
	};
}

int rnic_connect(struct rnic_conn *conn, const struct rnic_param *param)
{
	struct rdma_conn_param p = cm_param(param);

	return rdma_connect(cm_of(conn)->cm.id, &p) < 0 ? -errno : 0;
}

int rnic_accept(struct rnic_conn *conn, const struct rnic_param *param)
{
	struct rdma_conn_param p = cm_param(param);

	return rdma_accept(cm_of(conn)->cm.id, &p) < 0 ? -errno : 0;
}

void rnic_reject(struct rnic_conn *conn, const void *private, size_t private_len)
{
	rdma_reject(cm_of(conn)->cm.id, private, (uint8_t)private_len);
}

void rnic_disconnect(struct rnic_conn *conn)
{
	struct cm_conn *cc = cm_of(conn);
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	rdma_disconnect(cc->cm.id);
	if (cc->qp)
		ibv_modify_qp(cc->qp, &attr, IBV_QP_STATE);
}

int rnic_post_send(struct rnic_conn *conn, struct rnic_send *first)
{
	struct ibv_send_wr *bad;
	int rc = ibv_post_send(cm_of(conn)->qp, (struct ibv_send_wr *)first, &bad);

	return rc > 0 ? -rc : rc;
}

int rnic_post_recv(struct rnic_conn *conn, struct rnic_recv *first)
{
	struct ibv_recv_wr *bad;
	int rc = ibv_post_recv(cm_of(conn)->qp, (struct ibv_recv_wr *)first, &bad);

	return rc > 0 ? -rc : rc;
}
