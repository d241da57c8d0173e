/* SPDX-License-Identifier: BSD-3-Clause */
/* I/O over NVMe/TCP: every command, every way of data, digests, segments of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/buf.h"
#include "core/config.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

enum { KIB = 1024 };

static uint8_t out[1 << 20], in[1 << 20];

static void fill(uint32_t seed, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		out[i] = (uint8_t)(seed >> 24);
	}
	memset(in, 0, sizeof(in));
}

static void write_read(struct tbox_conn *io, uint64_t lba, size_t len, bool in_capsule)
{
	uint32_t blocks = (uint32_t)(len / TBOX_BLOCK_BYTES);
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, lba, blocks);
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, lba, blocks);
	struct tbox_end end;

	fill((uint32_t)(lba + len), len);
	end = tbox_run(io, &w, out, len, in_capsule, NULL, 0);
	assert_int_equal(end.status, 0);
	assert_int_equal(end.r2ts, in_capsule ? 0 : 1);
	end = tbox_run(io, &r, NULL, 0, false, in, len);
	assert_int_equal(end.status, 0);
	assert_int_equal(end.got, len);
	assert_memory_equal(in, out, len);
	assert_memory_equal(tbox_disk->view + lba * TBOX_BLOCK_BYTES, out, len);
}

static void host_with(struct tbox_conn *admin, struct tbox_conn *io, bool hdgst, bool ddgst)
{
	struct tbox_end end;

	tbox_dial(admin);
	tbox_ic(admin, hdgst, ddgst);
	end = tbox_connect(admin, TBOX_NQN, 0, 31, NVMF_CNTLID_DYNAMIC, 0);
	assert_int_equal(end.status, 0);
	tbox_enable(admin);
	tbox_dial(io);
	tbox_ic(io, hdgst, ddgst);
	assert_int_equal(tbox_connect(io, TBOX_NQN, 1, 31, (uint16_t)end.dw0, 0).status, 0);
}

static void goodbye(struct tbox_conn *admin, struct tbox_conn *io)
{
	tbox_hangup(io);
	tbox_hangup(admin);
}

static void test_sizes_and_ways_of_data_with_and_without_digests(void **state)
{
	static const size_t sizes[] = {
		512, 4 * KIB, 8 * KIB, 12 * KIB, 64 * KIB, 1000 * KIB, 1024 * KIB
	};
	struct tbox_conn admin, io;

	for (unsigned digests = 0; digests < 4; digests++) {
		host_with(&admin, &io, digests & 1, digests & 2);
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			write_read(&io, i, sizes[i], false);
			if (sizes[i] <= config.nvmf_in_capsule_bytes)
				write_read(&io, 100 + i, sizes[i], true);
		}
		goodbye(&admin, &io);
	}
}

static void test_one_byte_at_a_time(void **state)
{
	struct tbox_conn admin, io;

	host_with(&admin, &io, true, true);
	io.step = 1;
	write_read(&io, 7, 512, true);
	write_read(&io, 9, 1024, false);
	io.step = 7;
	write_read(&io, 11, 8 * KIB, true);
	write_read(&io, 40, 24 * KIB, false);
	goodbye(&admin, &io);
}

/* The target's reads and writes are cut as well. */
static void test_short_reads_and_writes(void **state)
{
	static const size_t most[] = { 1, 3, 71, 72, 73, 4096, 65537 };
	struct tbox_conn admin, io;

	host_with(&admin, &io, true, true);
	for (unsigned i = 0; i < ARRAY_SIZE(most); i++) {
		io.f->peer->read_max = most[i];
		io.f->peer->write_max = most[i];
		write_read(&io, 3, most[i] < 50 ? 1024 : 64 * KIB, false);
		write_read(&io, 3, 4 * KIB, true);
	}
	goodbye(&admin, &io);
}

static void test_many_commands_in_one_segment(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8);
	struct tbox_conn admin, io;
	struct tbox_pdu pdu;
	unsigned data = 0, rsp = 0;

	host_with(&admin, &io, false, false);
	fill(5, 4096);
	memcpy(tbox_disk->view, out, 4096);
	r.sgl.length = le32_make(4096);
	r.sgl.id = 0x5a;
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 31; i++)
			tbox_cmd(&io, &r, NULL, 0);
		while (tbox_recv(&io, &pdu)) {
			if (pdu.ch.type == NVME_TCP_C2H_DATA) {
				data++;
				assert_memory_equal(pdu.payload, out, 4096);
			} else {
				assert_int_equal(pdu.ch.type, NVME_TCP_RSP);
				assert_int_equal(nvme_cqe_status(&pdu.rsp.cqe), 0);
				rsp++;
			}
		}
	}
	assert_int_equal(data, 310);
	assert_int_equal(rsp, 310);
	goodbye(&admin, &io);
}

