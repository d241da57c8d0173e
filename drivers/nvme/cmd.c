/* SPDX-License-Identifier: BSD-3-Clause */
/* Console commands of NVMe drives: disk attach, detach, identify, smart, errors. */
#include <errno.h>
#include <string.h>

#include "core/base/util.h"
#include "drivers/nvme/cmd.h"

/* ---- names ---- */

int nvme_cmd_disk(struct cmd_ctx *ctx, struct nvme_ns **ns)
{
	const char *name = cmd_str(ctx, "name");
	struct bdev *bdev = bdev_find(name);

	if (!bdev)
		return cmd_fail(ctx, -ENOENT, "disk %s: there is none of that name; see disk "
				"list", name);
	*ns = nvme_disk_ns(bdev);
	if (!*ns)
		return cmd_fail(ctx, -EOPNOTSUPP, "disk %s: is no NVMe drive; see disk list", name);
	return 0;
}

/* ---- attach and detach ---- */

struct claim {
	struct pci_addr addr;
	char why[PCI_WHY_BYTES];
	int rc;
};

static void claim_block(void *arg)
{
	struct claim *claim = arg;

	claim->rc = pci_claim(&claim->addr, claim->why);
}

static int disk_attach(struct cmd_ctx *ctx)
{
	const char *text = cmd_str(ctx, "pci");
	struct claim claim = { .rc = 0 };
	int rc;

	if (pci_addr_parse(text, &claim.addr) < 0)
		return cmd_fail(ctx, -EINVAL, "%s: is no PCI address; write it like 0000:01:00.0",
				text);
	task_block(claim_block, &claim);
	if (claim.rc < 0)
		return cmd_fail(ctx, claim.rc, "pci %s: %s", text, claim.why);
	rc = nvme_ctrl_attach(&claim.addr);
	if (rc == -EEXIST)
		return cmd_fail(ctx, rc, "pci %s: is attached already", text);
	if (rc < 0)
		return cmd_fail(ctx, rc, "pci %s: cannot be attached (%s); see log show", text,
				strerror(-rc));
	return 0;
}

/* The name is a disk's or its controller's. */
static int disk_detach(struct cmd_ctx *ctx)
{
	struct nvme_ctrl *c = nvme_ctrl_find(cmd_str(ctx, "name"));
	struct nvme_ns *ns;
	int rc;

	if (!c) {
		rc = nvme_cmd_disk(ctx, &ns);
		if (rc < 0)
			return rc;
		c = ns->ctrl;
	}
	list_for_each(ns, &c->namespaces, link) {
		const struct bdev_user *user;

		user = list_first_entry(&ns->bdev.users, struct bdev_user, link);
		if (user)
			return cmd_fail(ctx, -EBUSY, "disk %s: is in use by %s; remove that "
					"first", ns->bdev.name, user->who);
	}
	nvme_ctrl_detach(c);
	return 0;
}

/* ---- identify ---- */

