/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/nvmf_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/crc32c.h"
#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/buf.h"
#include "core/config.h"
#include "core/dma.h"
#include "core/resv.h"
#include "targets/nvmf/module.h"
#include "targets/nvmf/nvmf.h"

struct fake_bdev *tbox_disk;
uint8_t tbox_host_number;
static bool box_is_shut;

static const struct net_addr box_addr = {
	.family = 4, .prefix_len = 32, .port = TBOX_PORT, .ip = { 10, 0, 0, 1 },
};

/* ---- the house ---- */

static void box_open(void *arg)
{
	struct bdev shape = {
		.name = "box", .driver = "fake", .block_bytes = TBOX_BLOCK_BYTES,
		.block_count = TBOX_BLOCKS, .volatile_cache = true, .unmap_zeroes = true,
		.atomic_blocks = 1, .limits.align_bytes = 1,
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH | 1 << IO_UNMAP |
				 1 << IO_WRITE_ZEROES | 1 << IO_COMPARE,
	};
	struct nvmf_subsystem *subsys;
	uint32_t nsid = 0;

	ASSERT(nvmf_module_init() == 0);
	ASSERT(nvmf_tcp_init() == 0);
	tbox_disk = fake_create(&shape, FAKE_INSTANT, 1);
	ASSERT(nvmf_subsystem_create(TBOX_CLOSED_NQN, false, &subsys) == 0);
	ASSERT(nvmf_listener_add(subsys, nvmf_transport_find("tcp"), &box_addr) == 0);
	ASSERT(nvmf_subsystem_create(TBOX_NQN, false, &subsys) == 0);
	subsys->allow_any = true;
	ASSERT(nvmf_listener_add(subsys, nvmf_transport_find("tcp"), &box_addr) == 0);
	ASSERT(nvmf_ns_add(subsys, "box", &nsid, NULL) == 0 && nsid == 1);
}

static void box_close(void *arg)
{
	nvmf_tcp_fini();
	nvmf_module_fini();
	fake_remove(tbox_disk);
}

void tbox_start(void)
{
	struct dma_opts opts = { .memory_mib = 16, .no_huge = true, .program = "test" };

	ASSERT(dma_init(&opts) == 0);
	loop_setup(NULL);
	ASSERT(buf_init() == 0);
	ASSERT(bdev_init() == 0);
	fake_provider_start();
	box_is_shut = false;
	tbox_host_number = 0;
	loop_task(box_open, NULL);
}

void tbox_shut(void)
{
	loop_task(box_close, NULL);
	box_is_shut = true;
}

void tbox_stop(void)
{
	if (!box_is_shut)
		tbox_shut();
	ASSERT(nvmf_target.conn_count == 0 && nvmf_target.ctrl_count == 0);
	fake_provider_stop();
	resv_fini();
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
		struct buf_stats buf;

		buf_stats(c, &buf);
		ASSERT(buf.used == 0);
	}
	bdev_fini();
	buf_fini();
	loop_teardown(NULL);
	dma_fini();
}

int tbox_setup(void **state)
{
	tbox_start();
	return 0;
}

int tbox_teardown(void **state)
{
	tbox_stop();
	return 0;
}

/* ---- a connection ---- */

static void conn_event(struct stream *s, unsigned events)
{
	struct tbox_conn *c = s->owner;

	if (events & STREAM_CLOSED)
		c->closed = true;
}

void tbox_dial(struct tbox_conn *c)
{
	tbox_dial_at(c, &box_addr);
}

void tbox_dial_at(struct tbox_conn *c, const struct net_addr *addr)
{
	memset(c, 0, sizeof(*c));
	c->in = malloc(TBOX_IN_BYTES);
	ASSERT(c->in);
	c->f = fake_connect(addr);
	ASSERT(c->f);
	c->f->s.event = conn_event;
	c->f->s.owner = c;
	loop_drain();
}

void tbox_hangup(struct tbox_conn *c)
{
	stream_close(&c->f->s);
	while (!c->closed)
		reactor_round();
	loop_drain();
	free(c->in);
	c->in = NULL;
}

void tbox_send(struct tbox_conn *c, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len) {
		size_t part = c->step ? MIN(c->step, len) : len;
		struct iovec iov = { (void *)at, part };

		if (stream_writev(&c->f->s, &iov, 1) < 0)
			return;         /* the target has gone: the test will see */
		at += part;
		len -= part;
		if (c->step)
			loop_drain();
	}
}

/* Reads all that has come. */
static void conn_fill(struct tbox_conn *c)
{
	for (;;) {
		struct iovec iov = { c->in + c->in_len, TBOX_IN_BYTES - c->in_len };
		ssize_t n = stream_readv(&c->f->s, &iov, 1);

		if (n == 0 || (n < 0 && n != -EAGAIN))
			c->ended = true;
		if (n <= 0)
			return;
		c->in_len += (size_t)n;
	}
}

