/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the store commands; what an operation refuses says why in its own words. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "blob/cmd.h"
#include "core/base/util.h"

enum { CLUSTER_BYTES = 4 * 1024 * 1024 };

int store_cmd_refused(struct cmd_ctx *ctx, int rc, const struct why *why)
{
	return rc < 0 ? cmd_fail(ctx, rc, "%s", why->text[0] ? why->text : strerror(-rc)) : 0;
}

struct store *store_cmd_find(struct cmd_ctx *ctx, const char *name, int *rc)
{
	struct store *s = store_find(name);

	if (!s)
		*rc = cmd_fail(ctx, -ENOENT, "store %s: there is none of that name; see store list",
			       name);
	return s;
}

void store_complete(struct cmd_complete *c)
{
	for (const struct store *s = store_next(NULL); s; s = store_next(s))
		cmd_offer(c, s->name);
}

static const char *state_name(const struct store *s)
{
	if (s->state == STORE_LOADING)
		return "loading";
	if (s->state == STORE_GONE)
		return "disk gone";
	return s->failed ? "read-only" : "ready";
}

static const char *disk_name(const struct store *s)
{
	return s->disk.bdev ? store_disk(s) : "-";
}

static double used_percent(const struct store_figures *f)
{
	return f->clusters ? 100.0 * (double)(f->clusters - f->clusters_free) /
		(double)f->clusters : 0;
}

/* "full", "warn", …: which threshold is passed. */
static const char *level_name(const struct store *s, const struct store_figures *f)
{
	if (f->clusters_free == 0)
		return "full";
	for (unsigned i = ARRAY_SIZE(s->warn_percent); i-- > 0;)
		if (s->warn_percent[i] && used_percent(f) >= s->warn_percent[i])
			return i ? "critical" : "warn";
	return "ok";
}

int store_cmd_create(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "NAME"), *disk = cmd_str(ctx, "disk");
	struct store_opts opts = {
		.cluster_bytes = (uint32_t)cmd_u64(ctx, "cluster", CLUSTER_BYTES),
		.force = cmd_has(ctx, "force"),
	};
	struct why why = { "" };
	struct store *s;
	int rc;

	if (!IS_POWER_OF_2(opts.cluster_bytes))
		return cmd_fail(ctx, -EINVAL, "store %s: cluster=%u is not a power of two; use 64K "
				"… 1G, like 4M", name, opts.cluster_bytes);
	if (store_find(name))
		return cmd_fail(ctx, -EEXIST, "store %s: exists already; choose another name",
				name);
	blob_settled(disk);
	rc = store_create(name, disk, &opts, &s, &why);
	if (rc == -EEXIST && !opts.force && cmd_interactive(ctx)) {
		rc = cmd_confirm(ctx, disk, "what it holds will be lost");
		if (rc)
			return rc;
		opts.force = true;
		rc = store_create(name, disk, &opts, &s, &why);
	}
	if (rc == 0)
		rc = volumes_start(s, &why);
	return store_cmd_refused(ctx, rc, &why);
}

/* At boot its disk may come later, and its store may have been found by itself already. */
int store_cmd_load(struct cmd_ctx *ctx)
{
	const char *disk = cmd_str(ctx, "disk");
	struct why why = { "" };
	struct store *s;
	int rc;

	if (cmd_at_boot(ctx) && !bdev_find(disk)) {
		rc = blob_want(disk);
		return cmd_fail(ctx, rc ? rc : -ENOENT, "disk %s: there is none; its store is "
				"loaded when it comes", disk);
	}
	blob_settled(disk);
	s = store_of_disk(disk);
	if (s && !cmd_at_boot(ctx))
		return cmd_fail(ctx, -EEXIST, "disk %s: its store is loaded already, as %s; see "
				"store list", disk, s->name);
	rc = s ? 0 : blob_store_start(disk, &s, &why);
	if (rc)
		return store_cmd_refused(ctx, rc, &why);
	rc = blob_want(disk);
	return rc ? cmd_fail(ctx, rc, "store %s: loaded, but not remembered: %s", s->name,
			     strerror(-rc)) : 0;
}

