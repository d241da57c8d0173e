/* SPDX-License-Identifier: BSD-3-Clause */
/* Persistent reservations as SCSI has them: parameters, what each type keeps out, who is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scsi_box.h"

enum { LIST = 24, CONFLICT = SCSI_RESERVATION_CONFLICT, ONE = 0x11, TWO = 0x22 };

static const uint8_t types[] = { 1, 3, 5, 6, 7, 8 };
static uint8_t block[512];

static uint8_t out_with(unsigned initiator, uint8_t sa, uint8_t type, uint64_t key,
			uint64_t sa_key, uint8_t flags)
{
	uint8_t list[LIST] = { 0 };
	struct sbox s = {
		.cdb = CDB(0x5f, sa, type, [8] = LIST), .initiator = initiator, .out = list,
		.out_bytes = LIST,
	};

	scsi_be_put(list, 8, key);
	scsi_be_put(list + 8, 8, sa_key);
	list[20] = flags;
	sbox_run(&s);
	assert_int_equal(s.outcome, SCSI_OUTCOME_OK);
	return s.status;
}

static uint8_t out(unsigned initiator, uint8_t sa, uint8_t type, uint64_t key, uint64_t sa_key)
{
	return out_with(initiator, sa, type, key, sa_key, 0);
}

static void both_register(void)
{
	assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, 0, ONE), 0);
	assert_int_equal(out(1, SCSI_PRO_REGISTER_IGNORE, 0, 77, TWO), 0);
}

static const uint8_t *in(uint8_t sa, uint32_t *len)
{
	return sbox_data(CDB(0x5e, sa, [7] = 4), 1024, len);
}

static uint32_t generation(void)
{
	uint32_t len;

	return (uint32_t)scsi_be(in(SCSI_PRI_READ_KEYS, &len), 4);
}

/* The keys in order, up to two. */
static void keys_are(uint64_t a, uint64_t b)
{
	uint32_t len, count = (a != 0) + (b != 0);
	const uint8_t *p = in(SCSI_PRI_READ_KEYS, &len);

	assert_int_equal(len, 8 + 8 * count);
	assert_int_equal(scsi_be(p + 4, 4), 8 * count);
	if (a)
		assert_int_equal(scsi_be(p + 8, 8), a);
	if (b)
		assert_int_equal(scsi_be(p + 16, 8), b);
}

static void reservation_is(uint8_t type, uint64_t key)
{
	uint32_t len;
	const uint8_t *p = in(SCSI_PRI_READ_RESERVATION, &len);

	assert_int_equal(len, type ? 24 : 8);
	assert_int_equal(scsi_be(p + 4, 4), len - 8);
	if (type) {
		assert_int_equal(scsi_be(p + 8, 8), key);
		assert_int_equal(p[21], type);
	}
}

static bool type_all(uint8_t type)
{
	return type >= 7;
}

static void test_registering_goes_by_the_keys(void **state)
{
	uint32_t before = generation();

	keys_are(0, 0);
	assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, 5, ONE), CONFLICT);
	assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, 0, 0), 0);
	keys_are(0, 0);
	assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, 0, ONE), 0);
	assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, 0, ONE), CONFLICT);
	assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, ONE, 9), 0);
	keys_are(9, 0);
	assert_int_equal(out(0, SCSI_PRO_REGISTER_IGNORE, 0, 1234, ONE), 0);
	keys_are(ONE, 0);
	assert_int_equal(out(1, SCSI_PRO_REGISTER_IGNORE, 0, 0, TWO), 0);
	keys_are(ONE, TWO);
	assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, TWO, 0), CONFLICT);
	assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, ONE, 0), 0);
	keys_are(TWO, 0);
	assert_int_equal(out(1, SCSI_PRO_REGISTER_IGNORE, 0, 0, 0), 0);
	keys_are(0, 0);
	assert_int_equal(generation(), before + 6);
}

