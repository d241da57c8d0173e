/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of blocking work (core/task_line.h). A line has as many tasks as jobs run at once; each
 * takes jobs from the front until there are none, so a job costs no memory but its own. When no
 * task can be started and none is there, the line tries again.
 */
#include "core/base/util.h"
#include "core/task_line.h"

enum { RETRY_US = 10 * 1000 };

static void job_block(void *arg)
{
	struct task_job *job = arg;

	job->block(job);
}

static void line_task(void *arg)
{
	struct task_line *line = arg;
	struct task_job *job;

	while ((job = list_pop_entry(&line->jobs, struct task_job, link))) {
		task_block(job_block, job);
		/* the job may not exist any more after this */
		job->done(job);
		if (--line->count == 0)
			event_signal(&line->empty);
	}
	line->tasks--;
}

static void line_start(struct task_line *line)
{
	if (line->tasks == line->max)
		return;
	if (task_start(line->name, line_task, line))
		line->tasks++;
	else if (line->tasks == 0)
		timer_arm(&line->retry, RETRY_US);
}

static void line_retry(struct timer *t)
{
	line_start(container_of(t, struct task_line, retry));
}

void task_line_init(struct task_line *line, const char *name, unsigned max)
{
	*line = (struct task_line){ .name = name, .max = max };
	list_init(&line->jobs);
	event_init(&line->empty);
	timer_setup(&line->retry, line_retry);
}

void task_line_add(struct task_line *line, struct task_job *job)
{
	line->count++;
	list_push(&line->jobs, &job->link);
	line_start(line);
}

void task_line_wait(struct task_line *line)
{
	while (line->count) {
		event_clear(&line->empty);
		task_wait(&line->empty);
	}
}
