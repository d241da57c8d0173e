/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A volume that all reactors read and write, each its own blocks, while snapshots are taken and
 * deleted, it is inflated, decoupled, grown and shrunk. Each block says which it is and how often
 * it was written: a read finds what was written last, a snapshot what was there when it was taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blob/volume.h"
#include "core/base/util.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/dma.h"
#include "core/task.h"

enum {
	REACTORS = 4, ROUNDS = 6, WORKERS = 3,
	BLOCK = 4096, CLUSTER = 65536, DISK_BYTES = 96 << 20,
	CLUSTERS = 40, BLOCKS = CLUSTERS * (CLUSTER / BLOCK),
};

/* ---- a disk in memory ---- */

static uint8_t *memory;

static void mem_copy(const struct io *io, uint8_t *at)
{
	for (unsigned i = 0; i < io->iov_count; at += io->iov[i++].iov_len) {
		if (io->op == IO_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
	}
}

static void mem_submit(struct bdev_chan *chan, struct io *io)
{
	uint8_t *at = memory + io->lba * BLOCK;

	if (io->op <= IO_WRITE)
		mem_copy(io, at);
	else if (io->op == IO_WRITE_ZEROES)
		memset(at, 0, (size_t)io->lba_count * BLOCK);
	else if (io->op == IO_UNMAP)
		memset(at, 0xdd, (size_t)io->lba_count * BLOCK);
	io_complete(io, IO_OK);
}

static const struct bdev_ops mem_ops = { .submit = mem_submit };

static struct bdev mem = {
	.name = "mem", .driver = "mem", .ops = &mem_ops,
	.block_bytes = BLOCK, .block_count = DISK_BYTES / BLOCK,
	.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH | 1 << IO_UNMAP |
			 1 << IO_WRITE_ZEROES,
	.volatile_cache = true,
};

/* ---- what is in a block ---- */

struct stamp {
	uint64_t block, count;
	uint8_t rest[BLOCK - 16];
};

/* Written by the block's owner alone; UNKNOWN: it was unmapped. */
static uint64_t counts[BLOCKS];
#define UNKNOWN UINT64_MAX

static unsigned wrong, stop_all;
static uint64_t writes_done;

static void complain(const char *what, uint64_t block, const struct stamp *s, uint64_t want)
{
	if (__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED) < 10)
		fprintf(stderr, "%s: block %llu says %llu/%llu, not %llu\n", what,
			(unsigned long long)block, (unsigned long long)s->block,
			(unsigned long long)s->count, (unsigned long long)want);
}

static enum io_status block_io(struct bdev *bdev, enum io_op op, uint64_t block, uint32_t count,
			       void *data)
{
	struct iovec iov = { data, (size_t)count * BLOCK };
	struct io io = { .op = (uint8_t)op, .lba = block, .lba_count = count, .iov = &iov,
			 .iov_count = data ? 1 : 0 };

	return task_io(bdev_chan(bdev), &io);
}

/* ---- workers ---- */

static struct bdev *volume;

struct worker {
	unsigned number, of;            /* owns the clusters that are NUMBER modulo OF */
	uint64_t random;
	struct event done;
};