static void test_nobody_but_registrants_with_their_key_may_do_the_rest(void **state)
{
	assert_int_equal(out(1, SCSI_PRO_REGISTER, 0, 0, TWO), 0);
	for (uint8_t sa = SCSI_PRO_RESERVE; sa <= SCSI_PRO_PREEMPT_ABORT; sa++) {
		assert_int_equal(out(0, sa, 1, 0, TWO), CONFLICT);
		assert_int_equal(out(1, sa, 1, 99, TWO), CONFLICT);
	}
	keys_are(TWO, 0);
	reservation_is(0, 0);
}

static void test_parameters_that_are_wrong_are_refused(void **state)
{
	static const struct {
		const char *name;
		uint8_t cdb[SCSI_CDB_BYTES];
		uint8_t flags;
		uint16_t asc;
	} row[] = {
		{ "a list too short", { 0x5f, 0, [8] = 23 }, 0, SCSI_ASC_PARAMETER_LIST_LENGTH },
		{ "a list too long", { 0x5f, 0, [8] = 25 }, 0, SCSI_ASC_PARAMETER_LIST_LENGTH },
		{ "no list", { 0x5f, 6 }, 0, SCSI_ASC_PARAMETER_LIST_LENGTH },
		{ "type 0", { 0x5f, 1, 0, [8] = 24 }, 0, SCSI_ASC_INVALID_FIELD_CDB },
		{ "type 2", { 0x5f, 1, 2, [8] = 24 }, 0, SCSI_ASC_INVALID_FIELD_CDB },
		{ "type 9", { 0x5f, 4, 9, [8] = 24 }, 0, SCSI_ASC_INVALID_FIELD_CDB },
		{ "scope", { 0x5f, 1, 0x11, [8] = 24 }, 0, SCSI_ASC_INVALID_FIELD_CDB },
		{ "register and move", { 0x5f, 7, [8] = 24 }, 0, SCSI_ASC_INVALID_FIELD_CDB },
		{ "registering others", { 0x5f, 0, [8] = 24 }, 0x08,
		  SCSI_ASC_INVALID_FIELD_PARAMETER },
		{ "on all ports", { 0x5f, 0, [8] = 24 }, 0x04, SCSI_ASC_INVALID_FIELD_PARAMETER },
		{ "on all ports", { 0x5f, 6, [8] = 24 }, 0x04, SCSI_ASC_INVALID_FIELD_PARAMETER },
	};
	uint8_t list[LIST + 8] = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		list[20] = row[i].flags;
		sbox_fails(row[i].name, row[i].cdb, list, sizeof(list), 0,
			   SCSI_KEY_ILLEGAL_REQUEST, row[i].asc);
	}
	keys_are(0, 0);
	both_register();
	/* a key of nobody, and none where that does not mean all */
	assert_int_equal(out(0, SCSI_PRO_PREEMPT, 1, ONE, 99), CONFLICT);
	assert_int_equal(out(0, SCSI_PRO_PREEMPT, 1, ONE, 0), SCSI_CHECK_CONDITION);
	/* a bit that means nothing here */
	assert_int_equal(out_with(0, SCSI_PRO_RESERVE, 1, ONE, 0, 0x04), 0);
	for (uint8_t sa = 4; sa < 32; sa++)
		sbox_fails("reserve in", CDB(0x5e, sa, [8] = 64), NULL, 0, 64,
			   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_CDB);
}

static void test_a_list_that_is_not_there_is_an_overrun(void **state)
{
	struct sbox s = { .cdb = CDB(0x5f, [8] = LIST), .out = block, .out_bytes = LIST - 1 };

	sbox_run(&s);
	assert_int_equal(s.outcome, SCSI_OUTCOME_OVERRUN);
}

/* ---- access ---- */

/* What each command needs; SPC-4 table 66, SBC-3 table 13. */
enum need { FREE, READS, WRITES };

