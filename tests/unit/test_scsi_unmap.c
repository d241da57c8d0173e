/* SPDX-License-Identifier: BSD-3-Clause */
/* Provisioning: UNMAP, WRITE SAME, GET LBA STATUS, and that pages promise what these do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scsi_box.h"

enum { HEADER = 8, RANGE = 16 };

static uint8_t list[HEADER + RANGE * 300], block[65536];

/* An UNMAP parameter list of COUNT ranges from FIRST on, each of BLOCKS, every STRIDE. */
static uint32_t list_make(unsigned count, uint64_t first, uint32_t blocks, uint64_t stride)
{
	memset(list, 0, sizeof(list));
	scsi_be_put(list, 2, HEADER - 2 + RANGE * count);
	scsi_be_put(list + 2, 2, RANGE * count);
	for (unsigned i = 0; i < count; i++) {
		scsi_be_put(list + HEADER + RANGE * i, 8, first + stride * i);
		scsi_be_put(list + HEADER + RANGE * i + 8, 4, blocks);
	}
	return HEADER + RANGE * count;
}

static const uint8_t *unmap_cdb(uint32_t len)
{
	static uint8_t cdb[SCSI_CDB_BYTES];

	cdb[0] = SCSI_UNMAP;
	scsi_be_put(cdb + 7, 2, len);
	return cdb;
}

static bool zero(uint64_t lba, uint32_t blocks)
{
	for (size_t i = 0; i < (size_t)blocks * SBOX_BLOCK; i++) {
		if (sbox_disk->view[lba * SBOX_BLOCK + i])
			return false;
	}
	return true;
}

static void test_unmap_takes_every_range_and_nothing_else(void **state)
{
	for (unsigned count = 0; count <= SCSI_UNMAP_RANGES; count += 32) {
		uint32_t len = list_make(count, 8, 4, 8);

		memset(sbox_disk->view, 1, SBOX_BLOCKS * SBOX_BLOCK);
		sbox_good("unmap", unmap_cdb(len), list, len, 0);
		for (unsigned i = 0; i < count; i++)
			assert_true(zero(8 + 8 * i, 4));
		for (unsigned i = 0; i <= count; i++)
			assert_int_equal(sbox_disk->view[(4 + 8 * i) * SBOX_BLOCK], 1);
	}
	/* a list of nothing, ranges of nothing, a range that is only begun */
	sbox_good("no list", unmap_cdb(0), NULL, 0, 0);
	list_make(1, 0, 0, 0);
	sbox_good("no blocks", unmap_cdb(HEADER + RANGE), list, HEADER + RANGE, 0);
	list_make(2, 0, 8, 8);
	memset(sbox_disk->view, 1, 16 * SBOX_BLOCK);
	sbox_good("half a range", unmap_cdb(HEADER + RANGE + 8), list, HEADER + RANGE + 8, 0);
	assert_true(zero(0, 8) && !zero(8, 1));
}

static void test_unmap_changes_nothing_when_any_of_it_is_wrong(void **state)
{
	static const struct {
		const char *name;
		unsigned count;
		uint64_t lba, stride;
		uint32_t blocks;
		uint16_t asc;
	} row[] = {
		{ "last range past the end", 3, 0, SBOX_BLOCKS / 2, 1, SCSI_ASC_LBA_RANGE },
		{ "one block too many", 1, SBOX_BLOCKS - 8, 0, 9, SCSI_ASC_LBA_RANGE },
		{ "a sum that wraps", 1, UINT64_MAX, 0, 2, SCSI_ASC_LBA_RANGE },
		{ "a sum of all ones", 1, UINT64_MAX, 0, UINT32_MAX, SCSI_ASC_LBA_RANGE },
		{ "as many as can be said", 1, 1, 0, UINT32_MAX, SCSI_ASC_LBA_RANGE },
		{ "more ranges than offered", SCSI_UNMAP_RANGES + 1, 0, 1, 1,
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
	};

	memset(sbox_disk->view, 1, SBOX_BLOCKS * SBOX_BLOCK);
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		uint32_t len = list_make(row[i].count, row[i].lba, row[i].blocks, row[i].stride);

		sbox_fails(row[i].name, unmap_cdb(len), list, len, 0, SCSI_KEY_ILLEGAL_REQUEST,
			   row[i].asc);
	}
	for (uint32_t len = 1; len < HEADER; len++)
		sbox_fails("too short", unmap_cdb(len), list, len, 0, SCSI_KEY_ILLEGAL_REQUEST,
			   SCSI_ASC_PARAMETER_LIST_LENGTH);
	sbox_fails("anchor", CDB(SCSI_UNMAP, 1, [8] = 24), list, 24, 0, SCSI_KEY_ILLEGAL_REQUEST,
		   SCSI_ASC_INVALID_FIELD_CDB);
	assert_int_equal(sbox_disk->ops[IO_UNMAP], 0);
}

