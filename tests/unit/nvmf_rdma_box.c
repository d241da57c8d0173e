/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/nvmf_rdma_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "targets/nvmf/module.h"
#include "targets/nvmf/nvmf.h"

static const struct net_addr box_addr = {
	.family = 4, .prefix_len = 32, .port = TBOX_PORT, .ip = { 10, 0, 0, 1 },
};
static bool box_is_shut;

/* ---- the house ---- */

static void box_open(void *arg)
{
	struct nvmf_subsystem *subsys = nvmf_subsystem_find(TBOX_NQN);

	(void)arg;
	ASSERT(nvmf_rdma_init() == 0);
	ASSERT(nvmf_listener_add(subsys, nvmf_transport_find("rdma"), &box_addr) == 0);
}

static void box_close(void *arg)
{
	(void)arg;
	nvmf_rdma_fini();
}

void qpbox_start(void)
{
	tbox_start();
	fake_rdma_start();
	box_is_shut = false;
	loop_task(box_open, NULL);
}

void qpbox_shut(void)
{
	loop_task(box_close, NULL);
	box_is_shut = true;
}

void qpbox_stop(void)
{
	if (!box_is_shut)
		qpbox_shut();
	tbox_shut();
	loop_drain();
	fake_rdma_stop();
	tbox_stop();
}

int qpbox_setup(void **state)
{
	qpbox_start();
	return 0;
}

int qpbox_teardown(void **state)
{
	qpbox_stop();
	return 0;
}

/* ---- a connection ---- */

static void recv_post(struct qpbox_conn *c, unsigned i)
{
	struct rnic_sge sge = {
		.addr = (uintptr_t)&c->recvs[i], .len = sizeof(c->recvs[i]), .lkey = 0x1111,
	};
	struct rnic_recv recv = { .id = i, .sge = &sge, .sge_count = 1 };

	rnic_post_recv(c->rnic, &recv);
}

static void conn_routed(struct qpbox_conn *c)
{
	struct rnic_queue queue = {
		.sends = QPBOX_SENDS, .recvs = QPBOX_RECVS, .send_sges = 1, .recv_sges = 1,
	};
	struct rnic_param param = {
		.reads_in = 4, .private = &c->ask, .private_len = c->ask_len,
	};

	c->domain = rnic_domain_get(c->rnic->device, RNIC_REMOTE);
	c->cq = rnic_cq_create(c->rnic->device,
			       MIN(QPBOX_SENDS + QPBOX_RECVS, c->rnic->device->cq_max));
	queue.domain = c->domain;
	queue.cq = c->cq;
	ASSERT(rnic_queue_create(c->rnic, &queue) == 0);
	for (unsigned i = 0; i < QPBOX_RECVS; i++)
		recv_post(c, i);
	ASSERT(rnic_connect(c->rnic, &param) == 0);
}

static void conn_event(struct rnic_conn *rnic, const struct rnic_event *event)
{
	struct qpbox_conn *c = rnic->owner;
	struct nvme_rdma_accept accept;
	struct nvme_rdma_reject reject;

	switch (event->type) {
	case RNIC_ROUTED:
		conn_routed(c);
		break;
	case RNIC_ESTABLISHED:
		ASSERT(event->private_len >= sizeof(accept));
		memcpy(&accept, event->private, sizeof(accept));
		c->crqsize = le16_get(accept.crqsize);
		c->up = true;
		break;
	case RNIC_FAILED:
		c->error = event->error;
		if (event->private_len >= sizeof(reject)) {
			memcpy(&reject, event->private, sizeof(reject));
			c->refused = le16_get(reject.sts);
		}
		break;
	case RNIC_CLOSED:
		c->rnic = NULL;
		break;
	default:
		c->ended = true;
	}
}

struct nvme_rdma_request qpbox_ask(uint16_t qid, uint16_t hsqsize)
{
	return (struct nvme_rdma_request){
		.qid = le16_make(qid), .hsqsize = le16_make(hsqsize),
		.hrqsize = le16_make((uint16_t)(hsqsize + 1)),
	};
}

void qpbox_begin(struct qpbox_conn *c, const struct nvme_rdma_request *ask, size_t len)
{
	memset(c, 0, sizeof(*c));
	c->recvs = calloc(QPBOX_RECVS, sizeof(*c->recvs));
	c->memory = calloc(1, QPBOX_MEMORY);
	ASSERT(c->recvs && c->memory);
	c->ask = *ask;
	c->ask_len = len;
	c->rnic = rnic_resolve(&box_addr, NULL, 0, conn_event, c);
	ASSERT(c->rnic);
}

void qpbox_dial(struct qpbox_conn *c, const struct nvme_rdma_request *ask, size_t len)
{
	qpbox_begin(c, ask, len);
	loop_drain();
}

/* Takes completions. */
static void conn_poll(struct qpbox_conn *c)
{
	struct rnic_done done;

	while (c->cq && rnic_cq_poll(c->cq, &done, 1) == 1) {
		if (done.status != RNIC_OK) {
			c->ended = true;
		} else if (done.id < QPBOX_RECVS) {
			assert_int_equal(done.len, sizeof(struct nvme_cqe));
			assert_in_range(c->answers, 0, QPBOX_RECVS - 1);
			c->keys[c->answers] = done.invalidated;
			c->cqes[c->answers++] = c->recvs[done.id];
			if (c->rnic && !c->closing)
				recv_post(c, (unsigned)done.id);
		}
	}
}

