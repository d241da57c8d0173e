/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices and their sockets. A socket is bound under a name of its own, gets its mode and owner,
 * and is then renamed to where it is wanted, which replaces a file that a dead process left. A lock
 * file beside it says that the owner lives; who has the lock may replace the socket.
 */
#include "targets/vhost/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/cmd.h"

enum { BACKLOG = 4, SOCKET_MODE = 0600, PAUSE_US = 100 * 1000, PENALTY_US = 10 * 1000 * 1000 };

static struct list devices = LIST_INIT(devices);

struct vh_device *vh_device_next(const struct vh_device *prev)
{
	const struct list *link = prev ? prev->link.next : devices.next;

	return link == &devices ? NULL : list_entry(link, struct vh_device, link);
}

struct vh_device *vh_device_find(const char *name)
{
	struct vh_device *dev;

	list_for_each(dev, &devices, link) {
		if (strcmp(dev->options.name, name) == 0)
			return dev;
	}
	return NULL;
}

void vh_options_init(struct vh_options *options, const char *name)
{
	memset(options, 0, sizeof(*options));
	snprintf(options->name, sizeof(options->name), "%s", name);
	snprintf(options->path, sizeof(options->path), "/run/karst/%.80s.sock", name);
	options->mode = SOCKET_MODE;
	options->uid = (uid_t)-1;
	options->gid = (gid_t)-1;
}

/* ---- the socket file ---- */

/* PATH with SUFFIX; -ENAMETOOLONG. */
static int beside(char out[VH_PATH_BYTES], const char *path, const char *suffix)
{
	int len = snprintf(out, VH_PATH_BYTES, "%s%s", path, suffix);

	return len < VH_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

/* -EADDRINUSE: somebody alive has it. */
static int lock_take(struct vh_device *dev)
{
	char path[VH_PATH_BYTES];
	int rc = beside(path, dev->options.path, ".lock");

	if (rc)
		return rc;
	dev->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (dev->lock_fd < 0)
		return -errno;
	if (flock(dev->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	rc = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
	close(dev->lock_fd);
	return rc;
}

static void lock_drop(struct vh_device *dev)
{
	char path[VH_PATH_BYTES];

	if (beside(path, dev->options.path, ".lock") == 0)
		unlink(path);
	close(dev->lock_fd);
}

/* What is there already: nothing, or a socket that nobody serves. */
static int path_check(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	int fd, rc;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	memcpy(sun.sun_path, path, strlen(path));
	rc = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 || errno == EAGAIN ?
		-EADDRINUSE : errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
	close(fd);
	return rc;
}

static int socket_place(struct vh_device *dev, int fd)
{
	const struct vh_options *options = &dev->options;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char path[VH_PATH_BYTES];
	struct stat st;
	int rc = beside(path, options->path, ".new");

	if (rc)
		return rc;
	memcpy(sun.sun_path, path, strlen(path));
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)))
		return -errno;
	if (listen(fd, BACKLOG) || chmod(path, options->mode) ||
	    (options->owner_given && chown(path, options->uid, options->gid)) ||
	    stat(path, &st) || rename(path, options->path)) {
		rc = -errno;
		unlink(path);
		return rc;
	}
	dev->socket_ino = st.st_ino;
	return 0;
}

static int socket_open(struct vh_device *dev)
{
	int rc = path_check(dev->options.path), fd;

	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = socket_place(dev, fd);
	if (rc)
		close(fd);
	else
		dev->listener.fd = fd;
	return rc;
}

/* ---- front ends are taken, or wait in line ---- */

static void listen_start(struct vh_device *dev)
{
	dev->listening = fd_source_add(&dev->listener, EPOLLIN) == 0;
	if (!dev->listening)
		timer_arm(&dev->resume, PAUSE_US);
}

static void listen_stop(struct vh_device *dev)
{
	timer_cancel(&dev->resume);
	if (dev->listening)
		fd_source_remove(&dev->listener);
	dev->listening = false;
}

static void listen_resume(struct timer *timer)
{
	listen_start(container_of(timer, struct vh_device, resume));
}

