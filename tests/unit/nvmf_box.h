/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole target on one reactor under simulated time: a fake disk below, fake streams above, and
 * a host's side of NVMe/TCP that sends what a test says and takes answers apart.
 */
#ifndef TESTS_NVMF_BOX_H
#define TESTS_NVMF_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/spec/nvme_tcp.h"
#include "core/spec/nvmf.h"
#include "tests/unit/fake_bdev.h"
#include "tests/unit/fake_stream.h"
#include "tests/unit/loop.h"

#define TBOX_NQN "nqn.2026-01.io.karst.test:box"
#define TBOX_CLOSED_NQN "nqn.2026-01.io.karst.test:closed"
#define TBOX_HOST "nqn.2026-01.io.karst.test:host"

enum { TBOX_PORT = 4420, TBOX_BLOCKS = 8192, TBOX_BLOCK_BYTES = 512, TBOX_IN_BYTES = 4 << 20 };

/* One connection, the host's end. */
struct tbox_conn {
	struct fake_stream *f;
	bool closed;                    /* STREAM_CLOSED came */
	bool ended;                     /* the target has closed its side */
	bool hdgst, ddgst;
	uint32_t maxr2t;                /* for ICReq, 0-based */
	uint8_t hpda;
	uint32_t spoil_ddgst;           /* bits of data digests that are wrong */
	size_t step;                    /* bytes of one write; 0: all at once */
	uint16_t cid;                   /* of the next command */
	uint8_t *in;
	size_t in_len;
};

/* A PDU that came. DATA points into the connection until the next one. */
struct tbox_pdu {
	struct nvme_tcp_ch ch;
	union {
		struct nvme_tcp_ic_resp ic;
		struct nvme_tcp_rsp rsp;
		struct nvme_tcp_data data;
		struct nvme_tcp_r2t r2t;
		struct nvme_tcp_term term;
		uint8_t raw[128];
	};
	const uint8_t *payload;
	size_t payload_len;
};

/* What a command ended with. */
struct tbox_end {
	uint16_t status;                /* with DNR */
	uint32_t dw0, dw1;
	uint16_t sqhd;
	size_t got;                     /* bytes received */
	bool success_flag;              /* no response capsule */
	unsigned r2ts;
};

extern struct fake_bdev *tbox_disk;
/* which host the next Connect is of: in its host identifier and, if not 0, its name */
extern uint8_t tbox_host_number;

int tbox_setup(void **state);
/* Fails when anything was not given back. */
int tbox_teardown(void **state);
#define tbox_test(name) cmocka_unit_test_setup_teardown(name, tbox_setup, tbox_teardown)
/* Setup and teardown without cmocka, for fuzzing. */
void tbox_start(void);
void tbox_stop(void);
/* The first part of stop: the target ends, with whatever is connected. */
void tbox_shut(void);

void tbox_dial(struct tbox_conn *c);
/* At another address than the box's own. */
void tbox_dial_at(struct tbox_conn *c, const struct net_addr *addr);
void tbox_send(struct tbox_conn *c, const void *bytes, size_t len);
/* Takes what has come; false: no whole PDU. */
bool tbox_recv(struct tbox_conn *c, struct tbox_pdu *pdu);
/* Receives one PDU, of TYPE; fails otherwise. */
void tbox_expect(struct tbox_conn *c, uint8_t type, struct tbox_pdu *pdu);
/* The target ends the connection: with C2HTermReq of FES and FEI (-1: any), or without, FES 0. */
void tbox_expect_end(struct tbox_conn *c, uint16_t fes, int64_t fei);
/* Our side goes, whatever is under way. */
void tbox_hangup(struct tbox_conn *c);

void tbox_ic(struct tbox_conn *c, bool hdgst, bool ddgst);
/* A command capsule; LEN bytes of DATA inside when LEN is not 0. Returns its CID. */
uint16_t tbox_cmd(struct tbox_conn *c, const struct nvme_sqe *sqe, const void *data, size_t len);
/* H2CData: BYTES, which claim to be those from AT on; the part of DATA that begins at AT. */
void tbox_h2c_at(struct tbox_conn *c, const struct nvme_tcp_r2t *r2t, const void *bytes,
		 uint32_t at, uint32_t len, bool last);
void tbox_h2c(struct tbox_conn *c, const struct nvme_tcp_r2t *r2t, const void *data, uint32_t at,
	     uint32_t len, bool last);
/*
 * Runs a command to its end: OUT_LEN bytes of OUT go with it, in the capsule or by R2T, IN has room
 * for IN_LEN bytes.
 */
struct tbox_end tbox_run(struct tbox_conn *c, const struct nvme_sqe *sqe, const void *out,
		       size_t out_len, bool in_capsule, void *in, size_t in_len);
/* Until the command with CID has ended. */
struct tbox_end tbox_wait(struct tbox_conn *c, uint16_t cid, const void *out, size_t out_len,
			  void *in, size_t in_len);

struct nvme_sqe tbox_sqe(uint8_t opc, uint32_t nsid, uint32_t cdw10, uint32_t cdw11);
struct nvme_sqe tbox_rw(uint8_t opc, uint64_t lba, uint32_t blocks);
struct nvmf_connect_data tbox_connect_data(const char *nqn, uint16_t cntlid);
struct nvme_sqe tbox_connect_sqe(uint16_t qid, uint16_t sqsize, uint32_t kato_ms);
struct tbox_end tbox_connect(struct tbox_conn *c, const char *nqn, uint16_t qid, uint16_t sqsize,
			   uint16_t cntlid, uint32_t kato_ms);
uint64_t tbox_property_get(struct tbox_conn *c, uint32_t offset, bool wide);
uint16_t tbox_property_set(struct tbox_conn *c, uint32_t offset, uint32_t value);
/* The same without waiting for the answer. */
void tbox_property_send(struct tbox_conn *c, uint32_t offset, uint32_t value);

/* An enabled controller and one I/O queue. Returns cntlid. */
uint16_t tbox_host(struct tbox_conn *admin, struct tbox_conn *io, uint32_t kato_ms);
void tbox_enable(struct tbox_conn *admin);

#endif
