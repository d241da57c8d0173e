/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of a front end: what each answers, and that none, however wrong and whenever it comes,
 * costs more than its own session.
 */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/reactor.h"
#include "tests/unit/vh_box.h"

enum { SIZE = 16, SECOND = 1000 * 1000 };

static unsigned fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* ---- every message, wrong in every way, in every state ---- */

static void state_fresh(struct vbox *b)
{
	vbox_connect(b);
}

static void state_open(struct vbox *b)
{
	vbox_open(b, 0);
}

static void state_running(struct vbox *b)
{
	vbox_open(b, 1ull << VIRTIO_F_INDIRECT_DESC);
	for (unsigned i = 0; i < VBOX_QUEUES; i++) {
		vbox_ring_make(b, i, SIZE, false);
		vbox_ring_start(b, i);
	}
}

static void state_packed(struct vbox *b)
{
	vbox_open(b, 1ull << VIRTIO_F_RING_PACKED);
	vbox_ring_make(b, 0, SIZE, true);
	vbox_ring_start(b, 0);
}

static void state_busy(struct vbox *b)
{
	state_running(b);
	for (unsigned i = 0; i < 3; i++) {
		struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = 512 };

		vbox_blk_add(b, i % VBOX_QUEUES, &read);
	}
}

static void state_broken(struct vbox *b)
{
	state_busy(b);
	vbox_offer(b, 0, 5000);
}

static void (*const states[])(struct vbox *b) = {
	state_fresh, state_open, state_running, state_packed, state_busy, state_broken,
};

/* What is wrong with it. */
struct defect {
	int size;                       /* of the payload; -1: what it should be, and MORE */
	int more;
	uint8_t fill;
	unsigned fds;
	uint32_t flags;
	bool cut;                       /* its payload does not come */
};

static const struct defect defects[] = {
	{ .size = -1 },
	{ .size = -1, .fill = 0xff },
	{ .size = -1, .fds = 1 },
	{ .size = -1, .fds = 1, .fill = 1 },
	{ .size = -1, .fds = VHOST_USER_FDS_MAX, .fill = 1 },
	{ .size = -1, .fds = VHOST_USER_FDS_MAX + 1 },
	{ .size = -1, .fds = 60 },
	{ .size = -1, .more = 1 },
	{ .size = -1, .more = -1 },
	{ .size = 0 },
	{ .size = 1 },
	{ .size = 8, .fill = 0x80 },
	{ .size = sizeof(union vhost_user_payload) },
	{ .size = sizeof(union vhost_user_payload), .fill = 0xff, .fds = 2 },
	{ .size = sizeof(union vhost_user_payload) + 1 },
	{ .size = 100, .cut = true },
	{ .size = -1, .flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, .fill = 2 },
	{ .size = -1, .flags = VHOST_USER_VERSION | VHOST_USER_REPLY },
	{ .size = -1, .flags = VHOST_USER_VERSION_MASK },
};

static int right_size(uint32_t request)
{
	switch (request) {
	case VHOST_USER_SET_MEM_TABLE:
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
	case VHOST_USER_SET_VRING_ADDR:
		return 40;
	case VHOST_USER_SET_LOG_BASE:
		return 16;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		return 13;
	case VHOST_USER_GET_INFLIGHT_FD:
	case VHOST_USER_SET_INFLIGHT_FD:
		return 24;
	case VHOST_USER_SET_FEATURES:
	case VHOST_USER_SET_PROTOCOL_FEATURES:
	case VHOST_USER_SET_VRING_NUM:
	case VHOST_USER_SET_VRING_BASE:
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
	case VHOST_USER_SET_VRING_ENABLE:
		return 8;
	default:
		return 0;
	}
}

