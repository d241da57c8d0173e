/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the namespace commands: disks under the NSIDs of a subsystem, and who sees them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cmd.h"
#include "targets/nvmf/cmd.h"
#include "targets/nvmf/nvmf.h"

static struct nvmf_ns_spec namespace_spec(struct cmd_ctx *ctx)
{
	const struct uuid *uuid = cmd_uuid(ctx, "uuid"), *nguid = cmd_uuid(ctx, "nguid");
	struct nvmf_ns_spec spec = {
		.uuid_given = uuid, .nguid_given = nguid, .private = cmd_has(ctx, "private"),
		.ana_group = (uint16_t)cmd_u64(ctx, "ana-group", 0),
	};

	if (uuid)
		spec.uuid = *uuid;
	if (nguid)
		memcpy(spec.nguid, nguid->b, sizeof(spec.nguid));
	return spec;
}

/* "No identifier" cannot be given as one: hosts would have nothing to know the namespace by. */
static int namespace_spec_check(struct cmd_ctx *ctx)
{
	static const char *const names[] = { "uuid", "nguid" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		const struct uuid *id = cmd_uuid(ctx, names[i]);

		if (id && uuid_is_nil(id))
			return cmd_fail(ctx, -EINVAL, "%s=: zero means that there is none; give "
					"another, or leave it out for the disk's", names[i]);
	}
	return 0;
}

static int namespace_add(struct cmd_ctx *ctx, struct nvmf_subsystem *subsys, const char *disk,
			 uint32_t *nsid)
{
	struct nvmf_ns_spec spec = namespace_spec(ctx);
	int rc = nvmf_ns_add(subsys, disk, nsid, &spec);

	/* at boot a disk may come later than we do: a target elsewhere has to be there first */
	if (rc == -ENOENT && cmd_at_boot(ctx) &&
	    nvmf_absent_add(subsys, disk, nsid, &spec) == 0)
		return -EAGAIN;
	return rc;
}

int nvmf_cmd_namespace_add(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	const char *disk = cmd_str(ctx, "disk");
	uint32_t nsid = (uint32_t)cmd_u64(ctx, "nsid", 0);
	int rc;

	if (!subsys)
		return -ENOENT;
	rc = nvmf_cmd_fixed(ctx, subsys);
	if (rc == 0)
		rc = namespace_spec_check(ctx);
	if (rc)
		return rc;
	rc = namespace_add(ctx, subsys, disk, &nsid);
	switch (rc) {
	case 0:
		return 0;
	case -EAGAIN:
		return cmd_fail(ctx, -ENOENT, "disk %s: there is none; namespace %u of %s "
				"waits for it", disk, nsid, subsys->nqn);
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
	case -EADDRINUSE:
		return cmd_fail(ctx, rc, "namespace of %s: another one has the uuid or nguid; give "
				"it a uuid= and nguid= of its own, or neither", subsys->nqn);
	case -EINVAL:
		return cmd_fail(ctx, rc, "namespace of %s: there is no ANA group %u; ana create "
				"makes one", subsys->nqn, (unsigned)cmd_u64(ctx, "ana-group", 0));
	default:
		return cmd_fail(ctx, rc, "disk %s: %s", disk, strerror(-rc));
	}
}

static int namespace_missing(struct cmd_ctx *ctx, const struct nvmf_subsystem *subsys)
{
	return cmd_fail(ctx, -ENOENT, "namespace %u of %s: there is none; namespace list shows "
			"them", (unsigned)cmd_u64(ctx, "NSID", 0), subsys->nqn);
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
		return namespace_missing(ctx, subsys);
	return rc ? cmd_fail(ctx, rc, "namespace %u of %s: %s", nsid, subsys->nqn, strerror(-rc))
		  : 0;
}

/* ---- who sees it ---- */

static int mask_fail(struct cmd_ctx *ctx, const struct nvmf_subsystem *subsys, int rc)
{
	const char *host = cmd_str(ctx, "HOSTNQN");
	unsigned nsid = (unsigned)cmd_u64(ctx, "NSID", 0);

	switch (rc) {
	case 0:
		return 0;
	case -ENOENT:
		return namespace_missing(ctx, subsys);
	case -EPERM:
		return cmd_fail(ctx, rc, "namespace %u of %s: is not private: every host of the "
				"subsystem sees it; namespace add … private makes one that is",
				nsid, subsys->nqn);
	case -EEXIST:
		return cmd_fail(ctx, rc, "host %s: sees namespace %u of %s already", host, nsid,
				subsys->nqn);
	case -ESRCH:
		return cmd_fail(ctx, -ENOENT, "host %s: does not see namespace %u of %s; "
				"namespace show says who does", host, nsid, subsys->nqn);
	case -EINVAL:
		return cmd_fail(ctx, rc, "host %s: not an NQN; /etc/nvme/hostnqn of the host has "
				"it", host);
	default:
		return cmd_fail(ctx, rc, "namespace %u of %s: %s", nsid, subsys->nqn,
				strerror(-rc));
	}
}

