/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A namespace as a disk: what its bdev promises, an io as a command, and the paths that lead to it.
 * The disk takes its name from the controller that found it first; controllers of the same
 * subsystem that find the same identity later add paths. NVM command set 1.0c 3.2.
 *
 * Paths and disks are reactor 0's. A disk is unregistered by a task of its own, because its users
 * may need the keeper to go on: with io that wait for a connection.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/remote/remote.h"

enum { NLB_MAX = 65536 };

static struct list disks = LIST_INIT(disks);

/* ---- an io as a command ---- */

static void encode_unmap(struct remote_slot *slot, const struct io *io, struct nvme_sqe *sqe)
{
	slot->range = (struct nvme_dsm_range){
		.nlb = le32_make(io->lba_count), .slba = le64_make(io->lba),
	};
	slot->range_iov = (struct iovec){ &slot->range, sizeof(slot->range) };
	slot->dir = REMOTE_OUT;
	slot->iov = &slot->range_iov;
	slot->len = sizeof(slot->range);
	sqe->cdw11 = le32_make(NVME_DSM_AD);
}

bool remote_disk_encode(struct remote_slot *slot, struct io *io, struct nvme_sqe *sqe)
{
	static const uint8_t opcodes[IO_OP_COUNT] = {
		[IO_READ] = NVME_NVM_READ,
		[IO_WRITE] = NVME_NVM_WRITE,
		[IO_FLUSH] = NVME_NVM_FLUSH,
		[IO_UNMAP] = NVME_NVM_DSM,
		[IO_WRITE_ZEROES] = NVME_NVM_WRITE_ZEROES,
		[IO_COMPARE] = NVME_NVM_COMPARE,
	};
	const struct bdev *bdev = io->chan->bdev;
	struct remote_io *n = remote_io_of(io);
	uint32_t flags = io->flags & IO_FUA ? NVME_RW_FUA : 0;

	*sqe = (struct nvme_sqe){ .opc = opcodes[io->op], .nsid = le32_make(n->route->nsid) };
	n->taken_us = (uint32_t)reactor_now_us();
	slot->dir = REMOTE_NONE;
	slot->iov = io->iov;
	slot->len = 0;
	switch (io->op) {
	case IO_READ:
		slot->dir = REMOTE_IN;
		slot->len = io->lba_count << bdev->block_shift;
		flags = 0;
		break;
	case IO_COMPARE:
		flags = 0;
		/* fall through */
	case IO_WRITE:
		slot->dir = REMOTE_OUT;
		slot->len = io->lba_count << bdev->block_shift;
		break;
	case IO_WRITE_ZEROES:
		if (!(io->flags & IO_NO_UNMAP) &&
		    container_of(bdev, struct remote_disk, bdev)->info.write_zeroes_unmaps)
			flags |= NVME_RW_DEAC;
		break;
	case IO_UNMAP:
		encode_unmap(slot, io, sqe);
		return true;
	case IO_FLUSH:
		return true;
	default:
		return false;
	}
	sqe->slba = le64_make(io->lba);
	sqe->rw_cdw12 = le32_make((io->lba_count - 1) | flags);
	return true;
}

/* ---- channels ---- */

static int disk_chan_open(struct bdev_chan *chan)
{
	const struct remote_disk *d = container_of(chan->bdev, struct remote_disk, bdev);
	struct remote_chan *rc = chan->priv;

	remote_chan_open(rc, chan);
	/* whoever registers the disk is its only path, and waits */
	remote_route_set(rc, d->paths[0]);
	return 0;
}

static void disk_chan_close(struct bdev_chan *chan)
{
	remote_chan_close(chan->priv);
}

static void disk_submit(struct bdev_chan *chan, struct io *io)
{
	remote_chan_submit(chan->priv, io);
}

static void path_free(struct remote_path *path)
{
	struct remote_ctrl *c = path->ctrl;

	/* other reactors may be reading the list: remote_paths_publish */
	task_lock(&c->paths_lock);
	path->disk->paths[path->index] = NULL;
	list_del(&path->link);
	c->path_count--;
	task_unlock(&c->paths_lock);
	free(path);
	/* its namespace may come again, and who detaches waits for the last path */
	remote_ctrl_want(c, REMOTE_WANT_SCAN);
	remote_ctrl_wake(c);
}

static void disk_destroy(struct bdev *bdev)
{
	struct remote_disk *d = container_of(bdev, struct remote_disk, bdev);

	for (unsigned i = 0; i < REMOTE_PATHS_MAX; i++)
		if (d->paths[i])
			path_free(d->paths[i]);
	list_del(&d->link);
	free(d);
}

