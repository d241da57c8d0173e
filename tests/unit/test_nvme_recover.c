/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/nvme_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"

enum { COUNT = 20, MINUTE_MS = 60 * 1000 };

static struct box_io *b[COUNT];

static int hold_io(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return sqid > 0 ? FAKE_HOLD : FAKE_DO;
}

static int drop_io(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return sqid > 0 ? FAKE_DROP : FAKE_DO;
}

static int drop_all(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return FAKE_DROP;
}

/* Io is lost until the controller has been enabled rule_arg times. */
static int drop_before_enable(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return sqid > 0 && f->enables < (uintptr_t)f->rule_arg ? FAKE_DROP : FAKE_DO;
}

static void submit_all(void)
{
	for (unsigned i = 0; i < COUNT; i++) {
		b[i] = box_io_new(i % 2 ? IO_READ : IO_WRITE, i * 8, 8, 4096);
		if (i % 2 == 0)
			memset(b[i]->data, 0xa0 + i, 4096);
		box_submit(b[i], "nvme0n1");
	}
	loop_drain();
}

static unsigned done_count(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < COUNT; i++)
		n += b[i]->done;
	return n;
}

static void finish_all(enum io_status expected)
{
	assert_int_equal(done_count(), COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(b[i]->io.status, expected);
		if (expected == IO_OK && i % 2 == 0)
			assert_memory_equal(fake.ns[0].data + i * 4096, b[i]->data, 4096);
		box_io_free(b[i]);
	}
}

static void still_works(void)
{
	struct box_io *one = box_io_new(IO_READ, 1, 1, 512);

	assert_int_equal(box_run(one, "nvme0n1"), IO_OK);
	box_io_free(one);
	assert_int_equal(box_ctrl()->state, NVME_CTRL_LIVE);
}

/* ---- time-outs ---- */

static void test_a_late_command_is_aborted_and_tried_again(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	loop_advance((config.nvme_timeout_ms - 1) * 1000);
	assert_int_equal(fake.aborts_seen, 0);
	fake.rule = NULL;
	assert_true(box_until(done_count() == COUNT, 5000));
	assert_int_equal(fake.aborts_seen, COUNT);
	assert_int_equal(fake.enables, 1);
	finish_all(IO_OK);
	still_works();
}

static void test_aborted_for_ever_is_a_timeout(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	assert_true(box_until(done_count() == COUNT, 2 * MINUTE_MS));
	assert_int_equal(fake.enables, 1);
	finish_all(IO_ERR_TIMEOUT);
	fake.rule = NULL;
	still_works();
}

static void test_what_cannot_be_aborted_resets_the_controller(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = drop_before_enable;
	fake.rule_arg = (void *)2;
	submit_all();
	assert_true(box_until(done_count() == COUNT, MINUTE_MS));
	assert_true(fake.aborts_seen >= COUNT);
	assert_int_equal(fake.enables, 2);
	assert_int_equal(box_ctrl()->resets, 1);
	finish_all(IO_OK);
	still_works();
}

static void test_io_lost_in_every_life_times_out(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = drop_io;
	submit_all();
	assert_true(box_until(done_count() == COUNT, 10 * MINUTE_MS));
	assert_true(fake.enables > 2);
	for (unsigned i = 0; i < COUNT; i++)
		assert_true(b[i]->io.status == IO_ERR_TIMEOUT || b[i]->io.status == IO_ERR_GONE);
	for (unsigned i = 0; i < COUNT; i++)
		box_io_free(b[i]);
}

static void test_a_lost_abort_resets_the_controller(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = drop_all;
	submit_all();
	loop_advance(config.nvme_timeout_ms * 1000 + 1000);
	assert_true(box_until(!box_ctrl()->admin_live, 2 * config.nvme_timeout_ms));
	fake.rule = NULL;
	assert_true(box_until(done_count() == COUNT, MINUTE_MS));
	finish_all(IO_OK);
	still_works();
}

static void test_io_submitted_during_a_reset_waits(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.ready_steps = 300;
	nvme_ctrl_want_reset(box_ctrl(), "test");
	assert_true(box_until(box_ctrl()->state == NVME_CTRL_RESETTING, 1000));
	submit_all();
	assert_int_equal(done_count(), 0);
	assert_true(box_until(done_count() == COUNT, 5000));
	finish_all(IO_OK);
}

