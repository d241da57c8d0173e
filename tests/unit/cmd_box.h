/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests of commands: an output that remembers, keys typed before, and a table of commands. */
#ifndef UNIT_CMD_BOX_H
#define UNIT_CMD_BOX_H

#include "core/cmd_priv.h"

struct capture {
	struct cmd_out out;
	struct cmd_buf text;
	const char *keys;
};

/* The `key` of an output: the next of c->keys, -ETIMEDOUT after the last. */
int capture_key(struct cmd_out *out, uint64_t us);
void capture_write(struct cmd_out *out, const char *text, size_t len);
const char *capture_text(struct capture *c);
/* Runs LINE; its output is the text. */
int capture_run(struct capture *c, const char *line);
/* LINE gives RC and prints exactly TEXT, or something with TEXT in it. */
void expect(struct capture *c, const char *line, int rc, const char *text);
void expect_has(struct capture *c, const char *line, int rc, const char *text);
/* cmocka's setup and teardown: registers the commands, *state is a struct capture. */
int box_setup(void **state);
int box_teardown(void **state);

#endif
