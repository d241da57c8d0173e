/* SPDX-License-Identifier: BSD-3-Clause */
/* A reactor turned by hand with one emulated NVMe controller: what the driver's tests stand on. */
#ifndef TESTS_NVME_BOX_H
#define TESTS_NVME_BOX_H

#include "core/bdev.h"
#include "drivers/nvme/nvme.h"
#include "tests/unit/fake_nvme.h"
#include "tests/unit/loop.h"

/* The controller; stepped once in every round. */
extern struct fake_nvme fake;

int nvme_box_setup(void **state);
/* Detaches everything, and checks that all memory came back. */
int nvme_box_teardown(void **state);
#define box_test(name) cmocka_unit_test_setup_teardown(name, nvme_box_setup, nvme_box_teardown)

/* nvme_ctrl_attach of the fake; what it returned. */
int box_attach(void);
/* The disk NAME, or NULL; the controller nvme0. */
struct bdev *box_disk(const char *name);
struct nvme_ctrl *box_ctrl(void);

/* An io of its own, with one piece of DMA memory, or none. */
struct box_io {
	struct io io;
	struct iovec iov;
	uint8_t *data;
	unsigned done;
};

struct box_io *box_io_new(enum io_op op, uint64_t lba, uint32_t lba_count, size_t len);
void box_io_free(struct box_io *b);
void box_submit(struct box_io *b, const char *disk);
/* Submits and turns the reactor until it is done; its status. */
enum io_status box_run(struct box_io *b, const char *disk);
/* Advances time by a millisecond at a time until COND is not 0, up to LIMIT_MS; whether it is. */
#define box_until(cond, limit_ms) \
	({ \
		unsigned box_ms = 0; \
		loop_drain(); \
		while (!(cond) && box_ms++ < (limit_ms)) \
			loop_advance(1000); \
		(bool)(cond); \
	})

#endif
