/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The console on a UNIX socket, for `karst ctl` (console_frame.h). Mode 0600. Each client has a
 * session of its own and bounded buffers; one that does not take its output, or does not say what
 * it wants, costs those for a while and is then closed. The socket file of a process that is gone
 * is replaced; of one that lives it is not: boot/main.c holds a lock for that.
 */
#include "boot/console.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "boot/console_frame.h"
#include "core/base/util.h"

enum { BACKLOG = 16, RESERVE_BYTES = 64 };

struct client {
	struct console_port port;
	struct console_fd fd;
	struct console_session *session;
	struct ctl_decoder decoder;
	bool started;
	bool leaving;                   /* CTL_EXIT is on its way; then it ends */
	struct timer stuck;
	struct list link;
};

static struct {
	struct fd_source src;
	struct list clients;
	unsigned count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
} server = { .src = { .fd = -1 }, .clients = LIST_INIT(server.clients) };

static void client_free(struct client *c)
{
	if (c->session)
		session_hangup(c->session);
	timer_cancel(&c->stuck);
	console_fd_close(&c->fd);
	list_del(&c->link);
	server.count--;
	free(c);
}

/* ---- sending ---- */

static void frame_send(struct client *c, enum ctl_type type, const void *payload, size_t len)
{
	struct ctl_head head = ctl_head_make(type, len);

	console_fd_write(&c->fd, (const char *)&head, sizeof(head));
	console_fd_write(&c->fd, payload, len);
	if (c->fd.len > 0 && !timer_armed(&c->stuck))
		timer_arm(&c->stuck, CTL_STUCK_US);
}

/* Text that fits with its heads, with room left for the CTL_EXIT. */
static size_t client_room(struct console_port *port)
{
	struct client *c = container_of(port, struct client, port);
	size_t room = console_fd_room(&c->fd);

	return room > RESERVE_BYTES ? (room - RESERVE_BYTES) / 2 : 0;
}

static void client_write(struct console_port *port, const char *text, size_t len)
{
	struct client *c = container_of(port, struct client, port);

	while (len > 0) {
		size_t n = MIN(len, (size_t)CTL_PAYLOAD_MAX);

		frame_send(c, CTL_OUT, text, n);
		text += n;
		len -= n;
	}
}

static void client_pause(struct console_port *port, bool pause)
{
	console_fd_pause(&container_of(port, struct client, port)->fd, pause);
}

/* The end of an orderly client: it is freed when its last bytes are out. */
static void client_exit(struct client *c, int status)
{
	le32 code = le32_make((uint32_t)status);

	c->leaving = true;
	frame_send(c, CTL_EXIT, &code, sizeof(code));
	timer_arm(&c->stuck, c->fd.len > 0 ? CTL_STUCK_US : 0);
}

static void client_ended(struct console_port *port, int status)
{
	struct client *c = container_of(port, struct client, port);

	c->session = NULL;
	client_exit(c, status);
}

static void client_drained(struct console_fd *f)
{
	struct client *c = container_of(f, struct client, fd);

	if (c->leaving && f->len == 0) {
		client_free(c);
		return;
	}
	if (f->len > 0)
		timer_arm(&c->stuck, CTL_STUCK_US);
	else
		timer_cancel(&c->stuck);
	if (c->session)
		session_wake(c->session);
}

static void client_stuck(struct timer *t)
{
	struct client *c = container_of(t, struct client, stuck);

	if (!c->leaving)
		log_warn("console: a client of %s %s; closing it", server.path, c->started ?
			 "takes no output" : "does not say what it wants");
	client_free(c);
}

/* ---- receiving ---- */

static int client_start(struct client *c, const struct ctl_frame *frame)
{
	struct ctl_start start = ctl_start_get(frame);
	unsigned flags = le16_get(start.flags);
	char line[CMD_LINE_BYTES];
	struct session_opts opts = {
		.kind = frame->type == CTL_RUN ? SESSION_COMMAND : SESSION_ATTACHED,
		.columns = le16_get(start.size.columns), .rows = le16_get(start.size.rows),
		.keys = frame->type == CTL_ATTACH || (flags & CTL_KEYBOARD),
		.colour = flags & CTL_COLOUR, .json = flags & CTL_JSON,
	};

	snprintf(line, sizeof(line), "%.*s", (int)(frame->len - sizeof(start)),
		 (const char *)frame->payload + sizeof(start));
	if (frame->type == CTL_RUN)
		opts.line = line;
	timer_cancel(&c->stuck);
	c->started = true;
	c->session = session_start(&c->port, &opts);
	if (!c->session)
		client_exit(c, ENOMEM);
	return 0;
}

