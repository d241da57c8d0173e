/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lanes and receives.
 *
 * A lane is a completion queue and a shared receive queue, of fixed sizes, for connections of one
 * reactor and device. Each connection takes its share of both: completions for everything that it
 * may have posted, receives for all commands that its host may have in flight, and one more for a
 * host that does not count well. When no lane has room another is made, so that neither queue ever
 * overruns and no host finds receives missing. A lane goes with its last connection.
 *
 * A receive is a command of 64 bytes and, in a piece of its own that is aligned to a page, what may
 * follow it in the capsule: data of a write goes to the disk from where it was received.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/config.h"
#include "core/dma.h"
#include "targets/nvmf/rdma.h"

struct recv_chunk {
	struct list link;
	void *memory;
	struct nvmf_rdma_recv recvs[];
};

static unsigned conn_recvs(const struct nvmf_rdma_conn *conn)
{
	return conn->ask.depth + 1;
}

/* ---- receives ---- */

static void pool_init(struct nvmf_rdma_pool *pool)
{
	list_init(&pool->chunks);
	list_init(&pool->posting);
	pool->last = &pool->first;
}

static void pool_free(struct nvmf_rdma_pool *pool)
{
	struct recv_chunk *chunk;

	list_del(&pool->posting);
	while ((chunk = list_pop_entry(&pool->chunks, struct recv_chunk, link))) {
		dma_free(chunk->memory);
		free(chunk);
	}
	pool->first = NULL;
	pool->last = &pool->first;
	pool->total = pool->need = 0;
}

void nvmf_rdma_recv_put(struct nvmf_rdma_group *group, struct nvmf_rdma_recv *recv)
{
	struct nvmf_rdma_pool *pool = recv->pool;

	recv->wr.next = NULL;
	*pool->last = &recv->wr;
	pool->last = &recv->wr.next;
	if (!list_linked(&pool->posting))
		list_push(&group->pools, &pool->posting);
}

/* Bytes that may follow a command, as memory. */
static size_t capsule_room(void)
{
	return ALIGN_UP((size_t)config.nvmf_in_capsule_bytes, (size_t)DMA_PAGE_BYTES);
}

static void recv_init(struct nvmf_rdma_recv *recv, struct nvmf_rdma_pool *pool, char *cmd,
		      char *data, uint32_t lkey)
{
	recv->pool = pool;
	list_init(&recv->link);
	recv->cmd = (uint8_t *)cmd;
	recv->data = (uint8_t *)data;
	recv->sge[0] = (struct rnic_sge){
		.addr = (uintptr_t)cmd, .len = sizeof(struct nvme_sqe), .lkey = lkey,
	};
	recv->sge[1] = (struct rnic_sge){
		.addr = (uintptr_t)data, .len = config.nvmf_in_capsule_bytes, .lkey = lkey,
	};
	recv->wr.id = (uintptr_t)recv | NVMF_RDMA_KIND_RECV;
	recv->wr.sge = recv->sge;
	recv->wr.sge_count = config.nvmf_in_capsule_bytes ? 2 : 1;
}

static int pool_grow(struct nvmf_rdma_conn *conn, unsigned count)
{
	struct nvmf_rdma_pool *pool = conn->pool;
	size_t room = capsule_room();
	size_t bytes = count * (room + sizeof(struct nvme_sqe));
	const struct rnic_region *region;
	struct recv_chunk *chunk = malloc(sizeof(*chunk) + count * sizeof(chunk->recvs[0]));

	if (!chunk)
		return -ENOMEM;
	chunk->memory = dma_alloc(bytes, DMA_PAGE_BYTES);
	region = chunk->memory ? rnic_region_of(conn->lane->domain, chunk->memory, bytes) : NULL;
	if (!region) {
		dma_free(chunk->memory);
		free(chunk);
		return -ENOMEM;
	}
	list_push(&pool->chunks, &chunk->link);
	for (unsigned i = 0; i < count; i++) {
		char *data = (char *)chunk->memory + i * room;
		char *cmd = (char *)chunk->memory + count * room + i * sizeof(struct nvme_sqe);

		recv_init(&chunk->recvs[i], pool, cmd, data, region->lkey);
		nvmf_rdma_recv_put(conn->group, &chunk->recvs[i]);
	}
	pool->total += count;
	return 0;
}

int nvmf_rdma_pool_join(struct nvmf_rdma_conn *conn)
{
	struct nvmf_rdma_pool *pool = conn->pool;
	unsigned need = pool->need + conn_recvs(conn);
	int rc = need > pool->total ? pool_grow(conn, need - pool->total) : 0;

	if (rc) {
		conn->pool = NULL;
		return rc;
	}
	pool->need = need;
	/* before the host can send */
	nvmf_rdma_pools_post(conn->group);
	return 0;
}

void nvmf_rdma_pool_leave(struct nvmf_rdma_conn *conn)
{
	if (!conn->pool)
		return;
	if (conn->pool == &conn->own)
		pool_free(&conn->own);
	else
		conn->pool->need -= conn_recvs(conn);
	conn->pool = NULL;
}

