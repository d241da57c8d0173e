/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The map of a blob: an array of extents, each with an array of 512 clusters that exists once one
 * of them is mapped. Readers on other reactors see entries change one by one; see struct blob_map.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob/blob.h"
#include "core/base/panic.h"

struct blob_map *blob_map_create(uint64_t cluster_count)
{
	uint64_t extents = div_round_up(cluster_count, BS_EXTENT_CLUSTERS);
	struct blob_map *map;

	if (extents > UINT32_MAX)
		return NULL;
	map = calloc(1, sizeof(*map) + extents * sizeof(map->extent[0]));
	if (!map)
		return NULL;
	map->cluster_count = cluster_count;
	map->extent_count = (uint32_t)extents;
	return map;
}

void blob_map_destroy(struct blob_map *map)
{
	if (!map)
		return;
	for (uint32_t e = 0; e < map->extent_count; e++)
		free(map->extent[e].cluster);
	free(map);
}

struct blob_map *blob_map_resized(const struct blob_map *map, uint64_t cluster_count)
{
	struct blob_map *resized = blob_map_create(cluster_count);

	if (resized)
		memcpy(resized->extent, map->extent,
		       MIN(map->extent_count, resized->extent_count) * sizeof(map->extent[0]));
	return resized;
}

void blob_map_free_shell(struct blob_map *map)
{
	free(map);
}

int blob_map_reserve(struct blob_map *map, uint64_t c)
{
	struct blob_extent *e = &map->extent[c / BS_EXTENT_CLUSTERS];
	uint32_t *cluster;

	ASSERT(c < map->cluster_count);
	if (e->cluster)
		return 0;
	cluster = calloc(BS_EXTENT_CLUSTERS, sizeof(*cluster));
	if (!cluster)
		return -ENOMEM;
	__atomic_store_n(&e->cluster, cluster, __ATOMIC_RELEASE);
	return 0;
}

uint32_t blob_map_set(struct blob_map *map, uint64_t c, uint32_t cluster)
{
	struct blob_extent *e = &map->extent[c / BS_EXTENT_CLUSTERS];
	uint32_t *at, old;

	ASSERT(c < map->cluster_count && (e->cluster || cluster == 0));
	if (!e->cluster)
		return 0;
	at = &e->cluster[c % BS_EXTENT_CLUSTERS];
	old = *at;
	e->mapped += (cluster != 0) - (old != 0);
	__atomic_store_n(at, cluster, __ATOMIC_RELEASE);
	return old;
}

uint64_t blob_map_mapped(const struct blob_map *map)
{
	uint64_t sum = 0;

	for (uint32_t e = 0; e < map->extent_count; e++)
		sum += map->extent[e].mapped;
	return sum;
}
