/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Integers of wire and disk formats. Each is a struct, so that the compiler refuses raw use: decode
 * with X_get(), encode with X_make(). Alignment is natural except in the leN_un forms, for formats
 * that others packed.
 */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Karst runs on little-endian machines only"
#endif

#define ENDIAN_TYPE(name, bits, conv, attr) \
	typedef struct { uint##bits##_t raw; } attr name; \
	static inline uint##bits##_t name##_get(name v) { return conv(v.raw); } \
	static inline name name##_make(uint##bits##_t v) { return (name){ conv(v) }; }

#define ENDIAN_SAME(v) (v)
#define ENDIAN_PACKED __attribute__((packed))

ENDIAN_TYPE(le16, 16, ENDIAN_SAME, )
ENDIAN_TYPE(le32, 32, ENDIAN_SAME, )
ENDIAN_TYPE(le64, 64, ENDIAN_SAME, )
ENDIAN_TYPE(be16, 16, __builtin_bswap16, )
ENDIAN_TYPE(be32, 32, __builtin_bswap32, )
ENDIAN_TYPE(be64, 64, __builtin_bswap64, )
ENDIAN_TYPE(le16_un, 16, ENDIAN_SAME, ENDIAN_PACKED)
ENDIAN_TYPE(le32_un, 32, ENDIAN_SAME, ENDIAN_PACKED)
ENDIAN_TYPE(le64_un, 64, ENDIAN_SAME, ENDIAN_PACKED)

/* COUNT of them at once: they are as the machine has them. */
static inline void le32_un_load(uint32_t *to, const le32_un *from, size_t count)
{
	memcpy(to, from, count * sizeof(*to));
}

#endif
