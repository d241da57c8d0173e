/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controllers: one per association, made by Connect on the admin queue, all on reactor 0.
 *
 * A controller ends in one way: nvmf_ctrl_kill asks every connection to close, each reports by
 * nvmf_ctrl_queue_gone when nothing of it is in flight, and the last one frees the controller. A
 * reset (CC.EN to 0) and a shutdown (CC.SHN) close the I/O queues in the same way; CSTS.RDY falls,
 * or CSTS.SHST becomes complete, when the last of them is gone, so that a host that sees it knows
 * that no command of before is still running.
 */
#include "targets/nvmf/nvmf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/clock.h"
#include "core/config.h"

static struct nvmf_queue *ctrl_queue_of(struct list *link)
{
	return list_entry(link, struct nvmf_queue, link);
}

uint64_t nvmf_ctrl_cap(const struct nvmf_ctrl *ctrl)
{
	(void)ctrl;
	return (uint64_t)(config.nvmf_queue_depth_max - 1) << NVME_CAP_MQES_SHIFT |
	       1ull << NVME_CAP_CQR_SHIFT |
	       div_round_up(config.nvmf_ready_timeout_ms, 500) << NVME_CAP_TO_SHIFT |
	       (uint64_t)(NVME_CAP_CSS_NVM | NVME_CAP_CSS_CSI) << NVME_CAP_CSS_SHIFT |
	       1ull << NVME_CAP_CRMS_SHIFT;
}

/* ---- keep alive: base 2.0c 3.9 ---- */

static uint64_t ctrl_traffic(const struct nvmf_ctrl *ctrl)
{
	uint64_t sum = ctrl->admin ? ctrl->admin->commands : 0;

	for (struct list *l = ctrl->queues.next; l != &ctrl->queues; l = l->next)
		sum += ctrl_queue_of(l)->commands;
	return sum;
}

static uint32_t ctrl_idle_ms(const struct nvmf_ctrl *ctrl)
{
	if (ctrl->kato_ms == 0 && ctrl->subsys->discovery)
		return NVMF_DISCOVERY_IDLE_MS;
	return ctrl->kato_ms;
}

/*
 * Looks four times per KATO whether commands came since; any command counts (TBKAS), so that an
 * association lives from one to one and a quarter KATO after its last.
 */
static void ctrl_kato_tick(struct timer *t)
{
	struct nvmf_ctrl *ctrl = container_of(t, struct nvmf_ctrl, kato_timer);
	uint64_t now = clock_now_us(), traffic = ctrl_traffic(ctrl);
	uint64_t idle_us = ctrl_idle_ms(ctrl) * 1000ull;
	char why[NVMF_WHY_BYTES];

	if (traffic != ctrl->traffic) {
		ctrl->traffic = traffic;
		ctrl->traffic_us = now;
	} else if (now - ctrl->traffic_us >= idle_us) {
		ctrl->csts |= NVME_CSTS_CFS;
		snprintf(why, sizeof(why), "keep alive timer expired: no command for %u ms",
			 ctrl_idle_ms(ctrl));
		nvmf_ctrl_kill(ctrl, why);
		return;
	}
	timer_arm(t, MAX(idle_us / 4, NVMF_KAS_MS * 1000ull));
}

void nvmf_ctrl_kato_set(struct nvmf_ctrl *ctrl, uint32_t kato_ms)
{
	/* rounded up to the granularity: base 2.0c 5.27.1.12 */
	ctrl->kato_ms = (uint32_t)MIN(div_round_up(kato_ms, NVMF_KAS_MS) * NVMF_KAS_MS, UINT32_MAX);
	ctrl->traffic = ctrl_traffic(ctrl);
	ctrl->traffic_us = clock_now_us();
	timer_cancel(&ctrl->kato_timer);
	if (ctrl_idle_ms(ctrl) != 0)
		timer_arm(&ctrl->kato_timer,
			  MAX(ctrl_idle_ms(ctrl) * 250ull, NVMF_KAS_MS * 1000ull));
}

/* ---- life ---- */

struct nvmf_ctrl *nvmf_ctrl_find(struct nvmf_subsystem *subsys, uint16_t cntlid)
{
	struct nvmf_ctrl *ctrl;

	list_for_each(ctrl, &subsys->ctrls, link)
		if (ctrl->cntlid == cntlid)
			return ctrl;
	return NULL;
}

/* First or next of all controllers; NULL after the last. */
struct nvmf_ctrl *nvmf_ctrl_next(const struct nvmf_ctrl *prev)
{
	struct nvmf_subsystem *subsys;
	struct list *link;

