/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two streams in memory that are each other's peers, for tests on one reactor: segments of any
 * size, back-pressure, delayed release, hang-up. Strict about core/stream.h: who does not read
 * until -EAGAIN is not told again, events come in a later round, and with hold the bytes are taken
 * from the writer's memory only when they are released.
 */
#ifndef TESTS_FAKE_STREAM_H
#define TESTS_FAKE_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/reactor.h"
#include "core/stream.h"

enum { FAKE_STREAM_PARTS = 256 };

struct fake_stream {
	struct stream s;
	struct fake_stream *peer;       /* NULL when it has been closed */

	/* to be set at any time */
	size_t read_max;                /* bytes that one readv gives at most */
	size_t write_max;               /* bytes that one writev accepts at most */
	size_t room;                    /* bytes accepted and not read by the peer, at most */
	bool hold;                      /* released by fake_stream_release only */

	/* figures */
	unsigned reads, writes;

	/* the fake's */
	struct iovec held[FAKE_STREAM_PARTS];   /* accepted, not released, oldest first */
	unsigned held_count;
	size_t held_bytes;
	uint8_t *in;                    /* sent by the peer, not read */
	size_t in_bytes, in_room;
	bool in_ended;                  /* the peer has shut down or is gone */
	int error;                      /* -errno after a hang-up */
	bool attached, want_read, want_write, closing;
	unsigned events;                /* to be told */
	struct msg tell;
	bool telling;
};

/* Attached both, with no limits. Each ends by stream_close, and is gone after STREAM_CLOSED. */
void fake_stream_pair(struct fake_stream **a, struct fake_stream **b);
/* Releases at most BYTES of what F has accepted, oldest first; returns how many. */
size_t fake_stream_release(struct fake_stream *f, size_t bytes);
/* The network breaks: both ends hang up, what was not released is lost. */
void fake_stream_hangup(struct fake_stream *f);

/* A provider for every address; one listener for each. */
void fake_provider_start(void);
void fake_provider_stop(void);
/* A connection to the listener at ADDR: its other end, attached. NULL when nobody listens. */
struct fake_stream *fake_connect(const struct net_addr *addr);

#endif
