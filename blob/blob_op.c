/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blobs are made, sized, changed and deleted. Each change is one commit, the root page; before it
 * everything that the new root names is durable, after it what the old one alone named is freed
 * (docs/blob-format.md has each order of writes). Memory is changed first and put back when the
 * commit does not come about.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blob/op.h"
#include "core/base/panic.h"

/* ---- in and out ---- */

int blob_begin(struct blob *b, struct why *why)
{
	int rc = store_enter(b->store, why);

	if (rc < 0)
		return rc;
	task_lock(&b->lock);
	if (!b->damage)
		return 0;
	why_fail(why, -EUCLEAN, "store %s: blob 0x%" PRIx64 " is damaged: %s; see store check",
		 b->store->name, b->id, b->damage);
	blob_end(b);
	return -EUCLEAN;
}

int blob_begin_change(struct blob *b, struct why *why)
{
	int rc = blob_begin(b, why);

	if (rc < 0 || !blob_is_md_readonly(b))
		return rc;
	why_fail(why, -EROFS, "store %s: blob 0x%" PRIx64 " has flags that are not known here; it "
		 "can only be read", b->store->name, b->id);
	blob_end(b);
	return -EROFS;
}

void blob_end(struct blob *b)
{
	struct store *s = b->store;

	task_unlock(&b->lock);
	store_leave(s);
}

/* What WHY says of an error that it says nothing of. */
int blob_fail(const struct blob *b, int rc, const char *what, struct why *why)
{
	const struct store *s = b->store;
	uint64_t left = bits_free(&s->clusters);

	if (rc == 0)
		return 0;
	if (rc == -ENOSPC)
		return why_fail(why, rc, "store %s: cannot %s: %" PRIu64 " clusters and %" PRIu64
				" metadata pages are free; delete something or grow the store",
				s->name, what, left, bits_free(&s->pages));
	if (rc == -ENODEV)
		return why_fail(why, rc, "store %s: cannot %s: its disk is gone", s->name, what);
	return why_fail(why, rc, "store %s: cannot %s: %s; see log show", s->name, what,
			strerror(-rc));
}

int blob_open(struct blob *b, struct why *why)
{
	if (b->damage)
		return why_fail(why, -EUCLEAN, "store %s: blob 0x%" PRIx64 " is damaged: %s",
				b->store->name, b->id, b->damage);
	if (b->dying)
		return why_fail(why, -EBUSY, "store %s: blob 0x%" PRIx64 " is being deleted",
				b->store->name, b->id);
	b->open_count++;
	return 0;
}

void blob_close(struct blob *b)
{
	ASSERT(b->open_count > 0);
	b->open_count--;
}

/* ---- xattrs, kept to be put back ---- */

int xattrs_save(const struct blob *b, struct blob_saved *saved)
{
	const struct blob_xattr *x;

	saved->invalid_flags = b->invalid_flags;
	saved->data_ro_flags = b->data_ro_flags;
	list_init(&saved->xattrs);
	list_for_each(x, &b->xattrs, link) {
		size_t bytes = sizeof(*x) + x->name_len + 1 + x->value_len;
		struct blob_xattr *copy = malloc(bytes);

		if (!copy) {
			xattrs_saved_free(saved);
			return -ENOMEM;
		}
		memcpy(copy, x, bytes);
		copy->name = (char *)(copy + 1);
		copy->value = (uint8_t *)copy->name + x->name_len + 1;
		list_init(&copy->link);
		list_push(&saved->xattrs, &copy->link);
	}
	return 0;
}

void xattrs_saved_free(struct blob_saved *saved)
{
	struct blob_xattr *x;

	while ((x = list_pop_entry(&saved->xattrs, struct blob_xattr, link)))
		free(x);
}

void xattrs_restore(struct blob *b, struct blob_saved *saved)
{
	struct list now = LIST_INIT(now);

	list_splice(&now, &b->xattrs);
	list_splice(&b->xattrs, &saved->xattrs);
	list_splice(&saved->xattrs, &now);
	b->invalid_flags = saved->invalid_flags;
	b->data_ro_flags = saved->data_ro_flags;
	xattrs_saved_free(saved);
}

