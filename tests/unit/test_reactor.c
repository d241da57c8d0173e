/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages, rounds and sleep; real threads and real time, but no promise about how fast. */
#include "tests/unit/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/reactor.h"

/* ---- messages, by hand ---- */

struct note {
	struct msg msg;
	unsigned number;
	bool again;
};

static unsigned notes_seen;

static void note_run(struct msg *msg)
{
	struct note *n = container_of(msg, struct note, msg);

	assert_int_equal(n->number, notes_seen);
	notes_seen++;
	if (n->again) {
		n->again = false;
		n->number = notes_seen;
		reactor_send(reactor_self(), &n->msg, note_run);
	}
}

static void test_messages_come_in_order_in_a_later_round(void **state)
{
	struct note n[100] = { 0 };

	notes_seen = 0;
	for (unsigned i = 0; i < 100; i++) {
		n[i].number = i;
		reactor_send(reactor_self(), &n[i].msg, note_run);
	}
	assert_int_equal(notes_seen, 0);
	assert_int_equal(reactor_round(), 100);
	assert_int_equal(notes_seen, 100);
}

static void test_a_message_may_be_sent_again_while_it_runs(void **state)
{
	struct note n = { .again = true };

	notes_seen = 0;
	reactor_send(reactor_self(), &n.msg, note_run);
	assert_int_equal(reactor_round(), 1);
	assert_int_equal(notes_seen, 1);
	assert_int_equal(reactor_round(), 1);
	assert_int_equal(notes_seen, 2);
	assert_int_equal(reactor_round(), 0);
}

static void test_life_again_and_again(void **state)
{
	assert_int_equal(reactor_init(0, NULL), -EINVAL);
	assert_int_equal(reactor_init(REACTOR_MAX + 1, NULL), -EINVAL);
	for (unsigned i = 1; i < 20; i++) {
		assert_int_equal(reactor_init(i % 4 + 1, NULL), 0);
		assert_int_equal(reactor_count(), i % 4 + 1);
		assert_null(reactor_self());
		reactor_enter(reactor_at(0));
		assert_ptr_equal(reactor_self(), reactor_at(0));
		reactor_round();
		reactor_fini();
		assert_null(reactor_self());
		assert_int_equal(reactor_count(), 0);
	}
}

/* ---- messages between threads ---- */

enum { SENDERS = 4, SENT = 20000 };

struct sender {
	pthread_t thread;
	struct note note[SENT];
	unsigned seen;
};

static struct sender senders[SENDERS];
static unsigned senders_done;

static void stress_run(struct msg *msg)
{
	struct note *n = container_of(msg, struct note, msg);
	struct sender *s = &senders[((char *)n - (char *)senders) / sizeof(*s)];

	ASSERT_MSG(n->number == s->seen, "message %u came as number %u", n->number, s->seen);
	if (++s->seen == SENT && ++senders_done == SENDERS)
		reactor_stop();
}

static void *stress_send(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < SENT; i++) {
		s->note[i].number = i;
		reactor_send(reactor_at(0), &s->note[i].msg, stress_run);
		/* let the reactor run dry and go to sleep now and then */
		if (i % 512 == 0)
			sched_yield();
	}
	return NULL;
}

static void stress_start(void *arg)
{
	for (unsigned i = 0; i < SENDERS; i++)
		ASSERT(pthread_create(&senders[i].thread, NULL, stress_send, &senders[i]) == 0);
}

static void test_no_message_of_many_senders_is_lost_or_overtaken(void **state)
{
	assert_int_equal(reactor_init(1, NULL), 0);
	reactor_run(stress_start, NULL);
	for (unsigned i = 0; i < SENDERS; i++) {
		pthread_join(senders[i].thread, NULL);
		assert_int_equal(senders[i].seen, SENT);
	}
	reactor_fini();
}

/*
 * One message at a time, sent around the moment at which the reactor falls asleep. Without a
 * wake-up it would lie there until the heartbeat, a second later.
 */
enum { PINGS = 10000, LATE_US = 900 * 1000 };

static sem_t pong;
static unsigned late;

static void ping_run(struct msg *msg)
{
	sem_post(&pong);
}

