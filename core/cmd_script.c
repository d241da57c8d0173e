/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scripts: the same lines that are typed, one after the other; an error names the script and its
 * line. Bounded: a line is at most CMD_LINE_BYTES, an over-long one is an error of its own.
 */
#include "core/cmd_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cmd_script(const char *name, const char *text, enum cmd_script_mode mode, struct cmd_out *out)
{
	unsigned line_number = 0;
	int failed = 0;
	char *line = malloc(CMD_LINE_BYTES + 1);

	if (!line)
		return mode == CMD_SCRIPT_STOP ? -ENOMEM : 1;
	while (*text) {
		size_t len = strcspn(text, "\n"), kept = len;
		char where[128];
		int rc;

		/* one byte too many stays one byte too many: cmd_run refuses it by length */
		if (kept > CMD_LINE_BYTES)
			kept = CMD_LINE_BYTES;
		memcpy(line, text, kept);
		line[kept] = '\0';
		text += len + (text[len] == '\n');
		snprintf(where, sizeof(where), "%.100s:%u", name, ++line_number);
		rc = cmd_run_at(line, out, where);
		if (rc == 0)
			continue;
		failed++;
		if (mode == CMD_SCRIPT_STOP) {
			free(line);
			return rc;
		}
	}
	free(line);
	return failed;
}