static void send_wrong(struct vbox *b, uint32_t request, const struct defect *defect)
{
	uint8_t payload[sizeof(union vhost_user_payload) + 1];
	int fd[60], size = defect->size < 0 ? right_size(request) + defect->more : defect->size;
	struct vbox_message msg = {
		.request = request, .flags = defect->flags, .payload = payload,
		.len = (size_t)MAX(size, 0), .fd = fd, .fds = defect->fds,
	};

	memset(payload, defect->fill, sizeof(payload));
	for (unsigned i = 0; i < defect->fds; i++)
		fd[i] = b->mem_fd;
	if (defect->cut) {
		struct vhost_user_header header = {
			le32_make(request), le32_make(VHOST_USER_VERSION),
			le32_make((uint32_t)size),
		};

		vbox_send_bytes(b, &header, sizeof(header));
		return;
	}
	vbox_send(b, &msg);
}

static void test_no_message_costs_more_than_its_session(void **state)
{
	struct vbox b;
	unsigned fds;

	vbox_start(&b, FAKE_HELD);
	vbox_connect(&b);
	vbox_hangup(&b);
	fds = fds_open();
	for (unsigned s = 0; s < ARRAY_SIZE(states); s++) {
		for (uint32_t n = 0; n <= VHOST_USER_REQUEST_COUNT + 1; n++) {
			for (unsigned d = 0; d < ARRAY_SIZE(defects); d++) {
				b.next = 0;
				b.disk->mode = FAKE_HELD;
				states[s](&b);
				send_wrong(&b, n > VHOST_USER_REQUEST_COUNT ? UINT32_MAX : n,
					   &defects[d]);
				b.disk->mode = FAKE_INSTANT;
				fake_release_all(b.disk);
				loop_drain();
				vbox_hangup(&b);
				assert_null(b.dev->session);
				assert_int_equal(vh_fault_watched(), 0);
			}
			assert_int_equal(fds_open(), fds);
		}
		b.next = 0;
		state_running(&b);
		vbox_works(&b, 1, 7);
		vbox_hangup(&b);
	}
	vbox_stop(&b);
}

static void test_a_refused_message_is_answered_when_an_answer_was_asked_for(void **state)
{
	struct vhost_user_vring_state far = { le32_make(VBOX_QUEUES), le32_make(16) };
	struct vhost_user_vring_state num = { le32_make(0), le32_make(VIRTQ_SIZE_MAX + 1) };
	le64 features = le64_make(1ull << 63);
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	state_running(&b);
	assert_int_not_equal(vbox_acked(&b, 99, NULL, 0, -1), 0);
	assert_int_not_equal(vbox_acked(&b, VHOST_USER_SET_FEATURES, &features, 8, -1), 0);
	assert_int_not_equal(vbox_acked(&b, VHOST_USER_SET_VRING_NUM, &far, 8, -1), 0);
	assert_int_not_equal(vbox_acked(&b, VHOST_USER_SET_VRING_NUM, &num, 8, -1), 0);
	assert_int_not_equal(vbox_acked(&b, VHOST_USER_SET_VRING_KICK, &features, 8, b.mem_fd), 0);
	assert_int_not_equal(vbox_acked(&b, VHOST_USER_SET_OWNER, &features, 8, -1), 0);
	/* and the session goes on */
	vbox_works(&b, 0, 1);
	vbox_works(&b, 1, 2);
	vbox_stop(&b);
}

