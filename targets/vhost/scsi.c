/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-scsi (virtio 1.2, 5.6): a host adapter with up to 256 targets. Queue 0 is for control,
 * queue 1 for events, the others carry commands; a command becomes a struct scsi_task.
 */
#include "targets/vhost/scsi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/cmd.h"

enum { SCSI_LUN_FLAT = 0x40, SCSI_LUN_METHOD = 0xc0 };

bool vh_scsi_lun(const uint8_t lun[8], unsigned *target, unsigned *number)
{
	if (lun[0] != 1 || lun[4] || lun[5] || lun[6] || lun[7])
		return false;
	*target = lun[1];
	*number = (unsigned)scsi_be(lun + 2, 2);
	if ((lun[2] & SCSI_LUN_METHOD) == SCSI_LUN_FLAT)
		*number &= 0x3fff;
	else if (lun[2] && *number != SCSI_LUN_REPORT_LUNS)
		return false;
	return true;
}

/* ---- commands ---- */

static void reply_send(struct scsi_req *scsi, const struct virtio_scsi_reply *reply, uint32_t data)
{
	vh_scatter(&scsi->req, scsi->reply, scsi->reply_count, reply, sizeof(*reply));
	vh_req_done(&scsi->req, (uint32_t)sizeof(*reply) + data);
}

static void scsi_refuse(struct scsi_req *scsi, enum virtio_scsi_response response)
{
	struct virtio_scsi_reply reply = { .response = (uint8_t)response };

	reply_send(scsi, &reply, 0);
}

static void scsi_done(struct scsi_task *task)
{
	static const uint8_t response[] = {
		[SCSI_OUTCOME_OK] = VIRTIO_SCSI_S_OK,
		[SCSI_OUTCOME_ABORTED] = VIRTIO_SCSI_S_ABORTED,
		[SCSI_OUTCOME_RESET] = VIRTIO_SCSI_S_RESET,
		[SCSI_OUTCOME_OVERRUN] = VIRTIO_SCSI_S_OVERRUN,
	};
	struct scsi_req *scsi = container_of(task, struct scsi_req, task);
	struct virtio_scsi_reply reply = {
		.sense_len = le32_make(task->sense_len),
		.residual = le32_make(scsi->data_bytes - task->moved),
		.status = task->status,
		.response = response[task->outcome],
	};

	if (unlikely(task->sense_len))
		memcpy(reply.sense, task->sense, task->sense_len);
	reply_send(scsi, &reply, task->in_bytes ? task->moved : 0);
}

static void scsi_command(struct vh_req *req)
{
	struct scsi_req *scsi = container_of(req, struct scsi_req, req);
	struct vh_scsi *dev = vh_scsi_of(req->queue->session->dev);
	const struct vh_scsi_table *table;
	struct virtio_scsi_request request;
	struct scsi_task *task = &scsi->task;
	unsigned target, lun;

	if (unlikely(!vh_req_take(req, &request, sizeof(request))))
		goto broken;
	scsi->reply_count = vh_req_take_front(req, sizeof(struct virtio_scsi_reply), scsi->reply,
					      SCSI_REPLY_PIECES);
	if (unlikely(scsi->reply_count == 0))
		goto broken;
	table = atomic_load_explicit(&dev->table, memory_order_acquire);
	/* one direction a command: both at once (INOUT) was not offered */
	if (unlikely(!vh_scsi_lun(request.lun, &target, &lun) || !table->target[target])) {
		scsi_refuse(scsi, VIRTIO_SCSI_S_BAD_TARGET);
		return;
	}
	if (unlikely(req->out_bytes && req->in_bytes)) {
		scsi_refuse(scsi, VIRTIO_SCSI_S_FAILURE);
		return;
	}
	task->target = table->target[target];
	task->lun = (uint16_t)lun;
	memcpy(&task->tag, request.tag, sizeof(task->tag));
	memcpy(task->cdb, request.cdb, sizeof(task->cdb));
	task->out = req->out;
	task->in = req->in;
	task->out_count = req->out_count;
	task->in_count = req->in_count;
	task->out_bytes = req->out_bytes;
	task->in_bytes = req->in_bytes;
	task->foreign = !req->queue->memory->dma;
	task->done = scsi_done;
	scsi->data_bytes = req->out_bytes + req->in_bytes;
	scsi_exec(task);
	return;
broken:
	vh_queue_break(req->queue, "a command without header or room for its reply");
	vh_req_done(req, 0);
}

static void scsi_dispatch(struct vh_req *req)
{
	switch (req->queue->index) {
	case VIRTIO_SCSI_CONTROL_QUEUE:
		vh_scsi_control(req);
		break;
	case VIRTIO_SCSI_EVENT_QUEUE:
		vh_scsi_event_give(req);
		break;
	default:
		scsi_command(req);
		break;
	}
}

