/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/fake_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/base/util.h"

static struct fake_stream *fake_of(struct stream *s)
{
	return container_of(s, struct fake_stream, s);
}

/* ---- events, in a later round ---- */

static void fake_tell(struct msg *msg)
{
	struct fake_stream *f = container_of(msg, struct fake_stream, tell);
	unsigned events = f->events;

	f->telling = false;
	f->events = 0;
	if (f->closing) {
		f->s.event(&f->s, STREAM_CLOSED);
		free(f->in);
		free(f);
		return;
	}
	if (f->attached && events)
		f->s.event(&f->s, events);
}

static void fake_event(struct fake_stream *f, unsigned events)
{
	f->events |= events;
	if (f->telling || (!f->attached && !f->closing))
		return;
	f->telling = true;
	reactor_send(reactor_self(), &f->tell, fake_tell);
}

static void tell_readable(struct fake_stream *f)
{
	if (!f->want_read)
		return;
	f->want_read = false;
	fake_event(f, STREAM_READABLE);
}

static void tell_writable(struct fake_stream *f)
{
	if (!f->want_write)
		return;
	f->want_write = false;
	fake_event(f, STREAM_WRITABLE);
}

/* ---- bytes on their way ---- */

static size_t unread(const struct fake_stream *f)
{
	return f->held_bytes + (f->peer ? f->peer->in_bytes : 0);
}

static void deliver(struct fake_stream *to, const void *bytes, size_t len)
{
	if (!to || to->closing)
		return;
	if (to->in_bytes + len > to->in_room) {
		to->in_room = 2 * (to->in_bytes + len);
		to->in = realloc(to->in, to->in_room);
		ASSERT(to->in);
	}
	memcpy(to->in + to->in_bytes, bytes, len);
	to->in_bytes += len;
	tell_readable(to);
}

static size_t release(struct fake_stream *f, size_t bytes)
{
	size_t sum = 0;

	while (sum < bytes && f->held_count > 0) {
		struct iovec *v = &f->held[0];
		size_t part = MIN(v->iov_len, bytes - sum);

		deliver(f->peer, v->iov_base, part);
		v->iov_base = (char *)v->iov_base + part;
		v->iov_len -= part;
		sum += part;
		if (v->iov_len == 0)
			memmove(v, v + 1, --f->held_count * sizeof(*v));
	}
	f->held_bytes -= sum;
	f->s.released += sum;
	return sum;
}

size_t fake_stream_release(struct fake_stream *f, size_t bytes)
{
	size_t sum = release(f, bytes);

	if (sum > 0)
		fake_event(f, STREAM_RELEASED);
	return sum;
}

/* ---- the verbs ---- */

static ssize_t fake_readv(struct stream *s, const struct iovec *iov, int count)
{
	struct fake_stream *f = fake_of(s);
	size_t left = MIN(f->in_bytes, f->read_max), sum = 0;

	ASSERT(f->attached && !f->closing);
	f->reads++;
	if (f->in_bytes == 0) {
		if (f->error)
			return f->error;
		if (f->in_ended)
			return 0;
		f->want_read = true;
		return -EAGAIN;
	}
	for (int i = 0; i < count && left > 0; i++) {
		size_t part = MIN(iov[i].iov_len, left);

		memcpy(iov[i].iov_base, f->in + sum, part);
		sum += part;
		left -= part;
	}
	memmove(f->in, f->in + sum, f->in_bytes - sum);
	f->in_bytes -= sum;
	if (f->peer && unread(f->peer) < f->peer->room)
		tell_writable(f->peer);
	return sum;
}

static ssize_t fake_writev(struct stream *s, const struct iovec *iov, int count)
{
	struct fake_stream *f = fake_of(s);
	size_t room = unread(f) < f->room ? f->room - unread(f) : 0, sum = 0, asked = 0;

	ASSERT(f->attached && !f->closing);
	f->writes++;
	if (f->error)
		return f->error;
	if (!f->peer)
		return -EPIPE;
	room = MIN(room, f->write_max);
	for (int i = 0; i < count; i++) {
		size_t part = MIN(iov[i].iov_len, room - sum);

		asked += iov[i].iov_len;
		if (part == 0 || f->held_count == FAKE_STREAM_PARTS)
			continue;
		f->held[f->held_count++] = (struct iovec){ iov[i].iov_base, part };
		sum += part;
	}
	f->held_bytes += sum;
	s->accepted += sum;
	if (sum < asked)
		f->want_write = true;
	/* Not for want of room: there is nothing that would tell later. */
	if (sum < asked && unread(f) < f->room)
		tell_writable(f);
	if (!f->hold)
		release(f, SIZE_MAX);
	return sum == 0 && asked > 0 ? -EAGAIN : (ssize_t)sum;
}

