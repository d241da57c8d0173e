/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See fake_rdma.h: events, connections and listeners. With fake_rdma_queue.c it takes the place of
 * core/rdma_plain.c in every unit test.
 */
#include "tests/unit/fake_rdma.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/fake_rdma_priv.h"

struct event_note {
	struct list link;
	struct fake_conn *c;
	struct rnic_event event;
	uint8_t private[RNIC_PRIVATE_MAX];
	bool request;
};

struct fake_rdma fake_rdma;

static struct list conns = LIST_INIT(conns), events = LIST_INIT(events);
static struct list listeners = LIST_INIT(listeners);
static struct rnic_domain domains[RNIC_ACCESS_COUNT];
static struct rnic_region regions[2];
static struct poller fabric;
static uint32_t qp_last;

struct listening {
	struct list link;
	struct rnic_listener *listener;
};

/* ---- events ---- */

void fake_conn_tell(struct fake_conn *c, struct rnic_event event)
{
	struct event_note *note = calloc(1, sizeof(*note));

	assert_non_null(note);
	note->c = c;
	note->event = event;
	if (event.private_len) {
		memcpy(note->private, event.private, event.private_len);
		note->event.private = note->private;
	}
	list_push(&events, &note->link);
}

static void events_forget(struct fake_conn *c)
{
	struct list keep = LIST_INIT(keep);
	struct event_note *note;

	while ((note = list_pop_entry(&events, struct event_note, link))) {
		if (note->c == c)
			free(note);
		else
			list_push(&keep, &note->link);
	}
	list_splice(&events, &keep);
}

static void conn_free(struct fake_conn *c)
{
	events_forget(c);
	if (c->peer)
		c->peer->peer = NULL;
	list_del(&c->link);
	free(c);
	fake_rdma.conns--;
}

static void deliver(struct event_note *note)
{
	struct fake_conn *c = note->c;

	if (note->request) {
		c->listener->request(c->listener, &c->conn, &note->event);
	} else if (note->event.type == RNIC_CLOSED) {
		c->conn.event(&c->conn, &note->event);
		conn_free(c);
	} else if (!c->closing) {
		c->conn.event(&c->conn, &note->event);
	}
	free(note);
}

static struct event_note *event_next(void)
{
	struct event_note *note;

	list_for_each(note, &events, link) {
		if (fake_rdma.lingers && note->event.type == RNIC_CLOSED && !note->request)
			continue;
		list_del(&note->link);
		return note;
	}
	return NULL;
}

static int fabric_poll(struct poller *p)
{
	struct event_note *note = event_next();
	struct fake_conn *c;
	int work = 0;

	if (note) {
		deliver(note);
		return 1;
	}
	list_for_each(c, &conns, link)
		work += fake_conn_step(c);
	return work;
}

/* ---- core/rdma.h ---- */

int rnic_init(void)
{
	return 0;
}

void rnic_fini(void)
{
}

unsigned rnic_devices(struct rnic_device_info *out, unsigned max)
{
	if (!fake_rdma.present || max == 0)
		return 0;
	*out = (struct rnic_device_info){
		.name = "fake0", .driver = "fake", .netdev = "eth0", .state = "active",
		.link = "Ethernet", .used = fake_rdma.conns > 0,
	};
	return 1;
}

struct rnic_domain *rnic_domain_get(struct rnic_device *d, enum rnic_access access)
{
	struct rnic_domain *domain = &domains[access];
	uintptr_t begin = (uintptr_t)fake_rdma.foreign, end = begin + fake_rdma.foreign_bytes;

	regions[0] = (struct rnic_region){ 0, begin ? begin : UINTPTR_MAX, LKEY, RKEY };
	regions[1] = (struct rnic_region){ end, UINTPTR_MAX, LKEY, RKEY };
	*domain = (struct rnic_domain){
		.device = d, .access = access, .region_count = begin ? 2 : 1, .regions = regions,
	};
	fake_rdma.domains++;
	return domain;
}

