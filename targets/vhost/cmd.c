/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: vhost create, delete, list, show, and the targets of SCSI devices. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cmd.h"
#include "targets/vhost/module.h"
#include "targets/vhost/scsi.h"

enum { MODE_MAX = 0777, RUN_MODE = 0755 };

static void complete_device(struct cmd_complete *c)
{
	struct vh_device *dev = NULL;

	while ((dev = vh_device_next(dev)))
		cmd_offer(c, dev->options.name);
}

static struct vh_device *device_arg(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "NAME");
	struct vh_device *dev = vh_device_find(name);

	if (!dev || dev->deleting)
		cmd_fail(ctx, -ENOENT, "vhost %s: there is none; vhost list shows them", name);
	return dev && !dev->deleting ? dev : NULL;
}

/* ---- create ---- */

/* An octal mode; -EINVAL. */
static int mode_arg(struct cmd_ctx *ctx, struct vh_options *options)
{
	const char *text = cmd_str(ctx, "mode");
	char *end;
	unsigned long mode;

	if (!text)
		return 0;
	mode = strtoul(text, &end, 8);
	if (*end || end == text || mode > MODE_MAX)
		return cmd_fail(ctx, -EINVAL, "mode %s: not octal; 660 for example", text);
	options->mode = (mode_t)mode;
	options->mode_given = true;
	return 0;
}

static int options_arg(struct cmd_ctx *ctx, struct vh_options *options)
{
	const char *name = cmd_str(ctx, "NAME"), *path = cmd_str(ctx, "socket");

	if (strlen(name) >= VH_NAME_BYTES || strchr(name, '/'))
		return cmd_fail(ctx, -EINVAL, "vhost %s: not a name; letters and digits, at most "
				"%d", name, VH_NAME_BYTES - 1);
	vh_options_init(options, name);
	if (path) {
		/* room for the names beside it */
		if (strlen(path) + sizeof(".lock") > sizeof(options->path))
			return cmd_fail(ctx, -ENAMETOOLONG, "socket %s: too long", path);
		snprintf(options->path, sizeof(options->path), "%s", path);
		options->path_given = true;
	}
	if (cmd_has(ctx, "uid") != cmd_has(ctx, "gid"))
		return cmd_fail(ctx, -EINVAL, "vhost %s: uid and gid go together", name);
	if (cmd_has(ctx, "uid")) {
		options->uid = (uid_t)cmd_u64(ctx, "uid", 0);
		options->gid = (gid_t)cmd_u64(ctx, "gid", 0);
		options->owner_given = true;
	}
	options->queues = (unsigned)cmd_u64(ctx, "queues", 0);
	if (!path)
		mkdir("/run/karst", RUN_MODE);
	return mode_arg(ctx, options);
}

static int created(struct cmd_ctx *ctx, const struct vh_options *options, const char *disk,
		   int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case -ENOENT:
		if (disk && !bdev_find(disk))
			return cmd_fail(ctx, rc, "disk %s: there is none; disk list shows "
					"them", disk);
		return cmd_fail(ctx, rc, "socket %s: its directory is not there", options->path);
	case -EBUSY:
		return cmd_fail(ctx, rc, "disk %s: in use; disk show %s says by whom", disk, disk);
	case -EEXIST:
		if (vh_device_find(options->name))
			return cmd_fail(ctx, rc, "vhost %s: exists already", options->name);
		return cmd_fail(ctx, rc, "socket %s: there is a file that is no socket",
				options->path);
	case -EADDRINUSE:
		return cmd_fail(ctx, rc, "socket %s: somebody serves it; choose another "
				"with socket=", options->path);
	default:
		return cmd_fail(ctx, rc, "vhost %s: socket %s: %s", options->name, options->path,
				strerror(-rc));
	}
}

static int cmd_create_blk(struct cmd_ctx *ctx)
{
	const char *disk = cmd_str(ctx, "disk");
	struct vh_options options;
	int rc = options_arg(ctx, &options);

	if (rc)
		return rc;
	rc = vh_blk_create(&options, disk, cmd_has(ctx, "readonly"));
	return created(ctx, &options, disk, rc);
}

static int cmd_create_scsi(struct cmd_ctx *ctx)
{
	struct vh_options options;
	int rc = options_arg(ctx, &options);

	return rc ? rc : created(ctx, &options, NULL, vh_scsi_create(&options));
}

static int cmd_delete(struct cmd_ctx *ctx)
{
	struct vh_device *dev = device_arg(ctx);

	if (!dev)
		return -ENOENT;
	if (dev->session) {
		int rc = cmd_confirm(ctx, dev->options.name, "a guest uses it");

		if (rc)
			return rc;
	}
	vh_device_delete(dev);
	return 0;
}