int store_cmd_unload(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct store *s = store_cmd_find(ctx, cmd_str(ctx, "NAME"), &rc);
	char disk[BDEV_NAME_BYTES];
	struct why why = { "" };

	if (!s)
		return rc;
	snprintf(disk, sizeof(disk), "%s", disk_name(s));
	rc = blob_store_stop(s, &why);
	if (rc == 0)
		blob_unwant(disk);
	return store_cmd_refused(ctx, rc, &why);
}

int store_cmd_list(struct cmd_ctx *ctx)
{
	for (struct store *s = store_next(NULL); s; s = store_next(s)) {
		struct store_figures f;

		store_figures(s, &f);
		cmd_row(ctx);
		cmd_col(ctx, "name", "%s", s->name);
		cmd_col(ctx, "disk", "%s", disk_name(s));
		cmd_col(ctx, "state", "%s", state_name(s));
		cmd_col_size(ctx, "size", f.clusters * f.cluster_bytes);
		cmd_col_size(ctx, "free", f.clusters_free * f.cluster_bytes);
		cmd_col_percent(ctx, "used", used_percent(&f));
		cmd_col(ctx, "level", "%s", level_name(s, &f));
		cmd_col_size(ctx, "cluster", f.cluster_bytes);
		cmd_col_u64(ctx, "volumes", f.blobs - (s->super_blob ? 1 : 0));
		cmd_col_u64(ctx, "damaged", f.damaged);
	}
	return 0;
}

static void show_space(struct cmd_ctx *ctx, const struct store *s, const struct store_figures *f)
{
	cmd_col_size(ctx, "size", f->clusters * f->cluster_bytes);
	cmd_col_size(ctx, "free", f->clusters_free * f->cluster_bytes);
	cmd_col_percent(ctx, "used", used_percent(f));
	cmd_col(ctx, "level", "%s", level_name(s, f));
	cmd_col_u64(ctx, "warn", s->warn_percent[0]);
	cmd_col_u64(ctx, "critical", s->warn_percent[1]);
	cmd_col_size(ctx, "cluster", f->cluster_bytes);
	cmd_col_u64(ctx, "clusters", f->clusters);
	cmd_col_u64(ctx, "clusters_free", f->clusters_free);
	cmd_col_u64(ctx, "metadata_pages", f->pages);
	cmd_col_u64(ctx, "metadata_pages_free", f->pages_free);
}

int store_cmd_show(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct store *s = store_cmd_find(ctx, cmd_str(ctx, "NAME"), &rc);
	char uuid[UUID_TEXT_BYTES];
	struct store_figures f;

	if (!s)
		return rc;
	store_figures(s, &f);
	uuid_format(&s->uuid, uuid);
	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "name", "%s", s->name);
	cmd_col(ctx, "uuid", "%s", uuid);
	cmd_col(ctx, "disk", "%s", disk_name(s));
	cmd_col(ctx, "state", "%s", state_name(s));
	show_space(ctx, s, &f);
	cmd_col_size(ctx, "block", s->super.block_bytes);
	cmd_col_u64(ctx, "volumes", f.blobs - (s->super_blob ? 1 : 0));
	cmd_col_u64(ctx, "damaged", f.damaged);
	cmd_col(ctx, "loaded", "%s", f.recovered ? "recovered: it was not unloaded before" :
		"as it was unloaded");
	cmd_col_time(ctx, "load_time", f.load_us * 1000);
	cmd_col_u64(ctx, "cluster_allocations", f.cluster_allocs);
	cmd_col_u64(ctx, "cluster_frees", f.cluster_frees);
	cmd_col_u64(ctx, "metadata_writes", f.md_writes);
	cmd_col_u64(ctx, "flushes", f.flushes);
	cmd_col_time(ctx, "longest_freeze", f.freeze_us_max * 1000);
	return 0;
}

