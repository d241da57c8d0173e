/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All stores that are loaded, who is inside each, and what happens when a disk goes away.
 *
 * Nobody frees a store in which somebody is: unload takes it alone; when the disk goes, a task
 * waits until all have left (their I/O ends with errors) and frees it. Exactly one of the two
 * frees: a store whose state is STORE_GONE belongs to that task.
 */
#include "blob/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include "blob/md.h"
#include "blob/volume.h"
#include "core/base/log.h"
#include "core/base/panic.h"

static struct list stores = LIST_INIT(stores);

struct store *store_next(const struct store *prev)
{
	const struct list *next = prev ? prev->link.next : stores.next;

	return next == &stores ? NULL : list_entry(next, struct store, link);
}

struct store *store_find(const char *name)
{
	struct store *s;

	list_for_each(s, &stores, link)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

struct store *store_of_disk(const char *disk)
{
	struct store *s;

	list_for_each(s, &stores, link)
		if (strcmp(store_disk(s), disk) == 0)
			return s;
	return NULL;
}

/* ---- inside ---- */

static int gone(struct store *s, struct why *why)
{
	return why_fail(why, -ENODEV, "store %s: its disk is gone; attach it again", s->name);
}

static void left_wait(struct store *s)
{
	s->waiting++;
	event_clear(&s->left);
	task_wait(&s->left);
	s->waiting--;
	if (s->state == STORE_GONE)
		event_signal(&s->left);
}

int store_enter(struct store *s, struct why *why)
{
	while (s->alone && s->state != STORE_GONE)
		left_wait(s);
	if (s->state == STORE_GONE)
		return gone(s, why);
	if (s->failed)
		return why_fail(why, -EROFS, "store %s: read-only since a write of metadata failed;"
				" unload and load it again", s->name);
	s->inside++;
	return 0;
}

void store_leave(struct store *s)
{
	ASSERT(s->inside > 0);
	s->inside--;
	event_signal(&s->left);
}

int store_enter_alone(struct store *s, struct why *why)
{
	while (s->alone && s->state != STORE_GONE)
		left_wait(s);
	if (s->state == STORE_GONE)
		return gone(s, why);
	s->alone = true;
	while (s->inside > 0)
		left_wait(s);
	if (s->state != STORE_GONE)
		return 0;
	store_leave_alone(s);
	return gone(s, why);
}

void store_leave_alone(struct store *s)
{
	ASSERT(s->alone && s->inside == 0);
	s->alone = false;
	event_signal(&s->left);
}

/* ---- life ---- */

static void gone_task(void *arg)
{
	struct store *s = arg;

	volumes_stop(s, NULL);
	while (s->alone || s->inside > 0) {
		event_clear(&s->left);
		task_wait(&s->left);
	}
	store_end(s);
}

static void disk_event(struct bdev_user *user, enum bdev_event event)
{
	struct store *s = container_of(user, struct store, disk);

	if (event == BDEV_RESIZED) {
		log_info("store %s: disk %s is now %" PRIu64 " bytes; store grow takes it in",
			 s->name, store_disk(s),
			 user->bdev->block_count * user->bdev->block_bytes);
		return;
	}
	if (event != BDEV_REMOVED || s->state == STORE_GONE)
		return;
	log_warn("store %s: disk %s is gone, and its volumes with it", s->name, store_disk(s));
	event_signal(&s->left);
	if (s->state == STORE_LOADED && !task_start("store gone", gone_task, s))
		panic("store %s: no memory for a task", s->name);
	s->state = STORE_GONE;
}

int store_make(const char *disk, bool write, struct store **out, struct why *why)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return why_fail(why, -ENOMEM, "disk %s: not enough memory", disk);
	list_init(&s->link);
	list_init(&s->blobs);
	event_init(&s->left);
	task_lock_init(&s->write_lock);
	task_lock_init(&s->flush_lock);
	snprintf(s->name, sizeof(s->name), "%s", disk);
	s->super_page = calloc(1, MD_PAGE_BYTES);
	s->disk = (struct bdev_user){ .event = disk_event, .write = write, .exclusive = write };
	snprintf(s->disk.who, sizeof(s->disk.who), "store on %s", disk);
	rc = s->super_page ? bdev_open(disk, &s->disk) : -ENOMEM;
	if (rc < 0) {
		free(s->super_page);
		free(s);
		if (rc == -EBUSY)
			return why_fail(why, rc, "disk %s: in use; disk show %s says by whom", disk,
					disk);
		return why_fail(why, rc, "disk %s: %s", disk,
				rc == -ENOENT ? "there is none; disk list shows them"
					      : strerror(-rc));
	}
	s->block_shift = s->disk.bdev->block_shift;
	s->tears = (uint64_t)MAX(s->disk.bdev->atomic_blocks, 1u) << s->block_shift < MD_PAGE_BYTES;
	*out = s;
	return 0;
}

void store_publish(struct store *s)
{
	s->state = STORE_LOADED;
	list_push(&stores, &s->link);
}

void store_end(struct store *s)
{
	s->state = STORE_GONE;
	event_signal(&s->left);
	while (s->waiting > 0) {
		event_clear(&s->left);
		task_wait(&s->left);
	}
	store_destroy(s);
}

void store_destroy(struct store *s)
{
	struct blob *b;

	list_del(&s->link);
	list_for_each(b, &s->blobs, link)
		blob_parent_set(b, NULL);
	while ((b = list_first_entry(&s->blobs, struct blob, link)))
		blob_free(b);
	bdev_close(&s->disk);
	bits_fini(&s->pages);
	bits_fini(&s->clusters);
	bits_fini(&s->cover);
	free(s->hash);
	free(s->super_page);
	free(s);
}

void store_figures(const struct store *s, struct store_figures *out)
{
	const struct blob *b;

	*out = s->figures;
	out->cluster_bytes = s->super.cluster_bytes;
	out->clusters = s->clusters.count;
	out->clusters_free = bits_free(&s->clusters);
	out->pages = s->pages.count;
	out->pages_free = bits_free(&s->pages);
	out->blobs = s->blob_count;
	out->damaged = 0;
	list_for_each(b, &s->blobs, link)
		out->damaged += b->damage != NULL;
}
