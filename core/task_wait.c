/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a task can wait for on its own reactor: time, events, locks and I/O. All of them suspend it
 * and put it on the ready list later, never run it: a signal returns to who gave it first.
 */
#include <errno.h>

#include "core/base/panic.h"
#include "core/bdev.h"
#include "core/runtime.h"

static void task_wake(struct task *t)
{
	t->state = TASK_READY;
	list_push(&t->reactor->ready, &t->link);
}

/* Leaves until task_wake; the task is on WAITERS, if that is not NULL. */
static void task_suspend(struct task *t, struct list *waiters)
{
	t->state = TASK_WAITING;
	if (waiters)
		list_push(waiters, &t->link);
	task_leave(t);
}

static void task_timeout(struct timer *timer)
{
	struct task *t = container_of(timer, struct task, timer);

	/* it was woken in this very round */
	if (t->state != TASK_WAITING)
		return;
	t->timed_out = true;
	list_del(&t->link);
	task_wake(t);
}

void task_yield(void)
{
	struct task *t = task_running();

	task_wake(t);
	task_leave(t);
}

static void task_timer_arm(struct task *t, uint64_t us)
{
	t->timed_out = false;
	timer_setup(&t->timer, task_timeout);
	timer_arm(&t->timer, us);
}

void task_sleep(uint64_t us)
{
	struct task *t = task_running();

	task_timer_arm(t, us);
	task_suspend(t, NULL);
}

void event_init(struct event *e)
{
	e->set = false;
	list_init(&e->waiters);
}

void event_signal(struct event *e)
{
	struct task *t;

	e->set = true;
	while ((t = list_pop_entry(&e->waiters, struct task, link)))
		task_wake(t);
}

void event_clear(struct event *e)
{
	e->set = false;
}

void task_wait(struct event *e)
{
	struct task *t = task_running();

	if (!e->set)
		task_suspend(t, &e->waiters);
}

int task_wait_timeout(struct event *e, uint64_t us)
{
	struct task *t = task_running();

	if (e->set)
		return 0;
	task_timer_arm(t, us);
	task_suspend(t, &e->waiters);
	timer_cancel(&t->timer);
	return t->timed_out ? -ETIMEDOUT : 0;
}

void task_lock_init(struct task_lock *l)
{
	l->owner = NULL;
	list_init(&l->waiters);
}

void task_lock(struct task_lock *l)
{
	struct task *t = task_running();

	ASSERT_MSG(l->owner != t, "task %s: locks twice", t->name);
	if (!l->owner)
		l->owner = t;
	else
		task_suspend(t, &l->waiters);
}

/* The first waiter gets the lock itself, so that nobody can overtake it. */
void task_unlock(struct task_lock *l)
{
	ASSERT_MSG(l->owner == task_self(), "unlocks what it has not locked");
	l->owner = list_pop_entry(&l->waiters, struct task, link);
	if (l->owner)
		task_wake(l->owner);
}

/* ---- I/O ---- */

/* An io has no room for its waiter: the few that tasks wait for are found by address. */
struct io_wait {
	struct io *io;
	struct event done;
	struct list link;
};

static void io_wait_done(struct io *io)
{
	struct io_wait *w;

	list_for_each(w, &reactor_current->io_waits, link) {
		if (w->io == io) {
			event_signal(&w->done);
			return;
		}
	}
	panic("io %p: done, and no task waits for it", (void *)io);
}

enum io_status task_io(struct bdev_chan *chan, struct io *io)
{
	struct io_wait w = { .io = io };

	event_init(&w.done);
	list_push_front(&reactor_current->io_waits, &w.link);
	io->done = io_wait_done;
	bdev_submit(chan, io);
	task_wait(&w.done);
	list_del(&w.link);
	return io->status;
}
