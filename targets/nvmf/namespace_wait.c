/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces of the configuration whose disk was not there at boot, because its target, elsewhere,
 * comes up later than we do. Each keeps its NSID; when a disk of that name arrives, a task adds it
 * for good. The disk's driver does not wait for that: it may be what a removal, which holds the
 * subsystem's lock, waits for. An arrival only marks, so that one task at a time is enough.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/config.h"
#include "targets/nvmf/nvmf.h"

static void disk_arrived(struct bdev_watch *watch, const struct bdev *bdev);

static struct bdev_watch watch = { .arrived = disk_arrived };
static struct event idle;

struct nvmf_absent *nvmf_absent_find(struct nvmf_subsystem *subsys, uint32_t nsid)
{
	struct nvmf_absent *absent;

	list_for_each(absent, &subsys->absent, link)
		if (absent->nsid == nsid)
			return absent;
	return NULL;
}

void nvmf_absent_drop(struct nvmf_absent *absent)
{
	list_del(&absent->link);
	nvmf_grants_free(&absent->grants);
	free(absent);
}

int nvmf_absent_add(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		    const struct nvmf_ns_spec *spec)
{
	struct nvmf_absent *absent;
	const struct bdev *bdev;
	uint32_t want = MAX(*nsid, 1u);
	int rc = 0;

	absent = calloc(1, sizeof(*absent));
	if (!absent)
		return -ENOMEM;
	task_lock(&subsys->lock);
	while (*nsid == 0 && nvmf_ns_taken(subsys, want))
		want++;
	if (want > config.nvmf_namespaces_max)
		rc = -ENOSPC;
	else if (nvmf_ns_taken(subsys, want))
		rc = -EEXIST;
	else if (strlen(disk) >= sizeof(absent->disk))
		rc = -ENOENT;
	else if (spec->ana_group && !nvmf_ana_exists(subsys, spec->ana_group))
		rc = -EINVAL;
	if (rc) {
		free(absent);
	} else {
		*nsid = absent->nsid = want;
		snprintf(absent->disk, sizeof(absent->disk), "%s", disk);
		absent->spec = *spec;
		list_init(&absent->grants);
		list_push(&subsys->absent, &absent->link);
		log_warn("nvmf %s: namespace %u waits for its disk %s", subsys->nqn, want, disk);
		/* it came while we waited for the lock */
		bdev = bdev_find(disk);
		if (bdev)
			disk_arrived(&watch, bdev);
	}
	task_unlock(&subsys->lock);
	return rc;
}

static struct nvmf_absent *absent_due(struct nvmf_subsystem *subsys)
{
	struct nvmf_absent *absent;

	if (!subsys->deleting)
		list_for_each(absent, &subsys->absent, link)
			if (absent->due)
				return absent;
	return NULL;
}

static struct nvmf_subsystem *subsystem_due(void)
{
	struct nvmf_subsystem *subsys;

	list_for_each(subsys, &nvmf_target.subsystems, link)
		if (absent_due(subsys))
			return subsys;
	return NULL;
}

/* Under the lock. It is not on the list while it is added: its NSID would be taken. */
static void absent_join(struct nvmf_subsystem *subsys, struct nvmf_absent *absent)
{
	uint32_t nsid = absent->nsid;
	int rc;

	absent->due = false;
	list_del(&absent->link);
	rc = nvmf_ns_add_locked(subsys, absent->disk, &nsid, &absent->spec, &absent->grants);
	if (rc == 0) {
		log_info("nvmf %s: namespace %u: its disk %s is there", subsys->nqn, nsid,
			 absent->disk);
		free(absent);
		return;
	}
	list_push(&subsys->absent, &absent->link);
	log_warn("nvmf %s: namespace %u goes on waiting for its disk %s: %s", subsys->nqn, nsid,
		 absent->disk, strerror(-rc));
}

static void join_task(void *arg)
{
	struct nvmf_subsystem *subsys;
	struct nvmf_absent *absent;

	while ((subsys = subsystem_due())) {
		task_lock(&subsys->lock);
		while ((absent = absent_due(subsys)))
			absent_join(subsys, absent);
		task_unlock(&subsys->lock);
	}
	event_signal(&idle);
}

static void disk_arrived(struct bdev_watch *self, const struct bdev *bdev)
{
	struct nvmf_subsystem *subsys;
	struct nvmf_absent *absent;

	list_for_each(subsys, &nvmf_target.subsystems, link)
		list_for_each(absent, &subsys->absent, link)
			absent->due |= bdev_find(absent->disk) == bdev;
	if (!subsystem_due() || !idle.set)
		return;
	event_clear(&idle);
	if (task_start("namespace", join_task, NULL))
		return;
	log_error("nvmf: no memory to add the namespaces of disk %s", bdev->name);
	event_signal(&idle);
}

void nvmf_absent_init(void)
{
	event_init(&idle);
	event_signal(&idle);
	bdev_watch_start(&watch);
}

void nvmf_absent_fini(void)
{
	bdev_watch_stop(&watch);
	task_wait(&idle);
}
