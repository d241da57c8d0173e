/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `disk list`, `disk show` and `disk delete`: what all disks have in common. Drivers add `disk
 * create …` and their own verbs, and rows to `disk show` by bdev_ops.show.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/cmd_core.h"

void cmd_complete_disk(struct cmd_complete *c)
{
	for (struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev))
		cmd_offer(c, bdev->name);
}

static unsigned users_count(const struct bdev *bdev)
{
	const struct bdev_user *user;
	unsigned count = 0;

	list_for_each(user, &bdev->users, link)
		count++;
	return count;
}

static const char *state_name(const struct bdev *bdev)
{
	if (bdev->removing)
		return "removing";
	return bdev->readonly ? "read-only" : "ready";
}

static void list_row(struct cmd_ctx *ctx, const struct bdev *bdev)
{
	cmd_row(ctx);
	cmd_col(ctx, "name", "%s", bdev->name);
	cmd_col(ctx, "driver", "%s", bdev->driver);
	cmd_col_size(ctx, "size", bdev->block_count << bdev->block_shift);
	cmd_col_u64(ctx, "block", bdev->block_bytes);
	cmd_col(ctx, "state", "%s", state_name(bdev));
	cmd_col_u64(ctx, "users", users_count(bdev));
	cmd_col(ctx, "serial", "%s", bdev->serial);
	cmd_col(ctx, "model", "%s", bdev->model);
}

static int name_order(const void *a, const void *b)
{
	const struct bdev *const *left = a, *const *right = b;

	return strverscmp((*left)->name, (*right)->name);
}

/* By name, nvme2n1 before nvme10n1: drives come up in any order. */
static int disk_list(struct cmd_ctx *ctx)
{
	struct bdev **disks;
	size_t count = 0, i = 0;

	for (struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev))
		count++;
	disks = calloc(MAX(count, 1u), sizeof(*disks));
	if (!disks)
		return cmd_fail(ctx, -ENOMEM, "disk list: not enough memory; see memory show");
	for (struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev))
		disks[i++] = bdev;
	qsort(disks, count, sizeof(*disks), name_order);
	for (i = 0; i < count; i++)
		list_row(ctx, disks[i]);
	free(disks);
	return 0;
}

static struct bdev *disk_find(struct cmd_ctx *ctx, int *rc)
{
	const char *name = cmd_str(ctx, "name");
	struct bdev *bdev = bdev_find(name);

	if (!bdev)
		*rc = cmd_fail(ctx, -ENOENT, "disk %s: there is none of that name; see disk list",
			       name);
	return bdev;
}

/* "read write flush … (compare, copy: emulated)" would be long: native ones only. */
static void show_ops(struct cmd_ctx *ctx, const struct bdev *bdev)
{
	char text[128];
	size_t len = 0;

	for (unsigned op = 0; op < IO_OP_COUNT; op++) {
		if (bdev->ops_supported & 1u << op)
			len += snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "",
					io_op_name(op));
	}
	cmd_col(ctx, "native", "%s", text);
}

static void show_limits(struct cmd_ctx *ctx, const struct bdev *bdev)
{
	if (bdev->limits.xfer_bytes_max)
		cmd_col_size(ctx, "transfer_max", bdev->limits.xfer_bytes_max);
	if (bdev->limits.iov_count_max)
		cmd_col_u64(ctx, "segments_max", bdev->limits.iov_count_max);
	cmd_col_u64(ctx, "align", MAX(bdev->limits.align_bytes, 1u));
	if (bdev->optimal_blocks)
		cmd_col_size(ctx, "optimal_write",
			     (uint64_t)bdev->optimal_blocks << bdev->block_shift);
	cmd_col_size(ctx, "atomic_write", (uint64_t)bdev->atomic_blocks << bdev->block_shift);
}

static void show_users(struct cmd_ctx *ctx, const struct bdev *bdev)
{
	const struct bdev_user *user;
	unsigned n = 0;
	char name[16];

	list_for_each(user, &bdev->users, link) {
		snprintf(name, sizeof(name), "user%u", ++n);
		cmd_col(ctx, name, "%s%s%s", user->who, user->write ? "" : ", reads only",
			user->exclusive ? ", alone" : "");
	}
}

static int disk_show(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct bdev *bdev = disk_find(ctx, &rc);
	char uuid[UUID_TEXT_BYTES];

	if (!bdev)
		return rc;
	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "name", "%s", bdev->name);
	cmd_col(ctx, "driver", "%s", bdev->driver);
	cmd_col(ctx, "state", "%s", state_name(bdev));
	cmd_col_size(ctx, "size", bdev->block_count << bdev->block_shift);
	cmd_col_u64(ctx, "blocks", bdev->block_count);
	cmd_col_u64(ctx, "block", bdev->block_bytes);
	uuid_format(&bdev->uuid, uuid);
	cmd_col(ctx, "uuid", "%s", uuid);
	cmd_col(ctx, "serial", "%s", bdev->serial);
	cmd_col(ctx, "model", "%s", bdev->model);
	cmd_col_bool(ctx, "volatile_cache", bdev->volatile_cache);
	cmd_col_bool(ctx, "fua", bdev->fua);
	cmd_col_bool(ctx, "unmap_zeroes", bdev->unmap_zeroes);
	cmd_col_bool(ctx, "rotational", bdev->rotational);
	show_ops(ctx, bdev);
	show_limits(ctx, bdev);
	show_users(ctx, bdev);
	if (bdev->ops->show)
		bdev->ops->show(bdev, ctx);
	return 0;
}

static int disk_delete(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct bdev *bdev = disk_find(ctx, &rc);
	char name[BDEV_NAME_BYTES];

	if (!bdev)
		return rc;
	snprintf(name, sizeof(name), "%s", bdev->name);
	if (!bdev->ops->remove)
		return cmd_fail(ctx, -EOPNOTSUPP, "disk %s: was not made by a command; "
				"see disk detach", name);
	if (bdev->removing)
		return cmd_fail(ctx, -EBUSY, "disk %s: is being removed already; see disk list",
				name);
	if (!list_empty(&bdev->users))
		return cmd_fail(ctx, -EBUSY, "disk %s: is in use by %s; remove that first", name,
				list_first_entry(&bdev->users, struct bdev_user, link)->who);
	rc = bdev->ops->remove(bdev);
	if (rc < 0)
		return cmd_fail(ctx, rc, "disk %s: cannot be deleted: %s; see log show", name,
				strerror(-rc));
	return 0;
}

static const struct cmd_arg name_args[] = {
	{ .name = "name", .type = CMD_NAME, .required = true,
	  .help = "name of the disk, or serial:TEXT", .complete = cmd_complete_disk },
	{ 0 },
};

const struct cmd cmd_disk_table[] = {
	{ .noun = "disk", .verb = "list", .help = "all disks: size, block, state, users",
	  .run = disk_list, .flags = CMD_RESCUE },
	{ .noun = "disk", .verb = "show", .help = "one disk: what it is, can do, and who uses it",
	  .args = name_args, .run = disk_show, .flags = CMD_RESCUE },
	{ .noun = "disk", .verb = "delete", .help = "end a disk that a command has made; a RAM "
	  "disk's data is lost", .args = name_args, .run = disk_delete,
	  .flags = CMD_DESTRUCTIVE },
	{ 0 },
};

void disk_config(struct config_out *out)
{
	for (struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev)) {
		if (bdev->ops->config && !bdev->removing)
			bdev->ops->config(bdev, out);
	}
}
