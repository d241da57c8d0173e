/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Editing the line being typed. It is drawn with carriage return, backspace and blanks only, on one
 * row that scrolls sideways when the line is longer: so it works on every terminal, and can be
 * taken away and put back around other output at any time.
 *
 * Invariants: text is NUL-terminated UTF-8, first <= cursor <= len, both before a character, and
 * what is drawn never reaches the last column.
 */
#include "boot/console.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"

enum { COLUMNS_MIN = 20, COLUMNS_MAX = 512 };

/* ---- characters ---- */

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static unsigned cells(const char *text, size_t len)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		n += !is_continuation(text[i]);
	return n;
}

static size_t next_of(const struct line *line, size_t pos)
{
	if (pos < line->len)
		pos++;
	while (pos < line->len && is_continuation(line->text[pos]))
		pos++;
	return pos;
}

static size_t prev_of(const struct line *line, size_t pos)
{
	if (pos > 0)
		pos--;
	while (pos > 0 && is_continuation(line->text[pos]))
		pos--;
	return pos;
}

static size_t word_left(const struct line *line, size_t pos)
{
	while (pos > 0 && line->text[pos - 1] == ' ')
		pos--;
	while (pos > 0 && line->text[pos - 1] != ' ')
		pos--;
	return pos;
}

static size_t word_right(const struct line *line, size_t pos)
{
	while (pos < line->len && line->text[pos] == ' ')
		pos++;
	while (pos < line->len && line->text[pos] != ' ')
		pos++;
	return pos;
}

/* ---- drawing ---- */

static void put_times(struct line *line, char c, unsigned count)
{
	char run[64];

	memset(run, c, sizeof(run));
	for (; count > 0; count -= MIN(count, (unsigned)sizeof(run)))
		line->write(line, run, MIN(count, (unsigned)sizeof(run)));
}

static size_t prompt_text(const struct line *line, char *buf, size_t buf_bytes)
{
	if (line->searching)
		snprintf(buf, buf_bytes, "search \"%s\": ", line->pattern);
	else
		snprintf(buf, buf_bytes, "%s", line->prompt);
	return strlen(buf);
}

static unsigned columns_of(const struct line *line)
{
	return MIN(MAX(line->columns, (unsigned)COLUMNS_MIN), (unsigned)COLUMNS_MAX);
}

/* Draws all; what was there before is covered. */
static void line_draw(struct line *line)
{
	char prompt[SEARCH_BYTES + 16];
	size_t prompt_len = prompt_text(line, prompt, sizeof(prompt)), end;
	unsigned columns = columns_of(line), used, room, room_left, drawn;

	/* a long search leaves room for what it finds */
	used = MIN(cells(prompt, prompt_len), columns / 2);
	while (cells(prompt, prompt_len) > used)
		prompt_len--;
	room = room_left = columns - 1 - used;
	if (line->cursor < line->first)
		line->first = line->cursor;
	for (end = line->cursor; end > line->first && room_left > 1; room_left--)
		end = prev_of(line, end);
	/* past the edge it goes on at two thirds, not to be drawn anew for each character */
	if (end > line->first)
		for (end = line->cursor, room_left = room * 2 / 3; room_left > 0; room_left--)
			end = prev_of(line, end);
	line->first = end;
	while (end < line->len && cells(line->text + line->first, end - line->first) < room)
		end = next_of(line, end);
	drawn = used + cells(line->text + line->first, end - line->first);
	line->write(line, "\r", 1);
	line->write(line, prompt, prompt_len);
	line->write(line, line->text + line->first, end - line->first);
	if (line->drawn > drawn)
		put_times(line, ' ', line->drawn - drawn);
	put_times(line, '\b', MAX(line->drawn, drawn) - drawn +
		  cells(line->text + line->cursor, end - line->cursor));
	line->drawn = drawn;
	line->shown = true;
	line->dirty = false;
}

static void line_redraw(struct line *line)
{
	if (line->defer)
		line->dirty = true;
	else if (line->shown)
		line_draw(line);
}

