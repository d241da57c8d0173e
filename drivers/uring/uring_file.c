/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a file or a block device as a disk, and finding out what it can do. Everything here may
 * block and is called in a helper thread: no logs, no reactors; what is wrong is written down.
 *
 * A disk has its file alone: a regular file is locked (flock), a block device opened exclusively,
 * which fails while it is mounted. What fallocate can do with a regular file is tried behind its
 * end; what it can do with a block device is asked of sysfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/util.h"
#include "drivers/uring/uring.h"

enum { BLOCK_BYTES = 512, BLOCK_BYTES_MAX = 4096, PROBE_BYTES = 4096 };

__attribute__((format(printf, 3, 4)))
static int fail(struct uring_file *file, int rc, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(file->wrong, sizeof(file->wrong), fmt, args);
	va_end(args);
	return rc;
}

/* With O_DIRECT when the file takes it. */
static int open_file(struct uring_file *file, int flags)
{
	flags |= O_CLOEXEC | (file->readonly ? O_RDONLY : O_RDWR);
	file->fd = open(file->path, flags | O_DIRECT, 0600);
	file->direct = file->fd >= 0;
	if (file->fd < 0 && errno == EINVAL)
		file->fd = open(file->path, flags, 0600);
	return file->fd < 0 ? -errno : 0;
}

static int open_or_create(struct uring_file *file)
{
	struct stat st;
	int rc, flags = 0;

	if (stat(file->path, &st) == 0) {
		file->device = S_ISBLK(st.st_mode);
		if (!file->device && !S_ISREG(st.st_mode))
			return fail(file, -ENOTBLK, "%s is neither a file nor a block device",
				    file->path);
		if (file->device)
			flags = O_EXCL;
	} else if (errno == ENOENT && file->size_bytes && !file->readonly) {
		flags = O_CREAT | O_EXCL;
		file->created = true;
	} else if (errno == ENOENT) {
		return fail(file, -ENOENT, "there is no %s; give size= to make it", file->path);
	}
	rc = open_file(file, flags);
	if (rc == -EBUSY && file->device)
		return fail(file, rc, "%s is mounted or in use; unmount it", file->path);
	if (rc < 0)
		return fail(file, rc, "cannot open %s: %s", file->path, strerror(-rc));
	if (!file->device && flock(file->fd, (file->readonly ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		return fail(file, -EBUSY, "%s is a disk already, here or in another process",
			    file->path);
	return 0;
}

int64_t uring_file_size(const struct uring_file *file)
{
	struct stat st;
	uint64_t bytes;

	if (file->device)
		return ioctl(file->fd, BLKGETSIZE64, &bytes) < 0 ? -errno : (int64_t)bytes;
	return fstat(file->fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

/* Direct I/O wants everything in blocks of so many bytes. */
static int find_blocks(struct uring_file *file)
{
	int logical = BLOCK_BYTES;
	uint32_t align;

	if (file->device && ioctl(file->fd, BLKSSZGET, &logical) < 0)
		return fail(file, -errno, "%s does not tell its block size", file->path);
	align = uring_dio_align(file->fd);
	align = MAX(align, (uint32_t)logical);
	if (!file->block_bytes)
		file->block_bytes = align <= BLOCK_BYTES_MAX ? align : BLOCK_BYTES_MAX;
	file->align_bytes = align;
	if (align <= file->block_bytes && align <= BLOCK_BYTES_MAX)
		return 0;
	/* Smaller blocks than that go through the page cache. */
	if (file->device && file->block_bytes < (uint32_t)logical)
		return fail(file, -EINVAL, "%s has blocks of %d bytes; give block=%d", file->path,
			    logical, logical);
	if (file->direct && fcntl(file->fd, F_SETFL, fcntl(file->fd, F_GETFL) & ~O_DIRECT) < 0)
		return fail(file, -errno, "%s does not do without direct I/O: %s", file->path,
			    strerror(errno));
	file->direct = false;
	return 0;
}

static int find_size(struct uring_file *file)
{
	int64_t now = uring_file_size(file);
	uint64_t want = file->size_bytes;

	if (now < 0)
		return fail(file, now, "the size of %s is not known: %s", file->path,
			    strerror(-now));
	if (want > (uint64_t)now && (file->device || file->readonly))
		return fail(file, -ENOSPC, "%s has only %" PRId64 " bytes; leave size= out",
			    file->path, now);
	if (want && want < (uint64_t)now && !file->device)
		return fail(file, -EEXIST, "%s has %" PRId64 " bytes already and is not cut short; "
			    "leave size= out", file->path, now);
	if (want > (uint64_t)now && ftruncate(file->fd, want) < 0)
		return fail(file, -errno, "%s cannot grow to %" PRIu64 " bytes: %s", file->path,
			    want, strerror(errno));
	file->size_bytes = ALIGN_DOWN(want ? want : (uint64_t)now, file->block_bytes);
	if (file->size_bytes == 0)
		return fail(file, -EINVAL, "%s has not one block; give size=", file->path);
	return 0;
}

/* A number in the device's queue folder; a partition's is its disk's. 0 when there is none. */
static uint64_t queue_limit(int fd, const char *name)
{
	static const char *const forms[] = { "/sys/dev/block/%u:%u/queue/%s",
					     "/sys/dev/block/%u:%u/../queue/%s" };
	struct stat st;
	char path[96];
	uint64_t value = 0;

	if (fstat(fd, &st) < 0)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
		FILE *f;

		snprintf(path, sizeof(path), forms[i], major(st.st_rdev), minor(st.st_rdev), name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%" SCNu64, &value) != 1)
			value = 0;
		fclose(f);
		break;
	}
	return value;
}

static bool fallocate_works(const struct uring_file *file, int mode)
{
	off_t behind = ALIGN_UP(file->size_bytes, (uint64_t)PROBE_BYTES) + PROBE_BYTES;

	return fallocate(file->fd, mode | FALLOC_FL_KEEP_SIZE, behind, PROBE_BYTES) == 0;
}

static void find_ops(struct uring_file *file)
{
	bool punch, zero;

	file->ops = 1 << IO_READ | 1 << IO_FLUSH;
	if (file->readonly)
		return;
	if (file->device) {
		/* The kernel itself writes zeroes where the device cannot. */
		zero = true;
		punch = queue_limit(file->fd, "write_zeroes_max_bytes") > 0;
	} else {
		zero = fallocate_works(file, FALLOC_FL_ZERO_RANGE);
		punch = fallocate_works(file, FALLOC_FL_PUNCH_HOLE);
	}
	file->ops |= 1 << IO_WRITE;
	if (zero)
		file->ops |= 1 << IO_WRITE_ZEROES;
	if (punch)
		file->ops |= 1 << IO_UNMAP;
}

int uring_file_open(struct uring_file *file)
{
	int rc;

	file->fd = -1;
	rc = open_or_create(file);
	if (rc == 0)
		rc = find_blocks(file);
	if (rc == 0)
		rc = find_size(file);
	if (rc == 0) {
		find_ops(file);
		return 0;
	}
	if (file->fd >= 0)
		close(file->fd);
	if (file->fd >= 0 && file->created)
		unlink(file->path);
	file->fd = -1;
	return rc;
}
