/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command registry and the run of one line: words → command → filters → arguments → consent
 * (rescue mode, destructive commands) → handler → end of output. Everything on reactor 0; several
 * lines may be under way at once, each in its own task, and share nothing but the tables.
 */
#include "core/cmd_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/config.h"

enum { CONFIRM_US = 60 * 1000000, CANDIDATES_BYTES = 256 };

const struct cmd *cmd_tables[CMD_TABLES_MAX] = { cmd_help_table };
unsigned cmd_table_count = 1;

/* ---- registry ---- */

void cmd_register(const struct cmd *table)
{
	for (unsigned i = 0; i < cmd_table_count; i++)
		if (cmd_tables[i] == table)
			return;
	for (const struct cmd *c = table; c->noun; c++) {
		ASSERT_MSG(c->run && c->help, "cmd: %s lacks its handler or help", c->noun);
		ASSERT_MSG(cmd_args_count(c) <= CMD_ARGS_MAX, "cmd: %s: too many arguments",
			   c->noun);
		for (const struct cmd_arg *a = c->args; a && a->name; a++)
			ASSERT_MSG(a->type != CMD_CHOICE || a->choices, "cmd: %s: %s has no "
				   "choices", c->noun, a->name);
	}
	ASSERT_MSG(cmd_table_count < CMD_TABLES_MAX, "cmd: too many tables");
	cmd_tables[cmd_table_count++] = table;
}

const struct cmd *cmd_next(struct cmd_iter *it)
{
	for (; it->table < cmd_table_count; it->table++, it->index = 0) {
		const struct cmd *c = &cmd_tables[it->table][it->index];

		if (c->noun) {
			it->index++;
			return c;
		}
	}
	return NULL;
}

bool cmd_first_of_noun(const struct cmd *cmd)
{
	struct cmd_iter it = { 0 };
	const struct cmd *c;

	while ((c = cmd_next(&it)) && c != cmd)
		if (strcmp(c->noun, cmd->noun) == 0)
			return false;
	return true;
}

void cmd_title(const struct cmd *cmd, char *buf, size_t buf_bytes)
{
	snprintf(buf, buf_bytes, "%s%s%s", cmd->noun, cmd->verb ? " " : "",
		 cmd->verb ? cmd->verb : "");
}

/* ---- finding ---- */

/* One of the words that are possible at a place: the choice so far. */
struct pick {
	const char *typed;
	bool exact;             /* no abbreviations */
	const char *found;      /* the word that it means */
	size_t found_len;
	bool whole;             /* found is typed in full */
	unsigned begun;         /* different words that begin with it */
	const char *nearest;
	size_t nearest_len;
	unsigned distance;
	char candidates[CANDIDATES_BYTES];
};

/* Whether NAME is in a text of names with ", " between them. */
static bool listed(const char *names, const char *name)
{
	size_t len = strlen(name);

	while (*names) {
		size_t n = strcspn(names, ",");

		if (n == len && strncmp(names, name, n) == 0)
			return true;
		names += n;
		names += strspn(names, ", ");
	}
	return false;
}

static bool word_is(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && strncmp(a, b, a_len) == 0;
}

/* Considers the word NAME[0..len); the same word may come several times. */
static void pick_consider(struct pick *p, const char *name, size_t len)
{
	size_t typed = strlen(p->typed), n = strlen(p->candidates);
	char copy[CMD_COLUMN_BYTES];
	unsigned d;

	snprintf(copy, sizeof(copy), "%.*s", (int)len, name);
	d = cmd_distance(copy, p->typed);
	if (d < p->distance && d < len) {
		p->distance = d;
		p->nearest = name;
		p->nearest_len = len;
	}
	if (typed > len || strncmp(name, p->typed, typed) != 0 || p->whole)
		return;
	if (typed == len) {
		p->whole = true;
		p->begun = 1;
	} else if (listed(p->candidates, copy)) {
		return;
	} else {
		p->begun++;
		snprintf(p->candidates + n, sizeof(p->candidates) - n, "%s%s", n ? ", " : "",
			 copy);
	}
	p->found = name;
	p->found_len = len;
}

