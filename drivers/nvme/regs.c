/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The controller's registers: enable, disable and shut down, each waiting for the controller as
 * long as it asked for (CAP.TO, CRTO, RTD3E). A register that reads as all ones means that the
 * device is not there any more. Base 2.0c 3.1.3, 3.5, 3.6.
 */
#include <errno.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/clock.h"
#include "core/dma.h"
#include "drivers/nvme/nvme.h"

enum {
	WAIT_STEP_US = 1000,
	READY_UNIT_MS = 500,            /* of CAP.TO and CRTO */
	SHUTDOWN_MIN_MS = 5000,
	REG_BYTES_MIN = NVME_REG_DOORBELLS + 8,
};

uint32_t nvme_reg_read32(const struct nvme_ctrl *c, unsigned reg)
{
	return *(volatile uint32_t *)((volatile char *)c->pci->bar + reg);
}

/* By halves: a controller need not support wider accesses (PCIe transport 1.0c 3.1.1). */
uint64_t nvme_reg_read64(const struct nvme_ctrl *c, unsigned reg)
{
	uint64_t low = nvme_reg_read32(c, reg);

	return low | (uint64_t)nvme_reg_read32(c, reg + 4) << 32;
}

void nvme_reg_write32(struct nvme_ctrl *c, unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)((volatile char *)c->pci->bar + reg) = v;
}

static void reg_write64(struct nvme_ctrl *c, unsigned reg, uint64_t v)
{
	nvme_reg_write32(c, reg, (uint32_t)v);
	nvme_reg_write32(c, reg + 4, v >> 32);
}

int nvme_regs_probe(struct nvme_ctrl *c)
{
	size_t page_min;

	if (c->pci->bar_bytes < REG_BYTES_MIN) {
		log_error("%s %s: BAR 0 is too small for a controller", c->name, c->pci->name);
		return -ENOTSUP;
	}
	c->cap = nvme_reg_read64(c, NVME_REG_CAP);
	if (c->cap == UINT64_MAX) {
		log_error("%s %s: does not answer", c->name, c->pci->name);
		return -ENODEV;
	}
	page_min = (size_t)DMA_PAGE_BYTES << nvme_cap_mpsmin(c->cap);
	if (!(nvme_cap_css(c->cap) & (NVME_CAP_CSS_NVM | NVME_CAP_CSS_CSI))) {
		log_error("%s %s: has no I/O command set", c->name, c->pci->name);
		return -ENOTSUP;
	}
	if (page_min != DMA_PAGE_BYTES) {
		log_error("%s %s: wants pages of %zu bytes, not of %u", c->name, c->pci->name,
			  page_min, DMA_PAGE_BYTES);
		return -ENOTSUP;
	}
	c->page_bytes = page_min;
	c->va = dma_iova_is_va();
	return 0;
}

/* Until (CSTS & MASK) == VALUE. -EIO when it says CFS while being enabled. */
static int csts_wait(struct nvme_ctrl *c, uint32_t mask, uint32_t value, unsigned limit_ms)
{
	uint64_t end = clock_now_us() + limit_ms * 1000ull;

	for (;;) {
		uint32_t csts = nvme_reg_read32(c, NVME_REG_CSTS);

		if (csts == UINT32_MAX)
			return -ENODEV;
		if ((csts & mask) == value)
			return 0;
		if ((csts & NVME_CSTS_CFS) && value == NVME_CSTS_RDY)
			return -EIO;
		if (clock_now_us() >= end)
			return -ETIMEDOUT;
		task_sleep(WAIT_STEP_US);
	}
}

static unsigned ready_limit_ms(const struct nvme_ctrl *c)
{
	unsigned units = nvme_cap_to(c->cap);

	/* with media: the longer of the two, CRTO bits 15:0 */
	if (nvme_cap_crms(c->cap))
		units = MAX(units, nvme_reg_read32(c, NVME_REG_CRTO) & 0xffff);
	return (units + 1) * READY_UNIT_MS;
}

int nvme_regs_disable(struct nvme_ctrl *c)
{
	uint32_t cc = nvme_reg_read32(c, NVME_REG_CC);
	int rc;

	if (cc == UINT32_MAX)
		return -ENODEV;
	/* EN must not go to 0 while it comes up: base 2.0c 3.1.3.5 */
	if (cc & NVME_CC_EN) {
		rc = csts_wait(c, NVME_CSTS_RDY, NVME_CSTS_RDY, ready_limit_ms(c));
		if (rc == -ENODEV)
			return rc;
		nvme_reg_write32(c, NVME_REG_CC, cc & ~(NVME_CC_EN | NVME_CC_SHN_MASK));
	}
	return csts_wait(c, NVME_CSTS_RDY, 0, ready_limit_ms(c));
}

int nvme_regs_enable(struct nvme_ctrl *c)
{
	uint32_t entries = c->admin.depth - 1u;
	uint32_t cc = NVME_CC_EN | 6 << NVME_CC_IOSQES_SHIFT | 4 << NVME_CC_IOCQES_SHIFT |
		      nvme_cap_mpsmin(c->cap) << NVME_CC_MPS_SHIFT;
	int rc;

	/* all supported command sets when there is more than the NVM one alone */
	if (!(nvme_cap_css(c->cap) & NVME_CAP_CSS_NVM))
		cc |= 6 << NVME_CC_CSS_SHIFT;
	nvme_reg_write32(c, NVME_REG_AQA,
			 entries << NVME_AQA_ASQS_SHIFT | entries << NVME_AQA_ACQS_SHIFT);
	reg_write64(c, NVME_REG_ASQ, dma_iova(c->admin.sq));
	reg_write64(c, NVME_REG_ACQ, dma_iova(c->admin.cq));
	nvme_reg_write32(c, NVME_REG_CC, cc);
	rc = csts_wait(c, NVME_CSTS_RDY, NVME_CSTS_RDY, ready_limit_ms(c));
	if (rc < 0)
		return rc;
	c->admin.live = true;
	c->admin_live = true;
	return 0;
}

int nvme_regs_shutdown(struct nvme_ctrl *c)
{
	uint32_t cc = nvme_reg_read32(c, NVME_REG_CC);
	unsigned limit_ms = MAX(c->info.shutdown_us / 1000, (uint32_t)SHUTDOWN_MIN_MS);
	int rc;

	if (cc == UINT32_MAX)
		return -ENODEV;
	if (!(cc & NVME_CC_EN))
		return 0;
	c->admin_live = false;
	cc &= ~NVME_CC_SHN_MASK;
	nvme_reg_write32(c, NVME_REG_CC, cc | NVME_SHN_NORMAL << NVME_CC_SHN_SHIFT);
	rc = csts_wait(c, NVME_CSTS_SHST_MASK, NVME_SHST_COMPLETE << NVME_CSTS_SHST_SHIFT,
		       limit_ms);
	if (rc < 0)
		log_warn("%s: did not confirm its shutdown within %u ms", c->name, limit_ms);
	return rc;
}