/* It would keep the session from ending for good. */
static void test_the_session_itself_is_no_channel(void **state)
{
	int pair[2];
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	state_open(&b);
	assert_int_not_equal(vbox_acked(&b, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, b.sock), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(vbox_acked(&b, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, pair[1]), 0);
	vbox_hangup(&b);
	assert_null(b.dev->session);
	close(pair[0]);
	close(pair[1]);
	vbox_stop(&b);
}

/* ---- time ---- */

static void test_a_message_has_one_time_for_all_of_it(void **state)
{
	static const uint8_t half[] = { VHOST_USER_GET_FEATURES, 0 };
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	vbox_connect(&b);
	/* before it begins there is no hurry */
	loop_advance(3600ull * SECOND);
	assert_false(vbox_gone(&b));
	vbox_send_bytes(&b, half, 2);
	for (unsigned i = 0; i < 4; i++) {
		assert_false(vbox_gone(&b));
		loop_advance(VH_MESSAGE_MS * 1000 / 4 + 1);
		vbox_send_bytes(&b, &half[1], 1);
	}
	assert_true(vbox_gone(&b));
	vbox_stop(&b);
}

static void test_a_flood_of_messages_leaves_others_their_turn(void **state)
{
	struct vhost_user_header flood[500];
	struct vbox b;
	int left = 0, before;

	vbox_start(&b, FAKE_INSTANT);
	vbox_connect(&b);
	for (unsigned i = 0; i < ARRAY_SIZE(flood); i++)
		flood[i] = (struct vhost_user_header){ le32_make(VHOST_USER_SET_OWNER),
						       le32_make(VHOST_USER_VERSION) };
	assert_int_equal(send(b.sock, flood, sizeof(flood), 0), sizeof(flood));
	before = sizeof(flood);
	do {
		reactor_round();
		assert_int_equal(ioctl(b.dev->session->fd, FIONREAD, &left), 0);
		/* in each round one of them */
		assert_true(before - left <= (int)sizeof(flood[0]));
		before = left;
	} while (left);
	vbox_stop(&b);
}

static void test_who_does_not_read_its_answers_is_not_waited_for(void **state)
{
	struct vbox b;
	unsigned sent = 0;

	vbox_start(&b, FAKE_INSTANT);
	vbox_connect(&b);
	while (b.dev->session && sent++ < 100000)
		vbox_send(&b, &(struct vbox_message){ .request = VHOST_USER_GET_FEATURES });
	assert_null(b.dev->session);
	vbox_stop(&b);
}

/* A socket with something to say, that its closer has to wait for. */
static int lingering_socket(int *listener, int *peer)
{
	static const struct linger minute = { 1, 60 };
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	static char bytes[65536];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(*listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(*listener, 1), 0);
	assert_int_equal(getsockname(*listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	*peer = accept(*listener, NULL, NULL);
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &minute, sizeof(minute)), 0);
	return fd;
}

static void test_a_descriptor_that_takes_long_to_close_holds_up_nobody(void **state)
{
	int listener, peer, fd = lingering_socket(&listener, &peer);
	struct vbox_message msg = { .request = VHOST_USER_SET_LOG_FD, .fd = &fd, .fds = 1 };
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	state_open(&b);
	/* ours goes before it arrives: theirs is the last */
	assert_int_equal(vbox_post(&b, &msg), 12);
	close(fd);
	loop_drain();
	assert_false(vbox_gone(&b));
	close(peer);
	close(listener);
	vbox_stop(&b);
}

/* ---- rings ---- */

static void test_a_reset_leaves_no_ring_that_starts_by_itself(void **state)
{
	static const uint32_t resets[] = { VHOST_USER_RESET_DEVICE, VHOST_USER_RESET_OWNER };

	for (unsigned i = 0; i < ARRAY_SIZE(resets); i++) {
		struct vbox b;

		vbox_start(&b, FAKE_INSTANT);
		state_running(&b);
		vbox_works(&b, 0, 1);
		b.disk->ops[IO_WRITE] = 0;
		assert_int_equal(vbox_acked(&b, resets[i], NULL, 0, -1), 0);
		/* other messages come before the rings are set up anew */
		assert_int_equal(vbox_share(&b), 0);
		vbox_kick(&b, 0);
		assert_false(vbox_queue(&b, 0)->started);
		assert_int_equal(b.disk->ops[IO_WRITE], 0);
		vbox_ring_make(&b, 0, SIZE, false);
		vbox_ring_start(&b, 0);
		vbox_works(&b, 0, 2);
		vbox_stop(&b);
	}
}

static void test_a_ring_without_a_kick_is_polled(void **state)
{
	le64 none = le64_make(VHOST_USER_VRING_NO_FD);
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	state_running(&b);
	assert_int_equal(vbox_acked(&b, VHOST_USER_SET_VRING_KICK, &none, 8, -1), 0);
	assert_int_equal(vbox_queue(&b, 0)->poller.arm(&vbox_queue(&b, 0)->poller), POLLER_DEAF);
	vbox_works(&b, 0, 3);
	vbox_stop(&b);
}

static void test_a_ring_that_is_switched_off_takes_nothing(void **state)
{
	struct vhost_user_vring_state off = { le32_make(0), le32_make(0) };
	struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = 512 };
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	state_running(&b);
	assert_int_equal(vbox_acked(&b, VHOST_USER_SET_VRING_ENABLE, &off, 8, -1), 0);
	assert_int_equal(vbox_blk_run(&b, 0, &read, NULL), -1);
	vbox_works(&b, 1, 3);
	off.num = le32_make(1);
	assert_int_equal(vbox_acked(&b, VHOST_USER_SET_VRING_ENABLE, &off, 8, -1), 0);
	assert_int_equal(*(uint8_t *)vbox_at(&b, read.status), VIRTIO_BLK_S_OK);
	vbox_stop(&b);
}

