/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA adapters of the host flavour: there is none, and so nothing that could be asked of one. Unit
 * tests link a double in its place (tests/unit/fake_rdma.c).
 */
#include <errno.h>

#include "core/base/panic.h"
#include "core/rdma.h"

int rnic_init(void)
{
	return 0;
}

void rnic_fini(void)
{
}

unsigned rnic_devices(struct rnic_device_info *out, unsigned max)
{
	(void)out;
	(void)max;
	return 0;
}

int rnic_listen(struct rnic_listener *listener)
{
	(void)listener;
	return -ENODEV;
}

struct rnic_conn *rnic_resolve(const struct net_addr *peer, const struct net_addr *local,
			       uint64_t timeout_us,
			       void (*event)(struct rnic_conn *conn,
					     const struct rnic_event *event), void *owner)
{
	errno = ENODEV;
	return NULL;
}

const char *rnic_status_text(uint32_t status)
{
	return status == RNIC_FLUSHED ? "flushed" : status == RNIC_OK ? "success" : "error";
}

/* ---- without an adapter there is no object to call these with ---- */

struct rnic_domain *rnic_domain_get(struct rnic_device *device, enum rnic_access access)
{
	panic("rdma: no device %p", (void *)device);
}

void rnic_domain_put(struct rnic_domain *domain)
{
	panic("rdma: no domain %p", (void *)domain);
}

struct rnic_cq *rnic_cq_create(struct rnic_device *device, unsigned entries)
{
	panic("rdma: no device %p", (void *)device);
}

void rnic_cq_destroy(struct rnic_cq *cq)
{
	panic("rdma: no queue %p", (void *)cq);
}

int rnic_cq_poll(struct rnic_cq *cq, struct rnic_done *done, int max)
{
	panic("rdma: no queue %p", (void *)cq);
}

enum poller_arm rnic_cq_arm(struct rnic_cq *cq)
{
	panic("rdma: no queue %p", (void *)cq);
}

struct rnic_srq *rnic_srq_create(struct rnic_domain *domain, unsigned entries, unsigned sges)
{
	panic("rdma: no domain %p", (void *)domain);
}

void rnic_srq_destroy(struct rnic_srq *srq)
{
	panic("rdma: no queue %p", (void *)srq);
}

int rnic_srq_post(struct rnic_srq *srq, struct rnic_recv *first)
{
	panic("rdma: no queue %p", (void *)srq);
}

int rnic_queue_create(struct rnic_conn *conn, const struct rnic_queue *queue)
{
	panic("rdma: no connection %p", (void *)conn);
}

int rnic_connect(struct rnic_conn *conn, const struct rnic_param *param)
{
	panic("rdma: no connection %p", (void *)conn);
}

int rnic_accept(struct rnic_conn *conn, const struct rnic_param *param)
{
	panic("rdma: no connection %p", (void *)conn);
}

void rnic_reject(struct rnic_conn *conn, const void *private, size_t private_len)
{
	panic("rdma: no connection %p", (void *)conn);
}

void rnic_disconnect(struct rnic_conn *conn)
{
	panic("rdma: no connection %p", (void *)conn);
}

void rnic_close(struct rnic_conn *conn)
{
	panic("rdma: no connection %p", (void *)conn);
}

int rnic_post_send(struct rnic_conn *conn, struct rnic_send *first)
{
	panic("rdma: no connection %p", (void *)conn);
}

int rnic_post_recv(struct rnic_conn *conn, struct rnic_recv *first)
{
	panic("rdma: no connection %p", (void *)conn);
}

void rnic_unlisten(struct rnic_listener *listener)
{
	panic("rdma: no listener %p", (void *)listener);
}

void rnic_give(struct rnic_conn *conn, unsigned reactor)
{
	panic("rdma: no connection %p", (void *)conn);
}
