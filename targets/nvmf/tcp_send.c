/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending. What is answered is laid out at once as the iovec of the next writev: headers in a ring
 * of bytes, so that the end of one answer and the header of the next are one piece, and data where
 * it lies. A round sends all of it with one call. What does not fit waits in tx_wait, in order.
 *
 * A record per PDU says up to which byte of the stream its header and data are in use; when the
 * stream has released that byte they go back.
 */
#include "targets/nvmf/tcp.h"

#include <errno.h>
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/panic.h"

/* Bytes of headers that one answer takes at most: C2HData with the largest pad, digests, CQE. */
enum { TX_ANSWER_BYTES = 128 + 128 + 64, TX_ANSWER_IOVS = BUF_IOV_MAX + 2 };

void nvmf_tcp_tx_init(struct nvmf_tcp_conn *conn)
{
	list_init(&conn->tx_wait);
}

static bool tx_room(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_tx *tx = &conn->tx;

	if (unlikely(tx->iov_tail + TX_ANSWER_IOVS > NVMF_TCP_TX_IOVS)) {
		unsigned count = tx->iov_tail - tx->iov_head;

		if (count + TX_ANSWER_IOVS > NVMF_TCP_TX_IOVS)
			return false;
		memmove(tx->iov, tx->iov + tx->iov_head, count * sizeof(tx->iov[0]));
		tx->iov_head = 0;
		tx->iov_tail = count;
	}
	/* twice: the end of the ring may have to be skipped */
	return tx->header_tail - tx->header_head + 2 * TX_ANSWER_BYTES <= NVMF_TCP_TX_BYTES &&
	       tx->record_tail - tx->record_head < NVMF_TCP_TX_RECORDS;
}

/* LEN contiguous bytes of headers, next to be sent. */
static uint8_t *tx_header(struct nvmf_tcp_conn *conn, uint32_t len)
{
	struct nvmf_tcp_tx *tx = &conn->tx;
	uint32_t at = tx->header_tail % NVMF_TCP_TX_BYTES;
	struct iovec *last;
	uint8_t *bytes;

	if (at + len > NVMF_TCP_TX_BYTES) {
		tx->header_tail += NVMF_TCP_TX_BYTES - at;
		at = 0;
	}
	bytes = tx->headers + at;
	tx->header_tail += len;
	tx->queued += len;
	if (tx->iov_tail > tx->iov_head) {
		last = &tx->iov[tx->iov_tail - 1];
		if ((uint8_t *)last->iov_base + last->iov_len == bytes) {
			last->iov_len += len;
			return bytes;
		}
	}
	tx->iov[tx->iov_tail++] = (struct iovec){ bytes, len };
	return bytes;
}

/* The PDU is complete; TR is free when all of it is released. */
static void tx_commit(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	struct nvmf_tcp_tx *tx = &conn->tx;

	tx->records[tx->record_tail++ % NVMF_TCP_TX_RECORDS] = (struct nvmf_tcp_record){
		.end = tx->queued, .header_end = tx->header_tail, .tr = tr,
	};
	if (!list_linked(&conn->sending))
		list_push(&conn->group->sending, &conn->sending);
}

static void tx_digest(const uint8_t *header, uint32_t len, uint8_t *at)
{
	le32 crc = le32_make(crc32c(header, len));

	memcpy(at, &crc, sizeof(crc));
}

/* A PDU that is a header only, made where it is sent from: the rest of its LEN bytes is next. */
static void *tx_pdu(struct nvmf_tcp_conn *conn, uint8_t type, uint32_t len)
{
	uint32_t digest = conn->framing.hdgst ? NVME_TCP_DIGEST_BYTES : 0;
	struct nvme_tcp_ch *ch = (void *)tx_header(conn, len + digest);

	*ch = (struct nvme_tcp_ch){
		.type = type, .flags = digest ? NVME_TCP_HDGST : 0, .hlen = (uint8_t)len,
		.plen = le32_make(len + digest),
	};
	return ch;
}

/* It is complete. */
static void tx_pdu_end(struct nvmf_tcp_conn *conn, void *pdu, uint32_t len)
{
	if (unlikely(conn->framing.hdgst))
		tx_digest(pdu, len, (uint8_t *)pdu + len);
}

static void tx_rsp(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	struct nvme_tcp_rsp *rsp = tx_pdu(conn, NVME_TCP_RSP, sizeof(*rsp));

	nvmf_req_cqe(&tr->req, &rsp->cqe);
	tx_pdu_end(conn, rsp, sizeof(*rsp));
}

/* ---- C2HData: transport 1.0 3.6.2.8 ---- */

static void tx_data_digest(struct nvmf_tcp_conn *conn, const struct nvmf_tcp_req *tr)
{
	uint32_t state = (uint32_t)CRC32C_INIT;
	le32 crc;

	for (unsigned i = 0; i < tr->req.iov_count; i++)
		state = crc32c_update(state, tr->req.iov[i].iov_base, tr->req.iov[i].iov_len);
	crc = le32_make(crc32c_final(state));
	memcpy(tx_header(conn, sizeof(crc)), &crc, sizeof(crc));
}