/* 0, or -EPROTO. */
static int client_frame(struct client *c, const struct ctl_frame *frame)
{
	struct ctl_size size;

	if (!c->started)
		return frame->type == CTL_RUN || frame->type == CTL_ATTACH ?
			client_start(c, frame) : -EPROTO;
	switch (frame->type) {
	case CTL_KEYS:
		if (c->session)
			session_input(c->session, (const char *)frame->payload, frame->len);
		return 0;
	case CTL_SIZE:
		memcpy(&size, frame->payload, sizeof(size));
		if (c->session)
			session_resize(c->session, le16_get(size.columns), le16_get(size.rows));
		return 0;
	default:
		return -EPROTO;
	}
}

static void client_input(struct console_fd *f, const char *bytes, size_t len)
{
	struct client *c = container_of(f, struct client, fd);
	struct ctl_frame frame;
	int rc;

	while ((rc = ctl_decode(&c->decoder, &bytes, &len, &frame)) > 0) {
		rc = client_frame(c, &frame);
		if (rc != 0)
			break;
	}
	if (rc == 0)
		return;
	log_warn("console: a client of %s speaks another protocol; closing it", server.path);
	client_free(c);
}

static void client_broken(struct console_fd *f, int rc)
{
	client_free(container_of(f, struct client, fd));
}

/* ---- accepting ---- */

/* One too many is told so, as far as its socket takes it at once. */
static void refuse(int fd)
{
	static const char text[] = "error: console: all connections are in use; close one\n";
	struct ctl_head out = ctl_head_make(CTL_OUT, sizeof(text) - 1);
	struct ctl_head end = ctl_head_make(CTL_EXIT, sizeof(le32));
	le32 code = le32_make(EAGAIN);
	struct iovec iov[] = {
		{ &out, sizeof(out) }, { (char *)text, sizeof(text) - 1 },
		{ &end, sizeof(end) }, { &code, sizeof(code) },
	};

	if (writev(fd, iov, ARRAY_SIZE(iov)) < 0)
		log_warn("console: %s: a client too many: %s", server.path, strerror(errno));
	close(fd);
}

static void client_accept(int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return;
	}
	c->port = (struct console_port){ client_room, client_write, client_pause,
					client_ended };
	c->fd = (struct console_fd){ .input = client_input, .drained = client_drained,
				     .broken = client_broken };
	if (console_fd_open(&c->fd, fd) != 0) {
		close(fd);
		free(c);
		return;
	}
	timer_setup(&c->stuck, client_stuck);
	timer_arm(&c->stuck, CTL_START_US);
	list_push(&server.clients, &c->link);
	server.count++;
}

static void server_event(struct fd_source *src, uint32_t events)
{
	int fd = accept4(src->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (server.count >= CONSOLE_CLIENTS_MAX)
		refuse(fd);
	else
		client_accept(fd);
}

int console_socket_open(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, rc;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, strlen(path) + 1);
	snprintf(server.path, sizeof(server.path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	mask = umask(0177);
	rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) || listen(fd, BACKLOG) ? -errno : 0;
	umask(mask);
	server.src = (struct fd_source){ .fd = fd, .event = server_event };
	if (rc == 0)
		rc = fd_source_add(&server.src, EPOLLIN);
	if (rc != 0) {
		close(fd);
		server.src.fd = -1;
	}
	return rc;
}

bool console_socket_leaving(void)
{
	struct client *c;

	list_for_each(c, &server.clients, link)
		if (c->leaving || (c->session && c->session->opts.kind == SESSION_COMMAND))
			return true;
	return false;
}

void console_socket_close(void)
{
	struct client *c, *next;

	if (server.src.fd < 0)
		return;
	fd_source_remove(&server.src);
	close(server.src.fd);
	server.src.fd = -1;
	unlink(server.path);
	list_for_each_safe(c, next, &server.clients, link)
		client_free(c);
}