void line_settle(struct line *line)
{
	if (line->shown && line->dirty)
		line_draw(line);
}

void line_show(struct line *line)
{
	line->drawn = 0;
	line_draw(line);
}

void line_hide(struct line *line)
{
	if (!line->shown)
		return;
	line->write(line, "\r", 1);
	put_times(line, ' ', line->drawn);
	line->write(line, "\r", 1);
	line->shown = false;
	line->drawn = 0;
}

void line_leave(struct line *line)
{
	size_t cursor = line->cursor;

	if (!line->shown)
		return;
	if (cursor != line->len || line->searching || line->dirty) {
		line->searching = false;
		line->cursor = line->len;
		line_draw(line);
		line->cursor = cursor;
	}
	line->write(line, "\n", 1);
	line->shown = false;
	line->drawn = 0;
}

/* ---- changing ---- */

static void bell(struct line *line)
{
	line->write(line, "\a", 1);
}

void line_insert(struct line *line, const char *text, size_t len)
{
	unsigned drawn = line->drawn + cells(text, len);

	if (line->overflow)
		return;
	if (line->len + len >= sizeof(line->text)) {
		line->overflow = true;
		bell(line);
		return;
	}
	memmove(line->text + line->cursor + len, line->text + line->cursor,
		line->len - line->cursor + 1);
	memcpy(line->text + line->cursor, text, len);
	line->len += len;
	line->cursor += len;
	/* the common case costs one character: at the end of a line that need not scroll */
	if (line->shown && !line->dirty && !line->searching && line->cursor == line->len &&
	    drawn + 1 < columns_of(line)) {
		line->write(line, text, len);
		line->drawn = drawn;
		return;
	}
	line_redraw(line);
}

static void line_cut(struct line *line, size_t from, size_t to)
{
	memmove(line->text + from, line->text + to, line->len - to + 1);
	line->len -= to - from;
	line->cursor = from;
	line->overflow = false;
	line->first = MIN(line->first, from);
	line_redraw(line);
}

void line_replace(struct line *line, size_t bytes, const char *text)
{
	size_t from = line->cursor - MIN(bytes, line->cursor);

	if (strncmp(line->text + from, text, bytes) == 0) {
		line_insert(line, text + bytes, strlen(text + bytes));
		return;
	}
	line_cut(line, from, line->cursor);
	line_insert(line, text, strlen(text));
}

static void line_set(struct line *line, const char *text)
{
	line->len = strnlen(text, sizeof(line->text) - 1);
	memcpy(line->text, text, line->len);
	line->text[line->len] = '\0';
	line->cursor = line->len;
	line->first = 0;
	line->overflow = false;
	line_redraw(line);
}

void line_reset(struct line *line)
{
	line->text[0] = '\0';
	line->len = line->cursor = line->first = 0;
	line->overflow = line->searching = line->shown = line->dirty = false;
	line->drawn = 0;
	line->back = 0;
	free(line->saved);
	line->saved = NULL;
}

static void line_move(struct line *line, size_t cursor)
{
	if (cursor == line->cursor)
		return;
	line->cursor = cursor;
	line_redraw(line);
}

/* ---- history ---- */

static void history_go(struct line *line, unsigned back)
{
	const char *text = history_at(&line->history, back);

	if (back > 0 && !text) {
		bell(line);
		return;
	}
	if (line->back == 0 && back > 0) {
		free(line->saved);
		line->saved = strdup(line->text);
	}
	line->back = back;
	line_set(line, back == 0 ? line->saved ? line->saved : "" : text);
}

static void search_go(struct line *line, unsigned from)
{
	unsigned back = history_find(&line->history, from, line->pattern);

	if (back == 0) {
		bell(line);
		line_redraw(line);
		return;
	}
	line->back = back;
	line_set(line, history_at(&line->history, back));
}

static void search_start(struct line *line)
{
	free(line->saved);
	line->saved = strdup(line->text);
	line->searching = true;
	line->pattern[0] = '\0';
	line->back = 0;
	line_redraw(line);
}

