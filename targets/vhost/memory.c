/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: what the front end shares, as an immutable table by guest address; and the dirty
 * log of a migration. A table that replaces another keeps the mappings of regions that stay, which
 * are recognized by file, offset and addresses.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/dma.h"

/* ---- regions ---- */

static void region_put(struct vh_region *region)
{
	if (--region->users)
		return;
	if (region->dma)
		dma_unregister(region->map.base, region->map.bytes);
	vh_map_close(&region->map);
	free(region);
}

static struct vh_region *region_known(const struct vh_memory *old,
				      const struct vhost_user_region *wire, const struct stat *st)
{
	for (unsigned i = 0; old && i < old->count; i++) {
		struct vh_region *region = old->region[i];

		if (region->guest == le64_get(wire->guest_addr) &&
		    region->user == le64_get(wire->user_addr) &&
		    region->size == le64_get(wire->size) &&
		    region->offset == le64_get(wire->mmap_offset) &&
		    region->dev == st->st_dev && region->ino == st->st_ino)
			return region;
	}
	return NULL;
}

static int region_map(const struct vhost_user_region *wire, const struct stat *st, int fd,
		      struct vh_session *session, struct vh_region **out)
{
	struct vh_region *region;
	uint64_t end;
	int rc;

	/* neither address wraps within the region */
	if (add_overflows(le64_get(wire->guest_addr), le64_get(wire->size), &end) ||
	    add_overflows(le64_get(wire->user_addr), le64_get(wire->size), &end))
		return -EINVAL;
	region = calloc(1, sizeof(*region));
	if (!region)
		return -ENOMEM;
	region->guest = le64_get(wire->guest_addr);
	region->user = le64_get(wire->user_addr);
	region->size = le64_get(wire->size);
	region->offset = le64_get(wire->mmap_offset);
	region->dev = st->st_dev;
	region->ino = st->st_ino;
	rc = vh_map_open(&region->map, session, fd, region->offset, region->size);
	if (rc) {
		free(region);
		return rc;
	}
	region->host = region->map.at;
	region->dma = region->map.huge &&
		      dma_register(region->map.base, region->map.bytes) == 0;
	*out = region;
	return 0;
}

/* ---- tables ---- */

static int memory_add(struct vh_memory *memory, struct vh_region *region)
{
	unsigned at = memory->count;

	if (memory->count == VH_REGIONS_MAX)
		return -ENOSPC;
	while (at && memory->region[at - 1]->guest > region->guest)
		at--;
	if ((at && region->guest - memory->region[at - 1]->guest < memory->region[at - 1]->size) ||
	    (at < memory->count && memory->region[at]->guest - region->guest < region->size))
		return -EINVAL;
	memmove(memory->region + at + 1, memory->region + at,
		(memory->count - at) * sizeof(memory->region[0]));
	memory->region[at] = region;
	memory->count++;
	memory->dma &= region->dma;
	region->users++;
	return 0;
}

static int memory_open(struct vh_memory *memory, const struct vh_memory *old,
		       const struct vhost_user_region *wire, int fd, struct vh_session *session)
{
	struct vh_region *region;
	struct stat st;
	int rc;

	if (fstat(fd, &st))
		return -errno;
	region = region_known(old, wire, &st);
	if (!region) {
		rc = region_map(wire, &st, fd, session, &region);
		if (rc)
			return rc;
	}
	rc = memory_add(memory, region);
	if (rc && region->users == 0) {
		region->users = 1;
		region_put(region);
	}
	return rc;
}

int vh_memory_create(const struct vh_memory *old, const struct vhost_user_region *regions,
		     const int *fds, unsigned count, struct vh_session *session,
		     struct vh_memory **out)
{
	struct vh_memory *memory = calloc(1, sizeof(*memory));
	int rc = 0;

	if (!memory)
		return -ENOMEM;
	memory->dma = count > 0;
	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = memory_open(memory, old, &regions[i], fds[i], session);
	if (rc) {
		vh_memory_free(memory);
		return rc;
	}
	*out = memory;
	return 0;
}

