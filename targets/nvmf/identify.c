/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Identify (base 2.0c 5.17, NVM 1.0 4.1.5). Every structure is one page, written in place: request
 * buffers start with at least 4 KiB in one piece. What a controller claims to support is read off
 * the command tables.
 */
#include "targets/nvmf/nvmf.h"

#include <string.h>

#include "core/base/panic.h"
#include "core/config.h"
#include "core/resv.h"
#include "core/spec/nvme_resv.h"
#include "targets/nvmf/abort.h"
#include "targets/nvmf/nvm.h"

uint16_t nvmf_identify_parse(struct nvmf_req *req)
{
	req->data_len = NVME_DATA_BYTES;
	return 0;
}

const char *nvmf_firmware_text(void)
{
	return karst_run.version ? karst_run.version : "";
}

/* Copies TEXT padded with spaces. */
static void id_text(char *field, size_t len, const char *text)
{
	size_t n = strnlen(text, len);

	memcpy(field, text, n);
	memset(field + n, ' ', len - n);
}

static void id_le128(uint8_t field[16], uint64_t v)
{
	le64 low = le64_make(v);

	memcpy(field, &low, sizeof(low));
}

static uint8_t id_mdts(void)
{
	uint32_t bytes = MIN(config.nvmf_mdts_bytes, BUF_REQUEST_MAX);

	return (uint8_t)(log2_floor(bytes) - 12);
}

static uint16_t id_oncs(void)
{
	static const struct {
		uint8_t opc;
		uint16_t oncs;
	} bits[] = {
		{ NVME_NVM_COMPARE, NVME_ONCS_COMPARE },
		{ NVME_NVM_WRITE_UNCORRECTABLE, NVME_ONCS_WRITE_UNCORRECTABLE },
		{ NVME_NVM_DSM, NVME_ONCS_DSM },
		{ NVME_NVM_WRITE_ZEROES, NVME_ONCS_WRITE_ZEROES },
		{ NVME_NVM_VERIFY, NVME_ONCS_VERIFY },
		{ NVME_NVM_COPY, NVME_ONCS_COPY },
		{ NVME_NVM_RESV_REGISTER, NVME_ONCS_RESERVATIONS },
	};
	uint16_t oncs = NVME_ONCS_SAVE;

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		if (nvmf_nvm_cmds[bits[i].opc].exec)
			oncs |= bits[i].oncs;
	return oncs;
}

/* What only I/O controllers have. */
static void id_ctrl_io(const struct nvmf_subsystem *subsys, struct nvme_id_ctrl *id)
{
	id->cmic = NVME_CMIC_MULTI_PORT | NVME_CMIC_MULTI_CTRL | NVME_CMIC_ANA;
	id->oaes = le32_make(nvmf_event_supported(subsys));
	id->anatt = NVMF_ANATT_S;
	id->anacap = NVME_ANACAP_OPTIMIZED | NVME_ANACAP_NON_OPTIMIZED | NVME_ANACAP_INACCESSIBLE |
		     NVME_ANACAP_PERSISTENT_LOSS | NVME_ANACAP_CHANGE | NVME_ANACAP_FIXED_GROUP;
	id->anagrpmax = id->nanagrpid = le32_make(config.nvmf_ana_groups_max);
	id->cntrltype = NVME_CNTRLTYPE_IO;
	id->acl = NVMF_ABORT_MAX - 1;
	id->frmw = NVME_FRMW_SLOT1_RO | 1 << NVME_FRMW_SLOTS_SHIFT;
	id->lpa = NVME_LPA_SMART_PER_NS | NVME_LPA_EFFECTS | NVME_LPA_EXTENDED |
		  NVME_LPA_SUPPORTED_PAGES;
	id->elpe = NVMF_ERROR_LOG_MAX - 1;
	id->sqes = 6 << 4 | 6;
	id->cqes = 4 << 4 | 4;
	id->nn = le32_make(config.nvmf_namespaces_max);
	id->mnan = id->nn;
	id->oncs = le16_make(id_oncs());
	id->fuses = le16_make(NVME_FUSES_COMPARE_WRITE);
	/* awun, awupf and acwu are 0, one block: namespaces tell their own */
	id->cdfs = le16_make(NVME_OCFS_FORMAT0);
	/*
	 * Hosts ask once, namespaces come and go: without this bit a host would never flush one
	 * with a volatile cache that is added later.
	 */
	id->vwc = NVME_VWC_PRESENT | NVME_VWC_FLUSH_BROADCAST;
}

