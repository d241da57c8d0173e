/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/store_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"

void store_box_disk(struct store_box *box, const char *name, uint64_t bytes, uint32_t block_bytes)
{
	struct bdev shape = {
		.block_bytes = block_bytes,
		.block_count = bytes / block_bytes,
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH | 1 << IO_UNMAP |
				 1 << IO_WRITE_ZEROES,
		.volatile_cache = true,
		.atomic_blocks = 1,
	};

	memset(box, 0, sizeof(*box));
	snprintf(shape.name, sizeof(shape.name), "%s", name);
	box->disk = fake_create(&shape, FAKE_INSTANT, 1);
}

void store_box_open(struct store_box *box, uint64_t bytes, uint32_t block_bytes)
{
	struct store_opts opts = { .cluster_bytes = BOX_CLUSTER_BYTES };
	int rc;

	store_box_disk(box, "d0", bytes, block_bytes);
	rc = store_create("box", "d0", &opts, &box->store, &box->why);
	if (rc < 0)
		fail_msg("%s", box->why.text);
}

void store_box_load(struct store_box *box)
{
	int rc = store_load(box->disk->bdev.name, &box->store, &box->why);

	if (rc < 0)
		fail_msg("%s", box->why.text);
}

void store_box_forget(struct store_box *box)
{
	store_destroy(box->store);
	box->store = NULL;
}

void store_box_reload(struct store_box *box)
{
	int rc = store_unload(box->store, &box->why);

	if (rc < 0)
		fail_msg("%s", box->why.text);
	store_box_load(box);
}

void store_box_crash(struct store_box *box)
{
	fake_crash(box->disk);
	store_box_forget(box);
	store_box_load(box);
}

void store_box_close(struct store_box *box)
{
	if (box->store)
		store_box_forget(box);
	fake_remove(box->disk);
}

struct blob *store_box_blob(struct store_box *box, const char *name, uint64_t clusters,
			    uint64_t step, bool rle)
{
	struct store *s = box->store;
	uint32_t page = page_alloc_root(s), cluster;
	struct blob *b;

	assert_int_not_equal(page, MD_PAGE_NONE);
	b = blob_make(s, BLOB_ID_BASE | page);
	assert_non_null(b);
	b->invalid_flags = (step == 1 ? 0 : BS_THIN) | (rle ? 0 : BS_EXTENT_TABLE);
	blob_map_destroy(b->map);
	b->map = blob_map_create(clusters);
	assert_non_null(b->map);
	for (uint64_t c = 0; step && c < clusters; c += step) {
		assert_int_equal(cluster_alloc(s, &cluster, 1), 0);
		assert_int_equal(blob_map_reserve(b->map, c), 0);
		blob_map_set(b->map, c, cluster);
	}
	assert_int_equal(blob_xattr_put(b, false, BS_XATTR_NAME, name, strlen(name) + 1), 0);
	assert_int_equal(blob_sync(b), 0);
	return b;
}

struct blob *store_box_find(const struct store_box *box, const char *name)
{
	struct blob *b;

	list_for_each(b, &box->store->blobs, link)
		if (strcmp(blob_xattr_text(b, BS_XATTR_NAME), name) == 0)
			return b;
	return NULL;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + 0x9e3779b97f4a7c15;
	h *= 0xbf58476d1ce4e5b9;
	return h ^ h >> 29;
}

static uint64_t mix_bytes(uint64_t h, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		h = mix(h, b[i]);
	return h;
}

uint64_t store_box_blob_digest(const struct blob *b)
{
	uint64_t h = mix(b->id, b->invalid_flags), xattrs = 0;
	const struct blob_xattr *x;

	h = mix(mix(h, b->data_ro_flags), b->map->cluster_count);
	h = mix(h, b->parent ? b->parent->id : 0);
	h = mix(h, b->damage != NULL);
	for (uint64_t c = 0; c < b->map->cluster_count; c++)
		h = mix(h, blob_map_get(b->map, c));
	list_for_each(x, &b->xattrs, link) {
		uint64_t one = mix_bytes(x->internal, x->name, x->name_len);

		xattrs += mix_bytes(one, x->value, x->value_len);
	}
	return mix(h, xattrs);
}

uint64_t store_box_digest(const struct store *s)
{
	const struct blob *b;
	uint64_t h = 0;

	list_for_each(b, &s->blobs, link)
		h += store_box_blob_digest(b);
	return mix(h, s->clusters.set_count);
}

void store_box_sound(struct store_box *box)
{
	struct check_report report;
	const struct finding *f;
	int rc;

	check_report_init(&report);
	rc = store_check(box->store, false, &report, &box->why);
	if (rc < 0)
		fail_msg("%s", box->why.text);
	list_for_each(f, &report.findings, link)
		print_error("check: %s: %s\n", finding_kind_name(f->kind), f->text);
	assert_true(list_empty(&report.findings));
	check_report_fini(&report);
}
