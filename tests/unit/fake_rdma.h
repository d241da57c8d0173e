/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An RDMA adapter in memory (core/rdma.h): connections between listeners and those who resolve in
 * the same process, sends into the peer's receives, reads and writes with keys checked. Everything
 * happens later, in a poller, one step a round, as with a real one.
 */
#ifndef TESTS_FAKE_RDMA_H
#define TESTS_FAKE_RDMA_H

#include <stdbool.h>
#include <stdint.h>

#include "core/rdma.h"

struct fake_rdma {
	/* to be set at any time */
	bool present;                   /* there is an adapter; fake_rdma_start sets it */
	bool deaf;                      /* requests to connect get lost */
	bool stuck;                     /* nothing posted makes progress or is flushed */
	bool lingers;                   /* what is closed is not gone yet */
	/* the so-many-th post from now, of those who have resolved, fails; 0: none */
	unsigned post_fails;
	unsigned accepted_post_fails;   /* the same of those who have accepted */
	unsigned break_after;           /* sends until their connection breaks; 0: never */
	const void *foreign;            /* memory that is not registered, FOREIGN_BYTES */
	size_t foreign_bytes;

	/* figures */
	unsigned conns, queues, cqs, srqs, domains;     /* that are there */
	unsigned sends, writes, reads;
	unsigned starved;               /* sends that found no receive posted */
	struct rnic_device device;      /* limits may be changed after fake_rdma_start */
};

extern struct fake_rdma fake_rdma;

/* On the reactor; stop fails the test when something is left. */
void fake_rdma_start(void);
void fake_rdma_stop(void);
/* The adapter is pulled out: every connection and listener is told. */
void fake_rdma_remove(void);
/* Connections break, without a word of either side. */
void fake_rdma_break(void);
/* Pretends that the peer's next send to CONN invalidated a key. */
void fake_rdma_invalidate(struct rnic_conn *conn);

#endif