/* 0: p->found is the word. */
static int pick_judge(struct cmd_ctx *ctx, struct pick *p, const char *object, const char *kind,
		      const char *help)
{
	if (p->whole || (p->begun == 1 && !p->exact))
		return 0;
	if (!ctx)
		return -EINVAL;
	if (p->begun > 1 && !p->exact)
		return cmd_fail(ctx, -EINVAL, "%s: ambiguous; it may be %s", p->typed,
				p->candidates);
	if (p->begun == 1)
		return cmd_fail(ctx, -EINVAL, "%s%s: abbreviated; a script writes %.*s in full",
				object, p->typed, (int)p->found_len, p->found);
	if (p->nearest && p->distance <= 2)
		return cmd_fail(ctx, -EINVAL, "%s%s: no such %s; did you mean %.*s?", object,
				p->typed, kind, (int)p->nearest_len, p->nearest);
	return cmd_fail(ctx, -EINVAL, "%s%s: no such %s; see `%s`", object, p->typed, kind, help);
}

static int find_noun(struct cmd_ctx *ctx, const char *typed, bool exact, const char **noun)
{
	struct pick p = { .typed = typed, .exact = exact, .distance = 99 };
	struct cmd_iter it = { 0 };
	const struct cmd *c;
	int rc;

	while ((c = cmd_next(&it)))
		if (cmd_first_of_noun(c))
			pick_consider(&p, c->noun, strlen(c->noun));
	rc = pick_judge(ctx, &p, "", "command", "help");
	*noun = p.found;
	return rc;
}

/* The LEVELth word of a verb ("create ram": 0 create, 1 ram), NULL: none. */
static const char *verb_word(const char *verb, unsigned level, size_t *len)
{
	const char *space = verb ? strchr(verb, ' ') : NULL;

	if (!verb || (level == 1 && !space))
		return NULL;
	if (level == 1) {
		*len = strlen(space + 1);
		return space + 1;
	}
	*len = space ? (size_t)(space - verb) : strlen(verb);
	return verb;
}

/* Picks level LEVEL among the commands of NOUN whose first verb word is FIRST (NULL: any). */
static void pick_verbs(struct pick *p, const char *noun, const char *first, size_t first_len,
		       unsigned level, const struct cmd **alone)
{
	struct cmd_iter it = { 0 };
	const struct cmd *c;
	size_t len;

	*alone = NULL;
	while ((c = cmd_next(&it))) {
		const char *w;

		if (strcmp(c->noun, noun) != 0)
			continue;
		if (first) {
			w = verb_word(c->verb, 0, &len);
			if (!w || !word_is(w, len, first, first_len))
				continue;
		}
		w = verb_word(c->verb, level, &len);
		if (!w)
			*alone = c;
		else
			pick_consider(p, w, len);
	}
}

static const struct cmd *command_of(const char *noun, const char *first, size_t first_len,
				    const char *second, size_t second_len)
{
	struct cmd_iter it = { 0 };
	const struct cmd *c;
	size_t len = 0;

	while ((c = cmd_next(&it))) {
		const char *w = verb_word(c->verb, 0, &len);

		if (strcmp(c->noun, noun) != 0 || !w || !word_is(w, len, first, first_len))
			continue;
		w = verb_word(c->verb, 1, &len);
		if (w && word_is(w, len, second, second_len))
			return c;
	}
	return NULL;
}

static int fail_verb_missing(struct cmd_ctx *ctx, const char *object)
{
	return ctx ? cmd_fail(ctx, -EINVAL, "%s: what to do is missing; see `help %s`", object,
			      object) : -EINVAL;
}

