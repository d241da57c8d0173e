/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One reactor in the test's own thread, turned by hand, under simulated time. Progress is counted
 * in rounds; time moves only when a test says so.
 */
#ifndef TESTS_LOOP_H
#define TESTS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/task.h"

/* Around each test: loop_test(name) in the table. */
int loop_setup(void **state);
int loop_teardown(void **state);
#define loop_test(name) cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown)

/* Rounds until one finds no work; fails after a million. Returns how many there were. */
unsigned loop_drain(void);
/* Moves time on and drains. */
void loop_advance(uint64_t us);
/*
 * Runs FN as a task to its end. When nothing is left to do but the task has not ended, time moves
 * on by a millisecond; fails after an hour of that.
 */
void loop_task(task_fn *fn, void *arg);

#endif
