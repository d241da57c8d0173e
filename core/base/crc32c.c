/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC-32C in three ways with one result.
 *
 * Wide: where there is a carry-less multiplication of 512 bits, four registers take 256 bytes at a
 * step. A register is moved over what the step takes by two multiplications, for its halves, with
 * x to the power of the distance, and the next bytes are added; in the end 64 bytes are left whose
 * CRC is that of all.
 *
 * Hardware: the SSE4.2 instruction takes 8 bytes and has a latency of 3 cycles, so three lanes of
 * equal length run side by side. The CRC is linear: that of A followed by B is the CRC of A moved
 * over len(B) zero bytes, exclusive-or the CRC of B begun with 0. Moving over a lane's length is
 * four table look-ups. Long lanes take nearly all of a 4 KiB block, short ones of 512 bytes.
 *
 * Tables: eight bytes at a step, each looked up in a table of its own.
 */
#include "core/base/crc32c.h"

#include <immintrin.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum {
	POLYNOMIAL = 0x82f63b78 - (1ll << 32),
	LANE_LONG = 1360,               /* 3 × 1360 + 16 = 4096 */
	LANE_SHORT = 168,               /* 3 × 168 + 8 = 512 */
	WIDE_BYTES = 256, WIDE_REGISTER = 64,
};

/* table[k][b]: the CRC of byte b followed by k zero bytes, begun with 0 */
static uint32_t table[8][256];
/* move[k][b]: byte k of a state, moved over a lane of zeroes */
static uint32_t move_long[4][256], move_short[4][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;
/* for both halves of 128 bits: what moves them over so many bytes */
static uint64_t fold_step[2], fold_register[2];
static bool hardware, wide;

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

/* x to the power of N, as a multiplier of 64 bits: bits are in the order of the CRC, from above. */
static uint64_t power(unsigned n)
{
	uint32_t state = 1u << 31;

	while (n--)
		state = state >> 1 ^ (state & 1 ? (uint32_t)POLYNOMIAL : 0);
	return (uint64_t)state << 32;
}

/* The product of two reflected numbers comes out multiplied by x: one less is right. */
static void fold_build(uint64_t fold[2], unsigned bytes)
{
	fold[0] = power(bytes * 8 + 64 - 1);
	fold[1] = power(bytes * 8 - 1);
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
	fold_build(fold_step, WIDE_BYTES);
	fold_build(fold_register, WIDE_REGISTER);
	hardware = __builtin_cpu_supports("sse4.2");
	wide = hardware && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("vpclmulqdq");
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

__attribute__((target("avx512f,vpclmulqdq")))
static inline __m512i folded(__m512i x, __m512i fold, __m512i next)
{
	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, fold, 0x00),
					 _mm512_clmulepi64_epi128(x, fold, 0x11), next, 0x96);
}

/* LEN is at least WIDE_BYTES. */
__attribute__((target("sse4.2,avx512f,vpclmulqdq")))
static uint32_t update_wide(uint32_t state, const uint8_t *p, size_t len)
{
	__m512i step = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)fold_step));
	__m512i one = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)fold_register));
	__m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p + WIDE_REGISTER);
	__m512i c = _mm512_loadu_si512(p + 2 * WIDE_REGISTER);
	__m512i d = _mm512_loadu_si512(p + 3 * WIDE_REGISTER);
	uint8_t last[WIDE_REGISTER];

	a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)state)));
	for (p += WIDE_BYTES, len -= WIDE_BYTES; len >= WIDE_BYTES;
	     p += WIDE_BYTES, len -= WIDE_BYTES) {
		a = folded(a, step, _mm512_loadu_si512(p));
		b = folded(b, step, _mm512_loadu_si512(p + WIDE_REGISTER));
		c = folded(c, step, _mm512_loadu_si512(p + 2 * WIDE_REGISTER));
		d = folded(d, step, _mm512_loadu_si512(p + 3 * WIDE_REGISTER));
	}
	d = folded(folded(folded(a, one, b), one, c), one, d);
	for (; len >= WIDE_REGISTER; p += WIDE_REGISTER, len -= WIDE_REGISTER)
		d = folded(d, one, _mm512_loadu_si512(p));
	_mm512_storeu_si512(last, d);
	return update_hardware(update_hardware(0, last, sizeof(last)), p, len);
}

uint32_t crc32c_update(uint32_t state, const void *buf, size_t len)
{
	pthread_once(&once, tables_build);
	if (wide && len >= WIDE_BYTES)
		return update_wide(state, buf, len);
	return hardware ? update_hardware(state, buf, len) : crc32c_update_table(state, buf, len);
}

uint32_t crc32c(const void *buf, size_t len)
{
	return crc32c_final(crc32c_update((uint32_t)CRC32C_INIT, buf, len));
}