	if (prev) {
		if (prev->link.next != &prev->subsys->ctrls)
			return list_entry(prev->link.next, struct nvmf_ctrl, link);
		link = prev->subsys->link.next;
	} else {
		link = nvmf_target.subsystems.next;
	}
	for (; link != &nvmf_target.subsystems; link = link->next) {
		subsys = list_entry(link, struct nvmf_subsystem, link);
		if (!list_empty(&subsys->ctrls))
			return list_entry(subsys->ctrls.next, struct nvmf_ctrl, link);
	}
	return NULL;
}

/* 0: all taken. */
static uint16_t ctrl_cntlid_new(struct nvmf_subsystem *subsys)
{
	for (unsigned n = subsys->cntlid_max - subsys->cntlid_min + 1u; n > 0; n--) {
		uint16_t id = subsys->cntlid_next;

		subsys->cntlid_next = id >= subsys->cntlid_max ? subsys->cntlid_min : id + 1;
		if (!nvmf_ctrl_find(subsys, id))
			return id;
	}
	return 0;
}

struct nvmf_ctrl *nvmf_ctrl_create(struct nvmf_subsystem *subsys, struct nvmf_queue *admin,
				   const char *hostnqn, const uint8_t hostid[16], uint32_t kato_ms)
{
	struct nvmf_view *view;
	struct nvmf_ctrl *ctrl;

	if (nvmf_target.ctrl_count >= config.nvmf_controllers_max) {
		log_warn("nvmf %s: no room for host %s; %u controllers is the limit", subsys->nqn,
			 hostnqn, config.nvmf_controllers_max);
		return NULL;
	}
	ctrl = calloc(1, sizeof(*ctrl));
	if (!ctrl)
		return NULL;
	ctrl->cntlid = ctrl_cntlid_new(subsys);
	if (ctrl->cntlid == 0) {
		free(ctrl);
		return NULL;
	}
	ctrl->subsys = subsys;
	ctrl->portid = admin->port->portid;
	ctrl->session = ++nvmf_target.session_next;
	snprintf(ctrl->hostnqn, sizeof(ctrl->hostnqn), "%s", hostnqn);
	view = nvmf_view_make(ctrl, nvmf_ns_table(subsys));
	if (!view) {
		free(ctrl);
		return NULL;
	}
	atomic_init(&ctrl->view, view);
	nvmf_feature_reset(ctrl);
	memcpy(ctrl->hostid, hostid, sizeof(ctrl->hostid));
	resv_host_set(&ctrl->resv_host, RESV_HOST_NVME, hostid, sizeof(ctrl->hostid));
	ctrl->admin = admin;
	ctrl->connected_us = clock_now_us();
	ctrl->queues_granted = subsys->discovery ? 0 : config.nvmf_queues_max;
	list_init(&ctrl->queues);
	timer_setup(&ctrl->kato_timer, ctrl_kato_tick);
	list_push(&subsys->ctrls, &ctrl->link);
	subsys->ctrl_count++;
	nvmf_target.ctrl_count++;
	admin->ctrl = ctrl;
	if (subsys->discovery)
		nvmf_discovery_start(ctrl);
	nvmf_ctrl_kato_set(ctrl, kato_ms);
	return ctrl;
}

static void ctrl_destroy(struct nvmf_ctrl *ctrl)
{
	struct nvmf_subsystem *subsys = ctrl->subsys;

	ASSERT(ctrl->aer_count == 0 && !ctrl->admin && list_empty(&ctrl->queues));
	timer_cancel(&ctrl->kato_timer);
	list_del(&ctrl->link);
	subsys->ctrl_count--;
	nvmf_target.ctrl_count--;
	free(atomic_load(&ctrl->view));
	free(ctrl->view_next);
	nvmf_resv_log_reset(ctrl);
	nvmf_feature_reset(ctrl);
	free(ctrl);
	event_signal(&subsys->ctrl_gone);
}

void nvmf_ctrl_queue_add(struct nvmf_ctrl *ctrl, struct nvmf_queue *queue)
{
	queue->ctrl = ctrl;
	list_push(&ctrl->queues, &queue->link);
	ctrl->queue_count++;
}

static void ctrl_queue_close(struct nvmf_queue *queue, const char *why)
{
	if (queue->closing)
		return;
	queue->closing = true;
	queue->ops->close(queue, why);
}

static void ctrl_queues_close(struct nvmf_ctrl *ctrl, const char *why)
{
	for (struct list *l = ctrl->queues.next; l != &ctrl->queues; l = l->next)
		ctrl_queue_close(ctrl_queue_of(l), why);
}