int xattrs_put(struct blob *b, const struct blob_xattr *xattrs, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < count; i++) {
		const struct blob_xattr *x = &xattrs[i];

		if (x->value)
			rc = blob_xattr_put(b, x->internal, x->name, x->value, x->value_len);
		else
			rc = blob_xattr_drop(b, x->internal, x->name);
	}
	return rc;
}

int xattr_put_id(struct blob *b, const char *name, uint64_t id)
{
	le64 value = le64_make(id);

	return blob_xattr_put(b, true, name, &value, sizeof(value));
}

/* ---- create ---- */

/*
 * On a disk that tears pages: what the root's page held before may be cleared only in part. Until
 * it is a root nothing may lie there that looks like a damaged one beside the new extent pages.
 */
static int root_clear(struct store *s, uint32_t page)
{
	int rc = s->tears ? page_zero(s, page) : 0;

	return rc < 0 || !s->tears ? rc : store_flush(s);
}

int blob_new(struct store *s, uint64_t clusters, const struct blob_xattr *xattrs, unsigned count,
	     struct blob **out)
{
	uint32_t page = page_alloc_root(s);
	struct blob_map *map;
	struct blob *b;
	int rc;

	if (page == MD_PAGE_NONE)
		return -ENOSPC;
	b = blob_make(s, BLOB_ID_BASE | page);
	if (!b) {
		page_free(s, page);
		return -ENOMEM;
	}
	b->dying = true;
	b->invalid_flags = BS_EXTENT_TABLE;
	map = blob_map_create(clusters);
	rc = map ? 0 : -ENOMEM;
	if (rc == 0) {
		blob_map_destroy(b->map);
		b->map = map;
		rc = xattrs_put(b, xattrs, count);
	}
	if (rc == 0)
		rc = root_clear(s, page);
	if (rc < 0)
		blob_undo(b);
	else
		*out = b;
	return rc;
}

void blob_undo(struct blob *b)
{
	struct store *s = b->store;
	uint32_t page = blob_root(b);

	blob_parent_set(b, NULL);
	blob_view_free(blob_view_swap(b, NULL));
	blob_free(b);
	/* What a failed write of it has left behind, the next load finds. */
	if (!s->failed)
		page_free(s, page);
}

void map_forget(struct blob *b, struct blob_map *empty)
{
	blob_map_free_shell(b->map);
	b->map = empty;
}

static int create_thick(struct blob *b)
{
	uint64_t count = b->map->cluster_count;
	uint32_t *cluster;
	int rc;

	if (count == 0)
		return blob_sync(b);
	if (count > bits_free(&b->store->clusters))
		return -ENOSPC;
	cluster = malloc(count * sizeof(*cluster));
	if (!cluster)
		return -ENOMEM;
	rc = blob_map_fill(b, b->map, 0, count, cluster);
	if (rc == 0) {
		rc = blob_sync(b);
		for (uint64_t i = 0; rc < 0 && !b->store->failed && i < count; i++)
			cluster_free(b->store, cluster[i]);
	}
	free(cluster);
	return rc;
}

int blob_create(struct store *s, const struct blob_opts *opts, struct blob **out, struct why *why)
{
	struct blob *b;
	int rc = store_enter(s, why);

	if (rc < 0)
		return rc;
	rc = blob_new(s, opts->cluster_count, opts->xattrs, opts->xattr_count, &b);
	if (rc == 0) {
		task_lock(&b->lock);
		if (opts->thin)
			b->invalid_flags |= BS_THIN;
		if (opts->rle)
			b->invalid_flags &= ~(uint64_t)BS_EXTENT_TABLE;
		rc = opts->thin ? blob_sync(b) : create_thick(b);
		rc = rc < 0 ? rc : blob_view_make(b, &b->view);
		task_unlock(&b->lock);
		if (rc < 0)
			blob_undo(b);
	}
	store_leave(s);
	if (rc < 0)
		return why_fail(why, rc, "store %s: no blob of %" PRIu64 " clusters can be made:"
				" %s", s->name, opts->cluster_count, strerror(-rc));
	b->dying = false;
	*out = b;
	return 0;
}

/* ---- delete ---- */

