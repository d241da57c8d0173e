/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From descriptors to memory: each is checked against the memory table as it is now and becomes
 * pieces of a request's iov. Shared by both ring formats.
 */
#include "targets/vhost/req.h"

#include <string.h>

/* LEN bytes at ADDR as pieces of REQ from AT on; nearly always one, where the last address was. */
static unsigned translate(struct vh_queue *queue, struct vh_req *req, unsigned at, uint64_t addr,
			  uint32_t len)
{
	char *host = vh_region_bytes(queue->region, addr, len);

	if (unlikely(!host || at == VH_IOV_MAX)) {
		queue->region = vh_memory_region(queue->memory, addr);
		return vh_memory_translate(queue->memory, addr, len, req->iov + at,
					   VH_IOV_MAX - at);
	}
	req->iov[at] = (struct iovec){ host, len };
	return 1;
}

const char *vh_chain_add(struct vh_queue *queue, struct vh_req *req, uint64_t addr, uint32_t len,
			 bool writes)
{
	unsigned at = req->out_count + req->in_count, count;
	uint32_t *bytes = writes ? &req->in_bytes : &req->out_bytes;

	if (unlikely(len == 0))
		return "a descriptor of no bytes";
	if (unlikely(!writes && req->in_count))
		return "memory to read after memory to write";
	if (unlikely(add_overflows(*bytes, len, bytes)))
		return "a request of more than 4 GiB";
	count = translate(queue, req, at, addr, len);
	if (unlikely(count == 0))
		return "a descriptor that is not guest memory, or too many of them";
	if (writes)
		req->in_count = (uint16_t)(req->in_count + count);
	else
		req->out_count = (uint16_t)(req->out_count + count);
	return NULL;
}

bool vh_req_take_pieces(struct vh_req *req, void *data, size_t len)
{
	char *to = data;

	if (req->out_bytes < len)
		return false;
	while (len) {
		size_t part = MIN(len, req->out->iov_len);

		memcpy(to, vh_part_front(&req->out, &req->out_count, &req->out_bytes, part), part);
		to += part;
		len -= part;
	}
	return true;
}

unsigned vh_req_take_front_pieces(struct vh_req *req, size_t len, struct iovec *piece, unsigned max)
{
	unsigned count = 0;

	if (req->in_bytes < len)
		return 0;
	while (len) {
		size_t part = MIN(len, req->in->iov_len);

		if (count == max)
			return 0;
		piece[count++] = (struct iovec){
			vh_part_front(&req->in, &req->in_count, &req->in_bytes, part), part,
		};
		len -= part;
	}
	return count;
}

unsigned vh_req_take_back(struct vh_req *req, size_t len, struct iovec *piece, unsigned max)
{
	unsigned count = 0;

	if (req->in_bytes < len)
		return 0;
	req->in_bytes -= (uint32_t)len;
	while (len) {
		struct iovec *last = &req->in[req->in_count - 1];
		size_t part = MIN(len, last->iov_len);

		if (count == max)
			return 0;
		memmove(piece + 1, piece, count * sizeof(piece[0]));
		piece[0] = (struct iovec){ (char *)last->iov_base + last->iov_len - part, part };
		count++;
		len -= part;
		last->iov_len -= part;
		if (last->iov_len == 0)
			req->in_count--;
	}
	return count;
}

void vh_scatter_pieces(const struct iovec *piece, unsigned count, const void *data, size_t len)
{
	const char *from = data;

	for (unsigned i = 0; i < count && len; i++) {
		size_t part = MIN(len, piece[i].iov_len);

		memcpy(piece[i].iov_base, from, part);
		from += part;
		len -= part;
	}
}
