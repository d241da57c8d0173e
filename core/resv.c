/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reservation states of all disks, and how a change of one comes into force: kept (when it
 * persists), published, waited for, told. Reactor 0; the data path only sees bdev->resv.
 *
 * bdev->resv is NULL while nobody holds a reservation, however many hosts are registered: then
 * everybody may do everything. A state is never changed after publication, and freed a barrier
 * after another has taken its place.
 */
#include "core/resv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/resv_impl.h"
#include "core/task.h"

/* A disk that has, or had, registrants. */
struct resv_disk {
	struct list link;
	struct resv_state *state;
};

static struct list disks = LIST_INIT(disks), watches = LIST_INIT(watches);
static const struct resv_store *store;
static struct task_lock changing = { .waiters = LIST_INIT(changing.waiters) };

/* ---- hosts ---- */

void resv_host_set(struct resv_host *host, enum resv_host_kind kind, const void *id, size_t len)
{
	ASSERT(len > 0 && len <= RESV_ID_BYTES);
	memset(host, 0, sizeof(*host));
	host->kind = (uint8_t)kind;
	host->len = (uint8_t)len;
	memcpy(host->id, id, len);
	/* FNV-1a */
	host->hash = 0xcbf29ce484222325 ^ kind;
	for (size_t i = 0; i < len; i++)
		host->hash = (host->hash ^ host->id[i]) * 0x100000001b3;
	host->hash ^= host->hash >> 32;
}

bool resv_host_equal(const struct resv_host *a, const struct resv_host *b)
{
	return a->hash == b->hash && a->kind == b->kind && a->len == b->len &&
	       memcmp(a->id, b->id, a->len) == 0;
}

/* ---- the data path ---- */

bool resv_state_allows(const struct resv_state *state, const struct resv_host *host,
		       unsigned access)
{
	int index;

	if ((state->everybody & access) == access)
		return true;
	index = resv_registrant(state, host);
	if (index < 0)
		return false;
	return (state->registrants & access) == access || resv_is_holder(state, index);
}

/* ---- looking at it ---- */

static struct resv_disk *disk_find(const struct uuid *uuid)
{
	struct resv_disk *disk;

	list_for_each(disk, &disks, link)
		if (uuid_equal(&disk->state->disk, uuid))
			return disk;
	return NULL;
}

const struct resv_state *resv_find(const struct uuid *disk)
{
	const struct resv_disk *found = disk_find(disk);

	return found ? found->state : NULL;
}

const struct resv_state *resv_next(const struct resv_state *prev)
{
	struct list *link = prev ? disk_find(&prev->disk)->link.next : disks.next;

	return link == &disks ? NULL : list_entry(link, struct resv_disk, link)->state;
}

bool resv_ptpl_offered(void)
{
	return store;
}

/* ---- keeping ---- */

/* All that persists, with NEXT in the place of its disk's state. */
static int states_keep(const struct resv_state *next)
{
	const struct resv_state **list;
	struct resv_disk *disk;
	unsigned count = 0;
	char *text;
	int rc;

	list_for_each(disk, &disks, link)
		count++;
	list = calloc(count, sizeof(const struct resv_state *));
	if (!list)
		return -ENOMEM;
	count = 0;
	list_for_each(disk, &disks, link)
		list[count++] = uuid_equal(&disk->state->disk, &next->disk) ? next : disk->state;
	text = resv_keep_format(list, count);
	free(list);
	if (!text)
		return -ENOMEM;
	rc = store->save(text);
	free(text);
	if (rc)
		log_error("reservations: cannot be kept: %s", strerror(-rc));
	return rc;
}

/* ---- changing ---- */

static void state_publish(const struct resv_state *state)
{
	const struct resv_state *held = state->type != RESV_NONE ? state : NULL;

	for (struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev))
		if (uuid_equal(&bdev->uuid, &state->disk))
			__atomic_store_n(&bdev->resv, held, __ATOMIC_RELEASE);
}

