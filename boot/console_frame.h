/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `karst ctl` and karst say to each other over the console's UNIX socket.
 *
 * Frames: 8 bytes of head, then len bytes. The client begins with one CTL_RUN (a command line) or
 * CTL_ATTACH (a prompt); then it may send CTL_KEYS (what was typed) and CTL_SIZE (the terminal has
 * another size now). The server sends CTL_OUT (text for the terminal) and ends with one CTL_EXIT:
 * 0 or the errno of the command. Everything else ends the connection; so does a client that takes
 * no output for CTL_STUCK_US. Decoding is strict: reserved bytes are 0, lengths are in bounds.
 */
#ifndef BOOT_CONSOLE_FRAME_H
#define BOOT_CONSOLE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/endian.h"

enum { CTL_MAGIC = 0x4c54434b, CTL_VERSION = 1, CTL_PAYLOAD_MAX = 8192, CTL_KEYS_MAX = 4096 };
enum { CTL_STUCK_US = 30 * 1000000, CTL_START_US = 10 * 1000000 };

enum ctl_type {
	CTL_RUN = 1,            /* struct ctl_start, then the line without NUL */
	CTL_ATTACH = 2,         /* struct ctl_start */
	CTL_KEYS = 3,           /* 1…CTL_KEYS_MAX bytes */
	CTL_SIZE = 4,           /* struct ctl_size */
	CTL_OUT = 5,            /* 1…CTL_PAYLOAD_MAX bytes */
	CTL_EXIT = 6,           /* le32: 0 or an errno */
};

enum ctl_flag { CTL_JSON = 1, CTL_KEYBOARD = 2, CTL_COLOUR = 4, CTL_FLAGS = 7 };

struct ctl_head {
	le32 len;
	uint8_t type;
	uint8_t reserved[3];
};

struct ctl_size {
	le16 columns, rows;     /* 0: unknown */
};

struct ctl_start {
	le32 magic;
	le16 version;
	le16 flags;
	struct ctl_size size;
};

_Static_assert(sizeof(struct ctl_head) == 8, "ctl_head");
_Static_assert(sizeof(struct ctl_start) == 12, "ctl_start");

/* One side's receiving end: bytes to frames. */
struct ctl_decoder {
	size_t len;
	unsigned char buf[sizeof(struct ctl_head) + CTL_PAYLOAD_MAX];
};

struct ctl_frame {
	enum ctl_type type;
	size_t len;
	const unsigned char *payload;   /* valid until the next call */
};

/*
 * Takes from *bytes (moves it) until a frame is complete: 1, and FRAME is checked except for the
 * text of a line; 0: wants more; -EPROTO: this is no such frame.
 */
int ctl_decode(struct ctl_decoder *d, const char **bytes, size_t *len, struct ctl_frame *frame);
/* The head of a frame of TYPE with LEN bytes. */
struct ctl_head ctl_head_make(enum ctl_type type, size_t len);
/* The fields of a start frame's payload, checked by ctl_decode. */
struct ctl_start ctl_start_get(const struct ctl_frame *frame);

#endif
