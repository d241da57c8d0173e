/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From nothing to a controller that answers: admin queue, Connect, properties, Identify, the number
 * of queues, events, and an I/O connection for each reactor; and down again. Every attempt starts
 * from nothing, the first and those after a lost connection alike. Base 2.0c 3.5.2.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/config.h"
#include "drivers/remote/remote.h"

enum {
	READY_POLL_US = 10 * 1000,
	SHUTDOWN_MS = 2000,
	QUEUE_DEPTH_MIN = 2,
	CC_ENTRY_SIZES = 6 << NVME_CC_IOSQES_SHIFT | 4 << NVME_CC_IOCQES_SHIFT,
};

__attribute__((format(printf, 3, 4)))
static int failed(struct remote_ctrl *c, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	return rc;
}

/* What the queue says, or else what was being done. */
static int queue_failed(struct remote_ctrl *c, const struct remote_queue *q, int rc,
			const char *doing)
{
	if (q->why[0])
		return failed(c, rc, "%s", q->why);
	return failed(c, rc, "%s failed: %s", doing, strerror(-rc));
}

/* ---- the admin queue ---- */

static uint32_t cc_value(const struct remote_ctrl *c)
{
	/* all supported I/O command sets, where NVM alone is no choice */
	uint32_t css = nvme_cap_css(c->cap) & NVME_CAP_CSS_NVM ||
		       !(nvme_cap_css(c->cap) & NVME_CAP_CSS_CSI) ? 0 : 6;

	return NVME_CC_EN | css << NVME_CC_CSS_SHIFT | CC_ENTRY_SIZES |
	       (uint32_t)nvme_cap_mpsmin(c->cap) << NVME_CC_MPS_SHIFT;
}

static int ctrl_enable(struct remote_ctrl *c)
{
	uint64_t csts, until;
	int rc = remote_property_get(c, NVME_REG_CAP, true, &c->cap);

	if (rc == 0)
		rc = remote_property_set(c, NVME_REG_CC, cc_value(c));
	if (rc < 0)
		return queue_failed(c, c->admin, rc, "enabling the controller");
	until = reactor_now_us() + MAX(nvme_cap_to(c->cap), 1) * 500 * 1000ull;
	for (;;) {
		rc = remote_property_get(c, NVME_REG_CSTS, false, &csts);
		if (rc < 0)
			return queue_failed(c, c->admin, rc, "reading the controller's status");
		if (csts & NVME_CSTS_CFS)
			return failed(c, -EIO, "the controller reports a fatal error");
		if (csts & NVME_CSTS_RDY)
			return 0;
		if (reactor_now_us() > until)
			return failed(c, -ETIMEDOUT, "the controller does not become ready");
		task_sleep(READY_POLL_US);
	}
}

int remote_bring_admin(struct remote_ctrl *c)
{
	struct remote_queue *q = c->admin;
	int rc;

	c->why[0] = '\0';
	q->in_capsule_max = q->transport->in_capsule_fabrics;
	rc = remote_queue_alloc(q, REMOTE_ADMIN_DEPTH - 1);
	if (rc == 0)
		rc = q->transport->open(q);
	if (rc < 0)
		return queue_failed(c, q, rc, "connecting");
	c->cntlid = NVMF_CNTLID_DYNAMIC;
	rc = remote_connect_cmd(q, &c->cntlid);
	if (rc < 0)
		return queue_failed(c, q, rc, "Connect");
	return ctrl_enable(c);
}

/* ---- what the controller is ---- */

/* Two targets that know nothing of each other may give the same identity. */
static bool is_double(const struct remote_ctrl *c)
{
	const struct remote_ctrl *other = NULL;

	while ((other = remote_ctrl_next(other)))
		if (other != c && other->state == REMOTE_CTRL_LIVE &&
		    other->cntlid == c->cntlid && strcmp(other->subnqn, c->subnqn) == 0 &&
		    strcmp(other->info.serial, c->info.serial) == 0)
			return true;
	return false;
}

static void limits_set(struct remote_ctrl *c, const struct nvme_id_ctrl *id)
{
	uint64_t capsule = le32_get(id->ioccsz) * 16ull;

	c->awupf = le16_get(id->awupf);
	c->xfer_bytes_max = REMOTE_XFER_MAX;
	if (c->info.xfer_bytes_max)
		c->xfer_bytes_max = MIN(c->info.xfer_bytes_max, (uint64_t)REMOTE_XFER_MAX);
	c->in_capsule_max = 0;
	if (capsule > sizeof(struct nvme_sqe) && le16_get(id->icdoff) == 0)
		c->in_capsule_max = MIN(capsule - sizeof(struct nvme_sqe),
					(uint64_t)REMOTE_XFER_MAX);
	if (c->opt.transport->piece_bytes_max)
		c->xfer_bytes_max = MIN(c->xfer_bytes_max, c->opt.transport->piece_bytes_max);
	c->ana = (id->cmic & NVME_CMIC_ANA) && (id->anacap & 1);
	snprintf(c->subnqn, sizeof(c->subnqn), "%.*s", NVME_NQN_TEXT_MAX,
		 id->subnqn[0] ? id->subnqn : c->opt.nqn);
}

