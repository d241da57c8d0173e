/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File disks, through the commands that make them, the bdev layer and the kernel's io_uring, on a
 * file in a temporary folder; in real time. Also the commands that all disks share.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/cmd_core.h"
#include "core/dma.h"
#include "core/task.h"
#include "drivers/ram/ram.h"
#include "drivers/uring/uring.h"
#include "tests/unit/cmd_box.h"

enum { BLOCK = 512, BLOCKS = 4096 };

static char folder[] = "/tmp/karst-uring-XXXXXX";
static struct capture *box;
static uint8_t memory[1 << 20] __attribute__((aligned(4096)));

/* ---- each test is the first task of a reactor that runs, sleeps and wakes ---- */

static task_fn *body;

static void first_task(void *arg)
{
	assert_int_equal(buf_init(), 0);
	assert_int_equal(bdev_init(), 0);
	body(arg);
	uring_fini();
	ram_fini();
	assert_null(bdev_next(NULL));
	bdev_fini();
	buf_fini();
	reactor_stop();
}

static void run(void **state)
{
	struct dma_opts opts = { .memory_mib = 16, .no_huge = true, .program = "test" };

	body = (task_fn *)*state;
	clock_init();
	assert_int_equal(dma_init(&opts), 0);
	assert_int_equal(reactor_init(1, NULL), 0);
	reactor_run(first_task, NULL);
	reactor_fini();
	dma_fini();
}

#define disk_test(name) { #name, run, NULL, NULL, (void *)name }

/* LINE with %s for the folder. */
static int command(const char *line, const char *text)
{
	char full[256];
	int rc;

	snprintf(full, sizeof(full), line, folder, folder);
	rc = capture_run(box, full);
	if (!strstr(capture_text(box), text))
		fail_msg("%s\n--- printed\n%s--- expected in it\n%s", full,
			 capture_text(box), text);
	return rc;
}

static void file_make(const char *name, size_t bytes)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	close(fd);
}

static void file_read(const char *name, uint64_t offset, void *buf, size_t len)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, len, offset), len);
	close(fd);
}

static enum io_status submit(struct bdev *d, enum io_op op, uint64_t lba, uint32_t count, void *buf,
			     unsigned flags)
{
	struct iovec iov[2] = { { buf, 0 } };
	struct io io = { .op = op, .flags = flags, .lba = lba, .lba_count = count, .iov = iov };
	size_t len = (size_t)count * d->block_bytes;

	/* In two elements when it can be. */
	if (buf && count > 1) {
		iov[0].iov_len = len / 2;
		iov[1] = (struct iovec){ (char *)buf + len / 2, len - len / 2 };
		io.iov_count = 2;
	} else if (buf) {
		iov[0].iov_len = len;
		io.iov_count = 1;
	}
	return task_io(bdev_chan(d), &io);
}

/* ---- io ---- */

static void data_goes_to_the_file_and_back(void *arg)
{
	uint8_t *in = memory + (512 << 10), back[64 * BLOCK];
	struct bdev *d;

	assert_int_equal(command("disk create file f0 path=%s/a size=2M", ""), 0);
	d = bdev_find("f0");
	assert_non_null(d);
	assert_int_equal(d->block_count, BLOCKS);
	/* Aligned memory goes as it is, other memory over bounce buffers. */
	for (unsigned offset = 0; offset < 1500; offset += 499) {
		for (unsigned i = 0; i < 64 * BLOCK; i++)
			memory[offset + i] = i * 7 + (i >> 8) + offset;
		assert_int_equal(submit(d, IO_WRITE, 100 + offset, 64, memory + offset, 0), IO_OK);
		assert_int_equal(submit(d, IO_READ, 100 + offset, 64, in + offset, 0), IO_OK);
		assert_memory_equal(in + offset, memory + offset, 64 * BLOCK);
		assert_int_equal(submit(d, IO_FLUSH, 0, 0, NULL, 0), IO_OK);
		file_read("a", (100 + offset) * BLOCK, back, sizeof(back));
		assert_memory_equal(back, memory + offset, sizeof(back));
	}
	assert_int_equal(submit(d, IO_COMPARE, 100, 64, back, 0), IO_ERR_MISCOMPARE);
	assert_int_equal(submit(d, IO_WRITE, 100, 64, back, IO_FUA), IO_OK);
	assert_int_equal(submit(d, IO_COMPARE, 100, 64, back, 0), IO_OK);
}