static void socket_close(struct vh_device *dev)
{
	struct stat st;

	listen_stop(dev);
	close(dev->listener.fd);
	/* somebody may have put another there */
	if (lstat(dev->options.path, &st) == 0 && st.st_ino == dev->socket_ino)
		unlink(dev->options.path);
}

/* ---- devices ---- */

static void device_accept(struct fd_source *source, uint32_t events)
{
	struct vh_device *dev = container_of(source, struct vh_device, listener);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), rc;

	if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
		return;
	rc = fd < 0 ? -errno : vh_session_start(dev, fd);
	/* the next one waits in line until this one has gone */
	listen_stop(dev);
	if (rc == 0)
		return;
	log_error("vhost %s: no session: %s", dev->options.name, strerror(-rc));
	if (fd >= 0)
		close(fd);
	timer_arm(&dev->resume, PAUSE_US);
}

static void calls_end(void)
{
	if (list_empty(&devices))
		vh_call_fini();
}

int vh_device_start(struct vh_device *dev, const struct vh_device_ops *ops,
		    const struct vh_options *options)
{
	unsigned queues = options->queues ? options->queues : VH_REQUEST_QUEUES_MAX;
	int rc;

	if (vh_device_find(options->name))
		return -EEXIST;
	dev->ops = ops;
	dev->options = *options;
	dev->queue_count = queues + ops->queues_min;
	event_init(&dev->session_gone);
	event_signal(&dev->session_gone);
	rc = list_empty(&devices) ? vh_call_init() : 0;
	if (rc)
		return rc;
	rc = lock_take(dev);
	if (rc == 0) {
		rc = socket_open(dev);
		if (rc)
			lock_drop(dev);
	}
	if (rc) {
		calls_end();
		return rc;
	}
	dev->listener.event = device_accept;
	timer_setup(&dev->resume, listen_resume);
	listen_start(dev);
	list_push(&devices, &dev->link);
	return 0;
}

void vh_device_free(struct vh_device *dev, bool late)
{
	dev->session = NULL;
	event_signal(&dev->session_gone);
	if (dev->deleting)
		return;
	if (late)
		timer_arm(&dev->resume, PENALTY_US);
	else
		listen_start(dev);
}

/* Whoever set dev->deleting, alone. */
static void device_end(void *arg)
{
	struct vh_device *dev = arg;

	socket_close(dev);
	while (dev->session) {
		vh_session_close(dev->session, "the device is deleted");
		task_wait(&dev->session_gone);
	}
	lock_drop(dev);
	list_del(&dev->link);
	dev->ops->destroy(dev);
	calls_end();
}

void vh_device_delete(struct vh_device *dev)
{
	if (dev->deleting)
		return;
	dev->deleting = true;
	device_end(dev);
}

void vh_device_delete_soon(struct vh_device *dev)
{
	if (dev->deleting)
		return;
	dev->deleting = true;
	if (task_start("vhost delete", device_end, dev))
		return;
	dev->deleting = false;
	log_error("vhost %s: no memory to delete it; delete it by hand", dev->options.name);
}

void vh_options_text(const struct vh_options *options, char *text, size_t text_bytes)
{
	char path[2 * VH_PATH_BYTES];
	int at = 0;

	text[0] = '\0';
	if (options->path_given)
		at += snprintf(text + at, text_bytes - (size_t)at, " socket=%s",
			       cmd_quote(options->path, path, sizeof(path)));
	if (options->mode_given)
		at += snprintf(text + at, text_bytes - (size_t)at, " mode=%o",
			       (unsigned)options->mode);
	if (options->owner_given)
		at += snprintf(text + at, text_bytes - (size_t)at, " uid=%u gid=%u",
			       (unsigned)options->uid, (unsigned)options->gid);
	if (options->queues)
		snprintf(text + at, text_bytes - (size_t)at, " queues=%u", options->queues);
}

void vh_device_config_changed(struct vh_device *dev)
{
	struct vhost_user_header msg = {
		.request = le32_make(VHOST_USER_BACKEND_CONFIG_CHANGE),
		.flags = le32_make(VHOST_USER_VERSION),
	};

	if (!dev->session || dev->session->backend_fd < 0)
		return;
	if (send(dev->session->backend_fd, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    sizeof(msg))
		log_warn("vhost %s: the front end was not told of a change", dev->options.name);
}
