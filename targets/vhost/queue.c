/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring that runs, on its reactor: requests out of it, answers into it, one notification a round.
 * Under load it is polled and the guest kicks nobody; before the reactor sleeps it asks for kicks.
 *
 * STOPPED -start-> RUNNING -stop-> DRAINING -(nothing in flight)-> STOPPED; what the guest does
 * wrong leads from RUNNING to BROKEN, which only stop leaves.
 */
#include "targets/vhost/req.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "core/base/log.h"
#include "core/base/panic.h"

/* ---- the end of requests ---- */

/*
 * A guest whose memory was cut away sees nothing of what is written to it: what it asked for stays
 * in flight, for when it comes back with its memory.
 */
static bool queue_cut(struct vh_queue *queue)
{
	if (likely(!atomic_load_explicit(&queue->session->cut, memory_order_relaxed)))
		return false;
	vh_queue_break(queue, "the guest's memory was cut away");
	return true;
}

/* False: FD takes no call. One that makes us wait ends the session. */
static bool queue_tell(struct vh_queue *queue, int fd)
{
	int rc = vh_call(fd);

	if (unlikely(rc == -EINTR)) {
		atomic_store(&queue->session->blocks, true);
		vh_fault_wake();
	}
	return rc == 0;
}

void vh_queue_call(struct vh_queue *queue)
{
	if (queue->call_fd < 0)
		return;
	queue->calls++;
	if (unlikely(!queue_tell(queue, queue->call_fd)))
		vh_queue_break(queue, "a call descriptor that takes no call");
}

static void queue_publish(struct vh_queue *queue)
{
	bool call = queue->ring->publish(queue);

	if (unlikely(queue_cut(queue)))
		return;
	if (queue->inflight)
		vh_inflight_published(queue);
	queue->pushed = 0;
	if (call)
		vh_queue_call(queue);
}

void vh_req_done(struct vh_req *req, uint32_t written)
{
	struct vh_queue *queue = req->queue;

	list_del(&req->link);
	list_push_front(&queue->free, &req->link);
	queue->inflight_count--;
	queue->served++;
	vh_req_wrote(req, req->in, req->in_count);
	/* a broken ring is not written any more: nobody knows what is where */
	if (likely(queue->state != VH_QUEUE_BROKEN)) {
		queue->ring->push(queue, req, written);
		if (queue->inflight)
			vh_inflight_pushed(queue, req);
		queue->pushed++;
	}
	if (queue->inflight_count)
		return;
	/* nothing more can come in this round: the guest need not wait for the next */
	if (queue->pushed)
		queue_publish(queue);
	if (unlikely(!queue->drained.set))
		event_signal(&queue->drained);
}

/* ---- taking them ---- */

static int queue_pop(struct vh_queue *queue, struct vh_req *req)
{
	int rc;

	req->out_count = req->in_count = 0;
	req->out_bytes = req->in_bytes = 0;
	if (unlikely(queue->again_next < queue->again_count))
		return vh_inflight_again(queue, req);
	rc = queue->ring->pop(queue, req);
	if (rc > 0 && queue->inflight)
		vh_inflight_taken(queue, req);
	return rc;
}

static unsigned queue_wants(const struct vh_queue *queue)
{
	const struct vh_device_ops *ops = queue->session->dev->ops;

	return ops->wants ? MIN(ops->wants(queue), (unsigned)VH_POLL_BUDGET) : VH_POLL_BUDGET;
}

/*
 * The next request, NULL: none. What the guest wrote for it is fetched from its cache, to be ours
 * alone, while others are taken: the header, and where the answer goes.
 */
static struct vh_req *queue_take(struct vh_queue *queue)
{
	struct vh_req *req = list_first_entry(&queue->free, struct vh_req, link);

