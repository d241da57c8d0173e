/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File descriptors: one epoll set per reactor. Events are fetched in batches; removing a source
 * takes it out of the rest of the batch, so that it and its memory may go away at any moment.
 *
 * While the reactor spins, epoll is asked in each round that has found nothing else to do. In
 * rounds that have, it is asked once per FD_POLL_US or FD_SKIP_MAX rounds, whichever comes first:
 * one system call of about half a microsecond in 20 us costs at most 2.5 %, and a socket under a
 * busy drive waits at most that long. So it is in every round once FD_SILENT of them in a row have
 * had work and none of it came from a descriptor: a guest that sends its next request within a
 * microsecond does not wait for a system call first. The count of rounds is for those that take no
 * time, under a simulated clock.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/runtime.h"

enum { FD_POLL_US = 20, FD_SKIP_MAX = 1024, FD_SILENT = 64 };

/* kernels before 5.11 have no epoll_pwait2: milliseconds then */
static atomic_bool coarse_wait;

int fd_sources_init(struct reactor *r)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	list_init(&r->fds);
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (r->event_fd < 0 || r->epoll_fd < 0 ||
	    epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->event_fd, &event) < 0)
		return -errno;
	return 0;
}

void fd_sources_fini(struct reactor *r)
{
	if (r->epoll_fd >= 0)
		close(r->epoll_fd);
	if (r->event_fd >= 0)
		close(r->event_fd);
}

static int control(struct fd_source *src, int op, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = src };

	return epoll_ctl(reactor_current->epoll_fd, op, src->fd, &event) < 0 ? -errno : 0;
}

int fd_source_add(struct fd_source *src, uint32_t events)
{
	struct reactor *r = reactor_current;
	int rc = control(src, EPOLL_CTL_ADD, events);

	if (rc)
		return rc;
	list_push(&r->fds, &src->link);
	r->fd_count++;
	return 0;
}

int fd_source_modify(struct fd_source *src, uint32_t events)
{
	return control(src, EPOLL_CTL_MOD, events);
}

void fd_source_remove(struct fd_source *src)
{
	struct reactor *r = reactor_current;
	int rc = control(src, EPOLL_CTL_DEL, 0);

	/* closed before it was removed: the kernel has forgotten it unless a duplicate is open */
	if (rc && rc != -EBADF && rc != -ENOENT)
		log_error("fd %d: cannot be taken from epoll: errno %d", src->fd, -rc);
	list_del(&src->link);
	r->fd_count--;
	for (int i = r->batch_next; i < r->batch_count; i++)
		if (r->batch[i].data.ptr == src)
			r->batch[i].data.ptr = NULL;
}

int fd_sources_dispatch(struct reactor *r)
{
	int count = 0;

	while (r->batch_next < r->batch_count) {
		struct epoll_event *e = &r->batch[r->batch_next++];
		struct fd_source *src = e->data.ptr;

		/* removed, or the event fd, which has done its work by waking us */
		if (!src)
			continue;
		src->event(src, e->events);
		count++;
	}
	if (count)
		r->fd_silent_rounds = 0;
	return count;
}

static void batch_set(struct reactor *r, int count)
{
	/* only a signal, and descriptors that are ours, can make epoll fail */
	ASSERT_MSG(count >= 0 || errno == EINTR, "reactor %u: epoll: errno %d", r->index, errno);
	r->batch_next = 0;
	r->batch_count = MAX(count, 0);
}

int fd_sources_run(struct reactor *r, bool worked)
{
	if (r->fd_count == 0)
		return 0;
	r->fd_silent_rounds += worked;
	if ((worked || r->fd_silent_rounds >= FD_SILENT) &&
	    r->now_us - r->fd_polled_us < FD_POLL_US && ++r->fd_skipped_rounds < FD_SKIP_MAX)
		return 0;
	r->fd_polled_us = r->now_us;
	r->fd_skipped_rounds = 0;
	batch_set(r, epoll_wait(r->epoll_fd, r->batch, FD_BATCH, 0));
	return fd_sources_dispatch(r);
}

int fd_sources_wait(struct reactor *r, uint64_t us)
{
	struct { int64_t sec, nsec; } timeout = {
		(int64_t)(us / 1000000), (int64_t)(us % 1000000 * 1000)
	};
	long count = -1;

	if (!atomic_load_explicit(&coarse_wait, memory_order_relaxed)) {
		count = syscall(SYS_epoll_pwait2, r->epoll_fd, r->batch, FD_BATCH, &timeout, NULL,
				(size_t)8);
		if (count < 0 && (errno == ENOSYS || errno == EPERM))
			atomic_store(&coarse_wait, true);
	}
	if (atomic_load_explicit(&coarse_wait, memory_order_relaxed))
		count = epoll_wait(r->epoll_fd, r->batch, FD_BATCH, (int)div_round_up(us, 1000));
	batch_set(r, (int)count);
	return r->batch_count;
}