/* ---- sick controllers ---- */

static void test_fatal_status_is_seen_and_reset(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	fake.fatal = true;
	fake.rule = NULL;
	assert_true(box_until(done_count() == COUNT, 5000));
	assert_int_equal(fake.enables, 2);
	finish_all(IO_OK);
	still_works();
}

static void test_the_function_is_reset_when_enable_does_not_help(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	fake.rule = NULL;
	fake.stuck = true;
	nvme_ctrl_want_reset(box_ctrl(), "test");
	assert_true(box_until(done_count() == COUNT, MINUTE_MS));
	assert_int_equal(fake.function_resets, 1);
	finish_all(IO_OK);
	still_works();
}

static void gone(void)
{
	assert_true(box_until(!box_disk("nvme0n1") && !box_ctrl(), MINUTE_MS));
	finish_all(IO_ERR_GONE);
	assert_int_equal(fake.closes, 1);
}

static void test_what_cannot_be_reset_is_given_up(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	fake.stuck = fake.reset_fails = true;
	nvme_ctrl_want_reset(box_ctrl(), "test");
	gone();
}

static void test_resets_without_end_are_given_up(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	for (unsigned i = 0; box_ctrl() && i < 100; i++) {
		if (box_ctrl()->state == NVME_CTRL_LIVE)
			nvme_ctrl_want_reset(box_ctrl(), "test");
		loop_advance(10 * 1000);
	}
	assert_int_equal(fake.enables, NVME_RESET_MAX + 1);
	assert_null(box_ctrl());
	assert_int_equal(done_count(), COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		box_io_free(b[i]);
}

static void test_another_drive_after_a_reset_is_not_used(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	fake.queues_max = 0;
	nvme_ctrl_want_reset(box_ctrl(), "test");
	gone();
}

/* ---- removal ---- */

static void test_surprise_removal_under_load(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	fake.dead = true;
	gone();
}

static void test_ordered_removal_under_load(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	fake.dev.removed(&fake.dev);
	fake.dev.removed(&fake.dev);
	gone();
	assert_int_equal(fake.shutdowns, 1);
}

static void test_removal_during_a_reset(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	fake.ready_steps = 300;
	nvme_ctrl_want_reset(box_ctrl(), "test");
	assert_true(box_until(box_ctrl()->state == NVME_CTRL_RESETTING, 1000));
	loop_advance(10 * 1000);
	fake.dead = true;
	gone();
}

static void test_removal_while_io_waits_for_a_retry(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	fake_nvme_release_all(&fake, NVME_SC_NS_NOT_READY);
	loop_drain();
	fake.dead = true;
	gone();
}

static void test_removal_with_a_full_line(void **state)
{
	fake.cap = (fake.cap & ~0xffffull) | 3;
	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	submit_all();
	assert_int_equal(fake.held_count, 3);
	fake.dead = true;
	gone();
}

static void smart_task(void *arg)
{
	struct nvme_log_smart smart;
	struct nvme_ctrl *c = box_ctrl();

	nvme_ctrl_get(c);
	*(int *)arg = nvme_admin_log(c, NVME_LID_SMART, UINT32_MAX, &smart, sizeof(smart));
	nvme_ctrl_put(c);
}

static void test_removal_during_an_admin_command(void **state)
{
	int rc = 1, rc_waiting = 1;

	assert_int_equal(box_attach(), 0);
	fake.rule = drop_all;
	assert_non_null(task_start("smart", smart_task, &rc));
	assert_non_null(task_start("smart", smart_task, &rc_waiting));
	loop_drain();
	fake.dead = true;
	assert_true(box_until(!box_ctrl(), MINUTE_MS));
	loop_drain();
	assert_int_equal(rc, -ENODEV);
	assert_int_equal(rc_waiting, -ENODEV);
}

/* ---- completions that no sane controller sends ---- */

static void bad(uint16_t cid, uint16_t sqid, uint16_t sqhd)
{
	struct nvme_cqe cqe = {
		.cid = le16_make(cid), .sqid = le16_make(sqid), .sqhd = le16_make(sqhd),
	};
	unsigned enables = fake.enables;

	fake.rule = hold_io;
	submit_all();
	fake_nvme_post(&fake, 1, &cqe);
	fake.rule = NULL;
	assert_true(box_until(done_count() == COUNT, 5000));
	assert_int_equal(fake.enables, enables + 1);
	finish_all(IO_OK);
	still_works();
}

static void test_bad_completions_lead_to_a_reset(void **state)
{
	assert_int_equal(box_attach(), 0);
	bad(0x0fff, 1, 0);              /* no such slot */
	bad(200, 1, 0);                 /* a free one */
	bad(0xf000, 1, 0);              /* another generation */
	bad(0, 2, 0);                   /* another queue */
	assert_int_equal(box_ctrl()->state, NVME_CTRL_LIVE);
}

static void test_a_head_outside_of_the_queue_leads_to_a_reset(void **state)
{
	assert_int_equal(box_attach(), 0);
	bad(0, 1, 256);
}

static void test_a_completion_that_comes_twice_leads_to_a_reset(void **state)
{
	struct box_io *one = box_io_new(IO_READ, 1, 1, 512);
	uint16_t cid;

	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	box_submit(one, "nvme0n1");
	loop_drain();
	cid = le16_get(fake.held[0].sqe.cid);
	fake_nvme_release_all(&fake, FAKE_DO);
	loop_drain();
	assert_int_equal(one->done, 1);
	box_io_free(one);
	bad(cid, 1, 0);
}

static void test_a_bad_admin_completion_leads_to_a_reset(void **state)
{
	struct nvme_cqe cqe = { .cid = le16_make(31) };

	assert_int_equal(box_attach(), 0);
	fake_nvme_post(&fake, 0, &cqe);
	assert_true(box_until(fake.enables == 2, 5000));
	still_works();
	assert_true(box_until(fake.aer_waiting, 100));
}

/* Whatever a controller says: every io ends once, and the next one finds a working disk. */
static void test_random_completions(void **state)
{
	unsigned dice = 1;

	assert_int_equal(box_attach(), 0);
	for (unsigned i = 0; i < 200; i++) {
		struct nvme_cqe cqe;
		uint8_t *raw = (uint8_t *)&cqe;

		fake.rule = hold_io;
		submit_all();
		for (unsigned k = 0; k < sizeof(cqe); k++)
			raw[k] = (dice = dice * 1103515245u + 12345u) >> 16;
		if (i % 2)
			cqe.sqid = le16_make(i / 2 % 2);
		if (i % 4 < 2)
			cqe.sqhd = le16_make(i % 32);
		if (i % 3)
			cqe.cid = le16_make((dice >> 8) % 32);
		fake_nvme_post(&fake, i / 2 % 2, &cqe);
		fake.rule = NULL;
		loop_drain();
		fake_nvme_release_all(&fake, FAKE_DO);
		assert_true(box_until(done_count() == COUNT, 60 * 1000));
		for (unsigned k = 0; k < COUNT; k++)
			box_io_free(b[k]);
		loop_advance((NVME_RESET_CALM_MS + 1) * 1000);
		assert_true(box_until(box_ctrl()->state == NVME_CTRL_LIVE, 10 * 1000));
	}
	still_works();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		box_test(test_a_late_command_is_aborted_and_tried_again),
		box_test(test_aborted_for_ever_is_a_timeout),
		box_test(test_what_cannot_be_aborted_resets_the_controller),
		box_test(test_io_lost_in_every_life_times_out),
		box_test(test_a_lost_abort_resets_the_controller),
		box_test(test_io_submitted_during_a_reset_waits),
		box_test(test_fatal_status_is_seen_and_reset),
		box_test(test_the_function_is_reset_when_enable_does_not_help),
		box_test(test_what_cannot_be_reset_is_given_up),
		box_test(test_resets_without_end_are_given_up),
		box_test(test_another_drive_after_a_reset_is_not_used),
		box_test(test_surprise_removal_under_load),
		box_test(test_ordered_removal_under_load),
		box_test(test_removal_during_a_reset),
		box_test(test_removal_while_io_waits_for_a_retry),
		box_test(test_removal_with_a_full_line),
		box_test(test_removal_during_an_admin_command),
		box_test(test_bad_completions_lead_to_a_reset),
		box_test(test_a_head_outside_of_the_queue_leads_to_a_reset),
		box_test(test_a_completion_that_comes_twice_leads_to_a_reset),
		box_test(test_a_bad_admin_completion_leads_to_a_reset),
		box_test(test_random_completions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
