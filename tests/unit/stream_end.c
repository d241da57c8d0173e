/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/stream_end.h"

#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "core/clock.h"
#include "drivers/sock/sock.h"

int stream_setup(void **state)
{
	clock_init();
	assert_int_equal(reactor_init(1, NULL), 0);
	reactor_enter(reactor_at(0));
	assert_int_equal(sock_init(), 0);
	return 0;
}

int stream_teardown(void **state)
{
	sock_fini();
	reactor_fini();
	return 0;
}

void end_rounds(unsigned n)
{
	while (n-- > 0)
		reactor_round();
}

static void end_event(struct stream *s, unsigned events)
{
	struct end *e = s->owner;

	assert_int_equal(e->inside, 0);
	assert_int_equal(e->closed, 0);
	e->told |= events;
	e->readable |= events & STREAM_READABLE;
	e->writable |= events & STREAM_WRITABLE;
	if (events & STREAM_CLOSED) {
		assert_int_equal(events, STREAM_CLOSED);
		assert_int_equal(s->released, s->accepted);
		e->closed++;
		e->s = NULL;
	}
}

void end_init(struct end *e, struct stream *s)
{
	*e = (struct end){ .s = s };
	s->owner = e;
	s->event = end_event;
}

void end_read(struct end *e, size_t step)
{
	while (e->readable && !e->eof) {
		size_t room = MIN(e->in_len - e->in_at, step);
		uint8_t spare[16];
		struct iovec iov[2] = { { e->in + e->in_at, room / 2 },
					{ e->in + e->in_at + room / 2, room - room / 2 } };
		ssize_t n;

		if (room == 0)
			iov[1] = (struct iovec){ spare, sizeof(spare) };
		e->inside++;
		n = stream_readv(e->s, iov, 2);
		e->inside--;
		if (n > 0) {
			e->in_at += n;
			continue;
		}
		e->readable = false;
		e->eof = n == 0;
		if (n < 0 && n != -EAGAIN) {
			e->error = n;
			e->eof = true;
		}
	}
}

void end_write(struct end *e, size_t step)
{
	while (e->writable && e->out_at < e->out_len) {
		size_t len = MIN(e->out_len - e->out_at, step);
		struct iovec iov[2] = { { (void *)(e->out + e->out_at), len / 3 },
					{ (void *)(e->out + e->out_at + len / 3), len - len / 3 } };
		ssize_t n;

		e->inside++;
		n = stream_writev(e->s, iov, 2);
		e->inside--;
		if (n > 0)
			e->out_at += n;
		if (n < (ssize_t)len)
			e->writable = false;
		if (n < 0 && n != -EAGAIN) {
			e->error = n;
			return;
		}
	}
}

void end_close(struct end *e)
{
	e->inside++;
	stream_close(e->s);
	e->inside--;
	assert_int_equal(e->closed, 0);
	WAIT(e->closed);
	end_rounds(10);
	assert_int_equal(e->closed, 1);
}

uint8_t *end_pattern(size_t len)
{
	uint8_t *p = malloc(len);
	uint32_t x = 12345;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = x >> 24;
	}
	return p;
}

void end_exchange(struct end *a, struct end *b, size_t len, size_t step)
{
	uint8_t *data = end_pattern(len);
	struct end *ends[] = { a, b };

	for (unsigned i = 0; i < 2; i++) {
		ends[i]->out = data;
		ends[i]->out_len = ends[i]->in_len = len;
		ends[i]->out_at = ends[i]->in_at = 0;
		ends[i]->in = calloc(1, len);
	}
	for (unsigned n = 0; a->in_at < len || b->in_at < len; n++) {
		assert_true(n < ROUNDS_MAX);
		for (unsigned i = 0; i < 2; i++) {
			end_write(ends[i], step);
			end_read(ends[i], step);
		}
		reactor_round();
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ends[i]->in_at, len);
		assert_memory_equal(ends[i]->in, data, len);
		free(ends[i]->in);
	}
	free(data);
}
