/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving: a step machine HEADER → DATA → DIGEST over whatever bytes have come. Nothing here
 * waits for memory: data goes to the io that asked for it, so all that was read is used up before
 * the next connection has its turn, and one receive buffer serves a reactor.
 *
 * When data of an io is awaited, the readv starts with the io's own memory. While large reads are
 * outstanding little is read beyond it, so that the data of the next one finds its place too.
 *
 * Whatever the target says is checked against the command that it names: place and length of data
 * and of what is asked for, order, flags, limits. The first word that is wrong ends the connection.
 */
#include <errno.h>
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "drivers/remote/tcp.h"

enum {
	RECV_READS = 4,                 /* readv calls of one visit */
	RECV_DIRECT_MIN = 2048,         /* below this, copying is cheaper than another iovec */
	RECV_AHEAD_BYTES = 512,         /* read beyond awaited data while large reads are out */
	RECV_HOT_TRIES = 64,            /* reads in vain before epoll is relied on */
	RECV_HOT_STEPS = 4,             /* of one read, that still make a connection hot */
};

/* Bytes received and not looked at. */
struct input {
	const uint8_t *at;
	size_t len;
};

static void input_take(struct input *in, size_t len)
{
	in->at += len;
	in->len -= len;
}

static bool is_open(const struct remote_queue *q)
{
	return q->state == REMOTE_QUEUE_IC || q->state == REMOTE_QUEUE_UP;
}

static void refuse(struct remote_queue *q, const uint8_t *header, enum nvme_tcp_fes fes,
		   uint32_t fei, const char *what)
{
	struct remote_fault fault = { .fes = fes, .fei = fei, .what = what };

	remote_conn_fault(q, &fault, header, header[offsetof(struct nvme_tcp_ch, hlen)]);
}

/* ---- data ---- */

/* LEN bytes, which are in the io's memory already or are copied there from SRC. */
static void recv_store(struct remote_queue *q, const uint8_t *src, size_t len)
{
	struct remote_slot *slot = q->rx_slot;

	q->rx_left -= len;
	slot->done_bytes += len;
	q->bytes_in += len;
	while (len) {
		const struct iovec *iov = &slot->iov[slot->iov_at];
		uint8_t *to = (uint8_t *)iov->iov_base + slot->iov_off;
		size_t part = MIN(len, iov->iov_len - slot->iov_off);

		if (src) {
			memcpy(to, src, part);
			src += part;
		}
		if (unlikely(q->pdu.ddgst))
			q->rx_crc = crc32c_update(q->rx_crc, to, part);
		slot->iov_off += part;
		if (slot->iov_off == iov->iov_len) {
			slot->iov_at++;
			slot->iov_off = 0;
		}
		len -= part;
	}
}

/* All data of the PDU, and its digest, are here. */
static void data_end(struct remote_queue *q)
{
	struct remote_slot *slot = q->rx_slot;

	q->rx = REMOTE_RX_HEADER;
	q->rx_slot = NULL;
	if (unlikely(q->pdu.ddgst)) {
		le32 received;

		memcpy(&received, q->digest, sizeof(received));
		if (le32_get(received) != crc32c_final(q->rx_crc))
			slot->digest_bad = true;
	}
	if (q->pdu.flags & NVME_TCP_SUCCESS) {
		memset(&slot->cqe, 0, sizeof(slot->cqe));
		remote_slot_answered(q, slot);
	}
}

/* False: needs more bytes. */
static bool data_step(struct remote_queue *q, struct input *in)
{
	size_t part = MIN(in->len, q->rx_pad);

	input_take(in, part);
	q->rx_pad -= part;
	part = MIN(in->len, q->rx_left);
	if (part) {
		recv_store(q, in->at, part);
		input_take(in, part);
	}
	if (q->rx_left)
		return false;
	if (q->pdu.ddgst)
		q->rx = REMOTE_RX_DIGEST;
	else
		data_end(q);
	return true;
}

static bool digest_step(struct remote_queue *q, struct input *in)
{
	size_t part = MIN(in->len, NVME_TCP_DIGEST_BYTES - q->digest_have);

	memcpy(q->digest + q->digest_have, in->at, part);
	q->digest_have += part;
	input_take(in, part);
	if (q->digest_have < NVME_TCP_DIGEST_BYTES)
		return false;
	data_end(q);
	return true;
}

/* ---- PDUs ---- */

static void recv_ic_resp(struct remote_queue *q, const uint8_t *header)
{
	struct nvme_tcp_ic_resp resp;

	memcpy(&resp, header, sizeof(resp));
	if ((q->framing.hdgst && !(resp.dgst & NVME_TCP_DGST_HEADER)) ||
	    (q->framing.ddgst && !(resp.dgst & NVME_TCP_DGST_DATA))) {
		remote_conn_fail(q, "the target does not offer the digests that are wanted");
		return;
	}
	q->framing.initialized = true;
	q->cpda = resp.cpda;
	q->data_start = remote_data_start(q, q->header_bytes);
	q->maxh2cdata = le32_get(resp.maxh2cdata);
	q->state = REMOTE_QUEUE_UP;
	event_signal(&q->changed);
}

