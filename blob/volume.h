/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Volumes: the blobs of a volume store, each served as a bdev named STORE/NAME with the store's
 * block size. volume.c makes and removes them, volume_io.c serves them; commands and tests use this
 * header alone. In tasks on reactor 0, unless said otherwise.
 *
 * Names are letters, digits, - _ . and at most 63 bytes, unique in their store. Errors as in
 * blob/blob.h; -EEXIST: the name is taken; -EBUSY: the bdev has users and the change needs none.
 */
#ifndef BLOB_VOLUME_H
#define BLOB_VOLUME_H

#include "blob/store.h"

struct volume_info {
	const char *name;               /* without the store's */
	struct uuid uuid;
	uint64_t size_bytes;
	uint64_t clusters, mapped;      /* of its own */
	bool thin, readonly, snapshot;
	char parent[BS_VOLUME_NAME_BYTES];      /* name of its snapshot, "" */
	const char *external;           /* name of the disk beneath it, "" */
	unsigned clones;
	const char *damage;             /* NULL: nothing is wrong with it */
	bool in_use;
};

/* Makes bdevs of all sound blobs of a loaded store. A volume that fails is logged and left out. */
int volumes_start(struct store *s, struct why *why);
/* -EBUSY when one has users. Removes all bdevs. When the store is GONE: tells users and waits. */
int volumes_stop(struct store *s, struct why *why);

/* A threshold was passed, up or down: users of thin volumes are told. Does not wait. */
void volumes_threshold(struct store *s);

/* A blob by "STORE/NAME", damaged ones too; NULL. */
struct blob *volume_find(const char *path);
/* What name it goes by: of its xattr, or "blob-ID" when it has none, or another has it too. */
const char *volume_name(const struct blob *b, char buf[BS_VOLUME_NAME_BYTES]);
/* Strings live until the next wait. */
void volume_info(const struct blob *b, struct volume_info *out, char buf[BS_VOLUME_NAME_BYTES]);

/* SIZE is rounded up to clusters. UUID NULL: a new one. */
int volume_create(struct store *s, const char *name, uint64_t size_bytes, bool thin,
		  const struct uuid *uuid, struct blob **out, struct why *why);
int volume_delete(struct blob *b, struct why *why);
/* Users of the bdev are told (BDEV_RESIZED). */
int volume_resize(struct blob *b, uint64_t size_bytes, struct why *why);
/* Needs that nobody uses the bdev: its name changes. */
int volume_rename(struct blob *b, const char *name, struct why *why);
int volume_readonly_set(struct blob *b, bool readonly, struct why *why);
int volume_snapshot(struct blob *b, const char *name, struct blob **out, struct why *why);
int volume_clone(struct blob *snapshot, const char *name, struct blob **out, struct why *why);
/* With another disk, read-only and opened by it, beneath it. */
int volume_clone_external(struct store *s, const char *disk, const char *name, struct blob **out,
			  struct why *why);
int volume_inflate(struct blob *b, struct why *why);
int volume_decouple(struct blob *b, struct why *why);
int volume_set_parent(struct blob *b, struct blob *snapshot, struct why *why);
/* Of the store: its name is the first part of all its volumes' names. */
int store_rename(struct store *s, const char *name, struct why *why);

#endif
