/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/remote_box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "core/spec/nvme_log.h"

enum { IN_BYTES = 256 * 1024, OUT_BYTES = 256 * 1024 };

struct remote_box far;

/* ---- sending ---- */

static void far_send(struct far_conn *c, const void *bytes, size_t len)
{
	struct iovec iov = { (void *)bytes, len };
	ssize_t n = stream_writev(c->stream, &iov, 1);

	/* all of it, or the host has closed */
	assert_true(n == (ssize_t)len || n == -EPIPE || n == -ECONNRESET);
}

/* A PDU; FLAGS besides those of digests. */
static void far_pdu(struct far_conn *c, void *header, size_t hlen, unsigned flags,
		    const void *data, size_t len)
{
	static uint8_t out[OUT_BYTES];
	struct nvme_tcp_ch *ch = header;
	size_t at = hlen + (c->hdgst ? 4 : 0);
	le32 crc;

	ch->hlen = hlen;
	ch->flags = flags | (c->hdgst ? NVME_TCP_HDGST : 0) |
		    (c->ddgst && len ? NVME_TCP_DDGST : 0);
	ch->pdo = len ? at + 4 : 0;
	ch->plen = le32_make(len ? at + 4 + len + (c->ddgst ? 4 : 0) : at);
	memcpy(out, header, hlen);
	crc = le32_make(crc32c(header, hlen));
	memcpy(out + hlen, &crc, sizeof(crc));
	if (len) {
		memset(out + at, 0, 4);
		memcpy(out + at + 4, data, len);
		at += 4 + len;
		crc = le32_make(crc32c(data, len));
		if (c->ddgst && far.spoil) {
			crc.raw ^= 1;
			far.spoil--;
		}
		memcpy(out + at, &crc, sizeof(crc));
		at += c->ddgst ? 4 : 0;
	}
	far_send(c, out, at);
}

static void far_rsp(struct far_conn *c, le16 cid, uint16_t status, uint64_t dw)
{
	struct nvme_tcp_rsp rsp = {
		.ch.type = NVME_TCP_RSP,
		.cqe = { .dw0 = le32_make((uint32_t)dw), .dw1 = le32_make(dw >> 32), .cid = cid,
			 .status = le16_make(status << NVME_STATUS_SHIFT) },
	};

	if (c->rdma)
		far_rdma_answer(c, &rsp.cqe);
	else
		far_pdu(c, &rsp, sizeof(rsp), 0, NULL, 0);
}

static void far_data(struct far_conn *c, le16 cid, const uint8_t *data, uint32_t len, bool success)
{
	unsigned pieces = len / far.pieces >= 4 ? far.pieces : 1;
	uint32_t part = len / pieces;

	if (c->rdma) {
		far_rdma_data(c, data, len);
		far_rsp(c, cid, 0, 0);
		return;
	}
	for (unsigned i = 0; i < pieces; i++) {
		bool last = i + 1 == pieces;
		struct nvme_tcp_data h = {
			.ch.type = NVME_TCP_C2H_DATA, .cccid = cid, .datao = le32_make(i * part),
			.datal = le32_make(last ? len - i * part : part),
		};

		far_pdu(c, &h, sizeof(h), (last ? NVME_TCP_LAST : 0) |
			(last && success ? NVME_TCP_SUCCESS : 0), data + i * part,
			le32_get(h.datal));
	}
	if (!success)
		far_rsp(c, cid, 0, 0);
}

/* ---- admin commands ---- */

