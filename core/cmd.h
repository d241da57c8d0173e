/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands: one table per subsystem, one syntax (docs/console.md), one way to configure. A command
 * declares its arguments; core/cmd*.c parses, checks types and ranges, completes, prints help and
 * prints the rows (table or JSON) that the handler gives. Handlers run in a task on reactor 0.
 */
#ifndef CORE_CMD_H
#define CORE_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/base/uuid.h"

/* A command line with its NUL is at most this long. */
enum { CMD_LINE_BYTES = 4096 };

enum cmd_type {
	CMD_TEXT,       /* any text */
	CMD_NAME,       /* letters, digits, - _ . / : , at most 223 */
	CMD_U64,        /* decimal, min…max */
	CMD_SIZE,       /* bytes: 512, 4K, 16M, 1G, 2T */
	CMD_TIME,       /* microseconds: 500us 20ms 3s 2m */
	CMD_ADDR,       /* IP address */
	CMD_PREFIX,     /* IP address/length */
	CMD_UUID,
	CMD_CHOICE,     /* one of choices */
	CMD_BOOL,       /* on|off|yes|no|true|false */
	CMD_FLAG,       /* present or not: a bare word */
};

struct cmd_complete;

struct cmd_arg {
	const char *name;
	enum cmd_type type;
	/* name=value; otherwise positional, in order of the table. Flags are bare words. */
	bool keyed;
	bool required;
	const char *help;
	const char *const *choices;     /* CMD_CHOICE: NULL-terminated */
	uint64_t min, max;              /* CMD_U64, CMD_SIZE, CMD_TIME; max 0: no limit */
	void (*complete)(struct cmd_complete *c);       /* candidates for TAB, may be NULL */
};

struct cmd_ctx;

enum cmd_flag {
	/*
	 * data is lost: wants `force` in scripts and a typed name at the prompt; `force` is
	 * understood by itself and NAME (first positional) is what has to be typed
	 */
	CMD_DESTRUCTIVE = 1 << 0,
	CMD_LIVE = 1 << 1,              /* takes the terminal until q or Ctrl-C: top, log follow */
	/* the only kind that works in rescue mode besides lists and shows; see docs/console.md */
	CMD_RESCUE = 1 << 2,
};

struct cmd {
	/* verb may be two words ("create ram"), or NULL for a noun alone ("top") */
	const char *noun, *verb;
	const char *help;               /* one line */
	const struct cmd_arg *args;     /* ends with name == NULL; may be NULL */
	int (*run)(struct cmd_ctx *ctx);        /* 0, or what cmd_fail returned */
	unsigned flags;
};

/* A table ends with noun == NULL. Registered for good; from init code on reactor 0. */
void cmd_register(const struct cmd *table);

/* ---- in a handler: arguments (already checked) ---- */

bool cmd_has(struct cmd_ctx *ctx, const char *arg);
const char *cmd_str(struct cmd_ctx *ctx, const char *arg);              /* NULL when not given */
/* U64, SIZE, TIME, BOOL, FLAG (0/1), CHOICE (index) */
uint64_t cmd_u64(struct cmd_ctx *ctx, const char *arg, uint64_t dflt);
const struct net_addr *cmd_addr(struct cmd_ctx *ctx, const char *arg);  /* NULL when not given */
const struct uuid *cmd_uuid(struct cmd_ctx *ctx, const char *arg);      /* NULL when not given */
/* somebody types at a terminal, and no filter wants the output as a whole */
bool cmd_interactive(struct cmd_ctx *ctx);
/* startup script or saved configuration */
bool cmd_at_boot(struct cmd_ctx *ctx);

/*
 * For commands that lose data only sometimes (they declare a flag `force`): 0 when force was given
 * or NAME was typed at the prompt, else what cmd_fail returned. WHAT: "its 3 volumes will be lost".
 */
int cmd_confirm(struct cmd_ctx *ctx, const char *name, const char *what);

/*
 * Ends in "error: <text>" (text: "OBJECT: what is wrong; what to do") and the code in JSON; returns
 * rc (negative) for `return cmd_fail(…)`.
 */
__attribute__((format(printf, 3, 4)))
int cmd_fail(struct cmd_ctx *ctx, int rc, const char *fmt, ...);

/*
 * ---- in a handler: output. A row is a set of named values; the first row's names are the table's
 * columns. ----
 */

