/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RAM disks: one private mapping each, of pages that exist only once they are written (so that a
 * disk of 1 TiB costs nothing until it is filled) and that unmap gives back. No device ever reaches
 * the memory: an io is a copy, made by the reactor's lane later in the round. The time of a copy is
 * that of fetching memory that no cache has, so the next io's is asked for before this one's is
 * copied, and what is written goes past the caches.
 *
 * All reactors copy from and to the same memory. A block that is read while another reactor writes
 * it may come out as half old, half new; a host that cares orders its io. Compare-write is
 * exclusive all the same: this driver does not offer it, so that core/bdev_lock.c closes its range
 * to all writers.
 */
#include "drivers/ram/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/bytes.h"
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/bdev.h"
#include "core/task.h"

enum {
	RAM_PAGE_BYTES = 4096,
	RAM_BLOCK_BYTES = 512,
	/* in one piece: longer ones share their reactor with others between two of them */
	RAM_XFER_BYTES = 1 << 20,
	RAM_ZERO_BYTES = 16 << 20,
	RAM_ROUND_BYTES = 1 << 20,      /* none is begun after so many */
	RAM_HUGE_BYTES = 2 << 20,
	RAM_HUGE_SHARE = 8,             /* of the machine's memory may be behind huge pages */
};

struct ram_disk {
	struct bdev bdev;
	uint8_t *memory;
	size_t len_bytes;
	bool huge;
	struct list link;
};

/* What a reactor has to do for all RAM disks. */
struct ram_lane {
	struct poller poller;
	unsigned channels;
	struct list waiting;            /* struct io */
};

static struct list disks = LIST_INIT(disks);
static struct ram_lane lanes[REACTOR_MAX];
static uint64_t huge_bytes;             /* of disks on huge pages */

static struct ram_disk *ram_disk(const struct bdev *bdev)
{
	return container_of(bdev, struct ram_disk, bdev);
}

/* ---- io ---- */

static void ram_read(const struct io *io, const uint8_t *from)
{
	for (unsigned i = 0; i < io->iov_count; i++) {
		memcpy(io->iov[i].iov_base, from, io->iov[i].iov_len);
		from += io->iov[i].iov_len;
	}
}

static void ram_write(const struct io *io, uint8_t *to)
{
	for (unsigned i = 0; i < io->iov_count; i++) {
		bytes_stream(to, io->iov[i].iov_base, io->iov[i].iov_len);
		to += io->iov[i].iov_len;
	}
}

static enum io_status ram_compare(const struct io *io, const uint8_t *with)
{
	for (unsigned i = 0; i < io->iov_count; i++) {
		if (!bytes_equal(with, io->iov[i].iov_base, io->iov[i].iov_len))
			return IO_ERR_MISCOMPARE;
		with += io->iov[i].iov_len;
	}
	return IO_OK;
}

/* Whole pages go back to the system, which gives zeroes; the edges are cleared. */
static void ram_zero(uint8_t *from, size_t len, bool keep)
{
	uint8_t *first = (uint8_t *)ALIGN_UP((uintptr_t)from, (uintptr_t)RAM_PAGE_BYTES);
	uint8_t *last = (uint8_t *)ALIGN_DOWN((uintptr_t)from + len, (uintptr_t)RAM_PAGE_BYTES);

	if (keep || first >= last || madvise(first, last - first, MADV_DONTNEED) != 0) {
		memset(from, 0, len);
		return;
	}
	memset(from, 0, first - from);
	memset(last, 0, from + len - last);
}

static uint8_t *ram_at(const struct io *io)
{
	return ram_disk(io->chan->bdev)->memory + (io->lba << io->chan->bdev->block_shift);
}

/* What IO will read, as far as it makes sense to have it early. */
static void ram_ahead(const struct io *io)
{
	size_t len = MIN((size_t)io->lba_count << io->chan->bdev->block_shift, RAM_PAGE_BYTES);

	if (io->op != IO_READ)
		return;
	for (const uint8_t *at = ram_at(io), *end = at + len; at < end; at += CACHE_LINE)
		__builtin_prefetch(at, 0, 2);
}

