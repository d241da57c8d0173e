/* SPDX-License-Identifier: BSD-3-Clause */
/* What a unit says it can do, and that it does just that; sense, logs, readiness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scsi_box.h"

static const struct scsi_cmd *next_cmd(const struct scsi_cmd *cmd)
{
	cmd = cmd ? cmd + 1 : scsi_cmds;
	return cmd->name ? cmd : NULL;
}

static void cdb_of(const struct scsi_cmd *cmd, uint8_t cdb[SCSI_CDB_BYTES])
{
	memset(cdb, 0, SCSI_CDB_BYTES);
	cdb[0] = cmd->opcode;
	if (cmd->sa != SCSI_NO_SA)
		cdb[1] = cmd->sa;
}

static void test_a_bit_that_a_command_does_not_know_is_refused_and_pointed_at(void **state)
{
	for (const struct scsi_cmd *cmd = next_cmd(NULL); cmd; cmd = next_cmd(cmd)) {
		for (unsigned bit = 8; bit < 8u * cmd->len; bit++) {
			uint8_t cdb[SCSI_CDB_BYTES];
			struct sbox s = { .cdb = cdb };
			unsigned byte = bit / 8, mask = 1u << bit % 8;
			bool vendor = byte + 1 == cmd->len && bit % 8 >= 6;

			if (cmd->usage[byte] & mask || vendor ||
			    (byte == 1 && cmd->sa != SCSI_NO_SA && bit % 8 < 5))
				continue;
			cdb_of(cmd, cdb);
			cdb[byte] |= (uint8_t)mask;
			if (byte + 1 == cmd->len)
				cdb[byte] |= 0xc0;
			sbox_run(&s);
			if (s.asc != SCSI_ASC_INVALID_FIELD_CDB || !s.points || s.byte != byte ||
			    s.task.sense[15] != (0xc8 | bit % 8))
				fail_msg("%s: byte %u bit %u: sense %x %04x", cmd->name, byte,
					 bit % 8, s.key, s.asc);
		}
	}
}

static void test_what_is_not_in_the_table_is_no_command(void **state)
{
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		const uint8_t *p;
		uint32_t len;

		if (scsi_opcode_has_sa((uint8_t)opcode)) {
			for (unsigned sa = 0; sa < 32; sa++) {
				if (!scsi_cmd_lookup((uint8_t)opcode, (uint8_t)sa))
					sbox_fails("service action",
						   CDB((uint8_t)opcode, (uint8_t)sa), NULL, 0, 64,
						   SCSI_KEY_ILLEGAL_REQUEST,
						   SCSI_ASC_INVALID_FIELD_CDB);
			}
			continue;
		}
		if (scsi_cmd_lookup((uint8_t)opcode, SCSI_NO_SA))
			continue;
		sbox_fails("operation code", CDB((uint8_t)opcode), NULL, 0, 64,
			   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		p = sbox_data(CDB(0xa3, 0x0c, 1, (uint8_t)opcode, [9] = 64), 64, &len);
		assert_int_equal(len, 4);
		assert_int_equal(p[1] & 7, 1);
	}
}

static void one_command(const struct scsi_cmd *cmd, uint8_t how, bool timeouts)
{
	uint8_t sa = cmd->sa == SCSI_NO_SA ? 0 : cmd->sa;
	uint8_t with = timeouts ? 0x80 : 0;
	uint32_t len;
	const uint8_t *p = sbox_data(CDB(0xa3, 0x0c, with | how, cmd->opcode, 0, sa, [9] = 64),
				     64, &len);

	assert_int_equal(p[1] & 7, 3);
	assert_int_equal(p[1] >> 7, timeouts);
	assert_int_equal(scsi_be(p + 2, 2), cmd->len);
	assert_memory_equal(p + 4, cmd->usage, cmd->len);
	assert_int_equal(p[4], cmd->opcode);
	assert_int_equal(len, 4 + cmd->len + (timeouts ? 12 : 0));
	if (timeouts)
		assert_int_equal(scsi_be(p + 4 + cmd->len, 2), 10);
}

static void test_the_list_of_commands_is_the_table(void **state)
{
	for (unsigned timeouts = 0; timeouts < 2; timeouts++) {
		uint32_t len, at = 4, step = timeouts ? 20 : 8;
		uint8_t all[4096];

		memcpy(all, sbox_data(CDB(0xa3, 0x0c, timeouts ? 0x80 : 0, [8] = 16), 4096, &len),
		       sizeof(all));
		assert_int_equal(scsi_be(all, 4), len - 4);
		for (const struct scsi_cmd *cmd = next_cmd(NULL); cmd; cmd = next_cmd(cmd)) {
			bool has_sa = cmd->sa != SCSI_NO_SA;

			assert_int_equal(all[at], cmd->opcode);
			assert_int_equal(scsi_be(all + at + 2, 2), has_sa ? cmd->sa : 0);
			assert_int_equal(all[at + 5], has_sa | timeouts << 1);
			assert_int_equal(scsi_be(all + at + 6, 2), cmd->len);
			at += step;
			one_command(cmd, has_sa ? 2 : 1, timeouts);
			one_command(cmd, 3, timeouts);
			sbox_fails(cmd->name, CDB(0xa3, 0x0c, 2 - has_sa, cmd->opcode, [9] = 64),
				   NULL, 0, 64, SCSI_KEY_ILLEGAL_REQUEST,
				   SCSI_ASC_INVALID_FIELD_CDB);
		}
		assert_int_equal(at, len);
	}
	for (uint8_t how = 4; how < 8; how++)
		sbox_fails("an option", CDB(0xa3, 0x0c, how, 0, [9] = 64), NULL, 0, 64,
			   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
}

static void test_management_functions_are_those_that_work(void **state)
{
	static const struct { enum scsi_tmf function; unsigned byte; uint8_t bit; } row[] = {
		{ SCSI_TMF_ABORT_TASK, 0, 0x80 }, { SCSI_TMF_ABORT_TASK_SET, 0, 0x40 },
		{ SCSI_TMF_CLEAR_ACA, 0, 0x20 }, { SCSI_TMF_CLEAR_TASK_SET, 0, 0x10 },
		{ SCSI_TMF_LU_RESET, 0, 0x08 }, { SCSI_TMF_QUERY_TASK, 0, 0x04 },
		{ SCSI_TMF_QUERY_TASK_SET, 1, 0x02 }, { SCSI_TMF_NEXUS_RESET, 1, 0x01 },
	};
	uint32_t len;
	uint8_t data[16];

	memcpy(data, sbox_data(CDB(0xa3, 0x0d, 0x80, [9] = 64), 64, &len), 16);
	assert_int_equal(len, 16);
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		assert_int_equal(sbox_tmf(0, row[i].function, 7) >= 0,
				 (data[row[i].byte] & row[i].bit) != 0);
}

/* ---- units, sense, readiness ---- */

