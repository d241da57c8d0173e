/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools: one slab of equal objects, each on its own cache lines, and a stack of the free ones. */
#include "core/base/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/base/util.h"

int pool_init(struct pool *p, const char *name, size_t obj_bytes, uint32_t count)
{
	size_t stride = ALIGN_UP(MAX(obj_bytes, 1), CACHE_LINE), bytes;

	*p = (struct pool){ .name = name, .obj_bytes = obj_bytes };
	if (count == 0)
		return 0;
	if (mul_overflows(stride, (size_t)count, &bytes))
		return -ENOMEM;
	p->free = calloc(count, sizeof(*p->free));
	p->memory = aligned_alloc(CACHE_LINE, bytes);
	if (!p->free || !p->memory) {
		free(p->free);
		free(p->memory);
		p->free = NULL;
		p->memory = NULL;
		return -ENOMEM;
	}
	memset(p->memory, 0, bytes);
	/* the first object is on top */
	for (uint32_t i = 0; i < count; i++)
		p->free[i] = (char *)p->memory + stride * (count - 1 - i);
	p->count = p->free_count = p->low_water = count;
	return 0;
}

void pool_fini(struct pool *p)
{
	ASSERT_MSG(p->free_count == p->count, "pool %s: %u of %u objects are missing at the end",
		   p->name, p->count - p->free_count, p->count);
	free(p->free);
	free(p->memory);
	*p = (struct pool){ .name = p->name };
}
