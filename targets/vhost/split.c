/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split virtqueues (virtio 1.2, 2.7). The driver writes the descriptor table and the available
 * ring, we write the used ring; each index is published after what it covers.
 */
#include "targets/vhost/req.h"

#include <errno.h>

enum { AHEAD = 4 };                     /* chains between fetching one and taking it */

static le16 *used_event(const struct vh_queue *queue)
{
	return &queue->avail->ring[queue->size];
}

static le16 *avail_event(const struct vh_queue *queue)
{
	return (le16 *)&queue->used->ring[queue->size];
}

static int split_map(struct vh_queue *queue)
{
	const struct vh_memory *memory = queue->memory;
	const struct vhost_user_vring_addr *addr = &queue->addr;
	uint64_t size = queue->size, guest;

	queue->desc = vh_memory_user(memory, le64_get(addr->desc),
				     size * sizeof(struct virtq_desc), &guest);
	/* the flags, the index, the ring, and the event index behind it */
	queue->avail = vh_memory_user(memory, le64_get(addr->avail), 2 * (3 + size), &guest);
	queue->used = vh_memory_user(memory, le64_get(addr->used),
				     6 + size * sizeof(struct virtq_used_elem), &queue->used_guest);
	if (!queue->desc || !queue->avail || !queue->used)
		return -EFAULT;
	/* virtio 1.2, 2.7: alignment */
	if (((uintptr_t)queue->desc & 15) || ((uintptr_t)queue->avail & 1) ||
	    ((uintptr_t)queue->used & 3))
		return -EFAULT;
	queue->mask = (uint16_t)(queue->size - 1);
	queue->last_avail = queue->base_avail;
	/* what the guest saw last, whoever showed it: a restart goes on from there */
	queue->last_used = vh_load(&queue->used->idx, __ATOMIC_ACQUIRE);
	queue->signalled = queue->last_used;
	return 0;
}

/* ---- taking ---- */

static const char *indirect_chain(struct vh_queue *queue, struct vh_req *req, uint64_t table,
				  uint32_t len)
{
	unsigned count = len / sizeof(struct virtq_desc), at = 0;

	if (len % sizeof(struct virtq_desc) || count == 0 || count > VH_CHAIN_MAX)
		return "an indirect table of a wrong length";
	for (unsigned n = 0; n < count; n++) {
		const void *where = vh_queue_guest(queue, table + at * sizeof(struct virtq_desc),
						   sizeof(struct virtq_desc));
		struct virtq_desc desc;
		uint16_t flags;
		const char *why;

		if (unlikely(!where))
			return "an indirect table that is not guest memory";
		vh_copy_desc(&desc, where);
		flags = le16_get(desc.flags);
		if (unlikely(flags & VIRTQ_DESC_INDIRECT))
			return "an indirect table in an indirect table";
		why = vh_chain_add(queue, req, le64_get(desc.addr), le32_get(desc.len),
				   flags & VIRTQ_DESC_WRITE);
		if (unlikely(why))
			return why;
		if (!(flags & VIRTQ_DESC_NEXT))
			return NULL;
		at = le16_get(desc.next);
		if (unlikely(at >= count))
			return "a next descriptor outside of its indirect table";
	}
	return "a chain without end";
}

static const char *split_chain(struct vh_queue *queue, struct vh_req *req)
{
	uint16_t at = req->head;

	for (unsigned n = 0; n < queue->size; n++) {
		struct virtq_desc desc;
		uint16_t flags;
		const char *why;

		vh_copy_desc(&desc, &queue->desc[at]);
		flags = le16_get(desc.flags);
		if (flags & VIRTQ_DESC_INDIRECT) {
			if (!queue->indirect || (flags & VIRTQ_DESC_NEXT))
				return "an indirect descriptor where there must be none";
			return indirect_chain(queue, req, le64_get(desc.addr), le32_get(desc.len));
		}
		why = vh_chain_add(queue, req, le64_get(desc.addr), le32_get(desc.len),
				   flags & VIRTQ_DESC_WRITE);
		if (unlikely(why))
			return why;
		if (!(flags & VIRTQ_DESC_NEXT))
			return NULL;
		at = le16_get(desc.next);
		if (unlikely(at >= queue->size))
			return "a next descriptor outside of the table";
	}
	return "a chain without end";
}