/* B is alone: on disk and in memory it goes, with all its clusters. */
int blob_remove(struct blob *b)
{
	struct store *s = b->store;
	const struct blob_map *map = b->map;
	uint64_t count = blob_map_mapped(map), n = 0;
	uint32_t *cluster = malloc(MAX(count, 1) * sizeof(*cluster));
	int rc;

	if (!cluster)
		return -ENOMEM;
	for (uint64_t c = 0; count > 0 && c < map->cluster_count; c++) {
		if (!map->extent[c / BS_EXTENT_CLUSTERS].cluster)
			c += BS_EXTENT_CLUSTERS - 1 - c % BS_EXTENT_CLUSTERS;
		else if (blob_map_get(map, c))
			cluster[n++] = blob_map_get(map, c);
	}
	rc = blob_unlink(b);
	if (rc == 0) {
		clusters_free(s, b, cluster, n);
		task_unlock(&b->lock);
		blob_parent_set(b, NULL);
		blob_view_free(blob_view_swap(b, NULL));
		blob_free(b);
	}
	free(cluster);
	return rc;
}

static int delete_check(const struct blob *b, struct why *why)
{
	const struct store *s = b->store;

	if (b->open_count > 0 || b->dying)
		return why_fail(why, -EBUSY, "store %s: blob 0x%" PRIx64 " is in use", s->name,
				b->id);
	if (b == s->super_blob)
		return why_fail(why, -EBUSY, "store %s: blob 0x%" PRIx64 " holds the store's name",
				s->name, b->id);
	if (!list_empty(&b->clones) && b->clones.next->next != &b->clones)
		return why_fail(why, -EBUSY, "store %s: blob 0x%" PRIx64 " has more than one clone;"
				" delete or inflate all but one of them", s->name, b->id);
	return 0;
}

int blob_delete(struct blob *b, struct why *why)
{
	struct store *s = b->store;
	int rc = blob_begin(b, why);

	if (rc < 0)
		return rc;
	rc = delete_check(b, why);
	if (rc < 0) {
		blob_end(b);
		return rc;
	}
	b->dying = true;
	rc = list_empty(&b->clones) ? blob_remove(b) : blob_merge(b);
	if (rc < 0) {
		b->dying = false;
		blob_fail(b, rc, "delete a blob", why);
		task_unlock(&b->lock);
	}
	store_leave(s);
	return rc;
}

/* ---- xattrs, read-only ---- */

int blob_xattr_change(struct blob *b, const struct blob_xattr *xattrs, unsigned count,
		      struct why *why)
{
	struct blob_saved saved;
	int rc = blob_begin_change(b, why);

	if (rc < 0)
		return rc;
	rc = xattrs_save(b, &saved);
	if (rc == 0) {
		rc = xattrs_put(b, xattrs, count);
		if (rc == 0)
			rc = blob_sync(b);
		if (rc < 0)
			xattrs_restore(b, &saved);
		else
			xattrs_saved_free(&saved);
	}
	blob_fail(b, rc, "change an attribute", why);
	blob_end(b);
	return rc;
}

int blob_xattr_set(struct blob *b, const char *name, const void *value, size_t len,
		   struct why *why)
{
	struct blob_xattr x = { .name = (char *)(uintptr_t)name, .value_len = (uint16_t)len,
				.value = (uint8_t *)(uintptr_t)(value ? value : "") };

	if (len > BS_XATTR_BYTES_MAX)
		return why_fail(why, -E2BIG, "store %s: attribute %s is too long", b->store->name,
				name);
	return blob_xattr_change(b, &x, 1, why);
}

int blob_xattr_remove(struct blob *b, const char *name, struct why *why)
{
	struct blob_xattr x = { .name = (char *)(uintptr_t)name };

	return blob_xattr_change(b, &x, 1, why);
}

int blob_readonly_set(struct blob *b, bool readonly, struct why *why)
{
	uint64_t flags;
	int rc = blob_begin_change(b, why);

	if (rc < 0)
		return rc;
	flags = b->data_ro_flags;
	if (!readonly && !list_empty(&b->clones)) {
		blob_end(b);
		return why_fail(why, -EBUSY, "store %s: blob 0x%" PRIx64 " has clones, which need "
				"it unchanged", b->store->name, b->id);
	}
	b->data_ro_flags = readonly ? flags | BS_READ_ONLY : flags & ~(uint64_t)BS_READ_ONLY;
	rc = b->data_ro_flags == flags ? 0 : blob_sync(b);
	if (rc < 0)
		b->data_ro_flags = flags;
	blob_fail(b, rc, "set it read-only", why);
	blob_end(b);
	return rc;
}
