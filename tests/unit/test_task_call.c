/* SPDX-License-Identifier: BSD-3-Clause */
/* Tasks across reactors, and helper threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/reactor.h"
#include "core/task.h"

enum { REACTORS = 4 };

static void run(task_fn *fn)
{
	assert_int_equal(reactor_init(REACTORS, NULL), 0);
	reactor_run(fn, NULL);
	reactor_fini();
}

struct visit {
	unsigned reactor;
	bool in_task;
};

static void visit(void *arg)
{
	struct visit *v = arg;

	task_sleep(10);
	v->reactor = reactor_index();
	v->in_task = task_self() != NULL;
}

static void call_each(void *arg)
{
	for (unsigned i = 0; i < REACTORS; i++) {
		struct visit v = { 0 };
		struct task *self = task_self();

		task_call(reactor_at(i), visit, &v);
		ASSERT(v.reactor == i && v.in_task);
		ASSERT(reactor_index() == 0 && task_self() == self);
	}
	reactor_stop();
}

static void test_call_runs_there_and_returns_here(void **state)
{
	run(call_each);
}

/* A call from 0 to 1, from there to 2, from there back to 0, … */
static void call_on(void *arg)
{
	unsigned *left = arg;

	if ((*left)--)
		task_call(reactor_at((reactor_index() + 1) % REACTORS), call_on, left);
}

static void call_nested(void *arg)
{
	unsigned left = 10;

	call_on(&left);
	ASSERT(left == UINT32_MAX);
	reactor_stop();
}

static void test_calls_nest_around_the_reactors(void **state)
{
	run(call_nested);
}

static atomic_uint visited[REACTORS];

static void visit_all(void *arg)
{
	task_yield();
	atomic_fetch_add(&visited[reactor_index()], 1);
}

static void call_all(void *arg)
{
	for (unsigned turn = 1; turn <= 200; turn++) {
		task_call_all(visit_all, NULL);
		for (unsigned i = 0; i < REACTORS; i++)
			ASSERT(atomic_load(&visited[i]) == turn);
	}
	reactor_stop();
}

static void test_call_all_visits_every_reactor_once(void **state)
{
	run(call_all);
}

/*
 * Readers take a snapshot at the start of a poll and use it until its end. After the barrier nobody
 * may use the old one: then it is marked dead.
 */
struct snapshot {
	atomic_bool dead;
};

static struct snapshot snapshots[2];
static _Atomic(struct snapshot *) current;
static struct poller readers[REACTORS];
static atomic_uint reads;

static int read_poll(struct poller *p)
{
	struct snapshot *s = atomic_load(&current);

	for (unsigned i = 0; i < 50; i++)
		ASSERT(!atomic_load(&s->dead));
	atomic_fetch_add(&reads, 1);
	return 1;
}

static void reader_start(void *arg)
{
	readers[reactor_index()] = (struct poller){ .name = "reader", .poll = read_poll };
	poller_start(&readers[reactor_index()]);
}

static void reader_stop(void *arg)
{
	poller_stop(&readers[reactor_index()]);
}

static void barrier_main(void *arg)
{
	atomic_store(&current, &snapshots[0]);
	task_call_all(reader_start, NULL);
	for (unsigned turn = 0; turn < 100; turn++) {
		struct snapshot *old = atomic_load(&current), *new = &snapshots[!(turn % 2)];

		atomic_store(&new->dead, false);
		atomic_store(&current, new);
		task_barrier();
		atomic_store(&old->dead, true);
	}
	task_call_all(reader_stop, NULL);
	ASSERT(atomic_load(&reads) > 100);
	reactor_stop();
}

static void test_nobody_uses_an_old_snapshot_after_the_barrier(void **state)
{
	run(barrier_main);
}

/* ---- helper threads ---- */

static pthread_barrier_t all_there;
static pthread_t reactor_thread;
static unsigned blocked_left;

static void block_here(void *arg)
{
	ASSERT(!pthread_equal(pthread_self(), reactor_thread));
	ASSERT(reactor_self() == NULL && task_self() == NULL);
	/* returns only when as many helpers are in here at the same time */
	pthread_barrier_wait(&all_there);
	*(int *)arg = 1;
}

static void block_task(void *arg)
{
	int done = 0;

	task_block(block_here, &done);
	ASSERT(done && pthread_equal(pthread_self(), reactor_thread));
	if (--blocked_left == 0)
		reactor_stop();
}

static void block_main(void *arg)
{
	reactor_thread = pthread_self();
	for (unsigned i = 0; i < blocked_left; i++)
		ASSERT(task_start("block", block_task, NULL));
}

static void test_blocking_calls_run_beside_each_other(void **state)
{
	blocked_left = 8;
	pthread_barrier_init(&all_there, NULL, 8);
	run(block_main);
	pthread_barrier_destroy(&all_there);
	assert_int_equal(blocked_left, 0);
}

/* Many more than there may be helpers: they wait in line. */
static void test_many_blocking_calls(void **state)
{
	blocked_left = 300;
	pthread_barrier_init(&all_there, NULL, 1);
	run(block_main);
	pthread_barrier_destroy(&all_there);
	assert_int_equal(blocked_left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_runs_there_and_returns_here),
		cmocka_unit_test(test_calls_nest_around_the_reactors),
		cmocka_unit_test(test_call_all_visits_every_reactor_once),
		cmocka_unit_test(test_nobody_uses_an_old_snapshot_after_the_barrier),
		cmocka_unit_test(test_blocking_calls_run_beside_each_other),
		cmocka_unit_test(test_many_blocking_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
