/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection with a front end: one task reads a message whole, handles it, and reads the next.
 * Between messages it waits for as long as it takes; a message once begun has to be finished in
 * time. Whatever ends the task ends the session: rings stop, what is in flight comes back, memory
 * is unmapped.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/log.h"

static uint32_t sessions;

/* ---- bytes and descriptors ---- */

void vh_fd_close(int fd)
{
	static const struct linger none;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd);
}

static void fds_close(struct vh_message *msg)
{
	for (unsigned i = 0; i < msg->fds; i++)
		vh_fd_close(msg->fd[i]);
	msg->fds = 0;
}

/* Every descriptor that came is ours now. False: more than a message may have. */
static bool fds_collect(struct vh_message *msg, struct msghdr *in)
{
	bool fit = !(in->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(in); c; c = CMSG_NXTHDR(in, c)) {
		unsigned count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		const uint8_t *data = CMSG_DATA(c);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
			if (msg->fds < VHOST_USER_FDS_MAX) {
				msg->fd[msg->fds++] = fd;
			} else {
				vh_fd_close(fd);
				fit = false;
			}
		}
	}
	return fit;
}

/* As many of LEN bytes as there are: their number, -EAGAIN, or why not. */
static ssize_t receive_some(struct vh_session *session, struct vh_message *msg, void *data,
			    size_t len)
{
	union {
		char bytes[CMSG_SPACE(VHOST_USER_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { data, len };
	struct msghdr in = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = recvmsg(session->fd, &in, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0)
		return -errno;
	if (!fds_collect(msg, &in))
		return -EMSGSIZE;
	return got ? got : -EPIPE;
}

/* For the first byte of a message: as long as it takes. The others have a time in common. */
static int wait_readable(struct vh_session *session, const struct vh_message *msg)
{
	uint64_t now = reactor_now_us();
	int rc = 0;

	if (msg->deadline_us == 0)
		task_wait(&session->readable);
	else if (now >= msg->deadline_us)
		rc = -ETIMEDOUT;
	else
		rc = task_wait_timeout(&session->readable, msg->deadline_us - now);
	return session->closing ? -ECANCELED : rc;
}

static int receive(struct vh_session *session, struct vh_message *msg, void *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t got;
		int rc;

		if (session->closing)
			return -ECANCELED;
		event_clear(&session->readable);
		got = receive_some(session, msg, (char *)data + at, len - at);
		if (got > 0) {
			at += (size_t)got;
			if (msg->deadline_us == 0)
				msg->deadline_us = reactor_now_us() + VH_MESSAGE_MS * 1000ull;
			continue;
		}
		if (got == -EINTR)
			continue;
		if (got != -EAGAIN)
			return (int)got;
		rc = wait_readable(session, msg);
		if (rc)
			return rc;
	}
	return 0;
}

static int receive_message(struct vh_session *session, struct vh_message *msg)
{
	struct vhost_user_header header;
	int rc;

	msg->fds = 0;
	msg->deadline_us = 0;
	rc = receive(session, msg, &header, sizeof(header));
	if (rc)
		return rc;
	msg->request = le32_get(header.request);
	msg->flags = le32_get(header.flags);
	msg->size = le32_get(header.size);
	if (msg->size > sizeof(msg->payload))
		return vh_message_refuse(session, msg, "longer than any message is");
	memset(&msg->payload, 0, sizeof(msg->payload));
	return receive(session, msg, &msg->payload, msg->size);
}

/* ---- life ---- */

static const char *why_text(struct vh_session *session, int rc)
{
	if (session->why[0])
		return session->why;
	switch (rc) {
	case -EPIPE:
	case -ECONNRESET:
		return "the front end has gone";
	case -ETIMEDOUT:
		return "a message was begun and not finished";
	case -EMSGSIZE:
		return "a message with too many descriptors";
	default:
		return strerror(-rc);
	}
}

static void session_end(struct vh_session *session)
{
	struct vh_device *dev = session->dev;
	bool blocks;

	vh_vrings_fini(session);
	dev->ops->negotiated(dev, 0);
	if (dev->ops->reset)
		dev->ops->reset(dev);
	vh_memory_free(session->memory);
	vh_log_clear(&session->log);
	vh_map_close(&session->inflight);
	vh_fd_close(session->backend_fd);
	fd_source_remove(&session->source);
	close(session->fd);
	/* who makes reactors wait does not come back at once to do it again */
	blocks = atomic_load(&session->blocks);
	free(session);
	vh_device_free(dev, blocks);
}

static void session_task(void *arg)
{
	struct vh_session *session = arg;
	struct vh_message msg;
	int rc = 0;

	while (rc == 0 && !session->closing) {
		rc = receive_message(session, &msg);
		if (rc == 0)
			rc = vh_message_handle(session, &msg);
		fds_close(&msg);
		/* however many messages wait: others have their turn between two of them */
		task_yield();
	}
	log_info("vhost %s: session %u ends: %s", session->dev->options.name, session->id,
		 why_text(session, rc));
	session_end(session);
}

static void session_event(struct fd_source *source, uint32_t events)
{
	event_signal(&container_of(source, struct vh_session, source)->readable);
}

void vh_session_close(struct vh_session *session, const char *why)
{
	if (session->closing)
		return;
	session->closing = true;
	snprintf(session->why, sizeof(session->why), "%s", why);
	event_signal(&session->readable);
}

int vh_session_start(struct vh_device *dev, int fd)
{
	struct vh_session *session = calloc(1, sizeof(*session));
	int rc;

	if (!session)
		return -ENOMEM;
	session->dev = dev;
	session->fd = fd;
	session->backend_fd = -1;
	session->id = ++sessions;
	event_init(&session->readable);
	vh_vrings_init(session);
	session->source = (struct fd_source){ .fd = fd, .event = session_event };
	rc = fd_source_add(&session->source, EPOLLIN | EPOLLRDHUP | EPOLLET);
	if (rc)
		goto fail;
	rc = -ENOMEM;
	if (!task_start("vhost session", session_task, session)) {
		fd_source_remove(&session->source);
		goto fail;
	}
	dev->session = session;
	dev->sessions++;
	event_clear(&dev->session_gone);
	log_info("vhost %s: session %u begins", dev->options.name, session->id);
	return 0;
fail:
	free(session);
	return rc;
}
