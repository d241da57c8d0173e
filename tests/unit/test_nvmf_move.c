/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections that move between reactors. Here the way leads from the only reactor to itself, with
 * every message of it: each step can be stopped at, and whatever state the connection is in then
 * can be ended in each way.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/buf.h"
#include "targets/nvmf/module.h"
#include "targets/nvmf/tcp.h"
#include "tests/unit/nvmf_scene.h"

enum { WAY_ROUNDS = 7 };                /* that a move takes when nothing is in flight */

static uint8_t out[1 << 20], in[1 << 20];

static void fill(uint32_t seed)
{
	for (size_t i = 0; i < sizeof(out); i++) {
		seed = seed * 1664525 + 1013904223;
		out[i] = (uint8_t)(seed >> 24);
	}
}

static struct nvmf_queue *queue_of(uint16_t cntlid)
{
	for (struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL); ctrl; ctrl = nvmf_ctrl_next(ctrl))
		if (ctrl->cntlid == cntlid && !list_empty(&ctrl->queues))
			return list_entry(ctrl->queues.next, struct nvmf_queue, link);
	return NULL;
}

/* Sets out; there is only one reactor to go to. */
static void shift(struct nvmf_queue *queue)
{
	if (!queue || queue->moving || queue->closing)
		return;
	queue->moving = true;
	queue->shift_us = 1;
	queue->ops->shift(queue, 0);
}

static void rounds(unsigned count)
{
	while (count--)
		reactor_round();
}

static void bystander(struct tbox_conn *io)
{
	struct nvme_sqe zeroes = tbox_rw(NVME_NVM_WRITE_ZEROES, 512, 1);

	assert_int_equal(tbox_run(io, &zeroes, NULL, 0, false, NULL, 0).status, 0);
}

static void nothing_held(void)
{
	assert_int_equal(nvmf_target.conn_count, 0);
	assert_int_equal(nvmf_target.ctrl_count, 0);
	assert_int_equal(nvmf_target.reactor_queues[0], 0);
	for (unsigned i = 0; i < BUF_CLASS_COUNT; i++) {
		struct buf_stats stats;

		buf_stats(i, &stats);
		assert_int_equal(stats.used, 0);
	}
}

/*
 * The target is there before and after, unless its own end is played. False: a state without a
 * queue that could move.
 */
static bool play(const struct scene_row *start, const struct scene_row *end, unsigned way)
{
	bool stops = end->fn == end_target_stops, moves;
	struct scene s = { 0 };
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	start->fn(&s);
	moves = s.io_up;
	if (moves)
		shift(queue_of(s.cntlid));
	rounds(way);
	end->fn(&s);
	loop_drain();
	tbox_disk->mode = FAKE_INSTANT;
	fake_release_all(tbox_disk);
	if (stops) {
		tbox_shut();
	} else {
		loop_drain();
		bystander(&io);
	}
	if (s.io_up)
		tbox_hangup(&s.io);
	if (s.admin_up)
		tbox_hangup(&s.admin);
	if (!stops) {
		assert_int_equal(nvmf_target.conn_count, 2);
		assert_int_equal(nvmf_target.ctrl_count, 1);
		assert_int_equal(nvmf_target.reactor_queues[0], 1);
	}
	tbox_hangup(&io);
	tbox_hangup(&admin);
	if (stops) {
		tbox_stop();
		tbox_start();
	}
	nothing_held();
	return moves;
}

static void test_each_state_ends_in_each_way_at_each_step_of_a_move(void **state)
{
	for (const struct scene_row *start = scene_states; start->fn; start++) {
		for (const struct scene_row *end = scene_ends; end->fn; end++) {
			unsigned way = 0;

			print_message("%s × %s\n", start->name, end->name);
			while (play(start, end, way) && way < WAY_ROUNDS)
				way++;
		}
	}
}

/* ---- what a move leaves as it was ---- */

struct pair {
	struct tbox_conn admin, io;
	struct nvmf_queue *queue;
};

static void pair_open(struct pair *p)
{
	p->queue = queue_of(tbox_host(&p->admin, &p->io, 0));
	assert_non_null(p->queue);
}

static void pair_close(struct pair *p)
{
	tbox_hangup(&p->io);
	tbox_hangup(&p->admin);
}

static void test_idle_queue_moves_and_serves_on(void **state)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 8), r = tbox_rw(NVME_NVM_READ, 0, 8);
	struct pair p;

	pair_open(&p);
	for (unsigned i = 1; i <= 20; i++) {
		shift(p.queue);
		loop_drain();
		assert_int_equal(p.queue->moves, i);
		assert_false(p.queue->moving);
		fill(i);
		assert_int_equal(tbox_run(&p.io, &w, out, 4096, i % 2, NULL, 0).status, 0);
		assert_int_equal(tbox_run(&p.io, &r, NULL, 0, false, in, 4096).status, 0);
		assert_memory_equal(in, out, 4096);
	}
	pair_close(&p);
}

