/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC-32C (Castagnoli, reflected 0x82F63B78), by SSE4.2 where the CPU has it, by table elsewhere:
 * same results.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The usual CRC: init ~0, final xor ~0. */
uint32_t crc32c(const void *buf, size_t len);

/* In pieces: state = CRC32C_INIT; state = crc32c_update(state, ...); crc = crc32c_final(state). */
enum { CRC32C_INIT = -1 };
uint32_t crc32c_update(uint32_t state, const void *buf, size_t len);
/* The same by tables only, whatever the CPU has; tests compare the two. */
uint32_t crc32c_update_table(uint32_t state, const void *buf, size_t len);
static inline uint32_t crc32c_final(uint32_t state)
{
	return ~state;
}

#endif
