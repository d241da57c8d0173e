/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `config show|save|diff|clear|revert`: the running configuration as text, and the saved one, which
 * is used at the next boot.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "boot/build.h"
#include "core/base/log.h"
#include "core/cmd.h"
#include "core/config.h"

enum { WHERE_BYTES = 128 };

/* Takes the next line of *text, without its end; false: there is none. */
static bool line_next(const char **text, const char **line, size_t *len)
{
	if (**text == '\0')
		return false;
	*line = *text;
	*len = strcspn(*text, "\n");
	*text += *len + ((*text)[*len] == '\n');
	return true;
}

static unsigned lines_count(const char *text)
{
	const char *line;
	size_t len;
	unsigned n = 0;

	while (line_next(&text, &line, &len))
		n++;
	return n;
}

static int fail_state(struct cmd_ctx *ctx, int rc, const char *where)
{
	if (rc == -ENODEV && karst_run.appliance)
		return cmd_fail(ctx, rc, "config: no partition karst-config; write the disk image "
				"to the boot disk again");
	if (rc == -ENODEV)
		return cmd_fail(ctx, rc, "config: nowhere to save; start karst with --state FILE");
	if (rc == -EBADMSG)
		return cmd_fail(ctx, rc, "config: %s: what is saved there is damaged; `config "
				"save` replaces it", where);
	return cmd_fail(ctx, rc, "config: %s: %s; see `log show`", where, strerror(-rc));
}

static char *running_get(struct cmd_ctx *ctx)
{
	char *text = config_text();

	if (!text)
		cmd_fail(ctx, -ENOMEM, "config: no memory for its text; try again");
	return text;
}

static void text_print(struct cmd_ctx *ctx, const char *text)
{
	const char *line;
	size_t len;

	while (line_next(&text, &line, &len))
		cmd_line(ctx, "%.*s", (int)len, line);
}

static int config_show(struct cmd_ctx *ctx)
{
	char where[WHERE_BYTES];
	char *text;
	int rc;

	if (!cmd_has(ctx, "saved")) {
		text = running_get(ctx);
		if (!text)
			return -ENOMEM;
	} else {
		rc = state_load(&text, where, sizeof(where));
		if (rc != 0)
			return fail_state(ctx, rc, where);
		if (!text)
			return cmd_fail(ctx, -ENOENT, "config: nothing is saved; `config save` "
					"does it");
	}
	text_print(ctx, text);
	free(text);
	return 0;
}

static int config_save(struct cmd_ctx *ctx)
{
	char where[WHERE_BYTES];
	char *text = running_get(ctx), *with_head;
	int rc;

	if (!text)
		return -ENOMEM;
	rc = asprintf(&with_head, "# karst %s, config save\n%s", build_version, text);
	if (rc < 0) {
		free(text);
		return cmd_fail(ctx, -ENOMEM, "config: no memory for its text; try again");
	}
	rc = state_save(with_head, where, sizeof(where));
	free(with_head);
	if (rc == 0) {
		log_info("config: saved to %s", where);
		cmd_row(ctx);
		cmd_col(ctx, "saved_to", "%s", where);
		cmd_col_u64(ctx, "lines", lines_count(text));
	}
	free(text);
	return rc ? fail_state(ctx, rc, where) : 0;
}

/* Lines of A that are not in B (each line of B answers for one of A). */
static unsigned diff_one(struct cmd_ctx *ctx, const char *a, const char *b, const char *sign)
{
	bool *used = calloc(lines_count(b) + 1, sizeof(*used));
	const char *line, *other;
	size_t len, other_len;
	unsigned count = 0;

	while (used && line_next(&a, &line, &len)) {
		const char *rest = b;
		bool found = false;

		if (len == 0 || line[0] == '#')
			continue;
		for (unsigned i = 0; !found && line_next(&rest, &other, &other_len); i++) {
			found = !used[i] && other_len == len && memcmp(line, other, len) == 0;
			used[i] = used[i] || found;
		}
		if (found)
			continue;
		cmd_line(ctx, "%s %.*s", sign, (int)len, line);
		count++;
	}
	free(used);
	return count;
}

static int config_diff(struct cmd_ctx *ctx)
{
	char where[WHERE_BYTES];
	char *saved, *running;
	int rc = state_load(&saved, where, sizeof(where));
	unsigned count;

	if (rc != 0)
		return fail_state(ctx, rc, where);
	running = running_get(ctx);
	if (!running) {
		free(saved);
		return -ENOMEM;
	}
	count = diff_one(ctx, saved ? saved : "", running, "-");
	count += diff_one(ctx, running, saved ? saved : "", "+");
	if (count == 0 && cmd_interactive(ctx))
		cmd_line(ctx, "running and saved configuration are the same");
	free(saved);
	free(running);
	return 0;
}

static int config_clear(struct cmd_ctx *ctx)
{
	char where[WHERE_BYTES];
	int rc = cmd_confirm(ctx, "config", "the saved configuration will be forgotten");

	if (rc != 0)
		return rc;
	rc = state_clear(where, sizeof(where));
	return rc ? fail_state(ctx, rc, where) : 0;
}

/*
 * Back to what is saved. Undoing single commands cannot be right in general; a new start from the
 * saved text is, and takes a second: initiators reconnect by themselves.
 */
static int config_revert(struct cmd_ctx *ctx)
{
	char where[WHERE_BYTES];
	char *text;
	int rc;

	if (!karst_run.appliance)
		return cmd_fail(ctx, -EOPNOTSUPP, "config: hosted, nobody starts karst again; stop "
				"it and start it with --state");
	rc = state_load(&text, where, sizeof(where));
	free(text);
	if (rc != 0)
		return fail_state(ctx, rc, where);
	rc = cmd_confirm(ctx, "config", "karst starts again, with what is saved");
	if (rc != 0)
		return rc;
	log_warn("config: revert: starting again with the saved configuration");
	boot_end(BOOT_END_EXIT);
	return 0;
}

static const struct cmd_arg show_args[] = {
	{ .name = "saved", .type = CMD_FLAG, .help = "what is saved, not what runs" },
	{ 0 },
};

static const struct cmd_arg force_args[] = {
	{ .name = "force", .type = CMD_FLAG, .help = "do not ask" },
	{ 0 },
};

const struct cmd config_cmds[] = {
	{ .noun = "config", .verb = "show", .help = "the configuration as commands",
	  .args = show_args, .run = config_show },
	{ .noun = "config", .verb = "save", .help = "makes what runs the next boot's",
	  .run = config_save },
	{ .noun = "config", .verb = "diff", .help = "- only saved, + only running",
	  .run = config_diff, .flags = CMD_RESCUE },
	{ .noun = "config", .verb = "revert", .help = "starts again with what is saved",
	  .args = force_args, .run = config_revert },
	{ .noun = "config", .verb = "clear", .help = "forgets what is saved",
	  .args = force_args, .run = config_clear, .flags = CMD_RESCUE },
	{ 0 },
};