static void disk_show(struct bdev *bdev, struct cmd_ctx *ctx)
{
	const struct remote_disk *d = container_of(bdev, struct remote_disk, bdev);

	cmd_col(ctx, "nqn", "%s", d->subnqn);
	cmd_col_u64(ctx, "paths", remote_disk_paths(d));
	cmd_col(ctx, "policy", "%s", d->policy == REMOTE_QUEUE_DEPTH ? "queue-depth"
								     : "round-robin");
}

static const struct bdev_ops disk_ops = {
	.chan_open = disk_chan_open,
	.chan_close = disk_chan_close,
	.submit = disk_submit,
	.destroy = disk_destroy,
	.show = disk_show,
};

struct remote_disk *remote_disk_of(struct bdev *bdev)
{
	return bdev->ops == &disk_ops ? container_of(bdev, struct remote_disk, bdev) : NULL;
}

struct remote_disk *remote_disk_next(const struct remote_disk *prev)
{
	const struct list *next = prev ? prev->link.next : disks.next;

	return next == &disks ? NULL : list_entry(next, struct remote_disk, link);
}

unsigned remote_disk_paths(const struct remote_disk *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < REMOTE_PATHS_MAX; i++)
		n += d->paths[i] && !d->paths[i]->withdrawn;
	return n;
}

/* ---- a new disk ---- */

static uint32_t ops_of(const struct remote_ctrl *c)
{
	uint32_t ops = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH;

	if (c->info.oncs & NVME_ONCS_DSM)
		ops |= 1 << IO_UNMAP;
	if (c->info.oncs & NVME_ONCS_WRITE_ZEROES)
		ops |= 1 << IO_WRITE_ZEROES;
	if (c->info.oncs & NVME_ONCS_COMPARE)
		ops |= 1 << IO_COMPARE;
	return ops;
}

static void bdev_fill(struct remote_disk *d, const struct remote_ctrl *c, uint32_t nsid)
{
	const struct nvme_ns_info *info = &d->info;
	struct bdev *b = &d->bdev;

	snprintf(b->name, sizeof(b->name), "%sn%u", c->opt.name, nsid);
	b->driver = "remote";
	b->ops = &disk_ops;
	b->priv_bytes = sizeof(struct remote_chan);
	b->block_bytes = info->block_bytes;
	b->block_count = info->block_count;
	b->ops_supported = ops_of(c);
	b->fua = true;
	/* memory of guests changes while its digest is made: they would end the connection */
	b->dma_only = c->opt.ddgst;
	b->volatile_cache = c->info.volatile_cache;
	b->readonly = info->readonly;
	b->unmap_zeroes = info->unmap_zeroes;
	b->limits.xfer_bytes_max = MIN(c->xfer_bytes_max, (uint64_t)NLB_MAX * b->block_bytes);
	b->limits.write_zeroes_blocks_max = b->limits.xfer_bytes_max / b->block_bytes;
	b->limits.iov_count_max = c->opt.transport->piece_bytes_max ? 1 : REMOTE_IOV_MAX;
	b->optimal_blocks = info->optimal_blocks;
	b->atomic_blocks = info->atomic_blocks;
	b->uuid = info->uuid;
	memcpy(b->nguid, info->nguid, sizeof(b->nguid));
	memcpy(b->eui64, info->eui64, sizeof(b->eui64));
	snprintf(b->serial, sizeof(b->serial), "%s", c->info.serial);
	snprintf(b->model, sizeof(b->model), "%s", c->info.model);
}

static void path_add(struct remote_disk *d, unsigned index, struct remote_path *path)
{
	path->disk = d;
	path->index = index;
	d->paths[index] = path;
	list_push(&path->ctrl->paths, &path->link);
	path->ctrl->path_count++;
}

static int disk_create(struct remote_path *path, const struct nvme_ns_info *info)
{
	const struct remote_ctrl *c = path->ctrl;
	struct remote_disk *d = calloc(1, sizeof(*d));
	int rc;

	if (!d) {
		free(path);
		return -ENOMEM;
	}
	d->info = *info;
	d->policy = c->opt.policy;
	snprintf(d->subnqn, sizeof(d->subnqn), "%s", c->subnqn);
	snprintf(d->serial, sizeof(d->serial), "%s", c->info.serial);
	bdev_fill(d, c, path->nsid);
	path_add(d, 0, path);
	list_push(&disks, &d->link);
	rc = bdev_register(&d->bdev);
	if (rc < 0) {
		log_error("%s: not registered (%s)", d->bdev.name, strerror(-rc));
		list_del(&path->link);
		path->ctrl->path_count--;
		list_del(&d->link);
		free(path);
		free(d);
		return rc;
	}
	log_info("%s: %llu blocks of %u bytes of %s", d->bdev.name,
		 (unsigned long long)info->block_count, info->block_bytes, d->subnqn);
	return 0;
}

