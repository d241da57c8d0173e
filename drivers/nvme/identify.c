/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Identify data (base 2.0c 5.17.2, NVM command set 1.0c 4.1.5), decoded and checked once: what
 * leaves here makes sense, whatever the drive said.
 */
#include <errno.h>
#include <string.h>

#include "core/base/util.h"
#include "drivers/nvme/nvme.h"

enum {
	LBADS_MIN = 9, LBADS_MAX = 16,
	MDTS_SHIFT_MAX = 20,            /* larger ones are as good as no limit */
	KELVIN_MAX = 1000,
};

/* Text padded with spaces: printable ASCII only, without the spaces at its ends. */
static void text_decode(const char *field, size_t len, char *text)
{
	size_t n = 0;

	while (len > 0 && (field[len - 1] == ' ' || field[len - 1] == '\0'))
		len--;
	while (len > 0 && *field == ' ') {
		field++;
		len--;
	}
	for (; n < len; n++)
		text[n] = field[n] >= ' ' && field[n] <= '~' ? field[n] : '?';
	text[n] = '\0';
}

/* 2^SHIFT units of UNIT bytes; 0 (no limit) when SHIFT is 0 or beyond every transfer. */
static uint64_t limit_bytes(uint8_t shift, uint64_t unit)
{
	return shift == 0 || shift > MDTS_SHIFT_MAX ? 0 : unit << shift;
}

int nvme_ctrl_decode(const struct nvme_id_ctrl *id, uint64_t page_min_bytes,
		     struct nvme_ctrl_info *info, const char **why)
{
	const le16 *crdt[] = { &id->crdt1, &id->crdt2, &id->crdt3 };

	memset(info, 0, sizeof(*info));
	if (id->cntrltype != NVME_CNTRLTYPE_UNREPORTED && id->cntrltype != NVME_CNTRLTYPE_IO) {
		*why = "it is no I/O controller";
		return -ENOTSUP;
	}
	/* 64-byte and 16-byte entries: base 2.0c figure 275, required */
	if ((id->sqes & 15) > 6 || id->sqes >> 4 < 6 || (id->cqes & 15) > 4 || id->cqes >> 4 < 4) {
		*why = "it does not take queue entries of the standard size";
		return -EPROTO;
	}
	text_decode(id->sn, sizeof(id->sn), info->serial);
	text_decode(id->mn, sizeof(id->mn), info->model);
	text_decode(id->fr, sizeof(id->fr), info->firmware);
	info->vid = le16_get(id->vid);
	info->ver = le32_get(id->ver);
	info->xfer_bytes_max = limit_bytes(id->mdts, page_min_bytes);
	info->nn = le32_get(id->nn);
	info->oacs = le16_get(id->oacs);
	info->oncs = le16_get(id->oncs);
	info->oaes = le32_get(id->oaes);
	info->sgls = le32_get(id->sgls);
	info->fna = id->fna;
	info->lpa = id->lpa;
	info->volatile_cache = id->vwc & NVME_VWC_PRESENT;
	info->error_entries = id->elpe + 1u;
	for (unsigned i = 0; i < ARRAY_SIZE(crdt); i++)
		info->retry_delay_ms[i + 1] = le16_get(*crdt[i]) * 100u;
	info->shutdown_us = le32_get(id->rtd3e);
	info->warning_kelvin = MIN(le16_get(id->wctemp), KELVIN_MAX);
	info->critical_kelvin = MIN(le16_get(id->cctemp), KELVIN_MAX);
	return 0;
}

void nvme_nvm_limits_decode(const struct nvme_id_ctrl_nvm *id, uint64_t page_min_bytes,
			    struct nvme_nvm_limits *limits)
{
	limits->write_zeroes_bytes_max = limit_bytes(id->wzsl, page_min_bytes);
	limits->unmap_blocks_max = le32_get(id->dmrsl);
}

/*
 * The format index in use: bits 3:0, and 6:5 above them when there are more than 16 formats (NVM
 * command set 1.0c figure 97).
 */
static unsigned format_index(const struct nvme_id_ns *id)
{
	unsigned index = id->flbas & NVME_FLBAS_INDEX_MASK;

	if (id->nlbaf > 15)
		index |= (id->flbas >> 5 & 3) << 4;
	return index;
}

