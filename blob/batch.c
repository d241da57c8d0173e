/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Io of tasks, sixteen at a time, and what is done with whole clusters: zeroed, copied, discarded.
 * Clusters that lie together are one io.
 */
#include <errno.h>
#include <string.h>

#include "blob/view.h"
#include "core/base/panic.h"
#include "core/dma.h"

enum { COPY_BYTES = 1 << 20 };

/* ---- the batch ---- */

void batch_init(struct batch *batch, struct bdev_chan *chan)
{
	batch->chan = chan;
	batch->inflight = 0;
	batch->status = IO_OK;
	list_init(&batch->free);
	event_init(&batch->ended);
	for (unsigned i = 0; i < BATCH_IOS; i++) {
		batch->slot[i].batch = batch;
		list_push(&batch->free, &batch->slot[i].io.link);
	}
}

static void batch_wait(struct batch *batch)
{
	event_clear(&batch->ended);
	task_wait(&batch->ended);
}

static void batch_done(struct io *io)
{
	struct batch *batch = container_of(io, struct batch_io, io)->batch;

	if (batch->status == IO_OK)
		batch->status = io->status;
	batch->inflight--;
	list_push(&batch->free, &io->link);
	event_signal(&batch->ended);
}

struct io *batch_io(struct batch *batch)
{
	struct io *io;

	while (list_empty(&batch->free))
		batch_wait(batch);
	if (batch->status != IO_OK)
		return NULL;
	io = list_pop_entry(&batch->free, struct io, link);
	memset(io, 0, sizeof(*io));
	list_init(&io->link);
	return io;
}

void batch_submit(struct batch *batch, struct io *io)
{
	io->done = batch_done;
	batch->inflight++;
	bdev_submit(batch->chan, io);
}

int batch_end(struct batch *batch)
{
	while (batch->inflight > 0)
		batch_wait(batch);
	return io_status_errno(batch->status);
}

/* ---- clusters ---- */

static uint64_t cluster_blocks(const struct store *s)
{
	return s->super.cluster_bytes >> s->block_shift;
}

/* How many from AT on lie together, at most what one io can take. */
static uint64_t run_length(const struct store *s, const uint32_t *cluster, uint64_t count)
{
	uint64_t most = MIN(count, (1ULL << 30) / cluster_blocks(s) + 1), n = 1;

	while (n < most && cluster[n] == cluster[0] + n)
		n++;
	return n;
}

static void batch_range(struct batch *batch, enum io_op op, uint64_t lba, uint64_t blocks)
{
	struct io *io = batch_io(batch);

	if (!io)
		return;
	io->op = (uint8_t)op;
	io->lba = lba;
	io->lba_count = (uint32_t)blocks;
	batch_submit(batch, io);
}

static void batch_clusters(struct batch *batch, struct store *s, enum io_op op, uint32_t cluster,
			   uint64_t count)
{
	batch_range(batch, op, cluster * cluster_blocks(s), count * cluster_blocks(s));
}

/* Whether the disk forgets more quickly than it writes zeroes, and reads zeroes afterwards. */
static bool unmap_is_zero(const struct bdev *bdev)
{
	return !(bdev->ops_supported & 1u << IO_WRITE_ZEROES) && bdev->unmap_zeroes &&
	       bdev_supports(bdev, IO_UNMAP);
}

int clusters_zero(struct store *s, const uint32_t *cluster, uint64_t count)
{
	const struct bdev *bdev = s->disk.bdev;
	enum io_op op = unmap_is_zero(bdev) ? IO_UNMAP : IO_WRITE_ZEROES;
	struct batch batch;
	uint64_t n;

	if (s->state == STORE_GONE)
		return -ENODEV;
	batch_init(&batch, bdev_chan(bdev));
	for (uint64_t i = 0; i < count && batch.status == IO_OK; i += n) {
		n = run_length(s, cluster + i, count - i);
		batch_clusters(&batch, s, op, cluster[i], n);
	}
	store_wrote(s);
	return batch_end(&batch);
}

void clusters_discard(struct store *s, const uint32_t *cluster, uint64_t count)
{
	struct batch batch;
	uint64_t n;

	if (s->state == STORE_GONE || !bdev_supports(s->disk.bdev, IO_UNMAP))
		return;
	batch_init(&batch, bdev_chan(s->disk.bdev));
	for (uint64_t i = 0; i < count && batch.status == IO_OK; i += n) {
		n = run_length(s, cluster + i, count - i);
		batch_clusters(&batch, s, IO_UNMAP, cluster[i], n);
	}
	store_wrote(s);
	batch_end(&batch);
}