static void far_identify(struct far_conn *c, const struct nvme_sqe *sqe)
{
	union {
		struct nvme_id_ctrl ctrl;
		struct nvme_id_ns ns;
		le32 list[1024];
		uint8_t bytes[NVME_DATA_BYTES];
	} page = { .bytes = { 0 } };

	switch (le32_get(sqe->cdw10) & 0xff) {
	case NVME_CNS_CTRL:
		memset(page.ctrl.sn, ' ', sizeof(page.ctrl.sn) + sizeof(page.ctrl.mn));
		memcpy(page.ctrl.sn, "BOX", 3);
		page.ctrl.ver = le32_make(NVME_VS_2_0_0);
		page.ctrl.oaes = le32_make(NVME_OAES_NS_CHANGED);
		page.ctrl.cntrltype = NVME_CNTRLTYPE_IO;
		page.ctrl.sqes = 0x66;
		page.ctrl.cqes = 0x44;
		/* a short ANA page all the same */
		page.ctrl.nn = le32_make(far.ana ? 1024 : 1);
		page.ctrl.oncs = le16_make(NVME_ONCS_DSM | NVME_ONCS_WRITE_ZEROES);
		page.ctrl.cmic = far.ana ? NVME_CMIC_ANA : 0;
		page.ctrl.anacap = 0x1f;
		page.ctrl.ioccsz = le32_make((sizeof(*sqe) + far.ioccsz) / 16);
		snprintf(page.ctrl.subnqn, sizeof(page.ctrl.subnqn), FAR_NQN);
		break;
	case NVME_CNS_NS:
		page.ns.nsze = page.ns.ncap = le64_make(far.blocks);
		page.ns.lbaf[0].lbads = 9;
		page.ns.nguid[0] = far.nguid;
		page.ns.anagrpid = le32_make(1);
		break;
	case NVME_CNS_NS_LIST:
		page.list[0] = le32_make(far.blocks && le32_get(sqe->nsid) == 0);
		break;
	}
	far_data(c, sqe->cid, page.bytes, sizeof(page), false);
}

static void far_log(struct far_conn *c, const struct nvme_sqe *sqe)
{
	uint8_t page[NVME_DATA_BYTES] = { 0 };
	struct {
		struct nvme_log_ana head;
		struct nvme_log_ana_group group;
		le32 nsid;
	} ana = {
		.head.ngrps = le16_make(1),
		.group = { .grpid = le32_make(1), .nnsids = le32_make(1), .state = far.ana },
		.nsid = le32_make(1),
	};

	if ((le32_get(sqe->cdw10) & 0xff) == NVME_LID_ANA) {
		/* base 2.0c 5.16.1: not from behind its end */
		if (le32_get(sqe->cdw12) > sizeof(ana)) {
			far_rsp(c, sqe->cid, NVME_SC_INVALID_FIELD | NVME_STATUS_DNR, 0);
			return;
		}
		memcpy(page, &ana, sizeof(ana));
	}
	far_data(c, sqe->cid, page, le32_get(sqe->sgl.length), false);
}

static void far_fabrics(struct far_conn *c, const struct nvme_sqe *sqe, const uint8_t *data)
{
	const struct nvmf_property_sqe *prop = (const void *)sqe;
	const struct nvmf_connect_data *connect = (const void *)data;
	uint64_t value = 0;

	switch (prop->fctype) {
	case NVMF_CONNECT:
		assert_non_null(data);
		assert_string_equal(connect->subnqn, FAR_NQN);
		c->qid = le16_get(((const struct nvmf_connect_sqe *)sqe)->qid);
		value = c->qid ? le16_get(connect->cntlid) : ++far.cntlid;
		break;
	case NVMF_PROPERTY_GET:
		if (le32_get(prop->ofst) == NVME_REG_CAP)
			value = 63 | 1ull << NVME_CAP_CSS_SHIFT | 2ull << NVME_CAP_TO_SHIFT;
		else if (le32_get(prop->ofst) == NVME_REG_CSTS)
			value = NVME_CSTS_RDY | NVME_SHST_COMPLETE << NVME_CSTS_SHST_SHIFT;
		break;
	default:
		far.shutdowns += (le64_get(prop->value) & NVME_CC_SHN_MASK) != 0;
	}
	far_rsp(c, sqe->cid, 0, value);
}

static void far_admin(struct far_conn *c, const struct nvme_sqe *sqe)
{
	switch (sqe->opc) {
	case NVME_ADM_IDENTIFY:
		far_identify(c, sqe);
		break;
	case NVME_ADM_GET_LOG_PAGE:
		far_log(c, sqe);
		break;
	case NVME_ADM_ASYNC_EVENT:
		assert_false(c->aer);
		c->aer = true;
		c->aer_cid = le16_get(sqe->cid);
		break;
	default:
		far_rsp(c, sqe->cid, 0, 0);
	}
}

