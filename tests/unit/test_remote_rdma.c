/* SPDX-License-Identifier: BSD-3-Clause */
/* drivers/remote over RDMA against a target in the same reactor, under simulated time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/buf.h"
#include "core/dma.h"
#include "core/spec/nvme_rdma.h"
#include "drivers/remote/rdma.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/fake_rdma.h"
#include "tests/unit/remote_box.h"

enum { SECOND_US = 1000 * 1000, DATA_BYTES = 256 * 1024, STEPS_MAX = 200 };

static uint8_t out[DATA_BYTES], back[DATA_BYTES];
static char why[REMOTE_WHY_BYTES];

static void start_task(void *arg)
{
	far_rdma_start();
}

static void stop_task(void *arg)
{
	while (fake_rdma.conns)
		task_sleep(1000);
	far_rdma_stop();
}

static int setup(void **state)
{
	int rc = far_setup(state);

	loop_task(start_task, NULL);
	return rc;
}

static void leave_task(void *arg)
{
	struct remote_ctrl *c = remote_ctrl_find("far");

	if (c)
		remote_ctrl_detach(c);
}

static int teardown(void **state)
{
	far.mute = false;
	loop_task(leave_task, NULL);
	loop_task(stop_task, NULL);
	return far_teardown(state);
}

static void attach_task(void *arg)
{
	struct remote_options opt = far_options();

	opt.transport = &remote_rdma;
	*(int *)arg = remote_ctrl_attach(&opt, false, why);
}

static int attach(void)
{
	int rc;

	loop_task(attach_task, &rc);
	return rc;
}

static struct remote_ctrl *ctrl(void)
{
	return remote_ctrl_find("far");
}

static void submit(struct bench_io *b, enum io_op op, uint64_t lba, void *data, size_t len)
{
	struct bdev *bdev = bdev_find("farn1");

	assert_non_null(bdev);
	bench_fill(b, op, lba, len / 512, data, len);
	bench_submit(bdev_chan(bdev), b);
	loop_drain();
}

static void pattern(unsigned seed)
{
	for (unsigned i = 0; i < DATA_BYTES; i++)
		out[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
	memset(back, 0, sizeof(back));
}

static void write_and_read(uint64_t lba, size_t len, unsigned seed)
{
	struct bench_io w, r;

	pattern(seed);
	submit(&w, IO_WRITE, lba, out, len);
	assert_true(w.done);
	assert_int_equal(w.io.status, IO_OK);
	assert_memory_equal(far.media + lba * 512, out, len);
	submit(&r, IO_READ, lba, back, len);
	assert_true(r.done);
	assert_int_equal(r.io.status, IO_OK);
	assert_memory_equal(back, out, len);
}

static void test_attach_makes_a_disk_and_detach_leaves_nothing(void **state)
{
	assert_int_equal(attach(), 0);
	assert_int_equal(bdev_find("farn1")->block_count, FAR_BLOCKS);
	assert_int_equal(fake_rdma.conns, 4);
	far_detach();
	assert_null(bdev_find("farn1"));
	assert_int_equal(far.shutdowns, 1);
	loop_drain();
	assert_int_equal(fake_rdma.conns, 0);
	assert_int_equal(fake_rdma.domains, 0);
}

static void test_data_arrives_in_every_shape(void **state)
{
	static const uint32_t capsules[] = { 0, 16, 512, 4096, 8192 };

	for (unsigned i = 0; i < ARRAY_SIZE(capsules); i++) {
		struct bench_io u;

		far.ioccsz = capsules[i];
		assert_int_equal(attach(), 0);
		write_and_read(3, 4096, i);
		write_and_read(9, 512, i + 1);
		/* more than one command */
		write_and_read(64, DATA_BYTES, i + 2);
		submit(&u, IO_UNMAP, 8, NULL, 4096);
		assert_true(u.done && u.io.status == IO_OK);
		far_detach();
	}
}

/* The core makes one piece of several. */
static void test_data_in_pieces_goes_in_one(void **state)
{
	struct bench_io w;

	assert_int_equal(attach(), 0);
	assert_int_equal(bdev_find("farn1")->limits.iov_count_max, 1);
	pattern(5);
	bench_fill(&w, IO_WRITE, 16, 16, out, 8192);
	w.iov[0] = (struct iovec){ out, 100 };
	w.iov[1] = (struct iovec){ out + 100, 7000 };
	w.iov[2] = (struct iovec){ out + 7100, 1092 };
	w.io.iov_count = 3;
	bench_submit(bdev_chan(bdev_find("farn1")), &w);
	loop_drain();
	assert_true(w.done && w.io.status == IO_OK);
	assert_memory_equal(far.media + 16 * 512, out, 8192);
}

