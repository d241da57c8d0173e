/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hosts send over RDMA, decoded: private data of connection requests (transport 1.0 3.2.1) and
 * the SGLs of commands (3.3). Total functions of their input.
 *
 * Three kinds of SGL exist here. A Data Block with an offset is data in the capsule, behind the
 * command. A Keyed Data Block is memory of the host. A Last Segment with an offset is a list of
 * Keyed Data Blocks in the capsule.
 */
#include <string.h>

#include "core/config.h"
#include "targets/nvmf/rdma.h"

unsigned nvmf_rdma_ask_decode(const void *private, size_t len, struct nvmf_rdma_ask *ask)
{
	struct nvme_rdma_request request;
	uint16_t hsqsize, hrqsize;

	/* the fabric pads private data, and cuts none of it */
	if (!private || len < sizeof(request))
		return NVME_RDMA_BAD_LENGTH;
	memcpy(&request, private, sizeof(request));
	if (le16_get(request.recfmt) != NVME_RDMA_RECFMT)
		return NVME_RDMA_BAD_RECFMT;
	ask->qid = le16_get(request.qid);
	if (ask->qid > config.nvmf_queues_max)
		return NVME_RDMA_BAD_QID;
	hsqsize = le16_get(request.hsqsize);
	if (hsqsize == 0 || hsqsize >= MAX(config.nvmf_queue_depth_max, NVME_RDMA_ADMIN_DEPTH))
		return NVME_RDMA_BAD_HSQSIZE;
	ask->depth = hsqsize + 1u;
	hrqsize = le16_get(request.hrqsize);
	if (hrqsize == 0)
		return NVME_RDMA_BAD_HRQSIZE;
	ask->cntlid = le16_get(request.cntlid);
	return 0;
}

static uint32_t keyed_len(const struct nvme_sgl *sgl)
{
	return sgl->keyed_length[0] | (uint32_t)sgl->keyed_length[1] << 8 |
	       (uint32_t)sgl->keyed_length[2] << 16;
}

static uint32_t keyed_key(const struct nvme_sgl *sgl)
{
	return sgl->keyed_key[0] | (uint32_t)sgl->keyed_key[1] << 8 |
	       (uint32_t)sgl->keyed_key[2] << 16 | (uint32_t)sgl->keyed_key[3] << 24;
}

static void keyed_decode(const struct nvme_sgl *desc, struct nvmf_rdma_sgl *sgl)
{
	struct nvmf_rdma_block *block = &sgl->blocks[sgl->block_count++];

	block->addr = le64_get(desc->addr);
	block->len = keyed_len(desc);
	block->key = keyed_key(desc);
	/* 16 blocks of less than 16 MiB: no overflow */
	sgl->len += block->len;
	/* an answer can invalidate one key: the first that the host names */
	if (desc->keyed_id == (NVME_SGL_KEYED << 4 | NVME_SGL_INVALIDATE_KEY) &&
	    !sgl->invalidate) {
		sgl->invalidate = true;
		sgl->key = block->key;
	}
}

static bool keyed_is(uint8_t id)
{
	return id == (NVME_SGL_KEYED << 4 | NVME_SGL_ADDRESS) ||
	       id == (NVME_SGL_KEYED << 4 | NVME_SGL_INVALIDATE_KEY);
}

/* Whether LEN bytes at OFFSET are in the LEN bytes of a capsule's data; else why not. */
static uint16_t offset_check(uint64_t offset, uint32_t len, uint32_t data_len)
{
	if (offset > data_len)
		return NVME_SC_SGL_OFFSET;
	return len > data_len - offset ? NVME_SC_DATA_SGL_LENGTH : 0;
}

static uint16_t segment_decode(const struct nvme_sgl *desc, const uint8_t *data, uint32_t data_len,
			       struct nvmf_rdma_sgl *sgl)
{
	uint64_t offset = le64_get(desc->addr);
	uint32_t len = le32_get(desc->length);
	struct nvme_sgl inner;
	uint16_t status;

	if (len == 0 || len % sizeof(inner) != 0)
		return NVME_SC_INVALID_SGL_SEGMENT;
	if (len / sizeof(inner) > NVMF_RDMA_BLOCKS_MAX)
		return NVME_SC_INVALID_SGL_COUNT;
	status = offset_check(offset, len, data_len);
	if (status)
		return status;
	for (uint32_t at = 0; at < len; at += (uint32_t)sizeof(inner)) {
		memcpy(&inner, data + offset + at, sizeof(inner));
		if (!keyed_is(inner.keyed_id))
			return NVME_SC_SGL_TYPE;
		keyed_decode(&inner, sgl);
	}
	return 0;
}

static uint16_t block_decode(const struct nvme_sqe *sqe, uint32_t data_len,
			     struct nvmf_rdma_sgl *sgl)
{
	uint64_t offset = le64_get(sqe->sgl.addr);
	uint16_t status;

	sgl->in_capsule = true;
	sgl->len = le32_get(sqe->sgl.length);
	/* bits 1:0 of the opcode: data to the host cannot be in the command */
	if ((sqe->opc & 3) == 2)
		return NVME_SC_SGL_TYPE;
	status = offset_check(offset, sgl->len, data_len);
	if (status == 0)
		sgl->offset = (uint32_t)offset;
	return status;
}

void nvmf_rdma_sgl_decode(const struct nvme_sqe *sqe, const void *data, uint32_t len,
			  struct nvmf_rdma_sgl *sgl)
{
	const struct nvme_sgl *desc = &sqe->sgl;

	sgl->status = 0;
	sgl->in_capsule = sgl->invalidate = false;
	sgl->offset = sgl->len = 0;
	sgl->block_count = 0;
	if (likely(keyed_is(desc->keyed_id)))
		keyed_decode(desc, sgl);
	else if (desc->id == (NVME_SGL_DATA << 4 | NVME_SGL_OFFSET))
		sgl->status = block_decode(sqe, len, sgl);
	else if (desc->id == (NVME_SGL_LAST_SEGMENT << 4 | NVME_SGL_OFFSET))
		sgl->status = segment_decode(desc, data, len, sgl);
	else
		sgl->status = NVME_SC_SGL_TYPE;
	if (unlikely(sgl->status))
		sgl->block_count = 0;
}
