/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands that are to end before their time: by Abort, because their host was preempted, or
 * because its connection is gone.
 *
 * Where a command is decides. One whose data is still on its way is marked: it is answered when it
 * would begin. A half of a fused pair that waits for the other is answered at once. One that is at
 * the disk is followed by an IO_ABORT, which reaches the device if the driver can; while that is
 * under way the command's io ends here, so that it gets the right status and the abort learns how
 * it ended. Commands that run on reactor 0 (call.c) end by themselves.
 *
 * The aborts of a reactor are a pool; a command that finds none free is left to end by itself, or
 * is found by the next look.
 */
#include "targets/nvmf/abort.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/panic.h"
#include "core/bdev.h"
#include "targets/nvmf/nvm.h"
#include "targets/nvmf/nvmf.h"

enum { ABORTS_MAX = 128, ABORT_LOOK_US = 1000, ABORT_WAIT_US = 2000000 };

struct abort_wait {
	struct event over;
	bool aborted;
};

struct abort {
	struct io io;                   /* IO_ABORT */
	struct list link;               /* free or active */
	struct nvmf_req *victim;        /* NULL once it has ended */
	void (*done)(struct io *io);    /* the victim's own */
	uint16_t status;                /* for the victim, if it is aborted */
	struct abort_wait *wait;        /* who wants to know; may be NULL */
};

static struct abort_share {
	struct list free, active;
	struct abort *all;
} shares[REACTOR_MAX];

/* ---- one command, on its reactor ---- */

void nvmf_aborted_exec(struct nvmf_req *req)
{
	nvmf_req_done(req, req->status);
}

static void abort_victim_done(struct io *io)
{
	struct nvmf_req *req = container_of(io, struct nvmf_req, io);
	struct abort *a;

	list_for_each(a, &shares[reactor_index()].active, link)
		if (a->victim == req)
			break;
	a->victim = NULL;
	if (a->wait)
		a->wait->aborted = io->status == IO_ERR_ABORTED;
	if (io->status == IO_ERR_ABORTED && !nvmf_fused_running(req))
		nvmf_req_done(req, a->status);
	else
		a->done(io);
}

static void abort_done(struct io *io)
{
	struct abort *a = container_of(io, struct abort, io);

	ASSERT(!a->victim);
	if (a->wait)
		event_signal(&a->wait->over);
	list_del(&a->link);
	list_push_front(&shares[reactor_index()].free, &a->link);
}

/* REQ is at the disk. False: no abort is free. */
static bool abort_io(struct nvmf_req *req, uint16_t status, struct abort_wait *wait)
{
	struct abort_share *share = &shares[reactor_index()];
	struct abort *a = list_pop_entry(&share->free, struct abort, link);

	if (!a)
		return false;
	list_push(&share->active, &a->link);
	a->victim = req;
	a->done = req->io.done;
	a->status = status;
	a->wait = wait;
	a->io = (struct io){ .op = IO_ABORT, .victim = &req->io, .done = abort_done };
	list_init(&a->io.link);
	req->io.done = abort_victim_done;
	bdev_submit(req->io.chan, &a->io);
	return true;
}

/*
 * 0: it ends, or has ended, with STATUS; -EINPROGRESS: it is at the disk, WAIT (may be NULL) is
 * told; -EBUSY: it cannot be helped.
 */
static int abort_req(struct nvmf_req *req, uint16_t status, struct abort_wait *wait)
{
	if (nvmf_fused_running(req))
		req = nvmf_fused_first(req);
	else if (nvmf_fused_half(req))
		return nvmf_fused_end(req, status), 0;
	if (req->state == NVMF_REQ_STARTED) {
		req->exec = nvmf_aborted_exec;
		req->status = status;
		return 0;
	}
	/* at the owner it is on reactor 0; marked, it is being aborted */
	if (req->state != NVMF_REQ_EXEC || req->exec == nvmf_req_called ||
	    req->exec == nvmf_aborted_exec || req->io.stage == IO_AT_OWNER)
		return -EBUSY;
	if (!abort_io(req, status, wait))
		return -EBUSY;
	if (!nvmf_fused_running(req)) {
		req->exec = nvmf_aborted_exec;
		req->status = status;
	}
	return -EINPROGRESS;
}

/* ---- all of a connection that ends ---- */

static void abort_closing(struct nvmf_req *req, void *arg)
{
	(void)arg;
	if (req->state == NVMF_REQ_EXEC)
		abort_req(req, NVME_SC_ABORTED_SQ_DELETED, NULL);
}

void nvmf_abort_queue(struct nvmf_queue *queue)
{
	queue->ops->each(queue, abort_closing, NULL);
}

/* ---- Abort: base 2.0c 5.1 ---- */

struct abort_call {
	const struct nvmf_queue *queue;
	uint16_t cid;
	bool aborted;
	struct nvmf_req *req;
};

static void abort_match(struct nvmf_req *req, void *arg)
{
	struct abort_call *call = arg;

	if (le16_get(req->sqe.cid) == call->cid && req->state != NVMF_REQ_DONE)
		call->req = req;
}

static void abort_find(struct nvmf_queue *queue, void *arg)
{
	struct abort_call *call = arg;

	if (queue == call->queue)
		queue->ops->each(queue, abort_match, call);
}

