/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disks that are files or kernel block devices. boot needs init, fini and commands.
 *
 * uring.c       io
 * uring_disk.c  life and commands
 * uring_file.c  opening, and what the file can do
 * uring_dio.c   alignment that direct I/O wants
 * ring.c        the kernel's rings
 */
#ifndef DRIVERS_URING_URING_H
#define DRIVERS_URING_URING_H

#include "core/bdev.h"
#include "core/cmd.h"

/* What opening a file found out. Plain data, filled in a helper thread. */
struct uring_file {
	/* asked */
	const char *path;
	uint64_t size_bytes;            /* 0: as large as the file is */
	uint32_t block_bytes;           /* 0: what suits the file */
	bool readonly;

	/* found; the answers too */
	int fd;
	bool device;                    /* a block device, otherwise a regular file */
	bool direct;                    /* O_DIRECT */
	bool created;                   /* was not there before */
	uint32_t align_bytes;           /* of memory and offsets */
	uint32_t ops;                   /* bits 1 << enum io_op */
	char wrong[160];                /* why not, and what to do; when opening fails */
};

struct uring_disk {
	struct bdev bdev;
	struct list link;
	struct uring_file file;
	char path[];
};

/* uring.c */
extern const size_t uring_chan_bytes;
int uring_chan_open(struct bdev_chan *chan);
void uring_chan_close(struct bdev_chan *chan);
void uring_submit(struct bdev_chan *chan, struct io *io);

/* uring_disk.c */
extern const struct cmd uring_cmds[];
int uring_init(void);
/* Deletes every file disk; the files stay. */
void uring_fini(void);

/* uring_file.c; these block: for task_block */
/* 0, or -errno and file->wrong. */
int uring_file_open(struct uring_file *file);
/* Bytes now, or -errno. */
int64_t uring_file_size(const struct uring_file *file);

/* uring_dio.c: what direct I/O on FD has to be aligned to; 0: not told, or impossible. Blocks. */
uint32_t uring_dio_align(int fd);

#endif
