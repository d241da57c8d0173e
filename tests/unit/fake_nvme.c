/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/fake_nvme.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/util.h"

enum { COMMAND_MASTER = 1 << 2, PAGE = 4096 };

/* ---- registers ---- */

static uint32_t reg_get(const struct fake_nvme *f, unsigned reg)
{
	return *(volatile uint32_t *)(f->bar + reg);
}

static void reg_set(struct fake_nvme *f, unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(f->bar + reg) = v;
}

static unsigned doorbell_reg(const struct fake_nvme *f, unsigned qid, bool cq)
{
	return NVME_REG_DOORBELLS + (2 * qid + cq) * (4u << nvme_cap_dstrd(f->cap));
}

static uint32_t shadow_offset(const struct fake_nvme *f, unsigned qid, bool cq)
{
	return (2 * qid + cq) * (4u << nvme_cap_dstrd(f->cap));
}

static void queues_forget(struct fake_nvme *f)
{
	memset(f->sq, 0, sizeof(f->sq));
	memset(f->cq, 0, sizeof(f->cq));
	for (unsigned q = 0; q < FAKE_QUEUES; q++) {
		reg_set(f, doorbell_reg(f, q, false), 0);
		reg_set(f, doorbell_reg(f, q, true), 0);
	}
	f->held_count = 0;
	f->aer_waiting = false;
	f->shadow = f->shadow_events = 0;
	f->pending = 0;
}

static void admin_start(struct fake_nvme *f)
{
	uint32_t aqa = reg_get(f, NVME_REG_AQA);

	queues_forget(f);
	f->sq[0] = (struct fake_ring){
		.live = true,
		.addr = reg_get(f, NVME_REG_ASQ) | (uint64_t)reg_get(f, NVME_REG_ASQ + 4) << 32,
		.size = (aqa & 0xfff) + 1,
	};
	f->cq[0] = (struct fake_ring){
		.live = true, .phase = true, .irq = true,
		.addr = reg_get(f, NVME_REG_ACQ) | (uint64_t)reg_get(f, NVME_REG_ACQ + 4) << 32,
		.size = (aqa >> 16 & 0xfff) + 1,
	};
	assert_int_equal(f->sq[0].addr % PAGE, 0);
	assert_int_equal(f->cq[0].addr % PAGE, 0);
	f->enables++;
}

static void csts_write(struct fake_nvme *f, bool ready)
{
	uint32_t csts = ready ? NVME_CSTS_RDY : 0;

	if ((f->cc & NVME_CC_SHN_MASK) != 0)
		csts |= NVME_SHST_COMPLETE << NVME_CSTS_SHST_SHIFT;
	if (f->fatal)
		csts |= NVME_CSTS_CFS;
	reg_set(f, NVME_REG_CSTS, csts);
}

/* EN and SHN, as they were written since the last step. */
static int control_step(struct fake_nvme *f)
{
	uint32_t cc = reg_get(f, NVME_REG_CC), changed = cc ^ f->cc;
	bool ready = reg_get(f, NVME_REG_CSTS) & NVME_CSTS_RDY;

	if (changed & NVME_CC_EN) {
		f->steps_left = f->ready_steps;
		if (!(cc & NVME_CC_EN)) {
			queues_forget(f);
			f->fatal = false;
		}
	}
	if ((changed & NVME_CC_SHN_MASK) && (cc & NVME_CC_SHN_MASK))
		f->shutdowns++;
	f->cc = cc;
	if (ready != !!(cc & NVME_CC_EN) && !f->stuck) {
		if (f->steps_left > 0) {
			f->steps_left--;
			return 0;
		}
		ready = !ready;
		if (ready) {
			assert_int_equal(cc >> NVME_CC_IOSQES_SHIFT & 15, 6);
			assert_int_equal(cc >> NVME_CC_IOCQES_SHIFT & 15, 4);
			admin_start(f);
		}
	}
	csts_write(f, ready);
	return changed != 0;
}

/* ---- completions and interrupts ---- */

static void vector_fire(struct fake_nvme *f, unsigned vector)
{
	uint64_t one = 1;

	if (vector >= f->vector_fd_count)
		return;
	f->interrupts++;
	assert_int_equal(write(f->vector_fds[vector], &one, sizeof(one)), sizeof(one));
}

static bool vector_masked(const struct fake_nvme *f, unsigned vector)
{
	volatile const uint32_t *entry = &f->vector_table[vector * 4];

	return entry[PCI_VECTOR_CONTROL] & 1;
}

