/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/clock.h"
#include "core/reactor.h"

struct wire {
	struct fd_source source;
	int other;                      /* the end that tests write to */
	unsigned events;
	uint32_t last;
	struct wire *removes[3];
	bool keeps;                     /* what was written is not read */
};

static void wire_event(struct fd_source *src, uint32_t events)
{
	struct wire *w = container_of(src, struct wire, source);
	char byte;

	w->events++;
	w->last = events;
	if (!w->keeps && (events & EPOLLIN))
		assert_int_equal(read(src->fd, &byte, 1), 1);
	for (unsigned i = 0; i < 3 && w->removes[i]; i++)
		fd_source_remove(&w->removes[i]->source);
	for (unsigned i = 0; i < 3; i++)
		w->removes[i] = NULL;
}

static void wire_open(struct wire *w, uint32_t events)
{
	int fd[2];

	assert_int_equal(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
	w->source = (struct fd_source){ .fd = fd[0], .event = wire_event };
	w->other = fd[1];
	assert_int_equal(fd_source_add(&w->source, events), 0);
}

static void wire_close(struct wire *w)
{
	close(w->source.fd);
	close(w->other);
}

static void wire_write(struct wire *w)
{
	assert_int_equal(write(w->other, "x", 1), 1);
}

static void test_events_are_told(void **state)
{
	struct wire w = { 0 };

	wire_open(&w, EPOLLIN);
	assert_int_equal(reactor_round(), 0);
	wire_write(&w);
	assert_int_equal(reactor_round(), 1);
	assert_int_equal(w.events, 1);
	assert_int_equal(w.last, EPOLLIN);
	assert_int_equal(reactor_round(), 0);
	close(w.other);
	reactor_round();
	assert_true(w.last & EPOLLHUP);
	fd_source_remove(&w.source);
	assert_int_equal(reactor_round(), 0);
	close(w.source.fd);
}

static void test_edge_triggered_tells_once(void **state)
{
	struct wire w = { .keeps = true };

	wire_open(&w, EPOLLIN | EPOLLET);
	wire_write(&w);
	loop_drain();
	loop_drain();
	assert_int_equal(w.events, 1);
	wire_write(&w);
	loop_drain();
	assert_int_equal(w.events, 2);
	fd_source_remove(&w.source);
	wire_close(&w);
}

static void test_modify(void **state)
{
	struct wire w = { .keeps = true };

	wire_open(&w, 0);
	wire_write(&w);
	loop_drain();
	assert_int_equal(w.events, 0);
	assert_int_equal(fd_source_modify(&w.source, EPOLLIN | EPOLLET), 0);
	loop_drain();
	assert_int_equal(w.events, 1);
	fd_source_remove(&w.source);
	wire_close(&w);
}

/* All three are ready and in one batch; whoever comes first removes all. */
static void test_removal_inside_a_batch(void **state)
{
	struct wire w[3] = { 0 };

	for (unsigned i = 0; i < 3; i++)
		wire_open(&w[i], EPOLLIN);
	for (unsigned i = 0; i < 3; i++) {
		wire_write(&w[i]);
		for (unsigned k = 0; k < 3; k++)
			w[i].removes[k] = &w[k];
	}
	assert_int_equal(reactor_round(), 1);
	assert_int_equal(w[0].events + w[1].events + w[2].events, 1);
	assert_int_equal(reactor_round(), 0);
	for (unsigned i = 0; i < 3; i++)
		wire_close(&w[i]);
}

/* The memory of a removed source may be gone, and be another source's, in the same batch. */
static void test_removal_and_reuse_of_memory_inside_a_batch(void **state)
{
	struct wire *w = calloc(2, sizeof(*w)), killer = { 0 };

	assert_non_null(w);
	wire_open(&killer, EPOLLIN);
	wire_open(&w[0], EPOLLIN);
	wire_open(&w[1], EPOLLIN);
	wire_write(&killer);
	wire_write(&w[0]);
	wire_write(&w[1]);
	killer.removes[0] = &w[0];
	killer.removes[1] = &w[1];
	/* in whatever order epoll gives them */
	loop_drain();
	assert_int_equal(killer.events, 1);
	assert_in_range(w[0].events, 0, 1);
	wire_close(&w[0]);
	wire_close(&w[1]);
	free(w);
	assert_int_equal(reactor_round(), 0);
	fd_source_remove(&killer.source);
	wire_close(&killer);
}

static void test_removal_after_close_is_allowed(void **state)
{
	struct wire w = { 0 };
	struct reactor_stats stats;

	wire_open(&w, EPOLLIN);
	wire_close(&w);
	fd_source_remove(&w.source);
	reactor_stats(reactor_self(), &stats);
	assert_int_equal(stats.fds, 0);
}

static void test_bad_descriptor_is_an_error(void **state)
{
	struct fd_source src = { .fd = -1, .event = wire_event };

	assert_int_equal(fd_source_add(&src, EPOLLIN), -EBADF);
}

static int work_poll(struct poller *p)
{
	return 1;
}

/* Under a poller that always works: by the count of rounds, and by time. */
static void test_a_busy_poller_does_not_starve_descriptors(void **state)
{
	struct poller busy = { .name = "busy", .poll = work_poll };
	struct wire w = { 0 };
	unsigned rounds;

	poller_start(&busy);
	wire_open(&w, EPOLLIN);
	wire_write(&w);
	for (rounds = 0; w.events == 0; rounds++) {
		assert_true(rounds < 100);
		reactor_round();
	}
	reactor_round();
	wire_write(&w);
	clock_simulate_advance(20);
	reactor_round();
	assert_int_equal(w.events, 2);
	fd_source_remove(&w.source);
	wire_close(&w);
	poller_stop(&busy);
}

/* Who has long had all of its work from elsewhere does not ask in each round without any. */
static void test_silent_descriptors_are_asked_now_and_then_until_one_speaks(void **state)
{
	struct poller busy = { .name = "busy", .poll = work_poll };
	struct wire w = { 0 };

	poller_start(&busy);
	wire_open(&w, EPOLLIN);
	for (unsigned i = 0; i < 100; i++)
		reactor_round();
	poller_stop(&busy);
	clock_simulate_advance(20);
	reactor_round();
	wire_write(&w);
	reactor_round();
	assert_int_equal(w.events, 0);
	clock_simulate_advance(20);
	reactor_round();
	assert_int_equal(w.events, 1);
	wire_write(&w);
	reactor_round();
	assert_int_equal(w.events, 2);
	fd_source_remove(&w.source);
	wire_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(test_events_are_told),
		loop_test(test_edge_triggered_tells_once),
		loop_test(test_modify),
		loop_test(test_removal_inside_a_batch),
		loop_test(test_removal_and_reuse_of_memory_inside_a_batch),
		loop_test(test_removal_after_close_is_allowed),
		loop_test(test_bad_descriptor_is_an_error),
		loop_test(test_a_busy_poller_does_not_starve_descriptors),
		loop_test(test_silent_descriptors_are_asked_now_and_then_until_one_speaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
