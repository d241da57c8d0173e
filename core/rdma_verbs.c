/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA devices by libibverbs: opening them, their limits, their protection domains with all DMA
 * memory registered, and their asynchronous events. The providers are linked statically; the
 * Makefile says which (RDMA_STATIC_PROVIDERS), and naming them to libibverbs is what the first call
 * of ibv_get_device_list does.
 *
 * The kernel tells users of a device that it goes, and takes it away; but the soft devices it takes
 * away only when all users have closed them, and tells only then. So once a second reactor 0 looks
 * whether the character devices of those in use are still there: they go first.
 */
#include "core/rdma_verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/dma.h"

enum { DEVICE_WATCH_US = 1000 * 1000 };

pthread_mutex_t rnic_verbs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list devices = LIST_INIT(devices);

static struct timer watch;

/* ---- devices that go ---- */

static bool device_there(const struct verbs_device *vd)
{
	char path[160];

	snprintf(path, sizeof(path), "/sys/class/infiniband_verbs/%s",
		 vd->context->device->dev_name);
	return access(path, F_OK) == 0;
}

/* Devices are opened and closed on this reactor, so the list holds still. */
static void devices_watch(struct timer *t)
{
	struct verbs_device *vd;

	if (!list_empty(&devices))
		timer_arm(t, DEVICE_WATCH_US);
	list_for_each(vd, &devices, device.link) {
		if (atomic_load(&vd->device.removed) || device_there(vd))
			continue;
		log_warn("rdma %s: the device is going away", vd->device.name);
		rnic_verbs_removed(vd);
	}
}

/* ---- asynchronous events ---- */

static void device_event(struct verbs_device *vd, const struct ibv_async_event *event)
{
	switch (event->event_type) {
	case IBV_EVENT_COMM_EST:
		rnic_verbs_talks(event->element.qp);
		return;
	case IBV_EVENT_DEVICE_FATAL:
		log_error("rdma %s: the device has failed", vd->device.name);
		rnic_verbs_removed(vd);
		return;
	case IBV_EVENT_PORT_ACTIVE:
	case IBV_EVENT_PORT_ERR:
		log_info("rdma %s: port %d is %s", vd->device.name, event->element.port_num,
			 event->event_type == IBV_EVENT_PORT_ACTIVE ? "up" : "down");
		return;
	case IBV_EVENT_CQ_ERR:
		log_error("rdma %s: a completion queue has overrun", vd->device.name);
		rnic_verbs_removed(vd);
		return;
	default:
		log_debug("rdma %s: %s", vd->device.name, ibv_event_type_str(event->event_type));
	}
}

static void device_async(struct fd_source *src, uint32_t events)
{
	struct verbs_device *vd = container_of(src, struct verbs_device, async);
	struct ibv_async_event event;

	while (ibv_get_async_event(vd->context, &event) == 0) {
		device_event(vd, &event);
		ibv_ack_async_event(&event);
	}
	/* the kernel's end has gone: it would tell for ever */
	if ((events & (EPOLLHUP | EPOLLERR)) && list_linked(&src->link)) {
		fd_source_remove(src);
		rnic_verbs_removed(vd);
	}
}

/* ---- life ---- */

static void device_limits(struct verbs_device *vd, const struct ibv_device_attr *attr)
{
	struct rnic_device *device = &vd->device;

	device->iwarp = vd->context->device->transport_type == IBV_TRANSPORT_IWARP;
	device->invalidates = attr->device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS;
	device->send_max = device->recv_max = (uint32_t)attr->max_qp_wr;
	device->sge_max = (uint32_t)attr->max_sge;
	device->read_sge_max = (uint32_t)(device->iwarp ? MAX(attr->max_sge_rd, 1) : attr->max_sge);
	device->srq_max = attr->max_srq > 0 ? (uint32_t)attr->max_srq_wr : 0;
	device->srq_sge_max = (uint32_t)attr->max_srq_sge;
	device->cq_max = (uint32_t)attr->max_cqe;
	device->reads_in_max = (uint32_t)MIN(attr->max_qp_rd_atom, UINT8_MAX);
	device->reads_out_max = (uint32_t)MIN(attr->max_qp_init_rd_atom, UINT8_MAX);
}

static struct verbs_device *device_open(struct ibv_device *found)
{
	struct verbs_device *vd = calloc(1, sizeof(*vd));
	struct ibv_device_attr attr;
	int rc;

