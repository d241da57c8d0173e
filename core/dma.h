/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that devices can reach. dma_eal.c: DPDK EAL's hugepage memory (or plain pages with
 * no_huge), mapped through VFIO. dma_plain.c: the host flavour's ordinary memory.
 */
#ifndef CORE_DMA_H
#define CORE_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dma_opts {
	unsigned memory_mib;            /* reserved at start */
	bool no_huge;                   /* ordinary pages: hosted without VFIO devices */
	bool no_pci;
	const char *program;            /* for messages */
};

/* Once, before reactors. -errno with the reason logged, and what to do. */
int dma_init(const struct dma_opts *opts);
void dma_fini(void);

/*
 * Zeroed, aligned to ALIGN (a power of two, at least 64), freed by dma_free. NULL when out of
 * memory. Not on the data path.
 */
void *dma_alloc(size_t len, size_t align);
void dma_free(void *va);

enum { DMA_PAGE_BYTES = 4096 };
#define DMA_IOVA_BAD UINT64_MAX
/*
 * Bus address of a byte of dma_alloc'ed or registered memory, valid to the end of its 4 KiB page;
 * DMA_IOVA_BAD otherwise.
 */
uint64_t dma_iova(const void *va);
/* Whether bus addresses equal virtual ones everywhere, so that ranges are contiguous. */
bool dma_iova_is_va(void);

/* Foreign memory (a guest's) for devices; page-aligned. -errno. */
int dma_register(void *va, size_t len);
void dma_unregister(void *va, size_t len);

/*
 * Calls FN for each stretch of contiguous pages that dma_alloc gives memory from, until it returns
 * other than 0; returns that.
 */
int dma_each(int (*fn)(void *va, size_t len, void *arg), void *arg);

struct dma_stats {
	uint64_t total_bytes, used_bytes, peak_bytes;
	bool huge;
	const char *iova_mode;          /* "va", "pa", "none" */
};
void dma_stats(struct dma_stats *out);

#endif