static enum io_status ram_exec(const struct io *io)
{
	const struct ram_disk *disk = ram_disk(io->chan->bdev);
	uint8_t *at = ram_at(io);
	size_t len = (size_t)io->lba_count << disk->bdev.block_shift;

	switch (io->op) {
	case IO_READ:
		ram_read(io, at);
		break;
	case IO_WRITE:
		ram_write(io, at);
		break;
	case IO_COMPARE:
		return ram_compare(io, at);
	case IO_UNMAP:
		ram_zero(at, len, false);
		break;
	case IO_WRITE_ZEROES:
		ram_zero(at, len, io->flags & IO_NO_UNMAP);
		break;
	case IO_COPY:
		memcpy(at, disk->memory + (io->src_lba << disk->bdev.block_shift), len);
		break;
	default:
		return IO_ERR_UNSUPPORTED;
	}
	return IO_OK;
}

static void ram_submit(struct bdev_chan *chan, struct io *io)
{
	list_push(&lanes[chan->reactor].waiting, &io->link);
}

static int lane_poll(struct poller *poller)
{
	struct ram_lane *lane = container_of(poller, struct ram_lane, poller);
	uint64_t bytes = 0;
	struct io *io;
	int work = 0;

	while (bytes < RAM_ROUND_BYTES && (io = list_pop_entry(&lane->waiting, struct io, link))) {
		if (!list_empty(&lane->waiting))
			ram_ahead(list_first_entry(&lane->waiting, struct io, link));
		bytes += (uint64_t)io->lba_count << io->chan->bdev->block_shift;
		work++;
		io_complete(io, ram_exec(io));
	}
	if (work)
		bytes_stream_end();
	return work;
}

static enum poller_arm lane_arm(struct poller *poller)
{
	struct ram_lane *lane = container_of(poller, struct ram_lane, poller);

	return list_empty(&lane->waiting) ? POLLER_ARMED : POLLER_BUSY;
}

static int ram_chan_open(struct bdev_chan *chan)
{
	struct ram_lane *lane = &lanes[chan->reactor];

	if (lane->channels++)
		return 0;
	list_init(&lane->waiting);
	lane->poller = (struct poller){
		.name = "ram", .poll = lane_poll, .arm = lane_arm, .late = true,
	};
	poller_start(&lane->poller);
	return 0;
}

static void ram_chan_close(struct bdev_chan *chan)
{
	struct ram_lane *lane = &lanes[chan->reactor];

	if (--lane->channels == 0)
		poller_stop(&lane->poller);
}

/* ---- life ---- */

static void ram_destroy(struct bdev *bdev)
{
	struct ram_disk *disk = ram_disk(bdev);

	list_del(&disk->link);
	if (disk->huge)
		huge_bytes -= disk->len_bytes;
	munmap(disk->memory, disk->len_bytes);
	free(disk);
}

static int ram_remove(struct bdev *bdev)
{
	bdev_unregister(bdev);
	return 0;
}

static void ram_config(struct bdev *bdev, struct config_out *out)
{
	config_line(out, "disk create ram %s size=%" PRIu64 " block=%u", bdev->name,
		    bdev->block_count * bdev->block_bytes, bdev->block_bytes);
}

static const struct bdev_ops ram_ops = {
	.chan_open = ram_chan_open,
	.chan_close = ram_chan_close,
	.submit = ram_submit,
	.destroy = ram_destroy,
	.config = ram_config,
	.remove = ram_remove,
};

/*
 * Huge pages spare a walk through the page tables for each request, and exist as a whole once a
 * byte of them is written: they are for disks that are small beside the machine's memory.
 */
static void ram_huge(struct ram_disk *disk)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * RAM_PAGE_BYTES;

	if (disk->len_bytes < RAM_HUGE_BYTES ||
	    disk->len_bytes > memory / RAM_HUGE_SHARE - MIN(huge_bytes, memory / RAM_HUGE_SHARE))
		return;
	if (madvise(disk->memory, disk->len_bytes, MADV_HUGEPAGE))
		return;
	disk->huge = true;
	huge_bytes += disk->len_bytes;
}

