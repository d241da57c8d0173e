/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/scsi_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "core/dma.h"
#include "core/resv.h"

struct fake_bdev *sbox_disk;
struct scsi_target sbox_target[SBOX_INITIATORS];
unsigned sbox_told;
struct bdev sbox_shape;
static struct scsi_port port[SBOX_INITIATORS];
static uint8_t in_data[SBOX_DATA_MAX];
static char *kept;

static const struct bdev shape_begin = {
	.name = "s", .serial = "S1", .block_bytes = SBOX_BLOCK, .block_count = SBOX_BLOCKS,
	.volatile_cache = true, .unmap_zeroes = true, .optimal_blocks = 8,
	.ops_supported = 1 << IO_READ | 1 << IO_WRITE | 1 << IO_FLUSH | 1 << IO_UNMAP |
			 1 << IO_WRITE_ZEROES,
};

/* ---- the house ---- */

static int store_load(char **text)
{
	*text = kept ? strdup(kept) : NULL;
	return 0;
}

static int store_save(const char *text)
{
	free(kept);
	kept = strdup(text);
	return 0;
}

static const struct resv_store store = { store_load, store_save };

static void unit_gone(struct scsi_lu *lu)
{
	ASSERT_MSG(false, "unit %u goes while a test needs it", lu->lun);
}

static void unit_attention(struct scsi_lu *lu, enum scsi_attention ua)
{
	sbox_told++;
}

static const struct scsi_lu_ops unit_ops = { .gone = unit_gone, .attention = unit_attention };

static void disk_open(void *arg)
{
	sbox_disk = fake_create(&sbox_shape, FAKE_INSTANT, 1);
	sbox_disk->obeys = true;
	for (unsigned i = 0; i < SBOX_INITIATORS; i++) {
		struct scsi_lu *lu;

		ASSERT(scsi_lu_create(sbox_shape.name, &port[i], &unit_ops, &lu) == 0);
		sbox_target[i].lu[0] = lu;
	}
}

static void disk_close(void *arg)
{
	for (unsigned i = 0; i < SBOX_INITIATORS; i++) {
		struct scsi_lu *lu = sbox_target[i].lu[0];

		sbox_target[i].lu[0] = NULL;
		scsi_lu_destroy(lu);
	}
	fake_remove(sbox_disk);
}

static void resv_start(void *arg)
{
	ASSERT(resv_init(&store) == 0);
}

static void resv_forget(void)
{
	resv_fini();
	free(kept);
	kept = NULL;
}

void sbox_begin(void)
{
	struct dma_opts opts = { .memory_mib = 64, .no_huge = true, .program = "test" };
	static bool set_up;

	ASSERT(dma_init(&opts) == 0);
	loop_setup(NULL);
	ASSERT(buf_init() == 0);
	ASSERT(bdev_init() == 0);
	loop_task(resv_start, NULL);
	if (!set_up)
		scsi_setup();
	set_up = true;
	scsi_port_init(&port[0], "one");
	scsi_port_init(&port[1], "two");
	memset(sbox_target, 0, sizeof(sbox_target));
	sbox_shape = shape_begin;
	loop_task(disk_open, NULL);
	for (unsigned i = 0; i < SBOX_INITIATORS; i++)
		scsi_lu_attention_take(sbox_target[i].lu[0]);
	sbox_told = 0;
}

/* The disk closes; no buffer is missing, no reservation left. */
static void leave(void)
{
	loop_task(disk_close, NULL);
	for (unsigned i = 0; i < BUF_CLASS_COUNT; i++) {
		struct buf_stats stats;

		buf_stats(i, &stats);
		ASSERT(stats.used == 0);
	}
	resv_forget();
}

void sbox_end(void)
{
	leave();
	bdev_fini();
	buf_fini();
	loop_teardown(NULL);
	dma_fini();
}

void sbox_reopen(void)
{
	leave();
	loop_task(resv_start, NULL);
	loop_task(disk_open, NULL);
	for (unsigned i = 0; i < SBOX_INITIATORS; i++)
		scsi_lu_attention_take(sbox_target[i].lu[0]);
}

int sbox_setup(void **state)
{
	sbox_begin();
	return 0;
}

int sbox_teardown(void **state)
{
	sbox_end();
	return 0;
}

/* ---- commands ---- */

static void sense_read(struct sbox *s, const uint8_t *sense)
{
	const uint8_t *specific = sense + 15;

	if ((sense[0] & 0x7f) == SCSI_SENSE_FIXED) {
		assert_int_equal(s->task.sense_len, 8 + sense[7]);
		s->key = sense[2] & 0x0f;
		s->asc = (uint16_t)scsi_be(sense + 12, 2);
		s->informs = sense[0] & SCSI_SENSE_VALID;
		s->information = scsi_be(sense + 3, 4);
	} else {
		assert_int_equal(sense[0], SCSI_SENSE_DESCRIPTOR);
		assert_int_equal(s->task.sense_len, 8 + sense[7]);
		s->key = sense[1] & 0x0f;
		s->asc = (uint16_t)scsi_be(sense + 2, 2);
		specific = NULL;
		for (unsigned at = 8; at < s->task.sense_len; at += 2u + sense[at + 1]) {
			if (sense[at] == SCSI_SENSE_SPECIFIC)
				specific = sense + at + 4;
			if (sense[at] != SCSI_SENSE_INFORMATION)
				continue;
			s->informs = sense[at + 2] & SCSI_SENSE_VALID;
			s->information = scsi_be(sense + at + 4, 8);
		}
	}
	s->points = specific && (specific[0] & 0x80);
	s->byte = s->points ? (unsigned)scsi_be(specific + 1, 2) : 0;
}