static uint16_t id_ctrl(struct nvmf_req *req, void *page)
{
	const struct nvmf_ctrl *ctrl = req->queue->ctrl;
	const struct nvmf_subsystem *subsys = ctrl->subsys;
	struct nvme_id_ctrl *id = page;

	id_text(id->sn, sizeof(id->sn), subsys->serial);
	id_text(id->mn, sizeof(id->mn), subsys->model);
	id_text(id->fr, sizeof(id->fr), nvmf_firmware_text());
	id->mdts = id_mdts();
	id->cntlid = le16_make(ctrl->cntlid);
	id->ver = le32_make(NVME_VS_2_0_0);
	id->ctratt = le32_make(NVME_CTRATT_HOSTID_128 | NVME_CTRATT_TBKAS);
	id->aerl = NVMF_AER_MAX - 1;
	id->kas = le16_make(NVMF_KAS_MS / 100);
	id->maxcmd = le16_make((uint16_t)config.nvmf_queue_depth_max);
	id->sgls = le32_make(NVME_SGLS_SUPPORTED | NVME_SGLS_LONGER | req->queue->ops->sgls);
	memcpy(id->subnqn, subsys->nqn, sizeof(subsys->nqn));
	id->ioccsz = le32_make((uint32_t)(sizeof(struct nvme_sqe) +
					  config.nvmf_in_capsule_bytes) / 16);
	id->iorcsz = le32_make(sizeof(struct nvme_cqe) / 16);
	id->fcatt = NVME_FCATT_DYNAMIC;
	id->msdbd = req->queue->ops->msdbd;
	id->ofcs = le16_make(NVME_OFCS_DISCONNECT);
	if (subsys->discovery) {
		id->oaes = le32_make(nvmf_event_supported(subsys));
		id->cntrltype = NVME_CNTRLTYPE_DISCOVERY;
		id->lpa = NVME_LPA_EXTENDED | NVME_LPA_SUPPORTED_PAGES;
		id->oncs = le16_make(NVME_ONCS_SAVE);
	} else {
		id_ctrl_io(subsys, id);
	}
	return 0;
}

static uint8_t id_nsattr(const struct nvmf_ns *ns)
{
	return ns->bdev->readonly ? NVME_NSATTR_WRITE_PROTECTED : 0;
}

static uint8_t id_rescap(void)
{
	return NVME_RESCAP_TYPES | NVME_RESCAP_IEKEY |
	       (resv_ptpl_offered() ? NVME_RESCAP_PTPL : 0);
}

/* Valid NSIDs are 1 to NN: base 2.0c 3.2.1. */
static uint16_t id_ns_check(const struct nvmf_req *req)
{
	uint32_t nsid = le32_get(req->sqe.nsid);

	return nsid == 0 || nsid > config.nvmf_namespaces_max ? NVME_SC_INVALID_NS : 0;
}

/* NULL: not active for this host. */
static const struct nvmf_view_slot *id_slot(const struct nvmf_req *req)
{
	return nvmf_view_find(req->queue->ctrl, le32_get(req->sqe.nsid));
}

/* How much of it is used cannot be told from here: base 2.0c 8.1.3. */
static bool id_ns_lost(const struct nvmf_view_slot *slot)
{
	return slot->ana_state == NVME_ANA_INACCESSIBLE ||
	       slot->ana_state == NVME_ANA_PERSISTENT_LOSS;
}

