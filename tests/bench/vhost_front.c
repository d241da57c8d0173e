/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket's side of the front end: each message is sent, and where an answer comes, waited for.
 * The memory is one file of zeroes in memory, one region for the back end.
 */
#include "tests/bench/vhost_front.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("vhost_load: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* ---- messages ---- */

/* FD -1: none goes along. */
static void message_send(struct front *f, enum vhost_user_request request, const void *payload,
			 size_t len, int fd)
{
	struct vhost_user_header header = {
		.request = le32_make(request),
		.flags = le32_make(VHOST_USER_VERSION),
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
	if (sendmsg(f->fd, &out, MSG_NOSIGNAL) != (ssize_t)(sizeof(header) + len))
		die("message %d: %s", request, strerror(errno));
}

static void receive_all(struct front *f, void *data, size_t len, int *fd)
{
	char *at = data;

	while (len) {
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control;
		struct iovec iov = { at, len };
		struct msghdr in = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
		};
		ssize_t got = recvmsg(f->fd, &in, 0);
		const struct cmsghdr *cmsg;

		if (got <= 0)
			die("no answer: %s", got ? strerror(errno) : "the back end has closed");
		cmsg = CMSG_FIRSTHDR(&in);
		if (cmsg && cmsg->cmsg_type == SCM_RIGHTS && fd)
			memcpy(fd, CMSG_DATA(cmsg), sizeof(*fd));
		at += got;
		len -= (size_t)got;
	}
}

/* The answer to REQUEST, exactly LEN bytes; FD NULL: no descriptor is expected. */
static void message_answer(struct front *f, enum vhost_user_request request, void *payload,
			   size_t len, int *fd)
{
	struct vhost_user_header header;

	receive_all(f, &header, sizeof(header), fd);
	if (le32_get(header.request) != request || le32_get(header.size) != len)
		die("message %d is answered by message %u of %u bytes", request,
		    le32_get(header.request), le32_get(header.size));
	receive_all(f, payload, len, fd);
}

static uint64_t ask_u64(struct front *f, enum vhost_user_request request)
{
	le64 answer;

	message_send(f, request, NULL, 0, -1);
	message_answer(f, request, &answer, sizeof(answer), NULL);
	return le64_get(answer);
}

static void tell_u64(struct front *f, enum vhost_user_request request, uint64_t value, int fd)
{
	le64 payload = le64_make(value);

	message_send(f, request, &payload, sizeof(payload), fd);
}

static void tell_state(struct front *f, enum vhost_user_request request, unsigned index,
		       unsigned num)
{
	struct vhost_user_vring_state state = { le32_make(index), le32_make(num) };

	message_send(f, request, &state, sizeof(state), -1);
}

/* ---- what both agree on ---- */

bool front_has(const struct front *f, enum virtio_feature bit)
{
	return f->features & 1ull << bit;
}

void front_open(struct front *f, const char *path, uint64_t wanted)
{
	const uint64_t protocol = 1ull << VHOST_USER_PROTOCOL_MQ |
				  1ull << VHOST_USER_PROTOCOL_CONFIG |
				  1ull << VHOST_USER_PROTOCOL_INFLIGHT_SHMFD;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	*f = (struct front){ .inflight_fd = -1 };
	if (strlen(path) >= sizeof(sun.sun_path))
		die("%s: too long for a socket", path);
	memcpy(sun.sun_path, path, strlen(path));
	f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->fd < 0 || connect(f->fd, (struct sockaddr *)&sun, sizeof(sun)))
		die("%s: %s", path, strerror(errno));
	f->features = ask_u64(f, VHOST_USER_GET_FEATURES) &
		      (wanted | 1ull << VHOST_USER_F_PROTOCOL_FEATURES |
		       1ull << VIRTIO_F_VERSION_1);
	if (!front_has(f, VHOST_USER_F_PROTOCOL_FEATURES))
		die("%s: offers no protocol features", path);
	f->protocol = ask_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES) & protocol;
	tell_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, f->protocol, -1);
	message_send(f, VHOST_USER_SET_OWNER, NULL, 0, -1);
	tell_u64(f, VHOST_USER_SET_FEATURES, f->features, -1);
}

