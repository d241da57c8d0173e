/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done with volumes: the operations on their blobs (blob_op.c, resize.c, snapshot.c,
 * inflate.c), and what becomes of their bdevs.
 *
 * While an operation is under way its blob is open and its store is not unloaded. A change of the
 * bdev itself (name, read-only, delete) takes it away and brings it back: it needs that nobody uses
 * it and that no other operation runs.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/op.h"
#include "blob/serve.h"

/* ---- names ---- */

static bool name_valid(const char *name)
{
	size_t len = strnlen(name, BS_VOLUME_NAME_BYTES);

	return len > 0 && len < BS_VOLUME_NAME_BYTES &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
		       len;
}

/* A name that is being given to a volume: nobody else gets it meanwhile. */
struct naming {
	struct list link;
	const char *name;
};

static bool name_taken(const struct store *s, const char *name)
{
	const struct naming *n;

	list_for_each(n, &s->namings, link)
		if (strcmp(n->name, name) == 0)
			return true;
	return volume_find_in(s, name) != NULL;
}

static uint64_t volume_clusters(const struct store *s, uint64_t size_bytes)
{
	return MAX(div_round_up(size_bytes, s->super.cluster_bytes), 1);
}

static int size_check(const struct store *s, uint64_t size_bytes, struct why *why)
{
	if (volume_clusters(s, size_bytes) <= UINT32_MAX)
		return 0;
	return why_fail(why, -EFBIG, "store %s: no volume has more than %u clusters, which are %"
			PRIu64 " bytes here; larger volumes need larger clusters", s->name,
			UINT32_MAX, (uint64_t)UINT32_MAX * s->super.cluster_bytes);
}

/* Hosts take two disks of one UUID for one. */
static int uuid_check(const struct uuid *uuid, struct why *why)
{
	char text[UUID_TEXT_BYTES];

	if (!uuid)
		return 0;
	if (uuid_is_nil(uuid))
		return why_fail(why, -EINVAL, "a UUID of zeroes is none; leave uuid= out for a "
				"new one");
	uuid_format(uuid, text);
	for (const struct bdev *bdev = bdev_next(NULL); bdev; bdev = bdev_next(bdev))
		if (uuid_equal(&bdev->uuid, uuid))
			return why_fail(why, -EEXIST, "disk %s: has UUID %s already; choose "
					"another", bdev->name, text);
	return 0;
}

/* ---- changes: one at a time for what takes the bdev away, none while volumes are stopped ---- */

static int op_begin(struct store *s, struct why *why)
{
	if (s->state == STORE_GONE)
		return why_fail(why, -ENODEV, "store %s: its disk is gone", s->name);
	if (!s->lanes || s->stopping)
		return why_fail(why, -EBUSY, "store %s: is being unloaded", s->name);
	s->volume_ops++;
	return 0;
}

static void op_end(struct store *s)
{
	externals_release(s);
	if (--s->volume_ops == 0)
		event_signal(&s->volume_idle);
}

/* Keeps B from going during an operation. */
static int blob_op_begin(struct blob *b, struct why *why)
{
	int rc = op_begin(b->store, why);

	if (rc < 0)
		return rc;
	rc = blob_open(b, why);
	if (rc < 0)
		op_end(b->store);
	return rc;
}

static void blob_op_end(struct blob *b)
{
	struct store *s = b->store;

	blob_close(b);
	op_end(s);
}

/* Nobody uses it, and no operation runs. */
static int free_check(const struct blob *b, struct why *why)
{
	char buf[BS_VOLUME_NAME_BYTES];

	if (volume_in_use(b))
		return why_fail(why, -EBUSY, "volume %s: in use by %s; free it first",
				b->volume->bdev.name,
				list_first_entry(&b->volume->bdev.users, struct bdev_user,
						 link)->who);
	if (b->open_count > (b->volume ? 1u : 0u))
		return why_fail(why, -EBUSY, "volume %s/%s: is being changed; wait for that",
				b->store->name, volume_name(b, buf));
	return 0;
}

/* ---- making ---- */

/* Name and uuid of a new one, as SPDK writes them: the name with all of its room. */
struct identity {
	struct store *store;
	struct naming naming;
	char name[BS_VOLUME_NAME_BYTES];
	char uuid[UUID_TEXT_BYTES];
	struct blob_xattr xattrs[2];
};

static int name_check(const struct store *s, const char *name, struct why *why)
{
	if (!name_valid(name))
		return why_fail(why, -EINVAL, "volume %s/%s: no such name for a volume; use at most"
				" %d letters, digits, - _ .", s->name, name,
				BS_VOLUME_NAME_BYTES - 1);
	if (name_taken(s, name))
		return why_fail(why, -EEXIST, "volume %s/%s: exists already; choose another name",
				s->name, name);
	return 0;
}

/* An operation begins that makes a volume: made() ends it. */
static int make_begin(struct store *s, const char *name, const struct uuid *uuid,
		      struct identity *id, struct why *why)
{
	static char name_key[] = BS_XATTR_NAME, uuid_key[] = BS_XATTR_UUID;
	struct uuid own = uuid ? *uuid : uuid_random();
	int rc = name_check(s, name, why);

