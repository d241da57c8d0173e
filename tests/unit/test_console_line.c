/* SPDX-License-Identifier: BSD-3-Clause */
/* The line editor, seen on a terminal that knows nothing but CR, BS and blanks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/console.h"
#include "core/base/util.h"
#include "tests/unit/screen.h"

struct desk {
	struct line line;
	struct screen screen;
	struct key_decoder keys;
	enum line_event event;          /* of the last key */
};

static void desk_write(struct line *line, const char *text, size_t len)
{
	screen_write(&container_of(line, struct desk, line)->screen, text, len);
}

static struct desk *desk_make(unsigned columns)
{
	struct desk *d = calloc(1, sizeof(*d));

	screen_init(&d->screen, columns);
	line_init(&d->line, "karst> ", columns, desk_write);
	line_show(&d->line);
	return d;
}

static void desk_free(struct desk *d)
{
	line_fini(&d->line);
	free(d);
}

static void type_bytes(struct desk *d, const char *bytes, size_t len)
{
	struct key key;

	for (size_t i = 0; i < len; i++)
		if (key_decode(&d->keys, (unsigned char)bytes[i], &key)) {
			d->event = line_key(&d->line, &key);
			if (d->event == LINE_DONE || d->event == LINE_CANCEL) {
				line_leave(&d->line);
				line_reset(&d->line);
				line_show(&d->line);
			}
		}
}

static void type(struct desk *d, const char *text)
{
	type_bytes(d, text, strlen(text));
}

/* The row, with a '|' where the cursor is. */
static void expect_row(struct desk *d, const char *expected)
{
	char row[SCREEN_COLUMNS_MAX * SCREEN_CELL_BYTES] = "";
	size_t n = 0;
	unsigned most = 0;

	for (unsigned i = 0; i < d->screen.columns; i++)
		if (strcmp(d->screen.cell[i], " ") != 0)
			most = i + 1;
	for (unsigned i = 0; i < MAX(most, d->screen.cursor) || i == d->screen.cursor; i++)
		n += (size_t)snprintf(row + n, sizeof(row) - n, "%s%s",
				      i == d->screen.cursor ? "|" : "",
				      i < MAX(most, d->screen.cursor) ? d->screen.cell[i] : "");
	assert_string_equal(row, expected);
}

static void test_editing(void **state)
{
	struct desk *d = desk_make(80);

	type(d, "disk lst");
	type(d, "\x1b[D\x1b[Di");
	expect_row(d, "karst> disk li|st");
	type(d, "\x01X\x04");
	expect_row(d, "karst> X|isk list");
	type(d, "\x7f" "d\x05!");
	expect_row(d, "karst> disk list!|");
	type(d, "\x17");
	expect_row(d, "karst> disk |");
	type(d, "é→\x1b[D\x7f");
	expect_row(d, "karst> disk |→");
	type(d, "\x1b[3~");
	expect_row(d, "karst> disk |");
	type(d, "\x15");
	expect_row(d, "karst> |");
	type(d, "one two\x1b[1;5D\x0b");
	expect_row(d, "karst> one |");
	assert_string_equal(d->line.text, "one ");
	desk_free(d);
}

static void test_long_lines_scroll_and_never_wrap(void **state)
{
	struct desk *d = desk_make(30);

	for (unsigned i = 0; i < 100; i++) {
		char c[2] = { (char)('a' + i % 26), '\0' };

		type(d, c);
	}
	assert_int_equal(d->line.len, 100);
	assert_non_null(strstr(screen_row(&d->screen), "tuv"));
	type(d, "\x01");
	expect_row(d, "karst> |abcdefghijklmnopqrstuv");
	type(d, "\x05");
	assert_int_equal(d->screen.cell[d->screen.cursor - 1][0], 'v');
	desk_free(d);
}

static void test_history(void **state)
{
	struct desk *d = desk_make(80);

	type(d, "first\rsecond\rsecond\r\r");
	type(d, "typed\x1b[A");
	expect_row(d, "karst> second|");
	type(d, "\x1b[A");
	expect_row(d, "karst> first|");
	assert_int_equal(d->screen.bells, 0);
	type(d, "\x1b[A");
	assert_int_equal(d->screen.bells, 1);
	type(d, "\x1b[B\x1b[B");
	expect_row(d, "karst> typed|");
	for (unsigned i = 0; i < 3 * HISTORY_LINES; i++) {
		char line[32];

		snprintf(line, sizeof(line), "\x15line %u\r", i);
		type(d, line);
	}
	for (unsigned i = 0; i < 2 * HISTORY_LINES; i++)
		type(d, "\x10");
	expect_row(d, "karst> line 128|");
	desk_free(d);
}

