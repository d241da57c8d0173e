/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data path of volumes. A read or write within one cluster that is mapped goes on to the disk
 * as it is, on the same reactor: one look-up, no copy, no io of its own. All others, and those that
 * the disk cannot take like that, are walked through cluster by cluster (part_run), with as many io
 * of the lane as they need:
 *
 *   mapped            to the disk; neighbours that lie together in one
 *   read, not mapped  from beneath: the parents' clusters, another disk, zeroes
 *   write, not mapped asks reactor 0 for a cluster (volume_ask.c) and goes on when it is there
 *   unmap             whole clusters with nothing beneath them are given back by thin volumes
 *
 * A write that is held (snapshot) or finds no free io of the lane stands in line on its reactor.
 */
#include <string.h>

#include "blob/serve.h"
#include "core/base/panic.h"
#include "core/clock.h"

struct volume_chan {
	struct blob *blob;
	struct lane *lane;
	/*
	 * cluster_blocks is 0 when it is no power of two, or blocks are not those of the disk:
	 * then nothing is forwarded
	 */
	uint64_t cluster_blocks, within_mask;
	uint64_t disk_cluster_blocks;
	uint8_t cluster_shift, ratio_shift;     /* the volume's blocks beside the disk's */
	bool hold;
	uint32_t writers;               /* on their way to the disk, changing something */
	struct list held;               /* struct io */
	struct event quiet;             /* writers has become 0 while holding */
};

enum { PART_BLOCKS_MAX = 1 << 28 };

enum part_step { PART_AGAIN, PART_WAIT };

static void part_run(struct volume_chan *vc, struct io *io);

/* ---- io of the lane ---- */

static struct lane_io *child_get(struct lane *lane)
{
	struct list *link = lane->free.next;

	if (unlikely(link == &lane->free))
		return NULL;
	list_del(link);
	return container_of(link, struct lane_io, io.link);
}

/* DONE: in done of an io of the lane, and the last thing there. */
static inline void part_end(struct io *io, bool done)
{
	struct part *p = part_of(io);

	if (unlikely(p->gives_back) && p->status == IO_OK) {
		p->gives_back = false;
		p->state = PART_ASKS;
		volume_ask(io);
	} else if (done) {
		io_complete_now(io, p->status);
	} else {
		io_complete(io, p->status);
	}
}

/* What begins to use what it found in a view; returns the epoch in which it did. */
static inline uint8_t lane_enter(struct volume_chan *vc, bool writes)
{
	struct lane *lane = vc->lane;

	lane->inflight[lane->epoch]++;
	vc->writers += writes;
	return lane->epoch;
}

static inline void lane_leave(struct volume_chan *vc, uint8_t epoch, bool writes)
{
	struct lane *lane = vc->lane;

	if (--lane->inflight[epoch] == 0 && unlikely(epoch != lane->epoch))
		event_signal(&lane->drained);
	vc->writers -= writes;
	if (unlikely(vc->hold) && vc->writers == 0)
		event_signal(&vc->quiet);
}

static void child_done(struct io *done)
{
	struct lane_io *child = container_of(done, struct lane_io, io);
	struct io *io = child->parent;
	struct volume_chan *vc = io->chan->priv;
	struct lane *lane = vc->lane;
	struct part *p = part_of(io);

	lane_leave(vc, child->epoch, child->writes);
	list_push_front(&lane->free, &done->link);
	if (unlikely(done->status != IO_OK) && p->status == IO_OK)
		p->status = (uint8_t)done->status;
	if (unlikely(!list_empty(&lane->starved))) {
		struct io *first = list_pop_entry(&lane->starved, struct io, link);

		part_run(first->chan->priv, first);
	}
	if (--p->pending == 0 && p->state == PART_RUNS)
		part_end(io, true);
}

static void child_send(struct volume_chan *vc, struct lane_io *child, struct io *io,
		       struct bdev_chan *to)
{
	child->parent = io;
	child->writes = io->op != IO_READ;
	child->io.op = io->op;
	child->io.flags = io->flags;
	child->io.done = child_done;
	child->epoch = lane_enter(vc, child->writes);
	bdev_submit(to, &child->io);
}

/* ---- a part of the data ---- */

unsigned part_slice(const struct io *io, struct part *p, uint64_t bytes, struct iovec *slice)
{
	unsigned n = 0;

	while (bytes > 0) {
		const struct iovec *iov = &io->iov[p->iov_index];
		uint64_t len = MIN(bytes, iov->iov_len - p->iov_offset);

		slice[n++] = (struct iovec){ (char *)iov->iov_base + p->iov_offset, len };
		bytes -= len;
		p->iov_offset += len;
		if (p->iov_offset == iov->iov_len) {
			p->iov_offset = 0;
			p->iov_index++;
		}
	}
	return n;
}

static enum part_step part_starve(struct volume_chan *vc, struct io *io)
{
	part_of(io)->state = PART_WAITS;
	list_push(&vc->lane->starved, &io->link);
	return PART_WAIT;
}

