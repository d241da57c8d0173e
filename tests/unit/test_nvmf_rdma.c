/* SPDX-License-Identifier: BSD-3-Clause */
/* The RDMA transport of the target: what hosts ask for, and how it is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/config.h"
#include "core/dma.h"
#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_rdma_box.h"

static void fill(uint8_t *at, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

static void hang_up(struct qpbox_conn *admin, struct qpbox_conn *io)
{
	qpbox_hangup(io);
	qpbox_hangup(admin);
}

/* ---- data ---- */

static int rw(struct qpbox_conn *io, uint8_t opc, uint32_t blocks, struct nvme_sgl sgl,
	      const void *capsule, size_t len)
{
	struct nvme_sqe sqe = tbox_rw(opc, 16, blocks);

	sqe.sgl = sgl;
	return qpbox_run(io, &sqe, capsule, len);
}

static void test_keyed_data_is_read_and_written_whole(void **state)
{
	static const uint32_t lens[] = { 512, 4096, 65536, 262144 };
	struct qpbox_conn admin, io;
	uint8_t *out, *in;

	qpbox_host(&admin, &io);
	out = io.memory;
	in = io.memory + QPBOX_MEMORY / 2;
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		fill(out, lens[i], i);
		memset(in, 0, lens[i]);
		assert_int_equal(rw(&io, NVME_NVM_WRITE, lens[i] / 512,
				    qpbox_keyed(out, lens[i], QPBOX_KEY, true), NULL, 0), 0);
		assert_int_equal(io.keys[0], QPBOX_KEY);
		assert_int_equal(rw(&io, NVME_NVM_READ, lens[i] / 512,
				    qpbox_keyed(in, lens[i], QPBOX_KEY, false), NULL, 0), 0);
		assert_int_equal(io.keys[0], 0);
		assert_memory_equal(in, out, lens[i]);
	}
	assert_int_equal(fake_rdma.starved, 0);
	hang_up(&admin, &io);
}

static void test_data_in_the_capsule_is_written(void **state)
{
	struct qpbox_conn admin, io;
	uint8_t data[8192];

	qpbox_host(&admin, &io);
	fill(data, sizeof(data), 3);
	assert_int_equal(rw(&io, NVME_NVM_WRITE, 16, qpbox_offset(NVME_SGL_DATA, 0, 8192), data,
			    8192), 0);
	assert_int_equal(fake_rdma.reads, 0);
	assert_int_equal(rw(&io, NVME_NVM_READ, 16, qpbox_keyed(io.memory, 8192, QPBOX_KEY, false),
			    NULL, 0), 0);
	assert_memory_equal(io.memory, data, 8192);
	/* and not from the capsule's first byte */
	assert_int_equal(rw(&io, NVME_NVM_WRITE, 1, qpbox_offset(NVME_SGL_DATA, 1024, 512), data,
			    2048), 0);
	assert_int_equal(rw(&io, NVME_NVM_READ, 1, qpbox_keyed(io.memory, 512, QPBOX_KEY, false),
			    NULL, 0), 0);
	assert_memory_equal(io.memory, data + 1024, 512);
	hang_up(&admin, &io);
}

/* Data of 4 KiB a block, COUNT blocks, last first in memory. */
static int scattered(struct qpbox_conn *io, uint8_t opc, uint8_t *memory, unsigned count)
{
	struct nvme_sgl blocks[20];

	for (unsigned i = 0; i < count; i++)
		blocks[i] = qpbox_keyed(memory + (count - 1 - i) * 4096, 4096, QPBOX_KEY, i == 1);
	return rw(io, opc, count * 8,
		  qpbox_offset(NVME_SGL_LAST_SEGMENT, 0, (uint32_t)(count * sizeof(blocks[0]))),
		  blocks, count * sizeof(blocks[0]));
}

