/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a session puts on its screen: its own line or progress bar at the bottom, and above it what
 * commands print, page by page, and log records. Everything passes session_write, which drops and
 * counts what the port does not take.
 */
#include "boot/console.h"

#include <stdio.h>
#include <string.h>

#include "core/base/util.h"
#include "core/clock.h"

enum {
	NOTE_BYTES = 64,                /* room kept for telling about dropped bytes */
	PUMP_BYTES = 4096,
	LOGS_AT_ONCE = 20,
	BAR_CELLS = 24,
};

static const char more_text[] = "--More-- (space: page, Enter: line, q: stop)";

void session_write(struct console_session *s, const char *text, size_t len)
{
	size_t room = s->port ? s->port->room(s->port) : 0;

	if (s->dropped > 0 && room > len + NOTE_BYTES) {
		char note[NOTE_BYTES];
		int n = snprintf(note, sizeof(note), "\n[… %llu bytes dropped]\n",
				 (unsigned long long)s->dropped);

		s->dropped = 0;
		s->port->write(s->port, note, (size_t)n);
	} else if (s->dropped > 0 || room < len) {
		s->dropped += len;
		return;
	}
	if (len > 0) {
		s->port->write(s->port, text, len);
		s->at_left = text[len - 1] == '\n' || text[len - 1] == '\r';
	}
}

static void text_write(struct console_session *s, const char *text)
{
	session_write(s, text, strlen(text));
}

/* ---- the bottom ---- */

static void cells_clear(struct console_session *s, unsigned count)
{
	char blank[128];

	count = MIN(count, (unsigned)sizeof(blank) - 2);
	blank[0] = '\r';
	memset(blank + 1, ' ', count);
	blank[count + 1] = '\r';
	session_write(s, blank, count + 2);
	s->at_left = true;
}

void session_hide(struct console_session *s)
{
	if (s->state == SESSION_PROMPT) {
		line_hide(&s->line);
		s->at_left = true;
	}
	if (s->progress_cells > 0)
		cells_clear(s, s->progress_cells);
	s->progress_cells = 0;
	if (!s->at_left && s->state != SESSION_MORE)
		text_write(s, "\n");
}

void session_unhide(struct console_session *s)
{
	if (s->state == SESSION_PROMPT)
		line_show(&s->line);
	else if (s->state == SESSION_MORE)
		text_write(s, more_text);
}

void session_print(struct console_session *s, const char *text)
{
	if (s->state == SESSION_MORE)
		cells_clear(s, sizeof(more_text) - 1);
	session_hide(s);
	text_write(s, text);
	text_write(s, "\n");
	session_unhide(s);
}

/* "[####      ] 42% what"; only while a command runs and says how far it is. */
void session_progress(struct console_session *s)
{
	struct task_info info;
	char bar[BAR_CELLS + 1], text[120];
	unsigned percent, full;
	int n;

	if (!job_progress(s->job, &info) || !(s->at_left || s->progress_cells > 0))
		return;
	percent = info.done >= info.total ? 100 :
		(unsigned)((double)info.done * 100 / (double)info.total);
	full = percent * BAR_CELLS / 100;
	memset(bar, '#', full);
	memset(bar + full, '.', BAR_CELLS - full);
	bar[BAR_CELLS] = '\0';
	n = snprintf(text, sizeof(text), "\r[%s] %3u%% %.40s", bar, percent, info.what);
	session_write(s, text, (size_t)n);
	if (s->progress_cells > (unsigned)n - 1) {
		/* the text has become shorter */
		unsigned rest = s->progress_cells - ((unsigned)n - 1);

		for (unsigned i = 0; i < rest; i++)
			session_write(s, " ", 1);
	}
	s->progress_cells = MAX(s->progress_cells, (unsigned)n - 1);
}

/* ---- logs ---- */

static void log_show(struct console_session *s, const struct log_record *rec)
{
	static const char *const colours[] = {
		[LOG_ERROR] = "\x1b[31m", [LOG_WARN] = "\x1b[33m", [LOG_INFO] = "",
		[LOG_DEBUG] = "\x1b[2m",
	};
	const char *on = s->opts.colour ? colours[rec->level] : "";
	char text[LOG_TEXT_BYTES + 64];

	snprintf(text, sizeof(text), "%s[%llu.%03llu] %s: %s%s\n", on,
		 (unsigned long long)(rec->uptime_us / 1000000),
		 (unsigned long long)(rec->uptime_us / 1000 % 1000), log_level_name(rec->level),
		 rec->text, on[0] ? "\x1b[0m" : "");
	text_write(s, text);
}