static void recv_rsp(struct remote_queue *q, const uint8_t *header)
{
	struct remote_slot *slot;
	struct nvme_tcp_rsp rsp;

	memcpy(&rsp, header, sizeof(rsp));
	slot = remote_slot_find(q, le16_get(rsp.cqe.cid));
	if (unlikely(!slot)) {
		refuse(q, header, NVME_TCP_FES_HEADER_FIELD,
		       offsetof(struct nvme_tcp_rsp, cqe.cid), "answer to no command");
		return;
	}
	slot->cqe = rsp.cqe;
	if (unlikely(nvme_cqe_status(&rsp.cqe) == 0 && slot->dir != REMOTE_NONE &&
		     slot->done_bytes != slot->len)) {
		remote_conn_fail(q, "success with %u of %u bytes moved", slot->done_bytes,
				 slot->len);
		return;
	}
	remote_slot_answered(q, slot);
}

static void recv_c2h_data(struct remote_queue *q, const uint8_t *header)
{
	uint32_t len = q->pdu.data_len;
	struct remote_slot *slot;
	struct nvme_tcp_data data;

	memcpy(&data, header, sizeof(data));
	slot = remote_slot_find(q, le16_get(data.cccid));
	if (unlikely(!slot || slot->dir != REMOTE_IN || slot->last)) {
		refuse(q, header, NVME_TCP_FES_HEADER_FIELD,
		       offsetof(struct nvme_tcp_data, cccid), "data for no read");
		return;
	}
	if (unlikely(le32_get(data.datao) != slot->done_bytes ||
		     len > slot->len - slot->done_bytes)) {
		refuse(q, header, NVME_TCP_FES_OUT_OF_RANGE, 0, "data out of range or order");
		return;
	}
	slot->last = len == slot->len - slot->done_bytes;
	if (unlikely(slot->last != !!(q->pdu.flags & NVME_TCP_LAST))) {
		refuse(q, header, NVME_TCP_FES_HEADER_FIELD, offsetof(struct nvme_tcp_ch, flags),
		       "LAST not at the end of the data");
		return;
	}
	q->rx_slot = slot;
	q->rx_pad = q->pdu.pad_len;
	q->rx_left = len;
	q->rx_crc = (uint32_t)CRC32C_INIT;
	q->digest_have = 0;
	q->rx = REMOTE_RX_DATA;
}

static void recv_r2t(struct remote_queue *q, const uint8_t *header)
{
	struct remote_slot *slot;
	struct nvme_tcp_r2t r2t;
	unsigned at;

	memcpy(&r2t, header, sizeof(r2t));
	slot = remote_slot_find(q, le16_get(r2t.cccid));
	if (unlikely(!slot || slot->dir != REMOTE_OUT || slot->in_capsule)) {
		refuse(q, header, NVME_TCP_FES_HEADER_FIELD,
		       offsetof(struct nvme_tcp_r2t, cccid), "R2T for no write");
		return;
	}
	if (unlikely(slot->r2t_count == REMOTE_R2T_MAX)) {
		refuse(q, header, NVME_TCP_FES_LIMIT, 0, "more R2Ts than MAXR2T");
		return;
	}
	if (unlikely(le32_get(r2t.r2to) != slot->asked ||
		     le32_get(r2t.r2tl) > slot->len - slot->asked)) {
		refuse(q, header, NVME_TCP_FES_OUT_OF_RANGE, 0, "R2T out of range or order");
		return;
	}
	at = (slot->r2t_head + slot->r2t_count++) % REMOTE_R2T_MAX;
	slot->r2t[at].ttag = le16_get(r2t.ttag);
	slot->r2t[at].left = le32_get(r2t.r2tl);
	slot->asked += slot->r2t[at].left;
	remote_tx_data(q, slot);
}

/* A complete header. */
static void recv_pdu(struct remote_queue *q, const uint8_t *header)
{
	struct remote_fault fault;

	q->header_have = 0;
	if (unlikely(!remote_header_decode(&q->framing, header, &q->pdu, &fault))) {
		remote_conn_fault(q, &fault, header, header[offsetof(struct nvme_tcp_ch, hlen)]);
		return;
	}
	switch (q->pdu.type) {
	case NVME_TCP_C2H_DATA:
		recv_c2h_data(q, header);
		break;
	case NVME_TCP_RSP:
		recv_rsp(q, header);
		break;
	case NVME_TCP_R2T:
		recv_r2t(q, header);
		break;
	default:
		recv_ic_resp(q, header);
	}
}

static void ch_fault(struct remote_queue *q, const struct remote_fault *fault,
		     const uint8_t *header, size_t have)
{
	remote_conn_fault(q, fault, header, MIN(have, MAX(header[2], sizeof(struct nvme_tcp_ch))));
}

