/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings and descriptors of a guest that writes anything. The input is the guest's memory; first
 * comes how it lies and what it is:
 *
 *	byte 0    bit 0 packed, 1 event indices, 2 indirect tables, 3 in-flight memory, 4 its bytes
 *	          are the input's too
 *	byte 1    size of the ring, 1…64
 *	byte 2, 3 first available, first used position; the high bit is the wrap counter
 *
 * The memory is three regions: two neighbours and one after a hole, each an allocation of its own,
 * so that the sanitizers see the first byte beside one. Where the ring lies is fixed: table at 0,
 * driver's part at 0x1000, device's at 0x1800. Each request that comes out must lie in the regions
 * whole, and is answered.
 */
#include <stdlib.h>
#include <string.h>

#include "targets/vhost/req.h"
#include "targets/vhost/vhost.h"

enum {
	PACKED = 1 << 0, EVENT = 1 << 1, INDIRECT = 1 << 2, INFLIGHT = 1 << 3, DIRTY = 1 << 4,
	HEAD_BYTES = 4, REGION_BYTES = 0x2000, REGIONS = 3, SIZE_MAX_ = 64,
	INFLIGHT_BYTES = 64 + SIZE_MAX_ * 32, POPS = 200,
};

static const uint64_t places[REGIONS] = { 0, REGION_BYTES, 0x8000 };

static struct vh_region regions[REGIONS];
static struct vh_memory memory = { .count = REGIONS };
static struct vh_device device = { .options.name = "fuzz" };
static struct vh_session session = { .dev = &device };

static void must(bool right)
{
	if (!right)
		abort();
}

/* The bytes of the input, from region to region; what it does not have is 0. */
static void memory_make(const uint8_t *data, size_t size)
{
	for (unsigned i = 0; i < REGIONS; i++) {
		size_t part = MIN(size, (size_t)REGION_BYTES);

		regions[i] = (struct vh_region){
			.guest = places[i], .user = places[i], .size = REGION_BYTES,
			.host = aligned_alloc(4096, REGION_BYTES),
		};
		memset(regions[i].host, 0, REGION_BYTES);
		if (part)
			memcpy(regions[i].host, data, part);
		data += part;
		size -= part;
		memory.region[i] = &regions[i];
	}
}

static void memory_free(void)
{
	for (unsigned i = 0; i < REGIONS; i++)
		free(regions[i].host);
}

static void queue_make(struct vh_queue *queue, const uint8_t *head)
{
	*queue = (struct vh_queue){
		.ring = head[0] & PACKED ? &vh_packed_ops : &vh_split_ops,
		.session = &session, .memory = &memory, .region = vh_memory_region(&memory, 0),
		.state = VH_QUEUE_RUNNING,
		.event_idx = head[0] & EVENT, .indirect = head[0] & INDIRECT,
		.size = (uint16_t)(head[1] % SIZE_MAX_ + 1),
		.kick_fd = -1, .call_fd = -1, .err_fd = -1,
		.addr = { .desc = le64_make(0), .avail = le64_make(0x1000),
			  .used = le64_make(0x1800) },
	};
	queue->base_avail = (uint16_t)((head[2] & 0x7f) | (head[2] & 0x80) << 8);
	queue->base_used = (uint16_t)((head[3] & 0x7f) | (head[3] & 0x80) << 8);
	if (!(head[0] & PACKED))
		queue->size = (uint16_t)(1u << log2_floor(queue->size));
	queue->batch = calloc(queue->size, sizeof(*queue->batch));
	session.features = head[0] & PACKED ? 1ull << VIRTIO_F_RING_PACKED : 0;
}

static void inflight_make(struct vh_queue *queue, const uint8_t *head, const uint8_t *data,
			  size_t size)
{
	char *bytes = aligned_alloc(64, INFLIGHT_BYTES);

	memset(bytes, 0, INFLIGHT_BYTES);
	if (head[0] & DIRTY)
		memcpy(bytes, data, MIN(size, (size_t)INFLIGHT_BYTES));
	session.inflight = (struct vh_map){ .base = bytes, .at = bytes };
	session.inflight_bytes = INFLIGHT_BYTES;
	session.inflight_queues = 1;
	session.inflight_size = SIZE_MAX_;
	must(vh_inflight_start(queue) == 0);
}

static uint64_t check_part(const struct iovec *iov, unsigned count)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++) {
		const char *base = iov[i].iov_base;
		bool inside = false;

		for (unsigned r = 0; r < REGIONS; r++)
			inside |= base >= regions[r].host && iov[i].iov_len <= REGION_BYTES &&
				  base - regions[r].host <=
				  (ptrdiff_t)(REGION_BYTES - iov[i].iov_len);
		must(inside && iov[i].iov_len > 0);
		bytes += iov[i].iov_len;
	}
	return bytes;
}

static void check_request(const struct vh_req *req)
{
	must(req->out_count + req->in_count <= VH_IOV_MAX);
	must(check_part(req->out, req->out_count) == req->out_bytes);
	must(check_part(req->in, req->in_count) == req->in_bytes);
}

/* As a device takes a request apart. */
static uint32_t use(struct vh_req *req)
{
	struct iovec piece[16];
	uint8_t header[16];
	unsigned count;

	if (!vh_req_take(req, header, sizeof(header)))
		return 0;
	check_request(req);
	count = vh_req_take_back(req, 1, piece, 1);
	vh_scatter(req, piece, count, "", 1);
	count = vh_req_take_front(req, 12, piece, ARRAY_SIZE(piece));
	vh_scatter(req, piece, count, header, 12);
	return count ? 12 : 0;
}

static int take(struct vh_queue *queue, struct vh_req *req)
{
	int rc;

	req->queue = queue;
	req->out_count = req->in_count = 0;
	req->out_bytes = req->in_bytes = 0;
	if (queue->again_next < queue->again_count) {
		rc = vh_inflight_again(queue, req);
	} else {
		rc = queue->ring->pop(queue, req);
		if (rc > 0 && queue->inflight)
			vh_inflight_taken(queue, req);
	}
	req->out = req->iov;
	req->in = req->iov + req->out_count;
	return rc;
}

static void run(struct vh_queue *queue)
{
	static struct vh_req req;
	int rc = 0;

	for (unsigned i = 0; i < POPS; i++) {
		rc = take(queue, &req);
		must((rc < 0) == (queue->state == VH_QUEUE_BROKEN));
		if (rc <= 0)
			break;
		must(req.out_count + req.in_count > 0);
		check_request(&req);
		queue->ring->push(queue, &req, use(&req));
		if (queue->inflight)
			vh_inflight_pushed(queue, &req);
		queue->pushed++;
		if (i % 3 && queue->pushed < queue->size)
			continue;
		queue->ring->publish(queue);
		if (queue->inflight)
			vh_inflight_published(queue);
		queue->pushed = 0;
	}
	if (rc < 0)
		return;
	queue->ring->want_kicks(queue, true);
	queue->ring->want_kicks(queue, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vh_queue queue;

	if (size < HEAD_BYTES)
		return 0;
	memory_make(data + HEAD_BYTES, size - HEAD_BYTES);
	queue_make(&queue, data);
	if (queue.ring->map(&queue) == 0) {
		if (data[0] & INFLIGHT)
			inflight_make(&queue, data, data + HEAD_BYTES, size - HEAD_BYTES);
		run(&queue);
	}
	free(session.inflight.base);
	session.inflight.base = NULL;
	free(queue.again);
	free(queue.batch);
	memory_free();
	return 0;
}
