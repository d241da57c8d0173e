/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controllers and their keepers. A keeper is one task per controller on reactor 0, and its life is
 * the controller's: it connects, keeps alive, answers events, and when the connection is lost
 * closes what is left of it, tells the disks, and connects again until it succeeds, the operator
 * has enough, or loss_us are over. Because all of that is one task, no two recoveries run at once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/spec/nvme_log.h"
#include "drivers/remote/module.h"
#include "drivers/remote/remote.h"

enum { NEVER_US = 3600 * 1000 * 1000u };

static struct list ctrls = LIST_INIT(ctrls);

struct remote_ctrl *remote_ctrl_next(const struct remote_ctrl *prev)
{
	const struct list *next = prev ? prev->link.next : ctrls.next;

	return next == &ctrls ? NULL : list_entry(next, struct remote_ctrl, link);
}

struct remote_ctrl *remote_ctrl_find(const char *name)
{
	struct remote_ctrl *c;

	list_for_each(c, &ctrls, link)
		if (strcmp(c->opt.name, name) == 0)
			return c;
	return NULL;
}

const char *remote_ctrl_state_name(const struct remote_ctrl *c)
{
	static const char *const names[] = { "connecting", "live", "reconnecting", "gone",
					     "ending" };

	return names[c->state];
}

/* ---- orders from elsewhere ---- */

void remote_ctrl_wake(struct remote_ctrl *c)
{
	event_signal(&c->wake);
}

static void wake_arrived(struct msg *msg)
{
	struct remote_ctrl *c = container_of(msg, struct remote_ctrl, wake_msg);

	__atomic_store_n(&c->wake_sent, false, __ATOMIC_RELEASE);
	remote_ctrl_wake(c);
}

void remote_ctrl_want(struct remote_ctrl *c, unsigned want)
{
	if ((__atomic_fetch_or(&c->want, want, __ATOMIC_ACQ_REL) & want) == want)
		return;
	if (!__atomic_exchange_n(&c->wake_sent, true, __ATOMIC_ACQ_REL))
		reactor_send(reactor_at(0), &c->wake_msg, wake_arrived);
}

/* Takes the bits of MASK. */
static unsigned want_take(struct remote_ctrl *c, unsigned mask)
{
	return __atomic_fetch_and(&c->want, ~mask, __ATOMIC_ACQ_REL) & mask;
}

/* ---- the keeper ---- */

/* Everything about the namespaces; false: the controller did not answer. */
static bool scan_all(struct remote_ctrl *c)
{
	int rc = remote_scan(c);

	if (rc == 0 && c->ana)
		rc = remote_scan_ana(c);
	if (rc == 0)
		return true;
	snprintf(c->why, sizeof(c->why), "its namespaces cannot be listed: %s", strerror(-rc));
	log_error("%s: %s", c->opt.name, c->why);
	return false;
}

static void ctrl_live(struct remote_ctrl *c)
{
	bool again = c->state == REMOTE_CTRL_RECONNECTING, scanned;
	char addr[ADDR_TEXT_BYTES];

	addr_format_port(&c->opt.addr, addr);
	log_info("%s: %s to %s, controller %u, %u queues", c->opt.name,
		 again ? "connected again" : "connected", addr, c->cntlid, c->queue_live);
	c->reconnects += again;
	c->up_us = c->alive_us = reactor_now_us();
	/* no io that waits may go before it is known that its disk is still there */
	scanned = scan_all(c);
	c->state = REMOTE_CTRL_LIVE;
	if (!scanned) {
		remote_ctrl_want(c, REMOTE_WANT_RESET);
		return;
	}
	c->down_us = 0;
	c->why[0] = '\0';
	remote_paths_publish(c);
}

/* Why a connection ended: the first queue that says something. */
static void why_collect(struct remote_ctrl *c)
{
	if (c->admin->why[0]) {
		snprintf(c->why, sizeof(c->why), "%s", c->admin->why);
		return;
	}
	for (unsigned i = 0; i < c->queue_count; i++) {
		if (!c->queues[i]->why[0])
			continue;
		snprintf(c->why, sizeof(c->why), "%s", c->queues[i]->why);
		return;
	}
}

static void ctrl_down(struct remote_ctrl *c)
{
	uint64_t now = reactor_now_us();
	bool short_lived = now - c->up_us < c->opt.reconnect_us;

	why_collect(c);
	log_warn("%s: the connection is lost; its io wait", c->opt.name);
	c->state = REMOTE_CTRL_RECONNECTING;
	c->down_us = c->down_us ? c->down_us : now;
	/* at once, unless that has just been tried */
	c->backoff_us = short_lived ? c->opt.reconnect_us : 0;
	c->retry_us = now + c->backoff_us;
	remote_paths_publish(c);
	remote_bring_down(c, false, "");
	want_take(c, REMOTE_WANT_RESET);
}

static void ctrl_lost(struct remote_ctrl *c)
{
	log_error("%s: no connection for %llu s: given up; disk detach remote %s removes it",
		  c->opt.name, (unsigned long long)(c->opt.loss_us / 1000000), c->opt.name);
	c->state = REMOTE_CTRL_LOST;
	remote_paths_publish(c);
}

