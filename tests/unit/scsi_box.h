/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SCSI layer over a fake disk that two initiators see, each as unit 0 of a target of its own:
 * what the tests of targets/scsi stand on. One reactor, turned by hand.
 */
#ifndef TESTS_SCSI_BOX_H
#define TESTS_SCSI_BOX_H

#include <stdbool.h>
#include <stdint.h>

#include "targets/scsi/scsi.h"
#include "tests/unit/fake_bdev.h"
#include "tests/unit/loop.h"

enum { SBOX_INITIATORS = 2, SBOX_BLOCKS = 4096, SBOX_BLOCK = 512, SBOX_DATA_MAX = 4 << 20 };

extern struct fake_bdev *sbox_disk;
extern struct scsi_target sbox_target[SBOX_INITIATORS];
/* Attentions that a front end was told of. */
extern unsigned sbox_told;
/* What the next sbox_open makes; as of a thin disk with a cache after each test. */
extern struct bdev sbox_shape;

int sbox_setup(void **state);
/* Closes all, and checks that no buffer is missing. */
int sbox_teardown(void **state);
#define sbox_test(name) cmocka_unit_test_setup_teardown(name, sbox_setup, sbox_teardown)
/* The house without cmocka, for fuzzing. */
void sbox_begin(void);
void sbox_end(void);
/* The disk closes and comes back as sbox_shape says: no reservation, nothing to report. */
void sbox_reopen(void);

#define CDB(...) (const uint8_t[SCSI_CDB_BYTES]){ __VA_ARGS__ }

/* A command and how it ended. Zeroes are fine: initiator 0, LUN 0, no data. */
struct sbox {
	const uint8_t *cdb;             /* SCSI_CDB_BYTES */
	unsigned initiator;
	uint16_t lun;
	const void *out;
	uint32_t out_bytes, in_bytes;
	uint32_t piece_bytes;           /* of the memory; 0: one piece */
	uint64_t tag;
	/* the end */
	bool done;
	uint8_t outcome, status, key;
	uint16_t asc;
	bool informs, points;           /* sense data has an information field, a field pointer */
	uint64_t information;
	unsigned byte;                  /* that the pointer names */
	uint32_t moved;
	uint8_t *in;                    /* valid until the next command */
	struct scsi_task task;
	struct iovec out_iov[64], in_iov[64];
};

/* Hands it over; it may be done at once. */
void sbox_start(struct sbox *s);
/* And turns the reactor until it is done. */
void sbox_run(struct sbox *s);

/* A command of initiator 0 ends as named; NAME says what failed. */
void sbox_good(const char *name, const uint8_t *cdb, const void *out, uint32_t out_bytes,
	       uint32_t in_bytes);
void sbox_fails(const char *name, const uint8_t *cdb, const void *out, uint32_t out_bytes,
		uint32_t in_bytes, enum scsi_sense_key key, uint16_t asc);
/* The data that a command of initiator 0 gives, of *LEN bytes. */
const uint8_t *sbox_data(const uint8_t *cdb, uint32_t in_bytes, uint32_t *len);
/* TEST UNIT READY of INITIATOR: the attention that it reports, 0: none. */
uint16_t sbox_attention(unsigned initiator);
/* A task management function on unit 0 of INITIATOR. */
int sbox_tmf(unsigned initiator, enum scsi_tmf function, uint64_t tag);
/* MODE SELECT of the control page of INITIATOR. */
void sbox_control(unsigned initiator, bool write_protect, bool descriptors);

#endif
