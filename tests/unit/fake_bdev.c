/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/fake_bdev.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/task.h"
#include "tests/unit/fake_tape.h"

/* A completed write; a durable one only tells what older ones must not overwrite. */
struct cached {
	struct list link;
	uint64_t lba, lba_count;
	bool durable;
	uint8_t data[];
};

static struct fake_bdev *fake_of(const struct bdev *bdev)
{
	return container_of(bdev, struct fake_bdev, bdev);
}

static uint64_t fake_random(struct fake_bdev *f)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return f->random;
}

static size_t bytes_of(const struct fake_bdev *f, uint64_t blocks)
{
	return blocks * f->bdev.block_bytes;
}

/* ---- what a driver may rely on ---- */

static void check_data(const struct fake_bdev *f, const struct io *io, unsigned shares)
{
	const struct bdev *b = &f->bdev;
	uintptr_t align = MAX(b->limits.align_bytes, 1u) - 1;
	uintptr_t page = b->limits.page_bytes ? b->limits.page_bytes - 1 : 0;
	size_t bytes = 0;

	for (unsigned i = 0; i < io->iov_count; i++) {
		uintptr_t base = (uintptr_t)io->iov[i].iov_base;
		size_t len = io->iov[i].iov_len;

		ASSERT(len > 0);
		ASSERT(((base | len) & align) == 0);
		ASSERT(i == 0 || (base & page) == 0);
		ASSERT(i + 1u == io->iov_count || ((base + len) & page) == 0);
		bytes += len;
	}
	ASSERT(bytes == bytes_of(f, io->lba_count) * shares);
	ASSERT(!b->limits.iov_count_max || io->iov_count <= b->limits.iov_count_max);
	ASSERT(!b->limits.xfer_bytes_max || bytes <= b->limits.xfer_bytes_max);
}

static void check_io(const struct fake_bdev *f, const struct io *io)
{
	const struct bdev *b = &f->bdev;

	ASSERT(io->op < IO_OP_COUNT);
	ASSERT(b->ops_supported & 1u << io->op);
	if (io->op == IO_FLUSH || io->op == IO_ABORT)
		return;
	ASSERT(io->lba_count > 0);
	ASSERT(io->lba < b->block_count && io->lba_count <= b->block_count - io->lba);
	ASSERT(io->op == IO_READ || io->op == IO_COMPARE || io->op == IO_VERIFY || !b->readonly);
	if (io->op == IO_WRITE || io->op == IO_WRITE_ZEROES || io->op == IO_COMPARE_WRITE)
		ASSERT(!(io->flags & IO_FUA) || b->fua || !b->volatile_cache);
	if (io->op == IO_READ || io->op == IO_WRITE || io->op == IO_COMPARE)
		check_data(f, io, 1);
	else if (io->op == IO_COMPARE_WRITE)
		check_data(f, io, 2);
	else if (io->op == IO_UNMAP && b->limits.unmap_blocks_max)
		ASSERT(io->lba_count <= b->limits.unmap_blocks_max);
	else if (io->op == IO_WRITE_ZEROES && b->limits.write_zeroes_blocks_max)
		ASSERT(io->lba_count <= b->limits.write_zeroes_blocks_max);
}

/* ---- effects ---- */

/* Bytes SKIP… of the io's data from or to MEM; for IO_COMPARE tells whether they are equal. */
static bool data_run(const struct io *io, size_t skip, uint8_t *mem, size_t len, enum io_op op)
{
	for (unsigned i = 0; len > 0; i++) {
		size_t part = io->iov[i].iov_len;

		if (skip >= part) {
			skip -= part;
			continue;
		}
		part = MIN(part - skip, len);
		if (op == IO_READ)
			memcpy((uint8_t *)io->iov[i].iov_base + skip, mem, part);
		else if (op == IO_WRITE)
			memcpy(mem, (uint8_t *)io->iov[i].iov_base + skip, part);
		else if (memcmp(mem, (uint8_t *)io->iov[i].iov_base + skip, part) != 0)
			return false;
		skip = 0;
		mem += part;
		len -= part;
	}
	return true;
}

/* The view has changed there: on the medium at once, or only in the cache. */
static void changed(struct fake_bdev *f, const struct io *io)
{
	size_t at = bytes_of(f, io->lba), len = bytes_of(f, io->lba_count);
	bool durable = !f->bdev.volatile_cache || (io->flags & IO_FUA);
	struct cached *c;

	if (durable)
		memcpy(f->media + at, f->view + at, len);
	if (durable && list_empty(&f->journal))
		return;
	c = malloc(sizeof(*c) + len);
	ASSERT(c);
	c->lba = io->lba;
	c->lba_count = io->lba_count;
	c->durable = durable;
	memcpy(c->data, f->view + at, len);
	list_push(&f->journal, &c->link);
}