static void test_memory_that_is_not_registered_goes_through_a_buffer(void **state)
{
	far.ioccsz = 4096;
	fake_rdma.foreign = out;
	fake_rdma.foreign_bytes = sizeof(out);
	assert_int_equal(attach(), 0);
	for (unsigned len = 512; len <= 128 * 1024; len *= 4)
		write_and_read(64, len, len);
	far_detach();
	fake_rdma.foreign = back;
	assert_int_equal(attach(), 0);
	for (unsigned len = 512; len <= 128 * 1024; len *= 4)
		write_and_read(64, len, len + 1);
}

static void test_without_a_buffer_io_come_again_later(void **state)
{
	struct iovec all[512];
	struct bench_io w;
	unsigned count = 0;

	fake_rdma.foreign = out;
	fake_rdma.foreign_bytes = sizeof(out);
	assert_int_equal(attach(), 0);
	while (count < ARRAY_SIZE(all) && buf_get(128 * 1024, &all[count], NULL) == 1)
		count++;
	pattern(1);
	submit(&w, IO_WRITE, 0, out, 128 * 1024);
	assert_false(w.done);
	while (count)
		buf_put(&all[--count], 1);
	loop_advance(SECOND_US);
	assert_true(w.done);
	assert_int_equal(w.io.status, IO_OK);
	assert_memory_equal(far.media, out, 128 * 1024);
}

static void test_a_machine_without_an_adapter_says_so(void **state)
{
	fake_rdma.present = false;
	assert_int_equal(attach(), -ENODEV);
	assert_non_null(strstr(why, "no RDMA adapter"));
}

static void test_a_request_without_an_answer_times_out(void **state)
{
	fake_rdma.deaf = true;
	assert_true(attach() < 0);
	assert_non_null(strstr(why, "timed out"));
	assert_int_equal(fake_rdma.conns, 0);
}

static void test_every_reject_is_explained(void **state)
{
	for (unsigned status = NVME_RDMA_BAD_LENGTH; status <= NVME_RDMA_BAD_CNTLID; status++) {
		far.reject = (uint16_t)status;
		assert_true(attach() < 0);
		assert_non_null(strstr(why, "rejects the connection: "));
		assert_null(strstr(why, "no known reason"));
	}
	far.reject = 77;
	assert_true(attach() < 0);
	assert_non_null(strstr(why, "no known reason (77)"));
}

/* The target closes after each capsule of the way up. */
static void test_close_at_every_step_of_the_way_up(void **state)
{
	unsigned steps = 1;

	for (; steps < STEPS_MAX; steps++) {
		int rc;

		far.pdus = 0;
		far.close_after = steps;
		rc = attach();
		if (far.close_after)
			break;
		if (rc == 0) {
			loop_advance(SECOND_US);
			assert_int_equal(ctrl()->state, REMOTE_CTRL_LIVE);
			far_detach();
		}
		loop_drain();
		assert_int_equal(fake_rdma.conns, 0);
	}
	assert_in_range(steps, 10, STEPS_MAX - 1);
	far.close_after = 0;
}

/* Nothing that the adapter refuses leaks or hangs, wherever it is. */
static void test_the_adapter_refuses_work_at_every_step(void **state)
{
	unsigned steps = 1;

	for (; steps < STEPS_MAX; steps++) {
		fake_rdma.post_fails = steps;
		if (attach() == 0) {
			struct bench_io r;

			loop_advance(SECOND_US);
			submit(&r, IO_READ, 0, back, 4096);
			loop_advance(SECOND_US);
			loop_advance(10 * SECOND_US);
			assert_true(r.done);
			far_detach();
		}
		loop_drain();
		assert_int_equal(fake_rdma.conns, 0);
		if (fake_rdma.post_fails)
			break;
	}
	assert_in_range(steps, 10, STEPS_MAX - 1);
	fake_rdma.post_fails = 0;
}

/* Io are sent again, whenever the connection breaks. */
static void test_io_survive_a_break_at_every_send(void **state)
{
	assert_int_equal(attach(), 0);
	for (unsigned steps = 1; steps < 24; steps++) {
		struct bench_io w[4];

		pattern(steps);
		fake_rdma.break_after = steps;
		for (unsigned i = 0; i < ARRAY_SIZE(w); i++)
			submit(&w[i], IO_WRITE, i * 16, out + i * 8192, 8192);
		loop_advance(SECOND_US);
		loop_advance(10 * SECOND_US);
		for (unsigned i = 0; i < ARRAY_SIZE(w); i++)
			assert_true(w[i].done && w[i].io.status == IO_OK);
		assert_memory_equal(far.media, out, 4 * 8192);
		fake_rdma.break_after = 0;
	}
	assert_true(ctrl()->reconnects >= 4);
}

static void lost_and_found(struct bench_io *r)
{
	loop_advance(SECOND_US);
	loop_advance(10 * SECOND_US);
	assert_true(r->done);
	assert_int_equal(r->io.status, IO_OK);
	assert_true(ctrl()->reconnects >= 1);
	assert_int_equal(ctrl()->state, REMOTE_CTRL_LIVE);
}

