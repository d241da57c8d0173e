/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings of both formats: what a driver may do works wherever the end of the ring lies, and nobody
 * is told or asked more than he wants.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/vh_box.h"

enum { SIZE = 16, SECTOR = 512 };

#define EVENT_IDX (1ull << VIRTIO_F_EVENT_IDX)
#define INDIRECT (1ull << VIRTIO_F_INDIRECT_DESC)
#define PACKED (1ull << VIRTIO_F_RING_PACKED)

static void ring_open(struct vbox *b, uint64_t features, uint16_t size)
{
	vbox_open(b, features);
	vbox_ring_make(b, 0, size, features & PACKED);
	vbox_ring_start(b, 0);
}

static void ring_again(struct vbox *b, uint64_t features, uint16_t size)
{
	vbox_ring_stop(b, 0);
	b->next = 0;
	vbox_ring_make(b, 0, size, features & PACKED);
	vbox_ring_start(b, 0);
}

static const uint64_t formats[] = { 0, PACKED, EVENT_IDX, PACKED | EVENT_IDX };

static void test_requests_go_round_rings_of_every_size(void **state)
{
	for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
		static const uint16_t sizes[] = { 4, 8, 3, 7, 64 };
		struct vbox b;

		vbox_start(&b, FAKE_INSTANT);
		for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
			/* split rings are powers of two */
			if (!(formats[f] & PACKED) && !IS_POWER_OF_2(sizes[s]))
				continue;
			b.next = 0;
			ring_open(&b, formats[f], sizes[s]);
			for (unsigned i = 0; i < 3u * sizes[s]; i++) {
				if (b.next > VBOX_BYTES / 2)
					ring_again(&b, formats[f], sizes[s]);
				vbox_works(&b, 0, i);
			}
			vbox_hangup(&b);
		}
		vbox_stop(&b);
	}
}

static void test_split_indices_wrap_at_their_ends(void **state)
{
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	vbox_open(&b, EVENT_IDX);
	vbox_ring_make(&b, 0, SIZE, false);
	b.ring[0].next_avail = b.ring[0].next_used = 0xfffd;
	((struct virtq_avail *)vbox_at(&b, b.ring[0].driver))->idx = le16_make(0xfffd);
	((struct virtq_used *)vbox_at(&b, b.ring[0].device))->idx = le16_make(0xfffd);
	vbox_ring_start(&b, 0);
	for (unsigned i = 0; i < 4; i++)
		vbox_works(&b, 0, i);
	assert_int_equal(vbox_ring_stop(&b, 0), 5);
	vbox_stop(&b);
}

static void test_a_ring_that_stops_says_where_and_goes_on_there(void **state)
{
	for (unsigned f = 0; f < 2; f++) {
		struct vbox b;
		uint32_t base;

		vbox_start(&b, FAKE_INSTANT);
		ring_open(&b, formats[f], 8);
		for (unsigned i = 0; i < 3; i++)
			vbox_works(&b, 0, i);
		base = vbox_ring_stop(&b, 0);
		/* six requests of three descriptors: the third slot of the third round */
		if (formats[f] & PACKED)
			assert_int_equal(base, 0x80028002);
		else
			assert_int_equal(base, 6);
		vbox_ring_start(&b, 0);
		vbox_works(&b, 0, 9);
		vbox_stop(&b);
	}
}

/* ---- indirect tables ---- */

static void test_indirect_tables_are_chains(void **state)
{
	for (unsigned f = 0; f < 2; f++) {
		struct vbox_piece pieces[40] = { { 0 } };
		uint8_t *status, *data;
		uint32_t len;
		uint16_t id;
		struct vbox b;

		vbox_start(&b, FAKE_INSTANT);
		ring_open(&b, formats[f] | INDIRECT, 4);
		vbox_works(&b, 0, 5);
		/* longer than the ring, each piece somewhere else */
		for (unsigned i = 0; i < 16; i++)
			pieces[i] = (struct vbox_piece){ vbox_alloc(&b, 1, 1), 1 };
		*(uint8_t *)vbox_at(&b, pieces[8].addr) = 5;
		for (unsigned i = 0; i < 16; i++)
			pieces[16 + i] = (struct vbox_piece){ vbox_alloc(&b, 32, 64), 32,
							      VIRTQ_DESC_WRITE };
		pieces[32] = (struct vbox_piece){ vbox_alloc(&b, 1, 1), 1, VIRTQ_DESC_WRITE };
		status = vbox_at(&b, pieces[32].addr);
		*status = 0xff;
		vbox_add_table(&b, 0, pieces, 33);
		assert_true(vbox_reap(&b, 0, &id, &len));
		assert_int_equal(len, SECTOR + 1);
		assert_int_equal(*status, VIRTIO_BLK_S_OK);
		data = vbox_at(&b, pieces[31].addr);
		assert_int_equal(data[31], 5);
		vbox_stop(&b);
	}
}

