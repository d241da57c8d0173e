/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the saved configuration is: in the appliance the partition with the GPT name karst-config,
 * hosted the file named by --state (plain text; replaced by temporary file, fsync, rename and fsync
 * of the folder). The system calls that may take long run in a helper thread.
 *
 * Reservations that persist are kept beside it: in the same partition, and in the file of that name
 * with .reservations behind it.
 */
#include "boot/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/boot.h"
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/config.h"
#include "core/resv.h"
#include "core/task.h"

#define STATE_PARTITION "karst-config"
#define SYS_BLOCK "/sys/class/block"
#define RESV_SUFFIX ".reservations"

enum { SECTOR_BYTES = 512, UEVENT_BYTES = 1024 };

/* ---- a partition ---- */

enum state_what { STATE_CONFIG, STATE_RESV };

/* One of the two: LEN bytes at BASE of each half. */
struct part_dev {
	struct state_dev dev;
	int fd;
	uint64_t half, base, len;
};

static off_t part_at(const struct part_dev *p, uint64_t offset)
{
	return (off_t)(offset / p->len * p->half + p->base + offset % p->len);
}

static int part_read(struct state_dev *dev, uint64_t offset, void *buf, size_t len)
{
	struct part_dev *p = container_of(dev, struct part_dev, dev);

	for (size_t done = 0; done < len; ) {
		ssize_t n = pread(p->fd, (char *)buf + done, len - done,
				  part_at(p, offset + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int part_write(struct state_dev *dev, uint64_t offset, const void *buf, size_t len)
{
	struct part_dev *p = container_of(dev, struct part_dev, dev);

	for (size_t done = 0; done < len; ) {
		ssize_t n = pwrite(p->fd, (const char *)buf + done, len - done,
				   part_at(p, offset + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int part_sync(struct state_dev *dev)
{
	return fsync(container_of(dev, struct part_dev, dev)->fd) ? -errno : 0;
}

static ssize_t sys_read(const char *name, const char *file, char *buf, size_t buf_bytes)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), SYS_BLOCK "/%s/%s", name, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, buf_bytes - 1);
	close(fd);
	buf[MAX(n, 0)] = '\0';
	return n;
}

/* Whether block device NAME is the partition, by its uevent: "PARTNAME=karst-config". */
static bool is_state_partition(const char *name)
{
	char uevent[UEVENT_BYTES];
	const char *line = uevent;

	if (sys_read(name, "uevent", uevent, sizeof(uevent)) <= 0)
		return false;
	for (; *line; line += strspn(line, "\n")) {
		size_t n = strcspn(line, "\n");

		if (n == strlen("PARTNAME=" STATE_PARTITION) &&
		    strncmp(line, "PARTNAME=" STATE_PARTITION, n) == 0)
			return true;
		line += n;
	}
	return false;
}

/* The first in order of names; with several disks of this kind there is more than one. */
static int part_find(char *name, size_t name_bytes)
{
	DIR *dir = opendir(SYS_BLOCK);
	struct dirent *e;
	unsigned count = 0;

	if (!dir)
		return -ENODEV;
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.' || !is_state_partition(e->d_name))
			continue;
		if (count++ == 0 || strcmp(e->d_name, name) < 0)
			snprintf(name, name_bytes, "%s", e->d_name);
	}
	closedir(dir);
	if (count > 1)
		log_warn("config: %u partitions are called " STATE_PARTITION "; using %s", count,
			 name);
	return count > 0 ? 0 : -ENODEV;
}

static int part_open(struct part_dev *p, enum state_what what, int flags, char *where,
		     size_t where_bytes)
{
	char name[NAME_MAX + 1], path[NAME_MAX + 8], size[32];
	int rc = part_find(name, sizeof(name));
	uint64_t half;

	if (rc != 0)
		return rc;
	snprintf(path, sizeof(path), "/dev/%s", name);
	snprintf(where, where_bytes, "%s", path);
	if (sys_read(name, "size", size, sizeof(size)) <= 0)
		return -EIO;
	half = ALIGN_DOWN(strtoull(size, NULL, 10) * SECTOR_BYTES / STATE_COPIES,
			  (uint64_t)STATE_BLOCK_BYTES);
	if (half < 2 * STATE_RESV_BYTES)
		return -ENOSPC;
	*p = (struct part_dev){
		.dev = { .read = part_read, .write = part_write, .sync = part_sync },
		.half = half,
		.base = what == STATE_RESV ? half - STATE_RESV_BYTES : 0,
		.len = what == STATE_RESV ? STATE_RESV_BYTES : half - STATE_RESV_BYTES,
		.fd = open(path, flags | O_CLOEXEC),
	};
	p->dev.bytes = STATE_COPIES * p->len;
	return p->fd < 0 ? -errno : 0;
}

/* ---- a file ---- */

static int file_load(const char *path, char **text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	size_t len = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	/* an empty file is one in which nothing has been saved */
	*text = malloc(STATE_TEXT_MAX + 1);
	while (*text && rc == 0) {
		ssize_t n = read(fd, *text + len, STATE_TEXT_MAX + 1 - len);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			rc = -errno;
		len += n > 0 ? (size_t)n : 0;
		if (len > STATE_TEXT_MAX)
			rc = -EFBIG;
	}
	close(fd);
	if (*text && rc == 0 && memchr(*text, '\0', len))
		rc = -EBADMSG;
	if (!*text)
		return -ENOMEM;
	if (rc != 0 || len == 0) {
		free(*text);
		*text = NULL;
		return rc;
	}
	(*text)[len] = '\0';
	return 0;
}

/* What is new in the folder of PATH becomes durable. */
static int folder_sync(const char *path)
{
	char folder[PATH_MAX];
	char *slash;
	int fd, rc;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = '\0';
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

static int file_save(const char *path, const char *text)
{
	size_t len = strlen(text), done = 0;
	char temp[PATH_MAX];
	int fd, rc = 0;

	if (len > STATE_TEXT_MAX)
		return -EFBIG;
	if (snprintf(temp, sizeof(temp), "%s.new", path) >= (int)sizeof(temp))
		return -ENAMETOOLONG;
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (done < len && rc == 0) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (rc == 0 && fsync(fd))
		rc = -errno;
	if (close(fd) && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(temp, path))
		rc = -errno;
	if (rc != 0) {
		unlink(temp);
		return rc;
	}
	return folder_sync(path);
}

/* ---- either ---- */

struct state_call {
	enum state_what what;
	const char *save;               /* NULL: load */
	char *text;
	char *where;
	size_t where_bytes;
	int rc;
};

static void file_do(struct state_call *c)
{
	char path[PATH_MAX];

	if (!karst_run.state_path) {
		c->rc = -ENODEV;
		return;
	}
	if (snprintf(path, sizeof(path), "%s%s", karst_run.state_path,
		     c->what == STATE_RESV ? RESV_SUFFIX : "") >= (int)sizeof(path)) {
		c->rc = -ENAMETOOLONG;
		return;
	}
	snprintf(c->where, c->where_bytes, "%s", path);
	c->rc = c->save ? file_save(path, c->save) : file_load(path, &c->text);
}

/* In a helper thread. */
static void state_do(void *arg)
{
	struct state_call *c = arg;
	struct part_dev p = { .fd = -1 };

	if (!karst_run.appliance) {
		file_do(c);
		return;
	}
	c->rc = part_open(&p, c->what, c->save ? O_RDWR : O_RDONLY, c->where, c->where_bytes);
	if (c->rc == 0)
		c->rc = c->save ? state_dev_save(&p.dev, c->save) :
			state_dev_load(&p.dev, &c->text);
	if (p.fd >= 0)
		close(p.fd);
}

int state_load(char **text, char *where, size_t where_bytes)
{
	struct state_call c = { .where = where, .where_bytes = where_bytes };

	where[0] = '\0';
	task_block(state_do, &c);
	*text = c.text;
	return c.rc;
}

int state_save(const char *text, char *where, size_t where_bytes)
{
	struct state_call c = { .save = text, .where = where, .where_bytes = where_bytes };

	where[0] = '\0';
	task_block(state_do, &c);
	return c.rc;
}

/* ---- reservations ---- */

static int resv_load(char **text)
{
	char where[PATH_MAX];
	struct state_call c = { .what = STATE_RESV, .where = where,
				.where_bytes = sizeof(where) };

	task_block(state_do, &c);
	*text = c.text;
	return c.rc;
}

static int resv_save(const char *text)
{
	char where[PATH_MAX];
	struct state_call c = { .what = STATE_RESV, .save = text, .where = where,
				.where_bytes = sizeof(where) };

	task_block(state_do, &c);
	return c.rc;
}

const struct resv_store state_resv_store = { .load = resv_load, .save = resv_save };

/* ---- forgetting ---- */

static void file_remove(void *arg)
{
	struct state_call *c = arg;

	snprintf(c->where, c->where_bytes, "%s", karst_run.state_path);
	c->rc = unlink(karst_run.state_path) && errno != ENOENT ? -errno :
		folder_sync(karst_run.state_path);
}

int state_clear(char *where, size_t where_bytes)
{
	struct state_call c = { .where = where, .where_bytes = where_bytes };

	if (karst_run.appliance || !karst_run.state_path)
		return state_save("", where, where_bytes);
	task_block(file_remove, &c);
	return c.rc;
}