/* BLOCKS of the io to LBA of a disk whose blocks are 1 << SHIFT bytes. */
static enum part_step part_send(struct volume_chan *vc, struct io *io, struct bdev_chan *to,
				uint64_t lba, uint64_t blocks)
{
	unsigned block_shift = io->chan->bdev->block_shift;
	struct lane_io *child = child_get(vc->lane);
	struct part *p = part_of(io);

	if (!child)
		return part_starve(vc, io);
	child->io.lba = lba;
	child->io.lba_count = (uint32_t)(blocks << (block_shift - to->bdev->block_shift));
	if (io->op <= IO_WRITE && blocks == io->lba_count) {
		child->io.iov = io->iov;
		child->io.iov_count = io->iov_count;
	} else if (io->op <= IO_WRITE) {
		child->io.iov_count = (uint16_t)part_slice(io, p, blocks << block_shift,
							   child->iov);
		child->io.iov = child->iov;
	} else {
		child->io.iov_count = 0;
	}
	p->issued += (uint32_t)blocks;
	p->pending++;
	child_send(vc, child, io, to);
	return PART_AGAIN;
}

static enum part_step part_zeroes(struct io *io, uint64_t blocks)
{
	struct iovec iov[LANE_IOV];
	unsigned count = 0;

	if (io->op == IO_READ)
		count = part_slice(io, part_of(io), blocks << io->chan->bdev->block_shift, iov);
	for (unsigned i = 0; i < count; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
	part_of(io)->issued += (uint32_t)blocks;
	return PART_AGAIN;
}

static enum part_step part_fail(struct io *io, enum io_status status)
{
	part_of(io)->status = (uint8_t)status;
	return PART_AGAIN;
}

/* From the disk beneath, which may be smaller than the volume. */
static enum part_step part_external(struct volume_chan *vc, struct io *io, struct bdev *external,
				    uint64_t blocks)
{
	unsigned shift = io->chan->bdev->block_shift - external->block_shift;
	uint64_t size = __atomic_load_n(&external->block_count, __ATOMIC_RELAXED) >> shift;
	uint64_t lba = io->lba + part_of(io)->issued;

	if (lba >= size)
		return part_zeroes(io, blocks);
	return part_send(vc, io, bdev_chan(external), lba << shift, MIN(blocks, size - lba));
}

/* ---- cluster by cluster ---- */

static enum part_step part_unmapped(struct volume_chan *vc, struct io *io,
				    const struct blob_view *view, uint64_t c, uint64_t within,
				    uint64_t blocks)
{
	struct place from;

	if (io->op == IO_UNMAP)
		return part_zeroes(io, blocks);
	from = blob_view_beneath(view, c);
	if (io->op == IO_WRITE_ZEROES && from.kind == PLACE_NOWHERE &&
	    !(io->flags & IO_NO_UNMAP))
		return part_zeroes(io, blocks);
	if (io->op != IO_READ) {
		part_of(io)->state = PART_ASKS;
		volume_ask(io);
		return PART_WAIT;
	}
	switch (from.kind) {
	case PLACE_NOWHERE:
		return part_zeroes(io, blocks);
	case PLACE_DISK:
		return part_send(vc, io, vc->lane->disk,
				 from.cluster * vc->disk_cluster_blocks +
				 (within << vc->ratio_shift), blocks);
	case PLACE_EXTERNAL:
		return part_external(vc, io, from.external, blocks);
	case PLACE_ABSENT:
		break;
	}
	return part_fail(io, IO_ERR_GONE);
}

static enum part_step part_next(struct volume_chan *vc, struct io *io)
{
	const struct blob_view *view = blob_view(vc->blob);
	uint64_t cluster_blocks = volume_of(io)->cluster_blocks;
	struct part *p = part_of(io);
	uint64_t lba = io->lba + p->issued, left = io->lba_count - p->issued;
	uint64_t c = lba / cluster_blocks, within = lba % cluster_blocks;
	uint64_t blocks = MIN(left, cluster_blocks - within);
	uint32_t cluster;