static void test_a_batch_is_one_write(void **state)
{
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8);
	struct tbox_conn admin, io;
	struct tbox_pdu pdu;
	unsigned before, got = 0;

	host_with(&admin, &io, false, false);
	r.sgl.length = le32_make(4096);
	r.sgl.id = 0x5a;
	before = io.f->peer->writes;
	for (unsigned i = 0; i < 16; i++)
		tbox_cmd(&io, &r, NULL, 0);
	while (tbox_recv(&io, &pdu))
		got++;
	assert_int_equal(got, 32);
	assert_int_equal(io.f->peer->writes - before, 1);
	goodbye(&admin, &io);
}

static void test_success_flag_without_sq_flow_control(void **state)
{
	struct nvmf_connect_sqe c;
	struct nvmf_connect_data data;
	struct nvme_sqe sqe, r = tbox_rw(NVME_NVM_READ, 0, 8);
	struct tbox_conn admin, io, quiet;
	struct tbox_end end;
	uint16_t cntlid = tbox_host(&admin, &io, 0);

	tbox_dial(&quiet);
	tbox_ic(&quiet, false, true);
	sqe = tbox_connect_sqe(2, 31, 0);
	memcpy(&c, &sqe, sizeof(c));
	c.cattr = NVMF_CATTR_NO_SQ_FLOW;
	memcpy(&sqe, &c, sizeof(c));
	data = tbox_connect_data(TBOX_NQN, cntlid);
	end = tbox_run(&quiet, &sqe, &data, sizeof(data), true, NULL, 0);
	assert_int_equal(end.status, 0);
	assert_int_equal(end.sqhd, 0xffff);
	end = tbox_run(&quiet, &r, NULL, 0, false, in, 4096);
	assert_int_equal(end.status, 0);
	assert_true(end.success_flag);
	end = tbox_run(&io, &r, NULL, 0, false, in, 4096);
	assert_false(end.success_flag);
	tbox_hangup(&quiet);
	goodbye(&admin, &io);
}

static void test_sq_head_moves_with_the_commands(void **state)
{
	struct nvme_sqe f = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0);
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	for (unsigned i = 0; i < 70; i++)
		assert_int_equal(tbox_run(&io, &f, NULL, 0, false, NULL, 0).sqhd, (2 + i) % 32);
	goodbye(&admin, &io);
}

static void test_flush_zeroes_deallocate_compare(void **state)
{
	struct nvme_sqe flush = tbox_sqe(NVME_NVM_FLUSH, 1, 0, 0);
	struct nvme_sqe zeroes = tbox_rw(NVME_NVM_WRITE_ZEROES, 8, 8);
	struct nvme_sqe dsm = tbox_sqe(NVME_NVM_DSM, 1, 2, NVME_DSM_AD);
	struct nvme_sqe compare = tbox_rw(NVME_NVM_COMPARE, 0, 8);
	struct nvme_dsm_range ranges[3] = {
		{ .nlb = le32_make(4), .slba = le64_make(16) }, { .slba = le64_make(3) },
		{ .nlb = le32_make(4), .slba = le64_make(24) },
	};
	static const uint8_t nothing[4096];
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	write_read(&io, 0, 16 * KIB, false);
	assert_int_equal(tbox_run(&io, &flush, NULL, 0, false, NULL, 0).status, 0);
	assert_int_equal(tbox_disk->ops[IO_FLUSH], 1);
	assert_memory_equal(tbox_disk->media, out, 16 * KIB);
	assert_int_equal(tbox_run(&io, &compare, out, 4096, true, NULL, 0).status, 0);
	assert_int_equal(tbox_run(&io, &compare, out, 4096, false, NULL, 0).status, 0);
	assert_int_equal(tbox_run(&io, &compare, nothing, 4096, true, NULL, 0).status,
			 NVME_SC_COMPARE_FAILURE | NVME_STATUS_DNR);
	assert_int_equal(tbox_run(&io, &zeroes, NULL, 0, false, NULL, 0).status, 0);
	assert_memory_equal(tbox_disk->view + 4096, nothing, 4096);
	/* longer than what the ranges take is allowed */
	memcpy(in, ranges, sizeof(ranges));
	assert_int_equal(tbox_run(&io, &dsm, in, 4096, true, NULL, 0).status, 0);
	assert_int_equal(tbox_disk->ops[IO_UNMAP], 2);
	assert_memory_equal(tbox_disk->view + 16 * 512, nothing, 4 * 512);
	assert_memory_equal(tbox_disk->view + 24 * 512, nothing, 4 * 512);
	assert_memory_equal(tbox_disk->view + 20 * 512, out + 20 * 512, 4 * 512);
	goodbye(&admin, &io);
}

