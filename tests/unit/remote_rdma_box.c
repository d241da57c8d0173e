/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA for the target of remote_box.c: its queues on the adapter of fake_rdma.c. It asserts what a
 * host owes a target: private data, SGLs of the right kind, keys, no more commands than receives.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/spec/nvme_rdma.h"
#include "tests/unit/fake_rdma.h"
#include "tests/unit/remote_box.h"

enum { RECVS = 64, CAPSULE_BYTES = 16 * 1024, REAPED = 16 };

struct far_rdma {
	struct far_conn *far;
	struct list link;
	struct rnic_conn *conn;
	struct rnic_domain *domain;
	struct rnic_cq *cq;
	uint64_t to;                    /* where the data of the command at hand goes */
	unsigned recvs, answers;
	bool closing;
	struct nvme_cqe cqes[1024];
	uint8_t capsules[RECVS][CAPSULE_BYTES];
};

static struct list rdmas = LIST_INIT(rdmas);
static struct rnic_listener listener;
static struct poller poller;

static void recv_post(struct far_rdma *f, unsigned index)
{
	struct rnic_sge sge = {
		.addr = (uintptr_t)f->capsules[index], .len = CAPSULE_BYTES,
		.lkey = f->domain->regions[0].lkey,
	};
	struct rnic_recv recv = { .id = index, .sge = &sge, .sge_count = 1 };

	rnic_post_recv(f->conn, &recv);
}

void far_rdma_data(struct far_conn *c, const uint8_t *data, uint32_t len)
{
	assert_true(c->rdma->to != 0);
	memcpy((void *)(uintptr_t)c->rdma->to, data, len);
}

void far_rdma_answer(struct far_conn *c, const struct nvme_cqe *cqe)
{
	struct far_rdma *f = c->rdma;
	struct nvme_cqe *out = &f->cqes[f->answers++ % ARRAY_SIZE(f->cqes)];
	struct rnic_sge sge = {
		.addr = (uintptr_t)out, .len = sizeof(*out), .lkey = f->domain->regions[0].lkey,
	};
	struct rnic_send send = { .sge = &sge, .sge_count = 1, .op = RNIC_OP_SEND };

	if (f->closing)
		return;
	*out = *cqe;
	if (c->qid && far.wrong_answer == 1)
		out->cid = le16_make(le16_get(out->cid) ^ 0x8000);
	else if (c->qid && far.wrong_answer == 2)
		sge.len = 8;
	if (c->qid)
		far.wrong_answer = 0;
	rnic_post_send(f->conn, &send);
}

/* What the SGL says, as the command's plain length; the data, if it is there. */
static const uint8_t *sgl_take(struct far_rdma *f, struct nvme_sqe *sqe, const uint8_t *capsule,
			       uint32_t len)
{
	const struct nvme_sgl sgl = sqe->sgl;
	uint32_t bytes = 0, key;

	assert_int_equal(sqe->flags & NVME_PSDT_MASK, NVME_PSDT_SGL);
	if (sgl.id == (NVME_SGL_DATA << 4 | NVME_SGL_OFFSET)) {
		bytes = le32_get(sgl.length);
		assert_int_equal(le64_get(sgl.addr), 0);
		assert_int_equal(len, sizeof(*sqe) + bytes);
		assert_true(f->far->qid && bytes <= far.ioccsz);
		return capsule + sizeof(*sqe);
	}
	assert_int_equal(sgl.id, NVME_SGL_KEYED << 4 | NVME_SGL_ADDRESS);
	assert_int_equal(len, sizeof(*sqe));
	memcpy(&bytes, sgl.keyed_length, 3);
	memcpy(&key, sgl.keyed_key, 4);
	assert_int_equal(key, bytes ? f->domain->regions[0].rkey : 0);
	sqe->sgl.length = le32_make(bytes);
	f->to = le64_get(sgl.addr);
	return bytes ? (const uint8_t *)(uintptr_t)f->to : NULL;
}

static void far_close(struct far_rdma *f)
{
	if (f->closing)
		return;
	f->closing = true;
	rnic_close(f->conn);
}