/* A read is at the disk: the queue waits for it, takes no commands meanwhile, and loses none. */
static void test_move_waits_for_what_is_in_flight(void **state)
{
	struct nvme_sqe flush = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0);
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8);
	uint16_t read_cid, flush_cid;
	struct pair p;

	pair_open(&p);
	tbox_disk->mode = FAKE_HELD;
	r.sgl.length = le32_make(4096);
	r.sgl.id = 0x5a;
	read_cid = tbox_cmd(&p.io, &r, NULL, 0);
	loop_drain();
	shift(p.queue);
	loop_drain();
	flush_cid = tbox_cmd(&p.io, &flush, NULL, 0);
	loop_drain();
	assert_int_equal(p.queue->moves, 0);
	assert_int_equal(tbox_disk->held_count, 1);
	tbox_disk->mode = FAKE_INSTANT;
	fake_release_all(tbox_disk);
	assert_int_equal(tbox_wait(&p.io, read_cid, NULL, 0, in, 4096).status, 0);
	assert_int_equal(tbox_wait(&p.io, flush_cid, NULL, 0, NULL, 0).status, 0);
	assert_int_equal(p.queue->moves, 1);
	pair_close(&p);
}

/* Commands come before the data that the move waits for: they are read, and wait. */
static void test_writes_that_come_while_data_is_owed_start_after_the_move(void **state)
{
	struct nvme_sqe w2 = tbox_rw(NVME_NVM_WRITE, 1024, 128);
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 128);
	struct nvme_tcp_r2t first;
	struct tbox_pdu pdu;
	uint16_t cid[3];
	struct pair p;

	pair_open(&p);
	fill(7);
	w.sgl.length = w2.sgl.length = le32_make(65536);
	w.sgl.id = w2.sgl.id = 0x5a;
	cid[0] = tbox_cmd(&p.io, &w, NULL, 0);
	tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
	first = pdu.r2t;
	shift(p.queue);
	loop_drain();
	for (unsigned i = 1; i < 3; i++) {
		w2.slba = le64_make(1024 * i);
		cid[i] = tbox_cmd(&p.io, &w2, NULL, 0);
	}
	loop_drain();
	assert_false(tbox_recv(&p.io, &pdu));
	assert_int_equal(p.queue->moves, 0);
	tbox_h2c(&p.io, &first, out, 0, 65536, true);
	assert_int_equal(tbox_wait(&p.io, cid[0], NULL, 0, NULL, 0).status, 0);
	for (unsigned i = 1; i < 3; i++) {
		tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
		assert_int_equal(le16_get(pdu.r2t.cccid), cid[i]);
		assert_int_equal(p.queue->moves, 1);
		tbox_h2c(&p.io, &pdu.r2t, out, 0, 65536, true);
	}
	for (unsigned i = 1; i < 3; i++)
		assert_int_equal(tbox_wait(&p.io, cid[i], NULL, 0, NULL, 0).status, 0);
	assert_memory_equal(tbox_disk->view, out, 65536);
	assert_memory_equal(tbox_disk->view + 1024 * 512, out, 65536);
	assert_memory_equal(tbox_disk->view + 2048 * 512, out, 65536);
	pair_close(&p);
}

/* Bytes that were received already go along, wherever they are cut. */
static void test_received_bytes_move_along(void **state)
{
	struct nvme_sqe flush = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0);
	struct nvme_tcp_cmd cmd = {
		.ch = { .type = NVME_TCP_CMD, .hlen = 72, .plen = le32_make(72) },
	};
	uint8_t bytes[3 * 72];
	struct pair p;

	pair_open(&p);
	for (unsigned i = 0; i < 3; i++) {
		cmd.sqe = flush;
		cmd.sqe.cid = le16_make((uint16_t)(100 + i));
		memcpy(bytes + i * 72, &cmd, 72);
	}
	for (unsigned cut = 0; cut < sizeof(bytes); cut += 5) {
		unsigned before = p.queue->moves;

		tbox_send(&p.io, bytes, cut);
		/* they are there, and the word to come to rest with them */
		shift(p.queue);
		rounds(cut % 4);
		tbox_send(&p.io, bytes + cut, sizeof(bytes) - cut);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(tbox_wait(&p.io, (uint16_t)(100 + i), NULL, 0, NULL,
						   0).status, 0);
		loop_drain();
		assert_int_equal(p.queue->moves, before + 1);
	}
	pair_close(&p);
}

