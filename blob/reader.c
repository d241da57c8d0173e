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

enum { DEPTH = 16, REQUEST_PAGES = 128 };

struct request {
	struct reader *reader;
	struct io io;
	struct iovec iov;
	uint8_t *buf;
	uint32_t page, count;           /* count 0: free */
	bool done;
};

struct reader {
	struct store *s;
	struct event event;
	unsigned depth, oldest, busy;
	struct request request[DEPTH];
};

static void request_done(struct io *io)
{
	struct request *q = container_of(io, struct request, io);

	q->done = true;
	event_signal(&q->reader->event);
}

static void request_start(struct reader *r, uint32_t page, uint32_t count)
{
	struct request *q = &r->request[(r->oldest + r->busy++) % r->depth];
	struct store *s = r->s;

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

/* The oldest request's pages; -ENODEV, or what the callback said. */
static int request_finish(struct reader *r, const struct reader_ops *ops)
{
	struct request *q = &r->request[r->oldest];
	struct bs_md_page *md = (struct bs_md_page *)q->buf;
	bool bad;
	int rc = 0;

	while (!q->done) {
		event_clear(&r->event);
		task_wait(&r->event);
	}
	r->oldest = (r->oldest + 1) % r->depth;
	r->busy--;
	bad = q->io.status != IO_OK;
	for (uint32_t i = 0; rc == 0 && i < q->count; i++) {
		int failed = bad ? store_read(r->s, page_at(r->s, q->page + i), &md[i],
					      sizeof(*md)) : 0;

		rc = failed == -ENODEV ? failed :
		     ops->page(ops, q->page + i, failed ? NULL : &md[i]);
	}
	return rc;
}

static struct reader *reader_create(struct store *s)
{
	struct reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->s = s;
	event_init(&r->event);
	while (r->depth < DEPTH) {
		r->request[r->depth].reader = r;
		r->request[r->depth].buf = dma_alloc((size_t)REQUEST_PAGES * MD_PAGE_BYTES,
						     MD_PAGE_BYTES);
		if (!r->request[r->depth].buf)
			break;
		r->depth++;
	}
	if (r->depth > 0)
		return r;
	free(r);
	return NULL;
}

int reader_run(struct store *s, const struct reader_ops *ops)
{
	struct reader *r = reader_create(s);
	uint32_t page = 0, count = 0;
	int rc = 0;

	if (!r)
		return -ENOMEM;
	while (true) {
		while (rc == 0 && r->busy < r->depth) {
			if (s->state == STORE_GONE)
				rc = -ENODEV;
			else if (count == 0 && !ops->next(ops, &page, &count))
				break;
			if (rc < 0)
				break;
			ASSERT(count > 0 && page < s->super.md_len &&
			       count <= s->super.md_len - page);
			uint32_t n = MIN(count, (uint32_t)REQUEST_PAGES);

			request_start(r, page, n);
			page += n;
			count -= n;
		}
		if (r->busy == 0)
			break;
		if (rc == 0) {
			rc = request_finish(r, ops);
			task_yield();
			continue;
		}
		while (!r->request[r->oldest].done) {
			event_clear(&r->event);
			task_wait(&r->event);
		}
		r->oldest = (r->oldest + 1) % r->depth;
		r->busy--;
	}
	for (unsigned i = 0; i < r->depth; i++)
		dma_free(r->request[i].buf);
	free(r);
	return rc;
}