static void zeroes_and_holes(void *arg)
{
	struct bdev *d;

	assert_int_equal(command("disk create file f0 path=%s/b size=2M block=4K", ""), 0);
	d = bdev_find("f0");
	memset(memory, 0xee, sizeof(memory));
	assert_int_equal(submit(d, IO_WRITE, 0, 64, memory, 0), IO_OK);
	assert_int_equal(submit(d, IO_WRITE_ZEROES, 8, 8, NULL, IO_FUA), IO_OK);
	assert_int_equal(submit(d, IO_WRITE_ZEROES, 17, 1, NULL, IO_NO_UNMAP), IO_OK);
	if (bdev_supports(d, IO_UNMAP))
		assert_int_equal(submit(d, IO_UNMAP, 24, 8, NULL, 0), IO_OK);
	else
		assert_int_equal(submit(d, IO_WRITE_ZEROES, 24, 8, NULL, 0), IO_OK);
	assert_int_equal(submit(d, IO_READ, 0, 64, memory, 0), IO_OK);
	for (unsigned i = 0; i < 64; i++) {
		bool zero = (i >= 8 && i < 16) || i == 17 || (i >= 24 && i < 32);

		assert_int_equal(memory[i * 4096], zero ? 0 : 0xee);
		assert_int_equal(memory[i * 4096 + 4095], zero ? 0 : 0xee);
	}
}

struct many {
	struct io io;
	struct iovec iov;
	unsigned *left;
	struct event *all;
};

static void many_done(struct io *io)
{
	struct many *m = container_of(io, struct many, io);

	assert_int_equal(io->status, IO_OK);
	if (--*m->left == 0)
		event_signal(m->all);
}

static void more_io_than_the_ring_holds(void *arg)
{
	enum { COUNT = 1000 };
	struct many *m = calloc(COUNT, sizeof(*m));
	struct event all;
	unsigned left;
	struct bdev *d;

	assert_int_equal(command("disk create file f0 path=%s/c size=2M", ""), 0);
	d = bdev_find("f0");
	event_init(&all);
	for (enum io_op op = IO_WRITE + 1; op-- > IO_READ;) {
		left = COUNT;
		event_clear(&all);
		for (unsigned i = 0; i < COUNT; i++) {
			m[i].iov = (struct iovec){ memory + i * BLOCK, BLOCK };
			m[i].io = (struct io){ .op = op, .lba = i, .lba_count = 1,
					       .iov = &m[i].iov, .iov_count = 1,
					       .done = many_done };
			m[i].left = &left;
			m[i].all = &all;
			if (op == IO_WRITE)
				memset(memory + i * BLOCK, i, BLOCK);
			else
				memset(memory + i * BLOCK, 0, BLOCK);
			bdev_submit(bdev_chan(d), &m[i].io);
		}
		task_wait(&all);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(memory[i * BLOCK], (uint8_t)i);
		assert_int_equal(memory[i * BLOCK + BLOCK - 1], (uint8_t)i);
	}
	free(m);
}

static void a_file_cut_short_gives_read_errors(void *arg)
{
	char path[128];
	struct bdev *d;

	assert_int_equal(command("disk create file f0 path=%s/d size=2M", ""), 0);
	d = bdev_find("f0");
	snprintf(path, sizeof(path), "%s/d", folder);
	assert_int_equal(truncate(path, 1 << 20), 0);
	assert_int_equal(submit(d, IO_READ, 0, 8, memory, 0), IO_OK);
	assert_int_equal(submit(d, IO_READ, 2044, 8, memory, 0), IO_ERR_MEDIA_READ);
	assert_int_equal(submit(d, IO_READ, 3000, 8, memory, 0), IO_ERR_MEDIA_READ);
	/* `disk show` looks at the file again. */
	assert_int_equal(command("disk show f0", "path"), 0);
	assert_int_equal(d->block_count, 2048);
	assert_int_equal(submit(d, IO_READ, 2044, 8, memory, 0), IO_ERR_RANGE);
}

static void the_reactor_sleeps_and_is_woken(void *arg)
{
	struct reactor_stats st;
	struct bdev *d;

	assert_int_equal(command("disk create file f0 path=%s/e size=2M", ""), 0);
	d = bdev_find("f0");
	do {
		assert_int_equal(submit(d, IO_WRITE, 7, 8, memory, 0), IO_OK);
		task_sleep(2000);
		assert_int_equal(submit(d, IO_FLUSH, 0, 0, NULL, 0), IO_OK);
		reactor_stats(reactor_self(), &st);
	} while (st.sleeps < 20);
}

/* ---- commands ---- */

static void what_cannot_be_a_disk_is_told(void *arg)
{
	file_make("small", 1000);
	file_make("tiny", 100);
	file_make("big", 1 << 20);
	assert_int_equal(command("disk create file x path=%s/none", "give size="), -ENOENT);
	assert_int_equal(command("disk create file x path=%s", "neither a file"), -ENOTBLK);
	assert_int_equal(command("disk create file x path=%s/no/such size=1M", "cannot open"),
			 -ENOENT);
	assert_int_equal(command("disk create file x path=%s/tiny", "not one block"), -EINVAL);
	assert_int_equal(command("disk create file x path=%s/big size=64K", "not cut short"),
			 -EEXIST);
	assert_int_equal(command("disk create file x path=%s/big block=513", "power of two"),
			 -EINVAL);
	assert_int_equal(command("disk create file a/b path=%s/big", "no such name"), -EINVAL);
	/* The rest behind the last whole block is left alone. */
	assert_int_equal(command("disk create file s path=%s/small", ""), 0);
	assert_int_equal(bdev_find("s")->block_count, 1);
	assert_int_equal(command("disk create file x path=%s/small", "is a disk already"), -EBUSY);
	assert_int_equal(command("disk create file s path=%s/big", "exists already"), -EEXIST);
	/* Deleted, it can be used again at once. */
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(command("disk delete s force", ""), 0);
		assert_int_equal(command("disk create file s path=%s/small", ""), 0);
	}
}

