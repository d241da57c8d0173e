/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output of commands: a handler gives rows of named, typed values; when a row ends it passes the
 * filters and goes to the table (cmd_table.c) or to JSON (cmd_json.c). Memory is bounded however
 * many rows there are: one row, plus at most CMD_HOLD_BYTES that are held back.
 */
#include "core/cmd_priv.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"

/* ---- growing text ---- */

bool cmd_buf_add(struct cmd_buf *buf, const char *data, size_t len)
{
	if (buf->len + len > buf->cap) {
		size_t cap = MAX(buf->cap * 2, ALIGN_UP(buf->len + len, 1024));
		char *grown = buf->lost ? NULL : realloc(buf->data, cap);

		if (!grown) {
			buf->lost = true;
			return false;
		}
		buf->data = grown;
		buf->cap = cap;
	}
	if (len > 0)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	return true;
}

bool cmd_buf_text(struct cmd_buf *buf, const char *text)
{
	return cmd_buf_add(buf, text, strlen(text));
}

void cmd_buf_free(struct cmd_buf *buf)
{
	free(buf->data);
	*buf = (struct cmd_buf){ 0 };
}

size_t cmd_utf8_len(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n;
	uint32_t c;

	if (len == 0)
		return 0;
	if (u[0] < 0x80)
		return 1;
	if (u[0] < 0xc2 || u[0] > 0xf4)
		return 0;
	n = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	if (n > len)
		return 0;
	c = u[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (u[i] & 0x3f);
	}
	if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
	    (n == 4 && (c < 0x10000 || c > 0x10ffff)))
		return 0;
	return n;
}

/* ---- rows ---- */

void cmd_write(struct cmd_ctx *ctx, const char *text, size_t len)
{
	if (len > 0)
		ctx->out->write(ctx->out, text, len);
	ctx->print.started = true;
}

/* Whether TEXT has WHAT in it, letters compared without case. */
static bool text_matches(const char *text, size_t len, const char *what)
{
	size_t n = strlen(what);

	for (size_t i = 0; i + n <= len; i++) {
		size_t j = 0;

		while (j < n && tolower((unsigned char)text[i + j]) ==
				tolower((unsigned char)what[j]))
			j++;
		if (j == n)
			return true;
	}
	return false;
}

/* Of a record each line is judged by itself: keeps the values that match. */
static bool record_filter(struct cmd_ctx *ctx)
{
	struct cmd_row *row = &ctx->print.row;
	unsigned kept = 0;

	for (unsigned i = 0; i < row->count; i++) {
		const struct cmd_cell *c = &row->cell[i];
		const char *name = ctx->print.column[c->column];

		if (text_matches(row->text.data + c->offset, c->len, ctx->match) ||
		    text_matches(name, strlen(name), ctx->match))
			row->cell[kept++] = *c;
	}
	row->count = kept;
	return kept > 0;
}

static bool row_matches(struct cmd_ctx *ctx)
{
	struct cmd_row *row = &ctx->print.row;

	if (!ctx->match)
		return true;
	if (ctx->print.record)
		return record_filter(ctx);
	for (unsigned i = 0; i < row->count; i++)
		if (text_matches(row->text.data + row->cell[i].offset, row->cell[i].len,
				 ctx->match))
			return true;
	return false;
}

static void row_end(struct cmd_ctx *ctx)
{
	struct cmd_print *p = &ctx->print;

	if (!p->row_open)
		return;
	p->row_open = false;
	if (p->row.count == 0 || !row_matches(ctx))
		return;
	p->rows++;
	if (ctx->count)
		return;
	if (ctx->json)
		cmd_json_row(ctx);
	else
		cmd_table_row(ctx);
}

void cmd_row(struct cmd_ctx *ctx)
{
	row_end(ctx);
	ctx->print.row.count = 0;
	ctx->print.row.text.len = 0;
	ctx->print.row_open = true;
}

void cmd_as_record(struct cmd_ctx *ctx)
{
	ctx->print.record = true;
}

static unsigned column_of(struct cmd_print *p, const char *name)
{
	unsigned i;

	for (i = 0; i < p->column_count; i++)
		if (strcmp(p->column[i], name) == 0)
			return i;
	if (i < CMD_COLUMNS_MAX)
		snprintf(p->column[p->column_count++], CMD_COLUMN_BYTES, "%s", name);
	return i;
}

/* Adds a value to the row; more than a row takes is left out of it. */
static void cell_add(struct cmd_ctx *ctx, const char *name, enum cmd_kind kind, const char *text,
		     size_t len, uint64_t raw)
{
	struct cmd_print *p = &ctx->print;
	struct cmd_cell *cell;
	unsigned column;

	if (!p->row_open)
		cmd_row(ctx);
	column = column_of(p, name);
	if (p->row.count == CMD_COLUMNS_MAX || column == CMD_COLUMNS_MAX ||
	    p->row.text.len + len > CMD_ROW_BYTES)
		return;
	cell = &p->row.cell[p->row.count];
	cell->column = (uint16_t)column;
	cell->kind = (uint8_t)kind;
	cell->offset = (uint32_t)p->row.text.len;
	cell->len = (uint32_t)len;
	cell->raw = raw;
	if (cmd_buf_add(&p->row.text, text, len))
		p->row.count++;
}

/* ---- values ---- */