	if (rc == 0)
		rc = op_begin(s, why);
	if (rc < 0)
		return rc;
	memset(id, 0, sizeof(*id));
	id->store = s;
	snprintf(id->name, sizeof(id->name), "%s", name);
	uuid_format(&own, id->uuid);
	id->xattrs[0] = (struct blob_xattr){ .name = name_key, .name_len = strlen(name_key),
					     .value_len = sizeof(id->name),
					     .value = (uint8_t *)id->name };
	id->xattrs[1] = (struct blob_xattr){ .name = uuid_key, .name_len = strlen(uuid_key),
					     .value_len = sizeof(id->uuid),
					     .value = (uint8_t *)id->uuid };
	id->naming.name = id->name;
	list_push(&s->namings, &id->naming.link);
	return 0;
}

/* B was made, or not (RC): it is served from now on. */
static int make_end(struct identity *id, struct blob *b, int rc, struct blob **out,
		    struct why *why)
{
	if (rc == 0)
		rc = volume_serve(b, why);
	if (rc == 0 && out)
		*out = b;
	list_del(&id->naming.link);
	op_end(id->store);
	return rc;
}

int volume_create(struct store *s, const char *name, uint64_t size_bytes, bool thin,
		  const struct uuid *uuid, struct blob **out, struct why *why)
{
	struct blob_opts opts = { .cluster_count = volume_clusters(s, size_bytes), .thin = thin };
	struct identity id;
	struct blob *b = NULL;
	int rc = size_check(s, size_bytes, why);

	if (rc == 0)
		rc = name_check(s, name, why);
	if (rc == 0)
		rc = uuid_check(uuid, why);
	if (rc == 0)
		rc = make_begin(s, name, uuid, &id, why);
	if (rc < 0)
		return rc;
	opts.xattrs = id.xattrs;
	opts.xattr_count = ARRAY_SIZE(id.xattrs);
	rc = blob_create(s, &opts, &b, why);
	return make_end(&id, b, rc, out, why);
}

int volume_snapshot(struct blob *b, const char *name, struct blob **out, struct why *why)
{
	struct identity id;
	struct blob *snap = NULL;
	int rc = make_begin(b->store, name, NULL, &id, why);

	if (rc < 0)
		return rc;
	rc = blob_open(b, why);
	if (rc == 0) {
		rc = blob_snapshot(b, id.xattrs, ARRAY_SIZE(id.xattrs), &snap, why);
		blob_close(b);
	}
	return make_end(&id, snap, rc, out, why);
}

int volume_clone(struct blob *snapshot, const char *name, struct blob **out, struct why *why)
{
	struct identity id;
	struct blob *b = NULL;
	int rc = make_begin(snapshot->store, name, NULL, &id, why);

	if (rc < 0)
		return rc;
	rc = blob_open(snapshot, why);
	if (rc == 0) {
		rc = blob_clone(snapshot, id.xattrs, ARRAY_SIZE(id.xattrs), &b, why);
		blob_close(snapshot);
	}
	return make_end(&id, b, rc, out, why);
}

int volume_clone_external(struct store *s, const char *disk, const char *name, struct blob **out,
			  struct why *why)
{
	struct bdev *bdev = bdev_find(disk);
	char esnap[UUID_TEXT_BYTES];
	struct identity id;
	struct blob *b = NULL;
	int rc;

	if (!bdev)
		return why_fail(why, -ENOENT, "disk %s: no such disk; see disk list", disk);
	if (bdev == s->disk.bdev)
		return why_fail(why, -EINVAL, "disk %s: holds the store itself", disk);
	if (bdev->block_bytes > s->super.block_bytes)
		return why_fail(why, -EINVAL, "disk %s: its blocks of %u bytes are larger than the"
				" store's of %u", disk, bdev->block_bytes, s->super.block_bytes);
	rc = size_check(s, bdev->block_count << bdev->block_shift, why);
	if (rc == 0)
		rc = make_begin(s, name, NULL, &id, why);
	if (rc < 0)
		return rc;
	uuid_format(&bdev->uuid, esnap);
	rc = blob_clone_external(s, esnap,
				 volume_clusters(s, bdev->block_count << bdev->block_shift),
				 id.xattrs, ARRAY_SIZE(id.xattrs), &b, why);
	if (rc == 0)
		external_connect(b);
	return make_end(&id, b, rc, out, why);
}

/* ---- changing ---- */

int volume_delete(struct blob *b, struct why *why)
{
	struct store *s = b->store;
	char buf[BS_VOLUME_NAME_BYTES];
	int rc = free_check(b, why);

	if (rc < 0)
		return rc;
	if (!list_empty(&b->clones) && b->clones.next->next != &b->clones)
		return why_fail(why, -EBUSY, "volume %s/%s: has more than one clone; delete or "
				"inflate all but one of them", s->name, volume_name(b, buf));
	rc = op_begin(s, why);
	if (rc < 0)
		return rc;
	volume_unserve(b);
	rc = blob_delete(b, why);
	if (rc < 0)
		volume_serve(b, NULL);
	op_end(s);
	return rc;
}

