/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Views, and the lanes that tell when an old one is no longer used. The drain is RCU whose readers
 * are io on their way to the disk: each reactor flips its epoch and answers when the last io of the
 * old one has come back. New io are not held up.
 */
#include "blob/view.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/panic.h"

/* ---- lanes ---- */

struct lanes_call {
	struct store *store;
	bool failed[REACTOR_MAX];
};

static void lane_open_task(void *arg)
{
	struct lanes_call *call = arg;
	unsigned self = reactor_index();
	struct lane *lane = calloc(1, sizeof(*lane));

	call->failed[self] = !lane;
	if (!lane)
		return;
	lane->disk = bdev_chan(call->store->disk.bdev);
	list_init(&lane->free);
	list_init(&lane->starved);
	event_init(&lane->drained);
	for (unsigned i = 0; i < LANE_IOS; i++)
		list_push(&lane->free, &lane->slot[i].io.link);
	call->store->lanes[self] = lane;
}

static void lane_close_task(void *arg)
{
	struct store *s = arg;
	struct lane *lane = lane_self(s);

	ASSERT(!lane || (lane->inflight[0] == 0 && lane->inflight[1] == 0));
	s->lanes[reactor_index()] = NULL;
	free(lane);
}

int lanes_start(struct store *s)
{
	struct lanes_call call = { .store = s };
	struct blob *b;
	int rc = 0;

	s->lanes = calloc(reactor_count(), sizeof(struct lane *));
	if (!s->lanes)
		return -ENOMEM;
	task_lock_init(&s->drain_lock);
	task_call_all(lane_open_task, &call);
	for (unsigned i = 0; i < reactor_count(); i++)
		if (call.failed[i])
			rc = -ENOMEM;
	for (b = blob_next(s, NULL); rc == 0 && b; b = blob_next(s, b))
		if (!b->damage)
			rc = blob_view_make(b, &b->view);
	if (rc < 0)
		lanes_stop(s);
	return rc;
}

void lanes_stop(struct store *s)
{
	struct blob *b;

	if (!s->lanes)
		return;
	for (b = blob_next(s, NULL); b; b = blob_next(s, b))
		blob_view_free(blob_view_swap(b, NULL));
	task_call_all(lane_close_task, s);
	free(s->lanes);
	s->lanes = NULL;
}

static void drain_task(void *arg)
{
	struct lane *lane = lane_self(arg);
	unsigned old = lane->epoch;

	lane->epoch ^= 1;
	while (lane->inflight[old] > 0) {
		event_clear(&lane->drained);
		task_wait(&lane->drained);
	}
}

void blob_drain(struct store *s)
{
	if (!s->lanes)
		return;
	task_lock(&s->drain_lock);
	task_call_all(drain_task, s);
	task_unlock(&s->drain_lock);
}

/* ---- views ---- */

int blob_view_make(const struct blob *b, struct blob_view **out)
{
	struct blob_view *view;

	*out = NULL;
	if (!b->store->lanes)
		return 0;
	view = calloc(1, sizeof(*view));
	if (!view)
		return -ENOMEM;
	view->map = blob_map_resized(b->map, b->map->cluster_count);
	if (!view->map) {
		free(view);
		return -ENOMEM;
	}
	view->parent = b->parent;
	view->has_external = b->invalid_flags & BS_EXTERNAL_SNAPSHOT;
	view->external = b->external;
	view->thin = blob_is_thin(b);
	*out = view;
	return 0;
}

struct blob_view *blob_view_swap(struct blob *b, struct blob_view *view)
{
	struct blob_view *old = b->view;

	/* The disk beneath may have come or gone since VIEW was made. */
	if (view)
		view->external = b->external;
	__atomic_store_n(&b->view, view, __ATOMIC_RELEASE);
	return old;
}

void blob_view_free(struct blob_view *view)
{
	if (!view)
		return;
	blob_map_free_shell(view->map);
	free(view);
}

int blob_publish(struct blob *b)
{
	struct blob_view *view;
	int rc = blob_view_make(b, &view);

	if (rc < 0)
		return rc;
	view = blob_view_swap(b, view);
	blob_drain(b->store);
	blob_view_free(view);
	return 0;
}

struct place blob_view_beneath(const struct blob_view *view, uint64_t c)
{
	struct bdev *external;

	while (view->parent) {
		uint32_t cluster;

		view = blob_view(view->parent);
		if (!view)
			return (struct place){ .kind = PLACE_ABSENT };
		if (c >= view->map->cluster_count)
			return (struct place){ .kind = PLACE_NOWHERE };
		cluster = blob_map_get(view->map, c);
		if (cluster)
			return (struct place){ .kind = PLACE_DISK, .cluster = cluster };
	}
	external = __atomic_load_n(&view->external, __ATOMIC_ACQUIRE);
	if (external)
		return (struct place){ .kind = PLACE_EXTERNAL, .external = external };
	return (struct place){ .kind = view->has_external ? PLACE_ABSENT : PLACE_NOWHERE };
}

struct place blob_beneath(const struct blob *b, uint64_t c)
{
	while (b->parent) {
		uint32_t cluster;

		b = b->parent;
		if (c >= b->map->cluster_count)
			return (struct place){ .kind = PLACE_NOWHERE };
		cluster = blob_map_get(b->map, c);
		if (cluster)
			return (struct place){ .kind = PLACE_DISK, .cluster = cluster };
	}
	if (b->external)
		return (struct place){ .kind = PLACE_EXTERNAL, .external = b->external };
	return (struct place){ .kind = b->invalid_flags & BS_EXTERNAL_SNAPSHOT ? PLACE_ABSENT :
									       PLACE_NOWHERE };
}
