/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes to hosts: reads of their memory, writes into it, and answers, as chains of work
 * requests that are posted once a round.
 *
 * A request's data lies in pieces on both sides; a work request takes one piece of the host's and
 * as many of ours as the device allows. Only the last of a request's work requests completes
 * visibly, the answer or the last read. The room that a request takes in the send queue is given
 * back then. Answers follow the data that they answer for on the same queue pair, so the host sees
 * them in that order; reads are over before their request runs.
 *
 * The head of the submission queue that answers tell moves by one with each answer, not with each
 * command that is taken: so a host that obeys it never has more commands in flight than fit in its
 * queue, which is as many as there are receives for.
 */
#include <errno.h>

#include "core/base/panic.h"
#include "core/trace.h"
#include "targets/nvmf/rdma.h"

static struct nvmf_rdma_wr *wr_get(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr,
				   enum nvmf_rdma_kind kind)
{
	struct nvmf_rdma_group *group = conn->group;
	struct nvmf_rdma_wr *wr = &group->wrs[group->wr_used++];

	wr->send.id = (uintptr_t)tr | kind;
	wr->send.next = NULL;
	wr->send.sge = wr->sge;
	wr->send.sge_count = 0;
	wr->send.flags = kind == NVMF_RDMA_KIND_PART ? 0 : RNIC_SIGNALED;
	*conn->last = &wr->send;
	conn->last = &wr->send.next;
	if (!list_linked(&conn->posting))
		list_push(&group->posting, &conn->posting);
	return wr;
}

/* Where in our memory the next byte of a request's data is. */
struct data_at {
	const struct nvmf_rdma_conn *conn;
	const struct nvmf_req *req;
	unsigned iov;
	size_t off;
};

/* The next piece of ours, of at most LEN bytes; its length, 0: it cannot be reached. */
static uint32_t data_piece(struct data_at *at, uint32_t len, struct rnic_sge *sge)
{
	const struct iovec *iov = &at->req->iov[at->iov];
	char *va = (char *)iov->iov_base + at->off;
	uint32_t part = (uint32_t)MIN((size_t)len, iov->iov_len - at->off);
	const struct rnic_region *region = rnic_region_of(at->conn->lane->domain, va, part);

	if (unlikely(!region))
		return 0;
	*sge = (struct rnic_sge){ .addr = (uintptr_t)va, .len = part, .lkey = region->lkey };
	at->off += part;
	if (at->off == iov->iov_len) {
		at->iov++;
		at->off = 0;
	}
	return part;
}

/* The next work request, of at most LEN bytes: its pieces into SGE; returns bytes, 0: cannot be. */
static uint32_t data_fill(struct data_at *at, uint32_t len, uint32_t sges, struct rnic_sge *sge,
			  int32_t *count)
{
	uint32_t bytes = 0, part;

	for (*count = 0; bytes < len && *count < (int32_t)sges; (*count)++) {
		part = data_piece(at, len - bytes, &sge[*count]);
		if (unlikely(part == 0))
			return 0;
		bytes += part;
	}
	return bytes;
}

static uint32_t data_sges(const struct nvmf_rdma_conn *conn, const struct nvmf_req *req)
{
	const struct rnic_device *device = conn->lane->device;
	uint32_t most = req->dir == NVMF_DIR_H2C ? device->read_sge_max : device->sge_max;

	return MIN(most, (uint32_t)BUF_IOV_MAX);
}

unsigned nvmf_rdma_send_count(struct nvmf_rdma_conn *conn, const struct nvmf_rdma_req *tr)
{
	struct data_at at = { .conn = conn, .req = &tr->req };
	uint32_t left = tr->req.data_len, sges = data_sges(conn, &tr->req);
	struct rnic_sge sge[BUF_IOV_MAX];
	unsigned total = 0;
	int32_t count;

	for (unsigned i = 0; i < tr->sgl.block_count && left; i++) {
		uint32_t todo = MIN(tr->sgl.blocks[i].len, left);

		left -= todo;
		while (todo) {
			uint32_t bytes = data_fill(&at, todo, sges, sge, &count);

			if (unlikely(bytes == 0))
				return 0;
			todo -= bytes;
			total++;
		}
	}
	return total;
}

