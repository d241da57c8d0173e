/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests of sessions: a terminal that takes as much as the test wants, and commands to try. */
#ifndef UNIT_CONSOLE_DESK_H
#define UNIT_CONSOLE_DESK_H

#include "boot/console.h"

enum { SECOND = 1000000 };

struct desk {
	struct console_port port;
	struct console_session *session;
	size_t room;
	char *text;                     /* everything that was written, NUL-terminated */
	size_t len;
	bool paused, ended;
	int status;
};

/*
 * The commands: `try lines count=`; `try slow`, until it is cancelled; `try deaf`, until the test
 * clears slow_running; `try ask`, which wants a confirmation; `try live`, until q.
 */
extern bool slow_running;

/* A session of KIND with 80 columns, on a loop_test's reactor; the start is over. */
struct desk *desk_make(enum session_kind kind, unsigned rows, const char *line);
void desk_free(struct desk *d);
void desk_type(struct desk *d, const char *text);
/* What has been written since the last look is TEXT, or has it. */
void desk_expect(struct desk *d, const char *text);
void desk_expect_has(struct desk *d, const char *text);

#endif