static void journal_clear(struct fake_bdev *f)
{
	struct cached *c;

	while ((c = list_pop_entry(&f->journal, struct cached, link)))
		free(c);
}

/* Where nothing is in the journal the medium is what is read. */
static void flush(struct fake_bdev *f)
{
	struct cached *c;

	list_for_each(c, &f->journal, link) {
		size_t at = bytes_of(f, c->lba);

		memcpy(f->media + at, f->view + at, bytes_of(f, c->lba_count));
	}
	journal_clear(f);
}

static enum io_status effect(struct fake_bdev *f, struct io *io)
{
	uint8_t *at = f->view + bytes_of(f, io->lba);
	size_t len = bytes_of(f, io->lba_count);

	switch ((enum io_op)io->op) {
	case IO_READ:
		data_run(io, 0, at, len, IO_READ);
		return IO_OK;
	case IO_WRITE:
		data_run(io, 0, at, len, IO_WRITE);
		break;
	case IO_UNMAP:
		if (!f->bdev.unmap_zeroes)
			return IO_OK;
		memset(at, 0, len);
		break;
	case IO_WRITE_ZEROES:
		memset(at, 0, len);
		break;
	case IO_COPY:
		memmove(at, f->view + bytes_of(f, io->src_lba), len);
		break;
	case IO_VERIFY:
		return IO_OK;
	case IO_COMPARE:
		return data_run(io, 0, at, len, IO_COMPARE) ? IO_OK : IO_ERR_MISCOMPARE;
	case IO_COMPARE_WRITE:
		if (!data_run(io, 0, at, len, IO_COMPARE))
			return IO_ERR_MISCOMPARE;
		data_run(io, len, at, len, IO_WRITE);
		break;
	case IO_FLUSH:
		flush(f);
		return IO_OK;
	default:
		panic("fake %s: %s", f->bdev.name, io_op_name(io->op));
	}
	changed(f, io);
	return IO_OK;
}

static enum io_status injected(struct fake_bdev *f, const struct io *io)
{
	for (unsigned i = 0; i < f->rule_count; i++) {
		struct fake_rule *r = &f->rules[i];

		if (r->op != io->op || (io->op != IO_FLUSH && (io->lba >= r->lba + r->lba_count ||
							      r->lba >= io->lba + io->lba_count)))
			continue;
		if (r->skip > 0) {
			r->skip--;
		} else if (r->count > 0) {
			r->count--;
			return r->status;
		}
	}
	return IO_OK;
}

void fake_release_one(struct fake_bdev *f, struct io *io, enum io_status status)
{
	list_del(&io->link);
	f->held_count--;
	f->ops[io->op]++;
	if (status == IO_OK)
		status = injected(f, io);
	if (status == IO_OK)
		status = effect(f, io);
	if (status == IO_OK && f->tape)
		tape_done(f->tape, io);
	io_complete(io, status);
}

unsigned fake_release(struct fake_bdev *f, unsigned count)
{
	unsigned n = 0;

	for (; n < count && !list_empty(&f->held); n++)
		fake_release_one(f, list_first_entry(&f->held, struct io, link), IO_OK);
	return n;
}

static void release_random(struct fake_bdev *f)
{
	unsigned nth = fake_random(f) % f->held_count;
	struct list *link = f->held.next;

	while (nth-- > 0)
		link = link->next;
	fake_release_one(f, list_entry(link, struct io, link), IO_OK);
}

void fake_release_all(struct fake_bdev *f)
{
	while (f->held_count > 0)
		release_random(f);
}

void fake_fail(struct fake_bdev *f, const struct fake_rule *rule)
{
	ASSERT(f->rule_count < FAKE_RULES);
	f->rules[f->rule_count++] = *rule;
}

/* ---- crash ---- */

static void crash_apply(struct fake_bdev *f, uint64_t lba, uint64_t lba_count, const uint8_t *data,
			bool durable)
{
	uint64_t unit = MAX(f->bdev.atomic_blocks, 1u);

	for (uint64_t at = 0; at < lba_count; at += unit) {
		uint64_t count = MIN(unit, lba_count - at);

		if (durable || (fake_random(f) & 1 << 8))
			memcpy(f->media + bytes_of(f, lba + at), data + bytes_of(f, at),
			       bytes_of(f, count));
	}
}