int cmd_find(struct cmd_ctx *ctx, const struct cmd_words *words, bool exact,
	     const struct cmd **found, unsigned *used)
{
	const struct cmd_word *w = words->word;
	char object[CMD_COLUMN_BYTES * 2], help[CMD_COLUMN_BYTES * 3];
	struct pick first = { .exact = exact, .distance = 99 }, second = first;
	const char *noun;
	int rc;

	rc = find_noun(ctx, w[0].text, exact, &noun);
	if (rc != 0)
		return rc;
	first.typed = words->count > 1 && !w[1].pipe && !w[1].quoted ? w[1].text : "";
	*used = 1;
	pick_verbs(&first, noun, NULL, 0, 0, found);
	if (*found && !first.whole)
		return 0;
	if (first.typed[0] == '\0')
		return fail_verb_missing(ctx, noun);
	snprintf(object, sizeof(object), "%s ", noun);
	snprintf(help, sizeof(help), "help %s", noun);
	rc = pick_judge(ctx, &first, object, "verb", help);
	if (rc != 0)
		return rc;
	*used = 2;
	second.typed = words->count > 2 && !w[2].pipe && !w[2].quoted ? w[2].text : "";
	pick_verbs(&second, noun, first.found, first.found_len, 1, found);
	if (*found && !second.whole)
		return 0;
	snprintf(object, sizeof(object), "%s %.*s", noun, (int)first.found_len, first.found);
	if (second.typed[0] == '\0')
		return fail_verb_missing(ctx, object);
	snprintf(help, sizeof(help), "help %s", object);
	snprintf(object, sizeof(object), "%s %.*s ", noun, (int)first.found_len, first.found);
	rc = pick_judge(ctx, &second, object, "kind", help);
	if (rc != 0)
		return rc;
	*used = 3;
	*found = command_of(noun, first.found, first.found_len, second.found, second.found_len);
	return 0;
}

/* ---- filters ---- */

static int filters_take(struct cmd_ctx *ctx, unsigned i)
{
	const struct cmd_words *words = &ctx->words;

	while (i < words->count) {
		const char *name = i + 1 < words->count ? words->word[i + 1].text : "";

		if (strcmp(name, "json") == 0) {
			ctx->json = true;
		} else if (strcmp(name, "count") == 0) {
			ctx->count = true;
		} else if (strcmp(name, "match") == 0) {
			if (i + 2 >= words->count || words->word[i + 2].pipe || ctx->match)
				return cmd_fail(ctx, -EINVAL, "| match: wants one text; write "
						"| match TEXT");
			ctx->match = words->word[i + 2].text;
			i++;
		} else {
			return cmd_fail(ctx, -EINVAL, "| %s: no such filter; take json, match TEXT "
					"or count", name);
		}
		i += 2;
		if (i < words->count && !words->word[i].pipe)
			return cmd_fail(ctx, -EINVAL, "%s: unexpected word after | %s; leave it "
					"out", words->word[i].text, name);
	}
	return 0;
}

/* ---- consent ---- */

static bool rescue_allows(const struct cmd *cmd)
{
	const char *last = cmd->verb ? strrchr(cmd->verb, ' ') : NULL;

	last = last ? last + 1 : cmd->verb;
	return (cmd->flags & CMD_RESCUE) ||
	       (last && (strcmp(last, "list") == 0 || strcmp(last, "show") == 0));
}

/* Reads a line from the keys, echoing it. -ECANCELED at Ctrl-C or when nobody answers. */
static int answer_read(struct cmd_ctx *ctx, char *buf, size_t buf_bytes)
{
	size_t n = 0;
	bool over = false;

	for (;;) {
		int key = cmd_key(ctx, CONFIRM_US);

		if (key < 0 || key == 3 || key == 4)
			return -ECANCELED;
		if (key == '\r' || key == '\n')
			break;
		if ((key == 0x7f || key == 8) && n > 0) {
			n--;
			cmd_raw(ctx, "\b \b", 3);
		} else if (key >= 0x20 && key < 0x7f && n + 1 < buf_bytes) {
			char c = (char)key;

			buf[n++] = c;
			cmd_raw(ctx, &c, 1);
		} else {
			over = true;
		}
	}
	cmd_raw(ctx, "\n", 1);
	buf[n] = '\0';
	return over ? -ECANCELED : 0;
}

int cmd_confirm(struct cmd_ctx *ctx, const char *name, const char *what)
{
	char answer[CMD_NAME_MAX + 1], text[CMD_ERROR_BYTES];

	if (cmd_has(ctx, "force"))
		return 0;
	if (!cmd_interactive(ctx))
		return cmd_fail(ctx, -EPERM, "%s: %s; add force if that is wanted", name, what);
	snprintf(text, sizeof(text), "%s: %s. Type %s to go on: ", name, what, name);
	cmd_raw(ctx, text, strlen(text));
	if (answer_read(ctx, answer, sizeof(answer)) != 0 || strcmp(answer, name) != 0)
		return cmd_fail(ctx, -ECANCELED, "%s: not confirmed, nothing was done; type the "
				"name exactly, or add force", name);
	return 0;
}

