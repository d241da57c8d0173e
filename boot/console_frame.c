/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames of the console socket (console_frame.h): strict and total decoding, for both sides. */
#include "boot/console_frame.h"

#include <errno.h>
#include <string.h>

#include "core/base/util.h"
#include "core/cmd.h"

/* 0, or -EPROTO: no frame of this type has this length. */
static int head_check(const struct ctl_head *head)
{
	size_t len = le32_get(head->len), min, max;

	if (head->reserved[0] || head->reserved[1] || head->reserved[2])
		return -EPROTO;
	switch (head->type) {
	case CTL_RUN:
		min = sizeof(struct ctl_start);
		max = min + CMD_LINE_BYTES - 1;
		break;
	case CTL_ATTACH:
		min = max = sizeof(struct ctl_start);
		break;
	case CTL_KEYS:
		min = 1;
		max = CTL_KEYS_MAX;
		break;
	case CTL_SIZE:
		min = max = sizeof(struct ctl_size);
		break;
	case CTL_OUT:
		min = 1;
		max = CTL_PAYLOAD_MAX;
		break;
	case CTL_EXIT:
		min = max = sizeof(le32);
		break;
	default:
		return -EPROTO;
	}
	return len >= min && len <= max ? 0 : -EPROTO;
}

struct ctl_start ctl_start_get(const struct ctl_frame *frame)
{
	struct ctl_start start;

	memcpy(&start, frame->payload, sizeof(start));
	return start;
}

static int frame_check(const struct ctl_frame *frame)
{
	struct ctl_start start;

	if (frame->type != CTL_RUN && frame->type != CTL_ATTACH)
		return 0;
	start = ctl_start_get(frame);
	if (le32_get(start.magic) != CTL_MAGIC || le16_get(start.version) != CTL_VERSION ||
	    (le16_get(start.flags) & ~CTL_FLAGS))
		return -EPROTO;
	/* a line is text: a NUL would hide what comes after it */
	return memchr(frame->payload + sizeof(start), '\0', frame->len - sizeof(start)) ?
		-EPROTO : 0;
}

/* Fills the buffer up to WANT bytes; true: it has them. */
static bool fill(struct ctl_decoder *d, const char **bytes, size_t *len, size_t want)
{
	size_t n = MIN(want - MIN(d->len, want), *len);

	memcpy(d->buf + d->len, *bytes, n);
	d->len += n;
	*bytes += n;
	*len -= n;
	return d->len >= want;
}

int ctl_decode(struct ctl_decoder *d, const char **bytes, size_t *len, struct ctl_frame *frame)
{
	struct ctl_head head;

	if (!fill(d, bytes, len, sizeof(head)))
		return 0;
	memcpy(&head, d->buf, sizeof(head));
	if (head_check(&head))
		return -EPROTO;
	if (!fill(d, bytes, len, sizeof(head) + le32_get(head.len)))
		return 0;
	d->len = 0;
	*frame = (struct ctl_frame){ .type = head.type, .len = le32_get(head.len),
				     .payload = d->buf + sizeof(head) };
	return frame_check(frame) ? -EPROTO : 1;
}

struct ctl_head ctl_head_make(enum ctl_type type, size_t len)
{
	return (struct ctl_head){ .len = le32_make((uint32_t)len), .type = (uint8_t)type };
}
