/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a virtqueue (virtio 1.2, 2.7 and 2.8). It polls, and so asks for no
 * interrupts; its descriptors are written anew for each request, as a guest's are.
 */
#include "tests/bench/vhost_front.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGN_RING = 4096, FAR = 0x4000 };

static uint16_t load_le16(const le16 *p)
{
	return __atomic_load_n(&p->raw, __ATOMIC_ACQUIRE);
}

static void store_le16(le16 *p, uint16_t v)
{
	__atomic_store_n(&p->raw, v, __ATOMIC_RELEASE);
}

/* What the device will interrupt for is moved out of its way now and then. */
static void split_interrupts_off(struct ring *r)
{
	store_le16(&r->avail->flags, VIRTQ_AVAIL_NO_INTERRUPT);
	store_le16(&r->avail->ring[r->size], (uint16_t)(r->next_used - 1));
}

void ring_init(struct ring *r, struct front *f, unsigned index, unsigned slots, bool indirect)
{
	size_t size = 2;

	*r = (struct ring){
		.front = f, .index = index, .slots = (uint16_t)slots,
		.packed = front_has(f, VIRTIO_F_RING_PACKED),
		.event_idx = front_has(f, VIRTIO_F_EVENT_IDX),
		.indirect = indirect,
		.avail_wrap = true, .used_wrap = true,
	};
	while (size < slots * (indirect ? 1 : RING_PIECES))
		size *= 2;
	if (size > VIRTQ_SIZE_MAX)
		die("%u requests do not fit in a ring", slots);
	r->size = (uint16_t)size;
	r->mask = (uint16_t)(size - 1);
	r->desc = front_take(f, size * sizeof(struct virtq_desc), ALIGN_RING);
	r->avail = front_take(f, 6 + 2 * size, ALIGN_RING);
	r->used = front_take(f, 6 + 8 * size, ALIGN_RING);
	r->table = front_take(f, slots * RING_PIECES * sizeof(struct virtq_desc), ALIGN_RING);
	r->chain = calloc(slots, 1);
	if (!r->chain)
		die("out of memory");
	if (r->packed)
		r->driver_event->flags = le16_make(VIRTQ_EVENT_DISABLE);
	else
		split_interrupts_off(r);
}

