/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The running configuration as text: every module writes the commands that make it again, in the
 * order of the module table, so that what is needed comes before what needs it.
 */
#include "core/cmd_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/module.h"

struct config_out {
	struct cmd_buf text;
};

void config_line(struct config_out *out, const char *fmt, ...)
{
	char line[CMD_LINE_BYTES];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof(line)) {
		log_error("config: a line longer than a command may be is left out: %.100s", line);
		return;
	}
	cmd_buf_add(&out->text, line, (size_t)n);
	cmd_buf_add(&out->text, "\n", 1);
}

char *config_text(void)
{
	struct config_out out = { 0 };

	for (const struct module *m = modules; m->name; m++)
		if (m->config)
			m->config(&out);
	cmd_buf_add(&out.text, "", 1);
	if (!out.text.lost)
		return out.text.data;
	cmd_buf_free(&out.text);
	return NULL;
}