static uint32_t crc_at(const uint8_t *p)
{
	le32 v;

	memcpy(&v, p, sizeof(v));
	return le32_get(v);
}

static uint8_t *pdu_bytes;

bool tbox_recv(struct tbox_conn *c, struct tbox_pdu *pdu)
{
	bool digests;
	size_t plen, hlen;

	loop_drain();
	conn_fill(c);
	if (c->in_len < sizeof(pdu->ch))
		return false;
	memset(pdu, 0, sizeof(*pdu));
	memcpy(&pdu->ch, c->in, sizeof(pdu->ch));
	plen = le32_get(pdu->ch.plen);
	hlen = pdu->ch.hlen;
	if (c->in_len < plen)
		return false;
	assert_true(hlen >= 8 && hlen <= 128 && plen >= hlen);
	free(pdu_bytes);
	pdu_bytes = malloc(plen);
	memcpy(pdu_bytes, c->in, plen);
	memmove(c->in, c->in + plen, c->in_len - plen);
	c->in_len -= plen;
	memcpy(pdu->raw, pdu_bytes, hlen);
	digests = pdu->ch.type != NVME_TCP_IC_RESP && pdu->ch.type != NVME_TCP_C2H_TERM;
	if (digests && c->hdgst)
		assert_int_equal(crc_at(pdu_bytes + hlen), crc32c(pdu_bytes, hlen));
	if (pdu->ch.type == NVME_TCP_C2H_DATA) {
		pdu->payload = pdu_bytes + pdu->ch.pdo;
		pdu->payload_len = plen - pdu->ch.pdo - (c->ddgst ? 4 : 0);
		assert_int_equal(pdu->payload_len, le32_get(pdu->data.datal));
		if (c->ddgst)
			assert_int_equal(crc_at(pdu->payload + pdu->payload_len),
					 crc32c(pdu->payload, pdu->payload_len));
	}
	return true;
}

void tbox_expect(struct tbox_conn *c, uint8_t type, struct tbox_pdu *pdu)
{
	if (!tbox_recv(c, pdu))
		fail_msg("no PDU, expected type %u", type);
	if (pdu->ch.type != type)
		fail_msg("PDU type %u, expected %u; fes %u fei %u", pdu->ch.type, type,
			 le16_get(pdu->term.fes), le32_un_get(pdu->term.fei));
}

void tbox_expect_end(struct tbox_conn *c, uint16_t fes, int64_t fei)
{
	struct tbox_pdu pdu;

	while (tbox_recv(c, &pdu)) {
		if (pdu.ch.type != NVME_TCP_C2H_TERM)
			continue;
		assert_int_equal(le16_get(pdu.term.fes), fes);
		if (fei >= 0)
			assert_int_equal(le32_un_get(pdu.term.fei), fei);
		fes = 0;
	}
	assert_int_equal(fes, 0);
	assert_true(c->ended);
	free(pdu_bytes);
	pdu_bytes = NULL;
}

/* ---- PDUs of a host ---- */

void tbox_ic(struct tbox_conn *c, bool hdgst, bool ddgst)
{
	struct nvme_tcp_ic_req req = {
		.ch = { .type = NVME_TCP_IC_REQ, .hlen = 128, .plen = le32_make(128) },
		.hpda = c->hpda, .maxr2t = le32_make(c->maxr2t),
		.dgst = (hdgst ? NVME_TCP_DGST_HEADER : 0) | (ddgst ? NVME_TCP_DGST_DATA : 0),
	};
	struct tbox_pdu pdu;

	tbox_send(c, &req, sizeof(req));
	tbox_expect(c, NVME_TCP_IC_RESP, &pdu);
	assert_int_equal(pdu.ic.dgst, req.dgst);
	assert_int_equal(pdu.ic.cpda, 0);
	assert_true(le32_get(pdu.ic.maxh2cdata) >= NVME_TCP_MAXH2CDATA_MIN);
	c->hdgst = hdgst;
	c->ddgst = ddgst;
}