static void kick(struct ring *r)
{
	static const uint64_t one = 1;

	r->kicks++;
	if (write(r->kick_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		die("kick: %s", strerror(errno));
}

/* ---- split ---- */

/* Linked ones from index BASE on. */
static void desc_fill(const struct front *f, struct virtq_desc *desc, unsigned base,
		      const struct piece *piece, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		desc[i] = (struct virtq_desc){
			.addr = le64_make(front_guest(f, piece[i].at)),
			.len = le32_make(piece[i].len),
			.flags = le16_make((piece[i].in ? VIRTQ_DESC_WRITE : 0) |
					   (i + 1 < count ? VIRTQ_DESC_NEXT : 0)),
			.next = le16_make((uint16_t)(base + i + 1)),
		};
}

static void split_add(struct ring *r, unsigned slot, const struct piece *piece, unsigned count)
{
	unsigned head = slot;

	if (r->indirect) {
		struct virtq_desc *table = &r->table[slot * RING_PIECES];

		desc_fill(r->front, table, 0, piece, count);
		r->desc[slot] = (struct virtq_desc){
			.addr = le64_make(front_guest(r->front, table)),
			.len = le32_make(count * (uint32_t)sizeof(*table)),
			.flags = le16_make(VIRTQ_DESC_INDIRECT),
		};
	} else {
		head = slot * RING_PIECES;
		desc_fill(r->front, &r->desc[head], head, piece, count);
	}
	r->avail->ring[r->next_avail++ & r->mask] = le16_make((uint16_t)head);
}

static void split_publish(struct ring *r)
{
	uint16_t old = r->published, now = r->next_avail;
	const le16 *event = (const le16 *)&r->used->ring[r->size];
	bool wanted;

	store_le16(&r->avail->idx, now);
	r->published = now;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->event_idx)
		wanted = (uint16_t)(now - load_le16(event) - 1) < (uint16_t)(now - old);
	else
		wanted = !(load_le16(&r->used->flags) & VIRTQ_USED_NO_NOTIFY);
	if (wanted)
		kick(r);
}

static int split_take(struct ring *r)
{
	unsigned id;

	if (load_le16(&r->used->idx) == r->next_used)
		return -1;
	id = le32_get(r->used->ring[r->next_used++ & r->mask].id);
	if (r->next_used % FAR == 0)
		split_interrupts_off(r);
	return (int)(r->indirect ? id : id / RING_PIECES);
}

/* ---- packed ---- */

static void packed_put(struct ring *r, uint64_t addr, uint32_t len, unsigned flags, unsigned slot)
{
	uint16_t at = r->next_avail;
	struct virtq_packed_desc *desc = &r->packed_desc[at];

	flags |= r->avail_wrap ? VIRTQ_DESC_AVAIL : VIRTQ_DESC_USED;
	desc->addr = le64_make(addr);
	desc->len = le32_make(len);
	desc->id = le16_make((uint16_t)slot);
	if (r->added++ == 0) {
		r->first = at;
		r->first_flags = (uint16_t)flags;
	} else {
		store_le16(&desc->flags, (uint16_t)flags);
	}
	if (++r->next_avail == r->size) {
		r->next_avail = 0;
		r->avail_wrap = !r->avail_wrap;
	}
}

static void packed_add(struct ring *r, unsigned slot, const struct piece *piece, unsigned count)
{
	struct virtq_packed_desc *table = (struct virtq_packed_desc *)&r->table[slot * RING_PIECES];

	r->chain[slot] = (uint8_t)(r->indirect ? 1 : count);
	if (!r->indirect) {
		for (unsigned i = 0; i < count; i++)
			packed_put(r, front_guest(r->front, piece[i].at), piece[i].len,
				   (piece[i].in ? VIRTQ_DESC_WRITE : 0) |
				   (i + 1 < count ? VIRTQ_DESC_NEXT : 0), slot);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		table[i] = (struct virtq_packed_desc){
			.addr = le64_make(front_guest(r->front, piece[i].at)),
			.len = le32_make(piece[i].len),
			.flags = le16_make(piece[i].in ? VIRTQ_DESC_WRITE : 0),
		};
	packed_put(r, front_guest(r->front, table), count * (uint32_t)sizeof(*table),
		   VIRTQ_DESC_INDIRECT, slot);
}

static void packed_publish(struct ring *r)
{
	uint16_t flags, off_wrap, event, now = r->next_avail, old;
	bool wanted;

	if (r->added == 0)
		return;
	store_le16(&r->packed_desc[r->first].flags, r->first_flags);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	flags = load_le16(&r->device_event->flags) & 3;
	off_wrap = load_le16(&r->device_event->off_wrap);
	event = off_wrap & (uint16_t)~VIRTQ_EVENT_WRAP;
	if (r->avail_wrap != (bool)(off_wrap & VIRTQ_EVENT_WRAP))
		event = (uint16_t)(event - r->size);
	old = (uint16_t)(now - r->added);
	r->added = 0;
	wanted = flags == VIRTQ_EVENT_DESC ?
		(uint16_t)(now - event - 1) < (uint16_t)(now - old) : flags == VIRTQ_EVENT_ENABLE;
	if (wanted)
		kick(r);
}

static int packed_take(struct ring *r)
{
	const struct virtq_packed_desc *desc = &r->packed_desc[r->next_used];
	uint16_t flags = load_le16(&desc->flags);
	unsigned slot, next;

	if ((bool)(flags & VIRTQ_DESC_USED) != r->used_wrap ||
	    (bool)(flags & VIRTQ_DESC_AVAIL) != r->used_wrap)
		return -1;
	slot = le16_get(desc->id);
	if (slot >= r->slots)
		die("queue %u: an answer to request %u, which there is not", r->index, slot);
	next = r->next_used + r->chain[slot];
	if (next >= r->size) {
		next -= r->size;
		r->used_wrap = !r->used_wrap;
	}
	r->next_used = (uint16_t)next;
	return (int)slot;
}

/* ---- either ---- */

void ring_add(struct ring *r, unsigned slot, const struct piece *piece, unsigned count)
{
	if (r->packed)
		packed_add(r, slot, piece, count);
	else
		split_add(r, slot, piece, count);
}

void ring_publish(struct ring *r)
{
	if (r->packed)
		packed_publish(r);
	else
		split_publish(r);
}

int ring_take(struct ring *r)
{
	int slot = r->packed ? packed_take(r) : split_take(r);

	if (slot >= (int)r->slots)
		die("queue %u: an answer to request %d, which there is not", r->index, slot);
	return slot;
}
