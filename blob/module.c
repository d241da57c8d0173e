/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which stores are up: those on drives are loaded when the drive is found, at boot or later, and
 * unloaded at the end. The store of a volume or of a remote disk is somebody else's as likely as
 * ours: it is loaded when a command says so, and from then on whenever its disk comes ("wanted").
 *
 * An arrival of a disk must not wait, so that each disk that may hold a store has a task of its
 * own; `store load` and boot wait for those.
 */
#include "blob/module.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/cmd.h"
#include "core/base/log.h"
#include "core/bdev.h"
#include "core/reactor.h"

enum {
	/* boot goes on without stores that take longer; namespaces wait for them */
	BOOT_WAIT_US = 10 * 1000 * 1000,
	GONE_POLL_US = 20 * 1000,
	GONE_WAIT_US = 60 * 1000 * 1000,
};

/* A disk that is being looked at. */
struct arrival {
	struct list link;
	char disk[BDEV_NAME_BYTES];
	struct event done;
	unsigned waiters;
	bool ended;
};

struct wanted {
	struct list link;
	char disk[BDEV_NAME_BYTES];     /* as the command named it: may be serial:… */
};

static void disk_arrived(struct bdev_watch *watch, const struct bdev *bdev);

static struct bdev_watch watch = { .arrived = disk_arrived };
static struct list arrivals = LIST_INIT(arrivals), wanted = LIST_INIT(wanted);

/* ---- wanted ---- */

/* Two names of one disk: then one of them is by serial number. */
static bool is_same_disk(const char *a, const char *b)
{
	const struct bdev *bdev;

	if (strncmp(a, "serial:", 7) != 0 && strncmp(b, "serial:", 7) != 0)
		return false;
	bdev = bdev_find(a);
	return bdev && bdev == bdev_find(b);
}

static struct wanted *wanted_find(const char *disk)
{
	struct wanted *w;

	list_for_each(w, &wanted, link)
		if (strcmp(w->disk, disk) == 0 || is_same_disk(w->disk, disk))
			return w;
	return NULL;
}

int blob_want(const char *disk)
{
	struct wanted *w;

	if (wanted_find(disk))
		return 0;
	if (strlen(disk) >= sizeof(w->disk))
		return -ENAMETOOLONG;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	snprintf(w->disk, sizeof(w->disk), "%s", disk);
	list_push(&wanted, &w->link);
	return 0;
}

void blob_unwant(const char *disk)
{
	struct wanted *w = wanted_find(disk);

	if (w)
		list_del(&w->link);
	free(w);
}

/* ---- up and down ---- */

int blob_store_start(const char *disk, struct store **out, struct why *why)
{
	struct why ignored;
	int rc = store_load(disk, out, why);

	if (rc)
		return rc;
	rc = volumes_start(*out, why);
	if (rc && store_unload(*out, &ignored) != 0)
		log_error("%s", ignored.text);
	return rc;
}

int blob_store_stop(struct store *s, struct why *why)
{
	int rc = volumes_stop(s, why);

	if (rc)
		return rc;
	rc = store_unload(s, why);
	if (rc)
		volumes_start(s, NULL);
	return rc;
}

/* ---- arrivals ---- */

static void arrival_put(struct arrival *a)
{
	if (!a->ended || a->waiters > 0)
		return;
	list_del(&a->link);
	free(a);
}

/* A drive that was pulled and comes back: the store of its former life has to end first. */
static int start_again(const char *disk, struct store **out, struct why *why)
{
	uint64_t waited_us = 0;
	int rc;

	for (;;) {
		const struct store *s = store_next(NULL);

		rc = blob_store_start(disk, out, why);
		if (rc != -EEXIST || waited_us >= GONE_WAIT_US)
			return rc;
		while (s && s->state != STORE_GONE)
			s = store_next(s);
		if (!s)
			return rc;
		task_sleep(GONE_POLL_US);
		waited_us += GONE_POLL_US;
	}
}

