/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loads of a store of 8 TB with 10,000 thick volumes, on a disk that keeps only what is not zero:
 * how much is read, how much memory that takes, and, as figures, how long beside reading the same
 * pages and nothing else. Times are CPU time of this flavour; make bench has those of the firmware.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blob/scan.h"
#include "core/base/bytes.h"
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/clock.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/heap.h"

#define DISK_BYTES 8000000000000ULL

enum { BLOCK = 4096, CHUNK = 1 << 20, VOLUMES = 10000, MIB = 1 << 20, MEMORY_MAX = 64 * MIB };

struct sparse {
	struct bdev bdev;
	uint8_t **chunk;
	uint64_t read_pages;
	size_t peak;
};

/* ---- the disk ---- */

static struct sparse *sparse_of(const struct bdev *bdev)
{
	return container_of(bdev, struct sparse, bdev);
}

static void sparse_read(struct sparse *d, uint64_t at, uint8_t *to, size_t len)
{
	for (size_t n; len > 0; at += n, to += n, len -= n) {
		const uint8_t *chunk = d->chunk[at / CHUNK];

		n = MIN(len, (size_t)(CHUNK - at % CHUNK));
		if (chunk)
			memcpy(to, chunk + at % CHUNK, n);
		else
			memset(to, 0, n);
	}
}

static void sparse_write(struct sparse *d, uint64_t at, const uint8_t *from, size_t len)
{
	for (size_t n; len > 0; at += n, from += n, len -= n) {
		uint8_t **chunk = &d->chunk[at / CHUNK];

		n = MIN(len, (size_t)(CHUNK - at % CHUNK));
		if (!*chunk && bytes_zero(from, n))
			continue;
		if (!*chunk)
			*chunk = calloc(1, CHUNK);
		assert_non_null(*chunk);
		memcpy(*chunk + at % CHUNK, from, n);
	}
}