static int identify_rows(struct cmd_ctx *ctx, const struct nvme_ns *ns)
{
	const struct nvme_ctrl *c = ns->ctrl;
	const struct nvme_ctrl_info *i = &c->info;
	char uuid[UUID_TEXT_BYTES];
	struct nvme_id_ns id;
	int rc = nvme_admin_identify(ns->ctrl, NVME_CNS_NS, ns->nsid, 0, &id);

	if (rc < 0)
		return cmd_fail(ctx, rc, "%s: Identify failed (%s)", c->name, strerror(-rc));
	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "model", "%s", i->model);
	cmd_col(ctx, "serial", "%s", i->serial);
	cmd_col(ctx, "firmware", "%s", i->firmware);
	cmd_col(ctx, "vendor", "%04x", i->vid);
	cmd_col(ctx, "version", "%u.%u.%u", i->ver >> 16, i->ver >> 8 & 0xff, i->ver & 0xff);
	cmd_col_size(ctx, "transfer_max", c->xfer_bytes_max);
	cmd_col(ctx, "commands", "%s%s%s%s", i->oncs & NVME_ONCS_COMPARE ? "compare " : "",
		i->oncs & NVME_ONCS_DSM ? "unmap " : "",
		i->oncs & NVME_ONCS_WRITE_ZEROES ? "write-zeroes " : "",
		i->oacs & NVME_OACS_FORMAT ? "format" : "");
	cmd_col_bool(ctx, "volatile_cache", i->volatile_cache);
	cmd_col_bool(ctx, "sgl", i->sgls & 3);
	cmd_col_u64(ctx, "nsid", ns->nsid);
	cmd_col_u64(ctx, "blocks", le64_get(id.nsze));
	cmd_col_u64(ctx, "capacity", le64_get(id.ncap));
	cmd_col_u64(ctx, "utilization", le64_get(id.nuse));
	cmd_col_u64(ctx, "format", ns->info.format);
	uuid_format(&ns->bdev.uuid, uuid);
	cmd_col(ctx, "uuid", "%s", uuid);
	for (unsigned f = 0; f <= MIN(id.nlbaf, ARRAY_SIZE(id.lbaf) - 1); f++)
		if (id.lbaf[f].lbads)
			cmd_line(ctx, "format %u: blocks of %llu, metadata of %u", f,
				 1ull << (id.lbaf[f].lbads & 63), le16_get(id.lbaf[f].ms));
	return 0;
}

/* ---- SMART and the error log ---- */

/* The low 64 bits of a 128-bit number: what a drive can count in its life. */
static uint64_t u128_low(const uint8_t *bytes)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | bytes[i];
	return v;
}

static void celsius(struct cmd_ctx *ctx, const char *name, unsigned kelvin)
{
	if (kelvin)
		cmd_col(ctx, name, "%d C", (int)kelvin - 273);
}

static int smart_rows(struct cmd_ctx *ctx, const struct nvme_ns *ns)
{
	struct nvme_ctrl *c = ns->ctrl;
	struct nvme_log_smart s;
	int rc = nvme_admin_log(c, NVME_LID_SMART, UINT32_MAX, &s, sizeof(s));

	if (rc < 0)
		return cmd_fail(ctx, rc, "%s: no SMART log (%s)", c->name, strerror(-rc));
	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "warnings", "%s%s%s%s%s",
		s.critical_warning & NVME_SMART_SPARE ? "spare " : "",
		s.critical_warning & NVME_SMART_TEMPERATURE ? "temperature " : "",
		s.critical_warning & NVME_SMART_RELIABILITY ? "reliability " : "",
		s.critical_warning & NVME_SMART_READONLY ? "read-only " : "",
		s.critical_warning & NVME_SMART_BACKUP_FAILED ? "backup" : "");
	celsius(ctx, "temperature", le16_un_get(s.composite_temperature));
	celsius(ctx, "temperature_warning", c->info.warning_kelvin);
	celsius(ctx, "temperature_critical", c->info.critical_kelvin);
	cmd_col_percent(ctx, "spare", s.available_spare);
	cmd_col_percent(ctx, "spare_threshold", s.available_spare_threshold);
	cmd_col_percent(ctx, "used", s.percentage_used);
	cmd_col_size(ctx, "read", u128_low(s.data_units_read) * 512000);
	cmd_col_size(ctx, "written", u128_low(s.data_units_written) * 512000);
	cmd_col_u64(ctx, "read_commands", u128_low(s.host_read_commands));
	cmd_col_u64(ctx, "write_commands", u128_low(s.host_write_commands));
	cmd_col_u64(ctx, "busy_minutes", u128_low(s.controller_busy_time));
	cmd_col_u64(ctx, "power_cycles", u128_low(s.power_cycles));
	cmd_col_u64(ctx, "power_on_hours", u128_low(s.power_on_hours));
	cmd_col_u64(ctx, "unsafe_shutdowns", u128_low(s.unsafe_shutdowns));
	cmd_col_u64(ctx, "media_errors", u128_low(s.media_errors));
	cmd_col_u64(ctx, "error_log_entries", u128_low(s.error_log_entries));
	return 0;
}