static void pdu_send(struct tbox_conn *c, void *header, uint8_t hlen, const void *data, size_t len)
{
	struct nvme_tcp_ch *ch = header;
	size_t pdo = hlen + (c->hdgst ? 4 : 0), plen = pdo + len + (len && c->ddgst ? 4 : 0);
	uint8_t *pdu = calloc(1, plen);
	le32 crc;

	ch->hlen = hlen;
	ch->pdo = len ? (uint8_t)pdo : 0;
	ch->plen = le32_make((uint32_t)plen);
	ch->flags |= (c->hdgst ? NVME_TCP_HDGST : 0) | (len && c->ddgst ? NVME_TCP_DDGST : 0);
	memcpy(pdu, header, hlen);
	if (c->hdgst) {
		crc = le32_make(crc32c(pdu, hlen));
		memcpy(pdu + hlen, &crc, 4);
	}
	if (len)
		memcpy(pdu + pdo, data, len);
	if (len && c->ddgst) {
		crc = le32_make(crc32c(data, len) ^ c->spoil_ddgst);
		memcpy(pdu + pdo + len, &crc, 4);
	}
	tbox_send(c, pdu, plen);
	free(pdu);
}

uint16_t tbox_cmd(struct tbox_conn *c, const struct nvme_sqe *sqe, const void *data, size_t len)
{
	struct nvme_tcp_cmd cmd = { .ch.type = NVME_TCP_CMD, .sqe = *sqe };

	cmd.sqe.cid = le16_make(c->cid);
	pdu_send(c, &cmd, sizeof(cmd), data, len);
	return c->cid++;
}

void tbox_h2c_at(struct tbox_conn *c, const struct nvme_tcp_r2t *r2t, const void *bytes,
		 uint32_t at, uint32_t len, bool last)
{
	struct nvme_tcp_data h = {
		.ch = { .type = NVME_TCP_H2C_DATA, .flags = last ? NVME_TCP_LAST : 0 },
		.cccid = r2t->cccid, .ttag = r2t->ttag,
		.datao = le32_make(at), .datal = le32_make(len),
	};

	pdu_send(c, &h, sizeof(h), bytes, len);
}

void tbox_h2c(struct tbox_conn *c, const struct nvme_tcp_r2t *r2t, const void *data, uint32_t at,
	     uint32_t len, bool last)
{
	tbox_h2c_at(c, r2t, (const uint8_t *)data + at, at, len, last);
}

struct tbox_end tbox_wait(struct tbox_conn *c, uint16_t cid, const void *out, size_t out_len,
			  void *in, size_t in_len)
{
	struct tbox_end end = { .status = 0xffff };
	struct tbox_pdu pdu;

	while (tbox_recv(c, &pdu)) {
		switch (pdu.ch.type) {
		case NVME_TCP_R2T:
			assert_int_equal(le16_get(pdu.r2t.cccid), cid);
			assert_true(le32_get(pdu.r2t.r2to) + le32_get(pdu.r2t.r2tl) <= out_len);
			end.r2ts++;
			tbox_h2c(c, &pdu.r2t, out, le32_get(pdu.r2t.r2to), le32_get(pdu.r2t.r2tl),
				true);
			break;
		case NVME_TCP_C2H_DATA:
			assert_int_equal(le16_get(pdu.data.cccid), cid);
			assert_int_equal(le32_get(pdu.data.datao), end.got);
			assert_true(end.got + pdu.payload_len <= in_len);
			memcpy((uint8_t *)in + end.got, pdu.payload, pdu.payload_len);
			end.got += pdu.payload_len;
			if (!(pdu.ch.flags & NVME_TCP_SUCCESS))
				break;
			end.success_flag = true;
			end.status = 0;
			return end;
		case NVME_TCP_RSP:
			assert_int_equal(le16_get(pdu.rsp.cqe.cid), cid);
			end.status = nvme_cqe_status(&pdu.rsp.cqe);
			end.dw0 = le32_get(pdu.rsp.cqe.dw0);
			end.dw1 = le32_get(pdu.rsp.cqe.dw1);
			end.sqhd = le16_get(pdu.rsp.cqe.sqhd);
			return end;
		default:
			fail_msg("PDU type %u fes %u fei %u", pdu.ch.type,
				 le16_get(pdu.term.fes), le32_un_get(pdu.term.fei));
		}
	}
	return end;
}

struct tbox_end tbox_run(struct tbox_conn *c, const struct nvme_sqe *sqe, const void *out,
		       size_t out_len, bool in_capsule, void *in, size_t in_len)
{
	struct nvme_sqe s = *sqe;
	uint16_t cid;

	s.sgl.length = le32_make((uint32_t)(out_len ? out_len : in_len));
	s.sgl.id = out_len && in_capsule ? 0x01 : 0x5a;
	cid = tbox_cmd(c, &s, out, in_capsule ? out_len : 0);
	return tbox_wait(c, cid, out, out_len, in, in_len);
}

/* ---- commands ---- */

