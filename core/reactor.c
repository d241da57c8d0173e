/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reactors: their life, their messages, their rounds and their sleep.
 *
 * Messages are pushed on the target's inbox with one compare-and-swap, last in first; the owner
 * takes the whole chain with one exchange and turns it around. Losing no wake-up rests on two
 * sequentially consistent orders: a sender pushes, then reads `asleep`; the owner sets `asleep`,
 * then reads the inbox. One of the two sees the other, so either the sender writes the eventfd or
 * the owner does not block. An awake reactor costs a sender no system call.
 *
 * Time of a round comes from the TSC, measured from a clock reading that is at most CLOCK_SYNC_NS
 * old, because on some machines reading the clock is a system call.
 */
#include "core/reactor.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/io.h"
#include "core/runtime.h"
#include "core/thread.h"

enum {
	CLOCK_SYNC_NS = 1000 * 1000,
	SECOND_US = 1000 * 1000,
	/* sleeping reactors wake this often, so that their heartbeat advances */
	SLEEP_US_MAX = 1000 * 1000,
	TIMER_SLACK_NS = 5000,
	STACK_BYTES = 1024 * 1024,
	TRACE_SHOWN = 32,
};

__thread struct reactor *reactor_current;

static struct reactor *reactors[REACTOR_MAX];
static unsigned reactors_count;
static atomic_bool stopping;

static struct {
	void (*start)(void *arg);
	void *arg;
} first_task;

unsigned reactor_count(void)
{
	return reactors_count;
}

struct reactor *reactor_at(unsigned index)
{
	ASSERT_MSG(index < reactors_count, "reactor %u: there are %u", index, reactors_count);
	return reactors[index];
}

struct reactor *reactor_self(void)
{
	return reactor_current;
}

unsigned reactor_index(void)
{
	return reactor_current->index;
}

/* ---- time ---- */

static uint64_t clock_us_at(struct reactor *r, uint64_t ticks)
{
	uint64_t ns = clock_ticks_to_ns(ticks - r->sync_ticks);

	if (ns >= CLOCK_SYNC_NS) {
		r->sync_us = clock_now_us();
		r->sync_ticks = clock_ticks();
		return r->sync_us;
	}
	return r->sync_us + ns / 1000;
}

uint64_t reactor_clock_us(struct reactor *r)
{
	return clock_us_at(r, clock_ticks());
}

uint64_t reactor_now_us(void)
{
	return reactor_current->now_us;
}

/* ---- messages ---- */

