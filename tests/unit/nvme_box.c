/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/nvme_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/buf.h"
#include "core/dma.h"

struct fake_nvme fake;

enum { MEMORY_MIB = 32 };

static int fake_poll(struct poller *p)
{
	return fake_nvme_step(&fake);
}

static struct poller fake_poller = { .name = "fake", .poll = fake_poll };

static uint64_t used_bytes(void)
{
	struct dma_stats stats;

	dma_stats(&stats);
	return stats.used_bytes;
}

static uint64_t used_before;

int nvme_box_setup(void **state)
{
	static const struct dma_opts opts = { .memory_mib = MEMORY_MIB };

	loop_setup(state);
	log_level_set(LOG_ERROR);
	assert_int_equal(dma_init(&opts), 0);
	assert_int_equal(buf_init(), 0);
	assert_int_equal(bdev_init(), 0);
	fake_nvme_init(&fake, "0000:01:00.0");
	poller_start(&fake_poller);
	used_before = used_bytes();
	return 0;
}

static void fini_task(void *arg)
{
	nvme_fini();
}

int nvme_box_teardown(void **state)
{
	unsigned closes = fake.closes + (nvme_ctrl_next(NULL) != NULL);

	loop_task(fini_task, NULL);
	assert_int_equal(fake.closes, closes);
	assert_int_equal(used_bytes(), used_before);
	/* an ended controller cannot reach memory */
	assert_int_equal(fake.pci_command & 4, 0);
	poller_stop(&fake_poller);
	bdev_fini();
	buf_fini();
	dma_fini();
	fake_nvme_fini(&fake);
	return loop_teardown(state);
}

static void attach_task(void *arg)
{
	*(int *)arg = nvme_ctrl_attach(&fake.dev.addr);
}

int box_attach(void)
{
	int rc = 1;

	loop_task(attach_task, &rc);
	return rc;
}

struct bdev *box_disk(const char *name)
{
	return bdev_find(name);
}

struct nvme_ctrl *box_ctrl(void)
{
	return nvme_ctrl_find("nvme0");
}

/* ---- io ---- */

static void box_io_done(struct io *io)
{
	container_of(io, struct box_io, io)->done++;
}

struct box_io *box_io_new(enum io_op op, uint64_t lba, uint32_t lba_count, size_t len)
{
	struct box_io *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	if (len > 0) {
		b->data = dma_alloc(len, DMA_PAGE_BYTES);
		assert_non_null(b->data);
	}
	b->iov = (struct iovec){ b->data, len };
	b->io = (struct io){ .op = op, .lba = lba, .lba_count = lba_count, .iov = &b->iov,
			     .iov_count = len > 0, .done = box_io_done };
	return b;
}

void box_io_free(struct box_io *b)
{
	assert_int_equal(b->done, 1);
	dma_free(b->data);
	free(b);
}

void box_submit(struct box_io *b, const char *disk)
{
	struct bdev *bdev = box_disk(disk);

	assert_non_null(bdev);
	bdev_submit(bdev_chan(bdev), &b->io);
}

enum io_status box_run(struct box_io *b, const char *disk)
{
	box_submit(b, disk);
	assert_true(box_until(b->done, 100 * 1000));
	assert_int_equal(b->done, 1);
	return b->io.status;
}