static void sparse_submit(struct bdev_chan *chan, struct io *io)
{
	struct sparse *d = sparse_of(chan->bdev);
	uint64_t at = io->lba * BLOCK;

	for (unsigned i = 0; i < io->iov_count; i++) {
		if (io->op == IO_READ)
			sparse_read(d, at, io->iov[i].iov_base, io->iov[i].iov_len);
		if (io->op == IO_WRITE)
			sparse_write(d, at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	if (io->op == IO_READ)
		d->read_pages += io->lba_count;
	d->peak = MAX(d->peak, __sanitizer_get_current_allocated_bytes());
	/* A new disk is zero already, and nothing is zeroed that was not written before. */
	io_complete(io, IO_OK);
}

static void sparse_destroy(struct bdev *bdev)
{
	struct sparse *d = sparse_of(bdev);

	for (uint64_t i = 0; i < DISK_BYTES / CHUNK + 1; i++)
		free(d->chunk[i]);
	free(d->chunk);
	free(d);
}

static const struct bdev_ops sparse_ops = { .submit = sparse_submit, .destroy = sparse_destroy };

static struct sparse *sparse_create(void)
{
	struct sparse *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->chunk = calloc(DISK_BYTES / CHUNK + 1, sizeof(*d->chunk));
	assert_non_null(d->chunk);
	d->bdev = (struct bdev){ .name = "big", .driver = "sparse", .ops = &sparse_ops,
				 .block_bytes = BLOCK, .block_count = DISK_BYTES / BLOCK,
				 .ops_supported = 1 << IO_READ | 1 << IO_WRITE |
						  1 << IO_WRITE_ZEROES };
	assert_int_equal(bdev_register(&d->bdev), 0);
	return d;
}

/* ---- the store ---- */

static void volume_add(struct store *s, unsigned number, uint64_t clusters)
{
	struct blob *b = blob_make(s, BLOB_ID_BASE | page_alloc_root(s));
	char name[32];
	uint32_t cluster;

	assert_non_null(b);
	b->invalid_flags = BS_EXTENT_TABLE;
	blob_map_destroy(b->map);
	b->map = blob_map_create(clusters);
	assert_non_null(b->map);
	for (uint64_t c = 0; c < clusters; c++) {
		assert_int_equal(cluster_alloc(s, &cluster, 1), 0);
		assert_int_equal(blob_map_reserve(b->map, c), 0);
		blob_map_set(b->map, c, cluster);
	}
	snprintf(name, sizeof(name), "volume-%u", number);
	assert_int_equal(blob_xattr_put(b, false, BS_XATTR_NAME, name, strlen(name) + 1), 0);
	assert_int_equal(blob_sync(b), 0);
}

static struct store *store_fill(uint32_t cluster_bytes)
{
	struct store_opts opts = { .cluster_bytes = cluster_bytes };
	struct why why;
	struct store *s;

	if (store_create("big", "big", &opts, &s, &why) < 0)
		fail_msg("%s", why.text);
	for (unsigned i = 0; i < VOLUMES; i++)
		volume_add(s, i, bits_free(&s->clusters) / (VOLUMES - i));
	assert_int_equal(bits_free(&s->clusters), 0);
	return s;
}

/* ---- reading and nothing else ---- */

struct plain {
	struct reader_ops ops;
	uint32_t left;
};

static bool plain_next(const struct reader_ops *ops, uint32_t *page, uint32_t *count)
{
	struct plain *p = container_of(ops, struct plain, ops);

	*page = 0;
	*count = p->left;
	p->left = 0;
	return *count > 0;
}

static int plain_page(const struct reader_ops *ops, uint32_t page, const struct bs_md_page *md)
{
	return 0;
}

static uint64_t plain_us(struct store *s, uint32_t pages)
{
	struct plain p = { { plain_next, plain_page }, pages };
	uint64_t start = clock_thread_cpu_us();

	assert_int_equal(reader_run(s, &p.ops), 0);
	return clock_thread_cpu_us() - start;
}

static struct store *load(struct sparse *d, uint64_t *us, uint64_t *pages, size_t *beyond)
{
	uint64_t start = clock_thread_cpu_us(), read = d->read_pages;
	struct store *s;
	struct why why;

	d->peak = 0;
	if (store_load("big", &s, &why) < 0)
		fail_msg("%s", why.text);
	*us = clock_thread_cpu_us() - start;
	*pages = d->read_pages - read;
	*beyond = d->peak - MIN(d->peak, __sanitizer_get_current_allocated_bytes());
	assert_int_equal(s->blob_count, VOLUMES + 1);
	assert_int_equal(bits_free(&s->clusters), 0);
	return s;
}

static void print(const char *what, uint32_t cluster_bytes, uint64_t us, uint64_t plain,
		  uint64_t pages, uint64_t used, size_t beyond)
{
	print_message("%s, clusters of %u MiB: %lu pages read of %lu used, %.1f ms CPU, %.2f times "
		      "reading alone, %.1f MiB beyond the result\n", what, cluster_bytes / MIB,
		      (unsigned long)pages, (unsigned long)used, us / 1e3,
		      (double)us / MAX(plain, 1u), (double)beyond / MIB);
}

static void loads(uint32_t cluster_bytes)
{
	struct sparse *d = sparse_create();
	struct store *s = store_fill(cluster_bytes);
	uint64_t used = s->pages.set_count, plain = plain_us(s, (uint32_t)used), us, pages;
	size_t beyond;

	store_destroy(s);
	s = load(d, &us, &pages, &beyond);
	print("after a crash", cluster_bytes, us, plain, pages, used, beyond);
	assert_true(s->figures.recovered);
	assert_true(beyond <= MEMORY_MAX);
	/* A region more than is used, the mask twice, and what comes before what names it. */
	assert_in_range(pages, used, used * 5 / 4 + COVER_REGION_PAGES + 2 * 512);
	assert_int_equal(store_unload(s, NULL), 0);
	s = load(d, &us, &pages, &beyond);
	print("clean", cluster_bytes, us, plain, pages, used, beyond);
	assert_false(s->figures.recovered);
	assert_true(beyond <= MEMORY_MAX);
	assert_in_range(pages, used, used + 4 * 512);
	store_destroy(s);
	bdev_unregister(&d->bdev);
}

static void test_eight_terabytes_in_clusters_of_a_mebibyte(void *arg)
{
	loads(1 * MIB);
}

static void test_eight_terabytes_in_clusters_of_four_mebibytes(void *arg)
{
	loads(4 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_eight_terabytes_in_clusters_of_a_mebibyte),
		bench_task(test_eight_terabytes_in_clusters_of_four_mebibytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