void nvmf_rdma_pools_post(struct nvmf_rdma_group *group)
{
	struct nvmf_rdma_pool *pool;

	while ((pool = list_pop_entry(&group->pools, struct nvmf_rdma_pool, posting))) {
		struct rnic_recv *first = pool->first;
		int rc;

		pool->first = NULL;
		pool->last = &pool->first;
		if (pool->srq)
			rc = rnic_srq_post(pool->srq, first);
		else if (pool->conn->rnic && pool->conn->state < NVMF_RDMA_FLUSHING)
			rc = rnic_post_recv(pool->conn->rnic, first);
		else
			rc = 0;
		/* connections that miss them see their own errors: the device has failed */
		if (rc)
			log_error("nvmf/rdma: receives cannot be posted: errno %d", -rc);
	}
}

/* ---- lanes ---- */

/* Completions that CONN may cause: each of its work requests, when they are flushed. */
static unsigned conn_cqes(const struct nvmf_rdma_conn *conn)
{
	return conn->sends_max + conn_recvs(conn);
}

static void lane_free(struct nvmf_rdma_lane *lane)
{
	list_del(&lane->link);
	list_del(&lane->pool.posting);
	if (lane->pool.srq)
		rnic_srq_destroy(lane->pool.srq);
	if (lane->cq)
		rnic_cq_destroy(lane->cq);
	pool_free(&lane->pool);
	if (lane->domain)
		rnic_domain_put(lane->domain);
	free(lane);
}

static int lane_open(struct nvmf_rdma_lane *lane, struct rnic_device *device)
{
	lane->device = device;
	lane->domain = rnic_domain_get(device, RNIC_LOCAL);
	if (!lane->domain)
		return -errno;
	lane->cq_size = MIN(device->cq_max, (uint32_t)NVMF_RDMA_CQ_ENTRIES);
	lane->cq = rnic_cq_create(device, lane->cq_size);
	if (!lane->cq)
		return -errno;
	if (device->srq_max == 0 || device->srq_sge_max < 2)
		return 0;
	lane->srq_size = MIN(device->srq_max, (uint32_t)NVMF_RDMA_SRQ_ENTRIES);
	lane->pool.srq = rnic_srq_create(lane->domain, lane->srq_size, 2);
	if (lane->pool.srq)
		return 0;
	/* some devices say that they have them, and have not */
	log_info("rdma %s: no shared receive queue: errno %d", device->name, errno);
	lane->srq_size = 0;
	return 0;
}

static struct nvmf_rdma_lane *lane_create(struct nvmf_rdma_group *group, struct rnic_device *device,
					  int *rc)
{
	struct nvmf_rdma_lane *lane = calloc(1, sizeof(*lane));

	*rc = -ENOMEM;
	if (!lane)
		return NULL;
	pool_init(&lane->pool);
	for (unsigned i = 0; i < NVMF_RDMA_QP_HASH; i++)
		list_init(&lane->qps[i]);
	list_push(&group->lanes, &lane->link);
	*rc = lane_open(lane, device);
	if (*rc == 0)
		return lane;
	log_warn("nvmf/rdma %s: no queues: errno %d", device->name, -*rc);
	lane_free(lane);
	return NULL;
}

static bool lane_has_room(const struct nvmf_rdma_lane *lane, const struct nvmf_rdma_conn *conn)
{
	return lane->cq_used + conn_cqes(conn) <= lane->cq_size &&
	       (lane->srq_size == 0 || lane->pool.need + conn_recvs(conn) <= lane->srq_size);
}

int nvmf_rdma_lane_join(struct nvmf_rdma_conn *conn)
{
	struct rnic_device *device = conn->rnic->device;
	struct nvmf_rdma_lane *lane, *found = NULL;
	int rc;

	list_for_each(lane, &conn->group->lanes, link)
		if (lane->device == device && lane_has_room(lane, conn))
			found = lane;
	if (!found)
		found = lane_create(conn->group, device, &rc);
	if (!found)
		return rc;
	if (!lane_has_room(found, conn)) {
		/* new, and too small for one */
		if (found->conn_count == 0)
			lane_free(found);
		return -ENOSPC;
	}
	conn->lane = found;
	conn->cq_share = conn_cqes(conn);
	found->cq_used += conn->cq_share;
	found->conn_count++;
	pool_init(&conn->own);
	conn->own.conn = conn;
	conn->pool = found->srq_size ? &found->pool : &conn->own;
	return 0;
}

void nvmf_rdma_lane_leave(struct nvmf_rdma_conn *conn)
{
	struct nvmf_rdma_lane *lane = conn->lane;

	if (!lane)
		return;
	conn->lane = NULL;
	lane->cq_used -= conn->cq_share;
	if (--lane->conn_count == 0)
		lane_free(lane);
}

void nvmf_rdma_lane_bind(struct nvmf_rdma_conn *conn)
{
	list_push(&conn->lane->qps[conn->rnic->qp % NVMF_RDMA_QP_HASH], &conn->hash);
}

struct nvmf_rdma_conn *nvmf_rdma_lane_find(struct nvmf_rdma_lane *lane, uint32_t qp)
{
	struct nvmf_rdma_conn *conn;

	list_for_each(conn, &lane->qps[qp % NVMF_RDMA_QP_HASH], hash)
		if (conn->rnic->qp == qp)
			return conn;
	return NULL;
}
