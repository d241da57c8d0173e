/* SPDX-License-Identifier: BSD-3-Clause */
/* What a unit says it is: standard data, vital product data, and where no unit is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scsi_box.h"

static const uint8_t page_codes[] = { 0x00, 0x80, 0x83, 0x85, 0x86, 0x87, 0x88, 0xb0, 0xb1, 0xb2 };

static void text_is_padded(const uint8_t *p, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		assert_true(p[i] >= 0x20 && p[i] <= 0x7e);
}

static void test_standard_data_claims_the_standards_that_are_kept(void **state)
{
	uint32_t len;
	const uint8_t *p = sbox_data(CDB(0x12, [3] = 1, 4), 260, &len);

	assert_int_equal(len, 5 + p[4]);
	assert_int_equal(p[0], SCSI_PDT_DISK);
	assert_int_equal(p[1], 0);                      /* not removable */
	assert_int_equal(p[2], SCSI_VERSION_SPC4);
	assert_int_equal(p[3], 0x12);
	text_is_padded(p + 8, 28);
	assert_int_equal(scsi_be(p + 58, 2), 0x00a0);
	assert_int_equal(scsi_be(p + 60, 2), 0x0460);
	assert_int_equal(scsi_be(p + 62, 2), 0x04c0);
}

static void test_data_ends_at_the_allocation_length(void **state)
{
	uint8_t whole[300];
	uint32_t len, part;

	memcpy(whole, sbox_data(CDB(0x12, [3] = 1, 4), 260, &len), 260);
	for (unsigned most = 0; most <= len + 2; most++) {
		const uint8_t *p = sbox_data(CDB(0x12, [4] = (uint8_t)most), 260, &part);

		assert_int_equal(part, MIN(most, len));
		assert_memory_equal(p, whole, part);
		assert_int_equal(p[part], 0xee);
	}
}

static void test_data_that_memory_cannot_take_is_an_overrun(void **state)
{
	struct sbox s = { .cdb = CDB(0x12, [4] = 36), .in_bytes = 35 };

	sbox_run(&s);
	assert_int_equal(s.outcome, SCSI_OUTCOME_OVERRUN);
	/* what is not there need not fit */
	s = (struct sbox){ .cdb = CDB(0x12, [4] = 255), .in_bytes = 74 };
	sbox_run(&s);
	assert_int_equal(s.status, SCSI_GOOD);
	assert_int_equal(s.moved, 74);
}

