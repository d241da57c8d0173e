/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions on a terminal that takes as much as the test wants: commands, pages, logs, ends. */
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "tests/unit/console_desk.h"

static void test_a_command_at_the_prompt(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	desk_expect(d, "\rkarst> ");
	desk_type(d, "try lines count=2\r");
	desk_expect(d, "try lines count=2\nline 1\nline 2\n\rkarst> ");
	desk_type(d, "\r\r");
	desk_expect(d, "\n\rkarst> \n\rkarst> ");
	desk_type(d, "no\r");
	desk_expect_has(d, "error: no: no such command");
	desk_type(d, "\x04");
	assert_true(d->ended);
	desk_free(d);
}

static void test_one_command_ends_with_its_status(void **state)
{
	struct desk *d = desk_make(SESSION_COMMAND, 0, "try lines count=1");

	desk_expect(d, "line 1\n");
	assert_true(d->ended);
	assert_int_equal(d->status, 0);
	desk_free(d);
	d = desk_make(SESSION_COMMAND, 0, "try lin");
	desk_expect_has(d, "abbreviated");
	assert_int_equal(d->status, EINVAL);
	desk_free(d);
	d = desk_make(SESSION_COMMAND, 0, "try ask");
	desk_expect_has(d, "add force");
	assert_int_equal(d->status, EPERM);
	desk_free(d);
}

/* Somebody at a terminal typed `karst ctl try deaf`: the second Ctrl-C gives the shell back. */
static void test_ctrl_c_twice_ends_one_command(void **state)
{
	struct session_opts opts = { .kind = SESSION_COMMAND, .keys = true, .line = "try deaf" };
	struct desk *d = desk_make(SESSION_ATTACHED, 0, NULL);

	session_hangup(d->session);
	d->session = session_start(&d->port, &opts);
	loop_drain();
	desk_type(d, "\x03");
	assert_false(d->ended);
	desk_type(d, "\x03");
	assert_true(d->ended);
	assert_int_equal(d->status, EINTR);
	slow_running = false;
	loop_advance(SECOND);
	desk_free(d);
}

static void test_more_output_than_is_held_is_an_error(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 0, NULL);
	struct session_opts opts = { .kind = SESSION_COMMAND, .json = true,
				     .line = "try lines count=400000" };

	session_hangup(d->session);
	d->room = 1000;
	d->session = session_start(&d->port, &opts);
	loop_drain();
	d->room = 64 << 20;
	session_wake(d->session);
	loop_drain();
	assert_true(d->ended);
	assert_int_equal(d->status, ENOBUFS);
	desk_expect_has(d, "bytes dropped]");
	desk_free(d);
}

static void test_pages(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 5, NULL);

	desk_expect(d, "\rkarst> ");
	desk_type(d, "try lines count=12\r");
	desk_expect(d, "try lines count=12\nline 1\nline 2\nline 3\nline 4\n"
	       "--More-- (space: page, Enter: line, q: stop)");
	desk_type(d, "\r");
	desk_expect_has(d, "line 5\n--More--");
	desk_type(d, "x");
	desk_expect(d, "");
	desk_type(d, " ");
	desk_expect_has(d, "line 9\n--More--");
	desk_type(d, "q");
	desk_expect_has(d, "\rkarst> ");
	desk_type(d, "try lines count=3\r");
	desk_expect(d, "try lines count=3\nline 1\nline 2\nline 3\n\rkarst> ");
	desk_free(d);
}

static void test_scripts_meet_no_pager(void **state)
{
	struct desk *d = desk_make(SESSION_COMMAND, 5, "try lines count=100");

	assert_null(strstr(d->text, "More"));
	desk_expect_has(d, "line 100\n");
	desk_free(d);
}

static void test_a_terminal_that_takes_nothing_holds_up_nobody(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 0, NULL);

	desk_expect(d, "\rkarst> ");
	d->room = 200;
	desk_type(d, "try lines count=20000\r");
	assert_true(d->len <= 200);
	for (unsigned i = 0; i < 100; i++)
		desk_type(d, "typed ahead of a dead terminal");
	d->room = 64 << 20;
	session_wake(d->session);
	loop_drain();
	desk_expect_has(d, "line 20000\n");
	desk_free(d);
}

static void test_what_is_dropped_is_counted(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 0, NULL);

	desk_expect(d, "\rkarst> ");
	d->room = 3;
	desk_type(d, "abcdefgh");
	desk_expect(d, "abc");
	d->room = 1000;
	session_wake(d->session);
	loop_drain();
	desk_expect(d, "\n[… 5 bytes dropped]\n");
	desk_free(d);
}

static void test_ctrl_c_cancels(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	desk_type(d, "try slow\r");
	loop_advance(SECOND);
	assert_true(slow_running);
	desk_expect_has(d, "%");
	desk_type(d, "abc\x03");
	loop_advance(SECOND);
	assert_false(slow_running);
	desk_expect_has(d, "error: slow: cancelled\n\rkarst> abc");
	desk_free(d);
}

static void test_a_command_may_be_left_running(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	desk_type(d, "try deaf\r\x1a");
	desk_expect_has(d, "[left running: see `task list`]\n\rkarst> ");
	assert_int_equal(job_count(), 1);
	desk_type(d, "task list\r");
	desk_expect_has(d, "try deaf");
	slow_running = false;
	loop_advance(SECOND);
	assert_int_equal(job_count(), 0);
	desk_type(d, "try deaf\r\x03\x03");
	desk_expect_has(d, "it has not stopped: left running");
	slow_running = false;
	loop_advance(SECOND);
	desk_free(d);
}