static void vectors_step(struct fake_nvme *f)
{
	for (unsigned v = 0; v < FAKE_VECTORS; v++) {
		if (!(f->pending & 1u << v) || vector_masked(f, v))
			continue;
		f->pending &= ~(1u << v);
		vector_fire(f, v);
	}
}

static void must_be_master(const struct fake_nvme *f)
{
	if (!(f->pci_command & COMMAND_MASTER))
		fail_msg("DMA without bus master");
}

void fake_nvme_post(struct fake_nvme *f, uint16_t cqid, const struct nvme_cqe *cqe)
{
	struct fake_ring *cq = &f->cq[cqid];
	struct nvme_cqe *at = (struct nvme_cqe *)(uintptr_t)cq->addr + cq->tail;
	uint16_t status = (uint16_t)(le16_get(cqe->status) & ~1) | cq->phase;

	must_be_master(f);
	assert_true(cq->live);
	at->dw0 = cqe->dw0;
	at->dw1 = cqe->dw1;
	at->sqhd = cqe->sqhd;
	at->sqid = cqe->sqid;
	at->cid = cqe->cid;
	__atomic_store_n(&at->status.raw, status, __ATOMIC_RELEASE);
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase = !cq->phase;
	}
	if (cq->irq)
		f->pending |= 1u << cq->vector;
	vectors_step(f);
}

static void answer(struct fake_nvme *f, uint16_t sqid, uint16_t cid, uint32_t dw0, int status)
{
	struct nvme_cqe cqe = {
		.dw0 = le32_make(dw0),
		.sqhd = le16_make(f->sq[sqid].head),
		.sqid = le16_make(sqid),
		.cid = le16_make(cid),
		.status = le16_make((uint16_t)(status << NVME_STATUS_SHIFT)),
	};

	fake_nvme_post(f, f->sq[sqid].cqid, &cqe);
}

void fake_nvme_event(struct fake_nvme *f, uint32_t dw0)
{
	assert_true(f->aer_waiting);
	f->aer_waiting = false;
	answer(f, 0, f->aer_cid, dw0, 0);
}

/* ---- commands ---- */

static void execute(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	uint32_t dw0 = 0;
	int status;

	if (sqid == 0 && sqe->opc == NVME_ADM_ASYNC_EVENT) {
		assert_false(f->aer_waiting);
		f->aer_waiting = true;
		f->aer_cid = le16_get(sqe->cid);
		return;
	}
	status = sqid == 0 ? fake_nvme_admin(f, sqe, &dw0) : fake_nvme_io(f, sqe);
	answer(f, sqid, le16_get(sqe->cid), dw0, status);
}

static void decide(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	int verdict = f->rule ? f->rule(f, sqid, sqe) : FAKE_DO;

	if (sqid == 0)
		f->admin_commands[sqe->opc]++;
	else
		f->commands[sqe->opc]++;
	if (verdict == FAKE_DO && sqid > 0 && f->disorder)
		verdict = FAKE_HOLD;
	if (verdict == FAKE_DO) {
		execute(f, sqid, sqe);
	} else if (verdict == FAKE_HOLD) {
		assert_true(f->held_count < FAKE_HELD);
		f->held[f->held_count++] = (struct fake_held){ sqid, *sqe };
	} else if (verdict != FAKE_DROP) {
		answer(f, sqid, le16_get(sqe->cid), 0, verdict);
	}
}

void fake_nvme_release(struct fake_nvme *f, unsigned index, int verdict)
{
	struct fake_held held;

	assert_true(index < f->held_count);
	held = f->held[index];
	f->held[index] = f->held[--f->held_count];
	if (verdict == FAKE_DO)
		execute(f, held.sqid, &held.sqe);
	else if (verdict != FAKE_DROP)
		answer(f, held.sqid, le16_get(held.sqe.cid), 0, verdict);
}

void fake_nvme_release_all(struct fake_nvme *f, int verdict)
{
	while (f->held_count > 0)
		fake_nvme_release(f, 0, verdict);
}

/* New tail of a submission queue, from the register or its shadow. */
static uint32_t tail_of(struct fake_nvme *f, unsigned qid)
{
	struct fake_ring *sq = &f->sq[qid];
	uint32_t v = reg_get(f, doorbell_reg(f, qid, false));

	if (v != sq->seen) {
		sq->seen = v;
		sq->asleep = false;
		f->doorbells++;
	}
	if (!f->shadow || qid == 0)
		return v;
	if (sq->asleep)
		return sq->tail;
	return *(volatile uint32_t *)(uintptr_t)(f->shadow + shadow_offset(f, qid, false));
}

