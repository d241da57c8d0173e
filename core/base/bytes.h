/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Comparing memory in bulk: eight words at a time, which compilers turn into vector code. The C
 * library's memcmp may be bytewise and tells more than is asked here.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

bool bytes_equal(const void *a, const void *b, size_t len);
bool bytes_zero(const void *a, size_t len);

#endif
