/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe/RDMA, each state × close: a host is brought into a state, then its connections end in each
 * way; afterwards everything has been given back (the box looks), and another host goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_rdma_box.h"

struct scene {
	struct qpbox_conn admin, io;
	bool admin_up, io_up;
	uint16_t cntlid;
	unsigned step;                  /* of states that come in steps */
};

struct row {
	const char *name;
	void (*fn)(struct scene *s);
	unsigned steps;
};

static uint8_t data[8192];

/* ---- states ---- */

static void rounds(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		reactor_round();
}

/* The request is on its way, is being checked, is accepted, is established. */
static void state_dialing(struct scene *s)
{
	struct nvme_rdma_request ask = qpbox_ask(0, 31);

	qpbox_begin(&s->admin, &ask, sizeof(ask));
	s->admin_up = true;
	rounds(s->step);
}

static void state_refused(struct scene *s)
{
	struct nvme_rdma_request ask = qpbox_ask(0, 0);

	qpbox_dial(&s->admin, &ask, sizeof(ask));
	s->admin_up = true;
	assert_int_equal(s->admin.refused, NVME_RDMA_BAD_HSQSIZE);
}

static void state_accepted(struct scene *s)
{
	struct nvme_rdma_request ask = qpbox_ask(0, 31);

	qpbox_dial(&s->admin, &ask, sizeof(ask));
	s->admin_up = true;
	assert_true(s->admin.up);
}

/* Connect is received, read, lent, back, answered. */
static void state_connecting(struct scene *s)
{
	struct nvmf_connect_data connect = tbox_connect_data(TBOX_NQN, 0xffff);
	struct nvme_sqe sqe = tbox_connect_sqe(0, 31, 0);

	state_accepted(s);
	memcpy(s->admin.memory, &connect, sizeof(connect));
	sqe.sgl = qpbox_keyed(s->admin.memory, sizeof(connect), QPBOX_KEY, true);
	qpbox_cmd(&s->admin, &sqe, NULL, 0);
	rounds(s->step);
}

static void state_connect_refused(struct scene *s)
{
	state_accepted(s);
	assert_int_not_equal(qpbox_connect(&s->admin, "nqn.none", 0, 31, 0xffff), 0);
}

static void state_connected(struct scene *s)
{
	state_accepted(s);
	assert_int_equal(qpbox_connect(&s->admin, TBOX_NQN, 0, 31, 0xffff), 0);
	s->cntlid = (uint16_t)le32_get(s->admin.cqes[0].dw0);
}

static void state_event_held(struct scene *s)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);

	state_connected(s);
	qpbox_enable(&s->admin);
	for (unsigned i = 0; i < NVMF_AER_MAX; i++)
		qpbox_cmd(&s->admin, &sqe, NULL, 0);
	loop_drain();
}

static void state_io_idle(struct scene *s)
{
	s->cntlid = qpbox_host(&s->admin, &s->io);
	s->admin_up = s->io_up = true;
}

/* COUNT reads or writes of LEN bytes each, by key or, of at most 8 KiB, in the capsule. */
static void submit(struct scene *s, uint8_t opc, unsigned count, uint32_t len, bool in_capsule)
{
	struct nvme_sqe sqe = tbox_rw(opc, 0, len / 512);

	sqe.sgl = in_capsule ? qpbox_offset(NVME_SGL_DATA, 0, len)
			     : qpbox_keyed(s->io.memory, len, QPBOX_KEY, true);
	for (unsigned i = 0; i < count; i++)
		qpbox_cmd(&s->io, &sqe, data, in_capsule ? len : 0);
}

static void state_reads_in_steps(struct scene *s)
{
	state_io_idle(s);
	submit(s, NVME_NVM_READ, 8, 65536, false);
	rounds(s->step * 3);
}

static void state_writes_in_steps(struct scene *s)
{
	state_io_idle(s);
	submit(s, NVME_NVM_WRITE, 8, 65536, false);
	rounds(s->step * 3);
}

