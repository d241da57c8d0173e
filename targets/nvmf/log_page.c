/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Get Log Page (base 2.0c 5.16). A page is emitted from its beginning; nvmf_req_emit keeps what
 * lies in the window that the host asked for, so that a page can be read in pieces and is never
 * held in memory as a whole.
 */
#include "targets/nvmf/nvmf.h"

#include <string.h>

#include "core/config.h"

uint64_t nvmf_log_offset(const struct nvmf_req *req)
{
	return (uint64_t)le32_get(req->sqe.cdw13) << 32 | le32_get(req->sqe.cdw12);
}

static void log_emit(struct nvmf_req *req, uint64_t at, const void *src, size_t len)
{
	nvmf_req_emit(req, nvmf_log_offset(req), at, src, len);
}

/* ---- error information ---- */

static void log_error_emit(struct nvmf_req *req)
{
	struct nvmf_ctrl *ctrl = req->queue->ctrl;

	for (unsigned i = 0; i < NVMF_ERROR_LOG_MAX && i < ctrl->error_count; i++) {
		uint64_t number = ctrl->error_count - 1 - i;    /* newest first */

		log_emit(req, i * sizeof(struct nvme_log_error),
			 &ctrl->errors[number % NVMF_ERROR_LOG_MAX],
			 sizeof(struct nvme_log_error));
	}
}

/* ---- firmware slots ---- */

static void log_fw_emit(struct nvmf_req *req)
{
	struct nvme_log_fw_slot fw = { .afi = 1 };
	const char *text = nvmf_firmware_text();

	memset(fw.frs[0], ' ', sizeof(fw.frs[0]));
	memcpy(fw.frs[0], text, strnlen(text, sizeof(fw.frs[0])));
	log_emit(req, 0, &fw, sizeof(fw));
}

/* ---- changed namespaces ---- */

static void log_changed_emit(struct nvmf_req *req)
{
	struct nvmf_ctrl *ctrl = req->queue->ctrl;
	le32 nsid = le32_make((uint32_t)NVME_NSID_ALL);

	if (ctrl->changed_count > ARRAY_SIZE(ctrl->changed)) {
		log_emit(req, 0, &nsid, sizeof(nsid));
	} else {
		for (unsigned i = 0; i < ctrl->changed_count; i++) {
			nsid = le32_make(ctrl->changed[i]);
			log_emit(req, i * sizeof(nsid), &nsid, sizeof(nsid));
		}
	}
	/* a read that retains the event keeps the list: base 2.0c 5.16.1.5 */
	if (!(le32_get(req->sqe.cdw10) & NVME_LOG_RAE))
		ctrl->changed_count = 0;
}

/* ---- reservation notifications ---- */

static void log_resv_emit(struct nvmf_req *req)
{
	struct nvmf_ctrl *ctrl = req->queue->ctrl;
	struct nvme_log_resv page;

	nvmf_resv_log_read(ctrl, le32_get(req->sqe.cdw10) & NVME_LOG_RAE, &page);
	log_emit(req, 0, &page, sizeof(page));
}

/* ---- commands supported and effects ---- */

static le32 log_effects_of(const struct nvmf_cmd *cmd)
{
	return le32_make(cmd->exec ? NVME_EFFECT_CSUPP | cmd->effects : 0);
}

static void log_effects_emit(struct nvmf_req *req)
{
	for (unsigned opc = 0; opc < 256; opc++) {
		le32 admin = log_effects_of(&nvmf_admin_cmds[opc]);
		le32 io = log_effects_of(&nvmf_nvm_cmds[opc]);

		log_emit(req, opc * sizeof(admin), &admin, sizeof(admin));
		log_emit(req, offsetof(struct nvme_log_effects, iocs) + opc * sizeof(io), &io,
			 sizeof(io));
	}
}

/* ---- the pages ---- */

enum {
	LOG_IO = 1 << 0,                /* of I/O controllers */
	LOG_DISCOVERY = 1 << 1,         /* of discovery controllers */
	LOG_IOCS = 1 << 2,              /* CSI says of which command set */
};

struct log_page {
	uint8_t lid;
	unsigned kinds;
	uint64_t len;                   /* 0: len_of */
	uint64_t (*len_of)(const struct nvmf_req *req);
	void (*emit)(struct nvmf_req *req);     /* NULL: SMART, which takes longer */
	int event;                      /* that reading it acknowledges; -1: none */
};

static void log_supported_emit(struct nvmf_req *req);

