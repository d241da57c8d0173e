/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/vh_box.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "core/buf.h"
#include "core/dma.h"
#include "targets/vhost/module.h"

/* ---- the house ---- */

static void box_open(void *arg)
{
	struct vbox *b = arg;
	struct bdev shape = {
		.name = "box", .driver = "fake", .block_bytes = VBOX_BLOCK_BYTES,
		.block_count = VBOX_BLOCKS, .volatile_cache = true, .unmap_zeroes = true,
		.atomic_blocks = 1, .limits.align_bytes = 1, .serial = "SERIAL",
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH | 1 << IO_UNMAP |
				 1 << IO_WRITE_ZEROES,
	};
	struct vh_options options;

	ASSERT(vh_init() == 0);
	b->disk = fake_create(&shape, FAKE_INSTANT, 1);
	vh_options_init(&options, "box");
	options.queues = VBOX_QUEUES;
	snprintf(options.path, sizeof(options.path), "%s/s", b->folder);
	ASSERT(vh_blk_create(&options, "box", false) == 0);
	b->dev = vh_device_find("box");
}

static void box_close(void *arg)
{
	struct vbox *b = arg;

	vh_fini();
	if (b->disk_gone)
		fake_free(b->disk);
	else
		fake_remove(b->disk);
}

void vbox_start(struct vbox *b, enum fake_mode mode)
{
	struct dma_opts opts = { .memory_mib = 16, .no_huge = true, .program = "test" };

	memset(b, 0, sizeof(*b));
	b->sock = -1;
	snprintf(b->folder, sizeof(b->folder), "/tmp/karst-vh-XXXXXX");
	ASSERT(mkdtemp(b->folder));
	panic_init();
	ASSERT(dma_init(&opts) == 0);
	loop_setup(NULL);
	ASSERT(buf_init() == 0);
	ASSERT(bdev_init() == 0);
	loop_task(box_open, b);
	b->disk->mode = mode;
	b->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	ASSERT(b->mem_fd >= 0 && ftruncate(b->mem_fd, VBOX_BYTES) == 0);
	b->mem = mmap(NULL, VBOX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, b->mem_fd, 0);
	ASSERT(b->mem != MAP_FAILED);
	for (unsigned i = 0; i < VBOX_QUEUES; i++)
		b->ring[i].kick_fd = b->ring[i].call_fd = -1;
}

void vbox_stop(struct vbox *b)
{
	vbox_hangup(b);
	b->disk->mode = FAKE_INSTANT;
	fake_release_all(b->disk);
	loop_drain();
	if (vh_device_find("box"))
		assert_null(b->dev->session);
	assert_int_equal(vh_fault_watched(), 0);
	assert_int_equal(b->disk->held_count, 0);
	loop_task(box_close, b);
	bdev_fini();
	buf_fini();
	loop_teardown(NULL);
	dma_fini();
	munmap(b->mem, VBOX_BYTES);
	close(b->mem_fd);
	assert_int_equal(rmdir(b->folder), 0);
}

/* ---- the front end ---- */

void vbox_connect(struct vbox *b)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	assert_int_equal(b->sock, -1);
	memcpy(sun.sun_path, b->dev->options.path, strlen(b->dev->options.path) + 1);
	b->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_return_code(connect(b->sock, (struct sockaddr *)&sun, sizeof(sun)), errno);
	loop_drain();
}

void vbox_hangup(struct vbox *b)
{
	if (b->sock >= 0)
		close(b->sock);
	b->sock = -1;
	for (unsigned i = 0; i < VBOX_QUEUES; i++) {
		if (b->ring[i].kick_fd < 0)
			continue;
		close(b->ring[i].kick_fd);
		close(b->ring[i].call_fd);
		b->ring[i].kick_fd = b->ring[i].call_fd = -1;
	}
	loop_drain();
}

