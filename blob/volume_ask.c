/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What io of volumes ask of reactor 0: a cluster for a first write, clusters given back by unmap.
 * The io itself is the message. A task of the volume works on all that have come, first writes up
 * to FILL_MAX clusters at a time: concurrent ones share the writes of metadata, and the first to
 * want a cluster has its data written with it. It ends when there is nothing left to do.
 *
 * Answers go back before anything else is waited for, so that a volume that is removed once its
 * last io is answered is not looked at again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/serve.h"
#include "core/base/log.h"

static void answer(struct io *io, int rc)
{
	struct part *p = part_of(io);

	p->answer = (uint8_t)io_status_from_errno(rc, io->op == IO_UNMAP ? IO_UNMAP : IO_WRITE);
	reactor_send(reactor_at(io->chan->reactor), &p->msg, volume_io_answered);
}

static void answer_all(struct volume *v, int rc)
{
	struct io *io;

	while ((io = list_pop_entry(&v->asks, struct io, link)))
		answer(io, rc);
}

/* ---- first writes ---- */

struct wish {
	unsigned count;
	uint64_t c[FILL_MAX];
	int rc[FILL_MAX];
	/* what the first io that wants it writes there, when it may be written at once */
	struct cluster_data data[FILL_MAX];
	const struct io *writer[FILL_MAX];
	struct iovec iov[FILL_MAX][LANE_IOV];
};

/* Cluster of the io's next block, and that of its last. */
static uint64_t first_cluster(const struct volume *v, struct io *io)
{
	return (io->lba + part_of(io)->issued) / v->cluster_blocks;
}

static uint64_t last_cluster(const struct volume *v, const struct io *io)
{
	return (io->lba + io->lba_count - 1) / v->cluster_blocks;
}

/* Its place in the wish; -1. */
static int wish_find(const struct wish *w, uint64_t c)
{
	for (unsigned i = 0; i < w->count; i++)
		if (w->c[i] == c)
			return (int)i;
	return -1;
}

/* C, with what IO writes there, when that comes next after what P has taken care of. */
static void wish_put(struct wish *w, const struct volume *v, const struct io *io, struct part *p,
		     uint64_t c)
{
	uint64_t begin = MAX(io->lba, c * v->cluster_blocks);
	uint64_t end = MIN(io->lba + io->lba_count, (c + 1) * v->cluster_blocks);
	uint32_t blocks = (uint32_t)(end - begin);
	unsigned i = w->count++;

	w->c[i] = c;
	w->data[i] = (struct cluster_data){ .iov = w->iov[i] };
	if (io->op != IO_WRITE || begin != io->lba + p->issued)
		return;
	w->writer[i] = io;
	w->data[i].at = (uint32_t)(begin % v->cluster_blocks) << v->ratio_shift;
	w->data[i].count = blocks << v->ratio_shift;
	w->data[i].iov_count = (uint16_t)part_slice(io, p, (uint64_t)blocks << v->bdev.block_shift,
						    w->iov[i]);
	p->issued += blocks;
}

/* All clusters of IO that have none; false: it does not fit any more. */
static bool wish_add(struct wish *w, const struct volume *v, struct io *io)
{
	const struct blob_map *map = v->blob->map;
	uint64_t last = last_cluster(v, io);
	struct part p = *part_of(io);

	for (uint64_t c = first_cluster(v, io); c <= last && c < map->cluster_count; c++) {
		if (blob_map_get(map, c) || wish_find(w, c) >= 0)
			continue;
		if (w->count == FILL_MAX)
			return false;
		wish_put(w, v, io, &p, c);
	}
	return true;
}

/* The first cluster decides: the io goes on from there, and asks again for what it then lacks. */
static int wish_result(struct wish *w, const struct volume *v, struct io *io)
{
	int i = wish_find(w, first_cluster(v, io)), rc = i < 0 ? 0 : w->rc[i];
	struct part *p = part_of(io);

	/* What came to the disk with its cluster is done. */
	while (i >= 0 && w->rc[i] == 0 && w->data[i].iov_count > 0 && w->writer[i] == io) {
		uint32_t blocks = w->data[i].count >> v->ratio_shift;

		part_slice(io, p, (uint64_t)blocks << v->bdev.block_shift, w->iov[i]);
		p->issued += blocks;
		i = p->issued < io->lba_count ? wish_find(w, first_cluster(v, io)) : -1;
	}
	return rc;
}

static void fill_some(struct volume *v)
{
	struct wish *w = malloc(sizeof(*w));
	struct list taken = LIST_INIT(taken);
	struct io *io;

	if (!w) {
		answer_all(v, -ENOMEM);
		return;
	}
	w->count = 0;
	while ((io = list_first_entry(&v->asks, struct io, link))) {
		if (io->op == IO_UNMAP)
			break;
		if (!wish_add(w, v, io) && !list_empty(&taken))
			break;
		list_del(&io->link);
		list_push(&taken, &io->link);
	}
	if (w->count > 0)
		blob_fill(v->blob, w->c, w->data, w->count, w->rc);
	while ((io = list_pop_entry(&taken, struct io, link)))
		answer(io, wish_result(w, v, io));
	free(w);
}

/* ---- unmap ---- */

static void release_one(struct volume *v)
{
	struct io *io = list_pop_entry(&v->asks, struct io, link);
	uint64_t first = div_round_up(io->lba, v->cluster_blocks);
	uint64_t end = (io->lba + io->lba_count) / v->cluster_blocks;
	struct blob *b = v->blob;
	int rc = 0;

	if (first < end && blob_is_thin(b))
		rc = blob_release(b, first, end - 1);
	answer(io, rc);
}

/* ---- the task ---- */

static void answering_task(void *arg)
{
	struct volume *v = arg;
	struct store *s = v->blob->store;
	int rc;

	while (!list_empty(&v->asks)) {
		const struct io *io;

		rc = store_enter(s, NULL);
		if (rc < 0) {
			answer_all(v, rc);
			break;
		}
		task_lock(&v->blob->lock);
		io = list_first_entry(&v->asks, struct io, link);
		if (io->op == IO_UNMAP)
			release_one(v);
		else
			fill_some(v);
		task_unlock(&v->blob->lock);
		store_leave(s);
	}
	v->answering = false;
}

static void ask_arrived(struct msg *msg)
{
	struct io *io = part_io(msg);
	struct volume *v = volume_of(io);

	list_push(&v->asks, &io->link);
	if (v->answering)
		return;
	v->answering = task_start("volume", answering_task, v) != NULL;
	if (!v->answering) {
		log_warn("volume %s: no memory for a task", v->bdev.name);
		answer_all(v, -ENOMEM);
	}
}

void volume_ask(struct io *io)
{
	reactor_send(reactor_at(0), &part_of(io)->msg, ask_arrived);
}