struct nvme_sqe tbox_sqe(uint8_t opc, uint32_t nsid, uint32_t cdw10, uint32_t cdw11)
{
	return (struct nvme_sqe){
		.opc = opc, .flags = NVME_PSDT_SGL, .nsid = le32_make(nsid),
		.cdw10 = le32_make(cdw10), .cdw11 = le32_make(cdw11),
	};
}

struct nvme_sqe tbox_rw(uint8_t opc, uint64_t lba, uint32_t blocks)
{
	struct nvme_sqe sqe = tbox_sqe(opc, 1, 0, 0);

	sqe.slba = le64_make(lba);
	sqe.rw_cdw12 = le32_make(blocks - 1);
	return sqe;
}

struct nvmf_connect_data tbox_connect_data(const char *nqn, uint16_t cntlid)
{
	struct nvmf_connect_data data = { .cntlid = le16_make(cntlid), .hostid = { 1, 2, 3 } };

	strncpy(data.subnqn, nqn, sizeof(data.subnqn) - 1);
	snprintf(data.hostnqn, sizeof(data.hostnqn), tbox_host_number ? "%s%u" : "%s", TBOX_HOST,
		 tbox_host_number);
	data.hostid[15] = tbox_host_number;
	return data;
}

struct nvme_sqe tbox_connect_sqe(uint16_t qid, uint16_t sqsize, uint32_t kato_ms)
{
	struct nvmf_connect_sqe c = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = NVMF_CONNECT,
		.qid = le16_make(qid), .sqsize = le16_make(sqsize), .kato = le32_make(kato_ms),
	};
	struct nvme_sqe sqe;

	memcpy(&sqe, &c, sizeof(sqe));
	return sqe;
}

struct tbox_end tbox_connect(struct tbox_conn *c, const char *nqn, uint16_t qid, uint16_t sqsize,
			   uint16_t cntlid, uint32_t kato_ms)
{
	struct nvmf_connect_data data = tbox_connect_data(nqn, cntlid);
	struct nvme_sqe sqe = tbox_connect_sqe(qid, sqsize, kato_ms);

	return tbox_run(c, &sqe, &data, sizeof(data), true, NULL, 0);
}

static struct nvme_sqe property_sqe(uint8_t fctype, uint32_t offset, bool wide, uint64_t value)
{
	struct nvmf_property_sqe p = {
		.opc = NVME_ADM_FABRICS, .flags = NVME_PSDT_SGL, .fctype = fctype,
		.attrib = wide ? NVMF_PROPERTY_8 : NVMF_PROPERTY_4, .ofst = le32_make(offset),
		.value = le64_make(value),
	};
	struct nvme_sqe sqe;

	memcpy(&sqe, &p, sizeof(sqe));
	return sqe;
}

uint64_t tbox_property_get(struct tbox_conn *c, uint32_t offset, bool wide)
{
	struct nvme_sqe sqe = property_sqe(NVMF_PROPERTY_GET, offset, wide, 0);
	struct tbox_end end = tbox_run(c, &sqe, NULL, 0, false, NULL, 0);

	assert_int_equal(end.status, 0);
	return end.dw0 | (uint64_t)end.dw1 << 32;
}

uint16_t tbox_property_set(struct tbox_conn *c, uint32_t offset, uint32_t value)
{
	struct nvme_sqe sqe = property_sqe(NVMF_PROPERTY_SET, offset, false, value);

	return tbox_run(c, &sqe, NULL, 0, false, NULL, 0).status;
}

void tbox_property_send(struct tbox_conn *c, uint32_t offset, uint32_t value)
{
	struct nvme_sqe sqe = property_sqe(NVMF_PROPERTY_SET, offset, false, value);

	tbox_cmd(c, &sqe, NULL, 0);
}

void tbox_enable(struct tbox_conn *admin)
{
	assert_int_equal(tbox_property_set(admin, NVME_REG_CC, NVME_CC_EN |
					  6 << NVME_CC_IOSQES_SHIFT |
					  4 << NVME_CC_IOCQES_SHIFT), 0);
	assert_int_equal(tbox_property_get(admin, NVME_REG_CSTS, false), NVME_CSTS_RDY);
}

uint16_t tbox_host(struct tbox_conn *admin, struct tbox_conn *io, uint32_t kato_ms)
{
	struct tbox_end end;

	tbox_dial(admin);
	tbox_ic(admin, false, false);
	end = tbox_connect(admin, TBOX_NQN, 0, 31, NVMF_CNTLID_DYNAMIC, kato_ms);
	assert_int_equal(end.status, 0);
	tbox_enable(admin);
	tbox_dial(io);
	tbox_ic(io, false, false);
	assert_int_equal(tbox_connect(io, TBOX_NQN, 1, 31, (uint16_t)end.dw0, 0).status, 0);
	return (uint16_t)end.dw0;
}
