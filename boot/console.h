/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the console: what boot/console*.c share. Everything here lives on reactor 0.
 *
 * A session is somebody at a terminal: the serial port, or a client attached over the UNIX socket.
 * Bytes come in through a port, become keys (console_keys.c), the keys a line (console_line.c), the
 * line a job: a command in a task of its own (console_job.c). What the job prints is held in a
 * bounded buffer and goes out page by page, as the port takes it.
 */
#ifndef BOOT_CONSOLE_H
#define BOOT_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/base/log.h"
#include "core/cmd.h"
#include "core/reactor.h"
#include "core/task.h"

enum {
	HISTORY_LINES = 64,
	SEARCH_BYTES = 64,
	CONSOLE_IN_BYTES = 32 * 1024,           /* typed ahead, or pasted */
	/* with less room a port stops reading; more than what one read may bring */
	CONSOLE_IN_LOW_BYTES = 12 * 1024,
	CONSOLE_OUT_BYTES = 64 * 1024,          /* on the way to a terminal */
	CONSOLE_HOLD_BYTES = 4 * 1024 * 1024,   /* printed by a command, not yet shown */
	CONSOLE_CLIENTS_MAX = 16,               /* of the socket */
};

/* ---- console_keys.c: bytes to keys ---- */

enum key_code {
	KEY_NONE, KEY_CHAR, KEY_ENTER, KEY_TAB, KEY_ESCAPE, KEY_BACKSPACE, KEY_DELETE, KEY_LEFT,
	KEY_RIGHT, KEY_UP, KEY_DOWN, KEY_HOME, KEY_END, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_WORD_LEFT,
	KEY_WORD_RIGHT, KEY_KILL_END, KEY_KILL_LINE, KEY_KILL_WORD, KEY_CLEAR, KEY_SEARCH,
	KEY_CANCEL, KEY_EOF, KEY_REPORT,
};

struct key {
	enum key_code code;
	char text[5];                   /* KEY_CHAR: one UTF-8 character, NUL-terminated */
	unsigned row, column;           /* KEY_REPORT: where the terminal says the cursor is */
};

struct key_decoder {
	enum { KEYS_GROUND, KEYS_ESCAPE, KEYS_CSI, KEYS_SS3, KEYS_UTF8 } state;
	char buf[32];                   /* parameters of a sequence, or bytes of a character */
	unsigned len, want;
	bool after_cr;
};

/* Takes one byte; true when KEY is a key. Any bytes are harmless; what is no key is left out. */
bool key_decode(struct key_decoder *d, unsigned char byte, struct key *key);

/* ---- console_line.c: the line being typed ---- */

enum line_event {
	LINE_MORE,                      /* go on typing */
	LINE_DONE,                      /* Enter: line->text */
	LINE_TOO_LONG,                  /* Enter after more than fits: nothing of it counts */
	LINE_CANCEL,                    /* Ctrl-C */
	LINE_EOF,                       /* Ctrl-D on an empty line */
	LINE_COMPLETE,                  /* Tab */
	LINE_HELP,                      /* ? outside of quotes */
	LINE_CLEAR,                     /* Ctrl-L */
};

struct history {
	char *line[HISTORY_LINES];
	unsigned count;                 /* ever added */
};

struct line {
	char text[CMD_LINE_BYTES];      /* NUL-terminated UTF-8 */
	size_t len, cursor;             /* bytes; cursor stands before a character */
	bool overflow;
	const char *prompt;
	unsigned columns;
	bool shown;
	/* more keys are waiting: draws once, in line_settle, instead of for each */
	bool defer, dirty;
	size_t first;                   /* byte where the visible part starts */
	unsigned drawn;                 /* cells on the screen, prompt included */
	struct history history;
	unsigned back;                  /* how many lines up the history, 0: none */
	char *saved;                    /* the line from before going up */
	bool searching;
	char pattern[SEARCH_BYTES];
	/* draws; copies or drops, never blocks */
	void (*write)(struct line *line, const char *text, size_t len);
};