static void box_done(struct scsi_task *task)
{
	struct sbox *s = container_of(task, struct sbox, task);

	assert_false(s->done);
	s->done = true;
	s->outcome = task->outcome;
	s->status = task->status;
	s->moved = task->moved;
	if (task->outcome == SCSI_OUTCOME_OK && task->status == SCSI_CHECK_CONDITION)
		sense_read(s, task->sense);
	assert_true(s->moved <= s->out_bytes + s->in_bytes);
}

static uint16_t pieces(struct iovec *iov, uint8_t *data, uint32_t bytes, uint32_t piece_bytes)
{
	uint16_t count = 0;

	while (bytes) {
		uint32_t part = piece_bytes && count < 63 ? MIN(bytes, piece_bytes) : bytes;

		iov[count++] = (struct iovec){ data, part };
		data += part;
		bytes -= part;
	}
	return count;
}

void sbox_start(struct sbox *s)
{
	struct scsi_task *task = &s->task;

	assert_true(s->in_bytes <= SBOX_DATA_MAX);
	s->done = s->informs = s->points = false;
	s->key = 0;
	s->asc = 0;
	s->in = in_data;
	memset(in_data, 0xee, s->in_bytes);
	memset(task, 0x5a, sizeof(*task));
	memset(&task->io, 0, sizeof(task->io));
	task->target = &sbox_target[s->initiator];
	task->lun = s->lun;
	task->tag = s->tag;
	memcpy(task->cdb, s->cdb, SCSI_CDB_BYTES);
	task->out = s->out_iov;
	task->in = s->in_iov;
	task->out_count = pieces(s->out_iov, (uint8_t *)(uintptr_t)s->out, s->out_bytes,
				 s->piece_bytes);
	task->in_count = pieces(s->in_iov, in_data, s->in_bytes, s->piece_bytes);
	task->out_bytes = s->out_bytes;
	task->in_bytes = s->in_bytes;
	task->foreign = false;
	task->done = box_done;
	scsi_exec(task);
}

void sbox_run(struct sbox *s)
{
	sbox_start(s);
	for (unsigned i = 0; !s->done && i < 1000; i++)
		loop_advance(1000);
	assert_true(s->done);
}

void sbox_good(const char *name, const uint8_t *cdb, const void *out, uint32_t out_bytes,
	       uint32_t in_bytes)
{
	struct sbox s = { .cdb = cdb, .out = out, .out_bytes = out_bytes, .in_bytes = in_bytes };

	sbox_run(&s);
	if (s.outcome != SCSI_OUTCOME_OK || s.status != SCSI_GOOD)
		fail_msg("%s: outcome %u status %02x sense %x %04x byte %u", name, s.outcome,
			 s.status, s.key, s.asc, s.byte);
}

void sbox_fails(const char *name, const uint8_t *cdb, const void *out, uint32_t out_bytes,
		uint32_t in_bytes, enum scsi_sense_key key, uint16_t asc)
{
	struct sbox s = { .cdb = cdb, .out = out, .out_bytes = out_bytes, .in_bytes = in_bytes };

	sbox_run(&s);
	if (s.outcome != SCSI_OUTCOME_OK || s.status != SCSI_CHECK_CONDITION || s.key != key ||
	    s.asc != asc || s.moved != 0)
		fail_msg("%s: outcome %u status %02x sense %x %04x moved %u, not %x %04x", name,
			 s.outcome, s.status, s.key, s.asc, s.moved, key, asc);
}

const uint8_t *sbox_data(const uint8_t *cdb, uint32_t in_bytes, uint32_t *len)
{
	struct sbox s = { .cdb = cdb, .in_bytes = in_bytes };

	sbox_run(&s);
	assert_int_equal(s.outcome, SCSI_OUTCOME_OK);
	assert_int_equal(s.status, SCSI_GOOD);
	*len = s.moved;
	return in_data;
}

uint16_t sbox_attention(unsigned initiator)
{
	struct sbox s = { .cdb = CDB(SCSI_TEST_UNIT_READY), .initiator = initiator };

	sbox_run(&s);
	if (s.status == SCSI_GOOD)
		return 0;
	assert_int_equal(s.status, SCSI_CHECK_CONDITION);
	assert_int_equal(s.key, SCSI_KEY_UNIT_ATTENTION);
	return s.asc;
}

struct tmf_call {
	unsigned initiator;
	enum scsi_tmf function;
	uint64_t tag;
	int rc;
};

static void tmf_task(void *arg)
{
	struct tmf_call *call = arg;

	call->rc = scsi_tmf(sbox_target[call->initiator].lu[0], call->function, call->tag);
}

int sbox_tmf(unsigned initiator, enum scsi_tmf function, uint64_t tag)
{
	struct tmf_call call = { initiator, function, tag, 0 };

	loop_task(tmf_task, &call);
	return call.rc;
}

void sbox_control(unsigned initiator, bool write_protect, bool descriptors)
{
	uint8_t list[16] = { [4] = SCSI_MODE_CONTROL, 10, 0x20, 0x10, [12] = 0xff, 0xff };
	struct sbox s = {
		.cdb = CDB(SCSI_MODE_SELECT_6, 0x10, 0, 0, sizeof(list)), .initiator = initiator,
		.out = list, .out_bytes = sizeof(list),
	};

	list[6] |= descriptors ? 0x04 : 0;
	list[8] = write_protect ? 0x08 : 0;
	sbox_run(&s);
	assert_int_equal(s.status, SCSI_GOOD);
}