static const struct {
	const char *name;
	uint8_t cdb[SCSI_CDB_BYTES];
	enum need need;
} commands[] = {
	{ "test unit ready", { 0x00 }, FREE },
	{ "request sense", { 0x03, [4] = 18 }, FREE },
	{ "inquiry", { 0x12, [4] = 36 }, FREE },
	{ "report luns", { 0xa0, [9] = 64 }, FREE },
	{ "read capacity(10)", { 0x25 }, FREE },
	{ "read capacity(16)", { 0x9e, 0x10, [13] = 32 }, FREE },
	{ "log sense", { 0x4d, 0, 0x40, [8] = 64 }, FREE },
	{ "start", { 0x1b, 0, 0, 0, 1 }, FREE },
	{ "read keys", { 0x5e, [8] = 64 }, FREE },
	{ "read(6)", { 0x08, 0, 0, 0, 1 }, READS },
	{ "read(16)", { 0x88, [13] = 1 }, READS },
	{ "verify(10)", { 0x2f, [8] = 1 }, READS },
	{ "pre-fetch(10)", { 0x34, [8] = 1 }, READS },
	{ "get lba status", { 0x9e, 0x12, [13] = 24 }, READS },
	{ "mode sense(6)", { 0x1a, 0, 0x0a, 0, 64 }, READS },
	{ "report opcodes", { 0xa3, 0x0c, 1, 0, [9] = 64 }, READS },
	{ "report functions", { 0xa3, 0x0d, [9] = 64 }, READS },
	{ "write(6)", { 0x0a, 0, 0, 0, 1 }, WRITES },
	{ "write(16)", { 0x8a, [13] = 1 }, WRITES },
	{ "write and verify(10)", { 0x2e, [8] = 1 }, WRITES },
	{ "compare and write", { 0x89, [13] = 0 }, WRITES },
	{ "write same(10)", { 0x41, [8] = 1 }, WRITES },
	{ "unmap", { 0x42 }, WRITES },
	{ "mode select(6)", { 0x15, 0x10 }, WRITES },
	{ "synchronize cache(10)", { 0x35 }, WRITES },
	{ "send diagnostic", { 0x1d, 0x04 }, WRITES },
};

static void may(unsigned initiator, uint8_t type, bool reads, bool writes)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		struct sbox s = {
			.cdb = commands[i].cdb, .initiator = initiator, .out = block,
			.out_bytes = 512, .in_bytes = 512,
		};
		bool allowed = commands[i].need == FREE || (commands[i].need == READS && reads) ||
			       (commands[i].need == WRITES && writes);

		sbox_run(&s);
		if (s.status != (allowed ? SCSI_GOOD : CONFLICT))
			fail_msg("%s by %u, type %u: status %02x sense %x %04x", commands[i].name,
				 initiator, type, s.status, s.key, s.asc);
	}
}

static void test_each_type_lets_through_what_it_says(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t type = types[i];
		bool exclusive = type == 3 || type == 6 || type == 8, shared = type >= 5;

		assert_int_equal(out(0, SCSI_PRO_REGISTER_IGNORE, 0, 0, ONE), 0);
		assert_int_equal(out(0, SCSI_PRO_RESERVE, type, ONE, 0), 0);
		reservation_is(type, type_all(type) ? 0 : ONE);
		may(0, type, true, true);
		may(1, type, !exclusive, false);
		assert_int_equal(out(1, SCSI_PRO_REGISTER, 0, 0, TWO), 0);
		may(1, type, shared || !exclusive, shared);
		/* again is no change, another type or initiator a conflict */
		assert_int_equal(out(0, SCSI_PRO_RESERVE, type, ONE, 0), 0);
		assert_int_equal(out(0, SCSI_PRO_RESERVE, type == 1 ? 3 : 1, ONE, 0), CONFLICT);
		assert_int_equal(out(1, SCSI_PRO_RESERVE, type, TWO, 0),
				 type_all(type) ? 0 : CONFLICT);
		/* who stops a unit that another has reserved */
		if (!shared)
			assert_int_equal(out(1, SCSI_PRO_RELEASE, type, TWO, 0), 0);
		assert_int_equal(out(0, SCSI_PRO_CLEAR, 0, ONE, 0), 0);
		assert_int_equal(sbox_attention(1), SCSI_ASC_RESERVATIONS_PREEMPTED);
	}
}

