/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands: finding, arguments and their errors, consent, filters, output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cmd_priv.h"
#include "core/config.h"
#include "tests/unit/cmd_box.h"

static void test_table_is_aligned(void **state)
{
	expect(*state, "box list", 0,
	       "NAME       USED BLOCKS  BUSY\n"
	       "alpha                0   0.0\n"
	       "bé                1000  12.3\n"
	       "gamma ray         2000  24.7\n");
}

static void test_json_is_strict(void **state)
{
	expect(*state, "box list | match bé | json", 0,
	       "{\"ok\":true,\"rows\":[{\"name\":\"bé\",\"used_blocks\":1000,\"busy\":12.3}]}\n");
	expect(*state, "box show x | json", 0,
	       "{\"ok\":true,\"rows\":[{\"name\":\"x\",\"note\":\"a?[2J\\\"\\\\??\"}]}\n");
	expect(*state, "box many count=0 | json", 0, "{\"ok\":true,\"rows\":[]}\n");
	expect(*state, "box many count=1 fail | json", -ENOSPC,
	       "{\"ok\":false,\"code\":\"ENOSPC\",\"error\":\"box: full; empty it\","
	       "\"rows\":[{\"n\":0,\"text\":\"row number 0\"}]}\n");
}

static void test_record_has_a_line_a_value(void **state)
{
	expect(*state, "box show alpha", 0, "name  alpha\nnote  a?[2J\"\\??\n");
	expect(*state, "box show alpha | match NAME", 0, "name  alpha\n");
}

static void test_filters(void **state)
{
	expect(*state, "box list | count", 0, "3\n");
	expect(*state, "box list|match A|count", 0, "2\n");
	expect(*state, "box list | match \"a r\"", 0,
	       "NAME       USED BLOCKS  BUSY\ngamma ray         2000  24.7\n");
	expect(*state, "box list | match nothing", 0, "");
	expect_has(*state, "box list | sort", -EINVAL, "error: | sort: no such filter; take json");
	expect_has(*state, "box list |", -EINVAL, "no such filter");
	expect_has(*state, "box list | match", -EINVAL, "wants one text");
	expect_has(*state, "| json", -EINVAL, "a command is missing");
}

static void test_arguments_are_typed(void **state)
{
	expect(*state, "box create paper a size=16M wait=20ms thin mode=fast open=on | json", 0,
	       "{\"ok\":true,\"rows\":[{\"name\":\"a\",\"size\":16777216,\"block\":512,"
	       "\"wait\":20000000,\"thin\":true,\"mode\":1,\"open\":true}]}\n");
	expect(*state, "box create paper a size=1G", 0,
	       "NAME  SIZE  BLOCK  WAIT  THIN\na       1G    512   0ns  no\n");
	expect(*state, "box create paper thin size=\"1536K\" thin", 0,
	       "NAME  SIZE  BLOCK  WAIT  THIN\nthin  1.5M    512   0ns  yes\n");
}

static void test_wrong_values_are_refused_by_name(void **state)
{
	static const struct {
		const char *args, *error;
		int rc;
	} wrong[] = {
		{ "a size=4Q", "size=4Q: not a size; write it like", -EINVAL },
		{ "a size=", "size=: not a size", -EINVAL },
		{ "a size=16", "size=16: out of range; give 512 to 1T", -ERANGE },
		{ "a size=2T", "size=2T: out of range; give 512 to 1T", -ERANGE },
		{ "a size=99999999999999999999", "out of range", -ERANGE },
		{ "a size=99999999999999T", "out of range", -ERANGE },
		{ "a size=-1", "not a size", -EINVAL },
		{ "a size=1M block=0x200", "block=0x200: not a number", -EINVAL },
		{ "a size=1M block=511", "block=511: out of range; give 512 to 4096", -ERANGE },
		{ "a size=1M wait=5", "wait=5: not a time", -EINVAL },
		{ "a size=1M wait=99999999999999999999999h", "does not fit 64 bits", -ERANGE },
		{ "a size=1M mode=quick", "mode=quick: not one of the choices; take slow or fast",
		  -EINVAL },
		{ "a size=1M open=perhaps", "neither on nor off", -EINVAL },
		{ "a size=1M sise=2", "sise: no such key here; did you mean size=?", -EINVAL },
		{ "a size=1M colour=red", "colour: no such key here; it takes size=, ", -EINVAL },
		{ "a size=1M size=2M", "size: given twice", -EINVAL },
		{ "a size=1M thin thin", "thin: given twice", -EINVAL },
		{ "a size=1M b", "b: unexpected word", -EINVAL },
		{ "a size=1M thick", "thick: unexpected word; did you mean thin?", -EINVAL },
		{ "a", "box create paper: size= is missing; add size=SIZE", -EINVAL },
		{ "size=1M", "box create paper: NAME is missing", -EINVAL },
		{ "a*b size=1M", "a*b (NAME): not a name; use letters", -EINVAL },
		{ "\"\" size=1M", "a name is empty", -EINVAL },
		{ "\"a", "quotes: not closed", -EINVAL },
	};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char line[256];

		snprintf(line, sizeof(line), "box create paper %s", wrong[i].args);
		expect_has(*state, line, wrong[i].rc, wrong[i].error);
		expect_has(*state, line, wrong[i].rc, "error: ");
	}
}

static void test_names_have_a_limit(void **state)
{
	char line[512], name[300];

	memset(name, 'n', sizeof(name));
	name[CMD_NAME_MAX] = '\0';
	snprintf(line, sizeof(line), "box create paper %s size=1M", name);
	assert_int_equal(capture_run(*state, line), 0);
	name[CMD_NAME_MAX] = 'n';
	name[CMD_NAME_MAX + 1] = '\0';
	snprintf(line, sizeof(line), "box create paper %s size=1M", name);
	assert_int_equal(capture_run(*state, line), -ERANGE);
}

