/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection over a kernel socket: non-blocking, one system call per read or write, told of
 * readiness by an edge-triggered fd source.
 *
 * The kernel copies what it accepts, so that bytes are released as soon as they are accepted.
 * Epoll reports EPOLLOUT along with every EPOLLIN; the owner hears of it only when its last write
 * was cut short. The end of the peer's side (EPOLLRDHUP) is something to read; a broken connection
 * (EPOLLHUP, EPOLLERR) is everything at once: the owner's next call tells it why.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/clock.h"
#include "core/reactor.h"
#include "core/task.h"
#include "drivers/sock/sock.h"

enum { PAGE_BYTES = 4096 };

struct sock_stream {
	struct stream s;
	struct fd_source src;
	bool attached;
	bool fresh;                     /* just attached: owes READABLE and WRITABLE */
	bool blocked;                   /* the last write was cut short */
	struct msg closed;
};

static struct sock_stream *sock_stream(struct stream *s)
{
	return container_of(s, struct sock_stream, s);
}

static void stream_event(struct fd_source *src, uint32_t events)
{
	struct sock_stream *k = container_of(src, struct sock_stream, src);
	unsigned out = 0;

	if (events & (EPOLLIN | EPOLLRDHUP))
		out |= STREAM_READABLE;
	if ((events & EPOLLOUT) && k->blocked)
		out |= STREAM_WRITABLE;
	if (unlikely(events & (EPOLLHUP | EPOLLERR)))
		out |= STREAM_READABLE | STREAM_WRITABLE | STREAM_HANGUP;
	if (unlikely(k->fresh)) {
		k->fresh = false;
		out |= STREAM_READABLE | STREAM_WRITABLE;
	}
	if (out & STREAM_WRITABLE)
		k->blocked = false;
	if (out)
		k->s.event(&k->s, out);
}

/* ---- the stream's verbs ---- */

/*
 * Whether a call that failed is made again. EFAULT: memory that its owner, a guest, has cut away.
 * Touched here it is a fault of ours, for which zeroes are put there; the connection, which others
 * use too, goes on.
 */
static bool retry(int error, const struct iovec *iov, int count, bool *touched)
{
	if (likely(error != EFAULT))
		return error == EINTR;
	if (*touched)
		return false;
	*touched = true;
	for (int i = 0; i < count; i++) {
		const volatile char *base = iov[i].iov_base;

		for (size_t at = 0; at < iov[i].iov_len; at += PAGE_BYTES)
			(void)base[at];
		if (iov[i].iov_len)
			(void)base[iov[i].iov_len - 1];
	}
	return true;
}

static ssize_t stream_sock_readv(struct stream *s, const struct iovec *iov, int count)
{
	struct sock_stream *k = sock_stream(s);
	bool touched = false;
	ssize_t n;

	do {
		n = count == 1 ? recv(k->src.fd, iov->iov_base, iov->iov_len, 0) :
				 readv(k->src.fd, iov, MIN(count, IOV_MAX));
	} while (unlikely(n < 0) && retry(errno, iov, count, &touched));
	if (n < 0)
		return -errno;
	/* what has come starts now */
	clock_ticks();
	return n;
}

static ssize_t stream_sock_writev(struct stream *s, const struct iovec *iov, int count)
{
	struct sock_stream *k = sock_stream(s);
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = MIN(count, IOV_MAX) };
	size_t asked = 0;
	bool touched = false;
	ssize_t n;

	for (int i = 0; i < count; i++)
		asked += iov[i].iov_len;
	do {
		n = count == 1 ? send(k->src.fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) :
				 sendmsg(k->src.fd, &msg, MSG_NOSIGNAL);
	} while (unlikely(n < 0) && retry(errno, iov, count, &touched));
	k->blocked = n < (ssize_t)asked;
	if (n < 0)
		return -errno;
	s->accepted += n;
	s->released += n;
	return n;
}

static int stream_sock_shutdown(struct stream *s)
{
	return shutdown(sock_stream(s)->src.fd, SHUT_WR) < 0 ? -errno : 0;
}

static int stream_sock_detach(struct stream *s)
{
	struct sock_stream *k = sock_stream(s);

	ASSERT(k->attached);
	fd_source_remove(&k->src);
	k->attached = false;
	return 0;
}

static int stream_sock_attach(struct stream *s)
{
	struct sock_stream *k = sock_stream(s);
	int rc;

	ASSERT(!k->attached);
	rc = fd_source_add(&k->src, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	k->attached = rc == 0;
	k->fresh = true;
	return rc;
}

static void stream_closed(struct msg *msg)
{
	struct sock_stream *k = container_of(msg, struct sock_stream, closed);

	k->s.event(&k->s, STREAM_CLOSED);
	free(k);
}

static void stream_sock_close(struct stream *s)
{
	struct sock_stream *k = sock_stream(s);

	ASSERT(k->src.fd >= 0);
	if (k->attached)
		fd_source_remove(&k->src);
	close(k->src.fd);
	k->src.fd = -1;
	reactor_send(reactor_self(), &k->closed, stream_closed);
}

static const struct stream_ops ops = {
	.readv = stream_sock_readv,
	.writev = stream_sock_writev,
	.shutdown = stream_sock_shutdown,
	.close = stream_sock_close,
	.detach = stream_sock_detach,
	.attach = stream_sock_attach,
};

/* ---- making one ---- */

struct stream *sock_stream_create(int fd)
{
	struct sock_stream *k = calloc(1, sizeof(*k));
	struct sockaddr_storage ss;
	socklen_t len;

	if (!k)
		return NULL;
	k->s.ops = &ops;
	k->src.fd = fd;
	k->src.event = stream_event;
	len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
		sock_addr_from(&k->s.local, &ss);
	len = sizeof(ss);
	if (getpeername(fd, (struct sockaddr *)&ss, &len) == 0)
		sock_addr_from(&k->s.peer, &ss);
	/* Every write of ours is a whole batch: nothing is gained by waiting for more. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	return &k->s;
}

struct connecting {
	struct fd_source src;
	struct event ready;
};

static void connecting_event(struct fd_source *src, uint32_t events)
{
	event_signal(&container_of(src, struct connecting, src)->ready);
}

/* Waits until the socket is connected or has failed. */
static int connect_wait(int fd, uint64_t timeout_us)
{
	struct connecting c = { .src = { .fd = fd, .event = connecting_event } };
	socklen_t len = sizeof(int);
	int rc, error = 0;

	event_init(&c.ready);
	rc = fd_source_add(&c.src, EPOLLOUT | EPOLLET);
	if (rc < 0)
		return rc;
	rc = task_wait_timeout(&c.ready, timeout_us);
	fd_source_remove(&c.src);
	if (rc < 0)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

int sock_stream_connect(const struct net_addr *peer, uint64_t timeout_us, struct stream **s)
{
	struct sockaddr_storage ss;
	socklen_t len = sock_addr_to(peer, &ss);
	int fd, rc;

	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (struct sockaddr *)&ss, len) < 0 ? -errno : 0;
	if (rc == -EINPROGRESS)
		rc = connect_wait(fd, timeout_us);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*s = sock_stream_create(fd);
	if (!*s) {
		close(fd);
		return -ENOMEM;
	}
	rc = stream_attach(*s);
	if (rc < 0) {
		close(fd);
		free(sock_stream(*s));
	}
	return rc;
}
