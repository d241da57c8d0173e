/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A descriptor with a bounded ring of output in front of it: writing copies, the kernel takes what
 * it wants when it wants, and nobody waits.
 */
#include "boot/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/util.h"

enum { READ_BYTES = 4096 };

static void fd_events(struct console_fd *f, bool armed, bool paused)
{
	if (f->armed == armed && f->paused == paused)
		return;
	f->armed = armed;
	f->paused = paused;
	fd_source_modify(&f->src, (paused ? 0 : EPOLLIN) | (armed ? EPOLLOUT : 0));
}

static void fd_arm(struct console_fd *f, bool on)
{
	fd_events(f, on, f->paused);
}

void console_fd_pause(struct console_fd *f, bool pause)
{
	if (f->out)
		fd_events(f, f->armed, pause);
}

/* 0, or -errno: broken. */
static int fd_flush(struct console_fd *f)
{
	while (f->len > 0) {
		size_t first = MIN(f->len, CONSOLE_OUT_BYTES - f->head);
		struct iovec iov[2] = { { f->out + f->head, first },
					{ f->out, f->len - first } };
		ssize_t n = writev(f->src.fd, iov, iov[1].iov_len ? 2 : 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		f->head = (f->head + (size_t)n) % CONSOLE_OUT_BYTES;
		f->len -= (size_t)n;
	}
	fd_arm(f, f->len > 0);
	return 0;
}

static void fd_event(struct fd_source *src, uint32_t events)
{
	struct console_fd *f = container_of(src, struct console_fd, src);
	char bytes[READ_BYTES];
	int rc = 0;

	if (events & EPOLLOUT) {
		size_t before = f->len;

		rc = fd_flush(f);
		if (rc == 0 && f->len < before) {
			/* may be the end of F; what else there is comes in the next round */
			f->drained(f);
			return;
		}
	}
	if (rc == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
		ssize_t n = read(src->fd, bytes, sizeof(bytes));

		if (n > 0) {
			f->input(f, bytes, (size_t)n);
			return;
		}
		if (n == 0)
			rc = -EPIPE;
		else if (errno != EAGAIN && errno != EINTR)
			rc = -errno;
	}
	if (rc != 0)
		f->broken(f, rc);
}

int console_fd_open(struct console_fd *f, int fd)
{
	int rc;

	f->out = malloc(CONSOLE_OUT_BYTES);
	if (!f->out)
		return -ENOMEM;
	f->head = f->len = 0;
	f->armed = f->paused = false;
	f->src = (struct fd_source){ .fd = fd, .event = fd_event };
	rc = fd_source_add(&f->src, EPOLLIN);
	if (rc != 0) {
		free(f->out);
		f->out = NULL;
	}
	return rc;
}

size_t console_fd_room(const struct console_fd *f)
{
	return f->out ? CONSOLE_OUT_BYTES - f->len : 0;
}

void console_fd_write(struct console_fd *f, const char *bytes, size_t len)
{
	size_t tail = (f->head + f->len) % CONSOLE_OUT_BYTES;
	size_t first = MIN(len, CONSOLE_OUT_BYTES - tail);

	memcpy(f->out + tail, bytes, first);
	memcpy(f->out, bytes + first, len - first);
	f->len += len;
	/* what is broken is found by the next event, outside of the caller */
	if (!f->armed && fd_flush(f) != 0)
		fd_arm(f, true);
}

void console_fd_close(struct console_fd *f)
{
	if (!f->out)
		return;
	fd_source_remove(&f->src);
	close(f->src.fd);
	free(f->out);
	f->out = NULL;
	f->len = 0;
}
