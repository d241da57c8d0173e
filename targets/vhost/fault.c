/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory is a file of somebody else, who may cut it short at any time; touching a page that
 * is no longer there is SIGBUS. The handler puts zeroes in the place of the whole mapping, so that
 * the access goes on, and marks the session, whose queues stop and which is closed by its task. All
 * of it at once: a huge page cannot be replaced in part, and a mapping for each page that is
 * touched would be more than a process may have.
 *
 * The table is read in a signal handler of any thread while reactor 0 changes other entries of it:
 * the turn of an entry is odd while it changes, and one that changed under the reader's eyes is not
 * the one that is looked for, because memory that is touched is not unmapped.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/panic.h"

enum { FAULT_SLOTS = 16384 };

static struct fault_slot {
	_Atomic uint32_t turn;
	_Atomic uintptr_t start;
	_Atomic size_t len;             /* 0: free */
	_Atomic(atomic_bool *) cut;
} slots[FAULT_SLOTS];

static _Atomic unsigned slots_used;     /* one past the highest that was ever used */

static void slot_set(struct fault_slot *slot, uintptr_t start, size_t len, atomic_bool *cut)
{
	atomic_fetch_add(&slot->turn, 1);
	atomic_store(&slot->start, start);
	atomic_store(&slot->len, len);
	atomic_store(&slot->cut, cut);
	atomic_fetch_add(&slot->turn, 1);
}

int vh_fault_watch(void *host, size_t len, atomic_bool *cut)
{
	for (unsigned i = 0; i < FAULT_SLOTS; i++) {
		if (atomic_load(&slots[i].len))
			continue;
		slot_set(&slots[i], (uintptr_t)host, len, cut);
		if (i >= atomic_load(&slots_used))
			atomic_store(&slots_used, i + 1);
		return (int)i;
	}
	return -ENOSPC;
}

void vh_fault_unwatch(int slot)
{
	slot_set(&slots[slot], 0, 0, NULL);
}

unsigned vh_fault_watched(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < atomic_load(&slots_used); i++)
		count += atomic_load(&slots[i].len) != 0;
	return count;
}

static struct fd_source wake = { .fd = -1 };
static void (*wake_cut)(void);
static bool handler_added;              /* for good */

/* A full eventfd wakes as well as one that was written. */
void vh_fault_wake(void)
{
	static const uint64_t one = 1;
	int saved = errno;
	ssize_t rc = write(wake.fd, &one, sizeof(one));

	(void)rc;
	errno = saved;
}

/* Whether AT was in SLOT's memory, which then reads as zeroes. */
static bool slot_fill(const struct fault_slot *slot, uintptr_t at)
{
	uint32_t turn = atomic_load(&slot->turn);
	uintptr_t start = atomic_load(&slot->start);
	size_t len = atomic_load(&slot->len);
	atomic_bool *cut = atomic_load(&slot->cut);

	if (at - start >= len || (turn & 1) || atomic_load(&slot->turn) != turn)
		return false;
	if (mmap((void *)start, len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	atomic_store(cut, true);
	return true;
}

static bool fault_handle(struct panic_fault *fault, int sig, void *addr)
{
	unsigned used = atomic_load(&slots_used);

	if (sig != SIGBUS)
		return false;
	for (unsigned i = 0; i < used; i++) {
		if (slot_fill(&slots[i], (uintptr_t)addr)) {
			vh_fault_wake();
			return true;
		}
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
