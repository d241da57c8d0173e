/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved configuration, and the reservations, on a raw partition: its format, over any device
 * that can read, write and sync, so that tests can cut its power.
 *
 * The configuration and the reservations share a partition: the end of each half belongs to the
 * reservations, the rest to the configuration (state.c). Each sees a device of its own.
 *
 * The device is two halves. Each holds one copy: a block with struct state_head, then the text.
 * The copy that is valid (magic, version, length, CRC of head and text) with the higher sequence
 * number wins. Saving replaces the other copy and syncs: the one that counted stays whole until the
 * new one is, and after that it is what is left should the new one decay.
 */
#ifndef BOOT_STATE_H
#define BOOT_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"

enum {
	STATE_COPIES = 2,
	STATE_BLOCK_BYTES = 4096,
	STATE_TEXT_MAX = 1024 * 1024,
	STATE_VERSION = 1,
	STATE_RESV_BYTES = 128 * 1024,  /* of each half of the partition */
};

#define STATE_MAGIC "KARSTCFG"

struct state_head {
	uint8_t magic[8];
	le32 version;
	le32 len_bytes;                 /* of the text; 0: nothing is saved */
	le64 sequence;
	le32 crc;                       /* CRC-32C of head, with this field 0, and text */
	uint8_t reserved[36];
};

_Static_assert(sizeof(struct state_head) == 64, "state_head");

struct state_dev {
	uint64_t bytes;
	/* all of LEN or -errno; OFFSET and LEN are multiples of STATE_BLOCK_BYTES */
	int (*read)(struct state_dev *dev, uint64_t offset, void *buf, size_t len);
	int (*write)(struct state_dev *dev, uint64_t offset, const void *buf, size_t len);
	int (*sync)(struct state_dev *dev);
};

/*
 * 0: *text is the caller's, NULL when nothing is saved; -EBADMSG: neither copy is valid, and there
 * is more than zeroes; -ENOMEM, -EIO ….
 */
int state_dev_load(struct state_dev *dev, char **text);
/* When it returns 0 the text is durable. -EFBIG: the text does not fit. */
int state_dev_save(struct state_dev *dev, const char *text);

#endif
