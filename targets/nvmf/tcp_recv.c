/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving: a step machine HEADER → PDU → DATA → DIGEST over whatever bytes have come
 * (tcp_read.c). The PDUs are taken one after the other, headers where they lie.
 *
 * A step waits for more bytes (NVMF_TCP_STEP_MORE), or for a request slot or memory
 * (NVMF_TCP_STEP_WAIT).
 */
#include "targets/nvmf/tcp.h"

#include <string.h>

#include "core/base/crc32c.h"
#include "core/trace.h"

static void recv_take(struct nvmf_tcp_conn *conn, size_t len)
{
	conn->in += len;
	conn->in_len -= len;
}

static enum nvmf_tcp_step recv_fatal(struct nvmf_tcp_conn *conn, const struct nvmf_tcp_fault *fault,
			    const uint8_t *header, size_t len)
{
	nvmf_tcp_fatal(conn, fault, header, len);
	return NVMF_TCP_STEP_WAIT;
}

/* An H2CData PDU that fits no request. */
static enum nvmf_tcp_step recv_refuse(struct nvmf_tcp_conn *conn, const uint8_t *header,
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

/* LEN bytes, which are in the request's memory already, or are copied there from SRC. */
void nvmf_tcp_recv_store(struct nvmf_tcp_conn *conn, const uint8_t *src, size_t len)
{
	while (len) {
		struct iovec *iov = &conn->rx_tr->req.iov[conn->rx_iov];
		uint8_t *to = (uint8_t *)iov->iov_base + conn->rx_iov_off;
		size_t part = MIN(len, iov->iov_len - conn->rx_iov_off);

		if (src) {
			if (src != to)
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

/* An H2CData PDU is here; whether it was the last of TR. */
static bool recv_h2c_end(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	unsigned n = conn->rx_r2t;

	conn->h2c_bytes += conn->pdu.data_len;
	tr->r2t_got[n] += conn->pdu.data_len;
	if (tr->r2t_got[n] < nvmf_tcp_r2t_len(tr, n))
		return false;
	conn->r2t_open--;
	if (++tr->r2ts_done < tr->r2ts) {
		nvmf_tcp_send_r2t(conn, tr);
		return false;
	}
	conn->h2c_ends++;
	return true;
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
	if (conn->pdu.type == NVME_TCP_H2C_DATA && !recv_h2c_end(conn, tr))
		return;
	nvmf_tcp_req_ready(conn, tr);
}

static enum nvmf_tcp_step recv_data_step(struct nvmf_tcp_conn *conn, enum nvmf_tcp_rx_state *next)
{
	size_t part = MIN(conn->in_len, conn->rx_pad);

	recv_take(conn, part);
	conn->rx_pad -= (uint32_t)part;
	part = MIN(conn->in_len, conn->rx_store);
	if (part) {
		nvmf_tcp_recv_store(conn, conn->in, part);
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
		return NVMF_TCP_STEP_MORE;
	*next = conn->pdu.ddgst ? NVMF_TCP_RX_DIGEST : NVMF_TCP_RX_HEADER;
	if (*next == NVMF_TCP_RX_HEADER)
		recv_data_end(conn);
	return NVMF_TCP_STEP_AGAIN;
}

static enum nvmf_tcp_step recv_digest_step(struct nvmf_tcp_conn *conn, enum nvmf_tcp_rx_state *next)
{
	size_t part = MIN(conn->in_len, NVME_TCP_DIGEST_BYTES - conn->rx_digest_have);

	memcpy(conn->rx_digest + conn->rx_digest_have, conn->in, part);
	conn->rx_digest_have += (unsigned)part;
	recv_take(conn, part);
	if (conn->rx_digest_have < NVME_TCP_DIGEST_BYTES)
		return NVMF_TCP_STEP_MORE;
	*next = NVMF_TCP_RX_HEADER;
	recv_data_end(conn);
	return NVMF_TCP_STEP_AGAIN;
}

/* ---- PDUs ---- */

/* HPDA n: at a multiple of (n + 1) * 4, which need not be a power of two. */
static uint8_t recv_c2h_pdo(const struct nvmf_tcp_framing *framing, uint8_t hpda)
{
	unsigned align = (hpda + 1u) * 4, end = sizeof(struct nvme_tcp_data);

	end += framing->hdgst ? NVME_TCP_DIGEST_BYTES : 0;
	return (uint8_t)(div_round_up(end, align) * align);
}

static enum nvmf_tcp_step recv_ic_req(struct nvmf_tcp_conn *conn, const uint8_t *header,
			     enum nvmf_tcp_rx_state *next)
{
	struct nvme_tcp_ic_req req;

	memcpy(&req, header, sizeof(req));
	conn->framing.hdgst = req.dgst & NVME_TCP_DGST_HEADER;
	conn->framing.ddgst = req.dgst & NVME_TCP_DGST_DATA;
	conn->framing.c2h_pdo = recv_c2h_pdo(&conn->framing, req.hpda);
	conn->framing.maxr2t = le32_get(req.maxr2t);
	conn->framing.initialized = true;
	conn->state = NVMF_TCP_LIVE;
	nvmf_tcp_send_ic_resp(conn);
	conn->pdus++;
	*next = NVMF_TCP_RX_HEADER;
	return NVMF_TCP_STEP_AGAIN;
}

/*
 * In-capsule data that is all here stays where it is, if the disk takes it from there. Not when
 * receive buffers are rare: a slow disk keeps them for long.
 */
static bool recv_in_place(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	const uint8_t *data = conn->in + conn->pdu.pad_len;
	const struct nvmf_ns *ns = tr->req.ns;

	if (conn->in_len < conn->pdu.pad_len + (size_t)tr->req.data_len ||
	    conn->group->rx_free_count < NVMF_TCP_RX_FREE_MIN ||
	    (ns && ((uintptr_t)data & ns->bdev->align_mask)))
		return false;
	tr->req.iov[0] = (struct iovec){ (void *)data, tr->req.data_len };
	nvmf_tcp_rx_keep(conn->group, data);
	return true;
}

/* In-capsule data needs memory before it can be taken off the stream. */
static enum nvmf_tcp_step recv_capsule_buf(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr,
				  enum nvmf_tcp_rx_state *next)
{
	unsigned count = 1;

	conn->rx_tr = tr;
	if (!recv_in_place(conn, tr))
		count = buf_get(tr->req.data_len, tr->req.iov, &conn->rx_wait);
	if (unlikely(count == 0)) {
		*next = NVMF_TCP_RX_BUF;
		return NVMF_TCP_STEP_WAIT;
	}
	tr->req.iov_count = (uint16_t)count;
	*next = recv_data_begin(conn, tr->req.data_len, 0);
	return NVMF_TCP_STEP_AGAIN;
}

/* Nothing of TR's data is in its capsule. */
static inline void cmd_go(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr, bool started)
{
	struct nvmf_req *req = &tr->req;

	if (unlikely(!started))
		nvmf_req_done(req, req->status);
	else if (req->dir == NVMF_DIR_NONE)
		nvmf_req_exec(req);
	else
		nvmf_tcp_req_go(conn, tr);
}

void nvmf_tcp_cmd_run(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	cmd_go(conn, tr, nvmf_req_start(&tr->req));
}

static enum nvmf_tcp_step recv_cmd(struct nvmf_tcp_conn *conn, const uint8_t *header,
			  enum nvmf_tcp_rx_state *next)
{
	struct nvmf_tcp_req *tr = nvmf_tcp_req_get(conn);
	struct nvmf_req *req;
	bool started;

	if (unlikely(!tr)) {
		if (header != conn->header)
			memcpy(conn->header, header, conn->pdu.header_len);
		*next = NVMF_TCP_RX_SLOT;
		return NVMF_TCP_STEP_WAIT;
	}
	req = &tr->req;
	memcpy(&req->sqe, header + offsetof(struct nvme_tcp_cmd, sqe), sizeof(req->sqe));
	tr->digest_bad = false;
	nvmf_tcp_sgl_decode(&conn->framing, &conn->pdu, tr);
	if (unlikely(conn->move) && nvmf_tcp_move_parks(conn, tr)) {
		*next = recv_data_begin(conn, 0, 0);
		return NVMF_TCP_STEP_AGAIN;
	}
	started = nvmf_req_start(req);
	if (started && req->dir == NVMF_DIR_H2C && tr->in_capsule)
		return recv_capsule_buf(conn, tr, next);
	/* whatever data the capsule has is not wanted */
	*next = recv_data_begin(conn, 0, 0);
	cmd_go(conn, tr, started);
	return NVMF_TCP_STEP_AGAIN;
}

/* The request and the R2T of it that TTAG stands for, while its data may come; NULL. */
static struct nvmf_tcp_req *recv_ttag_find(struct nvmf_tcp_conn *conn, uint16_t ttag, unsigned *n)
{
	unsigned index = ttag & ((1u << NVMF_TCP_TTAG_BITS) - 1);
	struct nvmf_tcp_req *tr = &conn->reqs[index];

	*n = ttag >> NVMF_TCP_TTAG_BITS;
	if (index >= conn->req_count || tr->phase != NVMF_TCP_WAIT_DATA || *n >= tr->r2ts_sent ||
	    tr->r2t_got[*n] == nvmf_tcp_r2t_len(tr, *n))
		return NULL;
	return tr;
}

static enum nvmf_tcp_step recv_h2c_data(struct nvmf_tcp_conn *conn, const uint8_t *header,
			       enum nvmf_tcp_rx_state *next)
{
	struct nvme_tcp_data data;
	struct nvmf_tcp_req *tr;
	uint32_t datao, left, datal = conn->pdu.data_len;
	unsigned n;

	memcpy(&data, header, sizeof(data));
	tr = recv_ttag_find(conn, le16_get(data.ttag), &n);
	if (!tr)
		return recv_refuse(conn, header, NVME_TCP_FES_HEADER_FIELD,
				   offsetof(struct nvme_tcp_data, ttag));
	if (le16_get(data.cccid) != le16_get(tr->req.sqe.cid))
		return recv_refuse(conn, header, NVME_TCP_FES_HEADER_FIELD,
				   offsetof(struct nvme_tcp_data, cccid));
	datao = le32_get(data.datao);
	left = nvmf_tcp_r2t_len(tr, n) - tr->r2t_got[n];
	/* in order, inside of what was asked for, and LAST exactly at its end: 3.3.2.2 */
	if (datao != n * tr->r2t_bytes + tr->r2t_got[n] || datal > left)
		return recv_refuse(conn, header, NVME_TCP_FES_OUT_OF_RANGE, 0);
	if (!(conn->pdu.flags & NVME_TCP_LAST) != (datal != left))
		return recv_refuse(conn, header, NVME_TCP_FES_HEADER_FIELD,
				   offsetof(struct nvme_tcp_ch, flags));
	conn->rx_r2t = n;
	conn->rx_tr = tr;
	*next = recv_data_begin(conn, datal, datao);
	return NVMF_TCP_STEP_AGAIN;
}

/* A complete header. */
static enum nvmf_tcp_step recv_pdu(struct nvmf_tcp_conn *conn, const uint8_t *header,
			  enum nvmf_tcp_rx_state *next)
{
	struct nvmf_tcp_fault fault;

	trace(TRACE_NVMF_RECV, (uintptr_t)conn, conn->pdu.type);
	if (unlikely(!nvmf_tcp_header_decode(&conn->framing, header, &conn->pdu, &fault)))
		return recv_fatal(conn, &fault, header,
				  header[offsetof(struct nvme_tcp_ch, hlen)]);
	switch (conn->pdu.type) {
	case NVME_TCP_CMD:
		return recv_cmd(conn, header, next);
	case NVME_TCP_H2C_DATA:
		return recv_h2c_data(conn, header, next);
	default:
		return recv_ic_req(conn, header, next);
	}
}

static enum nvmf_tcp_step recv_header_step(struct nvmf_tcp_conn *conn, enum nvmf_tcp_rx_state *next)
{
	struct nvmf_tcp_fault fault;
	const uint8_t *header = conn->in;

	if (conn->in_len < sizeof(struct nvme_tcp_ch)) {
		if (conn->in_len == 0)
			return NVMF_TCP_STEP_MORE;
		conn->header_have = 0;
		*next = NVMF_TCP_RX_PDU;
		return NVMF_TCP_STEP_AGAIN;
	}
	if (unlikely(!nvmf_tcp_ch_decode(&conn->framing, header, &conn->pdu, &fault)))
		return recv_fatal(conn, &fault, header, MIN(conn->in_len, MAX(header[2], 8u)));
	if (unlikely(conn->in_len < conn->pdu.header_len)) {
		conn->header_have = 0;
		*next = NVMF_TCP_RX_PDU;
		return NVMF_TCP_STEP_AGAIN;
	}
	recv_take(conn, conn->pdu.header_len);
	return recv_pdu(conn, header, next);
}

/* A header in pieces. */
static enum nvmf_tcp_step recv_pdu_step(struct nvmf_tcp_conn *conn, enum nvmf_tcp_rx_state *next)
{
	bool decoded = conn->header_have >= sizeof(struct nvme_tcp_ch);
	unsigned want = decoded ? conn->pdu.header_len : sizeof(struct nvme_tcp_ch);
	size_t part = MIN(conn->in_len, want - conn->header_have);
	struct nvmf_tcp_fault fault;

	memcpy(conn->header + conn->header_have, conn->in, part);
	conn->header_have += (unsigned)part;
	recv_take(conn, part);
	if (conn->header_have < want)
		return NVMF_TCP_STEP_MORE;
	if (decoded)
		return recv_pdu(conn, conn->header, next);
	if (!nvmf_tcp_ch_decode(&conn->framing, conn->header, &conn->pdu, &fault))
		return recv_fatal(conn, &fault, conn->header, conn->header_have);
	return NVMF_TCP_STEP_AGAIN;
}

enum nvmf_tcp_step nvmf_tcp_recv_step(struct nvmf_tcp_conn *conn)
{
	enum nvmf_tcp_rx_state next = conn->rx;
	enum nvmf_tcp_step step;

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
		step = NVMF_TCP_STEP_WAIT;
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
