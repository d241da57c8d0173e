/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two rings that a process shares with the kernel (io_uring), and one registered file. Made,
 * used and ended by one thread.
 *
 * Linux: include/uapi/linux/io_uring.h.
 */
#ifndef DRIVERS_URING_RING_H
#define DRIVERS_URING_RING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
	int fd;
	int event_fd;                   /* counts completions while armed */
	void *rings;                    /* both, in one mapping */
	size_t rings_bytes;
	struct io_uring_sqe *sqes;
	size_t sqes_bytes;
	unsigned *sq_tail, sq_mask;
	unsigned *cq_head, *cq_tail, *cq_flags, cq_mask;
	struct io_uring_cqe *cqes;
	unsigned filled;                /* requests that the kernel has not been told of */
};

/*
 * Room for DEPTH requests to FD, which is file 0 of every request. -errno: -EPERM and -ENOSYS when
 * the kernel does not let us use io_uring.
 */
int ring_open(struct ring *ring, unsigned depth, int fd);
void ring_close(struct ring *ring);
/* The next request, zeroed, for file 0. The caller has at most DEPTH of them under way. */
struct io_uring_sqe *ring_next(struct ring *ring);
/* Tells the kernel of all that were filled: one system call. How many it took, or -errno. */
int ring_submit(struct ring *ring);
/* The oldest completion, NULL: none. It is the caller's until ring_seen. */
const struct io_uring_cqe *ring_peek(const struct ring *ring);
void ring_seen(struct ring *ring);
/* From here on completions are counted in event_fd; false: there is one already. */
bool ring_arm(struct ring *ring);
void ring_disarm(struct ring *ring);

#endif
