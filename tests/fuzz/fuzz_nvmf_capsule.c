/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command capsules of a host that frames them right and says anything in them, to the whole target.
 * The first byte: bit 0 the I/O queue (otherwise the admin queue), bit 1 R2Ts are answered, bit 2
 * all are sent before any answer is taken. Then records: 64 bytes of command, u16 length of data in
 * the capsule, the data. Identifiers are made unique, so that each command has its answer; those
 * that may rightly wait for ever (events, data that is not sent) end with their connection.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/buf.h"
#include "targets/nvmf/tcp.h"
#include "tests/unit/nvmf_box.h"

enum { ON_IO = 1 << 0, ANSWER = 1 << 1, TOGETHER = 1 << 2, COMMANDS_MAX = 24, DATA_MAX = 8192 };

static uint8_t zeroes[1 << 20];

static void must(bool right)
{
	if (!right)
		abort();
}

static void take_answers(struct tbox_conn *c, bool answer)
{
	struct tbox_pdu pdu;

	while (!c->ended && tbox_recv(c, &pdu)) {
		must(pdu.ch.type == NVME_TCP_RSP || pdu.ch.type == NVME_TCP_C2H_DATA ||
		     pdu.ch.type == NVME_TCP_R2T || pdu.ch.type == NVME_TCP_C2H_TERM);
		if (pdu.ch.type == NVME_TCP_R2T && answer)
			tbox_h2c(c, &pdu.r2t, zeroes, le32_get(pdu.r2t.r2to),
				 le32_get(pdu.r2t.r2tl), true);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tbox_conn admin, io, *c;
	static bool started;
	uint8_t how;

	if (size < 1)
		return 0;
	if (!started) {
		started = true;
		tbox_start();
		atexit(tbox_stop);
	}
	how = *data++;
	size--;
	tbox_host(&admin, &io, 0);
	c = how & ON_IO ? &io : &admin;
	for (unsigned i = 0; i < COMMANDS_MAX && size >= sizeof(struct nvme_sqe) + 2; i++) {
		struct nvme_sqe sqe;
		size_t len;

		memcpy(&sqe, data, sizeof(sqe));
		len = data[sizeof(sqe)] | (size_t)data[sizeof(sqe) + 1] << 8;
		data += sizeof(sqe) + 2;
		size -= sizeof(sqe) + 2;
		len = MIN(MIN(len, size), (size_t)DATA_MAX);
		tbox_cmd(c, &sqe, data, len);
		data += len;
		size -= len;
		if (!(how & TOGETHER))
			take_answers(c, how & ANSWER);
	}
	take_answers(c, how & ANSWER);
	loop_advance(300 * 1000);
	take_answers(c, how & ANSWER);
	tbox_hangup(&io);
	tbox_hangup(&admin);
	must(nvmf_target.conn_count == 0 && nvmf_target.ctrl_count == 0);
	for (unsigned i = 0; i < BUF_CLASS_COUNT; i++) {
		struct buf_stats stats;

		buf_stats(i, &stats);
		must(stats.used == 0);
	}
	return 0;
}
