/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listening address over a kernel socket, level-triggered, a few connections a round.
 *
 * When the process is out of file descriptors the connection would stay in the kernel's queue and
 * wake the reactor for ever: a descriptor kept in reserve is given up to take it and drop it. When
 * even that fails, or the kernel lacks memory, the listener is deaf for a while.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/reactor.h"
#include "drivers/sock/sock.h"

enum {
	ACCEPT_BUDGET = 16,
	BACKLOG = 1024,
	PAUSE_US = 100 * 1000,
	LOG_INTERVAL_US = 10 * 1000 * 1000,
};

struct sock_listener {
	struct stream_listener *l;
	struct fd_source src;
	struct timer resume;
	int reserve_fd;
	bool *gone;                     /* set when it is closed while it accepts */
	uint64_t dropped, logged_us;    /* connections since the last message, and when that was */
};

static void log_dropped(struct sock_listener *k, int rc)
{
	char text[ADDR_TEXT_BYTES];

	k->dropped++;
	if (k->logged_us && reactor_now_us() - k->logged_us < LOG_INTERVAL_US)
		return;
	addr_format_port(&k->l->addr, text);
	log_warn("sock %s: %s: %llu connections dropped; raise the limit of open files", text,
		 strerror(-rc), (unsigned long long)k->dropped);
	k->logged_us = reactor_now_us();
	k->dropped = 0;
}

static void pause_accept(struct sock_listener *k)
{
	fd_source_remove(&k->src);
	timer_arm(&k->resume, PAUSE_US);
}

static void resume_accept(struct timer *t)
{
	struct sock_listener *k = container_of(t, struct sock_listener, resume);

	if (fd_source_add(&k->src, EPOLLIN) < 0)
		timer_arm(&k->resume, PAUSE_US);
}

/* Takes one connection from the queue and drops it; false when not even that is possible. */
static bool accept_drop(struct sock_listener *k)
{
	int fd;

	if (k->reserve_fd < 0)
		return false;
	close(k->reserve_fd);
	fd = accept4(k->src.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	k->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd >= 0;
}

static void accept_failed(struct sock_listener *k, int rc)
{
	switch (rc) {
	case -EAGAIN:
		return;
	case -EMFILE:
	case -ENFILE:
		log_dropped(k, rc);
		if (!accept_drop(k))
			pause_accept(k);
		return;
	case -ENOBUFS:
	case -ENOMEM:
		log_dropped(k, rc);
		pause_accept(k);
		return;
	default:
		/* Of that one connection: it broke before we took it. */
		return;
	}
}

static void listener_event(struct fd_source *src, uint32_t events)
{
	struct sock_listener *k = container_of(src, struct sock_listener, src);
	bool gone = false;

	k->gone = &gone;
	for (unsigned i = 0; i < ACCEPT_BUDGET; i++) {
		int fd = accept4(src->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct stream *s;

		if (fd < 0) {
			accept_failed(k, -errno);
			break;
		}
		s = sock_stream_create(fd);
		if (!s) {
			close(fd);
			log_dropped(k, -ENOMEM);
			break;
		}
		k->l->accept(k->l, s);
		if (gone)
			return;
	}
	k->gone = NULL;
}

static int socket_open(const struct net_addr *addr)
{
	struct sockaddr_storage ss;
	socklen_t len = sock_addr_to(addr, &ss);
	int one = 1, rc;
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* So that 0.0.0.0 and :: can both be listened on. */
	if (addr->family == 6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int sock_listen(struct stream_listener *l)
{
	struct sock_listener *k = calloc(1, sizeof(*k));
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int rc;

	if (!k)
		return -ENOMEM;
	rc = socket_open(&l->addr);
	if (rc < 0) {
		free(k);
		return rc;
	}
	k->l = l;
	k->src.fd = rc;
	k->src.event = listener_event;
	timer_setup(&k->resume, resume_accept);
	if (getsockname(k->src.fd, (struct sockaddr *)&ss, &len) == 0) {
		uint8_t prefix_len = l->addr.prefix_len;

		sock_addr_from(&l->addr, &ss);
		l->addr.prefix_len = prefix_len;
	}
	rc = fd_source_add(&k->src, EPOLLIN);
	if (rc < 0) {
		close(k->src.fd);
		free(k);
		return rc;
	}
	k->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	l->priv = k;
	return 0;
}

void sock_unlisten(struct stream_listener *l)
{
	struct sock_listener *k = l->priv;

	if (timer_armed(&k->resume))
		timer_cancel(&k->resume);
	else
		fd_source_remove(&k->src);
	close(k->src.fd);
	if (k->reserve_fd >= 0)
		close(k->reserve_fd);
	if (k->gone)
		*k->gone = true;
	l->priv = NULL;
	free(k);
}