static void test_each_page_of_the_list_is_there_and_as_long_as_it_says(void **state)
{
	uint32_t len;
	const uint8_t *p = sbox_data(CDB(0x12, 1, 0, 0, 255), 255, &len);

	assert_int_equal(len, 4 + sizeof(page_codes));
	assert_memory_equal(p + 4, page_codes, sizeof(page_codes));
	for (unsigned code = 0; code < 256; code++) {
		if (!memchr(page_codes, (int)code, sizeof(page_codes))) {
			sbox_fails("a page that is not there", CDB(0x12, 1, (uint8_t)code, 1), NULL,
				   0, 512, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
			continue;
		}
		p = sbox_data(CDB(0x12, 1, (uint8_t)code, 1), 512, &len);
		assert_int_equal(p[0], SCSI_PDT_DISK);
		assert_int_equal(p[1], code);
		assert_int_equal(len, 4 + scsi_be(p + 2, 2));
	}
	sbox_fails("a page without EVPD", CDB(0x12, 0, 0x83, 0, 64), NULL, 0, 64,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	sbox_fails("command data", CDB(0x12, 2, 0, 0, 64), NULL, 0, 64, SCSI_KEY_ILLEGAL_REQUEST,
		   SCSI_ASC_INVALID_FIELD_CDB);
}

/* Designators lie one behind the other and fill the page; how many are of the unit. */
static unsigned designators(const uint8_t *p, uint32_t len, uint32_t types)
{
	unsigned units = 0, at = 4;

	while (at < len) {
		const uint8_t *d = p + at;

		assert_true(at + 4 <= len && at + 4 + d[3] <= len);
		assert_true(d[0] == 1 || d[0] == 2);
		if (d[0] == 2)
			text_is_padded(d + 4, d[3]);
		units += (d[1] & 0x30) == 0;
		types &= ~(1u << (d[1] & 0x0f));
		at += 4u + d[3];
	}
	assert_int_equal(at, len);
	assert_int_equal(types, 0);
	return units;
}

static void test_a_disk_has_one_name_on_every_way_and_another_disk_another(void **state)
{
	uint8_t first[512], serial[64];
	uint32_t len, other;
	struct sbox s = { .cdb = CDB(0x12, 1, 0x83, 1), .in_bytes = 512, .initiator = 1 };

	memcpy(first, sbox_data(s.cdb, 512, &len), 512);
	assert_true(designators(first, len, 1 << 1 | 1 << 3 | 1 << 4) >= 2);
	memcpy(serial, sbox_data(CDB(0x12, 1, 0x80, 1), 64, &other), 64);
	assert_int_equal(scsi_be(serial + 2, 2), 36);
	text_is_padded(serial + 4, 36);
	sbox_run(&s);
	assert_memory_equal(s.in, first, len);
	memset(sbox_shape.nguid, 7, sizeof(sbox_shape.nguid));
	snprintf(sbox_shape.serial, sizeof(sbox_shape.serial), "S2");
	sbox_reopen();
	sbox_run(&s);
	assert_true(s.moved > len && memcmp(s.in, first, len));
	assert_true(designators(s.in, s.moved, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4) >= 3);
}

static void test_extended_data_and_policy_say_what_is_done(void **state)
{
	uint32_t len;
	const uint8_t *p = sbox_data(CDB(0x12, 1, 0x86, 1), 512, &len);

	assert_int_equal(len, 64);
	assert_int_equal(p[5], 0x01);                   /* simple tasks */
	assert_int_equal(p[6], 0x01);                   /* a volatile cache */
	p = sbox_data(CDB(0x12, 1, 0x87, 1), 512, &len);
	assert_int_equal(p[6] & 3, 3);                  /* pages of each initiator's own */
	sbox_shape.volatile_cache = false;
	sbox_shape.rotational = true;
	sbox_reopen();
	assert_int_equal(sbox_data(CDB(0x12, 1, 0x86, 1), 512, &len)[6], 0);
	assert_int_equal(scsi_be(sbox_data(CDB(0x12, 1, 0xb1, 1), 512, &len) + 4, 2), 0);
}

/* ---- where no disk is ---- */

static void run_at(struct sbox *s, uint16_t lun, const uint8_t *cdb)
{
	*s = (struct sbox){ .cdb = cdb, .lun = lun, .in_bytes = 4096 };
	sbox_run(s);
}

static void test_a_number_without_unit_answers_as_the_standard_says(void **state)
{
	static const uint16_t numbers[] = { 1, 255, 256, 0x3fff, 0xc100 };
	struct sbox s;

	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		uint16_t lun = numbers[i];

		run_at(&s, lun, CDB(0x12, [4] = 255));
		assert_int_equal(s.status, SCSI_GOOD);
		assert_int_equal(s.in[0], SCSI_PDT_NO_LUN);
		run_at(&s, lun, CDB(0x12, 1, 0, 0, 255));
		assert_true(s.status == SCSI_GOOD && s.moved == 5 && s.in[0] == SCSI_PDT_NO_LUN);
		run_at(&s, lun, CDB(0x12, 1, 0x83, 0, 255));
		assert_int_equal(s.asc, SCSI_ASC_INVALID_FIELD_CDB);
		run_at(&s, lun, CDB(0x12, 0x80, 0, 0, 255));
		assert_int_equal(s.asc, SCSI_ASC_INVALID_FIELD_CDB);
		run_at(&s, lun, CDB(0xa0, [9] = 64));
		assert_true(s.status == SCSI_GOOD && s.moved == 16);
		run_at(&s, lun, CDB(0x03, [4] = 18));
		assert_true(s.status == SCSI_GOOD && s.in[2] == SCSI_KEY_ILLEGAL_REQUEST);
		assert_int_equal(scsi_be(s.in + 12, 2), SCSI_ASC_LUN_NOT_SUPPORTED);
		for (unsigned opcode = 0; opcode < 256; opcode++) {
			if (opcode == 0x12 || opcode == 0xa0 || opcode == 0x03)
				continue;
			run_at(&s, lun, CDB((uint8_t)opcode));
			assert_int_equal(s.key, SCSI_KEY_ILLEGAL_REQUEST);
			assert_int_equal(s.asc, SCSI_ASC_LUN_NOT_SUPPORTED);
		}
	}
}

static void test_the_well_known_unit_reports_the_others(void **state)
{
	struct sbox s;

	run_at(&s, SCSI_LUN_REPORT_LUNS, CDB(0x12, [4] = 255));
	assert_true(s.status == SCSI_GOOD && s.in[0] == SCSI_PDT_WELL_KNOWN);
	run_at(&s, SCSI_LUN_REPORT_LUNS, CDB(0x00));
	assert_int_equal(s.status, SCSI_GOOD);
	run_at(&s, SCSI_LUN_REPORT_LUNS, CDB(0x03, [4] = 18));
	assert_true(s.status == SCSI_GOOD && s.in[2] == SCSI_KEY_NONE);
	run_at(&s, SCSI_LUN_REPORT_LUNS, CDB(0xa0, 0, 2, [9] = 64));
	assert_true(s.status == SCSI_GOOD && s.moved == 24);
	assert_int_equal(scsi_be(s.in + 8, 8), 0);
	assert_int_equal(scsi_be(s.in + 16, 2), SCSI_LUN_REPORT_LUNS);
	for (unsigned opcode = 1; opcode < 256; opcode++) {
		if (opcode == 0x12 || opcode == 0xa0 || opcode == 0x03)
			continue;
		run_at(&s, SCSI_LUN_REPORT_LUNS, CDB((uint8_t)opcode));
		assert_int_equal(s.asc, SCSI_ASC_INVALID_OPCODE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sbox_test(test_standard_data_claims_the_standards_that_are_kept),
		sbox_test(test_data_ends_at_the_allocation_length),
		sbox_test(test_data_that_memory_cannot_take_is_an_overrun),
		sbox_test(test_each_page_of_the_list_is_there_and_as_long_as_it_says),
		sbox_test(test_a_disk_has_one_name_on_every_way_and_another_disk_another),
		sbox_test(test_extended_data_and_policy_say_what_is_done),
		sbox_test(test_a_number_without_unit_answers_as_the_standard_says),
		sbox_test(test_the_well_known_unit_reports_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
