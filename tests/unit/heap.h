/* SPDX-License-Identifier: BSD-3-Clause */
/* How much memory is in use: a call of the address sanitizer that gcc has no header for. */
#ifndef TESTS_HEAP_H
#define TESTS_HEAP_H

#include <stddef.h>

size_t __sanitizer_get_current_allocated_bytes(void);

#endif