/* A header in pieces is collected in q->header; false: needs more bytes. */
static bool header_step(struct remote_queue *q, struct input *in)
{
	struct remote_fault fault;
	const uint8_t *header = in->at;
	unsigned want = sizeof(struct nvme_tcp_ch);
	size_t part;

	if (likely(q->header_have == 0 && in->len >= want)) {
		if (unlikely(!remote_ch_decode(&q->framing, header, &q->pdu, &fault))) {
			ch_fault(q, &fault, header, in->len);
			return true;
		}
		if (likely(in->len >= q->pdu.header_len)) {
			input_take(in, q->pdu.header_len);
			recv_pdu(q, header);
			return true;
		}
	}
	if (q->header_have >= want)
		want = q->pdu.header_len;
	part = MIN(in->len, want - q->header_have);
	memcpy(q->header + q->header_have, in->at, part);
	q->header_have += part;
	input_take(in, part);
	if (q->header_have < want)
		return false;
	if (want > sizeof(struct nvme_tcp_ch))
		recv_pdu(q, q->header);
	else if (!remote_ch_decode(&q->framing, q->header, &q->pdu, &fault))
		ch_fault(q, &fault, q->header, want);
	return true;
}

static int recv_steps(struct remote_queue *q, struct input *in)
{
	bool more = true;
	int work = 0;

	while (more && is_open(q)) {
		switch (q->rx) {
		case REMOTE_RX_HEADER:
			if (in->len == 0)
				return work;
			more = header_step(q, in);
			break;
		case REMOTE_RX_DATA:
			more = data_step(q, in);
			break;
		case REMOTE_RX_DIGEST:
			more = digest_step(q, in);
			break;
		}
		work++;
	}
	return work;
}

/* ---- reading ---- */

/* The memory that awaited data goes to, then the receive buffer. Returns the iovecs. */
static int recv_iov(struct remote_queue *q, struct iovec *iov, size_t *direct)
{
	size_t want = q->rx_left;
	int count = 0;

	*direct = 0;
	if (q->rx == REMOTE_RX_DATA && q->rx_pad == 0 && want >= RECV_DIRECT_MIN) {
		const struct iovec *to = &q->rx_slot->iov[q->rx_slot->iov_at];
		size_t off = q->rx_slot->iov_off;

		for (; want; to++) {
			size_t part = MIN(want, to->iov_len - off);

			iov[count].iov_base = (uint8_t *)to->iov_base + off;
			iov[count++].iov_len = part;
			*direct += part;
			want -= part;
			off = 0;
		}
	}
	iov[count].iov_base = q->lane->rx;
	iov[count++].iov_len = q->large_reads ? (size_t)RECV_AHEAD_BYTES : REMOTE_RX_BYTES;
	return count;
}

enum recv {
	RECV_NONE,                      /* nothing came, or the connection ends */
	RECV_HOT,                       /* nothing came, but something may soon */
	RECV_SOME,
	RECV_FULL,                      /* as much as was asked for: there is probably more */
};

static enum recv recv_nothing(struct remote_queue *q, ssize_t n)
{
	if (n == -EAGAIN && q->hot_tries) {
		q->hot_tries--;
		return RECV_HOT;
	}
	q->readable = false;
	if (n == 0)
		remote_conn_fail(q, "the target closed the connection");
	else if (n != -EAGAIN)
		remote_conn_fail(q, "receiving: %s", strerror((int)-n));
	return RECV_NONE;
}

static enum recv recv_once(struct remote_queue *q, int *work)
{
	struct iovec iov[REMOTE_IOV_MAX + 1];
	struct input in = { .at = q->lane->rx };
	size_t direct, room;
	int count = recv_iov(q, iov, &direct), steps;
	ssize_t n = stream_readv(q->stream, iov, count);

	if (n <= 0)
		return recv_nothing(q, n);
	if (!is_open(q))
		return RECV_FULL;
	room = direct + iov[count - 1].iov_len;
	if (direct)
		recv_store(q, NULL, MIN((size_t)n, direct));
	if ((size_t)n > direct)
		in.len = (size_t)n - direct;
	steps = recv_steps(q, &in);
	*work += steps;
	/* where many commands are in flight, batches are worth more than haste */
	q->hot_tries = steps <= RECV_HOT_STEPS ? RECV_HOT_TRIES : 0;
	return (size_t)n >= room || (size_t)n == direct ? RECV_FULL : RECV_SOME;
}

/*
 * A read that gave less than it could have is not followed by another in the same visit: what came
 * is served first. A connection with few commands in flight stays hot: it is read from in each
 * round for a while, so that its next answer is found by the read itself and not by epoll and then
 * a read.
 */
int remote_recv(struct remote_queue *q)
{
	enum recv got = RECV_FULL;
	int work = 0;

	for (int reads = 0; got == RECV_FULL && reads < RECV_READS; reads++) {
		if (!is_open(q) && q->state != REMOTE_QUEUE_TERM)
			return work;
		got = recv_once(q, &work);
		work += got != RECV_NONE;
	}
	if (q->readable && (is_open(q) || q->state == REMOTE_QUEUE_TERM))
		remote_lane_ready(q);
	return work;
}
