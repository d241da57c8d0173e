/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The messages about one ring, and when a ring runs: it has memory, a size, addresses, a kick, and
 * is enabled. Whatever message makes that true starts it, whatever message ends it stops it, and a
 * ring whose addresses or kick change while it runs goes on from where it was.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"

/* Rings that run, by reactor: where the next one goes. */
static unsigned load[REACTOR_MAX];

static unsigned place(void)
{
	unsigned best = 0;

	for (unsigned i = 1; i < reactor_count(); i++) {
		if (load[i] < load[best])
			best = i;
	}
	return best;
}

/* ---- visits to the ring's reactor ---- */

struct visit {
	struct vh_queue *queue;
	void (*fn)(struct vh_queue *queue);
	int fd;
	int rc;
};

static void visit_start(void *arg)
{
	struct visit *visit = arg;

	visit->rc = vh_queue_start(visit->queue);
}

static void visit_stop(void *arg)
{
	vh_queue_stop(((struct visit *)arg)->queue);
}

static void visit_call(void *arg)
{
	struct visit *visit = arg;

	visit->queue->call_fd = visit->fd;
	/* what went to the other one meanwhile may be lost */
	vh_queue_call(visit->queue);
}

static void visit_pause(void *arg)
{
	struct visit *visit = arg;

	vh_queue_pause(visit->queue);
	visit->fn(visit->queue);
	vh_queue_resume(visit->queue);
}

void vh_session_each(struct vh_session *session, void (*fn)(struct vh_queue *queue))
{
	for (unsigned i = 0; i < session->dev->queue_count; i++) {
		struct visit visit = { .queue = &session->queue[i], .fn = fn };

		if (visit.queue->started)
			task_call(reactor_at(visit.queue->reactor), visit_pause, &visit);
	}
}

/* ---- start and stop ---- */

static bool may_run(const struct vh_session *session, const struct vh_queue *queue)
{
	return session->features_set && session->memory && queue->num && queue->has_addr &&
	       queue->kick_given && queue->enabled;
}

static void ring_stop(struct vh_queue *queue)
{
	struct visit visit = { .queue = queue };

	if (!queue->started)
		return;
	task_call(reactor_at(queue->reactor), visit_stop, &visit);
	load[queue->reactor]--;
	queue->started = false;
}

static void ring_start(struct vh_queue *queue)
{
	struct visit visit = { .queue = queue };

	queue->reactor = place();
	load[queue->reactor]++;
	task_call(reactor_at(queue->reactor), visit_start, &visit);
	if (visit.rc == 0) {
		queue->started = true;
		return;
	}
	load[queue->reactor]--;
	snprintf(queue->why, sizeof(queue->why), "its ring cannot be used: %s",
		 strerror(-visit.rc));
	log_warn("vhost %s queue %u: %s", queue->session->dev->options.name, queue->index,
		 queue->why);
}

void vh_vrings_update(struct vh_session *session)
{
	for (unsigned i = 0; i < session->dev->queue_count; i++) {
		struct vh_queue *queue = &session->queue[i];
		bool run = may_run(session, queue);

		if (run && !queue->started)
			ring_start(queue);
		else if (!run)
			ring_stop(queue);
	}
}

void vh_vrings_stop(struct vh_session *session)
{
	for (unsigned i = 0; i < session->dev->queue_count; i++)
		ring_stop(&session->queue[i]);
}

static void fd_replace(int *fd, int with)
{
	if (*fd >= 0)
		close(*fd);
	*fd = with;
}

/*
 * A ring that was kicked and never switched off runs, whatever was agreed on: some front ends never
 * send SET_VRING_ENABLE to disks.
 */
static void ring_reset(struct vh_queue *queue)
{
	fd_replace(&queue->kick_fd, -1);
	queue->kick_given = false;
	queue->has_addr = false;
	queue->enabled = true;
	queue->base_avail = queue->base_used = 0;
}

void vh_vrings_init(struct vh_session *session)
{
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++) {
		struct vh_queue *queue = &session->queue[i];

		queue->session = session;
		queue->index = i;
		queue->kick_fd = queue->call_fd = queue->err_fd = -1;
		ring_reset(queue);
	}
}

void vh_vrings_reset(struct vh_session *session)
{
	vh_vrings_stop(session);
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++) {
		vh_inflight_forget(&session->queue[i]);
		ring_reset(&session->queue[i]);
	}
}

void vh_vrings_fini(struct vh_session *session)
{
	vh_vrings_stop(session);
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++) {
		fd_replace(&session->queue[i].kick_fd, -1);
		fd_replace(&session->queue[i].call_fd, -1);
		fd_replace(&session->queue[i].err_fd, -1);
	}
}

/* ---- messages ---- */

static struct vh_queue *queue_of(struct vh_session *session, uint32_t index)
{
	return index < session->dev->queue_count ? &session->queue[index] : NULL;
}

/* Something that a running ring was built on changes: it is built again. */
static int ring_changed(struct vh_session *session, struct vh_queue *queue)
{
	ring_stop(queue);
	vh_vrings_update(session);
	return 0;
}

