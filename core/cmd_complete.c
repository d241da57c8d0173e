/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion: what may stand at the cursor, from the same tables as the parser. The words before
 * the cursor find the command; then come its names in order, its keys, flags and filters.
 */
#include "core/cmd_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"

struct cmd_complete {
	const char *typed;      /* what the word is so far */
	const char *help;       /* of the argument */
	void (*offer)(void *arg, const char *candidate, const char *help);
	void *arg;
};

static void offer_help(struct cmd_complete *c, const char *candidate, const char *help)
{
	char quoted[CMD_NAME_MAX * 2];

	if (strncmp(candidate, c->typed, strlen(c->typed)) != 0)
		return;
	/* "key=" and "a/b" need no quotes; blanks in a name do */
	if (strpbrk(candidate, " \t\"|#"))
		candidate = cmd_quote(candidate, quoted, sizeof(quoted));
	c->offer(c->arg, candidate, help);
}

void cmd_offer(struct cmd_complete *c, const char *candidate)
{
	offer_help(c, candidate, c->help);
}

/* ---- nouns and verbs ---- */

static void nouns_offer(struct cmd_complete *c)
{
	struct cmd_iter it = { 0 };
	const struct cmd *cmd;

	while ((cmd = cmd_next(&it)))
		if (cmd_first_of_noun(cmd))
			offer_help(c, cmd->noun, cmd->verb ? "" : cmd->help);
}

/* The word of VERB after FIRST ("" for the first word); NULL: it has none. */
static const char *verb_after(const char *verb, const char *first, size_t *len)
{
	size_t n = strlen(first);

	if (!verb)
		return NULL;
	if (n > 0) {
		if (strncmp(verb, first, n) != 0 || verb[n] != ' ')
			return NULL;
		verb += n + 1;
	}
	*len = strcspn(verb, " ");
	return verb;
}

/* Each word that may follow NOUN FIRST once. */
static void verbs_offer(struct cmd_complete *c, const char *noun, const char *first)
{
	struct cmd_iter it = { 0 };
	const struct cmd *cmd;

	while ((cmd = cmd_next(&it))) {
		struct cmd_iter before = { 0 };
		const struct cmd *other;
		const char *word, *seen;
		char name[CMD_COLUMN_BYTES];
		size_t len, seen_len;
		bool again = false;

		if (strcmp(cmd->noun, noun) != 0)
			continue;
		word = verb_after(cmd->verb, first, &len);
		if (!word)
			continue;
		while (!again && (other = cmd_next(&before)) && other != cmd) {
			if (strcmp(other->noun, noun) != 0)
				continue;
			seen = verb_after(other->verb, first, &seen_len);
			again = seen && seen_len == len && strncmp(seen, word, len) == 0;
		}
		if (again)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)len, word);
		offer_help(c, name, word[len] == '\0' ? cmd->help : "");
	}
}

/* The one noun that TYPED means, NULL. */
static const char *noun_of(const char *typed)
{
	struct cmd_iter it = { 0 };
	const struct cmd *c;
	const char *found = NULL;
	unsigned begun = 0;

	while ((c = cmd_next(&it))) {
		if (strcmp(c->noun, typed) == 0)
			return c->noun;
		if (!cmd_first_of_noun(c) || strncmp(c->noun, typed, strlen(typed)) != 0)
			continue;
		found = c->noun;
		begun++;
	}
	return begun == 1 ? found : NULL;
}

/* The one first verb word of NOUN that TYPED means; "" when none. */
static void first_verb_of(const char *noun, const char *typed, char buf[CMD_COLUMN_BYTES])
{
	struct cmd_iter it = { 0 };
	const struct cmd *c;
	char found[CMD_COLUMN_BYTES] = "";
	size_t len, typed_len = strlen(typed);
	bool several = false;

	buf[0] = '\0';
	while ((c = cmd_next(&it))) {
		const char *w = strcmp(c->noun, noun) == 0 ? verb_after(c->verb, "", &len) : NULL;

		if (!w || len < typed_len || strncmp(w, typed, typed_len) != 0)
			continue;
		if (len == typed_len) {
			snprintf(buf, CMD_COLUMN_BYTES, "%s", typed);
			return;
		}
		several = several || (found[0] && (strlen(found) != len ||
						   strncmp(found, w, len) != 0));
		snprintf(found, sizeof(found), "%.*s", (int)len, w);
	}
	if (!several)
		snprintf(buf, CMD_COLUMN_BYTES, "%s", found);
}

/* ---- arguments ---- */

static void value_offer(struct cmd_complete *c, const struct cmd_arg *a)
{
	static const char *const bool_words[] = { "on", "off", NULL };
	const char *const *choices = a->type == CMD_CHOICE ? a->choices :
				     a->type == CMD_BOOL ? bool_words : NULL;
	char help[256];

	c->help = a->help ? a->help : "";
	if (a->complete) {
		a->complete(c);
		return;
	}
	for (; choices && *choices; choices++)
		offer_help(c, *choices, c->help);
	if (a->type == CMD_CHOICE || a->type == CMD_BOOL)
		return;
	snprintf(help, sizeof(help), "%s  %s",
		 a->keyed ? cmd_type_name(a->type) : a->name, c->help);
	c->offer(c->arg, NULL, help);
}

