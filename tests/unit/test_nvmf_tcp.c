/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the TCP transport specification (1.0) says of PDUs beyond their headers: several R2Ts of a
 * command, alignment of data both ways, digests of each, and everything that a host may get wrong
 * about them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "targets/nvmf/tcp.h"
#include "tests/unit/nvmf_box.h"

enum { MIB = 1 << 20, PART = NVMF_TCP_R2T_BYTES, PARTS = MIB / PART };

static uint8_t out[MIB];

static void fill(uint32_t seed)
{
	for (size_t i = 0; i < sizeof(out); i++) {
		seed = seed * 1664525 + 1013904223;
		out[i] = (uint8_t)(seed >> 24);
	}
}

struct how {
	bool hdgst, ddgst;
	uint8_t hpda;
	uint32_t maxr2t;
};

struct pair {
	struct tbox_conn admin, io;
};

static void pair_open(struct pair *p, const struct how *how)
{
	struct tbox_end end;

	tbox_dial(&p->admin);
	tbox_ic(&p->admin, false, false);
	end = tbox_connect(&p->admin, TBOX_NQN, 0, 31, NVMF_CNTLID_DYNAMIC, 0);
	assert_int_equal(end.status, 0);
	tbox_enable(&p->admin);
	tbox_dial(&p->io);
	p->io.hpda = how->hpda;
	p->io.maxr2t = how->maxr2t;
	tbox_ic(&p->io, how->hdgst, how->ddgst);
	assert_int_equal(tbox_connect(&p->io, TBOX_NQN, 1, 31, (uint16_t)end.dw0, 0).status, 0);
}

static void pair_close(struct pair *p)
{
	tbox_hangup(&p->io);
	tbox_hangup(&p->admin);
}

static uint16_t start_write(struct tbox_conn *io)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, MIB / TBOX_BLOCK_BYTES);

	w.sgl.length = le32_make(MIB);
	w.sgl.id = 0x5a;
	return tbox_cmd(io, &w, NULL, 0);
}

/* ---- several R2Ts ---- */

/* As many as the host wants at most; each that is answered is followed by the next. */
static void test_r2ts_of_a_command_are_as_many_as_the_host_takes(void **state)
{
	static const uint32_t limits[] = { 0, 1, 2, 3, 4, 0xffff, 0xffffffff };

	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		struct how how = { .hdgst = i % 2, .ddgst = i % 3 == 1, .maxr2t = limits[i] };
		unsigned parts = limits[i] ? PARTS : 1, len = MIB / parts;
		unsigned window = limits[i] < parts ? limits[i] + 1 : parts, asked = 0;
		struct nvme_tcp_r2t open[PARTS];
		struct tbox_pdu pdu;
		struct pair p;
		uint16_t cid;

		window = MIN(window, parts);
		pair_open(&p, &how);
		fill(i);
		cid = start_write(&p.io);
		for (unsigned done = 0; done < parts; done++) {
			for (; asked < MIN(done + window, parts); asked++) {
				tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
				assert_int_equal(le32_get(pdu.r2t.r2to), asked * len);
				assert_int_equal(le32_get(pdu.r2t.r2tl), len);
				assert_int_equal(le16_get(pdu.r2t.cccid), cid);
				open[asked] = pdu.r2t;
			}
			assert_false(tbox_recv(&p.io, &pdu));
			/* in two pieces, cut anywhere */
			tbox_h2c(&p.io, &open[done], out, done * len, 4 + 12 * i, false);
			tbox_h2c(&p.io, &open[done], out, done * len + 4 + 12 * i,
				 len - 4 - 12 * i, true);
		}
		assert_int_equal(tbox_wait(&p.io, cid, NULL, 0, NULL, 0).status, 0);
		assert_memory_equal(tbox_disk->view, out, MIB);
		pair_close(&p);
	}
}