static void state_reads_at_the_disk(struct scene *s)
{
	state_io_idle(s);
	tbox_disk->mode = FAKE_HELD;
	submit(s, NVME_NVM_READ, 5, 65536, false);
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 5);
}

static void state_capsules_at_the_disk(struct scene *s)
{
	state_io_idle(s);
	tbox_disk->mode = FAKE_HELD;
	submit(s, NVME_NVM_WRITE, 32, 4096, true);
	loop_drain();
	assert_int_equal(tbox_disk->held_count, 32);
}

static void state_waits_for_memory(struct scene *s)
{
	state_io_idle(s);
	tbox_disk->mode = FAKE_HELD;
	submit(s, NVME_NVM_READ, 16, 1 << 20, false);
	submit(s, NVME_NVM_WRITE, 16, 1 << 20, false);
	loop_drain();
}

/* The capsules are here, and then nothing moves any more. */
static void stick(struct scene *s)
{
	tbox_disk->mode = FAKE_HELD;
	loop_drain();
	fake_rdma.stuck = true;
	tbox_disk->mode = FAKE_INSTANT;
	fake_release_all(tbox_disk);
	loop_drain();
}

static void state_answers_stuck(struct scene *s)
{
	state_io_idle(s);
	tbox_disk->mode = FAKE_HELD;
	submit(s, NVME_NVM_READ, 16, 65536, false);
	submit(s, NVME_NVM_WRITE, 16, 4096, true);
	stick(s);
}

static void state_send_queue_full(struct scene *s)
{
	state_io_idle(s);
	fake_rdma.device.sge_max = 1;
	tbox_disk->mode = FAKE_HELD;
	submit(s, NVME_NVM_READ, 31, 131072 - 512, false);
	stick(s);
}

/* The first reads of what writes bring: of 31, 4 at once. */
static void state_reads_of_the_host_stuck(struct scene *s)
{
	state_io_idle(s);
	submit(s, NVME_NVM_WRITE, 31, 16384, false);
	while (fake_rdma.reads == 0)
		reactor_round();
	fake_rdma.stuck = true;
	loop_drain();
}

static void state_disconnecting(struct scene *s)
{
	struct nvmf_disconnect_sqe d = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = NVMF_DISCONNECT,
	};
	struct nvme_sqe sqe;

	state_reads_at_the_disk(s);
	memcpy(&sqe, &d, sizeof(sqe));
	qpbox_cmd(&s->io, &sqe, NULL, 0);
	rounds(s->step);
}

static void state_closing(struct scene *s)
{
	state_capsules_at_the_disk(s);
	qpbox_send(&s->io, "short", 5);
	loop_drain();
	assert_true(nvmf_target.conn_count > 0);
}

/* ---- ways to end ---- */

static void end_io_hangup(struct scene *s)
{
	if (s->io_up)
		qpbox_close(&s->io);
}

static void end_admin_hangup(struct scene *s)
{
	qpbox_close(&s->admin);
}

static void end_both_disconnect(struct scene *s)
{
	if (s->io_up)
		rnic_disconnect(s->io.rnic);
	rnic_disconnect(s->admin.rnic);
}

static void end_operator(struct scene *s)
{
	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl))
		if (ctrl->cntlid == s->cntlid)
			nvmf_ctrl_kill(ctrl, "test");
}

static void end_operator_and_hangup(struct scene *s)
{
	end_operator(s);
	end_io_hangup(s);
	end_admin_hangup(s);
}

static void end_reset(struct scene *s)
{
	struct nvmf_property_sqe p = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = NVMF_PROPERTY_SET,
		.ofst = le32_make(NVME_REG_CC),
	};

	if (s->cntlid)
		qpbox_send(&s->admin, &p, sizeof(p));
}