static void tx_data(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr, bool success)
{
	const struct nvmf_tcp_framing *framing = &conn->framing;
	uint32_t hlen = sizeof(struct nvme_tcp_data), pdo = framing->c2h_pdo;
	uint32_t tail = framing->ddgst ? NVME_TCP_DIGEST_BYTES : 0;
	struct nvmf_tcp_tx *tx = &conn->tx;
	uint8_t *out = tx_header(conn, pdo);

	*(struct nvme_tcp_data *)(void *)out = (struct nvme_tcp_data){
		.ch = {
			.type = NVME_TCP_C2H_DATA,
			.flags = NVME_TCP_LAST | (success ? NVME_TCP_SUCCESS : 0) |
				 (framing->hdgst ? NVME_TCP_HDGST : 0) |
				 (framing->ddgst ? NVME_TCP_DDGST : 0),
			.hlen = (uint8_t)hlen,
			.pdo = (uint8_t)pdo,
			.plen = le32_make(pdo + tr->req.data_len + tail),
		},
		.cccid = tr->req.sqe.cid,
		.datal = le32_make(tr->req.data_len),
	};
	if (unlikely(pdo != hlen)) {
		memset(out + hlen, 0, pdo - hlen);
		if (framing->hdgst)
			tx_digest(out, hlen, out + hlen);
	}
	for (unsigned i = 0; i < tr->req.iov_count; i++)
		tx->iov[tx->iov_tail++] = tr->req.iov[i];
	tx->queued += tr->req.data_len;
	if (unlikely(framing->ddgst))
		tx_data_digest(conn, tr);
}

static void tx_answer(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	struct nvmf_req *req = &tr->req;
	/* 3.6.2.8: without SQ flow control the host needs no CQE for success */
	bool success = false;

	tr->phase = NVMF_TCP_IDLE;
	if (req->dir == NVMF_DIR_C2H && req->status == 0) {
		success = !conn->queue.sq_flow && req->dw0 == 0 && req->dw1 == 0;
		tx_data(conn, tr, success);
	}
	if (!success)
		tx_rsp(conn, tr);
	tx_commit(conn, tr);
}

void nvmf_tcp_respond(struct nvmf_req *req)
{
	struct nvmf_tcp_req *tr = nvmf_tcp_req_of(req);
	struct nvmf_tcp_conn *conn = nvmf_tcp_conn_of(req->queue);

	if (unlikely(conn->state >= NVMF_TCP_LINGER)) {
		nvmf_tcp_req_put(conn, tr);
		nvmf_tcp_check_gone(conn);
		return;
	}
	/* memory that does not go out again is free now */
	if (req->dir != NVMF_DIR_C2H || req->status)
		nvmf_tcp_req_drop(conn, tr);
	if (unlikely(!list_empty(&conn->tx_wait) || !tx_room(conn))) {
		tr->phase = NVMF_TCP_WAIT_TX;
		list_push(&conn->tx_wait, &tr->link);
		return;
	}
	tx_answer(conn, tr);
}

uint32_t nvmf_tcp_r2t_len(const struct nvmf_tcp_req *tr, unsigned n)
{
	return MIN(tr->r2t_bytes, tr->req.data_len - n * tr->r2t_bytes);
}

/* There is room for one. */
static void tx_r2ts(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	tr->phase = NVMF_TCP_WAIT_DATA;
	do {
		unsigned n = tr->r2ts_sent++;
		struct nvme_tcp_r2t *r2t = tx_pdu(conn, NVME_TCP_R2T, sizeof(*r2t));

		r2t->cccid = tr->req.sqe.cid;
		r2t->ttag = le16_make((uint16_t)(tr->ttag | n << NVMF_TCP_TTAG_BITS));
		r2t->r2to = le32_make(n * tr->r2t_bytes);
		r2t->r2tl = le32_make(nvmf_tcp_r2t_len(tr, n));
		memset(r2t->rsvd20, 0, sizeof(r2t->rsvd20));
		tx_pdu_end(conn, r2t, sizeof(*r2t));
		tr->r2t_got[n] = 0;
		conn->r2t_open++;
		tx_commit(conn, NULL);
	} while (tr->r2ts_sent < tr->r2ts && tx_room(conn) &&
		 (unsigned)(tr->r2ts_sent - tr->r2ts_done) <= conn->framing.maxr2t);
}

void nvmf_tcp_send_r2t(struct nvmf_tcp_conn *conn, struct nvmf_tcp_req *tr)
{
	if (tr->r2ts_sent == tr->r2ts)
		return;
	if (list_empty(&conn->tx_wait) && tx_room(conn)) {
		tx_r2ts(conn, tr);
	} else if (tr->r2ts_sent == tr->r2ts_done) {
		/* else the end of one that is open comes here again */
		tr->phase = NVMF_TCP_WAIT_TX;
		list_push(&conn->tx_wait, &tr->link);
	}
}

