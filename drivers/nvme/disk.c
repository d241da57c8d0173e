/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A namespace as a disk: what its bdev promises, and an io as a submission queue entry. NVM command
 * set 1.0c 3.2. The bdev's limits are chosen so that every io fits one command.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/buf.h"
#include "drivers/nvme/nvme.h"

enum { NLB_MAX = 65536, PRP_ALIGN_BYTES = 4, SGL_ELEMENTS_MAX = 64 };

/* ---- an io as a command ---- */

static int encode_data(const struct nvme_queue *q, struct nvme_slot *slot, const struct io *io,
		       struct nvme_sqe *sqe)
{
	const struct nvme_ctrl *c = q->ctrl;
	int rc = nvme_prp_build(io->iov, io->iov_count, c->page_bytes, c->va, slot->list,
				q->list_bytes / sizeof(le64), slot->list_iova, sqe);

	if (unlikely(rc == -EINVAL && c->sgl))
		rc = nvme_sgl_build(io->iov, io->iov_count, slot->list,
				    q->list_bytes / sizeof(struct nvme_sgl), slot->list_iova, sqe);
	return rc;
}

static int encode_unmap(struct nvme_slot *slot, const struct io *io, struct nvme_sqe *sqe)
{
	struct nvme_dsm_range *range = slot->list;

	*range = (struct nvme_dsm_range){
		.nlb = le32_make(io->lba_count), .slba = le64_make(io->lba),
	};
	sqe->prp1 = le64_make(slot->list_iova);
	sqe->cdw10 = le32_make(0);
	sqe->cdw11 = le32_make(NVME_DSM_AD);
	return 0;
}

int nvme_disk_encode(const struct nvme_queue *q, struct nvme_slot *slot, struct io *io,
		     struct nvme_sqe *sqe)
{
	static const uint8_t opcodes[IO_OP_COUNT] = {
		[IO_READ] = NVME_NVM_READ,
		[IO_WRITE] = NVME_NVM_WRITE,
		[IO_FLUSH] = NVME_NVM_FLUSH,
		[IO_UNMAP] = NVME_NVM_DSM,
		[IO_WRITE_ZEROES] = NVME_NVM_WRITE_ZEROES,
		[IO_COMPARE] = NVME_NVM_COMPARE,
	};
	const struct nvme_ns *ns = container_of(io->chan->bdev, struct nvme_ns, bdev);
	uint32_t flags = io->flags & IO_FUA ? NVME_RW_FUA : 0;

	*sqe = (struct nvme_sqe){ .opc = opcodes[io->op], .nsid = le32_make(ns->nsid) };
	switch (io->op) {
	case IO_READ:
	case IO_COMPARE:
		flags = 0;
		break;
	case IO_WRITE:
		break;
	case IO_WRITE_ZEROES:
		if (!(io->flags & IO_NO_UNMAP) && ns->info.write_zeroes_unmaps)
			flags |= NVME_RW_DEAC;
		sqe->slba = le64_make(io->lba);
		sqe->rw_cdw12 = le32_make((io->lba_count - 1) | flags);
		return 0;
	case IO_UNMAP:
		return encode_unmap(slot, io, sqe);
	case IO_FLUSH:
		return 0;
	default:
		return -EINVAL;
	}
	sqe->slba = le64_make(io->lba);
	sqe->rw_cdw12 = le32_make((io->lba_count - 1) | flags);
	return encode_data(q, slot, io, sqe);
}

/* ---- channels ---- */

static int disk_chan_open(struct bdev_chan *chan)
{
	struct nvme_ctrl *c = container_of(chan->bdev, struct nvme_ns, bdev)->ctrl;
	struct nvme_chan *priv = chan->priv;

	if (chan->reactor < c->queue_count)
		priv->queue = &c->queues[chan->reactor];
	else
		priv->forward = &c->forwards[chan->reactor];
	return 0;
}

static void disk_chan_close(struct bdev_chan *chan)
{
}

static void disk_submit(struct bdev_chan *chan, struct io *io)
{
	struct nvme_chan *priv = chan->priv;

	nvme_io_of(io)->tries = 0;
	nvme_io_of(io)->unwanted = false;
	if (likely(priv->queue))
		nvme_queue_submit(priv->queue, io);
	else
		nvme_forward_submit(priv->forward, io);
}