static uint16_t id_ns(struct nvmf_req *req, void *page)
{
	const struct nvmf_view_slot *slot = id_slot(req);
	struct nvme_id_ns *id = page;
	const struct nvmf_ns *ns;
	const struct bdev *bdev;
	uint16_t atomic;

	if (!slot)                      /* inactive: all zero */
		return id_ns_check(req);
	ns = slot->ns;
	bdev = ns->bdev;
	id->nsze = id->ncap = le64_make(bdev->block_count);
	id->nmic = NVME_NMIC_SHARED;
	id->dlfeat = (bdev->unmap_zeroes ? NVME_DLFEAT_ZEROES : 0) | NVME_DLFEAT_DEAC;
	id->nsfeat = NVME_NSFEAT_NSABP;
	atomic = (uint16_t)(MIN(MAX(bdev->atomic_blocks, 1u), 65536u) - 1);
	id->nawun = id->nawupf = le16_make(atomic);
	id->nacwu = le16_make((uint16_t)(MAX((uint32_t)NVM_FUSED_BYTES_MAX >> ns->lba_shift, 1u) -
					 1));
	id->rescap = id_rescap();
	id->mssrl = le16_make((uint16_t)nvm_copy_range_max(ns->lba_shift));
	id->mcl = le32_make(nvm_copy_total_max(ns->lba_shift));
	id->msrc = NVM_COPY_RANGES_MAX - 1;
	if (bdev->optimal_blocks > 1 && bdev->optimal_blocks <= 65536) {
		id->nsfeat |= NVME_NSFEAT_OPTPERF;
		id->npwg = id->npwa = le16_make((uint16_t)(bdev->optimal_blocks - 1));
	}
	id->anagrpid = le32_make(ns->ana_group);
	if (!id_ns_lost(slot)) {
		id->nuse = id->nsze;
		id_le128(id->nvmcap, bdev->block_count << ns->lba_shift);
	}
	id->nsattr = id_nsattr(ns);
	memcpy(id->nguid, ns->nguid, sizeof(id->nguid));
	memcpy(id->eui64, ns->eui64, sizeof(id->eui64));
	id->lbaf[0].lbads = ns->lba_shift;
	return 0;
}

static uint16_t id_ns_list(struct nvmf_req *req, void *page)
{
	const struct nvmf_view *view = nvmf_view(req->queue->ctrl);
	uint32_t above = le32_get(req->sqe.nsid);
	le32 *list = page;
	unsigned n = 0;

	if (above > (uint32_t)NVME_NSID_LIST_LAST)
		return NVME_SC_INVALID_NS;
	for (uint32_t i = above; i < view->nn && n < NVME_NS_LIST_MAX; i++)
		if (view->slots[i].ns)
			list[n++] = le32_make(i + 1);
	return 0;
}

static uint8_t *id_desc(uint8_t *at, uint8_t nidt, const void *nid, uint8_t nidl)
{
	struct nvme_ns_desc desc = { .nidt = nidt, .nidl = nidl };

	memcpy(at, &desc, sizeof(desc));
	memcpy(at + sizeof(desc), nid, nidl);
	return at + sizeof(desc) + nidl;
}

static uint16_t id_ns_descs(struct nvmf_req *req, void *page)
{
	static const uint8_t zero[16];
	const struct nvmf_view_slot *slot = id_slot(req);
	uint8_t *at = page, csi = NVME_CSI_NVM;
	const struct nvmf_ns *ns;

	if (!slot)
		return NVME_SC_INVALID_NS;
	ns = slot->ns;
	if (memcmp(ns->eui64, zero, sizeof(ns->eui64)) != 0)
		at = id_desc(at, NVME_NIDT_EUI64, ns->eui64, sizeof(ns->eui64));
	if (memcmp(ns->nguid, zero, sizeof(ns->nguid)) != 0)
		at = id_desc(at, NVME_NIDT_NGUID, ns->nguid, sizeof(ns->nguid));
	if (!uuid_is_nil(&ns->uuid))
		at = id_desc(at, NVME_NIDT_UUID, &ns->uuid, sizeof(ns->uuid));
	id_desc(at, NVME_NIDT_CSI, &csi, sizeof(csi));
	return 0;
}

