/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In-flight memory: wherever the process dies, the next one does each request that was not answered
 * again, answers each once, and goes on at the right place of the ring. Whatever the memory holds,
 * nothing outside of it is touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/vh_box.h"

enum { SIZE = 16, SECTOR = 512, REQUESTS = 3 };

#define PACKED (1ull << VIRTIO_F_RING_PACKED)

struct life {
	struct vbox b;
	bool packed;
	struct vhost_user_inflight wire;
	int fd;                         /* in-flight memory, as the front end keeps it */
	uint8_t *memory;
	size_t bytes;
	struct vbox_blk blk[REQUESTS];
	uint8_t data[REQUESTS][SECTOR];
};

static void memory_get(struct life *life)
{
	struct vhost_user_inflight want = { .num_queues = le16_make(VBOX_QUEUES),
					    .queue_size = le16_make(SIZE) };
	struct vhost_user_header header;

	vbox_send(&life->b, &(struct vbox_message){ .request = VHOST_USER_GET_INFLIGHT_FD,
						    .payload = &want, .len = sizeof(want) });
	assert_int_equal(vbox_answer(&life->b, &header, &life->wire, sizeof(life->wire),
				     &life->fd), sizeof(life->wire));
	life->bytes = le64_get(life->wire.mmap_size);
	life->memory = mmap(NULL, life->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, life->fd, 0);
	assert_ptr_not_equal(life->memory, MAP_FAILED);
}

static uint64_t memory_set(struct life *life)
{
	return vbox_acked(&life->b, VHOST_USER_SET_INFLIGHT_FD, &life->wire, sizeof(life->wire),
			  life->fd);
}

static void life_begin(struct life *life, bool packed, enum fake_mode mode)
{
	memset(life, 0, sizeof(*life));
	life->packed = packed;
	vbox_start(&life->b, mode);
	vbox_open(&life->b, packed ? PACKED : 0);
	memory_get(life);
	assert_int_equal(memory_set(life), 0);
	vbox_ring_make(&life->b, 0, SIZE, packed);
	vbox_ring_start(&life->b, 0);
}

static void life_end(struct life *life)
{
	munmap(life->memory, life->bytes);
	close(life->fd);
	vbox_stop(&life->b);
}

static void writes_add(struct life *life)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		memset(life->data[i], 'a' + (int)i, SECTOR);
		life->blk[i] = (struct vbox_blk){
			.type = VIRTIO_BLK_T_OUT, .sector = i, .out = life->data[i],
			.out_len = SECTOR,
		};
		vbox_blk_add(&life->b, 0, &life->blk[i]);
	}
	assert_int_equal(life->b.disk->held_count, REQUESTS);
}

enum death { BEFORE_PUSH, BEFORE_PUBLISH, AFTER_PUBLISH, AFTER_ALL, DEATHS };

/* The answers to COUNT requests, from the second on, as far as this death lets them come. */
static void answers_until(struct life *life, enum death death, unsigned count)
{
	struct vh_queue *queue = vbox_queue(&life->b, 0);
	struct vh_req *req;

	for (unsigned i = 0; i < count && death > BEFORE_PUSH; i++) {
		uint16_t id = life->blk[(i + 1) % REQUESTS].id;

		list_for_each(req, &queue->busy, link) {
			if (req->head != id)
				continue;
			queue->ring->push(queue, req, 1);
			vh_inflight_pushed(queue, req);
			queue->pushed++;
		}
	}
	if (death > BEFORE_PUBLISH && count)
		queue->ring->publish(queue);
	if (death > AFTER_PUBLISH && count)
		vh_inflight_published(queue);
	/* from here on this life changes nothing */
	vh_queue_break(queue, "it dies");
}

/* The same memory in another life; the front end was told no base. */
static void next_life(struct life *life)
{
	uint8_t *guest = malloc(VBOX_BYTES), *inflight = malloc(life->bytes);

	memcpy(guest, life->b.mem, VBOX_BYTES);
	memcpy(inflight, life->memory, life->bytes);
	vbox_hangup(&life->b);
	life->b.disk->mode = FAKE_INSTANT;
	fake_release_all(life->b.disk);
	loop_drain();
	assert_null(life->b.dev->session);
	memcpy(life->b.mem, guest, VBOX_BYTES);
	memcpy(life->memory, inflight, life->bytes);
	free(guest);
	free(inflight);
}