void cmd_row(struct cmd_ctx *ctx);                                      /* starts a row */
__attribute__((format(printf, 3, 4)))
void cmd_col(struct cmd_ctx *ctx, const char *name, const char *fmt, ...);      /* text */
void cmd_col_u64(struct cmd_ctx *ctx, const char *name, uint64_t v);
/* table: 1.5G; JSON: bytes */
void cmd_col_size(struct cmd_ctx *ctx, const char *name, uint64_t bytes);
/* table: 12.3us; JSON: ns */
void cmd_col_time(struct cmd_ctx *ctx, const char *name, uint64_t ns);
void cmd_col_percent(struct cmd_ctx *ctx, const char *name, double v);
void cmd_col_bool(struct cmd_ctx *ctx, const char *name, bool v);
/* One object shown as name/value lines instead of a table: call before the first row. */
void cmd_as_record(struct cmd_ctx *ctx);
/* A free line of text (help, hints); JSON: {"text":…} row. */
__attribute__((format(printf, 2, 3)))
void cmd_line(struct cmd_ctx *ctx, const char *fmt, ...);
/* Live commands and progress bars: raw bytes to the terminal, dropped when there is none. */
void cmd_raw(struct cmd_ctx *ctx, const char *bytes, size_t len);
/*
 * Live commands: waits up to US for a key; the key, or -ETIMEDOUT, or -EPIPE when the terminal went
 * away.
 */
int cmd_key(struct cmd_ctx *ctx, uint64_t us);
void cmd_terminal_size(struct cmd_ctx *ctx, unsigned *columns, unsigned *rows);

/* ---- completion ---- */

/* In a complete function: offers CANDIDATE (kept only if it starts with what was typed). */
void cmd_offer(struct cmd_complete *c, const char *candidate);
/* Completion of disk names (core/cmd_disk.c), for everybody. */
void cmd_complete_disk(struct cmd_complete *c);

/* ---- running ---- */

struct cmd_out {
	/*
	 * The command's output, text or JSON, in pieces; must not block: it copies, or drops and
	 * counts.
	 */
	void (*write)(struct cmd_out *out, const char *text, size_t len);
	/*
	 * NULL when nobody types: then CMD_LIVE commands print once, and destructive ones want
	 * `force`. Returns a key as cmd_key does.
	 */
	int (*key)(struct cmd_out *out, uint64_t us);
	unsigned columns, rows;         /* of the terminal, 0: none */
	bool colour;
	bool json;                      /* as if every command ended in "| json" */
	bool exact;                     /* scripts: no abbreviations */
	bool at_boot;
	/* set by cmd_run while a CMD_LIVE command has the terminal: no pager then */
	bool live;
};

/*
 * Runs one line in the calling task (reactor 0). 0 or the command's -errno; the error line has been
 * printed. Empty and comment lines are 0.
 */
int cmd_run(const char *line, struct cmd_out *out);
/*
 * Runs a text of many lines; on_error: stop at the first (returns its rc, naming NAME and the line)
 * or go on (returns how many failed).
 */
enum cmd_script_mode { CMD_SCRIPT_STOP, CMD_SCRIPT_GO_ON };
int cmd_script(const char *name, const char *text, enum cmd_script_mode mode, struct cmd_out *out);
/*
 * Candidates for the word that ends at CURSOR of LINE, each given to OFFER; returns the length of
 * the word to replace. A candidate of NULL is no candidate: its help says what goes here.
 */
size_t cmd_complete_line(const char *line, size_t cursor,
			 void (*offer)(void *arg, const char *candidate, const char *help),
			 void *arg);

/* ---- configuration as text ---- */

struct config_out;
/* The disks that commands have made (core/cmd_disk.c); the bdev module's config. */
void disk_config(struct config_out *out);
/*
 * One command line of the running configuration. Quote arguments that need it with %s through
 * cmd_quote.
 */
__attribute__((format(printf, 2, 3)))
void config_line(struct config_out *out, const char *fmt, ...);
/*
 * The running configuration: the lines of all modules, in order. The caller frees it; NULL when
 * memory is short.
 */
char *config_text(void);
/* Writes TEXT quoted if it has to be; returns buf. */
const char *cmd_quote(const char *text, char *buf, size_t buf_bytes);

#endif
