/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading, writing, verifying: ranges, data, residuals, and what sense data says of errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scsi_box.h"

static uint8_t data[512 * SBOX_BLOCK];

/* Commands with a range: where its fields are, and how much data of each block goes out. */
static const struct ranged {
	const char *name;
	uint8_t opcode, byte1;
	uint8_t lba_at, lba_bytes, len_at, len_bytes;
	uint8_t out, in;
	bool one_block;                 /* of data, for any number of blocks */
	bool zero_is_good;
} ranged[] = {
	{ "read(6)", 0x08, 0, 1, 3, 4, 1, 0, 1, false, false },
	{ "write(6)", 0x0a, 0, 1, 3, 4, 1, 1, 0, false, false },
	{ "read(10)", 0x28, 0, 2, 4, 7, 2, 0, 1, false, true },
	{ "write(10)", 0x2a, 0, 2, 4, 7, 2, 1, 0, false, true },
	{ "read(12)", 0xa8, 0, 2, 4, 6, 4, 0, 1, false, true },
	{ "write(12)", 0xaa, 0, 2, 4, 6, 4, 1, 0, false, true },
	{ "read(16)", 0x88, 0, 2, 8, 10, 4, 0, 1, false, true },
	{ "write(16)", 0x8a, 0, 2, 8, 10, 4, 1, 0, false, true },
	{ "write and verify(10)", 0x2e, 0, 2, 4, 7, 2, 1, 0, false, true },
	{ "write and verify(12)", 0xae, 2, 2, 4, 6, 4, 1, 0, false, true },
	{ "write and verify(16)", 0x8e, 2, 2, 8, 10, 4, 1, 0, false, true },
	{ "verify(10)", 0x2f, 0, 2, 4, 7, 2, 0, 0, false, true },
	{ "verify(12) of data", 0xaf, 2, 2, 4, 6, 4, 1, 0, false, true },
	{ "verify(16) of one block", 0x8f, 6, 2, 8, 10, 4, 1, 0, true, true },
	{ "pre-fetch(10)", 0x34, 0, 2, 4, 7, 2, 0, 0, false, true },
	{ "pre-fetch(16)", 0x90, 2, 2, 8, 10, 4, 0, 0, false, true },
	{ "synchronize cache(10)", 0x35, 0, 2, 4, 7, 2, 0, 0, false, true },
	{ "synchronize cache(16)", 0x91, 0, 2, 8, 10, 4, 0, 0, false, true },
	{ "compare and write", 0x89, 0, 2, 8, 13, 1, 2, 0, false, true },
	{ "write same(10)", 0x41, 0, 2, 4, 7, 2, 1, 0, true, false },
	{ "write same(16)", 0x93, 0, 2, 8, 10, 4, 1, 0, true, false },
};

static const uint8_t *range_cdb(const struct ranged *r, uint64_t lba, uint32_t blocks)
{
	static uint8_t cdb[SCSI_CDB_BYTES];

	memset(cdb, 0, sizeof(cdb));
	cdb[0] = r->opcode;
	scsi_be_put(cdb + r->lba_at, r->lba_bytes, lba);
	cdb[1] |= r->byte1;
	scsi_be_put(cdb + r->len_at, r->len_bytes, blocks);
	return cdb;
}

static uint64_t ones(unsigned bytes)
{
	return bytes == 8 ? UINT64_MAX : (1ull << 8 * bytes) - 1;
}

static void out_of_range(const struct ranged *r, uint64_t lba, uint32_t blocks)
{
	sbox_fails(r->name, range_cdb(r, lba, blocks), data, sizeof(data), 0,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE);
}

static void test_ranges_past_the_end_are_refused_and_nothing_wraps(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++) {
		const struct ranged *r = &ranged[i];
		uint64_t far = r->opcode < 0x20 ? 0x1fffff : ones(r->lba_bytes);

		out_of_range(r, SBOX_BLOCKS, 1);
		out_of_range(r, SBOX_BLOCKS - 1, 2);
		out_of_range(r, SBOX_BLOCKS - 254, 255);
		out_of_range(r, far, 1);
		out_of_range(r, far, (uint32_t)ones(r->len_bytes));
		out_of_range(r, far - 1, (uint32_t)ones(r->len_bytes));
		if (r->len_bytes > 1)
			out_of_range(r, 1, SBOX_BLOCKS);
		if (r->lba_bytes == 8) {
			out_of_range(r, 1ull << 63, 1);
			out_of_range(r, 1ull << 32, 1);
		}
		if (r->zero_is_good) {
			out_of_range(r, SBOX_BLOCKS + 1, 0);
			out_of_range(r, far, 0);
		}
	}
}