static int ctrl_identify(struct remote_ctrl *c)
{
	const char *why = "Identify Controller makes no sense";
	struct nvme_id_ctrl id;
	int rc = remote_identify(c, NVME_CNS_CTRL, 0, 0, &id);

	if (rc < 0)
		return queue_failed(c, c->admin, rc, "Identify Controller");
	rc = nvme_ctrl_decode(&id, 4096ull << nvme_cap_mpsmin(c->cap), &c->info, &why);
	if (rc < 0)
		return failed(c, rc, "%s", why);
	limits_set(c, &id);
	if (c->serial[0] && strcmp(c->serial, c->info.serial) != 0)
		return failed(c, -ENODEV, "another subsystem answers there: serial %s, was %s",
			      c->info.serial, c->serial);
	if (is_double(c))
		return failed(c, -EEXIST, "the same controller, or another subsystem of the same "
			      "name and serial, is attached already");
	snprintf(c->serial, sizeof(c->serial), "%s", c->info.serial);
	return 0;
}

static int events_ask(struct remote_ctrl *c)
{
	uint32_t events = c->info.oaes & (NVME_OAES_NS_CHANGED | NVME_OAES_ANA);
	int rc = events ? remote_feature(c, NVME_FEAT_AEC, events, NULL) : 0;

	if (rc < 0 && rc != -EOPNOTSUPP)
		return queue_failed(c, c->admin, rc, "asking for events");
	remote_aer_post(c);
	return 0;
}

/* ---- I/O queues ---- */

static int queues_ask(struct remote_ctrl *c)
{
	unsigned want = c->queue_count, got;
	struct remote_result result;
	int rc = remote_feature(c, NVME_FEAT_QUEUES, (want - 1) << 16 | (want - 1), &result);

	if (rc < 0)
		return queue_failed(c, c->admin, rc, "asking for I/O queues");
	got = MIN(result.dw0 & 0xffff, result.dw0 >> 16) + 1;
	c->queue_live = MIN(got, want);
	return 0;
}

struct queues_open {
	struct remote_ctrl *c;
	unsigned count;                 /* slots of each */
	int rc[REACTOR_MAX];
};

static void queue_open_here(void *arg)
{
	struct queues_open *open = arg;
	struct remote_ctrl *c = open->c;
	unsigned r = reactor_index();
	uint16_t cntlid = c->cntlid;
	struct remote_queue *q;

	if (r >= c->queue_live)
		return;
	q = c->queues[r];
	q->in_capsule_max = c->in_capsule_max;
	open->rc[r] = remote_queue_alloc(q, open->count);
	if (open->rc[r] == 0)
		open->rc[r] = q->transport->open(q);
	if (open->rc[r] == 0)
		open->rc[r] = remote_connect_cmd(q, &cntlid);
	if (open->rc[r] == 0)
		q->live = true;
}

static int queues_open(struct remote_ctrl *c)
{
	unsigned depth = c->opt.depth ? c->opt.depth : config.remote_queue_depth;
	struct queues_open open = { .c = c };

	depth = MIN(depth, nvme_cap_mqes(c->cap) + 1u);
	depth = MAX(MIN(depth, (unsigned)REMOTE_DEPTH_MAX), (unsigned)QUEUE_DEPTH_MIN);
	open.count = depth - 1;
	task_call_all(queue_open_here, &open);
	for (unsigned i = 0; i < c->queue_live; i++)
		if (open.rc[i] < 0)
			return queue_failed(c, c->queues[i], open.rc[i], "an I/O connection");
	return 0;
}

int remote_bring_up(struct remote_ctrl *c)
{
	int rc;

	__atomic_fetch_and(&c->want, ~(unsigned)REMOTE_WANT_RESET, __ATOMIC_ACQ_REL);
	c->queue_live = 0;
	rc = remote_bring_admin(c);
	if (rc == 0)
		rc = ctrl_identify(c);
	if (rc == 0)
		rc = events_ask(c);
	if (rc == 0)
		rc = queues_ask(c);
	if (rc == 0)
		rc = queues_open(c);
	return rc;
}

/* ---- down ---- */

struct queues_close {
	struct remote_ctrl *c;
	const char *why;
};

static void queue_close_here(void *arg)
{
	const struct queues_close *call = arg;
	unsigned r = reactor_index();

	if (r < call->c->queue_count)
		remote_conn_close(call->c->queues[r], call->why);
}

/* CC.SHN, and a while for SHST. */
static void ctrl_shutdown(struct remote_ctrl *c)
{
	uint64_t csts, until = reactor_now_us() + SHUTDOWN_MS * 1000ull;

	if (c->admin->state != REMOTE_QUEUE_UP ||
	    remote_property_set(c, NVME_REG_CC,
				cc_value(c) | NVME_SHN_NORMAL << NVME_CC_SHN_SHIFT) < 0)
		return;
	while (remote_property_get(c, NVME_REG_CSTS, false, &csts) == 0 &&
	       (csts & NVME_CSTS_SHST_MASK) >> NVME_CSTS_SHST_SHIFT != NVME_SHST_COMPLETE &&
	       reactor_now_us() < until)
		task_sleep(READY_POLL_US);
}

void remote_bring_down(struct remote_ctrl *c, bool orderly, const char *why)
{
	struct queues_close call = { c, why };

	if (c->queue_count)
		task_call_all(queue_close_here, &call);
	if (orderly)
		ctrl_shutdown(c);
	remote_conn_close(c->admin, why);
	c->queue_live = 0;
	c->aer = false;
}
