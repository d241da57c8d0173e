/* SPDX-License-Identifier: BSD-3-Clause */
/* Mode pages: what they say, and that just what they call changeable can be changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scsi_box.h"

static const struct { uint8_t code, bytes; } pages[] = {
	{ 0x01, 12 }, { 0x08, 20 }, { 0x0a, 12 }, { 0x1c, 12 },
};

enum { CURRENT = 0x00, CHANGEABLE = 0x40, DEFAULT = 0x80, SAVED = 0xc0 };

/* A page without block descriptor. */
static void page_get(uint8_t code, uint8_t control, uint8_t *page, unsigned bytes)
{
	uint32_t len;
	const uint8_t *p = sbox_data(CDB(0x1a, 0x08, control | code, 0, 255), 255, &len);

	assert_int_equal(len, 4 + bytes);
	assert_int_equal(p[0], len - 1);
	assert_int_equal(p[3], 0);
	assert_int_equal(p[4], code);
	assert_int_equal(p[5], bytes - 2);
	memcpy(page, p + 4, bytes);
}

static uint16_t page_set(const uint8_t *page, unsigned bytes)
{
	uint8_t list[64] = { 0 };
	struct sbox s = {
		.cdb = CDB(0x15, 0x10, [4] = (uint8_t)(4 + bytes)), .out = list,
		.out_bytes = 4 + bytes,
	};

	memcpy(list + 4, page, bytes);
	sbox_run(&s);
	return s.status == SCSI_GOOD ? 0 : s.asc;
}

static void test_every_page_and_all_of_them_are_what_they_say(void **state)
{
	uint8_t all[256];
	uint32_t len, part;
	const uint8_t *p;
	unsigned at = 12;

	memcpy(all, sbox_data(CDB(0x1a, 0, 0x3f, 0, 255), 255, &len), 255);
	assert_int_equal(all[0], len - 1);
	assert_int_equal(all[2], 0x10);                 /* DPO and FUA are known, no protection */
	assert_int_equal(all[3], 8);
	assert_int_equal(scsi_be(all + 4, 4), SBOX_BLOCKS);
	assert_int_equal(scsi_be(all + 9, 3), SBOX_BLOCK);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		uint8_t page[64];

		page_get(pages[i].code, CURRENT, page, pages[i].bytes);
		assert_memory_equal(page, all + at, pages[i].bytes);
		page_get(pages[i].code, DEFAULT, page, pages[i].bytes);
		assert_memory_equal(page, all + at, pages[i].bytes);
		at += pages[i].bytes;
	}
	assert_int_equal(at, len);
	/* the long form, with long block descriptor */
	p = sbox_data(CDB(0x5a, 0x10, 0x3f, 0xff, [8] = 255), 255, &part);
	assert_int_equal(scsi_be(p, 2), part - 2);
	assert_int_equal(p[4], 1);
	assert_int_equal(scsi_be(p + 6, 2), 16);
	assert_int_equal(scsi_be(p + 8, 8), SBOX_BLOCKS);
	assert_int_equal(scsi_be(p + 20, 4), SBOX_BLOCK);
	assert_memory_equal(p + 24, all + 12, len - 12);
	for (unsigned most = 0; most < len; most++)
		assert_memory_equal(sbox_data(CDB(0x1a, 0, 0x3f, 0, (uint8_t)most), 255, &part),
				    all, most);
}