static void *ping_send(void *arg)
{
	struct msg msg;

	for (unsigned i = 0; i < PINGS && !late; i++) {
		/* between nothing and twice the time after which it sleeps */
		uint64_t begin = clock_now_us(), pause = i * 7919 % (2 * config.idle_spin_us + 1);
		uint64_t sent;

		while (clock_now_us() - begin < pause)
			;
		sent = clock_now_us();
		reactor_send(reactor_at(0), &msg, ping_run);
		while (sem_wait(&pong) < 0)
			;
		late += clock_now_us() - sent > LATE_US;
	}
	reactor_stop();
	return NULL;
}

static pthread_t ping_thread;

static void ping_start(void *arg)
{
	ASSERT(pthread_create(&ping_thread, NULL, ping_send, NULL) == 0);
}

static void test_no_wake_up_is_lost(void **state)
{
	struct reactor_stats stats;

	sem_init(&pong, 0, 0);
	late = 0;
	assert_int_equal(reactor_init(1, NULL), 0);
	reactor_run(ping_start, NULL);
	pthread_join(ping_thread, NULL);
	reactor_stats(reactor_at(0), &stats);
	reactor_fini();
	assert_int_equal(late, 0);
	assert_true(stats.messages >= PINGS);
	/* or nothing was tested */
	assert_true(stats.sleeps > PINGS / 10);
}

/* ---- sleep ---- */

struct watch {
	struct poller poller;
	enum poller_arm answer;
	unsigned arms, disarms, polls_while_armed;
	bool armed;
};

static int watch_poll(struct poller *p)
{
	struct watch *w = container_of(p, struct watch, poller);

	w->polls_while_armed += w->armed;
	return 0;
}

static enum poller_arm watch_arm(struct poller *p)
{
	struct watch *w = container_of(p, struct watch, poller);

	w->arms++;
	w->armed = w->answer == POLLER_ARMED;
	return w->answer;
}

static void watch_disarm(struct poller *p)
{
	struct watch *w = container_of(p, struct watch, poller);

	ASSERT(w->armed);
	w->disarms++;
	w->armed = false;
}

static struct watch watches[2];

static uint64_t sleeps(void)
{
	struct reactor_stats stats;

	reactor_stats(reactor_self(), &stats);
	return stats.sleeps;
}

static void watches_start(enum poller_arm first, enum poller_arm second)
{
	memset(watches, 0, sizeof(watches));
	watches[0].answer = first;
	watches[1].answer = second;
	for (unsigned i = 0; i < 2; i++) {
		watches[i].poller = (struct poller){
			"watch", watch_poll, watch_arm, watch_disarm
		};
		poller_start(&watches[i].poller);
	}
}

static void watches_stop(void)
{
	poller_stop(&watches[0].poller);
	poller_stop(&watches[1].poller);
	for (unsigned i = 0; i < 2; i++) {
		ASSERT(!watches[i].armed);
		ASSERT(watches[i].polls_while_armed == 0);
	}
}

static void sleep_start(void *arg)
{
	const uint64_t long_us = 10 * config.idle_spin_us + 20000;
	uint64_t before;

	watches_start(POLLER_ARMED, POLLER_ARMED);
	before = sleeps();
	task_sleep(long_us);
	ASSERT(sleeps() > before);
	ASSERT(watches[0].arms > 0 && watches[0].arms == watches[0].disarms);
	ASSERT(watches[1].arms > 0 && watches[1].arms == watches[1].disarms);
	watches_stop();

	watches_start(POLLER_ARMED, POLLER_BUSY);
	before = sleeps();
	task_sleep(long_us);
	ASSERT(sleeps() == before);
	ASSERT(watches[0].arms > 0 && watches[0].arms == watches[0].disarms);
	watches_stop();

	/* the deaf one is asked first from the second time on */
	watches_start(POLLER_ARMED, POLLER_DEAF);
	before = sleeps();
	task_sleep(long_us);
	ASSERT(sleeps() == before);
	ASSERT(watches[0].arms == 1 && watches[0].disarms == 1);
	ASSERT(watches[1].arms > 1 && watches[1].disarms == 0);
	/* it can hear again */
	watches[1].answer = POLLER_ARMED;
	task_sleep(long_us);
	ASSERT(sleeps() > before);
	watches_stop();
	reactor_stop();
}

static void test_pollers_decide_whether_the_reactor_sleeps(void **state)
{
	assert_int_equal(reactor_init(1, NULL), 0);
	reactor_run(sleep_start, NULL);
	reactor_fini();
}

/* A descriptor wakes a reactor that has nothing else to wake up for. */
struct pipe_wake {
	struct fd_source source;
	int write_fd;
	unsigned events;
};

