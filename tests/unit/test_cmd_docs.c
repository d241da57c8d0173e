/* SPDX-License-Identifier: BSD-3-Clause */
/* Every command that can be registered is in docs/console.md, and has help that fits a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "core/cmd_core.h"
#include "core/cmd_priv.h"
#include "core/module.h"

enum { DOC_BYTES = 256 * 1024, HELP_COLUMNS = 72 };

static void register_all(void)
{
	for (const struct module *m = modules; m->name; m++)
		if (m->cmds)
			cmd_register(m->cmds);
	for (unsigned i = 0; cmd_core_tables[i]; i++)
		cmd_register(cmd_core_tables[i]);
	cmd_register(config_cmds);
	cmd_register(system_cmds);
}

static char *doc_read(void)
{
	char *text = calloc(1, DOC_BYTES);
	FILE *f = fopen("docs/console.md", "re");

	assert_non_null(f);
	assert_true(fread(text, 1, DOC_BYTES - 1, f) > 0);
	assert_true(feof(f));
	fclose(f);
	return text;
}

static void test_every_command_is_documented(void **state)
{
	struct cmd_iter it = { 0 };
	const struct cmd *c;
	char *doc = doc_read();
	unsigned count = 0;

	register_all();
	while ((c = cmd_next(&it))) {
		char title[100], quoted[104];

		cmd_title(c, title, sizeof(title));
		snprintf(quoted, sizeof(quoted), "`%s`", title);
		if (!strstr(doc, quoted))
			fail_msg("%s is not in docs/console.md", quoted);
		count++;
	}
	assert_true(count > 20);
	free(doc);
}

static void test_every_command_has_short_help_and_sane_arguments(void **state)
{
	struct cmd_iter it = { 0 };
	const struct cmd *c;

	register_all();
	while ((c = cmd_next(&it))) {
		bool optional = false;

		if (strlen(c->help) == 0 || strlen(c->help) > HELP_COLUMNS)
			fail_msg("%s %s: help of %zu characters", c->noun, c->verb ? c->verb : "",
				 strlen(c->help));
		for (const struct cmd_arg *a = c->args; a && a->name; a++) {
			if (a->keyed || a->type == CMD_FLAG) {
				assert_null(strpbrk(a->name, " =\""));
				continue;
			}
			/* a required name after an optional one could never be told from it */
			assert_false(optional && a->required);
			optional = optional || !a->required;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_command_is_documented),
		cmocka_unit_test(test_every_command_has_short_help_and_sane_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
