/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blobs in memory: made and freed, found by id, and what their flags say. A store finds a blob in a
 * hash of its root page that doubles when there are more blobs than heads.
 */
#include "blob/blob.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/store.h"
#include "core/base/log.h"
#include "core/base/panic.h"

enum { HASH_HEADS_MIN = 256 };

int why_fail(struct why *why, int rc, const char *fmt, ...)
{
	va_list args;

	if (!why)
		return rc;
	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return rc;
}

/* ---- the table ---- */

static struct blob **head_of(const struct store *s, uint64_t id)
{
	return &s->hash[(uint32_t)id * 2654435761u >> 7 & s->hash_mask];
}

static int hash_grow(struct store *s)
{
	uint32_t heads = s->hash ? (s->hash_mask + 1) * 2 : HASH_HEADS_MIN;
	struct blob **hash, *b;

	if (s->hash && s->blob_count <= s->hash_mask)
		return 0;
	hash = calloc(heads, sizeof(*hash));
	if (!hash)
		return s->hash ? 0 : -ENOMEM;
	free(s->hash);
	s->hash = hash;
	s->hash_mask = heads - 1;
	list_for_each(b, &s->blobs, link) {
		struct blob **head = head_of(s, b->id);

		b->hash_next = *head;
		*head = b;
	}
	return 0;
}

struct blob *blob_find(const struct store *s, uint64_t id)
{
	struct blob *b = s->hash ? *head_of(s, id) : NULL;

	while (b && b->id != id)
		b = b->hash_next;
	return b;
}

struct blob *blob_next(const struct store *s, const struct blob *prev)
{
	const struct list *next = prev ? prev->link.next : s->blobs.next;

	return next == &s->blobs ? NULL : list_entry(next, struct blob, link);
}

/* ---- life ---- */

struct blob *blob_make(struct store *s, uint64_t id)
{
	struct blob *b, **head;

	if (hash_grow(s) < 0)
		return NULL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->map = blob_map_create(0);
	if (!b->map) {
		free(b);
		return NULL;
	}
	b->id = id;
	b->store = s;
	b->read.wanted = MD_PAGE_NONE;
	list_init(&b->xattrs);
	list_init(&b->clones);
	list_init(&b->clone_link);
	task_lock_init(&b->lock);
	head = head_of(s, id);
	b->hash_next = *head;
	*head = b;
	list_push(&s->blobs, &b->link);
	s->blob_count++;
	return b;
}

void blob_free(struct blob *b)
{
	struct blob **at = head_of(b->store, b->id);
	struct blob_xattr *x;

	ASSERT(list_empty(&b->clones));
	while (*at != b)
		at = &(*at)->hash_next;
	*at = b->hash_next;
	list_del(&b->link);
	list_del(&b->clone_link);
	b->store->blob_count--;
	while ((x = list_pop_entry(&b->xattrs, struct blob_xattr, link)))
		free(x);
	ASSERT(!b->view);
	blob_map_destroy(b->map);
	free(b->chain);
	free(b->damage);
	free(b);
}

void blob_parent_set(struct blob *b, struct blob *parent)
{
	list_del(&b->clone_link);
	b->parent = parent;
	if (parent)
		list_push(&parent->clones, &b->clone_link);
}

void blob_damage(struct blob *b, const char *fmt, ...)
{
	char text[BLOB_WHY_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!b->store->shadow)
		log_warn("store %s: blob 0x%" PRIx64 " is damaged: %s", b->store->name, b->id,
			 text);
	if (!b->damage)
		b->damage = strdup(text);
	ASSERT(b->damage);
}

/* ---- what flags say ---- */

bool blob_is_readonly(const struct blob *b)
{
	return b->damage || b->data_ro_flags;
}

bool blob_is_md_readonly(const struct blob *b)
{
	return b->damage || (b->data_ro_flags & ~(uint64_t)BS_DATA_RO_KNOWN) ||
	       (b->md_ro_flags & ~(uint64_t)BS_MD_RO_KNOWN);
}

bool blob_is_snapshot(const struct blob *b)
{
	return !list_empty(&b->clones);
}
