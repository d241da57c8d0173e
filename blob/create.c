/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A new store. The order, with a flush after each step: the old superblock's first block goes; the
 * metadata area is zeroed (and the rest unmapped); mask and super blob are written; the superblock,
 * but for its first block; that block. No signature means no store, and blocks are written whole,
 * so that a crash leaves no store or this one, empty.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/scan.h"
#include "core/base/bytes.h"
#include "core/base/log.h"
#include "core/dma.h"

enum { LOOK_BYTES = 64 * 1024, WIPE_DEPTH = 8, ZERO_PIECE = 32 << 20, UNMAP_PIECE = 1 << 30 };

/* ---- wiping at depth ---- */

struct wipe {
	struct event event;
	unsigned busy;
	enum io_status status;
	struct wipe_io {
		struct io io;
		struct wipe *wipe;
		bool busy;
	} slot[WIPE_DEPTH];
};

static void wipe_done(struct io *io)
{
	struct wipe_io *w = container_of(io, struct wipe_io, io);

	if (io->status != IO_OK)
		w->wipe->status = io->status;
	w->busy = false;
	w->wipe->busy--;
	event_signal(&w->wipe->event);
}

static void wipe_wait(struct wipe *wipe, unsigned until)
{
	while (wipe->busy > until) {
		event_clear(&wipe->event);
		task_wait(&wipe->event);
	}
}

/* Zeroes or unmaps from byte AT on; 0/-errno. */
static int wipe_range(struct store *s, enum io_op op, uint64_t at, uint64_t len, uint64_t piece)
{
	struct wipe wipe = { .status = IO_OK };
	uint64_t end = at + len;
	unsigned i;

	event_init(&wipe.event);
	while (at < end && wipe.status == IO_OK && s->state != STORE_GONE) {
		uint64_t n = MIN(piece, end - at);

		wipe_wait(&wipe, WIPE_DEPTH - 1);
		for (i = 0; wipe.slot[i].busy; i++)
			;
		wipe.slot[i].wipe = &wipe;
		wipe.slot[i].busy = true;
		wipe.busy++;
		wipe.slot[i].io = (struct io){ .op = (uint8_t)op, .lba = at >> s->block_shift,
					       .lba_count = (uint32_t)(n >> s->block_shift),
					       .done = wipe_done };
		bdev_submit(bdev_chan(s->disk.bdev), &wipe.slot[i].io);
		at += n;
		if (op == IO_WRITE_ZEROES)
			task_progress(len - (end - at), len);
	}
	wipe_wait(&wipe, 0);
	s->unflushed = true;
	return s->state == STORE_GONE ? -ENODEV : io_status_errno(wipe.status);
}

/* ---- the steps ---- */

static int data_check(struct store *s, bool force, struct why *why)
{
	uint64_t bytes = s->disk.bdev->block_count << s->block_shift;
	size_t len = (size_t)MIN(bytes, (uint64_t)LOOK_BYTES);
	uint8_t *buf = malloc(len);
	int rc;

	if (!buf)
		return why_fail(why, -ENOMEM, "disk %s: not enough memory", store_disk(s));
	rc = store_read(s, 0, buf, len);
	if (rc < 0)
		why_fail(why, rc, "disk %s: cannot be read: %s", store_disk(s), strerror(-rc));
	else if (!force && memcmp(buf, BS_SIGNATURE, BS_SIGNATURE_BYTES) == 0)
		rc = why_fail(why, -EEXIST, "disk %s: has a store; load it, or use force to lose "
			      "it", store_disk(s));
	else if (!force && !bytes_zero(buf, len))
		rc = why_fail(why, -EEXIST, "disk %s: holds data; use force to lose it",
			      store_disk(s));
	free(buf);
	return rc;
}

static int layout(struct store *s, uint32_t cluster_bytes, struct why *why)
{
	const struct bdev *bdev = s->disk.bdev;
	int rc;

	if (bdev->block_bytes > MD_PAGE_BYTES)
		return why_fail(why, -ENOTSUP, "disk %s: has blocks of %u bytes; a store needs at "
				"most %d", bdev->name, bdev->block_bytes, MD_PAGE_BYTES);
	rc = super_layout(bdev->block_count << s->block_shift, cluster_bytes, bdev->block_bytes,
			  &s->super);
	if (rc == -EINVAL)
		return why_fail(why, rc, "disk %s: no clusters of %u bytes; use a power of two "
				"from 64K to 1G", bdev->name, cluster_bytes);
	if (rc < 0)
		return why_fail(why, rc, "disk %s: %" PRIu64 " bytes have no room for clusters of "
				"%u; use smaller ones", bdev->name,
				bdev->block_count << s->block_shift, cluster_bytes);
	s->pages_per_cluster = cluster_bytes / MD_PAGE_BYTES;
	rc = bits_init(&s->pages, s->super.md_len);
	if (rc == 0)
		rc = bits_init(&s->clusters, super_cluster_count(&s->super));
	if (rc == 0)
		rc = cover_init(s);
	return rc < 0 ? why_fail(why, rc, "disk %s: not enough memory", bdev->name) : 0;
}

