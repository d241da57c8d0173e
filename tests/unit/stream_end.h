/* SPDX-License-Identifier: BSD-3-Clause */
/* An owner of a stream that sends and receives as it is told, and checks what it is told. */
#ifndef TESTS_STREAM_END_H
#define TESTS_STREAM_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reactor.h"
#include "core/stream.h"

enum { ROUNDS_MAX = 5 * 1000 * 1000 };

/* One reactor in real time: the kernel takes some. */
int stream_setup(void **state);
int stream_teardown(void **state);
#define stream_test(name) cmocka_unit_test_setup_teardown(name, stream_setup, stream_teardown)

#define WAIT(cond) \
	do { \
		for (unsigned wait_n = 0; !(cond); wait_n++) { \
			reactor_round(); \
			if (wait_n == ROUNDS_MAX) \
				fail_msg("never: %s", #cond); \
		} \
	} while (0)

void end_rounds(unsigned n);

struct end {
	struct stream *s;
	unsigned told;                  /* all events so far */
	unsigned closed, inside;        /* times; depth of our own calls */
	bool readable, writable, eof;
	const uint8_t *out;
	size_t out_len, out_at;
	uint8_t *in;
	size_t in_len, in_at;
	ssize_t error;
};

void end_init(struct end *e, struct stream *s);
/* As long as there is something, at most STEP bytes a call. */
void end_read(struct end *e, size_t step);
void end_write(struct end *e, size_t step);
/* Waits for STREAM_CLOSED. */
void end_close(struct end *e);
/* LEN bytes each way at the same time, compared. */
void end_exchange(struct end *a, struct end *b, size_t len, size_t step);
/* LEN bytes, always the same; to be freed. */
uint8_t *end_pattern(size_t len);

#endif
