/* SPDX-License-Identifier: BSD-3-Clause */
/* NVMe/TCP when something is short: memory, the peer's attention, the namespace itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"
#include "targets/nvmf/tcp.h"
#include "tests/unit/nvmf_box.h"

static uint8_t out[1 << 20], in[1 << 20];

static void fill(uint32_t seed)
{
	for (size_t i = 0; i < sizeof(out); i++) {
		seed = seed * 1664525 + 1013904223;
		out[i] = (uint8_t)(seed >> 24);
	}
}

static void goodbye(struct tbox_conn *admin, struct tbox_conn *io)
{
	tbox_hangup(io);
	tbox_hangup(admin);
}

/* Buffers run out: the commands wait, the connection is read on, everything ends. */
static void test_more_data_than_memory(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 2048);
	struct tbox_conn admin, io;
	struct tbox_pdu pdu;
	size_t got = 0;

	tbox_host(&admin, &io, 0);
	r.sgl.length = le32_make(1 << 20);
	r.sgl.id = 0x5a;
	tbox_disk->mode = FAKE_HELD;
	for (unsigned i = 0; i < 31; i++)
		tbox_cmd(&io, &r, NULL, 0);
	loop_drain();
	assert_in_range(tbox_disk->held_count, 1, 30);
	for (unsigned done = 0; done < 31;) {
		fake_release(tbox_disk, 1);
		while (tbox_recv(&io, &pdu)) {
			if (pdu.ch.type == NVME_TCP_C2H_DATA)
				got += pdu.payload_len;
			else
				done++;
		}
	}
	assert_int_equal(got, 31u << 20);
	goodbye(&admin, &io);
}

static void test_writes_wait_for_memory_and_in_capsule_writes_pass(void **state)
{
	struct nvme_sqe big = tbox_rw(NVME_NVM_WRITE, 0, 2048);
	struct nvme_sqe small = tbox_rw(NVME_NVM_WRITE, 4096, 8);
	struct tbox_conn admin, io;
	struct nvme_tcp_r2t r2t[31];
	struct tbox_pdu pdu;
	unsigned open = 0, done = 0;

	tbox_host(&admin, &io, 0);
	fill(3);
	big.sgl.length = le32_make(1 << 20);
	big.sgl.id = 0x5a;
	for (unsigned i = 0; i < 30; i++)
		tbox_cmd(&io, &big, NULL, 0);
	while (tbox_recv(&io, &pdu)) {
		assert_int_equal(pdu.ch.type, NVME_TCP_R2T);
		r2t[open++] = pdu.r2t;
	}
	assert_in_range(open, 1, 29);
	assert_int_equal(tbox_run(&io, &small, out, 4096, true, NULL, 0).status, 0);
	assert_memory_equal(tbox_disk->view + 4096 * 512, out, 4096);
	while (open) {
		tbox_h2c(&io, &r2t[--open], out, 0, 1 << 20, true);
		while (tbox_recv(&io, &pdu)) {
			if (pdu.ch.type == NVME_TCP_R2T)
				r2t[open++] = pdu.r2t;
			else
				done++;
		}
	}
	assert_int_equal(done, 30);
	assert_memory_equal(tbox_disk->view, out, 1 << 20);
	goodbye(&admin, &io);
}

static void test_peer_that_does_not_read_is_waited_for_and_then_closed(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 128);
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	r.sgl.length = le32_make(65536);
	r.sgl.id = 0x5a;
	io.f->peer->room = 100000;
	for (unsigned i = 0; i < 20; i++)
		tbox_cmd(&io, &r, NULL, 0);
	loop_drain();
	for (unsigned i = 0; i < config.nvmf_connect_timeout_ms / 250 + 8; i++)
		loop_advance(250 * 1000);
	tbox_expect_end(&io, 0, 0);
	goodbye(&admin, &io);
}

/* It goes on with other commands, but not with the data it was asked for. */
static void test_host_that_does_not_answer_r2t_is_closed(void **state)
{
	struct nvme_sqe flush = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0);
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 128);
	struct tbox_conn admin, io;
	struct tbox_pdu pdu;
	unsigned rounds = config.nvmf_connect_timeout_ms / 250;

	tbox_host(&admin, &io, 0);
	w.sgl.length = le32_make(65536);
	w.sgl.id = 0x5a;
	tbox_cmd(&io, &w, NULL, 0);
	tbox_expect(&io, NVME_TCP_R2T, &pdu);
	for (unsigned i = 0; i < rounds - 4; i++) {
		loop_advance(250 * 1000);
		assert_int_equal(tbox_run(&io, &flush, NULL, 0, false, NULL, 0).status, 0);
	}
	/* some data is enough for another while */
	tbox_h2c(&io, &pdu.r2t, out, 0, 4096, false);
	for (unsigned i = 0; i < rounds - 4; i++) {
		loop_advance(250 * 1000);
		assert_int_equal(tbox_run(&io, &flush, NULL, 0, false, NULL, 0).status, 0);
	}
	for (unsigned i = 0; i < 8; i++)
		loop_advance(250 * 1000);
	tbox_expect_end(&io, 0, 0);
	goodbye(&admin, &io);
}

