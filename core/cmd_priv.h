/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the command interpreter: what core/cmd*.c share. A command line becomes words
 * (cmd_words.c), the words a command (cmd.c) with checked values (cmd_args.c, cmd_parse.c); its
 * handler gives rows, which cmd_print.c prints through cmd_table.c or cmd_json.c.
 */
#ifndef CORE_CMD_PRIV_H
#define CORE_CMD_PRIV_H

#include "core/cmd.h"

enum {
	CMD_WORDS_MAX = 64,
	CMD_ARGS_MAX = 24,              /* of one command */
	CMD_TABLES_MAX = 64,
	CMD_ERROR_BYTES = 512,
	CMD_COLUMNS_MAX = 64,
	CMD_COLUMN_BYTES = 32,
	CMD_CELL_BYTES = 1024,          /* longest text of one value */
	CMD_ROW_BYTES = 64 * 1024,
	CMD_HOLD_BYTES = 256 * 1024,    /* rows held back to find widths, or JSON to know the end */
	CMD_NAME_MAX = 223,             /* NVMe: an NQN has at most 223 bytes */
};

/* ---- words ---- */

struct cmd_word {
	char *text;             /* without quotes */
	char *value;            /* after the first unquoted '=', NULL: none */
	size_t start, end;      /* where it stands in the line */
	bool quoted;            /* some of it was */
	bool pipe;              /* a '|' outside of quotes */
};

struct cmd_words {
	struct cmd_word word[CMD_WORDS_MAX];
	unsigned count;
	bool open;              /* the line ends inside of quotes */
	bool comment;           /* the line ends inside of a comment */
	char text[CMD_LINE_BYTES + CMD_WORDS_MAX];
};

/* ---- values ---- */

struct cmd_value {
	const char *text;       /* NULL: not given */
	uint64_t u64;
	union {
		struct net_addr addr;
		struct uuid uuid;
	};
};

/* ---- output ---- */

/* Growing text with a limit; once memory is short it takes nothing more and says so. */
struct cmd_buf {
	char *data;
	size_t len, cap;
	bool lost;
};

enum cmd_kind { KIND_TEXT, KIND_U64, KIND_SIZE, KIND_TIME, KIND_PERCENT, KIND_BOOL };

struct cmd_cell {
	uint16_t column;
	uint8_t kind;           /* enum cmd_kind */
	uint32_t offset, len;   /* of its text in the row's text */
	uint64_t raw;           /* U64, SIZE, TIME, BOOL */
};

struct cmd_row {
	struct cmd_cell cell[CMD_COLUMNS_MAX];
	unsigned count;
	struct cmd_buf text;
};

struct cmd_print {
	struct cmd_row row;
	bool row_open;
	bool record;
	bool started;           /* something of this command has been written */
	/* columns of the current table, in order of their first appearance */
	char column[CMD_COLUMNS_MAX][CMD_COLUMN_BYTES];
	unsigned column_count;
	uint32_t width[CMD_COLUMNS_MAX];
	bool number[CMD_COLUMNS_MAX];
	bool header_done;
	struct cmd_buf held;    /* table: encoded rows; JSON: text of rows */
	uint64_t rows;          /* that passed the filters */
	bool streaming;         /* JSON: beyond CMD_HOLD_BYTES, `"rows":[` is out */
};

struct cmd_ctx {
	struct cmd_out *out;
	const struct cmd *cmd;
	const char *where;      /* "startup.rc:12", NULL at a prompt */
	struct cmd_words words;
	unsigned args_from, args_to;    /* words that are arguments */
	struct cmd_value value[CMD_ARGS_MAX];
	bool force;             /* of CMD_DESTRUCTIVE commands that do not declare it */
	bool json, count;
	const char *match;
	int rc;                 /* what cmd_fail was told; 0: no failure */
	char error[CMD_ERROR_BYTES];
	struct cmd_print print;
};

/* cmd_words.c: 0, or -E2BIG (too many words or bytes). Never fails otherwise. */
int cmd_words_split(const char *line, size_t len, struct cmd_words *words);

/* cmd_parse.c: TEXT as a value of ARG. 0, or -EINVAL/-ERANGE with the reason in WHY. */
int cmd_value_parse(const struct cmd_arg *arg, const char *text, struct cmd_value *value,
		    char *why, size_t why_bytes);
/* A short word for a type, "SIZE", "TIME", …; for help. */
const char *cmd_type_name(enum cmd_type type);
/* How far apart two words are (insertions, deletions, replacements, swaps); at most 32 bytes. */
unsigned cmd_distance(const char *a, const char *b);

/* cmd_args.c: fills ctx->value from the words. 0, or what cmd_fail returned. */
int cmd_args_bind(struct cmd_ctx *ctx);
unsigned cmd_args_count(const struct cmd *cmd);

/* cmd.c */
extern const struct cmd *cmd_tables[CMD_TABLES_MAX];
extern unsigned cmd_table_count;
/* All commands in order of registration: start with NULL. */
struct cmd_iter {
	unsigned table, index;
};
const struct cmd *cmd_next(struct cmd_iter *it);
/* Whether this is the first command of its noun. */
bool cmd_first_of_noun(const struct cmd *cmd);
/*
 * Finds the command that words FROM… name. 0 and *used words, or what cmd_fail returned. ctx may
 * be NULL: then it fails silently.
 */
int cmd_find(struct cmd_ctx *ctx, const struct cmd_words *words, bool exact,
	     const struct cmd **found, unsigned *used);
/* "disk create ram" */
void cmd_title(const struct cmd *cmd, char *buf, size_t buf_bytes);
int cmd_run_at(const char *line, struct cmd_out *out, const char *where);

/* cmd_print.c */
bool cmd_buf_add(struct cmd_buf *buf, const char *data, size_t len);
bool cmd_buf_text(struct cmd_buf *buf, const char *text);
void cmd_buf_free(struct cmd_buf *buf);
void cmd_write(struct cmd_ctx *ctx, const char *text, size_t len);
/* Ends the output: what is held, the error line, the closing of the JSON object. */
void cmd_print_end(struct cmd_ctx *ctx);
void cmd_print_free(struct cmd_ctx *ctx);
/* Bytes of the UTF-8 character at s (at most len), 0 when invalid. */
size_t cmd_utf8_len(const char *s, size_t len);

/* cmd_table.c */
void cmd_table_row(struct cmd_ctx *ctx);
void cmd_table_flush(struct cmd_ctx *ctx);

/* cmd_json.c */
void cmd_json_row(struct cmd_ctx *ctx);
void cmd_json_end(struct cmd_ctx *ctx);
/* "ENOENT" */
const char *cmd_errno_name(int rc);

/* cmd_help.c: registered by cmd.c itself */
extern const struct cmd cmd_help_table[];

#endif
