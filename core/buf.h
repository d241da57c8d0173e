/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data buffers: a few size classes of DMA-able, 4 KiB-aligned memory, a share per reactor, reserved
 * at start. A request of any size up to BUF_REQUEST_MAX is a set of buffers described by an iovec
 * array. When they run out the caller waits in line (buf_wait) and stops reading from its peer;
 * nothing fails and nothing is allocated.
 */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/list.h"

enum {
	BUF_REQUEST_MAX = 1024 * 1024,  /* largest request, bytes */
	BUF_IOV_MAX = 16,               /* elements that any request needs at most */
	BUF_CLASS_COUNT = 3,            /* 4 KiB, 16 KiB, 128 KiB: core/buf.c */
};

struct buf_wait {
	size_t len;
	/*
	 * Comes on the reactor when a buf_get of len may succeed now; call it again, it may have to
	 * wait again. Never inside buf_get or buf_put.
	 */
	void (*ready)(struct buf_wait *w);
	struct list link;
};

int buf_init(void);
void buf_fini(void);

/*
 * Fills IOV (room for BUF_IOV_MAX) with buffers for LEN bytes, lengths adding up to LEN exactly,
 * all but the last full buffers. Returns the count, or 0 when there are not enough: then nothing is
 * taken, and W (if not NULL) is in line. 0 < LEN <= BUF_REQUEST_MAX.
 */
unsigned buf_get(size_t len, struct iovec *iov, struct buf_wait *w);
/* Gives back what one buf_get gave; same reactor. */
void buf_put(const struct iovec *iov, unsigned count);
/* Leaves the line; no effect when not in it. */
void buf_wait_cancel(struct buf_wait *w);
/* Zero bytes for writes of zeroes: one shared, never written buffer of BUF_ZERO_BYTES. */
enum { BUF_ZERO_BYTES = 128 * 1024 };
const void *buf_zeroes(void);

struct buf_stats {
	size_t class_bytes;
	uint32_t total, used, peak;     /* over all reactors */
	uint64_t waits;
};
/* CLS 0…BUF_CLASS_COUNT-1. */
void buf_stats(unsigned cls, struct buf_stats *out);

#endif
