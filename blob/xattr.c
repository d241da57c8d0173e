/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Xattrs of a blob in memory: a list in the order of the disk, the internal ones (the format's own)
 * among them. Names are bytes on disk; those that the format and Karst use are texts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/blob.h"
#include "core/base/bytes.h"

static struct blob_xattr *find(const struct blob *b, bool internal, const char *name, size_t len)
{
	struct blob_xattr *x;

	list_for_each(x, &b->xattrs, link)
		if (x->internal == internal && x->name_len == len &&
		    bytes_equal(x->name, name, len))
			return x;
	return NULL;
}

struct blob_xattr *blob_xattr_find(const struct blob *b, bool internal, const char *name)
{
	return find(b, internal, name, strlen(name));
}

int blob_xattr_put(struct blob *b, bool internal, const char *name, const void *value, size_t len)
{
	size_t name_len = strlen(name);
	struct blob_xattr *x, *old;

	if (name_len == 0)
		return -EINVAL;
	if (name_len > BS_XATTR_BYTES_MAX || len > BS_XATTR_BYTES_MAX - name_len)
		return -E2BIG;
	x = malloc(sizeof(*x) + name_len + 1 + len);
	if (!x)
		return -ENOMEM;
	*x = (struct blob_xattr){ .internal = internal, .name_len = (uint16_t)name_len,
				  .value_len = (uint16_t)len };
	x->name = (char *)(x + 1);
	memcpy(x->name, name, name_len + 1);
	x->value = (uint8_t *)x->name + name_len + 1;
	if (len > 0)
		memcpy(x->value, value, len);
	old = find(b, internal, name, name_len);
	list_init(&x->link);
	if (old) {
		list_insert(&old->link, &x->link, old->link.next);
		list_del(&old->link);
		free(old);
	} else {
		list_push(&b->xattrs, &x->link);
	}
	if (internal)
		b->invalid_flags |= BS_INTERNAL_XATTR;
	return 0;
}

int blob_xattr_drop(struct blob *b, bool internal, const char *name)
{
	struct blob_xattr *x = find(b, internal, name, strlen(name));

	if (!x)
		return -ENOENT;
	list_del(&x->link);
	free(x);
	if (!internal)
		return 0;
	list_for_each(x, &b->xattrs, link)
		if (x->internal)
			return 0;
	b->invalid_flags &= ~(uint64_t)BS_INTERNAL_XATTR;
	return 0;
}

uint64_t blob_xattr_id(const struct blob *b, const char *name)
{
	const struct blob_xattr *x = blob_xattr_find(b, true, name);
	le64 id;

	if (!x || x->value_len != sizeof(id))
		return BLOB_ID_NONE;
	memcpy(&id, x->value, sizeof(id));
	return le64_get(id);
}

const char *blob_xattr_text(const struct blob *b, const char *name)
{
	const struct blob_xattr *x = blob_xattr_find(b, false, name);

	if (!x || x->value_len == 0 || strnlen((char *)x->value, x->value_len) + 1 > x->value_len)
		return "";
	return (const char *)x->value;
}
