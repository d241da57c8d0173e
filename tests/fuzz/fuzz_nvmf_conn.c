/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host that sends anything to the whole target: connections, queues, commands, a small disk. The
 * first byte says how far the harness goes by itself before the input takes over:
 *
 *	bits 1:0  0 a fresh connection, 1 after ICReq, 2 an admin queue, enabled, 3 an I/O queue
 *	bit 2     header digests, bit 3 data digests (after ICReq; the harness makes them right)
 *	bit 4     writes are split: 7 bytes each
 *	bit 5     chunks: u16 length, then a PDU without digests, made whole; otherwise a stream.
 *	          No length: the I/O queue sets out for another reactor (which is the same one)
 *	bit 6     answers to R2T are sent as they are asked for
 *	bit 7     the discovery subsystem (admin queue); several R2Ts at a time (I/O queue)
 *
 * What the target sends must be PDUs with right digests (nvmf_box.c checks), and when the host has
 * gone nothing may be left over: connections, controllers, buffers, places in line. The target
 * itself lives on from one input to the next.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/buf.h"
#include "targets/nvmf/tcp.h"
#include "tests/unit/nvmf_box.h"

enum {
	START_FRESH, START_IC, START_ADMIN, START_IO, START_MASK = 3,
	HDGST = 1 << 2, DDGST = 1 << 3, SPLIT = 1 << 4, CHUNKS = 1 << 5, ANSWER = 1 << 6,
	DISCOVERY = 1 << 7,
	PDU_MAX = 16384,
	R2T_MAX = 1 << 20,
};

static uint8_t zeroes[R2T_MAX];

static void must(bool right)
{
	if (!right)
		abort();
}

static void answer_r2t(struct tbox_conn *c, const struct nvme_tcp_r2t *r2t)
{
	uint32_t at = le32_get(r2t->r2to), len = le32_get(r2t->r2tl);

	must(at <= R2T_MAX && len <= R2T_MAX - at);
	tbox_h2c(c, r2t, zeroes, at, len, true);
}

static void take_answers(struct tbox_conn *c, bool answer)
{
	struct tbox_pdu pdu;

	while (!c->ended && tbox_recv(c, &pdu)) {
		must(pdu.ch.type & 1);
		if (pdu.ch.type == NVME_TCP_R2T && answer)
			answer_r2t(c, &pdu.r2t);
	}
}

/* The PDU of a chunk, with the digests that its type and flags owe. */
static void chunk_send(struct tbox_conn *c, const uint8_t *bytes, size_t len)
{
	static uint8_t pdu[PDU_MAX + 8];
	size_t hlen, out, pad = c->hdgst ? 4 : 0;
	le32 word;

	if (len < sizeof(struct nvme_tcp_ch) || len > PDU_MAX || bytes[2] > len ||
	    bytes[2] < sizeof(struct nvme_tcp_ch)) {
		tbox_send(c, bytes, len);
		return;
	}
	hlen = bytes[2];
	memcpy(pdu, bytes, hlen);
	pdu[1] = (uint8_t)((pdu[1] & ~3) | (c->hdgst ? NVME_TCP_HDGST : 0) |
			   (c->ddgst && len > hlen ? NVME_TCP_DDGST : 0));
	pdu[3] = len > hlen ? (uint8_t)(hlen + pad) : 0;
	out = hlen + pad + (len - hlen) + (c->ddgst && len > hlen ? 4 : 0);
	word = le32_make((uint32_t)out);
	memcpy(pdu + 4, &word, sizeof(word));
	if (pad) {
		word = le32_make(crc32c(pdu, hlen));
		memcpy(pdu + hlen, &word, sizeof(word));
	}
	memcpy(pdu + hlen + pad, bytes + hlen, len - hlen);
	if (c->ddgst && len > hlen) {
		word = le32_make(crc32c(bytes + hlen, len - hlen));
		memcpy(pdu + out - 4, &word, sizeof(word));
	}
	tbox_send(c, pdu, out);
}

static void queue_move(void)
{
	struct nvmf_ctrl *ctrl = nvmf_ctrl_next(NULL);
	struct nvmf_queue *queue;

	if (!ctrl || list_empty(&ctrl->queues))
		return;
	queue = list_entry(ctrl->queues.next, struct nvmf_queue, link);
	if (queue->moving || queue->closing)
		return;
	queue->moving = true;
	queue->ops->shift(queue, 0);
}

static void input_send(struct tbox_conn *c, uint8_t how, const uint8_t *data, size_t size)
{
	if (!(how & CHUNKS)) {
		tbox_send(c, data, size);
		take_answers(c, how & ANSWER);
		return;
	}
	while (size >= 2 && !c->ended) {
		size_t len = MIN((size_t)data[0] | (size_t)data[1] << 8, size - 2);

		if (len == 0)
			queue_move();
		chunk_send(c, data + 2, len);
		take_answers(c, how & ANSWER);
		data += 2 + len;
		size -= 2 + len;
	}
}

static void start(struct tbox_conn *admin, struct tbox_conn *io, uint8_t how)
{
	const char *nqn = how & DISCOVERY ? NVMF_DISCOVERY_NQN : TBOX_NQN;

	struct tbox_end end;

	tbox_dial(admin);
	if ((how & START_MASK) == START_FRESH)
		return;
	tbox_ic(admin, how & HDGST, how & DDGST);
	if ((how & START_MASK) == START_IC)
		return;
	if ((how & START_MASK) == START_IO)
		nqn = TBOX_NQN;
	end = tbox_connect(admin, nqn, 0, 31, NVMF_CNTLID_DYNAMIC, 0);
	must(end.status == 0);
	tbox_enable(admin);
	if ((how & START_MASK) != START_IO)
		return;
	tbox_dial(io);
	io->maxr2t = how & DISCOVERY ? 2 : 0;
	tbox_ic(io, how & HDGST, how & DDGST);
	must(tbox_connect(io, nqn, 1, 31, (uint16_t)end.dw0, 0).status == 0);
}

static void nothing_left(void)
{
	const struct nvmf_tcp_group *group = nvmf_tcp_group_at(0);

	must(nvmf_target.conn_count == 0 && nvmf_target.ctrl_count == 0);
	must(group->conn_count == 0);
	for (unsigned i = 0; i < NVMF_TCP_SHARES; i++)
		must(group->shares[i].used == 0 && list_empty(&group->shares[i].wait));
	must(group->rx_free_count == NVMF_TCP_RX_COUNT);
	for (unsigned i = 0; i < BUF_CLASS_COUNT; i++) {
		struct buf_stats stats;

		buf_stats(i, &stats);
		must(stats.used == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	struct tbox_conn admin = { 0 }, io = { 0 }, *c;
	uint8_t how;

	if (size < 1)
		return 0;
	how = data[0];
	if (!started) {
		started = true;
		tbox_start();
		atexit(tbox_stop);
	}
	start(&admin, &io, how);
	c = io.f ? &io : &admin;
	c->step = how & SPLIT ? 7 : 0;
	c->cid = 0x8000;
	input_send(c, how, data + 1, size - 1);
	for (unsigned i = 0; i < 4; i++) {
		loop_advance(300 * 1000);
		take_answers(c, how & ANSWER);
	}
	if (io.f)
		tbox_hangup(&io);
	tbox_hangup(&admin);
	nothing_left();
	return 0;
}