void line_init(struct line *line, const char *prompt, unsigned columns,
	       void (*write)(struct line *line, const char *text, size_t len));
void line_fini(struct line *line);
enum line_event line_key(struct line *line, const struct key *key);
/* Empties the line, for the next one. */
void line_reset(struct line *line);
void line_insert(struct line *line, const char *text, size_t len);
/* Replaces the BYTES before the cursor. */
void line_replace(struct line *line, size_t bytes, const char *text);
/* Draws prompt and line from the left edge; takes them away again. */
void line_show(struct line *line);
void line_hide(struct line *line);
/* Draws what was deferred. */
void line_settle(struct line *line);
/* Moves the cursor behind the line and to the next row. */
void line_leave(struct line *line);

/* console_history.c */
void history_add(struct history *h, const char *text);
/* BACK lines ago, from 1; NULL: not that many. */
const char *history_at(const struct history *h, unsigned back);
void history_free(struct history *h);
/* The nearest line more than BACK lines ago that has PATTERN in it: how many ago, 0: none. */
unsigned history_find(const struct history *h, unsigned back, const char *pattern);


/* ---- console_job.c: a command in its own task ---- */

/* Text that a command has printed and a terminal has not taken yet. */
struct hold {
	char *data;
	size_t head, len, cap;          /* len bytes from head on are waiting */
	uint64_t dropped;               /* beyond CONSOLE_HOLD_BYTES */
};

struct console_session;

struct console_job {
	struct cmd_out out;
	/* NULL: nobody looks any more; the job ends by itself, its end is logged */
	struct console_session *session;
	struct hold hold;
	bool reading;                   /* the command waits for a key, in cmd_key */
	struct event key;               /* a key has come, or the session is gone */
	bool done;
	bool cancelled;
	int rc;
	char name[TASK_NAME_BYTES];     /* of its task; unique */
	char line[CMD_LINE_BYTES];
	struct list link;
};

/* Starts LINE; NULL when there is no memory. Tells the session by session_wake(). */
struct console_job *job_start(struct console_session *s, const char *line);
/* Goes on without the session, or frees it when it is done. */
void job_leave(struct console_job *job);
/* Asks the command to end at its next safe point. */
void job_cancel(struct console_job *job);
/* What its task says of itself; false: nothing with a total. */
bool job_progress(const struct console_job *job, struct task_info *info);
/* Jobs that still run, all sessions together. */
unsigned job_count(void);
void job_cancel_all(void);

/* ---- console_session.c, console_show.c: somebody at a terminal ---- */

/* How a session reaches its terminal. */
struct console_port {
	/* bytes that write() takes now */
	size_t (*room)(struct console_port *port);
	void (*write)(struct console_port *port, const char *text, size_t len);
	/* stops reading until there is room again: bytes are not lost but wait outside */
	void (*pause)(struct console_port *port, bool pause);
	/* the session has ended by itself (STATUS: of its one command) and is no more */
	void (*ended)(struct console_port *port, int status);
};

enum session_kind {
	SESSION_SERIAL,                 /* a prompt that never ends; asks the terminal what it is */
	SESSION_ATTACHED,               /* a prompt; Ctrl-D leaves */
	SESSION_COMMAND,                /* one command */
};

struct session_opts {
	enum session_kind kind;
	unsigned columns, rows;         /* 0: unknown */
	bool keys;                      /* somebody types: always, except for some commands */
	bool colour, json;
	const char *line;               /* SESSION_COMMAND */
};

