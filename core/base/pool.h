/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool of equal objects, sized once at start, last in first out so that the warm one is reused.
 * One owner: no locks. The data path takes objects from pools and nowhere else.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool {
	const char *name;
	size_t obj_bytes;
	uint32_t count, free_count, low_water;  /* low_water: fewest free ever seen */
	void **free;                            /* stack of free objects */
	void *memory;
};

/* Objects are zeroed once, aligned to 64 bytes, in ordinary memory. -ENOMEM. */
int pool_init(struct pool *p, const char *name, size_t obj_bytes, uint32_t count);
/* Every object must be back. */
void pool_fini(struct pool *p);

static inline void *pool_get(struct pool *p)
{
	if (p->free_count == 0)
		return NULL;
	if (--p->free_count < p->low_water)
		p->low_water = p->free_count;
	return p->free[p->free_count];
}

static inline void pool_put(struct pool *p, void *obj)
{
	p->free[p->free_count++] = obj;
}

#endif
