/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/reactor.h"

struct probe {
	struct poller poller;
	unsigned polls;
	int result;
	struct probe *stops[3], *starts;
	bool frees;
};

static int probe_poll(struct poller *p)
{
	struct probe *probe = container_of(p, struct probe, poller);
	int result = probe->result;

	probe->polls++;
	for (unsigned i = 0; i < 3 && probe->stops[i]; i++)
		poller_stop(&probe->stops[i]->poller);
	if (probe->starts) {
		probe->starts->poller.poll = probe_poll;
		poller_start(&probe->starts->poller);
	}
	for (unsigned i = 0; i < 3; i++)
		probe->stops[i] = NULL;
	probe->starts = NULL;
	if (probe->frees)
		free(probe);
	return result;
}

static void start(struct probe *probe, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		probe[i].poller = (struct poller){ .name = "probe", .poll = probe_poll };
		poller_start(&probe[i].poller);
	}
}

static void test_each_is_called_once_a_round(void **state)
{
	struct probe p[3] = { { .result = 2 }, { .result = 0 }, { .result = 5 } };

	start(p, 3);
	assert_int_equal(reactor_round(), 7);
	assert_int_equal(reactor_round(), 7);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(p[i].polls, 2);
	assert_int_equal(p[2].poller.rounds, 2);
	assert_int_equal(p[2].poller.work, 10);
}

static void test_one_stops_itself(void **state)
{
	struct probe p[3] = { 0 };

	start(p, 3);
	p[1].stops[0] = &p[1];
	reactor_round();
	reactor_round();
	assert_int_equal(p[0].polls, 2);
	assert_int_equal(p[1].polls, 1);
	assert_int_equal(p[2].polls, 2);
}

/* The one before, the next one and the last one, in every mixture. */
static void test_one_stops_others(void **state)
{
	struct probe p[5] = { 0 };
	struct reactor_stats stats;

	start(p, 5);
	p[1].stops[0] = &p[2];
	p[1].stops[1] = &p[0];
	p[1].stops[2] = &p[4];
	reactor_round();
	assert_int_equal(p[0].polls, 1);
	assert_int_equal(p[1].polls, 1);
	assert_int_equal(p[2].polls, 0);
	assert_int_equal(p[3].polls, 1);
	assert_int_equal(p[4].polls, 0);
	reactor_stats(reactor_self(), &stats);
	assert_int_equal(stats.pollers, 2);
}

static void test_one_stops_itself_and_all_after_it(void **state)
{
	struct probe p[3] = { 0 };

	start(p, 3);
	p[0].stops[0] = &p[1];
	p[0].stops[1] = &p[0];
	p[0].stops[2] = &p[2];
	reactor_round();
	reactor_round();
	assert_int_equal(p[0].polls, 1);
	assert_int_equal(p[1].polls + p[2].polls, 0);
}

/* The address sanitizer sees whether anybody looks at it afterwards. */
static void test_one_stops_and_frees_itself(void **state)
{
	struct probe *p = calloc(1, sizeof(*p)), other = { 0 };

	assert_non_null(p);
	start(p, 1);
	start(&other, 1);
	p->stops[0] = p;
	p->frees = true;
	p->result = 3;
	assert_int_equal(reactor_round(), 3);
	assert_int_equal(other.polls, 1);
}

static void test_one_starts_another(void **state)
{
	struct probe p[2] = { 0 };

	start(p, 1);
	p[0].starts = &p[1];
	reactor_round();
	reactor_round();
	assert_int_equal(p[0].polls, 2);
	assert_in_range(p[1].polls, 1, 2);
}

static void test_a_stopped_one_may_start_again(void **state)
{
	struct probe p = { 0 };

	start(&p, 1);
	for (unsigned i = 1; i < 5; i++) {
		reactor_round();
		assert_int_equal(p.polls, i);
		poller_stop(&p.poller);
		reactor_round();
		assert_int_equal(p.polls, i);
		poller_start(&p.poller);
	}
}

static int late_poll(struct poller *p)
{
	struct probe *probe = container_of(p, struct probe, poller);

	/* all others have been called in this round */
	for (unsigned i = 0; i < 3 && probe->stops[i]; i++)
		assert_int_equal(probe->stops[i]->polls, probe->polls + 1);
	probe->polls++;
	return 0;
}

static void test_a_disks_poller_comes_after_those_that_started_later(void **state)
{
	struct probe p[3] = { 0 }, late[2] = { 0 };

	for (unsigned i = 0; i < 2; i++) {
		late[i].poller = (struct poller){ "late", .poll = late_poll, .late = true };
		for (unsigned j = 0; j < 3; j++)
			late[i].stops[j] = &p[j];
		poller_start(&late[i].poller);
	}
	start(p, 3);
	for (unsigned i = 0; i < 5; i++)
		reactor_round();
	assert_int_equal(late[0].polls, 5);
	assert_int_equal(late[1].polls, 5);
	assert_int_equal(p[2].polls, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(test_each_is_called_once_a_round),
		loop_test(test_one_stops_itself),
		loop_test(test_one_stops_others),
		loop_test(test_one_stops_itself_and_all_after_it),
		loop_test(test_one_stops_and_frees_itself),
		loop_test(test_one_starts_another),
		loop_test(test_a_stopped_one_may_start_again),
		loop_test(test_a_disks_poller_comes_after_those_that_started_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
