/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio-blk requests: each type, in any layout, right and wrong, with the status that belongs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/vh_box.h"

enum { SIZE = 64, SECTOR = 512, NONE = 0xff };

static void blk_open(struct vbox *b, enum fake_mode mode, uint64_t features)
{
	vbox_start(b, mode);
	vbox_open(b, 1ull << VIRTIO_F_INDIRECT_DESC | features);
	vbox_ring_make(b, 0, SIZE, false);
	vbox_ring_start(b, 0);
}

static int run(struct vbox *b, struct vbox_blk blk, uint32_t *len)
{
	b->next = MAX(b->next, 64 * 1024ul);
	if (b->next > VBOX_BYTES / 2)
		b->next = 64 * 1024;
	return vbox_blk_run(b, 0, &blk, len);
}

/* ---- layouts ---- */

/* OUT bytes and IN bytes, each cut into pieces of PIECE bytes, as a table. Its status. */
static uint8_t run_cut(struct vbox *b, const void *out, uint32_t out_len, uint8_t *in,
		       uint32_t in_len, uint32_t cut, uint32_t *written)
{
	static struct vbox_piece pieces[1024];
	uint64_t from = vbox_alloc(b, out_len, 1), to = vbox_alloc(b, in_len, 1);
	unsigned count = 0;
	uint16_t id;

	memcpy(vbox_at(b, from), out, out_len);
	memset(vbox_at(b, to), NONE, in_len);
	for (uint32_t at = 0; at < out_len; at += cut)
		pieces[count++] = (struct vbox_piece){ from + at, MIN(cut, out_len - at), 0 };
	for (uint32_t at = 0; at < in_len; at += cut)
		pieces[count++] = (struct vbox_piece){ to + at, MIN(cut, in_len - at),
						       VIRTQ_DESC_WRITE };
	vbox_add_table(b, 0, pieces, count);
	assert_true(vbox_reap(b, 0, &id, written));
	memcpy(in, vbox_at(b, to), in_len);
	return in[in_len - 1];
}

