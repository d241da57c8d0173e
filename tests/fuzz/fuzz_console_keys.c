/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The serial line as a target: the first byte is the width of the terminal, the others are typed.
 * The line stays text, the cursor stays between its characters, and what is drawn fits the row.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boot/console.h"
#include "core/base/panic.h"
#include "core/base/util.h"

struct desk {
	struct line line;
	unsigned columns, at;           /* where the terminal's cursor is */
};

static void desk_write(struct line *line, const char *text, size_t len)
{
	struct desk *d = container_of(line, struct desk, line);

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\r' || c == '\n') {
			d->at = 0;
		} else if (c == '\b') {
			ASSERT(d->at > 0);
			d->at--;
		} else if (c != '\a' && (c & 0xc0) != 0x80) {
			ASSERT(c >= 0x20 && c != 0x7f);
			ASSERT(++d->at < d->columns);
		}
	}
}

static void line_check(const struct line *line)
{
	ASSERT(line->len < sizeof(line->text) && line->text[line->len] == '\0');
	ASSERT(strlen(line->text) == line->len);
	ASSERT(line->first <= line->cursor && line->cursor <= line->len);
	ASSERT(((unsigned char)line->text[line->cursor] & 0xc0) != 0x80);
	ASSERT(((unsigned char)line->text[line->first] & 0xc0) != 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct key_decoder keys = { 0 };
	struct desk *d = calloc(1, sizeof(*d));
	struct key key;

	d->columns = 20 + (size ? data[0] : 0);
	line_init(&d->line, "karst> ", d->columns, desk_write);
	line_show(&d->line);
	for (size_t i = 1; i < size; i++) {
		enum line_event event;

		if (!key_decode(&keys, data[i], &key))
			continue;
		ASSERT(key.code != KEY_CHAR || key.text[0] != '\0');
		event = line_key(&d->line, &key);
		line_check(&d->line);
		if (event == LINE_MORE)
			continue;
		if (event == LINE_COMPLETE)
			line_replace(&d->line, MIN(d->line.cursor, (size_t)3), "é=");
		line_leave(&d->line);
		if (event != LINE_COMPLETE && event != LINE_HELP)
			line_reset(&d->line);
		line_show(&d->line);
		line_check(&d->line);
	}
	line_fini(&d->line);
	free(d);
	return 0;
}
