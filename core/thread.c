/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads: stack size, signal mask and name, set before the first instruction of the new one. */
#include "core/thread.h"

#include <signal.h>

int thread_create(pthread_t *thread, const char *name, size_t stack_bytes, void *(*fn)(void *arg),
		  void *arg)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP };
	pthread_attr_t attr;
	sigset_t set, old;
	int rc;

	sigfillset(&set);
	for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&set, faults[i]);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack_bytes);
	/* a thread is born with its creator's mask */
	pthread_sigmask(SIG_SETMASK, &set, &old);
	rc = pthread_create(thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc)
		return -rc;
	pthread_setname_np(*thread, name);
	return 0;
}
