/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each message means. A table says how long its payload is and how many descriptors come with
 * it; a message that does not fit is refused. Refused means: answered with an error when the front
 * end asked for an answer, and the session closed otherwise, because it cannot know.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/log.h"

static const uint64_t protocol_always =
	1ull << VHOST_USER_PROTOCOL_MQ | 1ull << VHOST_USER_PROTOCOL_LOG_SHMFD |
	1ull << VHOST_USER_PROTOCOL_REPLY_ACK | 1ull << VHOST_USER_PROTOCOL_BACKEND_REQ |
	1ull << VHOST_USER_PROTOCOL_INFLIGHT_SHMFD |
	1ull << VHOST_USER_PROTOCOL_RESET_DEVICE | 1ull << VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS;

static bool agreed(const struct vh_session *session, enum vhost_user_protocol bit)
{
	return session->protocol & 1ull << bit;
}

/* ---- answers ---- */

int vh_message_reply(struct vh_session *session, const struct vh_message *msg, const void *payload,
		     size_t len, int fd)
{
	struct vhost_user_header header = {
		.request = le32_make(msg->request),
		.flags = le32_make(VHOST_USER_VERSION | VHOST_USER_REPLY),
		.size = le32_make((uint32_t)len),
	};
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)payload, len } };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr out = { .msg_iov = iov, .msg_iovlen = 2 };

	if (fd >= 0) {
		struct cmsghdr *cmsg;

		out.msg_control = control.bytes;
		out.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&out);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	/* who does not read its answers is not waited for */
	if (sendmsg(session->fd, &out, MSG_NOSIGNAL | MSG_DONTWAIT) ==
	    (ssize_t)(sizeof(header) + len))
		return 0;
	snprintf(session->why, sizeof(session->why), "it does not take its answers");
	return -EPIPE;
}

int vh_message_refuse(struct vh_session *session, const struct vh_message *msg, const char *why)
{
	snprintf(session->why, sizeof(session->why), "message %u: %s", msg->request, why);
	return -EINVAL;
}

static int reply_u64(struct vh_session *session, const struct vh_message *msg, uint64_t value)
{
	le64 payload = le64_make(value);

	return vh_message_reply(session, msg, &payload, sizeof(payload), -1);
}

/* ---- features ---- */

static uint64_t offered(const struct vh_session *session)
{
	return session->dev->ops->features(session->dev) | 1ull << VIRTIO_F_VERSION_1 |
	       1ull << VIRTIO_F_INDIRECT_DESC | 1ull << VIRTIO_F_EVENT_IDX |
	       1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_RING_RESET |
	       1ull << VIRTIO_F_ANY_LAYOUT | 1ull << VHOST_F_LOG_ALL |
	       1ull << VHOST_USER_F_PROTOCOL_FEATURES;
}

static int get_features(struct vh_session *session, struct vh_message *msg)
{
	return reply_u64(session, msg, offered(session));
}

/* A migration begins or ends: nothing else about the rings changes. */
static void queue_log(struct vh_queue *queue)
{
	struct vh_session *session = queue->session;

	queue->log = session->features & 1ull << VHOST_F_LOG_ALL ? &session->log : NULL;
}

static int set_features(struct vh_session *session, struct vh_message *msg)
{
	uint64_t features = le64_get(msg->payload.u64), before = session->features;
	uint64_t log = 1ull << VHOST_F_LOG_ALL;

	if (features & ~offered(session))
		return vh_message_refuse(session, msg, "features that were not offered");
	session->features = features;
	if (session->features_set && (before & ~log) == (features & ~log)) {
		vh_session_each(session, queue_log);
		return 0;
	}
	vh_vrings_stop(session);
	session->features_set = true;
	session->dev->ops->negotiated(session->dev, features);
	vh_vrings_update(session);
	return 0;
}

/* The monitor answers for the configuration space of a SCSI adapter itself. */
static uint64_t protocol_offered(const struct vh_session *session)
{
	return protocol_always |
	       (session->dev->ops->config_get ? 1ull << VHOST_USER_PROTOCOL_CONFIG : 0);
}

static int get_protocol_features(struct vh_session *session, struct vh_message *msg)
{
	return reply_u64(session, msg, protocol_offered(session));
}

