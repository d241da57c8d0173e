/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void row_clear(struct screen *s)
{
	for (unsigned i = 0; i < SCREEN_COLUMNS_MAX; i++)
		snprintf(s->cell[i], SCREEN_CELL_BYTES, " ");
	s->cursor = 0;
}

void screen_init(struct screen *s, unsigned columns)
{
	memset(s, 0, sizeof(*s));
	s->columns = columns;
	row_clear(s);
}

const char *screen_row(struct screen *s)
{
	static char row[SCREEN_COLUMNS_MAX * SCREEN_CELL_BYTES];
	size_t n = 0, end = 0;

	for (unsigned i = 0; i < s->columns; i++) {
		n += (size_t)snprintf(row + n, sizeof(row) - n, "%s", s->cell[i]);
		if (strcmp(s->cell[i], " ") != 0)
			end = n;
	}
	row[end] = '\0';
	return row;
}

static size_t character(struct screen *s, const char *text, size_t len)
{
	size_t n = 1;

	while (n < len && ((unsigned char)text[n] & 0xc0) == 0x80)
		n++;
	assert_true(n < SCREEN_CELL_BYTES && (unsigned char)text[0] >= 0x20);
	if (s->cursor + 1 >= s->columns)
		fail_msg("\"%.*s\" in the last column", (int)n, text);
	memcpy(s->cell[s->cursor], text, n);
	s->cell[s->cursor++][n] = '\0';
	return n;
}

void screen_write(struct screen *s, const char *text, size_t len)
{
	for (size_t i = 0; i < len; ) {
		switch (text[i]) {
		case '\r':
			s->cursor = 0;
			i++;
			break;
		case '\n':
			snprintf(s->last, sizeof(s->last), "%s", screen_row(s));
			s->rows_left++;
			row_clear(s);
			i++;
			break;
		case '\b':
			assert_true(s->cursor > 0);
			s->cursor--;
			i++;
			break;
		case '\a':
			s->bells++;
			i++;
			break;
		default:
			i += character(s, text + i, len - i);
		}
	}
}