/* Like QEMU: when the queue is empty, wait for the register to be written. */
static void shadow_rest(struct fake_nvme *f, unsigned qid)
{
	volatile uint32_t *event, *value;

	if (!f->shadow || qid == 0 || f->sq[qid].asleep)
		return;
	event = (volatile uint32_t *)(uintptr_t)(f->shadow_events + shadow_offset(f, qid, false));
	value = (volatile uint32_t *)(uintptr_t)(f->shadow + shadow_offset(f, qid, false));
	*event = f->sq[qid].tail;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	f->sq[qid].asleep = *value == f->sq[qid].tail;
}

static int queue_step(struct fake_nvme *f, unsigned qid)
{
	struct fake_ring *sq = &f->sq[qid];
	int n = 0;

	sq->tail = tail_of(f, qid);
	assert_true(sq->tail < sq->size);
	while (sq->live && sq->head != sq->tail) {
		struct nvme_sqe sqe;

		must_be_master(f);
		memcpy(&sqe, (struct nvme_sqe *)(uintptr_t)sq->addr + sq->head, sizeof(sqe));
		if (++sq->head == sq->size)
			sq->head = 0;
		decide(f, qid, &sqe);
		n++;
	}
	if (sq->live)
		shadow_rest(f, qid);
	return n;
}

int fake_nvme_step(struct fake_nvme *f)
{
	int n;

	if (f->dead) {
		memset((void *)f->bar, 0xff, FAKE_BAR_BYTES);
		return 0;
	}
	reg_set(f, NVME_REG_CAP, (uint32_t)f->cap);
	reg_set(f, NVME_REG_CAP + 4, f->cap >> 32);
	n = control_step(f);
	vectors_step(f);
	if (f->mute || f->fatal || !(reg_get(f, NVME_REG_CSTS) & NVME_CSTS_RDY))
		return n;
	for (unsigned q = 0; q < FAKE_QUEUES; q++)
		if (f->sq[q].live)
			n += queue_step(f, q);
	while (f->disorder && f->held_count > 0) {
		f->disorder = f->disorder * 1103515245u + 12345u;
		fake_nvme_release(f, (f->disorder >> 16) % f->held_count, FAKE_DO);
	}
	return n;
}

/* ---- the walker ---- */

static int walk_sgl(const struct nvme_sqe *sqe, size_t len, struct fake_segment *segments)
{
	const struct nvme_sgl *sgl = &sqe->sgl;
	unsigned count = 1;
	size_t total = 0;

	if (sgl->id == NVME_SGL_LAST_SEGMENT << 4) {
		count = le32_get(sgl->length) / sizeof(*sgl);
		sgl = (const struct nvme_sgl *)(uintptr_t)le64_get(sgl->addr);
	}
	for (unsigned i = 0; i < count; i++) {
		if (sgl[i].id != NVME_SGL_DATA << 4)
			return -1;
		segments[i].p = (uint8_t *)(uintptr_t)le64_get(sgl[i].addr);
		segments[i].len = le32_get(sgl[i].length);
		total += segments[i].len;
	}
	return total == len ? (int)count : -1;
}

int fake_nvme_walk(const struct nvme_sqe *sqe, size_t len, struct fake_segment *segments)
{
	uint64_t first = le64_get(sqe->prp1), second = le64_get(sqe->prp2);
	size_t take = MIN(len, PAGE - first % PAGE);
	const le64 *list = NULL;
	int n = 0;

	if ((sqe->flags & NVME_PSDT_MASK) == NVME_PSDT_SGL)
		return walk_sgl(sqe, len, segments);
	if (first % 4 || first == 0 || len == 0)
		return -1;
	segments[n++] = (struct fake_segment){ (uint8_t *)(uintptr_t)first, take };
	len -= take;
	if (len == 0)
		return second == 0 ? n : -1;
	if (len > PAGE) {
		/* a list of pages that does not cross one */
		if (second % 8 || (second % PAGE) + div_round_up(len, PAGE) * 8 > PAGE)
			return -1;
		list = (const le64 *)(uintptr_t)second;
	}
	for (unsigned i = 0; len > 0; i++) {
		uint64_t page = list ? le64_get(list[i]) : second;

		if (page % PAGE || page == 0)
			return -1;
		take = MIN(len, (size_t)PAGE);
		segments[n++] = (struct fake_segment){ (uint8_t *)(uintptr_t)page, take };
		len -= take;
	}
	return n;
}

