/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocking work that nobody waits for, and of which there may be much at once: ending what a peer
 * can hold up. A job blocks in a helper thread (task_block) and is then done on its reactor. Of a
 * line at most MAX jobs block at a time, so that others find a helper too; the rest stands in line.
 */
#ifndef CORE_TASK_LINE_H
#define CORE_TASK_LINE_H

#include "core/reactor.h"
#include "core/task.h"

/* Part of what it works on: adding one cannot fail. */
struct task_job {
	struct list link;
	void (*block)(struct task_job *job);    /* in a helper thread: touches no reactor */
	void (*done)(struct task_job *job);     /* in a task; may free the job */
};

/* Of one reactor. */
struct task_line {
	const char *name;
	unsigned max, tasks;
	unsigned count;                 /* jobs that are not done */
	struct list jobs;               /* no task has them yet */
	struct event empty;
	struct timer retry;
};

/* NAME is its tasks', and stays. */
void task_line_init(struct task_line *line, const char *name, unsigned max);
/* Outside of tasks too. JOB is the line's until it is done. */
void task_line_add(struct task_line *line, struct task_job *job);
/* In a task: until all jobs are done. */
void task_line_wait(struct task_line *line);

#endif
