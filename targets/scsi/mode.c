/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mode pages (SPC-4 7.5, SBC-3 6.5): error recovery, caching, control, informational exceptions.
 * What can be changed is in the control page: software write protection (SWP) and the format of
 * sense data (D_SENSE). Pages are an initiator's own, so that no other has to be told of a change.
 */
#include "targets/scsi/scsi.h"

#include <string.h>

enum {
	HEADER_6 = 4, HEADER_10 = 8,
	BLOCK_SHORT = 8, BLOCK_LONG = 16,
	CONTROL_SENSE_BYTE = 2, CONTROL_SWP_BYTE = 4,
	CONTROL_TST = 0x20,             /* a task set for each initiator */
	CONTROL_D_SENSE = 0x04,
	CONTROL_SWP = 0x08,
	PARAMETER_BYTES_MAX = 255,
};

enum page_control { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

/* A page writes itself, header included, as PC asks; returns its length. */
typedef size_t mode_fill(const struct scsi_lu *lu, enum page_control pc, uint8_t *p);

static size_t page_begin(uint8_t *p, uint8_t code, size_t len)
{
	memset(p, 0, len);
	p[0] = code;
	p[1] = (uint8_t)(len - 2);
	return len;
}

static size_t page_recovery(const struct scsi_lu *lu, enum page_control pc, uint8_t *p)
{
	size_t len = page_begin(p, SCSI_MODE_ERROR_RECOVERY, 12);

	if (pc != PC_CHANGEABLE)
		p[2] = 0xc0;            /* AWRE, ARRE: the disk below reallocates by itself */
	return len;
}

static size_t page_caching(const struct scsi_lu *lu, enum page_control pc, uint8_t *p)
{
	size_t len = page_begin(p, SCSI_MODE_CACHING, 20);

	if (pc != PC_CHANGEABLE && lu->bdev->volatile_cache)
		p[2] = 0x04;            /* WCE */
	return len;
}

static size_t page_control(const struct scsi_lu *lu, enum page_control pc, uint8_t *p)
{
	size_t len = page_begin(p, SCSI_MODE_CONTROL, 12);

	if (pc == PC_CHANGEABLE) {
		p[CONTROL_SENSE_BYTE] = CONTROL_D_SENSE;
		p[CONTROL_SWP_BYTE] = CONTROL_SWP;
		return len;
	}
	p[CONTROL_SENSE_BYTE] = CONTROL_TST;
	p[3] = 0x10;                    /* unrestricted reordering */
	if (pc == PC_CURRENT && atomic_load(&lu->descriptor_sense))
		p[CONTROL_SENSE_BYTE] |= CONTROL_D_SENSE;
	if (pc == PC_CURRENT && atomic_load(&lu->write_protect))
		p[CONTROL_SWP_BYTE] = CONTROL_SWP;
	scsi_be_put(p + 8, 2, 0xffff);  /* busy timeout: unlimited */
	return len;
}

static size_t page_exceptions(const struct scsi_lu *lu, enum page_control pc, uint8_t *p)
{
	size_t len = page_begin(p, SCSI_MODE_EXCEPTIONS, 12);

	if (pc != PC_CHANGEABLE)
		p[2] = 0x08;            /* DEXCPT: nothing is reported this way */
	return len;
}

static const struct {
	uint8_t code;
	mode_fill *fill;
} pages[] = {
	{ SCSI_MODE_ERROR_RECOVERY, page_recovery },
	{ SCSI_MODE_CACHING, page_caching },
	{ SCSI_MODE_CONTROL, page_control },
	{ SCSI_MODE_EXCEPTIONS, page_exceptions },
};

/* SBC-3 6.5.2 */
static size_t block_descriptor(const struct scsi_lu *lu, bool long_lba, uint8_t *p)
{
	const struct bdev *bdev = lu->bdev;

	if (long_lba) {
		scsi_be_put(p, 8, bdev->block_count);
		scsi_be_put(p + 12, 4, bdev->block_bytes);
		return BLOCK_LONG;
	}
	scsi_be_put(p, 4, MIN(bdev->block_count, UINT32_MAX));
	scsi_be_put(p + 5, 3, bdev->block_bytes);
	return BLOCK_SHORT;
}

/* 0: no such page. */
static size_t fill_pages(const struct scsi_lu *lu, uint8_t code, enum page_control pc, uint8_t *p)
{
	size_t len = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (code == pages[i].code || code == SCSI_MODE_ALL)
			len += pages[i].fill(lu, pc, p + len);
	}
	return len;
}

