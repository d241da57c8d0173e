/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * INQUIRY: standard data (SPC-4 6.6) and vital product data pages (SPC-4 7.8, SBC-3 6.6). What a
 * page says of limits and provisioning is what block.c and unmap.c do.
 */
#include "targets/scsi/scsi.h"

#include <stdio.h>
#include <string.h>

#include "core/config.h"

enum {
	INQUIRY_BYTES = 74,
	VENDOR_BYTES = 8,
	PRODUCT_BYTES = 16,
	REVISION_BYTES = 4,
	PAGE_BYTES = 64,                /* of the pages of SBC-3, and extended INQUIRY */
	NAA_LOCAL = 0x3,
	RELATIVE_PORT = 1,
};

static const char vendor[] = "KARST";

/* ASCII fields are padded with spaces. SPC-4 4.3.1 */
static void pad(uint8_t *field, size_t bytes, const char *text)
{
	size_t len = MIN(strlen(text), bytes);

	memcpy(field, text, len);
	memset(field + len, ' ', bytes - len);
}

static uint8_t device_type(const struct scsi_task *task)
{
	if (task->lu)
		return SCSI_PDT_DISK;
	return task->lun == SCSI_LUN_REPORT_LUNS ? SCSI_PDT_WELL_KNOWN : SCSI_PDT_NO_LUN;
}

static void standard(struct scsi_task *task)
{
	static const uint16_t versions[] = { 0x00a0, 0x0460, 0x04c0 };  /* SAM-5, SPC-4, SBC-3 */
	uint8_t data[INQUIRY_BYTES] = { 0 };

	data[0] = device_type(task);
	data[2] = SCSI_VERSION_SPC4;
	data[3] = 0x12;                 /* HISUP, response data format 2 */
	data[4] = INQUIRY_BYTES - 5;
	data[7] = 0x02;                 /* CMDQUE */
	pad(data + 8, VENDOR_BYTES, vendor);
	pad(data + 16, PRODUCT_BYTES, "Disk");
	pad(data + 32, REVISION_BYTES, karst_run.version ? karst_run.version : "");
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++)
		scsi_be_put(data + 58 + 2 * i, 2, versions[i]);
	scsi_reply(task, data, sizeof(data), scsi_be(task->cdb + 3, 2));
}

/* ---- pages: each writes what follows the header, and returns its length ---- */

static size_t page_serial(const struct scsi_lu *lu, uint8_t *p)
{
	char text[UUID_TEXT_BYTES];

	uuid_format(&lu->bdev->uuid, text);
	memcpy(p, text, UUID_TEXT_BYTES - 1);
	return UUID_TEXT_BYTES - 1;
}

/* A designation descriptor; DATA may be where it goes. SPC-4 7.8.6 */
static size_t designator(uint8_t *p, unsigned code_set, unsigned association, unsigned type,
			 const void *data, size_t len)
{
	p[0] = (uint8_t)code_set;
	p[1] = (uint8_t)(association << 4 | type);
	p[2] = 0;
	p[3] = (uint8_t)len;
	memcpy(p + 4, data, len);
	return 4 + len;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len && !*p)
		p++, len--;
	return len == 0;
}

static size_t page_identification(const struct scsi_lu *lu, uint8_t *p)
{
	const struct bdev *bdev = lu->bdev;
	uint8_t t10[VENDOR_BYTES + UUID_TEXT_BYTES], naa[8], port[4];
	size_t at = 0;

	pad(t10, VENDOR_BYTES, vendor);
	page_serial(lu, t10 + VENDOR_BYTES);
	at += designator(p, 2, 0, 1, t10, VENDOR_BYTES + UUID_TEXT_BYTES - 1);
	memcpy(naa, bdev->uuid.b + 8, sizeof(naa));
	naa[0] = (uint8_t)(NAA_LOCAL << 4 | (naa[0] & 0x0f));
	at += designator(p + at, 1, 0, 3, naa, sizeof(naa));
	if (!all_zero(bdev->nguid, sizeof(bdev->nguid)))
		at += designator(p + at, 1, 0, 2, bdev->nguid, sizeof(bdev->nguid));
	else if (!all_zero(bdev->eui64, sizeof(bdev->eui64)))
		at += designator(p + at, 1, 0, 2, bdev->eui64, sizeof(bdev->eui64));
	scsi_be_put(port, 4, RELATIVE_PORT);
	at += designator(p + at, 1, 1, 4, port, sizeof(port));
	return at;
}