/* Each R2T has a tag of its own: they may be answered in any order, even mixed. */
static void test_r2ts_are_answered_in_any_order(void **state)
{
	static const uint8_t orders[][PARTS] = { { 3, 2, 1, 0 }, { 1, 3, 0, 2 }, { 2, 0, 3, 1 } };
	const struct how how = { .ddgst = true, .maxr2t = 7 };
	struct nvme_tcp_r2t open[PARTS];
	struct tbox_pdu pdu;
	struct pair p;

	pair_open(&p, &how);
	for (unsigned o = 0; o < ARRAY_SIZE(orders); o++) {
		uint16_t cid = start_write(&p.io);

		fill(o);
		for (unsigned i = 0; i < PARTS; i++) {
			tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
			open[i] = pdu.r2t;
		}
		for (unsigned half = 0; half < 2; half++)
			for (unsigned i = 0; i < PARTS; i++)
				tbox_h2c(&p.io, &open[orders[o][i]], out,
					 orders[o][i] * PART + half * PART / 2, PART / 2, half);
		assert_int_equal(tbox_wait(&p.io, cid, NULL, 0, NULL, 0).status, 0);
		assert_memory_equal(tbox_disk->view, out, MIB);
	}
	pair_close(&p);
}

/* The peer takes nothing for a while: R2Ts that found no room come later. */
static void test_r2ts_without_room_come_later(void **state)
{
	const struct how how = { .maxr2t = 1 };
	unsigned done = 0;
	struct tbox_pdu pdu;
	struct pair p;

	pair_open(&p, &how);
	fill(3);
	p.io.f->peer->room = 40;
	for (unsigned i = 0; i < 8; i++)
		start_write(&p.io);
	for (unsigned tries = 0; done < 8; tries++) {
		assert_true(tries < 1000);
		if (!tbox_recv(&p.io, &pdu))
			continue;
		if (pdu.ch.type == NVME_TCP_R2T)
			tbox_h2c(&p.io, &pdu.r2t, out, le32_get(pdu.r2t.r2to),
				 le32_get(pdu.r2t.r2tl), true);
		else
			done++;
	}
	assert_memory_equal(tbox_disk->view, out, MIB);
	pair_close(&p);
}

/* ---- data that fits no R2T ---- */

/* Two R2Ts are open, of PART each. */
static const struct wrong {
	const char *name;
	uint32_t tag;                   /* added to the tag of the first */
	uint32_t datao, datal;
	uint16_t cid;                   /* added */
	bool last;
	uint16_t fes;
	int64_t fei;
} wrongs[] = {
	{ "tag of no request", 1, 0, 512, 0, false, NVME_TCP_FES_HEADER_FIELD, 10 },
	{ "tag beyond all requests", 1000, 0, 512, 0, false, NVME_TCP_FES_HEADER_FIELD, 10 },
	{ "R2T that was not sent", 2 << NVMF_TCP_TTAG_BITS, 2 * PART, 512, 0, false,
	  NVME_TCP_FES_HEADER_FIELD, 10 },
	{ "R2T that there is not", 31u << NVMF_TCP_TTAG_BITS, 0, 512, 0, false,
	  NVME_TCP_FES_HEADER_FIELD, 10 },
	{ "another command", 0, 0, 512, 1, false, NVME_TCP_FES_HEADER_FIELD, 8 },
	{ "place of the other R2T", 0, PART, 512, 0, false, NVME_TCP_FES_OUT_OF_RANGE, -1 },
	{ "other R2T, place of this", 1 << NVMF_TCP_TTAG_BITS, 0, 512, 0, false,
	  NVME_TCP_FES_OUT_OF_RANGE, -1 },
	{ "a gap", 0, 512, 512, 0, false, NVME_TCP_FES_OUT_OF_RANGE, -1 },
	{ "over the end", 0, 0, PART + 4, 0, false, NVME_TCP_FES_OUT_OF_RANGE, -1 },
	{ "place and length wrap", 0, 0xfffffe00, 512, 0, false, NVME_TCP_FES_OUT_OF_RANGE, -1 },
	{ "last too early", 0, 0, 512, 0, true, NVME_TCP_FES_HEADER_FIELD, 1 },
	{ "no last at the end", 0, 0, PART, 0, false, NVME_TCP_FES_HEADER_FIELD, 1 },
};

