/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads runs of metadata pages in large requests at depth, and hands the pages over in order. A
 * request that fails is read again page by page: those that cannot be read are handed over as NULL.
 * The caller's task gives others a turn after each request.
 */
#include <errno.h>
#include <stdlib.h>

#include "blob/md.h"
#include "blob/scan.h"
#include "core/base/panic.h"
#include "core/dma.h"

enum { DEPTH = 16, REQUEST_PAGES = 32 };

struct request {
	struct reader *reader;
	struct io io;
	struct iovec iov;
	uint8_t *buf;
	uint32_t page, count;
	bool done;
};

struct reader {
	struct store *s;
	struct event event;
	unsigned oldest, busy, spare_count;
	uint8_t *spare[DEPTH];          /* memory that no request has */
	struct request request[DEPTH];
};

static void request_done(struct io *io)
{
	struct request *q = container_of(io, struct request, io);

	q->done = true;
	event_signal(&q->reader->event);
}

/* Memory comes with the first use: a small store needs little. Less memory is less depth. */
static bool request_ready(struct reader *r)
{
	if (r->busy == DEPTH)
		return false;
	if (r->spare_count == 0) {
		r->spare[0] = dma_alloc((size_t)REQUEST_PAGES * MD_PAGE_BYTES, MD_PAGE_BYTES);
		r->spare_count = r->spare[0] != NULL;
	}
	return r->spare_count > 0;
}

static void request_start(struct reader *r, uint32_t page, uint32_t count)
{
	struct request *q = &r->request[(r->oldest + r->busy++) % DEPTH];
	struct store *s = r->s;

	q->reader = r;
	q->buf = r->spare[--r->spare_count];
	q->page = page;
	q->count = count;
	q->done = false;
	q->iov = (struct iovec){ q->buf, (size_t)count * MD_PAGE_BYTES };
	q->io = (struct io){
		.op = IO_READ,
		.lba = page_at(s, page) >> s->block_shift,
		.lba_count = (uint32_t)(q->iov.iov_len >> s->block_shift),
		.iov = &q->iov,
		.iov_count = 1,
		.done = request_done,
	};
	bdev_submit(bdev_chan(s->disk.bdev), &q->io);
}

/* The oldest leaves the line. */
static struct request *request_wait(struct reader *r)
{
	struct request *q = &r->request[r->oldest];

	while (!q->done) {
		event_clear(&r->event);
		task_wait(&r->event);
	}
	r->oldest = (r->oldest + 1) % DEPTH;
	r->busy--;
	return q;
}

/* The oldest request's pages; -ENODEV, or what the callback said. */
static int request_finish(struct reader *r, const struct reader_ops *ops)
{
	struct request *q = request_wait(r);
	struct bs_md_page *md = (struct bs_md_page *)q->buf;
	bool bad = q->io.status != IO_OK;
	int rc = 0;

	/* Its memory is not given out before the next line_fill(). */
	r->spare[r->spare_count++] = q->buf;
	for (uint32_t i = 0; rc == 0 && i < q->count; i++) {
		int failed = bad ? store_read(r->s, page_at(r->s, q->page + i), &md[i],
					      sizeof(*md)) : 0;

		rc = failed == -ENODEV ? failed :
		     ops->page(ops, q->page + i, failed ? NULL : &md[i]);
	}
	return rc;
}

/* Fills the line; -ENODEV, -ENOMEM when nothing at all can be read. */
static int line_fill(struct reader *r, const struct reader_ops *ops, uint32_t *page,
		     uint32_t *count)
{
	struct store *s = r->s;

	while (request_ready(r)) {
		if (s->state == STORE_GONE)
			return -ENODEV;
		if (*count == 0 && !ops->next(ops, page, count))
			return 0;
		ASSERT(*count > 0 && *page < s->super.md_len && *count <= s->super.md_len - *page);
		uint32_t n = MIN(*count, (uint32_t)REQUEST_PAGES);

		request_start(r, *page, n);
		*page += n;
		*count -= n;
	}
	return r->busy ? 0 : -ENOMEM;
}

int reader_run(struct store *s, const struct reader_ops *ops)
{
	struct reader *r = calloc(1, sizeof(*r));
	uint32_t page = 0, count = 0;
	int rc = 0;

	if (!r)
		return -ENOMEM;
	r->s = s;
	event_init(&r->event);
	while (true) {
		if (rc == 0)
			rc = line_fill(r, ops, &page, &count);
		if (r->busy == 0)
			break;
		if (rc == 0) {
			rc = request_finish(r, ops);
			task_yield();
		} else {
			struct request *q = request_wait(r);

			r->spare[r->spare_count++] = q->buf;
		}
	}
	while (r->spare_count > 0)
		dma_free(r->spare[--r->spare_count]);
	free(r);
	return rc;
}