void rnic_domain_put(struct rnic_domain *domain)
{
	fake_rdma.domains--;
}

const char *rnic_status_text(uint32_t status)
{
	return status == RNIC_FLUSHED ? "flushed" : status == RNIC_OK ? "success" : "error";
}

/* ---- connections ---- */

static struct fake_conn *conn_make(void)
{
	struct fake_conn *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	list_init(&c->sends);
	list_init(&c->recvs);
	list_push(&conns, &c->link);
	c->conn.reactor = reactor_index();
	fake_rdma.conns++;
	return c;
}

struct rnic_conn *rnic_resolve(const struct net_addr *peer, const struct net_addr *local,
			       uint64_t timeout_us,
			       void (*event)(struct rnic_conn *conn,
					     const struct rnic_event *event), void *owner)
{
	struct fake_conn *c;

	if (!fake_rdma.present) {
		errno = ENODEV;
		return NULL;
	}
	c = conn_make();
	c->conn.event = event;
	c->conn.owner = owner;
	c->conn.peer = *peer;
	c->conn.device = &fake_rdma.device;
	fake_conn_tell(c, (struct rnic_event){ .type = RNIC_ROUTED });
	return &c->conn;
}

int rnic_queue_create(struct rnic_conn *conn, const struct rnic_queue *queue)
{
	struct fake_conn *c = fake_conn_of(conn);

	assert_false(c->has_queue);
	c->has_queue = true;
	c->cq = queue->cq;
	c->srq = queue->srq;
	c->domain = queue->domain;
	conn->qp = ++qp_last;
	fake_rdma.queues++;
	return 0;
}

int rnic_connect(struct rnic_conn *conn, const struct rnic_param *param)
{
	struct fake_conn *c = fake_conn_of(conn), *p;
	struct listening *l;

	assert_true(c->has_queue && param->private_len <= RNIC_REQUEST_PRIVATE_MAX);
	if (fake_rdma.deaf)
		return 0;
	list_for_each(l, &listeners, link) {
		if (l->listener->addr.port != conn->peer.port)
			continue;
		p = conn_make();
		p->conn.device = &fake_rdma.device;
		p->listener = l->listener;
		p->peer = c;
		c->peer = p;
		fake_conn_tell(p, (struct rnic_event){
			.type = RNIC_ROUTED, .private = param->private,
			.private_len = param->private_len, .reads_in = param->reads_out,
			.reads_out = param->reads_in,
		});
		list_entry(events.prev, struct event_note, link)->request = true;
		return 0;
	}
	fake_conn_tell(c, (struct rnic_event){
		.type = RNIC_FAILED, .error = -ECONNREFUSED, .reason = 8,
	});
	return 0;
}

int rnic_accept(struct rnic_conn *conn, const struct rnic_param *param)
{
	struct fake_conn *c = fake_conn_of(conn), *p = c->peer;

	assert_true(c->has_queue);
	if (!p || p->broken) {
		fake_conn_tell(c, (struct rnic_event){ .type = RNIC_FAILED, .error = -ECONNRESET });
		return 0;
	}
	c->up = p->up = true;
	fake_conn_tell(p, (struct rnic_event){
		.type = RNIC_ESTABLISHED, .private = param->private,
		.private_len = param->private_len, .reads_in = param->reads_out,
		.reads_out = param->reads_in,
	});
	fake_conn_tell(c, (struct rnic_event){ .type = RNIC_ESTABLISHED });
	return 0;
}

void rnic_reject(struct rnic_conn *conn, const void *private, size_t private_len)
{
	struct fake_conn *p = fake_conn_of(conn)->peer;

	if (p)
		fake_conn_tell(p, (struct rnic_event){
			.type = RNIC_FAILED, .error = -ECONNREFUSED, .reason = 28,
			.private = private, .private_len = private_len,
		});
}

void rnic_disconnect(struct rnic_conn *conn)
{
	fake_conn_break(fake_conn_of(conn));
}

