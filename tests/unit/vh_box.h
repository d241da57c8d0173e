/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user disk over a fake one, with its front end and its guest, on one reactor turned by
 * hand: real sockets, real shared memory. What it asserts are the rules that hold whatever a test
 * does.
 */
#ifndef TESTS_VH_BOX_H
#define TESTS_VH_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "targets/vhost/vhost.h"
#include "tests/unit/fake_bdev.h"
#include "tests/unit/loop.h"

enum {
	VBOX_BYTES = 1 << 20,           /* of guest memory */
	VBOX_BLOCKS = 2048,
	VBOX_BLOCK_BYTES = 512,
	VBOX_QUEUES = 2,
	VBOX_TAKEN = 64,                /* chains of a ring that are not back */
};

/* Where guest memory lies for the guest, and for the front end. */
#define VBOX_GUEST 0x100000ull
#define VBOX_USER 0x7f0000000000ull

/* The driver's side of a ring. */
struct vbox_ring {
	bool packed;
	uint16_t size;
	uint64_t desc, driver, device;  /* guest addresses; split: table, available, used ring */
	uint16_t next_desc, next_avail, next_used;
	bool avail_wrap, used_wrap;
	uint16_t descs[VBOX_TAKEN];     /* packed: by buffer ID, how many it took */
	int kick_fd, call_fd;
};

struct vbox {
	struct fake_bdev *disk;
	struct vh_device *dev;
	char folder[64];
	bool disk_gone;                 /* the test has unregistered it */
	/* the front end */
	int sock;                       /* -1: none */
	/* the guest */
	int mem_fd;
	uint8_t *mem;
	uint64_t next;                  /* allocated up to here */
	struct vbox_ring ring[VBOX_QUEUES];
};

/* ---- the house ---- */

/* One device, "box", over a disk in MODE. */
void vbox_start(struct vbox *b, enum fake_mode mode);
/* Nothing may be left over. */
void vbox_stop(struct vbox *b);

/* ---- the front end ---- */

struct vbox_message {
	uint32_t request, flags;
	const void *payload;
	size_t len;
	const int *fd;
	unsigned fds;
};

void vbox_connect(struct vbox *b);
void vbox_hangup(struct vbox *b);
/* Sends; the back end has not worked yet. What sendmsg says. */
ssize_t vbox_post(struct vbox *b, const struct vbox_message *msg);
/* Sends, and lets the back end work. */
void vbox_send(struct vbox *b, const struct vbox_message *msg);
/* Bytes as they are. */
void vbox_send_bytes(struct vbox *b, const void *bytes, size_t len);
/* The payload's length, -1: no answer, -2: the back end has closed. *FD: may be NULL. */
ssize_t vbox_answer(struct vbox *b, struct vhost_user_header *header, void *payload, size_t max,
		    int *fd);
/* With REPLY_ACK: the answer to it. */
uint64_t vbox_acked(struct vbox *b, uint32_t request, const void *payload, size_t len, int fd);
/* Whether the session has ended. */
bool vbox_gone(struct vbox *b);
/* Connects, agrees on all protocol features and on FEATURES beside VERSION_1, shares memory. */
void vbox_open(struct vbox *b, uint64_t features);
void vbox_features(struct vbox *b, uint64_t features);
uint64_t vbox_share(struct vbox *b);
/* Makes a ring in guest memory, and starts it. */
void vbox_ring_make(struct vbox *b, unsigned index, uint16_t size, bool packed);
void vbox_ring_start(struct vbox *b, unsigned index);
/* What GET_VRING_BASE says. */
uint32_t vbox_ring_stop(struct vbox *b, unsigned index);

/* ---- the guest ---- */

struct vbox_piece {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;                 /* VIRTQ_DESC_WRITE */
};

/* Guest address of LEN zeroed bytes. */
uint64_t vbox_alloc(struct vbox *b, size_t len, size_t align);
void *vbox_at(struct vbox *b, uint64_t guest);
/* A chain, and a kick; returns its head or buffer ID. */
uint16_t vbox_add(struct vbox *b, unsigned index, const struct vbox_piece *pieces, unsigned count);
/* The same as an indirect table. */
uint16_t vbox_add_table(struct vbox *b, unsigned index, const struct vbox_piece *pieces,
			unsigned count);
/* A chain of one's own making is there: its head (split), and a kick. */
void vbox_offer(struct vbox *b, unsigned index, uint16_t head);
void vbox_kick(struct vbox *b, unsigned index);
/* False: nothing was used. */
bool vbox_reap(struct vbox *b, unsigned index, uint16_t *id, uint32_t *len);
/* Notifications since the last time. */
uint64_t vbox_calls(struct vbox *b, unsigned index);

/* A request of virtio-blk: header, data, status. */
struct vbox_blk {
	uint32_t type;
	uint64_t sector;
	const void *out;                /* data to the device */
	uint32_t out_len;
	uint32_t in_len;                /* data from it */
	/* where things were put, and the head */
	uint64_t header, data, status;
	uint16_t id;
};

void vbox_blk_add(struct vbox *b, unsigned index, struct vbox_blk *blk);
/* -1: it did not come back. *LEN, may be NULL: how many bytes it says were written. */
int vbox_blk_run(struct vbox *b, unsigned index, struct vbox_blk *blk, uint32_t *len);
/* A write and a read of the same: the ring is in order, wherever it is just now. */
void vbox_works(struct vbox *b, unsigned index, uint64_t sector);
struct vh_queue *vbox_queue(struct vbox *b, unsigned index);
bool vbox_broken(struct vbox *b, unsigned index);

#endif
