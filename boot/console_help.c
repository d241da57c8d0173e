/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TAB and `?` at the prompt: both ask core/cmd_complete.c what may stand at the cursor. TAB types
 * what is certain and lists the rest; `?` lists with help and types nothing.
 */
#include "boot/console.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"

enum { OFFERS_MAX = 256, OFFER_BYTES = 240, HELP_BYTES = 160, HELP_COLUMN = 20 };

struct offer {
	char text[OFFER_BYTES];
	char help[HELP_BYTES];
	bool hint;                      /* what goes here, not a candidate */
};

struct offers {
	struct offer *offer;
	unsigned count, hints;
};

static void offer_take(void *arg, const char *candidate, const char *help)
{
	struct offers *o = arg;
	struct offer *f;

	for (unsigned i = 0; candidate && i < o->count; i++)
		if (!o->offer[i].hint && strcmp(o->offer[i].text, candidate) == 0)
			return;
	if (o->count == OFFERS_MAX)
		return;
	f = &o->offer[o->count++];
	f->hint = !candidate;
	o->hints += f->hint;
	snprintf(f->text, sizeof(f->text), "%s", candidate ? candidate : "");
	snprintf(f->help, sizeof(f->help), "%s", help ? help : "");
}

/* How many bytes all candidates begin with alike. */
static size_t alike(const struct offers *o)
{
	const char *first = NULL;
	size_t n = 0;

	for (unsigned i = 0; i < o->count; i++) {
		size_t m = 0;

		if (o->offer[i].hint)
			continue;
		if (!first) {
			first = o->offer[i].text;
			n = strlen(first);
			continue;
		}
		while (m < n && first[m] == o->offer[i].text[m])
			m++;
		n = m;
	}
	while (first && n > 0 && ((unsigned char)first[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static void list_with_help(struct console_session *s, const struct offers *o)
{
	for (unsigned i = 0; i < o->count; i++) {
		const struct offer *f = &o->offer[i];
		char text[OFFER_BYTES + HELP_BYTES + 16];

		if (f->hint)
			snprintf(text, sizeof(text), "  %s\n", f->help);
		else
			snprintf(text, sizeof(text), "  %-*s%s\n", HELP_COLUMN, f->text, f->help);
		session_write(s, text, strlen(text));
	}
	if (o->count == 0)
		session_write(s, "  nothing more: press Enter\n", 28);
}

static void list_in_columns(struct console_session *s, const struct offers *o)
{
	unsigned columns = s->line.columns ? s->line.columns : 80, widest = 0, per_row, n = 0;

	for (unsigned i = 0; i < o->count; i++)
		widest = MAX(widest, (unsigned)strlen(o->offer[i].text));
	per_row = MAX(columns / (widest + 2), 1u);
	for (unsigned i = 0; i < o->count; i++) {
		char text[OFFER_BYTES + 4];

		if (o->offer[i].hint)
			continue;
		n++;
		snprintf(text, sizeof(text), "%-*s%s", (int)widest, o->offer[i].text,
			 n % per_row == 0 ? "\n" : "  ");
		session_write(s, text, strlen(text));
	}
	if (n % per_row != 0)
		session_write(s, "\n", 1);
}

static void type_certain(struct console_session *s, const struct offers *o, size_t word)
{
	char text[OFFER_BYTES + 1];
	size_t n = alike(o);
	const struct offer *f = o->offer;

	while (f->hint)
		f++;
	snprintf(text, sizeof(text), "%.*s", (int)n, f->text);
	if (o->count == 1 && n > 0 && n == strlen(f->text) && text[n - 1] != '=' &&
	    text[n - 1] != '/')
		snprintf(text + n, sizeof(text) - n, " ");
	if (strlen(text) > word || o->count == 1) {
		line_replace(&s->line, word, text);
		return;
	}
	line_leave(&s->line);
	list_in_columns(s, o);
	line_show(&s->line);
}

void session_complete(struct console_session *s, bool help)
{
	struct offers o = { .offer = calloc(OFFERS_MAX, sizeof(struct offer)) };
	size_t word;

	if (!o.offer)
		return;
	word = cmd_complete_line(s->line.text, s->line.cursor, offer_take, &o);
	if (help) {
		line_leave(&s->line);
		s->at_left = true;
		list_with_help(s, &o);
		line_show(&s->line);
	} else if (o.count > o.hints) {
		type_certain(s, &o, word);
	} else {
		session_write(s, "\a", 1);
	}
	free(o.offer);
}