static void a_readonly_disk_never_changes_its_file(void *arg)
{
	struct bdev *d;

	file_make("ro", 1 << 20);
	assert_int_equal(command("disk create file r path=%s/ro readonly", ""), 0);
	d = bdev_find("r");
	assert_int_equal(submit(d, IO_WRITE, 0, 8, memory, 0), IO_ERR_READONLY);
	assert_int_equal(submit(d, IO_READ, 0, 8, memory, 0), IO_OK);
	assert_int_equal(command("disk create file x path=%s/ro", "is a disk already"), -EBUSY);
	assert_int_equal(command("disk create file x path=%s/ro readonly", ""), 0);
}

static void disks_are_listed_shown_and_deleted(void *arg)
{
	struct bdev_user user = { .who = "somebody", .write = true };
	char line[256];

	assert_int_equal(command("disk create ram r0 size=1M block=4K", ""), 0);
	assert_int_equal(command("disk create ram r0 size=1M", "exists already"), -EEXIST);
	assert_int_equal(command("disk create file f0 path=\"%s/with space\" size=1M", ""), 0);
	assert_int_equal(command("disk list | count", "2"), 0);
	assert_int_equal(command("disk show r0", "4096"), 0);
	assert_int_equal(command("disk show none", "see disk list"), -ENOENT);
	assert_int_equal(bdev_open("r0", &user), 0);
	assert_int_equal(command("disk show r0", "somebody"), 0);
	assert_int_equal(command("disk delete r0 force", "in use by somebody"), -EBUSY);
	bdev_close(&user);
	assert_int_equal(submit(bdev_find("r0"), IO_WRITE, 0, 4, memory, 0), IO_OK);
	assert_int_equal(command("stats show r0 | json", "16384"), 0);
	assert_int_equal(command("stats latency r0", "P99.99"), 0);
	assert_int_equal(command("stats clear", ""), 0);
	assert_int_equal(command("stats latency r0 | count", "0"), 0);
	assert_int_equal(command("stats show none", "no such disk"), -ENOENT);
	assert_int_equal(command("memory show", "buf large"), 0);
	/* What `config show` prints makes them again. */
	snprintf(line, sizeof(line), "disk create file f0 path=\"%s/with space\" size=1048576 "
		 "block=%u", folder, bdev_find("f0")->block_bytes);
	assert_int_equal(command("disk delete r0 force", ""), 0);
	assert_int_equal(command("disk delete f0 force", ""), 0);
	assert_int_equal(command("disk list | count", "0"), 0);
	assert_int_equal(command(line, ""), 0);
	assert_int_equal(command("disk bench r0 rw=randread", "there is none"), -ENOENT);
}

static void disks_are_listed_by_name_in_whatever_order_they_came(void *arg)
{
	(void)arg;
	assert_int_equal(command("disk create ram n10 size=1M", ""), 0);
	assert_int_equal(command("disk create ram n9 size=1M", ""), 0);
	assert_int_equal(command("disk create ram a size=1M", ""), 0);
	assert_int_equal(command("disk list | json", "\"rows\":[{\"name\":\"a\""), 0);
	assert_int_equal(command("disk delete a force", ""), 0);
	assert_int_equal(command("disk list | json", "\"rows\":[{\"name\":\"n9\""), 0);
}

static int group_setup(void **state)
{
	void *b = NULL;

	for (unsigned i = 0; cmd_core_tables[i]; i++)
		cmd_register(cmd_core_tables[i]);
	cmd_register(uring_cmds);
	cmd_register(ram_cmds);
	box_setup(&b);
	box = b;
	return mkdtemp(folder) ? 0 : -1;
}

static int group_teardown(void **state)
{
	char line[64];
	void *b = box;

	snprintf(line, sizeof(line), "rm -r %s", folder);
	box_teardown(&b);
	return system(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		disk_test(data_goes_to_the_file_and_back),
		disk_test(zeroes_and_holes),
		disk_test(more_io_than_the_ring_holds),
		disk_test(a_file_cut_short_gives_read_errors),
		disk_test(the_reactor_sleeps_and_is_woken),
		disk_test(what_cannot_be_a_disk_is_told),
		disk_test(a_readonly_disk_never_changes_its_file),
		disk_test(disks_are_listed_shown_and_deleted),
		disk_test(disks_are_listed_by_name_in_whatever_order_they_came),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
