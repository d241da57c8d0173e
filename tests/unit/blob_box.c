/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/blob_box.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/task.h"

enum { STALE_BYTE = 0xa5 };

uint64_t box_memory[BOX_BLOCKS * BOX_WORDS] __attribute__((aligned(4096)));

void box_fail(const struct blob_box *box, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fail_msg("seed %" PRIu64 ": after %s: %s", box->seed, box->said, text);
	abort();
}

uint64_t box_random(struct blob_box *box)
{
	box->random ^= box->random << 13;
	box->random ^= box->random >> 7;
	box->random ^= box->random << 17;
	return box->random >> 11;
}

unsigned box_below(struct blob_box *box, unsigned n)
{
	return (unsigned)(box_random(box) % n);
}

void box_ok(const struct blob_box *box, int rc, const struct why *why, const char *what)
{
	if (rc)
		box_fail(box, "%s: %s (%s)", what, strerror(-rc), why->text);
}

/* ---- disk and store ---- */

struct bdev box_shape(const char *name, uint64_t seed)
{
	struct bdev shape = {
		.block_bytes = BOX_BLOCK,
		.block_count = (uint64_t)BOX_DISK_CLUSTERS * BOX_CLUSTER_BLOCKS,
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH | 1 << IO_UNMAP,
		.volatile_cache = seed % 4 != 3,
		.fua = seed % 3 != 0,
		.unmap_zeroes = seed % 2 == 0,
		.atomic_blocks = seed % 5 < 2 ? 8 : 1,
	};

	if (seed % 7 < 4)
		shape.ops_supported |= 1 << IO_WRITE_ZEROES;
	snprintf(shape.name, sizeof(shape.name), "%s", name);
	return shape;
}

void box_begin(struct blob_box *box, enum fake_mode mode, uint64_t seed)
{
	struct store_opts opts = { .cluster_bytes = BOX_CLUSTER, .force = true };
	struct bdev shape = box_shape("disk", seed);
	struct why why = { "" };

	memset(box, 0, sizeof(*box));
	box->seed = seed;
	box->told = getenv("KARST_SEED");
	box->random = seed * 0x9e3779b97f4a7c15 | 1;
	snprintf(box->said, sizeof(box->said), "the beginning");
	box->disk = fake_create(&shape, mode, seed);
	memset(box->disk->view, STALE_BYTE, shape.block_count * BOX_BLOCK);
	memset(box->disk->media, STALE_BYTE, shape.block_count * BOX_BLOCK);
	box_ok(box, store_create("s", "disk", &opts, &box->store, &why), &why, "store create");
	box_ok(box, volumes_start(box->store, &why), &why, "volumes start");
}

void box_load(struct blob_box *box, const char *disk)
{
	struct why why = { "" };

	box_ok(box, store_load(disk, &box->store, &why), &why, "store load");
	box_ok(box, volumes_start(box->store, &why), &why, "volumes start");
}

void box_unload(struct blob_box *box)
{
	struct why why = { "" };

	box_ok(box, volumes_stop(box->store, &why), &why, "volumes stop");
	box_ok(box, store_unload(box->store, &why), &why, "store unload");
	box->store = NULL;
}

void box_end(struct blob_box *box)
{
	if (box->store)
		box_unload(box);
	fake_remove(box->disk);
}

/* ---- blocks ---- */

void box_block_fill(uint64_t *to, uint32_t stamp, uint64_t lba)
{
	for (unsigned i = 0; i < BOX_WORDS; i++)
		to[i] = stamp ? ((uint64_t)stamp << 32 | (uint32_t)lba) + i : 0;
}

/* The stamp of a block; GARBAGE: it is not what anybody wrote there. */
uint32_t box_block_stamp(const uint64_t *from, uint64_t lba)
{
	uint32_t stamp = (uint32_t)(from[0] >> 32);
	uint64_t want = (uint64_t)stamp << 32 | (uint32_t)lba;

	for (unsigned i = 0; i < BOX_WORDS; i++)
		if (from[i] != (stamp ? want + i : 0))
			return BOX_GARBAGE;
	return stamp;
}

struct bdev *box_bdev(const struct blob_box *box, const struct box_volume *v)
{
	char path[128];
	struct bdev *bdev;

	snprintf(path, sizeof(path), "%s/%s", box->store->name, v->name);
	bdev = bdev_find(path);
	if (!bdev)
		box_fail(box, "%s: no such disk", path);
	return bdev;
}

struct blob *box_blob(const struct blob_box *box, const struct box_volume *v)
{
	char path[128];
	struct blob *b;

	snprintf(path, sizeof(path), "%s/%s", box->store->name, v->name);
	b = volume_find(path);
	if (!b)
		box_fail(box, "%s: no such volume", path);
	return b;
}

enum io_status box_request(const struct blob_box *box, const struct box_volume *v, enum io_op op,
			      unsigned flags, unsigned lba, unsigned count)
{
	struct iovec iov = { box_memory, (size_t)count * BOX_BLOCK };
	struct io io = { .op = op, .flags = flags, .lba = lba, .lba_count = count };

	if (op == IO_READ || op == IO_WRITE) {
		io.iov = &iov;
		io.iov_count = 1;
	}
	return task_io(bdev_chan(box_bdev(box, v)), &io);
}

void box_read(const struct blob_box *box, const struct box_volume *v, unsigned lba,
			unsigned count)
{
	enum io_status status;

	memset(box_memory, 0x5a, (size_t)count * BOX_BLOCK);
	status = box_request(box, v, IO_READ, 0, lba, count);
	if (status != IO_OK)
		box_fail(box, "%s: read: %s", v->name, io_status_name(status));
}