/* ---- targets ---- */

static struct vh_device *scsi_arg(struct cmd_ctx *ctx)
{
	struct vh_device *dev = device_arg(ctx);

	if (dev && dev->ops != &vh_scsi_ops) {
		cmd_fail(ctx, -EINVAL, "vhost %s: not a SCSI device; it has one disk",
			 dev->options.name);
		return NULL;
	}
	return dev;
}

static int cmd_target_add(struct cmd_ctx *ctx)
{
	struct vh_device *dev = scsi_arg(ctx);
	const char *disk = cmd_str(ctx, "disk");
	unsigned id = (unsigned)cmd_u64(ctx, "ID", 0), lun = (unsigned)cmd_u64(ctx, "lun", 0);
	int rc;

	if (!dev)
		return -ENOENT;
	rc = vh_scsi_target_add(dev, id, lun, disk);
	switch (rc) {
	case 0:
		return 0;
	case -EEXIST:
		return cmd_fail(ctx, rc, "vhost %s target %u: LUN %u exists already; choose "
				"another with lun=", dev->options.name, id, lun);
	case -ENOENT:
		return cmd_fail(ctx, rc, "disk %s: there is none; disk list shows them", disk);
	case -EBUSY:
		return cmd_fail(ctx, rc, "disk %s: in use; disk show %s says by whom", disk, disk);
	default:
		return cmd_fail(ctx, rc, "vhost %s target %u: %s", dev->options.name, id,
				strerror(-rc));
	}
}

static int cmd_target_remove(struct cmd_ctx *ctx)
{
	struct vh_device *dev = scsi_arg(ctx);
	unsigned id = (unsigned)cmd_u64(ctx, "ID", 0), lun = (unsigned)cmd_u64(ctx, "lun", 0);
	int rc;

	if (!dev)
		return -ENOENT;
	rc = vh_scsi_target_remove(dev, id, cmd_has(ctx, "lun") ? (int)lun : -1);
	return rc ? cmd_fail(ctx, rc, "vhost %s target %u: there is none; vhost show %s lists them",
			     dev->options.name, id, dev->options.name) : 0;
}

/* ---- list and show ---- */

static void common_columns(struct cmd_ctx *ctx, const struct vh_device *dev)
{
	const struct vh_session *session = dev->session;
	const char *memory = "-";

	if (session && session->memory)
		memory = session->memory->dma ? "shared" : "copied for devices";
	cmd_col(ctx, "name", "%s", dev->options.name);
	cmd_col(ctx, "kind", "%s", dev->ops->kind);
	cmd_col(ctx, "socket", "%s", dev->options.path);
	cmd_col(ctx, "guest", "%s", session ? "connected" : "-");
	cmd_col(ctx, "memory", "%s", memory);
}

static int cmd_list(struct cmd_ctx *ctx)
{
	struct vh_device *dev = NULL;

	while ((dev = vh_device_next(dev))) {
		cmd_row(ctx);
		common_columns(ctx, dev);
	}
	return 0;
}

static const char *queue_state(const struct vh_queue *queue)
{
	static const char *const names[] = {
		[VH_QUEUE_STOPPED] = "stopped", [VH_QUEUE_RUNNING] = "running",
		[VH_QUEUE_DRAINING] = "draining", [VH_QUEUE_BROKEN] = "broken",
	};

	return queue->started ? names[queue->state] : "stopped";
}

static void show_queues(struct cmd_ctx *ctx, const struct vh_device *dev)
{
	const struct vh_session *session = dev->session;
	bool packed = session->features & 1ull << VIRTIO_F_RING_PACKED;

	for (unsigned i = 0; i < dev->queue_count; i++) {
		const struct vh_queue *queue = &session->queue[i];

		if (!queue->started && !queue->why[0])
			continue;
		cmd_row(ctx);
		cmd_col_u64(ctx, "queue", i);
		cmd_col(ctx, "state", "%s", queue_state(queue));
		cmd_col_u64(ctx, "reactor", queue->reactor);
		cmd_col(ctx, "ring", "%s", packed ? "packed" : "split");
		cmd_col_u64(ctx, "size", queue->num);
		cmd_col_u64(ctx, "served", queue->served);
		cmd_col_u64(ctx, "kicks", queue->kicks);
		cmd_col_u64(ctx, "calls", queue->calls);
		cmd_col(ctx, "why", "%s", queue->why[0] ? queue->why : "-");
	}
}

static int cmd_show(struct cmd_ctx *ctx)
{
	struct vh_device *dev = device_arg(ctx);

	if (!dev)
		return -ENOENT;
	cmd_as_record(ctx);
	cmd_row(ctx);
	common_columns(ctx, dev);
	cmd_col_u64(ctx, "queues", dev->queue_count);
	cmd_col_u64(ctx, "sessions", dev->sessions);
	cmd_col(ctx, "mode", "%o", (unsigned)dev->options.mode);
	dev->ops->show(dev, ctx);
	return 0;
}

