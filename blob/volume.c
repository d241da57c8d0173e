/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Volumes: blobs with a name, each served as a bdev STORE/NAME while its store is loaded. This file
 * finds, names and serves them; volume_op.c changes them.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/serve.h"
#include "core/base/log.h"
#include "core/base/panic.h"

/* Before the id of a blob: what goes by it has no name, or one that another has too. */
#define BY_ID "blob-"

/* ---- names ---- */

/* What others called theirs may have characters that no name of a disk has: they become '_'. */
const char *volume_name(const struct blob *b, char buf[BS_VOLUME_NAME_BYTES])
{
	const char *name = blob_xattr_text(b, BS_XATTR_NAME);
	size_t len = strnlen(name, BS_VOLUME_NAME_BYTES - 1);

	if (b->volume)
		return strchr(b->volume->bdev.name, '/') + 1;
	snprintf(buf, BS_VOLUME_NAME_BYTES, BY_ID "%" PRIx64, b->id);
	for (size_t i = 0; i < len; i++)
		buf[i] = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]) ? name[i] : '_';
	if (len > 0)
		buf[len] = '\0';
	return buf;
}

struct blob *volume_find_in(const struct store *s, const char *name)
{
	char buf[BS_VOLUME_NAME_BYTES], *end;
	struct blob *b;

	for (b = blob_next(s, NULL); b; b = blob_next(s, b))
		if (b != s->super_blob && strcmp(volume_name(b, buf), name) == 0)
			return b;
	if (strncmp(name, BY_ID, strlen(BY_ID)) != 0)
		return NULL;
	b = blob_find(s, strtoull(name + strlen(BY_ID), &end, 16));
	return *end || b == s->super_blob ? NULL : b;
}

struct blob *volume_find(const char *path)
{
	const char *slash = strchr(path, '/');
	char store[STORE_NAME_BYTES];
	const struct store *s;

	if (!slash || slash - path >= STORE_NAME_BYTES)
		return NULL;
	memcpy(store, path, slash - path);
	store[slash - path] = '\0';
	s = store_find(store);
	return s ? volume_find_in(s, slash + 1) : NULL;
}

static struct uuid volume_uuid(const struct blob *b)
{
	const char *text = blob_xattr_text(b, BS_XATTR_UUID);
	char own[UUID_TEXT_BYTES + sizeof("_0123456789abcdef")];
	struct uuid uuid;

	if (uuid_parse(text, &uuid) == 0)
		return uuid;
	uuid_format(&b->store->uuid, own);
	snprintf(own + strlen(own), sizeof(own) - strlen(own), "_%" PRIx64, b->id);
	return uuid_from_name("volume", own, strlen(own));
}

/* ---- serving ---- */

static struct volume *volume_make(struct blob *b)
{
	struct store *s = b->store;
	const struct bdev *disk = s->disk.bdev;
	struct volume *v = calloc(1, sizeof(*v));
	char buf[BS_VOLUME_NAME_BYTES];

	if (!v)
		return NULL;
	v->blob = b;
	v->cluster_blocks = s->super.cluster_bytes / s->super.block_bytes;
	v->ratio_shift = (uint8_t)(log2_floor(s->super.block_bytes) - disk->block_shift);
	list_init(&v->asks);
	event_init(&v->held_none);
	event_signal(&v->held_none);
	v->bdev = (struct bdev){
		.driver = "volume",
		.ops = &volume_ops,
		.priv_bytes = volume_chan_bytes(),
		.block_bytes = s->super.block_bytes,
		.block_count = b->map->cluster_count * v->cluster_blocks,
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH | 1 << IO_UNMAP |
				 1 << IO_WRITE_ZEROES,
		.fua = true,
		.volatile_cache = disk->volatile_cache,
		.dma_only = disk->dma_only,
		.readonly = blob_is_readonly(b) || disk->readonly,
		.rotational = disk->rotational,
		.space_low = s->warned > 0 && blob_is_thin(b),
		.limits = {
			.xfer_bytes_max = MIN(s->super.cluster_bytes,
					      MAX(disk->xfer_max, s->super.block_bytes)),
			.iov_count_max = MIN((uint16_t)LANE_IOV, disk->iov_max),
			.align_bytes = disk->limits.align_bytes,
			.page_bytes = disk->limits.page_bytes,
		},
		.optimal_blocks = disk->optimal_blocks >> v->ratio_shift,
		.uuid = volume_uuid(b),
		.model = "Karst volume",
	};
	snprintf(v->bdev.name, sizeof(v->bdev.name), "%s/%s", s->name, volume_name(b, buf));
	return v;
}