static unsigned scsi_wants(const struct vh_queue *queue)
{
	return queue->index == VIRTIO_SCSI_EVENT_QUEUE ? vh_scsi_events_wanted(queue) :
	       VH_POLL_BUDGET;
}

/* ---- features ---- */

static uint64_t scsi_features(const struct vh_device *dev)
{
	return 1ull << VIRTIO_SCSI_F_HOTPLUG | 1ull << VIRTIO_SCSI_F_CHANGE;
}

static void scsi_negotiated(struct vh_device *vhost, uint64_t features)
{
	struct vh_scsi *dev = vh_scsi_of(vhost);

	/*
	 * QEMU offers CHANGE by itself and does not say whether the driver took it: who takes
	 * events of one kind is told of the other too.
	 */
	if (features & 1ull << VIRTIO_SCSI_F_HOTPLUG)
		features |= 1ull << VIRTIO_SCSI_F_CHANGE;
	dev->features = features;
	if (features)
		return;
	/* what the next guest should know it learns from its own scan */
	atomic_store(&dev->event_out, atomic_load(&dev->event_in));
	atomic_store(&dev->event_missed, false);
}

/* A new start for the guest: every unit says so with its first answer. */
static void scsi_reset(struct vh_device *vhost)
{
	struct vh_scsi *dev = vh_scsi_of(vhost);

	task_lock(&dev->lock);
	for (unsigned t = 0; t < SCSI_TARGETS_MAX; t++) {
		for (unsigned l = 0; l < SCSI_LUNS_MAX; l++) {
			struct scsi_lu *lu = vh_scsi_find(dev, t, l);

			if (!lu)
				continue;
			scsi_tasks_end(lu, SCSI_OUTCOME_RESET);
			scsi_lu_reset(lu, SCSI_UA_POWER_ON);
		}
	}
	task_unlock(&dev->lock);
}

/* ---- life ---- */

static void scsi_destroy(struct vh_device *vhost)
{
	struct vh_scsi *dev = vh_scsi_of(vhost);

	vh_scsi_clear(dev);
	while (dev->changing || atomic_load(&dev->wake_busy))
		task_yield();
	free(atomic_load(&dev->table));
	free(dev);
}

static void scsi_config(const struct vh_device *vhost, struct config_out *out)
{
	struct vh_scsi *dev = vh_scsi_of(vhost);
	char name[2 * VH_NAME_BYTES], disk[2 * BDEV_NAME_BYTES], rest[256], lun[16];

	vh_options_text(&vhost->options, rest, sizeof(rest));
	cmd_quote(vhost->options.name, name, sizeof(name));
	config_line(out, "vhost create scsi %s%s", name, rest);
	for (unsigned t = 0; t < SCSI_TARGETS_MAX; t++) {
		for (unsigned l = 0; l < SCSI_LUNS_MAX; l++) {
			const struct scsi_lu *lu = vh_scsi_find(dev, t, l);

			if (!lu)
				continue;
			lun[0] = '\0';
			if (l)
				snprintf(lun, sizeof(lun), " lun=%u", l);
			config_line(out, "vhost target add %s %u disk=%s%s", name, t,
				    cmd_quote(lu->bdev->name, disk, sizeof(disk)), lun);
		}
	}
}

static void scsi_show(const struct vh_device *vhost, struct cmd_ctx *ctx)
{
	struct vh_scsi *dev = vh_scsi_of(vhost);
	unsigned units = 0;

	for (unsigned t = 0; t < SCSI_TARGETS_MAX; t++) {
		for (unsigned l = 0; l < SCSI_LUNS_MAX; l++)
			units += vh_scsi_find(dev, t, l) != NULL;
	}
	cmd_col_u64(ctx, "units", units);
}

const struct vh_device_ops vh_scsi_ops = {
	.kind = "scsi",
	.queues_min = VIRTIO_SCSI_REQUEST_QUEUE,
	.request_bytes = sizeof(struct scsi_req),
	.features = scsi_features,
	.exec = scsi_dispatch,
	.wants = scsi_wants,
	.negotiated = scsi_negotiated,
	.reset = scsi_reset,
	.destroy = scsi_destroy,
	.config = scsi_config,
	.show = scsi_show,
};

int vh_scsi_create(const struct vh_options *options)
{
	struct vh_scsi *dev = calloc(1, sizeof(*dev));
	struct vh_scsi_table *table = calloc(1, sizeof(*table));
	int rc = -ENOMEM;

	if (!dev || !table)
		goto fail;
	task_lock_init(&dev->lock);
	atomic_init(&dev->table, table);
	scsi_port_init(&dev->port, options->name);
	rc = vh_device_start(&dev->dev, &vh_scsi_ops, options);
	if (rc == 0)
		return 0;
fail:
	free(table);
	free(dev);
	return rc;
}