int vh_memory_change(const struct vh_memory *old, const struct vhost_user_region *wire, int fd,
		     struct vh_session *session, struct vh_memory **out)
{
	struct vh_memory *memory = calloc(1, sizeof(*memory));
	bool found = false;
	int rc = 0;

	if (!memory)
		return -ENOMEM;
	memory->dma = true;
	for (unsigned i = 0; old && i < old->count; i++) {
		struct vh_region *region = old->region[i];

		/* one is removed by its addresses and size */
		if (fd < 0 && region->guest == le64_get(wire->guest_addr) &&
		    region->user == le64_get(wire->user_addr) &&
		    region->size == le64_get(wire->size))
			found = true;
		else
			memory_add(memory, region);
	}
	if (fd >= 0)
		rc = memory_open(memory, old, wire, fd, session);
	else if (!found)
		rc = -ENOENT;
	if (rc) {
		vh_memory_free(memory);
		return rc;
	}
	*out = memory;
	return 0;
}

void vh_memory_free(struct vh_memory *memory)
{
	if (!memory)
		return;
	for (unsigned i = 0; i < memory->count; i++)
		region_put(memory->region[i]);
	free(memory);
}

/* ---- addresses ---- */

/* There are few: the first is nearly always the one. */
const struct vh_region *vh_memory_region(const struct vh_memory *memory, uint64_t guest)
{
	static const struct vh_region none;

	for (unsigned i = 0; i < memory->count; i++) {
		const struct vh_region *region = memory->region[i];

		if (guest - region->guest < region->size)
			return region;
	}
	return &none;
}

unsigned vh_memory_translate(const struct vh_memory *memory, uint64_t guest, uint32_t len,
			     struct iovec *iov, unsigned max)
{
	unsigned count = 0;

	while (len) {
		const struct vh_region *region = vh_memory_region(memory, guest);
		uint64_t at;
		uint32_t part;

		if (unlikely(!region->size || count == max))
			return 0;
		at = guest - region->guest;
		part = (uint32_t)MIN(len, region->size - at);
		iov[count].iov_base = region->host + at;
		iov[count++].iov_len = part;
		len -= part;
		guest += part;
	}
	return count;
}

void *vh_memory_guest(const struct vh_memory *memory, uint64_t guest, uint64_t len)
{
	return vh_region_bytes(vh_memory_region(memory, guest), guest, len);
}

void *vh_memory_user(const struct vh_memory *memory, uint64_t user, uint64_t len, uint64_t *guest)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct vh_region *region = memory->region[i];
		uint64_t at = user - region->user;

		if (at >= region->size || len > region->size - at)
			continue;
		*guest = region->guest + at;
		return region->host + at;
	}
	return NULL;
}

/* ---- the dirty log ---- */

void vh_log_clear(struct vh_log *log)
{
	vh_map_close(&log->map);
	memset(log, 0, sizeof(*log));
}

int vh_log_set(struct vh_session *session, const struct vhost_user_log *base, int fd)
{
	struct vh_log *log = &session->log;
	uint64_t size = le64_get(base->mmap_size);
	struct vh_map map;
	int rc = vh_map_open(&map, session, fd, le64_get(base->mmap_offset), size);

	if (rc)
		return rc;
	vh_log_clear(log);
	log->map = map;
	log->bits = map.at;
	log->bytes = size;
	return 0;
}

void vh_log_guest(const struct vh_log *log, uint64_t guest, uint64_t len)
{
	uint64_t page = guest >> VHOST_USER_PAGE_SHIFT;
	uint64_t last = (guest + len - 1) >> VHOST_USER_PAGE_SHIFT;

	if (!log->bits || len == 0)
		return;
	for (; page <= last && page / 8 < log->bytes; page++)
		atomic_fetch_or(&log->bits[page / 8], (uint8_t)(1u << page % 8));
}

void vh_log_iov(const struct vh_log *log, const struct vh_memory *memory, const struct iovec *iov,
		unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const char *base = iov[i].iov_base;

		for (unsigned r = 0; r < memory->count; r++) {
			const struct vh_region *region = memory->region[r];

			if (base >= region->host && base < region->host + region->size)
				vh_log_guest(log, region->guest + (uint64_t)(base - region->host),
					     iov[i].iov_len);
		}
	}
}