/* The NVM command set's own part of the namespace: protection formats, of which there are none. */
static uint16_t id_iocs_ns(struct nvmf_req *req, void *page)
{
	(void)page;
	return id_slot(req) ? 0 : id_ns_check(req);
}

/*
 * 0: no limits beyond what the fields can say. Verify, Write Zeroes and Dataset Management move no
 * data between host and controller, and are split for the disk below.
 */
static uint16_t id_iocs_ctrl(struct nvmf_req *req, void *page)
{
	(void)req;
	(void)page;
	return 0;
}

static uint16_t id_ns_independent(struct nvmf_req *req, void *page)
{
	const struct nvmf_view_slot *slot = id_slot(req);
	struct nvme_id_ns_independent *id = page;

	if (!slot)
		return id_ns_check(req);
	id->nmic = NVME_NMIC_SHARED;
	id->rescap = id_rescap();
	id->anagrpid = le32_make(slot->ns->ana_group);
	id->nsattr = id_nsattr(slot->ns);
	if (!slot->ns->bdev->volatile_cache)
		id->nsfeat = NVME_NSFEAT_VWC_NOT_PRESENT;
	id->nstat = 1;
	return 0;
}

/* Which command sets can be enabled together: the NVM command set alone. */
static uint16_t id_iocs(struct nvmf_req *req, void *page)
{
	uint16_t cntid = (uint16_t)(le32_get(req->sqe.cdw10) >> NVME_IDENTIFY_CNTID_SHIFT);
	le64 *vectors = page;

	/* FFFFh is this controller; 0 is none's, and what hosts say that do not mean any */
	if (cntid != 0 && cntid != NVMF_CNTLID_DYNAMIC && cntid != req->queue->ctrl->cntlid)
		return NVME_SC_INVALID_FIELD;
	vectors[0] = le64_make(1 << NVME_CSI_NVM);
	return 0;
}

struct id_page {
	uint16_t (*fill)(struct nvmf_req *req, void *page);
	bool iocs;                      /* CSI says of which command set */
	bool discovery;                 /* discovery controllers have it too */
};

static const struct id_page id_pages[] = {
	[NVME_CNS_NS] = { id_ns, false, false },
	[NVME_CNS_CTRL] = { id_ctrl, false, true },
	[NVME_CNS_NS_LIST] = { id_ns_list, false, false },
	[NVME_CNS_NS_DESCS] = { id_ns_descs, false, false },
	[NVME_CNS_IOCS_NS] = { id_iocs_ns, true, false },
	[NVME_CNS_IOCS_CTRL] = { id_iocs_ctrl, true, false },
	[NVME_CNS_IOCS_NS_LIST] = { id_ns_list, true, false },
	[NVME_CNS_NS_INDEPENDENT] = { id_ns_independent, false, false },
	[NVME_CNS_IOCS] = { id_iocs, false, false },
};

void nvmf_identify_exec(struct nvmf_req *req)
{
	uint8_t cns = (uint8_t)le32_get(req->sqe.cdw10);
	uint8_t csi = (uint8_t)(le32_get(req->sqe.cdw11) >> NVME_IDENTIFY_CSI_SHIFT);
	const struct id_page *page = cns < ARRAY_SIZE(id_pages) ? &id_pages[cns] : NULL;
	uint16_t status = NVME_SC_INVALID_FIELD;

	ASSERT(req->iov_count == 1 && req->iov[0].iov_len == NVME_DATA_BYTES);
	nvmf_req_clear(req);
	if (page && page->fill && (!page->iocs || csi == NVME_CSI_NVM) &&
	    (page->discovery || !req->queue->subsys->discovery))
		status = page->fill(req, req->iov[0].iov_base);
	nvmf_req_done(req, status ? status | NVME_STATUS_DNR : 0);
}
