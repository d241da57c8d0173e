/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the volume commands. A new name may be written with its store in front, or without. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "blob/cmd.h"

/* The volume of argument ARG; NULL: told, return *RC. */
static struct blob *volume_arg(struct cmd_ctx *ctx, const char *arg, int *rc)
{
	const char *path = cmd_str(ctx, arg);
	struct blob *b = volume_find(path);

	if (!b)
		*rc = cmd_fail(ctx, -ENOENT, "volume %s: there is none of that name; see volume "
			       "list", path);
	return b;
}

/* What stands for the new volume in argument NEW; NULL: it names another store, told. */
static const char *new_name(struct cmd_ctx *ctx, const struct store *s, int *rc)
{
	const char *name = cmd_str(ctx, "NEW"), *slash = strchr(name, '/');

	if (!slash)
		return name;
	if ((size_t)(slash - name) == strlen(s->name) &&
	    strncmp(name, s->name, slash - name) == 0)
		return slash + 1;
	*rc = cmd_fail(ctx, -EXDEV, "volume %s: is not in store %s; volumes stay in their store",
		       name, s->name);
	return NULL;
}

/* ---- completion ---- */

static void offer_volumes(struct cmd_complete *c, bool snapshots)
{
	char name[BS_VOLUME_NAME_BYTES], path[STORE_NAME_BYTES + BS_VOLUME_NAME_BYTES];

	for (const struct store *s = store_next(NULL); s; s = store_next(s)) {
		for (const struct blob *b = blob_next(s, NULL); b; b = blob_next(s, b)) {
			if (b == s->super_blob || (snapshots && !blob_is_snapshot(b)))
				continue;
			snprintf(path, sizeof(path), "%s/%s", s->name, volume_name(b, name));
			cmd_offer(c, path);
		}
	}
}

void volume_complete(struct cmd_complete *c)
{
	offer_volumes(c, false);
}

void volume_complete_snapshot(struct cmd_complete *c)
{
	offer_volumes(c, true);
}

/* ---- looking ---- */

static const char *kind_name(const struct volume_info *info)
{
	if (info->snapshot)
		return "snapshot";
	if (info->parent[0] || info->external[0])
		return "clone";
	return info->thin ? "thin" : "thick";
}

static const char *state_name(const struct volume_info *info)
{
	if (info->damage)
		return "damaged";
	return info->readonly ? "read-only" : "ready";
}

static void list_row(struct cmd_ctx *ctx, const struct blob *b)
{
	uint32_t cluster = b->store->super.cluster_bytes;
	char name[BS_VOLUME_NAME_BYTES];
	struct volume_info info;

	volume_info(b, &info, name);
	cmd_row(ctx);
	cmd_col(ctx, "name", "%s/%s", b->store->name, info.name);
	cmd_col_size(ctx, "size", info.size_bytes);
	cmd_col_size(ctx, "own", info.mapped * cluster);
	cmd_col(ctx, "kind", "%s", kind_name(&info));
	cmd_col(ctx, "parent", "%s", info.external[0] ? info.external : info.parent);
	cmd_col_u64(ctx, "clones", info.clones);
	cmd_col(ctx, "state", "%s", state_name(&info));
	cmd_col_bool(ctx, "in_use", info.in_use);
}

int volume_cmd_list(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "STORE");
	const struct store *only = NULL;
	int rc = 0;

	if (name && !(only = store_cmd_find(ctx, name, &rc)))
		return rc;
	for (const struct store *s = store_next(NULL); s; s = store_next(s)) {
		if (only && s != only)
			continue;
		for (const struct blob *b = blob_next(s, NULL); b; b = blob_next(s, b))
			if (b != s->super_blob)
				list_row(ctx, b);
	}
	return 0;
}

int volume_cmd_show(struct cmd_ctx *ctx)
{
	int rc = 0;
	const struct blob *b = volume_arg(ctx, "VOLUME", &rc);
	char name[BS_VOLUME_NAME_BYTES], uuid[UUID_TEXT_BYTES];
	struct volume_info info;

	if (!b)
		return rc;
	volume_info(b, &info, name);
	uuid_format(&info.uuid, uuid);
	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "name", "%s/%s", b->store->name, info.name);
	cmd_col(ctx, "uuid", "%s", uuid);
	cmd_col(ctx, "kind", "%s", kind_name(&info));
	cmd_col(ctx, "state", "%s", state_name(&info));
	if (info.damage)
		cmd_col(ctx, "damage", "%s", info.damage);
	cmd_col_size(ctx, "size", info.size_bytes);
	cmd_col_size(ctx, "own", info.mapped * b->store->super.cluster_bytes);
	cmd_col_u64(ctx, "clusters", info.clusters);
	cmd_col_u64(ctx, "clusters_own", info.mapped);
	cmd_col_bool(ctx, "thin", info.thin);
	cmd_col(ctx, "parent", "%s", info.external[0] ? info.external : info.parent);
	cmd_col_u64(ctx, "clones", info.clones);
	cmd_col_bool(ctx, "in_use", info.in_use);
	cmd_col(ctx, "blob", "0x%" PRIx64, b->id);
	return 0;
}

/* ---- changing ---- */

static int create_over(struct cmd_ctx *ctx, struct store *s, const char *name)
{
	struct why why = { "" };
	struct blob *b;
	int rc;

	if (cmd_has(ctx, "size") || cmd_has(ctx, "uuid"))
		return cmd_fail(ctx, -EINVAL, "volume %s/%s: base= gives the size, and a UUID of "
				"its own; leave size= and uuid= out", s->name, name);
	rc = volume_clone_external(s, cmd_str(ctx, "base"), name, &b, &why);
	return store_cmd_refused(ctx, rc, &why);
}