static void end_posting_fails(struct scene *s)
{
	fake_rdma.accepted_post_fails = 1;
	if (s->io_up)
		submit(s, NVME_NVM_READ, 1, 512, false);
	/* the target's next, whatever it is */
	loop_drain();
	fake_rdma.accepted_post_fails = 0;
	end_admin_hangup(s);
}

static void end_network(struct scene *s)
{
	(void)s;
	fake_rdma_break();
}

static void end_adapter(struct scene *s)
{
	(void)s;
	fake_rdma_remove();
}

static void end_target_stops(struct scene *s)
{
	(void)s;
}

static void end_time(struct scene *s)
{
	(void)s;
	for (unsigned i = 0; i < 2 * config.nvmf_connect_timeout_ms / 250; i++)
		loop_advance(250 * 1000);
}

#define ROW(x, ...) { #x, x, __VA_ARGS__ }

static const struct row states[] = {
	ROW(state_dialing, 9), ROW(state_refused, 1), ROW(state_accepted, 1),
	ROW(state_connecting, 9), ROW(state_connect_refused, 1), ROW(state_connected, 1),
	ROW(state_event_held, 1), ROW(state_io_idle, 1), ROW(state_reads_in_steps, 5),
	ROW(state_writes_in_steps, 6), ROW(state_reads_at_the_disk, 1),
	ROW(state_capsules_at_the_disk, 1), ROW(state_waits_for_memory, 1),
	ROW(state_answers_stuck, 1), ROW(state_send_queue_full, 1),
	ROW(state_reads_of_the_host_stuck, 1), ROW(state_disconnecting, 4), ROW(state_closing, 1),
};

static const struct row ends[] = {
	ROW(end_io_hangup), ROW(end_admin_hangup), ROW(end_both_disconnect), ROW(end_operator),
	ROW(end_operator_and_hangup), ROW(end_reset), ROW(end_posting_fails), ROW(end_network),
	ROW(end_adapter), ROW(end_target_stops), ROW(end_time),
};

/* Another host, after it. */
static void bystander(struct qpbox_conn *admin, struct qpbox_conn *io)
{
	struct nvme_sqe zeroes = tbox_rw(NVME_NVM_WRITE_ZEROES, 512, 1);

	assert_int_equal(qpbox_run(io, &zeroes, NULL, 0), 0);
	assert_false(admin->ended || io->ended);
}

/* What is stuck is waited for, but not for ever; what is at the disk ends after its connection. */
static void settle(void)
{
	loop_drain();
	tbox_disk->mode = FAKE_INSTANT;
	fake_release_all(tbox_disk);
	for (unsigned i = 0; i < 12; i++)
		loop_advance(250 * 1000);
	fake_rdma.stuck = false;
	loop_drain();
}

static void play(const struct row *start, unsigned step, const struct row *end)
{
	bool all = end->fn == end_network || end->fn == end_adapter ||
		   end->fn == end_target_stops;
	struct scene s = { .step = step };
	struct qpbox_conn admin, io;

	qpbox_start();
	qpbox_host(&admin, &io);
	start->fn(&s);
	end->fn(&s);
	if (end->fn == end_target_stops) {
		loop_drain();
		tbox_disk->mode = FAKE_INSTANT;
		fake_release_all(tbox_disk);
		qpbox_shut();
		fake_rdma.stuck = false;
	} else {
		settle();
		if (!all)
			bystander(&admin, &io);
	}
	if (s.io_up)
		qpbox_hangup(&s.io);
	if (s.admin_up)
		qpbox_hangup(&s.admin);
	assert_int_equal(nvmf_target.conn_count, all ? 0 : 2);
	assert_int_equal(nvmf_target.ctrl_count, all ? 0 : 1);
	assert_int_equal(fake_rdma.starved, 0);
	qpbox_hangup(&io);
	qpbox_hangup(&admin);
	qpbox_stop();
}

