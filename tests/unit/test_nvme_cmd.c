/* SPDX-License-Identifier: BSD-3-Clause */
/* The console's commands for NVMe drives, on an emulated one. */
#include "tests/unit/nvme_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/cmd_box.h"

static struct capture out = { .out = { .exact = true } };

struct line {
	const char *text;
	int rc;
};

static void line_task(void *arg)
{
	struct line *line = arg;

	line->rc = capture_run(&out, line->text);
}

/* Runs LINE; its code, what it printed is in the capture. */
static int run(const char *text)
{
	struct line line = { .text = text };

	loop_task(line_task, &line);
	return line.rc;
}

static void says(const char *text, int rc, const char *part)
{
	int got = run(text);

	if (!strstr(capture_text(&out), part))
		fail_msg("%s\n--- printed\n%s--- expected in it\n%s", text, capture_text(&out),
			 part);
	assert_int_equal(got, rc);
}

static void test_attach_and_detach(void **state)
{
	assert_int_equal(run("disk attach 0000:01:00.0"), 0);
	assert_non_null(box_disk("nvme0n1"));
	says("disk attach 01:00.0", -EEXIST, "is attached already");
	says("disk attach 0000:09:00.0", -ENOENT, "no such device");
	says("disk attach nonsense", -EINVAL, "write it like");
	assert_int_equal(run("disk detach nvme0n1"), 0);
	assert_null(box_ctrl());
	says("disk detach nvme0n1", -ENOENT, "there is none of that name");
	assert_int_equal(run("disk attach 0000:01:00.0"), 0);
	assert_int_equal(run("disk detach nvme0"), 0);
	assert_null(box_ctrl());
}

static void test_a_drive_that_does_not_work_is_named(void **state)
{
	fake.stuck = true;
	says("disk attach 0000:01:00.0", -ETIMEDOUT, "error: pci 0000:01:00.0: cannot be attached");
}

static void test_identify_smart_errors(void **state)
{
	assert_int_equal(box_attach(), 0);
	says("disk identify nvme0n1", 0, "FAKE0001");
	says("disk identify serial:FAKE0001", 0, "format 1: blocks of 4096, metadata of 0");
	says("disk smart nvme0n1", 0, "27 C");
	says("disk smart nvme0n1 | json", 0, "\"used\":7");
	says("disk errors nvme0n1 | count", 0, "1");
	fake.mute = true;
	says("disk smart nvme0n1", -ETIMEDOUT, "no SMART log");
}

/* ---- users ---- */

struct opened {
	struct bdev_user user;
	int rc;
};

static void user_event(struct bdev_user *user, enum bdev_event event)
{
}

static void open_task(void *arg)
{
	struct opened *o = arg;

	o->rc = bdev_open("nvme0n1", &o->user);
}

static void close_task(void *arg)
{
	bdev_close(&((struct opened *)arg)->user);
}

static void test_a_drive_in_use_stays(void **state)
{
	struct opened o = { .user = { .who = "a test", .event = user_event } };

	assert_int_equal(box_attach(), 0);
	loop_task(open_task, &o);
	assert_int_equal(o.rc, 0);
	says("disk detach nvme0n1", -EBUSY, "in use by a test");
	fake.oacs = NVME_OACS_FORMAT;
	loop_task(close_task, &o);
	assert_int_equal(run("disk detach nvme0n1"), 0);
	assert_int_equal(box_attach(), 0);
	loop_task(open_task, &o);
	says("disk format nvme0n1 force", -EBUSY, "in use by a test");
	loop_task(close_task, &o);
}

/* ---- format ---- */

static void test_format(void **state)
{
	fake.oacs = NVME_OACS_FORMAT;
	assert_int_equal(box_attach(), 0);
	memset(fake.ns[0].data, 7, 512);
	assert_true(run("disk format nvme0n1") < 0);
	assert_int_equal(fake.ns[0].data[0], 7);
	says("disk format nvme0n1 block=8K force", -EINVAL, "no format with blocks of 8192");
	says("disk format nvme0n1 block=4K force", 0, "");
	assert_int_equal(fake.ns[0].data[0], 0);
	assert_int_equal(box_disk("nvme0n1")->block_bytes, 4096);
	assert_int_equal(box_disk("nvme0n1")->block_count, 1024);
	says("disk format nvme0n1 force", 0, "");
	assert_int_equal(box_disk("nvme0n1")->block_bytes, 4096);
}

static int format_fails(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return sqid == 0 && sqe->opc == NVME_ADM_FORMAT_NVM ? NVME_SC_FORMAT_INVALID : FAKE_DO;
}

static void test_a_format_that_fails_brings_the_disk_back(void **state)
{
	assert_int_equal(box_attach(), 0);
	says("disk format nvme0n1 force", -EOPNOTSUPP, "has no Format command");
	assert_int_equal(run("disk detach nvme0n1"), 0);
	fake.oacs = NVME_OACS_FORMAT;
	assert_int_equal(box_attach(), 0);
	fake.rule = format_fails;
	says("disk format nvme0n1 force", -EINVAL, "Format failed");
	assert_non_null(box_disk("nvme0n1"));
}

static int format_held(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return sqid == 0 && sqe->opc == NVME_ADM_FORMAT_NVM ? FAKE_HOLD : FAKE_DO;
}

static void test_a_drive_pulled_while_it_is_formatted(void **state)
{
	struct line line = { .text = "disk format nvme0n1 force", .rc = 1 };

	fake.oacs = NVME_OACS_FORMAT;
	assert_int_equal(box_attach(), 0);
	fake.rule = format_held;
	assert_non_null(task_start("format", line_task, &line));
	assert_true(box_until(fake.held_count == 1, 1000));
	loop_advance(3000 * 1000);
	fake.dead = true;
	assert_true(box_until(line.rc != 1, 60 * 1000));
	assert_int_equal(line.rc, -ENODEV);
	assert_true(box_until(!box_ctrl(), 1000));
}

static int all_held(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return sqid == 0 && sqe->opc == NVME_ADM_IDENTIFY && f->held_count == 0 ? FAKE_DO :
	       FAKE_HOLD;
}

static void test_a_drive_that_answers_nothing_while_it_formats_is_not_reset(void **state)
{
	struct line line = { .text = "disk format nvme0n1 block=4K force", .rc = 1 };

	fake.oacs = NVME_OACS_FORMAT;
	assert_int_equal(box_attach(), 0);
	fake.rule = all_held;
	assert_non_null(task_start("format", line_task, &line));
	assert_true(box_until(fake.held_count == 2, 5000));
	loop_advance(3600ull * 1000 * 1000);
	assert_int_equal(line.rc, 1);
	fake.rule = NULL;
	fake_nvme_release_all(&fake, FAKE_DO);
	assert_true(box_until(line.rc != 1, 5000));
	assert_int_equal(line.rc, 0);
	assert_int_equal(fake.enables, 1);
	assert_int_equal(box_disk("nvme0n1")->block_bytes, 4096);
}

static int cmds_setup(void **state)
{
	cmd_register(nvme_cmds);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		box_test(test_attach_and_detach),
		box_test(test_a_drive_that_does_not_work_is_named),
		box_test(test_identify_smart_errors),
		box_test(test_a_drive_in_use_stays),
		box_test(test_format),
		box_test(test_a_format_that_fails_brings_the_disk_back),
		box_test(test_a_drive_pulled_while_it_is_formatted),
		box_test(test_a_drive_that_answers_nothing_while_it_formats_is_not_reset),
	};

	return cmocka_run_group_tests(tests, cmds_setup, NULL);
}