void qpbox_close(struct qpbox_conn *c)
{
	c->closing = true;
	rnic_close(c->rnic);
}

void qpbox_hangup(struct qpbox_conn *c)
{
	loop_drain();
	conn_poll(c);
	if (c->rnic && !c->closing)
		qpbox_close(c);
	loop_drain();
	assert_null(c->rnic);
	if (c->cq)
		rnic_cq_destroy(c->cq);
	if (c->domain)
		rnic_domain_put(c->domain);
	for (unsigned i = 0; i < QPBOX_SENDS; i++)
		free(c->capsules[i]);
	free(c->recvs);
	free(c->memory);
	memset(c, 0, sizeof(*c));
}

void qpbox_send(struct qpbox_conn *c, const void *bytes, size_t len)
{
	uint8_t **capsule = &c->capsules[c->capsule_next++ % QPBOX_SENDS];
	struct rnic_sge sge = { .len = (uint32_t)len, .lkey = 0x1111 };
	struct rnic_send send = {
		.id = QPBOX_RECVS, .sge = &sge, .sge_count = 1, .op = RNIC_OP_SEND,
		.flags = RNIC_SIGNALED,
	};

	free(*capsule);
	*capsule = malloc(len);
	ASSERT(*capsule);
	memcpy(*capsule, bytes, len);
	sge.addr = (uintptr_t)*capsule;
	rnic_post_send(c->rnic, &send);
}

uint16_t qpbox_cmd(struct qpbox_conn *c, const struct nvme_sqe *sqe, const void *data, size_t len)
{
	uint8_t capsule[QPBOX_CAPSULE];
	struct nvme_sqe own = *sqe;

	own.cid = le16_make(c->cid);
	memcpy(capsule, &own, sizeof(own));
	if (len)
		memcpy(capsule + sizeof(own), data, len);
	qpbox_send(c, capsule, sizeof(own) + len);
	return c->cid++;
}

int qpbox_answer(struct qpbox_conn *c, uint16_t cid)
{
	loop_drain();
	conn_poll(c);
	for (unsigned i = c->answers; i-- > 0;)
		if (le16_get(c->cqes[i].cid) == cid)
			return nvme_cqe_status(&c->cqes[i]);
	return -1;
}

int qpbox_run(struct qpbox_conn *c, const struct nvme_sqe *sqe, const void *data, size_t len)
{
	/* those before are of no interest any more */
	c->answers = 0;
	return qpbox_answer(c, qpbox_cmd(c, sqe, data, len));
}

/* ---- commands ---- */

struct nvme_sgl qpbox_keyed(const void *at, uint32_t len, uint32_t key, bool invalidate)
{
	return (struct nvme_sgl){
		.addr = le64_make((uintptr_t)at),
		.keyed_length = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16) },
		.keyed_key = { (uint8_t)key, (uint8_t)(key >> 8), (uint8_t)(key >> 16),
			       (uint8_t)(key >> 24) },
		.keyed_id = invalidate ? 0x4f : 0x40,
	};
}

struct nvme_sgl qpbox_offset(uint8_t type, uint64_t offset, uint32_t len)
{
	return (struct nvme_sgl){
		.addr = le64_make(offset), .length = le32_make(len), .id = (uint8_t)(type << 4 | 1),
	};
}

int qpbox_connect(struct qpbox_conn *c, const char *nqn, uint16_t qid, uint16_t sqsize,
		 uint16_t cntlid)
{
	struct nvmf_connect_data data = tbox_connect_data(nqn, cntlid);
	struct nvme_sqe sqe = tbox_connect_sqe(qid, sqsize, 0);

	sqe.sgl = qpbox_offset(NVME_SGL_DATA, 0, sizeof(data));
	return qpbox_run(c, &sqe, &data, sizeof(data));
}

int qpbox_property_set(struct qpbox_conn *c, uint32_t offset, uint32_t value)
{
	struct nvmf_property_sqe p = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = NVMF_PROPERTY_SET,
		.ofst = le32_make(offset), .value = le64_make(value),
	};
	struct nvme_sqe sqe;

	memcpy(&sqe, &p, sizeof(sqe));
	return qpbox_run(c, &sqe, NULL, 0);
}

void qpbox_enable(struct qpbox_conn *admin)
{
	uint32_t cc = NVME_CC_EN | 6u << NVME_CC_IOSQES_SHIFT | 4u << NVME_CC_IOCQES_SHIFT;

	assert_int_equal(qpbox_property_set(admin, NVME_REG_CC, cc), 0);
}

uint16_t qpbox_host(struct qpbox_conn *admin, struct qpbox_conn *io)
{
	struct nvme_rdma_request ask = qpbox_ask(0, 31);
	uint16_t cntlid;

	qpbox_dial(admin, &ask, sizeof(ask));
	assert_true(admin->up);
	assert_int_equal(qpbox_connect(admin, TBOX_NQN, 0, 31, 0xffff), 0);
	cntlid = (uint16_t)le32_get(admin->cqes[0].dw0);
	qpbox_enable(admin);
	ask = qpbox_ask(1, 31);
	ask.cntlid = le16_make(cntlid);
	qpbox_dial(io, &ask, sizeof(ask));
	assert_true(io->up);
	assert_int_equal(io->crqsize, 32);
	assert_int_equal(qpbox_connect(io, TBOX_NQN, 1, 31, cntlid), 0);
	return cntlid;
}
