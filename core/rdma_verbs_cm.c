/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connection manager's events, and listeners, by librdmacm. There is one event channel, and
 * reactor 0 reads it; rdma_verbs_conn.c tells the connections.
 */
#include "core/rdma_verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <rdma/rdma_cma.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"

enum {
	CM_BACKLOG = 1024,
	CM_BUDGET = 64,                 /* events of a round */
};

struct cm_listener {
	struct cm_owner cm;
	struct rnic_listener *listener;
	struct list link;               /* listeners */
};

/*
 * An event, copied so that it can be acknowledged before anything is done about it. Its identifier
 * may go then, if it is being destroyed; its owner stays until reactor 0 says that it is closed.
 */
struct cm_event {
	enum rdma_cm_event_type type;
	struct rdma_cm_id *id;          /* of a request: a new one */
	struct cm_owner *owner;
	int status;
	unsigned reads_in, reads_out;
	size_t private_len;
	uint8_t private[RNIC_PRIVATE_MAX];
};

static struct rdma_event_channel *channel;
static struct fd_source channel_source;
static struct msg channel_msg;
static struct list listeners = LIST_INIT(listeners);

/* ---- addresses ---- */

static void addr_from_sock(const struct sockaddr *sa, struct net_addr *addr)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	memset(addr, 0, sizeof(*addr));
	if (sa->sa_family == AF_INET6) {
		addr->family = 6;
		addr->prefix_len = 128;
		addr->port = ntohs(in6->sin6_port);
		addr->scope = in6->sin6_scope_id;
		memcpy(addr->ip, &in6->sin6_addr, 16);
		return;
	}
	addr->family = 4;
	addr->prefix_len = 32;
	addr->port = ntohs(in->sin_port);
	memcpy(addr->ip, &in->sin_addr, 4);
}

/* ---- what events say ---- */

static void note_failed(struct cm_conn *cc, int error)
{
	rnic_verbs_tell(cc, &(struct rnic_event){ .type = RNIC_FAILED, .error = error });
}

/* One of the private data that came with EV; CC keeps a copy. */
static void note_answer(struct cm_conn *cc, const struct cm_event *ev, enum rnic_event_type type,
			int error)
{
	memcpy(cc->private, ev->private, ev->private_len);
	rnic_verbs_tell(cc, &(struct rnic_event){
		.type = type, .error = error, .reason = (unsigned)ev->status,
		.reads_in = ev->reads_in, .reads_out = ev->reads_out,
		.private = cc->private, .private_len = ev->private_len,
	});
}

/* ---- connections ---- */

static void conn_found(struct cm_conn *cc, struct verbs_device *vd)
{
	struct rdma_cm_id *id = cc->cm.id;

	cc->conn.device = &vd->device;
	addr_from_sock(rdma_get_local_addr(id), &cc->conn.local);
	addr_from_sock(rdma_get_peer_addr(id), &cc->conn.peer);
}

/* Ours: the address is resolved, and now the route. */
static void conn_address(struct cm_conn *cc)
{
	struct verbs_device *vd = rnic_verbs_get(cc->cm.id->verbs);

	if (!vd) {
		note_failed(cc, -errno);
		return;
	}
	conn_found(cc, vd);
	if (rdma_resolve_route(cc->cm.id, cc->resolve_ms) < 0)
		note_failed(cc, -errno);
}

static void conn_event(struct cm_conn *cc, const struct cm_event *ev)
{
	if (cc->ending)
		return;
	switch (ev->type) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		conn_address(cc);
		return;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		rnic_verbs_tell(cc, &(struct rnic_event){ .type = RNIC_ROUTED });
		return;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
		note_failed(cc, ev->status < 0 ? ev->status : -EHOSTUNREACH);
		return;
	case RDMA_CM_EVENT_REJECTED:
		note_answer(cc, ev, RNIC_FAILED, -ECONNREFUSED);
		return;
	case RDMA_CM_EVENT_ESTABLISHED:
		note_answer(cc, ev, RNIC_ESTABLISHED, 0);
		return;
	case RDMA_CM_EVENT_DISCONNECTED:
		rnic_verbs_tell(cc, &(struct rnic_event){ .type = RNIC_DISCONNECTED });
		return;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		if (cc->conn.device)
			atomic_store(&cc->conn.device->removed, true);
		rnic_verbs_tell(cc, &(struct rnic_event){ .type = RNIC_REMOVED });
		return;
	default:
		return;
	}
}

/* ---- listeners ---- */

static void request_event(struct cm_listener *cl, const struct cm_event *ev)
{
	struct verbs_device *vd = rnic_verbs_get(ev->id->verbs);
	struct cm_conn *cc = vd ? rnic_verbs_conn() : NULL;
	struct rnic_event event = {
		.reads_in = ev->reads_in, .reads_out = ev->reads_out, .private = ev->private,
		.private_len = ev->private_len,
	};

	if (!cc) {
		log_warn("rdma: a connection is refused: %s", strerror(errno));
		rdma_reject(ev->id, NULL, 0);
		rdma_destroy_id(ev->id);
		if (vd)
			rnic_verbs_put(vd);
		return;
	}
	cc->cm.id = ev->id;
	ev->id->context = &cc->cm;
	conn_found(cc, vd);
	cl->listener->request(cl->listener, &cc->conn, &event);
}