static void test_header_data_and_status_lie_in_any_layout(void **state)
{
	static const uint32_t cuts[] = { 1, 3, 7, 15, 16, 17, 64, 511, 512, 513, 1024, 4096 };

	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		uint8_t out[16 + SECTOR] = { VIRTIO_BLK_T_OUT }, in[SECTOR + 1];
		/* pieces of one byte: no more than a request may have */
		uint32_t cut = cuts[i] < 7 ? 7 : cuts[i], written;
		struct vbox b;

		blk_open(&b, FAKE_INSTANT, 0);
		memset(out + 16, (int)(i + 1), SECTOR);
		out[8] = (uint8_t)i;
		assert_int_equal(run_cut(&b, out, sizeof(out), in, 1, cut, &written),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(written, 1);
		out[0] = VIRTIO_BLK_T_IN;
		assert_int_equal(run_cut(&b, out, 16, in, SECTOR + 1, cut, &written),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(written, SECTOR + 1);
		assert_memory_equal(in, out + 16, SECTOR);
		/* the name, in pieces however small */
		out[0] = VIRTIO_BLK_T_GET_ID;
		assert_int_equal(run_cut(&b, out, 16, in, 21, cuts[i], &written),
				 VIRTIO_BLK_S_OK);
		assert_string_equal((char *)in, "SERIAL");
		assert_int_equal(written, 21);
		vbox_stop(&b);
	}
}

static void test_more_pieces_than_a_request_may_have_break_the_queue(void **state)
{
	struct vbox_piece pieces[VH_IOV_MAX + 1];
	struct vbox b;
	uint32_t written;
	uint16_t id;

	blk_open(&b, FAKE_INSTANT, 0);
	for (unsigned n = VH_IOV_MAX; n <= VH_IOV_MAX + 1; n++) {
		uint64_t at = vbox_alloc(&b, 2 * n, 1);

		for (unsigned i = 0; i < n; i++)
			pieces[i] = (struct vbox_piece){ at + 2 * i, 1, 0 };
		pieces[n - 1].flags = VIRTQ_DESC_WRITE;
		vbox_add_table(&b, 0, pieces, n);
		assert_int_equal(vbox_reap(&b, 0, &id, &written), n == VH_IOV_MAX);
	}
	assert_true(vbox_broken(&b, 0));
	vbox_stop(&b);
}

/* ---- what is wrong ---- */

static void test_each_request_gets_the_status_that_belongs(void **state)
{
	static uint8_t data[4096];
	static const struct {
		uint32_t type, out_len, in_len;
		uint64_t sector;
		int status;
	} cases[] = {
		{ VIRTIO_BLK_T_IN, 0, 512, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_IN, 0, 512, VBOX_BLOCKS - 1, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_IN, 0, 1024, VBOX_BLOCKS - 1, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 512, VBOX_BLOCKS, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 512, 1ull << 55, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 512, UINT64_MAX, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 511, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_IN, 0, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 512, 0, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_OUT, 513, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 0, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_OUT, 1024, 0, VBOX_BLOCKS - 1, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_FLUSH, 0, 0, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_GET_ID, 0, 20, 0, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_GET_ID, 0, 19, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_GET_ID, 0, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, 0, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, 15, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, 16 * 17, 0, 0, VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, 4096, 0, 0, VIRTIO_BLK_S_IOERR },
		{ 2, 512, 0, 0, VIRTIO_BLK_S_UNSUPP },
		{ 14, 0, 16, 0, VIRTIO_BLK_S_UNSUPP },
		{ 1u << 31, 0, 16, 0, VIRTIO_BLK_S_UNSUPP },
		{ UINT32_MAX, 0, 0, 0, VIRTIO_BLK_S_UNSUPP },
	};
	struct vbox b;

	blk_open(&b, FAKE_INSTANT, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vbox_blk blk = {
			.type = cases[i].type, .sector = cases[i].sector, .out = data,
			.out_len = cases[i].out_len, .in_len = cases[i].in_len,
		};
		uint32_t len;

		assert_int_equal(run(&b, blk, &len), cases[i].status);
		/* what it says it wrote was written */
		assert_int_equal(len, 1 + (cases[i].status == VIRTIO_BLK_S_OK ?
					   cases[i].in_len : 0));
		vbox_works(&b, 0, 1);
	}
	vbox_stop(&b);
}

static void test_ranges_are_checked_before_any_of_them_is_done(void **state)
{
	static const struct {
		uint32_t type;
		struct { uint64_t sector; uint32_t count, flags; } range[2];
		int status;
	} cases[] = {
		{ VIRTIO_BLK_T_DISCARD, { { 0, 8, 0 }, { 100, 8, 0 } }, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 8, 0 }, { 100, 8, 1 } }, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 8, 0 }, { 100, 8, 2 } }, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 0, 8, 1 }, { 100, 8, 0 } }, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 0, 8, 1 }, { 9, 8, 3 } }, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 8, 0 }, { VBOX_BLOCKS - 7, 8, 0 } },
		  VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 8, 0 }, { UINT64_MAX, 8, 0 } },
		  VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_DISCARD, { { 0, 8, 0 }, { 0, UINT32_MAX, 0 } },
		  VIRTIO_BLK_S_IOERR },
		{ VIRTIO_BLK_T_WRITE_ZEROES, { { 0, 8, 0 }, { 8, (1 << 22) + 1, 0 } },
		  VIRTIO_BLK_S_IOERR },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct virtio_blk_range ranges[2];
		enum io_op op = cases[i].type == VIRTIO_BLK_T_DISCARD ? IO_UNMAP : IO_WRITE_ZEROES;
		struct vbox b;

		blk_open(&b, FAKE_INSTANT, 0);
		for (unsigned n = 0; n < 2; n++)
			ranges[n] = (struct virtio_blk_range){
				le64_make(cases[i].range[n].sector),
				le32_make(cases[i].range[n].count),
				le32_make(cases[i].range[n].flags),
			};
		assert_int_equal(run(&b, (struct vbox_blk){ .type = cases[i].type, .out = ranges,
							    .out_len = sizeof(ranges) }, NULL),
				 cases[i].status);
		assert_int_equal(b.disk->ops[op], cases[i].status == VIRTIO_BLK_S_OK ? 2 : 0);
		vbox_stop(&b);
	}
}

