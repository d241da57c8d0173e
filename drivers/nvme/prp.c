/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PRP lists (base 2.0c 4.1.1) and SGLs (4.1.2). A PRP transfer is a row of pages of which only the
 * first may start, and only the last may end, inside a page; the list of the pages after the first
 * is in the slot's own memory and never crosses a page, so that lists are never chained.
 */
#include <errno.h>

#include "core/base/util.h"
#include "core/dma.h"
#include "drivers/nvme/nvme.h"

enum { PRP_ALIGN_BYTES = 4 };

/* Where entry N of the transfer goes: prp1, or the list. */
struct prp_out {
	le64 *list;
	unsigned list_max, count;
	uint64_t first;
	size_t page_bytes;
	bool va;
};

/* Adds the pages of one element, which is not empty. */
static int element_add(struct prp_out *out, const char *p, size_t len)
{
	while (len > 0) {
		size_t in_page = out->page_bytes - ((uintptr_t)p & (out->page_bytes - 1));
		uint64_t iova = out->va ? (uint64_t)(uintptr_t)p : dma_iova(p);

		if (unlikely(iova == DMA_IOVA_BAD))
			return -EFAULT;
		if (out->count == 0)
			out->first = iova;
		else if (likely(out->count <= out->list_max))
			out->list[out->count - 1] = le64_make(iova);
		else
			return -E2BIG;
		out->count++;
		if (len <= in_page)
			return 0;
		len -= in_page;
		p += in_page;
	}
	return 0;
}

int nvme_prp_build(const struct iovec *iov, unsigned iov_count, size_t page_bytes, bool va,
		   le64 *list, unsigned list_max, uint64_t list_iova, struct nvme_sqe *sqe)
{
	struct prp_out out = {
		.list = list, .list_max = list_max, .page_bytes = page_bytes, .va = va,
	};
	size_t mask = page_bytes - 1;
	uintptr_t only = (uintptr_t)iov->iov_base;

	/* most of them: one element within one page */
	if (likely(iov_count == 1 && va && (only & mask) + iov->iov_len <= page_bytes &&
		   !(only & (PRP_ALIGN_BYTES - 1)))) {
		sqe->prp1 = le64_make(only);
		sqe->prp2 = le64_make(0);
		return 0;
	}
	for (unsigned i = 0; i < iov_count; i++) {
		uintptr_t start = (uintptr_t)iov[i].iov_base, end = start + iov[i].iov_len;
		int rc;

		if (unlikely(start & (i == 0 ? PRP_ALIGN_BYTES - 1 : mask)))
			return -EINVAL;
		if (unlikely((end & mask) && i + 1 != iov_count))
			return -EINVAL;
		rc = element_add(&out, iov[i].iov_base, iov[i].iov_len);
		if (unlikely(rc < 0))
			return rc;
	}
	sqe->prp1 = le64_make(out.first);
	if (out.count == 2)
		sqe->prp2 = list[0];
	else
		sqe->prp2 = le64_make(out.count > 2 ? list_iova : 0);
	return 0;
}

static struct nvme_sgl data_block(const struct iovec *iov)
{
	return (struct nvme_sgl){
		.addr = le64_make((uintptr_t)iov->iov_base),
		.length = le32_make(iov->iov_len),
		.id = NVME_SGL_DATA << 4 | NVME_SGL_ADDRESS,
	};
}

int nvme_sgl_build(const struct iovec *iov, unsigned iov_count, struct nvme_sgl *list,
		   unsigned list_max, uint64_t list_iova, struct nvme_sqe *sqe)
{
	sqe->flags |= NVME_PSDT_SGL;
	if (iov_count == 1) {
		sqe->sgl = data_block(iov);
		return 0;
	}
	if (iov_count > list_max)
		return -E2BIG;
	for (unsigned i = 0; i < iov_count; i++)
		list[i] = data_block(&iov[i]);
	sqe->sgl = (struct nvme_sgl){
		.addr = le64_make(list_iova),
		.length = le32_make(iov_count * sizeof(*list)),
		.id = NVME_SGL_LAST_SEGMENT << 4 | NVME_SGL_ADDRESS,
	};
	return 0;
}