static void test_units_are_listed_and_the_list_is_news_no_more(void **state)
{
	uint32_t len;
	const uint8_t *p;

	sbox_target[0].lu[77] = sbox_target[1].lu[0];
	scsi_lu_attention(sbox_target[0].lu[0], SCSI_UA_LUNS_CHANGED);
	scsi_lu_attention(sbox_target[1].lu[0], SCSI_UA_LUNS_CHANGED);
	p = sbox_data(CDB(0xa0, [9] = 255), 255, &len);
	assert_int_equal(len, 24);
	assert_int_equal(scsi_be(p, 4), 16);
	assert_int_equal(scsi_be(p + 8, 8), 0);
	assert_int_equal(scsi_be(p + 16, 8), 77ull << 48);
	assert_int_equal(sbox_attention(0), 0);
	assert_int_equal(sbox_attention(1), 0);
	sbox_target[0].lu[77] = NULL;
	p = sbox_data(CDB(0xa0, 0, 1, [9] = 255), 255, &len);
	assert_int_equal(scsi_be(p + 8, 8), (uint64_t)SCSI_LUN_REPORT_LUNS << 48);
	assert_int_equal(sbox_data(CDB(0xa0, 0, 2, [9] = 255), 255, &len)[3], 16);
	assert_int_equal(scsi_be(sbox_data(CDB(0xa0, [9] = 8), 255, &len), 4), 8);
	sbox_fails("a choice that there is not", CDB(0xa0, 0, 3, [9] = 16), NULL, 0, 16,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
}

static void test_request_sense_gives_what_there_is_to_say(void **state)
{
	uint32_t len;
	const uint8_t *p;

	p = sbox_data(CDB(0x03, [4] = 252), 252, &len);
	assert_true(len == 18 && p[0] == 0x70 && p[2] == 0);
	scsi_lu_attention(sbox_target[0].lu[0], SCSI_UA_CAPACITY_CHANGED);
	p = sbox_data(CDB(0x03, 1, [4] = 252), 252, &len);
	assert_true(len == 8 && p[0] == 0x72 && p[1] == SCSI_KEY_UNIT_ATTENTION);
	assert_int_equal(scsi_be(p + 2, 2), SCSI_ASC_CAPACITY_CHANGED);
	assert_int_equal(sbox_attention(0), 0);
	sbox_good("stop", CDB(0x1b), NULL, 0, 0);
	p = sbox_data(CDB(0x03, [4] = 252), 252, &len);
	assert_int_equal(p[2], SCSI_KEY_NOT_READY);
	sbox_good("start", CDB(0x1b, 0, 0, 0, 1), NULL, 0, 0);
}

static void test_a_stopped_unit_is_not_ready_for_what_needs_the_medium(void **state)
{
	memset(sbox_disk->view, 5, SBOX_BLOCK);
	sbox_good("write", CDB(0x2a, [8] = 1), sbox_disk->view, SBOX_BLOCK, 0);
	sbox_good("stop", CDB(0x1b, 1), NULL, 0, 0);
	assert_int_equal(sbox_disk->media[0], 5);       /* its cache was written */
	for (const struct scsi_cmd *cmd = next_cmd(NULL); cmd; cmd = next_cmd(cmd)) {
		uint8_t cdb[SCSI_CDB_BYTES];

		cdb_of(cmd, cdb);
		if (cmd->flags & SCSI_CMD_MEDIUM)
			sbox_fails(cmd->name, cdb, NULL, 0, 0, SCSI_KEY_NOT_READY,
				   SCSI_ASC_NOT_READY_INITIALIZE);
	}
	sbox_good("inquiry", CDB(0x12, [4] = 36), NULL, 0, 36);
	sbox_good("mode sense", CDB(0x1a, 0, 0x0a, 0, 64), NULL, 0, 64);
	sbox_fails("eject", CDB(0x1b, 0, 0, 0, 2), NULL, 0, 0, SCSI_KEY_ILLEGAL_REQUEST,
		   SCSI_ASC_INVALID_FIELD_CDB);
	sbox_fails("a power condition", CDB(0x1b, 0, 0, 0, 0x10), NULL, 0, 0,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	sbox_good("start", CDB(0x1b, 0, 0, 0, 1), NULL, 0, 0);
	sbox_good("ready", CDB(0x00), NULL, 0, 0);
}

static void test_the_self_test_fails_when_the_disk_cannot_be_read(void **state)
{
	sbox_good("self-test", CDB(0x1d, 4), NULL, 0, 0);
	sbox_good("nothing asked", CDB(0x1d), NULL, 0, 0);
	fake_fail(sbox_disk, &(struct fake_rule){ IO_READ, 0, 1, 0, 1, IO_ERR_MEDIA_READ });
	sbox_fails("self-test", CDB(0x1d, 4), NULL, 0, 0, SCSI_KEY_HARDWARE_ERROR,
		   SCSI_ASC_SELF_TEST_FAILED);
}

static void test_logs_are_those_of_the_list(void **state)
{
	static const uint8_t pages[] = { 0x00, 0x19, 0x2f };
	uint32_t len;
	const uint8_t *p = sbox_data(CDB(0x4d, 0, 0x40, [8] = 255), 255, &len);

	assert_int_equal(len, 4 + sizeof(pages));
	assert_memory_equal(p + 4, pages, sizeof(pages));
	sbox_good("read", CDB(0x28, [8] = 3), NULL, 0, 3 * SBOX_BLOCK);
	for (unsigned code = 0; code < 0x40; code++) {
		uint8_t asked = 0x40 | (uint8_t)code;

		if (!memchr(pages, (int)code, sizeof(pages))) {
			sbox_fails("page", CDB(0x4d, 0, asked, [8] = 255), NULL, 0, 255,
				   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
			continue;
		}
		p = sbox_data(CDB(0x4d, 0, asked, [8] = 255), 255, &len);
		assert_int_equal(p[0], code);
		assert_int_equal(len, 4 + scsi_be(p + 2, 2));
		/* parameters fill the page */
		for (unsigned at = 4; code && at < len; at += 4u + p[at + 3])
			assert_true(at + 4u + p[at + 3] <= len);
		for (unsigned control = 0; control < 4; control++) {
			if (control != 1)
				sbox_fails("control", CDB(0x4d, 0, (uint8_t)(control << 6 | code),
							  [8] = 255), NULL, 0, 255,
					   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
		}
		sbox_fails("subpage", CDB(0x4d, 0, asked, 1, [8] = 255), NULL, 0, 255,
			   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
		sbox_fails("parameter", CDB(0x4d, 0, asked, 0, 0, 1, 0, 0, 255), NULL, 0, 255,
			   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
	}
	p = sbox_data(CDB(0x4d, 0, 0x59, [8] = 255), 255, &len);
	assert_int_equal(scsi_be(p + 8, 8), 1);         /* reads */
	assert_int_equal(scsi_be(p + 32, 8), 3);        /* blocks that were read */
}

/* ---- the document ---- */

/* Whether TEXT has CMD as "28h", or with its service action as "5Eh/03h". */
static bool documented(const char *text, const struct scsi_cmd *cmd)
{
	char code[16];

	if (cmd->sa == SCSI_NO_SA)
		snprintf(code, sizeof(code), " %02Xh ", cmd->opcode);
	else
		snprintf(code, sizeof(code), " %02Xh/%02Xh ", cmd->opcode, cmd->sa);
	return strstr(text, code);
}

static void test_the_document_has_these_commands_and_no_others(void **state)
{
	static char text[64 * 1024];
	FILE *f = fopen("docs/vhost.md", "re");
	unsigned commands = 0, codes = 0;
	char *at, *end;

	assert_non_null(f);
	assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	at = strstr(text, "| command | code |");
	assert_non_null(at);
	end = strstr(at, "\n\n");
	assert_non_null(end);
	*end = '\0';
	for (const struct scsi_cmd *cmd = next_cmd(NULL); cmd; cmd = next_cmd(cmd), commands++) {
		if (!documented(at, cmd))
			fail_msg("%s is not in docs/vhost.md", cmd->name);
	}
	for (char *h = at; (h = strstr(h, "h ")); h++)
		codes += h > at + 2 && strspn(h - 2, "0123456789ABCDEF") == 2;
	assert_int_equal(codes, commands);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sbox_test(test_a_bit_that_a_command_does_not_know_is_refused_and_pointed_at),
		sbox_test(test_what_is_not_in_the_table_is_no_command),
		sbox_test(test_the_list_of_commands_is_the_table),
		sbox_test(test_management_functions_are_those_that_work),
		sbox_test(test_units_are_listed_and_the_list_is_news_no_more),
		sbox_test(test_request_sense_gives_what_there_is_to_say),
		sbox_test(test_a_stopped_unit_is_not_ready_for_what_needs_the_medium),
		sbox_test(test_the_self_test_fails_when_the_disk_cannot_be_read),
		sbox_test(test_logs_are_those_of_the_list),
		sbox_test(test_the_document_has_these_commands_and_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
