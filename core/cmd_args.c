/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words to arguments. A word with an unquoted '=' is a key; a bare word fills the next required
 * positional argument, else it is a flag, else it fills an optional positional one: so that an
 * object may be named like a flag.
 */
#include "core/cmd_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/panic.h"

unsigned cmd_args_count(const struct cmd *cmd)
{
	unsigned n = 0;

	while (cmd->args && cmd->args[n].name)
		n++;
	return n;
}

static bool is_positional(const struct cmd_arg *arg)
{
	return !arg->keyed && arg->type != CMD_FLAG;
}

/* The key or flag NAME[0..len), by its whole name or, when allowed, the only one that it begins. */
static const struct cmd_arg *arg_by_name(const struct cmd *cmd, const char *name, size_t len,
					 bool flag, bool exact)
{
	const struct cmd_arg *found = NULL;
	unsigned begun = 0;

	for (const struct cmd_arg *a = cmd->args; a && a->name; a++) {
		if (is_positional(a) || (a->type == CMD_FLAG) != flag)
			continue;
		if (strncmp(a->name, name, len) != 0)
			continue;
		if (a->name[len] == '\0')
			return a;
		found = a;
		begun++;
	}
	return !exact && begun == 1 && len > 0 ? found : NULL;
}

static int fail_word(struct cmd_ctx *ctx, const char *word, const char *what)
{
	const struct cmd_arg *best = NULL;
	unsigned best_distance = 4;
	size_t n;
	char hint[256];

	for (const struct cmd_arg *a = ctx->cmd->args; a && a->name; a++) {
		unsigned d = cmd_distance(a->name, word);

		if (is_positional(a) || d >= best_distance || d >= strlen(a->name))
			continue;
		best = a;
		best_distance = d;
	}
	if (best)
		return cmd_fail(ctx, -EINVAL, "%s: %s; did you mean %s%s?", word, what, best->name,
				best->type == CMD_FLAG ? "" : "=");
	n = 0;
	hint[0] = '\0';
	for (const struct cmd_arg *a = ctx->cmd->args; a && a->name && n < sizeof(hint); a++)
		if (!is_positional(a))
			n += (size_t)snprintf(hint + n, sizeof(hint) - n, "%s%s%s", n ? ", " : "",
					      a->name, a->type == CMD_FLAG ? "" : "=");
	if (n == 0)
		return cmd_fail(ctx, -EINVAL, "%s: %s; leave it out", word, what);
	return cmd_fail(ctx, -EINVAL, "%s: %s; it takes %s", word, what, hint);
}

static int value_set(struct cmd_ctx *ctx, const struct cmd_arg *arg, const char *text)
{
	struct cmd_value *v = &ctx->value[arg - ctx->cmd->args];
	char why[CMD_ERROR_BYTES / 2];
	int rc;

	if (v->text)
		return cmd_fail(ctx, -EINVAL, "%s: given twice; give it once", arg->name);
	rc = cmd_value_parse(arg, text, v, why, sizeof(why));
	if (rc == 0)
		return 0;
	if (arg->keyed)
		return cmd_fail(ctx, rc, "%s=%.64s: %s", arg->name, text, why);
	return cmd_fail(ctx, rc, "%.64s (%s): %s", text[0] ? text : "\"\"", arg->name, why);
}

static int key_bind(struct cmd_ctx *ctx, const struct cmd_word *w)
{
	size_t len = (size_t)(w->value - 1 - w->text);
	const struct cmd_arg *arg = arg_by_name(ctx->cmd, w->text, len, false, ctx->out->exact);
	char key[CMD_COLUMN_BYTES];

	if (arg)
		return value_set(ctx, arg, w->value);
	snprintf(key, sizeof(key), "%.*s", (int)len, w->text);
	return fail_word(ctx, key, "no such key here");
}