int store_cmd_set(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct store *s = store_cmd_find(ctx, cmd_str(ctx, "NAME"), &rc);
	uint64_t warn, critical;

	if (!s)
		return rc;
	if (!cmd_has(ctx, "warn") && !cmd_has(ctx, "critical"))
		return cmd_fail(ctx, -EINVAL, "store %s: nothing to set; give warn= or critical=",
				s->name);
	warn = cmd_u64(ctx, "warn", s->warn_percent[0]);
	critical = cmd_u64(ctx, "critical", s->warn_percent[1]);
	if (warn && critical && warn > critical)
		return cmd_fail(ctx, -EINVAL, "store %s: warn=%" PRIu64 " comes after critical=%"
				PRIu64 "; give it less", s->name, warn, critical);
	s->warn_percent[0] = (unsigned)warn;
	s->warn_percent[1] = (unsigned)critical;
	store_level_check(s);
	return 0;
}

int store_cmd_rename(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct store *s = store_cmd_find(ctx, cmd_str(ctx, "NAME"), &rc);
	struct why why = { "" };

	if (!s)
		return rc;
	return store_cmd_refused(ctx, store_rename(s, cmd_str(ctx, "NEW"), &why), &why);
}

static void check_rows(struct cmd_ctx *ctx, const struct check_report *report)
{
	const struct finding *finding;

	list_for_each(finding, &report->findings, link) {
		cmd_row(ctx);
		cmd_col(ctx, "kind", "%s", finding_kind_name(finding->kind));
		if (finding->blob == BLOB_ID_NONE)
			cmd_col(ctx, "blob", "-");
		else
			cmd_col(ctx, "blob", "0x%" PRIx64, finding->blob);
		cmd_col_u64(ctx, "first", finding->first);
		cmd_col_u64(ctx, "count", finding->count);
		cmd_col_bool(ctx, "mended", finding->mended);
		cmd_col(ctx, "what", "%s", finding->text);
	}
}

int store_cmd_check(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct store *s = store_cmd_find(ctx, cmd_str(ctx, "NAME"), &rc);
	struct check_report report;
	uint64_t found = 0, mended;
	struct why why = { "" };

	if (!s)
		return rc;
	check_report_init(&report);
	task_describe("store %s: check", s->name);
	rc = store_check(s, cmd_has(ctx, "repair"), &report, &why);
	check_rows(ctx, &report);
	for (unsigned i = 0; i < FIND_KINDS; i++)
		found += report.counts[i];
	mended = report.mended;
	check_report_fini(&report);
	if (rc)
		return store_cmd_refused(ctx, rc, &why);
	if (found > mended)
		return cmd_fail(ctx, -EUCLEAN, "store %s: %" PRIu64 " of %" PRIu64 " findings are "
				"not mended; %s", cmd_str(ctx, "NAME"), found - mended, found,
				cmd_has(ctx, "repair") ? "what they say is lost" :
				"check with repair mends what can be mended");
	return 0;
}

int store_cmd_grow(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct store *s = store_cmd_find(ctx, cmd_str(ctx, "NAME"), &rc);
	struct why why = { "" };
	uint64_t added;

	if (!s)
		return rc;
	rc = store_grow(s, &added, &why);
	if (rc)
		return store_cmd_refused(ctx, rc, &why);
	cmd_row(ctx);
	cmd_col(ctx, "store", "%s", s->name);
	cmd_col_size(ctx, "added", added * s->super.cluster_bytes);
	cmd_col_size(ctx, "size", s->clusters.count * s->super.cluster_bytes);
	return 0;
}

int store_cmd_delete(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct store *s = store_cmd_find(ctx, cmd_str(ctx, "NAME"), &rc);
	char disk[BDEV_NAME_BYTES];
	struct why why = { "" };

	if (!s)
		return rc;
	snprintf(disk, sizeof(disk), "%s", disk_name(s));
	rc = volumes_stop(s, &why);
	if (rc == 0)
		rc = store_delete(s, &why);
	if (rc == 0)
		blob_unwant(disk);
	return store_cmd_refused(ctx, rc, &why);
}