void cmd_col(struct cmd_ctx *ctx, const char *name, const char *fmt, ...)
{
	char text[CMD_CELL_BYTES], clean[CMD_CELL_BYTES];
	size_t len, n = 0;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = rc < 0 ? 0 : MIN((size_t)rc, sizeof(text) - 1);
	/* what is no text (devices and peers send it) becomes '?': it cannot steer a terminal */
	for (size_t i = 0; i < len; ) {
		size_t step = cmd_utf8_len(text + i, len - i);
		bool control = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ||
			(step == 2 && text[i] == '\xc2' && (unsigned char)text[i + 1] < 0xa0);

		if (step == 0 || control) {
			clean[n++] = '?';
			i += MAX(step, 1);
			continue;
		}
		memcpy(clean + n, text + i, step);
		n += step;
		i += step;
	}
	cell_add(ctx, name, KIND_TEXT, clean, n, 0);
}

static void number_add(struct cmd_ctx *ctx, const char *name, enum cmd_kind kind, uint64_t raw,
		       const char *text)
{
	cell_add(ctx, name, kind, text, strlen(text), raw);
}

void cmd_col_u64(struct cmd_ctx *ctx, const char *name, uint64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	number_add(ctx, name, KIND_U64, v, text);
}

void cmd_col_size(struct cmd_ctx *ctx, const char *name, uint64_t bytes)
{
	static const char units[] = "\0KMGTPE";
	unsigned unit = 0;
	uint64_t whole = bytes;
	char text[32];

	for (; whole >= 1024; whole >>= 10)
		unit++;
	if (unit == 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	} else if ((bytes & ((1ull << (10 * unit)) - 1)) == 0) {
		snprintf(text, sizeof(text), "%llu%c", (unsigned long long)whole, units[unit]);
	} else {
		uint64_t tenths = ((bytes >> (10 * (unit - 1))) & 1023) * 10 / 1024;

		snprintf(text, sizeof(text), "%llu.%llu%c", (unsigned long long)whole,
			 (unsigned long long)tenths, units[unit]);
	}
	number_add(ctx, name, KIND_SIZE, bytes, text);
}

void cmd_col_time(struct cmd_ctx *ctx, const char *name, uint64_t ns)
{
	char text[32];

	if (ns < 1000)
		snprintf(text, sizeof(text), "%lluns", (unsigned long long)ns);
	else if (ns < 1000000)
		snprintf(text, sizeof(text), "%.1fus", (double)ns / 1e3);
	else if (ns < 1000000000)
		snprintf(text, sizeof(text), "%.1fms", (double)ns / 1e6);
	else
		snprintf(text, sizeof(text), "%.1fs", (double)ns / 1e9);
	number_add(ctx, name, KIND_TIME, ns, text);
}

void cmd_col_percent(struct cmd_ctx *ctx, const char *name, double v)
{
	char text[32];

	snprintf(text, sizeof(text), "%.1f", v >= 0 && v < 1e15 ? v : 0.0);
	number_add(ctx, name, KIND_PERCENT, 0, text);
}

void cmd_col_bool(struct cmd_ctx *ctx, const char *name, bool v)
{
	number_add(ctx, name, KIND_BOOL, v, v ? "yes" : "no");
}

/* A line of free text, as long as it may be (help, hints, configuration). */
void cmd_line(struct cmd_ctx *ctx, const char *fmt, ...)
{
	char text[CMD_LINE_BYTES];
	size_t len;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = rc < 0 ? 0 : MIN((size_t)rc, sizeof(text) - 1);
	row_end(ctx);
	if (ctx->match && !text_matches(text, len, ctx->match))
		return;
	if (ctx->count || ctx->json) {
		cmd_row(ctx);
		cell_add(ctx, "text", KIND_TEXT, text, len, 0);
		row_end(ctx);
		return;
	}
	ctx->print.rows++;
	cmd_table_flush(ctx);
	ctx->print.column_count = 0;
	ctx->print.header_done = false;
	cmd_write(ctx, text, len);
	cmd_write(ctx, "\n", 1);
}

/* ---- the end ---- */

static void error_write(struct cmd_ctx *ctx)
{
	char text[CMD_ERROR_BYTES * 2], *p = ctx->error;
	const char *red = ctx->out->colour ? "\x1b[31m" : "", *plain = red[0] ? "\x1b[0m" : "";
	size_t left = strlen(p);
	int n;

	while (left > 0) {
		size_t step = cmd_utf8_len(p, left);

		if (step == 0 || (unsigned char)*p < 0x20 || *p == 0x7f) {
			*p = '?';
			step = 1;
		}
		p += step;
		left -= step;
	}
	n = snprintf(text, sizeof(text), "%serror:%s %s%s%s\n", red, plain,
		     ctx->where ? ctx->where : "", ctx->where ? ": " : "", ctx->error);
	cmd_write(ctx, text, MIN((size_t)n, sizeof(text) - 1));
}

void cmd_print_end(struct cmd_ctx *ctx)
{
	static const char short_text[] = "[memory was short: some rows are missing]\n";
	struct cmd_print *p = &ctx->print;

	row_end(ctx);
	if (ctx->json) {
		cmd_json_end(ctx);
		return;
	}
	if (ctx->count && ctx->rc == 0) {
		char text[32];
		int n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)p->rows);

		cmd_write(ctx, text, (size_t)n);
	}
	cmd_table_flush(ctx);
	if (p->held.lost || p->row.text.lost)
		cmd_write(ctx, short_text, sizeof(short_text) - 1);
	if (ctx->rc != 0)
		error_write(ctx);
}

void cmd_print_free(struct cmd_ctx *ctx)
{
	cmd_buf_free(&ctx->print.held);
	cmd_buf_free(&ctx->print.row.text);
}
