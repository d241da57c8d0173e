/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: what it sets, and what it refuses by name. */
#include <getopt.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/life.h"
#include "boot/options.h"
#include "core/base/util.h"
#include "core/config.h"

static struct boot_options opt;
static char said[4096];                 /* on stderr */

/* Parses "karst ARGS…"; the result, with what was said in SAID. */
static int parse(const char *args)
{
	static char words[256];
	static char *argv[32];
	int argc = 0, saved = dup(STDERR_FILENO), status;
	FILE *f = tmpfile();
	size_t n;

	snprintf(words, sizeof(words), "karst %s", args);
	for (char *p = words, *word; (word = strsep(&p, " "));) {
		if (*word)
			argv[argc++] = word;
	}
	argv[argc] = NULL;
	optind = 0;
	karst_run = (struct karst_run){ 0 };
	assert_non_null(f);
	dup2(fileno(f), STDERR_FILENO);
	status = options_parse(argc, argv, &opt);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = '\0';
	fclose(f);
	return status;
}

static int first_cpu(void)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &set))
			return cpu;
	}
	fail();
	return -1;
}

static void test_hosted_without_options_is_one_reactor_anywhere(void **state)
{
	char path[128];

	assert_int_equal(parse(""), -1);
	assert_int_equal(opt.reactor_count, 1);
	assert_false(opt.pinned);
	assert_false(opt.no_huge);
	assert_int_equal(opt.memory_mib, config.memory_mib);
	assert_false(karst_run.appliance);
	assert_string_equal(karst_run.socket_path, options_default_socket(path, sizeof(path)));
	assert_null(karst_run.script_path);
	assert_null(karst_run.state_path);
}

static void test_options_say_what_to_run(void **state)
{
	assert_int_equal(parse("-f a.rc --state b -s c -m 64 --no-huge"), -1);
	assert_string_equal(karst_run.script_path, "a.rc");
	assert_string_equal(karst_run.state_path, "b");
	assert_string_equal(karst_run.socket_path, "c");
	assert_int_equal(opt.memory_mib, 64);
	assert_true(opt.no_huge);
}

static void test_named_cpus_get_a_pinned_reactor_each(void **state)
{
	char args[32];

	snprintf(args, sizeof(args), "-c %d", first_cpu());
	assert_int_equal(parse(args), -1);
	assert_int_equal(opt.reactor_count, 1);
	assert_true(opt.pinned);
	assert_int_equal(opt.cpu[0], first_cpu());
}

static void test_wrong_values_are_refused_by_name(void **state)
{
	static const struct {
		const char *args, *says;
	} wrong[] = {
		{ "-c 1,,2", "-c 1,,2: not a list" }, { "-c x", "-c x: not a list" },
		{ "-c 3-1", "-c 3-1: not a list" }, { "-c 0-", "-c 0-: not a list" },
		{ "-c 99999999999", "-c 99999999999: not a list" }, { "-c 1023", "CPU 1023" },
		{ "-m 15", "-m 15:" }, { "-m 64x", "-m 64x:" }, { "-m -1", "-m -1:" },
		{ "-m 99999999999999999999", "-m 99999999999999999999:" },
		{ "--nonsense", "nonsense" }, { "stray", "stray: no such argument" },
	};
	char args[32], says[32];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(parse(wrong[i].args), 2);
		assert_non_null(strstr(said, wrong[i].says));
	}
	snprintf(args, sizeof(args), "-c %d,%d", first_cpu(), first_cpu());
	snprintf(says, sizeof(says), "CPU %d is named twice", first_cpu());
	assert_int_equal(parse(args), 2);
	assert_non_null(strstr(said, says));
}

static void test_init_makes_it_an_appliance(void **state)
{
	setenv(LIFE_ENV_START, "3", 1);
	setenv(LIFE_ENV_INIT_MS, "1234", 1);
	setenv(LIFE_ENV_RESCUE, "1", 1);
	assert_int_equal(parse(""), -1);
	unsetenv(LIFE_ENV_START);
	unsetenv(LIFE_ENV_INIT_MS);
	unsetenv(LIFE_ENV_RESCUE);
	assert_true(karst_run.appliance && karst_run.rescue && opt.pinned);
	assert_null(karst_run.socket_path);
	assert_int_equal(opt.starts, 3);
	assert_int_equal(opt.init_ms, 1234);
	assert_in_range(opt.reactor_count, 1, REACTOR_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosted_without_options_is_one_reactor_anywhere),
		cmocka_unit_test(test_options_say_what_to_run),
		cmocka_unit_test(test_named_cpus_get_a_pinned_reactor_each),
		cmocka_unit_test(test_wrong_values_are_refused_by_name),
		cmocka_unit_test(test_init_makes_it_an_appliance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