int volume_serve(struct blob *b, struct why *why)
{
	struct volume *v;
	int rc = b->store->state == STORE_GONE ? -ENODEV : blob_open(b, why);

	if (rc < 0)
		return rc;
	v = b->map->cluster_count > 0 ? volume_make(b) : NULL;
	if (!v) {
		blob_close(b);
		return b->map->cluster_count > 0 ? -ENOMEM : 0;
	}
	rc = bdev_register(&v->bdev);
	if (rc == -EEXIST) {
		log_warn("volume %s: there are two of this name; the second is %s/" BY_ID "%"
			 PRIx64, v->bdev.name, b->store->name, b->id);
		snprintf(v->bdev.name, sizeof(v->bdev.name), "%s/" BY_ID "%" PRIx64,
			 b->store->name, b->id);
		rc = bdev_register(&v->bdev);
	}
	if (rc < 0) {
		why_fail(why, rc, "volume %s: cannot be a disk: %s", v->bdev.name, strerror(-rc));
		log_warn("volume %s: cannot be a disk: %s", v->bdev.name, strerror(-rc));
		blob_close(b);
		free(v);
		return rc;
	}
	b->volume = v;
	return 0;
}

bool volume_in_use(const struct blob *b)
{
	return b->volume && !list_empty(&b->volume->bdev.users);
}

void volume_unserve(struct blob *b)
{
	struct volume *v = b->volume;

	if (!v)
		return;
	v->closing = true;
	task_wait(&v->held_none);
	bdev_unregister(&v->bdev);
	b->volume = NULL;
	blob_close(b);
	free(v);
}

int volumes_start(struct store *s, struct why *why)
{
	struct blob *b;
	int rc;

	list_init(&s->namings);
	event_init(&s->volume_idle);
	s->volume_ops = 0;
	rc = lanes_start(s);
	if (rc < 0)
		return why_fail(why, rc, "store %s: not enough memory for its volumes", s->name);
	s->serving = true;
	externals_start(s);
	for (b = blob_next(s, NULL); b; b = blob_next(s, b))
		if (b != s->super_blob && !b->damage)
			volume_serve(b, NULL);
	s->serving = false;
	/* Disks that came meanwhile. */
	for (b = blob_next(s, NULL); b; b = blob_next(s, b))
		external_connect(b);
	return 0;
}

/* Why volumes cannot be stopped. */
static int stop_check(const struct store *s, struct why *why)
{
	if (s->stopping || s->volume_ops > 0)
		return why_fail(why, -EBUSY, "store %s: is being changed; wait for that", s->name);
	for (const struct blob *b = blob_next(s, NULL); b; b = blob_next(s, b))
		if (volume_in_use(b))
			return why_fail(why, -EBUSY, "store %s: %s is in use by %s; free it first",
					s->name, b->volume->bdev.name,
					list_first_entry(&b->volume->bdev.users, struct bdev_user,
							 link)->who);
	return 0;
}

int volumes_stop(struct store *s, struct why *why)
{
	struct blob *b;
	int rc;

	if (!s->lanes)
		return 0;
	if (s->state != STORE_GONE) {
		rc = stop_check(s, why);
		if (rc < 0)
			return rc;
	}
	/* When the disk has gone, operations end by themselves. */
	while (s->volume_ops > 0 || s->stopping) {
		event_clear(&s->volume_idle);
		task_wait(&s->volume_idle);
	}
	if (!s->lanes)
		return 0;
	s->stopping = true;
	for (b = blob_next(s, NULL); b; b = blob_next(s, b))
		volume_unserve(b);
	externals_stop(s);
	lanes_stop(s);
	s->stopping = false;
	event_signal(&s->volume_idle);
	return 0;
}

/* Users of thin volumes are told whether the pool is low. The task is an operation on volumes. */
static void threshold_task(void *arg)
{
	struct store *s = arg;
	struct blob *b;

	for (b = blob_next(s, NULL); b; b = blob_next(s, b)) {
		if (!b->volume || !blob_is_thin(b) || blob_open(b, NULL) < 0)
			continue;
		bdev_space_set(&b->volume->bdev, s->warned > 0);
		blob_close(b);
	}
	if (--s->volume_ops == 0)
		event_signal(&s->volume_idle);
}

void volumes_threshold(struct store *s)
{
	if (!s->lanes || s->stopping)
		return;
	s->volume_ops++;
	if (task_start("threshold", threshold_task, s))
		return;
	s->volume_ops--;
	log_warn("store %s: no memory to tell users of its volumes how full it is", s->name);
}

/* ---- what is known of one ---- */

void volume_info(const struct blob *b, struct volume_info *out, char buf[BS_VOLUME_NAME_BYTES])
{
	const struct blob_xattr *x = blob_xattr_find(b, true, BS_XATTR_EXTERNAL);
	char parent[BS_VOLUME_NAME_BYTES];
	const struct blob *clone;

	*out = (struct volume_info){
		.name = volume_name(b, buf),
		.uuid = volume_uuid(b),
		.size_bytes = b->map->cluster_count * b->store->super.cluster_bytes,
		.clusters = b->map->cluster_count,
		.mapped = blob_map_mapped(b->map),
		.thin = blob_is_thin(b),
		.readonly = blob_is_readonly(b),
		.snapshot = blob_is_snapshot(b),
		.external = b->external ? b->external->name :
			    x && x->value_len > 0 && x->value[x->value_len - 1] == '\0' ?
			    (const char *)x->value : "",
		.damage = b->damage,
		.in_use = volume_in_use(b),
	};
	if (b->parent)
		snprintf(out->parent, sizeof(out->parent), "%s", volume_name(b->parent, parent));
	list_for_each(clone, &b->clones, clone_link)
		out->clones++;
}