static int cmd_queues(struct cmd_ctx *ctx)
{
	struct vh_device *dev = device_arg(ctx);

	if (!dev)
		return -ENOENT;
	if (dev->session)
		show_queues(ctx, dev);
	return 0;
}

static int cmd_target_list(struct cmd_ctx *ctx)
{
	struct vh_device *dev = scsi_arg(ctx);

	if (!dev)
		return -ENOENT;
	for (unsigned t = 0; t < SCSI_TARGETS_MAX; t++) {
		for (unsigned l = 0; l < SCSI_LUNS_MAX; l++) {
			const struct scsi_lu *lu = vh_scsi_find(vh_scsi_of(dev), t, l);

			if (!lu)
				continue;
			cmd_row(ctx);
			cmd_col_u64(ctx, "target", t);
			cmd_col_u64(ctx, "lun", l);
			cmd_col(ctx, "disk", "%s", lu->bdev->name);
			cmd_col_size(ctx, "size", lu->bdev->block_count * lu->bdev->block_bytes);
		}
	}
	return 0;
}

/* ---- the table ---- */

#define ARG_DEVICE { \
	"NAME", CMD_NAME, .required = true, .help = "vhost device, as in vhost list", \
	.complete = complete_device, \
}
#define ARG_DISK { \
	"disk", CMD_NAME, .keyed = true, .required = true, .help = "disk to give to the guest", \
	.complete = cmd_complete_disk, \
}
#define ARG_ID { "ID", CMD_U64, .required = true, .help = "target number", .max = 255 }
#define ARGS_SOCKET \
	{ "socket", CMD_TEXT, .keyed = true, .help = "path; /run/karst/NAME.sock" }, \
	{ "mode", CMD_TEXT, .keyed = true, .help = "octal mode of the socket; 600" }, \
	{ "uid", CMD_U64, .keyed = true, .help = "owner of the socket", .max = UINT32_MAX - 1 }, \
	{ "gid", CMD_U64, .keyed = true, .help = "group of the socket", .max = UINT32_MAX - 1 }, \
	{ "queues", CMD_U64, .keyed = true, .help = "request queues offered; 64", \
	  .min = 1, .max = VH_REQUEST_QUEUES_MAX }

static const struct cmd_arg create_blk_args[] = {
	{ "NAME", CMD_NAME, .required = true, .help = "its name" },
	ARG_DISK,
	{ "readonly", CMD_FLAG, .help = "the guest may not write" },
	ARGS_SOCKET,
	{ 0 },
};

static const struct cmd_arg create_scsi_args[] = {
	{ "NAME", CMD_NAME, .required = true, .help = "its name" },
	ARGS_SOCKET,
	{ 0 },
};

static const struct cmd_arg delete_args[] = {
	ARG_DEVICE,
	{ "force", CMD_FLAG, .help = "also when a guest uses it" },
	{ 0 },
};

static const struct cmd_arg device_args[] = { ARG_DEVICE, { 0 } };

static const struct cmd_arg target_add_args[] = {
	ARG_DEVICE,
	ARG_ID,
	ARG_DISK,
	{ "lun", CMD_U64, .keyed = true, .help = "logical unit number; 0", .max = 255 },
	{ 0 },
};

static const struct cmd_arg target_remove_args[] = {
	ARG_DEVICE,
	ARG_ID,
	{ "lun", CMD_U64, .keyed = true, .help = "logical unit number; all of the target",
	  .max = 255 },
	{ 0 },
};

const struct cmd vh_cmds[] = {
	{ "vhost", "create blk", "Give a disk to a guest as virtio-blk", create_blk_args,
	  cmd_create_blk },
	{ "vhost", "create scsi", "Make a virtio-scsi adapter for a guest", create_scsi_args,
	  cmd_create_scsi },
	{ "vhost", "delete", "Delete a device and its socket", delete_args, cmd_delete },
	{ "vhost", "target add", "Add a disk to a SCSI adapter", target_add_args, cmd_target_add },
	{ "vhost", "target remove", "Remove a target from a SCSI adapter", target_remove_args,
	  cmd_target_remove },
	{ "vhost", "target list", "List the targets of a SCSI adapter", device_args,
	  cmd_target_list },
	{ "vhost", "list", "List the devices", NULL, cmd_list },
	{ "vhost", "show", "Show a device", device_args, cmd_show },
	{ "vhost", "queues", "List the rings of a device's guest", device_args, cmd_queues },
	{ 0 },
};
