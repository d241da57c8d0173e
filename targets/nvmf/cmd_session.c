/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: session. A session is a controller: a host connected to a subsystem. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/cmd.h"
#include "targets/nvmf/cmd.h"
#include "targets/nvmf/nvmf.h"

static void session_name(const struct nvmf_ctrl *ctrl, char text[16])
{
	snprintf(text, 16, "s%u", ctrl->session);
}

void nvmf_complete_session(struct cmd_complete *c)
{
	char name[16];

	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl)) {
		session_name(ctrl, name);
		cmd_offer(c, name);
	}
}

static struct nvmf_ctrl *session_look(struct cmd_ctx *ctx)
{
	const char *want = cmd_str(ctx, "SESSION");
	char name[16];

	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl)) {
		session_name(ctrl, name);
		if (strcmp(name, want) == 0)
			return ctrl;
	}
	return NULL;
}

static struct nvmf_ctrl *session_find(struct cmd_ctx *ctx)
{
	struct nvmf_ctrl *ctrl = session_look(ctx);

	if (!ctrl)
		cmd_fail(ctx, -ENOENT, "session %s: there is none; session list shows them",
			 cmd_str(ctx, "SESSION"));
	return ctrl;
}

/* One row per queue: where each lives is what one wants to see at a glance. */
static void session_queue_row(struct cmd_ctx *ctx, const struct nvmf_ctrl *ctrl,
			      const struct nvmf_queue *queue)
{
	char name[16], peer[ADDR_TEXT_BYTES];

	session_name(ctrl, name);
	addr_format_port(&queue->peer_addr, peer);
	cmd_row(ctx);
	cmd_col(ctx, "session", "%s", name);
	cmd_col(ctx, "subsystem", "%s",
		ctrl->subsys->discovery ? "discovery" : ctrl->subsys->nqn);
	cmd_col(ctx, "host", "%s", ctrl->hostnqn);
	cmd_col(ctx, "transport", "%s", queue->ops->name);
	cmd_col(ctx, "peer", "%s", peer);
	cmd_col_u64(ctx, "queue", queue->qid);
	cmd_col_u64(ctx, "reactor", queue->reactor);
	cmd_col_u64(ctx, "moves", queue->moves);
	cmd_col_u64(ctx, "depth", queue->sqsize + 1u);
	cmd_col_u64(ctx, "executing", queue->executing);
	cmd_col_u64(ctx, "commands", queue->commands);
	cmd_col_u64(ctx, "errors", queue->errors);
}

int nvmf_cmd_session_list(struct cmd_ctx *ctx)
{
	struct nvmf_queue *queue;

	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl)) {
		if (ctrl->admin)
			session_queue_row(ctx, ctrl, ctrl->admin);
		list_for_each(queue, &ctrl->queues, link)
			session_queue_row(ctx, ctrl, queue);
	}
	return 0;
}

/* Where it came in, while that is there. */
static const char *session_listener(const struct nvmf_ctrl *ctrl, char text[ADDR_TEXT_BYTES])
{
	const struct nvmf_port *port = ctrl->admin ? ctrl->admin->port : NULL;

	if (!port)
		return "-";
	addr_format_port(&port->listener.addr, text);
	return text;
}

int nvmf_cmd_session_show(struct cmd_ctx *ctx)
{
	struct nvmf_ctrl *ctrl = session_find(ctx);
	struct uuid hostid;
	char text[UUID_TEXT_BYTES], listener[ADDR_TEXT_BYTES];

	if (!ctrl)
		return -ENOENT;
	memcpy(&hostid, ctrl->hostid, sizeof(hostid));
	uuid_format(&hostid, text);
	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "session", "%s", cmd_str(ctx, "SESSION"));
	cmd_col(ctx, "subsystem", "%s", ctrl->subsys->nqn);
	cmd_col(ctx, "host", "%s", ctrl->hostnqn);
	cmd_col(ctx, "hostid", "%s", text);
	cmd_col(ctx, "transport", "%s", ctrl->admin ? ctrl->admin->ops->name : "");
	cmd_col(ctx, "listener", "%s", session_listener(ctrl, listener));
	cmd_col_u64(ctx, "cntlid", ctrl->cntlid);
	cmd_col(ctx, "state", "%s", ctrl->dying ? "closing" :
		ctrl->csts & NVME_CSTS_CFS ? "failed" :
		ctrl->csts & NVME_CSTS_RDY ? "ready" : "disabled");
	cmd_col_time(ctx, "keep-alive", ctrl->kato_ms * 1000000ull);
	cmd_col_time(ctx, "connected", (clock_now_us() - ctrl->connected_us) * 1000);
	cmd_col_u64(ctx, "queues", ctrl->queue_count);
	cmd_col_u64(ctx, "events-held", ctrl->aer_count);
	cmd_col_u64(ctx, "errors", ctrl->error_count);
	return 0;
}

int nvmf_cmd_session_close(struct cmd_ctx *ctx)
{
	struct nvmf_ctrl *ctrl = session_find(ctx);

	if (!ctrl)
		return -ENOENT;
	nvmf_ctrl_kill(ctrl, "closed by the operator");
	return 0;
}

static struct nvmf_queue *session_queue(const struct nvmf_ctrl *ctrl, uint64_t qid)
{
	struct nvmf_queue *queue;

	list_for_each(queue, &ctrl->queues, link)
		if (queue->qid == qid)
			return queue;
	return NULL;
}

/* Until QUEUE has arrived or stays: NULL when it has ended meanwhile. */
static struct nvmf_queue *session_move_wait(struct cmd_ctx *ctx, uint64_t qid)
{
	for (;;) {
		struct nvmf_ctrl *ctrl = session_look(ctx);
		struct nvmf_queue *queue = ctrl ? session_queue(ctrl, qid) : NULL;

		if (!queue || !queue->moving)
			return queue;
		task_sleep(1000);
	}
}

int nvmf_cmd_session_move(struct cmd_ctx *ctx)
{
	struct nvmf_ctrl *ctrl = session_find(ctx);
	const char *name = cmd_str(ctx, "SESSION");
	unsigned qid = (unsigned)cmd_u64(ctx, "QUEUE", 0);
	unsigned to = (unsigned)cmd_u64(ctx, "REACTOR", 0);
	struct nvmf_queue *queue;
	int rc;

	if (!ctrl)
		return -ENOENT;
	if (to >= reactor_count())
		return cmd_fail(ctx, -EINVAL, "reactor %u: there are %u, from 0 on", to,
				reactor_count());
	queue = session_queue(ctrl, qid);
	if (!queue)
		return cmd_fail(ctx, -ENOENT, "session %s: it has no I/O queue %u; session list "
				"shows them", name, qid);
	rc = nvmf_queue_shift(queue, to);
	if (rc == -EOPNOTSUPP)
		return cmd_fail(ctx, rc, "session %s: queues over %s stay where they are", name,
				queue->ops->name);
	if (rc)
		return cmd_fail(ctx, rc, "session %s: queue %u is on its way already, or ends",
				name, qid);
	queue = session_move_wait(ctx, qid);
	if (!queue)
		return cmd_fail(ctx, -ENOENT, "session %s: queue %u has ended", name, qid);
	if (queue->reactor != to)
		return cmd_fail(ctx, -ETIMEDOUT, "session %s: queue %u is never at rest; try "
				"again", name, qid);
	return 0;
}
