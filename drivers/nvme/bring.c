/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bringing a controller up: the device, its interrupts, the admin queue, Identify, as many I/O
 * queues as it, its vectors and the reactors allow, shadow doorbells, events; and taking it all
 * down again. After a reset the same road is taken from the point where the controller is enabled.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/buf.h"
#include "core/config.h"
#include "core/dma.h"
#include "drivers/nvme/nvme.h"

enum {
	LIST_BYTES_MIN = 64,
	LIST_SGL_BYTES = 1024,
	SMART_WARNINGS = 0x1f,          /* all of the SMART log's critical warnings */
	QUEUE_DEPTH_MIN = 2,
	VER_1_3 = 0x00010300,
};

/* ---- device, vectors, admin queue ---- */

static void device_removed(struct pci_dev *dev)
{
	struct nvme_ctrl *c = dev->owner;

	c->removed = true;
	nvme_ctrl_wake(c);
}

/* One eventfd per vector that we can use: the admin queue's, and one per reactor. */
static int vectors_open(struct nvme_ctrl *c)
{
	unsigned count = MIN(c->pci->vector_count, reactor_count() + 1);
	int rc;

	c->vector_fds = calloc(reactor_count() + 1, sizeof(int));
	if (!c->vector_fds)
		return -ENOMEM;
	for (; c->vector_fd_count < count; c->vector_fd_count++) {
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		if (fd < 0)
			return -errno;
		c->vector_fds[c->vector_fd_count] = fd;
	}
	if (count == 0)
		return 0;
	rc = c->pci->ops->vectors_set(c->pci, c->vector_fds, count);
	if (rc < 0)
		log_error("%s %s: no interrupts: %s", c->name, c->pci->name, strerror(-rc));
	return rc;
}

static void doorbells_set(struct nvme_ctrl *c, struct nvme_queue *q)
{
	size_t stride = 4u << nvme_cap_dstrd(c->cap);
	volatile char *base = (volatile char *)c->pci->bar + NVME_REG_DOORBELLS;

	q->sq_doorbell = (volatile uint32_t *)(base + 2 * q->qid * stride);
	q->cq_doorbell = (volatile uint32_t *)(base + (2 * q->qid + 1) * stride);
}

static void admin_woken(struct fd_source *src, uint32_t events)
{
	nvme_queue_reap(container_of(src, struct nvme_queue, irq));
}

static int admin_poll(struct poller *p)
{
	return nvme_queue_reap(container_of(p, struct nvme_queue, poller));
}

/* Without interrupts: events of the controller wait for the keeper's next look. */
static enum poller_arm admin_arm(struct poller *p)
{
	const struct nvme_queue *q = container_of(p, struct nvme_queue, poller);

	return q->ctrl->admin_users ? POLLER_DEAF : POLLER_ARMED;
}

static int admin_open(struct nvme_ctrl *c)
{
	struct nvme_queue *q = &c->admin;
	unsigned depth = MIN((unsigned)NVME_ADMIN_DEPTH, nvme_cap_mqes(c->cap) + 1u);
	int rc = nvme_queue_init(q, c, 0, MAX(depth, (unsigned)QUEUE_DEPTH_MIN + 1), 0);

	if (rc < 0)
		return rc;
	c->page = dma_alloc(MAX(c->page_bytes, (size_t)NVME_DATA_BYTES), c->page_bytes);
	if (!c->page)
		return -ENOMEM;
	doorbells_set(c, q);
	if (c->vector_fd_count == 0) {
		q->poller = (struct poller){ .name = "nvme admin", .poll = admin_poll,
					     .arm = admin_arm };
		poller_start(&q->poller);
		return 0;
	}
	q->vector = 0;
	q->irq.fd = c->vector_fds[0];
	q->irq.event = admin_woken;
	rc = fd_source_add(&q->irq, EPOLLIN | EPOLLET);
	if (rc < 0)
		q->irq.fd = -1;
	return rc;
}

static void admin_close(struct nvme_ctrl *c)
{
	struct nvme_queue *q = &c->admin;

	if (!q->slots)
		return;
	if (q->irq.fd >= 0)
		fd_source_remove(&q->irq);
	if (q->poller.poll)
		poller_stop(&q->poller);
	nvme_queue_fini(q);
}

