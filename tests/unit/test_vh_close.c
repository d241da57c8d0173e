/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each state × end: a session is brought into a state and ended in each way; what is at the disk
 * comes back, nothing is left over, and the next front end is served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vh_box.h"

enum { SIZE = 16 };

#define PACKED (1ull << VIRTIO_F_RING_PACKED)

/* ---- states ---- */

static void state_none(struct vbox *b)
{
}

static void state_connected(struct vbox *b)
{
	vbox_connect(b);
}

static void state_half_a_message(struct vbox *b)
{
	vbox_open(b, 0);
	vbox_send_bytes(b, "\x05\0\0\0\x01", 5);
}

static void state_running(struct vbox *b)
{
	vbox_open(b, 0);
	for (unsigned i = 0; i < VBOX_QUEUES; i++) {
		vbox_ring_make(b, i, SIZE, false);
		vbox_ring_start(b, i);
	}
}

static void requests_add(struct vbox *b)
{
	for (unsigned i = 0; i < 4; i++) {
		struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = 512 };

		vbox_blk_add(b, i % VBOX_QUEUES, &read);
	}
	assert_int_equal(b->disk->held_count, 4);
}

static void state_busy(struct vbox *b)
{
	state_running(b);
	requests_add(b);
}

static void state_busy_packed(struct vbox *b)
{
	vbox_open(b, PACKED);
	for (unsigned i = 0; i < VBOX_QUEUES; i++) {
		vbox_ring_make(b, i, SIZE, true);
		vbox_ring_start(b, i);
	}
	requests_add(b);
}

static void state_broken(struct vbox *b)
{
	state_busy(b);
	vbox_offer(b, 0, 9999);
}

/* The log has been set, or waits until what is under way has ended. */
static void state_logged(struct vbox *b)
{
	struct vhost_user_log log = { le64_make(4096), le64_make(0) };

	state_busy(b);
	vbox_send(b, &(struct vbox_message){ .request = VHOST_USER_SET_LOG_BASE, .payload = &log,
					     .len = sizeof(log), .fd = &b->mem_fd, .fds = 1 });
}

/* A ring is being stopped, and cannot yet. */
static void state_stopping(struct vbox *b)
{
	struct vhost_user_vring_state which = { le32_make(0), le32_make(0) };

	state_busy(b);
	vbox_send(b, &(struct vbox_message){ .request = VHOST_USER_GET_VRING_BASE,
					     .payload = &which, .len = sizeof(which) });
}

static void state_memory_changes(struct vbox *b)
{
	struct vhost_user_memory table = { .count = le32_make(0) };

	state_busy(b);
	vbox_send(b, &(struct vbox_message){ .request = VHOST_USER_SET_MEM_TABLE,
					     .payload = &table, .len = 8 });
}

/* ---- ends ---- */

static void end_hangup(struct vbox *b)
{
	vbox_hangup(b);
}

static void end_nonsense(struct vbox *b)
{
	if (b->sock >= 0)
		vbox_send_bytes(b, "0123456789abcdef0123456789abcdef", 32);
}

static void end_memory_cut(struct vbox *b)
{
	assert_int_equal(ftruncate(b->mem_fd, 0), 0);
	for (unsigned i = 0; i < VBOX_QUEUES; i++) {
		if (b->ring[i].kick_fd >= 0)
			vbox_kick(b, i);
	}
}

static void delete(void *arg)
{
	struct vbox *b = arg;

	vh_device_delete(b->dev);
}

static void end_delete(struct vbox *b)
{
	assert_non_null(task_start("delete", delete, b));
	loop_drain();
}

static void unregister(void *arg)
{
	struct vbox *b = arg;

	bdev_unregister(&b->disk->bdev);
}

static void end_disk_goes(struct vbox *b)
{
	b->disk_gone = true;
	assert_non_null(task_start("gone", unregister, b));
	loop_drain();
}

/* In the same round, whoever is first. */
static void end_disk_goes_and_delete(struct vbox *b)
{
	b->disk_gone = true;
	assert_non_null(task_start("gone", unregister, b));
	assert_non_null(task_start("delete", delete, b));
	loop_drain();
}

static void end_delete_and_disk_goes(struct vbox *b)
{
	b->disk_gone = true;
	assert_non_null(task_start("delete", delete, b));
	assert_non_null(task_start("gone", unregister, b));
	loop_drain();
}

#define ROW(name) { #name, name }

struct row {
	const char *name;
	void (*fn)(struct vbox *b);
};

static const struct row states[] = {
	ROW(state_none), ROW(state_connected), ROW(state_half_a_message), ROW(state_running),
	ROW(state_busy), ROW(state_busy_packed), ROW(state_broken), ROW(state_logged),
	ROW(state_stopping), ROW(state_memory_changes),
};

static const struct row ends[] = {
	ROW(end_hangup), ROW(end_nonsense), ROW(end_memory_cut), ROW(end_delete),
	ROW(end_disk_goes), ROW(end_disk_goes_and_delete), ROW(end_delete_and_disk_goes),
};

static void test_each_state_ends_in_each_way(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(states) * ARRAY_SIZE(ends); i++) {
		const struct row *start = &states[i / ARRAY_SIZE(ends)];
		const struct row *end = &ends[i % ARRAY_SIZE(ends)];
		struct vbox b;

		print_message("%s × %s\n", start->name, end->name);
		vbox_start(&b, FAKE_HELD);
		start->fn(&b);
		end->fn(&b);
		/* what is at the disk ends after its session */
		b.disk->mode = FAKE_INSTANT;
		fake_release_all(b.disk);
		loop_drain();
		if (vh_device_find("box")) {
			vbox_hangup(&b);
			assert_int_equal(ftruncate(b.mem_fd, VBOX_BYTES), 0);
			b.next = 0;
			state_running(&b);
			vbox_works(&b, 0, 1);
		}
		vbox_stop(&b);
	}
}

/* Requests of a guest whose memory was cut stay in flight: nobody was told that they are done. */
static void test_a_guest_that_was_cut_is_told_nothing(void **state)
{
	struct vbox b;

	vbox_start(&b, FAKE_HELD);
	state_busy(&b);
	atomic_store(&b.dev->session->cut, true);
	fake_release(b.disk, 4);
	loop_drain();
	for (unsigned i = 0; i < VBOX_QUEUES; i++) {
		const struct virtq_used *used = vbox_at(&b, b.ring[i].device);

		assert_int_equal(le16_get(used->idx), 0);
		assert_true(vbox_broken(&b, i));
	}
	vbox_stop(&b);
}

/* A write that would wait for the front end is interrupted; who does that has to wait himself. */
static void test_a_call_descriptor_that_blocks_ends_its_session(void **state)
{
	struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = 512 };
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	state_running(&b);
	vbox_works(&b, 0, 1);
	vbox_calls(&b, 0);
	assert_int_equal(fcntl(b.ring[0].call_fd, F_SETFL, 0), 0);
	assert_int_equal(eventfd_write(b.ring[0].call_fd, UINT64_MAX - 1), 0);
	vbox_blk_add(&b, 0, &read);
	assert_true(vbox_gone(&b));
	vbox_hangup(&b);
	vbox_connect(&b);
	assert_null(b.dev->session);
	loop_advance(11 * 1000 * 1000);
	assert_non_null(b.dev->session);
	vbox_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_state_ends_in_each_way),
		cmocka_unit_test(test_a_guest_that_was_cut_is_told_nothing),
		cmocka_unit_test(test_a_call_descriptor_that_blocks_ends_its_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