static void test_data_that_fits_no_r2t_ends_the_connection(void **state)
{
	const struct how how = { .maxr2t = 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(wrongs); i++) {
		const struct wrong *w = &wrongs[i];
		struct tbox_pdu pdu;
		struct nvme_tcp_r2t r2t;
		struct pair p;

		print_message("%s\n", w->name);
		pair_open(&p, &how);
		start_write(&p.io);
		tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
		r2t = pdu.r2t;
		tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
		r2t.ttag = le16_make((uint16_t)(le16_get(r2t.ttag) + w->tag));
		r2t.cccid = le16_make((uint16_t)(le16_get(r2t.cccid) + w->cid));
		tbox_h2c_at(&p.io, &r2t, out, w->datao, w->datal, w->last);
		tbox_expect_end(&p.io, w->fes, w->fei);
		pair_close(&p);
	}
}

static void test_r2t_is_answered_once(void **state)
{
	const struct how how = { .maxr2t = 1 };
	struct tbox_pdu pdu;
	struct pair p;

	pair_open(&p, &how);
	start_write(&p.io);
	tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
	tbox_h2c(&p.io, &pdu.r2t, out, 0, PART, true);
	tbox_h2c(&p.io, &pdu.r2t, out, 0, PART, true);
	for (unsigned i = 0; i < 2; i++)
		tbox_expect(&p.io, NVME_TCP_R2T, &(struct tbox_pdu){ 0 });
	tbox_expect_end(&p.io, NVME_TCP_FES_HEADER_FIELD, offsetof(struct nvme_tcp_data, ttag));
	pair_close(&p);
}

/* ---- alignment ---- */

/* HPDA: data of the controller begins at a multiple of what the host wants. */
static void test_data_to_the_host_is_aligned_as_it_wants(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 16);

	fill(9);
	memcpy(tbox_disk->view, out, 8192);
	for (unsigned i = 0; i < 4 * (NVME_TCP_PDA_MAX + 1); i++) {
		struct how how = { .hdgst = i & 1, .ddgst = i & 2, .hpda = (uint8_t)(i / 4) };
		unsigned header = 24 + (how.hdgst ? 4 : 0), align = (how.hpda + 1u) * 4;
		struct tbox_pdu pdu;
		struct pair p;
		uint16_t cid;

		pair_open(&p, &how);
		r.sgl.length = le32_make(8192);
		r.sgl.id = 0x5a;
		cid = tbox_cmd(&p.io, &r, NULL, 0);
		tbox_expect(&p.io, NVME_TCP_C2H_DATA, &pdu);
		assert_int_equal(pdu.ch.pdo, div_round_up(header, align) * align);
		assert_int_equal(le32_get(pdu.ch.plen), pdu.ch.pdo + 8192 + (how.ddgst ? 4 : 0));
		assert_int_equal(pdu.payload_len, 8192);
		assert_memory_equal(pdu.payload, out, 8192);
		assert_int_equal(tbox_wait(&p.io, cid, NULL, 0, NULL, 0).status, 0);
		pair_close(&p);
	}
}

/* CPDA is 0: the host may put its data at any multiple of four, up to where PDO can point. */
static void test_data_of_the_host_may_be_anywhere_behind_the_header(void **state)
{
	static const uint8_t offsets[] = { 0, 4, 8, 56, 128, 179 };
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 8);
	const struct how how = { .maxr2t = 0 };
	struct nvme_tcp_cmd cmd = { .ch = { .type = NVME_TCP_CMD, .hlen = 72 } };
	struct pair p;

	pair_open(&p, &how);
	w.sgl.length = le32_make(4096);
	w.sgl.id = 0x01;
	w.cid = le16_make(77);
	for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
		unsigned pdo = 72 + offsets[i] / 4 * 4u;
		static uint8_t pdu[512 + 4096];

		fill(i);
		memset(pdu, 0xee, sizeof(pdu));
		cmd.ch.pdo = (uint8_t)pdo;
		cmd.ch.plen = le32_make(pdo + 4096);
		cmd.sqe = w;
		memcpy(pdu, &cmd, sizeof(cmd));
		memcpy(pdu + pdo, out, 4096);
		tbox_send(&p.io, pdu, pdo + 4096);
		assert_int_equal(tbox_wait(&p.io, 77, NULL, 0, NULL, 0).status, 0);
		assert_memory_equal(tbox_disk->view, out, 4096);
	}
	pair_close(&p);
}

