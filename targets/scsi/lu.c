/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logical units: opening and closing their disk, and unit attention (SAM-5 5.14). Conditions are
 * bits that any reactor may set and the next command takes, the most important first.
 */
#include "targets/scsi/scsi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct list units = LIST_INIT(units);

/* SPC-4 7.6.4.6: a transport ID of SAS, with a locally assigned name made of the port's. */
void scsi_port_init(struct scsi_port *port, const char *name)
{
	struct uuid id = uuid_from_name("scsi port", name, strlen(name));

	memset(port, 0, sizeof(*port));
	snprintf(port->name, sizeof(port->name), "%s", name);
	port->transport_id[0] = 0x06;
	memcpy(port->transport_id + 4, id.b + 8, 8);
	port->transport_id[4] = (uint8_t)(0x30 | (port->transport_id[4] & 0x0f));
	resv_host_set(&port->initiator, RESV_HOST_SCSI, port->transport_id,
		      sizeof(port->transport_id));
}

struct scsi_lu *scsi_lu_next(const struct scsi_lu *prev)
{
	const struct list *link = prev ? prev->link.next : units.next;

	return link == &units ? NULL : list_entry(link, struct scsi_lu, link);
}

uint16_t scsi_attention_asc(enum scsi_attention ua)
{
	static const uint16_t asc[SCSI_UA_COUNT] = {
		[SCSI_UA_POWER_ON] = SCSI_ASC_POWER_ON,
		[SCSI_UA_LU_RESET] = SCSI_ASC_LU_RESET,
		[SCSI_UA_NEXUS_LOSS] = SCSI_ASC_NEXUS_LOSS,
		[SCSI_UA_RESERVATIONS_PREEMPTED] = SCSI_ASC_RESERVATIONS_PREEMPTED,
		[SCSI_UA_RESERVATIONS_RELEASED] = SCSI_ASC_RESERVATIONS_RELEASED,
		[SCSI_UA_REGISTRATIONS_PREEMPTED] = SCSI_ASC_REGISTRATIONS_PREEMPTED,
		[SCSI_UA_CAPACITY_CHANGED] = SCSI_ASC_CAPACITY_CHANGED,
		[SCSI_UA_LUNS_CHANGED] = SCSI_ASC_LUNS_CHANGED,
		[SCSI_UA_THIN_THRESHOLD] = SCSI_ASC_THIN_THRESHOLD,
	};

	return asc[ua];
}

void scsi_lu_attention(struct scsi_lu *lu, enum scsi_attention ua)
{
	/* SPC-4 5.14.3: power on and reset conditions clear the lesser ones */
	if (ua == SCSI_UA_POWER_ON || ua == SCSI_UA_LU_RESET)
		atomic_store(&lu->attention, 1u << ua);
	else
		atomic_fetch_or(&lu->attention, 1u << ua);
	if (lu->ops->attention)
		lu->ops->attention(lu, ua);
}

void scsi_lu_reset(struct scsi_lu *lu, enum scsi_attention ua)
{
	atomic_store(&lu->stopped, false);
	atomic_store(&lu->write_protect, false);
	atomic_store(&lu->descriptor_sense, false);
	scsi_lu_attention(lu, ua);
}

int scsi_lu_attention_take(struct scsi_lu *lu)
{
	uint32_t bits = atomic_load(&lu->attention);

	while (bits) {
		unsigned ua = (unsigned)__builtin_ctz(bits);

		if (atomic_compare_exchange_weak(&lu->attention, &bits, bits & ~(1u << ua)))
			return (int)ua;
	}
	return -1;
}

/* In a task on reactor 0. */
static void lu_event(struct bdev_user *user, enum bdev_event event)
{
	struct scsi_lu *lu = container_of(user, struct scsi_lu, user);

	switch (event) {
	case BDEV_REMOVED:
		lu->ops->gone(lu);
		break;
	case BDEV_RESIZED:
		scsi_lu_attention(lu, SCSI_UA_CAPACITY_CHANGED);
		break;
	case BDEV_THRESHOLD:
		if (lu->bdev->space_low)
			scsi_lu_attention(lu, SCSI_UA_THIN_THRESHOLD);
		break;
	case BDEV_HEALTH:
		break;
	}
}

int scsi_lu_create(const char *disk, const struct scsi_port *port, const struct scsi_lu_ops *ops,
		   struct scsi_lu **out)
{
	size_t chan_bytes = reactor_count() * sizeof(struct scsi_lu_chan);
	struct scsi_lu *lu = calloc(1, sizeof(*lu));
	int rc = -ENOMEM;

	if (!lu)
		return rc;
	lu->chan = aligned_alloc(CACHE_LINE, chan_bytes);
	if (!lu->chan)
		goto fail;
	for (unsigned i = 0; i < reactor_count(); i++) {
		struct scsi_lu_chan *chan = &lu->chan[i];

		memset(chan, 0, sizeof(*chan));
		list_init(&chan->tasks);
		event_init(&chan->settled);
		event_signal(&chan->settled);
	}
	lu->port = port;
	lu->ops = ops;
	atomic_init(&lu->attention, 1u << SCSI_UA_POWER_ON);
	lu->user.event = lu_event;
	lu->user.write = true;
	snprintf(lu->user.who, sizeof(lu->user.who), "%.48s", port->name);
	rc = bdev_open(disk, &lu->user);
	if (rc == -EROFS) {
		lu->user.write = false;
		rc = bdev_open(disk, &lu->user);
	}
	if (rc)
		goto fail;
	lu->bdev = lu->user.bdev;
	list_push(&units, &lu->link);
	*out = lu;
	return 0;
fail:
	free(lu->chan);
	free(lu);
	return rc;
}

void scsi_lu_destroy(struct scsi_lu *lu)
{
	list_del(&lu->link);
	scsi_tasks_end(lu, SCSI_OUTCOME_RESET);
	bdev_close(&lu->user);
	free(lu->chan);
	free(lu);
}