static int ram_create(const char *name, uint64_t size, uint32_t block)
{
	struct ram_disk *disk = calloc(1, sizeof(*disk));
	int rc;

	if (!disk)
		return -ENOMEM;
	disk->memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (disk->memory == MAP_FAILED) {
		free(disk);
		return -ENOMEM;
	}
	disk->len_bytes = size;
	ram_huge(disk);
	disk->bdev = (struct bdev){
		.driver = "ram",
		.ops = &ram_ops,
		.block_bytes = block,
		.block_count = size / block,
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_UNMAP |
				 1 << IO_WRITE_ZEROES | 1 << IO_COMPARE | 1 << IO_COPY,
		.unmap_zeroes = true,
		.limits = {
			.xfer_bytes_max = RAM_XFER_BYTES,
			.unmap_blocks_max = RAM_ZERO_BYTES / block,
			.write_zeroes_blocks_max = RAM_ZERO_BYTES / block,
		},
		.optimal_blocks = RAM_PAGE_BYTES / MIN(block, RAM_PAGE_BYTES),
		.model = "Karst RAM disk",
	};
	snprintf(disk->bdev.name, sizeof(disk->bdev.name), "%s", name);
	list_push(&disks, &disk->link);
	rc = bdev_register(&disk->bdev);
	if (rc < 0)
		ram_destroy(&disk->bdev);
	return rc;
}

int ram_init(void)
{
	return 0;
}

void ram_fini(void)
{
	struct ram_disk *disk;

	while ((disk = list_first_entry(&disks, struct ram_disk, link))) {
		if (disk->bdev.removing)
			task_yield();
		else
			bdev_unregister(&disk->bdev);
	}
}

/* ---- command ---- */

static int cmd_create(struct cmd_ctx *ctx)
{
	const char *name = cmd_str(ctx, "name");
	uint64_t size = cmd_u64(ctx, "size", 0);
	uint64_t block = cmd_u64(ctx, "block", RAM_BLOCK_BYTES);
	int rc;

	if (!IS_POWER_OF_2(block))
		return cmd_fail(ctx, -EINVAL, "disk %s: block=%" PRIu64 " is not a power of two; "
				"use 512 or 4096", name, block);
	if (size % block)
		return cmd_fail(ctx, -EINVAL, "disk %s: size=%" PRIu64 " is not a multiple of the "
				"block size %" PRIu64 "; round it", name, size, block);
	if (strlen(name) >= BDEV_NAME_BYTES || strchr(name, '/'))
		return cmd_fail(ctx, -EINVAL, "disk %s: no such name for a disk; use at most %d "
				"letters, digits, - _ .", name, BDEV_NAME_BYTES - 1);
	rc = ram_create(name, size, block);
	if (rc == -EEXIST)
		return cmd_fail(ctx, rc, "disk %s: exists already; choose another name", name);
	if (rc == -ENOMEM)
		return cmd_fail(ctx, rc, "disk %s: not enough memory; choose a smaller size", name);
	if (rc < 0)
		return cmd_fail(ctx, rc, "disk %s: cannot be made: %s; see log show", name,
				strerror(-rc));
	return 0;
}

static const struct cmd_arg create_args[] = {
	{ .name = "name", .type = CMD_NAME, .required = true, .help = "name of the new disk" },
	{ .name = "size", .type = CMD_SIZE, .keyed = true, .required = true, .min = 512,
	  .max = 1ULL << 46, .help = "capacity; memory is taken when it is written" },
	{ .name = "block", .type = CMD_SIZE, .keyed = true, .min = 512, .max = 65536,
	  .help = "block size: 512 (default) … 64K, a power of two" },
	{ 0 },
};

const struct cmd ram_cmds[] = {
	{ "disk", "create ram", "Make a disk in memory", create_args, cmd_create },
	{ 0 },
};
