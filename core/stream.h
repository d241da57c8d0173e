/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * struct stream: the only byte stream. Providers: kernel sockets (drivers/sock), later lwIP over
 * DPDK ports.
 *
 * Readiness is edge-like: after STREAM_READABLE the owner reads until -EAGAIN (in its own time, as
 * its budget allows), and only then is told again; the same for STREAM_WRITABLE after a write that
 * accepted less than asked. A new stream is taken to be both.
 *
 * A write accepts bytes; the memory stays the owner's promise until they are released: s->released
 * counts them, and STREAM_RELEASED tells when the count moved outside of stream_writev (a copying
 * provider releases inside it and never tells).
 *
 * Events come on the stream's reactor and never inside a call of the owner.
 */
#ifndef CORE_STREAM_H
#define CORE_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/addr.h"
#include "core/base/list.h"

enum stream_event {
	STREAM_READABLE = 1 << 0,
	STREAM_WRITABLE = 1 << 1,
	STREAM_RELEASED = 1 << 2,
	/* peer or network is gone: reads drain, then give 0 or -errno */
	STREAM_HANGUP = 1 << 3,
	/* after stream_close: all is released, the stream does not exist any more */
	STREAM_CLOSED = 1 << 4,
};

struct stream;

struct stream_ops {
	ssize_t (*readv)(struct stream *s, const struct iovec *iov, int count);
	ssize_t (*writev)(struct stream *s, const struct iovec *iov, int count);
	int (*shutdown)(struct stream *s);
	void (*close)(struct stream *s);
	int (*detach)(struct stream *s);
	int (*attach)(struct stream *s);
};

struct stream {
	const struct stream_ops *ops;
	/* the owner's, enum stream_event bits */
	void (*event)(struct stream *s, unsigned events);
	void *owner;
	struct net_addr local, peer;
	uint64_t accepted, released;    /* bytes, since the start */
};

/* Bytes read; 0: the peer has ended its side; -EAGAIN; -errno: broken. */
static inline ssize_t stream_readv(struct stream *s, const struct iovec *iov, int count)
{
	return s->ops->readv(s, iov, count);
}

/* Bytes accepted, maybe fewer than asked; -EAGAIN: none; -errno: broken. */
static inline ssize_t stream_writev(struct stream *s, const struct iovec *iov, int count)
{
	return s->ops->writev(s, iov, count);
}

/* Ends our sending side after what was accepted. */
static inline int stream_shutdown(struct stream *s)
{
	return s->ops->shutdown(s);
}

/*
 * Starts closing. No event but exactly one STREAM_CLOSED follows, later, never inside. Unsent bytes
 * may be dropped.
 */
static inline void stream_close(struct stream *s)
{
	s->ops->close(s);
}

/*
 * Hand-over between reactors: detach on the old one (no event afterwards), attach on the new one,
 * which is told READABLE and WRITABLE.
 */
static inline int stream_detach(struct stream *s)
{
	return s->ops->detach(s);
}

static inline int stream_attach(struct stream *s)
{
	return s->ops->attach(s);
}

/* A listening address. Lives on the reactor that called stream_listen. */
struct stream_listener {
	struct net_addr addr;           /* port 0 is filled in */
	/*
	 * A new stream, detached: the owner attaches it on the reactor of its choice, or closes it
	 * (attach first).
	 */
	void (*accept)(struct stream_listener *l, struct stream *s);
	const struct stream_provider *provider;
	void *priv;                     /* the provider's */
};

struct stream_provider {
	const char *name;
	int (*listen)(struct stream_listener *l);
	void (*unlisten)(struct stream_listener *l);
	/* In a task. The connected stream, attached to the calling reactor; -errno, -ETIMEDOUT. */
	int (*connect)(const struct net_addr *peer, uint64_t timeout_us, struct stream **s);
	struct list link;
};

void stream_provider_register(struct stream_provider *p);
void stream_provider_unregister(struct stream_provider *p);

/* Listens on l->addr with the provider that owns that address. -EADDRINUSE, -EADDRNOTAVAIL, … */
int stream_listen(struct stream_listener *l);
/* No accept follows. */
void stream_unlisten(struct stream_listener *l);
int stream_connect(const struct net_addr *peer, uint64_t timeout_us, struct stream **s);

#endif
