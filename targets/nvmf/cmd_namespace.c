/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the namespace commands: disks under the NSIDs of a subsystem. */
#include <errno.h>
#include <string.h>

#include "core/cmd.h"
#include "targets/nvmf/cmd.h"
#include "targets/nvmf/nvmf.h"

int nvmf_cmd_namespace_add(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	const char *disk = cmd_str(ctx, "disk");
	const struct uuid *nguid = cmd_uuid(ctx, "nguid");
	uint32_t nsid = (uint32_t)cmd_u64(ctx, "nsid", 0);
	int rc;

	if (!subsys)
		return -ENOENT;
	rc = nvmf_cmd_fixed(ctx, subsys);
	if (rc)
		return rc;
	rc = nvmf_ns_add(subsys, disk, &nsid, cmd_uuid(ctx, "uuid"), nguid ? nguid->b : NULL);
	/* at boot a disk may come later than we do: a target elsewhere has to be there first */
	if (rc == -ENOENT && cmd_at_boot(ctx)) {
		rc = nvmf_absent_add(subsys, disk, &nsid, cmd_uuid(ctx, "uuid"), nguid);
		if (rc == 0)
			return cmd_fail(ctx, -ENOENT, "disk %s: there is none; namespace %u of %s "
					"waits for it", disk, nsid, subsys->nqn);
	}
	switch (rc) {
	case 0:
		return 0;
	case -EEXIST:
		return cmd_fail(ctx, rc, "namespace %u of %s: exists already; leave nsid out for "
				"the next free one", nsid, subsys->nqn);
	case -ENOENT:
		return cmd_fail(ctx, rc, "disk %s: there is none; disk list shows them", disk);
	case -EBUSY:
		return cmd_fail(ctx, rc, "disk %s: in use; disk show %s says by whom", disk, disk);
	case -ENOSPC:
		return cmd_fail(ctx, rc, "namespace of %s: NSID past the limit of namespaces",
				subsys->nqn);
	default:
		return cmd_fail(ctx, rc, "disk %s: %s", disk, strerror(-rc));
	}
}

int nvmf_cmd_namespace_remove(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	uint32_t nsid = (uint32_t)cmd_u64(ctx, "NSID", 0);
	int rc;

	if (!subsys)
		return -ENOENT;
	rc = nvmf_ns_remove(subsys, nsid);
	if (rc == -ENOENT)
		return cmd_fail(ctx, rc, "namespace %u of %s: there is none; namespace list shows "
				"them", nsid, subsys->nqn);
	return rc ? cmd_fail(ctx, rc, "namespace %u of %s: %s", nsid, subsys->nqn, strerror(-rc))
		  : 0;
}

static void absent_rows(struct cmd_ctx *ctx, const struct nvmf_subsystem *subsys)
{
	const struct nvmf_absent *absent;

	list_for_each(absent, &subsys->absent, link) {
		cmd_row(ctx);
		cmd_col(ctx, "subsystem", "%s", subsys->nqn);
		cmd_col_u64(ctx, "nsid", absent->nsid);
		cmd_col(ctx, "disk", "%s", absent->disk);
		cmd_col(ctx, "state", "waiting");
		cmd_col_size(ctx, "size", 0);
		cmd_col_u64(ctx, "block", 0);
		cmd_col(ctx, "uuid", "-");
	}
}

int nvmf_cmd_namespace_list(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys;

	list_for_each(subsys, &nvmf_target.subsystems, link) {
		const struct nvmf_ns_table *table = nvmf_ns_table(subsys);

		for (uint32_t i = 0; i < table->nn; i++) {
			const struct nvmf_ns *ns = table->ns[i];
			char uuid[UUID_TEXT_BYTES];

			if (!ns)
				continue;
			uuid_format(&ns->uuid, uuid);
			cmd_row(ctx);
			cmd_col(ctx, "subsystem", "%s", subsys->nqn);
			cmd_col_u64(ctx, "nsid", ns->nsid);
			cmd_col(ctx, "disk", "%s", ns->bdev->name);
			cmd_col(ctx, "state", "ready");
			cmd_col_size(ctx, "size", ns->bdev->block_count << ns->lba_shift);
			cmd_col_u64(ctx, "block", ns->bdev->block_bytes);
			cmd_col(ctx, "uuid", "%s", uuid);
		}
		absent_rows(ctx, subsys);
	}
	return 0;
}