/*
 * Warnings and errors come by themselves. Not into a live screen or a page that is being read:
 * those wait in the log's own ring.
 */
void session_logs(struct console_session *s)
{
	struct log_record rec;
	unsigned shown = 0;
	bool hidden = false;

	if (s->opts.kind == SESSION_COMMAND || s->state == SESSION_MORE ||
	    (s->job && (s->job->out.live || s->job->reading)))
		return;
	if (log_seq() > s->log_seq + LOG_RECORDS)
		s->log_seq = log_seq() - LOG_RECORDS;
	while (log_read(&s->log_seq, &rec) == 0) {
		if (rec.level > LOG_WARN)
			continue;
		if (!hidden)
			session_hide(s);
		hidden = true;
		if (++shown > LOGS_AT_ONCE) {
			text_write(s, "[… more in `log show`]\n");
			s->log_seq = log_seq();
			break;
		}
		log_show(s, &rec);
	}
	if (hidden)
		session_unhide(s);
}

/* ---- pages ---- */

static bool pages(const struct console_session *s)
{
	return s->opts.kind != SESSION_COMMAND && s->opts.rows > 2 && !s->page_off &&
		s->job && !s->job->out.live;
}

/*
 * How many of the LEN bytes fit on the rest of the page; counts them. Escape sequences of our own
 * (colours, ending in m) have no width.
 */
static size_t page_take(struct console_session *s, const char *text, size_t len)
{
	unsigned columns = s->opts.columns ? s->opts.columns : 80;
	bool escape = false;

	for (size_t i = 0; i < len; i++) {
		if (s->page_lines + 1 >= s->opts.rows)
			return i;
		if (escape) {
			escape = text[i] != 'm';
		} else if (text[i] == '\x1b') {
			escape = true;
		} else if (text[i] == '\n') {
			s->page_lines++;
			s->page_column = 0;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80 && ++s->page_column > columns) {
			s->page_lines++;
			s->page_column = 1;
		}
	}
	return len;
}

/* N bytes, less a character that would be cut. */
static size_t whole_characters(const char *text, size_t n, size_t len)
{
	size_t m = n;

	if (n == len)
		return n;
	while (m > 0 && ((unsigned char)text[m] & 0xc0) == 0x80)
		m--;
	return m > 0 ? m : n;
}

static void hold_took(struct hold *h, size_t n)
{
	h->head += n;
	h->len -= n;
	if (h->len == 0)
		h->head = 0;
}

bool session_pump(struct console_session *s)
{
	struct hold *h = &s->job->hold;

	if (s->discard)
		hold_took(h, h->len);
	while (h->len > 0 && s->port) {
		size_t room = s->port->room(s->port), n = MIN(h->len, (size_t)PUMP_BYTES);

		if (room <= NOTE_BYTES * 2)
			return true;
		n = whole_characters(h->data + h->head, MIN(n, room - NOTE_BYTES * 2), h->len);
		if (s->progress_cells > 0)
			session_hide(s);
		if (pages(s)) {
			size_t fits = page_take(s, h->data + h->head, n);

			if (fits == 0) {
				s->state = SESSION_MORE;
				text_write(s, more_text);
				return true;
			}
			n = fits;
		}
		session_write(s, h->data + h->head, n);
		hold_took(h, n);
	}
	s->lost = s->lost || h->dropped > 0;
	s->dropped += h->dropped;
	h->dropped = 0;
	session_write(s, "", 0);
	return h->len > 0;
}

void session_more_key(struct console_session *s, const struct key *key)
{
	bool space = key->code == KEY_CHAR && key->text[0] == ' ';
	bool quit = key->code == KEY_CHAR && (key->text[0] == 'q' || key->text[0] == 'Q');

	if (key->code == KEY_ENTER || key->code == KEY_DOWN) {
		s->page_lines--;
	} else if (space || key->code == KEY_PAGE_DOWN) {
		s->page_lines = 0;
	} else if (quit || key->code == KEY_CANCEL || key->code == KEY_EOF) {
		s->discard = true;
		if (key->code == KEY_CANCEL)
			job_cancel(s->job);
	} else {
		return;
	}
	cells_clear(s, sizeof(more_text) - 1);
	s->state = SESSION_RUNNING;
}