static void capsule_take(struct far_rdma *f, const struct rnic_done *done)
{
	const uint8_t *capsule = f->capsules[done->id], *data;
	struct nvme_sqe sqe;

	assert_true(done->len >= sizeof(sqe));
	if (far.close_after && ++far.pdus >= far.close_after) {
		far.close_after = 0;
		far_close(f);
		return;
	}
	memcpy(&sqe, capsule, sizeof(sqe));
	f->to = 0;
	data = sgl_take(f, &sqe, capsule, done->len);
	recv_post(f, (unsigned)done->id);
	far_command(f->far, &sqe, data);
}

static int far_poll(struct poller *p)
{
	struct rnic_done done[REAPED];
	struct far_rdma *f;
	int work = 0;

	list_for_each(f, &rdmas, link) {
		int count = f->closing ? 0 : rnic_cq_poll(f->cq, done, REAPED);

		for (int i = 0; i < count && !f->closing; i++) {
			if (done[i].status == RNIC_OK)
				capsule_take(f, &done[i]);
		}
		work += count;
	}
	return work;
}

static void far_gone(struct far_rdma *f)
{
	rnic_cq_destroy(f->cq);
	rnic_domain_put(f->domain);
	list_del(&f->link);
	memset(f->far, 0, sizeof(*f->far));
	free(f);
}

static void far_event(struct rnic_conn *conn, const struct rnic_event *event)
{
	struct far_rdma *f = conn->owner;

	if (event->type == RNIC_CLOSED)
		far_gone(f);
	else if (event->type != RNIC_ESTABLISHED)
		far_close(f);
}

static void far_request(struct rnic_listener *l, struct rnic_conn *conn,
			const struct rnic_event *event)
{
	struct nvme_rdma_reject reject = { .sts = le16_make(far.reject) };
	struct nvme_rdma_accept accept = { 0 };
	struct rnic_param param = { .private = &accept, .private_len = sizeof(accept) };
	struct far_conn *c = far.conns;
	struct nvme_rdma_request request;
	struct rnic_queue queue = { .sends = 1024, .recvs = RECVS, .send_sges = 1,
				    .recv_sges = 1 };
	struct far_rdma *f;

	assert_true(event->private_len >= sizeof(request));
	memcpy(&request, event->private, sizeof(request));
	assert_int_equal(le16_get(request.recfmt), NVME_RDMA_RECFMT);
	assert_true(le16_get(request.hrqsize) > le16_get(request.hsqsize));
	assert_true(event->reads_out > 0);
	if (far.reject) {
		rnic_reject(conn, &reject, sizeof(reject));
		rnic_close(conn);
		return;
	}
	while (c->stream || c->rdma)
		assert_true(++c < far.conns + FAR_CONNS);
	f = calloc(1, sizeof(*f));
	f->far = c;
	f->conn = conn;
	c->rdma = f;
	c->qid = le16_get(request.qid);
	conn->owner = f;
	conn->event = far_event;
	f->domain = rnic_domain_get(conn->device, RNIC_LOCAL);
	f->cq = rnic_cq_create(conn->device, 1024 + RECVS);
	queue.domain = f->domain;
	queue.cq = f->cq;
	assert_int_equal(rnic_queue_create(conn, &queue), 0);
	for (unsigned i = 0; i < RECVS; i++)
		recv_post(f, i);
	accept.crqsize = far.crqsize && c->qid ? le16_make(far.crqsize) : request.hrqsize;
	list_push(&rdmas, &f->link);
	far.accepts++;
	assert_int_equal(rnic_accept(conn, &param), 0);
}

void far_rdma_start(void)
{
	fake_rdma_start();
	listener = (struct rnic_listener){ .addr = far_options().addr, .request = far_request };
	assert_int_equal(rnic_listen(&listener), 0);
	poller = (struct poller){ .name = "far-rdma", .poll = far_poll };
	poller_start(&poller);
}

void far_rdma_stop(void)
{
	rnic_unlisten(&listener);
	poller_stop(&poller);
	fake_rdma_stop();
}
