/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that ever changed a fake disk, in order: so that one run gives every crash there could have
 * been. A crash point is a place on the tape. What must be on the medium there: writes that were
 * done before a flush was submitted which is done, and FUA writes that are done (any that are done,
 * on a disk without a volatile cache). Of all others, whether done or not, any part may be there.
 * Of writes to the same block that are done the medium has one not older than the newest it must
 * have.
 */
#ifndef TESTS_FAKE_TAPE_H
#define TESTS_FAKE_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/fake_bdev.h"

enum tape_kind {
	TAPE_WRITE,             /* submitted: also write-zeroes and unmap */
	TAPE_DONE,              /* of `write` */
	TAPE_FLUSH,             /* done; `upto` is where it was submitted */
	TAPE_MARK,              /* the test's: see tape_mark */
};

struct tape_entry {
	enum tape_kind kind;
	bool durable;           /* WRITE: once it is done */
	size_t write, upto;
	uint64_t mark;
	uint64_t lba, lba_count;
	uint8_t *data;          /* NULL: zeroes */
};

struct fake_tape {
	struct fake_bdev *disk;
	uint8_t *start;         /* the medium when the tape began */
	struct tape_entry *entries;
	size_t count, room;
};

/* Begins a tape of F, whose medium is as it is; nothing is in flight. */
void tape_start(struct fake_tape *tape, struct fake_bdev *f);
/* Ends it (F records no more), and keeps what was recorded. */
void tape_stop(struct fake_tape *tape);
void tape_free(struct fake_tape *tape);
/* The test notes that something has been acknowledged here. */
void tape_mark(struct fake_tape *tape, uint64_t mark);

/* ---- crashes: AT only moves forward ---- */

/* What becomes of writes that need not be on the medium. */
enum tape_loss {
	TAPE_LOST,              /* all are lost */
	TAPE_KEPT,              /* none is */
	TAPE_SOME,              /* each write is there or not */
	TAPE_TORN,              /* each block of it */
	TAPE_LOSSES,
};

struct tape_pending;

struct tape_crash {
	const struct fake_tape *tape;
	size_t at;              /* entries that have happened */
	uint64_t mark;          /* the last one before; 0: none */
	uint8_t *medium;        /* what is there for sure */
	struct tape_pending *pending;
	size_t pending_count, pending_room;
	uint32_t block_bytes;
	uint64_t block_count;
};

void crash_start(struct tape_crash *crash, const struct fake_tape *tape);
/* To the next place where something may be lost, or was written; false at the tape's end. */
bool crash_next(struct tape_crash *crash);
/* The medium after a crash here. ATOMIC: blocks that are there together or not (TAPE_TORN). */
void crash_medium(const struct tape_crash *crash, enum tape_loss loss, unsigned atomic,
		  uint64_t seed, uint8_t *medium);
void crash_end(struct tape_crash *crash);

/* ---- fake_bdev's ---- */

void tape_submitted(struct fake_tape *tape, struct io *io);
void tape_done(struct fake_tape *tape, struct io *io);

#endif