/* ---- what the controller is ---- */

static int ctrl_identify(struct nvme_ctrl *c)
{
	union {
		struct nvme_id_ctrl ctrl;
		struct nvme_id_ctrl_nvm nvm;
	} id;
	const char *why = "Identify failed";
	char serial[sizeof(c->info.serial)];
	int rc = nvme_admin_identify(c, NVME_CNS_CTRL, 0, 0, &id);

	memcpy(serial, c->info.serial, sizeof(serial));
	if (rc == 0) {
		rc = nvme_ctrl_decode(&id.ctrl, c->page_bytes, &c->info, &why);
		c->awupf = le16_get(id.ctrl.awupf);
	}
	if (rc == 0 && c->queues && strcmp(serial, c->info.serial) != 0) {
		why = "after the reset it is another drive";
		rc = -ENODEV;
	}
	if (rc < 0) {
		log_error("%s %s: %s (%s)", c->name, c->pci->name, why, strerror(-rc));
		return rc;
	}
	memset(&c->limits, 0, sizeof(c->limits));
	if ((c->info.ver >= NVME_VS_2_0_0 || (nvme_cap_css(c->cap) & NVME_CAP_CSS_CSI)) &&
	    nvme_admin_identify(c, NVME_CNS_IOCS_CTRL, 0, NVME_CSI_NVM, &id) == 0)
		nvme_nvm_limits_decode(&id.nvm, c->page_bytes, &c->limits);
	return 0;
}

/* Asks for N pairs of queues; how many there are, or -errno. */
static int queues_ask(struct nvme_ctrl *c, unsigned n)
{
	struct nvme_admin_result result;
	int rc = nvme_admin_feature(c, NVME_FEAT_QUEUES, (n - 1) << 16 | (n - 1), &result);
	unsigned got;

	if (rc < 0)
		return rc;
	got = MIN(result.dw0 & 0xffff, result.dw0 >> 16) + 1;
	return MIN(got, n);
}

/* ---- I/O queues ---- */

/* Queue pairs that the reactors, the vectors and the size of BAR 0 allow. */
static unsigned queues_wanted(const struct nvme_ctrl *c)
{
	size_t stride = 4u << nvme_cap_dstrd(c->cap);
	size_t pairs = (c->pci->bar_bytes - NVME_REG_DOORBELLS) / (2 * stride);
	unsigned n = reactor_count();

	if (c->vector_fd_count > 0)
		n = MIN(n, MAX(c->vector_fd_count - 1, 1u));
	return pairs > 1 ? MIN(n, pairs - 1) : 0;
}

static size_t list_bytes(const struct nvme_ctrl *c)
{
	size_t need = c->xfer_bytes_max / c->page_bytes * sizeof(le64), bytes = LIST_BYTES_MIN;

	need = MAX(need, c->sgl ? (size_t)LIST_SGL_BYTES : 0);
	while (bytes < need)
		bytes *= 2;
	return bytes;
}

static int queue_open(struct nvme_ctrl *c, unsigned i)
{
	struct nvme_queue *q = &c->queues[i];
	int rc;

	q->reactor = i;
	q->back = calloc(reactor_count(), sizeof(*q->back));
	if (!q->back)
		return -ENOMEM;
	for (unsigned r = 0; r < reactor_count(); r++)
		list_init(&q->back[r]);
	rc = nvme_queue_init(q, c, i + 1, c->queue_depth, list_bytes(c));
	if (rc < 0)
		return rc;
	doorbells_set(c, q);
	if (c->vector_fd_count == 1) {
		/* shared with the admin queue, whose fd wakes this reactor */
		q->vector = 0;
	} else if (c->vector_fd_count > 1) {
		q->vector = i + 1;
		q->irq.fd = c->vector_fds[i + 1];
		q->maskable = c->pci->vector_table;
	}
	return 0;
}

