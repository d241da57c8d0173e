/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to core/rdma_verbs*.c: what stands behind core/rdma.h when adapters are real. */
#ifndef CORE_RDMA_VERBS_H
#define CORE_RDMA_VERBS_H

#include <pthread.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <sys/socket.h>

#include "core/rdma.h"
#include "core/task_line.h"

/*
 * Opened on reactor 0, when the connection manager first names it; closed there when nothing refers
 * to it any more. The context is ours, because librdmacm's lives only as long as its identifiers.
 */
struct verbs_device {
	struct rnic_device device;
	struct ibv_context *context;
	unsigned refs;                  /* connections, domains, completion queues */
	struct rnic_domain *domains[RNIC_ACCESS_COUNT];
	struct fd_source async;
	struct msg close_msg;
	bool close_sent;
};

static inline struct verbs_device *verbs_device_of(struct rnic_device *device)
{
	return container_of(device, struct verbs_device, device);
}

/* What an identifier's context points to. */
struct cm_owner {
	struct rdma_cm_id *id;
	bool listens;
};

struct cm_note {
	struct msg msg;
	struct cm_conn *conn;
	struct rnic_event event;
	bool sent;
};

struct cm_conn {
	struct cm_owner cm;
	struct rnic_conn conn;
	struct ibv_qp *qp;
	struct list link;               /* conns, under the lock */
	bool closing;                   /* the connection's reactor's */
	bool ending;                    /* reactor 0's: it is being destroyed */
	int resolve_ms;
	struct msg close_msg;
	struct task_job end;
	struct cm_note notes[RNIC_EVENT_COUNT];
	uint8_t private[RNIC_PRIVATE_MAX];
};

/* Of devices, domains, and the list of connections. */
extern pthread_mutex_t rnic_verbs_lock;

/* rdma_verbs.c */
/* On reactor 0: a reference to what the connection manager has found; NULL: errno. */
struct verbs_device *rnic_verbs_get(struct ibv_context *found);
/* Under the lock. */
void rnic_verbs_ref(struct verbs_device *vd);
/* Any reactor. */
void rnic_verbs_put(struct verbs_device *vd);

/* rdma_verbs_queue.c */
struct ibv_cq *rnic_verbs_cq(struct rnic_cq *cq);
struct ibv_srq *rnic_verbs_srq(struct rnic_srq *srq);
struct ibv_pd *rnic_verbs_pd(struct rnic_domain *domain);

/* rdma_verbs_cm.c */
/* The event channel; -ENODEV as long as there is no adapter. */
int rnic_verbs_channel(struct rdma_event_channel **out);
/* On reactor 0: tells the listeners on a device that goes. */
void rnic_verbs_deafen(const struct verbs_device *vd);

/* rdma_verbs_conn.c */
void rnic_verbs_addr(const struct net_addr *addr, struct sockaddr_storage *ss);
/* Of the calling reactor, without identifier; NULL: no memory. */
struct cm_conn *rnic_verbs_conn(void);
/* On reactor 0. */
void rnic_verbs_tell(struct cm_conn *cc, const struct rnic_event *event);
/* The module's life. The second in a task: until every connection that was closed is destroyed. */
void rnic_verbs_ends_init(void);
void rnic_verbs_ends_wait(void);
/* On reactor 0: the device has failed, or goes. */
void rnic_verbs_removed(struct verbs_device *vd);
/* On reactor 0: data has come before the connection manager said that we are connected. */
void rnic_verbs_talks(struct ibv_qp *qp);

#endif