void rnic_close(struct rnic_conn *conn)
{
	struct fake_conn *c = fake_conn_of(conn);

	assert_false(c->closing);
	c->closing = true;
	if (c->peer) {
		bool up = c->peer->up;

		fake_conn_break(c);
		if (!up && !c->listener)
			fake_conn_tell(c->peer, (struct rnic_event){ .type = RNIC_FAILED,
							   .error = -ECONNRESET });
		c->peer->peer = NULL;
		c->peer = NULL;
	}
	fake_work_free(&c->sends);
	fake_work_free(&c->recvs);
	fake_rdma.queues -= c->has_queue;
	c->has_queue = false;
	/* a request that was refused has nobody who hears of it */
	if (c->conn.event)
		fake_conn_tell(c, (struct rnic_event){ .type = RNIC_CLOSED });
	else
		conn_free(c);
}

int rnic_listen(struct rnic_listener *listener)
{
	struct listening *l;

	if (!fake_rdma.present)
		return -ENODEV;
	l = calloc(1, sizeof(*l));
	l->listener = listener;
	list_push(&listeners, &l->link);
	return 0;
}

/* Requests that nobody has been told of are refused. */
static void requests_drop(struct rnic_listener *listener)
{
	struct fake_conn *c, *tmp;

	list_for_each_safe(c, tmp, &conns, link) {
		if (c->listener != listener || c->conn.event)
			continue;
		if (c->peer)
			fake_conn_tell(c->peer, (struct rnic_event){
				.type = RNIC_FAILED, .error = -ECONNREFUSED, .reason = 8,
			});
		conn_free(c);
	}
}

void rnic_unlisten(struct rnic_listener *listener)
{
	struct listening *l;

	requests_drop(listener);
	list_for_each(l, &listeners, link) {
		if (l->listener != listener)
			continue;
		list_del(&l->link);
		free(l);
		return;
	}
}

void rnic_give(struct rnic_conn *conn, unsigned reactor)
{
	conn->reactor = reactor;
}

/* ---- for tests ---- */

void fake_rdma_start(void)
{
	memset(&fake_rdma, 0, sizeof(fake_rdma));
	fake_rdma.present = true;
	fake_rdma.device = (struct rnic_device){
		.name = "fake0", .invalidates = true, .send_max = 4096, .recv_max = 4096,
		.sge_max = PARTS_MAX, .read_sge_max = PARTS_MAX, .srq_max = 65536,
		.srq_sge_max = PARTS_MAX, .cq_max = FAKE_CQ_MAX, .reads_in_max = 16,
		.reads_out_max = 16,
	};
	fabric = (struct poller){ .name = "fake-rdma", .poll = fabric_poll };
	poller_start(&fabric);
}

void fake_rdma_stop(void)
{
	poller_stop(&fabric);
	assert_int_equal(fake_rdma.conns, 0);
	assert_int_equal(fake_rdma.queues, 0);
	assert_int_equal(fake_rdma.cqs, 0);
	assert_int_equal(fake_rdma.srqs, 0);
	assert_int_equal(fake_rdma.domains, 0);
	assert_true(list_empty(&events) && list_empty(&listeners));
}

void fake_rdma_remove(void)
{
	struct listening *l, *tmp;
	struct fake_conn *c;

	atomic_store(&fake_rdma.device.removed, true);
	fake_rdma.present = false;
	list_for_each(c, &conns, link)
		if (!c->closing && c->conn.event)
			fake_conn_tell(c, (struct rnic_event){ .type = RNIC_REMOVED });
	list_for_each_safe(l, tmp, &listeners, link)
		if (l->listener->removed)
			l->listener->removed(l->listener);
}

void fake_rdma_break(void)
{
	struct fake_conn *c;

	list_for_each(c, &conns, link)
		if (c->up && !c->closing)
			fake_conn_break(c);
}

void fake_rdma_invalidate(struct rnic_conn *conn)
{
	fake_conn_of(conn)->invalidate = true;
}
