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

static void detach_task(void *arg)
{
	nvme_ctrl_detach(box_ctrl());
}

static void test_attach_makes_a_disk_and_detach_shuts_down(void **state)
{
	struct bdev *disk;

	assert_int_equal(box_attach(), 0);
	disk = box_disk("nvme0n1");
	assert_non_null(disk);
	assert_ptr_equal(box_disk("serial:FAKE0001"), disk);
	assert_int_equal(disk->block_bytes, 512);
	assert_int_equal(disk->block_count, 8192);
	assert_string_equal(disk->model, "Emulated drive");
	assert_true(disk->volatile_cache);
	assert_true(disk->fua);
	assert_int_equal(disk->limits.xfer_bytes_max, 128 * 1024);
	assert_int_equal(disk->uuid.b[0], 0x51);
	assert_int_equal(box_ctrl()->queue_count, 1);
	assert_true(fake.aer_waiting);
	loop_task(detach_task, NULL);
	assert_null(box_disk("nvme0n1"));
	assert_null(box_ctrl());
	assert_int_equal(fake.shutdowns, 1);
	assert_int_equal(fake.closes, 1);
}

static void test_attach_twice_is_refused_and_again_after_detach_works(void **state)
{
	assert_int_equal(box_attach(), 0);
	assert_int_equal(box_attach(), -EEXIST);
	loop_task(detach_task, NULL);
	assert_int_equal(box_attach(), 0);
	assert_non_null(box_disk("nvme0n1"));
}

static void test_waits_for_a_slow_controller(void **state)
{
	fake.ready_steps = 1000;
	assert_int_equal(box_attach(), 0);
	assert_non_null(box_disk("nvme0n1"));
}

static void test_stops_a_controller_that_was_left_running(void **state)
{
	uint32_t cc = NVME_CC_EN | 6 << NVME_CC_IOSQES_SHIFT | 4 << NVME_CC_IOCQES_SHIFT;

	memcpy((void *)(fake.bar + NVME_REG_CC), &cc, sizeof(cc));
	assert_true(box_until(fake.enables == 1, 10));
	fake.pci_command = 0;
	assert_int_equal(box_attach(), 0);
	assert_int_equal(fake.enables, 2);
}

static void test_a_controller_that_never_gets_ready_is_left(void **state)
{
	fake.stuck = true;
	assert_int_equal(box_attach(), -ETIMEDOUT);
	assert_null(box_ctrl());
	assert_int_equal(fake.closes, 1);
}

static void test_a_dead_controller_is_left(void **state)
{
	fake.dead = true;
	fake_nvme_step(&fake);
	assert_int_equal(box_attach(), -ENODEV);
	assert_null(box_ctrl());
}

static void test_a_controller_that_dies_in_identify_is_left(void **state)
{
	fake.mute = true;
	assert_int_equal(box_attach(), -ETIMEDOUT);
	assert_null(box_ctrl());
}

static void test_what_cannot_be_served_is_refused(void **state)
{
	uint64_t cap = fake.cap;

	fake.cap = cap | 1ull << NVME_CAP_MPSMIN_SHIFT;
	assert_int_equal(box_attach(), -ENOTSUP);
	fake.cap = cap & ~(255ull << NVME_CAP_CSS_SHIFT);
	assert_int_equal(box_attach(), -ENOTSUP);
	fake.cap = cap;
	fake.cntrltype = NVME_CNTRLTYPE_DISCOVERY;
	assert_int_equal(box_attach(), -ENOTSUP);
	fake.cntrltype = NVME_CNTRLTYPE_IO;
	fake.queues_max = 0;
	assert_int_equal(box_attach(), -EIO);
	fake.queues_max = 8;
	fake.dev.bar_bytes = 0x1000;
	assert_int_equal(box_attach(), -ENOTSUP);
	fake.dev.bar_bytes = FAKE_BAR_BYTES;
	assert_int_equal(box_attach(), 0);
}

static void test_small_queues_and_wide_doorbells(void **state)
{
	struct box_io *b = box_io_new(IO_READ, 0, 8, 4096);

	fake.cap = (fake.cap & ~0xffffull) | 3 | 2ull << NVME_CAP_DSTRD_SHIFT;
	assert_int_equal(box_attach(), 0);
	assert_int_equal(box_ctrl()->queue_depth, 4);
	assert_int_equal(box_ctrl()->admin.depth, 4);
	assert_int_equal(box_run(b, "nvme0n1"), IO_OK);
	box_io_free(b);
}

static void test_an_old_controller_without_lists(void **state)
{
	fake.version = 0x00010000;
	fake.cntrltype = 0;
	fake_nvme_ns_add(&fake, 3, 4096, 100);
	assert_int_equal(box_attach(), 0);
	assert_non_null(box_disk("nvme0n1"));
	assert_null(box_disk("nvme0n2"));
	assert_int_equal(box_disk("nvme0n3")->block_bytes, 4096);
}

