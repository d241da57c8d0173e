/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving: a step machine HEADER → PDU → DATA → DIGEST over whatever bytes have come.
 *
 * One readv fetches as much as fits into a receive buffer of the reactor; the PDUs in it are taken
 * one after the other, headers where they lie. When data of a request is awaited, the readv starts
 * with the request's own memory, so that large transfers are not copied.
 *
 * A step waits for more bytes (STEP_MORE), or for a request slot or memory (STEP_WAIT); only in the
 * latter case does the connection keep its receive buffer, and it is not read from until then.
 */
#include "targets/nvmf/tcp.h"

#include <errno.h>
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/panic.h"
#include "core/config.h"
#include "core/trace.h"

enum {
	RECV_READS = 4,                 /* readv calls of one visit */
	RECV_DIRECT_MIN = 2048,         /* below this, copying is cheaper than another iovec */
};

enum step {
	STEP_AGAIN,
	STEP_MORE,
	STEP_WAIT,
};

static void recv_take(struct nvmf_tcp_conn *conn, size_t len)
{
	conn->in += len;
	conn->in_len -= len;
}

static enum step recv_fatal(struct nvmf_tcp_conn *conn, const struct nvmf_tcp_fault *fault,
			    const uint8_t *header, size_t len)
{
	nvmf_tcp_fatal(conn, fault, header, len);
	return STEP_WAIT;
}

/* An H2CData PDU that fits no request. */
static enum step recv_refuse(struct nvmf_tcp_conn *conn, const uint8_t *header,
			     enum nvme_tcp_fes fes, uint32_t fei)
{
	struct nvmf_tcp_fault fault = { .fes = fes, .fei = fei };

	return recv_fatal(conn, &fault, header, sizeof(struct nvme_tcp_data));
}

/* ---- data ---- */

/* The data of conn->pdu comes next; KEEP bytes of it belong to conn->rx_tr from its byte AT on. */
static enum nvmf_tcp_rx_state recv_data_begin(struct nvmf_tcp_conn *conn, uint32_t keep,
					      uint32_t at)
{
	struct nvmf_tcp_req *tr = conn->rx_tr;

	conn->pdus++;
	if (conn->pdu.data_len == 0)
		return NVMF_TCP_RX_HEADER;
	conn->rx_pad = conn->pdu.pad_len;
	conn->rx_left = conn->pdu.data_len;
	conn->rx_store = tr ? keep : 0;
	conn->rx_crc = (uint32_t)CRC32C_INIT;
	conn->rx_digest_have = 0;
	conn->rx_iov = 0;
	if (tr) {
		while (at >= tr->req.iov[conn->rx_iov].iov_len)
			at -= (uint32_t)tr->req.iov[conn->rx_iov++].iov_len;
		conn->rx_iov_off = at;
	}
	return NVMF_TCP_RX_DATA;
}

/* LEN bytes, which are in the request's memory already or are copied there from SRC. */
static void recv_store(struct nvmf_tcp_conn *conn, const uint8_t *src, size_t len)
{
	while (len) {
		struct iovec *iov = &conn->rx_tr->req.iov[conn->rx_iov];
		uint8_t *to = (uint8_t *)iov->iov_base + conn->rx_iov_off;
		size_t part = MIN(len, iov->iov_len - conn->rx_iov_off);

		if (src) {
			memcpy(to, src, part);
			src += part;
		}
		if (conn->pdu.ddgst)
			conn->rx_crc = crc32c_update(conn->rx_crc, to, part);
		conn->rx_iov_off += part;
		if (conn->rx_iov_off == iov->iov_len) {
			conn->rx_iov++;
			conn->rx_iov_off = 0;
		}
		conn->rx_left -= (uint32_t)part;
		conn->rx_store -= (uint32_t)part;
		len -= part;
	}
}

/* All data of the PDU, and its digest, are here. */
static void recv_data_end(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_req *tr = conn->rx_tr;

	conn->rx_tr = NULL;
	if (!tr)
		return;
	if (unlikely(conn->pdu.ddgst)) {
		le32 received;

		memcpy(&received, conn->rx_digest, sizeof(received));
		if (le32_get(received) != crc32c_final(conn->rx_crc))
			tr->digest_bad = true;
	}
	if (conn->pdu.type == NVME_TCP_H2C_DATA) {
		tr->h2c_got += conn->pdu.data_len;
		if (tr->h2c_got < tr->req.data_len)
			return;
	}
	nvmf_tcp_req_ready(conn, tr);
}

