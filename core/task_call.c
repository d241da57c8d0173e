/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks across reactors. A call travels as a message, becomes a task there, and returns as a
 * message that counts down the caller's group. The memory is the caller's stack, which stays where
 * it is because the caller waits for the count.
 */
#include "core/runtime.h"

struct call_group {
	struct reactor *from;
	const char *name;               /* the caller's: its calls are the same work */
	unsigned left;
	struct event done;
};

struct call {
	struct msg msg;
	struct call_group *group;
	task_fn *fn;
	void *arg;
};

static void group_init(struct call_group *g, unsigned count)
{
	g->from = reactor_self();
	g->name = task_running()->name;
	g->left = count;
	event_init(&g->done);
	if (count == 0)
		event_signal(&g->done);
}

static void call_return(struct msg *msg)
{
	struct call_group *g = container_of(msg, struct call, msg)->group;

	if (--g->left == 0)
		event_signal(&g->done);
}

static void call_main(void *arg)
{
	struct call *c = arg;

	c->fn(c->arg);
	reactor_send(c->group->from, &c->msg, call_return);
}

static void call_arrive(struct msg *msg)
{
	struct call *c = container_of(msg, struct call, msg);

	/* no memory for a stack: again in the next round, some task will end */
	if (!task_start(c->group->name, call_main, c))
		reactor_send(reactor_self(), msg, call_arrive);
}

void task_call(struct reactor *r, task_fn *fn, void *arg)
{
	struct call_group group;
	struct call call = { .group = &group, .fn = fn, .arg = arg };

	if (r == reactor_self()) {
		fn(arg);
		return;
	}
	group_init(&group, 1);
	reactor_send(r, &call.msg, call_arrive);
	task_wait(&group.done);
}

void task_call_all(task_fn *fn, void *arg)
{
	struct call calls[REACTOR_MAX];
	struct call_group group;

	group_init(&group, reactor_count() - 1);
	for (unsigned i = 0; i < reactor_count(); i++) {
		if (i == reactor_index())
			continue;
		calls[i] = (struct call){ .group = &group, .fn = fn, .arg = arg };
		reactor_send(reactor_at(i), &calls[i].msg, call_arrive);
	}
	fn(arg);
	task_wait(&group.done);
}

/* A message is run at the start of a round: the round in which it was sent has ended there. */
static void barrier_arrive(struct msg *msg)
{
	struct call *c = container_of(msg, struct call, msg);

	reactor_send(c->group->from, msg, call_return);
}

void task_barrier(void)
{
	struct call calls[REACTOR_MAX];
	struct call_group group;

	group_init(&group, reactor_count());
	for (unsigned i = 0; i < reactor_count(); i++) {
		calls[i] = (struct call){ .group = &group };
		reactor_send(reactor_at(i), &calls[i].msg, barrier_arrive);
	}
	task_wait(&group.done);
}
