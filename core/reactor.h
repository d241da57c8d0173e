/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reactors: one pinned thread per core, each running rounds of: messages, pollers, completions,
 * ready tasks, timers, fds.
 *
 * An object belongs to one reactor at a time. Across reactors there is reactor_send() only. A
 * reactor spins while rounds find work; after config.idle_spin_us without any it arms every poller
 * and blocks in epoll until an fd, a message or the next timer wakes it. Reactor 0 is the control
 * reactor: configuration objects and console commands live there.
 *
 * Unless said otherwise a function is called on the reactor that owns its object, and callbacks
 * come on that reactor.
 */
#ifndef CORE_REACTOR_H
#define CORE_REACTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "core/base/list.h"

enum { REACTOR_MAX = 64 };

/*
 * ---- messages: run fn on another reactor, in order per sender; the sender's memory until fn is
 * called ----
 */

struct msg {
	struct msg *next;
	void (*fn)(struct msg *msg);
};

/* ---- pollers: called once a round ---- */

enum poller_arm {
	POLLER_ARMED,   /* an fd source of this reactor will wake it when there is work */
	POLLER_BUSY,    /* work is there already: do not sleep */
	POLLER_DEAF,    /* this source cannot raise an event: keep polling */
};

struct poller {
	const char *name;
	/* Does at most the poller's own budget of work; returns how much was done, 0 for none. */
	int (*poll)(struct poller *p);
	/*
	 * Called before the reactor sleeps; NULL: nothing to arm, the source wakes the reactor by
	 * itself.
	 */
	enum poller_arm (*arm)(struct poller *p);
	/* Called after it woke, if it was armed; may be NULL. */
	void (*disarm)(struct poller *p);
	/* A disk's: comes after those of who uses disks, and begins in a round what it brought. */
	bool late;
	bool armed;
	struct list link;
	uint64_t rounds, work;          /* figures: calls, and units of work that they returned */
};

/* On the calling reactor. A poller may stop itself or any other while it runs. */
void poller_start(struct poller *p);
void poller_stop(struct poller *p);

/* ---- file descriptors ---- */

struct fd_source {
	int fd;
	/*
	 * events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR … as reported. May remove itself or any
	 * other source.
	 */
	void (*event)(struct fd_source *src, uint32_t events);
	struct list link;
};

/* On the calling reactor. events as for epoll (EPOLLET allowed). -errno of epoll_ctl. */
int fd_source_add(struct fd_source *src, uint32_t events);
int fd_source_modify(struct fd_source *src, uint32_t events);
/*
 * After this no event is delivered, not even one already fetched in this round. The fd stays open.
 */
void fd_source_remove(struct fd_source *src);

/* ---- timers ---- */

struct timer {
	void (*fn)(struct timer *t);    /* one shot; may arm itself again */
	uint64_t deadline_us;
	struct list link;
};

void timer_setup(struct timer *t, void (*fn)(struct timer *t));
/*
 * Arms (or arms anew) for US from now, on the calling reactor, which must be the one where it is
 * armed already, if it is.
 */
void timer_arm(struct timer *t, uint64_t us);
/* No effect when not armed. After it, fn is not called. */
void timer_cancel(struct timer *t);
bool timer_armed(const struct timer *t);

/* ---- the reactors ---- */

struct reactor;

struct reactor_stats {
	unsigned index;
	int cpu;                        /* -1: not pinned */
	bool asleep;
	uint64_t heartbeat;             /* rounds; advances at least every second, asleep or not */
	/* since start: rounds with work, without, blocked in epoll */
	uint64_t busy_us, idle_us, sleep_us;
	uint64_t sleeps, messages, completions;
	uint32_t pollers, tasks, fds, timers;
	double busy_percent;            /* of the last second */
	double cpu_percent;             /* CPU time of the thread in the last second */
};

/*
 * Makes COUNT reactors pinned to CPUS[i] (NULL: not pinned). The caller's thread becomes reactor 0
 * in reactor_run(). -errno.
 */
int reactor_init(unsigned count, const int *cpus);
/*
 * Runs reactor 0 here and the others in threads, until reactor_stop(). First thing, START runs as a
 * task on reactor 0.
 */
void reactor_run(void (*start)(void *arg), void *arg);
/* Any thread. Reactors end after their current round. */
void reactor_stop(void);
/* After reactor_run returned. */
void reactor_fini(void);

unsigned reactor_count(void);
struct reactor *reactor_at(unsigned index);
/* NULL on a thread that is not a reactor's. */
struct reactor *reactor_self(void);
/* 0…reactor_count()-1; on a reactor's thread only. */
unsigned reactor_index(void);
/*
 * From any reactor (or thread) to any, itself included; FN comes in a later round of R. Lock-free,
 * never fails.
 */
void reactor_send(struct reactor *r, struct msg *msg, void (*fn)(struct msg *msg));
/* Safe from any thread: a consistent enough copy. */
void reactor_stats(struct reactor *r, struct reactor_stats *out);

/* The time cached at the start of this round: for coarse uses on the data path. */
uint64_t reactor_now_us(void);

/*
 * For tests: runs one round of the calling thread's reactor, which must have been made with
 * reactor_init(1, NULL) and entered with reactor_enter(). Returns work done.
 */
void reactor_enter(struct reactor *r);
int reactor_round(void);

#endif