void nvmf_ctrl_kill(struct nvmf_ctrl *ctrl, const char *why)
{
	if (ctrl->dying)
		return;
	ctrl->dying = true;
	timer_cancel(&ctrl->kato_timer);
	log_info("nvmf s%u: host %s leaves %s: %s", ctrl->session, ctrl->hostnqn,
		 ctrl->subsys->nqn, why);
	ctrl_queues_close(ctrl, why);
	if (ctrl->admin)
		ctrl_queue_close(ctrl->admin, why);
}

/* No I/O queue is left: ends a reset or a shutdown that waited for this. */
static void ctrl_quiet(struct nvmf_ctrl *ctrl)
{
	if (!(ctrl->cc & NVME_CC_EN)) {
		ctrl->csts &= ~(uint32_t)NVME_CSTS_RDY;
		/* a reset ends a shutdown too */
		if (!(ctrl->cc & NVME_CC_SHN_MASK))
			ctrl->csts &= ~(uint32_t)NVME_CSTS_SHST_MASK;
	}
	if ((ctrl->csts & NVME_CSTS_SHST_MASK) == NVME_SHST_OCCURRING << NVME_CSTS_SHST_SHIFT)
		ctrl->csts ^= (NVME_SHST_OCCURRING ^ NVME_SHST_COMPLETE) << NVME_CSTS_SHST_SHIFT;
}

void nvmf_ctrl_queue_gone(struct nvmf_ctrl *ctrl, struct nvmf_queue *queue)
{
	if (queue == ctrl->admin) {
		ctrl->admin = NULL;
		nvmf_ctrl_kill(ctrl, "the admin connection is closed");
	} else {
		list_del(&queue->link);
		ctrl->queue_count--;
		if (list_empty(&ctrl->queues))
			ctrl_quiet(ctrl);
	}
	queue->ctrl = NULL;
	if (ctrl->dying && !ctrl->admin && list_empty(&ctrl->queues))
		ctrl_destroy(ctrl);
}

/* ---- CC: base 2.0c 3.1.3.5 ---- */

static bool ctrl_cc_valid(const struct nvmf_ctrl *ctrl, uint32_t cc)
{
	uint32_t css = cc >> NVME_CC_CSS_SHIFT & 7;

	/* the NVM command set, or all that there are, which is the same */
	if ((css != 0 && css != NVME_CC_CSS_ALL) || (cc >> NVME_CC_MPS_SHIFT & 15) ||
	    (cc >> NVME_CC_AMS_SHIFT & 7))
		return false;
	/* entry sizes matter for I/O queues only */
	return ctrl->subsys->discovery || ((cc >> NVME_CC_IOSQES_SHIFT & 15) == 6 &&
					   (cc >> NVME_CC_IOCQES_SHIFT & 15) == 4);
}

static void ctrl_enable(struct nvmf_ctrl *ctrl)
{
	ctrl->csts &= ~(uint32_t)(NVME_CSTS_SHST_MASK | NVME_CSTS_CFS);
	if (ctrl_cc_valid(ctrl, ctrl->cc))
		ctrl->csts |= NVME_CSTS_RDY;
	else
		ctrl->csts |= NVME_CSTS_CFS;
}

static void ctrl_reset(struct nvmf_ctrl *ctrl)
{
	nvmf_event_drop(ctrl, NVME_SC_ABORT_REQUESTED);
	ctrl->events_pending = ctrl->events_masked = 0;
	nvmf_feature_reset(ctrl);
	nvmf_resv_log_reset(ctrl);
	ctrl->changed_count = 0;
	ctrl->queues_set = false;
	ctrl->queues_granted = ctrl->subsys->discovery ? 0 : config.nvmf_queues_max;
	ctrl->csts &= ~(uint32_t)NVME_CSTS_CFS;
	ctrl_queues_close(ctrl, "controller reset");
	if (list_empty(&ctrl->queues))
		ctrl_quiet(ctrl);
}

void nvmf_ctrl_cc_set(struct nvmf_ctrl *ctrl, uint32_t cc)
{
	uint32_t old = ctrl->cc;

	ctrl->cc = cc;
	if ((cc & NVME_CC_EN) && !(old & NVME_CC_EN)) {
		ctrl_enable(ctrl);
	} else if (!(cc & NVME_CC_EN) && (old & NVME_CC_EN)) {
		ctrl_reset(ctrl);
	}
	if ((cc & NVME_CC_SHN_MASK) && !(old & NVME_CC_SHN_MASK)) {
		ctrl->csts &= ~(uint32_t)NVME_CSTS_SHST_MASK;
		ctrl->csts |= NVME_SHST_OCCURRING << NVME_CSTS_SHST_SHIFT;
		ctrl_queues_close(ctrl, "controller shutdown");
		if (list_empty(&ctrl->queues))
			ctrl_quiet(ctrl);
	}
}
