/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control queue: task management (virtio 1.2, 5.6.6.2), done in a task on reactor 0; and the
 * event queue (5.6.6.3): what happened to targets while nobody asked.
 */
#include "targets/vhost/scsi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"

/* ---- control ---- */

/* A function on its way to reactor 0 and back. */
struct control {
	struct msg msg;
	struct vh_req *req;
	unsigned reactor;
	unsigned target, lun;
	enum scsi_tmf function;
	uint64_t tag;
	uint8_t response;
};

static void control_answer(struct vh_req *req, uint8_t response)
{
	struct iovec piece;

	if (vh_req_take_front(req, 1, &piece, 1) == 0) {
		vh_queue_break(req->queue, "a control request without room for its response");
		vh_req_done(req, 0);
		return;
	}
	vh_scatter(req, &piece, 1, &response, sizeof(response));
	vh_req_done(req, 1);
}

static void control_back(struct msg *msg)
{
	struct control *control = container_of(msg, struct control, msg);

	control_answer(control->req, control->response);
	free(control);
}

/* SAM-5 7.7: whatever unit was named, all of the target lose their nexus. */
static uint8_t nexus_reset(struct vh_scsi *dev, unsigned target)
{
	for (unsigned l = 0; l < SCSI_LUNS_MAX; l++) {
		struct scsi_lu *lu = vh_scsi_find(dev, target, l);

		if (lu)
			scsi_tmf(lu, SCSI_TMF_NEXUS_RESET, 0);
	}
	return VIRTIO_SCSI_S_FUNCTION_COMPLETE;
}

static uint8_t control_run(struct vh_scsi *dev, const struct control *control)
{
	struct scsi_lu *lu = vh_scsi_find(dev, control->target, control->lun);
	int rc;

	if (!atomic_load(&dev->table)->target[control->target])
		return VIRTIO_SCSI_S_BAD_TARGET;
	if (control->function == SCSI_TMF_NEXUS_RESET)
		return nexus_reset(dev, control->target);
	if (!lu)
		return VIRTIO_SCSI_S_INCORRECT_LUN;
	rc = scsi_tmf(lu, control->function, control->tag);
	if (rc < 0)
		return VIRTIO_SCSI_S_FUNCTION_REJECTED;
	if (control->function >= SCSI_TMF_QUERY_TASK)
		return rc ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED : VIRTIO_SCSI_S_FUNCTION_COMPLETE;
	return VIRTIO_SCSI_S_FUNCTION_COMPLETE;
}

static void control_task(void *arg)
{
	struct control *control = arg;
	struct vh_scsi *dev = vh_scsi_of(control->req->queue->session->dev);

	task_lock(&dev->lock);
	control->response = control_run(dev, control);
	task_unlock(&dev->lock);
	reactor_send(reactor_at(control->reactor), &control->msg, control_back);
}

static void control_arrived(struct msg *msg)
{
	struct control *control = container_of(msg, struct control, msg);

	if (task_start("vhost control", control_task, control))
		return;
	control->response = VIRTIO_SCSI_S_FAILURE;
	reactor_send(reactor_at(control->reactor), &control->msg, control_back);
}

static void control_tmf(struct vh_req *req)
{
	struct virtio_scsi_tmf tmf;
	struct control *control;

	if (!vh_req_take(req, (char *)&tmf + sizeof(tmf.type), sizeof(tmf) - sizeof(tmf.type))) {
		vh_queue_break(req->queue, "a control request that is too short");
		vh_req_done(req, 0);
		return;
	}
	control = calloc(1, sizeof(*control));
	if (!control) {
		control_answer(req, VIRTIO_SCSI_S_FAILURE);
		return;
	}
	if (!vh_scsi_lun(tmf.lun, &control->target, &control->lun)) {
		free(control);
		control_answer(req, VIRTIO_SCSI_S_BAD_TARGET);
		return;
	}
	if (le32_get(tmf.subtype) > SCSI_TMF_QUERY_TASK_SET) {
		free(control);
		control_answer(req, VIRTIO_SCSI_S_FUNCTION_REJECTED);
		return;
	}
	control->function = le32_get(tmf.subtype);
	control->tag = le64_get(tmf.tag);
	control->req = req;
	control->reactor = reactor_index();
	reactor_send(reactor_at(0), &control->msg, control_arrived);
}

