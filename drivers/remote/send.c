/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending. What is to be sent is laid out at once as the iovec of the next writev: headers from
 * their slots, data from where it lies; a round sends all of it with one call. A slot remembers up
 * to which byte of the stream its memory is in use (tx_end).
 *
 * Data that R2Ts have asked for goes out one H2CData after the other for each command, because the
 * slot has memory for one header; the next follows when the stream has released the last.
 */
#include <errno.h>
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "drivers/remote/tcp.h"

enum { TX_EXTRA_IOVS = 3 };             /* header, pad, digest */

static const uint8_t zeroes[4 * (NVME_TCP_PDA_MAX + 1)];

bool remote_tx_room(struct remote_queue *q, unsigned count)
{
	if (unlikely(q->tx_tail + count + TX_EXTRA_IOVS > REMOTE_TX_IOVS)) {
		unsigned used = q->tx_tail - q->tx_head;

		if (used + count + TX_EXTRA_IOVS > REMOTE_TX_IOVS)
			return false;
		memmove(q->tx, q->tx + q->tx_head, used * sizeof(q->tx[0]));
		q->tx_head = 0;
		q->tx_tail = used;
	}
	return true;
}

static void tx_add(struct remote_queue *q, const void *base, uint32_t len)
{
	q->tx_queued += len;
	if (q->tx_tail > q->tx_head) {
		struct iovec *last = &q->tx[q->tx_tail - 1];

		if ((const uint8_t *)last->iov_base + last->iov_len == base) {
			last->iov_len += len;
			return;
		}
	}
	q->tx[q->tx_tail++] = (struct iovec){ (void *)base, len };
}

/* The next LEN bytes of the slot's data, and their digest. */
static void tx_payload(struct remote_queue *q, struct remote_slot *slot, uint32_t len)
{
	uint32_t state = (uint32_t)CRC32C_INIT;

	slot->done_bytes += len;
	while (len) {
		const struct iovec *iov = &slot->iov[slot->iov_at];
		uint8_t *at = (uint8_t *)iov->iov_base + slot->iov_off;
		uint32_t part = MIN(len, iov->iov_len - slot->iov_off);

		tx_add(q, at, part);
		if (unlikely(q->framing.ddgst))
			state = crc32c_update(state, at, part);
		slot->iov_off += part;
		if (slot->iov_off == iov->iov_len) {
			slot->iov_at++;
			slot->iov_off = 0;
		}
		len -= part;
	}
	if (unlikely(q->framing.ddgst)) {
		slot->ddgst = le32_make(crc32c_final(state));
		tx_add(q, &slot->ddgst, sizeof(slot->ddgst));
	}
}

static void header_digest(uint8_t *header, uint32_t len)
{
	le32 crc = le32_make(crc32c(header, len));

	memcpy(header + len, &crc, sizeof(crc));
}

uint32_t remote_data_start(const struct remote_queue *q, uint32_t end)
{
	/* CPDA need not be a power of two times four */
	uint32_t align = (q->cpda + 1u) * 4;

	return (uint32_t)div_round_up(end, align) * align;
}

/* The common header of a PDU: END bytes with digest, LEN of data that starts at START, or none. */
static inline void ch_fill(const struct remote_queue *q, struct nvme_tcp_ch *ch, uint8_t type,
			   uint8_t flags, uint32_t hlen, uint32_t start, uint32_t len)
{
	uint32_t plen = hlen + (q->framing.hdgst ? NVME_TCP_DIGEST_BYTES : 0);

	if (q->framing.hdgst)
		flags |= NVME_TCP_HDGST;
	if (len) {
		plen = start + len;
		if (q->framing.ddgst) {
			flags |= NVME_TCP_DDGST;
			plen += NVME_TCP_DIGEST_BYTES;
		}
	}
	*ch = (struct nvme_tcp_ch){
		.type = type, .flags = flags, .hlen = (uint8_t)hlen,
		.pdo = (uint8_t)(len ? start : 0), .plen = le32_make(plen),
	};
}

/* The SQE lies in its header already: queue.c. */
void remote_tx_command(struct remote_queue *q, struct remote_slot *slot, struct nvme_sqe *sqe)
{
	struct nvme_tcp_cmd *cmd = container_of(sqe, struct nvme_tcp_cmd, sqe);
	uint32_t inside = slot->in_capsule ? slot->len : 0;

	sqe->flags |= NVME_PSDT_SGL;
	sqe->cid = le16_make(slot->cid);
	sqe->sgl = (struct nvme_sgl){
		.length = le32_make(slot->len),
		.id = slot->in_capsule ? NVME_SGL_DATA << 4 | NVME_SGL_OFFSET
				       : NVME_SGL_TRANSPORT << 4 | NVME_SGL_TRANSPORT_SPECIFIC,
	};
	ch_fill(q, &cmd->ch, NVME_TCP_CMD, 0, sizeof(*cmd), q->data_start, inside);
	if (unlikely(q->framing.hdgst))
		header_digest((uint8_t *)cmd, sizeof(*cmd));
	tx_add(q, cmd, q->header_bytes);
	if (inside) {
		if (unlikely(q->data_start > q->header_bytes))
			tx_add(q, zeroes, q->data_start - q->header_bytes);
		tx_payload(q, slot, inside);
	}
	slot->tx_end = q->tx_queued;
	remote_lane_send(q);
}