static void test_ranges_up_to_the_end_work_and_none_is_no_error(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++) {
		const struct ranged *r = &ranged[i];
		uint32_t blocks = 7, of = r->one_block ? 1 : blocks;

		memset(sbox_disk->view, 0, SBOX_BLOCKS * SBOX_BLOCK);
		memset(data, 0, sizeof(data));
		sbox_good(r->name, range_cdb(r, SBOX_BLOCKS - blocks, blocks), data,
			  r->out * of * SBOX_BLOCK, r->in * of * SBOX_BLOCK);
		if (r->zero_is_good) {
			sbox_good(r->name, range_cdb(r, 0, 0), NULL, 0, 0);
			sbox_good(r->name, range_cdb(r, SBOX_BLOCKS - 1, 0), NULL, 0, 0);
		}
		/* what the fields hold at most is 0 where they are short: 256 blocks */
		if (r->opcode < 0x20)
			sbox_good(r->name, range_cdb(r, SBOX_BLOCKS - 256, 0), data,
				  r->out * 256 * SBOX_BLOCK, r->in * 256 * SBOX_BLOCK);
	}
}

static void test_a_transfer_longer_than_the_limit_is_refused(void **state)
{
	uint32_t most = SCSI_XFER_BYTES_MAX / SBOX_BLOCK;

	sbox_shape.block_count = 4 * most;
	sbox_reopen();
	sbox_fails("read", range_cdb(&ranged[6], 0, most + 1), NULL, 0, 512,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	sbox_fails("write", range_cdb(&ranged[7], 0, most + 1), data, 512, 0,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	/* no data is transferred by these, however long */
	sbox_good("verify(10)", CDB(0x8f, 0, [11] = 2, 0, 0), NULL, 0, 0);
}

static void test_data_comes_back_through_every_command(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++) {
		const struct ranged *w = &ranged[i];

		for (unsigned j = 0; j < ARRAY_SIZE(ranged) && w->out == 1; j++) {
			struct sbox s = {
				.cdb = range_cdb(&ranged[j], 100 + i, 3), .piece_bytes = 100,
				.in_bytes = 3 * SBOX_BLOCK + 9,
			};

			if (!ranged[j].in || w->one_block || w->opcode == 0xaf)
				continue;
			for (unsigned k = 0; k < 3 * SBOX_BLOCK; k++)
				data[k] = (uint8_t)(k * 7 + i + j);
			sbox_good(w->name, range_cdb(w, 100 + i, 3), data, 3 * SBOX_BLOCK, 0);
			s.cdb = range_cdb(&ranged[j], 100 + i, 3);
			sbox_run(&s);
			assert_int_equal(s.status, SCSI_GOOD);
			assert_int_equal(s.moved, 3 * SBOX_BLOCK);
			assert_memory_equal(s.in, data, s.moved);
			assert_int_equal(s.in[s.moved], 0xee);
		}
	}
}

static void test_fua_makes_a_write_durable_and_a_flush_makes_all(void **state)
{
	static const struct { uint8_t opcode, flags, len_at; bool durable; } row[] = {
		{ 0x2a, 0x00, 8, false }, { 0x2a, 0x08, 8, true }, { 0x2a, 0x18, 8, true },
		{ 0xaa, 0x08, 9, true }, { 0x8a, 0x08, 13, true }, { 0x8a, 0x10, 13, false },
		{ 0x2e, 0x00, 8, true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		uint8_t cdb[SCSI_CDB_BYTES] = { row[i].opcode, row[i].flags };

		cdb[row[i].len_at] = 1;
		memset(data, 0x10 + (int)i, SBOX_BLOCK);
		sbox_good("write", cdb, data, SBOX_BLOCK, 0);
		assert_int_equal(memcmp(sbox_disk->media, data, SBOX_BLOCK) == 0, row[i].durable);
		sbox_good("flush", CDB(0x35), NULL, 0, 0);
		assert_memory_equal(sbox_disk->media, data, SBOX_BLOCK);
	}
}

static void test_residuals_say_what_was_moved_and_too_little_memory_is_an_overrun(void **state)
{
	static const struct { uint8_t opcode; uint32_t out, in, moved; bool overrun; } row[] = {
		{ 0x28, 0, 1024, 1024, false }, { 0x28, 0, 4096, 1024, false },
		{ 0x28, 0, 1023, 0, true }, { 0x28, 0, 0, 0, true }, { 0x28, 1024, 0, 0, true },
		{ 0x2a, 1024, 0, 1024, false }, { 0x2a, 1536, 0, 1024, false },
		{ 0x2a, 1023, 0, 0, true }, { 0x2a, 0, 1024, 0, true },
		{ 0x2e, 1536, 0, 1024, false }, { 0x2e, 1, 0, 0, true },
		{ 0x41, 1024, 0, 512, false }, { 0x41, 511, 0, 0, true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		struct sbox s = {
			.cdb = CDB(row[i].opcode, [8] = 2), .out = data, .out_bytes = row[i].out,
			.in_bytes = row[i].in,
		};

		sbox_run(&s);
		assert_int_equal(s.outcome,
				 row[i].overrun ? SCSI_OUTCOME_OVERRUN : SCSI_OUTCOME_OK);
		assert_int_equal(s.moved, row[i].moved);
	}
}

/* ---- comparing ---- */

static void differs_at(const char *name, const uint8_t *cdb, uint32_t out_bytes, uint64_t offset)
{
	struct sbox s = { .cdb = cdb, .out = data, .out_bytes = out_bytes, .piece_bytes = 700 };

	for (unsigned descriptors = 0; descriptors < 2; descriptors++) {
		sbox_control(0, false, descriptors);
		sbox_run(&s);
		assert_int_equal(s.task.sense[0] & 0x7f,
				 descriptors ? SCSI_SENSE_DESCRIPTOR : SCSI_SENSE_FIXED);
		if (s.status != SCSI_CHECK_CONDITION || s.key != SCSI_KEY_MISCOMPARE ||
		    s.asc != SCSI_ASC_MISCOMPARE || !s.informs || s.information != offset)
			fail_msg("%s: status %02x sense %x %04x at %lu, not %lu", name, s.status,
				 s.key, s.asc, (unsigned long)s.information,
				 (unsigned long)offset);
	}
}

static void test_a_miscompare_says_which_byte_is_the_first(void **state)
{
	static const uint32_t at[] = { 0, 1, 511, 512, 131071, 131072, 150 * 512 + 77,
				       511 * 512 + 511 };

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		memset(sbox_disk->view, 'A', 513 * SBOX_BLOCK);
		memset(data, 'A', sizeof(data));
		sbox_disk->view[at[i]] = 'B';
		sbox_disk->view[at[i] + 3] = 'B';
		if (at[i] < 255 * 512)
			differs_at("compare and write", CDB(0x89, [13] = 255), 510 * 512, at[i]);
		assert_int_equal(sbox_disk->view[at[i]], 'B');
		differs_at("verify(10)", CDB(0x2f, 2, [7] = 2), 512 * 512, at[i]);
		differs_at("verify(16)", CDB(0x8f, 2, [12] = 2), 512 * 512, at[i]);
		differs_at("verify(12) of one block", CDB(0xaf, 6, [8] = 2), 512, at[i] % 512);
	}
}

static void test_compare_and_write_writes_when_all_is_as_expected(void **state)
{
	memset(sbox_disk->view, 'A', 512 * SBOX_BLOCK);
	memset(data, 'A', 255 * SBOX_BLOCK);
	memset(data + 255 * SBOX_BLOCK, 'N', 255 * SBOX_BLOCK);
	sbox_good("compare and write", CDB(0x89, 0x08, [9] = 3, [13] = 255), data,
		  510 * SBOX_BLOCK, 0);
	assert_int_equal(sbox_disk->view[3 * SBOX_BLOCK - 1], 'A');
	assert_memory_equal(sbox_disk->media + 3 * SBOX_BLOCK, data + 255 * SBOX_BLOCK,
			    255 * SBOX_BLOCK);
	assert_int_equal(sbox_disk->view[258 * SBOX_BLOCK], 'A');
}

static void test_write_and_verify_finds_what_was_not_written(void **state)
{
	fake_fail(sbox_disk, &(struct fake_rule){ IO_READ, 0, SBOX_BLOCKS, 0, 1,
						  IO_ERR_MEDIA_READ });
	sbox_fails("verification", CDB(0x2e, 2, [8] = 1), data, 512, 0, SCSI_KEY_MEDIUM_ERROR,
		   SCSI_ASC_READ_ERROR);
	sbox_fails("bytes that are no choice", CDB(0x2e, 6, [8] = 1), data, 512, 0,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
}

/* ---- errors of the disk ---- */

static void test_a_block_that_cannot_be_read_is_named(void **state)
{
	static const struct { uint8_t opcode, byte1, len_at; uint32_t out, in; } row[] = {
		{ 0x28, 0, 8, 0, 200 * 512 }, { 0x88, 0, 13, 0, 200 * 512 }, { 0x2f, 0, 8, 0, 0 },
		{ 0x2f, 2, 8, 200 * 512, 0 }, { 0xaf, 6, 9, 512, 0 }, { 0x89, 0, 13, 400 * 512, 0 },
	};
	static const uint64_t bad[] = { 0, 1, 77, 198, 199 };

	memset(data, 0, sizeof(data));
	for (unsigned i = 0; i < ARRAY_SIZE(row) * ARRAY_SIZE(bad); i++) {
		uint8_t cdb[SCSI_CDB_BYTES] = { row[i / 5].opcode, row[i / 5].byte1 };
		struct sbox s = {
			.cdb = cdb, .out = data, .out_bytes = row[i / 5].out,
			.in_bytes = row[i / 5].in,
		};

		sbox_disk->rule_count = 0;
		fake_fail(sbox_disk, &(struct fake_rule){ IO_READ, bad[i % 5], 3, 0, UINT32_MAX,
							  IO_ERR_MEDIA_READ });
		cdb[row[i / 5].len_at] = 200;
		sbox_run(&s);
		assert_int_equal(s.key, SCSI_KEY_MEDIUM_ERROR);
		assert_int_equal(s.asc, SCSI_ASC_READ_ERROR);
		assert_true(s.informs);
		assert_int_equal(s.information, bad[i % 5]);
		assert_int_equal(s.moved, 0);
	}
}

static void test_a_place_that_is_not_known_is_not_named(void **state)
{
	struct sbox s = { .cdb = CDB(0x28, [8] = 9), .in_bytes = 9 * 512 };

	/* an error that does not come again */
	fake_fail(sbox_disk, &(struct fake_rule){ IO_READ, 0, 100, 0, 1, IO_ERR_MEDIA_READ });
	sbox_run(&s);
	assert_int_equal(s.asc, SCSI_ASC_READ_ERROR);
	assert_false(s.informs);
	/* one of a write somewhere, of one block */
	sbox_disk->rule_count = 0;
	fake_fail(sbox_disk, &(struct fake_rule){ IO_WRITE, 0, 100, 0, 2, IO_ERR_MEDIA_WRITE });
	s = (struct sbox){ .cdb = CDB(0x2a, [8] = 2), .out = data, .out_bytes = 1024 };
	sbox_run(&s);
	assert_int_equal(s.asc, SCSI_ASC_WRITE_ERROR);
	assert_false(s.informs);
	s = (struct sbox){ .cdb = CDB(0x2a, [5] = 5, [8] = 1), .out = data, .out_bytes = 512 };
	sbox_run(&s);
	assert_int_equal(s.asc, SCSI_ASC_WRITE_ERROR);
	assert_true(s.informs && s.information == 5);
}

static void test_what_a_disk_says_becomes_the_right_sense_data(void **state)
{
	static const struct { enum io_status status; uint8_t key; uint16_t asc; } row[] = {
		{ IO_ERR_RANGE, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE },
		{ IO_ERR_NOSPC, SCSI_KEY_DATA_PROTECT, SCSI_ASC_SPACE_ALLOCATION_FAILED },
		{ IO_ERR_READONLY, SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED },
		{ IO_ERR_ABORTED, SCSI_KEY_ABORTED_COMMAND, SCSI_ASC_NONE },
		{ IO_ERR_TIMEOUT, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE },
		{ IO_ERR_GONE, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED },
		{ IO_ERR_DEVICE, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		sbox_disk->rule_count = 0;
		fake_fail(sbox_disk, &(struct fake_rule){ IO_WRITE, 0, 100, 0, UINT32_MAX,
							  row[i].status });
		sbox_fails("write", CDB(0x2a, [8] = 1), data, 512, 0, row[i].key, row[i].asc);
		memset(data, 1, 512);
		sbox_fails("write same", CDB(0x41, [8] = 9), data, 512, 0, row[i].key, row[i].asc);
	}
}

static void test_nothing_is_written_on_a_disk_that_is_protected(void **state)
{
	for (unsigned how = 0; how < 2; how++) {
		if (how == 0) {
			sbox_control(0, true, false);
		} else {
			sbox_shape.readonly = true;
			sbox_reopen();
		}
		for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++) {
			const struct ranged *r = &ranged[i];
			const uint8_t *cdb = range_cdb(r, 0, 1);
			bool writes = r->out && (r->opcode & 0x0f) != 0x0f;

			memset(data, 0, sizeof(data));
			/* a disk that cannot be written does not offer to compare and write */
			if (how == 1 && r->opcode == SCSI_COMPARE_AND_WRITE)
				sbox_fails(r->name, cdb, data, 1024, 0, SCSI_KEY_ILLEGAL_REQUEST,
					   SCSI_ASC_INVALID_OPCODE);
			else if (writes)
				sbox_fails(r->name, cdb, data, 1024, 0, SCSI_KEY_DATA_PROTECT,
					   SCSI_ASC_WRITE_PROTECTED);
			else
				sbox_good(r->name, cdb, data, r->out * 512, r->in * 512);
		}
	}
}

static void test_a_group_number_is_taken_and_protection_refused(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++) {
		const struct ranged *r = &ranged[i];
		uint32_t of = r->one_block ? 1 : 2;
		uint8_t cdb[SCSI_CDB_BYTES];

		if (r->opcode < 0x20)
			continue;
		memset(data, 0, sizeof(data));
		memset(sbox_disk->view, 0, SBOX_BLOCK * 8);
		memcpy(cdb, range_cdb(r, 0, 2), sizeof(cdb));
		cdb[r->opcode < 0x80 ? 6 : r->opcode < 0xa0 ? 14 : 10] = 0x1f;
		sbox_good(r->name, cdb, data, r->out * of * SBOX_BLOCK, r->in * of * SBOX_BLOCK);
		for (unsigned protect = 1; protect < 8; protect++) {
			cdb[1] = (uint8_t)(r->byte1 | protect << 5);
			sbox_fails(r->name, cdb, data, r->out * of * SBOX_BLOCK,
				   r->in * of * SBOX_BLOCK, SCSI_KEY_ILLEGAL_REQUEST,
				   SCSI_ASC_INVALID_FIELD_CDB);
		}
	}
}

static void test_capacity_is_told_as_it_is(void **state)
{
	uint32_t len;
	const uint8_t *p = sbox_data(CDB(0x25), 8, &len);

	assert_int_equal(len, 8);
	assert_int_equal(scsi_be(p, 4), SBOX_BLOCKS - 1);
	assert_int_equal(scsi_be(p + 4, 4), SBOX_BLOCK);
	for (uint32_t most = 0; most <= 40; most += 10) {
		p = sbox_data(CDB(0x9e, 0x10, [13] = (uint8_t)most), 64, &len);
		assert_int_equal(len, MIN(most, 32u));
	}
	assert_int_equal(scsi_be(p, 8), SBOX_BLOCKS - 1);
	sbox_fails("an address without PMI", CDB(0x25, [5] = 1), NULL, 0, 8,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	sbox_good("and with", CDB(0x25, [5] = 1, [8] = 1), NULL, 0, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sbox_test(test_ranges_past_the_end_are_refused_and_nothing_wraps),
		sbox_test(test_ranges_up_to_the_end_work_and_none_is_no_error),
		sbox_test(test_a_transfer_longer_than_the_limit_is_refused),
		sbox_test(test_data_comes_back_through_every_command),
		sbox_test(test_fua_makes_a_write_durable_and_a_flush_makes_all),
		sbox_test(test_residuals_say_what_was_moved_and_too_little_memory_is_an_overrun),
		sbox_test(test_a_miscompare_says_which_byte_is_the_first),
		sbox_test(test_compare_and_write_writes_when_all_is_as_expected),
		sbox_test(test_write_and_verify_finds_what_was_not_written),
		sbox_test(test_a_block_that_cannot_be_read_is_named),
		sbox_test(test_a_place_that_is_not_known_is_not_named),
		sbox_test(test_what_a_disk_says_becomes_the_right_sense_data),
		sbox_test(test_nothing_is_written_on_a_disk_that_is_protected),
		sbox_test(test_a_group_number_is_taken_and_protection_refused),
		sbox_test(test_capacity_is_told_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
