/* SPDX-License-Identifier: BSD-3-Clause */
/* Task management and unit attention: what ends, what is told, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scsi_box.h"

enum { TASKS = 4 };

static struct sbox tasks[TASKS], other;
static uint8_t block[512];

/* Writes of initiator 0 with tags 10, 11 …, and one of the other, at a disk that holds them. */
static void begin_all(bool obeys)
{
	memset(block, 0, sizeof(block));
	sbox_disk->mode = FAKE_HELD;
	sbox_disk->obeys = obeys;
	for (unsigned i = 0; i < TASKS; i++) {
		tasks[i] = (struct sbox){
			.cdb = CDB(0x2a, [5] = (uint8_t)i, [8] = 1), .out = block,
			.out_bytes = 512, .tag = 10 + i,
		};
		sbox_start(&tasks[i]);
		assert_false(tasks[i].done);
	}
	other = (struct sbox){
		.cdb = CDB(0x2a, [8] = 1), .out = block, .out_bytes = 512, .initiator = 1,
		.tag = 10,
	};
	sbox_start(&other);
}

static unsigned ended(enum scsi_outcome outcome)
{
	unsigned count = 0;

	for (unsigned i = 0; i < TASKS; i++)
		count += tasks[i].done && tasks[i].outcome == outcome;
	return count;
}

static void end_all(void)
{
	fake_release_all(sbox_disk);
	loop_drain();
	sbox_disk->mode = FAKE_INSTANT;
	for (unsigned i = 0; i < TASKS; i++)
		assert_true(tasks[i].done);
	assert_true(other.done && other.outcome == SCSI_OUTCOME_OK && other.status == SCSI_GOOD);
}

static void test_an_abort_ends_the_task_with_that_tag_alone(void **state)
{
	begin_all(true);
	assert_int_equal(sbox_tmf(0, SCSI_TMF_ABORT_TASK, 99), 0);
	assert_int_equal(sbox_tmf(0, SCSI_TMF_ABORT_TASK, 12), 1);
	assert_true(tasks[2].done && tasks[2].outcome == SCSI_OUTCOME_ABORTED);
	assert_int_equal(tasks[2].moved, 0);
	assert_int_equal(ended(SCSI_OUTCOME_ABORTED), 1);
	end_all();
	assert_int_equal(ended(SCSI_OUTCOME_OK), TASKS - 1);
	assert_int_equal(sbox_attention(0), 0);
}

static void test_functions_end_every_task_of_the_initiator_and_no_other(void **state)
{
	static const struct {
		enum scsi_tmf function;
		enum scsi_outcome outcome;
		uint16_t asc;
	} row[] = {
		{ SCSI_TMF_ABORT_TASK_SET, SCSI_OUTCOME_ABORTED, 0 },
		{ SCSI_TMF_CLEAR_TASK_SET, SCSI_OUTCOME_ABORTED, 0 },
		{ SCSI_TMF_LU_RESET, SCSI_OUTCOME_RESET, SCSI_ASC_LU_RESET },
		{ SCSI_TMF_NEXUS_RESET, SCSI_OUTCOME_RESET, SCSI_ASC_NEXUS_LOSS },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		begin_all(true);
		assert_int_equal(sbox_tmf(0, row[i].function, 0), TASKS);
		assert_int_equal(ended(row[i].outcome), TASKS);
		assert_false(other.done);
		end_all();
		assert_int_equal(sbox_attention(0), row[i].asc);
		assert_int_equal(sbox_attention(0), 0);
		assert_int_equal(sbox_attention(1), 0);
	}
}

struct wait_call {
	int rc;
	bool ended;
};

static void reset_task(void *arg)
{
	struct wait_call *call = arg;

	call->rc = scsi_tmf(sbox_target[0].lu[0], SCSI_TMF_LU_RESET, 0);
	call->ended = true;
}

static void test_a_function_waits_for_its_tasks_and_leaves_later_ones(void **state)
{
	struct sbox later = { .cdb = CDB(0x2a, [8] = 1), .out = block, .out_bytes = 512 };
	struct wait_call call = { 0 };

	begin_all(false);
	assert_non_null(task_start("test", reset_task, &call));
	loop_advance(1000 * 1000);
	assert_false(call.ended);
	sbox_start(&later);
	end_all();
	loop_drain();
	assert_true(call.ended);
	assert_int_equal(ended(SCSI_OUTCOME_RESET), TASKS);
	assert_true(later.done && later.outcome == SCSI_OUTCOME_OK);
}

static void test_queries_find_and_leave(void **state)
{
	begin_all(true);
	assert_int_equal(sbox_tmf(0, SCSI_TMF_QUERY_TASK, 13), 1);
	assert_int_equal(sbox_tmf(0, SCSI_TMF_QUERY_TASK, 14), 0);
	assert_int_equal(sbox_tmf(0, SCSI_TMF_QUERY_TASK_SET, 0), TASKS);
	end_all();
	assert_int_equal(ended(SCSI_OUTCOME_OK), TASKS);
	assert_int_equal(sbox_tmf(0, SCSI_TMF_QUERY_TASK_SET, 0), 0);
	assert_true(sbox_tmf(0, SCSI_TMF_CLEAR_ACA, 0) < 0);
}

