/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk in memory for tests: any limits, delays, errors, a volatile cache that a crash loses. It
 * asserts that what it is given keeps its limits. Effects happen when an io is released, not when
 * it is submitted. One reactor; make and remove it in a task.
 */
#ifndef TESTS_FAKE_BDEV_H
#define TESTS_FAKE_BDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bdev.h"
#include "core/reactor.h"

enum fake_mode {
	FAKE_INSTANT,   /* done when submitted */
	FAKE_HELD,      /* waits for fake_release */
	FAKE_RANDOM,    /* released by a poller: some each round, in random order */
};

enum { FAKE_RULES = 8 };

/* Io of OP that touch the range, after SKIP such io, COUNT times, end with STATUS, not done. */
struct fake_rule {
	enum io_op op;
	uint64_t lba, lba_count;
	unsigned skip, count;
	enum io_status status;
};

struct fake_tape;

struct fake_bdev {
	struct bdev bdev;
	enum fake_mode mode;
	uint8_t *view;                  /* what is read */
	uint8_t *media;                 /* what a crash leaves */
	struct list held;               /* struct io, oldest first */
	unsigned held_count, held_peak;
	struct list journal;            /* completed writes that are not flushed */
	struct fake_rule rules[FAKE_RULES];
	unsigned rule_count;
	unsigned ops[IO_OP_COUNT];      /* that were released */
	bool obeys;                     /* what is held can be aborted */
	struct bdev_health health;
	int health_rc;                  /* begins as -EOPNOTSUPP; others take a millisecond */
	unsigned healths;               /* that were asked for */
	unsigned aborts;                /* that were asked for */
	uint64_t random;
	struct poller poller;
	bool destroyed;
	unsigned removed;               /* times that bdev_ops.remove came */
	struct fake_tape *tape;         /* records it, may be NULL: fake_tape.h */
};

/*
 * Registers a disk with the first part of SHAPE (name, block_bytes, block_count, ops_supported,
 * limits …), filled with zeroes. SEED is for FAKE_RANDOM and crashes.
 */
struct fake_bdev *fake_create(const struct bdev *shape, enum fake_mode mode, uint64_t seed);
/* bdev_unregister; waits. Then the memory. */
void fake_remove(struct fake_bdev *f);
/* The memory of a disk that was unregistered otherwise. */
void fake_free(struct fake_bdev *f);

/* The medium becomes BYTES (all of it), and so does what is read; nothing is held. */
void fake_fill(struct fake_bdev *f, const void *bytes);

/* At most COUNT of the held io, the oldest first; returns how many. */
unsigned fake_release(struct fake_bdev *f, unsigned count);
/* One of them. */
void fake_release_one(struct fake_bdev *f, struct io *io, enum io_status status);
/* All, in random order. */
void fake_release_all(struct fake_bdev *f);
void fake_fail(struct fake_bdev *f, const struct fake_rule *rule);

/*
 * Power is lost: of what was completed and not flushed each atomic unit is on the medium or not, at
 * random; of a write that was held, too. Everything held ends with IO_ERR_GONE.
 */
void fake_crash(struct fake_bdev *f);

#endif
