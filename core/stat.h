/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters and latency histograms. A histogram is log-linear: 16 linear steps per power of two of
 * nanoseconds, so that a percentile is at most 6.25 % too large, in a few KiB and with one
 * increment per sample. One writer: no atomics; readers on other reactors see slightly old numbers.
 */
#ifndef CORE_STAT_H
#define CORE_STAT_H

#include <stdint.h>

#include "core/base/util.h"

enum {
	STAT_HIST_SUB_BITS = 4,
	STAT_HIST_SUB_COUNT = 1 << STAT_HIST_SUB_BITS,
	STAT_HIST_OCTAVES = 36,
	STAT_HIST_BUCKETS = STAT_HIST_OCTAVES << STAT_HIST_SUB_BITS,
};

struct stat_hist {
	uint64_t count, sum_ns, min_ns, max_ns;
	uint64_t bucket[STAT_HIST_BUCKETS];
};

/* 0…15 ns each their own; above, the exponent and the four bits below the leading one. */
static inline unsigned stat_hist_bucket(uint64_t ns)
{
	unsigned shift = log2_floor(ns | STAT_HIST_SUB_COUNT) - STAT_HIST_SUB_BITS;
	unsigned index = (shift << STAT_HIST_SUB_BITS) + (unsigned)(ns >> shift);

	return MIN(index, STAT_HIST_BUCKETS - 1u);
}

static inline void stat_hist_add(struct stat_hist *h, uint64_t ns)
{
	if (h->count == 0 || ns < h->min_ns)
		h->min_ns = ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
	h->count++;
	h->sum_ns += ns;
	h->bucket[stat_hist_bucket(ns)]++;
}

void stat_hist_merge(struct stat_hist *sum, const struct stat_hist *h);
/* Latency below which PERMILLE_TENTHS/10000 of the samples are (9999 is p99.99); 0 when empty. */
uint64_t stat_hist_percentile(const struct stat_hist *h, unsigned permyriad);
uint64_t stat_hist_mean(const struct stat_hist *h);

/* The classes in which I/O is counted. */
enum stat_class { STAT_READ, STAT_WRITE, STAT_FLUSH, STAT_UNMAP, STAT_OTHER, STAT_CLASS_COUNT };

struct stat_io {
	struct stat_io_class {
		uint64_t ops, bytes, errors;
		struct stat_hist latency;
	} cls[STAT_CLASS_COUNT];
};

void stat_io_merge(struct stat_io *sum, const struct stat_io *s);
const char *stat_class_name(enum stat_class cls);

#endif
