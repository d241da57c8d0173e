/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A piece: one io of the channel's own for part of a parent.
 *
 * Its data is, in this order of preference, elements of the parent's iov as they are, a slice of
 * them written down in the piece's own array, or bounce memory: for elements that the driver cannot
 * reach, or of which no whole block can be made, and for what compare and copy read. A bounce
 * buffer comes from core/buf.c; when that has none, from the one that each reactor reserves for
 * this; when that is taken, the channel waits for it.
 */
#include <errno.h>
#include <string.h>

#include "core/base/bytes.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/bdev_impl.h"
#include "core/buf.h"
#include "core/dma.h"

enum bdev_piece_kind {
	PIECE_PLAIN,
	PIECE_READ_BOUNCED,     /* a read into bounce memory, to be copied to the parent */
	PIECE_COMPARE,          /* a read, to be compared with the parent's data */
	PIECE_COPY_READ,        /* a read, to be written to the parent's lba */
	PIECE_COPY_WRITE,
};

/* ---- bounce memory ---- */

struct bounce_share {
	void *reserve;
	bool reserve_used;
	struct list starved;            /* channels that wait for it */
} CACHE_ALIGNED;

static struct bounce_share bounce_shares[REACTOR_MAX];

int bdev_bounce_init(void)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		struct bounce_share *share = &bounce_shares[i];

		list_init(&share->starved);
		share->reserve_used = false;
		share->reserve = dma_alloc(BDEV_BOUNCE_BYTES, DMA_PAGE_BYTES);
		if (!share->reserve) {
			log_error("bdev: no DMA memory for bounce buffers; give more with -m");
			bdev_bounce_fini();
			return -ENOMEM;
		}
	}
	return 0;
}

void bdev_bounce_fini(void)
{
	for (unsigned i = 0; i < REACTOR_MAX; i++) {
		dma_free(bounce_shares[i].reserve);
		bounce_shares[i].reserve = NULL;
	}
}

/* One element of LEN bytes or a little more; false: the channel is in line for the reserve. */
static bool bounce_get(struct bdev_chan *chan, size_t len, struct iovec *out)
{
	static const size_t classes[] = { 4096, 16384, BDEV_BOUNCE_BYTES };
	struct bounce_share *share = &bounce_shares[chan->reactor];
	struct iovec iov[BUF_IOV_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(classes); i++) {
		if (len > classes[i])
			continue;
		if (buf_get(classes[i], iov, NULL) == 1) {
			*out = iov[0];
			return true;
		}
	}
	if (!share->reserve_used) {
		share->reserve_used = true;
		*out = (struct iovec){ share->reserve, BDEV_BOUNCE_BYTES };
		return true;
	}
	if (!list_linked(&chan->ctl->starved))
		list_push(&share->starved, &chan->ctl->starved);
	return false;
}

static void bounce_put(struct bdev_chan *chan, struct iovec *iov)
{
	struct bounce_share *share = &bounce_shares[chan->reactor];
	struct bdev_chan_ctl *next;

	if (iov->iov_base != share->reserve) {
		buf_put(iov, 1);
	} else {
		share->reserve_used = false;
		next = list_pop_entry(&share->starved, struct bdev_chan_ctl, starved);
		if (next)
			bdev_split_kick(next->chan);
	}
	iov->iov_base = NULL;
}

/* ---- a parent's data, at a position in its iov ---- */

enum iov_verb { IOV_FILL, IOV_FETCH, IOV_COMPARE };

/* Between BUF and the iov; false only when IOV_COMPARE finds a difference. */
static bool iov_run(const struct iovec *iov, uint64_t offset, char *buf, uint64_t len,
		    enum iov_verb verb)
{
	for (; len > 0; iov++, offset = 0) {
		uint64_t part = MIN(len, iov->iov_len - offset);
		char *data = (char *)iov->iov_base + offset;

		if (verb == IOV_FILL)
			memcpy(data, buf, part);
		else if (verb == IOV_FETCH)
			memcpy(buf, data, part);
		else if (!bytes_equal(buf, data, part))
			return false;
		buf += part;
		len -= part;
	}
	return true;
}

static bool piece_data(const struct bdev_piece *piece, enum iov_verb verb)
{
	return iov_run(piece->parent->iov + piece->iov_index, piece->iov_offset,
		       piece->bounce.iov_base, piece->iov[0].iov_len, verb);
}

static void parent_advance(struct io *parent, uint64_t bytes)
{
	struct bdev_parent *p = bdev_parent(parent);

	while (bytes > 0) {
		uint64_t left = parent->iov[p->iov_index].iov_len - p->iov_offset;

		if (bytes < left) {
			p->iov_offset += bytes;
			return;
		}
		bytes -= left;
		p->iov_index++;
		p->iov_offset = 0;
	}
}

/* ---- filling a piece ---- */

/*
 * As many whole blocks of the parent's data as the driver can take where they are, at most BYTES;
 * returns the bytes, 0 when not even one block.
 */