static void test_search(void **state)
{
	struct desk *d = desk_make(80);

	type(d, "disk list\rvolume list\rdisk show x\r");
	type(d, "\x12" "disk");
	expect_row(d, "search \"disk\": disk show x|");
	type(d, "\x12");
	expect_row(d, "search \"disk\": disk list|");
	type(d, "\x05");
	expect_row(d, "karst> disk list|");
	type(d, "\x12" "vol\x03");
	expect_row(d, "karst> disk list|");
	type(d, "\x12volu\r");
	assert_int_equal(d->event, LINE_DONE);
	assert_string_equal(d->screen.last, "karst> volume list");
	desk_free(d);
}

static void test_output_around_the_line(void **state)
{
	struct desk *d = desk_make(80);

	type(d, "disk li\x1b[D");
	line_hide(&d->line);
	assert_string_equal(screen_row(&d->screen), "");
	assert_int_equal(d->screen.cursor, 0);
	screen_write(&d->screen, "a log record\n", 13);
	line_show(&d->line);
	expect_row(d, "karst> disk l|i");
	desk_free(d);
}

static void test_too_long_a_line_is_refused_as_a_whole(void **state)
{
	struct desk *d = desk_make(80);

	for (unsigned i = 0; i < 2 * CMD_LINE_BYTES; i++)
		type(d, "x");
	assert_int_equal(d->line.len, CMD_LINE_BYTES - 1);
	assert_int_equal(d->screen.bells, 1);
	type(d, "\r");
	assert_int_equal(d->event, LINE_TOO_LONG);
	assert_null(history_at(&d->line.history, 1));
	line_reset(&d->line);
	line_show(&d->line);
	type(d, "ok\r");
	assert_int_equal(d->event, LINE_DONE);
	desk_free(d);
}

static void test_question_mark_is_help_outside_of_quotes(void **state)
{
	struct desk *d = desk_make(80);

	type(d, "disk ?");
	assert_int_equal(d->event, LINE_HELP);
	assert_string_equal(d->line.text, "disk ");
	type(d, "\"what\\\"?");
	assert_int_equal(d->event, LINE_MORE);
	assert_string_equal(d->line.text, "disk \"what\\\"?");
	type(d, "\"?");
	assert_int_equal(d->event, LINE_HELP);
	type(d, "\t");
	assert_int_equal(d->event, LINE_COMPLETE);
	type(d, "\x15\x04");
	assert_int_equal(d->event, LINE_EOF);
	desk_free(d);
}

/* Whatever is typed, the row shows prompt and line around the cursor, and nothing is left over. */
static void test_any_keys_leave_the_screen_right(void **state)
{
	static const char *const keys[] = {
		"a", "é", "→", " ", "\x01", "\x05", "\x7f", "\x04", "\x0b", "\x15", "\x17",
		"\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B", "\x1b[3~", "\x1b[1;5D", "\x1b[1;5C", "\r",
		"\x12", "\x03", "long word that fills the row quickly", "\xff", "b", "c",
	};
	uint64_t seed = 7;

	for (unsigned columns = 20; columns < 60; columns += 13) {
		struct desk *d = desk_make(columns);

		for (unsigned i = 0; i < 20000; i++) {
			const char *end, *cursor;
			unsigned used;

			seed = seed * 6364136223846793005u + 1442695040888963407u;
			type(d, keys[(seed >> 33) % ARRAY_SIZE(keys)]);
			assert_true(d->line.cursor <= d->line.len);
			assert_int_equal(strlen(d->line.text), d->line.len);
			if (d->line.searching)
				continue;
			end = d->line.text + d->line.first;
			cursor = d->line.text + d->line.cursor;
			used = (unsigned)strlen(d->line.prompt);
			assert_memory_equal(screen_row(&d->screen), d->line.prompt, used - 1);
			for (unsigned at = used; at + 1 < columns; at++) {
				size_t n = *end ? 1 : 0;

				while (*end && ((unsigned char)end[n] & 0xc0) == 0x80)
					n++;
				if (end == cursor)
					assert_int_equal(d->screen.cursor, at);
				cursor = end == cursor ? NULL : cursor;
				if (n == 0)
					assert_string_equal(d->screen.cell[at], " ");
				else
					assert_memory_equal(d->screen.cell[at], end, n);
				end += n;
			}
		}
		desk_free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_editing),
		cmocka_unit_test(test_long_lines_scroll_and_never_wrap),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_output_around_the_line),
		cmocka_unit_test(test_too_long_a_line_is_refused_as_a_whole),
		cmocka_unit_test(test_question_mark_is_help_outside_of_quotes),
		cmocka_unit_test(test_any_keys_leave_the_screen_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
