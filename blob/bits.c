/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of small integers with summaries: see blob/bits.h. */
#include "blob/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/base/util.h"

enum { WORD = 64 };

static uint64_t words_of(uint64_t count)
{
	return MAX(div_round_up(count, WORD), 1u);
}

/* Marks what a level's last word has past its end as full. */
static void pad(uint64_t *words, uint64_t count)
{
	uint64_t n = words_of(count), rest = n * WORD - count;

	if (rest > 0)
		words[n - 1] |= rest == WORD ? ~0ULL : ~0ULL << (WORD - rest);
}

/* Builds the summaries anew from the bits. */
static void summarize(struct bits *b)
{
	uint64_t below = words_of(b->count);

	for (unsigned l = 1; l < b->levels; l++) {
		memset(b->level[l], 0, words_of(below) * sizeof(uint64_t));
		for (uint64_t i = 0; i < below; i++)
			if (b->level[l - 1][i] == ~0ULL)
				b->level[l][i / WORD] |= 1ULL << i % WORD;
		pad(b->level[l], below);
		below = words_of(below);
	}
}

int bits_init(struct bits *b, uint64_t count)
{
	uint64_t n = count;

	*b = (struct bits){ .count = count };
	do {
		ASSERT(b->levels < BITS_LEVELS);
		b->level[b->levels] = calloc(words_of(n), sizeof(uint64_t));
		if (!b->level[b->levels]) {
			bits_fini(b);
			return -ENOMEM;
		}
		b->levels++;
		n = words_of(n);
	} while (n > 1);
	pad(b->level[0], count);
	summarize(b);
	return 0;
}

void bits_fini(struct bits *b)
{
	for (unsigned l = 0; l < BITS_LEVELS; l++)
		free(b->level[l]);
	*b = (struct bits){ 0 };
}

int bits_grow(struct bits *b, uint64_t count)
{
	struct bits grown;
	int rc;

	ASSERT(count >= b->count);
	rc = bits_init(&grown, count);
	if (rc < 0)
		return rc;
	for (uint64_t i = bits_next_set(b, 0); i != BITS_NONE; i = bits_next_set(b, i + 1))
		bits_set(&grown, i);
	bits_fini(b);
	*b = grown;
	return 0;
}

bool bits_set(struct bits *b, uint64_t i)
{
	ASSERT(i < b->count);
	if (bits_test(b, i))
		return true;
	b->set_count++;
	for (unsigned l = 0; l < b->levels; l++, i /= WORD) {
		b->level[l][i / WORD] |= 1ULL << i % WORD;
		if (b->level[l][i / WORD] != ~0ULL)
			break;
	}
	return false;
}

bool bits_clear(struct bits *b, uint64_t i)
{
	bool full;

	ASSERT(i < b->count);
	if (!bits_test(b, i))
		return false;
	b->set_count--;
	for (unsigned l = 0; l < b->levels; l++, i /= WORD) {
		full = b->level[l][i / WORD] == ~0ULL;
		b->level[l][i / WORD] &= ~(1ULL << i % WORD);
		if (!full)
			break;
	}
	return true;
}

/* A word of the lowest level has become full. */
static void full_mark(struct bits *b, uint64_t word)
{
	for (unsigned l = 1; l < b->levels; l++, word /= WORD) {
		b->level[l][word / WORD] |= 1ULL << word % WORD;
		if (b->level[l][word / WORD] != ~0ULL)
			break;
	}
}

uint64_t bits_set_range(struct bits *b, uint64_t first, uint64_t count)
{
	uint64_t end = first + count, old = 0, n;

	ASSERT(first <= b->count && count <= b->count - first);
	for (uint64_t i = first; i < end; i += n) {
		uint64_t *word = &b->level[0][i / WORD], mask;

		n = MIN(WORD - i % WORD, end - i);
		mask = (n == WORD ? ~0ULL : (1ULL << n) - 1) << i % WORD;
		old += __builtin_popcountll(*word & mask);
		*word |= mask;
		if (*word == ~0ULL)
			full_mark(b, i / WORD);
	}
	b->set_count += count - old;
	return old;
}

void bits_merge(struct bits *b, const struct bits *with, uint64_t *missing, uint64_t *more)
{
	ASSERT(b->count == with->count);
	*missing = *more = 0;
	for (uint64_t w = 0; w < words_of(b->count); w++) {
		uint64_t own = b->level[0][w], other = with->level[0][w];

		*missing += __builtin_popcountll(own & ~other);
		*more += __builtin_popcountll(other & ~own);
		b->level[0][w] |= other;
	}
	b->set_count += *more;
	summarize(b);
}

/* Words of a level. */
static uint64_t level_words(const struct bits *b, unsigned level)
{
	uint64_t n = words_of(b->count);

	while (level-- > 0)
		n = words_of(n);
	return n;
}

uint64_t bits_next_clear(const struct bits *b, uint64_t from)
{
	uint64_t at = from, word;
	unsigned l = 0;

	if (from >= b->count)
		return BITS_NONE;
	/* Up, until a word has a clear bit at AT or after it… */
	while (!(word = ~b->level[l][at / WORD] & ~0ULL << at % WORD)) {
		at = at / WORD + 1;
		if (++l == b->levels || at / WORD >= level_words(b, l))
			return BITS_NONE;
	}
	/* … and down to the first. */
	at = ALIGN_DOWN(at, (uint64_t)WORD) + __builtin_ctzll(word);
	while (l > 0) {
		l--;
		at = at * WORD + __builtin_ctzll(~b->level[l][at]);
	}
	return at;
}

uint64_t bits_next_set(const struct bits *b, uint64_t from)
{
	uint64_t word, n = words_of(b->count);

	if (from >= b->count)
		return BITS_NONE;
	word = b->level[0][from / WORD] & ~0ULL << from % WORD;
	for (uint64_t w = from / WORD; ; word = b->level[0][w]) {
		if (word) {
			from = w * WORD + __builtin_ctzll(word);
			return from < b->count ? from : BITS_NONE;
		}
		if (++w == n)
			return BITS_NONE;
	}
}

void bits_load(struct bits *b, const uint8_t *bytes)
{
	memset(b->level[0], 0, words_of(b->count) * sizeof(uint64_t));
	memcpy(b->level[0], bytes, div_round_up(b->count, 8));
	if (b->count % WORD)
		b->level[0][b->count / WORD] &= ~(~0ULL << b->count % WORD);
	b->set_count = 0;
	for (uint64_t w = 0; w < words_of(b->count); w++)
		b->set_count += __builtin_popcountll(b->level[0][w]);
	pad(b->level[0], b->count);
	summarize(b);
}

void bits_store(const struct bits *b, uint8_t *bytes)
{
	memcpy(bytes, b->level[0], div_round_up(b->count, 8));
	if (b->count % 8)
		bytes[b->count / 8] &= (uint8_t)~(0xff << b->count % 8);
}
