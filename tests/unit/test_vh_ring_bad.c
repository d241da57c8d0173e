/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest writes into a ring that is no request breaks that queue, and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/vh_box.h"

enum { SIZE = 16, SECTOR = 512 };

#define INDIRECT (1ull << VIRTIO_F_INDIRECT_DESC)
#define PACKED (1ull << VIRTIO_F_RING_PACKED)

static const uint64_t formats[] = { 0, PACKED };

static void ring_open(struct vbox *b, uint64_t features, uint16_t size)
{
	vbox_open(b, features);
	vbox_ring_make(b, 0, size, features & PACKED);
	vbox_ring_start(b, 0);
}

static const struct vbox_piece *piece(struct vbox *b, uint32_t len, uint16_t flags)
{
	static struct vbox_piece p;

	p = (struct vbox_piece){ vbox_alloc(b, len, 16), len, flags };
	return &p;
}

static void chain(struct vbox *b, struct vbox_piece first, unsigned count)
{
	struct vbox_piece pieces[SIZE];

	pieces[0] = first;
	for (unsigned i = 1; i < count; i++)
		pieces[i] = *piece(b, 16, i + 1 == count ? VIRTQ_DESC_WRITE : 0);
	vbox_add(b, 0, pieces, count);
}

static void bad_address(struct vbox *b)
{
	chain(b, (struct vbox_piece){ VBOX_GUEST - 1, 16, 0 }, 2);
}

static void bad_end(struct vbox *b)
{
	chain(b, (struct vbox_piece){ VBOX_GUEST + VBOX_BYTES - 15, 16, 0 }, 2);
}

static void bad_wrap(struct vbox *b)
{
	chain(b, (struct vbox_piece){ UINT64_MAX - 7, 16, 0 }, 2);
}

static void bad_length(struct vbox *b)
{
	chain(b, (struct vbox_piece){ VBOX_GUEST, UINT32_MAX, 0 }, 2);
}

static void bad_nothing(struct vbox *b)
{
	chain(b, (struct vbox_piece){ VBOX_GUEST, 0, 0 }, 2);
}

static void bad_header(struct vbox *b)
{
	chain(b, *piece(b, 15, 0), 1);
}

static void bad_no_status(struct vbox *b)
{
	chain(b, *piece(b, 16, 0), 1);
}

static void bad_order(struct vbox *b)
{
	struct vbox_piece pieces[3] = { *piece(b, 16, 0), *piece(b, 1, VIRTQ_DESC_WRITE),
					*piece(b, 16, 0) };

	vbox_add(b, 0, pieces, 3);
}

static void bad_table_length(struct vbox *b)
{
	chain(b, (struct vbox_piece){ VBOX_GUEST, 17, VIRTQ_DESC_INDIRECT }, 1);
}

static void bad_table_place(struct vbox *b)
{
	chain(b, (struct vbox_piece){ VBOX_GUEST + VBOX_BYTES - 16, 32,
				      VIRTQ_DESC_INDIRECT }, 1);
}

static void bad_table_more(struct vbox *b)
{
	chain(b, (struct vbox_piece){ VBOX_GUEST, 16, VIRTQ_DESC_INDIRECT }, 2);
}

static void bad_table_huge(struct vbox *b)
{
	chain(b, (struct vbox_piece){ VBOX_GUEST, 16 * (VH_CHAIN_MAX + 1),
				      VIRTQ_DESC_INDIRECT }, 1);
}

static void bad_table_in_table(struct vbox *b)
{
	struct vbox_piece inner = { VBOX_GUEST, 16, VIRTQ_DESC_INDIRECT };

	vbox_add_table(b, 0, &inner, 1);
}

static void bad_ring_lost(struct vbox *b)
{
	struct virtq_desc *desc = vbox_at(b, b->ring[0].desc);

	/* a loop of the descriptors of the ring, in either format */
	for (unsigned i = 0; i < SIZE; i++) {
		if (b->ring[0].packed) {
			struct virtq_packed_desc *packed = (void *)&desc[i];

			packed->addr = le64_make(VBOX_GUEST);
			packed->len = le32_make(1);
			packed->flags = le16_make(VIRTQ_DESC_NEXT | VIRTQ_DESC_AVAIL);
		} else {
			desc[i] = (struct virtq_desc){
				le64_make(VBOX_GUEST), le32_make(1), le16_make(VIRTQ_DESC_NEXT),
				le16_make((uint16_t)((i + 1) % SIZE)),
			};
		}
	}
	if (b->ring[0].packed)
		vbox_kick(b, 0);
	else
		vbox_offer(b, 0, 0);
}

static const struct {
	const char *name;
	void (*fn)(struct vbox *b);
} bad[] = {
	{ "before memory", bad_address },
	{ "across the end of memory", bad_end },
	{ "an address that wraps", bad_wrap },
	{ "a length of 4 GiB", bad_length },
	{ "no bytes", bad_nothing },
	{ "half a header", bad_header },
	{ "no status", bad_no_status },
	{ "read after write", bad_order },
	{ "a table of no whole descriptors", bad_table_length },
	{ "a table across the end of memory", bad_table_place },
	{ "a table that goes on", bad_table_more },
	{ "a table without end", bad_table_huge },
	{ "a table in a table", bad_table_in_table },
	{ "a chain without end", bad_ring_lost },
};

