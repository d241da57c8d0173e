/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/volume_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"

static void start(struct store_box *box)
{
	if (volumes_start(box->store, &box->why) < 0)
		fail_msg("%s", box->why.text);
}

static void stop(struct store_box *box)
{
	if (volumes_stop(box->store, &box->why) < 0)
		fail_msg("%s", box->why.text);
}

void volume_box_open(struct store_box *box, uint64_t bytes, uint32_t block_bytes)
{
	store_box_open(box, bytes, block_bytes);
	start(box);
}

void volume_box_close(struct store_box *box)
{
	stop(box);
	store_box_close(box);
}

void volume_box_reload(struct store_box *box)
{
	stop(box);
	store_box_reload(box);
	start(box);
}

void volume_box_crash(struct store_box *box)
{
	stop(box);
	store_box_crash(box);
	start(box);
}

struct blob *volume_box_make(struct store_box *box, const char *name, uint64_t clusters, bool thin)
{
	struct blob *b;

	if (volume_create(box->store, name, clusters * BOX_CLUSTER_BYTES, thin, NULL, &b,
			  &box->why) < 0)
		fail_msg("%s", box->why.text);
	return b;
}

struct blob *volume_box_find(const char *name)
{
	char path[BDEV_NAME_BYTES];
	struct blob *b;

	snprintf(path, sizeof(path), "box/%s", name);
	b = volume_find(path);
	assert_non_null(b);
	return b;
}

uint64_t volume_box_mapped(const char *name)
{
	return blob_map_mapped(volume_box_find(name)->map);
}

enum io_status volume_box_io(const char *name, enum io_op op, unsigned flags, uint64_t lba,
			     uint32_t count, void *data)
{
	struct bdev_user user = { .who = "test", .write = op != IO_READ };
	char path[BDEV_NAME_BYTES];
	struct iovec iov;
	struct io io = { .op = (uint8_t)op, .flags = (uint8_t)flags, .lba = lba,
			 .lba_count = count };
	int rc;

	snprintf(path, sizeof(path), "box/%s", name);
	rc = bdev_open(path, &user);
	if (rc < 0)
		fail_msg("%s: %s", path, strerror(-rc));
	if (data) {
		iov = (struct iovec){ data, (size_t)count * user.bdev->block_bytes };
		io.iov = &iov;
		io.iov_count = 1;
	}
	task_io(bdev_chan(user.bdev), &io);
	bdev_close(&user);
	return io.status;
}

static uint32_t block_bytes(const char *name)
{
	return volume_box_find(name)->store->super.block_bytes;
}

void volume_box_fill(const char *name, uint64_t at, uint64_t bytes, uint8_t fill)
{
	uint32_t block = block_bytes(name);
	uint8_t *data = malloc(bytes);

	assert_non_null(data);
	memset(data, fill, bytes);
	assert_int_equal(volume_box_io(name, IO_WRITE, 0, at / block, (uint32_t)(bytes / block),
				       data), IO_OK);
	free(data);
}

void volume_box_is(const char *name, uint64_t at, uint64_t bytes, uint8_t fill)
{
	uint32_t block = block_bytes(name);
	uint8_t *data = malloc(bytes);

	assert_non_null(data);
	memset(data, ~fill, bytes);
	assert_int_equal(volume_box_io(name, IO_READ, 0, at / block, (uint32_t)(bytes / block),
				       data), IO_OK);
	for (uint64_t i = 0; i < bytes; i++)
		if (data[i] != fill)
			fail_msg("%s: byte %llu is %02x, not %02x", name,
				 (unsigned long long)(at + i), data[i], fill);
	free(data);
}