static uint64_t piece_slice(struct bdev_piece *piece, uint64_t bytes_max)
{
	const struct bdev *bdev = piece->parent->chan->bdev;
	const struct iovec *iov = piece->parent->iov + piece->iov_index;
	unsigned left = piece->parent->iov_count - piece->iov_index, count = 0;
	uint64_t bytes = 0, whole = 0;
	unsigned whole_count = 0;
	uintptr_t end = 0;
	bool plain = piece->iov_offset == 0;

	while (count < left && count < bdev->iov_max && bytes < bytes_max) {
		uint64_t offset = count ? 0 : piece->iov_offset;
		uintptr_t base = (uintptr_t)iov[count].iov_base + offset;
		uint64_t len = MIN(iov[count].iov_len - offset, bytes_max - bytes);

		if (((base | len) & bdev->align_mask) ||
		    (count > 0 && ((base | end) & bdev->page_mask)))
			break;
		if (len < iov[count].iov_len - offset)
			plain = false;
		if (count < BDEV_PIECE_IOV)
			piece->iov[count] = (struct iovec){ (void *)base, len };
		else if (!plain)
			break;
		end = base + len;
		bytes += len;
		count++;
		if (IS_ALIGNED(bytes, bdev->block_bytes)) {
			whole = bytes;
			whole_count = count;
		}
	}
	piece->io.iov = whole_count <= BDEV_PIECE_IOV ? piece->iov : iov;
	piece->io.iov_count = whole_count;
	return whole;
}

/* BYTES of bounce memory as the piece's data. */
static bool piece_bounce(struct bdev_piece *piece, uint64_t bytes)
{
	if (!bounce_get(piece->parent->chan, bytes, &piece->bounce))
		return false;
	piece->iov[0] = (struct iovec){ piece->bounce.iov_base, bytes };
	piece->io.iov = piece->iov;
	piece->io.iov_count = 1;
	return true;
}

/* The shared zeroes, repeated; returns the bytes. */
static uint64_t piece_zeroes(struct bdev_piece *piece, uint64_t bytes_max)
{
	const struct bdev *bdev = piece->parent->chan->bdev;
	unsigned count_max = MIN(bdev->iov_max, BDEV_PIECE_IOV), count = 0;
	uint64_t bytes = 0;

	while (count < count_max && bytes < bytes_max) {
		uint64_t len = MIN(bytes_max - bytes, BUF_ZERO_BYTES);

		piece->iov[count++] = (struct iovec){ (void *)buf_zeroes(), len };
		bytes += len;
	}
	piece->io.iov = piece->iov;
	piece->io.iov_count = count;
	return bytes;
}

static uint64_t piece_transfer(struct bdev_piece *piece, enum io_op op, uint64_t bytes_max)
{
	bool foreign = (piece->parent->flags & IO_FOREIGN) && piece->parent->chan->bdev->dma_only;
	uint64_t bytes = foreign ? 0 : piece_slice(piece, bytes_max);

	if (bytes > 0)
		return bytes;
	bytes = MIN(bytes_max, BDEV_BOUNCE_BYTES);
	if (!piece_bounce(piece, bytes))
		return 0;
	if (op == IO_READ)
		piece->kind = PIECE_READ_BOUNCED;
	else
		piece_data(piece, IOV_FETCH);
	return bytes;
}

/* Makes the piece part of an OP; returns how many blocks it is, 0: no bounce memory. */
static uint64_t piece_fill(struct bdev_piece *piece, enum io_op op, uint64_t left)
{
	const struct bdev *bdev = piece->parent->chan->bdev;
	bool native = bdev->ops_supported & 1u << op;
	uint64_t bytes = MIN(left << bdev->block_shift, bdev->xfer_max);
	uint32_t most = 0;

	piece->io.op = op;
	switch (op) {
	case IO_READ:
	case IO_WRITE:
		return piece_transfer(piece, op, bytes) >> bdev->block_shift;
	case IO_COMPARE:
		if (native)
			return piece_transfer(piece, op, bytes) >> bdev->block_shift;
		piece->io.op = IO_READ;
		piece->kind = PIECE_COMPARE;
		bytes = MIN(bytes, BDEV_BOUNCE_BYTES);
		return piece_bounce(piece, bytes) ? bytes >> bdev->block_shift : 0;
	case IO_VERIFY:
		if (native)
			return left;
		piece->io.op = IO_READ;
		bytes = MIN(bytes, BDEV_BOUNCE_BYTES);
		return piece_bounce(piece, bytes) ? bytes >> bdev->block_shift : 0;
	case IO_COPY:
		piece->io.src_lba = piece->parent->src_lba + bdev_parent(piece->parent)->issued;
		if (native)
			return left;
		piece->io.op = IO_READ;
		piece->io.lba = piece->io.src_lba;
		piece->kind = PIECE_COPY_READ;
		bytes = MIN(bytes, BDEV_BOUNCE_BYTES);
		return piece_bounce(piece, bytes) ? bytes >> bdev->block_shift : 0;
	case IO_WRITE_ZEROES:
		if (!native) {
			piece->io.op = IO_WRITE;
			return piece_zeroes(piece, bytes) >> bdev->block_shift;
		}
		most = bdev->limits.write_zeroes_blocks_max;
		break;
	case IO_UNMAP:
		most = bdev->limits.unmap_blocks_max;
		break;
	case IO_FLUSH:
		piece->io.lba = 0;
		return 1;
	default:
		panic("bdev %s: %s in pieces", bdev->name, io_op_name(op));
	}
	return most ? MIN(left, most) : left;
}

