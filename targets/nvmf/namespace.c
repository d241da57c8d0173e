/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Namespaces: a disk under an NSID of a subsystem. A change makes a new table and new views of all
 * controllers (view.h), waits until no reactor reads the old ones any more, and, when a namespace
 * was taken away, until none of its requests is left, before the disk is closed. Nothing is paused.
 * Changes of one subsystem come one at a time, under its lock.
 */
#include "targets/nvmf/nvmf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/config.h"

/* In a task, under the lock: NS (or nothing) becomes NSID's. */
static int ns_publish(struct nvmf_subsystem *subsys, uint32_t nsid, struct nvmf_ns *ns)
{
	struct nvmf_ns_table *old = nvmf_ns_table(subsys), *table;
	unsigned group = ns ? ns->ana_group : old->ns[nsid - 1]->ana_group;
	uint32_t nn = MAX(old->nn, nsid);

	if (nsid == old->nn && !ns)     /* the table ends at its last namespace */
		while (nn > 0 && (nn == nsid || !old->ns[nn - 1]))
			nn--;
	table = calloc(1, sizeof(*table) + nn * sizeof(table->ns[0]));
	if (!table)
		return -ENOMEM;
	table->nn = nn;
	for (uint32_t i = 0; i < MIN(nn, old->nn); i++)
		table->ns[i] = old->ns[i];
	if (nsid <= nn)
		table->ns[nsid - 1] = ns;
	if (nvmf_view_prepare(subsys, table)) {
		free(table);
		return -ENOMEM;
	}
	subsys->table = table;
	free(old);
	nvmf_ana_touch(subsys, group);
	nvmf_view_commit(subsys);
	return 0;
}

/* The disk went away or changed its size; in a task. */
static void ns_event(struct bdev_user *user, enum bdev_event event)
{
	struct nvmf_ns *ns = container_of(user, struct nvmf_ns, user);
	struct nvmf_subsystem *subsys = ns->subsys;

	if (event == BDEV_RESIZED) {
		nvmf_event_ns_changed(subsys, ns->nsid);
	} else if (event == BDEV_THRESHOLD) {
		if (ns->bdev->space_low)
			nvmf_event_space_low(subsys, ns->nsid);
	} else if (event == BDEV_HEALTH) {
		nvmf_smart_warn(ns);
	} else if (event == BDEV_REMOVED) {
		log_warn("nvmf %s: namespace %u goes: its disk %s was removed", subsys->nqn,
			 ns->nsid, ns->bdev->name);
		nvmf_ns_remove(subsys, ns->nsid);
	}
}

bool nvmf_ns_taken(struct nvmf_subsystem *subsys, uint32_t nsid)
{
	return nvmf_ns_find(subsys, nsid) || nvmf_absent_find(subsys, nsid);
}

/* Identifiers: the operator's, else the disk's own. */
static void ns_identity(struct nvmf_ns *ns)
{
	const struct bdev *bdev = ns->bdev;

	ns->uuid = ns->spec.uuid_given ? ns->spec.uuid : bdev->uuid;
	memcpy(ns->nguid, ns->spec.nguid_given ? ns->spec.nguid : bdev->nguid, sizeof(ns->nguid));
	memset(ns->eui64, 0, sizeof(ns->eui64));
	/* who is to pass for another disk does not tell which one it is */
	if (!ns->spec.uuid_given && !ns->spec.nguid_given)
		memcpy(ns->eui64, bdev->eui64, sizeof(ns->eui64));
}

static bool same_id(const void *a, const void *b, size_t len)
{
	static const uint8_t none[16];

	return memcmp(a, none, len) != 0 && memcmp(a, b, len) == 0;
}

/* Whether another namespace of the subsystem has an identifier of NS. */
static bool ns_identity_taken(const struct nvmf_ns *ns)
{
	const struct nvmf_ns_table *table = nvmf_ns_table(ns->subsys);

	for (uint32_t i = 0; i < table->nn; i++) {
		const struct nvmf_ns *other = table->ns[i];

		if (other && (same_id(&ns->uuid, &other->uuid, sizeof(ns->uuid)) ||
			      same_id(ns->nguid, other->nguid, sizeof(ns->nguid)) ||
			      same_id(ns->eui64, other->eui64, sizeof(ns->eui64))))
			return true;
	}
	return false;
}

