/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-blk (virtio 1.2, 5.2): a disk as the guest's block device. Requests count in sectors of
 * 512 bytes, disks in their own blocks: what is not a whole block is an error of the guest.
 */
#include "targets/vhost/req.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/bdev.h"
#include "core/cmd.h"

enum {
	BLK_RANGES_MAX = 16,            /* segments of a discard or write-zeroes */
	BLK_RANGE_SECTORS_MAX = 1 << 22,
	/* beside header and status; a segment may cross from region to region */
	BLK_SEG_MAX = VH_IOV_MAX - 2 - VH_REGIONS_MAX,
	BLK_STATUS_BYTES = 1,
	WRITEBACK_AT = offsetof(struct virtio_blk_config, writeback),
};

struct vh_blk {
	struct vh_device dev;
	struct bdev_user user;
	bool readonly;
	_Atomic bool write_through;     /* writes are durable when they are done */
};

struct blk_req {
	struct vh_req req;
	struct io io;
	struct iovec status;
	uint32_t written;               /* data that the guest gets */
	uint8_t range, range_count;
	struct virtio_blk_range ranges[BLK_RANGES_MAX];
};

static struct vh_blk *blk_of(const struct vh_device *dev)
{
	return container_of(dev, struct vh_blk, dev);
}

/* ---- the end of a request ---- */

static void blk_end(struct blk_req *blk, enum virtio_blk_status status)
{
	*(volatile uint8_t *)blk->status.iov_base = (uint8_t)status;
	vh_req_wrote(&blk->req, &blk->status, 1);
	vh_req_done(&blk->req, (status == VIRTIO_BLK_S_OK ? blk->written : 0) + BLK_STATUS_BYTES);
}

static enum virtio_blk_status blk_status(enum io_status status)
{
	return status == IO_OK ? VIRTIO_BLK_S_OK :
	       status == IO_ERR_UNSUPPORTED ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

static void blk_io_done(struct io *io)
{
	blk_end(container_of(io, struct blk_req, io), blk_status(io->status));
}

/* ---- reads and writes ---- */

/* The blocks of BYTES at SECTOR; false: they are none, or not all on the disk. */
static bool blk_range(const struct bdev *bdev, uint64_t sector, uint64_t bytes, struct io *io)
{
	uint64_t at;

	if (mul_overflows(sector, 1ull << VIRTIO_BLK_SECTOR_SHIFT, &at) || bytes == 0 ||
	    ((at | bytes) & (bdev->block_bytes - 1)))
		return false;
	io->lba = at >> bdev->block_shift;
	io->lba_count = (uint32_t)(bytes >> bdev->block_shift);
	return io->lba <= bdev->block_count && io->lba_count <= bdev->block_count - io->lba;
}

static void blk_transfer(struct blk_req *blk, const struct vh_blk *dev, bool writes,
			 uint64_t sector)
{
	struct vh_req *req = &blk->req;
	struct io *io = &blk->io;
	uint32_t bytes = writes ? req->out_bytes : req->in_bytes;

	if (unlikely(!blk_range(dev->user.bdev, sector, bytes, io) || (writes && dev->readonly))) {
		blk_end(blk, VIRTIO_BLK_S_IOERR);
		return;
	}
	io->op = writes ? IO_WRITE : IO_READ;
	io->flags = req->queue->memory->dma ? 0 : IO_FOREIGN;
	if (writes && atomic_load_explicit(&dev->write_through, memory_order_relaxed))
		io->flags |= IO_FUA;
	io->iov = writes ? req->out : req->in;
	io->iov_count = writes ? req->out_count : req->in_count;
	io->done = blk_io_done;
	blk->written = writes ? 0 : bytes;
	bdev_submit(bdev_chan(dev->user.bdev), io);
}

/* ---- discard and write zeroes ---- */

static void blk_ranges_step(struct blk_req *blk);

static void blk_range_done(struct io *io)
{
	struct blk_req *blk = container_of(io, struct blk_req, io);

	if (io->status == IO_OK)
		blk_ranges_step(blk);
	else
		blk_end(blk, blk_status(io->status));
}

static void blk_ranges_step(struct blk_req *blk)
{
	const struct vh_blk *dev = blk_of(blk->req.queue->session->dev);
	const struct virtio_blk_range *range = &blk->ranges[blk->range];
	uint64_t bytes;

	if (blk->range == blk->range_count) {
		blk_end(blk, VIRTIO_BLK_S_OK);
		return;
	}
	blk->range++;
	bytes = (uint64_t)le32_get(range->num_sectors) << VIRTIO_BLK_SECTOR_SHIFT;
	if (!blk_range(dev->user.bdev, le64_get(range->sector), bytes, &blk->io)) {
		blk_end(blk, VIRTIO_BLK_S_IOERR);
		return;
	}
	blk->io.flags = le32_get(range->flags) & VIRTIO_BLK_DWZ_UNMAP ? 0 : IO_NO_UNMAP;
	if (blk->io.op == IO_WRITE_ZEROES && atomic_load(&dev->write_through))
		blk->io.flags |= IO_FUA;
	blk->io.iov_count = 0;
	blk->io.done = blk_range_done;
	bdev_submit(bdev_chan(dev->user.bdev), &blk->io);
}

/* 5.2.6.2: a flag that is not known is unsupported, a range that does not fit an error. */
static enum virtio_blk_status blk_ranges_check(struct blk_req *blk, const struct vh_blk *dev,
					       enum io_op op)
{
	uint32_t known = op == IO_WRITE_ZEROES ? VIRTIO_BLK_DWZ_UNMAP : 0;
	struct io probe;