static void args_offer(struct cmd_complete *c, const struct cmd *cmd,
		       const struct cmd_words *words, unsigned from, unsigned last)
{
	bool given[CMD_ARGS_MAX] = { false };
	const struct cmd_arg *next = NULL;
	unsigned bare = 0;

	for (unsigned i = from; i < last; i++) {
		const struct cmd_word *w = &words->word[i];
		bool known = false;

		for (unsigned j = 0; j < cmd_args_count(cmd); j++) {
			const struct cmd_arg *a = &cmd->args[j];
			size_t len = w->value ? (size_t)(w->value - 1 - w->text) : strlen(w->text);

			if ((w->value ? a->keyed : a->type == CMD_FLAG) &&
			    strlen(a->name) == len && strncmp(a->name, w->text, len) == 0)
				given[j] = known = true;
		}
		bare += !known && !w->value;
	}
	for (unsigned j = 0; j < cmd_args_count(cmd); j++) {
		const struct cmd_arg *a = &cmd->args[j];

		if (a->keyed || a->type == CMD_FLAG)
			continue;
		if (bare == 0) {
			next = a;
			break;
		}
		bare--;
	}
	if (next)
		value_offer(c, next);
	for (unsigned j = 0; j < cmd_args_count(cmd) && !(next && next->required); j++) {
		const struct cmd_arg *a = &cmd->args[j];
		char key[CMD_COLUMN_BYTES + 1];

		if (given[j] || (!a->keyed && a->type != CMD_FLAG))
			continue;
		snprintf(key, sizeof(key), "%s%s", a->name, a->keyed ? "=" : "");
		offer_help(c, key, a->help ? a->help : "");
	}
}

/* A word `key=…`: the key's values. */
static void key_value_offer(struct cmd_complete *c, const struct cmd *cmd, const struct cmd_word *w)
{
	size_t len = (size_t)(w->value - 1 - w->text);

	for (const struct cmd_arg *a = cmd->args; a && a->name; a++) {
		if (!a->keyed || strncmp(a->name, w->text, len) != 0)
			continue;
		c->typed = w->value;
		value_offer(c, a);
		return;
	}
}

/* ---- the line ---- */

static void filter_offer(struct cmd_complete *c)
{
	offer_help(c, "json", "rows as JSON");
	offer_help(c, "match", "only rows that have a text");
	offer_help(c, "count", "how many rows");
}

/* What may stand as word LAST, which is C->typed so far. */
static void word_offer(struct cmd_complete *c, const struct cmd_words *words, unsigned last)
{
	const struct cmd_word *w = &words->word[last];
	char first[CMD_COLUMN_BYTES] = "";
	const struct cmd *cmd;
	const char *noun;
	unsigned used;

	for (unsigned i = last; i-- > 0; )
		if (words->word[i].pipe) {
			if (i + 1 == last)
				filter_offer(c);
			return;
		}
	if (last == 0) {
		nouns_offer(c);
		return;
	}
	noun = noun_of(words->word[0].text);
	if (!noun)
		return;
	if (last == 1)
		verbs_offer(c, noun, "");
	if (last > 1)
		first_verb_of(noun, words->word[1].text, first);
	if (last == 2 && first[0])
		verbs_offer(c, noun, first);
	if (cmd_find(NULL, words, false, &cmd, &used) != 0 || used > last)
		return;
	if (w->value)
		key_value_offer(c, cmd, w);
	else
		args_offer(c, cmd, words, used, last);
}

size_t cmd_complete_line(const char *line, size_t cursor,
			 void (*offer)(void *arg, const char *candidate, const char *help),
			 void *arg)
{
	struct cmd_complete c = { .help = "", .offer = offer, .arg = arg };
	struct cmd_words *words = calloc(1, sizeof(*words));
	struct cmd_word *w;
	size_t replace = 0;
	unsigned last;

	cursor = strnlen(line, cursor);
	if (!words)
		return 0;
	if (cmd_words_split(line, cursor, words) != 0 || words->comment)
		goto out;
	last = words->count;
	if (last > 0 && words->word[last - 1].end == cursor && !words->word[last - 1].pipe)
		last--;
	if (last == CMD_WORDS_MAX)
		goto out;
	w = &words->word[last];
	if (last == words->count)
		*w = (struct cmd_word){ .text = "", .start = cursor, .end = cursor };
	words->count = last + 1;
	c.typed = w->text;
	replace = w->end - w->start;
	if (w->value)
		replace = w->quoted ? replace - (size_t)(w->value - w->text) : strlen(w->value);
	word_offer(&c, words, last);
out:
	free(words);
	return replace;
}