static void test_each_state_ends_in_each_way(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(ends); k++) {
			print_message("%s × %s\n", states[i].name, ends[k].name);
			for (unsigned step = 0; step < states[i].steps; step++)
				play(&states[i], step, &ends[k]);
		}
	}
}

/* The controller goes only when nothing of it is at the disk any more. */
static void test_a_connection_outlives_its_io(void **state)
{
	struct scene s = { 0 };

	state_capsules_at_the_disk(&s);
	qpbox_hangup(&s.io);
	qpbox_hangup(&s.admin);
	assert_int_equal(nvmf_target.ctrl_count, 1);
	fake_release(tbox_disk, 31);
	loop_drain();
	assert_int_equal(nvmf_target.ctrl_count, 1);
	fake_release(tbox_disk, 1);
	loop_drain();
	assert_int_equal(nvmf_target.ctrl_count, 0);
}

/* A queue is its controller's for as long as the device may touch its memory, and no longer. */
static void test_queue_pairs_that_are_slow_to_go_hold_no_controller(void **state)
{
	struct scene s = { 0 };
	struct qpbox_conn admin, io;

	state_capsules_at_the_disk(&s);
	fake_rdma.lingers = true;
	fake_rdma_break();
	loop_drain();
	assert_int_equal(nvmf_target.ctrl_count, 1);
	fake_release_all(tbox_disk);
	loop_drain();
	assert_int_equal(nvmf_target.ctrl_count, 0);
	assert_int_equal(nvmf_target.conn_count, 2);
	qpbox_host(&admin, &io);
	assert_int_equal(nvmf_target.conn_count, 4);
	fake_rdma.lingers = false;
	loop_drain();
	assert_int_equal(nvmf_target.conn_count, 2);
	qpbox_hangup(&s.io);
	qpbox_hangup(&s.admin);
	qpbox_hangup(&io);
	qpbox_hangup(&admin);
}

static void test_a_queue_keeps_its_controller_until_the_device_is_off_its_memory(void **state)
{
	struct scene s = { 0 };

	state_reads_of_the_host_stuck(&s);
	fake_rdma.lingers = true;
	fake_rdma_remove();
	loop_drain();
	assert_int_equal(nvmf_target.ctrl_count, 1);
	fake_rdma.lingers = fake_rdma.stuck = false;
	loop_drain();
	assert_int_equal(nvmf_target.ctrl_count, 0);
	qpbox_hangup(&s.io);
	qpbox_hangup(&s.admin);
}

static void test_a_host_that_does_not_connect_is_let_go(void **state)
{
	struct scene s = { 0 };

	state_accepted(&s);
	loop_advance((config.nvmf_connect_timeout_ms - 500) * 1000ull);
	assert_int_equal(nvmf_target.conn_count, 1);
	loop_advance(1000 * 1000);
	assert_int_equal(nvmf_target.conn_count, 0);
	qpbox_hangup(&s.admin);
}

static void test_disconnect_is_answered_before_the_end(void **state)
{
	struct scene s = { .step = 1000 };

	state_disconnecting(&s);
	assert_int_equal(qpbox_answer(&s.io, (uint16_t)(s.io.cid - 1)), 0);
	assert_int_equal(nvmf_target.conn_count, 2);
	fake_release_all(tbox_disk);
	loop_drain();
	assert_int_equal(nvmf_target.conn_count, 1);
	/* the reads, too; and there was Connect */
	qpbox_answer(&s.io, 0);
	assert_int_equal(s.io.answers, 5 + 1 + 1);
	qpbox_hangup(&s.io);
	qpbox_hangup(&s.admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_state_ends_in_each_way),
		qpbox_test(test_a_connection_outlives_its_io),
		qpbox_test(test_queue_pairs_that_are_slow_to_go_hold_no_controller),
		qpbox_test(test_a_queue_keeps_its_controller_until_the_device_is_off_its_memory),
		qpbox_test(test_a_host_that_does_not_connect_is_let_go),
		qpbox_test(test_disconnect_is_answered_before_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
