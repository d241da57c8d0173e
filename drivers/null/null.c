/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Null disks, for measuring everything above a disk: no data is moved. A write is forgotten, a
 * compare finds everything equal, and a read leaves the buffers as they are, so what it returns is
 * whatever was in that memory of ours before. That may be data of other hosts: a null disk is not
 * for export to strangers, and the help of `disk create null` says so.
 */
#include "drivers/null/null.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/task.h"

enum { NULL_BLOCK_BYTES = 512 };

struct null_disk {
	struct bdev bdev;
	struct list link;
};

static struct list disks = LIST_INIT(disks);

static void null_submit(struct bdev_chan *chan, struct io *io)
{
	io_complete(io, IO_OK);
}

static void null_destroy(struct bdev *bdev)
{
	struct null_disk *disk = container_of(bdev, struct null_disk, bdev);

	list_del(&disk->link);
	free(disk);
}

static int null_remove(struct bdev *bdev)
{
	bdev_unregister(bdev);
	return 0;
}

static void null_config(struct bdev *bdev, struct config_out *out)
{
	config_line(out, "disk create null %s size=%" PRIu64 " block=%u", bdev->name,
		    bdev->block_count * bdev->block_bytes, bdev->block_bytes);
}

static const struct bdev_ops null_ops = {
	.submit = null_submit,
	.destroy = null_destroy,
	.config = null_config,
	.remove = null_remove,
};

static int null_create(const char *name, uint64_t size, uint32_t block)
{
	struct null_disk *disk = calloc(1, sizeof(*disk));
	int rc;

	if (!disk)
		return -ENOMEM;
	disk->bdev = (struct bdev){
		.driver = "null",
		.ops = &null_ops,
		.block_bytes = block,
		.block_count = size / block,
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_UNMAP |
				 1 << IO_WRITE_ZEROES | 1 << IO_COPY | 1 << IO_COMPARE |
				 1 << IO_COMPARE_WRITE,
		.model = "Karst null disk",
	};
	snprintf(disk->bdev.name, sizeof(disk->bdev.name), "%s", name);
	list_push(&disks, &disk->link);
	rc = bdev_register(&disk->bdev);
	if (rc < 0)
		null_destroy(&disk->bdev);
	return rc;
}

int null_init(void)
{
	return 0;
}

void null_fini(void)
{
	struct null_disk *disk;

	while ((disk = list_first_entry(&disks, struct null_disk, link))) {
		if (disk->bdev.removing)
			task_yield();
		else
			bdev_unregister(&disk->bdev);
	}
}

/* ---- command ---- */

static int cmd_create(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "name");
	uint64_t size = cmd_u64(ctx, "size", 0);
	uint64_t block = cmd_u64(ctx, "block", NULL_BLOCK_BYTES);
	int rc;

	if (!IS_POWER_OF_2(block) || size % block)
		return cmd_fail(ctx, -EINVAL, "disk %s: size=%" PRIu64 " and block=%" PRIu64
				": the block size is a power of two and divides the size; use "
				"512 or 4096", name, size, block);
	if (strlen(name) >= BDEV_NAME_BYTES || strchr(name, '/'))
		return cmd_fail(ctx, -EINVAL, "disk %s: no such name for a disk; use at most %d "
				"letters, digits, - _ .", name, BDEV_NAME_BYTES - 1);
	rc = null_create(name, size, block);
	if (rc == -EEXIST)
		return cmd_fail(ctx, rc, "disk %s: exists already; choose another name", name);
	if (rc < 0)
		return cmd_fail(ctx, rc, "disk %s: cannot be made: %s; see log show", name,
				strerror(-rc));
	return 0;
}

static const struct cmd_arg create_args[] = {
	{ .name = "name", .type = CMD_NAME, .required = true, .help = "name of the new disk" },
	{ .name = "size", .type = CMD_SIZE, .keyed = true, .required = true, .min = 512,
	  .max = 1ULL << 62, .help = "capacity that it claims to have" },
	{ .name = "block", .type = CMD_SIZE, .keyed = true, .min = 512, .max = 65536,
	  .help = "block size: 512 (default) … 64K, a power of two" },
	{ 0 },
};

const struct cmd null_cmds[] = {
	{ "disk", "create null", "Make a disk that moves no data, to measure with: reads give old "
	  "memory", create_args, cmd_create },
	{ 0 },
};
