/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File disks: `disk create file`, and their end. Files are opened, measured and closed in helper
 * threads, since any of that may block.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/task.h"
#include "drivers/uring/uring.h"

static struct list disks = LIST_INIT(disks);

static struct uring_disk *uring_disk(const struct bdev *bdev)
{
	return container_of(bdev, struct uring_disk, bdev);
}

/* ---- what may block ---- */

struct open_call {
	struct uring_file *file;
	int rc;
};

static void open_call(void *arg)
{
	struct open_call *call = arg;

	call->rc = uring_file_open(call->file);
}

struct size_call {
	const struct uring_file *file;
	int64_t bytes;
};

static void size_call(void *arg)
{
	struct size_call *call = arg;

	call->bytes = uring_file_size(call->file);
}

static void close_call(void *arg)
{
	const struct uring_file *file = arg;

	if (!file->device)
		flock(file->fd, LOCK_UN);
	close(file->fd);
}

/* ---- the bdev ---- */

static void uring_destroy(struct bdev *bdev)
{
	struct uring_disk *disk = uring_disk(bdev);

	list_del(&disk->link);
	task_block(close_call, &disk->file);
	free(disk);
}

/* Also notices that the file has another size than it had. */
static void uring_show(struct bdev *bdev, struct cmd_ctx *ctx)
{
	struct uring_disk *disk = uring_disk(bdev);
	struct size_call call = { .file = &disk->file };

	cmd_col(ctx, "path", "%s", disk->path);
	cmd_col_bool(ctx, "direct", disk->file.direct);
	task_block(size_call, &call);
	if (call.bytes < (int64_t)bdev->block_bytes)
		return;
	if ((uint64_t)call.bytes >> bdev->block_shift == bdev->block_count)
		return;
	log_warn("disk %s: %s has %" PRId64 " bytes now", bdev->name, disk->path, call.bytes);
	bdev_resize(bdev, (uint64_t)call.bytes >> bdev->block_shift);
}

static void uring_config(struct bdev *bdev, struct config_out *out)
{
	struct uring_disk *disk = uring_disk(bdev);
	char quoted[CMD_LINE_BYTES];

	config_line(out, "disk create file %s path=%s size=%" PRIu64 " block=%u%s", bdev->name,
		    cmd_quote(disk->path, quoted, sizeof(quoted)),
		    bdev->block_count * bdev->block_bytes, bdev->block_bytes,
		    bdev->readonly ? " readonly" : "");
}

static int uring_remove(struct bdev *bdev)
{
	bdev_unregister(bdev);
	return 0;
}

static const struct bdev_ops uring_ops = {
	.chan_open = uring_chan_open,
	.chan_close = uring_chan_close,
	.submit = uring_submit,
	.destroy = uring_destroy,
	.show = uring_show,
	.config = uring_config,
	.remove = uring_remove,
};

static void describe(struct uring_disk *disk, const char *name)
{
	const struct uring_file *file = &disk->file;

	disk->bdev = (struct bdev){
		.driver = "uring",
		.ops = &uring_ops,
		.priv_bytes = uring_chan_bytes,
		.block_bytes = file->block_bytes,
		.block_count = file->size_bytes / file->block_bytes,
		.ops_supported = file->ops,
		.fua = true,
		.volatile_cache = true,
		.readonly = file->readonly,
		.unmap_zeroes = file->ops & 1 << IO_UNMAP,
		.limits = {
			.iov_count_max = 1024,
			.xfer_bytes_max = 1u << 30,
			.align_bytes = file->direct ? file->align_bytes : 1,
		},
	};
	snprintf(disk->bdev.name, sizeof(disk->bdev.name), "%s", name);
	snprintf(disk->bdev.model, sizeof(disk->bdev.model), "Karst %s",
		 file->device ? "block device" : "file");
}

/* ---- commands ---- */

static int disk_create(struct cmd_ctx *ctx, const char *name, struct uring_disk *disk)
{
	struct open_call call = { .file = &disk->file };
	int rc;

	list_init(&disk->link);
	task_block(open_call, &call);
	if (call.rc < 0) {
		rc = cmd_fail(ctx, call.rc, "disk %s: %s", name, disk->file.wrong);
		free(disk);
		return rc;
	}
	describe(disk, name);
	list_push(&disks, &disk->link);
	rc = bdev_register(&disk->bdev);
	if (rc == 0)
		return 0;
	uring_destroy(&disk->bdev);
	if (rc == -EPERM || rc == -ENOSYS)
		return cmd_fail(ctx, rc, "disk %s: the kernel does not allow io_uring; see "
				"/proc/sys/kernel/io_uring_disabled", name);
	return cmd_fail(ctx, rc, "disk %s: cannot be made: %s; see log show", name, strerror(-rc));
}

static int cmd_create(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "name"), *path = cmd_str(ctx, "path");
	uint64_t block = cmd_u64(ctx, "block", 0), size = cmd_u64(ctx, "size", 0);
	struct uring_disk *disk;

	if (block && (!IS_POWER_OF_2(block) || size % block))
		return cmd_fail(ctx, -EINVAL, "disk %s: block=%" PRIu64 " is not a power of two "
				"that divides the size; use 512 or 4096", name, block);
	if (strlen(name) >= BDEV_NAME_BYTES || strchr(name, '/'))
		return cmd_fail(ctx, -EINVAL, "disk %s: no such name for a disk; use at most %d "
				"letters, digits, - _ .", name, BDEV_NAME_BYTES - 1);
	/* Before a file is made for it. */
	if (bdev_find(name))
		return cmd_fail(ctx, -EEXIST, "disk %s: exists already; choose another name",
				name);
	disk = calloc(1, sizeof(*disk) + strlen(path) + 1);
	if (!disk)
		return cmd_fail(ctx, -ENOMEM, "disk %s: out of memory; stop something", name);
	memcpy(disk->path, path, strlen(path) + 1);
	disk->file = (struct uring_file){
		.path = disk->path,
		.size_bytes = size,
		.block_bytes = block,
		.readonly = cmd_has(ctx, "readonly"),
	};
	return disk_create(ctx, name, disk);
}

static const struct cmd_arg create_args[] = {
	{ .name = "name", .type = CMD_NAME, .required = true, .help = "name of the new disk" },
	{ .name = "path", .type = CMD_TEXT, .keyed = true, .required = true,
	  .help = "file or block device; a file that is missing is made when size= is given" },
	{ .name = "size", .type = CMD_SIZE, .keyed = true, .min = 512, .max = 1ULL << 62,
	  .help = "capacity: a file grows to it; default: what is there" },
	{ .name = "block", .type = CMD_SIZE, .keyed = true, .min = 512, .max = 65536,
	  .help = "block size, a power of two; default: what suits the file" },
	{ .name = "readonly", .type = CMD_FLAG, .help = "never write to it" },
	{ 0 },
};

const struct cmd uring_cmds[] = {
	{ "disk", "create file", "Make a disk of a file or a kernel block device", create_args,
	  cmd_create },
	{ 0 },
};

int uring_init(void)
{
	return 0;
}

void uring_fini(void)
{
	struct uring_disk *disk;

	while ((disk = list_first_entry(&disks, struct uring_disk, link))) {
		if (disk->bdev.removing)
			task_yield();
		else
			bdev_unregister(&disk->bdev);
	}
}
