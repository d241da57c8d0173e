/* SPDX-License-Identifier: BSD-3-Clause */
/* What runs at boot, and the config and system commands of a hosted karst. */
#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/config.h"
#include "tests/unit/boot_double.h"
#include "tests/unit/cmd_box.h"

static char state_path[64], script_path[64], marks[64];

/* ---- a command that leaves a mark ---- */

static int mark_add(struct cmd_ctx *ctx)
{
	size_t n = strlen(marks);

	assert_true(cmd_at_boot(ctx));
	assert_false(cmd_interactive(ctx));
	snprintf(marks + n, sizeof(marks) - n, "%s", cmd_str(ctx, "NAME"));
	return strcmp(cmd_str(ctx, "NAME"), "bad") == 0 ?
		cmd_fail(ctx, -ENODEV, "bad: is not there; plug it in") : 0;
}

static const struct cmd_arg mark_args[] = {
	{ .name = "NAME", .type = CMD_NAME, .required = true }, { 0 },
};

static const struct cmd mark_table[] = {
	{ .noun = "mark", .verb = "add", .help = "x", .args = mark_args, .run = mark_add },
	{ 0 },
};

static void file_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	loop_setup(state);
	cmd_register(mark_table);
	cmd_register(config_cmds);
	cmd_register(system_cmds);
	snprintf(state_path, sizeof(state_path), "/tmp/test_startup.%d.state", (int)getpid());
	snprintf(script_path, sizeof(script_path), "/tmp/test_startup.%d.rc", (int)getpid());
	marks[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	unlink(state_path);
	unlink(script_path);
	karst_run = (struct karst_run){ 0 };
	return loop_teardown(state);
}

/* ---- in a task ---- */

static int startup_result;

static void startup_task(void *arg)
{
	startup_result = startup_run();
}

static int start(void)
{
	loop_task(startup_task, NULL);
	return startup_result;
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

static int ask(struct capture *c, const char *line)
{
	struct ask a = { .c = c, .line = line };

	loop_task(ask_task, &a);
	return a.rc;
}

/* ---- startup ---- */

static void test_the_script_runs_and_failures_are_kept(void **state)
{
	unsigned before = 0;

	while (startup_failure(before))
		before++;
	karst_run.script_path = script_path;
	file_write(script_path, "mark add a\nmark add bad\nmark ad x\nmark add b # end\n");
	assert_int_equal(start(), 2);
	assert_string_equal(marks, "abadb");
	assert_string_equal(startup_source(), script_path);
	assert_non_null(strstr(startup_failure(before), ":2: bad: is not there; plug it in"));
	assert_non_null(strstr(startup_failure(before + 1), ":3: mark ad: abbreviated"));
	assert_null(startup_failure(before + 2));
}

static void test_the_saved_configuration_comes_first(void **state)
{
	karst_run.script_path = script_path;
	karst_run.state_path = state_path;
	file_write(script_path, "mark add script\n");
	assert_int_equal(start(), 0);
	assert_string_equal(marks, "script");
	file_write(state_path, "mark add saved\n");
	marks[0] = '\0';
	assert_int_equal(start(), 0);
	assert_string_equal(marks, "saved");
	assert_non_null(strstr(startup_source(), state_path));
	file_write(state_path, "");
	marks[0] = '\0';
	assert_int_equal(start(), 0);
	assert_string_equal(marks, "script");
}

static void test_a_script_that_is_not_there_is_an_error(void **state)
{
	karst_run.script_path = "/nonexistent/script.rc";
	assert_int_equal(start(), -ENOENT);
}

static void test_a_saved_configuration_that_cannot_be_read_counts(void **state)
{
	karst_run.script_path = script_path;
	karst_run.state_path = "/";
	file_write(script_path, "mark add script\n");
	assert_int_equal(start(), 1);
	assert_string_equal(marks, "script");
}

static void test_rescue_runs_nothing(void **state)
{
	karst_run.rescue = true;
	karst_run.script_path = script_path;
	file_write(script_path, "mark add script\n");
	assert_int_equal(start(), 0);
	assert_string_equal(marks, "");
}

/* ---- config ---- */

static void test_config_save_diff_clear(void **state)
{
	struct capture *c = calloc(1, sizeof(*c));
	char text[256] = "";
	FILE *f;

	assert_int_equal(ask(c, "config save"), -ENODEV);
	assert_non_null(strstr(capture_text(c), "start karst with --state FILE"));
	karst_run.state_path = state_path;
	assert_int_equal(ask(c, "config show saved"), -ENOENT);
	assert_int_equal(ask(c, "config save"), 0);
	assert_non_null(strstr(capture_text(c), state_path));
	f = fopen(state_path, "re");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(strncmp(text, "# karst ", 8), 0);
	assert_int_equal(ask(c, "config diff | count"), 0);
	assert_string_equal(capture_text(c), "0\n");
	file_write(state_path, "# comment\nmark add old\nmark add old\n");
	assert_int_equal(ask(c, "config diff"), 0);
	assert_string_equal(capture_text(c), "- mark add old\n- mark add old\n");
	assert_int_equal(ask(c, "config clear"), -EPERM);
	assert_int_equal(ask(c, "config clear force"), 0);
	assert_int_equal(access(state_path, F_OK), -1);
	assert_int_equal(ask(c, "config clear force"), 0);
	karst_run.state_path = "/nonexistent/state";
	assert_int_equal(ask(c, "config save"), -ENOENT);
	cmd_buf_free(&c->text);
	free(c);
}

static void test_config_revert_is_refused_hosted(void **state)
{
	struct capture *c = calloc(1, sizeof(*c));

	assert_int_equal(ask(c, "config revert force"), -EOPNOTSUPP);
	assert_int_equal(boot_end_calls, 0);
	cmd_buf_free(&c->text);
	free(c);
}

static void test_system_commands(void **state)
{
	struct capture *c = calloc(1, sizeof(*c));

	assert_int_equal(ask(c, "system reboot"), -EOPNOTSUPP);
	assert_int_equal(boot_end_calls, 0);
	assert_int_equal(ask(c, "system poweroff"), 0);
	assert_int_equal(boot_end_calls, 1);
	assert_int_equal(boot_end_how, BOOT_END_EXIT);
	karst_run.appliance = true;
	assert_int_equal(ask(c, "system reboot"), 0);
	assert_int_equal(boot_end_how, BOOT_END_REBOOT);
	assert_int_equal(ask(c, "system poweroff"), 0);
	assert_int_equal(boot_end_how, BOOT_END_POWEROFF);
	assert_int_equal(ask(c, "system version | match appliance | count"), 0);
	assert_string_equal(capture_text(c), "1\n");
	boot_facts = (struct boot_facts){ .ready_ms = 4321, .starts = 2,
					  .last_death = "killed by signal 9" };
	assert_int_equal(ask(c, "system boot"), 0);
	assert_non_null(strstr(capture_text(c), "killed by signal 9"));
	assert_non_null(strstr(capture_text(c), "4.3s"));
	assert_int_equal(ask(c, "system uptime | json"), 0);
	assert_non_null(strstr(capture_text(c), "\"seconds\":"));
	cmd_buf_free(&c->text);
	free(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_the_script_runs_and_failures_are_kept),
		T(test_the_saved_configuration_comes_first),
		T(test_a_script_that_is_not_there_is_an_error),
		T(test_a_saved_configuration_that_cannot_be_read_counts),
		T(test_rescue_runs_nothing),
		T(test_config_save_diff_clear),
		T(test_config_revert_is_refused_hosted),
		T(test_system_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
