/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver on three reactors in threads of their own, with as many queue pairs or fewer. Reactor
 * 0 steps the controller and therefore never sleeps; the others do, and are woken by vectors and
 * messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/dma.h"
#include "drivers/nvme/nvme.h"
#include "tests/unit/fake_nvme.h"

enum { REACTORS = 3, DEPTH = 12, IO_BLOCKS = 8, BLOCK = 512, SLOTS = 8192 / IO_BLOCKS / REACTORS };

static struct fake_nvme fake;

static int fake_poll(struct poller *p)
{
	return fake_nvme_step(&fake);
}

static enum poller_arm fake_arm(struct poller *p)
{
	return POLLER_DEAF;
}

static struct poller fake_poller = { .name = "fake", .poll = fake_poll, .arm = fake_arm };

/* ---- a load: every reactor writes and reads its own part of the disk ---- */

struct worker {
	unsigned reactor, seed, left;
	struct bdev *disk;
	struct event idle;
	unsigned inflight, gone;
	uint8_t version[SLOTS];         /* what each slot was last filled with */
	bool busy[SLOTS];
	struct flight {
		struct io io;
		struct iovec iov;
		struct worker *w;
		unsigned slot;
		uint8_t *data;
	} flight[DEPTH];
};

static struct worker workers[REACTORS];

static void flight_next(struct flight *fl)
{
	struct worker *w = fl->w;

	do {
		w->seed = w->seed * 1103515245u + 12345u;
		fl->slot = (w->seed >> 8) % SLOTS;
	} while (w->busy[fl->slot]);
	w->busy[fl->slot] = true;
	w->inflight++;
	w->left--;
	fl->io.op = w->seed >> 30 & 1 ? IO_WRITE : IO_READ;
	if (fl->io.op == IO_WRITE)
		memset(fl->data, ++w->version[fl->slot], IO_BLOCKS * BLOCK);
	fl->io.lba = (w->reactor * SLOTS + fl->slot) * IO_BLOCKS;
	bdev_submit(bdev_chan(w->disk), &fl->io);
}

static void flight_done(struct io *io)
{
	struct flight *fl = container_of(io, struct flight, io);
	struct worker *w = fl->w;

	ASSERT(reactor_index() == w->reactor);
	w->inflight--;
	w->busy[fl->slot] = false;
	if (io->status == IO_ERR_GONE)
		w->gone++;
	else
		ASSERT_MSG(io->status == IO_OK, "status %s", io_status_name(io->status));
	for (unsigned i = 0; io->status == IO_OK && io->op == IO_READ && i < IO_BLOCKS * BLOCK; i++)
		ASSERT(fl->data[i] == w->version[fl->slot]);
	if (w->left > 0 && io->status == IO_OK)
		flight_next(fl);
	else if (w->inflight == 0)
		event_signal(&w->idle);
}

static void worker_run(void *arg)
{
	struct worker *w = &workers[reactor_index()];

	*w = (struct worker){ .reactor = reactor_index(), .seed = reactor_index() + 1,
			      .left = *(unsigned *)arg, .disk = bdev_find("nvme0n1") };
	event_init(&w->idle);
	for (unsigned i = 0; i < DEPTH; i++) {
		struct flight *fl = &w->flight[i];

		fl->w = w;
		fl->data = dma_alloc(IO_BLOCKS * BLOCK, DMA_PAGE_BYTES);
		fl->iov = (struct iovec){ fl->data, IO_BLOCKS * BLOCK };
		fl->io = (struct io){ .lba_count = IO_BLOCKS, .iov = &fl->iov, .iov_count = 1,
				      .done = flight_done };
		flight_next(fl);
	}
	task_wait(&w->idle);
	for (unsigned i = 0; i < DEPTH; i++)
		dma_free(w->flight[i].data);
}

/* ---- scenes: tasks on reactor 0 ---- */

static bool load_ended;

