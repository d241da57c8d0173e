/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/reactor.h"

enum { ROUNDS_MAX = 1000 * 1000, STEP_US = 1000, STEPS_MAX = 3600 * 1000 };

struct loop_task {
	task_fn *fn;
	void *arg;
	bool ended;
};

int loop_setup(void **state)
{
	clock_init();
	clock_simulate(1);
	assert_int_equal(reactor_init(1, NULL), 0);
	reactor_enter(reactor_at(0));
	return 0;
}

int loop_teardown(void **state)
{
	reactor_fini();
	clock_simulate_end();
	return 0;
}

unsigned loop_drain(void)
{
	unsigned rounds = 1;

	while (reactor_round() > 0) {
		rounds++;
		assert_true(rounds < ROUNDS_MAX);
	}
	return rounds;
}

void loop_advance(uint64_t us)
{
	clock_simulate_advance(us);
	loop_drain();
}

static void task_main(void *arg)
{
	struct loop_task *t = arg;

	t->fn(t->arg);
	t->ended = true;
}

void loop_task(task_fn *fn, void *arg)
{
	struct loop_task t = { .fn = fn, .arg = arg };
	unsigned steps = 0;

	assert_non_null(task_start("test", task_main, &t));
	while (!t.ended) {
		loop_drain();
		if (!t.ended) {
			clock_simulate_advance(STEP_US);
			assert_true(++steps < STEPS_MAX);
		}
	}
}
