/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controllers and their keepers. A keeper is one task per controller on reactor 0, and its life is
 * the controller's: it brings it up, then waits for orders (events, resets, scans, removal) and
 * looks at its registers every second, and when the last disk has left takes it down. Because all
 * of that is one task, no two recoveries ever run at once.
 *
 * Drives are numbered by PCI address: those found at start in address order, later ones after them;
 * an address keeps its number while this process lives.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/config.h"
#include "drivers/nvme/nvme.h"

static struct list ctrls = LIST_INIT(ctrls);
static struct pci_addr places[NVME_CTRL_MAX];
static unsigned place_count;

struct nvme_ctrl *nvme_ctrl_next(const struct nvme_ctrl *prev)
{
	const struct list *next = prev ? prev->link.next : ctrls.next;

	return next == &ctrls ? NULL : list_entry(next, struct nvme_ctrl, link);
}

struct nvme_ctrl *nvme_ctrl_find(const char *name)
{
	struct nvme_ctrl *c;

	list_for_each(c, &ctrls, link)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

/* ---- orders from elsewhere ---- */

void nvme_ctrl_wake(struct nvme_ctrl *c)
{
	event_signal(&c->wake);
}

static void wake_arrived(struct msg *msg)
{
	struct nvme_ctrl *c = container_of(msg, struct nvme_ctrl, wake_msg);

	__atomic_store_n(&c->wake_sent, false, __ATOMIC_RELEASE);
	nvme_ctrl_wake(c);
}

void nvme_ctrl_want_reset(struct nvme_ctrl *c, const char *fmt, ...)
{
	int nothing = NVME_WANT_NOTHING;
	va_list ap;

	if (!__atomic_compare_exchange_n(&c->want_reset, &nothing, NVME_WANT_WRITING, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	va_start(ap, fmt);
	vsnprintf(c->reason, sizeof(c->reason), fmt, ap);
	va_end(ap);
	__atomic_store_n(&c->want_reset, NVME_WANT_RESET, __ATOMIC_RELEASE);
	if (!__atomic_exchange_n(&c->wake_sent, true, __ATOMIC_ACQ_REL))
		reactor_send(reactor_at(0), &c->wake_msg, wake_arrived);
}

struct each_queue {
	struct nvme_ctrl *c;
	void (*fn)(struct nvme_queue *q);
};

static void each_queue_here(void *arg)
{
	const struct each_queue *each = arg;
	unsigned r = reactor_index();

	if (r < each->c->queue_count)
		each->fn(&each->c->queues[r]);
}

void nvme_ctrl_each_queue(struct nvme_ctrl *c, void (*fn)(struct nvme_queue *q))
{
	struct each_queue each = { c, fn };

	task_call_all(each_queue_here, &each);
}

/* ---- asynchronous events: base 2.0c 5.2.1 ---- */

static void smart_event(struct nvme_ctrl *c)
{
	struct nvme_log_smart smart;
	struct bdev_health health;
	struct nvme_ns *ns;

	if (nvme_admin_log(c, NVME_LID_SMART, UINT32_MAX, &smart, sizeof(smart)))
		return;
	log_warn("%s: SMART: critical warning %02x, %u K, spare %u%%, used %u%%", c->name,
		 smart.critical_warning, le16_un_get(smart.composite_temperature),
		 smart.available_spare, smart.percentage_used);
	nvme_health_decode(&smart, &health);
	list_for_each(ns, &c->namespaces, link)
		bdev_health_tell(&ns->bdev, &health);
}

static void error_event(struct nvme_ctrl *c)
{
	struct nvme_log_error e;

	if (nvme_admin_log(c, NVME_LID_ERROR, UINT32_MAX, &e, sizeof(e)) == 0)
		log_warn("%s: reports error %llu: q%u cid %04x status %04x", c->name,
			 (unsigned long long)le64_get(e.error_count), le16_get(e.sqid),
			 le16_get(e.cid), le16_get(e.status) >> NVME_STATUS_SHIFT);
}

static void aer_handle(struct nvme_ctrl *c)
{
	unsigned type = c->aer_dw0 & 7, info = c->aer_dw0 >> NVME_AER_INFO_SHIFT & 0xff;
	unsigned lid = c->aer_dw0 >> NVME_AER_LID_SHIFT & 0xff;
	uint8_t page[NVME_DATA_BYTES];

	c->aer = false;
	if (type == NVME_AER_SMART) {
		smart_event(c);
	} else if (type == NVME_AER_ERROR) {
		error_event(c);
	} else if (type == NVME_AER_NOTICE && info == NVME_AER_NOTICE_NS_CHANGED) {
		nvme_admin_log(c, NVME_LID_CHANGED_NS, UINT32_MAX, page, sizeof(page));
		c->want_scan = true;
	} else {
		log_info("%s: event type %u info %02x log %02x", c->name, type, info, lid);
		/* reading the page lets the next event of this type come */
		nvme_admin_log(c, lid, UINT32_MAX, page, 512);
	}
	nvme_admin_aer_post(c);
}

/* ---- the keeper ---- */

static void disks_leave(struct nvme_ctrl *c)
{
	struct nvme_ns *ns;

	list_for_each(ns, &c->namespaces, link)
		nvme_disk_leave(ns);
}

static void scan_again(struct nvme_ctrl *c)
{
	int rc;

	c->want_scan = false;
	c->scanning = true;
	rc = nvme_scan(c);
	c->scanning = false;
	c->scans++;
	if (rc < 0)
		log_error("%s: cannot list its namespaces (%s)", c->name, strerror(-rc));
}

static bool wants_reset(const struct nvme_ctrl *c)
{
	return __atomic_load_n(&c->want_reset, __ATOMIC_ACQUIRE) == NVME_WANT_RESET;
}

static void keeper_round(struct nvme_ctrl *c)
{
	if (c->removed && c->state == NVME_CTRL_LIVE)
		nvme_reset_give_up(c, "is taken out");
	if (c->state == NVME_CTRL_LIVE)
		nvme_reset_health(c);
	if (c->state == NVME_CTRL_LIVE && wants_reset(c))
		nvme_reset(c);
	if (c->state == NVME_CTRL_LIVE && c->aer)
		aer_handle(c);
	if (c->leave || c->state == NVME_CTRL_GONE)
		disks_leave(c);
	else if (c->want_scan)
		scan_again(c);
}

static bool keeper_done(const struct nvme_ctrl *c)
{
	return (c->leave || c->state == NVME_CTRL_GONE) && list_empty(&c->namespaces);
}

static void keeper(void *arg)
{
	struct nvme_ctrl *c = arg;

	c->attach_rc = nvme_bring_up(c, &places[c->index]);
	event_signal(&c->attached);
	while (c->attach_rc == 0 && !keeper_done(c)) {
		task_wait_timeout(&c->wake, NVME_HEALTH_MS * 1000ull);
		event_clear(&c->wake);
		keeper_round(c);
	}
	nvme_bring_down(c);
	/* a message under way is the last that knows the controller */
	while (__atomic_load_n(&c->wake_sent, __ATOMIC_ACQUIRE))
		task_yield();
	list_del(&c->link);
	if (c->attach_rc == 0)
		log_info("%s: detached", c->name);
	event_signal(&c->ended);
	if (c->refs == 0)
		free(c);
}

/* ---- attaching and detaching ---- */

static int place_of(const struct pci_addr *addr)
{
	for (unsigned i = 0; i < place_count; i++)
		if (pci_addr_compare(&places[i], addr) == 0)
			return i;
	if (place_count == NVME_CTRL_MAX)
		return -ENOSPC;
	places[place_count] = *addr;
	return place_count++;
}

/* Starts a keeper; its outcome is c->attach_rc when c->attached is signalled. */
static int ctrl_start(const struct pci_addr *addr, struct nvme_ctrl **out)
{
	int index = place_of(addr);
	struct nvme_ctrl *c;

	if (index < 0)
		return index;
	list_for_each(c, &ctrls, link)
		if (c->index == (unsigned)index)
			return -EEXIST;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->index = index;
	snprintf(c->name, sizeof(c->name), "nvme%d", index);
	list_init(&c->namespaces);
	task_lock_init(&c->page_lock);
	event_init(&c->wake);
	event_init(&c->attached);
	event_init(&c->ended);
	list_push(&ctrls, &c->link);
	if (!task_start(c->name, keeper, c)) {
		list_del(&c->link);
		free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void nvme_ctrl_get(struct nvme_ctrl *c)
{
	c->refs++;
}

void nvme_ctrl_put(struct nvme_ctrl *c)
{
	if (--c->refs == 0 && c->ended.set)
		free(c);
}

int nvme_ctrl_attach(const struct pci_addr *addr)
{
	struct nvme_ctrl *c;
	int rc = ctrl_start(addr, &c);

	if (rc < 0)
		return rc;
	nvme_ctrl_get(c);
	task_wait(&c->attached);
	rc = c->attach_rc;
	/* a failed one is not there any more when the caller goes on */
	if (rc < 0)
		task_wait(&c->ended);
	nvme_ctrl_put(c);
	return rc;
}

void nvme_ctrl_detach(struct nvme_ctrl *c)
{
	nvme_ctrl_get(c);
	c->leave = true;
	nvme_ctrl_wake(c);
	task_wait(&c->ended);
	nvme_ctrl_put(c);
}

/* ---- module ---- */

/* Attaches what init gave to vfio-pci, all at once: drives take their time to become ready. */
static void attach_found(void)
{
	struct pci_found found[NVME_CTRL_MAX];
	struct nvme_ctrl *started[NVME_CTRL_MAX], *c;
	int n = pci_scan(PCI_CLASS_NVME, found, NVME_CTRL_MAX);
	unsigned count = 0;

	for (int i = 0; i < MIN(n, NVME_CTRL_MAX); i++) {
		if (strcmp(found[i].driver, "vfio-pci") != 0 ||
		    ctrl_start(&found[i].addr, &c) < 0)
			continue;
		started[count++] = c;
		nvme_ctrl_get(c);
	}
	for (unsigned i = 0; i < count; i++) {
		task_wait(&started[i]->attached);
		nvme_ctrl_put(started[i]);
	}
}

int nvme_init(void)
{
	if (karst_run.appliance && !karst_run.rescue)
		attach_found();
	return 0;
}

void nvme_fini(void)
{
	struct nvme_ctrl *c;

	list_for_each(c, &ctrls, link) {
		c->leave = true;
		nvme_ctrl_wake(c);
	}
	while ((c = nvme_ctrl_next(NULL)))
		nvme_ctrl_detach(c);
}

/* In the appliance drives appear by themselves. */
void nvme_config(struct config_out *out)
{
	const struct nvme_ctrl *c;

	if (karst_run.appliance)
		return;
	list_for_each(c, &ctrls, link)
		if (c->pci)
			config_line(out, "disk attach %s", c->pci->name);
}