static void pipe_event(struct fd_source *src, uint32_t events)
{
	struct pipe_wake *w = container_of(src, struct pipe_wake, source);

	w->events++;
	fd_source_remove(src);
	reactor_stop();
}

static void *pipe_write(void *arg)
{
	struct pipe_wake *w = arg;
	struct reactor_stats stats;

	do {
		sched_yield();
		reactor_stats(reactor_at(0), &stats);
	} while (!stats.asleep);
	ASSERT(write(w->write_fd, "x", 1) == 1);
	return NULL;
}

static void pipe_start(void *arg)
{
	struct pipe_wake *w = arg;

	ASSERT(fd_source_add(&w->source, EPOLLIN) == 0);
}

static void test_a_descriptor_wakes_a_sleeping_reactor(void **state)
{
	struct pipe_wake w = { .source = { .event = pipe_event } };
	struct reactor_stats stats;
	pthread_t thread;
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	w.source.fd = fd[0];
	w.write_fd = fd[1];
	assert_int_equal(reactor_init(1, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, pipe_write, &w), 0);
	reactor_run(pipe_start, &w);
	pthread_join(thread, NULL);
	reactor_stats(reactor_at(0), &stats);
	reactor_fini();
	assert_int_equal(w.events, 1);
	assert_true(stats.sleeps > 0);
	close(fd[0]);
	close(fd[1]);
}

/* Every reactor's heart beats although it has nothing to do, and it burns next to nothing. */
static void idle_start(void *arg)
{
	struct reactor_stats before[2], after[2];

	for (unsigned i = 0; i < 2; i++)
		reactor_stats(reactor_at(i), &before[i]);
	task_sleep(2200 * 1000);
	for (unsigned i = 0; i < 2; i++) {
		reactor_stats(reactor_at(i), &after[i]);
		ASSERT(after[i].heartbeat > before[i].heartbeat);
		ASSERT(after[i].sleep_us > before[i].sleep_us + 1000 * 1000);
		ASSERT(after[i].busy_percent < 5.0);
		ASSERT(after[i].cpu_percent < 5.0);
		ASSERT(after[i].index == i);
		ASSERT(after[i].cpu == -1);
	}
	reactor_stop();
}

static void test_idle_reactors_sleep_and_their_hearts_beat(void **state)
{
	assert_int_equal(reactor_init(2, NULL), 0);
	reactor_run(idle_start, NULL);
	reactor_fini();
}

/* Many short sleeps: what they take is counted in time asleep, not in rounds spun. */
static void short_start(void *arg)
{
	for (unsigned i = 0; i < 50; i++) {
		uint64_t begin = clock_now_us();

		task_sleep(100);
		ASSERT(clock_now_us() - begin >= 100);
	}
	reactor_stop();
}

static void test_short_sleeps_are_never_too_short(void **state)
{
	assert_int_equal(reactor_init(1, NULL), 0);
	reactor_run(short_start, NULL);
	reactor_fini();
}

static void pinned_start(void *arg)
{
	ASSERT(reactor_count() == 2);
	task_sleep(1);
	reactor_stop();
}

/* CPU 0 is there; the other one is not, and that is no reason to stop. */
static void test_pinning(void **state)
{
	const int cpus[] = { sched_getcpu(), 1000000 };
	struct reactor_stats stats;
	cpu_set_t saved;

	sched_getaffinity(0, sizeof(saved), &saved);
	assert_int_equal(reactor_init(2, cpus), 0);
	reactor_run(pinned_start, NULL);
	sched_setaffinity(0, sizeof(saved), &saved);
	reactor_stats(reactor_at(0), &stats);
	assert_int_equal(stats.cpu, cpus[0]);
	reactor_stats(reactor_at(1), &stats);
	assert_int_equal(stats.cpu, -1);
	reactor_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(test_messages_come_in_order_in_a_later_round),
		loop_test(test_a_message_may_be_sent_again_while_it_runs),
		cmocka_unit_test(test_life_again_and_again),
		cmocka_unit_test(test_no_message_of_many_senders_is_lost_or_overtaken),
		cmocka_unit_test(test_no_wake_up_is_lost),
		cmocka_unit_test(test_pollers_decide_whether_the_reactor_sleeps),
		cmocka_unit_test(test_a_descriptor_wakes_a_sleeping_reactor),
		cmocka_unit_test(test_idle_reactors_sleep_and_their_hearts_beat),
		cmocka_unit_test(test_short_sleeps_are_never_too_short),
		cmocka_unit_test(test_pinning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
