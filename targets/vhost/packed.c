/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed virtqueues (virtio 1.2, 2.8): one ring of descriptors that both sides write, with wrap
 * counters that say whose a descriptor is. The first descriptor of a batch of used ones gets its
 * flags last, so that the driver sees the batch at once.
 */
#include "targets/vhost/req.h"

#include <errno.h>

static int packed_map(struct vh_queue *queue)
{
	const struct vh_memory *memory = queue->memory;
	const struct vhost_user_vring_addr *addr = &queue->addr;
	uint64_t guest;

	queue->packed = vh_memory_user(memory, le64_get(addr->desc),
				       queue->size * sizeof(struct virtq_packed_desc),
				       &queue->used_guest);
	queue->driver_event = vh_memory_user(memory, le64_get(addr->avail),
					     sizeof(struct virtq_packed_event), &guest);
	queue->device_event = vh_memory_user(memory, le64_get(addr->used),
					     sizeof(struct virtq_packed_event),
					     &queue->event_guest);
	if (!queue->packed || !queue->driver_event || !queue->device_event ||
	    ((uintptr_t)queue->packed & 15) || ((uintptr_t)queue->driver_event & 3) ||
	    ((uintptr_t)queue->device_event & 3))
		return -EFAULT;
	queue->last_avail = queue->base_avail & 0x7fff;
	queue->avail_wrap = queue->base_avail >> 15;
	queue->last_used = queue->base_used & 0x7fff;
	queue->used_wrap = queue->base_used >> 15;
	if (queue->last_avail >= queue->size || queue->last_used >= queue->size)
		return -EFAULT;
	queue->signalled = queue->last_used;
	return 0;
}

/* ---- taking ---- */

static bool is_available(const struct vh_queue *queue, uint16_t flags)
{
	bool avail = flags & VIRTQ_DESC_AVAIL, used = flags & VIRTQ_DESC_USED;

	return avail == queue->avail_wrap && used != queue->avail_wrap;
}

/* In a table there is no next: all of it is the chain. 2.8.7 */
static const char *indirect_chain(struct vh_queue *queue, struct vh_req *req, uint64_t table,
				  uint32_t len)
{
	unsigned count = len / sizeof(struct virtq_packed_desc);

	if (len % sizeof(struct virtq_packed_desc) || count == 0 || count > VH_CHAIN_MAX)
		return "an indirect table of a wrong length";
	for (unsigned i = 0; i < count; i++) {
		const void *where = vh_queue_guest(queue, table + i *
						   sizeof(struct virtq_packed_desc),
						   sizeof(struct virtq_packed_desc));
		struct virtq_packed_desc desc;
		const char *why;

		if (unlikely(!where))
			return "an indirect table that is not guest memory";
		vh_copy_desc(&desc, where);
		if (unlikely(le16_get(desc.flags) & VIRTQ_DESC_INDIRECT))
			return "an indirect table in an indirect table";
		why = vh_chain_add(queue, req, le64_get(desc.addr), le32_get(desc.len),
				   le16_get(desc.flags) & VIRTQ_DESC_WRITE);
		if (unlikely(why))
			return why;
	}
	return NULL;
}

const char *vh_packed_add(struct vh_queue *queue, struct vh_req *req,
			  const struct virtq_packed_desc *desc)
{
	uint16_t flags = le16_get(desc->flags);

	if (!(flags & VIRTQ_DESC_INDIRECT))
		return vh_chain_add(queue, req, le64_get(desc->addr), le32_get(desc->len),
				    flags & VIRTQ_DESC_WRITE);
	/* 2.8.19: a table is a chain of its own */
	if (!queue->indirect || (flags & VIRTQ_DESC_NEXT) || req->out_count || req->in_count)
		return "an indirect descriptor where there must be none";
	return indirect_chain(queue, req, le64_get(desc->addr), le32_get(desc->len));
}

static void advance(const struct vh_queue *queue, uint16_t *at, bool *wrap, unsigned by)
{
	unsigned next = *at + by;

	if (next >= queue->size) {
		next -= queue->size;
		*wrap = !*wrap;
	}
	*at = (uint16_t)next;
}