static void test_errors_of_the_disk_are_errors_of_the_request(void **state)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH };
	static const enum io_op ops[] = { IO_READ, IO_WRITE, IO_FLUSH };
	static uint8_t data[SECTOR];

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		struct fake_rule rule = { .op = ops[i], .lba_count = VBOX_BLOCKS, .count = 1,
					  .status = IO_ERR_MEDIA_READ };
		struct vbox_blk blk = { .type = types[i], .out = data };
		uint32_t len;
		struct vbox b;

		blk.in_len = ops[i] == IO_READ ? SECTOR : 0;
		blk.out_len = ops[i] == IO_WRITE ? SECTOR : 0;
		blk_open(&b, FAKE_INSTANT, 0);
		fake_fail(b.disk, &rule);
		assert_int_equal(run(&b, blk, &len), VIRTIO_BLK_S_IOERR);
		assert_int_equal(len, 1);
		assert_int_equal(run(&b, blk, &len), VIRTIO_BLK_S_OK);
		vbox_stop(&b);
	}
}

/* ---- what lasts ---- */

/* 5.2.6.2: without FLUSH and CONFIG_WCE every write lasts when it is answered. */
static void test_writes_last_for_a_guest_that_cannot_flush(void **state)
{
	static uint8_t data[SECTOR];
	struct virtio_blk_range range = { le64_make(0), le32_make(1), le32_make(0) };

	for (unsigned i = 0; i < 2; i++) {
		uint64_t flush = i ? 1ull << VIRTIO_BLK_F_FLUSH : 0;
		struct vbox_blk write = { .type = VIRTIO_BLK_T_OUT, .out = data,
					  .out_len = SECTOR };
		struct vbox_blk zeroes = { .type = VIRTIO_BLK_T_WRITE_ZEROES, .out = &range,
					   .out_len = sizeof(range) };
		struct vbox b;

		blk_open(&b, FAKE_INSTANT, flush);
		assert_int_equal(run(&b, write, NULL), VIRTIO_BLK_S_OK);
		assert_int_equal(b.disk->ops[IO_FLUSH], !i);
		assert_int_equal(run(&b, zeroes, NULL), VIRTIO_BLK_S_OK);
		assert_int_equal(b.disk->ops[IO_FLUSH], 2 * !i);
		vbox_stop(&b);
	}
}

/* ---- the configuration space ---- */

static ssize_t config_get(struct vbox *b, uint32_t offset, uint32_t size, size_t len,
			  struct vhost_user_config *config)
{
	struct vhost_user_header header;

	memset(config, 0, sizeof(*config));
	config->offset = le32_make(offset);
	config->size = le32_make(size);
	vbox_send(b, &(struct vbox_message){ .request = VHOST_USER_GET_CONFIG, .payload = config,
					     .len = len });
	return vbox_answer(b, &header, config, sizeof(*config), NULL);
}

static void test_the_configuration_is_given_as_far_as_it_goes(void **state)
{
	struct vhost_user_config config;
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	vbox_open(&b, 0);
	assert_int_equal(config_get(&b, 0, 8, 20, &config), 20);
	assert_int_equal(config.region[0] | config.region[1] << 8, VBOX_BLOCKS);
	assert_int_equal(config_get(&b, 0, 256, 268, &config), 268);
	assert_int_equal(config_get(&b, 255, 1, 13, &config), 13);
	/* no payload says no */
	assert_int_equal(config_get(&b, 256, 1, 13, &config), 0);
	assert_int_equal(config_get(&b, 0, 257, 268, &config), 0);
	assert_int_equal(config_get(&b, UINT32_MAX, 2, 14, &config), 0);
	assert_int_equal(config_get(&b, 0, 8, 19, &config), 0);
	vbox_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_data_and_status_lie_in_any_layout),
		cmocka_unit_test(test_more_pieces_than_a_request_may_have_break_the_queue),
		cmocka_unit_test(test_each_request_gets_the_status_that_belongs),
		cmocka_unit_test(test_ranges_are_checked_before_any_of_them_is_done),
		cmocka_unit_test(test_errors_of_the_disk_are_errors_of_the_request),
		cmocka_unit_test(test_writes_last_for_a_guest_that_cannot_flush),
		cmocka_unit_test(test_the_configuration_is_given_as_far_as_it_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
