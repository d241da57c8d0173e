/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names. A store of volumes has a blob of its own, the super blob, with the store's name and UUID,
 * and each volume has a name; where one is missing other programs do not load the store at all.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "blob/check.h"
#include "blob/op.h"

static bool nameless(const struct blob *b)
{
	return !*blob_xattr_text(b, BS_XATTR_NAME);
}

static bool has_uuid(const struct blob *b)
{
	struct uuid uuid;

	return uuid_parse(blob_xattr_text(b, BS_XATTR_UUID), &uuid) == 0;
}

static bool has_volumes(const struct store *s)
{
	return memcmp(s->super.type, BS_TYPE_LVOL, sizeof(BS_TYPE_LVOL)) == 0;
}

static bool super_blob_good(const struct store *s)
{
	return s->super_blob && !nameless(s->super_blob) && has_uuid(s->super_blob);
}

void names_check(struct check *check)
{
	const struct store *s = check->s;
	const struct blob *b;

	if (!has_volumes(s))
		return;
	if (!super_blob_good(s))
		check_report_add(check->report, FIND_NAME, s->super.super_blob, 0, 0,
				 "the blob with the store's name and UUID is not there, or lacks "
				 "them");
	list_for_each(b, &s->blobs, link)
		if (!b->damage && b->id != s->super.super_blob && nameless(b))
			check_report_add(check->report, FIND_NAME, b->id, 0, 0, "has no name");
}

int repair_name_give(struct blob *b)
{
	char name[BS_VOLUME_NAME_BYTES];

	if (!nameless(b) || b->id == b->store->super.super_blob)
		return 0;
	snprintf(name, sizeof(name), "recovered-%" PRIx64, b->id);
	return blob_xattr_put(b, false, BS_XATTR_NAME, name, strlen(name) + 1);
}

/* The super blob, one that looks as if it had been it, or a new one. */
static int super_blob_find(struct store *s, struct blob **out)
{
	struct blob *b = blob_find(s, s->super.super_blob);
	int rc;

	for (struct blob *next = blob_next(s, NULL); !b && next; next = blob_next(s, next))
		if (!next->damage && next->map->cluster_count == 0 && !nameless(next) &&
		    has_uuid(next))
			b = next;
	rc = b ? 0 : blob_new(s, 0, NULL, 0, &b);
	*out = b;
	return rc;
}

static int super_blob_mend(struct check *check)
{
	struct store *s = check->s;
	char uuid[UUID_TEXT_BYTES];
	struct blob *b;
	int rc = super_blob_find(s, &b);

	if (rc < 0 || b->damage)
		return rc;
	b->dying = false;
	uuid_format(&s->uuid, uuid);
	if (nameless(b))
		rc = blob_xattr_put(b, false, BS_XATTR_NAME, s->name, strlen(s->name) + 1);
	if (rc == 0 && !has_uuid(b))
		rc = blob_xattr_put(b, false, BS_XATTR_UUID, uuid, sizeof(uuid));
	if (rc == 0)
		rc = blob_sync(b);
	if (rc < 0)
		return rc;
	repair_told(check, s->super.super_blob, false, "mended: it is 0x%" PRIx64, b->id);
	s->super_blob = b;
	if (s->super.super_blob == b->id)
		return 0;
	s->super.super_blob = b->id;
	return super_write(s);
}

int repair_names(struct check *check)
{
	struct blob *b;
	int rc = 0;

	if (!has_volumes(check->s))
		return 0;
	if (!super_blob_good(check->s))
		rc = super_blob_mend(check);
	list_for_each(b, &check->s->blobs, link) {
		if (rc < 0 || b->damage || !nameless(b) || b == check->s->super_blob)
			continue;
		rc = repair_name_give(b);
		if (rc == 0)
			rc = blob_sync(b);
		if (rc == 0)
			repair_told(check, b->id, false, "mended: %s",
				    blob_xattr_text(b, BS_XATTR_NAME));
	}
	return rc;
}