/* ---- I/O ---- */

static void far_r2ts(struct far_conn *c, le16 cid, uint32_t len)
{
	uint32_t part = len / far.r2ts;

	for (unsigned i = 0; i < far.r2ts; i++) {
		struct nvme_tcp_r2t r2t = {
			.ch.type = NVME_TCP_R2T, .cccid = cid, .ttag = le16_make(7 + i),
			.r2to = le32_make(i * part),
			.r2tl = le32_make(i + 1 == far.r2ts ? len - i * part : part),
		};

		far_pdu(c, &r2t, sizeof(r2t), 0, NULL, 0);
	}
}

static void far_io(struct far_conn *c, const struct nvme_sqe *sqe, const uint8_t *data)
{
	uint64_t at = le64_get(sqe->slba) * 512;
	uint32_t len = le32_get(sqe->sgl.length);
	unsigned index = le16_get(sqe->cid) % REMOTE_DEPTH_MAX;

	if (far.mute)
		return;
	switch (sqe->opc) {
	case NVME_NVM_READ:
		far.reads++;
		assert_true(at + len <= FAR_BYTES);
		far_data(c, sqe->cid, far.media + at, len, far.success);
		return;
	case NVME_NVM_WRITE:
		far.writes++;
		assert_true(at + len <= FAR_BYTES);
		if (data) {
			memcpy(far.media + at, data, len);
			break;
		}
		assert_false(c->writes[index].used);
		c->writes[index].used = true;
		c->writes[index].at = at;
		c->writes[index].len = len;
		c->writes[index].got = 0;
		far_r2ts(c, sqe->cid, len);
		return;
	}
	far_rsp(c, sqe->cid, 0, 0);
}

static void far_h2c(struct far_conn *c, const struct nvme_tcp_data *h, const uint8_t *data)
{
	unsigned index = le16_get(h->cccid) % REMOTE_DEPTH_MAX;
	uint32_t len = le32_get(h->datal);

	assert_true(c->writes[index].used);
	assert_true(len > 0 && len <= far.maxh2cdata);
	assert_int_equal(le32_get(h->datao), c->writes[index].got);
	memcpy(far.media + c->writes[index].at + c->writes[index].got, data, len);
	c->writes[index].got += len;
	if (c->writes[index].got < c->writes[index].len)
		return;
	c->writes[index].used = false;
	far_rsp(c, h->cccid, 0, 0);
}

/* ---- receiving ---- */

static void far_ic(struct far_conn *c, const struct nvme_tcp_ic_req *req)
{
	struct nvme_tcp_ic_resp resp = {
		.ch = { .type = NVME_TCP_IC_RESP, .hlen = sizeof(resp),
			.plen = le32_make(sizeof(resp)) },
		.cpda = 3, .dgst = req->dgst, .maxh2cdata = le32_make(far.maxh2cdata),
	};

	far_send(c, &resp, sizeof(resp));
	c->hdgst = req->dgst & NVME_TCP_DGST_HEADER;
	c->ddgst = req->dgst & NVME_TCP_DGST_DATA;
}

static void digests_check(const struct far_conn *c, const uint8_t *pdu,
			  const struct nvme_tcp_ch *ch)
{
	size_t end = le32_get(ch->plen) - (ch->flags & NVME_TCP_DDGST ? 4 : 0);
	le32 crc;

	assert_int_equal(!!(ch->flags & NVME_TCP_HDGST), c->hdgst);
	if (c->hdgst) {
		memcpy(&crc, pdu + ch->hlen, sizeof(crc));
		assert_int_equal(le32_get(crc), crc32c(pdu, ch->hlen));
	}
	if (!ch->pdo)
		return;
	assert_int_equal(ch->pdo % 16, 0);
	assert_int_equal(!!(ch->flags & NVME_TCP_DDGST), c->ddgst);
	if (c->ddgst) {
		memcpy(&crc, pdu + end, sizeof(crc));
		assert_int_equal(le32_get(crc), crc32c(pdu + ch->pdo, end - ch->pdo));
	}
}

