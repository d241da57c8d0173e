/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In-flight tracking: which requests we have taken and not given back, in memory that the front end
 * keeps. When this process dies and comes back, it does them again; the guest sees slow disks and
 * nothing else.
 *
 * Split: an entry a descriptor. A batch of used entries is a list from last_batch_head; used_idx
 * says how far it was shown. Packed: the descriptors are overwritten by used ones, so they are kept
 * here, in a free list of entries; old_* is the state before the last batch.
 *
 * Memory that a dead process left says where the ring is, whatever base the front end gives: it has
 * been told none. Where it has (GET_VRING_BASE), the memory of that ring begins anew.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { INFLIGHT_VERSION = 1, INFLIGHT_ALIGN = 64 };

static size_t part_bytes(const struct vh_session *session, unsigned size)
{
	size_t bytes;

	if (session->features & 1ull << VIRTIO_F_RING_PACKED)
		bytes = sizeof(struct vhost_user_packed) +
			size * sizeof(struct vhost_user_inflight_desc_packed);
	else
		bytes = sizeof(struct vhost_user_split) +
			size * sizeof(struct vhost_user_inflight_desc);
	return ALIGN_UP(bytes, INFLIGHT_ALIGN);
}

static bool is_packed(const struct vh_queue *queue)
{
	return queue->ring == &vh_packed_ops;
}

/* ---- the memory ---- */

static int inflight_bounds(unsigned queues, unsigned size)
{
	return queues == 0 || queues > VH_QUEUES_MAX || size == 0 || size > VIRTQ_SIZE_MAX ?
		-EINVAL : 0;
}

int vh_inflight_create(struct vh_session *session, uint16_t queues, uint16_t size,
		       struct vhost_user_inflight *reply, int *fd)
{
	size_t bytes = queues * part_bytes(session, size);
	int rc = inflight_bounds(queues, size);

	if (rc)
		return rc;
	*fd = memfd_create("karst inflight", MFD_CLOEXEC);
	if (*fd < 0)
		return -errno;
	if (ftruncate(*fd, (off_t)bytes)) {
		rc = -errno;
		close(*fd);
		return rc;
	}
	memset(reply, 0, sizeof(*reply));
	reply->mmap_size = le64_make(bytes);
	reply->num_queues = le16_make(queues);
	reply->queue_size = le16_make(size);
	return 0;
}

int vh_inflight_set(struct vh_session *session, const struct vhost_user_inflight *msg, int fd)
{
	unsigned queues = le16_get(msg->num_queues), size = le16_get(msg->queue_size);
	size_t bytes = queues * part_bytes(session, size);
	struct vh_map map;
	int rc = inflight_bounds(queues, size);

	if (rc || le64_get(msg->mmap_offset) || le64_get(msg->mmap_size) < bytes)
		return -EINVAL;
	rc = vh_map_open(&map, session, fd, 0, bytes);
	if (rc)
		return rc;
	vh_map_close(&session->inflight);
	session->inflight = map;
	session->inflight_bytes = bytes;
	session->inflight_queues = (uint16_t)queues;
	session->inflight_size = (uint16_t)size;
	return 0;
}

/* ---- what our last life left ---- */

struct left {
	uint64_t counter;
	uint16_t entry;
};

static int left_compare(const void *a, const void *b)
{
	const struct left *x = a, *y = b;

	return x->counter < y->counter ? -1 : x->counter > y->counter;
}

/* Entries in order of their counters, as queue->again. */
static int left_sort(struct vh_queue *queue, struct left *left, unsigned count)
{
	qsort(left, count, sizeof(*left), left_compare);
	queue->again = count ? calloc(count, sizeof(*queue->again)) : NULL;
	if (count && !queue->again)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++)
		queue->again[i] = left[i].entry;
	queue->again_count = count;
	queue->again_next = 0;
	queue->inflight_counter = count ? left[count - 1].counter + 1 : 0;
	return 0;
}

/* A batch was shown, and we died before it was taken off the list. */
static void split_settle(const struct vh_queue *queue, struct vhost_user_split *part)
{
	uint16_t at = vh_load(&part->last_batch_head, __ATOMIC_RELAXED);
	uint16_t shown = (uint16_t)(queue->last_used - le16_get(part->used_idx));

	for (; shown && shown <= queue->size && at < queue->size; shown--) {
		part->desc[at].inflight = 0;
		at = vh_load(&part->desc[at].next, __ATOMIC_RELAXED);
	}
	part->used_idx = le16_make(queue->last_used);
}

