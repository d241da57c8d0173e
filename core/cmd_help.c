/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `help`: made from the command tables alone, so that it cannot differ from what the parser takes.
 * `help` lists the nouns, `help NOUN` the noun's commands, `help NOUN VERB` one command with its
 * arguments.
 */
#include "core/cmd_priv.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/util.h"

enum { USAGE_BYTES = 512, HELP_WORDS = 3 };

static void usage_add(char *buf, size_t *n, const char *before, const char *text, const char *after)
{
	int rc;

	if (*n >= USAGE_BYTES)
		return;
	rc = snprintf(buf + *n, USAGE_BYTES - *n, "%s%s%s", before, text, after);
	*n += rc > 0 ? (size_t)rc : 0;
}

/* A name that the operator puts in is shown in capitals, what is typed as it stands is not. */
static void arg_name(const struct cmd_arg *a, char *buf, size_t buf_bytes)
{
	bool capitals = !a->keyed && a->type != CMD_FLAG;
	size_t n = 0;

	for (const char *p = a->name; *p && n + 1 < buf_bytes; p++)
		buf[n++] = capitals ? (char)toupper((unsigned char)*p) : *p;
	buf[n] = '\0';
}

/* "disk create ram NAME size=SIZE [block=SIZE] [force]" */
static void usage_format(const struct cmd *cmd, char buf[USAGE_BYTES])
{
	bool declares_force = false;
	size_t n;

	cmd_title(cmd, buf, USAGE_BYTES);
	n = strlen(buf);
	for (const struct cmd_arg *a = cmd->args; a && a->name; a++) {
		char text[CMD_COLUMN_BYTES * 2];

		if (a->keyed)
			snprintf(text, sizeof(text), "%s=%s", a->name, cmd_type_name(a->type));
		else
			arg_name(a, text, sizeof(text));
		usage_add(buf, &n, a->required ? " " : " [", text, a->required ? "" : "]");
		declares_force = declares_force || strcmp(a->name, "force") == 0;
	}
	if ((cmd->flags & CMD_DESTRUCTIVE) && !declares_force)
		usage_add(buf, &n, " [", "force", "]");
}

static void nouns_show(struct cmd_ctx *ctx)
{
	struct cmd_iter outer = { 0 };
	const struct cmd *c, *v;

	while ((c = cmd_next(&outer))) {
		struct cmd_iter inner = { 0 };
		char verbs[USAGE_BYTES] = "";
		size_t n = 0;

		if (!cmd_first_of_noun(c))
			continue;
		while ((v = cmd_next(&inner)))
			if (strcmp(v->noun, c->noun) == 0)
				usage_add(verbs, &n, n ? ", " : "",
					  v->verb ? v->verb : v->help, "");
		cmd_row(ctx);
		cmd_col(ctx, "noun", "%s", c->noun);
		cmd_col(ctx, "verbs", "%s", verbs);
	}
}

static void arg_help(const struct cmd_arg *a, char *buf, size_t buf_bytes)
{
	size_t n = (size_t)snprintf(buf, buf_bytes, "%s", a->help ? a->help : "");

	for (unsigned i = 0; a->type == CMD_CHOICE && a->choices[i] && n < buf_bytes; i++)
		n += (size_t)snprintf(buf + n, buf_bytes - n, "%s%s", i == 0 ? n ? ": " : "" : ", ",
				      a->choices[i]);
}

static void command_show(struct cmd_ctx *ctx, const struct cmd *cmd)
{
	char text[USAGE_BYTES];

	usage_format(cmd, text);
	cmd_line(ctx, "%s", text);
	cmd_line(ctx, "  %s%s", cmd->help, cmd->flags & CMD_DESTRUCTIVE ?
		 " (data is lost: asks, or wants force)" : "");
	for (const struct cmd_arg *a = cmd->args; a && a->name; a++) {
		char name[CMD_COLUMN_BYTES];

		arg_help(a, text, sizeof(text));
		arg_name(a, name, sizeof(name));
		cmd_row(ctx);
		cmd_col(ctx, "argument", "%s%s", name, a->keyed ? "=" : "");
		cmd_col(ctx, "type", "%s", a->type == CMD_FLAG ? "flag" : cmd_type_name(a->type));
		cmd_col(ctx, "needed", "%s", a->required ? "yes" : "no");
		cmd_col(ctx, "what", "%s", text);
	}
}