/* ---- H2CData: 3.6.2.6 ---- */

static void tx_h2c(struct remote_queue *q, struct remote_slot *slot)
{
	uint32_t left = slot->r2t[slot->r2t_head].left, len = MIN(left, q->maxh2cdata);
	uint32_t hlen = sizeof(struct nvme_tcp_data);
	uint32_t end = hlen + (q->framing.hdgst ? NVME_TCP_DIGEST_BYTES : 0);
	uint32_t start = remote_data_start(q, end);
	struct nvme_tcp_data data = {
		.cccid = le16_make(slot->cid),
		.ttag = le16_make(slot->r2t[slot->r2t_head].ttag),
		.datao = le32_make(slot->done_bytes),
		.datal = le32_make(len),
	};

	ch_fill(q, &data.ch, NVME_TCP_H2C_DATA, len == left ? NVME_TCP_LAST : 0, hlen, start, len);
	memcpy(slot->h2c, &data, sizeof(data));
	if (unlikely(q->framing.hdgst))
		header_digest(slot->h2c, hlen);
	tx_add(q, slot->h2c, end);
	if (start > end)
		tx_add(q, zeroes, start - end);
	tx_payload(q, slot, len);
	slot->tx_end = q->tx_queued;
	slot->r2t[slot->r2t_head].left -= len;
	if (len == left) {
		slot->r2t_head = (slot->r2t_head + 1) % REMOTE_R2T_MAX;
		slot->r2t_count--;
	}
	remote_lane_send(q);
}

void remote_tx_data(struct remote_queue *q, struct remote_slot *slot)
{
	if (slot->r2t_count && slot->tx_end <= *q->released &&
	    remote_tx_room(q, REMOTE_IOV_MAX))
		tx_h2c(q, slot);
	if (slot->r2t_count && !list_linked(&slot->link))
		list_push(&q->pending, &slot->link);
}

void remote_tx_pending(struct remote_queue *q)
{
	struct remote_slot *slot;
	struct list list;

	list_init(&list);
	list_splice(&list, &q->pending);
	while ((slot = list_pop_entry(&list, struct remote_slot, link))) {
		if (slot->state == REMOTE_SLOT_BUSY)
			remote_tx_data(q, slot);
		else if (slot->tx_end <= *q->released)
			remote_slot_finish(q, slot);
		else
			list_push(&q->pending, &slot->link);
	}
}

/* ---- the rest ---- */

void remote_tx_ic_req(struct remote_queue *q)
{
	q->ic = (struct nvme_tcp_ic_req){
		.ch = {
			.type = NVME_TCP_IC_REQ,
			.hlen = sizeof(q->ic),
			.plen = le32_make(sizeof(q->ic)),
		},
		.pfv = le16_make(NVME_TCP_PFV),
		.dgst = (q->framing.hdgst ? NVME_TCP_DGST_HEADER : 0) |
			(q->framing.ddgst ? NVME_TCP_DGST_DATA : 0),
		.maxr2t = le32_make(REMOTE_R2T_MAX - 1),
	};
	tx_add(q, &q->ic, sizeof(q->ic));
	remote_lane_send(q);
}

void remote_tx_term(struct remote_queue *q, const struct remote_fault *fault,
		    const uint8_t *header, size_t len)
{
	uint32_t copied = MIN(len, (size_t)NVME_TCP_TERM_DATA_MAX);
	struct nvme_tcp_term term = {
		.ch = {
			.type = NVME_TCP_H2C_TERM,
			.hlen = sizeof(term),
			.plen = le32_make(sizeof(term) + copied),
		},
		.fes = le16_make(fault->fes),
		.fei = le32_un_make(fault->fei),
	};

	if (!remote_tx_room(q, 0))
		return;
	memcpy(q->term, &term, sizeof(term));
	memcpy(q->term + sizeof(term), header, copied);
	tx_add(q, q->term, sizeof(term) + copied);
	remote_lane_send(q);
}

/* ---- the stream ---- */

static void tx_advance(struct remote_queue *q, size_t sent)
{
	struct iovec *iov = &q->tx[q->tx_head];

	while (q->tx_head != q->tx_tail && sent >= iov->iov_len) {
		sent -= iov->iov_len;
		q->tx_head++;
		iov++;
	}
	if (q->tx_head == q->tx_tail) {
		q->tx_head = q->tx_tail = 0;
		return;
	}
	iov->iov_base = (uint8_t *)iov->iov_base + sent;
	iov->iov_len -= sent;
}

int remote_tx_step(struct remote_queue *q)
{
	ssize_t n;

	if (q->tx_blocked || q->tx_head == q->tx_tail)
		return 0;
	n = stream_writev(q->stream, q->tx + q->tx_head, (int)(q->tx_tail - q->tx_head));
	if (n == -EAGAIN) {
		q->tx_blocked = true;
		return 0;
	}
	if (n < 0) {
		remote_conn_fail(q, "sending: %s", strerror((int)-n));
		return 1;
	}
	tx_advance(q, (size_t)n);
	q->tx_blocked = q->tx_head != q->tx_tail;
	if (unlikely(q->state == REMOTE_QUEUE_TERM && !q->tx_blocked))
		stream_shutdown(q->stream);
	if (!list_empty(&q->pending))
		remote_tx_pending(q);
	return 1;
}