unsigned front_queues(struct front *f)
{
	return (unsigned)ask_u64(f, VHOST_USER_GET_QUEUE_NUM);
}

void front_config(struct front *f, void *config, size_t len)
{
	struct vhost_user_config msg = { .size = le32_make((uint32_t)len) };
	size_t all = VHOST_USER_CONFIG_HEADER_BYTES + len;

	message_send(f, VHOST_USER_GET_CONFIG, &msg, all, -1);
	message_answer(f, VHOST_USER_GET_CONFIG, &msg, all, NULL);
	memcpy(config, msg.region, len);
}

/* ---- memory ---- */

void front_share(struct front *f, size_t bytes)
{
	struct vhost_user_memory table = { .count = le32_make(1) };
	int fd = memfd_create("vhost_load", MFD_CLOEXEC);

	f->memory_bytes = bytes;
	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		die("%zu bytes of memory: %s", bytes, strerror(errno));
	f->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (f->memory == MAP_FAILED)
		die("%zu bytes of memory: %s", bytes, strerror(errno));
	table.region[0] = (struct vhost_user_region){
		.guest_addr = le64_make(GUEST_BASE),
		.size = le64_make(bytes),
		.user_addr = le64_make((uintptr_t)f->memory),
	};
	message_send(f, VHOST_USER_SET_MEM_TABLE, &table,
		     offsetof(struct vhost_user_memory, region[1]), fd);
	close(fd);
}

void *front_take(struct front *f, size_t bytes, size_t align)
{
	size_t at = ALIGN_UP(f->memory_used, align);

	if (at + bytes > f->memory_bytes)
		die("%zu bytes of shared memory are too few", f->memory_bytes);
	f->memory_used = at + bytes;
	return f->memory + at;
}

uint64_t front_guest(const struct front *f, const void *at)
{
	return GUEST_BASE + (uint64_t)((const char *)at - f->memory);
}

void front_inflight(struct front *f, unsigned queues, unsigned size)
{
	struct vhost_user_inflight msg = {
		.num_queues = le16_make((uint16_t)queues),
		.queue_size = le16_make((uint16_t)size),
	};

	if (!(f->protocol & 1ull << VHOST_USER_PROTOCOL_INFLIGHT_SHMFD))
		die("in-flight memory is not offered");
	message_send(f, VHOST_USER_GET_INFLIGHT_FD, &msg, sizeof(msg), -1);
	message_answer(f, VHOST_USER_GET_INFLIGHT_FD, &msg, sizeof(msg), &f->inflight_fd);
	if (f->inflight_fd < 0)
		die("in-flight memory has no descriptor");
	message_send(f, VHOST_USER_SET_INFLIGHT_FD, &msg, sizeof(msg), f->inflight_fd);
}

/* ---- rings ---- */

void front_start_ring(struct front *f, struct ring *r)
{
	struct vhost_user_vring_addr addr = {
		.index = le32_make(r->index),
		.desc = le64_make((uintptr_t)r->desc),
		.avail = le64_make((uintptr_t)r->avail),
		.used = le64_make((uintptr_t)r->used),
	};
	int call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	r->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->kick_fd < 0 || call_fd < 0)
		die("eventfd: %s", strerror(errno));
	tell_state(f, VHOST_USER_SET_VRING_NUM, r->index, r->size);
	/* a packed ring begins at 0 with both wrap counters set */
	tell_state(f, VHOST_USER_SET_VRING_BASE, r->index, r->packed ? 0x80008000u : 0);
	message_send(f, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	tell_u64(f, VHOST_USER_SET_VRING_CALL, r->index, call_fd);
	tell_u64(f, VHOST_USER_SET_VRING_KICK, r->index, r->kick_fd);
	tell_state(f, VHOST_USER_SET_VRING_ENABLE, r->index, 1);
	close(call_fd);
}

unsigned front_stop_ring(struct front *f, struct ring *r)
{
	struct vhost_user_vring_state state = { .index = le32_make(r->index) };

	message_send(f, VHOST_USER_GET_VRING_BASE, &state, sizeof(state), -1);
	message_answer(f, VHOST_USER_GET_VRING_BASE, &state, sizeof(state), NULL);
	close(r->kick_fd);
	return le32_get(state.num);
}
