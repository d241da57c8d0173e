/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From descriptors to memory: each is checked against the memory table as it is now and becomes
 * pieces of a request's iov. Shared by both ring formats.
 */
#include "targets/vhost/vhost.h"

#include <string.h>

const char *vh_chain_add(const struct vh_queue *queue, struct vh_req *req, uint64_t addr,
			 uint32_t len, bool writes)
{
	unsigned at = req->out_count + req->in_count, count;
	uint32_t *bytes = writes ? &req->in_bytes : &req->out_bytes;

	if (unlikely(len == 0))
		return "a descriptor of no bytes";
	if (unlikely(!writes && req->in_count))
		return "memory to read after memory to write";
	if (unlikely(add_overflows(*bytes, len, bytes)))
		return "a request of more than 4 GiB";
	count = vh_memory_translate(queue->memory, addr, len, req->iov + at, VH_IOV_MAX - at);
	if (unlikely(count == 0))
		return "a descriptor that is not guest memory, or too many of them";
	if (writes)
		req->in_count = (uint16_t)(req->in_count + count);
	else
		req->out_count = (uint16_t)(req->out_count + count);
	return NULL;
}

bool vh_req_take(struct vh_req *req, void *data, size_t len)
{
	char *to = data;
	unsigned used = 0;

	if (req->out_bytes < len)
		return false;
	req->out_bytes -= (uint32_t)len;
	while (len) {
		struct iovec *iov = &req->iov[used];
		size_t part = MIN(len, iov->iov_len);

		memcpy(to, iov->iov_base, part);
		to += part;
		len -= part;
		iov->iov_base = (char *)iov->iov_base + part;
		iov->iov_len -= part;
		used += iov->iov_len == 0;
	}
	if (used) {
		req->out_count = (uint16_t)(req->out_count - used);
		memmove(req->iov, req->iov + used,
			(req->out_count + req->in_count) * sizeof(req->iov[0]));
	}
	return true;
}

unsigned vh_req_take_front(struct vh_req *req, size_t len, struct iovec *piece, unsigned max)
{
	struct iovec *in = vh_req_in(req);
	unsigned count = 0, used = 0;

	if (req->in_bytes < len)
		return 0;
	req->in_bytes -= (uint32_t)len;
	while (len) {
		size_t part = MIN(len, in[used].iov_len);

		if (count == max)
			return 0;
		piece[count++] = (struct iovec){ in[used].iov_base, part };
		len -= part;
		in[used].iov_base = (char *)in[used].iov_base + part;
		in[used].iov_len -= part;
		used += in[used].iov_len == 0;
	}
	req->in_count = (uint16_t)(req->in_count - used);
	memmove(in, in + used, req->in_count * sizeof(in[0]));
	return count;
}

unsigned vh_req_take_back(struct vh_req *req, size_t len, struct iovec *piece, unsigned max)
{
	struct iovec *in = vh_req_in(req);
	unsigned count = 0;

	if (req->in_bytes < len)
		return 0;
	req->in_bytes -= (uint32_t)len;
	while (len) {
		struct iovec *last = &in[req->in_count - 1];
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

void vh_scatter(const struct vh_req *req, const struct iovec *piece, unsigned count,
		const void *data, size_t len)
{
	const char *from = data;

	for (unsigned i = 0; i < count && len; i++) {
		size_t part = MIN(len, piece[i].iov_len);

		memcpy(piece[i].iov_base, from, part);
		from += part;
		len -= part;
	}
	vh_req_wrote(req, piece, count);
}