ssize_t vbox_post(struct vbox *b, const struct vbox_message *msg)
{
	struct vhost_user_header header = {
		.request = le32_make(msg->request),
		.flags = le32_make(msg->flags ? msg->flags : VHOST_USER_VERSION),
		.size = le32_make((uint32_t)msg->len),
	};
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)msg->payload, msg->len } };
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr out = { .msg_iov = iov, .msg_iovlen = 2 };

	if (msg->fds) {
		struct cmsghdr *cmsg;

		out.msg_control = control.bytes;
		out.msg_controllen = CMSG_SPACE(msg->fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&out);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(msg->fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), msg->fd, msg->fds * sizeof(int));
	}
	return sendmsg(b->sock, &out, MSG_NOSIGNAL);
}

void vbox_send(struct vbox *b, const struct vbox_message *msg)
{
	vbox_post(b, msg);
	loop_drain();
}

void vbox_send_bytes(struct vbox *b, const void *bytes, size_t len)
{
	send(b->sock, bytes, len, MSG_NOSIGNAL);
	loop_drain();
}

ssize_t vbox_answer(struct vbox *b, struct vhost_user_header *header, void *payload, size_t max,
		    int *fd)
{
	struct iovec iov = { header, sizeof(*header) };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr in = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t got = recvmsg(b->sock, &in, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg = got > 0 ? CMSG_FIRSTHDR(&in) : NULL;

	if (got < 0)
		return errno == EAGAIN ? -1 : -2;
	if (got == 0)
		return -2;
	assert_int_equal(got, sizeof(*header));
	if (cmsg) {
		int received;

		memcpy(&received, CMSG_DATA(cmsg), sizeof(received));
		if (fd)
			*fd = received;
		else
			close(received);
	}
	assert_true(le32_get(header->flags) & VHOST_USER_REPLY);
	assert_true(le32_get(header->size) <= max);
	if (le32_get(header->size))
		assert_int_equal(recv(b->sock, payload, le32_get(header->size), 0),
				 le32_get(header->size));
	return le32_get(header->size);
}

uint64_t vbox_acked(struct vbox *b, uint32_t request, const void *payload, size_t len, int fd)
{
	struct vbox_message msg = {
		.request = request, .flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY,
		.payload = payload, .len = len, .fd = &fd, .fds = fd >= 0,
	};
	struct vhost_user_header header;
	le64 answer;

	vbox_send(b, &msg);
	assert_int_equal(vbox_answer(b, &header, &answer, sizeof(answer), NULL), sizeof(answer));
	assert_int_equal(le32_get(header.request), request);
	return le64_get(answer);
}

bool vbox_gone(struct vbox *b)
{
	struct vhost_user_header header;
	uint8_t payload[sizeof(union vhost_user_payload)];
	ssize_t got;

	do
		got = vbox_answer(b, &header, payload, sizeof(payload), NULL);
	while (got >= 0);
	return got == -2;
}

static void send_u64(struct vbox *b, uint32_t request, uint64_t value)
{
	le64 payload = le64_make(value);

	vbox_send(b, &(struct vbox_message){ .request = request, .payload = &payload,
					     .len = sizeof(payload) });
}

void vbox_features(struct vbox *b, uint64_t features)
{
	send_u64(b, VHOST_USER_SET_FEATURES, features | 1ull << VIRTIO_F_VERSION_1 |
		 1ull << VHOST_USER_F_PROTOCOL_FEATURES);
}

uint64_t vbox_share(struct vbox *b)
{
	struct vhost_user_memory table = {
		.count = le32_make(1),
		.region[0] = { le64_make(VBOX_GUEST), le64_make(VBOX_BYTES), le64_make(VBOX_USER) },
	};

	return vbox_acked(b, VHOST_USER_SET_MEM_TABLE, &table, 8 + sizeof(table.region[0]),
			  b->mem_fd);
}

void vbox_open(struct vbox *b, uint64_t features)
{
	struct vhost_user_header header;
	le64 protocol;

	vbox_connect(b);
	vbox_send(b, &(struct vbox_message){ .request = VHOST_USER_GET_PROTOCOL_FEATURES });
	assert_int_equal(vbox_answer(b, &header, &protocol, sizeof(protocol), NULL), 8);
	send_u64(b, VHOST_USER_SET_PROTOCOL_FEATURES, le64_get(protocol));
	vbox_features(b, features);
	assert_int_equal(vbox_share(b), 0);
}