/* Asynchronous notifications: disks have none. 5.6.6.2 */
static void control_an(struct vh_req *req)
{
	struct iovec piece[5];
	uint8_t reply[5] = { 0 };
	unsigned count = vh_req_take_front(req, sizeof(reply), piece, ARRAY_SIZE(piece));

	if (count == 0) {
		vh_queue_break(req->queue, "a control request without room for its response");
		vh_req_done(req, 0);
		return;
	}
	vh_scatter(req, piece, count, reply, sizeof(reply));
	vh_req_done(req, sizeof(reply));
}

void vh_scsi_control(struct vh_req *req)
{
	le32 type;

	if (!vh_req_take(req, &type, sizeof(type))) {
		vh_queue_break(req->queue, "a control request that is too short");
		vh_req_done(req, 0);
		return;
	}
	switch (le32_get(type)) {
	case VIRTIO_SCSI_T_TMF:
		control_tmf(req);
		break;
	case VIRTIO_SCSI_T_AN_QUERY:
	case VIRTIO_SCSI_T_AN_SUBSCRIBE:
		control_an(req);
		break;
	default:
		control_answer(req, VIRTIO_SCSI_S_FAILURE);
		break;
	}
}

/* ---- events ---- */

unsigned vh_scsi_events_wanted(const struct vh_queue *queue)
{
	const struct vh_scsi *dev = vh_scsi_of(queue->session->dev);
	uint32_t count = atomic_load(&dev->event_in) - atomic_load(&dev->event_out);

	/* that some were missed goes along with another, or alone */
	return count ? count : atomic_load(&dev->event_missed);
}

/* REQ is memory for one event. */
void vh_scsi_event_give(struct vh_req *req)
{
	struct vh_scsi *dev = vh_scsi_of(req->queue->session->dev);
	uint32_t at = atomic_load(&dev->event_out);
	struct virtio_scsi_event event = { 0 };
	struct iovec piece[sizeof(event)];
	unsigned count = vh_req_take_front(req, sizeof(event), piece, ARRAY_SIZE(piece));

	if (count == 0) {
		vh_queue_break(req->queue, "memory for an event that is too short");
		vh_req_done(req, 0);
		return;
	}
	if (at != atomic_load(&dev->event_in)) {
		event = dev->event[at % SCSI_EVENTS];
		atomic_store(&dev->event_out, at + 1);
	}
	if (atomic_exchange(&dev->event_missed, false))
		event.event = le32_make(le32_get(event.event) | VIRTIO_SCSI_T_EVENTS_MISSED);
	vh_scatter(req, piece, count, &event, sizeof(event));
	vh_req_done(req, sizeof(event));
}

/* The reactor of the event queue looks again. */
static void event_wake(struct msg *msg)
{
	atomic_store(&container_of(msg, struct vh_scsi, wake)->wake_busy, false);
}

void vh_scsi_event_post(struct vh_scsi *dev, unsigned feature, uint32_t event, unsigned target,
			unsigned lun, uint32_t reason)
{
	uint32_t at = atomic_load(&dev->event_in);
	struct virtio_scsi_event *slot = &dev->event[at % SCSI_EVENTS];
	const struct vh_session *session = dev->dev.session;

	if (!session || !(dev->features & 1ull << feature))
		return;
	if (at - atomic_load(&dev->event_out) == SCSI_EVENTS) {
		atomic_store(&dev->event_missed, true);
	} else {
		*slot = (struct virtio_scsi_event){
			.event = le32_make(event),
			/* as REPORT LUNS has it: Linux takes these bytes for the number */
			.lun = { 1, (uint8_t)target, 0, (uint8_t)lun },
			.reason = le32_make(reason),
		};
		atomic_store(&dev->event_in, at + 1);
	}
	if (!atomic_exchange(&dev->wake_busy, true))
		reactor_send(reactor_at(session->queue[VIRTIO_SCSI_EVENT_QUEUE].reactor),
			     &dev->wake, event_wake);
}