static void test_stopping_conflicts_and_starting_does_not(void **state)
{
	struct sbox stop = { .cdb = CDB(0x1b), .initiator = 1 };

	both_register();
	assert_int_equal(out(0, SCSI_PRO_RESERVE, 1, ONE, 0), 0);
	sbox_run(&stop);
	assert_int_equal(stop.status, CONFLICT);
	stop.cdb = CDB(0x1b, 0, 0, 0, 1);
	sbox_run(&stop);
	assert_int_equal(stop.status, SCSI_GOOD);
}

static void test_releasing_tells_the_others_and_only_of_its_own_type(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t type = types[i];
		struct sbox wrong = {
			.cdb = CDB(0x5f, SCSI_PRO_RELEASE, type == 1 ? 3 : 1, [8] = LIST),
			.out = (uint8_t[LIST]){ [7] = ONE }, .out_bytes = LIST,
		};

		both_register();
		assert_int_equal(out(0, SCSI_PRO_RELEASE, type, ONE, 0), 0);
		assert_int_equal(out(0, SCSI_PRO_RESERVE, type, ONE, 0), 0);
		sbox_run(&wrong);
		assert_int_equal(wrong.asc, SCSI_ASC_INVALID_RELEASE);
		if (!type_all(type))
			assert_int_equal(out(1, SCSI_PRO_RELEASE, type, TWO, 0), 0);
		reservation_is(type, type_all(type) ? 0 : ONE);
		assert_int_equal(out(0, SCSI_PRO_RELEASE, type, ONE, 0), 0);
		reservation_is(0, 0);
		assert_int_equal(sbox_attention(1), type >= 5 ? SCSI_ASC_RESERVATIONS_RELEASED : 0);
		assert_int_equal(sbox_attention(0), 0);
		assert_int_equal(out(0, SCSI_PRO_CLEAR, 0, ONE, 0), 0);
		sbox_attention(1);
	}
}

static void test_a_holder_that_leaves_ends_its_reservation(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t type = types[i];

		both_register();
		assert_int_equal(out(0, SCSI_PRO_RESERVE, type, ONE, 0), 0);
		assert_int_equal(out(0, SCSI_PRO_REGISTER, 0, ONE, 0), 0);
		/* with all registrants it ends with the last */
		reservation_is(type_all(type) ? type : 0, 0);
		assert_int_equal(sbox_attention(1), type == 5 || type == 6 ?
				 SCSI_ASC_RESERVATIONS_RELEASED : 0);
		assert_int_equal(out(1, SCSI_PRO_REGISTER, 0, TWO, 0), 0);
		reservation_is(0, 0);
	}
}

static void test_preempting_takes_over_and_tells_who_lost(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t type = types[i], sa = i & 1 ? SCSI_PRO_PREEMPT : SCSI_PRO_PREEMPT_ABORT;

		both_register();
		assert_int_equal(out(0, SCSI_PRO_RESERVE, type, ONE, 0), 0);
		assert_int_equal(out(1, sa, 3, TWO, type_all(type) ? 0 : ONE), 0);
		assert_int_equal(sbox_attention(0), SCSI_ASC_REGISTRATIONS_PREEMPTED);
		keys_are(TWO, 0);
		reservation_is(3, TWO);
		may(0, 3, false, false);
		assert_int_equal(out(1, SCSI_PRO_CLEAR, 0, TWO, 0), 0);
		keys_are(0, 0);
	}
}

