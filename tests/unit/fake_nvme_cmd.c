/* SPDX-License-Identifier: BSD-3-Clause */
/* The emulated controller's commands, on a model in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/fake_nvme.h"

static void text_pad(char *field, size_t len, const char *text)
{
	memset(field, ' ', len);
	memcpy(field, text, MIN(strlen(text), len));
}

static struct fake_ns *ns_of(struct fake_nvme *f, uint32_t nsid)
{
	if (nsid < 1 || nsid > FAKE_NS || !f->ns[nsid - 1].active)
		return NULL;
	return &f->ns[nsid - 1];
}

/* ---- Identify ---- */

static void identify_ctrl(const struct fake_nvme *f, struct nvme_id_ctrl *id)
{
	text_pad(id->sn, sizeof(id->sn), "FAKE0001");
	text_pad(id->mn, sizeof(id->mn), "Emulated drive");
	text_pad(id->fr, sizeof(id->fr), "1.0");
	id->mdts = f->mdts;
	id->ver = le32_make(f->version);
	id->cntrltype = f->cntrltype;
	id->oacs = le16_make(f->oacs);
	id->oncs = le16_make(f->oncs);
	id->oaes = le32_make(f->oaes);
	id->sgls = le32_make(f->sgls);
	id->vwc = f->vwc;
	id->crdt1 = le16_make(f->crdt1);
	id->sqes = 0x66;
	id->cqes = 0x44;
	id->nn = le32_make(FAKE_NS);
	id->elpe = 3;
	id->wctemp = le16_make(343);
}

static void identify_ns(const struct fake_ns *ns, struct nvme_id_ns *id)
{
	id->nsze = id->ncap = id->nuse = le64_make(ns->block_count);
	id->nlbaf = 1;
	id->lbaf[0].lbads = 9;
	id->lbaf[1].lbads = 12;
	id->flbas = ns->block_bytes == 4096;
	id->lbaf[id->flbas].ms = le16_make(ns->metadata);
	if (ns->block_bytes == 0)
		id->lbaf[0].lbads = 0;
	id->dlfeat = ns->dlfeat;
	id->nsattr = ns->nsattr;
	id->fpi = ns->fpi;
	id->eui64[7] = 1;
}

static void active_list(const struct fake_nvme *f, uint32_t after, le32 *list)
{
	for (uint32_t nsid = after + 1; nsid <= FAKE_NS; nsid++)
		if (f->ns[nsid - 1].active)
			*list++ = le32_make(nsid);
}

