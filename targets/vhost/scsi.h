/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of virtio-scsi share: scsi.c, scsi_target.c, scsi_control.c. */
#ifndef VHOST_SCSI_H
#define VHOST_SCSI_H

#include "targets/scsi/scsi.h"
#include "targets/vhost/req.h"

enum {
	SCSI_TARGETS_MAX = 256,
	SCSI_EVENTS = 64,               /* that wait for the guest; a power of two */
	SCSI_REPLY_PIECES = sizeof(struct virtio_scsi_reply),   /* in any layout */
};

/* Immutable: who is at which target number. */
struct vh_scsi_table {
	struct scsi_target *target[SCSI_TARGETS_MAX];
};

struct vh_scsi {
	struct vh_device dev;
	struct scsi_port port;
	_Atomic(struct vh_scsi_table *) table;
	struct task_lock lock;          /* changes of the table, one at a time; reactor 0 */
	unsigned changing;              /* tasks that have the lock or wait for it */
	uint64_t features;              /* of the session; 0: none */
	/* events for the guest: written on reactor 0, read on the event queue's */
	struct virtio_scsi_event event[SCSI_EVENTS];
	_Atomic uint32_t event_in, event_out;
	atomic_bool event_missed;
	struct msg wake;
	atomic_bool wake_busy;
};

struct scsi_req {
	struct vh_req req;
	struct scsi_task task;
	struct iovec reply[SCSI_REPLY_PIECES];
	unsigned reply_count;
	uint32_t data_bytes;
};

static inline struct vh_scsi *vh_scsi_of(const struct vh_device *dev)
{
	return container_of(dev, struct vh_scsi, dev);
}

/*
 * A virtio LUN (virtio 1.2, 5.6.6.1): false when it is no single level LUN. *TARGET and *LUN may
 * name nothing.
 */
bool vh_scsi_lun(const uint8_t lun[8], unsigned *target, unsigned *number);

/* scsi_target.c */
/* The unit, NULL: none. In a task on reactor 0 under the lock. */
struct scsi_lu *vh_scsi_find(struct vh_scsi *dev, unsigned target, unsigned lun);
void vh_scsi_clear(struct vh_scsi *dev);

/* scsi_control.c */
/* A request of the control queue, of the event queue. */
void vh_scsi_control(struct vh_req *req);
void vh_scsi_event_give(struct vh_req *req);
/* How many there are for it. */
unsigned vh_scsi_events_wanted(const struct vh_queue *queue);
/* On reactor 0: an event for the guest, if it has asked for such (FEATURE). */
void vh_scsi_event_post(struct vh_scsi *dev, unsigned feature, uint32_t event, unsigned target,
			unsigned lun, uint32_t reason);

#endif