	/* The volume has become smaller while the io was waiting. */
	if (c >= view->map->cluster_count)
		return part_fail(io, IO_ERR_RANGE);
	cluster = blob_map_get(view->map, c);
	if (!cluster)
		return part_unmapped(vc, io, view, c, within, blocks);
	if (io->op == IO_UNMAP && view->thin && blocks == cluster_blocks &&
	    blob_view_beneath(view, c).kind == PLACE_NOWHERE) {
		p->gives_back = true;
		return part_zeroes(io, blocks);
	}
	for (uint32_t n = 1; blocks < left && blocks + cluster_blocks <= PART_BLOCKS_MAX &&
	     !(io->op == IO_UNMAP && view->thin) && ++c < view->map->cluster_count &&
	     blob_map_get(view->map, c) == cluster + n; n++)
		blocks += MIN(left - blocks, cluster_blocks);
	if (io->op == IO_UNMAP && !bdev_supports(vc->lane->disk->bdev, IO_UNMAP))
		return part_zeroes(io, blocks);
	return part_send(vc, io, vc->lane->disk,
			 cluster * vc->disk_cluster_blocks + (within << vc->ratio_shift), blocks);
}

static void flush_run(struct volume_chan *vc, struct io *io)
{
	struct lane_io *child = child_get(vc->lane);

	if (!child) {
		part_starve(vc, io);
		return;
	}
	child->io.lba = 0;
	child->io.lba_count = 0;
	child->io.iov_count = 0;
	part_of(io)->state = PART_RUNS;
	part_of(io)->pending = 1;
	child_send(vc, child, io, vc->lane->disk);
}

static void part_run(struct volume_chan *vc, struct io *io)
{
	struct part *p = part_of(io);

	if (io->op == IO_FLUSH) {
		flush_run(vc, io);
		return;
	}
	if (vc->hold && io->op != IO_READ && p->status == IO_OK && p->issued < io->lba_count) {
		p->state = PART_WAITS;
		list_push(&vc->held, &io->link);
		return;
	}
	p->state = PART_RUNS;
	while (p->issued < io->lba_count && p->status == IO_OK)
		if (part_next(vc, io) == PART_WAIT)
			return;
	if (p->pending == 0)
		part_end(io, false);
}

void volume_io_answered(struct msg *msg)
{
	struct io *io = part_io(msg);
	struct part *p = part_of(io);

	if (p->answer != IO_OK && p->status == IO_OK)
		p->status = p->answer;
	part_run(io->chan->priv, io);
}

/* ---- in ---- */

static void part_submit(struct volume_chan *vc, struct io *io)
{
	*part_of(io) = (struct part){ .state = PART_RUNS };
	list_init(&io->link);
	part_run(vc, io);
}

static void volume_submit(struct bdev_chan *chan, struct io *io)
{
	struct volume_chan *vc = chan->priv;
	const struct blob_map *map = blob_view(vc->blob)->map;
	uint64_t c = io->lba >> vc->cluster_shift, within = io->lba & vc->within_mask;
	uint32_t cluster;

	if (likely(io->op <= IO_WRITE && !vc->hold &&
		   within + io->lba_count <= vc->cluster_blocks && c < map->cluster_count) &&
	    likely((cluster = blob_map_get(map, c)) != 0) &&
	    likely(bdev_forward(vc->lane->disk, io, cluster * vc->cluster_blocks + within,
				vc->lane->epoch)))
		lane_enter(vc, io->op == IO_WRITE);
	else
		part_submit(vc, io);
}

static void volume_forwarded(struct bdev_chan *chan, struct io *io)
{
	lane_leave(chan->priv, io->over_tag, io->op == IO_WRITE);
}

/* ---- holding writes ---- */

static void hold_task(void *arg)
{
	struct volume *v = arg;
	struct volume_chan *vc = bdev_chan(&v->bdev)->priv;

	vc->hold = true;
	while (vc->writers > 0) {
		event_clear(&vc->quiet);
		task_wait(&vc->quiet);
	}
}

static void let_go_task(void *arg)
{
	struct volume *v = arg;
	struct volume_chan *vc = bdev_chan(&v->bdev)->priv;
	struct io *io;

	vc->hold = false;
	while ((io = list_pop_entry(&vc->held, struct io, link)))
		part_run(vc, io);
}

void volume_hold(struct blob *b)
{
	struct volume *v = b->volume;

	if (!v || v->closing)
		return;
	v->holding = true;
	event_clear(&v->held_none);
	task_call_all(hold_task, v);
}

void volume_let_go(struct blob *b)
{
	struct volume *v = b->volume;

	if (!v || !v->holding)
		return;
	task_call_all(let_go_task, v);
	v->holding = false;
	event_signal(&v->held_none);
}

/* ---- channels ---- */

static int chan_open(struct bdev_chan *chan)
{
	const struct volume *v = container_of(chan->bdev, struct volume, bdev);
	struct volume_chan *vc = chan->priv;

	vc->blob = v->blob;
	vc->lane = lane_self(v->blob->store);
	vc->ratio_shift = v->ratio_shift;
	vc->disk_cluster_blocks = v->cluster_blocks << v->ratio_shift;
	if (IS_POWER_OF_2(v->cluster_blocks) && v->ratio_shift == 0) {
		vc->cluster_blocks = v->cluster_blocks;
		vc->within_mask = v->cluster_blocks - 1;
		vc->cluster_shift = (uint8_t)log2_floor(v->cluster_blocks);
	}
	list_init(&vc->held);
	event_init(&vc->quiet);
	return 0;
}

static void chan_close(struct bdev_chan *chan)
{
	const struct volume_chan *vc = chan->priv;

	ASSERT(vc->writers == 0 && list_empty(&vc->held));
}

size_t volume_chan_bytes(void)
{
	return sizeof(struct volume_chan);
}

const struct bdev_ops volume_ops = {
	.chan_open = chan_open,
	.chan_close = chan_close,
	.submit = volume_submit,
	.forwarded = volume_forwarded,
};