static void test_queue_that_is_never_at_rest_stays_and_goes_on(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8), w = tbox_rw(NVME_NVM_WRITE, 64, 128);
	struct tbox_pdu pdu;
	uint16_t read_cid, cid;
	struct pair p;

	pair_open(&p);
	tbox_disk->mode = FAKE_HELD;
	r.sgl.length = le32_make(4096);
	r.sgl.id = 0x5a;
	read_cid = tbox_cmd(&p.io, &r, NULL, 0);
	loop_drain();
	shift(p.queue);
	loop_drain();
	w.sgl.length = le32_make(65536);
	w.sgl.id = 0x5a;
	cid = tbox_cmd(&p.io, &w, NULL, 0);
	loop_advance(NVMF_TCP_MOVE_MS * 1000ull / 2);
	assert_false(tbox_recv(&p.io, &pdu));
	loop_advance(NVMF_TCP_MOVE_MS * 1000ull);
	assert_false(p.queue->moving);
	assert_int_equal(p.queue->moves, 0);
	tbox_disk->mode = FAKE_INSTANT;
	assert_int_equal(tbox_wait(&p.io, cid, out, 65536, NULL, 0).status, 0);
	fake_release_all(tbox_disk);
	assert_int_equal(tbox_wait(&p.io, read_cid, NULL, 0, in, 4096).status, 0);
	pair_close(&p);
}

static void remove_ns(void *arg)
{
	*(int *)arg = nvmf_ns_remove(nvmf_subsystem_find(TBOX_NQN), 1);
}

/* At each step: a write that waits for the move finds that its namespace is gone. */
static void test_namespace_is_removed_during_a_move(void **state)
{
	for (unsigned way = 0; way <= WAY_ROUNDS; way++) {
		struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 128);
		struct tbox_pdu pdu;
		uint16_t cid[2];
		struct pair p;
		int rc = 1;

		tbox_start();
		pair_open(&p);
		w.sgl.length = le32_make(65536);
		w.sgl.id = 0x5a;
		cid[0] = tbox_cmd(&p.io, &w, NULL, 0);
		tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
		shift(p.queue);
		loop_drain();
		cid[1] = tbox_cmd(&p.io, &w, NULL, 0);
		loop_drain();
		tbox_h2c(&p.io, &pdu.r2t, out, 0, 65536, true);
		rounds(way);
		loop_task(remove_ns, &rc);
		assert_int_equal(rc, 0);
		tbox_wait(&p.io, cid[0], NULL, 0, NULL, 0);
		tbox_wait(&p.io, cid[1], out, 65536, NULL, 0);
		w.slba = le64_make(0);
		assert_int_equal(tbox_run(&p.io, &w, out, 65536, false, NULL, 0).status,
				 NVME_SC_INVALID_NS | NVME_STATUS_DNR);
		assert_true(list_empty(&tbox_disk->bdev.users));
		pair_close(&p);
		tbox_stop();
	}
}

static void test_queue_moves_once_at_a_time(void **state)
{
	struct pair p;

	pair_open(&p);
	shift(p.queue);
	assert_int_equal(nvmf_queue_shift(p.queue, 0), -EBUSY);
	loop_drain();
	assert_int_equal(nvmf_queue_shift(p.queue, 0), 0);
	assert_int_equal(nvmf_queue_shift(p.queue->ctrl->admin, 0), -EOPNOTSUPP);
	pair_close(&p);
}

/* ---- which one moves ---- */

static void test_queue_that_evens_the_loads_is_picked(void **state)
{
	struct nvmf_load loads[] = {
		{ 1, 100, true }, { 0, 600, true }, { 0, 250, true }, { 0, 50, true },
		{ 0, 100, true },
	};
	unsigned to;

	/* 900 against 100: moving 600/1000 of 900 leaves 360 and 640 */
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 900, 100 }, 2, loads, 5, &to), 1);
	assert_int_equal(to, 1);
	loads[1].may_move = false;
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 900, 100 }, 2, loads, 5, &to), 2);
	/* to the idlest */
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 900, 100, 50 }, 3, loads, 5, &to), 2);
	assert_int_equal(to, 2);
}

static void test_loads_that_cannot_be_evened_stay(void **state)
{
	struct nvmf_load one[] = { { 0, 1000, true }, { 0, 3, true }, { 1, 10, true } };
	struct nvmf_load idle[] = { { 0, 0, true }, { 0, 0, true } };
	unsigned to;

	/* the only busy one would take its load along */
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 900, 10 }, 2, one, 3, &to), -1);
	/* nearly even; or nothing much to do */
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 900, 700 }, 2, one, 3, &to), -1);
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 400, 0 }, 2, one, 3, &to), -1);
	/* busy with something else */
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 900, 0 }, 2, idle, 2, &to), -1);
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 900, 0 }, 2, NULL, 0, &to), -1);
	assert_int_equal(nvmf_balance_pick((unsigned[]){ 900 }, 1, one, 2, &to), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_each_state_ends_in_each_way_at_each_step_of_a_move),
		tbox_test(test_idle_queue_moves_and_serves_on),
		tbox_test(test_move_waits_for_what_is_in_flight),
		tbox_test(test_writes_that_come_while_data_is_owed_start_after_the_move),
		tbox_test(test_received_bytes_move_along),
		tbox_test(test_queue_that_is_never_at_rest_stays_and_goes_on),
		cmocka_unit_test(test_namespace_is_removed_during_a_move),
		tbox_test(test_queue_moves_once_at_a_time),
		cmocka_unit_test(test_queue_that_evens_the_loads_is_picked),
		cmocka_unit_test(test_loads_that_cannot_be_evened_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