static int split_start(struct vh_queue *queue, struct vhost_user_split *part, struct left *left)
{
	bool fresh = le16_get(part->version) != INFLIGHT_VERSION ||
		     le16_get(part->desc_num) != queue->size;
	unsigned count = 0;

	if (fresh) {
		memset(part, 0, sizeof(*part) + queue->size * sizeof(part->desc[0]));
		part->desc_num = le16_make(queue->size);
		part->used_idx = le16_make(queue->last_used);
		part->version = le16_make(INFLIGHT_VERSION);
	}
	split_settle(queue, part);
	for (uint16_t i = 0; i < queue->size; i++) {
		if (part->desc[i].inflight)
			left[count++] = (struct left){ le64_get(part->desc[i].counter), i };
	}
	if (!fresh)
		queue->last_avail = (uint16_t)(queue->last_used + count);
	return left_sort(queue, left, count);
}

static void packed_reset(const struct vh_queue *queue, struct vhost_user_packed *part)
{
	memset(part, 0, sizeof(*part) + queue->size * sizeof(part->desc[0]));
	for (uint16_t i = 0; i < queue->size; i++)
		part->desc[i].next = le16_make((uint16_t)(i + 1));
	part->desc_num = le16_make(queue->size);
	part->used_idx = part->old_used_idx = le16_make(queue->last_used);
	part->used_wrap_counter = part->old_used_wrap_counter = queue->used_wrap;
	part->version = le16_make(INFLIGHT_VERSION);
}

/* The last batch: shown, when its first descriptor carries our flags; else it did not happen. */
static void packed_settle(struct vh_queue *queue, struct vhost_user_packed *part)
{
	uint16_t old = vh_load(&part->old_used_idx, __ATOMIC_RELAXED), used_idx, free = 0;

	if (old >= queue->size)
		old = 0;
	if (le16_get(part->used_idx) != le16_get(part->old_used_idx)) {
		uint16_t flags = le16_get(queue->packed[old].flags);
		bool avail = flags & VIRTQ_DESC_AVAIL, used = flags & VIRTQ_DESC_USED;

		if (avail == used && used == (part->old_used_wrap_counter != 0)) {
			part->old_used_idx = part->used_idx;
			part->old_used_wrap_counter = part->used_wrap_counter;
			part->old_free_head = part->free_head;
		} else {
			part->used_idx = part->old_used_idx;
			part->used_wrap_counter = part->old_used_wrap_counter;
			part->free_head = part->old_free_head;
		}
	}
	/* what is in the free list was answered, whatever its entry says */
	for (unsigned i = 0; i < queue->size; i++) {
		uint16_t at = vh_load(i ? &part->desc[free].next : &part->free_head,
				      __ATOMIC_RELAXED);

		if (at >= queue->size)
			break;
		part->desc[at].inflight = 0;
		free = at;
	}
	used_idx = vh_load(&part->used_idx, __ATOMIC_RELAXED);
	if (used_idx < queue->size) {
		queue->last_used = used_idx;
		queue->used_wrap = part->used_wrap_counter != 0;
		queue->signalled = queue->last_used;
	}
}

static int packed_start(struct vh_queue *queue, struct vhost_user_packed *part, struct left *left)
{
	bool fresh = le16_get(part->version) != INFLIGHT_VERSION ||
		     le16_get(part->desc_num) != queue->size;
	unsigned count = 0, descs = 0, at;

	if (fresh)
		packed_reset(queue, part);
	packed_settle(queue, part);
	for (uint16_t i = 0; i < queue->size; i++) {
		const struct vhost_user_inflight_desc_packed *entry = &part->desc[i];

		if (!entry->inflight)
			continue;
		left[count++] = (struct left){ le64_get(entry->counter), i };
		descs += le16_get(entry->num);
	}
	if (!fresh && descs <= queue->size) {
		at = queue->last_used + descs;
		queue->avail_wrap = queue->used_wrap != (at >= queue->size);
		queue->last_avail = (uint16_t)(at >= queue->size ? at - queue->size : at);
	}
	return left_sort(queue, left, count);
}

/* The queue's part of the memory; NULL: it has none. */
static void *queue_part(const struct vh_queue *queue)
{
	const struct vh_session *session = queue->session;
	size_t bytes = part_bytes(session, session->inflight_size);

	/* the format of the rings may be another one than when the memory was set */
	if (!session->inflight.base || queue->index >= session->inflight_queues ||
	    (queue->index + 1) * bytes > session->inflight_bytes)
		return NULL;
	return (char *)session->inflight.at + queue->index * bytes;
}

void vh_inflight_forget(struct vh_queue *queue)
{
	struct vhost_user_split *part = queue_part(queue);

	if (part)
		part->version = le16_make(0);
}

int vh_inflight_start(struct vh_queue *queue)
{
	const struct vh_session *session = queue->session;
	void *part = queue_part(queue);
	struct left *left;
	int rc;

	queue->inflight = NULL;
	queue->again_count = queue->again_next = 0;
	if (!part && session->inflight.base && queue->index < session->inflight_queues)
		return -EINVAL;
	if (!part || queue->size > session->inflight_size)
		return 0;
	left = calloc(queue->size, sizeof(*left));
	if (!left)
		return -ENOMEM;
	queue->inflight = part;
	rc = is_packed(queue) ? packed_start(queue, queue->inflight, left) :
	     split_start(queue, queue->inflight, left);
	free(left);
	return rc;
}