/* LEN bytes at byte FROM of EXTERNAL, to byte AT of the store's disk; past its end are zeroes. */
static int copy_external(struct store *s, struct bdev *external, uint64_t from, uint64_t at,
			 uint64_t left)
{
	uint64_t size = external->block_count << external->block_shift;
	uint32_t part;
	uint8_t *buf = dma_alloc(MIN(left, (uint64_t)COPY_BYTES), DMA_PAGE_BYTES);
	enum io_status status = IO_OK;

	if (!buf)
		return -ENOMEM;
	s->external_copies++;
	for (; left > 0 && status == IO_OK; left -= part, from += part, at += part) {
		part = (uint32_t)MIN(left, (uint64_t)COPY_BYTES);
		uint64_t there = from < size ? MIN(part, size - from) : 0;
		struct iovec iov = { buf, there };
		struct io io = { .op = IO_READ, .lba = from >> external->block_shift,
				 .lba_count = (uint32_t)(there >> external->block_shift),
				 .iov = &iov, .iov_count = 1 };

		memset(buf + there, 0, part - there);
		if (there > 0)
			status = task_io(bdev_chan(external), &io);
		if (status != IO_OK)
			break;
		iov.iov_len = part;
		io = (struct io){ .op = IO_WRITE, .lba = at >> s->block_shift,
				  .lba_count = part >> s->block_shift, .iov = &iov,
				  .iov_count = 1 };
		status = task_io(bdev_chan(s->disk.bdev), &io);
	}
	dma_free(buf);
	if (--s->external_copies == 0)
		event_signal(&s->external_idle);
	return io_status_errno(status);
}

static void copy_disk(struct batch *batch, uint64_t from, uint64_t to, uint64_t blocks)
{
	struct io *io = batch_io(batch);

	if (!io)
		return;
	io->op = IO_COPY;
	io->src_lba = from;
	io->lba = to;
	io->lba_count = (uint32_t)blocks;
	batch_submit(batch, io);
}

/* COUNT blocks of the cluster, AT blocks in, from beneath. */
static int fill_rest(struct batch *batch, struct store *s, const struct cluster_fill *f,
		     uint64_t at, uint64_t count)
{
	enum io_op zero = unmap_is_zero(s->disk.bdev) ? IO_UNMAP : IO_WRITE_ZEROES;
	uint64_t blocks = cluster_blocks(s), to = f->cluster * blocks + at;

	if (count == 0)
		return 0;
	switch (f->from.kind) {
	case PLACE_NOWHERE:
		batch_range(batch, zero, to, count);
		return 0;
	case PLACE_DISK:
		copy_disk(batch, f->from.cluster * blocks + at, to, count);
		return 0;
	case PLACE_EXTERNAL:
		return copy_external(s, f->from.external, (f->c * blocks + at) << s->block_shift,
				     to << s->block_shift, count << s->block_shift);
	case PLACE_ABSENT:
		break;
	}
	return -ENODEV;
}

static void fill_data(struct batch *batch, struct store *s, const struct cluster_fill *f)
{
	struct io *io = batch_io(batch);

	if (!io)
		return;
	io->op = IO_WRITE;
	io->lba = f->cluster * cluster_blocks(s) + f->data->at;
	io->lba_count = f->data->count;
	io->iov = f->data->iov;
	io->iov_count = f->data->iov_count;
	batch_submit(batch, io);
}

int clusters_fill(struct store *s, const struct cluster_fill *fill, unsigned count)
{
	struct batch batch;
	int rc = 0, end;

	if (s->state == STORE_GONE)
		return -ENODEV;
	batch_init(&batch, bdev_chan(s->disk.bdev));
	for (unsigned i = 0; i < count && rc == 0 && batch.status == IO_OK; i++) {
		const struct cluster_fill *f = &fill[i];
		uint64_t from = 0, to = 0;

		if (f->data && f->data->iov_count > 0) {
			fill_data(&batch, s, f);
			from = f->data->at;
			to = from + f->data->count;
		}
		rc = fill_rest(&batch, s, f, 0, from);
		if (rc == 0)
			rc = fill_rest(&batch, s, f, to, cluster_blocks(s) - to);
	}
	store_wrote(s);
	end = batch_end(&batch);
	return rc < 0 ? rc : end;
}