int volume_cmd_create(struct cmd_ctx *ctx)
{
	const char *path = cmd_str(ctx, "VOLUME"), *slash = strchr(path, '/');
	char store[STORE_NAME_BYTES];
	struct why why = { "" };
	struct store *s;
	struct blob *b;
	int rc = 0;

	if (!slash || slash == path || !slash[1] || (size_t)(slash - path) >= sizeof(store))
		return cmd_fail(ctx, -EINVAL, "volume %s: not a name for one; write STORE/NAME",
				path);
	snprintf(store, sizeof(store), "%.*s", (int)(slash - path), path);
	s = store_cmd_find(ctx, store, &rc);
	if (!s)
		return rc;
	if (cmd_has(ctx, "base"))
		return create_over(ctx, s, slash + 1);
	if (!cmd_has(ctx, "size"))
		return cmd_fail(ctx, -EINVAL, "volume %s: size= is missing; write it like 512M or "
				"2T", path);
	rc = volume_create(s, slash + 1, cmd_u64(ctx, "size", 0), cmd_has(ctx, "thin"),
			   cmd_uuid(ctx, "uuid"), &b, &why);
	return store_cmd_refused(ctx, rc, &why);
}

int volume_cmd_resize(struct cmd_ctx *ctx)
{
	const char *path = cmd_str(ctx, "VOLUME");
	uint64_t size = cmd_u64(ctx, "size", 0);
	char name[BS_VOLUME_NAME_BYTES];
	struct volume_info info;
	struct why why = { "" };
	int rc = 0;
	struct blob *b = volume_arg(ctx, "VOLUME", &rc);

	if (!b)
		return rc;
	volume_info(b, &info, name);
	if (size < info.size_bytes) {
		rc = cmd_confirm(ctx, path, "shrinks, and what is beyond its new end will be lost");
		/* it may have gone while somebody was typing */
		b = rc ? NULL : volume_arg(ctx, "VOLUME", &rc);
		if (!b)
			return rc;
	}
	return store_cmd_refused(ctx, volume_resize(b, size, &why), &why);
}

int volume_cmd_rename(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct blob *b = volume_arg(ctx, "VOLUME", &rc);
	const char *name = b ? new_name(ctx, b->store, &rc) : NULL;
	struct why why = { "" };

	return name ? store_cmd_refused(ctx, volume_rename(b, name, &why), &why) : rc;
}

int volume_cmd_delete(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct blob *b = volume_arg(ctx, "VOLUME", &rc);
	struct why why = { "" };

	return b ? store_cmd_refused(ctx, volume_delete(b, &why), &why) : rc;
}

int volume_cmd_snapshot(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct blob *b = volume_arg(ctx, "VOLUME", &rc), *out;
	const char *name = b ? new_name(ctx, b->store, &rc) : NULL;
	struct why why = { "" };

	return name ? store_cmd_refused(ctx, volume_snapshot(b, name, &out, &why), &why) : rc;
}

int volume_cmd_clone(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct blob *b = volume_arg(ctx, "SNAPSHOT", &rc), *out;
	const char *name = b ? new_name(ctx, b->store, &rc) : NULL;
	struct why why = { "" };

	if (!name)
		return rc;
	if (!blob_is_readonly(b))
		return cmd_fail(ctx, -EINVAL, "volume %s: is no snapshot; take one by volume "
				"snapshot and clone that", cmd_str(ctx, "SNAPSHOT"));
	return store_cmd_refused(ctx, volume_clone(b, name, &out, &why), &why);
}

int volume_cmd_inflate(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct blob *b = volume_arg(ctx, "VOLUME", &rc);
	struct why why = { "" };

	if (!b)
		return rc;
	task_describe("volume %s: inflate", cmd_str(ctx, "VOLUME"));
	return store_cmd_refused(ctx, volume_inflate(b, &why), &why);
}

int volume_cmd_decouple(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct blob *b = volume_arg(ctx, "VOLUME", &rc);
	struct why why = { "" };

	if (!b)
		return rc;
	task_describe("volume %s: decouple", cmd_str(ctx, "VOLUME"));
	return store_cmd_refused(ctx, volume_decouple(b, &why), &why);
}

int volume_cmd_set(struct cmd_ctx *ctx)
{
	int rc = 0;
	struct blob *b = volume_arg(ctx, "VOLUME", &rc), *parent = NULL;
	struct why why = { "" };

	if (b && cmd_has(ctx, "parent"))
		parent = volume_arg(ctx, "parent", &rc);
	if (!b || rc)
		return rc;
	if (!cmd_has(ctx, "readonly") && !parent)
		return cmd_fail(ctx, -EINVAL, "volume %s: nothing to set; give readonly= or "
				"parent=", cmd_str(ctx, "VOLUME"));
	if (parent && parent->store != b->store)
		return cmd_fail(ctx, -EXDEV, "volume %s: parent=%s is in another store; only "
				"snapshots of its own can be its parent", cmd_str(ctx, "VOLUME"),
				cmd_str(ctx, "parent"));
	if (parent)
		rc = volume_set_parent(b, parent, &why);
	if (rc == 0 && cmd_has(ctx, "readonly"))
		rc = volume_readonly_set(b, cmd_u64(ctx, "readonly", 0), &why);
	return store_cmd_refused(ctx, rc, &why);
}
