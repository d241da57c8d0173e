/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session: one task on reactor 0 that sleeps until something happens (a key, output of its
 * command, room in its port, a log record) and then takes one step.
 *
 *   WAITING   the start is not over: a prompt comes when it is, or at the first key
 *   PROMPT    keys edit the line; Enter starts a job
 *   RUNNING   the job's output is shown; keys are the command's, or typed ahead
 *   MORE      a page is full; a key goes on
 *
 * Only session_step() and what it calls assign s->state.
 */
#include "boot/console.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/clock.h"
#include "core/config.h"

enum { COLUMNS_SANE = 20, ROWS_SANE = 5 };
enum { PROGRESS_AFTER_US = 500000, PROGRESS_EVERY_US = 250000, CTRL_C = 3, CTRL_Z = 26 };

static struct {
	struct list sessions;
	unsigned count, last_number;
} all = { .sessions = LIST_INIT(all.sessions) };

static bool has_prompt(const struct console_session *s)
{
	return s->opts.kind != SESSION_COMMAND;
}

/* ---- prompt ---- */

static void editor_write(struct line *line, const char *text, size_t len)
{
	struct console_session *s = container_of(line, struct console_session, line);

	session_write(s, text, len);
}

static void prompt_show(struct console_session *s)
{
	s->state = SESSION_PROMPT;
	s->page_lines = s->page_column = 0;
	s->page_off = s->discard = s->lost = false;
	line_reset(&s->line);
	if (!s->at_left)
		session_write(s, "\n", 1);
	line_show(&s->line);
}

static void first_prompt(struct console_session *s)
{
	char note[128];

	if (console_boot_note(note, sizeof(note))[0])
		session_print(s, note);
	prompt_show(s);
}

/*
 * Somebody is there: asks the terminal how large it is. An answer, if there ever is one, comes as a
 * key; whoever answers understands colours too.
 */
static void terminal_ask(struct console_session *s)
{
	static const char ask[] = "\x1b" "7\x1b[999;999H\x1b[6n\x1b" "8";

	if (s->asked || s->opts.kind != SESSION_SERIAL)
		return;
	s->asked = s->asking = true;
	session_write(s, ask, sizeof(ask) - 1);
}

void session_resize(struct console_session *s, unsigned columns, unsigned rows)
{
	s->opts.columns = columns;
	s->opts.rows = rows;
	s->line.columns = columns ? columns : 80;
}

/* ---- commands ---- */

static void run(struct console_session *s, const char *text)
{
	s->job = job_start(s, text);
	if (!s->job) {
		session_print(s, "error: console: no memory for a command; try again");
		s->status = ENOMEM;
		return;
	}
	s->job_start_us = clock_now_us();
	s->state = SESSION_RUNNING;
}

static void job_finish(struct console_session *s)
{
	struct console_job *job = s->job;

	s->status = job->rc == 0 && s->lost ? ENOBUFS : -job->rc;
	if (s->progress_cells > 0)
		session_hide(s);
	s->job = NULL;
	job_leave(job);
	if (has_prompt(s))
		prompt_show(s);
	else
		s->closing = true;
}

static void job_abandon(struct console_session *s, const char *note)
{
	struct console_job *job = s->job;

	session_hide(s);
	session_write(s, note, strlen(note));
	s->job = NULL;
	job_leave(job);
	prompt_show(s);
}

static void interrupt(struct console_session *s)
{
	if (!s->job->cancelled) {
		session_hide(s);
		session_write(s, "^C\n", 3);
		job_cancel(s->job);
	} else if (has_prompt(s)) {
		job_abandon(s, "[it has not stopped: left running, see `task list`]\n");
	} else {
		s->status = EINTR;
		s->closing = true;
	}
}

static void line_done(struct console_session *s)
{
	char *text = strdup(s->line.text);

	line_leave(&s->line);
	s->at_left = true;
	line_reset(&s->line);
	if (!text || text[strspn(text, " \t")] == '\0')
		prompt_show(s);
	else
		run(s, text);
	free(text);
}

/* ---- keys ---- */

static void line_event(struct console_session *s, enum line_event event)
{
	switch (event) {
	case LINE_MORE:
		break;
	case LINE_DONE:
		line_done(s);
		break;
	case LINE_TOO_LONG:
		line_leave(&s->line);
		line_reset(&s->line);
		session_print(s, "error: line: longer than 4095 bytes; make it shorter");
		prompt_show(s);
		break;
	case LINE_CANCEL:
		line_leave(&s->line);
		s->at_left = true;
		prompt_show(s);
		break;
	case LINE_EOF:
		if (s->opts.kind == SESSION_ATTACHED) {
			line_leave(&s->line);
			s->closing = true;
		}
		break;
	case LINE_COMPLETE:
		session_complete(s, false);
		break;
	case LINE_HELP:
		session_complete(s, true);
		break;
	case LINE_CLEAR:
		session_write(s, "\x1b[H\x1b[2J", 7);
		s->asked = false;
		terminal_ask(s);
		line_show(&s->line);
		break;
	}
}

static void key(struct console_session *s, const struct key *k)
{
	if (k->code == KEY_REPORT) {
		/* an answer that nobody asked for is noise */
		if (s->asking && k->column >= COLUMNS_SANE && k->row >= ROWS_SANE) {
			session_resize(s, k->column, k->row);
			s->opts.colour = true;
		}
		s->asking = false;
		return;
	}
	terminal_ask(s);
	if (s->state == SESSION_MORE)
		session_more_key(s, k);
	else if (s->state == SESSION_PROMPT)
		line_event(s, line_key(&s->line, k));
}