static int queues_alloc(struct nvme_ctrl *c)
{
	unsigned wanted = queues_wanted(c);
	int n = wanted ? queues_ask(c, wanted) : -ENOTSUP;
	uint64_t xfer = BUF_REQUEST_MAX;

	if (n < 0) {
		log_error("%s %s: gives no I/O queues (%s)", c->name, c->pci->name, strerror(-n));
		return n;
	}
	c->sgl = c->va && (c->info.sgls & 3);
	if (c->info.xfer_bytes_max)
		xfer = MIN(xfer, c->info.xfer_bytes_max);
	c->xfer_bytes_max = xfer;
	c->queue_depth = MIN(config.nvme_queue_depth, nvme_cap_mqes(c->cap) + 1u);
	c->queue_depth = MAX(MIN(c->queue_depth, (unsigned)NVME_DEPTH_MAX),
			     (unsigned)QUEUE_DEPTH_MIN);
	c->queues = calloc(n, sizeof(*c->queues));
	c->forwards = calloc(reactor_count(), sizeof(*c->forwards));
	if (!c->queues || !c->forwards)
		return -ENOMEM;
	for (; c->queue_count < (unsigned)n; c->queue_count++) {
		int rc = queue_open(c, c->queue_count);

		if (rc < 0) {
			c->queue_count++;
			log_error("%s: no memory for queue %u; raise the memory", c->name,
				  c->queue_count);
			return rc;
		}
	}
	return 0;
}

static int queues_create(struct nvme_ctrl *c)
{
	for (unsigned i = 0; i < c->queue_count; i++) {
		int rc = nvme_admin_queues_create(c, &c->queues[i]);

		if (rc < 0) {
			log_error("%s: cannot create queue %u (%s)", c->name, i + 1, strerror(-rc));
			return rc;
		}
	}
	return 0;
}

/* ---- shadow doorbells and events: nice to have, their failure is only logged ---- */

static void shadow_place(struct nvme_ctrl *c, struct nvme_queue *q)
{
	size_t step = (4u << nvme_cap_dstrd(c->cap)) / sizeof(uint32_t);
	size_t at = 2 * q->qid * step;
	uint32_t *events = c->shadow + c->page_bytes / sizeof(uint32_t);

	c->shadow[at] = q->sq_tail;
	c->shadow[at + step] = q->cq_head;
	q->sq_shadow = (struct nvme_shadow){ &c->shadow[at], &events[at] };
	q->cq_shadow = (struct nvme_shadow){ &c->shadow[at + step], &events[at + step] };
}

static void shadow_open(struct nvme_ctrl *c)
{
	size_t need = (c->queue_count + 1) * 2 * (4u << nvme_cap_dstrd(c->cap));

	if (!(c->info.oacs & NVME_OACS_DOORBELL_BUFFER) || need > c->page_bytes)
		return;
	if (!c->shadow)
		c->shadow = dma_alloc(2 * c->page_bytes, c->page_bytes);
	if (!c->shadow)
		return;
	memset(c->shadow, 0, 2 * c->page_bytes);
	if (nvme_admin_shadow(c) < 0) {
		log_info("%s: goes without shadow doorbells", c->name);
		return;
	}
	shadow_place(c, &c->admin);
	for (unsigned i = 0; i < c->queue_count; i++)
		shadow_place(c, &c->queues[i]);
	c->shadow_on = true;
}

static void shadow_clear(struct nvme_ctrl *c)
{
	c->shadow_on = false;
	memset(&c->admin.sq_shadow, 0, sizeof(c->admin.sq_shadow));
	memset(&c->admin.cq_shadow, 0, sizeof(c->admin.cq_shadow));
	for (unsigned i = 0; i < c->queue_count; i++) {
		memset(&c->queues[i].sq_shadow, 0, sizeof(struct nvme_shadow));
		memset(&c->queues[i].cq_shadow, 0, sizeof(struct nvme_shadow));
	}
}

static void events_open(struct nvme_ctrl *c)
{
	uint32_t events = SMART_WARNINGS | (c->info.oaes & NVME_OAES_NS_CHANGED);
	int rc = nvme_admin_feature(c, NVME_FEAT_AEC, events, NULL);

	if (rc < 0)
		log_warn("%s: events cannot be chosen (%s)", c->name, strerror(-rc));
	nvme_admin_aer_post(c);
}

