/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data buffers: each reactor has its own share of every size class, free ones on a stack, and its
 * own line of those who wait. No locks, nothing is ever taken from another reactor.
 *
 * A length always needs the same buffers (its recipe): large ones, then medium, then small, so that
 * what is needed is known without looking at what is free. Whoever cannot be served stands in line
 * and has a claim on what its recipe says; who comes later may pass only with buffers that nobody
 * in line claims. So a large request is not starved by small ones, and small ones go on while a
 * large one waits for large buffers.
 */
#include "core/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/config.h"
#include "core/dma.h"
#include "core/reactor.h"

enum { SMALL, MEDIUM, LARGE };

static const uint32_t class_bytes[BUF_CLASS_COUNT] = { 4096, 16384, 131072 };

/* What the largest request needs: no share is smaller. */
static const uint32_t class_least[BUF_CLASS_COUNT] = { 2, 4, BUF_REQUEST_MAX / 131072 };

struct recipe {
	uint32_t need[BUF_CLASS_COUNT];
};

struct buf_class {
	void **free;                    /* stack */
	uint32_t free_count, total, low_water;
	uint64_t waits;
	void *memory;
};

struct buf_share {
	struct buf_class cls[BUF_CLASS_COUNT];
	struct list line;               /* struct buf_wait */
	struct recipe claimed;          /* by the whole line */
	/* while the line is being served: what those before the one being served claim */
	const struct recipe *ahead;
	struct msg serve_msg;
	bool serve_sent;
} CACHE_ALIGNED;

static struct buf_share shares[REACTOR_MAX];
static void *zeroes;

static struct recipe recipe_of(size_t len)
{
	struct recipe r = { { 0 } };
	size_t rest = len % class_bytes[LARGE];

	r.need[LARGE] = len / class_bytes[LARGE];
	if (rest > class_bytes[LARGE] / 2) {
		r.need[LARGE]++;
		return r;
	}
	r.need[MEDIUM] = rest / class_bytes[MEDIUM];
	rest %= class_bytes[MEDIUM];
	if (rest > class_bytes[MEDIUM] / 2)
		r.need[MEDIUM]++;
	else
		r.need[SMALL] = div_round_up(rest, class_bytes[SMALL]);
	return r;
}

static void recipe_add(struct recipe *sum, const struct recipe *r)
{
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++)
		sum->need[c] += r->need[c];
}

static void recipe_sub(struct recipe *sum, const struct recipe *r)
{
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++)
		sum->need[c] -= r->need[c];
}

/* Whether R can be had without touching what is CLAIMED. */
static bool recipe_fits(const struct buf_share *share, const struct recipe *r,
			const struct recipe *claimed)
{
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
		if (r->need[c] && share->cls[c].free_count < r->need[c] + claimed->need[c])
			return false;
	}
	return true;
}

/* ---- the line ---- */

static void line_serve(struct msg *msg)
{
	struct buf_share *share = container_of(msg, struct buf_share, serve_msg);
	struct recipe ahead = { { 0 } };
	struct buf_wait *w;
	struct list line = LIST_INIT(line);

	share->serve_sent = false;
	/* Whoever is called may leave, or stand in line again: behind those of this pass. */
	list_splice(&line, &share->line);
	share->ahead = &ahead;
	while ((w = list_first_entry(&line, struct buf_wait, link))) {
		struct recipe r = recipe_of(w->len);

		list_del(&w->link);
		if (!recipe_fits(share, &r, &ahead)) {
			recipe_add(&ahead, &r);
			list_push(&share->line, &w->link);
			continue;
		}
		recipe_sub(&share->claimed, &r);
		w->ready(w);
	}
	share->ahead = NULL;
}

static void line_join(struct buf_share *share, struct buf_wait *w, size_t len,
		      const struct recipe *r)
{
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++)
		share->cls[c].waits += r->need[c] != 0;
	w->len = len;
	recipe_add(&share->claimed, r);
	list_push(&share->line, &w->link);
}

void buf_wait_cancel(struct buf_wait *w)
{
	struct buf_share *share = &shares[reactor_index()];
	struct recipe r;

	if (!w->link.next || !list_linked(&w->link))
		return;
	r = recipe_of(w->len);
	recipe_sub(&share->claimed, &r);
	list_del(&w->link);
	/* Its claim may have kept others waiting. */
	if (!list_empty(&share->line) && !share->serve_sent) {
		share->serve_sent = true;
		reactor_send(reactor_self(), &share->serve_msg, line_serve);
	}
}

/* ---- get and put ---- */

/* The most frequent request: one small buffer, and nobody in line. */
static bool small_get(struct buf_share *share, size_t len, struct iovec *iov)
{
	struct buf_class *cls = &share->cls[SMALL];

	if (len > class_bytes[SMALL] || cls->free_count == 0 || share->ahead ||
	    !list_empty(&share->line))
		return false;
	iov->iov_base = cls->free[--cls->free_count];
	iov->iov_len = len;
	if (cls->free_count < cls->low_water)
		cls->low_water = cls->free_count;
	return true;
}