/* A digest of data that is wrong, in any of several R2Ts: the command fails, when all is here. */
static void test_wrong_digest_of_one_part_fails_the_command(void **state)
{
	const struct how how = { .ddgst = true, .maxr2t = 3 };

	for (unsigned bad = 0; bad < PARTS; bad++) {
		struct nvme_tcp_r2t open[PARTS];
		struct tbox_pdu pdu;
		struct pair p;
		uint16_t cid;

		pair_open(&p, &how);
		cid = start_write(&p.io);
		for (unsigned i = 0; i < PARTS; i++) {
			tbox_expect(&p.io, NVME_TCP_R2T, &pdu);
			open[i] = pdu.r2t;
		}
		for (unsigned i = 0; i < PARTS; i++) {
			assert_false(tbox_recv(&p.io, &pdu));
			p.io.spoil_ddgst = i == bad;
			tbox_h2c(&p.io, &open[i], out, i * PART, PART, true);
		}
		p.io.spoil_ddgst = 0;
		assert_int_equal(tbox_wait(&p.io, cid, NULL, 0, NULL, 0).status,
				 NVME_SC_TRANSIENT_TRANSPORT);
		assert_int_equal(tbox_disk->ops[IO_WRITE], 0);
		pair_close(&p);
	}
}

/* ---- lengths that wrap ---- */

static void test_lengths_near_4_gib_end_the_connection(void **state)
{
	static const uint32_t lengths[] = {
		0xffffffff, 0xfffffffc, 0xffffffff - 71, 0x80000000, 0x7fffffff, 71, 8, 0,
	};
	static const uint8_t pdos[] = { 0, 72, 76, 252 };
	const struct how how = { .maxr2t = 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths) * ARRAY_SIZE(pdos); i++) {
		struct nvme_tcp_cmd cmd = {
			.ch = { .type = NVME_TCP_CMD, .hlen = 72,
				.pdo = pdos[i % ARRAY_SIZE(pdos)],
				.plen = le32_make(lengths[i / ARRAY_SIZE(pdos)]) },
			.sqe = tbox_rw(NVME_NVM_WRITE, 0, 8),
		};
		struct pair p;

		pair_open(&p, &how);
		cmd.sqe.sgl.length = le32_make(4096);
		cmd.sqe.sgl.id = 0x01;
		tbox_send(&p.io, &cmd, sizeof(cmd));
		loop_drain();
		tbox_send(&p.io, out, 4096);
		tbox_expect_end(&p.io, cmd.ch.pdo >= 72 && lengths[i / ARRAY_SIZE(pdos)] > 1000 ?
				NVME_TCP_FES_LIMIT : NVME_TCP_FES_HEADER_FIELD, -1);
		assert_int_equal(tbox_disk->ops[IO_WRITE], 0);
		pair_close(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_r2ts_of_a_command_are_as_many_as_the_host_takes),
		tbox_test(test_r2ts_are_answered_in_any_order),
		tbox_test(test_r2ts_without_room_come_later),
		tbox_test(test_data_that_fits_no_r2t_ends_the_connection),
		tbox_test(test_r2t_is_answered_once),
		tbox_test(test_data_to_the_host_is_aligned_as_it_wants),
		tbox_test(test_data_of_the_host_may_be_anywhere_behind_the_header),
		tbox_test(test_wrong_digest_of_one_part_fails_the_command),
		tbox_test(test_lengths_near_4_gib_end_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
