/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files that make a reactor show each other: reactor.c, poller.c, fd_source.c, timer.c,
 * task.c, task_wait.c, task_call.c, task_block.c. Nobody else includes this.
 */
#ifndef CORE_RUNTIME_H
#define CORE_RUNTIME_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/list.h"
#include "core/base/util.h"
#include "core/reactor.h"
#include "core/task.h"
#include "core/trace.h"

enum {
	WHEEL_SLOT_BITS = 6,
	WHEEL_SLOTS = 1 << WHEEL_SLOT_BITS,
	WHEEL_LEVELS = 8,
	FD_BATCH = 64,
};

/* A hierarchical timing wheel in microseconds: a slot of level n spans 64^n of them. */
struct wheel {
	uint64_t now_us;                /* all timers up to here have been taken out */
	uint64_t next_us;               /* nothing is to be done before */
	uint32_t count;                 /* armed timers */
	struct list due;                /* ran out, not called yet */
	uint64_t occupied[WHEEL_LEVELS];        /* bit per slot; may be stale for an empty one */
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

struct reactor {
	/* What other threads touch: messages, last in first, and whether a sender must wake us. */
	CACHE_ALIGNED _Atomic(struct msg *) inbox;
	atomic_bool asleep;

	/* The owner's from here on; the figures are read by others. */
	CACHE_ALIGNED unsigned index;
	int cpu;
	int epoll_fd, event_fd;
	pthread_t thread;

	/* reactor.c: time of this round, and the clock reading that it is derived from */
	uint64_t now_us, sync_us, sync_ticks;
	uint64_t round_ticks;
	bool round_worked;
	struct {
		uint64_t rounds, busy_ticks, idle_ticks, sleep_ticks;
		uint64_t sleeps, messages, completions;
		/* at the start of the current second, and what the last one was */
		uint64_t second_us, second_busy_ticks, second_ticks, second_cpu_us;
		double busy_percent, cpu_percent;
	} figures;

	/* poller.c */
	struct list pollers;
	struct list *poller_next;       /* where the walk that is under way goes on */
	struct poller *poller_running;  /* NULL when it has stopped itself */
	struct poller *deaf;            /* the one that kept us from sleeping last time */
	uint32_t poller_count;

	/* fd_source.c */
	struct list fds;
	uint32_t fd_count;
	int batch_next, batch_count;
	uint64_t fd_polled_us;
	unsigned fd_skipped_rounds;
	unsigned fd_silent_rounds;      /* with work, since a descriptor had an event */
	struct epoll_event batch[FD_BATCH];

	/* task.c */
	struct list tasks, ready;
	struct list io_waits;
	struct task *running;
	void *scheduler_sp;
	const void *scheduler_stack;    /* for the address sanitizer */
	size_t scheduler_stack_bytes;
	void *scheduler_fake_stack;
	struct list free_stacks;
	uint32_t task_count, free_stack_count;

	struct wheel wheel;
	struct trace_ring trace;
};

enum task_state { TASK_READY, TASK_RUNNING, TASK_WAITING, TASK_ENDED };

/* Lies at the top of its own stack. */
struct task {
	struct list link;               /* ready, free, or what the task waits for */
	struct list all;
	struct reactor *reactor;
	enum task_state state;
	bool timed_out, cancelled, described;
	void *sp;
	void *fake_stack;               /* the address sanitizer's */
	task_fn *fn;
	void *arg;
	struct timer timer;
	uint64_t id, started_us, done, total;
	char name[TASK_NAME_BYTES];
	char what[sizeof(((struct task_info *)0)->what)];
};

extern __thread struct reactor *reactor_current;

/* reactor.c */
/* Microseconds by ticks from the last clock reading: no system call on any machine. */
uint64_t reactor_clock_us(struct reactor *r);

/* poller.c */
int pollers_run(struct reactor *r);
/* False: something keeps us awake; what was armed must be disarmed all the same. */
bool pollers_arm(struct reactor *r);
void pollers_disarm(struct reactor *r);

/* fd_source.c */
int fd_sources_init(struct reactor *r);
void fd_sources_fini(struct reactor *r);
/* Asks epoll without waiting if it is due: WORKED says whether this round has done anything yet. */
int fd_sources_run(struct reactor *r, bool worked);
/* Waits at most US; then calls what has events. Returns how many. */
int fd_sources_wait(struct reactor *r, uint64_t us);
int fd_sources_dispatch(struct reactor *r);

/* timer.c */
void wheel_init(struct wheel *w, uint64_t now_us);
int timers_run(struct reactor *r);
/* Deadline of the first timer, UINT64_MAX: none. May be too early, never too late. */
uint64_t timers_next_us(struct reactor *r);

/* task.c */
void tasks_init(struct reactor *r);
void tasks_fini(struct reactor *r);
int tasks_run(struct reactor *r);
/* The running task; outside of one it is a bug to ask. */
struct task *task_running(void);
/* From the running task T to the scheduler; returns when it is entered again. */
void task_leave(struct task *t);
/* For panics. */
void task_report(const struct reactor *r, const void *fault_addr);

/* task_switch.S */
/* Saves the callee-saved registers and the stack pointer in *SAVE, goes on where LOAD was saved. */
void task_switch(void **save, void *load);

/* task_block.c */
/* Ends the helper threads; none of them has work. */
void task_block_fini(void);

#endif