static void test_an_adapter_that_is_pulled_out_is_waited_for(void **state)
{
	struct bench_io r;

	assert_int_equal(attach(), 0);
	far.mute = true;
	submit(&r, IO_READ, 0, back, 4096);
	/* completions never come */
	fake_rdma.stuck = true;
	fake_rdma_remove();
	loop_drain();
	assert_int_equal(ctrl()->state, REMOTE_CTRL_RECONNECTING);
	assert_false(r.done);
	loop_advance(SECOND_US);
	assert_non_null(strstr(ctrl()->why, "no RDMA adapter"));
	far.mute = fake_rdma.stuck = false;
	fake_rdma.present = true;
	lost_and_found(&r);
}

static void test_completions_that_never_come_are_not_waited_for(void **state)
{
	struct bench_io r;

	assert_int_equal(attach(), 0);
	far.mute = true;
	submit(&r, IO_READ, 0, back, 4096);
	fake_rdma.stuck = true;
	fake_rdma_break();
	loop_drain();
	assert_int_equal(ctrl()->admin->state, REMOTE_QUEUE_CLOSING);
	loop_advance(3 * SECOND_US);
	far.mute = fake_rdma.stuck = false;
	lost_and_found(&r);
}

static void test_a_command_without_an_answer_ends_the_connection(void **state)
{
	struct bench_io r;

	assert_int_equal(attach(), 0);
	far.mute = true;
	submit(&r, IO_READ, 0, back, 4096);
	loop_advance(40 * (uint64_t)SECOND_US);
	assert_non_null(strstr(ctrl()->why, "has no answer"));
	far.mute = false;
	loop_advance(40 * (uint64_t)SECOND_US);
	lost_and_found(&r);
}

static void test_wrong_answers_end_the_connection(void **state)
{
	struct bench_io r;

	for (unsigned wrong = 1; wrong <= 2; wrong++) {
		assert_int_equal(attach(), 0);
		far.wrong_answer = wrong;
		submit(&r, IO_READ, 0, back, 4096);
		lost_and_found(&r);
		far_detach();
	}
}

static void test_a_key_that_is_invalidated_unasked_ends_the_connection(void **state)
{
	struct bench_io r;

	assert_int_equal(attach(), 0);
	fake_rdma_invalidate(ctrl()->queues[0]->rdma->conn);
	submit(&r, IO_READ, 0, back, 4096);
	lost_and_found(&r);
}

static void test_no_more_commands_than_the_target_has_receives(void **state)
{
	struct bench_io r[6];

	far.crqsize = 2;
	assert_int_equal(attach(), 0);
	far.mute = true;
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		submit(&r[i], IO_READ, i, back, 512);
	assert_int_equal(ctrl()->queues[0]->free_count, 0);
	assert_int_equal(ctrl()->queues[0]->rdma->sends_out, 0);
	far.mute = false;
	fake_rdma_break();
	loop_advance(SECOND_US);
	loop_advance(10 * SECOND_US);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		assert_true(r[i].done && r[i].io.status == IO_OK);
}

static void test_a_disk_found_over_tcp_gets_no_path_over_rdma(void **state)
{
	struct remote_options opt = far_options();
	struct remote_ctrl *c;

	strcpy(opt.name, "tcp");
	assert_int_equal(far_attach_remote(&opt, false), 0);
	assert_int_equal(attach(), 0);
	assert_int_equal(ctrl()->path_count, 0);
	c = remote_ctrl_find("tcp");
	assert_int_equal(c->path_count, 1);
}

#define rdma_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		rdma_test(test_attach_makes_a_disk_and_detach_leaves_nothing),
		rdma_test(test_data_arrives_in_every_shape),
		rdma_test(test_data_in_pieces_goes_in_one),
		rdma_test(test_memory_that_is_not_registered_goes_through_a_buffer),
		rdma_test(test_without_a_buffer_io_come_again_later),
		rdma_test(test_a_machine_without_an_adapter_says_so),
		rdma_test(test_a_request_without_an_answer_times_out),
		rdma_test(test_every_reject_is_explained),
		rdma_test(test_close_at_every_step_of_the_way_up),
		rdma_test(test_the_adapter_refuses_work_at_every_step),
		rdma_test(test_io_survive_a_break_at_every_send),
		rdma_test(test_an_adapter_that_is_pulled_out_is_waited_for),
		rdma_test(test_completions_that_never_come_are_not_waited_for),
		rdma_test(test_a_command_without_an_answer_ends_the_connection),
		rdma_test(test_wrong_answers_end_the_connection),
		rdma_test(test_a_key_that_is_invalidated_unasked_ends_the_connection),
		rdma_test(test_no_more_commands_than_the_target_has_receives),
		rdma_test(test_a_disk_found_over_tcp_gets_no_path_over_rdma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