/* An io that another reactor's queue has ends by itself. */
static void disk_abort(struct bdev_chan *chan, struct io *io)
{
	struct nvme_chan *priv = chan->priv;

	if (priv->queue)
		nvme_lane_abort(priv->queue, io);
}

static uint64_t number_of(const uint8_t field[16])
{
	le64 low;

	memcpy(&low, field, sizeof(low));
	return le64_get(low);
}

void nvme_health_decode(const struct nvme_log_smart *s, struct bdev_health *health)
{
	*health = (struct bdev_health){
		.warnings = s->critical_warning & (BDEV_WARN_SPARE | BDEV_WARN_TEMPERATURE |
						   BDEV_WARN_RELIABILITY | BDEV_WARN_READONLY |
						   BDEV_WARN_BACKUP),
		.spare = s->available_spare, .spare_threshold = s->available_spare_threshold,
		.used = s->percentage_used,
		.temperature_k = le16_un_get(s->composite_temperature),
		.busy_minutes = number_of(s->controller_busy_time),
		.power_cycles = number_of(s->power_cycles),
		.power_on_hours = number_of(s->power_on_hours),
		.unsafe_shutdowns = number_of(s->unsafe_shutdowns),
		.media_errors = number_of(s->media_errors),
		.warm_minutes = le32_get(s->warning_temperature_time),
		.hot_minutes = le32_get(s->critical_temperature_time),
	};
	for (unsigned i = 0; i < BDEV_SENSORS; i++)
		health->sensor_k[i] = le16_get(s->temperature_sensor[i]);
}

static int disk_health(struct bdev *bdev, struct bdev_health *health)
{
	struct nvme_ctrl *c = container_of(bdev, struct nvme_ns, bdev)->ctrl;
	struct nvme_log_smart s;
	int rc;

	nvme_ctrl_get(c);
	rc = nvme_admin_log(c, NVME_LID_SMART, UINT32_MAX, &s, sizeof(s));
	nvme_ctrl_put(c);
	if (rc == 0)
		nvme_health_decode(&s, health);
	return rc;
}

static void disk_destroy(struct bdev *bdev)
{
	struct nvme_ns *ns = container_of(bdev, struct nvme_ns, bdev);
	struct nvme_ctrl *c = ns->ctrl;

	list_del(&ns->link);
	c->ns_count--;
	free(ns);
	/* it may come again, as another disk */
	c->want_scan = true;
	nvme_ctrl_wake(c);
}

static void disk_show(struct bdev *bdev, struct cmd_ctx *ctx)
{
	const struct nvme_ns *ns = container_of(bdev, struct nvme_ns, bdev);
	const struct nvme_ctrl *c = ns->ctrl;
	uint64_t retries = 0, timeouts = 0;

	for (unsigned i = 0; i < c->queue_count; i++) {
		retries += c->queues[i].retries;
		timeouts += c->queues[i].timeouts;
	}
	cmd_col(ctx, "pci", "%s", c->pci->name);
	cmd_col(ctx, "firmware", "%s", c->info.firmware);
	cmd_col_u64(ctx, "nsid", ns->nsid);
	cmd_col_u64(ctx, "queues", c->queue_count);
	cmd_col_u64(ctx, "depth", c->queue_depth);
	cmd_col_bool(ctx, "shadow_doorbells", c->shadow_on);
	cmd_col_u64(ctx, "resets", c->resets);
	cmd_col_u64(ctx, "timeouts", timeouts);
	cmd_col_u64(ctx, "retries", retries);
}

static const struct bdev_ops disk_ops = {
	.chan_open = disk_chan_open,
	.chan_close = disk_chan_close,
	.submit = disk_submit,
	.abort = disk_abort,
	.health = disk_health,
	.destroy = disk_destroy,
	.show = disk_show,
};

struct nvme_ns *nvme_disk_ns(struct bdev *bdev)
{
	return bdev->ops == &disk_ops ? container_of(bdev, struct nvme_ns, bdev) : NULL;
}

