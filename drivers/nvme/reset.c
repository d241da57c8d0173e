/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recovery, in the keeper's task. A reset stops every reactor's queue, disables the controller
 * (after which it has forgotten all commands and touches no memory: base 2.0c 3.7.2), puts the
 * unanswered io back in line, brings the controller up again and lets the queues go on. When
 * CC.EN does not help the function is reset; when that does not help either, or resets follow each
 * other too often, the controller is given up: every io fails with IO_ERR_GONE and its disks leave.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/clock.h"
#include "drivers/nvme/nvme.h"

static void queue_stop(struct nvme_queue *q)
{
	q->live = false;
}

static void queue_fail(struct nvme_queue *q)
{
	nvme_lane_fail(q, IO_ERR_GONE);
}

void nvme_reset_give_up(struct nvme_ctrl *c, const char *why)
{
	int rc;

	log_error("%s %s: %s; its disks leave", c->name, c->pci->name, why);
	nvme_ctrl_each_queue(c, queue_stop);
	/* a drive that is being taken out in order can still write its cache */
	rc = c->removed ? nvme_regs_shutdown(c) : nvme_regs_disable(c);
	if (rc < 0 && rc != -ENODEV)
		c->pci->ops->reset(c->pci);
	/* whatever it still does, from here on it reaches no memory */
	pci_bus_master(c->pci, false);
	c->state = NVME_CTRL_GONE;
	nvme_admin_cancel(c, -ENODEV);
	nvme_ctrl_each_queue(c, queue_fail);
	c->want_reset = NVME_WANT_NOTHING;
}

/* One try. 0: the controller is up, its queues are there and empty. */
static int reset_try(struct nvme_ctrl *c, bool function)
{
	int rc = 0;

	if (function) {
		log_warn("%s: the function is reset", c->name);
		pci_bus_master(c->pci, false);
		rc = c->pci->ops->reset(c->pci);
	}
	if (rc == 0)
		rc = nvme_regs_disable(c);
	if (rc < 0) {
		log_warn("%s: does not stop (%s)", c->name, strerror(-rc));
		return rc;
	}
	nvme_admin_cancel(c, -ECANCELED);
	nvme_ctrl_each_queue(c, nvme_lane_requeue);
	return nvme_bring_enable(c);
}

static bool too_often(struct nvme_ctrl *c)
{
	uint64_t now = clock_now_us();

	if (now - c->reset_us > NVME_RESET_CALM_MS * 1000ull)
		c->resets_in_row = 0;
	c->reset_us = now;
	c->resets++;
	return ++c->resets_in_row > NVME_RESET_MAX;
}

void nvme_reset(struct nvme_ctrl *c)
{
	int rc;

	log_warn("%s: reset: %s", c->name, c->reason);
	if (too_often(c)) {
		nvme_reset_give_up(c, "too many resets");
		return;
	}
	c->state = NVME_CTRL_RESETTING;
	c->admin_live = false;
	nvme_ctrl_each_queue(c, queue_stop);
	rc = reset_try(c, false);
	if (rc < 0 && rc != -ENODEV)
		rc = reset_try(c, true);
	if (rc < 0) {
		nvme_reset_give_up(c, rc == -ENODEV ? "does not answer any more" :
				   "cannot be reset");
		return;
	}
	c->state = NVME_CTRL_LIVE;
	c->want_scan = true;
	__atomic_store_n(&c->want_reset, NVME_WANT_NOTHING, __ATOMIC_RELEASE);
	nvme_ctrl_each_queue(c, nvme_lane_start);
	log_info("%s: goes on after its reset", c->name);
}

void nvme_reset_health(struct nvme_ctrl *c)
{
	uint32_t csts = nvme_reg_read32(c, NVME_REG_CSTS);

	if (csts == UINT32_MAX)
		nvme_reset_give_up(c, "does not answer any more");
	else if (csts & NVME_CSTS_CFS)
		nvme_ctrl_want_reset(c, "controller fatal status");
	else if (!(csts & NVME_CSTS_RDY))
		nvme_ctrl_want_reset(c, "it is not ready any more");
	else
		nvme_queue_reap(&c->admin);
}
