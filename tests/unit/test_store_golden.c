/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores that another program wrote: a published superblock, and a whole drive of SPDK v26.05 in
 * ../shared/golden (beside the project's folder), each volume of which has to read back as there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/store_box.h"

enum { MIB = 1 << 20, GOLDEN_BYTES = 96 * MIB };

/* ---- the superblock ---- */

static void golden_super(struct bs_super *raw)
{
	memset(raw, 0, sizeof(*raw));
	memcpy(raw->signature, "SPDKBLOB", 8);
	raw->version = le32_un_make(3);
	raw->length = le32_un_make(0x1000);
	raw->clean = le32_un_make(1);
	raw->super_blob = le64_un_make(0x100000000);
	raw->cluster_size = le32_un_make(0x400000);
	raw->used_page_mask_start = le32_un_make(1);
	raw->used_page_mask_len = le32_un_make(12);
	raw->used_cluster_mask_start = le32_un_make(13);
	raw->used_cluster_mask_len = le32_un_make(12);
	raw->used_blobid_mask_start = le32_un_make(25);
	raw->used_blobid_mask_len = le32_un_make(12);
	raw->md_start = le32_un_make(37);
	raw->md_len = le32_un_make(0x5d26a);
	memcpy(raw->bstype, "LVOLSTORE", 9);
	raw->size = le64_un_make(0x1749a956000);
	raw->io_unit_size = le32_un_make(512);
	raw->crc = le32_un_make(0x2da84daa);
}

static void test_the_published_superblock_is_read_as_it_was_meant(void *arg)
{
	struct bs_super raw, again;
	struct super super;
	struct why why;

	golden_super(&raw);
	assert_int_equal(crc32c(&raw, MD_CRC_BYTES), 0x2da84daa);
	assert_int_equal(super_decode(&raw, 0x1749a956000, &super, &why), 0);
	assert_true(super.clean);
	assert_false(super.torn);
	assert_int_equal(super.md_len, 0x5d26a);
	assert_int_equal(super_cluster_count(&super), 0x5d26a);
	assert_int_equal(super.block_bytes, 512);
	assert_string_equal(super.type, BS_TYPE_LVOL);
	again = raw;
	super_encode(&super, &again);
	again.md_page_size = raw.md_page_size;
	again.crc = raw.crc;
	assert_memory_equal(&again, &raw, sizeof(raw));
	assert_int_equal(super_decode(&raw, 0x1749a956000 - 1, &super, &why), -EILSEQ);
	raw.version = le32_un_make(4);
	assert_int_equal(super_decode(&raw, 0x1749a956000, &super, &why), -ENOTSUP);
	raw.signature[0] = 'X';
	assert_int_equal(super_decode(&raw, 0x1749a956000, &super, &why), -ENOENT);
}

/* But for a gap behind the cluster mask, so that the store can grow to four times its size. */
static void test_a_new_store_has_the_layout_of_the_published_one(void *arg)
{
	struct super super;

	assert_int_equal(super_layout(0x1749a956000, 0x400000, 512, &super), 0);
	assert_int_equal(super.page_mask_start, 1);
	assert_int_equal(super.page_mask_len, 12);
	assert_int_equal(super.cluster_mask_start, 13);
	assert_int_equal(super.cluster_mask_len, 12);
	assert_int_equal(super.blobid_mask_start, 13 + 47);
	assert_int_equal(super.blobid_mask_len, 12);
	assert_int_equal(super.md_start, 60 + 12);
	assert_int_equal(super.md_len, 0x5d26a);
}

static void test_a_superblock_torn_while_clean_changed_is_mended(void *arg)
{
	struct bs_super raw, other;
	struct super super;
	struct why why;

	golden_super(&raw);
	other = raw;
	other.clean = le32_un_make(0);
	other.crc = le32_un_make(crc32c(&other, MD_CRC_BYTES));
	/* The first block new, the last one old; and the other way round. */
	memcpy(&raw, &other, 512);
	assert_int_equal(super_decode(&raw, 0x1749a956000, &super, &why), 0);
	assert_true(super.torn);
	assert_false(super.clean);
	golden_super(&raw);
	memcpy((uint8_t *)&raw + 3584, (uint8_t *)&other + 3584, 512);
	assert_int_equal(super_decode(&raw, 0x1749a956000, &super, &why), 0);
	assert_false(super.clean);
	raw.md_len = le32_un_make(7);
	assert_int_equal(super_decode(&raw, 0x1749a956000, &super, &why), -EILSEQ);
}

/* ---- the drive ---- */

static void golden_read(uint8_t *to)
{
	FILE *file = popen("xz -dc ../shared/golden/spdk-lvstore-96M.img.xz", "r");
	size_t n;

	assert_non_null(file);
	n = fread(to, 1, GOLDEN_BYTES, file);
	assert_int_equal(pclose(file), 0);
	assert_int_equal(n, GOLDEN_BYTES);
}

static void golden_box(struct store_box *box)
{
	store_box_disk(box, "golden", GOLDEN_BYTES, 4096);
	golden_read(box->disk->view);
	memcpy(box->disk->media, box->disk->view, GOLDEN_BYTES);
	store_box_load(box);
}

/* Cluster C of B, or of the nearest snapshot that has it; NULL: zeroes. */
static const uint8_t *cluster_of(const struct store_box *box, const struct blob *b, uint64_t c)
{
	uint64_t bytes = box->store->super.cluster_bytes;

	for (; b; b = b->parent)
		if (c < b->map->cluster_count && blob_map_get(b->map, c))
			return box->disk->view + blob_map_get(b->map, c) * bytes;
	return NULL;
}

static void md5_check(const struct store_box *box, const char *name, uint64_t clusters,
		      uint64_t mapped, const char *md5)
{
	static const uint8_t zeroes[MIB];
	const struct blob *b = store_box_find(box, name);
	char path[] = "/tmp/karst-golden-XXXXXX", command[128], got[33] = "";
	FILE *file;

	assert_non_null(b);
	assert_null(b->damage);
	assert_int_equal(b->map->cluster_count, clusters);
	assert_int_equal(blob_map_mapped(b->map), mapped);
	file = fdopen(mkstemp(path), "w");
	assert_non_null(file);
	for (uint64_t c = 0; c < clusters; c++) {
		const uint8_t *from = cluster_of(box, b, c);

		assert_int_equal(fwrite(from ? from : zeroes, MIB, 1, file), 1);
	}
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof(command), "md5sum %s", path);
	file = popen(command, "r");
	assert_non_null(file);
	assert_non_null(fgets(got, sizeof(got), file));
	pclose(file);
	unlink(path);
	assert_string_equal(got, md5);
}

