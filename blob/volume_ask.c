/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What io of volumes ask of reactor 0: a cluster for a first write, clusters given back by unmap.
 * The io itself is the message. A task of the volume works on all that have come, first writes up
 * to FILL_MAX clusters at a time: concurrent ones share the writes of metadata. It ends when there
 * is nothing left to do.
 *
 * Answers go back before anything else is waited for, so that a volume that is removed once its
 * last io is answered is not looked at again.
 */
#include <errno.h>
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
	uint64_t c[FILL_MAX];
	int rc[FILL_MAX];
	unsigned count;
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

static int *wish_find(struct wish *w, uint64_t c)
{
	for (unsigned i = 0; i < w->count; i++)
		if (w->c[i] == c)
			return &w->rc[i];
	return NULL;
}

/* All clusters of IO that have none; false: it does not fit any more. */
static bool wish_add(struct wish *w, const struct volume *v, struct io *io)
{
	const struct blob_map *map = v->blob->map;
	uint64_t last = last_cluster(v, io);

	for (uint64_t c = first_cluster(v, io); c <= last && c < map->cluster_count; c++) {
		if (blob_map_get(map, c) || wish_find(w, c))
			continue;
		if (w->count == FILL_MAX)
			return false;
		w->c[w->count++] = c;
	}
	return true;
}

/* The first cluster decides: the io goes on from there, and asks again for what it then lacks. */
static int wish_result(struct wish *w, const struct volume *v, struct io *io)
{
	const int *rc = wish_find(w, first_cluster(v, io));

	return rc ? *rc : 0;
}

static void fill_some(struct volume *v)
{
	struct wish w = { .count = 0 };
	struct list taken = LIST_INIT(taken);
	struct io *io;

	while ((io = list_first_entry(&v->asks, struct io, link))) {
		if (io->op == IO_UNMAP)
			break;
		if (!wish_add(&w, v, io) && !list_empty(&taken))
			break;
		list_del(&io->link);
		list_push(&taken, &io->link);
	}
	if (w.count > 0)
		blob_fill(v->blob, w.c, w.count, w.rc);
	while ((io = list_pop_entry(&taken, struct io, link)))
		answer(io, wish_result(&w, v, io));
}

/* ---- unmap ---- */

static void release_one(struct volume *v)
{
	struct io *io = list_pop_entry(&v->asks, struct io, link);
	uint64_t first = div_round_up(io->lba, v->cluster_blocks);
	uint64_t end = (io->lba + io->lba_count) / v->cluster_blocks;
	struct blob *b = v->blob;
	int rc = 0;

	/* A snapshot may have been taken meanwhile: then what is beneath must stay covered. */
	if (first < end && blob_is_thin(b) && !b->parent &&
	    !(b->invalid_flags & BS_EXTERNAL_SNAPSHOT))
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