	if (!vd)
		return NULL;
	vd->context = ibv_open_device(found);
	rc = vd->context ? ibv_query_device(vd->context, &attr) : errno;
	if (rc == 0) {
		snprintf(vd->device.name, sizeof(vd->device.name), "%s",
			 ibv_get_device_name(found));
		device_limits(vd, &attr);
		fcntl(vd->context->async_fd, F_SETFL,
		      fcntl(vd->context->async_fd, F_GETFL) | O_NONBLOCK);
		vd->async = (struct fd_source){
			.fd = vd->context->async_fd, .event = device_async,
		};
		rc = -fd_source_add(&vd->async, EPOLLIN);
	}
	if (rc) {
		log_warn("rdma %s: cannot be opened: %s", ibv_get_device_name(found), strerror(rc));
		if (vd->context)
			ibv_close_device(vd->context);
		free(vd);
		errno = rc;
		return NULL;
	}
	if (!watch.fn)
		timer_setup(&watch, devices_watch);
	timer_arm(&watch, DEVICE_WATCH_US);
	list_push(&devices, &vd->device.link);
	log_info("rdma %s: in use", vd->device.name);
	return vd;
}

/* On reactor 0. */
static void device_close(struct msg *msg)
{
	struct verbs_device *vd = container_of(msg, struct verbs_device, close_msg);

	pthread_mutex_lock(&rnic_verbs_lock);
	vd->close_sent = false;
	if (vd->refs) {
		pthread_mutex_unlock(&rnic_verbs_lock);
		return;
	}
	list_del(&vd->device.link);
	pthread_mutex_unlock(&rnic_verbs_lock);
	if (list_linked(&vd->async.link))
		fd_source_remove(&vd->async);
	ibv_close_device(vd->context);
	log_info("rdma %s: not in use any more", vd->device.name);
	free(vd);
}

void rnic_verbs_ref(struct verbs_device *vd)
{
	vd->refs++;
}

struct verbs_device *rnic_verbs_get(struct ibv_context *found)
{
	const char *name = ibv_get_device_name(found->device);
	struct verbs_device *vd;

	pthread_mutex_lock(&rnic_verbs_lock);
	list_for_each(vd, &devices, device.link)
		if (strcmp(vd->device.name, name) == 0 && !atomic_load(&vd->device.removed))
			goto found;
	vd = device_open(found->device);
	if (vd) {
found:
		rnic_verbs_ref(vd);
	}
	pthread_mutex_unlock(&rnic_verbs_lock);
	return vd;
}

static void device_unref(struct verbs_device *vd)
{
	if (--vd->refs || vd->close_sent)
		return;
	vd->close_sent = true;
	reactor_send(reactor_at(0), &vd->close_msg, device_close);
}

void rnic_verbs_put(struct verbs_device *vd)
{
	pthread_mutex_lock(&rnic_verbs_lock);
	device_unref(vd);
	pthread_mutex_unlock(&rnic_verbs_lock);
}

/* ---- memory ---- */

struct verbs_domain {
	struct rnic_domain domain;
	unsigned refs;
	struct ibv_pd *pd;
	struct ibv_mr **mrs;            /* as many as regions */
};

struct ibv_pd *rnic_verbs_pd(struct rnic_domain *domain)
{
	return container_of(domain, struct verbs_domain, domain)->pd;
}

static int domain_access(const struct rnic_domain *domain)
{
	int access = IBV_ACCESS_LOCAL_WRITE;

	if (domain->access == RNIC_REMOTE)
		return access | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	/* iWARP answers a read by a tagged write, to which our end of it is remote */
	return domain->device->iwarp ? access | IBV_ACCESS_REMOTE_WRITE : access;
}

static int domain_register(void *va, size_t len, void *arg)
{
	struct verbs_domain *vdom = arg;
	unsigned count = vdom->domain.region_count;
	struct rnic_region *regions;
	struct ibv_mr **mrs, *mr;

	regions = reallocarray(vdom->domain.regions, count + 1, sizeof(*regions));
	if (!regions)
		return -ENOMEM;
	vdom->domain.regions = regions;
	mrs = reallocarray(vdom->mrs, count + 1, sizeof(*mrs));
	if (!mrs)
		return -ENOMEM;
	vdom->mrs = mrs;
	mr = ibv_reg_mr(vdom->pd, va, len, domain_access(&vdom->domain));
	if (!mr)
		return errno ? -errno : -ENOMEM;
	mrs[count] = mr;
	regions[count] = (struct rnic_region){
		.begin = (uintptr_t)va, .end = (uintptr_t)va + len, .lkey = mr->lkey,
		.rkey = mr->rkey,
	};
	vdom->domain.region_count++;
	return 0;
}