/* ---- notifications ---- */

static void flags_set(struct vbox *b, bool want)
{
	if (b->ring[0].packed)
		((struct virtq_packed_event *)vbox_at(b, b->ring[0].driver))->flags =
			le16_make(want ? VIRTQ_EVENT_ENABLE : VIRTQ_EVENT_DISABLE);
	else
		((struct virtq_avail *)vbox_at(b, b->ring[0].driver))->flags =
			le16_make(want ? 0 : VIRTQ_AVAIL_NO_INTERRUPT);
}

static void test_a_guest_that_wants_no_notification_gets_none(void **state)
{
	for (unsigned f = 0; f < 2; f++) {
		struct vbox b;

		vbox_start(&b, FAKE_INSTANT);
		ring_open(&b, formats[f], SIZE);
		vbox_works(&b, 0, 1);
		assert_int_equal(vbox_calls(&b, 0), 2);
		flags_set(&b, false);
		vbox_works(&b, 0, 2);
		assert_int_equal(vbox_calls(&b, 0), 0);
		flags_set(&b, true);
		vbox_works(&b, 0, 3);
		assert_int_equal(vbox_calls(&b, 0), 2);
		vbox_stop(&b);
	}
}

/* The guest wants to be told when the AFTER-th from now was used. */
static void event_set(struct vbox *b, unsigned after)
{
	struct vbox_ring *ring = &b->ring[0];

	if (ring->packed) {
		struct virtq_packed_event *event = vbox_at(b, ring->driver);
		unsigned at = ring->next_used + 3 * after;
		bool wrap = ring->used_wrap != (at >= ring->size);

		event->flags = le16_make(VIRTQ_EVENT_DESC);
		event->off_wrap = le16_make((uint16_t)(at % ring->size |
						       (wrap ? VIRTQ_EVENT_WRAP : 0)));
	} else {
		struct virtq_avail *avail = vbox_at(b, ring->driver);

		avail->ring[ring->size] = le16_make((uint16_t)(ring->next_used + after));
	}
}

static void test_event_indices_say_after_which_request_the_guest_is_told(void **state)
{
	for (unsigned f = 2; f < 4; f++) {
		struct vbox b;

		vbox_start(&b, FAKE_INSTANT);
		ring_open(&b, formats[f], SIZE);
		for (unsigned round = 0; round < 20; round++) {
			struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = SECTOR };

			event_set(&b, 2);
			for (unsigned i = 0; i < 4; i++) {
				assert_int_equal(vbox_blk_run(&b, 0, &read, NULL), 0);
				assert_int_equal(vbox_calls(&b, 0), i == 2);
			}
		}
		vbox_stop(&b);
	}
}

/* As long as it polls the guest need not kick; before it sleeps it says from where on it must. */
static void test_kicks_are_asked_for_before_the_reactor_sleeps(void **state)
{
	for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
		struct vbox b;

		vbox_start(&b, FAKE_INSTANT);
		ring_open(&b, formats[f], SIZE);
		vbox_works(&b, 0, 1);
		for (unsigned i = 0; i < 2; i++) {
			struct vh_queue *queue = vbox_queue(&b, 0);
			bool want = i == 0;

			assert_false(queue->ring->want_kicks(queue, want));
			if (formats[f] & PACKED) {
				struct virtq_packed_event *event = vbox_at(&b, b.ring[0].device);
				uint16_t flags = le16_get(event->flags);

				assert_int_equal(flags, !want ? VIRTQ_EVENT_DISABLE :
						 formats[f] & EVENT_IDX ? VIRTQ_EVENT_DESC :
						 VIRTQ_EVENT_ENABLE);
				if (flags == VIRTQ_EVENT_DESC)
					assert_int_equal(le16_get(event->off_wrap), 6 | 0x8000);
			} else {
				struct virtq_used *used = vbox_at(&b, b.ring[0].device);
				le16 *event = (le16 *)&used->ring[SIZE];

				if (formats[f] & EVENT_IDX)
					assert_int_equal(le16_get(*event), 2);
				else
					assert_int_equal(le16_get(used->flags), !want);
			}
		}
		vbox_stop(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_go_round_rings_of_every_size),
		cmocka_unit_test(test_split_indices_wrap_at_their_ends),
		cmocka_unit_test(test_a_ring_that_stops_says_where_and_goes_on_there),
		cmocka_unit_test(test_indirect_tables_are_chains),
		cmocka_unit_test(test_a_guest_that_wants_no_notification_gets_none),
		cmocka_unit_test(test_event_indices_say_after_which_request_the_guest_is_told),
		cmocka_unit_test(test_kicks_are_asked_for_before_the_reactor_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
