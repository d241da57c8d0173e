/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory in bulk. Comparing: eight words at a time, which compilers turn into vector code; the C
 * library's memcmp may be bytewise and tells more than is asked here. Copying past the caches:
 * what is not read again soon need not be fetched to be overwritten, which halves the traffic.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>

bool bytes_equal(const void *a, const void *b, size_t len);
bool bytes_zero(const void *a, size_t len);

/* As memcpy, for long copies to memory that is cold. Others may see it after bytes_stream_end(). */
void bytes_stream(void *to, const void *from, size_t len);
void bytes_stream_end(void);

#endif
