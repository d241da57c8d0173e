/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `reservation list` and `reservation clear`: who has reserved which disk, and the way out when the
 * hosts that could end it are gone for good.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cmd_core.h"
#include "core/resv.h"

static const char *const type_names[RESV_TYPE_COUNT] = {
	[RESV_NONE] = "none",
	[RESV_WRITE_EXCLUSIVE] = "write-exclusive",
	[RESV_EXCLUSIVE_ACCESS] = "exclusive-access",
	[RESV_WRITE_EXCLUSIVE_REGISTRANTS] = "write-exclusive-registrants",
	[RESV_EXCLUSIVE_ACCESS_REGISTRANTS] = "exclusive-access-registrants",
	[RESV_WRITE_EXCLUSIVE_ALL] = "write-exclusive-all",
	[RESV_EXCLUSIVE_ACCESS_ALL] = "exclusive-access-all",
};

/* A disk that is not there now is named by its UUID. */
static void disk_name(const struct resv_state *state, char name[BDEV_NAME_BYTES])
{
	for (struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev)) {
		if (uuid_equal(&bdev->uuid, &state->disk)) {
			snprintf(name, BDEV_NAME_BYTES, "%s", bdev->name);
			return;
		}
	}
	uuid_format(&state->disk, name);
}

static void registrant_row(struct cmd_ctx *ctx, const struct resv_state *state, unsigned i)
{
	const struct resv_registrant *reg = &state->reg[i];
	char name[BDEV_NAME_BYTES], id[2 * RESV_ID_BYTES + 1];

	disk_name(state, name);
	for (unsigned at = 0; at < reg->host.len; at++)
		snprintf(id + 2 * at, 3, "%02x", reg->host.id[at]);
	cmd_row(ctx);
	cmd_col(ctx, "disk", "%s", name);
	cmd_col(ctx, "type", "%s", type_names[state->type]);
	cmd_col(ctx, "protocol", "%s", reg->host.kind == RESV_HOST_NVME ? "nvme" : "scsi");
	cmd_col(ctx, "host", "%s", id);
	cmd_col(ctx, "key", "0x%llx", (unsigned long long)reg->key);
	cmd_col_bool(ctx, "holder", resv_is_holder(state, (int)i));
	cmd_col_bool(ctx, "persists", state->ptpl);
}

static int resv_list(struct cmd_ctx *ctx)
{
	for (const struct resv_state *state = resv_next(NULL); state; state = resv_next(state))
		for (unsigned i = 0; i < state->count; i++)
			registrant_row(ctx, state, i);
	return 0;
}

static int resv_clear(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "disk");
	const struct bdev *bdev = bdev_find(name);
	struct resv_request req = { .verb = RESV_EVICT };
	const struct resv_state *state;
	int rc;

	if (bdev)
		req.disk = bdev->uuid;
	else if (uuid_parse(name, &req.disk))
		return cmd_fail(ctx, -ENOENT, "disk %s: there is none of that name; see disk list",
				name);
	state = resv_find(&req.disk);
	if (!state || state->count == 0)
		return cmd_fail(ctx, -ENOENT, "disk %s: no host is registered; see reservation "
				"list", name);
	rc = resv_run(&req);
	return rc ? cmd_fail(ctx, rc, "disk %s: %s; its reservation is as before", name,
			     strerror(-rc)) : 0;
}

static const struct cmd_arg clear_args[] = {
	{ .name = "disk", .type = CMD_NAME, .required = true,
	  .help = "name of the disk, or its UUID", .complete = cmd_complete_disk },
	{ 0 },
};

const struct cmd cmd_resv_table[] = {
	{ .noun = "reservation", .verb = "list", .help = "hosts registered at disks, and who holds",
	  .run = resv_list },
	{ .noun = "reservation", .verb = "clear", .help = "end a disk's reservation and all its "
	  "registrations", .args = clear_args, .run = resv_clear },
	{ 0 },
};