static int area_wipe(struct store *s)
{
	uint64_t md_end = ((uint64_t)s->super.md_start + s->super.md_len) * MD_PAGE_BYTES;
	uint64_t end = s->disk.bdev->block_count << s->block_shift;
	int rc = super_wipe(s);

	if (rc == 0)
		rc = wipe_range(s, IO_WRITE_ZEROES, MD_PAGE_BYTES, md_end - MD_PAGE_BYTES,
				ZERO_PIECE);
	/* Gives back what the disk had; nothing depends on it. */
	if (rc == 0 && s->disk.bdev->ops_supported & 1u << IO_UNMAP &&
	    wipe_range(s, IO_UNMAP, md_end, end - md_end, UNMAP_PIECE) < 0)
		log_info("disk %s: cannot unmap", store_disk(s));
	return rc < 0 ? rc : store_flush(s);
}

/* The blob that has the store's name; page 0. */
static int super_blob_write(struct store *s, const char *name)
{
	struct uuid uuid = uuid_random();
	struct md_chain chain;
	char text[UUID_TEXT_BYTES];
	struct blob *b;
	int rc;

	bits_set(&s->pages, 0);
	b = blob_make(s, BLOB_ID_BASE);
	if (!b)
		return -ENOMEM;
	uuid_format(&uuid, text);
	b->invalid_flags = BS_EXTENT_TABLE;
	rc = blob_xattr_put(b, false, BS_XATTR_UUID, text, sizeof(text));
	if (rc == 0)
		rc = blob_xattr_put(b, false, BS_XATTR_NAME, name, strlen(name) + 1);
	if (rc == 0)
		rc = blob_encode(b, &chain);
	if (rc < 0)
		return rc;
	task_lock(&s->write_lock);
	rc = cover_start(s);
	task_unlock(&s->write_lock);
	/* The superblock follows: nobody needs to be told that the store changes. */
	s->dirty = true;
	if (rc == 0)
		rc = page_write_fresh(s, 0, chain.page);
	md_chain_free(&chain);
	return rc < 0 ? rc : store_flush(s);
}

static int super_first_write(struct store *s)
{
	size_t block = 1u << s->block_shift;
	uint8_t *first = malloc(block);
	int rc;

	if (!first)
		return -ENOMEM;
	s->super.super_blob = BLOB_ID_BASE;
	super_encode(&s->super, s->super_page);
	memcpy(first, s->super_page, block);
	memset(s->super_page, 0, block);
	rc = store_write(s, 0, s->super_page, MD_PAGE_BYTES);
	if (rc == 0)
		rc = store_flush(s);
	if (rc == 0)
		rc = store_write(s, 0, first, block);
	free(first);
	return rc < 0 ? rc : store_flush(s);
}

int store_create(const char *name, const char *disk, const struct store_opts *opts,
		 struct store **out, struct why *why)
{
	struct store *s;
	int rc;

	if (!*name || strlen(name) >= STORE_NAME_BYTES || strchr(name, '/'))
		return why_fail(why, -EINVAL, "store %s: no such name for a store; use at most %d "
				"letters, digits, - _ .", name, STORE_NAME_BYTES - 1);
	if (store_find(name))
		return why_fail(why, -EEXIST, "store %s: exists already; choose another name",
				name);
	rc = store_make(disk, true, &s, why);
	if (rc < 0)
		return rc;
	rc = data_check(s, opts->force, why);
	if (rc == 0)
		rc = layout(s, opts->cluster_bytes, why);
	if (rc < 0) {
		store_destroy(s);
		return rc;
	}
	rc = area_wipe(s);
	if (rc == 0)
		rc = super_blob_write(s, name);
	if (rc == 0)
		rc = super_first_write(s);
	store_destroy(s);
	if (rc < 0)
		return why_fail(why, rc, "store %s: disk %s cannot be written: %s", name, disk,
				strerror(-rc));
	return store_load(disk, out, why);
}