static int set_protocol_features(struct vh_session *session, struct vh_message *msg)
{
	uint64_t features = le64_get(msg->payload.u64);

	if (features & ~protocol_offered(session))
		return vh_message_refuse(session, msg, "features that were not offered");
	session->protocol = features;
	return 0;
}

static int get_queue_num(struct vh_session *session, struct vh_message *msg)
{
	return reply_u64(session, msg, session->dev->queue_count);
}

static int nothing(struct vh_session *session, struct vh_message *msg)
{
	return 0;
}

/* ---- memory ---- */

/* Rings pause, see the new table, and go on; then nothing knows the old one. */
static void memory_publish(struct vh_session *session, struct vh_memory *memory)
{
	struct vh_memory *old = session->memory;

	session->memory = memory;
	vh_session_each(session, vh_queue_remap);
	vh_memory_free(old);
	vh_vrings_update(session);
}

static int set_mem_table(struct vh_session *session, struct vh_message *msg)
{
	const struct vhost_user_memory *table = &msg->payload.memory;
	uint32_t count = le32_get(table->count);
	struct vh_memory *memory;
	int rc;

	if (count > VHOST_USER_REGIONS_MAX || msg->fds != count ||
	    msg->size < 8 + count * sizeof(table->region[0]))
		return vh_message_refuse(session, msg, "not as many regions as it says");
	rc = vh_memory_create(session->memory, table->region, msg->fd, count, session, &memory);
	if (rc)
		return vh_message_refuse(session, msg, strerror(-rc));
	memory_publish(session, memory);
	return 0;
}

static int mem_reg(struct vh_session *session, struct vh_message *msg, int fd)
{
	struct vh_memory *memory;
	int rc = vh_memory_change(session->memory, &msg->payload.single.region, fd, session,
				  &memory);

	if (rc)
		return vh_message_refuse(session, msg, strerror(-rc));
	memory_publish(session, memory);
	return 0;
}

static int add_mem_reg(struct vh_session *session, struct vh_message *msg)
{
	if (msg->fds != 1)
		return vh_message_refuse(session, msg, "a region needs one descriptor");
	return mem_reg(session, msg, msg->fd[0]);
}

static int rem_mem_reg(struct vh_session *session, struct vh_message *msg)
{
	return mem_reg(session, msg, -1);
}

static int get_max_mem_slots(struct vh_session *session, struct vh_message *msg)
{
	return reply_u64(session, msg, VH_REGIONS_MAX);
}

static void queue_log_none(struct vh_queue *queue)
{
	queue->log = NULL;
}

static int set_log_base(struct vh_session *session, struct vh_message *msg)
{
	int rc;

	if (msg->fds != 1)
		return vh_message_refuse(session, msg, "a log needs one descriptor");
	vh_session_each(session, queue_log_none);
	rc = vh_log_set(session, &msg->payload.log, msg->fd[0]);
	vh_session_each(session, queue_log);
	if (rc)
		return vh_message_refuse(session, msg, strerror(-rc));
	/* with a log in shared memory the answer comes always */
	return reply_u64(session, msg, 0);
}

/* ---- configuration, in-flight memory, reset ---- */

static int get_config(struct vh_session *session, struct vh_message *msg)
{
	struct vhost_user_config *config = &msg->payload.config;
	uint32_t offset = le32_get(config->offset), size = le32_get(config->size);
	uint8_t space[VHOST_USER_CONFIG_MAX] = { 0 };
	size_t len = session->dev->ops->config_get(session->dev, space);

	if (size > VHOST_USER_CONFIG_MAX || msg->size != VHOST_USER_CONFIG_HEADER_BYTES + size ||
	    offset > sizeof(space) || size > sizeof(space) - offset || len == 0) {
		/* no payload: that is how this message says no */
		return vh_message_reply(session, msg, NULL, 0, -1);
	}
	memcpy(config->region, space + offset, size);
	return vh_message_reply(session, msg, config, msg->size, -1);
}

static int set_config(struct vh_session *session, struct vh_message *msg)
{
	struct vhost_user_config *config = &msg->payload.config;
	uint32_t offset = le32_get(config->offset), size = le32_get(config->size);

	if (size > VHOST_USER_CONFIG_MAX || msg->size != VHOST_USER_CONFIG_HEADER_BYTES + size ||
	    session->dev->ops->config_set(session->dev, offset, config->region, size))
		return vh_message_refuse(session, msg, "that cannot be set");
	return 0;
}

