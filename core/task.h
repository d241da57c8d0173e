/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks: stackful coroutines for the control path. A task belongs to the reactor that started it
 * and runs there until it waits. Code in a task reads straight down; there are no callback chains.
 * Never on the data path.
 */
#ifndef CORE_TASK_H
#define CORE_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/io.h"

struct task;
struct reactor;
struct bdev_chan;

enum { TASK_STACK_BYTES = 64 * 1024, TASK_NAME_BYTES = 48 };

typedef void task_fn(void *arg);

/*
 * Starts FN on the calling reactor; it first runs in a later round. Ends when FN returns; the
 * memory is given back by itself. NULL when no memory. NAME is copied.
 */
struct task *task_start(const char *name, task_fn *fn, void *arg);
/* The running task, NULL outside of one. */
struct task *task_self(void);

/* ---- waiting: in a task only ---- */

/* Lets others run; comes back in a later round. */
void task_yield(void);
void task_sleep(uint64_t us);

/* An event is sticky: a wait after the signal returns at once. One reactor owns it. */
struct event {
	bool set;
	struct list waiters;
};

void event_init(struct event *e);
/* Wakes all waiters. Any context on the owner's reactor. */
void event_signal(struct event *e);
void event_clear(struct event *e);
void task_wait(struct event *e);
/* 0 or -ETIMEDOUT. */
int task_wait_timeout(struct event *e, uint64_t us);

/* A lock between tasks of one reactor; waiters come in order. */
struct task_lock {
	struct task *owner;
	struct list waiters;
};

void task_lock_init(struct task_lock *l);
void task_lock(struct task_lock *l);
void task_unlock(struct task_lock *l);

/* Submits and waits; io->done is taken for this. */
enum io_status task_io(struct bdev_chan *chan, struct io *io);

/*
 * Runs FN as a task on R and waits until it has returned. With R the own reactor it is a plain
 * call.
 */
void task_call(struct reactor *r, task_fn *fn, void *arg);
/*
 * FN as a task on every reactor, all at once; waits for all. FN(arg) finds its reactor by
 * reactor_index().
 */
void task_call_all(task_fn *fn, void *arg);
/*
 * Waits until every reactor has ended the round in which it was: whoever read an old snapshot has
 * let go of it.
 */
void task_barrier(void);
/*
 * Runs FN in a helper thread (for blocking system calls: open, fsync, ioctl), and waits. FN must
 * not touch reactors.
 */
void task_block(task_fn *fn, void *arg);

/* ---- long work: listed by `task list`, ended by `task cancel` ---- */

/* Makes the task visible to operators, with a line of what it does. */
void task_describe(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void task_progress(uint64_t done, uint64_t total);
/* Whether somebody asked the running task to end; it does so at its next safe point. */
bool task_cancelled(void);

struct task_info {
	uint64_t id;
	char name[TASK_NAME_BYTES];
	char what[96];
	unsigned reactor;
	uint64_t done, total, started_us;
	bool cancelled;
};

/*
 * Fills at most MAX tasks of the calling reactor that have described themselves; returns how many.
 */
unsigned task_list(struct task_info *info, unsigned max);
/* -ENOENT. */
int task_cancel(uint64_t id);

#endif