static void ctrl_retry(struct remote_ctrl *c)
{
	char before[REMOTE_WHY_BYTES];
	int rc;

	snprintf(before, sizeof(before), "%s", c->why);
	rc = remote_bring_up(c);
	if (rc == 0) {
		ctrl_live(c);
		return;
	}
	remote_bring_down(c, false, "");
	want_take(c, REMOTE_WANT_RESET);
	if (strcmp(before, c->why) != 0)
		log_warn("%s: not connected: %s", c->opt.name, c->why);
	c->backoff_us = c->backoff_us ? MIN(c->backoff_us * 2, (uint64_t)REMOTE_BACKOFF_MAX_US)
				      : c->opt.reconnect_us;
	c->backoff_us = MAX(c->backoff_us, c->opt.reconnect_us);
	c->retry_us = reactor_now_us() + c->backoff_us;
}

static void aer_handle(struct remote_ctrl *c)
{
	unsigned type = c->aer_dw0 & 7, info = c->aer_dw0 >> NVME_AER_INFO_SHIFT & 0xff;
	unsigned lid = c->aer_dw0 >> NVME_AER_LID_SHIFT & 0xff;
	uint8_t page[NVME_DATA_BYTES];

	c->aer = false;
	if (type == NVME_AER_NOTICE && info == NVME_AER_NOTICE_NS_CHANGED) {
		remote_log(c, NVME_LID_CHANGED_NS, 0, page, sizeof(page));
		__atomic_fetch_or(&c->want, REMOTE_WANT_SCAN, __ATOMIC_ACQ_REL);
	} else if (type == NVME_AER_NOTICE && info == NVME_AER_NOTICE_ANA) {
		__atomic_fetch_or(&c->want, REMOTE_WANT_ANA, __ATOMIC_ACQ_REL);
	} else {
		log_info("%s: event type %u info %02x log %02x", c->opt.name, type, info, lid);
		/* reading the page lets the next event of this type come */
		remote_log(c, lid, 0, page, 512);
	}
	remote_aer_post(c);
}

static void paths_leave(struct remote_ctrl *c)
{
	struct remote_path *path;

again:
	list_for_each(path, &c->paths, link) {
		if (path->disk->leaving)
			continue;
		/* it waits, and the list may be another then */
		remote_disk_part(path);
		goto again;
	}
}

static void live_round(struct remote_ctrl *c)
{
	uint64_t now = reactor_now_us(), beat = REMOTE_KATO_MS * 1000ull / 2;

	if (now - c->alive_us >= beat) {
		c->alive_us = now;
		remote_keep_alive(c);
	}
	if (c->aer)
		aer_handle(c);
	if (!c->leave && want_take(c, REMOTE_WANT_SCAN)) {
		if (!scan_all(c))
			remote_ctrl_want(c, REMOTE_WANT_RESET);
		remote_paths_publish(c);
	}
	if (want_take(c, REMOTE_WANT_ANA) && c->ana && remote_scan_ana(c) == 0)
		remote_paths_publish(c);
	if (want_take(c, REMOTE_WANT_RESET))
		ctrl_down(c);
}

/* How long nothing has to be done, if nobody asks for something. */
static uint64_t keeper_pause(const struct remote_ctrl *c)
{
	uint64_t now = reactor_now_us(), due;

	if (__atomic_load_n(&c->want, __ATOMIC_ACQUIRE) && c->state == REMOTE_CTRL_LIVE)
		return 1;
	switch (c->state) {
	case REMOTE_CTRL_LIVE:
		return REMOTE_KATO_MS * 1000ull / 2;
	case REMOTE_CTRL_RECONNECTING:
		due = MIN(c->retry_us, c->down_us + c->opt.loss_us);
		return due > now ? due - now : 1;
	default:
		return NEVER_US;
	}
}

static void reconnect_round(struct remote_ctrl *c)
{
	uint64_t now = reactor_now_us();

	if (c->leave) {
		c->state = REMOTE_CTRL_LOST;
		remote_paths_publish(c);
	} else if (now - c->down_us >= c->opt.loss_us) {
		ctrl_lost(c);
	} else if (now >= c->retry_us) {
		ctrl_retry(c);
	}
}

static void keeper_round(struct remote_ctrl *c)
{
	if (c->leave)
		paths_leave(c);
	if (c->state == REMOTE_CTRL_LIVE)
		live_round(c);
	else if (c->state == REMOTE_CTRL_RECONNECTING)
		reconnect_round(c);
}

static void keeper_first(struct remote_ctrl *c)
{
	c->attach_rc = remote_bring_up(c);
	if (c->attach_rc == 0) {
		ctrl_live(c);
		return;
	}
	remote_bring_down(c, false, "");
	if (!c->persist)
		return;
	log_warn("%s: not connected: %s; it is tried again", c->opt.name, c->why);
	c->state = REMOTE_CTRL_RECONNECTING;
	c->down_us = reactor_now_us();
	c->backoff_us = c->opt.reconnect_us;
	c->retry_us = c->down_us + c->backoff_us;
}

