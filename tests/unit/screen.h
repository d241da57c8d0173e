/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A terminal of one row for tests of the line editor: it understands characters, CR, LF, BS and BEL
 * and nothing else, and fails the test when something reaches its last column.
 */
#ifndef UNIT_SCREEN_H
#define UNIT_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

enum { SCREEN_COLUMNS_MAX = 128, SCREEN_CELL_BYTES = 5 };

struct screen {
	unsigned columns, cursor, bells, rows_left;
	char cell[SCREEN_COLUMNS_MAX][SCREEN_CELL_BYTES];
	char last[SCREEN_COLUMNS_MAX * SCREEN_CELL_BYTES];      /* the row before this one */
};

void screen_init(struct screen *s, unsigned columns);
/* LEN bytes of whole characters. */
void screen_write(struct screen *s, const char *text, size_t len);
/* The row without blanks at its end. */
const char *screen_row(struct screen *s);

#endif
