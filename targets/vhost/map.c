/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of the front end in our memory: guest memory, the dirty log, in-flight memory. A part of a
 * file is checked against its size, mapped from the page in which it begins, and watched, because
 * the owner may cut the file at any moment (fault.c). What one session maps is bounded: address
 * space belongs to all of them.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PAGE_BYTES = 4096 };

/* Huge pages are mapped and unmapped whole: their size is what the file calls its block. */
static uint64_t page_bytes(const struct stat *st)
{
	uint64_t block = (uint64_t)st->st_blksize;

	return IS_POWER_OF_2(block) ? MAX(block, (uint64_t)PAGE_BYTES) : PAGE_BYTES;
}

int vh_map_open(struct vh_map *map, struct vh_session *session, int fd, uint64_t offset,
		uint64_t len)
{
	uint64_t end, start, bytes, page;
	struct stat st;
	void *base;
	int rc;

	if (len == 0 || add_overflows(offset, len, &end) || fstat(fd, &st) ||
	    !S_ISREG(st.st_mode) || end > (uint64_t)st.st_size)
		return -EINVAL;
	page = page_bytes(&st);
	start = ALIGN_DOWN(offset, page);
	bytes = ALIGN_UP(end, page) - start;
	if (bytes > VH_MAPPED_MAX - session->mapped)
		return -E2BIG;
	base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
	if (base == MAP_FAILED)
		return -errno;
	rc = vh_fault_watch(base, bytes, &session->cut);
	if (rc < 0) {
		munmap(base, bytes);
		return rc;
	}
	session->mapped += bytes;
	*map = (struct vh_map){
		.session = session, .base = base, .bytes = bytes,
		.at = (char *)base + (offset - start), .huge = page > PAGE_BYTES, .slot = rc,
	};
	return 0;
}

void vh_map_close(struct vh_map *map)
{
	if (!map->base)
		return;
	vh_fault_unwatch(map->slot);
	munmap(map->base, map->bytes);
	map->session->mapped -= map->bytes;
	map->base = NULL;
}