	for (unsigned i = 0; i < blk->range_count; i++) {
		const struct virtio_blk_range *range = &blk->ranges[i];
		uint32_t sectors = le32_get(range->num_sectors);

		if (le32_get(range->flags) & ~known)
			return VIRTIO_BLK_S_UNSUPP;
		if (sectors > BLK_RANGE_SECTORS_MAX ||
		    !blk_range(dev->user.bdev, le64_get(range->sector),
			       (uint64_t)sectors << VIRTIO_BLK_SECTOR_SHIFT, &probe))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static void blk_ranges(struct blk_req *blk, const struct vh_blk *dev, enum io_op op)
{
	uint32_t bytes = blk->req.out_bytes;
	enum virtio_blk_status status;

	if (!bdev_supports(dev->user.bdev, op)) {
		blk_end(blk, VIRTIO_BLK_S_UNSUPP);
		return;
	}
	if (bytes == 0 || bytes % sizeof(blk->ranges[0]) || bytes > sizeof(blk->ranges) ||
	    dev->readonly) {
		blk_end(blk, VIRTIO_BLK_S_IOERR);
		return;
	}
	vh_req_take(&blk->req, blk->ranges, bytes);
	blk->range_count = (uint8_t)(bytes / sizeof(blk->ranges[0]));
	blk->range = 0;
	status = blk_ranges_check(blk, dev, op);
	if (status != VIRTIO_BLK_S_OK) {
		blk_end(blk, status);
		return;
	}
	blk->io.op = (uint8_t)op;
	blk_ranges_step(blk);
}

/* ---- the rest ---- */

static void blk_flush(struct blk_req *blk, const struct vh_blk *dev)
{
	if (!dev->user.bdev->volatile_cache || dev->readonly) {
		blk_end(blk, VIRTIO_BLK_S_OK);
		return;
	}
	blk->io.op = IO_FLUSH;
	blk->io.flags = 0;
	blk->io.lba = 0;
	blk->io.lba_count = 0;
	blk->io.iov_count = 0;
	blk->io.done = blk_io_done;
	bdev_submit(bdev_chan(dev->user.bdev), &blk->io);
}

/* 20 bytes, ended by a zero only when shorter. 5.2.6 */
static void blk_get_id(struct blk_req *blk, const struct vh_blk *dev)
{
	char id[VIRTIO_BLK_ID_BYTES] = { 0 };
	struct iovec piece[VIRTIO_BLK_ID_BYTES];
	const struct bdev *bdev = dev->user.bdev;
	const char *text = bdev->serial[0] ? bdev->serial : bdev->name;
	unsigned count = vh_req_take_front(&blk->req, sizeof(id), piece, ARRAY_SIZE(piece));

	if (count == 0) {
		blk_end(blk, VIRTIO_BLK_S_IOERR);
		return;
	}
	memcpy(id, text, MIN(strlen(text), sizeof(id)));
	vh_scatter(&blk->req, piece, count, id, sizeof(id));
	blk->written = sizeof(id);
	blk_end(blk, VIRTIO_BLK_S_OK);
}

static void blk_exec(struct vh_req *req)
{
	struct blk_req *blk = container_of(req, struct blk_req, req);
	const struct vh_blk *dev = blk_of(req->queue->session->dev);
	struct virtio_blk_header header;

	blk->written = 0;
	if (unlikely(!vh_req_take(req, &header, sizeof(header)) ||
		     vh_req_take_back(req, BLK_STATUS_BYTES, &blk->status, 1) == 0)) {
		vh_queue_break(req->queue, "a request without header or status");
		vh_req_done(req, 0);
		return;
	}
	switch (le32_get(header.type)) {
	case VIRTIO_BLK_T_IN:
		blk_transfer(blk, dev, false, le64_get(header.sector));
		break;
	case VIRTIO_BLK_T_OUT:
		blk_transfer(blk, dev, true, le64_get(header.sector));
		break;
	case VIRTIO_BLK_T_FLUSH:
		blk_flush(blk, dev);
		break;
	case VIRTIO_BLK_T_GET_ID:
		blk_get_id(blk, dev);
		break;
	case VIRTIO_BLK_T_DISCARD:
		blk_ranges(blk, dev, IO_UNMAP);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		blk_ranges(blk, dev, IO_WRITE_ZEROES);
		break;
	default:
		blk_end(blk, VIRTIO_BLK_S_UNSUPP);
		break;
	}
}

/* ---- features and configuration ---- */

static uint64_t blk_features(const struct vh_device *vhost)
{
	const struct vh_blk *dev = blk_of(vhost);
	uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
			    1ull << VIRTIO_BLK_F_TOPOLOGY | 1ull << VIRTIO_BLK_F_MQ |
			    1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_CONFIG_WCE;

	if (dev->readonly)
		return features | 1ull << VIRTIO_BLK_F_RO;
	if (bdev_supports(dev->user.bdev, IO_UNMAP))
		features |= 1ull << VIRTIO_BLK_F_DISCARD;
	if (bdev_supports(dev->user.bdev, IO_WRITE_ZEROES))
		features |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	return features;
}

static size_t blk_config_get(const struct vh_device *vhost, uint8_t space[VHOST_USER_CONFIG_MAX])
{
	const struct vh_blk *dev = blk_of(vhost);
	const struct bdev *bdev = dev->user.bdev;
	uint32_t sectors = bdev->block_bytes >> VIRTIO_BLK_SECTOR_SHIFT;
	struct virtio_blk_config config = {
		.capacity = le64_make(bdev->block_count * sectors),
		.seg_max = le32_make(BLK_SEG_MAX),
		.blk_size = le32_make(bdev->block_bytes),
		.min_io_size = le16_make(1),
		.opt_io_size = le32_make(bdev->optimal_blocks),
		.writeback = !atomic_load(&dev->write_through),
		.num_queues = le16_make((uint16_t)vhost->queue_count),
	};

	if (bdev_supports(bdev, IO_UNMAP)) {
		config.max_discard_sectors = le32_make(BLK_RANGE_SECTORS_MAX);
		config.max_discard_seg = le32_make(BLK_RANGES_MAX);
		config.discard_sector_alignment = le32_make(sectors);
	}
	config.max_write_zeroes_sectors = le32_make(BLK_RANGE_SECTORS_MAX);
	config.max_write_zeroes_seg = le32_make(BLK_RANGES_MAX);
	config.write_zeroes_may_unmap = bdev->unmap_zeroes;
	memcpy(space, &config, sizeof(config));
	return sizeof(config);
}

static int blk_config_set(struct vh_device *vhost, unsigned offset, const uint8_t *data, size_t len)
{
	if (offset != WRITEBACK_AT || len != 1 || data[0] > 1)
		return -EINVAL;
	atomic_store(&blk_of(vhost)->write_through, !data[0]);
	return 0;
}

/* 5.2.6.2: a driver that cannot flush, nor choose, gets writes that last. */
static void blk_negotiated(struct vh_device *vhost, uint64_t features)
{
	uint64_t either = 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_CONFIG_WCE;

	atomic_store(&blk_of(vhost)->write_through, features && !(features & either));
}

/* ---- life ---- */

static void blk_destroy(struct vh_device *vhost)
{
	struct vh_blk *dev = blk_of(vhost);

	bdev_close(&dev->user);
	free(dev);
}

static void blk_event(struct bdev_user *user, enum bdev_event event)
{
	struct vh_blk *dev = container_of(user, struct vh_blk, user);

	switch (event) {
	case BDEV_REMOVED:
		log_warn("vhost %s: disk %s goes away, and the device with it",
			 dev->dev.options.name, user->bdev->name);
		vh_device_delete_soon(&dev->dev);
		break;
	case BDEV_RESIZED:
		vh_device_config_changed(&dev->dev);
		break;
	case BDEV_THRESHOLD:
	case BDEV_HEALTH:
		break;
	}
}

static void blk_config(const struct vh_device *vhost, struct config_out *out)
{
	const struct vh_blk *dev = blk_of(vhost);
	char name[2 * VH_NAME_BYTES], disk[2 * BDEV_NAME_BYTES], rest[256];

	vh_options_text(&vhost->options, rest, sizeof(rest));
	config_line(out, "vhost create blk %s disk=%s%s%s",
		    cmd_quote(vhost->options.name, name, sizeof(name)),
		    cmd_quote(dev->user.bdev->name, disk, sizeof(disk)),
		    dev->readonly && !dev->user.bdev->readonly ? " readonly" : "", rest);
}

static void blk_show(const struct vh_device *vhost, struct cmd_ctx *ctx)
{
	const struct vh_blk *dev = blk_of(vhost);

	cmd_col(ctx, "disk", "%s", dev->user.bdev->name);
	cmd_col_bool(ctx, "readonly", dev->readonly);
	cmd_col_bool(ctx, "writeback", !atomic_load(&dev->write_through));
}

const struct vh_device_ops vh_blk_ops = {
	.kind = "blk",
	.request_bytes = sizeof(struct blk_req),
	.features = blk_features,
	.config_get = blk_config_get,
	.config_set = blk_config_set,
	.exec = blk_exec,
	.negotiated = blk_negotiated,
	.destroy = blk_destroy,
	.config = blk_config,
	.show = blk_show,
};

int vh_blk_create(const struct vh_options *options, const char *disk, bool readonly)
{
	struct vh_blk *dev = calloc(1, sizeof(*dev));
	int rc;

	if (!dev)
		return -ENOMEM;
	dev->user.event = blk_event;
	dev->user.write = !readonly;
	snprintf(dev->user.who, sizeof(dev->user.who), "vhost %.50s", options->name);
	rc = bdev_open(disk, &dev->user);
	if (rc == -EROFS) {
		dev->user.write = false;
		rc = bdev_open(disk, &dev->user);
	}
	if (rc)
		goto fail;
	dev->readonly = readonly || dev->user.bdev->readonly;
	rc = vh_device_start(&dev->dev, &vh_blk_ops, options);
	if (rc == 0)
		return 0;
	bdev_close(&dev->user);
fail:
	free(dev);
	return rc;
}