static void test_a_walk_over_a_range_ends_between_its_pieces(void **state)
{
	static const struct { uint8_t opcode, byte1; uint32_t out; } row[] = {
		{ 0x93, 0, 512 }, { 0x8f, 6, 512 }, { 0x8f, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		struct sbox s = {
			.cdb = CDB(row[i].opcode, row[i].byte1, [12] = 8), .out = block,
			.out_bytes = row[i].out, .tag = 5,
		};

		memset(sbox_disk->view, 1, SBOX_BLOCKS * SBOX_BLOCK);
		memset(block, 1, sizeof(block));
		sbox_disk->mode = FAKE_HELD;
		sbox_disk->obeys = false;
		sbox_start(&s);
		fake_release(sbox_disk, 1);
		loop_drain();
		assert_false(s.done);
		sbox_disk->obeys = true;
		assert_int_equal(sbox_tmf(0, SCSI_TMF_ABORT_TASK, 5), 1);
		assert_true(s.done && s.outcome == SCSI_OUTCOME_ABORTED);
		sbox_disk->mode = FAKE_INSTANT;
		fake_release_all(sbox_disk);
		loop_drain();
	}
}

/* ---- unit attention ---- */

static void test_conditions_are_reported_once_the_most_important_first(void **state)
{
	static const struct { enum scsi_attention ua; uint16_t asc; } row[] = {
		{ SCSI_UA_NEXUS_LOSS, 0x2907 }, { SCSI_UA_RESERVATIONS_PREEMPTED, 0x2a03 },
		{ SCSI_UA_RESERVATIONS_RELEASED, 0x2a04 },
		{ SCSI_UA_REGISTRATIONS_PREEMPTED, 0x2a05 }, { SCSI_UA_CAPACITY_CHANGED, 0x2a09 },
		{ SCSI_UA_LUNS_CHANGED, 0x3f0e }, { SCSI_UA_THIN_THRESHOLD, 0x3807 },
	};
	struct scsi_lu *lu = sbox_target[0].lu[0];

	for (unsigned i = ARRAY_SIZE(row); i-- > 0;)
		scsi_lu_attention(lu, row[i].ua);
	scsi_lu_attention(lu, row[3].ua);
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		assert_int_equal(sbox_attention(0), row[i].asc);
	assert_int_equal(sbox_attention(0), 0);
	/* a reset makes the others old */
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
		scsi_lu_attention(lu, row[i].ua);
	scsi_lu_reset(lu, SCSI_UA_LU_RESET);
	assert_int_equal(sbox_attention(0), SCSI_ASC_LU_RESET);
	assert_int_equal(sbox_attention(0), 0);
	assert_int_equal(sbox_told, 2 * ARRAY_SIZE(row) + 2);
}

static void test_some_commands_do_not_report_and_do_not_clear(void **state)
{
	static const uint8_t quiet[][SCSI_CDB_BYTES] = {
		{ 0x12, [4] = 36 }, { 0xa0, [9] = 64 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(quiet); i++) {
		scsi_lu_attention(sbox_target[0].lu[0], SCSI_UA_NEXUS_LOSS);
		sbox_good("inquiry, report luns", quiet[i], NULL, 0, 64);
		assert_int_equal(sbox_attention(0), SCSI_ASC_NEXUS_LOSS);
	}
	/* anything else does, also what is no command */
	scsi_lu_attention(sbox_target[0].lu[0], SCSI_UA_NEXUS_LOSS);
	sbox_fails("no command", CDB(0xff), NULL, 0, 0, SCSI_KEY_UNIT_ATTENTION,
		   SCSI_ASC_NEXUS_LOSS);
	assert_int_equal(sbox_attention(0), 0);
}

static void resize_task(void *arg)
{
	bdev_resize(&sbox_disk->bdev, *(uint64_t *)arg);
}

static void space_task(void *arg)
{
	bdev_space_set(&sbox_disk->bdev, *(bool *)arg);
}

static void test_what_happens_to_a_disk_is_told_to_each_initiator(void **state)
{
	uint64_t blocks = SBOX_BLOCKS / 2;
	bool low = true;

	loop_task(resize_task, &blocks);
	for (unsigned i = 0; i < SBOX_INITIATORS; i++)
		assert_int_equal(sbox_attention(i), SCSI_ASC_CAPACITY_CHANGED);
	sbox_fails("past the new end", CDB(0x28, [4] = 8, [8] = 1), NULL, 0, 512,
		   SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_RANGE);
	loop_task(space_task, &low);
	for (unsigned i = 0; i < SBOX_INITIATORS; i++)
		assert_int_equal(sbox_attention(i), SCSI_ASC_THIN_THRESHOLD);
	low = false;
	loop_task(space_task, &low);
	assert_int_equal(sbox_attention(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		sbox_test(test_an_abort_ends_the_task_with_that_tag_alone),
		sbox_test(test_functions_end_every_task_of_the_initiator_and_no_other),
		sbox_test(test_a_function_waits_for_its_tasks_and_leaves_later_ones),
		sbox_test(test_queries_find_and_leave),
		sbox_test(test_a_walk_over_a_range_ends_between_its_pieces),
		sbox_test(test_conditions_are_reported_once_the_most_important_first),
		sbox_test(test_some_commands_do_not_report_and_do_not_clear),
		sbox_test(test_what_happens_to_a_disk_is_told_to_each_initiator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