int nvme_ns_decode(const struct nvme_id_ns *id, uint16_t awupf, struct nvme_ns_info *info,
		   const char **why)
{
	unsigned index = format_index(id);
	const struct nvme_lbaf *f;
	uint64_t bytes;

	memset(info, 0, sizeof(*info));
	info->block_count = le64_get(id->nsze);
	if (info->block_count == 0)
		return -ENOENT;
	if (index >= ARRAY_SIZE(id->lbaf) || index > id->nlbaf) {
		*why = "it names an LBA format that it does not have";
		return -EPROTO;
	}
	f = &id->lbaf[index];
	if (f->lbads == 0) {
		*why = "it is not formatted; disk format";
		return -ENOTSUP;
	}
	if (f->lbads < LBADS_MIN || f->lbads > LBADS_MAX) {
		*why = "its block size is not between 512 bytes and 64 KiB";
		return -ENOTSUP;
	}
	if (le16_get(f->ms) != 0) {
		*why = "its LBA format has metadata; disk format without";
		return -ENOTSUP;
	}
	info->block_bytes = 1u << f->lbads;
	info->format = index;
	if (mul_overflows(info->block_count, (uint64_t)info->block_bytes, &bytes) ||
	    bytes > INT64_MAX) {
		*why = "its size is beyond 2^63 bytes";
		return -EPROTO;
	}
	info->readonly = id->nsattr & NVME_NSATTR_WRITE_PROTECTED;
	info->unmap_zeroes = (id->dlfeat & NVME_DLFEAT_MASK) == NVME_DLFEAT_ZEROES;
	info->write_zeroes_unmaps = id->dlfeat & NVME_DLFEAT_DEAC;
	info->atomic_blocks = awupf + 1u;
	if (id->nsfeat & NVME_NSFEAT_NSABP)
		info->atomic_blocks = le16_get(id->nawupf) + 1u;
	if (id->nsfeat & NVME_NSFEAT_OPTPERF)
		info->optimal_blocks = le16_get(id->npwg) + 1u;
	memcpy(info->nguid, id->nguid, sizeof(info->nguid));
	memcpy(info->eui64, id->eui64, sizeof(info->eui64));
	return 0;
}

void nvme_ns_descs_decode(const uint8_t *data, size_t len, struct nvme_ns_info *info)
{
	struct nvme_ns_desc desc;

	for (size_t at = 0; at + sizeof(desc) <= len; at += sizeof(desc) + desc.nidl) {
		const uint8_t *nid = data + at + sizeof(desc);

		memcpy(&desc, data + at, sizeof(desc));
		if (desc.nidl == 0 || desc.nidl > len - at - sizeof(desc))
			return;
		if (desc.nidt == NVME_NIDT_UUID && desc.nidl == sizeof(info->uuid.b))
			memcpy(info->uuid.b, nid, sizeof(info->uuid.b));
		else if (desc.nidt == NVME_NIDT_NGUID && desc.nidl == sizeof(info->nguid))
			memcpy(info->nguid, nid, sizeof(info->nguid));
		else if (desc.nidt == NVME_NIDT_EUI64 && desc.nidl == sizeof(info->eui64))
			memcpy(info->eui64, nid, sizeof(info->eui64));
		else if (desc.nidt == NVME_NIDT_CSI && desc.nidl == 1)
			info->csi = *nid;
	}
}

int nvme_ns_list_decode(const le32 *list, uint32_t after, uint32_t *nsids)
{
	int n = 0;

	for (; n < NVME_NS_LIST_MAX; n++) {
		uint32_t nsid = le32_get(list[n]);

		if (nsid == 0)
			break;
		/* ascending, without the broadcast value: base 2.0c 5.17.2.2 */
		if (nsid <= after || nsid >= 0xfffffffeu)
			return -EPROTO;
		nsids[n] = after = nsid;
	}
	return n;
}

int nvme_format_find(const struct nvme_id_ns *id, uint32_t block_bytes)
{
	for (unsigned i = 0; i <= id->nlbaf && i < ARRAY_SIZE(id->lbaf); i++)
		if (le16_get(id->lbaf[i].ms) == 0 && id->lbaf[i].lbads < 32 &&
		    1u << id->lbaf[i].lbads == block_bytes)
			return i;
	return -ENOENT;
}
