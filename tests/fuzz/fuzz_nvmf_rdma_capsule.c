/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What hosts send over RDMA: the first byte chooses between private data of a connection request
 * and a capsule, whose SGL is decoded. What is found must lie within what was given.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/config.h"
#include "targets/nvmf/rdma.h"

static void ask(const uint8_t *data, size_t size)
{
	struct nvmf_rdma_ask ask = { 0 };

	if (nvmf_rdma_ask_decode(data, size, &ask))
		return;
	ASSERT(size >= sizeof(struct nvme_rdma_request));
	ASSERT(ask.qid <= config.nvmf_queues_max);
	ASSERT(ask.depth >= 2 && ask.depth <= MAX(config.nvmf_queue_depth_max, 32u));
}

static void capsule(const uint8_t *data, size_t size)
{
	struct nvmf_rdma_sgl sgl;
	struct nvme_sqe sqe;
	uint32_t len, total = 0;
	uint8_t *behind;

	if (size < sizeof(sqe))
		return;
	memcpy(&sqe, data, sizeof(sqe));
	len = (uint32_t)(size - sizeof(sqe));
	/* a copy of its own, so that its end is seen */
	behind = malloc(len ? len : 1);
	ASSERT(behind);
	memcpy(behind, data + sizeof(sqe), len);
	nvmf_rdma_sgl_decode(&sqe, behind, len, &sgl);
	free(behind);
	if (sgl.status) {
		ASSERT(sgl.block_count == 0);
		return;
	}
	ASSERT(sgl.block_count <= NVMF_RDMA_BLOCKS_MAX);
	if (sgl.in_capsule) {
		ASSERT(sgl.block_count == 0 && sgl.offset <= len && sgl.len <= len - sgl.offset);
		return;
	}
	for (unsigned i = 0; i < sgl.block_count; i++)
		total += sgl.blocks[i].len;
	ASSERT(sgl.block_count > 0 && total == sgl.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		capsule(data + 1, size - 1);
	else
		ask(data + 1, size - 1);
	return 0;
}