static void test_unmap_whose_list_is_not_there_is_an_overrun(void **state)
{
	struct sbox s = { .cdb = unmap_cdb(list_make(2, 0, 1, 1)), .out = list, .out_bytes = 39 };

	sbox_run(&s);
	assert_int_equal(s.outcome, SCSI_OUTCOME_OVERRUN);
	assert_int_equal(sbox_disk->ops[IO_UNMAP], 0);
}

/* ---- WRITE SAME ---- */

static void same(uint8_t opcode, uint8_t flags, uint32_t blocks, uint8_t value, unsigned piece)
{
	uint32_t bytes = sbox_shape.block_bytes;
	uint8_t cdb[SCSI_CDB_BYTES] = { opcode, flags };
	struct sbox s = { .cdb = cdb, .out = block, .out_bytes = bytes, .piece_bytes = piece };
	bool ndob = opcode == SCSI_WRITE_SAME_16 && (flags & 1);

	cdb[opcode == SCSI_WRITE_SAME_16 ? 9 : 5] = 5;
	scsi_be_put(cdb + (opcode == SCSI_WRITE_SAME_16 ? 10 : 7),
		    opcode == SCSI_WRITE_SAME_16 ? 4 : 2, blocks);
	for (unsigned i = 0; i < bytes; i++)
		block[i] = value ? (uint8_t)(value + i % 251) : 0;
	memset(sbox_disk->view, 0xdd, sbox_shape.block_count * bytes);
	if (ndob)
		s.out_bytes = 0;
	sbox_run(&s);
	assert_int_equal(s.status, SCSI_GOOD);
	assert_int_equal(s.moved, ndob ? 0 : bytes);
	for (uint32_t i = 0; i < blocks; i++)
		assert_memory_equal(sbox_disk->view + (5 + i) * bytes, block, bytes);
	assert_int_equal(sbox_disk->view[5 * bytes - 1], 0xdd);
	assert_int_equal(sbox_disk->view[(5 + blocks) * bytes], 0xdd);
}

static void test_write_same_writes_one_block_everywhere(void **state)
{
	static const uint32_t sizes[] = { 512, 4096, 32768, 65536 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		sbox_shape.block_bytes = sizes[i];
		sbox_shape.block_count = (4u << 20) / sizes[i];
		sbox_reopen();
		for (uint32_t blocks = 1; blocks < sbox_shape.block_count - 5; blocks *= 3) {
			same(SCSI_WRITE_SAME_10, 0, blocks, 3, sizes[i] / 4 + 1);
			same(SCSI_WRITE_SAME_16, 0x08, blocks, 9, 0);
		}
	}
}

/* Zeroes by OPCODE with FLAGS: whether the disk may deallocate for that. */
static bool may_deallocate(uint8_t opcode, uint8_t flags)
{
	uint8_t cdb[SCSI_CDB_BYTES] = { opcode, flags };
	struct sbox s = { .cdb = cdb, .out = block, .out_bytes = 512 };
	struct io *io;
	bool may;

	cdb[opcode == SCSI_WRITE_SAME_16 ? 13 : 8] = 9;
	memset(block, 0, SBOX_BLOCK);
	sbox_disk->mode = FAKE_HELD;
	sbox_start(&s);
	io = list_first_entry(&sbox_disk->held, struct io, link);
	assert_int_equal(io->op, IO_WRITE_ZEROES);
	may = !(io->flags & IO_NO_UNMAP);
	fake_release_all(sbox_disk);
	sbox_disk->mode = FAKE_INSTANT;
	loop_drain();
	assert_true(s.done && s.status == SCSI_GOOD);
	return may;
}

static void test_write_same_of_zeroes_deallocates_only_when_asked(void **state)
{
	static const struct { uint8_t opcode, flags; bool may; } row[] = {
		{ SCSI_WRITE_SAME_10, 0x00, false }, { SCSI_WRITE_SAME_10, 0x08, true },
		{ SCSI_WRITE_SAME_16, 0x00, false }, { SCSI_WRITE_SAME_16, 0x08, true },
		{ SCSI_WRITE_SAME_16, 0x01, false }, { SCSI_WRITE_SAME_16, 0x09, true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		assert_int_equal(may_deallocate(row[i].opcode, row[i].flags), row[i].may);
		same(row[i].opcode, row[i].flags, 1000, 0, 0);
	}
	sbox_shape.unmap_zeroes = false;
	sbox_reopen();
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		assert_false(may_deallocate(row[i].opcode, row[i].flags));
		same(row[i].opcode, row[i].flags, 100, 0, 0);
	}
}