void nvmf_tcp_send_ic_resp(struct nvmf_tcp_conn *conn)
{
	struct nvme_tcp_ic_resp resp = {
		.ch = {
			.type = NVME_TCP_IC_RESP,
			.hlen = sizeof(resp),
			.plen = le32_make(sizeof(resp)),
		},
		.pfv = le16_make(NVME_TCP_PFV),
		.dgst = (conn->framing.hdgst ? NVME_TCP_DGST_HEADER : 0) |
			(conn->framing.ddgst ? NVME_TCP_DGST_DATA : 0),
		.maxh2cdata = le32_make(conn->framing.maxh2cdata),
	};

	memcpy(tx_header(conn, sizeof(resp)), &resp, sizeof(resp));
	tx_commit(conn, NULL);
}

void nvmf_tcp_send_term(struct nvmf_tcp_conn *conn, const struct nvmf_tcp_fault *fault,
			const uint8_t *header, size_t len)
{
	uint32_t copied = (uint32_t)MIN(len, (size_t)NVME_TCP_TERM_DATA_MAX);
	struct nvme_tcp_term term = {
		.ch = {
			.type = NVME_TCP_C2H_TERM,
			.hlen = sizeof(term),
			.plen = le32_make((uint32_t)sizeof(term) + copied),
		},
		.fes = le16_make(fault->fes),
		.fei = le32_un_make(fault->fei),
	};
	uint8_t *out;

	if (!tx_room(conn))
		return;
	out = tx_header(conn, (uint32_t)sizeof(term) + copied);
	memcpy(out, &term, sizeof(term));
	memcpy(out + sizeof(term), header, copied);
	tx_commit(conn, NULL);
}

/* ---- the stream ---- */

void nvmf_tcp_released(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_tx *tx = &conn->tx;
	uint64_t released = conn->stream->released;

	while (tx->record_head != tx->record_tail) {
		struct nvmf_tcp_record *rec = &tx->records[tx->record_head % NVMF_TCP_TX_RECORDS];

		if (rec->end > released)
			break;
		tx->header_head = rec->header_end;
		tx->record_head++;
		if (rec->tr)
			nvmf_tcp_req_put(conn, rec->tr);
	}
	/* from the start again, where the caches know the memory */
	if (tx->record_head == tx->record_tail)
		tx->record_head = tx->record_tail = tx->header_head = tx->header_tail = 0;
	while (!list_empty(&conn->tx_wait) && tx_room(conn)) {
		struct nvmf_tcp_req *tr = list_pop_entry(&conn->tx_wait, struct nvmf_tcp_req,
							 link);

		if (tr->req.state == NVMF_REQ_DONE)
			tx_answer(conn, tr);
		else
			tx_r2ts(conn, tr);
	}
}

void nvmf_tcp_tx_drop(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_tx *tx = &conn->tx;

	tx->iov_head = tx->iov_tail = 0;
	while (tx->record_head != tx->record_tail) {
		struct nvmf_tcp_req *tr;

		tr = tx->records[tx->record_head++ % NVMF_TCP_TX_RECORDS].tr;
		if (tr)
			nvmf_tcp_req_put(conn, tr);
	}
	tx->header_head = tx->header_tail;
}

static void tx_advance(struct nvmf_tcp_tx *tx, size_t sent)
{
	struct iovec *iov = &tx->iov[tx->iov_head];

	while (tx->iov_head != tx->iov_tail && sent >= iov->iov_len) {
		sent -= iov->iov_len;
		tx->iov_head++;
		iov++;
	}
	if (tx->iov_head == tx->iov_tail) {
		tx->iov_head = tx->iov_tail = 0;
		return;
	}
	iov->iov_base = (uint8_t *)iov->iov_base + sent;
	iov->iov_len -= sent;
}

int nvmf_tcp_send_step(struct nvmf_tcp_conn *conn)
{
	struct nvmf_tcp_tx *tx = &conn->tx;
	uint64_t queued = tx->queued;
	ssize_t n;

	if (conn->tx_blocked || tx->iov_head == tx->iov_tail)
		return 0;
	n = stream_writev(conn->stream, tx->iov + tx->iov_head,
			  (int)(tx->iov_tail - tx->iov_head));
	if (n == -EAGAIN) {
		conn->tx_blocked = true;
		return 0;
	}
	if (n < 0) {
		nvmf_tcp_close(conn, "sending: %s", strerror((int)-n));
		return 1;
	}
	tx_advance(tx, (size_t)n);
	if (conn->stream->accepted < queued)
		conn->tx_blocked = true;
	nvmf_tcp_released(conn);
	return 1;
}