static enum step recv_data_step(struct nvmf_tcp_conn *conn, enum nvmf_tcp_rx_state *next)
{
	size_t part = MIN(conn->in_len, conn->rx_pad);

	recv_take(conn, part);
	conn->rx_pad -= (uint32_t)part;
	part = MIN(conn->in_len, conn->rx_store);
	if (part) {
		recv_store(conn, conn->in, part);
		recv_take(conn, part);
	}
	if (conn->rx_store == 0 && conn->rx_left) {
		part = MIN(conn->in_len, conn->rx_left);
		if (conn->pdu.ddgst)
			conn->rx_crc = crc32c_update(conn->rx_crc, conn->in, part);
		conn->rx_left -= (uint32_t)part;
		recv_take(conn, part);
	}
	if (conn->rx_left)
		return STEP_MORE;
	*next = conn->pdu.ddgst ? NVMF_TCP_RX_DIGEST : NVMF_TCP_RX_HEADER;
	if (*next == NVMF_TCP_RX_HEADER)
		recv_data_end(conn);
	return STEP_AGAIN;
}

static enum step recv_digest_step(struct nvmf_tcp_conn *conn, enum nvmf_tcp_rx_state *next)
{
	size_t part = MIN(conn->in_len, NVME_TCP_DIGEST_BYTES - conn->rx_digest_have);

	memcpy(conn->rx_digest + conn->rx_digest_have, conn->in, part);
	conn->rx_digest_have += (unsigned)part;
	recv_take(conn, part);
	if (conn->rx_digest_have < NVME_TCP_DIGEST_BYTES)
		return STEP_MORE;
	*next = NVMF_TCP_RX_HEADER;
	recv_data_end(conn);
	return STEP_AGAIN;
}

/* ---- PDUs ---- */

static enum step recv_ic_req(struct nvmf_tcp_conn *conn, const uint8_t *header,
			     enum nvmf_tcp_rx_state *next)
{
	struct nvme_tcp_ic_req req;

	memcpy(&req, header, sizeof(req));
	conn->framing.hdgst = req.dgst & NVME_TCP_DGST_HEADER;
	conn->framing.ddgst = req.dgst & NVME_TCP_DGST_DATA;
	conn->framing.hpda = req.hpda;
	conn->framing.initialized = true;
	conn->state = NVMF_TCP_LIVE;
	nvmf_tcp_send_ic_resp(conn);
	conn->pdus++;
	*next = NVMF_TCP_RX_HEADER;
	return STEP_AGAIN;
}

/* In-capsule data needs memory before it can be taken off the stream. */
static enum step recv_capsule_buf(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr,
				  enum nvmf_tcp_rx_state *next)
{
	unsigned count = buf_get(tr->req.data_len, tr->req.iov, &conn->rx_wait);

	conn->rx_tr = tr;
	if (unlikely(count == 0)) {
		*next = NVMF_TCP_RX_BUF;
		return STEP_WAIT;
	}
	tr->req.iov_count = (uint16_t)count;
	*next = recv_data_begin(conn, tr->req.data_len, 0);
	return STEP_AGAIN;
}

static enum step recv_cmd(struct nvmf_tcp_conn *conn, const uint8_t *header,
			  enum nvmf_tcp_rx_state *next)
{
	struct nvmf_tcp_req *tr = nvmf_tcp_req_get(conn);
	struct nvmf_req *req;
	bool started;

	if (unlikely(!tr)) {
		if (header != conn->header)
			memcpy(conn->header, header, conn->pdu.header_len);
		*next = NVMF_TCP_RX_SLOT;
		return STEP_WAIT;
	}
	req = &tr->req;
	memcpy(&req->sqe, header + offsetof(struct nvme_tcp_cmd, sqe), sizeof(req->sqe));
	tr->digest_bad = false;
	nvmf_tcp_sgl_decode(&conn->framing, &conn->pdu, tr);
	started = nvmf_req_start(req);
	if (started && req->dir == NVMF_DIR_H2C && tr->in_capsule)
		return recv_capsule_buf(conn, tr, next);
	/* whatever data the capsule has is not wanted */
	conn->rx_tr = NULL;
	*next = recv_data_begin(conn, 0, 0);
	if (unlikely(!started))
		nvmf_req_done(req, req->status);
	else if (req->dir == NVMF_DIR_NONE)
		nvmf_req_exec(req);
	else
		nvmf_tcp_req_go(conn, tr);
	return STEP_AGAIN;
}

