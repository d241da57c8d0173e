/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines of blocking work, with real helper threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/task_line.h"

enum { JOBS = 100, MAX = 3, OTHERS = 20 };

struct piece {
	struct task_job job;
	unsigned number;
};

static struct task_line line;
static pthread_t reactor_thread;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint inside, begun;
static unsigned done_count, order[JOBS + 1];

static void run(task_fn *fn)
{
	atomic_store(&inside, 0);
	atomic_store(&begun, 0);
	done_count = 0;
	assert_int_equal(reactor_init(1, NULL), 0);
	reactor_run(fn, NULL);
	reactor_fini();
}

/* Stands at the gate as long as the test keeps it closed. */
static void piece_block(struct task_job *job)
{
	ASSERT(!pthread_equal(pthread_self(), reactor_thread));
	ASSERT(atomic_fetch_add(&inside, 1) < line.max);
	atomic_fetch_add(&begun, 1);
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	atomic_fetch_sub(&inside, 1);
}

static void piece_done(struct task_job *job)
{
	struct piece *p = container_of(job, struct piece, job);

	ASSERT(pthread_equal(pthread_self(), reactor_thread) && task_self());
	order[done_count++] = p->number;
	free(p);
}

static void add(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct piece *p = calloc(1, sizeof(*p));

		ASSERT(p);
		p->job = (struct task_job){ .block = piece_block, .done = piece_done };
		p->number = i;
		task_line_add(&line, &p->job);
	}
}

static void other(void *arg)
{
	(*(unsigned *)arg)++;
}

static void stuck_main(void *arg)
{
	unsigned others = 0;

	reactor_thread = pthread_self();
	task_line_init(&line, "stuck", MAX);
	pthread_mutex_lock(&gate);
	add(JOBS);
	while (atomic_load(&begun) < MAX)
		task_yield();
	/* the reactor turns, time passes, and others are helped */
	task_sleep(1000);
	for (unsigned i = 0; i < OTHERS; i++)
		task_block(other, &others);
	ASSERT(others == OTHERS);
	ASSERT(done_count == 0 && line.count == JOBS && atomic_load(&begun) == MAX);
	pthread_mutex_unlock(&gate);
	task_line_wait(&line);
	ASSERT(done_count == JOBS && line.count == 0);
	reactor_stop();
}

static void test_stuck_work_holds_up_neither_its_reactor_nor_others_helpers(void **state)
{
	run(stuck_main);
	assert_int_equal(done_count, JOBS);
}

static void arrive(struct msg *msg)
{
	ASSERT(!task_self());
	add(JOBS);
}

static void order_main(void *arg)
{
	struct msg msg;

	reactor_thread = pthread_self();
	task_line_init(&line, "order", 1);
	task_line_wait(&line);
	reactor_send(reactor_self(), &msg, arrive);
	while (line.count == 0)
		task_yield();
	task_line_wait(&line);
	/* a line that was empty starts again */
	add(1);
	ASSERT(line.count == 1);
	task_line_wait(&line);
	reactor_stop();
}

static void test_one_at_a_time_is_done_in_the_order_of_asking(void **state)
{
	run(order_main);
	assert_int_equal(done_count, JOBS + 1);
	for (unsigned i = 0; i < JOBS; i++)
		assert_int_equal(order[i], i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stuck_work_holds_up_neither_its_reactor_nor_others_helpers),
		cmocka_unit_test(test_one_at_a_time_is_done_in_the_order_of_asking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