static void test_preempt_and_abort_ends_what_the_other_was_doing(void **state)
{
	struct sbox s = { .cdb = CDB(0x2a, [8] = 1), .out = block, .out_bytes = 512 };

	both_register();
	assert_int_equal(out(0, SCSI_PRO_RESERVE, 1, ONE, 0), 0);
	sbox_disk->mode = FAKE_HELD;
	sbox_start(&s);
	assert_int_equal(out(1, SCSI_PRO_PREEMPT_ABORT, 1, TWO, ONE), 0);
	assert_true(s.done);
	assert_int_equal(s.outcome, SCSI_OUTCOME_ABORTED);
	assert_int_equal(sbox_attention(0), SCSI_ASC_REGISTRATIONS_PREEMPTED);
	reservation_is(1, TWO);
}

/* ---- what is reported ---- */

static void test_capabilities_are_those_that_there_are(void **state)
{
	uint32_t len;
	const uint8_t *p = in(SCSI_PRI_REPORT_CAPABILITIES, &len);

	assert_int_equal(len, 8);
	assert_int_equal(scsi_be(p, 2), 8);
	assert_int_equal(p[2], 0x01);
	assert_int_equal(p[3], 0x80);
	assert_int_equal(p[4], 0xea);
	assert_int_equal(p[5], 0x01);
	assert_int_equal(out_with(0, SCSI_PRO_REGISTER, 0, 0, ONE, 0x01), 0);
	assert_int_equal(in(SCSI_PRI_REPORT_CAPABILITIES, &len)[3], 0x81);
	assert_int_equal(out_with(0, SCSI_PRO_REGISTER, 0, ONE, ONE, 0), 0);
	assert_int_equal(in(SCSI_PRI_REPORT_CAPABILITIES, &len)[3], 0x80);
}

static void test_full_status_names_each_registrant_and_the_holder(void **state)
{
	uint32_t len, at = 8;
	const uint8_t *p;

	both_register();
	assert_int_equal(out(1, SCSI_PRO_RESERVE, 5, TWO, 0), 0);
	p = in(SCSI_PRI_READ_FULL_STATUS, &len);
	assert_int_equal(scsi_be(p + 4, 4), len - 8);
	for (unsigned i = 0; i < SBOX_INITIATORS; i++) {
		const struct scsi_port *port = sbox_target[i].lu[0]->port;

		assert_int_equal(scsi_be(p + at, 8), i ? TWO : ONE);
		assert_int_equal(p[at + 12], i ? 1 : 0);
		assert_int_equal(p[at + 13], i ? 5 : 0);
		assert_int_equal(scsi_be(p + at + 20, 4), SCSI_TRANSPORT_ID_BYTES);
		assert_memory_equal(p + at + 24, port->transport_id, SCSI_TRANSPORT_ID_BYTES);
		at += 24 + SCSI_TRANSPORT_ID_BYTES;
	}
	assert_int_equal(at, len);
	/* cut off where the initiator says */
	assert_int_equal(scsi_be(sbox_data(CDB(0x5e, 3, [8] = 10), 64, &len) + 4, 4), at - 8);
	assert_int_equal(len, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sbox_test(test_registering_goes_by_the_keys),
		sbox_test(test_nobody_but_registrants_with_their_key_may_do_the_rest),
		sbox_test(test_parameters_that_are_wrong_are_refused),
		sbox_test(test_a_list_that_is_not_there_is_an_overrun),
		sbox_test(test_each_type_lets_through_what_it_says),
		sbox_test(test_stopping_conflicts_and_starting_does_not),
		sbox_test(test_releasing_tells_the_others_and_only_of_its_own_type),
		sbox_test(test_a_holder_that_leaves_ends_its_reservation),
		sbox_test(test_preempting_takes_over_and_tells_who_lost),
		sbox_test(test_preempt_and_abort_ends_what_the_other_was_doing),
		sbox_test(test_capabilities_are_those_that_there_are),
		sbox_test(test_full_status_names_each_registrant_and_the_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