static void keeper(void *arg)
{
	struct remote_ctrl *c = arg;
	bool stay;

	keeper_first(c);
	stay = c->attach_rc == 0 || c->persist;
	event_signal(&c->attached);
	while (stay && !(c->leave && list_empty(&c->paths))) {
		task_wait_timeout(&c->wake, keeper_pause(c));
		event_clear(&c->wake);
		keeper_round(c);
	}
	remote_paths_publish(c);
	remote_bring_down(c, c->state == REMOTE_CTRL_LIVE, "detached");
	c->state = REMOTE_CTRL_ENDING;
	/* a message under way is the last that knows the controller */
	while (__atomic_load_n(&c->wake_sent, __ATOMIC_ACQUIRE))
		task_yield();
	list_del(&c->link);
	if (stay)
		log_info("%s: detached", c->opt.name);
	event_signal(&c->ended);
	if (c->refs == 0)
		remote_ctrl_free(c);
}

/* ---- attaching and detaching ---- */

void remote_ctrl_free(struct remote_ctrl *c)
{
	for (unsigned i = 0; i < c->queue_count; i++) {
		remote_queue_free(c->queues[i]);
		free(c->queues[i]);
	}
	free(c->queues);
	if (c->admin)
		remote_queue_free(c->admin);
	free(c->admin);
	free(c);
}

/* The host's identifier goes with its name: base 2.0c 5.27.1.25. */
static void hostid_set(struct remote_ctrl *c)
{
	static const char prefix[] = "nqn.2014-08.org.nvmexpress:uuid:";
	struct uuid id;

	if (strncmp(c->opt.hostnqn, prefix, strlen(prefix)) != 0 ||
	    uuid_parse(c->opt.hostnqn + strlen(prefix), &id) < 0)
		id = uuid_from_name("nvme-host", c->opt.hostnqn, strlen(c->opt.hostnqn));
	memcpy(c->hostid, id.b, sizeof(c->hostid));
}

static struct remote_queue *queue_create(struct remote_ctrl *c, unsigned qid, unsigned reactor)
{
	struct remote_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->ctrl = c;
	q->transport = c->opt.transport;
	q->qid = qid;
	q->reactor = reactor;
	return q;
}

struct remote_ctrl *remote_ctrl_create(const struct remote_options *opt)
{
	unsigned count = opt->queues ? MIN(opt->queues, reactor_count()) : reactor_count();
	struct remote_ctrl *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->opt = *opt;
	hostid_set(c);
	list_init(&c->link);
	list_init(&c->paths);
	task_lock_init(&c->paths_lock);
	event_init(&c->wake);
	event_init(&c->attached);
	event_init(&c->ended);
	c->admin = queue_create(c, 0, 0);
	c->queues = calloc(count, sizeof(*c->queues));
	if (!c->admin || !c->queues) {
		remote_ctrl_free(c);
		return NULL;
	}
	for (; c->queue_count < count; c->queue_count++) {
		unsigned i = c->queue_count;

		c->queues[i] = queue_create(c, i + 1, i);
		if (!c->queues[i]) {
			remote_ctrl_free(c);
			return NULL;
		}
	}
	return c;
}

static void ctrl_put(struct remote_ctrl *c)
{
	if (--c->refs == 0 && c->ended.set)
		remote_ctrl_free(c);
}

int remote_ctrl_attach(const struct remote_options *opt, bool persist, char why[REMOTE_WHY_BYTES])
{
	struct remote_ctrl *c;
	int rc;

	why[0] = '\0';
	if (remote_ctrl_find(opt->name))
		return -EEXIST;
	c = remote_ctrl_create(opt);
	if (!c)
		return -ENOMEM;
	c->persist = persist;
	c->refs = 1;
	list_push(&ctrls, &c->link);
	if (!task_start(opt->name, keeper, c)) {
		list_del(&c->link);
		remote_ctrl_free(c);
		return -ENOMEM;
	}
	task_wait(&c->attached);
	rc = persist ? 0 : c->attach_rc;
	snprintf(why, REMOTE_WHY_BYTES, "%s", c->why);
	/* a failed one is not there any more when the caller goes on */
	if (rc < 0)
		task_wait(&c->ended);
	ctrl_put(c);
	return rc;
}

void remote_ctrl_detach(struct remote_ctrl *c)
{
	c->refs++;
	c->leave = true;
	remote_ctrl_wake(c);
	task_wait(&c->ended);
	ctrl_put(c);
}

/* ---- module ---- */

int remote_init(void)
{
	return remote_lanes_init();
}

void remote_fini(void)
{
	struct remote_ctrl *c;

	list_for_each(c, &ctrls, link) {
		c->leave = true;
		remote_ctrl_wake(c);
	}
	while ((c = remote_ctrl_next(NULL)))
		remote_ctrl_detach(c);
	/* disks end by tasks of their own */
	while (remote_disk_next(NULL))
		task_sleep(1000);
	remote_lanes_fini();
}