struct console_session {
	struct console_port *port;      /* NULL: gone */
	struct session_opts opts;
	enum { SESSION_WAITING, SESSION_PROMPT, SESSION_RUNNING, SESSION_MORE } state;
	struct event wake;
	bool closing;
	int status;
	unsigned number;                /* from 1, for names */
	/* input */
	char in[CONSOLE_IN_BYTES];
	size_t in_head, in_len;
	struct key_decoder keys;
	struct line line;
	/* the terminal was asked for its size; the answer may still come */
	bool asked, asking;
	/* output */
	bool at_left;                   /* the cursor is in the first column */
	uint64_t dropped;
	bool lost;                      /* some output of the command was dropped */
	unsigned page_lines, page_column;
	bool page_off;                  /* no pager until the command ends */
	bool discard;                   /* the rest of the output is not wanted */
	unsigned progress_cells;        /* of the progress bar on the screen, 0: none */
	uint64_t log_seq;               /* next record to show */
	/* running command */
	struct console_job *job;
	uint64_t job_start_us;
	struct list link;
};

/* A session on PORT; it ends by itself or by session_hangup. NULL: no memory. */
struct console_session *session_start(struct console_port *port, const struct session_opts *opts);
/* Bytes that were typed. Never fails: too much is left out. */
void session_input(struct console_session *s, const char *bytes, size_t len);
void session_resize(struct console_session *s, unsigned columns, unsigned rows);
/* Something happened: a job has printed or ended, the port has room, there are logs. */
void session_wake(struct console_session *s);
/* The port is gone and is not called any more. */
void session_hangup(struct console_session *s);
/* The next byte that was typed, -1: none. */
int session_take(struct console_session *s);
/* A line of text around whatever is on the screen. */
void session_print(struct console_session *s, const char *text);
/* All sessions. */
void session_wake_all(void);
unsigned session_count(void);

/* console_show.c: what a session puts on its screen */

/* Copies or drops and counts. */
void session_write(struct console_session *s, const char *text, size_t len);
/* Takes line or progress bar away before other output, and puts the line back. */
void session_hide(struct console_session *s);
void session_unhide(struct console_session *s);
/* Shows log records that are new. */
void session_logs(struct console_session *s);
/* Moves what the job printed to the screen; true: something is left, for want of room or a key. */
bool session_pump(struct console_session *s);
/* A key at --More--. */
void session_more_key(struct console_session *s, const struct key *key);
void session_progress(struct console_session *s);

/* console_help.c */
void session_complete(struct console_session *s, bool help);

/* ---- console_fd.c: bounded output to a file descriptor that never blocks ---- */

struct console_fd {
	struct fd_source src;
	char *out;                      /* a ring of CONSOLE_OUT_BYTES */
	size_t head, len;
	bool armed;                     /* waiting for the fd to take more */
	bool paused;                    /* not reading */
	void (*input)(struct console_fd *f, const char *bytes, size_t len);
	/* what was waiting is out, all or some of it */
	void (*drained)(struct console_fd *f);
	/* end of file or broken (rc); F may be closed and freed in here */
	void (*broken)(struct console_fd *f, int rc);
};

/* FD is non-blocking. -ENOMEM or what epoll said. */
int console_fd_open(struct console_fd *f, int fd);
/* Bytes that write takes now. */
size_t console_fd_room(const struct console_fd *f);
/* At most that many. */
void console_fd_write(struct console_fd *f, const char *bytes, size_t len);
/* Stops reading, or goes on. */
void console_fd_pause(struct console_fd *f, bool pause);
/* Closes the descriptor; unsent bytes are lost. */
void console_fd_close(struct console_fd *f);

/* ---- console_tty.c: the serial port; console_socket.c: the UNIX socket ---- */

int console_tty_open(void);
void console_tty_close(void);
/* A line for the operator; false: there is no serial console. */
bool console_tty_print(const char *text);
int console_socket_open(const char *path);
void console_socket_close(void);
/* Whether a client waits for the end of its command or has not got it yet. */
bool console_socket_leaving(void);

/* console.c: whether the start is over; what failed, "" when nothing did */
bool console_is_ready(void);
const char *console_boot_note(char *buf, size_t buf_bytes);

#endif