/* The commands of a noun whose verb begins with the words VERB (may be empty). */
static unsigned verbs_show(struct cmd_ctx *ctx, const char *noun, const char *verb)
{
	struct cmd_iter it = { 0 };
	const struct cmd *c, *only = NULL;
	size_t len = strlen(verb);
	unsigned n = 0;

	while ((c = cmd_next(&it)))
		if (strcmp(c->noun, noun) == 0 && strncmp(c->verb ? c->verb : "", verb, len) == 0) {
			only = c;
			n++;
			if (c->verb && len > 0 && strcmp(c->verb, verb) == 0) {
				n = 1;
				break;
			}
		}
	if (n == 1) {
		command_show(ctx, only);
		return 1;
	}
	it = (struct cmd_iter){ 0 };
	while ((c = cmd_next(&it))) {
		char usage[USAGE_BYTES];

		if (strcmp(c->noun, noun) != 0 || strncmp(c->verb ? c->verb : "", verb, len) != 0)
			continue;
		usage_format(c, usage);
		cmd_row(ctx);
		cmd_col(ctx, "command", "%s", usage);
		cmd_col(ctx, "what", "%s", c->help);
	}
	return n;
}

static const char *noun_find(const char *typed)
{
	struct cmd_iter it = { 0 };
	const struct cmd *c, *begun = NULL;

	while ((c = cmd_next(&it))) {
		if (strcmp(c->noun, typed) == 0)
			return c->noun;
		if (!begun && strncmp(c->noun, typed, strlen(typed)) == 0)
			begun = c;
	}
	return begun ? begun->noun : NULL;
}

static int help_run(struct cmd_ctx *ctx)
{
	const char *noun = cmd_str(ctx, "NOUN"), *v1 = cmd_str(ctx, "VERB");
	const char *v2 = cmd_str(ctx, "KIND");
	char verb[CMD_NAME_MAX * 2 + 2];

	if (!noun) {
		nouns_show(ctx);
		if (!ctx->json && !ctx->count && !ctx->match)
			cmd_line(ctx, "`help NOUN` tells more. Names first, then key=value and "
				 "flags; then | json, | match TEXT, | count.");
		return 0;
	}
	if (!noun_find(noun))
		return cmd_fail(ctx, -ENOENT, "%s: no such command; see `help`", noun);
	noun = noun_find(noun);
	snprintf(verb, sizeof(verb), "%s%s%s", v1 ? v1 : "", v2 ? " " : "", v2 ? v2 : "");
	if (verbs_show(ctx, noun, verb) == 0)
		return cmd_fail(ctx, -ENOENT, "%s %s: no such command; see `help %s`", noun, verb,
				noun);
	return 0;
}

static void noun_complete(struct cmd_complete *c)
{
	struct cmd_iter it = { 0 };
	const struct cmd *cmd;

	while ((cmd = cmd_next(&it)))
		if (cmd_first_of_noun(cmd))
			cmd_offer(c, cmd->noun);
}

static const struct cmd_arg help_args[] = {
	{ .name = "NOUN", .type = CMD_NAME, .help = "what to tell about",
	  .complete = noun_complete },
	{ .name = "VERB", .type = CMD_NAME, .help = "one of its commands" },
	{ .name = "KIND", .type = CMD_NAME, .help = "the second word of the verb" },
	{ 0 },
};

const struct cmd cmd_help_table[] = {
	{ .noun = "help", .help = "what commands there are", .args = help_args, .run = help_run,
	  .flags = CMD_RESCUE },
	{ 0 },
};