static void listener_event(struct cm_listener *cl, const struct cm_event *ev)
{
	if (ev->type == RDMA_CM_EVENT_CONNECT_REQUEST)
		request_event(cl, ev);
	else if (ev->type == RDMA_CM_EVENT_DEVICE_REMOVAL)
		cl->listener->removed(cl->listener);
}

void rnic_verbs_deafen(const struct verbs_device *vd)
{
	struct cm_listener *cl, *tmp;

	list_for_each_safe(cl, tmp, &listeners, link) {
		const struct ibv_context *context = cl->cm.id->verbs;

		if (context && strcmp(ibv_get_device_name(context->device), vd->device.name) == 0)
			cl->listener->removed(cl->listener);
	}
}

/* ---- the channel ---- */

static bool channel_read(struct cm_event *ev)
{
	struct rdma_cm_event *event;
	const struct rdma_conn_param *param;

	if (rdma_get_cm_event(channel, &event) < 0)
		return false;
	param = &event->param.conn;
	*ev = (struct cm_event){
		.type = event->event, .id = event->id,
		.owner = event->listen_id ? event->listen_id->context : event->id->context,
		.status = event->status, .reads_in = param->responder_resources,
		.reads_out = param->initiator_depth,
	};
	if (param->private_data) {
		ev->private_len = MIN((size_t)param->private_data_len, sizeof(ev->private));
		memcpy(ev->private, param->private_data, ev->private_len);
	}
	rdma_ack_cm_event(event);
	return true;
}

static void channel_event(struct fd_source *src, uint32_t events)
{
	struct cm_event ev;

	(void)src;
	(void)events;
	for (unsigned i = 0; i < CM_BUDGET && channel_read(&ev); i++) {
		if (ev.owner->listens)
			listener_event(container_of(ev.owner, struct cm_listener, cm), &ev);
		else
			conn_event(container_of(ev.owner, struct cm_conn, cm), &ev);
	}
}

/* On reactor 0. */
static void channel_watch(struct msg *msg)
{
	int rc;

	(void)msg;
	channel_source = (struct fd_source){ .fd = channel->fd, .event = channel_event };
	rc = fd_source_add(&channel_source, EPOLLIN);
	if (rc)
		log_error("rdma: the connection manager is not heard: %s", strerror(-rc));
}

/* 0, or -ENODEV as long as there is no adapter. */
int rnic_verbs_channel(struct rdma_event_channel **out)
{
	struct rnic_device_info info;
	int rc = 0;

	/* an adapter that has come since: its provider must be known before librdmacm looks */
	if (!channel && rnic_devices(&info, 1) == 0)
		return -ENODEV;
	pthread_mutex_lock(&rnic_verbs_lock);
	if (!channel) {
		channel = rdma_create_event_channel();
		if (!channel) {
			rc = errno ? -errno : -ENODEV;
		} else {
			fcntl(channel->fd, F_SETFL, fcntl(channel->fd, F_GETFL) | O_NONBLOCK);
			reactor_send(reactor_at(0), &channel_msg, channel_watch);
		}
	}
	*out = channel;
	pthread_mutex_unlock(&rnic_verbs_lock);
	return rc;
}

int rnic_init(void)
{
	rnic_verbs_ends_init();
	return 0;
}

void rnic_fini(void)
{
	rnic_verbs_ends_wait();
	if (!channel)
		return;
	if (list_linked(&channel_source.link))
		fd_source_remove(&channel_source);
	rdma_destroy_event_channel(channel);
	channel = NULL;
}

int rnic_listen(struct rnic_listener *listener)
{
	struct cm_listener *cl;
	struct rdma_event_channel *events;
	struct sockaddr_storage ss;
	int rc = rnic_verbs_channel(&events);

	if (rc)
		return rc;
	cl = calloc(1, sizeof(*cl));
	if (!cl)
		return -ENOMEM;
	cl->cm.listens = true;
	cl->listener = listener;
	rnic_verbs_addr(&listener->addr, &ss);
	if (rdma_create_id(events, &cl->cm.id, &cl->cm, RDMA_PS_TCP) < 0) {
		rc = -errno;
		free(cl);
		return rc;
	}
	if (rdma_bind_addr(cl->cm.id, (struct sockaddr *)&ss) < 0 ||
	    rdma_listen(cl->cm.id, CM_BACKLOG) < 0) {
		rc = -errno;
		rdma_destroy_id(cl->cm.id);
		free(cl);
		return rc;
	}
	listener->addr.port = ntohs(rdma_get_src_port(cl->cm.id));
	listener->priv = cl;
	list_push(&listeners, &cl->link);
	return 0;
}

void rnic_unlisten(struct rnic_listener *listener)
{
	struct cm_listener *cl = listener->priv;

	list_del(&cl->link);
	rdma_destroy_id(cl->cm.id);
	free(cl);
	listener->priv = NULL;
}
