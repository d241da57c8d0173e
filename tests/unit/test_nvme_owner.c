/* SPDX-License-Identifier: BSD-3-Clause */
/* What the owner of an io may ask of an NVMe drive besides doing it: its early end, and health. */
#include "tests/unit/nvme_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int hold_io(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe)
{
	return sqid > 0 ? FAKE_HOLD : FAKE_DO;
}

static enum io_status aborted(struct box_io *victim)
{
	struct box_io *abort = box_io_new(IO_ABORT, 0, 0, 0);
	enum io_status status;

	abort->io.victim = &victim->io;
	status = box_run(abort, "nvme0n1");
	box_io_free(abort);
	return status;
}

static void test_an_abort_reaches_the_drive(void **state)
{
	struct box_io *io = box_io_new(IO_READ, 0, 8, 4096);

	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	box_submit(io, "nvme0n1");
	loop_drain();
	assert_int_equal(io->done, 0);
	assert_int_equal(aborted(io), IO_OK);
	assert_int_equal(fake.aborts_seen, 1);
	assert_int_equal(io->done, 1);
	assert_int_equal(io->io.status, IO_ERR_ABORTED);
	assert_int_equal(box_ctrl()->resets, 0);
	box_io_free(io);
}

static void test_an_io_in_line_never_gets_there(void **state)
{
	struct box_io *io[FAKE_HELD] = { NULL };
	unsigned count = 0;

	assert_int_equal(box_attach(), 0);
	fake.rule = hold_io;
	for (; count < box_ctrl()->queue_depth; count++) {
		io[count] = box_io_new(IO_READ, count, 1, 512);
		box_submit(io[count], "nvme0n1");
	}
	loop_drain();
	assert_int_equal(aborted(io[count - 1]), IO_OK);
	assert_int_equal(fake.aborts_seen, 0);
	assert_int_equal(io[count - 1]->io.status, IO_ERR_ABORTED);
	fake.rule = NULL;
	for (unsigned i = 0; i < count - 1; i++)
		assert_int_equal(aborted(io[i]), IO_OK);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(io[i]->done, 1);
		box_io_free(io[i]);
	}
}

static void test_an_abort_that_comes_too_late_changes_nothing(void **state)
{
	struct box_io *io = box_io_new(IO_WRITE, 0, 8, 4096);

	assert_int_equal(box_attach(), 0);
	memset(io->data, 0x5a, 4096);
	assert_int_equal(box_run(io, "nvme0n1"), IO_OK);
	assert_int_equal(aborted(io), IO_OK);
	assert_int_equal(fake.aborts_seen, 0);
	assert_int_equal(io->io.status, IO_OK);
	box_io_free(io);
}

static struct bdev_health health;
static int health_rc;

static void ask(void *arg)
{
	struct bdev *bdev = arg;

	health_rc = bdev->ops->health(bdev, &health);
}

static void test_health_is_the_drives_own(void **state)
{
	assert_int_equal(box_attach(), 0);
	loop_task(ask, box_disk("nvme0n1"));
	assert_int_equal(health_rc, 0);
	assert_int_equal(health.temperature_k, 300);
	assert_int_equal(health.used, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		box_test(test_an_abort_reaches_the_drive),
		box_test(test_an_io_in_line_never_gets_there),
		box_test(test_an_abort_that_comes_too_late_changes_nothing),
		box_test(test_health_is_the_drives_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
