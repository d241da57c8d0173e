/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues: one per connection. A queue's requests belong to its reactor; which controller it is part
 * of is reactor 0's business. Each reactor lists the queues that live there, so that control tasks
 * can visit the requests of all.
 */
#include "targets/nvmf/nvmf.h"

#include <stdio.h>
#include <string.h>

#include "core/base/panic.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvm.h"

static struct list queues_local[REACTOR_MAX];

void nvmf_queue_setup(void)
{
	for (unsigned i = 0; i < REACTOR_MAX; i++)
		list_init(&queues_local[i]);
}

void nvmf_queue_init(struct nvmf_queue *queue, const struct nvmf_queue_ops *ops)
{
	memset(queue, 0, sizeof(*queue));
	queue->ops = ops;
	queue->cmds = nvmf_unconnected_cmds;
	queue->sq_flow = true;
	list_init(&queue->local);
	list_init(&queue->link);
	nvmf_error_init(queue);
}

void nvmf_queue_enter(struct nvmf_queue *queue)
{
	list_push(&queues_local[reactor_index()], &queue->local);
}

void nvmf_queue_leave(struct nvmf_queue *queue)
{
	list_del(&queue->local);
}

void nvmf_queue_closing(struct nvmf_queue *queue)
{
	/* admin queues live on reactor 0: this is their controller's thread */
	if (queue->subsys && queue->qid == 0)
		nvmf_event_drop(queue->ctrl, NVME_SC_ABORTED_SQ_DELETED);
	nvmf_fused_drop(queue);
	nvmf_abort_queue(queue);
}

void nvmf_queue_gone(struct nvmf_queue *queue)
{
	ASSERT(queue->executing == 0);
	if (queue->counted)
		nvmf_target.reactor_queues[queue->placed]--;
	if (queue->ctrl)
		nvmf_ctrl_queue_gone(queue->ctrl, queue);
}

void nvmf_queue_each_local(void (*fn)(struct nvmf_queue *queue, void *arg), void *arg)
{
	struct nvmf_queue *queue;

	list_for_each(queue, &queues_local[reactor_index()], local)
		fn(queue, arg);
}

struct queue_revoke {
	struct nvmf_ns *ns;
	const char *host;
	atomic_uint busy;
};

static void queue_revoke_req(struct nvmf_req *req, void *arg)
{
	struct queue_revoke *revoke = arg;

	if (req->ns != revoke->ns)
		return;
	if (revoke->host && strcmp(req->queue->ctrl->hostnqn, revoke->host) != 0)
		return;
	/* half of a fused pair that waits for the other half has not begun */
	if (req->state == NVMF_REQ_EXEC && !nvmf_fused_half(req))
		atomic_fetch_add(&revoke->busy, 1);
	else
		req->ns = NULL;
}

/* A task on each reactor. */
static void queue_revoke_local(void *arg)
{
	struct nvmf_queue *queue;

	list_for_each(queue, &queues_local[reactor_index()], local)
		queue->ops->each(queue, queue_revoke_req, arg);
}

void nvmf_queue_revoke_ns(struct nvmf_ns *ns, const char *host)
{
	struct queue_revoke revoke = { .ns = ns, .host = host };

	for (;;) {
		atomic_store(&revoke.busy, 0);
		task_call_all(queue_revoke_local, &revoke);
		if (atomic_load(&revoke.busy) == 0)
			return;
		task_sleep(1000);
	}
}

const char *nvmf_queue_text(const struct nvmf_queue *queue, char text[32])
{
	char addr[ADDR_TEXT_BYTES];

	if (queue->ctrl)
		snprintf(text, 32, "s%u q%u", queue->ctrl->session, queue->qid);
	else {
		addr_format_port(&queue->peer_addr, addr);
		snprintf(text, 32, "%.31s", addr);
	}
	return text;
}