static void test_wrong_commands_have_their_status(void **state)
{
	static const struct {
		uint8_t opc;
		uint32_t nsid;
		uint64_t lba;
		uint32_t cdw12;
		uint16_t status;
	} rows[] = {
		{ NVME_NVM_READ, 1, TBOX_BLOCKS, 0, NVME_SC_LBA_RANGE },
		{ NVME_NVM_READ, 1, TBOX_BLOCKS - 1, 1, NVME_SC_LBA_RANGE },
		{ NVME_NVM_READ, 1, UINT64_MAX, 0, NVME_SC_LBA_RANGE },
		{ NVME_NVM_WRITE_ZEROES, 1, TBOX_BLOCKS - 7, 7, NVME_SC_LBA_RANGE },
		{ NVME_NVM_READ, 2, 0, 0, NVME_SC_INVALID_NS },
		{ NVME_NVM_READ, 0, 0, 0, NVME_SC_INVALID_NS },
		{ NVME_NVM_READ, 0xffffffff, 0, 0, NVME_SC_INVALID_NS },
		{ NVME_NVM_FLUSH, 2, 0, 0, NVME_SC_INVALID_NS },
		{ NVME_NVM_VERIFY, 1, TBOX_BLOCKS - 1, 1, NVME_SC_LBA_RANGE },
		{ NVME_NVM_READ, 1, 0, 2048, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_WRITE_UNCORRECTABLE, 1, 0, 0, NVME_SC_INVALID_OPCODE },
		{ NVME_NVM_COPY, 1, 0, 1 << 8, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_COPY, 1, 0, 128, NVME_SC_SIZE_LIMIT },
		{ NVME_NVM_RESV_REPORT, 1, 0, 0, NVME_SC_HOSTID_FORMAT },
		{ 0xff, 1, 0, 0, NVME_SC_INVALID_OPCODE },
	};
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nvme_sqe sqe = tbox_sqe(rows[i].opc, rows[i].nsid, 0, 0);

		sqe.slba = le64_make(rows[i].lba);
		sqe.rw_cdw12 = le32_make(rows[i].cdw12);
		assert_int_equal(tbox_run(&io, &sqe, NULL, 0, false, in, sizeof(in)).status,
				 rows[i].status | NVME_STATUS_DNR);
	}
	goodbye(&admin, &io);
}

/* NVM 1.0 3, figures 9 and 10: without protection information in the namespace, it is ignored. */
static void test_protection_information_is_ignored(void **state)
{
	static const uint8_t opcs[] = {
		NVME_NVM_READ, NVME_NVM_WRITE, NVME_NVM_COMPARE, NVME_NVM_WRITE_ZEROES,
		NVME_NVM_VERIFY,
	};
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	memset(out, 0x5a, 4096);
	memset(tbox_disk->view, 0x5a, 4096);
	for (unsigned i = 0; i < ARRAY_SIZE(opcs); i++) {
		struct nvme_sqe sqe = tbox_rw(opcs[i], 0, 8);
		size_t out_len = opcs[i] & 1 ? 4096 : 0;

		sqe.rw_cdw12 = le32_make(le32_get(sqe.rw_cdw12) | NVME_RW_PI_MASK);
		assert_int_equal(tbox_run(&io, &sqe, out_len ? out : NULL, out_len, true, in,
					  4096).status, 0);
	}
	goodbye(&admin, &io);
}

static void test_wrong_sgl_has_its_status(void **state)
{
	static const struct {
		uint8_t opc, flags, id;
		uint64_t addr;
		uint32_t len, capsule;
		uint16_t status;
	} rows[] = {
		{ NVME_NVM_READ, NVME_PSDT_SGL, 0x5a, 0, 4095, 0, NVME_SC_DATA_SGL_LENGTH },
		{ NVME_NVM_READ, NVME_PSDT_SGL, 0x00, 0, 4096, 0, NVME_SC_SGL_TYPE },
		{ NVME_NVM_READ, NVME_PSDT_SGL, 0x01, 0, 4096, 0, NVME_SC_SGL_TYPE },
		{ NVME_NVM_READ, NVME_PSDT_PRP, 0x5a, 0, 4096, 0, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_READ, NVME_PSDT_MASK, 0x5a, 0, 4096, 0, NVME_SC_INVALID_FIELD },
		{ NVME_NVM_READ, NVME_PSDT_SGL | NVME_FUSE_FIRST, 0x5a, 0, 4096, 0,
		  NVME_SC_INVALID_FIELD },
		{ NVME_NVM_WRITE, NVME_PSDT_SGL, 0x01, 0, 4096, 4092, NVME_SC_DATA_SGL_LENGTH },
		{ NVME_NVM_WRITE, NVME_PSDT_SGL, 0x01, 4, 4096, 4096, NVME_SC_SGL_OFFSET },
		{ NVME_NVM_WRITE, NVME_PSDT_SGL, 0x01, 0, 4096, 0, NVME_SC_DATA_SGL_LENGTH },
		{ NVME_NVM_WRITE, NVME_PSDT_SGL, 0x40, 0, 4096, 0, NVME_SC_SGL_TYPE },
		{ NVME_NVM_WRITE, NVME_PSDT_SGL, 0x30, 0, 4096, 4096, NVME_SC_SGL_TYPE },
	};
	struct tbox_conn admin, io;

	host_with(&admin, &io, true, true);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nvme_sqe sqe = tbox_rw(rows[i].opc, 0, 8);
		uint16_t cid;

		sqe.flags = rows[i].flags;
		sqe.sgl.addr = le64_make(rows[i].addr);
		sqe.sgl.length = le32_make(rows[i].len);
		sqe.sgl.id = rows[i].id;
		cid = tbox_cmd(&io, &sqe, out, rows[i].capsule);
		assert_int_equal(tbox_wait(&io, cid, NULL, 0, NULL, 0).status,
				 rows[i].status | NVME_STATUS_DNR);
	}
	write_read(&io, 0, 4096, true);
	goodbye(&admin, &io);
}