	/* what was not shown has its place in the ring still */
	if (queue->inflight_count + queue->pushed >= queue->size || !req ||
	    queue_pop(queue, req) <= 0)
		return NULL;
	list_del(&req->link);
	list_push(&queue->busy, &req->link);
	queue->inflight_count++;
	req->out = req->iov;
	req->in = req->iov + req->out_count;
	__builtin_prefetch(req->iov[0].iov_base, 1);
	if (likely(req->in_count)) {
		__builtin_prefetch(req->in[0].iov_base, 1);
		__builtin_prefetch(req->in[req->in_count - 1].iov_base, 1);
	}
	return req;
}

static int queue_poll(struct poller *poller)
{
	struct vh_queue *queue = container_of(poller, struct vh_queue, poller);
	struct vh_req *taken[VH_POLL_BUDGET];
	unsigned count = 0, wants;
	uint32_t bytes = 0;
	int work = queue->pushed;

	if (unlikely(queue_cut(queue)))
		return 0;
	if (queue->pushed && queue->state != VH_QUEUE_BROKEN)
		queue_publish(queue);
	wants = queue->state == VH_QUEUE_RUNNING ? queue_wants(queue) : 0;
	while (count < wants && bytes < VH_POLL_BYTES && (taken[count] = queue_take(queue))) {
		const struct vh_req *req = taken[count++];

		bytes += MIN(req->out_bytes, VH_POLL_BYTES) + MIN(req->in_bytes, VH_POLL_BYTES);
	}
	for (unsigned i = 0; i < count; i++)
		queue->session->dev->ops->exec(taken[i]);
	return work + (int)count;
}

static enum poller_arm queue_arm(struct poller *poller)
{
	struct vh_queue *queue = container_of(poller, struct vh_queue, poller);

	if (queue->pushed && queue->state != VH_QUEUE_BROKEN)
		return POLLER_BUSY;
	if (queue->state != VH_QUEUE_RUNNING || list_empty(&queue->free) || !queue_wants(queue))
		return POLLER_ARMED;
	if (queue->again_next < queue->again_count)
		return POLLER_BUSY;
	if (queue->kick_source.fd < 0)
		return POLLER_DEAF;
	return queue->ring->want_kicks(queue, true) ? POLLER_BUSY : POLLER_ARMED;
}

static void queue_disarm(struct poller *poller)
{
	struct vh_queue *queue = container_of(poller, struct vh_queue, poller);

	if (queue->state == VH_QUEUE_RUNNING)
		queue->ring->want_kicks(queue, false);
}

/* Edges only: that the eventfd was written is all there is to know, so it is never read. */
static void queue_kicked(struct fd_source *source, uint32_t events)
{
	container_of(source, struct vh_queue, kick_source)->kicks++;
}

void vh_queue_break(struct vh_queue *queue, const char *why)
{
	if (queue->state == VH_QUEUE_BROKEN)
		return;
	queue->state = VH_QUEUE_BROKEN;
	queue->pushed = 0;
	snprintf(queue->why, sizeof(queue->why), "%s", why);
	log_warn("vhost %s queue %u: %s; it is stopped until the guest resets it",
		 queue->session->dev->options.name, queue->index, why);
	if (queue->err_fd >= 0 && !queue_tell(queue, queue->err_fd))
		log_warn("vhost %s queue %u: its error descriptor takes no event",
			 queue->session->dev->options.name, queue->index);
}

/* ---- life ---- */

static void requests_free(struct vh_queue *queue)
{
	free(queue->requests);
	free(queue->batch);
	free(queue->again);
	queue->requests = NULL;
	queue->batch = queue->again = NULL;
}

static int requests_make(struct vh_queue *queue)
{
	size_t bytes = queue->session->dev->ops->request_bytes;

	queue->requests = calloc(queue->size, bytes);
	queue->batch = calloc(queue->size, sizeof(*queue->batch));
	if (!queue->requests || !queue->batch) {
		requests_free(queue);
		return -ENOMEM;
	}
	list_init(&queue->free);
	list_init(&queue->busy);
	for (unsigned i = 0; i < queue->size; i++) {
		struct vh_req *req = (void *)((char *)queue->requests + i * bytes);

		req->queue = queue;
		list_push(&queue->free, &req->link);
	}
	return 0;
}

