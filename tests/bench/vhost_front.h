/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front end of vhost-user as a process of its own: what a monitor and a guest's driver do
 * together. Nothing is expected to fail: whatever does ends the process with a message.
 *
 * vhost_front.c  the socket, features, shared memory   vhost_ring.c  the driver's side of a ring
 * vhost_load.c   requests
 */
#ifndef BENCH_VHOST_FRONT_H
#define BENCH_VHOST_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/util.h"
#include "core/spec/vhost_user.h"
#include "core/spec/virtio.h"

enum {
	RING_PIECES = 3,                /* of a request */
	GUEST_BASE = 1 << 30,           /* guest address of the shared memory */
};

/* A connection, and the memory that goes with it. */
struct front {
	int fd;
	uint64_t features;              /* agreed on */
	uint64_t protocol;
	char *memory;
	size_t memory_bytes, memory_used;
	int inflight_fd;                /* -1: none */
};

/* A piece of a request's memory: OUT ones first. */
struct piece {
	void *at;
	uint32_t len;
	bool in;                        /* the device writes it */
};

/* A ring of SIZE descriptors for requests 0…SLOTS-1 of at most RING_PIECES. */
struct ring {
	struct front *front;
	unsigned index;
	uint16_t size, mask, slots;
	bool packed, event_idx, indirect;
	int kick_fd;
	uint64_t kicks;
	/* split: free-running; packed: positions */
	uint16_t next_avail, next_used;
	uint16_t published;             /* next_avail that the device was shown last */
	union {
		struct {
			struct virtq_desc *desc;
			struct virtq_avail *avail;
			struct virtq_used *used;
		};
		struct {
			struct virtq_packed_desc *packed_desc;
			struct virtq_packed_event *driver_event, *device_event;
		};
	};
	struct virtq_desc *table;       /* indirect: RING_PIECES a slot */
	bool avail_wrap, used_wrap;     /* packed */
	uint16_t added;                 /* packed: descriptors since the last publish */
	uint16_t first;                 /* packed: of the batch; its flags come last */
	uint16_t first_flags;
	uint8_t *chain;                 /* packed: descriptors that a slot takes in the ring */
};

/* vhost_front.c */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);
/* Connects and agrees on those of WANTED that are offered. */
void front_open(struct front *f, const char *path, uint64_t wanted);
bool front_has(const struct front *f, enum virtio_feature bit);
/* Shares BYTES of new memory; then parts of it can be taken, aligned to ALIGN. */
void front_share(struct front *f, size_t bytes);
void *front_take(struct front *f, size_t bytes, size_t align);
uint64_t front_guest(const struct front *f, const void *at);
/* As many in-flight entries as QUEUES rings of SIZE need, in memory that outlives the back end. */
void front_inflight(struct front *f, unsigned queues, unsigned size);
/* The first LEN bytes of the configuration space. */
void front_config(struct front *f, void *config, size_t len);
unsigned front_queues(struct front *f);
/* Hands a ring over: it runs from here on. */
void front_start_ring(struct front *f, struct ring *r);
/* Ends it; where the device was. */
unsigned front_stop_ring(struct front *f, struct ring *r);

/* vhost_ring.c */
void ring_init(struct ring *r, struct front *f, unsigned index, unsigned slots, bool indirect);
/* Adds request SLOT, which is not in the ring; the device sees it after publish. */
void ring_add(struct ring *r, unsigned slot, const struct piece *piece, unsigned count);
/* Shows what was added, and kicks when the device wants to be. */
void ring_publish(struct ring *r);
/* The slot of an answered request, -1: none now. */
int ring_take(struct ring *r);

#endif
