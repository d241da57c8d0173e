/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Splits a command line into words: separated by blanks, `"…"` keeps blanks together (with \" and
 * \\ inside), `|` stands alone, `#` at the start of a word begins a comment. Total: every sequence
 * of bytes gives words or -E2BIG, and an open quote ends with the line (words->open tells).
 */
#include "core/cmd_priv.h"

#include <errno.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

/* One word from line[*pos]; writes its text, NUL-terminated, at *out. */
static void word_take(const char *line, size_t len, size_t *pos, char **out, struct cmd_word *w,
		      bool *open)
{
	size_t i = *pos;
	char *o = *out;
	bool quotes = false;

	*w = (struct cmd_word){ .text = o, .start = i };
	for (; i < len; i++) {
		char c = line[i];

		if (c == '"') {
			quotes = !quotes;
			w->quoted = true;
			continue;
		}
		if (!quotes && (is_blank(c) || c == '|'))
			break;
		if (quotes && c == '\\' && i + 1 < len &&
		    (line[i + 1] == '"' || line[i + 1] == '\\'))
			c = line[++i];
		else if (!quotes && c == '=' && !w->value)
			w->value = o + 1;
		*o++ = c;
	}
	*o++ = '\0';
	w->end = i;
	*open = quotes;
	*pos = i;
	*out = o;
}

int cmd_words_split(const char *line, size_t len, struct cmd_words *words)
{
	char *out = words->text;
	size_t pos = 0;

	words->count = 0;
	words->open = words->comment = false;
	if (len >= CMD_LINE_BYTES)
		return -E2BIG;
	for (;;) {
		struct cmd_word *w;

		while (pos < len && is_blank(line[pos]))
			pos++;
		if (pos == len)
			return 0;
		if (line[pos] == '#') {
			words->comment = true;
			return 0;
		}
		if (words->count == CMD_WORDS_MAX)
			return -E2BIG;
		w = &words->word[words->count++];
		if (line[pos] == '|') {
			*w = (struct cmd_word){ .text = out, .start = pos, .end = pos + 1,
						.pipe = true };
			*out++ = '|';
			*out++ = '\0';
			pos++;
			continue;
		}
		word_take(line, len, &pos, &out, w, &words->open);
	}
}

const char *cmd_quote(const char *text, char *buf, size_t buf_bytes)
{
	bool plain = text[0] != '\0' && text[0] != '#';
	size_t n = 0;

	if (buf_bytes == 0)
		return buf;
	for (const char *p = text; *p; p++)
		plain = plain && !is_blank(*p) && *p != '"' && *p != '|' && *p != '=';
	if (!plain && n + 1 < buf_bytes)
		buf[n++] = '"';
	for (const char *p = text; *p && n + 3 < buf_bytes; p++) {
		if (!plain && (*p == '"' || *p == '\\'))
			buf[n++] = '\\';
		buf[n++] = *p;
	}
	if (!plain && n + 1 < buf_bytes)
		buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}