static void wake(struct reactor *r)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full of wake-ups, one of which is not consumed */
	while (write(r->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void reactor_send(struct reactor *r, struct msg *msg, void (*fn)(struct msg *msg))
{
	struct msg *head = atomic_load_explicit(&r->inbox, memory_order_relaxed);

	msg->fn = fn;
	do
		msg->next = head;
	while (!atomic_compare_exchange_weak(&r->inbox, &head, msg));
	if (r != reactor_current && atomic_load(&r->asleep))
		wake(r);
}

static int messages_run(struct reactor *r)
{
	struct msg *msg, *next, *chain = NULL;
	int count = 0;

	if (!atomic_load_explicit(&r->inbox, memory_order_relaxed))
		return 0;
	for (msg = atomic_exchange(&r->inbox, NULL); msg; msg = next) {
		next = msg->next;
		msg->next = chain;
		chain = msg;
	}
	for (; chain; chain = next) {
		next = chain->next;
		chain->fn(chain);
		count++;
	}
	r->figures.messages += (unsigned)count;
	return count;
}

/* ---- figures ---- */

/* Books the time since the last call as what it was spent on. */
static void figures_book(struct reactor *r, uint64_t *ticks)
{
	uint64_t now = clock_ticks();

	*ticks += now - r->round_ticks;
	r->round_ticks = now;
}

/* Once a second: the percentages of the second that has passed. */
static void figures_second(struct reactor *r)
{
	uint64_t busy = r->figures.busy_ticks, cpu_us = clock_thread_cpu_us();
	uint64_t all = busy + r->figures.idle_ticks + r->figures.sleep_ticks;
	double us = (double)(r->now_us - r->figures.second_us);

	if (r->figures.second_us && all > r->figures.second_ticks) {
		r->figures.busy_percent = 100.0 * (double)(busy - r->figures.second_busy_ticks) /
					  (double)(all - r->figures.second_ticks);
		r->figures.cpu_percent =
			100.0 * (double)(cpu_us - r->figures.second_cpu_us) / us;
	}
	r->figures.second_us = r->now_us;
	r->figures.second_busy_ticks = busy;
	r->figures.second_ticks = all;
	r->figures.second_cpu_us = cpu_us;
}

static uint64_t ticks_us(const uint64_t *ticks)
{
	return clock_ticks_to_ns(__atomic_load_n(ticks, __ATOMIC_RELAXED)) / 1000;
}

void reactor_stats(struct reactor *r, struct reactor_stats *out)
{
	*out = (struct reactor_stats){
		.index = r->index,
		.cpu = r->cpu,
		.asleep = atomic_load_explicit(&r->asleep, memory_order_relaxed),
		.heartbeat = __atomic_load_n(&r->figures.rounds, __ATOMIC_RELAXED),
		.busy_us = ticks_us(&r->figures.busy_ticks),
		.idle_us = ticks_us(&r->figures.idle_ticks),
		.sleep_us = ticks_us(&r->figures.sleep_ticks),
		.sleeps = __atomic_load_n(&r->figures.sleeps, __ATOMIC_RELAXED),
		.messages = __atomic_load_n(&r->figures.messages, __ATOMIC_RELAXED),
		.completions = __atomic_load_n(&r->figures.completions, __ATOMIC_RELAXED),
		.pollers = __atomic_load_n(&r->poller_count, __ATOMIC_RELAXED),
		.tasks = __atomic_load_n(&r->task_count, __ATOMIC_RELAXED),
		.fds = __atomic_load_n(&r->fd_count, __ATOMIC_RELAXED),
		.timers = __atomic_load_n(&r->wheel.count, __ATOMIC_RELAXED),
	};
	__atomic_load(&r->figures.busy_percent, &out->busy_percent, __ATOMIC_RELAXED);
	__atomic_load(&r->figures.cpu_percent, &out->cpu_percent, __ATOMIC_RELAXED);
}

/* ---- rounds ---- */

static int completions_run(struct reactor *r)
{
	unsigned count = io_run_completions();

	r->figures.completions += count;
	return (int)count;
}

int reactor_round(void)
{
	struct reactor *r = reactor_current;
	int work;

	r->figures.rounds++;
	figures_book(r, r->round_worked ? &r->figures.busy_ticks : &r->figures.idle_ticks);
	r->now_us = clock_us_at(r, r->round_ticks);
	if (r->now_us - r->figures.second_us >= SECOND_US)
		figures_second(r);

	work = messages_run(r);
	work += pollers_run(r);
	work += completions_run(r);
	work += tasks_run(r);
	work += timers_run(r);
	work += fd_sources_run(r, work > 0);
	r->round_worked = work > 0;
	return work;
}

/*
 * Blocks until an event, a message or the next timer. Whatever has turned up since the last round
 * is seen after arming: sources by their arm(), the rest here.
 */
static void reactor_sleep(struct reactor *r)
{
	bool quiet = pollers_arm(r) && completions_run(r) == 0 && list_empty(&r->ready);
	uint64_t next, now;

	if (quiet) {
		atomic_store(&r->asleep, true);
		if (!atomic_load(&r->inbox) && !atomic_load(&stopping)) {
			next = timers_next_us(r);
			now = reactor_clock_us(r);
			next = next > now ? MIN(next - now, (uint64_t)SLEEP_US_MAX) : 0;
			figures_book(r, &r->figures.idle_ticks);
			fd_sources_wait(r, next);
			figures_book(r, &r->figures.sleep_ticks);
			r->figures.sleeps++;
		}
		atomic_store(&r->asleep, false);
	}
	pollers_disarm(r);
	if (quiet)
		fd_sources_dispatch(r);
}

static void reactor_loop(struct reactor *r)
{
	uint64_t worked_us = reactor_clock_us(r);

	r->round_ticks = clock_ticks();
	while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
		if (reactor_round() > 0) {
			worked_us = r->now_us;
		} else if (r->now_us - worked_us >= config.idle_spin_us) {
			reactor_sleep(r);
			/* whatever woke us likely comes with more */
			worked_us = reactor_clock_us(r);
		}
	}
}

/* ---- life ---- */

/* What panics say about the calling thread. */
static void panic_print_reactor(const void *fault_addr)
{
	const struct reactor *r = reactor_current;
	uint64_t next, i;

	if (!r) {
		panic_print("not on a reactor\n");
		return;
	}
	panic_print("reactor ");
	panic_print_dec(r->index);
	task_report(r, fault_addr);
	panic_print("last trace records (ns before now, event, a, b):\n");
	next = r->trace.next;
	for (i = next > TRACE_SHOWN ? next - TRACE_SHOWN : 0; i < next; i++) {
		const struct trace_record *rec = &r->trace.rec[i % TRACE_RECORDS];

		panic_print("  ");
		panic_print_dec(clock_ticks_to_ns(clock_ticks() - rec->ticks));
		panic_print(" ");
		panic_print(trace_event_name(rec->event));
		panic_print(" ");
		panic_print_hex(rec->a);
		panic_print(" ");
		panic_print_hex(rec->b);
		panic_print("\n");
	}
}

static struct panic_hook panic_hook = { .print = panic_print_reactor };

/* Does not touch what is still started, armed or added: that memory may be gone. */
static void reactor_destroy(struct reactor *r)
{
	if (reactor_current == r) {
		reactor_current = NULL;
		trace_ring = NULL;
	}
	tasks_fini(r);
	fd_sources_fini(r);
	free(r);
}

static int reactor_create(unsigned index, int cpu)
{
	struct reactor *r = aligned_alloc(CACHE_LINE, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	r->index = index;
	r->cpu = cpu;
	r->epoll_fd = r->event_fd = -1;
	list_init(&r->pollers);
	r->now_us = r->sync_us = clock_now_us();
	r->sync_ticks = r->round_ticks = clock_ticks();
	wheel_init(&r->wheel, r->now_us);
	tasks_init(r);
	rc = fd_sources_init(r);
	if (rc)
		reactor_destroy(r);
	else
		reactors[index] = r;
	return rc;
}

int reactor_init(unsigned count, const int *cpus)
{
	if (count < 1 || count > REACTOR_MAX)
		return -EINVAL;
	clock_init();
	panic_hook_add(&panic_hook);
	atomic_store(&stopping, false);
	for (unsigned i = 0; i < count; i++) {
		int rc = reactor_create(i, cpus ? cpus[i] : -1);

		if (rc) {
			reactor_fini();
			return rc;
		}
		reactors_count = i + 1;
	}
	return 0;
}

void reactor_fini(void)
{
	task_block_fini();
	while (reactors_count)
		reactor_destroy(reactors[--reactors_count]);
}

void reactor_enter(struct reactor *r)
{
	reactor_current = r;
	trace_ring = &r->trace;
}

static void reactor_pin(struct reactor *r)
{
	cpu_set_t set;
	int rc = EINVAL;

	if (r->cpu < 0)
		return;
	CPU_ZERO(&set);
	if (r->cpu < CPU_SETSIZE) {
		CPU_SET(r->cpu, &set);
		rc = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	}
	if (rc) {
		log_warn("reactor %u: cannot run on CPU %d (errno %d): not pinned", r->index,
			 r->cpu, rc);
		r->cpu = -1;
	}
}

static void *reactor_main(void *arg)
{
	struct reactor *r = arg;

	panic_thread_init();
	reactor_enter(r);
	reactor_pin(r);
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
	reactor_loop(r);
	if (r->index > 0)
		panic_thread_fini();
	return NULL;
}

void reactor_run(void (*start)(void *arg), void *arg)
{
	first_task.start = start;
	first_task.arg = arg;
	reactor_enter(reactors[0]);
	for (unsigned i = 1; i < reactors_count; i++) {
		char name[24];
		int rc;

		snprintf(name, sizeof(name), "reactor %u", i);
		rc = thread_create(&reactors[i]->thread, name, STACK_BYTES, reactor_main,
				   reactors[i]);
		if (rc)
			panic("reactor %u: no thread: errno %d", i, -rc);
	}
	if (start && !task_start("start", start, arg))
		panic("reactor 0: no memory for the first task");
	reactor_main(reactors[0]);
	for (unsigned i = 1; i < reactors_count; i++)
		pthread_join(reactors[i]->thread, NULL);
}

void reactor_stop(void)
{
	atomic_store(&stopping, true);
	for (unsigned i = 0; i < reactors_count; i++)
		wake(reactors[i]);
}
