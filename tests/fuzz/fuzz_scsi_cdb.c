/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SCSI commands with anything in them, to the whole layer over a disk of 2 MiB. Records follow one
 * another: a byte (bit 0 the initiator, bit 1 the disk holds what it gets, bit 2 abort it by its
 * tag, bits 3 to 5 where it goes: a unit, the well known one, none), u16 room for data that comes
 * back, u16 length of data that goes out, 16 bytes of CDB, the data. Each command has one end, and
 * moves no more than there is memory for.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/scsi_box.h"

enum { SECOND = 1 << 0, HELD = 1 << 1, ABORT = 1 << 2, WHERE_SHIFT = 3, COMMANDS_MAX = 32 };
enum { RECORD_BYTES = 5 + 16, OUT_MAX = 16384 };

/* Two ends, or more moved than there is memory for, fail in the box; no end fails here. */
static void run_one(struct sbox *s, uint8_t how)
{
	static const uint16_t where[8] = { 0, 0, 0, 0, 0, SCSI_LUN_REPORT_LUNS, 5, 300 };

	s->lun = where[how >> WHERE_SHIFT & 7];
	s->initiator = how & SECOND ? 1 : 0;
	s->tag = 9;
	sbox_disk->mode = how & HELD ? FAKE_HELD : FAKE_INSTANT;
	sbox_start(s);
	if (how & ABORT)
		sbox_tmf(s->initiator, SCSI_TMF_ABORT_TASK, 9);
	for (unsigned i = 0; !s->done && i < 100 * 1000; i++) {
		fake_release_all(sbox_disk);
		loop_drain();
	}
	if (!s->done)
		abort();
	sbox_disk->mode = FAKE_INSTANT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[OUT_MAX];
	static bool started;

	if (!started)
		sbox_begin();
	else
		sbox_reopen();
	if (!started)
		atexit(sbox_end);
	started = true;
	for (unsigned i = 0; i < COMMANDS_MAX && size >= RECORD_BYTES; i++) {
		uint8_t cdb[SCSI_CDB_BYTES] = { 0 };
		struct sbox s = { .cdb = cdb, .out = out };
		size_t len = scsi_be(data + 3, 2);

		memcpy(cdb, data + 5, 16);
		len = MIN(MIN(len, size - RECORD_BYTES), (size_t)OUT_MAX);
		memcpy(out, data + RECORD_BYTES, len);
		s.out_bytes = (uint32_t)len;
		s.in_bytes = (uint32_t)scsi_be(data + 1, 2);
		s.piece_bytes = data[0] & 0x40 ? 333 : 0;
		if (!s.in_bytes || !s.out_bytes)
			run_one(&s, data[0]);
		data += RECORD_BYTES + len;
		size -= RECORD_BYTES + len;
	}
	return 0;
}
