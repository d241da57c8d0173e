/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory is a file of somebody else, who may cut it short at any time; touching a page that
 * is no longer there is SIGBUS. The handler puts a page of zeroes in its place, so that the access
 * goes on, and marks the session, which is closed by its task.
 *
 * The table is read in a signal handler of any thread: entries are written while they are not
 * published, and an entry is published by its length.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/panic.h"

enum { FAULT_SLOTS = 4096, FAULT_PAGE = 4096 };

static struct fault_slot {
	_Atomic uintptr_t start;
	_Atomic size_t len;             /* 0: free */
	atomic_bool *cut;
} slots[FAULT_SLOTS];

static unsigned slots_used;             /* reactor 0: one past the highest that was ever used */

int vh_fault_watch(void *host, size_t len, atomic_bool *cut)
{
	for (unsigned i = 0; i < FAULT_SLOTS; i++) {
		if (atomic_load(&slots[i].len))
			continue;
		slots[i].cut = cut;
		atomic_store(&slots[i].start, (uintptr_t)host);
		atomic_store(&slots[i].len, len);
		slots_used = MAX(slots_used, i + 1);
		return (int)i;
	}
	return -ENOSPC;
}

void vh_fault_unwatch(int slot)
{
	atomic_store(&slots[slot].len, 0);
}

static struct fd_source wake = { .fd = -1 };
static void (*wake_cut)(void);
static bool handler_added;              /* for good */

/* A full eventfd wakes as well as one that was written. */
static void wake_up(void)
{
	static const uint64_t one = 1;
	int saved = errno;
	ssize_t rc = write(wake.fd, &one, sizeof(one));

	(void)rc;
	errno = saved;
}

static bool fault_handle(struct panic_fault *fault, int sig, void *addr)
{
	uintptr_t at = (uintptr_t)addr;

	if (sig != SIGBUS)
		return false;
	for (unsigned i = 0; i < FAULT_SLOTS; i++) {
		uintptr_t start = atomic_load(&slots[i].start);

		if (at < start || at - start >= atomic_load(&slots[i].len))
			continue;
		if (mmap((void *)ALIGN_DOWN(at, FAULT_PAGE), FAULT_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return false;
		atomic_store(slots[i].cut, true);
		wake_up();
		return true;
	}
	return false;
}

static struct panic_fault fault = { .handle = fault_handle };

static void wake_event(struct fd_source *source, uint32_t events)
{
	uint64_t count;

	if (read(source->fd, &count, sizeof(count)) == sizeof(count))
		wake_cut();
}

int vh_fault_init(void (*cut)(void))
{
	int rc;

	wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake.fd < 0)
		return -errno;
	wake.event = wake_event;
	wake_cut = cut;
	rc = fd_source_add(&wake, EPOLLIN);
	if (rc) {
		close(wake.fd);
		return rc;
	}
	if (!handler_added)
		panic_fault_add(&fault);
	handler_added = true;
	return 0;
}

void vh_fault_fini(void)
{
	fd_source_remove(&wake);
	close(wake.fd);
	wake.fd = -1;
}
