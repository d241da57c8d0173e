/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA memory of the host flavour: ordinary memory, each allocation its own, so that sanitizers see
 * its ends. No device reaches it; bus addresses equal virtual ones. memory_mib is a limit here too.
 *
 * A block's length stands before it, in its own aligned stretch: [ … header | block ].
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/dma.h"

enum { DMA_ALIGN_LEAST = 64 };

struct block_head {
	void *memory;
	size_t len;
};

static struct {
	uint64_t total_bytes, used_bytes, peak_bytes;
} plain;

int dma_init(const struct dma_opts *opts)
{
	plain.total_bytes = (uint64_t)opts->memory_mib << 20;
	plain.used_bytes = plain.peak_bytes = 0;
	return 0;
}

void dma_fini(void)
{
}

void *dma_alloc(size_t len, size_t align)
{
	struct block_head *head;
	uint64_t used;
	char *memory;

	align = MAX(align, (size_t)DMA_ALIGN_LEAST);
	used = __atomic_add_fetch(&plain.used_bytes, len, __ATOMIC_RELAXED);
	if (used > plain.total_bytes || posix_memalign((void **)&memory, align, align + len) != 0) {
		__atomic_sub_fetch(&plain.used_bytes, len, __ATOMIC_RELAXED);
		return NULL;
	}
	if (used > plain.peak_bytes)
		plain.peak_bytes = used;
	memset(memory, 0, align + len);
	head = (struct block_head *)(memory + align) - 1;
	head->memory = memory;
	head->len = len;
	return memory + align;
}

void dma_free(void *va)
{
	struct block_head *head;

	if (!va)
		return;
	head = (struct block_head *)va - 1;
	__atomic_sub_fetch(&plain.used_bytes, head->len, __ATOMIC_RELAXED);
	free(head->memory);
}

uint64_t dma_iova(const void *va)
{
	return (uintptr_t)va;
}

bool dma_iova_is_va(void)
{
	return true;
}

int dma_register(void *va, size_t len)
{
	return IS_ALIGNED((uintptr_t)va | len, (uintptr_t)DMA_PAGE_BYTES) ? 0 : -EINVAL;
}

void dma_unregister(void *va, size_t len)
{
	ASSERT(IS_ALIGNED((uintptr_t)va | len, (uintptr_t)DMA_PAGE_BYTES));
}

/* Each allocation may be anywhere. */
int dma_each(int (*fn)(void *va, size_t len, void *arg), void *arg)
{
	return fn((void *)(uintptr_t)DMA_PAGE_BYTES, (size_t)INTPTR_MAX, arg);
}

void dma_stats(struct dma_stats *out)
{
	*out = (struct dma_stats){
		.total_bytes = plain.total_bytes,
		.used_bytes = plain.used_bytes,
		.peak_bytes = plain.peak_bytes,
		.iova_mode = "none",
	};
}