static int identify(struct fake_nvme *f, const struct nvme_sqe *sqe)
{
	void *data = (void *)(uintptr_t)le64_get(sqe->prp1);
	uint32_t nsid = le32_get(sqe->nsid);

	memset(data, 0, NVME_DATA_BYTES);
	switch (le32_get(sqe->cdw10) & 0xff) {
	case NVME_CNS_CTRL:
		identify_ctrl(f, data);
		return 0;
	case NVME_CNS_NS:
		if (ns_of(f, nsid))
			identify_ns(ns_of(f, nsid), data);
		return 0;
	case NVME_CNS_NS_LIST:
		active_list(f, nsid, data);
		return 0;
	case NVME_CNS_NS_DESCS:
		((struct nvme_ns_desc *)data)->nidt = NVME_NIDT_UUID;
		((struct nvme_ns_desc *)data)->nidl = 16;
		memset((char *)data + 4, 0x50 + nsid, 16);
		return 0;
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

/* ---- other admin commands ---- */

static int get_log(struct fake_nvme *f, const struct nvme_sqe *sqe)
{
	uint8_t *data = (uint8_t *)(uintptr_t)le64_get(sqe->prp1);
	size_t len = ((le32_get(sqe->cdw10) >> 16) + 1) * 4;

	assert_true(len <= NVME_DATA_BYTES);
	memset(data, 0, len);
	switch (le32_get(sqe->cdw10) & 0xff) {
	case NVME_LID_SMART:
		((struct nvme_log_smart *)data)->composite_temperature = le16_un_make(300);
		((struct nvme_log_smart *)data)->percentage_used = 7;
		return 0;
	case NVME_LID_ERROR:
		((struct nvme_log_error *)data)->error_count = le64_make(9);
		return 0;
	case NVME_LID_CHANGED_NS:
		return 0;
	default:
		return NVME_SC_LOG_PAGE_INVALID;
	}
}

static int create_queue(struct fake_nvme *f, const struct nvme_sqe *sqe, bool cq)
{
	uint32_t cdw10 = le32_get(sqe->cdw10), cdw11 = le32_get(sqe->cdw11);
	unsigned qid = cdw10 & 0xffff;
	struct fake_ring *ring;

	if (qid == 0 || qid >= FAKE_QUEUES || qid > f->queues_max)
		return NVME_SC_QID_INVALID;
	if ((cdw10 >> 16) > nvme_cap_mqes(f->cap) || (cdw10 >> 16) == 0)
		return NVME_SC_QSIZE_INVALID;
	assert_true(cdw11 & NVME_CREATE_PC);
	ring = cq ? &f->cq[qid] : &f->sq[qid];
	assert_false(ring->live);
	*ring = (struct fake_ring){
		.live = true, .addr = le64_get(sqe->prp1), .size = (cdw10 >> 16) + 1,
		.phase = true, .cqid = cdw11 >> 16, .vector = cdw11 >> 16,
		.irq = cdw11 & NVME_CREATE_CQ_IEN, .asleep = true,
	};
	if (cq && ring->irq)
		assert_true(ring->vector < f->vector_fd_count);
	if (!cq)
		assert_true(f->cq[ring->cqid].live);
	return 0;
}

static int set_features(struct fake_nvme *f, const struct nvme_sqe *sqe, uint32_t *dw0)
{
	uint32_t n = MIN((le32_get(sqe->cdw11) & 0xffff) + 1, f->queues_max);

	switch (le32_get(sqe->cdw10) & 0xff) {
	case NVME_FEAT_QUEUES:
		if (n == 0)
			return NVME_SC_INTERNAL | NVME_STATUS_DNR;
		*dw0 = (n - 1) << 16 | (n - 1);
		return 0;
	case NVME_FEAT_AEC:
		return 0;
	default:
		return NVME_SC_INVALID_FIELD;
	}
}

/* Only a command that is held can be found. */
static int abort_command(struct fake_nvme *f, const struct nvme_sqe *sqe, uint32_t *dw0)
{
	uint16_t sqid = le32_get(sqe->cdw10) & 0xffff, cid = le32_get(sqe->cdw10) >> 16;

	f->aborts_seen++;
	f->last_abort_cid = cid;
	f->last_abort_sqid = sqid;
	*dw0 = NVME_ABORT_NOT_DONE;
	for (unsigned i = 0; i < f->held_count; i++) {
		if (f->held[i].sqid != sqid || le16_get(f->held[i].sqe.cid) != cid)
			continue;
		fake_nvme_release(f, i, NVME_SC_ABORT_REQUESTED);
		*dw0 = 0;
		break;
	}
	return 0;
}

static int format(struct fake_nvme *f, const struct nvme_sqe *sqe)
{
	static const uint32_t block_bytes[] = { 512, 4096 };
	struct fake_ns *ns = ns_of(f, le32_get(sqe->nsid));
	unsigned index = le32_get(sqe->cdw10) & 15;
	uint64_t bytes;

	if (!ns || index >= ARRAY_SIZE(block_bytes))
		return NVME_SC_FORMAT_INVALID;
	bytes = ns->block_bytes * ns->block_count;
	memset(ns->data, 0, bytes);
	ns->block_bytes = block_bytes[index];
	ns->block_count = bytes / ns->block_bytes;
	return 0;
}

int fake_nvme_admin(struct fake_nvme *f, const struct nvme_sqe *sqe, uint32_t *dw0)
{
	switch (sqe->opc) {
	case NVME_ADM_IDENTIFY:
		return identify(f, sqe);
	case NVME_ADM_GET_LOG_PAGE:
		return get_log(f, sqe);
	case NVME_ADM_CREATE_CQ:
		return create_queue(f, sqe, true);
	case NVME_ADM_CREATE_SQ:
		return create_queue(f, sqe, false);
	case NVME_ADM_SET_FEATURES:
		return set_features(f, sqe, dw0);
	case NVME_ADM_ABORT:
		return abort_command(f, sqe, dw0);
	case NVME_ADM_FORMAT_NVM:
		return format(f, sqe);
	case NVME_ADM_DOORBELL_BUFFER:
		if (!(f->oacs & NVME_OACS_DOORBELL_BUFFER))
			return NVME_SC_INVALID_OPCODE;
		f->shadow = le64_get(sqe->prp1);
		f->shadow_events = le64_get(sqe->prp2);
		return 0;
	default:
		return NVME_SC_INVALID_OPCODE;
	}
}

/* ---- NVM commands ---- */

enum transfer { TO_HOST, FROM_HOST, COMPARE };

static int transfer(const struct nvme_sqe *sqe, uint8_t *data, size_t len, enum transfer what)
{
	struct fake_segment segments[FAKE_SEGMENTS];
	int n = fake_nvme_walk(sqe, len, segments);

	if (n < 0)
		return NVME_SC_INVALID_FIELD | NVME_STATUS_DNR;
	for (int i = 0; i < n; i++) {
		if (what == TO_HOST)
			memcpy(segments[i].p, data, segments[i].len);
		else if (what == FROM_HOST)
			memcpy(data, segments[i].p, segments[i].len);
		else if (memcmp(data, segments[i].p, segments[i].len) != 0)
			return NVME_SC_COMPARE_FAILURE;
		data += segments[i].len;
	}
	return 0;
}

static int dsm(struct fake_ns *ns, const struct nvme_sqe *sqe)
{
	const struct nvme_dsm_range *range;
	uint64_t lba, count;

	range = (const struct nvme_dsm_range *)(uintptr_t)le64_get(sqe->prp1);
	if ((le32_get(sqe->cdw10) & 0xff) != 0 || !(le32_get(sqe->cdw11) & NVME_DSM_AD))
		return NVME_SC_INVALID_FIELD;
	lba = le64_get(range->slba);
	count = le32_get(range->nlb);
	if (lba + count > ns->block_count)
		return NVME_SC_LBA_RANGE | NVME_STATUS_DNR;
	memset(ns->data + lba * ns->block_bytes, 0, count * ns->block_bytes);
	return 0;
}

int fake_nvme_io(struct fake_nvme *f, const struct nvme_sqe *sqe)
{
	struct fake_ns *ns = ns_of(f, le32_get(sqe->nsid));
	uint64_t lba = le64_get(sqe->slba), count = (le32_get(sqe->rw_cdw12) & 0xffff) + 1;
	size_t len;
	uint8_t *data;

	if (!ns)
		return NVME_SC_INVALID_NS | NVME_STATUS_DNR;
	if (sqe->opc == NVME_NVM_FLUSH) {
		f->cache_dirty = false;
		return 0;
	}
	if (sqe->opc == NVME_NVM_DSM)
		return dsm(ns, sqe);
	if (lba + count > ns->block_count)
		return NVME_SC_LBA_RANGE | NVME_STATUS_DNR;
	data = ns->data + lba * ns->block_bytes;
	len = count * ns->block_bytes;
	if (sqe->opc != NVME_NVM_WRITE_ZEROES && f->mdts && len > 4096ull << f->mdts)
		return NVME_SC_INVALID_FIELD | NVME_STATUS_DNR;
	switch (sqe->opc) {
	case NVME_NVM_READ:
		return transfer(sqe, data, len, TO_HOST);
	case NVME_NVM_WRITE:
		f->cache_dirty = !(le32_get(sqe->rw_cdw12) & NVME_RW_FUA);
		return transfer(sqe, data, len, FROM_HOST);
	case NVME_NVM_COMPARE:
		return transfer(sqe, data, len, COMPARE);
	case NVME_NVM_WRITE_ZEROES:
		memset(data, 0, len);
		return 0;
	default:
		return NVME_SC_INVALID_OPCODE;
	}
}
