/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The box of nvmf_box.h with an RDMA adapter (fake_rdma.h), and a host's side of NVMe/RDMA that
 * sends what a test says: capsules byte by byte, SGLs and private data as they should not be.
 */
#ifndef TESTS_NVMF_RDMA_BOX_H
#define TESTS_NVMF_RDMA_BOX_H

#include "core/rdma.h"
#include "core/spec/nvme_rdma.h"
#include "tests/unit/fake_rdma.h"
#include "tests/unit/nvmf_box.h"

enum {
	QPBOX_RECVS = 128,               /* answers that a host has room for */
	QPBOX_SENDS = 192,
	QPBOX_CAPSULE = 16384,           /* bytes of a capsule that a host can send */
	QPBOX_MEMORY = 1 << 20,          /* its memory that the target may reach */
	QPBOX_KEY = 0x2222,              /* of that memory */
};

/* One connection, the host's end. */
struct qpbox_conn {
	struct rnic_conn *rnic;         /* NULL once closed */
	struct rnic_domain *domain;
	struct rnic_cq *cq;
	bool up, ended;                 /* established; disconnected, or a completion failed */
	bool closing;
	int error;                      /* FAILED */
	unsigned refused;               /* enum nvme_rdma_status */
	unsigned crqsize;
	unsigned answers;               /* received, and in CQES */
	struct nvme_cqe cqes[QPBOX_RECVS];
	uint32_t keys[QPBOX_RECVS];      /* that came invalidated with them */
	uint16_t cid;                   /* of the next command */
	uint8_t *capsules[QPBOX_SENDS];
	unsigned capsule_next;
	struct nvme_cqe *recvs;
	uint8_t *memory;
	struct nvme_rdma_request ask;
	size_t ask_len;
};

int qpbox_setup(void **state);
int qpbox_teardown(void **state);
#define qpbox_test(name) cmocka_unit_test_setup_teardown(name, qpbox_setup, qpbox_teardown)
void qpbox_start(void);
/* The target ends, with whatever is connected. */
void qpbox_shut(void);
void qpbox_stop(void);

struct nvme_rdma_request qpbox_ask(uint16_t qid, uint16_t hsqsize);
/* Asks for a connection with LEN bytes of ASK. */
void qpbox_dial(struct qpbox_conn *c, const struct nvme_rdma_request *ask, size_t len);
/* The same without waiting. */
void qpbox_begin(struct qpbox_conn *c, const struct nvme_rdma_request *ask, size_t len);
/* Begins to close. */
void qpbox_close(struct qpbox_conn *c);
/* Our side goes, whatever is under way. */
void qpbox_hangup(struct qpbox_conn *c);

/* A capsule of LEN bytes. */
void qpbox_send(struct qpbox_conn *c, const void *bytes, size_t len);
/* A command with LEN bytes of DATA behind it. Returns its CID. */
uint16_t qpbox_cmd(struct qpbox_conn *c, const struct nvme_sqe *sqe, const void *data, size_t len);
/* Takes what has come. Status of the answer to CID, with DNR; -1: none has come. */
int qpbox_answer(struct qpbox_conn *c, uint16_t cid);
/* Both. */
int qpbox_run(struct qpbox_conn *c, const struct nvme_sqe *sqe, const void *data, size_t len);

struct nvme_sgl qpbox_keyed(const void *at, uint32_t len, uint32_t key, bool invalidate);
struct nvme_sgl qpbox_offset(uint8_t type, uint64_t offset, uint32_t len);
/* Connect's data is in the capsule. */
int qpbox_connect(struct qpbox_conn *c, const char *nqn, uint16_t qid, uint16_t sqsize,
		 uint16_t cntlid);
int qpbox_property_set(struct qpbox_conn *c, uint32_t offset, uint32_t value);
/* An enabled controller and one I/O queue. Returns cntlid. */
uint16_t qpbox_host(struct qpbox_conn *admin, struct qpbox_conn *io);
void qpbox_enable(struct qpbox_conn *admin);

#endif