static void ring_goes_on(struct life *life)
{
	struct vbox_ring *ring = &life->b.ring[0], keep = *ring;

	vbox_open(&life->b, life->packed ? PACKED : 0);
	assert_int_equal(memory_set(life), 0);
	vbox_ring_make(&life->b, 0, SIZE, life->packed);
	keep.kick_fd = ring->kick_fd;
	keep.call_fd = ring->call_fd;
	*ring = keep;
	vbox_ring_start(&life->b, 0);
}

static void test_each_request_is_answered_once_wherever_the_process_dies(void **state)
{
	for (unsigned n = 0; n < 2 * DEATHS * (REQUESTS + 1); n++) {
		enum death death = n / 2 % DEATHS;
		unsigned answered = n / 2 / DEATHS, seen[REQUESTS] = { 0 }, again;
		uint32_t len;
		uint16_t id;
		struct life life;

		print_message("%s, death %u, %u answers\n", n & 1 ? "packed" : "split", death,
			      answered);
		life_begin(&life, n & 1, FAKE_HELD);
		writes_add(&life);
		answers_until(&life, death, answered);
		next_life(&life);
		life.b.disk->ops[IO_WRITE] = 0;
		ring_goes_on(&life);
		again = death >= AFTER_PUBLISH ? REQUESTS - answered : REQUESTS;
		assert_int_equal(life.b.disk->ops[IO_WRITE], again);
		while (vbox_reap(&life.b, 0, &id, &len)) {
			assert_int_equal(len, 1);
			for (unsigned i = 0; i < REQUESTS; i++)
				seen[i] += life.blk[i].id == id;
		}
		for (unsigned i = 0; i < REQUESTS; i++)
			assert_int_equal(seen[i], 1);
		for (unsigned i = 0; i < 20; i++)
			vbox_works(&life.b, 0, 10 + i);
		life_end(&life);
	}
}

static void test_a_ring_that_the_front_end_stopped_begins_where_it_says(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct life life;

		life_begin(&life, packed, FAKE_INSTANT);
		for (unsigned i = 0; i < 5; i++)
			vbox_works(&life.b, 0, i);
		/* the driver resets the queue: another ring, from its beginning */
		vbox_ring_stop(&life.b, 0);
		vbox_ring_make(&life.b, 0, SIZE, packed);
		vbox_ring_start(&life.b, 0);
		for (unsigned i = 0; i < 20; i++)
			vbox_works(&life.b, 0, i);
		life_end(&life);
	}
}

static void test_a_restart_with_nothing_in_flight_goes_on(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct life life;

		life_begin(&life, packed, FAKE_INSTANT);
		for (unsigned i = 0; i < 5; i++)
			vbox_works(&life.b, 0, i);
		next_life(&life);
		ring_goes_on(&life);
		for (unsigned i = 0; i < 20; i++)
			vbox_works(&life.b, 0, i);
		life_end(&life);
	}
}

/* Four at the disk, four more that end at once, before any of them was shown to the guest. */
static void test_more_answers_in_a_round_than_the_ring_has_places_stay_in_it(void **state)
{
	enum { TINY = 4 };

	for (unsigned packed = 0; packed < 2; packed++) {
		struct vbox_piece pieces[2];
		struct life life;

		life_begin(&life, packed, FAKE_HELD);
		vbox_ring_stop(&life.b, 0);
		vbox_ring_make(&life.b, 0, TINY, packed);
		vbox_ring_start(&life.b, 0);
		pieces[0] = (struct vbox_piece){ vbox_alloc(&life.b, 16, 16), 16, 0 };
		pieces[1] = (struct vbox_piece){ vbox_alloc(&life.b, SECTOR + 1, 16), SECTOR + 1,
						 VIRTQ_DESC_WRITE };
		/* a guest that minds no ring: the same descriptors over and over */
		for (unsigned i = 0; i < TINY; i++) {
			life.b.ring[0].next_desc = 0;
			vbox_add(&life.b, 0, pieces, 2);
		}
		/* no header of a command that there is */
		memset(vbox_at(&life.b, pieces[0].addr), 0xff, 16);
		for (unsigned i = 0; i < TINY; i++) {
			life.b.ring[0].next_desc = 0;
			vbox_add(&life.b, 0, pieces, 2);
		}
		fake_release(life.b.disk, TINY);
		loop_drain();
		vbox_ring_stop(&life.b, 0);
		life_end(&life);
	}
}

