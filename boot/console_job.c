/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A command in a task of its own, so that its session stays alive: it can be cancelled, and it can
 * be left running when the operator goes away. What it prints is held here, bounded, until the
 * session shows it; a command never waits for a terminal.
 *
 * Life: job_start → (prints, reads keys) → done, session woken → job_leave frees it. Left earlier,
 * it frees itself when the command ends.
 */
#include "boot/console.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/clock.h"

enum { TASKS_MAX = 64 };

static struct {
	struct list jobs;
	unsigned count, last_number;
} all = { .jobs = LIST_INIT(all.jobs) };

/* ---- output ---- */

static void hold_add(struct hold *h, const char *text, size_t len)
{
	if (h->head > 0 && h->head + h->len + len > h->cap) {
		memmove(h->data, h->data + h->head, h->len);
		h->head = 0;
	}
	if (h->head + h->len + len > h->cap) {
		size_t cap = MAX(h->cap * 2, ALIGN_UP(h->len + len, 4096));
		char *grown = h->len + len <= CONSOLE_HOLD_BYTES ? realloc(h->data, cap) : NULL;

		if (!grown) {
			h->dropped += len;
			return;
		}
		h->data = grown;
		h->cap = cap;
	}
	memcpy(h->data + h->head + h->len, text, len);
	h->len += len;
}

static void job_write(struct cmd_out *out, const char *text, size_t len)
{
	struct console_job *job = container_of(out, struct console_job, out);

	if (!job->session)
		return;
	/* a live screen is drawn anew: what the terminal cannot take now is not wanted later */
	if (out->live && job->hold.len == 0) {
		session_write(job->session, text, len);
		return;
	}
	hold_add(&job->hold, text, len);
	session_wake(job->session);
}

/* ---- keys ---- */

static int job_key(struct cmd_out *out, uint64_t us)
{
	struct console_job *job = container_of(out, struct console_job, out);
	uint64_t until = clock_now_us() + us;
	int key = -ETIMEDOUT;

	job->reading = true;
	for (;;) {
		uint64_t now = clock_now_us();

		if (!job->session || job->session->closing) {
			key = -EPIPE;
			break;
		}
		out->columns = job->session->opts.columns;
		out->rows = job->session->opts.rows;
		key = session_take(job->session);
		if (key >= 0)
			break;
		key = -ETIMEDOUT;
		if (now >= until)
			break;
		event_clear(&job->key);
		session_wake(job->session);
		task_wait_timeout(&job->key, until - now);
	}
	job->reading = false;
	return key;
}

/* ---- life ---- */

static void job_free(struct console_job *job)
{
	list_del(&job->link);
	free(job->hold.data);
	free(job);
}

static void job_main(void *arg)
{
	struct console_job *job = arg;

	task_describe("%s", job->line);
	job->rc = cmd_run(job->line, &job->out);
	job->done = true;
	all.count--;
	if (job->session) {
		session_wake(job->session);
		return;
	}
	if (job->rc == 0)
		log_info("console: \"%.100s\", left running: done", job->line);
	else
		log_warn("console: \"%.100s\", left running: %s", job->line, strerror(-job->rc));
	job_free(job);
}

struct console_job *job_start(struct console_session *s, const char *line)
{
	struct console_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->session = s;
	job->out = (struct cmd_out){
		.write = job_write, .key = s->opts.keys ? job_key : NULL,
		.columns = s->opts.columns, .rows = s->opts.rows, .colour = s->opts.colour,
		.json = s->opts.json, .exact = !s->opts.keys,
	};
	event_init(&job->key);
	snprintf(job->line, sizeof(job->line), "%s", line);
	snprintf(job->name, sizeof(job->name), "console %u.%u", s->number, ++all.last_number);
	list_push(&all.jobs, &job->link);
	if (!task_start(job->name, job_main, job)) {
		job_free(job);
		return NULL;
	}
	all.count++;
	return job;
}

void job_leave(struct console_job *job)
{
	job->session = NULL;
	if (job->done)
		job_free(job);
	else
		event_signal(&job->key);
}

/* ---- the task behind it ---- */

static bool job_task(const struct console_job *job, struct task_info *found)
{
	struct task_info *info = calloc(TASKS_MAX, sizeof(*info));
	unsigned count = info ? task_list(info, TASKS_MAX) : 0;
	bool there = false;

	for (unsigned i = 0; i < count && !there; i++) {
		there = strcmp(info[i].name, job->name) == 0;
		*found = info[i];
	}
	free(info);
	return there;
}

bool job_progress(const struct console_job *job, struct task_info *info)
{
	return !job->done && job_task(job, info) && info->total > 0;
}

void job_cancel(struct console_job *job)
{
	struct task_info info;

	job->cancelled = true;
	if (!job->done && job_task(job, &info))
		task_cancel(info.id);
}

void job_cancel_all(void)
{
	struct console_job *job;

	list_for_each(job, &all.jobs, link)
		job_cancel(job);
}

unsigned job_count(void)
{
	return all.count;
}