/* ---- registration ---- */

static void limits_fill(struct bdev *b, const struct nvme_ctrl *c)
{
	uint64_t zeroes = c->limits.write_zeroes_bytes_max;

	b->limits.xfer_bytes_max = MIN(c->xfer_bytes_max, (uint64_t)NLB_MAX * b->block_bytes);
	b->limits.unmap_blocks_max = c->limits.unmap_blocks_max;
	/* no limit reported: what a write may have, so that it does not take forever */
	if (zeroes == 0)
		zeroes = b->limits.xfer_bytes_max;
	b->limits.write_zeroes_blocks_max = MIN(zeroes / b->block_bytes, (uint64_t)NLB_MAX);
	b->limits.align_bytes = PRP_ALIGN_BYTES;
	if (c->sgl) {
		/* SGLs without alignment: bits 1:0 of SGLS are 1, with dwords 2 */
		b->limits.align_bytes = (c->info.sgls & 3) == NVME_SGLS_SUPPORTED ?
					1 : PRP_ALIGN_BYTES;
		b->limits.iov_count_max = SGL_ELEMENTS_MAX;
	} else {
		b->limits.page_bytes = c->page_bytes;
	}
}

static void bdev_fill(struct nvme_ns *ns)
{
	const struct nvme_ctrl *c = ns->ctrl;
	const struct nvme_ns_info *info = &ns->info;
	struct bdev *b = &ns->bdev;

	snprintf(b->name, sizeof(b->name), "%sn%u", c->name, ns->nsid);
	b->driver = "nvme";
	b->ops = &disk_ops;
	b->priv_bytes = sizeof(struct nvme_chan);
	b->block_bytes = info->block_bytes;
	b->block_count = info->block_count;
	b->ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH;
	if (c->info.oncs & NVME_ONCS_DSM)
		b->ops_supported |= 1 << IO_UNMAP;
	if (c->info.oncs & NVME_ONCS_WRITE_ZEROES)
		b->ops_supported |= 1 << IO_WRITE_ZEROES;
	if (c->info.oncs & NVME_ONCS_COMPARE)
		b->ops_supported |= 1 << IO_COMPARE;
	b->fua = true;
	b->dma_only = true;
	b->volatile_cache = c->info.volatile_cache;
	b->readonly = info->readonly;
	b->unmap_zeroes = info->unmap_zeroes;
	limits_fill(b, c);
	b->optimal_blocks = info->optimal_blocks;
	b->atomic_blocks = info->atomic_blocks;
	b->uuid = info->uuid;
	memcpy(b->nguid, info->nguid, sizeof(b->nguid));
	memcpy(b->eui64, info->eui64, sizeof(b->eui64));
	snprintf(b->serial, sizeof(b->serial), "%s", c->info.serial);
	snprintf(b->model, sizeof(b->model), "%s", c->info.model);
}

int nvme_disk_create(struct nvme_ctrl *c, uint32_t nsid, const struct nvme_ns_info *info)
{
	struct nvme_ns *ns = calloc(1, sizeof(*ns));
	int rc;

	if (!ns)
		return -ENOMEM;
	ns->ctrl = c;
	ns->nsid = nsid;
	ns->info = *info;
	ns->seen = true;
	bdev_fill(ns);
	list_push(&c->namespaces, &ns->link);
	c->ns_count++;
	rc = bdev_register(&ns->bdev);
	if (rc < 0) {
		list_del(&ns->link);
		c->ns_count--;
		free(ns);
		return rc;
	}
	log_info("%s: %llu blocks of %u bytes, serial %s", ns->bdev.name,
		 (unsigned long long)info->block_count, info->block_bytes, c->info.serial);
	return 0;
}

static void leave_task(void *arg)
{
	bdev_unregister(&((struct nvme_ns *)arg)->bdev);
}

void nvme_disk_leave(struct nvme_ns *ns)
{
	if (ns->leaving)
		return;
	ns->leaving = true;
	if (!task_start("nvme disk", leave_task, ns)) {
		ns->leaving = false;
		log_error("%s: no memory to let it go", ns->bdev.name);
	}
}
