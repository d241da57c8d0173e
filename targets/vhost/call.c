/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling the guest, by eventfds of the front end. They do not block when they are taken over, but
 * that is for the front end to change: who makes one blocking again, and fills it, catches whoever
 * writes to it next. So a thread looks after the writes of all reactors, and one that has not ended
 * from one look to the next is interrupted by a signal. The write itself costs nothing more.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/thread.h"

enum { LOOK_MS = 50, STACK_BYTES = 64 * 1024, SIGNAL = SIGURG };

static struct caller {
	_Atomic uint32_t turn;          /* odd: in a write */
	pthread_t thread;               /* valid then */
} CACHE_ALIGNED callers[REACTOR_MAX];

static pthread_t watcher;
static int ending = -1;

static void interrupted(int sig)
{
}

static void *watch(void *arg)
{
	struct pollfd end = { .fd = ending, .events = POLLIN };
	uint32_t seen[REACTOR_MAX] = { 0 };

	while (poll(&end, 1, LOOK_MS) == 0) {
		for (unsigned i = 0; i < reactor_count(); i++) {
			uint32_t turn = atomic_load(&callers[i].turn);

			if ((turn & 1) && turn == seen[i])
				pthread_kill(callers[i].thread, SIGNAL);
			seen[i] = turn;
		}
	}
	return NULL;
}

int vh_call_init(void)
{
	struct sigaction action = { .sa_handler = interrupted };
	int rc;

	/* without SA_RESTART: what it interrupts ends */
	if (sigaction(SIGNAL, &action, NULL))
		return -errno;
	ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ending < 0)
		return -errno;
	rc = thread_create(&watcher, "vhost calls", STACK_BYTES, watch, NULL);
	if (rc)
		close(ending);
	return rc;
}

void vh_call_fini(void)
{
	eventfd_write(ending, 1);
	pthread_join(watcher, NULL);
	close(ending);
}

void vh_call_ready(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	callers[reactor_index()].thread = pthread_self();
}

int vh_call(int fd)
{
	static const uint64_t one = 1;
	struct caller *caller = &callers[reactor_index()];
	uint32_t turn = atomic_load_explicit(&caller->turn, memory_order_relaxed);
	int rc;

	atomic_store_explicit(&caller->turn, turn + 1, memory_order_release);
	rc = write(fd, &one, sizeof(one)) < 0 ? -errno : 0;
	atomic_store_explicit(&caller->turn, turn + 2, memory_order_release);
	/* full: then the guest has been told often enough */
	return rc == -EAGAIN ? 0 : rc;
}