static int packed_pop(struct vh_queue *queue, struct vh_req *req)
{
	uint16_t at = queue->last_avail;
	const char *why;

	if (!is_available(queue, vh_load(&queue->packed[at].flags, __ATOMIC_ACQUIRE)))
		return 0;
	req->descs = 0;
	for (;;) {
		struct virtq_packed_desc desc;

		vh_copy_desc(&desc, &queue->packed[at]);
		why = req->descs == queue->size ? "a chain without end" :
		      vh_packed_add(queue, req, &desc);
		if (unlikely(why))
			break;
		req->descs++;
		why = vh_inflight_packed(queue, req, &desc);
		if (unlikely(why))
			break;
		at = (uint16_t)(at + 1 == queue->size ? 0 : at + 1);
		if (le16_get(desc.flags) & VIRTQ_DESC_NEXT)
			continue;
		req->head = le16_get(desc.id);
		advance(queue, &queue->last_avail, &queue->avail_wrap, req->descs);
		return 1;
	}
	vh_queue_break(queue, why);
	return -EPROTO;
}

/* ---- giving back ---- */

static uint16_t used_flags(const struct vh_queue *queue, uint32_t written)
{
	return (uint16_t)((written ? VIRTQ_DESC_WRITE : 0) |
			  (queue->used_wrap ? VIRTQ_DESC_AVAIL | VIRTQ_DESC_USED : 0));
}

static void desc_log(const struct vh_queue *queue, uint16_t at)
{
	if (unlikely(queue->log))
		vh_log_guest(queue->log, queue->used_guest + at * sizeof(struct virtq_packed_desc),
			     sizeof(struct virtq_packed_desc));
}

static void packed_push(struct vh_queue *queue, struct vh_req *req, uint32_t written)
{
	uint16_t at = queue->last_used, flags = used_flags(queue, written);
	struct virtq_packed_desc *desc = &queue->packed[at];

	desc->id = le16_make(req->head);
	desc->len = le32_make(written);
	if (queue->pushed == 0) {
		queue->first_head = at;
		queue->first_flags = flags;
	} else {
		vh_store(&desc->flags, flags, __ATOMIC_RELEASE);
	}
	desc_log(queue, at);
	advance(queue, &queue->last_used, &queue->used_wrap, req->descs);
}

static bool packed_publish(struct vh_queue *queue)
{
	uint16_t old = queue->signalled, now = queue->last_used, off_wrap, off, flags;

	queue->signalled = now;
	vh_store(&queue->packed[queue->first_head].flags, queue->first_flags, __ATOMIC_RELEASE);
	desc_log(queue, queue->first_head);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	flags = vh_load(&queue->driver_event->flags, __ATOMIC_RELAXED) & 3;
	if (flags == VIRTQ_EVENT_DISABLE)
		return false;
	if (flags != VIRTQ_EVENT_DESC || !queue->event_idx)
		return true;
	off_wrap = vh_load(&queue->driver_event->off_wrap, __ATOMIC_RELAXED);
	off = off_wrap & (uint16_t)~VIRTQ_EVENT_WRAP;
	if (now <= old)
		old = (uint16_t)(old - queue->size);
	if (queue->used_wrap != (bool)(off_wrap & VIRTQ_EVENT_WRAP))
		off = (uint16_t)(off - queue->size);
	return (uint16_t)(now - off - 1) < (uint16_t)(now - old);
}

static bool packed_want_kicks(struct vh_queue *queue, bool want)
{
	uint16_t flags = VIRTQ_EVENT_DISABLE;

	if (want && queue->event_idx) {
		vh_store(&queue->device_event->off_wrap,
			    (uint16_t)(queue->last_avail |
				       (queue->avail_wrap ? VIRTQ_EVENT_WRAP : 0)),
			    __ATOMIC_RELAXED);
		flags = VIRTQ_EVENT_DESC;
	} else if (want) {
		flags = VIRTQ_EVENT_ENABLE;
	}
	vh_store(&queue->device_event->flags, flags, __ATOMIC_RELEASE);
	if (unlikely(queue->log))
		vh_log_guest(queue->log, queue->event_guest, sizeof(struct virtq_packed_event));
	if (!want)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return is_available(queue, vh_load(&queue->packed[queue->last_avail].flags,
					      __ATOMIC_ACQUIRE));
}

const struct vh_ring_ops vh_packed_ops = {
	.map = packed_map,
	.pop = packed_pop,
	.push = packed_push,
	.publish = packed_publish,
	.want_kicks = packed_want_kicks,
};