/* req->head is known: its chain. */
int vh_split_take(struct vh_queue *queue, struct vh_req *req)
{
	const char *why = split_chain(queue, req);

	if (likely(!why))
		return 1;
	vh_queue_break(queue, why);
	return -EPROTO;
}

/* A chain that is soon to be taken: from the guest's cache to ours. */
static void desc_ahead(const struct vh_queue *queue, uint16_t avail)
{
	uint16_t head = vh_load(&queue->avail->ring[avail & queue->mask], __ATOMIC_RELAXED);

	__builtin_prefetch(&queue->desc[head & queue->mask]);
}

static int split_pop(struct vh_queue *queue, struct vh_req *req)
{
	uint16_t waiting = (uint16_t)(vh_load(&queue->avail->idx, __ATOMIC_ACQUIRE) -
				      queue->last_avail);
	uint16_t head;

	if (waiting == 0)
		return 0;
	if (unlikely(waiting > queue->size)) {
		vh_queue_break(queue, "an available index past the ring");
		return -EPROTO;
	}
	if (waiting > AHEAD)
		desc_ahead(queue, (uint16_t)(queue->last_avail + AHEAD));
	head = vh_load(&queue->avail->ring[queue->last_avail & queue->mask], __ATOMIC_RELAXED);
	if (unlikely(head >= queue->size)) {
		vh_queue_break(queue, "an available descriptor outside of the table");
		return -EPROTO;
	}
	req->head = head;
	queue->last_avail++;
	return vh_split_take(queue, req);
}

/* ---- giving back ---- */

static void split_push(struct vh_queue *queue, struct vh_req *req, uint32_t written)
{
	uint16_t at = queue->last_used++ & queue->mask;
	struct virtq_used_elem *elem = &queue->used->ring[at];

	elem->id = le32_make(req->head);
	elem->len = le32_make(written);
	if (unlikely(queue->log))
		vh_log_guest(queue->log, queue->used_guest + offsetof(struct virtq_used, ring) +
			     at * sizeof(*elem), sizeof(*elem));
}

static bool split_publish(struct vh_queue *queue)
{
	uint16_t old = queue->signalled, now = queue->last_used;

	vh_store(&queue->used->idx, now, __ATOMIC_RELEASE);
	queue->signalled = now;
	if (unlikely(queue->log))
		vh_log_guest(queue->log, queue->used_guest, 4);
	/* the index before the question, 2.7.7.2 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!queue->event_idx)
		return !(vh_load(&queue->avail->flags, __ATOMIC_RELAXED) &
			 VIRTQ_AVAIL_NO_INTERRUPT);
	return (uint16_t)(now - vh_load(used_event(queue), __ATOMIC_RELAXED) - 1) <
	       (uint16_t)(now - old);
}

static bool split_want_kicks(struct vh_queue *queue, bool want)
{
	if (!queue->event_idx)
		vh_store(&queue->used->flags, want ? 0 : VIRTQ_USED_NO_NOTIFY,
			    __ATOMIC_RELAXED);
	else if (want)
		vh_store(avail_event(queue), queue->last_avail, __ATOMIC_RELAXED);
	if (unlikely(queue->log)) {
		vh_log_guest(queue->log, queue->used_guest, 2);
		vh_log_guest(queue->log, queue->used_guest +
			     offsetof(struct virtq_used, ring[queue->size]), 2);
	}
	if (!want)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vh_load(&queue->avail->idx, __ATOMIC_ACQUIRE) != queue->last_avail;
}

const struct vh_ring_ops vh_split_ops = {
	.map = split_map,
	.pop = split_pop,
	.push = split_push,
	.publish = split_publish,
	.want_kicks = split_want_kicks,
};