/* 20 bytes as the protocol has it, 24 as QEMU sends it. */
static bool inflight_fits(const struct vh_message *msg)
{
	return msg->size == VHOST_USER_INFLIGHT_BYTES ||
	       msg->size == sizeof(struct vhost_user_inflight);
}

static int get_inflight_fd(struct vh_session *session, struct vh_message *msg)
{
	const struct vhost_user_inflight *want = &msg->payload.inflight;
	struct vhost_user_inflight reply;
	int fd, rc;

	if (!inflight_fits(msg))
		return vh_message_refuse(session, msg, "of a wrong length");
	rc = vh_inflight_create(session, le16_get(want->num_queues), le16_get(want->queue_size),
				&reply, &fd);
	if (rc)
		return vh_message_refuse(session, msg, strerror(-rc));
	rc = vh_message_reply(session, msg, &reply, msg->size, fd);
	close(fd);
	return rc;
}

static int set_inflight_fd(struct vh_session *session, struct vh_message *msg)
{
	int rc;

	if (msg->fds != 1 || !inflight_fits(msg))
		return vh_message_refuse(session, msg, "in-flight memory needs one descriptor");
	vh_vrings_stop(session);
	rc = vh_inflight_set(session, &msg->payload.inflight, msg->fd[0]);
	vh_vrings_update(session);
	return rc ? vh_message_refuse(session, msg, strerror(-rc)) : 0;
}

/* The front end's side of the session: as long as we had it, the session would not end. */
static bool is_own_socket(const struct vh_session *session, int fd)
{
	struct sockaddr_un ours = { 0 }, peer = { 0 };
	socklen_t ours_len = sizeof(ours), peer_len = sizeof(peer);

	return getsockname(session->fd, (struct sockaddr *)&ours, &ours_len) == 0 &&
	       getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
	       peer_len == ours_len && memcmp(&ours, &peer, MIN(ours_len, sizeof(ours))) == 0;
}

static int set_backend_req_fd(struct vh_session *session, struct vh_message *msg)
{
	if (msg->fds != 1 || is_own_socket(session, msg->fd[0]))
		return vh_message_refuse(session, msg, "a channel needs a descriptor of its own");
	vh_fd_close(session->backend_fd);
	session->backend_fd = msg->fd[0];
	msg->fd[0] = -1;
	return 0;
}

static int reset_device(struct vh_session *session, struct vh_message *msg)
{
	vh_vrings_reset(session);
	if (session->dev->ops->reset)
		session->dev->ops->reset(session->dev);
	return 0;
}

/* ---- dispatch ---- */

enum { ANY_SIZE = 0xffff };