static const struct log_page log_pages[] = {
	{ NVME_LID_SUPPORTED, LOG_IO | LOG_DISCOVERY, sizeof(struct nvme_log_supported), NULL,
	  log_supported_emit, -1 },
	{ NVME_LID_ERROR, LOG_IO, NVMF_ERROR_LOG_MAX * sizeof(struct nvme_log_error), NULL,
	  log_error_emit, -1 },
	{ NVME_LID_SMART, LOG_IO, sizeof(struct nvme_log_smart), NULL, NULL, NVMF_EVENT_SPARE },
	{ NVME_LID_FW_SLOT, LOG_IO, sizeof(struct nvme_log_fw_slot), NULL, log_fw_emit, -1 },
	{ NVME_LID_CHANGED_NS, LOG_IO, sizeof(struct nvme_log_changed_ns), NULL, log_changed_emit,
	  NVMF_EVENT_NS_CHANGED },
	{ NVME_LID_ANA, LOG_IO, 0, nvmf_ana_log_len, nvmf_ana_log_emit, NVMF_EVENT_ANA },
	{ NVME_LID_EFFECTS, LOG_IO | LOG_IOCS, sizeof(struct nvme_log_effects), NULL,
	  log_effects_emit, -1 },
	{ NVME_LID_FEATURES, LOG_IO | LOG_DISCOVERY | LOG_IOCS, sizeof(struct nvme_log_features),
	  NULL, nvmf_feature_log_emit, -1 },
	{ NVME_LID_RESERVATION, LOG_IO, sizeof(struct nvme_log_resv), NULL, log_resv_emit,
	  NVMF_EVENT_RESERVATION },
	{ NVME_LID_DISCOVERY, LOG_DISCOVERY, 0, nvmf_discovery_log_len, nvmf_discovery_log_emit,
	  NVMF_EVENT_DISCOVERY },
};

static const struct log_page *log_find(const struct nvmf_req *req)
{
	uint8_t lid = (uint8_t)le32_get(req->sqe.cdw10);
	unsigned kind = req->queue->subsys->discovery ? LOG_DISCOVERY : LOG_IO;

	for (unsigned i = 0; i < ARRAY_SIZE(log_pages); i++)
		if (log_pages[i].lid == lid && (log_pages[i].kinds & kind))
			return &log_pages[i];
	return NULL;
}

static void log_supported_emit(struct nvmf_req *req)
{
	unsigned kind = req->queue->subsys->discovery ? LOG_DISCOVERY : LOG_IO;
	le32 supported = le32_make(NVME_LIDSUPP);

	for (unsigned i = 0; i < ARRAY_SIZE(log_pages); i++)
		if (log_pages[i].kinds & kind)
			log_emit(req, log_pages[i].lid * sizeof(supported), &supported,
				 sizeof(supported));
}

/* CSI is ignored unless the page has it and the host has enabled all command sets: 5.16. */
static bool log_iocs_valid(const struct nvmf_req *req, const struct log_page *page)
{
	uint32_t css = req->queue->ctrl->cc >> NVME_CC_CSS_SHIFT & 7;

	return !(page->kinds & LOG_IOCS) || css != NVME_CC_CSS_ALL ||
	       le32_get(req->sqe.cdw14) >> NVME_LOG_CSI_SHIFT == NVME_CSI_NVM;
}

uint16_t nvmf_log_parse(struct nvmf_req *req)
{
	const struct log_page *page = log_find(req);
	uint32_t cdw10 = le32_get(req->sqe.cdw10);
	uint64_t numd = ((uint64_t)(le32_get(req->sqe.cdw11) & 0xffff) << 16 |
			 cdw10 >> NVME_LOG_NUMDL_SHIFT) + 1;
	uint64_t offset = nvmf_log_offset(req);
	uint32_t nsid = le32_get(req->sqe.nsid);

	if (!page)
		return NVME_SC_LOG_PAGE_INVALID;
	if (numd * 4 > MIN(config.nvmf_mdts_bytes, BUF_REQUEST_MAX))
		return NVME_SC_INVALID_FIELD;
	if (offset % 4 || (le32_get(req->sqe.cdw14) & NVME_LOG_OT) || !log_iocs_valid(req, page))
		return NVME_SC_INVALID_FIELD;
	if (offset > (page->len ? page->len : page->len_of(req)))
		return NVME_SC_INVALID_FIELD;
	req->data_len = (uint32_t)numd * 4;
	if (!page->emit) {
		req->exec = nvmf_smart_exec;
		return nvmf_smart_parse(req);
	}
	/* the others are the controller's, not a namespace's */
	return nsid != 0 && nsid != (uint32_t)NVME_NSID_ALL ? NVME_SC_INVALID_FIELD : 0;
}

void nvmf_log_exec(struct nvmf_req *req)
{
	const struct log_page *page = log_find(req);
	struct nvmf_ctrl *ctrl = req->queue->ctrl;

	nvmf_req_clear(req);
	page->emit(req);
	if (page->event >= 0 && !(le32_get(req->sqe.cdw10) & NVME_LOG_RAE))
		nvmf_event_read(ctrl, (enum nvmf_event)page->event);
	nvmf_req_done(req, 0);
	/* one notification a page: what is left is told anew */
	if (page->lid == NVME_LID_RESERVATION && ctrl->resv_log.used)
		nvmf_event_raise(ctrl, NVMF_EVENT_RESERVATION);
}