int session_take(struct console_session *s)
{
	int c;

	if (s->in_len == 0)
		return -1;
	c = (unsigned char)s->in[s->in_head];
	s->in_head = (s->in_head + 1) % sizeof(s->in);
	s->in_len--;
	return c;
}

/* While a command runs that does not read, Ctrl-C and Ctrl-Z act at once, ahead of what waits. */
static bool input_acts(struct console_session *s, char c)
{
	if (s->state != SESSION_RUNNING || !s->opts.keys || s->job->reading || s->job->out.live ||
	    s->job->done)
		return false;
	if (c == CTRL_C)
		interrupt(s);
	else if (c == CTRL_Z && has_prompt(s))
		job_abandon(s, "[left running: see `task list`]\n");
	else
		return false;
	return true;
}

static size_t input_room(const struct console_session *s)
{
	return sizeof(s->in) - s->in_len;
}

/*
 * A flood waits outside. Behind one, while a command runs that does not read, a little is let in
 * now and then and left out: somewhere in it may be the Ctrl-C.
 */
static void input_flow(struct console_session *s)
{
	bool deaf = s->state == SESSION_RUNNING && !s->job->reading && !s->job->out.live;

	if (!s->port)
		return;
	if (input_room(s) >= CONSOLE_IN_BYTES / 2 ||
	    (deaf && clock_now_us() - s->job_start_us > PROGRESS_AFTER_US))
		s->port->pause(s->port, false);
}

static void keys_step(struct console_session *s)
{
	struct key k;
	int c;

	if (s->state == SESSION_WAITING && s->in_len > 0)
		first_prompt(s);
	while ((s->state == SESSION_PROMPT || s->state == SESSION_MORE) && !s->closing &&
	       (c = session_take(s)) >= 0) {
		s->line.defer = s->in_len > 0;
		if (key_decode(&s->keys, (unsigned char)c, &k))
			key(s, &k);
	}
	s->line.defer = false;
	line_settle(&s->line);
	while (s->in_len > 0 && input_acts(s, s->in[s->in_head]))
		session_take(s);
	input_flow(s);
	if (s->state == SESSION_RUNNING && s->job->reading && s->in_len > 0)
		event_signal(&s->job->key);
}

void session_input(struct console_session *s, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (input_acts(s, bytes[i]))
			continue;
		if (s->in_len == sizeof(s->in))
			break;
		s->in[(s->in_head + s->in_len) % sizeof(s->in)] = bytes[i];
		s->in_len++;
	}
	if (s->port && input_room(s) < CONSOLE_IN_LOW_BYTES)
		s->port->pause(s->port, true);
	session_wake(s);
}

/* ---- the task ---- */

static void session_step(struct console_session *s)
{
	session_write(s, "", 0);
	if (s->state == SESSION_WAITING && console_is_ready()) {
		if (has_prompt(s))
			first_prompt(s);
		else
			run(s, s->opts.line);
	}
	keys_step(s);
	session_logs(s);
	if (s->state != SESSION_RUNNING)
		return;
	if (s->job->reading)
		s->page_off = true;
	if (!session_pump(s) && s->job->done)
		job_finish(s);
	else if (s->state == SESSION_RUNNING && s->opts.keys && has_prompt(s) &&
		 !s->job->out.live && clock_now_us() - s->job_start_us > PROGRESS_AFTER_US)
		session_progress(s);
}

static void session_end(struct console_session *s)
{
	if (s->job)
		job_leave(s->job);
	if (s->port)
		s->port->ended(s->port, s->status);
	list_del(&s->link);
	all.count--;
	line_fini(&s->line);
	free((char *)s->opts.line);
	free(s);
}

static void session_main(void *arg)
{
	struct console_session *s = arg;

	while (!s->closing) {
		event_clear(&s->wake);
		session_step(s);
		if (s->closing)
			break;
		if (s->in_len > 0 && s->state == SESSION_PROMPT)
			task_yield();
		else if (s->state == SESSION_RUNNING && s->opts.keys)
			task_wait_timeout(&s->wake, PROGRESS_EVERY_US);
		else
			task_wait(&s->wake);
	}
	session_end(s);
}

struct console_session *session_start(struct console_port *port, const struct session_opts *opts)
{
	struct console_session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->port = port;
	s->opts = *opts;
	s->opts.line = opts->line ? strdup(opts->line) : NULL;
	s->at_left = true;
	s->log_seq = log_seq();
	s->number = ++all.last_number;
	event_init(&s->wake);
	line_init(&s->line, "karst> ", opts->columns ? opts->columns : 80, editor_write);
	if ((opts->line && !s->opts.line) || !task_start("console", session_main, s)) {
		free((char *)s->opts.line);
		free(s);
		return NULL;
	}
	list_push(&all.sessions, &s->link);
	all.count++;
	return s;
}

void session_wake(struct console_session *s)
{
	event_signal(&s->wake);
}

void session_hangup(struct console_session *s)
{
	s->port = NULL;
	s->closing = true;
	if (s->job)
		event_signal(&s->job->key);
	session_wake(s);
}

void session_wake_all(void)
{
	struct console_session *s;

	list_for_each(s, &all.sessions, link)
		session_wake(s);
}

unsigned session_count(void)
{
	return all.count;
}