int nvme_bring_enable(struct nvme_ctrl *c)
{
	int rc;

	shadow_clear(c);
	nvme_queue_clear(&c->admin);
	rc = pci_bus_master(c->pci, true);
	if (rc == 0)
		rc = nvme_regs_enable(c);
	if (rc < 0) {
		log_error("%s %s: does not become ready (%s)", c->name, c->pci->name,
			  strerror(-rc));
		return rc;
	}
	rc = ctrl_identify(c);
	if (rc == 0 && !c->queues) {
		rc = queues_alloc(c);
	} else if (rc == 0) {
		rc = queues_ask(c, c->queue_count);
		if (rc >= 0)
			rc = (unsigned)rc < c->queue_count ? -ENOSPC : 0;
	}
	if (rc == 0)
		rc = queues_create(c);
	if (rc < 0)
		return rc;
	shadow_open(c);
	events_open(c);
	return c->admin_live ? 0 : -EIO;
}

/* ---- lanes ---- */

/* On every reactor. */
static void lanes_open(void *arg)
{
	struct nvme_ctrl *c = arg;
	unsigned r = reactor_index();

	if (r < c->queue_count) {
		nvme_lane_open(&c->queues[r]);
		nvme_lane_start(&c->queues[r]);
	} else {
		nvme_forward_open(&c->forwards[r], &c->queues[r % c->queue_count]);
	}
}

static void lanes_close(void *arg)
{
	struct nvme_ctrl *c = arg;
	unsigned r = reactor_index();

	if (r < c->queue_count)
		nvme_lane_close(&c->queues[r]);
	else
		nvme_forward_close(&c->forwards[r]);
}

int nvme_bring_up(struct nvme_ctrl *c, const struct pci_addr *addr)
{
	int rc = pci_open(addr, &c->pci);

	if (rc < 0) {
		log_error("%s: cannot open the device (%s)", c->name, strerror(-rc));
		return rc;
	}
	c->pci->owner = c;
	c->pci->removed = device_removed;
	rc = nvme_regs_probe(c);
	if (rc == 0)
		rc = vectors_open(c);
	if (rc == 0)
		rc = admin_open(c);
	if (rc < 0)
		return rc;
	/* what ran here before must not write to memory once it may */
	rc = nvme_regs_disable(c);
	if (rc == -ETIMEDOUT && c->pci->ops->reset(c->pci) == 0)
		rc = nvme_regs_disable(c);
	if (rc < 0) {
		log_error("%s %s: does not stop (%s)", c->name, c->pci->name, strerror(-rc));
		return rc;
	}
	rc = nvme_bring_enable(c);
	if (rc < 0)
		return rc;
	c->state = NVME_CTRL_LIVE;
	task_call_all(lanes_open, c);
	log_info("%s %s: %s, serial %s, %u queues of %u", c->name, c->pci->name, c->info.model,
		 c->info.serial, c->queue_count, c->queue_depth);
	rc = nvme_scan(c);
	if (rc < 0)
		log_error("%s: cannot list its namespaces (%s)", c->name, strerror(-rc));
	return 0;
}

void nvme_bring_down(struct nvme_ctrl *c)
{
	bool gone = c->state == NVME_CTRL_GONE;

	/* before the first start of a queue there are no lanes */
	if (c->state != NVME_CTRL_ATTACHING)
		task_call_all(lanes_close, c);
	if (c->pci && !gone) {
		if (c->admin_live)
			nvme_regs_shutdown(c);
		else
			nvme_regs_disable(c);
		pci_bus_master(c->pci, false);
	}
	c->state = NVME_CTRL_GONE;
	nvme_admin_cancel(c, -ENODEV);
	while (c->admin_users > 0)
		task_yield();
	admin_close(c);
	for (unsigned i = 0; i < c->queue_count; i++) {
		nvme_queue_fini(&c->queues[i]);
		free(c->queues[i].back);
	}
	free(c->queues);
	free(c->forwards);
	dma_free(c->page);
	dma_free(c->shadow);
	if (c->pci) {
		c->pci->removed = NULL;
		if (c->vector_fd_count)
			c->pci->ops->vectors_clear(c->pci);
		c->pci->ops->close(c->pci);
		c->pci = NULL;
	}
	while (c->vector_fd_count > 0)
		close(c->vector_fds[--c->vector_fd_count]);
	free(c->vector_fds);
}