static void domain_free(struct verbs_domain *vdom)
{
	for (unsigned i = 0; i < vdom->domain.region_count; i++)
		ibv_dereg_mr(vdom->mrs[i]);
	if (vdom->pd)
		ibv_dealloc_pd(vdom->pd);
	free(vdom->mrs);
	free(vdom->domain.regions);
	free(vdom);
}

static struct verbs_domain *domain_create(struct rnic_device *device, enum rnic_access access)
{
	struct verbs_domain *vdom = calloc(1, sizeof(*vdom));
	int rc;

	if (!vdom)
		return NULL;
	vdom->domain.device = device;
	vdom->domain.access = access;
	vdom->pd = ibv_alloc_pd(verbs_device_of(device)->context);
	rc = vdom->pd ? dma_each(domain_register, vdom) : -errno;
	if (rc) {
		log_error("rdma %s: memory cannot be registered: %s", device->name, strerror(-rc));
		domain_free(vdom);
		errno = -rc;
		return NULL;
	}
	return vdom;
}

struct rnic_domain *rnic_domain_get(struct rnic_device *device, enum rnic_access access)
{
	struct verbs_device *vd = verbs_device_of(device);
	struct verbs_domain *vdom;

	pthread_mutex_lock(&rnic_verbs_lock);
	if (vd->domains[access]) {
		vdom = container_of(vd->domains[access], struct verbs_domain, domain);
	} else {
		vdom = domain_create(device, access);
		if (vdom) {
			vd->domains[access] = &vdom->domain;
			rnic_verbs_ref(vd);
		}
	}
	if (vdom)
		vdom->refs++;
	pthread_mutex_unlock(&rnic_verbs_lock);
	return vdom ? &vdom->domain : NULL;
}

void rnic_domain_put(struct rnic_domain *domain)
{
	struct verbs_domain *vdom = container_of(domain, struct verbs_domain, domain);
	struct verbs_device *vd = verbs_device_of(domain->device);

	pthread_mutex_lock(&rnic_verbs_lock);
	if (--vdom->refs == 0) {
		vd->domains[domain->access] = NULL;
		domain_free(vdom);
		device_unref(vd);
	}
	pthread_mutex_unlock(&rnic_verbs_lock);
}

/* ---- what there is ---- */

/* First line of the file PATH/NAME, without its end; "" when there is none. */
static void file_line(const char *device, const char *name, char *out, size_t len)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/%s", device, name);
	f = fopen(path, "re");
	out[0] = 0;
	if (!f)
		return;
	if (!fgets(out, (int)len, f))
		out[0] = 0;
	out[strcspn(out, "\n")] = 0;
	fclose(f);
}

static const char *state_text(const char *line)
{
	if (strncmp(line, "4:", 2) == 0)
		return "active";
	return strncmp(line, "1:", 2) == 0 ? "down" : "starting";
}

static void device_describe(struct ibv_device *found, struct rnic_device_info *out)
{
	char line[64], path[160], target[256];
	const struct verbs_device *vd;
	const char *driver;
	ssize_t n;

	*out = (struct rnic_device_info){ 0 };
	snprintf(out->name, sizeof(out->name), "%s", ibv_get_device_name(found));
	file_line(out->name, "ports/1/state", line, sizeof(line));
	out->state = state_text(line);
	file_line(out->name, "ports/1/link_layer", line, sizeof(line));
	out->link = strcmp(line, "InfiniBand") == 0 ? "InfiniBand" : "Ethernet";
	file_line(out->name, "ports/1/gid_attrs/ndevs/0", out->netdev, sizeof(out->netdev));
	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/device/driver", out->name);
	n = readlink(path, target, sizeof(target) - 1);
	target[MAX(n, 0)] = 0;
	driver = strrchr(target, '/');
	/* soft-RoCE and soft-iWARP stand on no device */
	if (!driver)
		driver = found->transport_type == IBV_TRANSPORT_IWARP ? "/siw" : "/rxe";
	snprintf(out->driver, sizeof(out->driver), "%.63s", driver + 1);
	list_for_each(vd, &devices, device.link)
		out->used |= strcmp(vd->device.name, out->name) == 0;
}

unsigned rnic_devices(struct rnic_device_info *out, unsigned max)
{
	int count = 0;
	struct ibv_device **list = ibv_get_device_list(&count);
	unsigned total = list ? (unsigned)MAX(count, 0) : 0;

	pthread_mutex_lock(&rnic_verbs_lock);
	for (unsigned i = 0; i < MIN(total, max); i++)
		device_describe(list[i], &out[i]);
	pthread_mutex_unlock(&rnic_verbs_lock);
	if (list)
		ibv_free_device_list(list);
	return total;
}
