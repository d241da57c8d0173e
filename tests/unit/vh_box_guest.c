/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest of a vh_box: its memory, the driver's side of its rings, requests of virtio-blk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vh_box.h"

/* ---- rings ---- */

uint64_t vbox_alloc(struct vbox *b, size_t len, size_t align)
{
	uint64_t at = ALIGN_UP(b->next, (uint64_t)align);

	assert_true(at + len <= VBOX_BYTES);
	b->next = at + len;
	memset(b->mem + at, 0, len);
	return VBOX_GUEST + at;
}

void *vbox_at(struct vbox *b, uint64_t guest)
{
	return b->mem + (guest - VBOX_GUEST);
}

void vbox_ring_make(struct vbox *b, unsigned index, uint16_t size, bool packed)
{
	struct vbox_ring *ring = &b->ring[index];
	int kick = ring->kick_fd, call = ring->call_fd;

	*ring = (struct vbox_ring){ .packed = packed, .size = size, .kick_fd = kick,
				    .call_fd = call, .avail_wrap = true, .used_wrap = true };
	ring->desc = vbox_alloc(b, size * 16u, 4096);
	ring->driver = vbox_alloc(b, packed ? 4 : 6 + 2u * size, 64);
	ring->device = vbox_alloc(b, packed ? 4 : 6 + 8u * size, 64);
	if (kick < 0) {
		ring->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ring->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
}

void vbox_ring_start(struct vbox *b, unsigned index)
{
	struct vbox_ring *ring = &b->ring[index];
	uint64_t off = VBOX_USER - VBOX_GUEST;
	uint32_t base = (uint32_t)ring->next_used | (uint32_t)ring->used_wrap << 15;
	struct vhost_user_vring_state state = { le32_make(index), le32_make(ring->size) };
	struct vhost_user_vring_addr addr = {
		.index = le32_make(index), .desc = le64_make(ring->desc + off),
		.used = le64_make(ring->device + off), .avail = le64_make(ring->driver + off),
	};
	le64 number = le64_make(index);

	assert_int_equal(vbox_acked(b, VHOST_USER_SET_VRING_NUM, &state, sizeof(state), -1), 0);
	state.num = le32_make(ring->packed ? base | base << 16 : ring->next_used);
	assert_int_equal(vbox_acked(b, VHOST_USER_SET_VRING_BASE, &state, sizeof(state), -1), 0);
	assert_int_equal(vbox_acked(b, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
	assert_int_equal(vbox_acked(b, VHOST_USER_SET_VRING_CALL, &number, 8, ring->call_fd), 0);
	assert_int_equal(vbox_acked(b, VHOST_USER_SET_VRING_KICK, &number, 8, ring->kick_fd), 0);
	state.num = le32_make(1);
	assert_int_equal(vbox_acked(b, VHOST_USER_SET_VRING_ENABLE, &state, sizeof(state), -1), 0);
	/* a ring that starts is called once */
	assert_int_equal(vbox_calls(b, index) > 0, vbox_queue(b, index)->started);
}

uint32_t vbox_ring_stop(struct vbox *b, unsigned index)
{
	struct vhost_user_vring_state state = { le32_make(index), le32_make(0) };
	struct vhost_user_header header;

	vbox_send(b, &(struct vbox_message){ .request = VHOST_USER_GET_VRING_BASE,
					     .payload = &state, .len = sizeof(state) });
	assert_int_equal(vbox_answer(b, &header, &state, sizeof(state), NULL), sizeof(state));
	assert_int_equal(le32_get(state.index), index);
	return le32_get(state.num);
}

struct vh_queue *vbox_queue(struct vbox *b, unsigned index)
{
	return &b->dev->session->queue[index];
}

bool vbox_broken(struct vbox *b, unsigned index)
{
	loop_drain();
	return vbox_queue(b, index)->state == VH_QUEUE_BROKEN;
}

void vbox_kick(struct vbox *b, unsigned index)
{
	eventfd_write(b->ring[index].kick_fd, 1);
	loop_drain();
}

uint64_t vbox_calls(struct vbox *b, unsigned index)
{
	eventfd_t count = 0;

	return eventfd_read(b->ring[index].call_fd, &count) ? 0 : count;
}

void vbox_offer(struct vbox *b, unsigned index, uint16_t head)
{
	struct vbox_ring *ring = &b->ring[index];
	struct virtq_avail *avail = vbox_at(b, ring->driver);

	avail->ring[ring->next_avail++ % ring->size] = le16_make(head);
	avail->idx = le16_make(ring->next_avail);
	vbox_kick(b, index);
}

static uint16_t split_add(struct vbox *b, unsigned index, const struct vbox_piece *pieces,
			  unsigned count)
{
	struct vbox_ring *ring = &b->ring[index];
	struct virtq_desc *desc = vbox_at(b, ring->desc);
	uint16_t head = ring->next_desc;

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = ring->next_desc, next = (uint16_t)((at + 1) % ring->size);
		bool more = i + 1 < count;

		desc[at] = (struct virtq_desc){
			le64_make(pieces[i].addr), le32_make(pieces[i].len),
			le16_make((uint16_t)(pieces[i].flags | (more ? VIRTQ_DESC_NEXT : 0))),
			le16_make(more ? next : 0),
		};
		ring->next_desc = next;
	}
	vbox_offer(b, index, head);
	return head;
}

static uint16_t packed_add(struct vbox *b, unsigned index, const struct vbox_piece *pieces,
			   unsigned count)
{
	struct vbox_ring *ring = &b->ring[index];
	struct virtq_packed_desc *desc = vbox_at(b, ring->desc);
	uint16_t id = ring->next_desc, first = ring->next_avail, first_flags = 0;

	assert_true(id < VBOX_TAKEN);
	ring->next_desc = (uint16_t)((id + 1) % MIN(ring->size, VBOX_TAKEN));
	ring->descs[id] = (uint16_t)count;
	for (unsigned i = 0; i < count; i++) {
		uint16_t at = ring->next_avail;
		uint16_t flags = (uint16_t)(pieces[i].flags |
					    (i + 1 < count ? VIRTQ_DESC_NEXT : 0) |
					    (ring->avail_wrap ? VIRTQ_DESC_AVAIL :
					     VIRTQ_DESC_USED));

		desc[at].addr = le64_make(pieces[i].addr);
		desc[at].len = le32_make(pieces[i].len);
		desc[at].id = le16_make(id);
		if (i)
			desc[at].flags = le16_make(flags);
		else
			first_flags = flags;
		if (++ring->next_avail == ring->size) {
			ring->next_avail = 0;
			ring->avail_wrap = !ring->avail_wrap;
		}
	}
	vh_store(&desc[first].flags, first_flags, __ATOMIC_RELEASE);
	vbox_kick(b, index);
	return id;
}

uint16_t vbox_add(struct vbox *b, unsigned index, const struct vbox_piece *pieces, unsigned count)
{
	return b->ring[index].packed ? packed_add(b, index, pieces, count) :
	       split_add(b, index, pieces, count);
}

uint16_t vbox_add_table(struct vbox *b, unsigned index, const struct vbox_piece *pieces,
			unsigned count)
{
	struct vbox_piece table = { vbox_alloc(b, 16 * count, 16), 16 * count,
				    VIRTQ_DESC_INDIRECT };

	for (unsigned i = 0; i < count; i++) {
		struct virtq_desc *desc = (struct virtq_desc *)vbox_at(b, table.addr) + i;
		uint16_t flags = pieces[i].flags;

		desc->addr = le64_make(pieces[i].addr);
		desc->len = le32_make(pieces[i].len);
		if (b->ring[index].packed) {
			/* ID where split tables have flags */
			((struct virtq_packed_desc *)desc)->flags = le16_make(flags);
			continue;
		}
		desc->flags = le16_make((uint16_t)(flags | (i + 1 < count ? VIRTQ_DESC_NEXT : 0)));
		desc->next = le16_make((uint16_t)(i + 1 < count ? i + 1 : 0));
	}
	return vbox_add(b, index, &table, 1);
}

static bool packed_reap(struct vbox *b, unsigned index, uint16_t *id, uint32_t *len)
{
	struct vbox_ring *ring = &b->ring[index];
	const struct virtq_packed_desc *desc = vbox_at(b, ring->desc);
	uint16_t flags = le16_get(desc[ring->next_used].flags);

	if (!!(flags & VIRTQ_DESC_AVAIL) != ring->used_wrap ||
	    !!(flags & VIRTQ_DESC_USED) != ring->used_wrap)
		return false;
	*id = le16_get(desc[ring->next_used].id);
	*len = le32_get(desc[ring->next_used].len);
	assert_true(*id < VBOX_TAKEN);
	ring->next_used = (uint16_t)(ring->next_used + ring->descs[*id]);
	if (ring->next_used >= ring->size) {
		ring->next_used = (uint16_t)(ring->next_used - ring->size);
		ring->used_wrap = !ring->used_wrap;
	}
	return true;
}

bool vbox_reap(struct vbox *b, unsigned index, uint16_t *id, uint32_t *len)
{
	struct vbox_ring *ring = &b->ring[index];
	const struct virtq_used *used = vbox_at(b, ring->device);
	const struct virtq_used_elem *elem;

	if (ring->packed)
		return packed_reap(b, index, id, len);
	if (le16_get(used->idx) == ring->next_used)
		return false;
	elem = &used->ring[ring->next_used++ % ring->size];
	*id = (uint16_t)le32_get(elem->id);
	*len = le32_get(elem->len);
	return true;
}

/* ---- virtio-blk ---- */

void vbox_blk_add(struct vbox *b, unsigned index, struct vbox_blk *blk)
{
	struct virtio_blk_header header = { .type = le32_make(blk->type),
					    .sector = le64_make(blk->sector) };
	struct vbox_piece pieces[3];
	unsigned count = 0;

	blk->header = vbox_alloc(b, sizeof(header), 16);
	memcpy(vbox_at(b, blk->header), &header, sizeof(header));
	pieces[count++] = (struct vbox_piece){ blk->header, sizeof(header) };
	if (blk->out_len || blk->in_len) {
		uint32_t len = blk->out_len ? blk->out_len : blk->in_len;

		blk->data = vbox_alloc(b, len, 16);
		if (blk->out_len)
			memcpy(vbox_at(b, blk->data), blk->out, len);
		pieces[count++] = (struct vbox_piece){ blk->data, len,
						       blk->out_len ? 0 : VIRTQ_DESC_WRITE };
	}
	blk->status = vbox_alloc(b, 1, 1);
	*(uint8_t *)vbox_at(b, blk->status) = 0xff;
	pieces[count++] = (struct vbox_piece){ blk->status, 1, VIRTQ_DESC_WRITE };
	blk->id = vbox_add(b, index, pieces, count);
}

int vbox_blk_run(struct vbox *b, unsigned index, struct vbox_blk *blk, uint32_t *len)
{
	uint32_t written;
	uint16_t id;

	vbox_blk_add(b, index, blk);
	if (!vbox_reap(b, index, &id, &written))
		return -1;
	assert_int_equal(id, blk->id);
	if (len)
		*len = written;
	return *(uint8_t *)vbox_at(b, blk->status);
}

void vbox_works(struct vbox *b, unsigned index, uint64_t sector)
{
	uint8_t pattern[VBOX_BLOCK_BYTES];
	struct vbox_blk write = { .type = VIRTIO_BLK_T_OUT, .sector = sector, .out = pattern,
				  .out_len = sizeof(pattern) };
	struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .sector = sector,
				 .in_len = sizeof(pattern) };
	uint32_t len;

	memset(pattern, (int)sector, sizeof(pattern));
	assert_int_equal(vbox_blk_run(b, index, &write, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 1);
	assert_int_equal(vbox_blk_run(b, index, &read, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, sizeof(pattern) + 1);
	assert_memory_equal(vbox_at(b, read.data), pattern, sizeof(pattern));
}