void resv_attach(struct bdev *bdev)
{
	const struct resv_state *state = resv_find(&bdev->uuid);

	bdev->resv = state && state->type != RESV_NONE ? state : NULL;
}

static void change_tell(const struct resv_state *old, const struct resv_change *change)
{
	struct resv_watch *watch;

	for (unsigned i = 0; i < old->count; i++) {
		if (change->event[i] == RESV_EVENT_NONE)
			continue;
		list_for_each(watch, &watches, link)
			watch->event(watch, &old->disk, &old->reg[i].host,
				     (enum resv_event)change->event[i]);
	}
}

static void change_abort(const struct resv_state *old, const struct resv_change *change)
{
	const struct resv_host *hosts[RESV_REGISTRANTS_MAX];
	struct resv_watch *watch;
	unsigned count = 0;

	for (unsigned i = 0; i < old->count; i++)
		if (change->event[i] == RESV_REGISTRATION_PREEMPTED)
			hosts[count++] = &old->reg[i].host;
	if (count == 0)
		return;
	list_for_each(watch, &watches, link)
		watch->abort(watch, &old->disk, hosts, count);
}

static struct resv_disk *disk_get(const struct uuid *uuid)
{
	struct resv_disk *disk = disk_find(uuid);

	if (disk)
		return disk;
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return NULL;
	disk->state = resv_state_new(uuid, 0);
	if (!disk->state) {
		free(disk);
		return NULL;
	}
	resv_state_seal(disk->state);
	list_push(&disks, &disk->link);
	return disk;
}

/* Under the lock. *old is the state that was replaced, for the caller to free; NULL: none was. */
static int change_run(const struct resv_request *req, struct resv_change *change,
		      struct resv_state **old)
{
	struct resv_disk *disk = disk_get(&req->disk);
	int rc;

	if (!disk)
		return -ENOMEM;
	rc = resv_rule_apply(disk->state, req, change);
	if (rc || !change->next)
		return rc;
	if (store && (change->next->ptpl || disk->state->ptpl))
		rc = states_keep(change->next);
	if (rc) {
		free(change->next);
		return rc;
	}
	*old = disk->state;
	disk->state = change->next;
	state_publish(disk->state);
	task_barrier();
	change_tell(*old, change);
	return 0;
}

int resv_run(const struct resv_request *req)
{
	struct resv_state *old = NULL;
	struct resv_change change;
	int rc;

	if (req->ptpl == RESV_PTPL_SET && !store)
		return -EOPNOTSUPP;
	task_lock(&changing);
	rc = change_run(req, &change, &old);
	task_unlock(&changing);
	if (!old)
		return rc;
	if (req->verb == RESV_PREEMPT_ABORT)
		change_abort(old, &change);
	free(old);
	return 0;
}

/* ---- life ---- */

void resv_watch_start(struct resv_watch *watch)
{
	list_push(&watches, &watch->link);
}

void resv_watch_stop(struct resv_watch *watch)
{
	list_del(&watch->link);
}

static int states_load(const char *text)
{
	struct resv_state *state;
	struct resv_disk *disk;
	int rc = resv_keep_begin(&text);

	while (rc == 0 && (state = resv_keep_parse(&text, &rc))) {
		disk = disk_find(&state->disk) ? NULL : calloc(1, sizeof(*disk));
		if (!disk) {
			free(state);
			return -EBADMSG;
		}
		disk->state = state;
		list_push(&disks, &disk->link);
	}
	return rc;
}

int resv_init(const struct resv_store *where)
{
	char *text = NULL;
	int rc;

	store = where;
	if (!store)
		return 0;
	rc = store->load(&text);
	if (rc == -ENODEV) {
		store = NULL;
		return 0;
	}
	if (rc == 0 && text)
		rc = states_load(text);
	free(text);
	return rc;
}

void resv_fini(void)
{
	struct resv_disk *disk;

	while ((disk = list_pop_entry(&disks, struct resv_disk, link))) {
		free(disk->state);
		free(disk);
	}
	store = NULL;
}