unsigned buf_get(size_t len, struct iovec *iov, struct buf_wait *w)
{
	struct buf_share *share = &shares[reactor_index()];
	unsigned count = 0;
	struct recipe r;

	ASSERT_MSG(len > 0 && len <= BUF_REQUEST_MAX, "buf: request of %zu bytes", len);
	if (likely(small_get(share, len, iov)))
		return 1;
	r = recipe_of(len);
	if (unlikely(!recipe_fits(share, &r, share->ahead ? share->ahead : &share->claimed))) {
		if (w)
			line_join(share, w, len, &r);
		return 0;
	}
	for (int c = LARGE; c >= SMALL; c--) {
		struct buf_class *cls = &share->cls[c];

		for (uint32_t n = r.need[c]; n > 0; n--) {
			size_t part = MIN(len, class_bytes[c]);

			iov[count].iov_base = cls->free[--cls->free_count];
			iov[count].iov_len = part;
			count++;
			len -= part;
		}
		if (cls->free_count < cls->low_water)
			cls->low_water = cls->free_count;
	}
	return count;
}

/* The class of a buffer is where its memory lies. */
static struct buf_class *class_of(struct buf_share *share, const void *buf)
{
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
		struct buf_class *cls = &share->cls[c];

		if ((uintptr_t)buf - (uintptr_t)cls->memory < (size_t)cls->total * class_bytes[c])
			return cls;
	}
	panic("buf: %p is not a buffer of reactor %u", buf, reactor_index());
}

void buf_put(const struct iovec *iov, unsigned count)
{
	struct buf_share *share = &shares[reactor_index()];

	for (unsigned i = 0; i < count; i++) {
		struct buf_class *cls = class_of(share, iov[i].iov_base);

		ASSERT(cls->free_count < cls->total);
		cls->free[cls->free_count++] = iov[i].iov_base;
	}
	if (unlikely(!list_empty(&share->line)) && !share->serve_sent) {
		share->serve_sent = true;
		reactor_send(reactor_self(), &share->serve_msg, line_serve);
	}
}

const void *buf_zeroes(void)
{
	return zeroes;
}

/* ---- life ---- */

static int class_init(struct buf_class *cls, unsigned c, uint32_t count)
{
	cls->free = calloc(count, sizeof(*cls->free));
	cls->memory = dma_alloc((size_t)count * class_bytes[c], DMA_PAGE_BYTES);
	if (!cls->free || !cls->memory)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		cls->free[i] = (char *)cls->memory + (size_t)i * class_bytes[c];
	cls->total = cls->free_count = cls->low_water = count;
	cls->waits = 0;
	return 0;
}

/* Of each class for each reactor, from the configuration; fewer when memory is short. */
static void plan(uint32_t count[BUF_CLASS_COUNT])
{
	const uint32_t wanted[BUF_CLASS_COUNT] = { config.buf_small_count, config.buf_medium_count,
						   config.buf_large_count };
	uint64_t want_bytes = 0, have_bytes;
	struct dma_stats dma;

	dma_stats(&dma);
	/* Half of what is left is for queues and tables. */
	have_bytes = (dma.total_bytes - dma.used_bytes) / 2;
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++)
		want_bytes += (uint64_t)wanted[c] * class_bytes[c];
	if (want_bytes > have_bytes)
		log_warn("buf: %lu MiB of DMA memory are left, buffers get %lu MiB of them instead "
			 "of %lu", (unsigned long)((dma.total_bytes - dma.used_bytes) >> 20),
			 (unsigned long)(have_bytes >> 20), (unsigned long)(want_bytes >> 20));
	for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
		count[c] = wanted[c] / reactor_count();
		if (want_bytes > have_bytes)
			count[c] = (uint64_t)count[c] * have_bytes / want_bytes;
		count[c] = MAX(count[c], class_least[c]);
	}
}

int buf_init(void)
{
	uint32_t count[BUF_CLASS_COUNT];

	plan(count);
	zeroes = dma_alloc(BUF_ZERO_BYTES, DMA_PAGE_BYTES);
	if (!zeroes)
		goto no_memory;
	for (unsigned i = 0; i < reactor_count(); i++) {
		list_init(&shares[i].line);
		for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
			if (class_init(&shares[i].cls[c], c, count[c]) < 0)
				goto no_memory;
		}
	}
	return 0;
no_memory:
	log_error("buf: no DMA memory for %u buffers of 128 KiB on each of %u reactors; give more "
		  "with -m, or use fewer reactors", count[LARGE], reactor_count());
	buf_fini();
	return -ENOMEM;
}

void buf_fini(void)
{
	for (unsigned i = 0; i < REACTOR_MAX; i++) {
		for (unsigned c = 0; c < BUF_CLASS_COUNT; c++) {
			struct buf_class *cls = &shares[i].cls[c];

			dma_free(cls->memory);
			free(cls->free);
		}
		memset(&shares[i], 0, sizeof(shares[i]));
	}
	dma_free(zeroes);
	zeroes = NULL;
}

void buf_stats(unsigned cls, struct buf_stats *out)
{
	*out = (struct buf_stats){ .class_bytes = class_bytes[cls] };
	for (unsigned i = 0; i < reactor_count(); i++) {
		const struct buf_class *share = &shares[i].cls[cls];

		out->total += share->total;
		out->used += share->total - share->free_count;
		out->peak += share->total - share->low_water;
		out->waits += share->waits;
	}
}
