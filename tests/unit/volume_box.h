/* SPDX-License-Identifier: BSD-3-Clause */
/* A store with volumes on a fake disk, and a user who writes and reads them. In tasks. */
#ifndef TESTS_VOLUME_BOX_H
#define TESTS_VOLUME_BOX_H

#include "blob/volume.h"
#include "tests/unit/store_box.h"

enum { VOLUME_BOX_MAX_BYTES = 4 << 20 };

/* A store "box" of BYTES on disk "d0"; volumes are served. */
void volume_box_open(struct store_box *box, uint64_t bytes, uint32_t block_bytes);
void volume_box_close(struct store_box *box);
/* Volumes stop and start again around what store_box does. */
void volume_box_reload(struct store_box *box);
void volume_box_crash(struct store_box *box);

/* The blob of "box/NAME", made with so many clusters. */
struct blob *volume_box_make(struct store_box *box, const char *name, uint64_t clusters, bool thin);
struct blob *volume_box_find(const char *name);
/* Takes and gives the bdev "box/NAME" by itself. Blocks of the volume; FILL is each byte. */
enum io_status volume_box_io(const char *name, enum io_op op, unsigned flags, uint64_t lba,
			     uint32_t count, void *data);
/* Bytes AT… of the volume become FILL; must succeed. */
void volume_box_fill(const char *name, uint64_t at, uint64_t bytes, uint8_t fill);
/* Bytes AT… of the volume are all FILL. */
void volume_box_is(const char *name, uint64_t at, uint64_t bytes, uint8_t fill);
/* Clusters that the volume has of its own. */
uint64_t volume_box_mapped(const char *name);

#endif