void scsi_mode_sense(struct scsi_task *task)
{
	const struct scsi_lu *lu = task->lu;
	const uint8_t *cdb = task->cdb;
	bool six = cdb[0] == SCSI_MODE_SENSE_6;
	bool long_lba = !six && (cdb[1] & 0x10);
	enum page_control pc = cdb[2] >> 6;
	uint8_t subpage = cdb[3];
	uint8_t data[HEADER_10 + BLOCK_LONG + PARAMETER_BYTES_MAX] = { 0 };
	size_t at = six ? HEADER_6 : HEADER_10, block = 0, len;
	uint8_t device = SCSI_CDB1_DPO;         /* DPOFUA is the same bit */

	if (pc == PC_SAVED) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
		return;
	}
	/* there are no subpages; FFh asks for those as well */
	if (subpage && subpage != 0xff) {
		scsi_fail_cdb(task, 3, 7);
		return;
	}
	if (!(cdb[1] & 0x08))
		block = block_descriptor(lu, long_lba, data + at);
	at += block;
	len = fill_pages(lu, cdb[2] & 0x3f, pc, data + at);
	if (len == 0) {
		scsi_fail_cdb(task, 2, 5);
		return;
	}
	at += len;
	if (lu->bdev->readonly || atomic_load(&lu->write_protect))
		device |= 0x80;
	if (six) {
		data[0] = (uint8_t)(at - 1);
		data[2] = device;
		data[3] = (uint8_t)block;
	} else {
		scsi_be_put(data, 2, at - 2);
		data[3] = device;
		data[4] = long_lba;
		scsi_be_put(data + 6, 2, block);
	}
	scsi_reply(task, data, at, six ? cdb[4] : scsi_be(cdb + 7, 2));
}

/*
 * The page at P, of which LEFT bytes are there: how long it is when it asks for nothing but what
 * can be changed. 0: then the task has been ended.
 */
static size_t check_page(struct scsi_task *task, const uint8_t *p, size_t at, size_t left)
{
	uint8_t now[64], may[64];
	size_t len;

	if (left < 2 || left < 2u + p[1]) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return 0;
	}
	if ((p[0] & 0xc0) || p[0] == SCSI_MODE_ALL) {   /* PS and SPF are reserved here */
		scsi_fail_parameter(task, (unsigned)at);
		return 0;
	}
	len = fill_pages(task->lu, p[0], PC_CURRENT, now);
	if (len == 0 || len != 2u + p[1]) {
		scsi_fail_parameter(task, (unsigned)(at + (len != 0)));
		return 0;
	}
	fill_pages(task->lu, p[0], PC_CHANGEABLE, may);
	for (size_t i = 2; i < len; i++) {
		if ((p[i] ^ now[i]) & ~may[i]) {
			scsi_fail_parameter(task, (unsigned)(at + i));
			return 0;
		}
	}
	return len;
}

/* Two rounds: nothing is changed when any page is wrong. */
static void select_pages(struct scsi_task *task, const uint8_t *list, size_t at, size_t total)
{
	struct scsi_lu *lu = task->lu;
	const uint8_t *control = NULL;

	while (at < total) {
		size_t len = check_page(task, list + at, at, total - at);

		if (len == 0)
			return;
		if (list[at] == SCSI_MODE_CONTROL)
			control = list + at;
		at += len;
	}
	if (control) {
		atomic_store(&lu->write_protect, (control[CONTROL_SWP_BYTE] & CONTROL_SWP) != 0);
		atomic_store(&lu->descriptor_sense,
			     (control[CONTROL_SENSE_BYTE] & CONTROL_D_SENSE) != 0);
	}
	scsi_good(task);
}

/* SBC-3 6.5.2: the size of a disk is not for initiators to set; 0 blocks leave it as it is. */
static bool block_descriptor_agrees(const struct scsi_lu *lu, bool long_lba, const uint8_t *p,
				    size_t len)
{
	uint8_t now[BLOCK_LONG] = { 0 };
	size_t count = long_lba ? 8 : 4;

	if (len != block_descriptor(lu, long_lba, now))
		return false;
	return (scsi_be(p, count) == 0 || memcmp(p, now, count) == 0) &&
	       memcmp(p + count, now + count, len - count) == 0;
}

void scsi_mode_select(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;
	bool six = cdb[0] == SCSI_MODE_SELECT_6;
	size_t total = six ? cdb[4] : scsi_be(cdb + 7, 2);
	size_t header = six ? HEADER_6 : HEADER_10, block;
	uint8_t list[PARAMETER_BYTES_MAX];

	if (!(cdb[1] & 0x10)) {                 /* PF */
		scsi_fail_cdb(task, 1, 4);
		return;
	}
	if (cdb[1] & 0x01) {                    /* SP: nothing can be saved */
		scsi_fail_cdb(task, 1, 0);
		return;
	}
	if (total == 0) {
		scsi_good(task);
		return;
	}
	if (!scsi_fetch(task, 0, list, MIN(total, sizeof(list)))) {
		scsi_overrun(task);
		return;
	}
	if (total < header || total > sizeof(list)) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return;
	}
	task->moved = (uint32_t)total;
	block = six ? list[3] : scsi_be(list + 6, 2);
	if (block > total - header) {
		scsi_fail(task, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return;
	}
	if (block && !block_descriptor_agrees(task->lu, !six && (list[4] & 1), list + header,
					      block)) {
		scsi_fail_parameter(task, (unsigned)header);
		return;
	}
	select_pages(task, list, header + block, total);
}
