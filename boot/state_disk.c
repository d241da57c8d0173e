/* SPDX-License-Identifier: BSD-3-Clause */
/* Two copies of a text on a raw device; format and rules are in state.h. */
#include "boot/state.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/crc32c.h"
#include "core/base/util.h"

/* One copy as read: its text starts one block into the buffer. */
struct copy {
	unsigned char *buf;
	bool valid, blank;
	uint64_t sequence;
	size_t len;
};

static uint64_t copy_bytes(const struct state_dev *dev)
{
	return ALIGN_DOWN(dev->bytes / STATE_COPIES, (uint64_t)STATE_BLOCK_BYTES);
}

static size_t text_max(const struct state_dev *dev)
{
	uint64_t bytes = copy_bytes(dev);

	if (bytes <= STATE_BLOCK_BYTES)
		return 0;
	return (size_t)MIN(bytes - STATE_BLOCK_BYTES, (uint64_t)STATE_TEXT_MAX);
}

static uint32_t copy_crc(const struct state_head *head, const void *text, size_t len)
{
	struct state_head h = *head;
	uint32_t state = (uint32_t)CRC32C_INIT;

	h.crc = le32_make(0);
	state = crc32c_update(state, &h, sizeof(h));
	return crc32c_final(crc32c_update(state, text, len));
}

static bool all_zero(const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

/* 0 also when the copy is not valid; an error is of the device or of memory. */
static int copy_read(struct state_dev *dev, unsigned index, struct copy *c)
{
	uint64_t at = index * copy_bytes(dev);
	struct state_head head;
	int rc;

	*c = (struct copy){ .buf = calloc(1, STATE_BLOCK_BYTES + text_max(dev) + 1) };
	if (!c->buf)
		return -ENOMEM;
	rc = dev->read(dev, at, c->buf, STATE_BLOCK_BYTES);
	if (rc != 0)
		return rc;
	memcpy(&head, c->buf, sizeof(head));
	c->blank = all_zero(c->buf, STATE_BLOCK_BYTES);
	c->len = le32_get(head.len_bytes);
	if (memcmp(head.magic, STATE_MAGIC, sizeof(head.magic)) != 0 ||
	    le32_get(head.version) != STATE_VERSION || c->len > text_max(dev))
		return 0;
	if (c->len > 0)
		rc = dev->read(dev, at + STATE_BLOCK_BYTES, c->buf + STATE_BLOCK_BYTES,
			       ALIGN_UP(c->len, (size_t)STATE_BLOCK_BYTES));
	if (rc != 0)
		return rc;
	c->buf[STATE_BLOCK_BYTES + c->len] = '\0';
	c->sequence = le64_get(head.sequence);
	c->valid = copy_crc(&head, c->buf + STATE_BLOCK_BYTES, c->len) == le32_get(head.crc) &&
		!memchr(c->buf + STATE_BLOCK_BYTES, '\0', c->len);
	return 0;
}

/* Reads both; *best is the one that counts, -1: none is valid. Errors of one copy are survived. */
static int copies_read(struct state_dev *dev, struct copy c[STATE_COPIES], int *best)
{
	int rc[STATE_COPIES];

	*best = -1;
	for (unsigned i = 0; i < STATE_COPIES; i++) {
		rc[i] = copy_read(dev, i, &c[i]);
		if (rc[i] != 0 || !c[i].valid)
			continue;
		if (*best < 0 || c[i].sequence > c[*best].sequence)
			*best = (int)i;
	}
	return *best < 0 ? rc[0] ? rc[0] : rc[1] : 0;
}

static void copies_free(struct copy c[STATE_COPIES])
{
	for (unsigned i = 0; i < STATE_COPIES; i++)
		free(c[i].buf);
}

int state_dev_load(struct state_dev *dev, char **text)
{
	struct copy c[STATE_COPIES] = { 0 };
	int best, rc;

	*text = NULL;
	if (text_max(dev) == 0)
		return -ENOSPC;
	rc = copies_read(dev, c, &best);
	if (rc == 0 && best < 0 && !(c[0].blank && c[1].blank))
		rc = -EBADMSG;
	if (rc == 0 && best >= 0 && c[best].len > 0) {
		*text = strdup((char *)c[best].buf + STATE_BLOCK_BYTES);
		rc = *text ? 0 : -ENOMEM;
	}
	copies_free(c);
	return rc;
}

/*
 * The text is durable before its head is written: a torn copy is found by its CRC whatever the
 * order is, but so the first save of all leaves, when it is cut, nothing instead of damage.
 */
static int copy_write(struct state_dev *dev, unsigned index, const unsigned char *buf, size_t len)
{
	uint64_t at = index * copy_bytes(dev);
	int rc = 0;

	if (len > 0)
		rc = dev->write(dev, at + STATE_BLOCK_BYTES, buf + STATE_BLOCK_BYTES,
				ALIGN_UP(len, (size_t)STATE_BLOCK_BYTES));
	if (rc == 0)
		rc = dev->sync(dev);
	if (rc == 0)
		rc = dev->write(dev, at, buf, STATE_BLOCK_BYTES);
	return rc ? rc : dev->sync(dev);
}

int state_dev_save(struct state_dev *dev, const char *text)
{
	struct copy c[STATE_COPIES] = { 0 };
	size_t len = strlen(text);
	struct state_head head = { .version = le32_make(STATE_VERSION),
				   .len_bytes = le32_make((uint32_t)len) };
	unsigned char *buf;
	int best, rc;

	if (len > text_max(dev))
		return -EFBIG;
	buf = calloc(1, STATE_BLOCK_BYTES + ALIGN_UP(len, (size_t)STATE_BLOCK_BYTES));
	if (!buf)
		return -ENOMEM;
	/* what cannot be read is overwritten: it counts as not valid */
	copies_read(dev, c, &best);
	memcpy(head.magic, STATE_MAGIC, sizeof(head.magic));
	head.sequence = le64_make(best < 0 ? 1 : c[best].sequence + 1);
	head.crc = le32_make(copy_crc(&head, text, len));
	memcpy(buf, &head, sizeof(head));
	memcpy(buf + STATE_BLOCK_BYTES, text, len);
	rc = copy_write(dev, best == 0 ? 1 : 0, buf, len);
	copies_free(c);
	free(buf);
	return rc;
}
