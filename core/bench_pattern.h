/* SPDX-License-Identifier: BSD-3-Clause */
/* What `disk bench … verify` writes into each block, and how it knows it again. */
#ifndef CORE_BENCH_PATTERN_H
#define CORE_BENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who wrote a block: the run (random), and the how manieth write of that place in it, from 1. */
struct bench_stamp {
	uint64_t run;
	uint32_t generation;
};

/* BYTES (at least 512, a multiple of 8) for block LBA. BLOCK is aligned to 8. */
void bench_pattern_fill(void *block, size_t bytes, uint64_t lba, struct bench_stamp stamp);
/*
 * Whether BLOCK is whole, of this LBA and of this stamp (generation 0: of whatever stamp). When
 * not, WHAT says what was found instead.
 */
bool bench_pattern_check(const void *block, size_t bytes, uint64_t lba, struct bench_stamp stamp,
			 char *what, size_t what_bytes);
/* Makes BLOCK one that is known to be of a bench without verify, whatever else is in it. */
void bench_pattern_mark(void *block);
/* Whether BLOCK is of a bench, with verify or without: nothing is lost with it. */
bool bench_pattern_known(const void *block);
/* Makes sure that what is in BLOCK passes for no pattern: a read that moves nothing is found. */
void bench_pattern_spoil(void *block);

#endif
