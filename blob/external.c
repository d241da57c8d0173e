/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks beneath volumes: external snapshots. A blob names one by its uuid (as SPDK does) or by its
 * name. Each is opened once for a store, for reading; it may come after the store and go before it:
 * meanwhile what would be read from it ends with IO_ERR_GONE.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/serve.h"
#include "core/base/log.h"
#include "core/base/panic.h"

struct external {
	struct bdev_user user;
	struct store *store;
	struct list link;
	bool going;
};

static struct list externals = LIST_INIT(externals);
static struct bdev_watch watch;
static unsigned watching;

/* What B wants beneath it; "" when nothing. */
static const char *external_id(const struct blob *b)
{
	const struct blob_xattr *x = blob_xattr_find(b, true, BS_XATTR_EXTERNAL);

	if (!x || !(b->invalid_flags & BS_EXTERNAL_SNAPSHOT) || x->value_len == 0 ||
	    x->value[x->value_len - 1] != '\0')
		return "";
	return (const char *)x->value;
}

static bool is_named(const struct bdev *bdev, const char *id)
{
	struct uuid uuid;

	return strcmp(bdev->name, id) == 0 ||
	       (uuid_parse(id, &uuid) == 0 && uuid_equal(&uuid, &bdev->uuid));
}

static struct bdev *external_find(const char *id)
{
	for (struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev))
		if (is_named(bdev, id))
			return bdev;
	return NULL;
}

/* ---- it goes ---- */

/* Readers and copies find it no more. */
static void external_leave(struct external *x)
{
	struct store *s = x->store;

	for (struct blob *b = blob_next(s, NULL); b; b = blob_next(s, b)) {
		if (b->external != x->user.bdev)
			continue;
		b->external = NULL;
		if (b->view)
			__atomic_store_n(&b->view->external, NULL, __ATOMIC_RELEASE);
	}
	blob_drain(s);
	while (s->external_copies > 0) {
		event_clear(&s->external_idle);
		task_wait(&s->external_idle);
	}
	list_del(&x->link);
	bdev_close(&x->user);
	free(x);
	event_signal(&s->external_idle);
}

static void gone_task(void *arg)
{
	external_leave(arg);
}

static void external_event(struct bdev_user *user, enum bdev_event event)
{
	struct external *x = container_of(user, struct external, user);

	if (event != BDEV_REMOVED || x->going)
		return;
	log_warn("store %s: disk %s, which lies beneath volumes, is gone", x->store->name,
		 user->bdev->name);
	x->going = true;
	if (!task_start("external gone", gone_task, x))
		panic("store %s: no memory for a task", x->store->name);
}

/* ---- it comes ---- */

static struct external *external_open(struct store *s, struct bdev *bdev)
{
	struct external *x;
	int rc;

	list_for_each(x, &externals, link)
		if (x->store == s && x->user.bdev == bdev && !x->going)
			return x;
	if (bdev->block_shift > log2_floor(s->super.block_bytes)) {
		log_warn("store %s: disk %s has larger blocks than the store: cannot be beneath a "
			 "volume", s->name, bdev->name);
		return NULL;
	}
	x = calloc(1, sizeof(*x));
	if (!x)
		return NULL;
	x->store = s;
	x->user.event = external_event;
	snprintf(x->user.who, sizeof(x->user.who), "store %.40s beneath", s->name);
	list_init(&x->link);
	rc = bdev_open(bdev->name, &x->user);
	if (rc < 0) {
		log_warn("store %s: disk %s, beneath volumes: %s", s->name, bdev->name,
			 strerror(-rc));
		free(x);
		return NULL;
	}
	list_push(&externals, &x->link);
	return x;
}

void external_connect(struct blob *b)
{
	const char *id = external_id(b);
	struct bdev *bdev = id[0] && b->store->lanes ? external_find(id) : NULL;

	if (!bdev || b->external || bdev->removing || !external_open(b->store, bdev))
		return;
	b->external = bdev;
	if (b->view)
		__atomic_store_n(&b->view->external, bdev, __ATOMIC_RELEASE);
}

static void arrived(struct bdev_watch *w, const struct bdev *bdev)
{
	for (struct store *s = store_next(NULL); s; s = store_next(s))
		for (struct blob *b = blob_next(s, NULL); b && !s->serving; b = blob_next(s, b))
			if (s->lanes && !b->external && is_named(bdev, external_id(b)))
				external_connect(b);
}

void externals_start(struct store *s)
{
	event_init(&s->external_idle);
	if (watching++ == 0) {
		watch = (struct bdev_watch){ .arrived = arrived };
		bdev_watch_start(&watch);
	}
	for (struct blob *b = blob_next(s, NULL); b; b = blob_next(s, b))
		external_connect(b);
}

static struct external *external_of(const struct store *s)
{
	struct external *x;

	list_for_each(x, &externals, link)
		if (x->store == s)
			return x;
	return NULL;
}

static bool is_needed(const struct external *x)
{
	const struct store *s = x->store;

	for (const struct blob *b = blob_next(s, NULL); b; b = blob_next(s, b))
		if (b->external == x->user.bdev)
			return true;
	return false;
}

void externals_release(struct store *s)
{
	struct external *x, *tmp;
	bool again = true;

	/* The list may change while one is waited for. */
	while (again) {
		again = false;
		list_for_each_safe(x, tmp, &externals, link) {
			if (x->store != s || x->going || is_needed(x))
				continue;
			x->going = again = true;
			external_leave(x);
			break;
		}
	}
}

void externals_stop(struct store *s)
{
	struct external *x, *tmp;

	if (--watching == 0)
		bdev_watch_stop(&watch);
	list_for_each_safe(x, tmp, &externals, link)
		if (x->store == s && !x->going)
			external_leave(x);
	/* Those that go by themselves need the store until they have gone. */
	while (external_of(s)) {
		event_clear(&s->external_idle);
		task_wait(&s->external_idle);
	}
}