static void test_pages_that_are_not_there_are_refused(void **state)
{
	for (unsigned code = 0; code < 0x3f; code++) {
		if (code == 0x01 || code == 0x08 || code == 0x0a || code == 0x1c)
			continue;
		sbox_fails("page", CDB(0x1a, 0, (uint8_t)code, 0, 255), NULL, 0, 255,
			   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	}
	sbox_fails("subpage", CDB(0x1a, 0, 0x0a, 1, 255), NULL, 0, 255, SCSI_KEY_ILLEGAL_REQUEST,
		   SCSI_ASC_INVALID_FIELD_CDB);
	sbox_fails("saved", CDB(0x1a, 0, SAVED | 0x0a, 0, 255), NULL, 0, 255,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
	sbox_fails("long LBAs(6)", CDB(0x1a, 0x10, 0x0a, 0, 255), NULL, 0, 255,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
}

static void test_just_the_changeable_bits_can_be_changed(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		unsigned bytes = pages[i].bytes;
		uint8_t now[64], may[64], after[64];

		page_get(pages[i].code, CHANGEABLE, may, bytes);
		for (unsigned bit = 16; bit < 8 * bytes; bit++) {
			bool allowed = may[bit / 8] & 1u << bit % 8;

			page_get(pages[i].code, CURRENT, now, bytes);
			now[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(page_set(now, bytes),
					 allowed ? 0 : SCSI_ASC_INVALID_FIELD_PARAMETER);
			page_get(pages[i].code, CURRENT, after, bytes);
			if (!allowed)
				now[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_memory_equal(after, now, bytes);
			if (allowed) {
				now[bit / 8] ^= (uint8_t)(1u << bit % 8);
				assert_int_equal(page_set(now, bytes), 0);
			}
		}
	}
}

static void test_a_list_with_anything_wrong_changes_nothing(void **state)
{
	static const struct {
		const char *name;
		uint8_t cdb[SCSI_CDB_BYTES], list[32];
		uint16_t asc;
	} row[] = {
		{ "page format", { 0x15, 0, [4] = 16 }, { 0 }, SCSI_ASC_INVALID_FIELD_CDB },
		{ "saving", { 0x15, 0x11, [4] = 16 }, { 0 }, SCSI_ASC_INVALID_FIELD_CDB },
		{ "half a header", { 0x15, 0x10, [4] = 3 }, { 0 }, SCSI_ASC_PARAMETER_LIST_LENGTH },
		{ "half a header(10)", { 0x55, 0x10, [8] = 7 }, { 0 },
		  SCSI_ASC_PARAMETER_LIST_LENGTH },
		{ "half a block descriptor", { 0x15, 0x10, [4] = 8 }, { [3] = 8 },
		  SCSI_ASC_PARAMETER_LIST_LENGTH },
		{ "a block descriptor of 4 bytes", { 0x15, 0x10, [4] = 8 }, { [3] = 4 },
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
		{ "another size of block", { 0x15, 0x10, [4] = 12 }, { [3] = 8, [10] = 4 },
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
		{ "another number of blocks", { 0x15, 0x10, [4] = 12 },
		  { [3] = 8, [7] = 4, [10] = 2 }, SCSI_ASC_INVALID_FIELD_PARAMETER },
		{ "half a page", { 0x15, 0x10, [4] = 14 }, { [4] = 0x0a, 10 },
		  SCSI_ASC_PARAMETER_LIST_LENGTH },
		{ "one byte of a page", { 0x15, 0x10, [4] = 5 }, { [4] = 0x0a },
		  SCSI_ASC_PARAMETER_LIST_LENGTH },
		{ "a page that is not there", { 0x15, 0x10, [4] = 16 }, { [4] = 0x05, 10 },
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
		{ "all pages", { 0x15, 0x10, [4] = 16 }, { [4] = 0x3f, 10 },
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
		{ "a subpage", { 0x15, 0x10, [4] = 16 }, { [4] = 0x4a, 1, 0, 8 },
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
		{ "a page of another length", { 0x15, 0x10, [4] = 15 }, { [4] = 0x0a, 9 },
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
		/* write protection would be set, but for the second page */
		{ "a good page and a bad one", { 0x15, 0x10, [4] = 18 },
		  { [4] = 0x0a, 10, 0x20, 0x10, 0x08, 0, 0, 0, 0xff, 0xff, [16] = 0x3e, 0 },
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
	};
	uint8_t page[12];

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		sbox_fails(row[i].name, row[i].cdb, row[i].list, sizeof(row[i].list), 0,
			   SCSI_KEY_ILLEGAL_REQUEST, row[i].asc);
	page_get(0x0a, CURRENT, page, sizeof(page));
	assert_int_equal(page[4], 0);
	sbox_good("the size as it is", CDB(0x15, 0x10, [4] = 12),
		  (uint8_t[12]){ [3] = 8, [10] = 2 }, 12, 0);
	sbox_good("nothing at all", CDB(0x15, 0x10), NULL, 0, 0);
}

static void test_a_list_that_is_not_there_is_an_overrun(void **state)
{
	struct sbox s = { .cdb = CDB(0x55, 0x10, [7] = 2), .out = "", .out_bytes = 1 };

	sbox_run(&s);
	assert_int_equal(s.outcome, SCSI_OUTCOME_OVERRUN);
}

static void test_pages_are_an_initiators_own_until_a_reset(void **state)
{
	struct sbox s = { .cdb = CDB(0x1a, 0x08, 0x0a, 0, 255), .in_bytes = 255, .initiator = 1 };
	uint8_t page[12];

	sbox_control(0, true, true);
	page_get(0x0a, CURRENT, page, sizeof(page));
	assert_true(page[2] & 0x04 && page[4] & 0x08);
	page_get(0x0a, DEFAULT, page, sizeof(page));
	assert_false(page[2] & 0x04 || page[4] & 0x08);
	sbox_run(&s);
	assert_false(s.in[2] & 0x80 || s.in[6] & 0x04 || s.in[8] & 0x08);
	assert_int_equal(sbox_attention(1), 0);
	sbox_tmf(0, SCSI_TMF_LU_RESET, 0);
	assert_int_equal(sbox_attention(0), SCSI_ASC_LU_RESET);
	page_get(0x0a, CURRENT, page, sizeof(page));
	assert_false(page[2] & 0x04 || page[4] & 0x08);
}

static void test_protection_and_cache_are_shown(void **state)
{
	uint8_t page[20];
	uint32_t len;

	page_get(0x08, CURRENT, page, 20);
	assert_int_equal(page[2], 0x04);
	sbox_control(0, true, false);
	assert_int_equal(sbox_data(CDB(0x1a, 0, 0x0a, 0, 255), 255, &len)[2], 0x90);
	sbox_shape.readonly = true;
	sbox_shape.volatile_cache = false;
	sbox_reopen();
	assert_int_equal(sbox_data(CDB(0x1a, 0, 0x0a, 0, 255), 255, &len)[2], 0x90);
	assert_int_equal(sbox_data(CDB(0x5a, 0, 0x0a, 0, [8] = 255), 255, &len)[3], 0x90);
	page_get(0x08, CURRENT, page, 20);
	assert_int_equal(page[2], 0);
}

static void test_a_disk_larger_than_the_short_form_says_so(void **state)
{
	uint64_t count = sbox_disk->bdev.block_count;
	uint32_t len;

	sbox_disk->bdev.block_count = 1ull << 33;
	assert_int_equal(scsi_be(sbox_data(CDB(0x1a, 0, 0x0a, 0, 255), 255, &len) + 4, 4),
			 UINT32_MAX);
	assert_int_equal(scsi_be(sbox_data(CDB(0x25), 8, &len), 4), UINT32_MAX);
	assert_int_equal(scsi_be(sbox_data(CDB(0x9e, 0x10, [13] = 32), 32, &len), 8),
			 (1ull << 33) - 1);
	sbox_disk->bdev.block_count = count;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sbox_test(test_every_page_and_all_of_them_are_what_they_say),
		sbox_test(test_pages_that_are_not_there_are_refused),
		sbox_test(test_just_the_changeable_bits_can_be_changed),
		sbox_test(test_a_list_with_anything_wrong_changes_nothing),
		sbox_test(test_a_list_that_is_not_there_is_an_overrun),
		sbox_test(test_pages_are_an_initiators_own_until_a_reset),
		sbox_test(test_protection_and_cache_are_shown),
		sbox_test(test_a_disk_larger_than_the_short_form_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
