/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listening for RDMA connections. A port whose device goes is retried with back-off like one whose
 * address is not there yet.
 *
 * Registering all memory takes a while, so each device that hosts have come in by keeps its
 * protection domain for as long as any port listens, and until it is removed.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/base/log.h"
#include "targets/nvmf/rdma.h"

struct rdma_listener {
	struct rnic_listener rnic;
	struct nvmf_port *port;
};

struct rdma_keep {
	struct list link;
	struct rnic_domain *domain;
};

static struct list keeps = LIST_INIT(keeps);
static struct timer keep_timer;
static unsigned listening;

/* ---- kept domains ---- */

static void keep_drop(struct rdma_keep *keep)
{
	list_del(&keep->link);
	rnic_domain_put(keep->domain);
	free(keep);
}

static void keep_scan(struct timer *t)
{
	struct rdma_keep *keep, *tmp;

	list_for_each_safe(keep, tmp, &keeps, link)
		if (atomic_load(&keep->domain->device->removed))
			keep_drop(keep);
	if (!list_empty(&keeps))
		timer_arm(t, NVMF_RDMA_KEEP_MS * 1000ull);
}

void nvmf_rdma_keep(struct rnic_device *device)
{
	struct rdma_keep *keep;

	list_for_each(keep, &keeps, link)
		if (keep->domain->device == device)
			return;
	keep = calloc(1, sizeof(*keep));
	if (!keep)
		return;
	keep->domain = rnic_domain_get(device, RNIC_LOCAL);
	if (!keep->domain) {
		free(keep);
		return;
	}
	if (list_empty(&keeps)) {
		timer_setup(&keep_timer, keep_scan);
		timer_arm(&keep_timer, NVMF_RDMA_KEEP_MS * 1000ull);
	}
	list_push(&keeps, &keep->link);
}

void nvmf_rdma_keep_none(void)
{
	struct rdma_keep *keep, *tmp;

	if (list_empty(&keeps))
		return;
	timer_cancel(&keep_timer);
	list_for_each_safe(keep, tmp, &keeps, link)
		keep_drop(keep);
}

/* ---- ports ---- */

static void listener_request(struct rnic_listener *rnic, struct rnic_conn *conn,
			     const struct rnic_event *event)
{
	struct rdma_listener *listener = container_of(rnic, struct rdma_listener, rnic);

	nvmf_rdma_request(listener->port, conn, event);
}

static void listener_removed(struct rnic_listener *rnic)
{
	struct rdma_listener *listener = container_of(rnic, struct rdma_listener, rnic);

	nvmf_port_lost(listener->port, -ENODEV);
}

int nvmf_rdma_listen(struct nvmf_port *port)
{
	struct rdma_listener *listener = calloc(1, sizeof(*listener));
	int rc;

	if (!listener)
		return -ENOMEM;
	listener->port = port;
	listener->rnic = (struct rnic_listener){
		.addr = port->listener.addr, .request = listener_request,
		.removed = listener_removed,
	};
	rc = rnic_listen(&listener->rnic);
	if (rc) {
		free(listener);
		return rc;
	}
	port->listener.addr.port = listener->rnic.addr.port;
	port->listener.priv = listener;
	listening++;
	return 0;
}

void nvmf_rdma_unlisten(struct nvmf_port *port)
{
	struct rdma_listener *listener = port->listener.priv;

	rnic_unlisten(&listener->rnic);
	port->listener.priv = NULL;
	free(listener);
	if (--listening == 0)
		nvmf_rdma_keep_none();
}
