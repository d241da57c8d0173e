/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helper threads for system calls that block. There are at most HELPERS_MAX, made when a job finds
 * none idle, and kept; more jobs wait in line. A job is the caller's stack memory, and is given
 * back by a message.
 */
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/runtime.h"
#include "core/thread.h"

enum { HELPERS_MAX = 16, STACK_BYTES = 256 * 1024, RETRY_US = 10 * 1000 };

struct job {
	struct msg msg;
	struct reactor *from;
	task_fn *fn;
	void *arg;
	struct event done;
	struct list link;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list jobs;               /* not taken yet */
	unsigned job_count, idle, count;
	bool ending;
	pthread_t thread[HELPERS_MAX];
} helpers = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.jobs = LIST_INIT(helpers.jobs),
};

static void job_return(struct msg *msg)
{
	event_signal(&container_of(msg, struct job, msg)->done);
}

static void *helper_main(void *arg)
{
	panic_thread_init();
	pthread_mutex_lock(&helpers.lock);
	for (;;) {
		struct job *job = list_pop_entry(&helpers.jobs, struct job, link);

		if (job) {
			helpers.job_count--;
			pthread_mutex_unlock(&helpers.lock);
			job->fn(job->arg);
			reactor_send(job->from, &job->msg, job_return);
			pthread_mutex_lock(&helpers.lock);
			continue;
		}
		if (helpers.ending)
			break;
		helpers.idle++;
		pthread_cond_wait(&helpers.work, &helpers.lock);
		helpers.idle--;
	}
	pthread_mutex_unlock(&helpers.lock);
	panic_thread_fini();
	return NULL;
}

/* One more thread. Under the lock. 0 or -errno. */
static int helper_spawn(void)
{
	int rc = thread_create(&helpers.thread[helpers.count], "task helper", STACK_BYTES,
			       helper_main, NULL);

	if (rc == 0)
		helpers.count++;
	return rc;
}

void task_block(task_fn *fn, void *arg)
{
	struct job job = { .from = reactor_self(), .fn = fn, .arg = arg };
	bool spawned = false;

	ASSERT_MSG(task_self(), "task_block outside of a task");
	event_init(&job.done);
	for (;;) {
		int rc = 0;

		pthread_mutex_lock(&helpers.lock);
		if (helpers.job_count >= helpers.idle && helpers.count < HELPERS_MAX)
			rc = helper_spawn();
		spawned = helpers.count > 0;
		if (spawned) {
			list_push(&helpers.jobs, &job.link);
			helpers.job_count++;
			pthread_cond_signal(&helpers.work);
		}
		pthread_mutex_unlock(&helpers.lock);
		if (spawned)
			break;
		log_warn("task block: no helper thread (errno %d): waiting", -rc);
		task_sleep(RETRY_US);
	}
	task_wait(&job.done);
}

void task_block_fini(void)
{
	pthread_mutex_lock(&helpers.lock);
	helpers.ending = true;
	pthread_cond_broadcast(&helpers.work);
	pthread_mutex_unlock(&helpers.lock);
	for (unsigned i = 0; i < helpers.count; i++)
		pthread_join(helpers.thread[i], NULL);
	helpers.count = 0;
	helpers.ending = false;
}
