/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io_uring by its system calls. Requests are filled in place, published once a round by one store
 * of the tail, and taken by the kernel in one call; completions are found by looking, without a
 * call. The array of indirections between queue and requests is the identity, for good.
 */
#include "drivers/uring/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/util.h"

static int ring_map(struct ring *ring, const struct io_uring_params *p)
{
	size_t sq_bytes = p->sq_off.array + p->sq_entries * sizeof(unsigned);
	size_t cq_bytes = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	char *base;
	unsigned *array;

	if (!(p->features & IORING_FEAT_SINGLE_MMAP))
		return -ENOSYS;
	ring->rings_bytes = MAX(sq_bytes, cq_bytes);
	ring->rings = mmap(NULL, ring->rings_bytes, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	if (ring->rings == MAP_FAILED) {
		ring->rings = NULL;
		return -errno;
	}
	ring->sqes_bytes = p->sq_entries * sizeof(struct io_uring_sqe);
	ring->sqes = mmap(NULL, ring->sqes_bytes, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (ring->sqes == MAP_FAILED) {
		ring->sqes = NULL;
		return -errno;
	}
	base = ring->rings;
	ring->sq_tail = (unsigned *)(base + p->sq_off.tail);
	ring->sq_mask = *(unsigned *)(base + p->sq_off.ring_mask);
	ring->cq_head = (unsigned *)(base + p->cq_off.head);
	ring->cq_tail = (unsigned *)(base + p->cq_off.tail);
	ring->cq_flags = (unsigned *)(base + p->cq_off.flags);
	ring->cq_mask = *(unsigned *)(base + p->cq_off.ring_mask);
	ring->cqes = (struct io_uring_cqe *)(base + p->cq_off.cqes);
	array = (unsigned *)(base + p->sq_off.array);
	for (unsigned i = 0; i < p->sq_entries; i++)
		array[i] = i;
	return 0;
}

static int ring_register(struct ring *ring, unsigned op, const void *arg, unsigned count)
{
	return syscall(SYS_io_uring_register, ring->fd, op, arg, count) < 0 ? -errno : 0;
}

int ring_open(struct ring *ring, unsigned depth, int fd)
{
	struct io_uring_params p = { 0 };
	int rc;

	*ring = (struct ring){ .fd = -1, .event_fd = -1 };
	ring->fd = syscall(SYS_io_uring_setup, depth, &p);
	if (ring->fd < 0)
		return -errno;
	rc = ring_map(ring, &p);
	if (rc == 0)
		rc = ring_register(ring, IORING_REGISTER_FILES, &fd, 1);
	if (rc == 0) {
		ring->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		rc = ring->event_fd < 0 ? -errno : 0;
	}
	if (rc == 0) {
		ring_disarm(ring);
		rc = ring_register(ring, IORING_REGISTER_EVENTFD, &ring->event_fd, 1);
	}
	if (rc < 0)
		ring_close(ring);
	return rc;
}

void ring_close(struct ring *ring)
{
	/* The kernel takes rings apart in its own time; the file is to be let go of now. */
	if (ring->fd >= 0)
		ring_register(ring, IORING_UNREGISTER_FILES, NULL, 0);
	if (ring->sqes)
		munmap(ring->sqes, ring->sqes_bytes);
	if (ring->rings)
		munmap(ring->rings, ring->rings_bytes);
	if (ring->fd >= 0)
		close(ring->fd);
	if (ring->event_fd >= 0)
		close(ring->event_fd);
	*ring = (struct ring){ .fd = -1, .event_fd = -1 };
}

struct io_uring_sqe *ring_next(struct ring *ring)
{
	struct io_uring_sqe *sqe = &ring->sqes[(*ring->sq_tail + ring->filled) & ring->sq_mask];

	ring->filled++;
	memset(sqe, 0, sizeof(*sqe));
	sqe->flags = IOSQE_FIXED_FILE;
	return sqe;
}

int ring_submit(struct ring *ring)
{
	unsigned count = ring->filled;
	int n;

	__atomic_store_n(ring->sq_tail, *ring->sq_tail + count, __ATOMIC_RELEASE);
	n = syscall(SYS_io_uring_enter, ring->fd, count, 0, 0, NULL, 0);
	if (n < 0) {
		n = -errno;
		count = 0;
	} else {
		count = n;
	}
	/* What it did not take is published anew next time. */
	ring->filled -= count;
	__atomic_store_n(ring->sq_tail, *ring->sq_tail - ring->filled, __ATOMIC_RELEASE);
	return n;
}

const struct io_uring_cqe *ring_peek(const struct ring *ring)
{
	unsigned head = *ring->cq_head;

	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		return NULL;
	return &ring->cqes[head & ring->cq_mask];
}

void ring_seen(struct ring *ring)
{
	__atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
}

bool ring_arm(struct ring *ring)
{
	__atomic_store_n(ring->cq_flags, 0, __ATOMIC_RELAXED);
	/* The kernel posts first and looks at the flag then; we the other way round. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!ring_peek(ring))
		return true;
	ring_disarm(ring);
	return false;
}

void ring_disarm(struct ring *ring)
{
	__atomic_store_n(ring->cq_flags, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_RELAXED);
}