/* ---- its way ---- */

static void piece_put(struct bdev_chan *chan, struct bdev_piece *piece)
{
	if (piece->bounce.iov_base)
		bounce_put(chan, &piece->bounce);
	list_push_front(&chan->ctl->pieces, &piece->io.link);
}

/* FUA of a driver that lacks it is a flush at the end. */
static uint8_t piece_flags(const struct io *parent)
{
	uint8_t flags = parent->flags & (uint8_t)~IO_FOREIGN;

	return flags & (parent->chan->bdev->fua ? 0xff : (uint8_t)~IO_FUA);
}

/* What remains to be done after the driver; true when the piece went to the driver again. */
static bool piece_follow_up(struct bdev_piece *piece, struct bdev_chan *chan)
{
	struct io *io = &piece->io;

	switch ((enum bdev_piece_kind)piece->kind) {
	case PIECE_PLAIN:
	case PIECE_COPY_WRITE:
		break;
	case PIECE_READ_BOUNCED:
		piece_data(piece, IOV_FILL);
		break;
	case PIECE_COMPARE:
		if (!piece_data(piece, IOV_COMPARE))
			io->status = IO_ERR_MISCOMPARE;
		break;
	case PIECE_COPY_READ:
		piece->kind = PIECE_COPY_WRITE;
		io->op = IO_WRITE;
		io->flags = piece_flags(piece->parent);
		io->lba = piece->parent->lba + (io->lba - piece->parent->src_lba);
		io->stage = IO_AT_DRIVER;
		chan->bdev->ops->submit(chan, io);
		return true;
	}
	return false;
}

static void piece_done(struct io *io)
{
	struct bdev_piece *piece = container_of(io, struct bdev_piece, io);
	struct io *parent = piece->parent;
	struct bdev_parent *p = bdev_parent(parent);
	struct bdev_chan *chan = parent->chan;

	if (io->status == IO_OK && p->status == IO_OK && piece_follow_up(piece, chan))
		return;
	if (io->status != IO_OK && p->status == IO_OK)
		p->status = io->status;
	p->pending--;
	/* In the waiting line it is the line that goes on with it. */
	if (p->pending == 0 && !list_linked(&parent->link))
		bdev_split_step(parent);
	piece_put(chan, piece);
	bdev_split_kick(chan);
}

bool bdev_piece_issue(struct io *parent, enum io_op op)
{
	struct bdev_chan *chan = parent->chan;
	struct bdev_parent *p = bdev_parent(parent);
	struct bdev_piece *piece;
	uint64_t blocks;

	piece = list_pop_entry(&chan->ctl->pieces, struct bdev_piece, io.link);
	if (!piece)
		return false;
	piece->parent = parent;
	piece->kind = PIECE_PLAIN;
	piece->iov_index = p->iov_index;
	piece->iov_offset = p->iov_offset;
	piece->io.flags = piece_flags(parent);
	piece->io.lba = parent->lba + p->issued;
	piece->io.iov_count = 0;
	blocks = piece_fill(piece, op, parent->lba_count - p->issued);
	if (blocks == 0) {
		list_push_front(&chan->ctl->pieces, &piece->io.link);
		return false;
	}
	if (bdev_op_rules[op].data)
		parent_advance(parent, blocks << chan->bdev->block_shift);
	p->issued += blocks;
	p->pending++;
	piece->io.lba_count = op == IO_FLUSH ? 0 : blocks;
	if (!bdev_op_rules[piece->io.op].writes)
		piece->io.flags = 0;
	piece->io.stage = IO_AT_DRIVER;
	chan->bdev->ops->submit(chan, &piece->io);
	return true;
}

void bdev_pieces_abort(const struct io *parent)
{
	struct bdev_chan *chan = parent->chan;

	for (unsigned i = 0; i < BDEV_PIECES && chan->bdev->ops->abort; i++) {
		struct bdev_piece *piece = &chan->ctl->piece[i];

		if (piece->parent == parent && piece->io.stage == IO_AT_DRIVER)
			chan->bdev->ops->abort(chan, &piece->io);
	}
}

void bdev_piece_init(struct bdev_chan_ctl *ctl)
{
	list_init(&ctl->pieces);
	for (unsigned i = 0; i < BDEV_PIECES; i++) {
		struct bdev_piece *piece = &ctl->piece[i];

		piece->io.chan = ctl->chan;
		piece->io.over = ctl->chan;     /* stays here: bdev_forward() */
		piece->io.done = piece_done;
		list_push(&ctl->pieces, &piece->io.link);
	}
}