static void crash_held(struct fake_bdev *f, struct io *io)
{
	uint8_t *data;

	if (io->op != IO_WRITE)
		return;
	data = malloc(bytes_of(f, io->lba_count));
	ASSERT(data);
	data_run(io, 0, data, bytes_of(f, io->lba_count), IO_WRITE);
	crash_apply(f, io->lba, io->lba_count, data, false);
	free(data);
}

void fake_crash(struct fake_bdev *f)
{
	struct cached *c;

	list_for_each(c, &f->journal, link)
		crash_apply(f, c->lba, c->lba_count, c->data, c->durable);
	while (!list_empty(&f->held)) {
		struct io *io = list_first_entry(&f->held, struct io, link);

		crash_held(f, io);
		fake_release_one(f, io, IO_ERR_GONE);
	}
	journal_clear(f);
	memcpy(f->view, f->media, bytes_of(f, f->bdev.block_count));
}

void fake_fill(struct fake_bdev *f, const void *bytes)
{
	ASSERT(f->held_count == 0);
	journal_clear(f);
	memcpy(f->view, bytes, bytes_of(f, f->bdev.block_count));
	memcpy(f->media, bytes, bytes_of(f, f->bdev.block_count));
}

/* ---- the bdev ---- */

static void fake_submit(struct bdev_chan *chan, struct io *io)
{
	struct fake_bdev *f = fake_of(chan->bdev);

	check_io(f, io);
	if (f->tape)
		tape_submitted(f->tape, io);
	list_push(&f->held, &io->link);
	if (++f->held_count > f->held_peak)
		f->held_peak = f->held_count;
	if (f->mode == FAKE_INSTANT)
		fake_release_one(f, io, IO_OK);
}

static void fake_abort(struct bdev_chan *chan, struct io *victim)
{
	struct fake_bdev *f = fake_of(chan->bdev);

	f->aborts++;
	if (f->obeys)
		fake_release_one(f, victim, IO_ERR_ABORTED);
}

static int fake_health(struct bdev *bdev, struct bdev_health *health)
{
	struct fake_bdev *f = fake_of(bdev);

	f->healths++;
	if (f->health_rc == -EOPNOTSUPP)
		return f->health_rc;
	task_sleep(1000);
	*health = f->health;
	return f->health_rc;
}

static int fake_poll(struct poller *p)
{
	struct fake_bdev *f = container_of(p, struct fake_bdev, poller);
	unsigned count, n = 0;

	if (f->mode != FAKE_RANDOM || f->held_count == 0)
		return 0;
	/* Also none: others get a turn, and the round still counts as work. */
	count = fake_random(f) % (f->held_count + 1);
	for (; n < count; n++)
		release_random(f);
	return n + 1;
}

static int fake_chan_open(struct bdev_chan *chan)
{
	struct fake_bdev *f = fake_of(chan->bdev);

	f->poller = (struct poller){ .name = "fake", .poll = fake_poll };
	poller_start(&f->poller);
	return 0;
}

static void fake_chan_close(struct bdev_chan *chan)
{
	struct fake_bdev *f = fake_of(chan->bdev);

	ASSERT(f->held_count == 0);
	poller_stop(&f->poller);
}

static void fake_destroy(struct bdev *bdev)
{
	fake_of(bdev)->destroyed = true;
}

static int fake_ops_remove(struct bdev *bdev)
{
	fake_of(bdev)->removed++;
	bdev_unregister(bdev);
	return 0;
}

static const struct bdev_ops fake_ops = {
	.chan_open = fake_chan_open,
	.chan_close = fake_chan_close,
	.submit = fake_submit,
	.abort = fake_abort,
	.health = fake_health,
	.destroy = fake_destroy,
	.remove = fake_ops_remove,
};

struct fake_bdev *fake_create(const struct bdev *shape, enum fake_mode mode, uint64_t seed)
{
	struct fake_bdev *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->bdev = *shape;
	f->bdev.driver = "fake";
	f->bdev.ops = &fake_ops;
	f->mode = mode;
	f->health_rc = -EOPNOTSUPP;
	f->random = seed * 0x9e3779b97f4a7c15 | 1;
	list_init(&f->held);
	list_init(&f->journal);
	f->view = calloc(shape->block_count, shape->block_bytes);
	f->media = calloc(shape->block_count, shape->block_bytes);
	assert_true(f->view && f->media);
	assert_int_equal(bdev_register(&f->bdev), 0);
	return f;
}

void fake_free(struct fake_bdev *f)
{
	assert_true(f->destroyed);
	journal_clear(f);
	free(f->view);
	free(f->media);
	free(f);
}

void fake_remove(struct fake_bdev *f)
{
	bdev_unregister(&f->bdev);
	fake_free(f);
}