static void load_task(void *arg)
{
	task_call_all(worker_run, arg);
	load_ended = true;
}

static void scene_load(void)
{
	unsigned count = 3000;

	task_call_all(worker_run, &count);
}

static void scene_single_io_wakes_sleepers(void)
{
	unsigned count = DEPTH;

	for (unsigned i = 0; i < 20; i++) {
		task_sleep(2000);
		task_call_all(worker_run, &count);
	}
}

static void scene_resets(void)
{
	unsigned count = 20000;
	struct nvme_ctrl *c = nvme_ctrl_find("nvme0");

	load_ended = false;
	ASSERT(task_start("load", load_task, &count));
	for (unsigned i = 1; i < NVME_RESET_MAX; i++) {
		task_sleep(3000);
		nvme_ctrl_want_reset(c, "test");
		while (c->resets < i || c->state != NVME_CTRL_LIVE)
			task_sleep(1000);
	}
	while (!load_ended)
		task_sleep(1000);
}

static void scene_surprise(void)
{
	unsigned count = 10 * 1000 * 1000;

	load_ended = false;
	ASSERT(task_start("load", load_task, &count));
	task_sleep(10 * 1000);
	fake.dead = true;
	while (!load_ended || nvme_ctrl_find("nvme0"))
		task_sleep(1000);
	for (unsigned i = 0; i < REACTORS; i++)
		ASSERT(workers[i].gone == DEPTH);
}

static void (*scene)(void);

static void start(void *arg)
{
	ASSERT(buf_init() == 0 && bdev_init() == 0);
	poller_start(&fake_poller);
	ASSERT(nvme_ctrl_attach(&fake.dev.addr) == 0);
	ASSERT(nvme_ctrl_find("nvme0")->queue_count == MIN(fake.queues_max, (unsigned)REACTORS));
	scene();
	nvme_fini();
	poller_stop(&fake_poller);
	bdev_fini();
	buf_fini();
	reactor_stop();
}

static void play(void (*what)(void), unsigned queues, uint16_t oacs)
{
	static const struct dma_opts opts = { .memory_mib = 32 };

	log_level_set(LOG_ERROR);
	clock_init();
	assert_int_equal(dma_init(&opts), 0);
	assert_int_equal(reactor_init(REACTORS, NULL), 0);
	fake_nvme_init(&fake, "0000:02:00.0");
	fake.queues_max = queues;
	fake.oacs = oacs;
	/* what a controller says before its first step */
	fake_nvme_step(&fake);
	scene = what;
	reactor_run(start, NULL);
	reactor_fini();
	fake_nvme_fini(&fake);
	dma_fini();
}

static void test_a_queue_for_each_reactor(void **state)
{
	play(scene_load, 8, 0);
}

static void test_one_queue_for_all_reactors(void **state)
{
	play(scene_load, 1, 0);
}

static void test_two_queues_for_three_reactors(void **state)
{
	play(scene_load, 2, 0);
}

static void test_shadow_doorbells_on_all_reactors(void **state)
{
	play(scene_load, 8, NVME_OACS_DOORBELL_BUFFER);
}

static void test_sleeping_reactors_are_woken(void **state)
{
	play(scene_single_io_wakes_sleepers, 8, 0);
	play(scene_single_io_wakes_sleepers, 1, 0);
}

static void test_resets_under_load(void **state)
{
	play(scene_resets, 8, 0);
	play(scene_resets, 1, 0);
}

static void test_surprise_removal_under_load(void **state)
{
	play(scene_surprise, 8, 0);
	play(scene_surprise, 2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_queue_for_each_reactor),
		cmocka_unit_test(test_one_queue_for_all_reactors),
		cmocka_unit_test(test_two_queues_for_three_reactors),
		cmocka_unit_test(test_shadow_doorbells_on_all_reactors),
		cmocka_unit_test(test_sleeping_reactors_are_woken),
		cmocka_unit_test(test_resets_under_load),
		cmocka_unit_test(test_surprise_removal_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