static int consent(struct cmd_ctx *ctx)
{
	char title[CMD_COLUMN_BYTES * 3];
	const char *name = NULL;

	cmd_title(ctx->cmd, title, sizeof(title));
	if (karst_run.rescue && !rescue_allows(ctx->cmd))
		return cmd_fail(ctx, -EPERM, "%s: not in rescue mode; boot normally for it", title);
	if (!(ctx->cmd->flags & CMD_DESTRUCTIVE))
		return 0;
	for (const struct cmd_arg *a = ctx->cmd->args; a && a->name && !name; a++)
		if (!a->keyed && a->type != CMD_FLAG)
			name = ctx->value[a - ctx->cmd->args].text;
	return cmd_confirm(ctx, name ? name : title, "its data will be lost");
}

/* ---- running ---- */

static int run_words(struct cmd_ctx *ctx)
{
	unsigned used, pipe;
	int rc;

	if (ctx->words.open)
		return cmd_fail(ctx, -EINVAL, "quotes: not closed; end the text with \"");
	if (ctx->words.word[0].pipe)
		return cmd_fail(ctx, -EINVAL, "|: a command is missing before it; see `help`");
	for (pipe = 1; pipe < ctx->words.count && !ctx->words.word[pipe].pipe; pipe++)
		;
	rc = filters_take(ctx, pipe);
	if (rc == 0)
		rc = cmd_find(ctx, &ctx->words, ctx->out->exact, &ctx->cmd, &used);
	if (rc != 0)
		return rc;
	ctx->args_from = used;
	ctx->args_to = pipe;
	rc = cmd_args_bind(ctx);
	if (rc == 0)
		rc = consent(ctx);
	if (rc != 0)
		return rc;
	ctx->out->live = (ctx->cmd->flags & CMD_LIVE) && cmd_interactive(ctx);
	return ctx->cmd->run(ctx);
}

int cmd_run_at(const char *line, struct cmd_out *out, const char *where)
{
	struct cmd_ctx *ctx = calloc(1, sizeof(*ctx));
	int rc;

	if (!ctx) {
		static const char text[] = "error: console: no memory for a command; try again\n";

		out->write(out, text, sizeof(text) - 1);
		return -ENOMEM;
	}
	ctx->out = out;
	ctx->json = out->json;
	ctx->where = where;
	if (cmd_words_split(line, strnlen(line, CMD_LINE_BYTES), &ctx->words) != 0)
		rc = cmd_fail(ctx, -E2BIG, "line: longer than %d bytes or %d words; make it "
			      "shorter", CMD_LINE_BYTES - 1, CMD_WORDS_MAX);
	else if (ctx->words.count == 0)
		goto out;
	else
		rc = run_words(ctx);
	if (rc != 0 && ctx->rc == 0)
		cmd_fail(ctx, rc, "%s: %s; see `log show`", ctx->words.word[0].text, strerror(-rc));
	cmd_print_end(ctx);
out:
	rc = ctx->rc;
	out->live = false;
	cmd_print_free(ctx);
	free(ctx);
	return rc;
}

int cmd_run(const char *line, struct cmd_out *out)
{
	return cmd_run_at(line, out, NULL);
}

int cmd_fail(struct cmd_ctx *ctx, int rc, const char *fmt, ...)
{
	va_list ap;

	ASSERT_MSG(rc < 0, "cmd: a failure with rc %d", rc);
	va_start(ap, fmt);
	vsnprintf(ctx->error, sizeof(ctx->error), fmt, ap);
	va_end(ap);
	ctx->rc = rc;
	return rc;
}

/* ---- the terminal of live commands ---- */

void cmd_raw(struct cmd_ctx *ctx, const char *bytes, size_t len)
{
	if (ctx->out->key && !ctx->json)
		ctx->out->write(ctx->out, bytes, len);
}

int cmd_key(struct cmd_ctx *ctx, uint64_t us)
{
	return ctx->out->key ? ctx->out->key(ctx->out, us) : -EPIPE;
}

void cmd_terminal_size(struct cmd_ctx *ctx, unsigned *columns, unsigned *rows)
{
	*columns = ctx->out->columns ? ctx->out->columns : 80;
	*rows = ctx->out->rows ? ctx->out->rows : 24;
}