static void scatter_and_gather(void)
{
	struct qpbox_conn admin, io;
	uint8_t *in;

	qpbox_host(&admin, &io);
	in = io.memory + 65536;
	fill(io.memory, 65536, 9);
	assert_int_equal(scattered(&io, NVME_NVM_WRITE, io.memory, 16), 0);
	assert_int_equal(io.keys[0], QPBOX_KEY);
	assert_int_equal(rw(&io, NVME_NVM_READ, 128, qpbox_keyed(in, 65536, QPBOX_KEY, false), NULL,
			    0), 0);
	for (unsigned i = 0; i < 16; i++)
		assert_memory_equal(in + i * 4096, io.memory + (15 - i) * 4096, 4096);
	memset(in, 0, 65536);
	assert_int_equal(scattered(&io, NVME_NVM_READ, in, 16), 0);
	assert_memory_equal(in, io.memory, 65536);
	hang_up(&admin, &io);
}

static void test_sixteen_blocks_make_one_transfer(void **state)
{
	scatter_and_gather();
}

static void test_devices_with_few_pieces_a_request(void **state)
{
	fake_rdma.device.sge_max = 3;
	fake_rdma.device.read_sge_max = 1;
	scatter_and_gather();
}

static void test_devices_without_a_shared_receive_queue(void **state)
{
	fake_rdma.device.srq_max = 0;
	scatter_and_gather();
	assert_int_equal(fake_rdma.srqs, 0);
	assert_int_equal(fake_rdma.starved, 0);
}

/* All of the queue at once, round after round: no capsule may find no receive. */
static void test_a_full_queue_never_finds_receives_missing(void **state)
{
	struct nvme_sqe w = tbox_rw(NVME_NVM_WRITE, 0, 8), r = tbox_rw(NVME_NVM_READ, 0, 8);
	struct qpbox_conn admin, io;
	uint8_t data[4096];

	qpbox_host(&admin, &io);
	fill(data, sizeof(data), 5);
	for (unsigned round = 0; round < 20; round++) {
		io.answers = 0;
		for (unsigned i = 0; i < 32; i++) {
			r.sgl = qpbox_keyed(io.memory + i * 4096, 4096, QPBOX_KEY, false);
			w.sgl = i % 4 == 1 ? qpbox_keyed(data, 4096, QPBOX_KEY, true)
					   : qpbox_offset(NVME_SGL_DATA, 0, 4096);
			if (i % 2)
				qpbox_cmd(&io, &w, data, i % 4 == 1 ? 0 : 4096);
			else
				qpbox_cmd(&io, &r, NULL, 0);
		}
		qpbox_answer(&io, 0);
		assert_int_equal(io.answers, 32);
		for (unsigned i = 0; i < 32; i++)
			assert_int_equal(nvme_cqe_status(&io.cqes[i]), 0);
		/* Connect was the first */
		assert_int_equal(le16_get(io.cqes[31].sqhd), 1);
	}
	assert_int_equal(fake_rdma.starved, 0);
	hang_up(&admin, &io);
}

/* Two connections do not fit in a lane of this device: each has one of its own, all the same. */
static void test_small_devices_get_more_lanes(void **state)
{
	struct qpbox_conn admin, io;

	fake_rdma.device.cq_max = 200;
	fake_rdma.device.srq_max = 40;
	qpbox_host(&admin, &io);
	/* and two of the host's */
	assert_int_equal(fake_rdma.srqs, 2);
	assert_int_equal(fake_rdma.cqs, 4);
	assert_int_equal(rw(&io, NVME_NVM_READ, 8, qpbox_keyed(io.memory, 4096, QPBOX_KEY, false),
			    NULL, 0), 0);
	hang_up(&admin, &io);
	assert_int_equal(fake_rdma.srqs, 0);
}

static void test_devices_that_are_too_small_refuse(void **state)
{
	struct nvme_rdma_request ask = qpbox_ask(0, 31);
	struct qpbox_conn c;

	fake_rdma.device.srq_max = 20;
	qpbox_dial(&c, &ask, sizeof(ask));
	assert_int_equal(c.refused, NVME_RDMA_NO_RESOURCES);
	qpbox_hangup(&c);
	assert_int_equal(nvmf_target.conn_count, 0);
	assert_int_equal(fake_rdma.srqs, 0);
}