static void test_write_same_refuses_what_it_cannot_do(void **state)
{
	static const struct { const char *name; uint8_t cdb[SCSI_CDB_BYTES]; } row[] = {
		{ "no blocks(10)", { 0x41 } },
		{ "no blocks(16)", { 0x93, 0x08 } },
		{ "anchor", { 0x93, 0x10, [13] = 1 } },
		{ "anchor and unmap", { 0x93, 0x18, [13] = 1 } },
		{ "anchor(10)", { 0x41, 0x18, [8] = 1 } },
		{ "no data(10)", { 0x41, 0x01, [8] = 1 } },
		{ "protection", { 0x93, 0x20, [13] = 1 } },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		sbox_fails(row[i].name, row[i].cdb, block, 512, 0, SCSI_KEY_ILLEGAL_REQUEST,
			   SCSI_ASC_INVALID_FIELD_CDB);
	assert_int_equal(sbox_disk->ops[IO_WRITE], 0);
	sbox_shape.block_count = 1 << 17;
	sbox_reopen();
	sbox_fails("too many blocks", CDB(0x93, [11] = 1), block, 512, 0, SCSI_KEY_ILLEGAL_REQUEST,
		   SCSI_ASC_INVALID_FIELD_CDB);
	sbox_good("as many as may be", CDB(0x93, [12] = 0xff, 0xff), block, 512, 0);
	sbox_good("and in the short form", CDB(0x41, [7] = 0xff, 0xff), block, 512, 0);
}

/* ---- what is promised ---- */

static void promises(bool thin, bool zeroes)
{
	uint32_t len, most;
	const uint8_t *p;

	sbox_shape.unmap_zeroes = zeroes;
	sbox_shape.ops_supported &= ~(1u << IO_UNMAP);
	if (thin)
		sbox_shape.ops_supported |= 1u << IO_UNMAP;
	sbox_reopen();
	p = sbox_data(CDB(0x9e, 0x10, [13] = 32), 32, &len);
	assert_int_equal(p[14], thin ? 0x80 | (zeroes ? 0x40 : 0) : 0);
	p = sbox_data(CDB(0x12, 1, SCSI_VPD_PROVISIONING, 0, 64), 64, &len);
	assert_int_equal(p[5], thin ? 0xe0 | (zeroes ? 0x04 : 0) : 0);
	assert_int_equal(p[6], thin ? 2 : 0);
	p = sbox_data(CDB(0x12, 1, SCSI_VPD_BLOCK_LIMITS, 0, 64), 64, &len);
	assert_int_equal(len, 64);
	assert_int_equal(scsi_be(p + 24, 4), thin ? SCSI_UNMAP_RANGES : 0);
	assert_int_equal(scsi_be(p + 20, 4) != 0, thin);
	assert_int_equal(scsi_be(p + 8, 4), SCSI_XFER_BYTES_MAX / SBOX_BLOCK);
	most = (uint32_t)scsi_be(p + 36, 8);
	assert_int_equal(most, SCSI_WRITE_SAME_BLOCKS);
	assert_int_equal(p[4] & 1, 1);
	p = sbox_data(CDB(0xa3, 0x0c, 1, SCSI_UNMAP, [9] = 64), 64, &len);
	assert_int_equal(p[1] & 7, thin ? 3 : 1);
	len = list_make(1, 0, 1, 0);
	if (thin) {
		sbox_good("unmap", unmap_cdb(len), list, len, 0);
		sbox_good("write same with unmap", CDB(0x93, 8, [13] = 1), block, 512, 0);
	} else {
		sbox_fails("unmap", unmap_cdb(len), list, len, 0, SCSI_KEY_ILLEGAL_REQUEST,
			   SCSI_ASC_INVALID_OPCODE);
		sbox_fails("write same with unmap", CDB(0x93, 8, [13] = 1), block, 512, 0,
			   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	}
}

static void test_pages_promise_what_commands_do(void **state)
{
	promises(true, true);
	promises(true, false);
	promises(false, false);
	promises(false, true);
}

static void test_lba_status_covers_the_rest_of_the_disk(void **state)
{
	uint32_t len;
	const uint8_t *p = sbox_data(CDB(0x9e, 0x12, [9] = 7, [13] = 24), 24, &len);

	assert_int_equal(len, 24);
	assert_int_equal(scsi_be(p, 4), 20);
	assert_int_equal(scsi_be(p + 8, 8), 7);
	assert_int_equal(scsi_be(p + 16, 4), SBOX_BLOCKS - 7);
	assert_int_equal(p[20] & 0x0f, 0);
	sbox_fails("past the end", CDB(0x9e, 0x12, [8] = SBOX_BLOCKS >> 8, [13] = 24), NULL, 0, 24,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE);
	sbox_fails("far away", CDB(0x9e, 0x12, 0xff, [13] = 24), NULL, 0, 24,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sbox_test(test_unmap_takes_every_range_and_nothing_else),
		sbox_test(test_unmap_changes_nothing_when_any_of_it_is_wrong),
		sbox_test(test_unmap_whose_list_is_not_there_is_an_overrun),
		sbox_test(test_write_same_writes_one_block_everywhere),
		sbox_test(test_write_same_of_zeroes_deallocates_only_when_asked),
		sbox_test(test_write_same_refuses_what_it_cannot_do),
		sbox_test(test_pages_promise_what_commands_do),
		sbox_test(test_lba_status_covers_the_rest_of_the_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