/* COUNT work requests that move TR's data; the last of them of KIND. */
static void data_build(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr, enum rnic_op op,
		       unsigned count, enum nvmf_rdma_kind kind)
{
	struct data_at at = { .conn = conn, .req = &tr->req };
	uint32_t left = tr->req.data_len, sges = data_sges(conn, &tr->req);

	for (unsigned i = 0; i < tr->sgl.block_count && left; i++) {
		const struct nvmf_rdma_block *block = &tr->sgl.blocks[i];
		uint32_t todo = MIN(block->len, left), done = 0;

		left -= todo;
		while (done < todo) {
			struct nvmf_rdma_wr *wr = wr_get(conn, tr, --count == 0 ? kind
							 : NVMF_RDMA_KIND_PART);

			wr->send.op = op;
			wr->send.remote_addr = block->addr + done;
			wr->send.rkey = block->key;
			done += data_fill(&at, todo - done, sges, wr->sge, &wr->send.sge_count);
		}
	}
	ASSERT(count == 0);
}

/* COUNT work requests for TR: room in the send queue, and in this round. False: not now. */
static bool room_take(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr, unsigned count)
{
	if (conn->sends_used + count > conn->sends_max)
		return false;
	if (conn->group->wr_used + count > NVMF_RDMA_WRS)
		nvmf_rdma_sends_post(conn->group);
	/* posting may have failed */
	if (unlikely(conn->state >= NVMF_RDMA_FLUSHING))
		return false;
	conn->sends_used += count;
	conn->pending++;
	tr->posted = (uint16_t)count;
	return true;
}

void nvmf_rdma_send_done(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	conn->sends_used -= tr->posted;
	conn->pending--;
	tr->posted = 0;
}

bool nvmf_rdma_send_reads(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	unsigned count = nvmf_rdma_send_count(conn, tr);

	if (!room_take(conn, tr, count))
		return false;
	data_build(conn, tr, RNIC_OP_READ, count, NVMF_RDMA_KIND_READ);
	return true;
}

bool nvmf_rdma_send_answer(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr)
{
	bool data = tr->req.dir == NVMF_DIR_C2H && tr->req.iov_count && tr->req.status == 0;
	unsigned count = data ? nvmf_rdma_send_count(conn, tr) : 0;
	const struct rnic_region *region;
	struct nvmf_rdma_wr *wr;

	if (!room_take(conn, tr, count + 1))
		return false;
	if (data)
		data_build(conn, tr, RNIC_OP_WRITE, count, NVMF_RDMA_KIND_PART);
	nvmf_req_cqe(&tr->req, tr->cqe);
	if (conn->queue.subsys && conn->queue.sq_flow) {
		conn->sqhd = conn->sqhd == conn->queue.sqsize ? 0 : conn->sqhd + 1;
		tr->cqe->sqhd = le16_make(conn->sqhd);
	}
	region = rnic_region_of(conn->lane->domain, tr->cqe, sizeof(*tr->cqe));
	wr = wr_get(conn, tr, NVMF_RDMA_KIND_SEND);
	wr->send.op = RNIC_OP_SEND;
	if (tr->sgl.invalidate && conn->lane->device->invalidates) {
		wr->send.op = RNIC_OP_SEND_INVALIDATE;
		wr->send.invalidate = tr->sgl.key;
	}
	wr->sge[0] = (struct rnic_sge){
		.addr = (uintptr_t)tr->cqe, .len = sizeof(*tr->cqe), .lkey = region->lkey,
	};
	wr->send.sge_count = 1;
	return true;
}

void nvmf_rdma_send_post(struct nvmf_rdma_conn *conn)
{
	struct rnic_send *first = conn->first;

	list_del(&conn->posting);
	conn->first = NULL;
	conn->last = &conn->first;
	if (!first)
		return;
	/* what a receive brought is posted again before the host may send the next */
	nvmf_rdma_pools_post(conn->group);
	if (unlikely(rnic_post_send(conn->rnic, first)))
		nvmf_rdma_broken(conn);
}

void nvmf_rdma_sends_post(struct nvmf_rdma_group *group)
{
	struct nvmf_rdma_conn *conn;

	while ((conn = list_first_entry(&group->posting, struct nvmf_rdma_conn, posting)))
		nvmf_rdma_send_post(conn);
	group->wr_used = 0;
}