static void test_disk_errors_have_their_status(void **state)
{
	static const struct {
		enum io_status status;
		uint16_t nvme;
	} rows[] = {
		{ IO_ERR_MEDIA_READ, NVME_SC_READ_ERROR | NVME_STATUS_DNR },
		{ IO_ERR_NOSPC, NVME_SC_CAPACITY_EXCEEDED | NVME_STATUS_DNR },
		{ IO_ERR_TIMEOUT, NVME_SC_INTERNAL },
		{ IO_ERR_GONE, NVME_SC_INVALID_NS | NVME_STATUS_DNR },
	};
	struct nvme_sqe r = tbox_rw(NVME_NVM_READ, 0, 8);
	struct tbox_conn admin, io;

	tbox_host(&admin, &io, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_rule rule = {
			.op = IO_READ, .lba_count = 8, .count = 1, .status = rows[i].status,
		};

		fake_fail(tbox_disk, &rule);
		assert_int_equal(tbox_run(&io, &r, NULL, 0, false, in, 4096).status, rows[i].nvme);
		assert_int_equal(tbox_run(&io, &r, NULL, 0, false, in, 4096).status, 0);
	}
	goodbye(&admin, &io);
}

static void test_wrong_data_digest_fails_the_command_only(void **state)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 16);
	struct tbox_conn admin, io;
	struct tbox_pdu pdu;
	uint16_t cid;

	host_with(&admin, &io, false, true);
	fill(1, 8192);
	for (unsigned in_capsule = 0; in_capsule < 2; in_capsule++) {
		io.spoil_ddgst = 1u << 31;
		assert_int_equal(tbox_run(&io, &w, out, 8192, in_capsule, NULL, 0).status,
				 NVME_SC_TRANSIENT_TRANSPORT);
		io.spoil_ddgst = 0;
		assert_int_equal(tbox_disk->ops[IO_WRITE], 0);
	}
	/* the first of two is wrong */
	w.sgl.length = le32_make(8192);
	w.sgl.id = 0x5a;
	cid = tbox_cmd(&io, &w, NULL, 0);
	tbox_expect(&io, NVME_TCP_R2T, &pdu);
	io.spoil_ddgst = 1;
	tbox_h2c(&io, &pdu.r2t, out, 0, 4096, false);
	io.spoil_ddgst = 0;
	tbox_h2c(&io, &pdu.r2t, out, 4096, 4096, true);
	assert_int_equal(tbox_wait(&io, cid, NULL, 0, NULL, 0).status, NVME_SC_TRANSIENT_TRANSPORT);
	write_read(&io, 0, 8192, false);
	goodbye(&admin, &io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tbox_test(test_sizes_and_ways_of_data_with_and_without_digests),
		tbox_test(test_one_byte_at_a_time),
		tbox_test(test_short_reads_and_writes),
		tbox_test(test_many_commands_in_one_segment),
		tbox_test(test_a_batch_is_one_write),
		tbox_test(test_success_flag_without_sq_flow_control),
		tbox_test(test_sq_head_moves_with_the_commands),
		tbox_test(test_flush_zeroes_deallocate_compare),
		tbox_test(test_wrong_commands_have_their_status),
		tbox_test(test_protection_information_is_ignored),
		tbox_test(test_wrong_sgl_has_its_status),
		tbox_test(test_disk_errors_have_their_status),
		tbox_test(test_wrong_data_digest_fails_the_command_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