static void end_peer_input(struct fake_stream *f)
{
	if (!f->peer)
		return;
	f->peer->in_ended = true;
	tell_readable(f->peer);
}

static int fake_shutdown(struct stream *s)
{
	ASSERT(fake_of(s)->held_count == 0);
	end_peer_input(fake_of(s));
	return 0;
}

static void fake_close(struct stream *s)
{
	struct fake_stream *f = fake_of(s);

	ASSERT(!f->closing && f->attached);
	end_peer_input(f);
	if (f->peer)
		f->peer->peer = NULL;
	f->peer = NULL;
	s->released = s->accepted;
	f->closing = true;
	fake_event(f, 0);
}

static int fake_detach(struct stream *s)
{
	ASSERT(fake_of(s)->attached);
	fake_of(s)->attached = false;
	return 0;
}

static int fake_attach(struct stream *s)
{
	struct fake_stream *f = fake_of(s);

	ASSERT(!f->attached);
	f->attached = true;
	fake_event(f, STREAM_READABLE | STREAM_WRITABLE);
	return 0;
}

static const struct stream_ops fake_ops = {
	.readv = fake_readv,
	.writev = fake_writev,
	.shutdown = fake_shutdown,
	.close = fake_close,
	.detach = fake_detach,
	.attach = fake_attach,
};

void fake_stream_hangup(struct fake_stream *f)
{
	struct fake_stream *ends[] = { f, f->peer };

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		if (!ends[i])
			continue;
		ends[i]->error = -ECONNRESET;
		ends[i]->held_count = 0;
		ends[i]->held_bytes = 0;
		ends[i]->s.released = ends[i]->s.accepted;
		fake_event(ends[i], STREAM_HANGUP | STREAM_READABLE | STREAM_WRITABLE);
	}
}

static struct fake_stream *fake_new(void)
{
	struct fake_stream *f = calloc(1, sizeof(*f));

	ASSERT(f);
	f->s.ops = &fake_ops;
	f->read_max = f->write_max = f->room = SIZE_MAX;
	return f;
}

static void fake_join(struct fake_stream *a, struct fake_stream *b)
{
	a->peer = b;
	b->peer = a;
}

void fake_stream_pair(struct fake_stream **a, struct fake_stream **b)
{
	*a = fake_new();
	*b = fake_new();
	fake_join(*a, *b);
	stream_attach(&(*a)->s);
	stream_attach(&(*b)->s);
}

/* ---- the provider ---- */

enum { LISTENERS_MAX = 8 };

static struct stream_listener *listeners[LISTENERS_MAX];

static int fake_listen(struct stream_listener *l)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++) {
		if (listeners[i] && addr_equal(&listeners[i]->addr, &l->addr))
			return -EADDRINUSE;
	}
	for (unsigned i = 0; i < LISTENERS_MAX; i++) {
		if (listeners[i])
			continue;
		listeners[i] = l;
		return 0;
	}
	return -ENOMEM;
}

static void fake_unlisten(struct stream_listener *l)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++) {
		if (listeners[i] == l)
			listeners[i] = NULL;
	}
}

struct fake_stream *fake_connect(const struct net_addr *addr)
{
	for (unsigned i = 0; i < LISTENERS_MAX; i++) {
		struct fake_stream *here, *there;

		if (!listeners[i] || !addr_equal(&listeners[i]->addr, addr))
			continue;
		here = fake_new();
		there = fake_new();
		fake_join(here, there);
		there->s.local = here->s.peer = *addr;
		stream_attach(&here->s);
		listeners[i]->accept(listeners[i], &there->s);
		return here;
	}
	return NULL;
}

static int fake_provider_connect(const struct net_addr *peer, uint64_t timeout_us,
				 struct stream **s)
{
	struct fake_stream *f = fake_connect(peer);

	if (!f)
		return -ECONNREFUSED;
	*s = &f->s;
	return 0;
}

static struct stream_provider provider = {
	.name = "fake",
	.listen = fake_listen,
	.unlisten = fake_unlisten,
	.connect = fake_provider_connect,
};

void fake_provider_start(void)
{
	stream_provider_register(&provider);
}

void fake_provider_stop(void)
{
	stream_provider_unregister(&provider);
}