/* What is under way ends in the memory that it was asked for in. */
static void test_memory_changes_when_nothing_is_under_way(void **state)
{
	struct vhost_user_single_region gone = {
		.region = { le64_make(VBOX_GUEST), le64_make(VBOX_BYTES), le64_make(VBOX_USER) },
	};
	struct vhost_user_header header;
	struct vbox_blk read = { .type = VIRTIO_BLK_T_IN, .in_len = 512 };
	le64 answer;
	struct vbox b;

	vbox_start(&b, FAKE_HELD);
	state_running(&b);
	vbox_blk_add(&b, 0, &read);
	vbox_send(&b, &(struct vbox_message){ .request = VHOST_USER_REM_MEM_REG,
		.flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, .payload = &gone,
		.len = sizeof(gone) });
	assert_int_equal(vbox_answer(&b, &header, &answer, 8, NULL), -1);
	fake_release(b.disk, 1);
	loop_drain();
	assert_int_equal(vbox_answer(&b, &header, &answer, 8, NULL), 8);
	assert_int_equal(*(uint8_t *)vbox_at(&b, read.status), VIRTIO_BLK_S_OK);
	/* the rings were in it */
	assert_true(vbox_broken(&b, 0));
	assert_true(vbox_broken(&b, 1));
	vbox_stop(&b);
}

/* ---- front ends that cannot be taken ---- */

static void test_without_descriptors_the_next_front_end_waits_quietly(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct rlimit limit, tight;
	struct vbox b;

	vbox_start(&b, FAKE_INSTANT);
	b.sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	tight = (struct rlimit){ (rlim_t)b.sock + 1, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	memcpy(sun.sun_path, b.dev->options.path, strlen(b.dev->options.path) + 1);
	assert_int_equal(connect(b.sock, (struct sockaddr *)&sun, sizeof(sun)), 0);
	/* not in each round again */
	assert_true(loop_drain() < 10);
	assert_null(b.dev->session);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	loop_advance(SECOND);
	assert_non_null(b.dev->session);
	vbox_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_message_costs_more_than_its_session),
		cmocka_unit_test(test_a_refused_message_is_answered_when_an_answer_was_asked_for),
		cmocka_unit_test(test_the_session_itself_is_no_channel),
		cmocka_unit_test(test_a_message_has_one_time_for_all_of_it),
		cmocka_unit_test(test_a_flood_of_messages_leaves_others_their_turn),
		cmocka_unit_test(test_who_does_not_read_its_answers_is_not_waited_for),
		cmocka_unit_test(test_a_descriptor_that_takes_long_to_close_holds_up_nobody),
		cmocka_unit_test(test_a_reset_leaves_no_ring_that_starts_by_itself),
		cmocka_unit_test(test_a_ring_without_a_kick_is_polled),
		cmocka_unit_test(test_a_ring_that_is_switched_off_takes_nothing),
		cmocka_unit_test(test_memory_changes_when_nothing_is_under_way),
		cmocka_unit_test(test_without_descriptors_the_next_front_end_waits_quietly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