int vh_set_vring_num(struct vh_session *session, struct vh_message *msg)
{
	struct vh_queue *queue = queue_of(session, le32_get(msg->payload.state.index));
	uint32_t num = le32_get(msg->payload.state.num);

	if (!queue)
		return vh_message_refuse(session, msg, "no such queue");
	if (num == 0 || num > VIRTQ_SIZE_MAX)
		return vh_message_refuse(session, msg, "a ring of this size is not offered");
	ring_stop(queue);
	queue->num = (uint16_t)num;
	return 0;
}

int vh_set_vring_addr(struct vh_session *session, struct vh_message *msg)
{
	struct vh_queue *queue = queue_of(session, le32_get(msg->payload.addr.index));

	if (!queue)
		return vh_message_refuse(session, msg, "no such queue");
	queue->addr = msg->payload.addr;
	queue->has_addr = true;
	return ring_changed(session, queue);
}

int vh_set_vring_base(struct vh_session *session, struct vh_message *msg)
{
	struct vh_queue *queue = queue_of(session, le32_get(msg->payload.state.index));
	uint32_t num = le32_get(msg->payload.state.num);

	if (!queue)
		return vh_message_refuse(session, msg, "no such queue");
	ring_stop(queue);
	queue->base_avail = (uint16_t)num;
	/* packed rings carry both positions; a front end that knows one means both to be it */
	queue->base_used = (uint16_t)(num >> 16 ? num >> 16 : num);
	vh_vrings_update(session);
	return 0;
}

int vh_get_vring_base(struct vh_session *session, struct vh_message *msg)
{
	struct vh_queue *queue = queue_of(session, le32_get(msg->payload.state.index));
	struct vhost_user_vring_state reply = { .index = msg->payload.state.index };

	if (!queue)
		return vh_message_refuse(session, msg, "no such queue");
	ring_stop(queue);
	vh_inflight_forget(queue);
	/* it needs a new kick to run again */
	queue->kick_given = false;
	fd_replace(&queue->kick_fd, -1);
	reply.num = le32_make(queue->base_avail);
	if (session->features & 1ull << VIRTIO_F_RING_PACKED)
		reply.num = le32_make(queue->base_avail | (uint32_t)queue->base_used << 16);
	return vh_message_reply(session, msg, &reply, sizeof(reply), -1);
}

/* An eventfd cannot stall us: it takes a write or says EAGAIN. */
static bool is_eventfd(int fd)
{
	char path[32], target[32];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	if (strcmp(target, "anon_inode:[eventfd]"))
		return false;
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

/* The descriptor of a kick, call or err message: *FD is the caller's, -1 when there is none. */
static int vring_fd(struct vh_session *session, struct vh_message *msg, struct vh_queue **queue,
		    int *fd)
{
	uint64_t value = le64_get(msg->payload.u64);
	bool none = value & VHOST_USER_VRING_NO_FD;

	*queue = queue_of(session, value & VHOST_USER_VRING_INDEX_MASK);
	if (!*queue)
		return vh_message_refuse(session, msg, "no such queue");
	if (value & ~(uint64_t)(VHOST_USER_VRING_INDEX_MASK | VHOST_USER_VRING_NO_FD))
		return vh_message_refuse(session, msg, "reserved bits are set");
	if (msg->fds != !none)
		return vh_message_refuse(session, msg, "not the number of descriptors it says");
	*fd = -1;
	if (none)
		return 0;
	if (!is_eventfd(msg->fd[0]))
		return vh_message_refuse(session, msg, "the descriptor is no eventfd");
	*fd = msg->fd[0];
	msg->fd[0] = -1;
	return 0;
}

int vh_set_vring_kick(struct vh_session *session, struct vh_message *msg)
{
	struct vh_queue *queue;
	int fd, rc = vring_fd(session, msg, &queue, &fd);

	if (rc)
		return rc;
	ring_stop(queue);
	fd_replace(&queue->kick_fd, fd);
	queue->kick_given = true;
	vh_vrings_update(session);
	return 0;
}

int vh_set_vring_call(struct vh_session *session, struct vh_message *msg)
{
	struct vh_queue *queue;
	int fd, old, rc = vring_fd(session, msg, &queue, &fd);

	if (rc)
		return rc;
	old = queue->call_fd;
	if (queue->started) {
		struct visit visit = { .queue = queue, .fd = fd };

		task_call(reactor_at(queue->reactor), visit_call, &visit);
	} else {
		queue->call_fd = fd;
	}
	if (old >= 0)
		close(old);
	return 0;
}

int vh_set_vring_err(struct vh_session *session, struct vh_message *msg)
{
	struct vh_queue *queue;
	int fd, rc = vring_fd(session, msg, &queue, &fd);

	if (rc)
		return rc;
	ring_stop(queue);
	fd_replace(&queue->err_fd, fd);
	vh_vrings_update(session);
	return 0;
}

int vh_set_vring_enable(struct vh_session *session, struct vh_message *msg)
{
	struct vh_queue *queue = queue_of(session, le32_get(msg->payload.state.index));
	uint32_t num = le32_get(msg->payload.state.num);

	if (!queue)
		return vh_message_refuse(session, msg, "no such queue");
	if (num > 1)
		return vh_message_refuse(session, msg, "neither on nor off");
	queue->enabled = num;
	vh_vrings_update(session);
	return 0;
}