/* ---- identify ---- */

static void test_identify_says_what_the_transport_takes(void **state)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_IDENTIFY, 0, NVME_CNS_CTRL, 0);
	struct qpbox_conn admin, io;
	struct nvme_id_ctrl *id;

	qpbox_host(&admin, &io);
	sqe.sgl = qpbox_keyed(admin.memory, 4096, QPBOX_KEY, true);
	assert_int_equal(qpbox_run(&admin, &sqe, NULL, 0), 0);
	id = (struct nvme_id_ctrl *)admin.memory;
	assert_int_equal(le32_get(id->sgls) & (NVME_SGLS_KEYED | NVME_SGLS_OFFSET |
					       NVME_SGLS_TRANSPORT),
			 NVME_SGLS_KEYED | NVME_SGLS_OFFSET);
	assert_int_equal(id->msdbd, 16);
	assert_int_equal(le16_get(id->icdoff), 0);
	assert_int_equal(le32_get(id->ioccsz), (64 + config.nvmf_in_capsule_bytes) / 16);
	hang_up(&admin, &io);
}

/* ---- the adapter ---- */

static enum nvmf_port_state port_state(const char *transport)
{
	struct nvmf_port *port;

	list_for_each(port, &nvmf_target.ports, link)
		if (strcmp(port->transport->name, transport) == 0)
			return port->state;
	return NVMF_PORT_STOPPED;
}

static void test_an_adapter_that_goes_and_comes_back(void **state)
{
	struct qpbox_conn admin, io;

	assert_int_equal(port_state("rdma"), NVMF_PORT_LISTENING);
	qpbox_host(&admin, &io);
	fake_rdma_remove();
	loop_drain();
	assert_int_equal(port_state("rdma"), NVMF_PORT_RETRYING);
	assert_int_equal(nvmf_target.conn_count, 0);
	hang_up(&admin, &io);
	for (unsigned i = 0; i < 4; i++)
		loop_advance(1000 * 1000);
	assert_int_equal(port_state("rdma"), NVMF_PORT_RETRYING);
	assert_int_equal(fake_rdma.domains, 0);
	fake_rdma.present = true;
	fake_rdma.device.removed = false;
	for (unsigned i = 0; i < 20; i++)
		loop_advance(1000 * 1000);
	assert_int_equal(port_state("rdma"), NVMF_PORT_LISTENING);
	qpbox_host(&admin, &io);
	hang_up(&admin, &io);
}

static void test_rounds_of_connections_leave_nothing(void **state)
{
	struct qpbox_conn admin, io;
	struct dma_stats before, after;

	qpbox_host(&admin, &io);
	hang_up(&admin, &io);
	dma_stats(&before);
	for (unsigned i = 0; i < 100; i++) {
		qpbox_host(&admin, &io);
		hang_up(&admin, &io);
	}
	dma_stats(&after);
	assert_int_equal(after.used_bytes, before.used_bytes);
	assert_int_equal(fake_rdma.conns, 0);
	assert_int_equal(fake_rdma.queues, 0);
	assert_int_equal(fake_rdma.cqs, 0);
	/* memory stays registered while somebody listens */
	assert_int_equal(fake_rdma.domains, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		qpbox_test(test_keyed_data_is_read_and_written_whole),
		qpbox_test(test_data_in_the_capsule_is_written),
		qpbox_test(test_sixteen_blocks_make_one_transfer),
		qpbox_test(test_devices_with_few_pieces_a_request),
		qpbox_test(test_devices_without_a_shared_receive_queue),
		qpbox_test(test_a_full_queue_never_finds_receives_missing),
		qpbox_test(test_small_devices_get_more_lanes),
		qpbox_test(test_devices_that_are_too_small_refuse),
		qpbox_test(test_identify_says_what_the_transport_takes),
		qpbox_test(test_an_adapter_that_goes_and_comes_back),
		qpbox_test(test_rounds_of_connections_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