static int errors_rows(struct cmd_ctx *ctx, const struct nvme_ns *ns)
{
	struct nvme_log_error e[NVME_DATA_BYTES / sizeof(struct nvme_log_error)];
	struct nvme_ctrl *c = ns->ctrl;
	unsigned count = MIN(c->info.error_entries, ARRAY_SIZE(e));
	int rc = nvme_admin_log(c, NVME_LID_ERROR, UINT32_MAX, e, count * sizeof(*e));

	if (rc < 0)
		return cmd_fail(ctx, rc, "%s: no error log (%s)", c->name, strerror(-rc));
	for (unsigned i = 0; i < count; i++) {
		uint16_t status = le16_get(e[i].status) >> NVME_STATUS_SHIFT;

		if (le64_get(e[i].error_count) == 0)
			continue;
		cmd_row(ctx);
		cmd_col_u64(ctx, "count", le64_get(e[i].error_count));
		cmd_col_u64(ctx, "queue", le16_get(e[i].sqid));
		cmd_col(ctx, "cid", "%04x", le16_get(e[i].cid));
		cmd_col(ctx, "status", "%x/%02x", nvme_status_sct(status), nvme_status_sc(status));
		cmd_col_u64(ctx, "nsid", le32_get(e[i].nsid));
		cmd_col_u64(ctx, "lba", le64_get(e[i].lba));
	}
	return 0;
}

/* Rows about a disk, whose controller's memory stays while the command runs. */
static int with_disk(struct cmd_ctx *ctx, int (*rows)(struct cmd_ctx *, const struct nvme_ns *))
{
	struct nvme_ns *ns, copy;
	int rc = nvme_cmd_disk(ctx, &ns);

	if (rc < 0)
		return rc;
	copy = *ns;
	nvme_ctrl_get(copy.ctrl);
	rc = rows(ctx, &copy);
	nvme_ctrl_put(copy.ctrl);
	return rc;
}

static int disk_identify(struct cmd_ctx *ctx)
{
	return with_disk(ctx, identify_rows);
}

static int disk_smart(struct cmd_ctx *ctx)
{
	return with_disk(ctx, smart_rows);
}

static int disk_errors(struct cmd_ctx *ctx)
{
	return with_disk(ctx, errors_rows);
}

/* ---- table ---- */

static const struct cmd_arg arg_pci[] = {
	{ "pci", CMD_NAME, .required = true, .help = "PCI address, like 0000:01:00.0" },
	{ NULL },
};

static const struct cmd_arg arg_disk[] = {
	{ "name", CMD_NAME, .required = true, .help = "an NVMe drive, like nvme0n1",
	  .complete = cmd_complete_disk },
	{ NULL },
};

static const struct cmd_arg arg_format[] = {
	{ "name", CMD_NAME, .required = true, .help = "an NVMe drive, like nvme0n1",
	  .complete = cmd_complete_disk },
	{ "block", CMD_SIZE, .keyed = true, .help = "block size, 512 or 4K; as it is when left out",
	  .min = 512, .max = 65536 },
	{ NULL },
};

const struct cmd nvme_cmds[] = {
	{ "disk", "attach", "take an NVMe drive from the kernel and serve it", arg_pci,
	  disk_attach },
	{ "disk", "detach", "let an NVMe drive go", arg_disk, disk_detach },
	{ "disk", "identify", "what an NVMe drive says about itself", arg_disk, disk_identify },
	{ "disk", "smart", "health of an NVMe drive", arg_disk, disk_smart },
	{ "disk", "errors", "error log of an NVMe drive", arg_disk, disk_errors },
	{ "disk", "format", "format an NVMe drive: all its data is lost", arg_format,
	  nvme_cmd_format, CMD_DESTRUCTIVE },
	{ NULL },
};