/*
 * Hosts refuse a namespace with an identifier of another one of the subsystem: a second one of a
 * disk has identifiers made from the disk's and its NSID. They count as given, so that the
 * configuration has them. -EADDRINUSE: the operator's are taken.
 */
static int ns_identity_own(struct nvmf_ns *ns)
{
	static const uint8_t none[16];
	struct {
		struct uuid disk;
		le32 nsid;
	} name = { ns->bdev->uuid, le32_make(ns->nsid) };

	if (!ns_identity_taken(ns))
		return 0;
	if (ns->spec.uuid_given || ns->spec.nguid_given)
		return -EADDRINUSE;
	ns->spec.uuid = uuid_from_name("nvmf-namespace", &name, sizeof(name));
	ns->spec.uuid_given = true;
	ns->spec.nguid_given = memcmp(ns->bdev->nguid, none, sizeof(none)) != 0;
	memcpy(ns->spec.nguid, ns->spec.uuid.b, sizeof(ns->spec.nguid));
	ns_identity(ns);
	return 0;
}

/* On disk. */
static int ns_open(struct nvmf_ns *ns, const char *disk)
{
	int rc;

	ns->user.event = ns_event;
	ns->user.write = true;
	snprintf(ns->user.who, sizeof(ns->user.who), "namespace %u of %.40s", ns->nsid,
		 ns->subsys->nqn);
	rc = bdev_open(disk, &ns->user);
	if (rc == -EROFS) {
		ns->user.write = false;
		rc = bdev_open(disk, &ns->user);
	}
	if (rc)
		return rc;
	ns->bdev = ns->user.bdev;
	ns->lba_shift = (uint8_t)log2_floor(ns->bdev->block_bytes);
	ns->blocks_max = MIN(config.nvmf_mdts_bytes, BUF_REQUEST_MAX) >> ns->lba_shift;
	ns_identity(ns);
	return 0;
}

int nvmf_ns_add_locked(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		       const struct nvmf_ns_spec *spec, struct list *grants)
{
	unsigned group = spec && spec->ana_group ? spec->ana_group : NVMF_ANA_DEFAULT;
	uint32_t want = *nsid;
	struct nvmf_ns *ns;
	int rc;

	if (want == 0)
		for (want = 1; nvmf_ns_taken(subsys, want); want++)
			;
	if (want > config.nvmf_namespaces_max)
		return -ENOSPC;
	if (nvmf_ns_taken(subsys, want))
		return -EEXIST;
	if (!nvmf_ana_exists(subsys, group))
		return -EINVAL;
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return -ENOMEM;
	ns->subsys = subsys;
	ns->nsid = want;
	ns->ana_group = (uint16_t)group;
	if (spec)
		ns->spec = *spec;
	list_init(&ns->grants);
	rc = ns_open(ns, disk);
	if (rc) {
		free(ns);
		return rc;
	}
	rc = ns_identity_own(ns);
	if (rc)
		goto close;
	if (grants)
		list_splice(&ns->grants, grants);
	rc = ns_publish(subsys, want, ns);
	if (rc)
		goto close;
	*nsid = want;
	return 0;
close:
	if (grants)
		list_splice(grants, &ns->grants);
	bdev_close(&ns->user);
	free(ns);
	return rc;
}

int nvmf_ns_add(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		const struct nvmf_ns_spec *spec)
{
	int rc;

	task_lock(&subsys->lock);
	rc = nvmf_ns_add_locked(subsys, disk, nsid, spec, NULL);
	task_unlock(&subsys->lock);
	return rc;
}

int nvmf_ns_remove(struct nvmf_subsystem *subsys, uint32_t nsid)
{
	struct nvmf_absent *absent;
	struct nvmf_ns *ns;
	int rc;

	task_lock(&subsys->lock);
	ns = nvmf_ns_find(subsys, nsid);
	absent = nvmf_absent_find(subsys, nsid);
	rc = ns ? ns_publish(subsys, nsid, NULL) : absent ? 0 : -ENOENT;
	if (absent) {
		nvmf_absent_drop(absent);
	} else if (rc == 0) {
		nvmf_queue_revoke_ns(ns, NULL);
		bdev_close(&ns->user);
		nvmf_grants_free(&ns->grants);
		free(ns);
	}
	task_unlock(&subsys->lock);
	return rc;
}