/* ---- one more path ---- */

static bool same_identity(const struct nvme_ns_info *a, const struct nvme_ns_info *b)
{
	static const uint8_t zero[16];

	if (!uuid_is_nil(&a->uuid) || !uuid_is_nil(&b->uuid))
		return uuid_equal(&a->uuid, &b->uuid);
	if (memcmp(a->nguid, zero, 16) != 0 || memcmp(b->nguid, zero, 16) != 0)
		return memcmp(a->nguid, b->nguid, 16) == 0;
	return memcmp(a->eui64, zero, 8) != 0 && memcmp(a->eui64, b->eui64, 8) == 0;
}

static struct remote_disk *disk_find(const struct remote_ctrl *c, const struct nvme_ns_info *info)
{
	struct remote_disk *d;

	list_for_each(d, &disks, link)
		if (!d->leaving && strcmp(d->subnqn, c->subnqn) == 0 &&
		    strcmp(d->serial, c->info.serial) == 0 && same_identity(&d->info, info))
			return d;
	return NULL;
}

/* What the disk has promised must hold on every path. */
static const char *unfit(const struct remote_disk *d, const struct remote_ctrl *c,
			 const struct nvme_ns_info *info)
{
	if (d->bdev.block_bytes != info->block_bytes || d->info.readonly != info->readonly)
		return "it has another format there";
	if (d->bdev.limits.xfer_bytes_max > c->xfer_bytes_max)
		return "that controller takes smaller transfers only";
	if (c->opt.transport->piece_bytes_max && d->bdev.limits.iov_count_max != 1)
		return "its transport wants data in one piece; attach that path first";
	if (c->opt.ddgst && !d->bdev.dma_only)
		return "it has digests over data; attach that path first";
	if (d->bdev.ops_supported & ~ops_of(c))
		return "that controller offers fewer commands";
	return NULL;
}

int remote_disk_join(struct remote_ctrl *c, uint32_t nsid, const struct nvme_ns_info *info,
		     uint32_t ana_group)
{
	struct remote_disk *d = disk_find(c, info);
	struct remote_path *path = calloc(1, sizeof(*path));
	const char *why;
	unsigned index = 0;

	if (!path)
		return -ENOMEM;
	path->ctrl = c;
	path->nsid = nsid;
	path->ana = REMOTE_ANA_OPTIMIZED;
	path->ana_group = ana_group;
	path->seen = true;
	list_init(&path->link);
	if (!d)
		return disk_create(path, info);
	while (index < REMOTE_PATHS_MAX && d->paths[index])
		index++;
	why = index == REMOTE_PATHS_MAX ? "it has too many paths" : unfit(d, c, info);
	if (why) {
		log_warn("%s: no path through %s: %s", d->bdev.name, c->opt.name, why);
		free(path);
		return -EINVAL;
	}
	path_add(d, index, path);
	remote_paths_publish(c);
	log_info("%s: one more path, through %s", d->bdev.name, c->opt.name);
	return 0;
}

/* ---- going ---- */

static void leave_task(void *arg)
{
	struct remote_disk *d = arg;

	while (d->resizing)
		task_sleep(1000);
	bdev_unregister(&d->bdev);
}

void remote_disk_part(struct remote_path *path)
{
	struct remote_disk *d = path->disk;

	if (d->leaving || path->withdrawn)
		return;
	if (remote_disk_paths(d) > 1) {
		path->withdrawn = true;
		remote_paths_publish(path->ctrl);
		log_info("%s: one path less: %s", d->bdev.name, path->ctrl->opt.name);
		path_free(path);
		return;
	}
	d->leaving = true;
	if (!task_start("remote disk", leave_task, d)) {
		d->leaving = false;
		log_error("%s: no memory to let it go", d->bdev.name);
	}
}

/* ---- another size ---- */

static void resize_task(void *arg)
{
	struct remote_disk *d = arg;

	while (d->bdev.block_count != d->want_blocks)
		bdev_resize(&d->bdev, d->want_blocks);
	d->resizing = false;
}

void remote_disk_resize(struct remote_disk *d, uint64_t block_count)
{
	if (d->info.block_count == block_count || d->leaving)
		return;
	log_info("%s: %llu blocks now", d->bdev.name, (unsigned long long)block_count);
	d->info.block_count = d->want_blocks = block_count;
	if (d->resizing)
		return;
	d->resizing = task_start("remote resize", resize_task, d) != NULL;
	if (!d->resizing)
		log_error("%s: no memory to change its size", d->bdev.name);
}