/* A host that asks for much and sends nothing delays itself only. */
static void test_host_that_does_not_answer_r2t_does_not_delay_others(void **state)
{
	struct nvme_sqe big = tbox_rw(NVME_NVM_WRITE, 0, 128);
	struct tbox_conn admin[3], io[3];
	struct tbox_pdu pdu;
	unsigned asked[2] = { 0 };

	nvmf_tcp_group_at(0)->shares[BUF_CLASS_COUNT + 1].max = 8 * 65536;
	for (unsigned i = 0; i < 3; i++)
		tbox_host(&admin[i], &io[i], 0);
	big.sgl.length = le32_make(65536);
	big.sgl.id = 0x5a;
	for (unsigned h = 0; h < 2; h++) {
		for (unsigned i = 0; i < 31; i++)
			tbox_cmd(&io[h], &big, NULL, 0);
		while (tbox_recv(&io[h], &pdu)) {
			assert_int_equal(pdu.ch.type, NVME_TCP_R2T);
			asked[h]++;
		}
	}
	/* each has half of what was free */
	assert_int_equal(asked[0], 4);
	assert_int_equal(asked[1], 2);
	fill(5);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(tbox_run(&io[2], &big, out, 65536, false, NULL, 0).status, 0);
		assert_memory_equal(tbox_disk->view, out, 65536);
	}
	/* a share that becomes free is given out again, to those that had less first */
	tbox_hangup(&io[0]);
	asked[1] = 0;
	while (tbox_recv(&io[1], &pdu))
		asked[1] += pdu.ch.type == NVME_TCP_R2T;
	assert_int_equal(asked[1], 2);
	assert_int_equal(nvmf_tcp_group_at(0)->shares[BUF_CLASS_COUNT + 1].used, 4 * 65536);
	tbox_hangup(&admin[0]);
	for (unsigned i = 1; i < 3; i++)
		goodbye(&admin[i], &io[i]);
}

static void pass(unsigned ms)
{
	for (unsigned i = 0; i < ms; i += 250)
		loop_advance(250 * 1000);
}

/* Four bytes a time, each a PDU of its own: that is as good as nothing. */
static void test_host_that_sends_data_in_drops_is_closed(void **state)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 128);
	struct tbox_conn admin, io;
	struct tbox_pdu pdu;
	unsigned at = 0;

	tbox_host(&admin, &io, 0);
	w.sgl.length = le32_make(65536);
	w.sgl.id = 0x5a;
	tbox_cmd(&io, &w, NULL, 0);
	tbox_expect(&io, NVME_TCP_R2T, &pdu);
	for (; at < config.nvmf_connect_timeout_ms / 250 * 4; at += 4) {
		assert_false(io.ended);
		tbox_h2c(&io, &pdu.r2t, out, at, 4, false);
		pass(250);
	}
	pass(500);
	tbox_expect_end(&io, 0, 0);
	goodbye(&admin, &io);
}

static void test_host_that_sends_a_header_in_drops_is_closed(void **state)
{
	const struct nvme_tcp_cmd cmd = {
		.ch = { .type = NVME_TCP_CMD, .hlen = 72, .plen = le32_make(72) },
		.sqe = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0),
	};
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	for (unsigned i = 0; i < 60; i++) {
		tbox_send(&io, (const uint8_t *)&cmd + i, 1);
		pass(config.nvmf_connect_timeout_ms / 50);
	}
	tbox_expect_end(&io, 0, 0);
	goodbye(&admin, &io);
}

