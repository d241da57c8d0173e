/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Targets and units of a virtio-scsi adapter: added and removed while the guest runs. The table is
 * an immutable snapshot; a unit that left it is destroyed when no reactor can still have it.
 */
#include "targets/vhost/scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"

struct scsi_lu *vh_scsi_find(struct vh_scsi *dev, unsigned target, unsigned lun)
{
	const struct vh_scsi_table *table = atomic_load(&dev->table);

	if (target >= SCSI_TARGETS_MAX || lun >= SCSI_LUNS_MAX || !table->target[target])
		return NULL;
	return table->target[target]->lu[lun];
}

static bool target_empty(const struct scsi_target *target)
{
	for (unsigned i = 0; i < SCSI_LUNS_MAX; i++) {
		if (target->lu[i])
			return false;
	}
	return true;
}

/* The table with LU (NULL: nothing) at TARGET and LUN. Under the lock, in a task. -ENOMEM. */
static int table_put(struct vh_scsi *dev, unsigned target, unsigned lun, struct scsi_lu *lu)
{
	struct vh_scsi_table *old = atomic_load(&dev->table), *table = malloc(sizeof(*table));
	struct scsi_target *before = old->target[target], *after = malloc(sizeof(*after));

	if (!table || !after) {
		free(table);
		free(after);
		return -ENOMEM;
	}
	*table = *old;
	if (before)
		*after = *before;
	else
		memset(after, 0, sizeof(*after));
	after->lu[lun] = lu;
	table->target[target] = after;
	if (target_empty(after)) {
		free(after);
		table->target[target] = NULL;
	}
	atomic_store(&dev->table, table);
	task_barrier();
	free(before);
	free(old);
	return 0;
}

/* The others of the target have something to tell. */
static void target_changed(struct vh_scsi *dev, unsigned target, const struct scsi_lu *but)
{
	for (unsigned l = 0; l < SCSI_LUNS_MAX; l++) {
		struct scsi_lu *lu = vh_scsi_find(dev, target, l);

		if (lu && lu != but)
			scsi_lu_attention(lu, SCSI_UA_LUNS_CHANGED);
	}
}

static void remove_unit(struct vh_scsi *dev, struct scsi_lu *lu)
{
	unsigned target = lu->target_id, lun = lu->lun;
	int rc = table_put(dev, target, lun, NULL);

	if (rc) {
		log_error("vhost %s target %u: no memory to remove it", dev->dev.options.name,
			  target);
		return;
	}
	vh_scsi_event_post(dev, VIRTIO_SCSI_F_HOTPLUG, VIRTIO_SCSI_T_TRANSPORT_RESET, target, lun,
			   VIRTIO_SCSI_EVT_RESET_REMOVED);
	target_changed(dev, target, NULL);
	scsi_lu_destroy(lu);
}

/* ---- what units tell ---- */

/* Of the device, not of one unit: a command may have removed that one meanwhile. */
static void gone_task(void *arg)
{
	struct vh_scsi *dev = arg;

	task_lock(&dev->lock);
	for (unsigned t = 0; t < SCSI_TARGETS_MAX; t++) {
		for (unsigned l = 0; l < SCSI_LUNS_MAX; l++) {
			struct scsi_lu *lu = vh_scsi_find(dev, t, l);

			if (!lu || !lu->bdev->removing)
				continue;
			log_warn("vhost %s target %u: disk %s goes away, and the unit with it",
				 dev->dev.options.name, t, lu->bdev->name);
			remove_unit(dev, lu);
		}
	}
	task_unlock(&dev->lock);
	dev->changing--;
}

static void unit_gone(struct scsi_lu *lu)
{
	struct vh_scsi *dev = lu->owner;

	if (task_start("vhost unit gone", gone_task, dev))
		dev->changing++;
	else
		log_error("vhost: no memory to remove a unit whose disk goes away");
}

static void unit_attention(struct scsi_lu *lu, enum scsi_attention ua)
{
	uint16_t asc = scsi_attention_asc(ua);

	/* 5.6.6.3: the code in the low byte, its qualifier above */
	if (ua == SCSI_UA_CAPACITY_CHANGED)
		vh_scsi_event_post(lu->owner, VIRTIO_SCSI_F_CHANGE, VIRTIO_SCSI_T_PARAM_CHANGE,
				   lu->target_id, lu->lun,
				   (uint32_t)(asc >> 8 | (asc & 0xff) << 8));
}

static const struct scsi_lu_ops unit_ops = { .gone = unit_gone, .attention = unit_attention };

/* ---- commands ---- */

int vh_scsi_target_add(struct vh_device *vhost, unsigned target, unsigned lun, const char *disk)
{
	struct vh_scsi *dev = vh_scsi_of(vhost);
	struct scsi_lu *lu;
	int rc = -EEXIST;

	dev->changing++;
	task_lock(&dev->lock);
	if (vhost->deleting || vh_scsi_find(dev, target, lun))
		goto out;
	rc = scsi_lu_create(disk, &dev->port, &unit_ops, &lu);
	if (rc)
		goto out;
	lu->owner = dev;
	lu->target_id = (uint16_t)target;
	lu->lun = (uint16_t)lun;
	rc = table_put(dev, target, lun, lu);
	if (rc) {
		scsi_lu_destroy(lu);
		goto out;
	}
	vh_scsi_event_post(dev, VIRTIO_SCSI_F_HOTPLUG, VIRTIO_SCSI_T_TRANSPORT_RESET, target, lun,
			   VIRTIO_SCSI_EVT_RESET_RESCAN);
	target_changed(dev, target, lu);
out:
	task_unlock(&dev->lock);
	dev->changing--;
	return rc;
}

int vh_scsi_target_remove(struct vh_device *vhost, unsigned target, int lun)
{
	struct vh_scsi *dev = vh_scsi_of(vhost);
	int rc = -ENOENT;

	dev->changing++;
	task_lock(&dev->lock);
	for (unsigned l = 0; l < SCSI_LUNS_MAX; l++) {
		struct scsi_lu *lu = vh_scsi_find(dev, target, l);

		if (!lu || (lun >= 0 && l != (unsigned)lun))
			continue;
		remove_unit(dev, lu);
		rc = 0;
	}
	task_unlock(&dev->lock);
	dev->changing--;
	return rc;
}

void vh_scsi_clear(struct vh_scsi *dev)
{
	for (unsigned t = 0; t < SCSI_TARGETS_MAX; t++)
		vh_scsi_target_remove(&dev->dev, t, -1);
}