static uint64_t worker_random(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static void work(struct worker *w, struct stamp *s)
{
	unsigned mine = CLUSTERS / w->of;
	uint64_t cluster = w->number + w->of * (worker_random(w) % mine);
	uint64_t block = cluster * (CLUSTER / BLOCK) + worker_random(w) % (CLUSTER / BLOCK);

	switch (worker_random(w) % 8) {
	case 0:
		if (worker_random(w) % 4)
			break;
		block = cluster * (CLUSTER / BLOCK);
		if (block_io(volume, IO_UNMAP, block, CLUSTER / BLOCK, NULL) != IO_OK)
			complain("unmap", block, s, 0);
		for (unsigned i = 0; i < CLUSTER / BLOCK; i++)
			counts[block + i] = UNKNOWN;
		break;
	case 1 ... 3:
		s->block = block;
		s->count = counts[block] == UNKNOWN ? 1 : counts[block] + 1;
		if (block_io(volume, IO_WRITE, block, 1, s) != IO_OK)
			complain("write", block, s, 0);
		counts[block] = s->count;
		__atomic_fetch_add(&writes_done, 1, __ATOMIC_RELAXED);
		break;
	default:
		memset(s, 0xcc, 16);
		if (block_io(volume, IO_READ, block, 1, s) != IO_OK)
			complain("read", block, s, 0);
		if (counts[block] == UNKNOWN)
			break;
		if (s->count != counts[block] || s->block != (s->count ? block : 0))
			complain("read", block, s, counts[block]);
	}
}

static void worker_task(void *arg)
{
	struct worker *w = arg;
	struct stamp *s = aligned_alloc(BLOCK, sizeof(*s));

	memset(s, 0, sizeof(*s));
	while (!__atomic_load_n(&stop_all, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&wrong, __ATOMIC_RELAXED))
		work(w, s);
	free(s);
	event_signal(&w->done);
}

static void workers_task(void *arg)
{
	struct worker w[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++) {
		w[i].number = reactor_index() * WORKERS + i;
		w[i].of = REACTORS * WORKERS;
		w[i].random = w[i].number * 0x9e3779b97f4a7c15 + 77;
		event_init(&w[i].done);
		task_start("worker", worker_task, &w[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		task_wait(&w[i].done);
}

static struct event workers_ended;

static void load_task(void *arg)
{
	task_call_all(workers_task, NULL);
	event_signal(&workers_ended);
}

/* ---- what happens to the volume meanwhile ---- */

static struct store *store;
static struct why why;

static bool did(int rc, const char *what)
{
	if (rc == 0)
		return true;
	fprintf(stderr, "%s: %s\n", what, why.text);
	__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	return false;
}

/* Its sum; a block that is not itself is wrong. */
static uint64_t snapshot_sum(const char *name)
{
	struct stamp *s = aligned_alloc(BLOCK, sizeof(*s));
	struct bdev *bdev = bdev_find(name);
	uint64_t sum = 0;

	for (uint64_t b = 0; b < BLOCKS; b++) {
		if (block_io(bdev, IO_READ, b, 1, s) != IO_OK ||
		    (s->block != b && s->block != 0 && s->block != 0xdddddddddddddddd))
			complain(name, b, s, 0);
		sum = sum * 31 + s->block + s->count * 7;
	}
	free(s);
	return sum;
}

static void one_round(struct blob *v, unsigned round)
{
	struct blob *a, *b, *c;
	uint64_t sum_a, sum_b;

	if (!did(volume_snapshot(v, "a", &a, &why), "snapshot a"))
		return;
	sum_a = snapshot_sum("box/a");
	if (!did(volume_resize(v, (CLUSTERS + 480) * (uint64_t)CLUSTER, &why), "grow") ||
	    !did(volume_snapshot(v, "b", &b, &why), "snapshot b"))
		return;
	sum_b = snapshot_sum("box/b");
	if (!did(volume_clone(b, "c", &c, &why), "clone") ||
	    !did(volume_inflate(c, &why), "inflate c"))
		return;
	if (snapshot_sum("box/c") != sum_b || snapshot_sum("box/a") != sum_a)
		did(-EIO, "a snapshot has changed");
	if (round % 3 == 0)
		did(volume_decouple(v, &why), "decouple");
	else if (round % 3 == 1)
		did(volume_inflate(v, &why), "inflate");
	did(volume_resize(v, CLUSTERS * (uint64_t)CLUSTER, &why), "shrink");
	did(volume_delete(c, &why), "delete c");
	if (snapshot_sum("box/b") != sum_b || snapshot_sum("box/a") != sum_a)
		did(-EIO, "a snapshot has changed");
	/* A decoupled volume is a clone of a beside b. */
	if (round % 3 != 0) {
		did(volume_delete(a, &why), "delete a");
		if (snapshot_sum("box/b") != sum_b)
			did(-EIO, "snapshot b has changed");
	}
	did(volume_delete(b, &why), "delete b");
	if (round % 3 == 0)
		did(volume_delete(a, &why), "delete a");
}

static void findings_show(void)
{
	struct check_report report;
	const struct finding *f;

	check_report_init(&report);
	did(store_check(store, false, &report, &why), "check");
	list_for_each(f, &report.findings, link) {
		fprintf(stderr, "check: %s\n", f->text);
		wrong++;
	}
	check_report_fini(&report);
}

static void run_all(void *arg)
{
	const struct store_opts opts = { .cluster_bytes = CLUSTER, .force = true };
	struct blob *v;

	memory = aligned_alloc(BLOCK, DISK_BYTES);
	memset(memory, 0xee, DISK_BYTES);
	memset(memory, 0, BLOCK);
	if (buf_init() < 0 || bdev_init() < 0 || bdev_register(&mem) < 0 ||
	    !did(store_create("box", "mem", &opts, &store, &why), "create") ||
	    !did(volumes_start(store, &why), "start") ||
	    !did(volume_create(store, "v", CLUSTERS * (uint64_t)CLUSTER, true, NULL, &v, &why),
		 "volume"))
		abort();
	volume = bdev_find("box/v");
	event_init(&workers_ended);
	task_start("load", load_task, NULL);
	for (unsigned i = 0; i < ROUNDS && !wrong; i++)
		one_round(v, i);
	__atomic_store_n(&stop_all, 1, __ATOMIC_RELAXED);
	task_wait(&workers_ended);
	findings_show();
	did(volumes_stop(store, &why), "stop");
	did(store_unload(store, &why), "unload");
	bdev_unregister(&mem);
	bdev_fini();
	buf_fini();
	free(memory);
	reactor_stop();
}

static void test_all_reactors_use_a_volume_while_everything_is_done_to_it(void **state)
{
	struct dma_opts opts = { .memory_mib = 64, .no_huge = true, .program = "test" };

	clock_init();
	assert_int_equal(dma_init(&opts), 0);
	assert_int_equal(reactor_init(REACTORS, NULL), 0);
	reactor_run(run_all, NULL);
	reactor_fini();
	dma_fini();
	assert_int_equal(wrong, 0);
	assert_true(writes_done > ROUNDS);
	print_message("%llu writes meanwhile\n", (unsigned long long)writes_done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_reactors_use_a_volume_while_everything_is_done_to_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