/* ---- the PCI device ---- */

static struct fake_nvme *fake_of(struct pci_dev *dev)
{
	return container_of(dev, struct fake_nvme, dev);
}

static int fake_config_read(struct pci_dev *dev, unsigned offset, void *buf, size_t len)
{
	assert_int_equal(offset, 4);
	assert_int_equal(len, 2);
	memcpy(buf, &fake_of(dev)->pci_command, len);
	return 0;
}

static int fake_config_write(struct pci_dev *dev, unsigned offset, const void *buf, size_t len)
{
	assert_int_equal(offset, 4);
	assert_int_equal(len, 2);
	memcpy(&fake_of(dev)->pci_command, buf, len);
	return 0;
}

static int fake_vectors_set(struct pci_dev *dev, const int *fds, unsigned count)
{
	struct fake_nvme *f = fake_of(dev);

	assert_true(count <= dev->vector_count);
	memcpy(f->vector_fds, fds, count * sizeof(*fds));
	f->vector_fd_count = count;
	memset(f->vector_table, 0, sizeof(f->vector_table));
	return 0;
}

static void fake_vectors_clear(struct pci_dev *dev)
{
	fake_of(dev)->vector_fd_count = 0;
}

static int fake_reset(struct pci_dev *dev)
{
	struct fake_nvme *f = fake_of(dev);

	f->function_resets++;
	if (f->reset_fails)
		return -EIO;
	f->stuck = f->mute = f->fatal = false;
	f->cc = 0;
	reg_set(f, NVME_REG_CC, 0);
	queues_forget(f);
	csts_write(f, false);
	return 0;
}

static void fake_close(struct pci_dev *dev)
{
	fake_of(dev)->closes++;
}

static const struct pci_dev_ops fake_ops = {
	.config_read = fake_config_read,
	.config_write = fake_config_write,
	.vectors_set = fake_vectors_set,
	.vectors_clear = fake_vectors_clear,
	.reset = fake_reset,
	.close = fake_close,
};

void fake_nvme_init(struct fake_nvme *f, const char *pci)
{
	memset(f, 0, sizeof(*f));
	assert_int_equal(pci_addr_parse(pci, &f->dev.addr), 0);
	f->bar = aligned_alloc(PAGE, FAKE_BAR_BYTES);
	memset((void *)f->bar, 0, FAKE_BAR_BYTES);
	f->dev.bar = f->bar;
	f->dev.bar_bytes = FAKE_BAR_BYTES;
	f->dev.vector_count = FAKE_VECTORS;
	f->dev.vector_table = f->vector_table;
	f->dev.ops = &fake_ops;
	f->cap = 255 | 1ull << NVME_CAP_CQR_SHIFT | 2ull << NVME_CAP_TO_SHIFT |
		 (uint64_t)NVME_CAP_CSS_NVM << NVME_CAP_CSS_SHIFT;
	f->version = 0x00010400;
	f->queues_max = FAKE_QUEUES - 1;
	f->oncs = NVME_ONCS_COMPARE | NVME_ONCS_DSM | NVME_ONCS_WRITE_ZEROES;
	f->oaes = NVME_OAES_NS_CHANGED;
	f->vwc = NVME_VWC_PRESENT;
	f->cntrltype = NVME_CNTRLTYPE_IO;
	f->mdts = 5;
	reg_set(f, NVME_REG_VS, f->version);
	fake_nvme_ns_add(f, 1, 512, 8192);
	pci_plain_install(&f->dev, PCI_CLASS_NVME);
}

void fake_nvme_ns_add(struct fake_nvme *f, uint32_t nsid, uint32_t block_bytes,
		      uint64_t block_count)
{
	struct fake_ns *ns = &f->ns[nsid - 1];

	free(ns->data);
	*ns = (struct fake_ns){ .active = true, .block_bytes = block_bytes,
				.block_count = block_count };
	ns->data = calloc(block_count, block_bytes);
	assert_non_null(ns->data);
}

void fake_nvme_fini(struct fake_nvme *f)
{
	pci_plain_install(NULL, 0);
	for (unsigned i = 0; i < FAKE_NS; i++)
		free(f->ns[i].data);
	free((void *)f->bar);
}
