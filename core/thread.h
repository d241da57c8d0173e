/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads of the runtime: reactors and the helpers of task_block. Signals that somebody sends are
 * reactor 0's business, so these threads block them; faults are not blocked, or the kernel would
 * end the process without a report.
 */
#ifndef CORE_THREAD_H
#define CORE_THREAD_H

#include <pthread.h>
#include <stddef.h>

/*
 * NAME has at most 15 characters and is seen in top and in core dumps. The C library's default
 * stack would be 128 KiB with musl: it is never used. 0 or -errno.
 */
int thread_create(pthread_t *thread, const char *name, size_t stack_bytes, void *(*fn)(void *arg),
		  void *arg);

#endif