static void test_a_namespace_with_metadata_leaves_the_rest(void **state)
{
	fake_nvme_ns_add(&fake, 2, 512, 100);
	fake.ns[0].metadata = 8;
	assert_int_equal(box_attach(), 0);
	assert_null(box_disk("nvme0n1"));
	assert_non_null(box_disk("nvme0n2"));
}

/* ---- changes ---- */

static void changed(void)
{
	assert_true(box_until(fake.aer_waiting, 1000));
	fake_nvme_event(&fake, NVME_AER_NOTICE | NVME_AER_NOTICE_NS_CHANGED << 8 |
			NVME_LID_CHANGED_NS << NVME_AER_LID_SHIFT);
}

static void test_namespaces_come_grow_and_go(void **state)
{
	assert_int_equal(box_attach(), 0);
	fake_nvme_ns_add(&fake, 2, 4096, 64);
	changed();
	assert_true(box_until(box_disk("nvme0n2"), 1000));
	fake_nvme_ns_add(&fake, 2, 4096, 128);
	changed();
	assert_true(box_until(box_disk("nvme0n2")->block_count == 128, 1000));
	fake.ns[1].active = false;
	changed();
	assert_true(box_until(!box_disk("nvme0n2"), 1000));
	assert_non_null(box_disk("nvme0n1"));
	/* with another block size it is another disk */
	fake_nvme_ns_add(&fake, 1, 4096, 1024);
	changed();
	assert_true(box_until(box_disk("nvme0n1") && box_disk("nvme0n1")->block_bytes == 4096,
			      1000));
}

static void test_other_events_are_asked_for_again(void **state)
{
	static const uint32_t events[] = {
		NVME_AER_SMART | 1 << 8 | NVME_LID_SMART << 16,
		NVME_AER_ERROR | NVME_LID_ERROR << 16,
		NVME_AER_VENDOR | 0xc0 << 16,
		NVME_AER_NOTICE | NVME_AER_NOTICE_FW_ACTIVATION << 8 | NVME_LID_FW_SLOT << 16,
	};

	assert_int_equal(box_attach(), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
		assert_true(box_until(fake.aer_waiting, 1000));
		fake_nvme_event(&fake, events[i]);
	}
	assert_true(box_until(fake.aer_waiting, 1000));
	assert_int_equal(fake.admin_commands[NVME_ADM_ASYNC_EVENT], 1 + ARRAY_SIZE(events));
	assert_int_equal(box_ctrl()->state, NVME_CTRL_LIVE);
	/* who uses the disk is told what the drive says of its health */
	assert_int_equal(box_disk("nvme0n1")->told.temperature_k, 300);
}

/* ---- vectors ---- */

static void io_with_vectors(unsigned count)
{
	struct box_io *b = box_io_new(IO_WRITE, 5, 8, 4096);

	fake.dev.vector_count = count;
	assert_int_equal(box_attach(), 0);
	assert_int_equal(box_run(b, "nvme0n1"), IO_OK);
	box_io_free(b);
}

static void test_without_interrupts(void **state)
{
	io_with_vectors(0);
	assert_int_equal(box_ctrl()->queues[0].vector, -1);
}

static void test_with_one_vector_for_all(void **state)
{
	io_with_vectors(1);
	assert_int_equal(box_ctrl()->queues[0].vector, 0);
}

static void test_vectors_that_cannot_be_masked(void **state)
{
	fake.dev.vector_table = NULL;
	io_with_vectors(4);
	assert_false(box_ctrl()->queues[0].maskable);
}

static void test_a_busy_queue_raises_no_interrupts(void **state)
{
	unsigned before;

	assert_int_equal(box_attach(), 0);
	before = fake.interrupts;
	for (unsigned i = 0; i < 100; i++) {
		struct box_io *b = box_io_new(IO_READ, i, 1, 512);

		assert_int_equal(box_run(b, "nvme0n1"), IO_OK);
		box_io_free(b);
	}
	assert_int_equal(fake.interrupts, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		box_test(test_attach_makes_a_disk_and_detach_shuts_down),
		box_test(test_attach_twice_is_refused_and_again_after_detach_works),
		box_test(test_waits_for_a_slow_controller),
		box_test(test_stops_a_controller_that_was_left_running),
		box_test(test_a_controller_that_never_gets_ready_is_left),
		box_test(test_a_dead_controller_is_left),
		box_test(test_a_controller_that_dies_in_identify_is_left),
		box_test(test_what_cannot_be_served_is_refused),
		box_test(test_small_queues_and_wide_doorbells),
		box_test(test_an_old_controller_without_lists),
		box_test(test_a_namespace_with_metadata_leaves_the_rest),
		box_test(test_namespaces_come_grow_and_go),
		box_test(test_other_events_are_asked_for_again),
		box_test(test_without_interrupts),
		box_test(test_with_one_vector_for_all),
		box_test(test_vectors_that_cannot_be_masked),
		box_test(test_a_busy_queue_raises_no_interrupts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
