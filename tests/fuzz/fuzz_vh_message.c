/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A front end that sends anything to a device with a small disk. The first byte says how far the
 * harness goes by itself before the input takes over:
 *
 *	bits 1:0  0 a fresh connection, 1 features and memory, 2 a split ring, 3 a packed one
 *	bit 2     requests are at the disk all the while
 *	bit 3     chunks are whole messages: request (u8), flags (u8), then the payload
 *
 * Then chunks: u8 descriptors (low nibble how many, high nibble which kind), u16 length, bytes.
 * When the front end has gone nothing may be left over, and the next one is served. The device
 * lives on from one input to the next.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/panic.h"
#include "tests/unit/vh_box.h"

enum {
	START_FRESH, START_OPEN, START_SPLIT, START_PACKED, START_MASK = 3,
	BUSY = 1 << 2, MESSAGES = 1 << 3,
	RING = 16,
	CHUNKS_MAX = 200,
};

static struct vbox box;

static void must(bool right)
{
	if (!right)
		abort();
}

static void start(uint8_t how)
{
	unsigned level = how & START_MASK;
	bool packed = level == START_PACKED;

	box.next = 0;
	box.disk->mode = how & BUSY ? FAKE_HELD : FAKE_INSTANT;
	if (level == START_FRESH) {
		vbox_connect(&box);
		return;
	}
	vbox_open(&box, 1ull << VIRTIO_F_INDIRECT_DESC |
		  (packed ? 1ull << VIRTIO_F_RING_PACKED : 0));
	if (level == START_OPEN)
		return;
	for (unsigned i = 0; i < VBOX_QUEUES; i++) {
		struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = 512 };

		vbox_ring_make(&box, i, RING, packed);
		vbox_ring_start(&box, i);
		vbox_blk_add(&box, i, &read);
	}
}

static int fd_of(unsigned kind)
{
	switch (kind % 4) {
	case 0:
		return box.mem_fd;
	case 1:
		return box.ring[0].kick_fd >= 0 ? box.ring[0].kick_fd : box.mem_fd;
	case 2:
		return STDIN_FILENO;
	default:
		return box.sock;
	}
}

static void answers_take(void)
{
	struct vhost_user_header header;
	uint8_t payload[sizeof(union vhost_user_payload)];

	while (vbox_answer(&box, &header, payload, sizeof(payload), NULL) >= 0)
		;
}

static void chunk_send(uint8_t how, uint8_t which, const uint8_t *data, size_t len)
{
	unsigned fds = which & 15;
	int fd[16];

	for (unsigned i = 0; i < fds; i++)
		fd[i] = fd_of((which >> 4) + i);
	if (how & MESSAGES && len >= 2) {
		struct vbox_message msg = { .request = data[0], .flags = data[1],
					    .payload = data + 2, .len = len - 2, .fd = fd,
					    .fds = fds };

		vbox_send(&box, &msg);
	} else if (len) {
		vbox_send_bytes(&box, data, len);
	}
}

static void input_send(uint8_t how, const uint8_t *data, size_t size)
{
	for (unsigned i = 0; i < CHUNKS_MAX && size >= 3 && box.dev->session; i++) {
		size_t len = MIN((size_t)data[1] | (size_t)data[2] << 8, size - 3);

		chunk_send(how, data[0], data + 3, len);
		answers_take();
		if (i % 4 == 3)
			fake_release(box.disk, 1);
		data += 3 + len;
		size -= 3 + len;
	}
}

static unsigned fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void end(void)
{
	vbox_stop(&box);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	unsigned fds;

	if (size < 1)
		return 0;
	if (!started) {
		started = true;
		vbox_start(&box, FAKE_INSTANT);
		atexit(end);
	}
	fds = fds_open();
	start(data[0]);
	input_send(data[0], data + 1, size - 1);
	box.disk->mode = FAKE_INSTANT;
	fake_release_all(box.disk);
	loop_drain();
	vbox_hangup(&box);
	must(!box.dev->session && vh_fault_watched() == 0 && fds_open() == fds);
	return 0;
}