static void abort_forget(const struct abort_wait *wait)
{
	struct abort *a;

	list_for_each(a, &shares[reactor_index()].active, link)
		if (a->wait == wait)
			a->wait = NULL;
}

/* In a task on the queue's reactor; the queue may have gone. */
static void abort_local(void *arg)
{
	struct abort_call *call = arg;
	struct abort_wait wait = { .aborted = false };
	int rc;

	nvmf_queue_each_local(abort_find, call);
	if (!call->req)
		return;
	event_init(&wait.over);
	rc = abort_req(call->req, NVME_SC_ABORT_REQUESTED, &wait);
	if (rc == -EINPROGRESS && task_wait_timeout(&wait.over, ABORT_WAIT_US))
		abort_forget(&wait);
	call->aborted = rc == 0 || (rc == -EINPROGRESS && wait.aborted);
}

/* In a task on reactor 0. */
static uint16_t abort_run(struct nvmf_req *req)
{
	uint32_t cdw10 = le32_get(req->sqe.cdw10);
	struct nvmf_ctrl *ctrl = req->queue->ctrl;
	struct abort_call call = { .cid = (uint16_t)(cdw10 >> NVME_ABORT_CID_SHIFT) };
	unsigned reactor = 0;

	for (struct list *l = ctrl->queues.next; l != &ctrl->queues; l = l->next) {
		const struct nvmf_queue *queue = list_entry(l, struct nvmf_queue, link);

		if (queue->qid != (uint16_t)cdw10)
			continue;
		call.queue = queue;
		reactor = queue->reactor;
	}
	if (call.queue)
		task_call(reactor_at(reactor), abort_local, &call);
	ctrl->abort_count--;
	req->dw0 = call.aborted ? 0 : NVME_ABORT_NOT_DONE;
	return 0;
}

void nvmf_abort_exec(struct nvmf_req *req)
{
	uint32_t cdw10 = le32_get(req->sqe.cdw10);
	struct nvmf_ctrl *ctrl = req->queue->ctrl;

	if ((uint16_t)cdw10 == 0) {
		/* of admin commands only held event requests last */
		req->dw0 = nvmf_event_abort(ctrl, (uint16_t)(cdw10 >> NVME_ABORT_CID_SHIFT)) ?
			   0 : NVME_ABORT_NOT_DONE;
		nvmf_req_done(req, 0);
	} else if (ctrl->abort_count == NVMF_ABORT_MAX) {
		nvmf_req_done(req, NVME_SC_ABORT_LIMIT);
	} else {
		ctrl->abort_count++;
		nvmf_req_call(req, abort_run);
	}
}

/* ---- hosts that were preempted ---- */

struct abort_hosts {
	const struct uuid *disk;
	const struct resv_host *const *hosts;
	unsigned count;
	atomic_uint busy;
};

static void abort_preempted(struct nvmf_req *req, void *arg)
{
	struct abort_hosts *sweep = arg;

	/* what has not begun meets the new reservation when it does */
	if (req->state != NVMF_REQ_EXEC || !req->ns || req->exec == nvmf_req_called ||
	    !uuid_equal(&req->ns->bdev->uuid, sweep->disk) || nvmf_fused_half(req))
		return;
	atomic_fetch_add(&sweep->busy, 1);
	abort_req(req, NVME_SC_ABORTED_PREEMPT, NULL);
}

static void abort_queue_of_host(struct nvmf_queue *queue, void *arg)
{
	struct abort_hosts *sweep = arg;

	/* a controller outlives its queues, and its host is constant */
	for (unsigned i = 0; queue->qid && i < sweep->count; i++)
		if (resv_host_equal(&queue->ctrl->resv_host, sweep->hosts[i]))
			queue->ops->each(queue, abort_preempted, sweep);
}

/* A task on each reactor. */
static void abort_hosts_local(void *arg)
{
	nvmf_queue_each_local(abort_queue_of_host, arg);
}

void nvmf_abort_hosts(const struct uuid *disk, const struct resv_host *const *hosts, unsigned count)
{
	struct abort_hosts sweep = { .disk = disk, .hosts = hosts, .count = count };

	for (;;) {
		atomic_store(&sweep.busy, 0);
		task_call_all(abort_hosts_local, &sweep);
		if (atomic_load(&sweep.busy) == 0)
			return;
		task_sleep(ABORT_LOOK_US);
	}
}

/* ---- life ---- */

void nvmf_abort_fini(void)
{
	for (unsigned i = 0; i < REACTOR_MAX; i++) {
		ASSERT(!shares[i].all || list_empty(&shares[i].active));
		free(shares[i].all);
		shares[i].all = NULL;
	}
}

int nvmf_abort_init(void)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		struct abort_share *share = &shares[i];

		list_init(&share->free);
		list_init(&share->active);
		share->all = calloc(ABORTS_MAX, sizeof(share->all[0]));
		if (!share->all) {
			nvmf_abort_fini();
			return -ENOMEM;
		}
		for (unsigned k = 0; k < ABORTS_MAX; k++)
			list_push(&share->free, &share->all[k].link);
	}
	return 0;
}