static void test_nonsense_in_a_ring_breaks_that_queue_alone(void **state)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		uint64_t features = INDIRECT | (i & 1 ? PACKED : 0);
		struct vbox b;

		print_message("%s, %s\n", bad[i / 2].name, i & 1 ? "packed" : "split");
		vbox_start(&b, FAKE_INSTANT);
		ring_open(&b, features, SIZE);
		vbox_ring_make(&b, 1, SIZE, i & 1);
		vbox_ring_start(&b, 1);
		bad[i / 2].fn(&b);
		assert_true(vbox_broken(&b, 0));
		assert_true(vbox_queue(&b, 0)->why[0]);
		vbox_works(&b, 1, 3);
		/* and begins anew when the guest sets it up again */
		vbox_ring_stop(&b, 0);
		vbox_ring_make(&b, 0, SIZE, i & 1);
		vbox_ring_start(&b, 0);
		vbox_works(&b, 0, 4);
		vbox_stop(&b);
	}
}

static void test_split_indices_that_lie_break_the_queue(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct virtq_desc *desc;
		struct virtq_avail *avail;
		struct vbox b;

		vbox_start(&b, FAKE_INSTANT);
		ring_open(&b, INDIRECT, SIZE);
		desc = vbox_at(&b, b.ring[0].desc);
		avail = vbox_at(&b, b.ring[0].driver);
		switch (i) {
		case 0:         /* more requests than there are places */
			avail->idx = le16_make(SIZE + 1);
			vbox_kick(&b, 0);
			break;
		case 1:         /* a head, a next, outside of the table */
			vbox_offer(&b, 0, SIZE);
			break;
		case 2:
			desc[0] = (struct virtq_desc){
				le64_make(VBOX_GUEST), le32_make(16), le16_make(VIRTQ_DESC_NEXT),
				le16_make(SIZE),
			};
			vbox_offer(&b, 0, 0);
			break;
		case 3:
			desc[0] = (struct virtq_desc){ le64_make(VBOX_GUEST), le32_make(32),
						       le16_make(VIRTQ_DESC_INDIRECT) };
			*(struct virtq_desc *)vbox_at(&b, VBOX_GUEST) = (struct virtq_desc){
				le64_make(VBOX_GUEST), le32_make(16), le16_make(VIRTQ_DESC_NEXT),
				le16_make(2),
			};
			/* the table of the ring is where this one is */
			vbox_offer(&b, 0, 0);
			break;
		}
		assert_true(vbox_broken(&b, 0));
		vbox_stop(&b);
	}
}

/* 2.8.19: a table is a chain of its own. */
static void test_a_packed_chain_does_not_end_in_a_table(void **state)
{
	struct vbox_piece pieces[2];
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	ring_open(&b, PACKED | INDIRECT, SIZE);
	pieces[0] = *piece(&b, 16, 0);
	pieces[1] = *piece(&b, 16, VIRTQ_DESC_INDIRECT);
	vbox_add(&b, 0, pieces, 2);
	assert_true(vbox_broken(&b, 0));
	vbox_stop(&b);
}

static void test_tables_that_were_not_agreed_on_break_the_queue(void **state)
{
	for (unsigned f = 0; f < 2; f++) {
		struct vbox_piece table;
		struct vbox b;

		vbox_start(&b, FAKE_INSTANT);
		ring_open(&b, formats[f], SIZE);
		table = *piece(&b, 32, VIRTQ_DESC_INDIRECT);
		vbox_add(&b, 0, &table, 1);
		assert_true(vbox_broken(&b, 0));
		vbox_stop(&b);
	}
}

/* A guest that makes more available than it has places, by taking nothing back. */
static void test_a_guest_cannot_have_more_under_way_than_its_ring_has_places(void **state)
{
	enum { TINY = 4 };
	struct vbox b;

	vbox_start(&b, FAKE_HELD);
	ring_open(&b, 0, TINY);
	for (unsigned i = 0; i < TINY; i++) {
		struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = SECTOR };

		/* all of the same descriptors */
		b.ring[0].next_desc = 0;
		vbox_blk_add(&b, 0, &read);
	}
	assert_int_equal(b.disk->held_count, TINY);
	for (unsigned i = 0; i < 100; i++) {
		vbox_offer(&b, 0, 0);
		if (vbox_broken(&b, 0))
			break;
		assert_true(b.disk->held_count <= TINY);
		if (i % 3 == 0)
			fake_release(b.disk, 2);
	}
	vbox_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nonsense_in_a_ring_breaks_that_queue_alone),
		cmocka_unit_test(test_split_indices_that_lie_break_the_queue),
		cmocka_unit_test(test_a_packed_chain_does_not_end_in_a_table),
		cmocka_unit_test(test_tables_that_were_not_agreed_on_break_the_queue),
		cmocka_unit_test(test_a_guest_cannot_have_more_under_way_than_its_ring_has_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