static int mask_change(struct cmd_ctx *ctx, int (*change)(struct nvmf_subsystem *subsys,
							  uint32_t nsid, const char *nqn))
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);

	if (!subsys)
		return -ENOENT;
	return mask_fail(ctx, subsys, change(subsys, (uint32_t)cmd_u64(ctx, "NSID", 0),
					     cmd_str(ctx, "HOSTNQN")));
}

int nvmf_cmd_namespace_grant(struct cmd_ctx *ctx)
{
	return mask_change(ctx, nvmf_ns_grant);
}

int nvmf_cmd_namespace_revoke(struct cmd_ctx *ctx)
{
	return mask_change(ctx, nvmf_ns_revoke);
}

/* ---- looking ---- */

static void absent_row(struct cmd_ctx *ctx, const struct nvmf_subsystem *subsys,
		       const struct nvmf_absent *absent)
{
	cmd_row(ctx);
	cmd_col(ctx, "subsystem", "%s", subsys->nqn);
	cmd_col_u64(ctx, "nsid", absent->nsid);
	cmd_col(ctx, "disk", "%s", absent->disk);
	cmd_col(ctx, "state", "waiting");
	cmd_col_size(ctx, "size", 0);
	cmd_col_u64(ctx, "block", 0);
	cmd_col(ctx, "uuid", "-");
	cmd_col(ctx, "hosts", absent->spec.private ? "private" : "all");
	cmd_col_u64(ctx, "ana-group", MAX(absent->spec.ana_group, NVMF_ANA_DEFAULT));
}

static void namespace_row(struct cmd_ctx *ctx, const struct nvmf_ns *ns)
{
	char uuid[UUID_TEXT_BYTES];

	uuid_format(&ns->uuid, uuid);
	cmd_row(ctx);
	cmd_col(ctx, "subsystem", "%s", ns->subsys->nqn);
	cmd_col_u64(ctx, "nsid", ns->nsid);
	cmd_col(ctx, "disk", "%s", ns->bdev->name);
	cmd_col(ctx, "state", "ready");
	cmd_col_size(ctx, "size", ns->bdev->block_count << ns->lba_shift);
	cmd_col_u64(ctx, "block", ns->bdev->block_bytes);
	cmd_col(ctx, "uuid", "%s", uuid);
	cmd_col(ctx, "hosts", ns->spec.private ? "private" : "all");
	cmd_col_u64(ctx, "ana-group", ns->ana_group);
}

int nvmf_cmd_namespace_list(struct cmd_ctx *ctx)
{
	const struct nvmf_absent *absent;
	struct nvmf_subsystem *subsys;

	list_for_each(subsys, &nvmf_target.subsystems, link) {
		const struct nvmf_ns_table *table = nvmf_ns_table(subsys);

		for (uint32_t i = 0; i < table->nn; i++)
			if (table->ns[i])
				namespace_row(ctx, table->ns[i]);
		list_for_each(absent, &subsys->absent, link)
			absent_row(ctx, subsys, absent);
	}
	return 0;
}

/* A row for each host that sees it; of one that all see, a row of the host "any". */
int nvmf_cmd_namespace_show(struct cmd_ctx *ctx)
{
	struct nvmf_subsystem *subsys = nvmf_cmd_subsystem(ctx);
	uint32_t nsid = (uint32_t)cmd_u64(ctx, "NSID", 0);
	const struct nvmf_host *host;
	const struct list *grants;
	bool is_private;

	if (!subsys)
		return -ENOENT;
	grants = nvmf_ns_grants(subsys, nsid, &is_private);
	if (!grants)
		return namespace_missing(ctx, subsys);
	if (!is_private) {
		cmd_row(ctx);
		cmd_col_u64(ctx, "nsid", nsid);
		cmd_col(ctx, "host", "any");
	}
	list_for_each(host, grants, link) {
		cmd_row(ctx);
		cmd_col_u64(ctx, "nsid", nsid);
		cmd_col(ctx, "host", "%s", host->nqn);
	}
	return 0;
}
