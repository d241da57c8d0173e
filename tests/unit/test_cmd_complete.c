/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands: scripts, quoting, help and completion. */
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
#include "tests/unit/cmd_box.h"

static void test_scripts_name_the_line(void **state)
{
	static const char script[] = "# boxes\n\nbox list | count\r\nbox lst\nbox list | count\n";
	struct capture *c = *state;

	c->out.write = capture_write;
	c->out.exact = true;
	c->text.len = 0;
	assert_int_equal(cmd_script("a.rc", script, CMD_SCRIPT_STOP, &c->out), -EINVAL);
	assert_string_equal(capture_text(c), "3\nerror: a.rc:4: box lst: no such verb; did you "
			    "mean list?\n");
	c->text.len = 0;
	assert_int_equal(cmd_script("a.rc", script, CMD_SCRIPT_GO_ON, &c->out), 1);
	assert_non_null(strstr(capture_text(c), "did you mean list?\n3\n"));
}

static void test_quotes_come_back(void **state)
{
	static const char *const texts[] = { "plain", "two words", "", "a\"b\\c", "#x", "a|b",
					     "k=v", "\\" };
	struct cmd_words *w = malloc(sizeof(*w));

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char buf[64];

		cmd_quote(texts[i], buf, sizeof(buf));
		assert_int_equal(cmd_words_split(buf, strlen(buf), w), 0);
		assert_int_equal(w->count, 1);
		assert_string_equal(w->word[0].text, texts[i]);
		assert_null(w->word[0].value);
		assert_false(w->word[0].pipe || w->open);
	}
	free(w);
}

static void test_help_comes_from_the_tables(void **state)
{
	expect_has(*state, "help", 0, "box   create paper, list, create wood");
	expect_has(*state, "help box", 0, "box wipe NAME [force]");
	expect_has(*state, "help box create", 0, "box create wood NAME size=SIZE");
	expect_has(*state, "help box create wood", 0, "slow, fast");
	expect_has(*state, "help boy", -ENOENT, "boy: no such command");
	expect_has(*state, "help box fly", -ENOENT, "box fly: no such command");
}

/* ---- completion ---- */

struct offers {
	char text[1024];
};

static void offer_note(void *arg, const char *candidate, const char *help)
{
	struct offers *o = arg;
	size_t n = strlen(o->text);

	snprintf(o->text + n, sizeof(o->text) - n, "%s%s%s", n ? "," : "",
		 candidate ? candidate : "?", candidate ? "" : help);
}

static void completes(const char *line, size_t replace, const char *candidates)
{
	struct offers o = { "" };
	size_t got = cmd_complete_line(line, strlen(line), offer_note, &o);

	if (strcmp(o.text, candidates) != 0)
		fail_msg("%s| offers %s, expected %s", line, o.text, candidates);
	assert_int_equal(got, replace);
}

static void test_completion(void **state)
{
	completes("bo", 2, "box,bolt");
	completes("box ", 0, "create,list,many,wipe,drop,show,break");
	completes("box c", 1, "create");
	completes("box create ", 0, "paper,wood");
	completes("box cr w", 1, "wood");
	completes("box create paper ", 0, "?NAME  how to call it");
	completes("box create paper a ", 0, "size=,block=,wait=,mode=,open=,thin");
	completes("box create paper a size=1M t", 1, "thin");
	completes("box create paper a mode=", 0, "slow,fast");
	completes("box create paper a mode=f", 1, "fast");
	completes("box create paper a size=1", 1, "?SIZE  how large");
	completes("box show al", 2, "alpha,alps");
	completes("box show ga", 2, "\"gamma ray\"");
	completes("box show \"gamma r", 8, "\"gamma ray\"");
	completes("box list | ", 0, "json,match,count");
	completes("box list |c", 1, "count");
	completes("box list # ", 0, "");
	completes("zzz ", 0, "");
	completes("help bo", 2, "box,bolt");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, box_setup, box_teardown)
	const struct CMUnitTest tests[] = {
		T(test_scripts_name_the_line),
		T(test_quotes_come_back),
		T(test_help_comes_from_the_tables),
		T(test_completion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
