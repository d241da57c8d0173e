/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of small integers: used pages, used clusters. One bit each, and above them summaries, a bit
 * for each word that is full, so that the next free one is found in a few steps however large and
 * full the set is. Memory: count/8 bytes and a sixty-third more.
 */
#ifndef BLOB_BITS_H
#define BLOB_BITS_H

#include <stdbool.h>
#include <stdint.h>

enum { BITS_LEVELS = 6 };
#define BITS_NONE UINT64_MAX

struct bits {
	uint64_t count;                 /* members are below */
	uint64_t set_count;
	unsigned levels;
	/* level[0]: the bits; level[n + 1]: full words of level n. Past the end all is full */
	uint64_t *level[BITS_LEVELS];
};

/* All clear. COUNT may be 0. -ENOMEM. */
int bits_init(struct bits *b, uint64_t count);
void bits_fini(struct bits *b);
/* To a larger COUNT, new ones clear. -ENOMEM: nothing has changed. */
int bits_grow(struct bits *b, uint64_t count);

static inline bool bits_test(const struct bits *b, uint64_t i)
{
	return b->level[0][i / 64] >> i % 64 & 1;
}

/* Whether it was set before; I is below count. */
bool bits_set(struct bits *b, uint64_t i);
bool bits_clear(struct bits *b, uint64_t i);
/* Returns how many of them were set before. */
uint64_t bits_set_range(struct bits *b, uint64_t first, uint64_t count);
/* Sets what is set in WITH, of the same count. *MISSING: only B has it; *MORE: only WITH has it. */
void bits_merge(struct bits *b, const struct bits *with, uint64_t *missing, uint64_t *more);

/* The first clear or set one at FROM or after it; BITS_NONE. */
uint64_t bits_next_clear(const struct bits *b, uint64_t from);
uint64_t bits_next_set(const struct bits *b, uint64_t from);
static inline uint64_t bits_free(const struct bits *b)
{
	return b->count - b->set_count;
}

/* From and to the bytes of a mask, bit i at byte i/8; LEN is (count + 7) / 8. */
void bits_load(struct bits *b, const uint8_t *bytes);
void bits_store(const struct bits *b, uint8_t *bytes);

#endif