static void arrival_task(void *arg)
{
	struct arrival *a = arg;
	struct super super;
	struct store *s;
	struct why why = { "" };
	int rc = store_probe(a->disk, &super, &why);

	if (rc == 1 && strncmp(super.type, BS_TYPE_LVOL, BS_TYPE_BYTES) != 0) {
		log_info("disk %s: holds a blobstore of type %.16s, which is not one of volumes",
			 a->disk, super.type);
	} else if (rc == 1) {
		rc = start_again(a->disk, &s, &why);
		if (rc)
			log_error("disk %s: its store was not loaded: %s", a->disk, why.text);
	} else if (rc < 0 && rc != -EBUSY) {
		log_warn("disk %s: not looked at for a store: %s", a->disk,
			 why.text[0] ? why.text : strerror(-rc));
	}
	a->ended = true;
	event_signal(&a->done);
	arrival_put(a);
}

static bool is_ours(const struct bdev *bdev)
{
	return wanted_find(bdev->name) ||
	       (!strchr(bdev->name, '/') && strcmp(bdev->driver, "remote") != 0);
}

static void disk_arrived(struct bdev_watch *self, const struct bdev *bdev)
{
	struct arrival *a;

	if (!is_ours(bdev))
		return;
	a = calloc(1, sizeof(*a));
	if (!a) {
		log_error("disk %s: no memory to look for a store", bdev->name);
		return;
	}
	snprintf(a->disk, sizeof(a->disk), "%s", bdev->name);
	event_init(&a->done);
	list_push(&arrivals, &a->link);
	if (task_start("store", arrival_task, a))
		return;
	log_error("disk %s: no memory to look for a store", bdev->name);
	list_del(&a->link);
	free(a);
}

static struct arrival *arrival_find(const struct bdev *bdev)
{
	struct arrival *a;

	list_for_each(a, &arrivals, link)
		if (!a->ended && (!bdev || bdev_find(a->disk) == bdev))
			return a;
	return NULL;
}

/* Of all disks when BDEV is NULL. -ETIMEDOUT; US 0: no limit. */
static int arrivals_wait(const struct bdev *bdev, uint64_t us)
{
	uint64_t end_us = reactor_now_us() + us;
	struct arrival *a;
	int rc = 0;

	while (rc == 0 && (a = arrival_find(bdev))) {
		uint64_t now_us = reactor_now_us();

		a->waiters++;
		if (us == 0)
			task_wait(&a->done);
		else
			rc = now_us >= end_us ? -ETIMEDOUT :
				task_wait_timeout(&a->done, end_us - now_us);
		a->waiters--;
		arrival_put(a);
	}
	return rc;
}

void blob_settled(const char *disk)
{
	const struct bdev *bdev = bdev_find(disk);

	if (bdev)
		arrivals_wait(bdev, 0);
}

/* ---- the module ---- */

int blob_init(void)
{
	bdev_watch_start(&watch);
	for (const struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev))
		disk_arrived(&watch, bdev);
	if (arrivals_wait(NULL, BOOT_WAIT_US))
		log_warn("stores: still being loaded; boot goes on without them");
	return 0;
}

/* The last one that can be: a store on a volume ends before the one below it. */
static bool stop_one(void)
{
	struct store *last = NULL;
	struct why why = { "" };

	for (struct store *s = store_next(NULL); s; s = store_next(s))
		last = s;
	if (!last)
		return false;
	if (blob_store_stop(last, &why) == 0)
		return true;
	log_error("%s; it will be recovered at the next load", why.text);
	return false;
}

void blob_fini(void)
{
	struct wanted *w;

	bdev_watch_stop(&watch);
	arrivals_wait(NULL, 0);
	while (stop_one())
		;
	while ((w = list_pop_entry(&wanted, struct wanted, link)))
		free(w);
}

void blob_config(struct config_out *out)
{
	char quoted[2 * BDEV_NAME_BYTES + 3];
	const struct wanted *w;

	for (const struct store *s = store_next(NULL); s; s = store_next(s)) {
		if (s->state == STORE_LOADED && !wanted_find(store_disk(s)))
			config_line(out, "store load disk=%s",
				    cmd_quote(store_disk(s), quoted, sizeof(quoted)));
	}
	list_for_each(w, &wanted, link)
		config_line(out, "store load disk=%s", cmd_quote(w->disk, quoted, sizeof(quoted)));
	for (const struct store *s = store_next(NULL); s; s = store_next(s)) {
		if (s->state == STORE_LOADED)
			config_line(out, "store set %s warn=%u critical=%u", s->name,
				    s->warn_percent[0], s->warn_percent[1]);
	}
}
