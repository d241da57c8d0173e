/* SPDX-License-Identifier: BSD-3-Clause */
/* reactor, log, task and top. */
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/clock.h"
#include "core/cmd_core.h"
#include "core/reactor.h"
#include "tests/unit/cmd_box.h"

enum { SECOND = 1000000 };

static int setup(void **state)
{
	loop_setup(state);
	for (unsigned i = 0; cmd_core_tables[i]; i++)
		cmd_register(cmd_core_tables[i]);
	*state = calloc(1, sizeof(struct capture));
	return 0;
}

static int teardown(void **state)
{
	struct capture *c = *state;

	cmd_buf_free(&c->text);
	free(c);
	return loop_teardown(state);
}

struct ask {
	struct capture *c;
	const char *line;
	int rc;
};

static void ask_task(void *arg)
{
	struct ask *ask = arg;

	ask->rc = capture_run(ask->c, ask->line);
}

static const char *ask(struct capture *c, const char *line, int rc)
{
	struct ask a = { .c = c, .line = line };

	loop_task(ask_task, &a);
	assert_int_equal(a.rc, rc);
	return capture_text(c);
}

static void test_log_show_by_level_and_number(void **state)
{
	for (unsigned i = 0; i < 10; i++) {
		log_info("test: info %u", i);
		log_warn("test: warn %u", i);
	}
	assert_string_equal(ask(*state, "log show level=warn last=3 | match test: | count", 0),
			    "3\n");
	assert_non_null(strstr(ask(*state, "log show level=warn last=3", 0), "test: warn 7\n"));
	assert_null(strstr(ask(*state, "log show level=warn last=3", 0), "test: warn 6"));
	assert_non_null(strstr(ask(*state, "log show last=1 | json", 0),
			       "\"level\":\"warn\",\"text\":\"test: warn 9\"}]}"));
	assert_null(strstr(ask(*state, "log show level=error", 0), "test:"));
	assert_non_null(strstr(ask(*state, "log show level=loud", -EINVAL), "error, warn, info"));
	assert_non_null(strstr(ask(*state, "log follow last=2", 0), "warn 9"));
}

static void test_log_follow_ends_by_key(void **state)
{
	struct capture *c = *state;

	log_info("test: before");
	c->out.key = capture_key;
	c->keys = "xq";
	assert_non_null(strstr(ask(c, "log follow last=1", 0), "info   test: before\n"));
	assert_int_equal(*c->keys, '\0');
}

static unsigned worker_rounds;

static void worker(void *arg)
{
	task_describe("copying nothing");
	for (worker_rounds = 0; !task_cancelled(); worker_rounds++) {
		task_progress(25, 100);
		task_sleep(SECOND);
	}
}

static void test_tasks_are_listed_shown_and_cancelled(void **state)
{
	unsigned long long id = 0;
	const char *text;
	char line[64];

	assert_string_equal(ask(*state, "task list | match copying | count", 0), "0\n");
	assert_non_null(task_start("worker", worker, NULL));
	loop_drain();
	text = strstr(ask(*state, "task list | json", 0), "{\"id\":");
	assert_non_null(text);
	assert_int_equal(sscanf(text, "{\"id\":%llu", &id), 1);
	assert_non_null(strstr(text, "\"percent\":25.0"));
	snprintf(line, sizeof(line), "task show %llu", id);
	assert_non_null(strstr(ask(*state, line, 0), "copying nothing"));
	snprintf(line, sizeof(line), "task cancel %llu", id);
	ask(*state, line, 0);
	loop_advance(2 * SECOND);
	assert_string_equal(ask(*state, "task list | match copying | count", 0), "0\n");
	assert_non_null(strstr(ask(*state, line, -ENOENT), "there is none; see `task list`"));
}

static void test_reactor_show(void **state)
{
	assert_string_equal(ask(*state, "reactor show | count", 0), "1\n");
	assert_non_null(strstr(ask(*state, "reactor show", 0), "any"));
}

static void test_top_draws_until_q_and_prints_rows_without_a_terminal(void **state)
{
	struct capture *c = *state;

	assert_non_null(strstr(ask(c, "top | json", 0), "{\"kind\":\"reactor\",\"name\":\"0\""));
	c->out.key = capture_key;
	c->out.columns = 80;
	c->out.rows = 24;
	c->keys = "abq";
	assert_non_null(strstr(ask(c, "top", 0), "REACTOR"));
	/* the screen it has found is put back, with its cursor */
	assert_non_null(strstr(capture_text(c), "\x1b[?25h\x1b[?1049l"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_log_show_by_level_and_number),
		T(test_log_follow_ends_by_key),
		T(test_tasks_are_listed_shown_and_cancelled),
		T(test_reactor_show),
		T(test_top_draws_until_q_and_prints_rows_without_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