static int bare_bind(struct cmd_ctx *ctx, const struct cmd_word *w)
{
	const struct cmd_arg *required = NULL, *optional = NULL, *flag = NULL;

	for (const struct cmd_arg *a = ctx->cmd->args; a && a->name; a++) {
		if (!is_positional(a) || ctx->value[a - ctx->cmd->args].text)
			continue;
		if (a->required && !required)
			required = a;
		if (!a->required && !optional)
			optional = a;
	}
	if (required)
		return value_set(ctx, required, w->text);
	if (!w->quoted) {
		flag = arg_by_name(ctx->cmd, w->text, strlen(w->text), true,
				   ctx->out->exact || optional);
		if (flag)
			return value_set(ctx, flag, w->text);
		if ((ctx->cmd->flags & CMD_DESTRUCTIVE) && strcmp(w->text, "force") == 0) {
			ctx->force = true;
			return 0;
		}
	}
	if (optional)
		return value_set(ctx, optional, w->text);
	return fail_word(ctx, w->text, "unexpected word");
}

int cmd_args_bind(struct cmd_ctx *ctx)
{
	char title[CMD_COLUMN_BYTES * 3];
	int rc;

	for (unsigned i = ctx->args_from; i < ctx->args_to; i++) {
		const struct cmd_word *w = &ctx->words.word[i];

		rc = w->value ? key_bind(ctx, w) : bare_bind(ctx, w);
		if (rc != 0)
			return rc;
	}
	cmd_title(ctx->cmd, title, sizeof(title));
	for (const struct cmd_arg *a = ctx->cmd->args; a && a->name; a++) {
		if (!a->required || ctx->value[a - ctx->cmd->args].text)
			continue;
		if (a->keyed)
			return cmd_fail(ctx, -EINVAL, "%s: %s= is missing; add %s=%s", title,
					a->name, a->name, cmd_type_name(a->type));
		return cmd_fail(ctx, -EINVAL, "%s: %s is missing; see `help %s`", title, a->name,
				title);
	}
	return 0;
}

/* ---- what handlers ask ---- */

static const struct cmd_value *value_of(struct cmd_ctx *ctx, const char *name)
{
	for (const struct cmd_arg *a = ctx->cmd->args; a && a->name; a++)
		if (strcmp(a->name, name) == 0)
			return &ctx->value[a - ctx->cmd->args];
	panic("cmd: %s %s asks for the argument %s, which it has not declared", ctx->cmd->noun,
	      ctx->cmd->verb ? ctx->cmd->verb : "", name);
}

bool cmd_has(struct cmd_ctx *ctx, const char *arg)
{
	if (ctx->force && strcmp(arg, "force") == 0)
		return true;
	if ((ctx->cmd->flags & CMD_DESTRUCTIVE) && strcmp(arg, "force") == 0) {
		for (const struct cmd_arg *a = ctx->cmd->args; a && a->name; a++)
			if (strcmp(a->name, "force") == 0)
				return value_of(ctx, arg)->text;
		return false;
	}
	return value_of(ctx, arg)->text != NULL;
}

const char *cmd_str(struct cmd_ctx *ctx, const char *arg)
{
	return value_of(ctx, arg)->text;
}

uint64_t cmd_u64(struct cmd_ctx *ctx, const char *arg, uint64_t dflt)
{
	const struct cmd_value *v = value_of(ctx, arg);

	return v->text ? v->u64 : dflt;
}

const struct net_addr *cmd_addr(struct cmd_ctx *ctx, const char *arg)
{
	const struct cmd_value *v = value_of(ctx, arg);

	return v->text ? &v->addr : NULL;
}

const struct uuid *cmd_uuid(struct cmd_ctx *ctx, const char *arg)
{
	const struct cmd_value *v = value_of(ctx, arg);

	return v->text ? &v->uuid : NULL;
}

bool cmd_interactive(struct cmd_ctx *ctx)
{
	return ctx->out->key && !ctx->json && !ctx->count && !ctx->match;
}

bool cmd_at_boot(struct cmd_ctx *ctx)
{
	return ctx->out->at_boot;
}