static void test_host_that_takes_answers_in_drops_is_closed(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 128);
	struct tbox_conn admin, io;
	struct iovec drop = { in, 50 };

	tbox_host(&admin, &io, 0);
	r.sgl.length = le32_make(65536);
	r.sgl.id = 0x5a;
	io.f->peer->room = 100000;
	for (unsigned i = 0; i < 20; i++)
		tbox_cmd(&io, &r, NULL, 0);
	loop_drain();
	for (unsigned i = 0; i < config.nvmf_connect_timeout_ms / 250 + 2; i++) {
		assert_int_equal(stream_readv(&io.f->s, &drop, 1), 50);
		pass(250);
	}
	assert_int_equal(nvmf_target.conn_count, 1);
	tbox_hangup(&io);
	tbox_hangup(&admin);
}

/* Its answers hold half of the memory at most: another one reads on. */
static void test_host_that_takes_no_answers_does_not_delay_others(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 2048);
	struct nvmf_tcp_share *share = &nvmf_tcp_group_at(0)->shares[2];
	struct tbox_conn admin[2], io[2];
	struct tbox_pdu pdu;

	for (unsigned i = 0; i < 2; i++)
		tbox_host(&admin[i], &io[i], 0);
	r.sgl.length = le32_make(1 << 20);
	r.sgl.id = 0x5a;
	io[0].f->peer->room = 100000;
	for (unsigned i = 0; i < 31; i++)
		tbox_cmd(&io[0], &r, NULL, 0);
	loop_drain();
	assert_in_range(share->used, 1 << 20, share->max / 2);
	for (unsigned i = 0; i < 40; i++) {
		fill(i);
		memcpy(tbox_disk->view, out, 1 << 20);
		assert_int_equal(tbox_run(&io[1], &r, NULL, 0, false, in, 1 << 20).status, 0);
		assert_memory_equal(in, out, 1 << 20);
	}
	/* all of them come when it reads again */
	io[0].f->peer->room = SIZE_MAX;
	for (unsigned done = 0, tries = 0; done < 31; tries++) {
		assert_true(tries < 1000);
		if (tbox_recv(&io[0], &pdu))
			done += pdu.ch.type == NVME_TCP_RSP;
	}
	loop_drain();
	assert_int_equal(share->used, 0);
	for (unsigned i = 0; i < 2; i++)
		goodbye(&admin[i], &io[i]);
}

/* In-capsule writes of 4 KiB to places beside each other, APART: each in a segment of its own. */
static void write_small(struct tbox_conn *io, unsigned count, bool apart)
{
	for (unsigned i = 0; i < count; i++) {
		struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, i * 8, 8);

		w.sgl.length = le32_make(4096);
		w.sgl.id = NVME_SGL_DATA << 4 | NVME_SGL_OFFSET;
		tbox_cmd(io, &w, out + (size_t)i * 4096, 4096);
		if (apart)
			loop_drain();
	}
	loop_drain();
}

static void written_small(struct tbox_conn *io, unsigned count)
{
	struct tbox_pdu pdu;

	assert_int_equal(fake_release(tbox_disk, count), count);
	for (unsigned i = 0; i < count; i++) {
		tbox_expect(io, NVME_TCP_RSP, &pdu);
		assert_int_equal(nvme_cqe_status(&pdu.rsp.cqe), 0);
	}
	assert_memory_equal(tbox_disk->view, out, (size_t)count * 4096);
}

static void test_in_capsule_data_is_written_from_where_it_was_received(void **state)
{
	const struct nvmf_tcp_group *group = nvmf_tcp_group_at(0);
	struct tbox_conn admin, io;
	const struct io *write;

	tbox_host(&admin, &io, 0);
	fill(4);
	tbox_disk->mode = FAKE_HELD;
	write_small(&io, 1, true);
	write = list_first_entry(&tbox_disk->held, struct io, link);
	assert_true(nvmf_tcp_rx_holds(group, write->iov[0].iov_base));
	assert_int_equal(group->rx_free_count, NVMF_TCP_RX_COUNT - 1);
	written_small(&io, 1);
	assert_int_equal(group->rx_free_count, NVMF_TCP_RX_COUNT);
	/* what begins behind a header is not aligned enough for this one */
	tbox_disk->bdev.align_mask = 511;
	write_small(&io, 1, true);
	assert_int_equal(group->rx_free_count, NVMF_TCP_RX_COUNT);
	written_small(&io, 1);
	goodbye(&admin, &io);
}

/* More than a buffer comes at once, while the disk has all of it. */
static void test_what_is_received_next_does_not_touch_data_at_the_disk(void **state)
{
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	fill(6);
	tbox_disk->mode = FAKE_HELD;
	write_small(&io, 30, false);
	assert_int_equal(tbox_disk->held_count, 30);
	written_small(&io, 30);
	assert_int_equal(nvmf_tcp_group_at(0)->rx_free_count, NVMF_TCP_RX_COUNT);
	goodbye(&admin, &io);
}