/* True: the key was the search's own. */
static bool search_key(struct line *line, const struct key *key)
{
	size_t n = strlen(line->pattern);

	switch (key->code) {
	case KEY_CHAR:
		if (n + strlen(key->text) < sizeof(line->pattern))
			memcpy(line->pattern + n, key->text, strlen(key->text) + 1);
		search_go(line, line->back > 0 ? line->back - 1 : 0);
		return true;
	case KEY_BACKSPACE:
		while (n > 0 && is_continuation(line->pattern[--n]))
			;
		line->pattern[n] = '\0';
		search_go(line, 0);
		return true;
	case KEY_SEARCH:
		search_go(line, line->back);
		return true;
	case KEY_CANCEL:
	case KEY_ESCAPE:
		line->searching = false;
		line->back = 0;
		line_set(line, line->saved ? line->saved : "");
		return true;
	default:
		line->searching = false;
		line_redraw(line);
		return false;
	}
}

/* ---- keys ---- */

static bool inside_quotes(const struct line *line)
{
	bool inside = false;

	for (size_t i = 0; i < line->cursor; i++) {
		if (inside && line->text[i] == '\\' && i + 1 < line->cursor)
			i++;
		else if (line->text[i] == '"')
			inside = !inside;
	}
	return inside;
}

static enum line_event char_key(struct line *line, const struct key *key)
{
	if (key->text[0] == '?' && !inside_quotes(line) && !line->overflow)
		return LINE_HELP;
	line_insert(line, key->text, strlen(key->text));
	return LINE_MORE;
}

static enum line_event edit_key(struct line *line, enum key_code code)
{
	size_t cursor = line->cursor;

	switch (code) {
	case KEY_BACKSPACE:
		if (cursor > 0)
			line_cut(line, prev_of(line, cursor), cursor);
		break;
	case KEY_DELETE:
		if (cursor < line->len)
			line_cut(line, cursor, next_of(line, cursor));
		break;
	case KEY_KILL_END:
		line_cut(line, cursor, line->len);
		break;
	case KEY_KILL_LINE:
		line_cut(line, 0, cursor);
		break;
	case KEY_KILL_WORD:
		line_cut(line, word_left(line, cursor), cursor);
		break;
	case KEY_LEFT:
		line_move(line, prev_of(line, cursor));
		break;
	case KEY_RIGHT:
		line_move(line, next_of(line, cursor));
		break;
	case KEY_WORD_LEFT:
		line_move(line, word_left(line, cursor));
		break;
	case KEY_WORD_RIGHT:
		line_move(line, word_right(line, cursor));
		break;
	case KEY_HOME:
		line_move(line, 0);
		break;
	case KEY_END:
		line_move(line, line->len);
		break;
	default:
		break;
	}
	return LINE_MORE;
}

enum line_event line_key(struct line *line, const struct key *key)
{
	if (line->searching && search_key(line, key))
		return LINE_MORE;
	switch (key->code) {
	case KEY_CHAR:
		return char_key(line, key);
	case KEY_ENTER:
		if (!line->overflow)
			history_add(&line->history, line->text);
		return line->overflow ? LINE_TOO_LONG : LINE_DONE;
	case KEY_CANCEL:
		return LINE_CANCEL;
	case KEY_TAB:
		return LINE_COMPLETE;
	case KEY_CLEAR:
		return LINE_CLEAR;
	case KEY_SEARCH:
		search_start(line);
		return LINE_MORE;
	case KEY_UP:
		history_go(line, line->back + 1);
		return LINE_MORE;
	case KEY_DOWN:
		if (line->back > 0)
			history_go(line, line->back - 1);
		return LINE_MORE;
	case KEY_EOF:
		if (line->len == 0)
			return LINE_EOF;
		return edit_key(line, KEY_DELETE);
	default:
		return edit_key(line, key->code);
	}
}

void line_init(struct line *line, const char *prompt, unsigned columns,
	       void (*write)(struct line *line, const char *text, size_t len))
{
	*line = (struct line){ .prompt = prompt, .columns = columns, .write = write };
}

void line_fini(struct line *line)
{
	line_reset(line);
	history_free(&line->history);
}