static const struct message_kind {
	vh_handler *handle;
	uint16_t size;                  /* of the payload; ANY_SIZE: its handler looks */
	uint8_t fds_max;
	bool answers;                   /* by itself: REPLY_ACK does not add another */
	uint8_t needs;                  /* protocol feature + 1 */
} kinds[VHOST_USER_REQUEST_COUNT] = {
	[VHOST_USER_GET_FEATURES] = { get_features, 0, 0, true },
	[VHOST_USER_SET_FEATURES] = { set_features, 8 },
	[VHOST_USER_SET_OWNER] = { nothing, 0 },
	[VHOST_USER_RESET_OWNER] = { reset_device, 0 },
	[VHOST_USER_SET_MEM_TABLE] = { set_mem_table, ANY_SIZE, VHOST_USER_FDS_MAX },
	[VHOST_USER_SET_LOG_BASE] = { set_log_base, sizeof(struct vhost_user_log), 1, true,
		VHOST_USER_PROTOCOL_LOG_SHMFD + 1 },
	[VHOST_USER_SET_LOG_FD] = { nothing, 0, 1 },
	[VHOST_USER_SET_VRING_NUM] = { vh_set_vring_num, 8 },
	[VHOST_USER_SET_VRING_ADDR] = { vh_set_vring_addr, sizeof(struct vhost_user_vring_addr) },
	[VHOST_USER_SET_VRING_BASE] = { vh_set_vring_base, 8 },
	[VHOST_USER_GET_VRING_BASE] = { vh_get_vring_base, 8, 0, true },
	[VHOST_USER_SET_VRING_KICK] = { vh_set_vring_kick, 8, 1 },
	[VHOST_USER_SET_VRING_CALL] = { vh_set_vring_call, 8, 1 },
	[VHOST_USER_SET_VRING_ERR] = { vh_set_vring_err, 8, 1 },
	[VHOST_USER_GET_PROTOCOL_FEATURES] = { get_protocol_features, 0, 0, true },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = { set_protocol_features, 8 },
	[VHOST_USER_GET_QUEUE_NUM] = { get_queue_num, 0, 0, true, VHOST_USER_PROTOCOL_MQ + 1 },
	[VHOST_USER_SET_VRING_ENABLE] = { vh_set_vring_enable, 8 },
	[VHOST_USER_SET_BACKEND_REQ_FD] = { set_backend_req_fd, 0, 1, false,
		VHOST_USER_PROTOCOL_BACKEND_REQ + 1 },
	[VHOST_USER_GET_CONFIG] = { get_config, ANY_SIZE, 0, true,
		VHOST_USER_PROTOCOL_CONFIG + 1 },
	[VHOST_USER_SET_CONFIG] = { set_config, ANY_SIZE, 0, false,
		VHOST_USER_PROTOCOL_CONFIG + 1 },
	[VHOST_USER_GET_INFLIGHT_FD] = { get_inflight_fd, ANY_SIZE, 0, true,
		VHOST_USER_PROTOCOL_INFLIGHT_SHMFD + 1 },
	[VHOST_USER_SET_INFLIGHT_FD] = { set_inflight_fd, ANY_SIZE, 1, false,
		VHOST_USER_PROTOCOL_INFLIGHT_SHMFD + 1 },
	[VHOST_USER_RESET_DEVICE] = { reset_device, 0, 0, false,
		VHOST_USER_PROTOCOL_RESET_DEVICE + 1 },
	[VHOST_USER_GET_MAX_MEM_SLOTS] = { get_max_mem_slots, 0, 0, true,
		VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS + 1 },
	[VHOST_USER_ADD_MEM_REG] = { add_mem_reg, sizeof(struct vhost_user_single_region), 1, false,
		VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS + 1 },
	[VHOST_USER_REM_MEM_REG] = { rem_mem_reg, sizeof(struct vhost_user_single_region), 1, false,
		VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS + 1 },
};

static const struct message_kind *kind_of(const struct vh_message *msg)
{
	return msg->request < VHOST_USER_REQUEST_COUNT && kinds[msg->request].handle ?
		&kinds[msg->request] : NULL;
}

static int check(struct vh_session *session, const struct vh_message *msg)
{
	const struct message_kind *kind = kind_of(msg);

	if (!kind)
		return vh_message_refuse(session, msg, "not known");
	if ((msg->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return vh_message_refuse(session, msg, "of another version of the protocol");
	if (kind->needs && !agreed(session, kind->needs - 1))
		return vh_message_refuse(session, msg, "needs a feature that was not agreed on");
	if (kind->size != ANY_SIZE && msg->size != kind->size)
		return vh_message_refuse(session, msg, "of a wrong length");
	if (kind->size == ANY_SIZE && msg->size < 8)
		return vh_message_refuse(session, msg, "of a wrong length");
	if (msg->fds > kind->fds_max)
		return vh_message_refuse(session, msg, "with more descriptors than it may have");
	return 0;
}

int vh_message_handle(struct vh_session *session, struct vh_message *msg)
{
	const struct message_kind *kind = kind_of(msg);
	bool ack = (msg->flags & VHOST_USER_NEED_REPLY) && !(kind && kind->answers) &&
		   agreed(session, VHOST_USER_PROTOCOL_REPLY_ACK);
	int rc = check(session, msg);

	if (rc == 0)
		rc = kind->handle(session, msg);
	if (!ack || rc == -EPIPE)
		return rc;
	if (rc)
		log_warn("vhost %s: %s", session->dev->options.name, session->why);
	return reply_u64(session, msg, rc != 0);
}