/* What a slow disk has is kept in at most half of the receive buffers: others go on. */
static void test_slow_disk_does_not_take_all_receive_buffers(void **state)
{
	const struct nvmf_tcp_group *group = nvmf_tcp_group_at(0);
	struct tbox_conn admin[2], io[2];
	struct nvme_sqe flush = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0);

	for (unsigned i = 0; i < 2; i++)
		tbox_host(&admin[i], &io[i], 0);
	fill(5);
	tbox_disk->mode = FAKE_HELD;
	write_small(&io[0], 30, true);
	assert_int_equal(tbox_disk->held_count, 30);
	assert_in_range(group->rx_free_count, NVMF_TCP_RX_COUNT / 2 - 1, NVMF_TCP_RX_COUNT / 2);
	tbox_disk->bdev.volatile_cache = false;
	assert_int_equal(tbox_run(&io[1], &flush, NULL, 0, false, NULL, 0).status, 0);
	written_small(&io[0], 30);
	assert_int_equal(group->rx_free_count, NVMF_TCP_RX_COUNT);
	/* it ends with all of them at the disk */
	write_small(&io[0], 30, true);
	tbox_hangup(&io[0]);
	assert_int_equal(fake_release(tbox_disk, 30), 30);
	loop_drain();
	assert_int_equal(group->rx_free_count, NVMF_TCP_RX_COUNT);
	tbox_hangup(&admin[0]);
	goodbye(&admin[1], &io[1]);
}

static void remove_ns(void *arg)
{
	*(int *)arg = nvmf_ns_remove(nvmf_subsystem_find(TBOX_NQN), 1);
}

static void start_removal(void *arg)
{
	assert_non_null(task_start("remove", remove_ns, arg));
}

static void test_namespace_removed_under_load(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8), w = tbox_rw(NVME_NVM_WRITE, 0, 128);
	struct tbox_conn admin, io;
	struct tbox_pdu pdu;
	struct nvme_tcp_r2t r2t;
	uint16_t read_cid, write_cid;
	int rc = 1;

	tbox_host(&admin, &io, 0);
	tbox_disk->mode = FAKE_HELD;
	r.sgl.length = le32_make(4096);
	w.sgl.length = le32_make(65536);
	r.sgl.id = w.sgl.id = 0x5a;
	read_cid = tbox_cmd(&io, &r, NULL, 0);
	write_cid = tbox_cmd(&io, &w, NULL, 0);
	tbox_expect(&io, NVME_TCP_R2T, &pdu);
	r2t = pdu.r2t;
	start_removal(&rc);
	loop_advance(10000);
	assert_int_equal(rc, 1);        /* the read is at the disk */
	/* a new command does not see it any more, the write that waits for data fails */
	assert_int_equal(tbox_run(&io, &r, NULL, 0, false, in, 4096).status,
			 NVME_SC_INVALID_NS | NVME_STATUS_DNR);
	tbox_h2c(&io, &r2t, out, 0, 65536, true);
	assert_int_equal(tbox_wait(&io, write_cid, NULL, 0, NULL, 0).status,
			 NVME_SC_INVALID_NS | NVME_STATUS_DNR);
	fake_release(tbox_disk, 1);
	assert_int_equal(tbox_wait(&io, read_cid, NULL, 0, in, 4096).status, 0);
	loop_advance(10000);
	assert_int_equal(rc, 0);
	assert_true(list_empty(&tbox_disk->bdev.users));
	goodbye(&admin, &io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_more_data_than_memory),
		tbox_test(test_writes_wait_for_memory_and_in_capsule_writes_pass),
		tbox_test(test_peer_that_does_not_read_is_waited_for_and_then_closed),
		tbox_test(test_host_that_does_not_answer_r2t_is_closed),
		tbox_test(test_host_that_does_not_answer_r2t_does_not_delay_others),
		tbox_test(test_host_that_sends_data_in_drops_is_closed),
		tbox_test(test_host_that_sends_a_header_in_drops_is_closed),
		tbox_test(test_host_that_takes_answers_in_drops_is_closed),
		tbox_test(test_host_that_takes_no_answers_does_not_delay_others),
		tbox_test(test_in_capsule_data_is_written_from_where_it_was_received),
		tbox_test(test_what_is_received_next_does_not_touch_data_at_the_disk),
		tbox_test(test_slow_disk_does_not_take_all_receive_buffers),
		tbox_test(test_namespace_removed_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