static void test_hanging_up_leaves_commands_alone(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	desk_type(d, "try deaf\r");
	session_hangup(d->session);
	d->session = NULL;
	loop_advance(SECOND);
	assert_int_equal(session_count(), 0);
	assert_int_equal(job_count(), 1);
	slow_running = false;
	loop_advance(SECOND);
	desk_free(d);
	d = desk_make(SESSION_ATTACHED, 24, NULL);
	slow_running = true;
	desk_type(d, "try live\r");
	session_hangup(d->session);
	d->session = NULL;
	loop_drain();
	assert_false(slow_running);
	desk_free(d);
}

static void test_live_commands_have_the_terminal(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 5, NULL);

	desk_type(d, "try live\r");
	for (unsigned i = 0; i < 20; i++)
		loop_advance(SECOND);
	assert_null(strstr(d->text, "More"));
	log_error("x: while a live command runs");
	session_wake_all();
	loop_drain();
	assert_null(strstr(d->text, "while a live"));
	desk_type(d, "q");
	desk_expect_has(d, "error: x: while a live command runs\n\rkarst> ");
	desk_free(d);
}

static void test_questions_are_answered_at_the_terminal(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	desk_type(d, "try ask\r");
	desk_expect_has(d, "all will be gone. Type it to go on: ");
	desk_type(d, "it\r");
	desk_expect(d, "it\ndone it\n\rkarst> ");
	desk_type(d, "try ask\rno\r");
	desk_expect_has(d, "not confirmed");
	desk_type(d, "try ask\r");
	loop_advance(61 * (uint64_t)SECOND);
	desk_expect_has(d, "not confirmed");
	desk_free(d);
}

static void test_logs_do_not_tear_the_line(void **state)
{
	struct desk *d = desk_make(SESSION_ATTACHED, 24, NULL);

	desk_type(d, "try li");
	d->len = 0;
	log_warn("nvme0: slow");
	log_info("not for everybody");
	session_wake_all();
	loop_drain();
	assert_null(strstr(d->text, "everybody"));
	assert_true(strncmp(d->text, "\r             \r[", 16) == 0);
	desk_expect_has(d, " warn: nvme0: slow\n\rkarst> try li");
	desk_type(d, "nes\r");
	desk_expect(d, "nes\nline 1\n\rkarst> ");
	for (unsigned i = 0; i < 100; i++)
		log_warn("many %u", i);
	session_wake_all();
	loop_drain();
	desk_expect_has(d, "many 19\n[… more in `log show`]\n\rkarst> ");
	desk_free(d);
}

static void test_failures_at_boot_stand_above_the_prompt(void **state)
{
	struct desk *d;

	boot_facts.commands_failed = 2;
	d = desk_make(SESSION_ATTACHED, 24, NULL);
	desk_expect(d, "2 commands failed at boot: see `system boot`\n\rkarst> ");
	boot_facts.commands_failed = 0;
	desk_free(d);
}

static void test_a_serial_terminal_is_asked_once_and_need_not_answer(void **state)
{
	struct desk *d = desk_make(SESSION_SERIAL, 0, NULL);

	desk_expect(d, "\rkarst> ");
	desk_type(d, "t");
	desk_expect(d, "\x1b" "7\x1b[999;999H\x1b[6n\x1b" "8t");
	desk_type(d, "ry lines count=50\r");
	assert_null(strstr(d->text, "More"));
	desk_expect_has(d, "line 50\n\rkarst> ");
	desk_type(d, "\x1b[10;40R");
	desk_type(d, "try lines count=50\r");
	desk_expect_has(d, "line 9\n--More--");
	desk_type(d, "q\x1b[2;2R");
	desk_type(d, "try lines count=50\r");
	desk_expect_has(d, "line 9\n--More--");
	desk_free(d);
}

static void test_a_million_bytes_of_noise_do_no_harm(void **state)
{
	struct desk *d = desk_make(SESSION_SERIAL, 0, NULL);
	uint64_t seed = 5;

	for (unsigned i = 0; i < 1000000 / 100; i++) {
		char noise[100];

		for (unsigned j = 0; j < sizeof(noise); j++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			noise[j] = (char)(seed >> 56);
		}
		session_input(d->session, noise, sizeof(noise));
		loop_drain();
		d->room = 1 << 16;
		d->len = 0;
	}
	loop_advance(SECOND);
	desk_type(d, "\x03q\x03\r\x03\x15");
	d->len = 0;
	d->room = 1 << 20;
	desk_type(d, "try lines count=1\r");
	desk_expect_has(d, "line 1\n");
	desk_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(test_a_command_at_the_prompt),
		loop_test(test_one_command_ends_with_its_status),
		loop_test(test_ctrl_c_twice_ends_one_command),
		loop_test(test_more_output_than_is_held_is_an_error),
		loop_test(test_pages),
		loop_test(test_scripts_meet_no_pager),
		loop_test(test_a_terminal_that_takes_nothing_holds_up_nobody),
		loop_test(test_what_is_dropped_is_counted),
		loop_test(test_ctrl_c_cancels),
		loop_test(test_a_command_may_be_left_running),
		loop_test(test_hanging_up_leaves_commands_alone),
		loop_test(test_live_commands_have_the_terminal),
		loop_test(test_questions_are_answered_at_the_terminal),
		loop_test(test_logs_do_not_tear_the_line),
		loop_test(test_failures_at_boot_stand_above_the_prompt),
		loop_test(test_a_serial_terminal_is_asked_once_and_need_not_answer),
		loop_test(test_a_million_bytes_of_noise_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
