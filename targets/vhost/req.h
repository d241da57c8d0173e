/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: made of descriptors by the rings, taken apart by the devices. Nearly always a header is
 * one piece of memory, and what is done then is done here; the rest is in chain.c.
 */
#ifndef VHOST_REQ_H
#define VHOST_REQ_H

#include "targets/vhost/vhost.h"

/* queue.c */
/* The device is done with REQ and has written WRITTEN bytes of its in part. */
void vh_req_done(struct vh_req *req, uint32_t written);

/* chain.c */
/* Adds a descriptor's memory to REQ. NULL, or what is wrong. */
const char *vh_chain_add(struct vh_queue *queue, struct vh_req *req, uint64_t addr, uint32_t len,
			 bool writes);
unsigned vh_req_take_back(struct vh_req *req, size_t len, struct iovec *piece, unsigned max);
/* Of vh_req_take, vh_req_take_front and vh_scatter: several pieces, or too little. */
bool vh_req_take_pieces(struct vh_req *req, void *data, size_t len);
unsigned vh_req_take_front_pieces(struct vh_req *req, size_t len, struct iovec *piece,
				  unsigned max);
void vh_scatter_pieces(const struct iovec *piece, unsigned count, const void *data, size_t len);

/* The first LEN bytes of a part of COUNT pieces and BYTES, when they are in one; NULL. */
static inline void *vh_part_front(struct iovec **part, uint16_t *count, uint32_t *bytes, size_t len)
{
	struct iovec *iov = *part;
	char *front;

	if (unlikely(*count == 0 || iov->iov_len < len))
		return NULL;
	front = iov->iov_base;
	*bytes -= (uint32_t)len;
	iov->iov_base = front + len;
	iov->iov_len -= len;
	if (iov->iov_len == 0) {
		(*part)++;
		(*count)--;
	}
	return front;
}

/* Takes LEN bytes off the front of the out part, into DATA. False: there are fewer. */
static inline bool vh_req_take(struct vh_req *req, void *data, size_t len)
{
	const void *front = vh_part_front(&req->out, &req->out_count, &req->out_bytes, len);

	if (unlikely(!front))
		return vh_req_take_pieces(req, data, len);
	memcpy(data, front, len);
	return true;
}

/*
 * Takes LEN bytes off the front of the in part (vh_req_take_back: off its end), as where they are:
 * at most MAX pieces, how many, 0: there are fewer bytes, or more pieces.
 */
static inline unsigned vh_req_take_front(struct vh_req *req, size_t len, struct iovec *piece,
					 unsigned max)
{
	void *front = vh_part_front(&req->in, &req->in_count, &req->in_bytes, len);

	if (unlikely(!front))
		return vh_req_take_front_pieces(req, len, piece, max);
	*piece = (struct iovec){ front, len };
	return 1;
}

/* Memory taken off REQ's in part was written. What is left of that part vh_req_done logs. */
static inline void vh_req_wrote(const struct vh_req *req, const struct iovec *piece, unsigned count)
{
	if (unlikely(req->queue->log))
		vh_log_iov(req->queue->log, req->queue->memory, piece, count);
}

/* Writes LEN bytes of DATA into pieces taken off REQ. */
static inline void vh_scatter(const struct vh_req *req, const struct iovec *piece, unsigned count,
			      const void *data, size_t len)
{
	if (likely(count == 1 && piece->iov_len >= len))
		memcpy(piece->iov_base, data, len);
	else
		vh_scatter_pieces(piece, count, data, len);
	vh_req_wrote(req, piece, count);
}

#endif