int volume_resize(struct blob *b, uint64_t size_bytes, struct why *why)
{
	uint64_t clusters = volume_clusters(b->store, size_bytes);
	int rc = size_check(b->store, size_bytes, why);
	struct volume *v;

	if (rc == 0)
		rc = blob_op_begin(b, why);
	if (rc < 0)
		return rc;
	/* Users learn of a smaller end before it is one, of a larger one after. */
	v = b->volume;
	if (v && clusters < b->map->cluster_count && !blob_is_readonly(b))
		bdev_resize(&v->bdev, clusters * v->cluster_blocks);
	rc = blob_resize(b, clusters, why);
	v = b->volume;
	if (v)
		bdev_resize(&v->bdev, b->map->cluster_count * v->cluster_blocks);
	blob_op_end(b);
	return rc;
}

/* CHANGE while there is no bdev of it. */
static int unserved(struct blob *b, int (*change)(struct blob *b, const void *arg, struct why *why),
		    const void *arg, struct why *why)
{
	int rc = free_check(b, why), served;

	if (rc == 0)
		rc = blob_op_begin(b, why);
	if (rc < 0)
		return rc;
	volume_unserve(b);
	rc = change(b, arg, why);
	served = volume_serve(b, rc == 0 ? why : NULL);
	blob_op_end(b);
	return rc == 0 ? served : rc;
}

static int name_set(struct blob *b, const void *name, struct why *why)
{
	return blob_xattr_set(b, BS_XATTR_NAME, name, strlen(name) + 1, why);
}

static int readonly_set(struct blob *b, const void *readonly, struct why *why)
{
	return blob_readonly_set(b, *(const bool *)readonly, why);
}

int volume_rename(struct blob *b, const char *name, struct why *why)
{
	struct naming naming = { .name = name };
	struct store *s = b->store;
	int rc = name_check(s, name, why);

	if (rc < 0)
		return rc;
	list_push(&s->namings, &naming.link);
	rc = unserved(b, name_set, name, why);
	list_del(&naming.link);
	return rc;
}

int volume_readonly_set(struct blob *b, bool readonly, struct why *why)
{
	return unserved(b, readonly_set, &readonly, why);
}

int volume_inflate(struct blob *b, struct why *why)
{
	int rc = blob_op_begin(b, why);

	if (rc < 0)
		return rc;
	rc = blob_inflate(b, why);
	blob_op_end(b);
	return rc;
}

int volume_decouple(struct blob *b, struct why *why)
{
	int rc = blob_op_begin(b, why);

	if (rc < 0)
		return rc;
	rc = blob_decouple(b, why);
	blob_op_end(b);
	return rc;
}

int volume_set_parent(struct blob *b, struct blob *snapshot, struct why *why)
{
	int rc = blob_op_begin(b, why);

	if (rc < 0)
		return rc;
	rc = blob_open(snapshot, why);
	if (rc == 0) {
		rc = blob_set_parent(b, snapshot, why);
		blob_close(snapshot);
	}
	blob_op_end(b);
	return rc;
}

static int store_name_check(const struct store *s, const char *name, struct why *why)
{
	int rc = 0;

	if (!name_valid(name))
		return why_fail(why, -EINVAL, "store %s: no such name for a store; use at most %d "
				"letters, digits, - _ .", name, STORE_NAME_BYTES - 1);
	if (store_find(name))
		return why_fail(why, -EEXIST, "store %s: exists already; choose another name",
				name);
	if (!s->super_blob)
		return why_fail(why, -ENOTSUP, "store %s: has no place for a name", s->name);
	for (const struct blob *b = blob_next(s, NULL); rc == 0 && b; b = blob_next(s, b))
		rc = b == s->super_blob ? 0 : free_check(b, why);
	return rc;
}

int store_rename(struct store *s, const char *name, struct why *why)
{
	struct blob *b;
	int rc = store_name_check(s, name, why);

	if (rc == 0 && s->volume_ops > 0)
		rc = why_fail(why, -EBUSY, "store %s: is being changed; wait for that", s->name);
	if (rc == 0)
		rc = op_begin(s, why);
	if (rc < 0)
		return rc;
	s->stopping = true;
	for (b = blob_next(s, NULL); b; b = blob_next(s, b))
		volume_unserve(b);
	rc = blob_xattr_set(s->super_blob, BS_XATTR_NAME, name, strlen(name) + 1, why);
	if (rc == 0)
		snprintf(s->name, sizeof(s->name), "%s", name);
	for (b = blob_next(s, NULL); b; b = blob_next(s, b))
		if (b != s->super_blob && !b->damage)
			volume_serve(b, NULL);
	s->stopping = false;
	op_end(s);
	return rc;
}