static void test_memory_of_another_format_is_not_used(void **state)
{
	struct life life;

	life_begin(&life, false, FAKE_INSTANT);
	/* packed rings take twice as much: the second queue's would lie behind the end */
	vbox_features(&life.b, PACKED);
	for (unsigned i = 0; i < VBOX_QUEUES; i++) {
		vbox_ring_make(&life.b, i, SIZE, true);
		vbox_ring_start(&life.b, i);
	}
	assert_false(vbox_queue(&life.b, 1)->started);
	assert_true(vbox_queue(&life.b, 1)->why[0]);
	life_end(&life);
}

static void test_sessions_leave_nothing_of_it_behind(void **state)
{
	struct life life;

	life_begin(&life, false, FAKE_INSTANT);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(memory_set(&life), 0);
		assert_int_equal(vh_fault_watched(), 2);
		vbox_hangup(&life.b);
		assert_int_equal(vh_fault_watched(), 0);
		vbox_open(&life.b, 0);
	}
	life_end(&life);
}

static void test_wrong_memory_is_refused(void **state)
{
	struct vhost_user_inflight bad;
	struct life life;
	int fd = memfd_create("short", MFD_CLOEXEC);

	life_begin(&life, false, FAKE_INSTANT);
	/* shorter than it says, more queues, larger ones, none, elsewhere */
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_not_equal(vbox_acked(&life.b, VHOST_USER_SET_INFLIGHT_FD, &life.wire,
					sizeof(life.wire), fd), 0);
	bad = life.wire;
	bad.num_queues = le16_make(VH_QUEUES_MAX);
	assert_int_not_equal(vbox_acked(&life.b, VHOST_USER_SET_INFLIGHT_FD, &bad, sizeof(bad),
					life.fd), 0);
	bad.num_queues = le16_make(VH_QUEUES_MAX + 1);
	assert_int_not_equal(vbox_acked(&life.b, VHOST_USER_SET_INFLIGHT_FD, &bad, sizeof(bad),
					life.fd), 0);
	bad = life.wire;
	bad.queue_size = le16_make(0);
	assert_int_not_equal(vbox_acked(&life.b, VHOST_USER_SET_INFLIGHT_FD, &bad, sizeof(bad),
					life.fd), 0);
	bad = life.wire;
	bad.mmap_offset = le64_make(4096);
	assert_int_not_equal(vbox_acked(&life.b, VHOST_USER_SET_INFLIGHT_FD, &bad, sizeof(bad),
					life.fd), 0);
	/* the one from before is still there */
	vbox_works(&life.b, 0, 1);
	close(fd);
	life_end(&life);
}

/* Any bytes, before a ring starts on them and while it runs. */
static void test_nonsense_in_it_harms_nobody(void **state)
{
	for (unsigned seed = 0; seed < 300; seed++) {
		struct life life;

		srandom(seed);
		life_begin(&life, seed & 1, FAKE_INSTANT);
		vbox_works(&life.b, 0, 1);
		next_life(&life);
		for (size_t i = 0; i < life.bytes; i++) {
			/* the version and size stay: else all of it is thrown away */
			if (i % (life.bytes / VBOX_QUEUES) < 12 || seed % 3 == 0)
				continue;
			life.memory[i] = (uint8_t)(random() >> (seed % 5 ? 12 : 3) &
						   (seed & 2 ? 0x0f : 0xff));
		}
		ring_goes_on(&life);
		for (unsigned i = 0; i < 10; i++) {
			struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = SECTOR };

			life.memory[(size_t)random() % life.bytes] = (uint8_t)random();
			life.b.ring[0].next_desc %= 8;
			vbox_blk_add(&life.b, 0, &read);
		}
		life_end(&life);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_request_is_answered_once_wherever_the_process_dies),
		cmocka_unit_test(test_a_ring_that_the_front_end_stopped_begins_where_it_says),
		cmocka_unit_test(test_a_restart_with_nothing_in_flight_goes_on),
		cmocka_unit_test(test_more_answers_in_a_round_than_the_ring_has_places_stay_in_it),
		cmocka_unit_test(test_memory_of_another_format_is_not_used),
		cmocka_unit_test(test_sessions_leave_nothing_of_it_behind),
		cmocka_unit_test(test_wrong_memory_is_refused),
		cmocka_unit_test(test_nonsense_in_it_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
