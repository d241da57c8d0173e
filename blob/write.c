/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything that a store reads and writes of its disk for itself.
 *
 * Order is made by flushes only. A page that something on disk names is replaced by page_commit():
 * flush, write, flush. Where the disk may tear a page (its atomic unit is smaller), the new page is
 * first written and flushed to a slot, two pages that nobody else uses; slot.c puts it in its place
 * after a crash between the two.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/dma.h"

/* Of one io; requests that are larger go out one after the other. */
enum { PIECE_BYTES = 1 << 20, ZERO_BYTES = 1 << 28 };

static int disk_io(struct store *s, enum io_op op, uint64_t at, void *buf, size_t len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct io io = {
		.op = (uint8_t)op,
		.lba = at >> s->block_shift,
		.lba_count = (uint32_t)(len >> s->block_shift),
		.iov = buf ? &iov : NULL,
		.iov_count = buf ? 1 : 0,
	};

	if (s->state == STORE_GONE)
		return -ENODEV;
	ASSERT(((at | len) & ((1u << s->block_shift) - 1)) == 0);
	return io_status_errno(task_io(bdev_chan(s->disk.bdev), &io));
}

/* A write did not reach the disk, or nobody knows. */
static int write_failed(struct store *s, const char *what, int rc)
{
	if (!s->failed && rc != -ENODEV)
		log_error("store %s: %s failed (%s); nothing is changed any more until it is "
			  "loaded again", s->name, what, strerror(-rc));
	s->failed = true;
	return rc;
}

/* Through memory that every device reaches, a piece at a time. */
static int run(struct store *s, enum io_op op, uint64_t at, uint8_t *buf, size_t len)
{
	size_t piece = MIN(len, (size_t)PIECE_BYTES);
	uint8_t *bounce = dma_alloc(piece, MD_PAGE_BYTES);
	int rc = 0;

	if (!bounce)
		return -ENOMEM;
	for (; rc == 0 && len > 0; at += piece, buf += piece, len -= piece) {
		piece = MIN(len, (size_t)PIECE_BYTES);
		if (op == IO_WRITE)
			memcpy(bounce, buf, piece);
		rc = disk_io(s, op, at, bounce, piece);
		if (rc == 0 && op == IO_READ)
			memcpy(buf, bounce, piece);
	}
	dma_free(bounce);
	return rc;
}

int store_read(struct store *s, uint64_t at, void *buf, size_t len)
{
	return run(s, IO_READ, at, buf, len);
}

int store_write(struct store *s, uint64_t at, const void *buf, size_t len)
{
	int rc;

	s->figures.md_writes++;
	rc = run(s, IO_WRITE, at, (uint8_t *)(uintptr_t)buf, len);
	s->unflushed = true;
	return rc < 0 ? write_failed(s, "a write", rc) : 0;
}

int store_zero(struct store *s, uint64_t at, uint64_t len)
{
	size_t piece;
	int rc = 0;

	for (; rc == 0 && len > 0; at += piece, len -= piece) {
		piece = (size_t)MIN(len, (uint64_t)ZERO_BYTES);
		rc = disk_io(s, IO_WRITE_ZEROES, at, NULL, piece);
		s->unflushed = true;
		if (len > ZERO_BYTES)
			task_progress(0, len);
	}
	return rc < 0 ? write_failed(s, "a write of zeroes", rc) : 0;
}

int store_flush(struct store *s)
{
	int rc = 0;

	if (s->state == STORE_GONE)
		return -ENODEV;
	if (!s->disk.bdev->volatile_cache)
		return 0;
	/* One at a time: who comes meanwhile may have written after the running one began. */
	task_lock(&s->flush_lock);
	if (s->unflushed) {
		s->unflushed = false;
		s->figures.flushes++;
		rc = disk_io(s, IO_FLUSH, 0, NULL, 0);
		if (rc < 0)
			s->unflushed = true;
	}
	task_unlock(&s->flush_lock);
	return rc < 0 ? write_failed(s, "a flush", rc) : 0;
}

/* ---- the superblock ---- */

/* In place; when it tears, super_decode() mends it if nothing but the field clean was changed. */
static int super_write_plain(struct store *s, bool clean)
{
	int rc = store_flush(s);

	if (rc < 0)
		return rc;
	s->super.clean = clean;
	super_encode(&s->super, s->super_page);
	rc = store_write(s, 0, s->super_page, MD_PAGE_BYTES);
	return rc < 0 ? rc : store_flush(s);
}

int super_write_clean(struct store *s, bool clean)
{
	int rc;

	task_lock(&s->write_lock);
	rc = super_write_plain(s, clean);
	s->dirty = !clean && rc == 0;
	task_unlock(&s->write_lock);
	return rc;
}

int store_dirty(struct store *s)
{
	int rc = 0;

	if (s->dirty)
		return 0;
	task_lock(&s->write_lock);
	if (!s->dirty) {
		/* Before any change to what the masks describe. */
		rc = super_write_plain(s, false);
		if (rc == 0)
			rc = cover_start(s);
		s->dirty = rc == 0;
	}
	task_unlock(&s->write_lock);
	return rc;
}

int super_write(struct store *s)
{
	int rc;

	ASSERT(s->dirty);
	task_lock(&s->write_lock);
	super_encode(&s->super, s->super_page);
	rc = store_flush(s);
	if (rc == 0 && s->tears)
		rc = slot_write(s, SLOT_SUPER, 0, s->super_page);
	if (rc == 0)
		rc = store_write(s, 0, s->super_page, MD_PAGE_BYTES);
	if (rc == 0)
		rc = store_flush(s);
	task_unlock(&s->write_lock);
	return rc;
}

/* ---- pages ---- */

/* clean=0 and the page announced, both durable. */
static int page_prepare(struct store *s, uint32_t page)
{
	int rc = store_dirty(s);

	return rc < 0 ? rc : cover_page(s, page);
}

int page_write_fresh(struct store *s, uint32_t page, struct bs_md_page *md)
{
	int rc = page_prepare(s, page);

	if (rc < 0)
		return rc;
	page_crc_set(md);
	return store_write(s, page_at(s, page), md, MD_PAGE_BYTES);
}

int pages_write_fresh(struct store *s, uint32_t page, struct bs_md_page *md, uint32_t count)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		rc = page_prepare(s, page + i);
		page_crc_set(&md[i]);
	}
	return rc < 0 ? rc :
	       store_write(s, page_at(s, page), md, (size_t)count * MD_PAGE_BYTES);
}

static int commit(struct store *s, uint32_t page, const struct bs_md_page *md)
{
	int rc = page_prepare(s, page);

	if (rc == 0)
		rc = store_flush(s);
	if (rc < 0)
		return rc;
	if (s->tears)
		task_lock(&s->write_lock);
	if (s->tears)
		rc = slot_write(s, SLOT_PAGE, page, md);
	if (rc == 0)
		rc = store_write(s, page_at(s, page), md, MD_PAGE_BYTES);
	if (rc == 0)
		rc = store_flush(s);
	if (s->tears)
		task_unlock(&s->write_lock);
	return rc;
}

int page_commit(struct store *s, uint32_t page, struct bs_md_page *md)
{
	page_crc_set(md);
	return commit(s, page, md);
}

int page_commit_zero(struct store *s, uint32_t page)
{
	static const struct bs_md_page zeroes;

	return commit(s, page, &zeroes);
}

int page_zero(struct store *s, uint32_t page)
{
	static const struct bs_md_page zeroes;
	int rc = page_prepare(s, page);

	return rc < 0 ? rc : store_write(s, page_at(s, page), &zeroes, MD_PAGE_BYTES);
}