static void volumes_check(const struct store_box *box)
{
	md5_check(box, "thick", 8, 8, "2e5f79337a8031ea1457feee351b948f");
	md5_check(box, "thin", 16, 2, "32263d6af3dab1bd525a936c5cd3df43");
	md5_check(box, "base", 8, 1, "b9c634334aa8cd448e896cacd840a4b4");
	md5_check(box, "snap", 8, 3, "e3b58c1bd18b89ace5ff625890817dd7");
	md5_check(box, "clone", 8, 1, "a9b3fe6ae1c587b1018dfa3a4ece757f");
}

static void test_the_drive_is_loaded_clean_and_its_volumes_read_back(void *arg)
{
	struct store_box box;
	char uuid[UUID_TEXT_BYTES];

	golden_box(&box);
	assert_string_equal(box.store->name, "lvs0");
	uuid_format(&box.store->uuid, uuid);
	assert_string_equal(uuid, "1b5ad963-ac65-4bed-8381-7d12505dbdbf");
	assert_false(box.store->figures.recovered);
	volumes_check(&box);
	assert_ptr_equal(store_box_find(&box, "clone")->parent, store_box_find(&box, "snap"));
	assert_ptr_equal(store_box_find(&box, "base")->parent, store_box_find(&box, "snap"));
	store_box_sound(&box);
	store_box_close(&box);
}

static void test_the_drive_is_recovered_without_its_masks(void *arg)
{
	struct store_box box;
	struct bs_super *raw;
	uint64_t digest;

	golden_box(&box);
	digest = store_box_digest(box.store);
	store_box_forget(&box);
	raw = (struct bs_super *)box.disk->view;
	raw->clean = le32_un_make(0);
	raw->crc = le32_un_make(crc32c(raw, MD_CRC_BYTES));
	store_box_load(&box);
	assert_true(box.store->figures.recovered);
	assert_int_equal(store_box_digest(box.store), digest);
	volumes_check(&box);
	store_box_sound(&box);
	/* And is clean again after Karst has changed and unloaded it. */
	store_box_blob(&box, "mine", 3, 1, false);
	for (struct blob *b = blob_next(box.store, NULL); b; b = blob_next(box.store, b))
		assert_int_equal(blob_sync(b), 0);
	digest = store_box_digest(box.store);
	store_box_reload(&box);
	assert_false(box.store->figures.recovered);
	assert_int_equal(store_box_digest(box.store), digest);
	volumes_check(&box);
	store_box_sound(&box);
	store_box_close(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_the_published_superblock_is_read_as_it_was_meant),
		bench_task(test_a_new_store_has_the_layout_of_the_published_one),
		bench_task(test_a_superblock_torn_while_clean_changed_is_mended),
		bench_task(test_the_drive_is_loaded_clean_and_its_volumes_read_back),
		bench_task(test_the_drive_is_recovered_without_its_masks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