static void queue_memory(struct vh_queue *queue)
{
	queue->memory = queue->session->memory;
	queue->region = vh_memory_region(queue->memory, 0);
}

static int queue_map(struct vh_queue *queue)
{
	const struct vh_session *session = queue->session;
	bool packed = session->features & 1ull << VIRTIO_F_RING_PACKED;

	queue->ring = packed ? &vh_packed_ops : &vh_split_ops;
	queue_memory(queue);
	queue->size = queue->num;
	queue->event_idx = session->features & 1ull << VIRTIO_F_EVENT_IDX;
	queue->indirect = session->features & 1ull << VIRTIO_F_INDIRECT_DESC;
	queue->log = session->features & 1ull << VHOST_F_LOG_ALL ? &session->log : NULL;
	if (!packed && !IS_POWER_OF_2(queue->size))
		return -EINVAL;
	return queue->ring->map(queue);
}

int vh_queue_start(struct vh_queue *queue)
{
	int rc = queue_map(queue);

	if (rc)
		return rc;
	rc = requests_make(queue);
	if (rc)
		return rc;
	rc = vh_inflight_start(queue);
	if (rc)
		goto fail;
	vh_call_ready();
	queue->kick_source.fd = queue->kick_fd;
	queue->kick_source.event = queue_kicked;
	if (queue->kick_fd >= 0) {
		rc = fd_source_add(&queue->kick_source, EPOLLIN | EPOLLET);
		if (rc)
			goto fail;
	}
	event_init(&queue->drained);
	event_signal(&queue->drained);
	queue->inflight_count = 0;
	queue->pushed = 0;
	queue->why[0] = '\0';
	queue->state = VH_QUEUE_RUNNING;
	queue->poller = (struct poller){
		.name = "vhost", .poll = queue_poll, .arm = queue_arm, .disarm = queue_disarm,
	};
	poller_start(&queue->poller);
	/* what the guest had put there before is not kicked again */
	queue->ring->want_kicks(queue, false);
	/* nor has it been told of all that our last life gave back */
	vh_queue_call(queue);
	return 0;
fail:
	requests_free(queue);
	return rc;
}

static void queue_drain(struct vh_queue *queue)
{
	while (queue->inflight_count) {
		event_clear(&queue->drained);
		task_wait(&queue->drained);
	}
	if (queue->pushed && queue->state != VH_QUEUE_BROKEN)
		queue_publish(queue);
}

void vh_queue_pause(struct vh_queue *queue)
{
	if (queue->state == VH_QUEUE_RUNNING)
		queue->state = VH_QUEUE_DRAINING;
	queue_drain(queue);
}

void vh_queue_resume(struct vh_queue *queue)
{
	if (queue->state == VH_QUEUE_DRAINING)
		queue->state = VH_QUEUE_RUNNING;
}

/* Where it goes on. */
static void queue_base(struct vh_queue *queue)
{
	queue->base_avail = queue->last_avail;
	queue->base_used = queue->last_used;
	if (queue->ring == &vh_packed_ops) {
		queue->base_avail = (uint16_t)(queue->last_avail | queue->avail_wrap << 15);
		queue->base_used = (uint16_t)(queue->last_used | queue->used_wrap << 15);
	}
}

void vh_queue_remap(struct vh_queue *queue)
{
	queue_memory(queue);
	if (queue->state == VH_QUEUE_BROKEN)
		return;
	queue_base(queue);
	if (queue->ring->map(queue))
		vh_queue_break(queue, "the memory of the ring went away");
}

void vh_queue_stop(struct vh_queue *queue)
{
	vh_queue_pause(queue);
	poller_stop(&queue->poller);
	if (queue->kick_source.fd >= 0)
		fd_source_remove(&queue->kick_source);
	queue_base(queue);
	requests_free(queue);
	queue->state = VH_QUEUE_STOPPED;
}
