/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What differs between transports: a controller is a controller, and its queues post commands and
 * reap answers (queue.c); how these travel is said here. The struct is looked at twice for each io.
 *
 * A transport announces answers by remote_slot_answered(), and the end of a connection by
 * remote_conn_fail(). q->state is DOWN before open and after remote_conn_down(), in between IC
 * until the connection takes commands, then UP.
 */
#ifndef REMOTE_TRANSPORT_H
#define REMOTE_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

struct nvme_sqe;
struct remote_queue;
struct remote_slot;

struct remote_transport {
	const char *name;
	/* how much data Fabrics commands, and all on an admin queue, take along */
	uint32_t in_capsule_fabrics;
	/* data has to be DMA memory in one piece, and of at most so many bytes; 0: may be any */
	uint32_t piece_bytes_max;
	/* In a task: UP, or -errno and DOWN with q->why. */
	int (*open)(struct remote_queue *q);
	/* Starts the end; remote_conn_down() follows, maybe inside. */
	void (*close)(struct remote_queue *q);
	/* Whether any command can be posted. */
	bool (*room)(struct remote_queue *q);
	/* The command of SLOT, its data going along when it is in_capsule. There is room. */
	void (*post)(struct remote_queue *q, struct remote_slot *slot, struct nvme_sqe *sqe);
};

extern const struct remote_transport remote_tcp, remote_rdma;

#endif