static int packed_again(struct vh_queue *queue, struct vh_req *req, uint16_t first)
{
	struct vhost_user_packed *part = queue->inflight;
	unsigned num = vh_load(&part->desc[first].num, __ATOMIC_RELAXED);
	uint16_t at = first;
	const char *why = num == 0 || num > queue->size ? "an in-flight entry of no sense" : NULL;

	req->inflight = first;
	req->descs = (uint16_t)num;
	for (unsigned i = 0; i < num && !why; i++) {
		const struct vhost_user_inflight_desc_packed *entry = &part->desc[at];
		struct virtq_packed_desc desc = {
			.addr = entry->addr, .len = entry->len, .id = entry->id,
			.flags = entry->flags,
		};

		req->head = le16_get(desc.id);
		why = vh_packed_add(queue, req, &desc);
		at = vh_load(&entry->next, __ATOMIC_RELAXED);
		if (at >= queue->size && i + 1 < num)
			why = "an in-flight entry of no sense";
	}
	if (!why)
		return 1;
	vh_queue_break(queue, why);
	return -EPROTO;
}

int vh_inflight_again(struct vh_queue *queue, struct vh_req *req)
{
	uint16_t entry = queue->again[queue->again_next++];

	if (is_packed(queue))
		return packed_again(queue, req, entry);
	req->head = entry;
	return vh_split_take(queue, req);
}

/* ---- while it runs ---- */

const char *vh_inflight_packed(struct vh_queue *queue, struct vh_req *req,
			       const struct virtq_packed_desc *desc)
{
	struct vhost_user_packed *part = queue->inflight;
	struct vhost_user_inflight_desc_packed *entry;
	uint16_t at;

	if (!part)
		return NULL;
	at = vh_load(&part->free_head, __ATOMIC_RELAXED);
	/* the front end's memory was overwritten */
	if (unlikely(at >= queue->size))
		return "in-flight memory of no sense";
	entry = &part->desc[at];
	if (req->descs == 1)
		req->inflight = at;
	entry->addr = desc->addr;
	entry->len = desc->len;
	entry->id = desc->id;
	entry->flags = desc->flags;
	part->desc[req->inflight].last = le16_make(at);
	part->desc[req->inflight].num = le16_make(req->descs);
	part->free_head = entry->next;
	return NULL;
}

void vh_inflight_taken(struct vh_queue *queue, struct vh_req *req)
{
	if (is_packed(queue)) {
		struct vhost_user_packed *part = queue->inflight;
		struct vhost_user_inflight_desc_packed *entry = &part->desc[req->inflight];

		entry->counter = le64_make(queue->inflight_counter++);
		__atomic_store_n(&entry->inflight, 1, __ATOMIC_RELEASE);
		part->old_free_head = part->free_head;
	} else {
		struct vhost_user_split *part = queue->inflight;
		struct vhost_user_inflight_desc *entry = &part->desc[req->head];

		entry->counter = le64_make(queue->inflight_counter++);
		__atomic_store_n(&entry->inflight, 1, __ATOMIC_RELEASE);
	}
}

/* Before the guest can see it. */
void vh_inflight_pushed(struct vh_queue *queue, struct vh_req *req)
{
	if (is_packed(queue)) {
		struct vhost_user_packed *part = queue->inflight;
		struct vhost_user_inflight_desc_packed *entry = &part->desc[req->inflight];
		uint16_t last = vh_load(&entry->last, __ATOMIC_RELAXED);

		if (last < queue->size)
			part->desc[last].next = part->free_head;
		part->free_head = le16_make(req->inflight);
		part->used_idx = le16_make(queue->last_used);
		part->used_wrap_counter = queue->used_wrap;
	} else {
		struct vhost_user_split *part = queue->inflight;

		part->desc[req->head].next = part->last_batch_head;
		part->last_batch_head = le16_make(req->head);
	}
	queue->batch[queue->pushed] = is_packed(queue) ? req->inflight : req->head;
}

/* After the guest can see it. */
void vh_inflight_published(struct vh_queue *queue)
{
	struct vhost_user_packed *packed = is_packed(queue) ? queue->inflight : NULL;
	struct vhost_user_split *split = queue->inflight;

	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (unsigned i = 0; i < queue->pushed; i++) {
		uint16_t at = queue->batch[i];

		if (packed)
			packed->desc[at].inflight = 0;
		else
			split->desc[at].inflight = 0;
	}
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (packed) {
		packed->old_free_head = packed->free_head;
		packed->old_used_idx = packed->used_idx;
		packed->old_used_wrap_counter = packed->used_wrap_counter;
	} else {
		split->used_idx = le16_make(queue->last_used);
	}
}
