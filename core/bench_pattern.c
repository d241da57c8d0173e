/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Patterns of `disk bench … verify`: a header (mark, block number, run, generation, CRC-32C over
 * all of the block but the CRC itself), and words that differ between blocks, generations and
 * places in the block. A block that is lost, torn, old or somewhere else tells so by itself.
 */
#include "core/bench_pattern.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/base/crc32c.h"
#include "core/base/endian.h"

#define PATTERN_MARK 0x6b63656843736b44ull      /* "DksCheck" */
#define PATTERN_FILLER 0x68636e4266736b44ull    /* "DksfBnch": written without verify */
#define PATTERN_STEP 0x9e3779b97f4a7c15ull      /* odd, its bits well mixed: 2^64 / golden ratio */

struct pattern {
	le64 mark, lba, run;
	le32 generation, crc;
	le64 word[];
};

static uint32_t pattern_crc(const struct pattern *p, size_t bytes)
{
	uint32_t state = crc32c_update(CRC32C_INIT, p, offsetof(struct pattern, crc));

	state = crc32c_update(state, p->word, bytes - sizeof(*p));
	return crc32c_final(state);
}

void bench_pattern_fill(void *block, size_t bytes, uint64_t lba, struct bench_stamp stamp)
{
	struct pattern *p = block;
	uint64_t x = (lba + 1) * PATTERN_STEP ^ stamp.run ^ (uint64_t)stamp.generation << 32;

	p->mark = le64_make(PATTERN_MARK);
	p->lba = le64_make(lba);
	p->run = le64_make(stamp.run);
	p->generation = le32_make(stamp.generation);
	for (size_t i = 0; i < (bytes - sizeof(*p)) / sizeof(p->word[0]); i++) {
		x += PATTERN_STEP;
		p->word[i] = le64_make(x ^ x >> 29);
	}
	p->crc = le32_make(pattern_crc(p, bytes));
}

bool bench_pattern_check(const void *block, size_t bytes, uint64_t lba, struct bench_stamp stamp,
			 char *what, size_t what_bytes)
{
	const struct pattern *p = block;
	struct bench_stamp there = { le64_get(p->run), le32_get(p->generation) };

	if (le64_get(p->mark) != PATTERN_MARK)
		snprintf(what, what_bytes, "no pattern: it starts with %016" PRIx64 " %016" PRIx64,
			 le64_get(p->mark), le64_get(p->lba));
	else if (le32_get(p->crc) != pattern_crc(p, bytes))
		snprintf(what, what_bytes, "a damaged pattern (CRC) of block %" PRIu64
			 ", generation %u", le64_get(p->lba), there.generation);
	else if (le64_get(p->lba) != lba)
		snprintf(what, what_bytes, "the pattern of block %" PRIu64 ", generation %u",
			 le64_get(p->lba), there.generation);
	else if (stamp.generation != 0 && there.run != stamp.run)
		snprintf(what, what_bytes, "the pattern of an earlier run instead of generation %u",
			 stamp.generation);
	else if (stamp.generation != 0 && there.generation != stamp.generation)
		snprintf(what, what_bytes, "generation %u instead of %u", there.generation,
			 stamp.generation);
	else
		return true;
	return false;
}

void bench_pattern_mark(void *block)
{
	((struct pattern *)block)->mark = le64_make(PATTERN_FILLER);
}

bool bench_pattern_known(const void *block)
{
	uint64_t mark = le64_get(((const struct pattern *)block)->mark);

	return mark == PATTERN_MARK || mark == PATTERN_FILLER;
}

void bench_pattern_spoil(void *block)
{
	((struct pattern *)block)->mark = le64_make(0);
}
