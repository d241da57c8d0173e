/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Latency histograms and I/O counters. Bucket 0…15 hold 0…15 ns; above that a bucket holds 1/16 of
 * a power of two: its index is the exponent and the four bits below the leading one. The last
 * bucket also takes everything that is longer (about nine minutes).
 */
#include "core/stat.h"

#include "core/base/util.h"

enum { SUB_COUNT = STAT_HIST_SUB_COUNT };

/* The largest value that belongs to the bucket. */
static uint64_t bucket_top(unsigned index)
{
	unsigned shift;

	if (index < SUB_COUNT)
		return index;
	shift = (index >> STAT_HIST_SUB_BITS) - 1;
	return ((uint64_t)(SUB_COUNT + (index & (SUB_COUNT - 1)) + 1) << shift) - 1;
}

void stat_hist_merge(struct stat_hist *sum, const struct stat_hist *h)
{
	if (h->count == 0)
		return;
	if (sum->count == 0 || h->min_ns < sum->min_ns)
		sum->min_ns = h->min_ns;
	sum->max_ns = MAX(sum->max_ns, h->max_ns);
	sum->count += h->count;
	sum->sum_ns += h->sum_ns;
	for (unsigned i = 0; i < STAT_HIST_BUCKETS; i++)
		sum->bucket[i] += h->bucket[i];
}

uint64_t stat_hist_percentile(const struct stat_hist *h, unsigned permyriad)
{
	uint64_t rank, seen = 0;
	unsigned i;

	if (h->count == 0)
		return 0;
	/* the sample with this rank, counted from 1; rounded up so that 100 % is the last one */
	rank = div_round_up(h->count * MIN(permyriad, 10000u), 10000);
	rank = MAX(rank, 1u);
	for (i = 0; i < STAT_HIST_BUCKETS - 1; i++) {
		seen += h->bucket[i];
		if (seen >= rank)
			return MAX(MIN(bucket_top(i), h->max_ns), h->min_ns);
	}
	return h->max_ns;
}

uint64_t stat_hist_mean(const struct stat_hist *h)
{
	return h->count ? h->sum_ns / h->count : 0;
}

void stat_io_merge(struct stat_io *sum, const struct stat_io *s)
{
	for (unsigned i = 0; i < STAT_CLASS_COUNT; i++) {
		sum->cls[i].ops += s->cls[i].ops;
		sum->cls[i].bytes += s->cls[i].bytes;
		sum->cls[i].errors += s->cls[i].errors;
		stat_hist_merge(&sum->cls[i].latency, &s->cls[i].latency);
	}
}

const char *stat_class_name(enum stat_class cls)
{
	static const char *const names[STAT_CLASS_COUNT] = {
		"read", "write", "flush", "unmap", "other"
	};

	return cls < STAT_CLASS_COUNT ? names[cls] : "?";
}
