/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC-32C in two ways with one result.
 *
 * Hardware: the SSE4.2 instruction takes 8 bytes and has a latency of 3 cycles, so three lanes of
 * equal length run side by side. The CRC is linear: that of A followed by B is the CRC of A moved
 * over len(B) zero bytes, exclusive-or the CRC of B begun with 0. Moving over a lane's length is
 * four table look-ups. Long lanes take nearly all of a 4 KiB block, short ones of 512 bytes.
 *
 * Tables: eight bytes at a step, each looked up in a table of its own.
 */
#include "core/base/crc32c.h"

#include <nmmintrin.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum {
	POLYNOMIAL = 0x82f63b78 - (1ll << 32),
	LANE_LONG = 1360,               /* 3 × 1360 + 16 = 4096 */
	LANE_SHORT = 168,               /* 3 × 168 + 8 = 512 */
};

/* table[k][b]: the CRC of byte b followed by k zero bytes, begun with 0 */
static uint32_t table[8][256];
/* move[k][b]: byte k of a state, moved over a lane of zeroes */
static uint32_t move_long[4][256], move_short[4][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool hardware;

static uint32_t byte_step(uint32_t state, uint8_t byte)
{
	return table[0][(state ^ byte) & 0xff] ^ state >> 8;
}

static void move_build(uint32_t move[4][256], unsigned zeroes)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t state = 1u << bit;
		unsigned k = bit / 8, b = 1u << bit % 8;

		for (unsigned i = 0; i < zeroes; i++)
			state = byte_step(state, 0);
		/* every value whose highest bit is this one: the sum with a smaller value */
		for (unsigned low = 0; low < b; low++)
			move[k][b | low] = move[k][low] ^ state;
	}
}

static void tables_build(void)
{
	for (unsigned b = 0; b < 256; b++) {
		uint32_t state = b;

		for (unsigned i = 0; i < 8; i++)
			state = state >> 1 ^ (state & 1 ? (uint32_t)POLYNOMIAL : 0);
		table[0][b] = state;
	}
	for (unsigned k = 1; k < 8; k++)
		for (unsigned b = 0; b < 256; b++)
			table[k][b] = byte_step(table[k - 1][b], 0);
	move_build(move_long, LANE_LONG);
	move_build(move_short, LANE_SHORT);
	hardware = __builtin_cpu_supports("sse4.2");
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

uint32_t crc32c_update_table(uint32_t state, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	pthread_once(&once, tables_build);
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v = load64(p) ^ state;

		state = table[7][v & 0xff] ^ table[6][v >> 8 & 0xff] ^
			table[5][v >> 16 & 0xff] ^ table[4][v >> 24 & 0xff] ^
			table[3][v >> 32 & 0xff] ^ table[2][v >> 40 & 0xff] ^
			table[1][v >> 48 & 0xff] ^ table[0][v >> 56];
	}
	while (len--)
		state = byte_step(state, *p++);
	return state;
}

static inline uint32_t moved(const uint32_t move[4][256], uint32_t state)
{
	return move[0][state & 0xff] ^ move[1][state >> 8 & 0xff] ^
	       move[2][state >> 16 & 0xff] ^ move[3][state >> 24];
}

/* Three lanes of LANE bytes from P on. */
__attribute__((target("sse4.2")))
static inline uint32_t lanes_step(uint32_t state, const uint8_t *p, size_t lane,
				  const uint32_t move[4][256])
{
	uint64_t a = state, b = 0, c = 0;

	for (size_t i = 0; i < lane; i += 8) {
		a = _mm_crc32_u64(a, load64(p + i));
		b = _mm_crc32_u64(b, load64(p + lane + i));
		c = _mm_crc32_u64(c, load64(p + 2 * lane + i));
	}
	return moved(move, moved(move, (uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2")))
static uint32_t update_hardware(uint32_t state, const uint8_t *p, size_t len)
{
	uint64_t s;

	for (; len >= 3 * LANE_LONG; p += 3 * LANE_LONG, len -= 3 * LANE_LONG)
		state = lanes_step(state, p, LANE_LONG, move_long);
	for (; len >= 3 * LANE_SHORT; p += 3 * LANE_SHORT, len -= 3 * LANE_SHORT)
		state = lanes_step(state, p, LANE_SHORT, move_short);
	for (s = state; len >= 8; p += 8, len -= 8)
		s = _mm_crc32_u64(s, load64(p));
	for (state = (uint32_t)s; len; len--)
		state = _mm_crc32_u8(state, *p++);
	return state;
}

uint32_t crc32c_update(uint32_t state, const void *buf, size_t len)
{
	pthread_once(&once, tables_build);
	return hardware ? update_hardware(state, buf, len) : crc32c_update_table(state, buf, len);
}

uint32_t crc32c(const void *buf, size_t len)
{
	return crc32c_final(crc32c_update((uint32_t)CRC32C_INIT, buf, len));
}