static void test_abbreviations_only_at_a_prompt(void **state)
{
	struct capture *c = *state;

	expect(c, "box l | count", 0, "3\n");
	expect(c, "bol l | count", 0, "3\n");
	expect_has(c, "bo list", -EINVAL, "bo: ambiguous; it may be box, bolt");
	expect_has(c, "box c p a s=1M", 0, "a       1M");
	expect_has(c, "box create", -EINVAL, "box create: what to do is missing");
	expect_has(c, "box create stone a", -EINVAL, "box create stone: no such kind");
	c->out.exact = true;
	expect_has(c, "box l", -EINVAL, "box l: abbreviated; a script writes list in full");
	expect_has(c, "box create paper a siz=1M", -EINVAL, "siz: no such key");
	expect(c, "box list | count", 0, "3\n");
}

static void test_unknown_commands_get_a_suggestion(void **state)
{
	expect_has(*state, "bxo list", -EINVAL, "bxo: no such command; did you mean box?");
	expect_has(*state, "box lsit", -EINVAL, "box lsit: no such verb; did you mean list?");
	expect_has(*state, "frobnicate", -EINVAL, "no such command; see `help`");
	expect_has(*state, "box", -EINVAL, "box: what to do is missing; see `help box`");
	expect_has(*state, "\x1b[31mred", -EINVAL, "error: ?[31mred: no such command");
}

static void test_blank_and_comment_lines_are_nothing(void **state)
{
	expect(*state, "", 0, "");
	expect(*state, "  \t ", 0, "");
	expect(*state, "# box list", 0, "");
	expect(*state, "box list | count # of them", 0, "3\n");
}

static void test_long_lines_are_refused(void **state)
{
	char *line = malloc(CMD_LINE_BYTES * 2);

	memset(line, 'x', CMD_LINE_BYTES * 2 - 1);
	line[CMD_LINE_BYTES * 2 - 1] = '\0';
	expect_has(*state, line, -E2BIG, "error: line: longer than 4095 bytes");
	for (unsigned i = 0; i < 1000; i++)
		memcpy(line + i * 2, "x ", 3);
	expect_has(*state, line, -E2BIG, "error: line: longer than");
	free(line);
}

static void test_destructive_wants_force_or_the_name(void **state)
{
	struct capture *c = *state;

	expect(c, "box wipe a", -EPERM,
	       "error: a: its data will be lost; add force if that is wanted\n");
	expect(c, "box wipe a force", 0, "wiped a\n");
	expect_has(c, "box drop a", -EPERM, "its 3 things will be lost");
	expect(c, "box drop a force", 0, "dropped\n");
	c->out.key = capture_key;
	c->keys = "a\r";
	expect(c, "box wipe a", 0, "a: its data will be lost. Type a to go on: a\nwiped a\n");
	c->keys = "ab\x7f\r";
	expect_has(c, "box drop a", 0, "dropped\n");
	c->keys = "b\r";
	expect_has(c, "box wipe a", -ECANCELED, "a: not confirmed, nothing was done");
	c->keys = "\x03";
	expect_has(c, "box wipe a", -ECANCELED, "not confirmed");
	c->keys = "";
	expect_has(c, "box wipe a", -ECANCELED, "not confirmed");
	expect(c, "box wipe a force", 0, "wiped a\n");
}

static void test_rescue_mode_only_looks(void **state)
{
	karst_run.rescue = true;
	expect_has(*state, "box create paper a size=1M", -EPERM, "not in rescue mode");
	expect(*state, "box list | count", 0, "3\n");
	karst_run.rescue = false;
}

static void test_a_hundred_thousand_rows_stay_bounded(void **state)
{
	struct capture *c = *state;

	expect(c, "box many count=100000 | count", 0, "100000\n");
	assert_int_equal(capture_run(c, "box many count=100000"), 0);
	assert_non_null(strstr(capture_text(c), "99999  row number 99999\n"));
	assert_int_equal(capture_run(c, "box many count=100000 | json"), 0);
	assert_non_null(strstr(capture_text(c), "{\"rows\":[{\"n\":0,"));
	assert_non_null(strstr(capture_text(c), "\"row number 99999\"}],\"ok\":true}\n"));
	assert_int_equal(capture_run(c, "box many count=100000 fail | json"), -ENOSPC);
	assert_non_null(strstr(capture_text(c), "}],\"ok\":false,\"code\":\"ENOSPC\""));
}

static void test_a_bare_errno_becomes_an_error_line(void **state)
{
	expect_has(*state, "box break", -EIO, "error: box: ");
	expect_has(*state, "box break | json", -EIO, "\"code\":\"EIO\"");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
	const struct CMUnitTest tests[] = {
		T(test_table_is_aligned),
		T(test_json_is_strict),
		T(test_record_has_a_line_a_value),
		T(test_filters),
		T(test_arguments_are_typed),
		T(test_wrong_values_are_refused_by_name),
		T(test_names_have_a_limit),
		T(test_abbreviations_only_at_a_prompt),
		T(test_unknown_commands_get_a_suggestion),
		T(test_blank_and_comment_lines_are_nothing),
		T(test_long_lines_are_refused),
		T(test_destructive_wants_force_or_the_name),
		T(test_rescue_mode_only_looks),
		T(test_a_hundred_thousand_rows_stay_bounded),
		T(test_a_bare_errno_becomes_an_error_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