static enum step recv_h2c_data(struct nvmf_tcp_conn *conn, const uint8_t *header,
			       enum nvmf_tcp_rx_state *next)
{
	struct nvme_tcp_data data;
	struct nvmf_tcp_req *tr;
	uint32_t datao, datal = conn->pdu.data_len;

	memcpy(&data, header, sizeof(data));
	tr = le16_get(data.ttag) < conn->req_count ? &conn->reqs[le16_get(data.ttag)] : NULL;
	if (!tr || tr->phase != NVMF_TCP_WAIT_DATA)
		return recv_refuse(conn, header, NVME_TCP_FES_HEADER_FIELD,
				   offsetof(struct nvme_tcp_data, ttag));
	if (le16_get(data.cccid) != le16_get(tr->req.sqe.cid))
		return recv_refuse(conn, header, NVME_TCP_FES_HEADER_FIELD,
				   offsetof(struct nvme_tcp_data, cccid));
	datao = le32_get(data.datao);
	/* in order, inside of what was asked for, and LAST exactly at its end: 3.3.2.2 */
	if (datao != tr->h2c_got || datal > tr->req.data_len - datao)
		return recv_refuse(conn, header, NVME_TCP_FES_OUT_OF_RANGE, 0);
	if (!(conn->pdu.flags & NVME_TCP_LAST) != (datao + datal != tr->req.data_len))
		return recv_refuse(conn, header, NVME_TCP_FES_HEADER_FIELD,
				   offsetof(struct nvme_tcp_ch, flags));
	conn->rx_tr = tr;
	*next = recv_data_begin(conn, datal, datao);
	return STEP_AGAIN;
}

/* A complete header. */
static enum step recv_pdu(struct nvmf_tcp_conn *conn, const uint8_t *header,
			  enum nvmf_tcp_rx_state *next)
{
	struct nvmf_tcp_fault fault;

	trace(TRACE_NVMF_RECV, (uintptr_t)conn, conn->pdu.type);
	if (unlikely(!nvmf_tcp_header_decode(&conn->framing, header, &conn->pdu, &fault)))
		return recv_fatal(conn, &fault, header, conn->pdu.header_len);
	switch (conn->pdu.type) {
	case NVME_TCP_CMD:
		return recv_cmd(conn, header, next);
	case NVME_TCP_H2C_DATA:
		return recv_h2c_data(conn, header, next);
	default:
		return recv_ic_req(conn, header, next);
	}
}

static enum step recv_header_step(struct nvmf_tcp_conn *conn, enum nvmf_tcp_rx_state *next)
{
	struct nvmf_tcp_fault fault;
	const uint8_t *header = conn->in;

	if (conn->in_len < sizeof(struct nvme_tcp_ch)) {
		if (conn->in_len == 0)
			return STEP_MORE;
		conn->header_have = 0;
		*next = NVMF_TCP_RX_PDU;
		return STEP_AGAIN;
	}
	if (unlikely(!nvmf_tcp_ch_decode(&conn->framing, header, &conn->pdu, &fault)))
		return recv_fatal(conn, &fault, header, MIN(conn->in_len, MAX(header[2], 8u)));
	if (unlikely(conn->in_len < conn->pdu.header_len)) {
		conn->header_have = 0;
		*next = NVMF_TCP_RX_PDU;
		return STEP_AGAIN;
	}
	recv_take(conn, conn->pdu.header_len);
	return recv_pdu(conn, header, next);
}

/* A header in pieces. */
static enum step recv_pdu_step(struct nvmf_tcp_conn *conn, enum nvmf_tcp_rx_state *next)
{
	bool decoded = conn->header_have >= sizeof(struct nvme_tcp_ch);
	unsigned want = decoded ? conn->pdu.header_len : sizeof(struct nvme_tcp_ch);
	size_t part = MIN(conn->in_len, want - conn->header_have);
	struct nvmf_tcp_fault fault;

	memcpy(conn->header + conn->header_have, conn->in, part);
	conn->header_have += (unsigned)part;
	recv_take(conn, part);
	if (conn->header_have < want)
		return STEP_MORE;
	if (decoded)
		return recv_pdu(conn, conn->header, next);
	if (!nvmf_tcp_ch_decode(&conn->framing, conn->header, &conn->pdu, &fault))
		return recv_fatal(conn, &fault, conn->header, conn->header_have);
	return STEP_AGAIN;
}

