/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target for tests of drivers/remote, at the other end of fake streams: one subsystem, one
 * namespace in memory, shapes of transfers as a test wants them. It asserts that the host keeps
 * the rules.
 */
#ifndef TESTS_REMOTE_BOX_H
#define TESTS_REMOTE_BOX_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/remote/remote.h"
#include "tests/unit/fake_stream.h"

enum { FAR_BLOCKS = 2048, FAR_BYTES = FAR_BLOCKS * 512, FAR_CONNS = 16, FAR_HELD = 64 };

struct far_rdma;

struct far_conn {
	struct stream *stream;          /* NULL: free, or RDMA's */
	struct far_rdma *rdma;          /* remote_rdma_box.c */
	uint16_t qid;
	bool hdgst, ddgst;
	uint8_t *in;
	size_t in_len;
	uint16_t aer_cid;
	bool aer;
	/* writes that wait for their data */
	struct {
		bool used;
		uint64_t at;
		uint32_t len, got;
	} writes[REMOTE_DEPTH_MAX];
};

struct remote_box {
	/* to be set at any time */
	unsigned r2ts;                  /* for one write */
	unsigned pieces;                /* C2HData of one read */
	bool success;                   /* C2HData may say SUCCESS */
	bool mute;                      /* io are not answered */
	bool refuse;                    /* nobody listens */
	uint32_t maxh2cdata, ioccsz;    /* bytes */
	size_t segment;                 /* the host reads so much at once; 0: all */
	unsigned close_after;           /* PDUs, all connections together; 0: never */
	unsigned spoil;                 /* data digests to be made wrong */
	uint64_t blocks;                /* 0: the namespace is not there */
	uint8_t nguid;                  /* its first byte */
	uint8_t ana;                    /* not 0: ANA state of the namespace */
	uint16_t cntlid;                /* given last */
	uint16_t reject;                /* RDMA: not 0: requests are rejected with this status */
	uint16_t crqsize;               /* RDMA: what is told; 0: as many as the host sends */
	unsigned wrong_answer;          /* RDMA: 1: an unknown cid comes once, 2: a short answer */

	/* figures */
	unsigned pdus, reads, writes, shutdowns, accepts;

	uint8_t media[FAR_BYTES];
	struct far_conn conns[FAR_CONNS];
	struct stream_listener listener;
};

#define FAR_NQN "nqn.2026-01.io.karst.test:far"

extern struct remote_box far;

/* A command, over whatever transport; DATA that came with it, or is there to be taken. */
void far_command(struct far_conn *c, const struct nvme_sqe *sqe, const uint8_t *data);
/* RDMA's: moves data into the host's memory; sends an answer. */
void far_rdma_data(struct far_conn *c, const uint8_t *data, uint32_t len);
void far_rdma_answer(struct far_conn *c, const struct nvme_cqe *cqe);
/* Listens, on the adapter of fake_rdma.h, and ends. */
void far_rdma_start(void);
void far_rdma_stop(void);

/* The listener's. */
void far_accept(struct stream_listener *l, struct stream *s);

/* Around each test, with a bench (bdev_bench.h). */
int far_setup(void **state);
int far_teardown(void **state);
#define far_test(name) cmocka_unit_test_setup_teardown(name, far_setup, far_teardown)

/* What `disk attach remote far` would say. */
struct remote_options far_options(void);
/* Attaches in a task; its outcome. */
int far_attach_remote(const struct remote_options *opt, bool persist);
void far_detach(void);
/* Every connection breaks, without a word. */
void far_hang_up(void);
/* Tells the host that the namespaces have changed. */
void far_notify(void);
/* From here on the host's I/O connections hold what is written until far_release. */
void far_hold(bool hold);
/* Lets the host's streams release at most BYTES each; whether there was something. */
bool far_release(size_t bytes);

#endif