static size_t page_management(const struct scsi_lu *lu, uint8_t *p)
{
	return 0;
}

static size_t page_extended(const struct scsi_lu *lu, uint8_t *p)
{
	p[1] = 0x01;                            /* SIMPSUP */
	p[2] = lu->bdev->volatile_cache;        /* V_SUP */
	p[3] = 0x01;                            /* LUICLR */
	return PAGE_BYTES - 4;
}

/* Every page is kept for each initiator. */
static size_t page_mode_policy(const struct scsi_lu *lu, uint8_t *p)
{
	p[0] = 0x3f;
	p[1] = 0xff;
	p[2] = 0x03;
	return 4;
}

static size_t page_ports(const struct scsi_lu *lu, uint8_t *p)
{
	scsi_be_put(p + 2, 2, RELATIVE_PORT);
	return 12;
}

/* SBC-3 6.6.4 */
static size_t page_block_limits(const struct scsi_lu *lu, uint8_t *p)
{
	const struct bdev *bdev = lu->bdev;
	uint32_t granule = bdev->optimal_blocks;

	p[0] = 0x01;                            /* WSNZ */
	p[1] = bdev_supports(bdev, IO_COMPARE_WRITE) ? SCSI_CAW_BLOCKS : 0;
	scsi_be_put(p + 2, 2, MIN(granule, UINT16_MAX));
	scsi_be_put(p + 4, 4, SCSI_XFER_BYTES_MAX >> bdev->block_shift);
	if (bdev_supports(bdev, IO_UNMAP)) {
		scsi_be_put(p + 16, 4, UINT32_MAX);
		scsi_be_put(p + 20, 4, SCSI_UNMAP_RANGES);
		scsi_be_put(p + 24, 4, granule);
	}
	scsi_be_put(p + 32, 8, SCSI_WRITE_SAME_BLOCKS);
	return PAGE_BYTES - 4;
}

static size_t page_characteristics(const struct scsi_lu *lu, uint8_t *p)
{
	scsi_be_put(p, 2, lu->bdev->rotational ? 0 : 1);
	return PAGE_BYTES - 4;
}

/* SBC-3 6.6.7 */
static size_t page_provisioning(const struct scsi_lu *lu, uint8_t *p)
{
	if (bdev_supports(lu->bdev, IO_UNMAP)) {
		p[1] = 0xe0;                    /* LBPU, LBPWS, LBPWS10 */
		if (lu->bdev->unmap_zeroes)
			p[1] |= 0x04;           /* LBPRZ */
		p[2] = 0x02;                    /* thin */
	}
	return 4;
}

static const struct page {
	uint8_t code;
	size_t (*fill)(const struct scsi_lu *lu, uint8_t *p);
} pages[] = {
	{ SCSI_VPD_SUPPORTED, NULL },
	{ SCSI_VPD_SERIAL, page_serial },
	{ SCSI_VPD_IDENTIFICATION, page_identification },
	{ SCSI_VPD_MANAGEMENT, page_management },
	{ SCSI_VPD_EXTENDED, page_extended },
	{ SCSI_VPD_MODE_POLICY, page_mode_policy },
	{ SCSI_VPD_PORTS, page_ports },
	{ SCSI_VPD_BLOCK_LIMITS, page_block_limits },
	{ SCSI_VPD_BLOCK_CHARACTERISTICS, page_characteristics },
	{ SCSI_VPD_PROVISIONING, page_provisioning },
};

/* SPC-4 7.8.13: where no disk is there is nothing but this page. */
static size_t page_list(const struct scsi_lu *lu, uint8_t *p)
{
	unsigned count = lu ? ARRAY_SIZE(pages) : 1;

	for (unsigned i = 0; i < count; i++)
		p[i] = pages[i].code;
	return count;
}

void scsi_inquiry(struct scsi_task *task)
{
	uint8_t code = task->cdb[2];
	uint8_t data[512] = { 0 };
	size_t len;

	if (!(task->cdb[1] & 0x01)) {
		if (code)
			scsi_fail_cdb(task, 2, 7);
		else
			standard(task);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (pages[i].code != code || (pages[i].fill && !task->lu))
			continue;
		len = pages[i].fill ? pages[i].fill(task->lu, data + 4) :
		      page_list(task->lu, data + 4);
		data[0] = device_type(task);
		data[1] = code;
		scsi_be_put(data + 2, 2, len);
		scsi_reply(task, data, 4 + len, scsi_be(task->cdb + 3, 2));
		return;
	}
	scsi_fail_cdb(task, 2, 7);
}