static enum step recv_step(struct nvmf_tcp_conn *conn)
{
	enum nvmf_tcp_rx_state next = conn->rx;
	enum step step;

	switch (conn->rx) {
	case NVMF_TCP_RX_HEADER:
		step = recv_header_step(conn, &next);
		break;
	case NVMF_TCP_RX_PDU:
		step = recv_pdu_step(conn, &next);
		break;
	case NVMF_TCP_RX_SLOT:
		step = recv_cmd(conn, conn->header, &next);
		break;
	case NVMF_TCP_RX_BUF:
		step = STEP_WAIT;
		if (!list_linked(&conn->rx_wait.link))
			step = recv_capsule_buf(conn, conn->rx_tr, &next);
		break;
	case NVMF_TCP_RX_DATA:
		step = recv_data_step(conn, &next);
		break;
	default:
		step = recv_digest_step(conn, &next);
		break;
	}
	conn->rx = next;
	return step;
}

/* ---- reading ---- */

void nvmf_tcp_rx_drop(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_group *group = conn->group;

	conn->in_len = 0;
	if (conn->rx_buf) {
		group->rx_free[group->rx_free_count++] = conn->rx_buf;
		conn->rx_buf = NULL;
	}
}

/* The memory that awaited data goes to, then the receive buffer. Returns the iovecs. */
static int recv_iov(struct nvmf_tcp_conn *conn, struct iovec *iov, size_t *direct)
{
	size_t want = conn->rx_store;
	int count = 0;

	*direct = 0;
	if (conn->rx == NVMF_TCP_RX_DATA && conn->rx_pad == 0 && want >= RECV_DIRECT_MIN) {
		size_t off = conn->rx_iov_off;

		for (unsigned i = conn->rx_iov; want; i++) {
			const struct iovec *to = &conn->rx_tr->req.iov[i];
			size_t part = MIN(want, to->iov_len - off);

			iov[count].iov_base = (uint8_t *)to->iov_base + off;
			iov[count++].iov_len = part;
			*direct += part;
			want -= part;
			off = 0;
		}
	}
	iov[count].iov_base = conn->rx_buf;
	iov[count++].iov_len = NVMF_TCP_RX_BYTES;
	return count;
}

/* False: nothing came. */
static bool recv_read(struct nvmf_tcp_conn *conn)
{
	struct iovec iov[BUF_IOV_MAX + 1];
	size_t direct;
	int count = recv_iov(conn, iov, &direct);
	ssize_t n = stream_readv(conn->stream, iov, count);

	if (n == -EAGAIN) {
		conn->readable = false;
		return false;
	}
	if (n <= 0) {
		conn->readable = false;
		if (n == 0)
			nvmf_tcp_close(conn, "the host closed the connection");
		else
			nvmf_tcp_close(conn, "receiving: %s", strerror((int)-n));
		return false;
	}
	if ((size_t)n <= direct) {
		recv_store(conn, NULL, (size_t)n);
		return true;
	}
	if (direct)
		recv_store(conn, NULL, direct);
	conn->in = conn->rx_buf;
	conn->in_len = (size_t)n - direct;
	return true;
}

static bool recv_may(const struct nvmf_tcp_conn *conn)
{
	return conn->state <= NVMF_TCP_LINGER && conn->move_to < 0;
}

int nvmf_tcp_recv(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_group *group = conn->group;
	enum step step = STEP_AGAIN;
	int work = 0;

	if (!conn->rx_buf) {
		if (group->rx_free_count == 0) {
			nvmf_tcp_ready(conn);
			return 0;
		}
		conn->rx_buf = group->rx_free[--group->rx_free_count];
		conn->in_len = 0;
	}
	for (int reads = 0;; reads++) {
		while (conn->state < NVMF_TCP_LINGER && conn->move_to < 0) {
			step = recv_step(conn);
			if (step != STEP_AGAIN)
				break;
			work++;
		}
		if (conn->state == NVMF_TCP_LINGER) {
			conn->in_len = 0;
			step = STEP_MORE;
		}
		if (!recv_may(conn) || step == STEP_WAIT || !conn->readable ||
		    reads == RECV_READS)
			break;
		if (!recv_read(conn))
			break;
		work++;
	}
	if (conn->in_len == 0)
		nvmf_tcp_rx_drop(conn);
	if (step != STEP_WAIT && conn->readable && recv_may(conn))
		nvmf_tcp_ready(conn);
	return work;
}
