/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk format: Format NVM (base 2.0c 5.14) of one namespace. Its disk leaves, the command runs for
 * as long as it takes while the progress that the namespace reports is shown, and the scan that
 * follows makes the disk again, perhaps with other blocks.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/nvme/cmd.h"

enum {
	FNA_FORMAT_ALL = 1 << 0,        /* a format is of all namespaces */
	FPI_SUPPORTED = 1 << 7,
	FPI_REMAINING_MASK = 0x7f,
	FORMAT_TIMEOUT_MS = 12 * 3600 * 1000,
	LOOK_US = 1000 * 1000,
	LBAF_LOW_MASK = 0xf,
	LBAF_HIGH_SHIFT = 12,           /* cdw10 13:12: bits 5:4 of the format */
};

struct format {
	struct nvme_ctrl *c;
	uint32_t nsid;
	unsigned index;
	struct event done;
	int rc;
};

static void format_task(void *arg)
{
	struct format *f = arg;
	struct nvme_sqe sqe = {
		.opc = NVME_ADM_FORMAT_NVM,
		.nsid = le32_make(f->nsid),
		.cdw10 = le32_make((f->index & LBAF_LOW_MASK) |
				   (f->index >> 4 & 3) << LBAF_HIGH_SHIFT),
	};

	f->rc = nvme_admin_exec(f->c, &sqe, FORMAT_TIMEOUT_MS, NULL);
	event_signal(&f->done);
}

/* Percent done, if the namespace tells. */
static void progress_look(const struct format *f)
{
	struct nvme_id_ns id;

	if (nvme_admin_identify(f->c, NVME_CNS_NS, f->nsid, 0, &id) == 0 &&
	    (id.fpi & FPI_SUPPORTED))
		task_progress(100 - MIN(id.fpi & FPI_REMAINING_MASK, 100), 100);
}

static int format_run(struct format *f)
{
	event_init(&f->done);
	if (!task_start("nvme format", format_task, f))
		return -ENOMEM;
	while (task_wait_timeout(&f->done, LOOK_US) < 0)
		progress_look(f);
	return f->rc;
}

/* Checks whether it can be formatted at all; the format index goes to F. */
static int format_check(struct cmd_ctx *ctx, struct nvme_ns *ns, struct format *f)
{
	uint32_t block = cmd_u64(ctx, "block", ns->info.block_bytes);
	const struct nvme_ctrl *c = ns->ctrl;
	const struct bdev_user *user;
	struct nvme_id_ns id;
	int rc;

	if (!(c->info.oacs & NVME_OACS_FORMAT))
		return cmd_fail(ctx, -EOPNOTSUPP, "%s: the drive has no Format command", c->name);
	if ((c->info.fna & FNA_FORMAT_ALL) && c->ns_count > 1)
		return cmd_fail(ctx, -EOPNOTSUPP, "%s: the drive formats all its namespaces at "
				"once, and has %u", c->name, c->ns_count);
	user = list_first_entry(&ns->bdev.users, struct bdev_user, link);
	if (user)
		return cmd_fail(ctx, -EBUSY, "disk %s: is in use by %s; remove that "
				"first", ns->bdev.name, user->who);
	rc = nvme_admin_identify(f->c, NVME_CNS_NS, f->nsid, 0, &id);
	if (rc < 0)
		return cmd_fail(ctx, rc, "%s: Identify failed (%s)", c->name, strerror(-rc));
	rc = nvme_format_find(&id, block);
	if (rc < 0)
		return cmd_fail(ctx, -EINVAL, "%s: has no format with blocks of %u bytes and no "
				"metadata; see disk identify", c->name, block);
	f->index = rc;
	return 0;
}

/* Until a scan that began after now has ended. */
static void scan_wait(struct nvme_ctrl *c)
{
	unsigned target = c->scans + 1 + c->scanning;

	c->want_scan = true;
	nvme_ctrl_wake(c);
	while (c->state != NVME_CTRL_GONE && (int)(target - c->scans) > 0)
		task_sleep(1000);
}

static int format_disk(struct cmd_ctx *ctx, struct nvme_ns *ns, struct format *f)
{
	char name[BDEV_NAME_BYTES];
	int rc = format_check(ctx, ns, f);

	if (rc < 0)
		return rc;
	/* Identify may have taken its time: it may have been removed, or opened */
	ns = nvme_scan_find(f->c, f->nsid);
	if (!ns || ns->leaving || !list_empty(&ns->bdev.users))
		return cmd_fail(ctx, -EBUSY, "%s: is in use or leaving; try again", f->c->name);
	memcpy(name, ns->bdev.name, sizeof(name));
	task_describe("disk format %s", name);
	f->c->formatting = f->nsid;
	nvme_disk_leave(ns);
	while (nvme_scan_find(f->c, f->nsid))
		task_sleep(1000);
	rc = format_run(f);
	f->c->formatting = 0;
	scan_wait(f->c);
	if (rc < 0)
		return cmd_fail(ctx, rc, "%s: Format failed (%s); see disk errors", name,
				strerror(-rc));
	log_info("%s: formatted", name);
	return 0;
}

int nvme_cmd_format(struct cmd_ctx *ctx)
{
	struct format f = { .rc = 0 };
	struct nvme_ns *ns;
	int rc = nvme_cmd_disk(ctx, &ns);

	if (rc < 0)
		return rc;
	f.c = ns->ctrl;
	f.nsid = ns->nsid;
	nvme_ctrl_get(f.c);
	if (f.c->formatting)
		rc = cmd_fail(ctx, -EBUSY, "%s: a namespace is being formatted; wait", f.c->name);
	else
		rc = format_disk(ctx, ns, &f);
	nvme_ctrl_put(f.c);
	return rc;
}