void far_command(struct far_conn *c, const struct nvme_sqe *sqe, const uint8_t *data)
{
	if (sqe->opc == NVME_ADM_FABRICS)
		far_fabrics(c, sqe, data);
	else if (c->qid == 0)
		far_admin(c, sqe);
	else
		far_io(c, sqe, data);
}

static void far_take(struct far_conn *c, const uint8_t *pdu)
{
	struct nvme_tcp_ch ch;
	struct nvme_tcp_cmd cmd;
	struct nvme_tcp_data data;

	memcpy(&ch, pdu, sizeof(ch));
	if (ch.type == NVME_TCP_IC_REQ) {
		far_ic(c, (const void *)pdu);
		return;
	}
	digests_check(c, pdu, &ch);
	if (ch.type == NVME_TCP_H2C_DATA) {
		memcpy(&data, pdu, sizeof(data));
		far_h2c(c, &data, pdu + ch.pdo);
		return;
	}
	assert_int_equal(ch.type, NVME_TCP_CMD);
	memcpy(&cmd, pdu, sizeof(cmd));
	far_command(c, &cmd.sqe, ch.pdo ? pdu + ch.pdo : NULL);
}

static void far_parse(struct far_conn *c)
{
	size_t at = 0;

	while (c->in_len - at >= sizeof(struct nvme_tcp_ch)) {
		struct nvme_tcp_ch ch;

		memcpy(&ch, c->in + at, sizeof(ch));
		if (c->in_len - at < le32_get(ch.plen))
			break;
		if (far.close_after && ++far.pdus >= far.close_after) {
			far.close_after = 0;
			stream_close(c->stream);
			return;
		}
		far_take(c, c->in + at);
		at += le32_get(ch.plen);
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

static void far_event(struct stream *s, unsigned events)
{
	struct far_conn *c = s->owner;

	if (events & STREAM_CLOSED) {
		free(c->in);
		memset(c, 0, sizeof(*c));
		return;
	}
	for (;;) {
		struct iovec iov = { c->in + c->in_len, IN_BYTES - c->in_len };
		ssize_t n = stream_readv(s, &iov, 1);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			stream_close(s);
			return;
		}
		c->in_len += n;
		far_parse(c);
		if (container_of(s, struct fake_stream, s)->closing)
			return;
	}
}

void far_accept(struct stream_listener *l, struct stream *s)
{
	struct fake_stream *host = container_of(s, struct fake_stream, s)->peer;
	struct far_conn *c = far.conns;

	while (c->stream || c->rdma)
		assert_true(++c < far.conns + FAR_CONNS);
	c->stream = s;
	c->in = malloc(IN_BYTES);
	s->owner = c;
	s->event = far_event;
	if (far.segment)
		host->read_max = far.segment;
	far.accepts++;
	stream_attach(s);
	if (far.refuse)
		stream_close(s);
}

/* ---- for tests ---- */

void far_hold(bool hold)
{
	for (unsigned i = 0; i < FAR_CONNS; i++)
		if (far.conns[i].stream && far.conns[i].qid)
			container_of(far.conns[i].stream, struct fake_stream, s)->peer->hold = hold;
}

void far_hang_up(void)
{
	for (unsigned i = 0; i < FAR_CONNS; i++)
		if (far.conns[i].stream)
			fake_stream_hangup(container_of(far.conns[i].stream,
							struct fake_stream, s));
}

void far_notify(void)
{
	for (unsigned i = 0; i < FAR_CONNS; i++) {
		struct far_conn *c = &far.conns[i];

		if (!c->aer)
			continue;
		c->aer = false;
		far_rsp(c, le16_make(c->aer_cid), 0, NVME_AER_NOTICE |
			NVME_LID_CHANGED_NS << NVME_AER_LID_SHIFT);
	}
}

bool far_release(size_t bytes)
{
	size_t sum = 0;

	for (unsigned i = 0; i < FAR_CONNS; i++)
		if (far.conns[i].stream)
			sum += fake_stream_release(container_of(far.conns[i].stream,
								struct fake_stream, s)->peer,
						   bytes);
	return sum > 0;
}
