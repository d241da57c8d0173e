/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows as aligned columns. Rows are held (encoded one after the other) until the command ends or
 * CMD_HOLD_BYTES are reached; then the widths are known, the header is written and further rows go
 * out at once. A record is the same data as name/value lines.
 *
 * Encoding of a held row: u32 length of what follows, then cells of u16 column, u16 text length,
 * text.
 */
#include "core/cmd_priv.h"

#include <ctype.h>
#include <string.h>

#include "core/base/util.h"

enum { LINE_BYTES = 16 * 1024, GAP = 2 };

struct text_line {
	size_t len;
	char text[LINE_BYTES];
};

static uint32_t text_width(const char *text, size_t len)
{
	uint32_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80;
	return n;
}

static void line_add(struct text_line *line, const char *text, size_t len)
{
	len = MIN(len, sizeof(line->text) - 1 - line->len);
	memcpy(line->text + line->len, text, len);
	line->len += len;
}

static void line_pad(struct text_line *line, uint32_t count)
{
	for (; count > 0; count--)
		line_add(line, " ", 1);
}

static void line_write(struct cmd_ctx *ctx, struct text_line *line)
{
	while (line->len > 0 && line->text[line->len - 1] == ' ')
		line->len--;
	line->text[line->len++] = '\n';
	cmd_write(ctx, line->text, line->len);
	line->len = 0;
}

/* Colour of values that say how something is doing; NULL: none. */
static const char *value_colour(struct cmd_ctx *ctx, const char *text, size_t len)
{
	static const struct {
		const char *text, *colour;
	} words[] = {
		{ "ok", "\x1b[32m" }, { "online", "\x1b[32m" }, { "up", "\x1b[32m" },
		{ "live", "\x1b[32m" }, { "warn", "\x1b[33m" }, { "degraded", "\x1b[33m" },
		{ "error", "\x1b[31m" }, { "failed", "\x1b[31m" }, { "down", "\x1b[31m" },
		{ "gone", "\x1b[31m" }, { "dead", "\x1b[31m" },
	};

	for (unsigned i = 0; ctx->out->colour && i < ARRAY_SIZE(words); i++)
		if (strlen(words[i].text) == len && memcmp(words[i].text, text, len) == 0)
			return words[i].colour;
	return NULL;
}

static void cell_write(struct cmd_ctx *ctx, struct text_line *line, unsigned column,
		       const char *text, size_t len, bool last)
{
	struct cmd_print *p = &ctx->print;
	uint32_t width = text_width(text, len);
	uint32_t pad = p->width[column] > width ? p->width[column] - width : 0;
	const char *colour = value_colour(ctx, text, len);

	if (p->number[column])
		line_pad(line, pad);
	if (colour)
		line_add(line, colour, strlen(colour));
	line_add(line, text, len);
	if (colour)
		line_add(line, "\x1b[0m", 4);
	if (!last)
		line_pad(line, (p->number[column] ? 0 : pad) + GAP);
}

static void header_write(struct cmd_ctx *ctx, struct text_line *line)
{
	struct cmd_print *p = &ctx->print;

	p->header_done = true;
	if (p->record)
		return;
	if (ctx->out->colour)
		line_add(line, "\x1b[1m", 4);
	for (unsigned i = 0; i < p->column_count; i++) {
		char name[CMD_COLUMN_BYTES];
		size_t len = strlen(p->column[i]);

		for (size_t j = 0; j < len; j++)
			name[j] = p->column[i][j] == '_' ? ' ' :
				(char)toupper((unsigned char)p->column[i][j]);
		cell_write(ctx, line, i, name, len, i + 1 == p->column_count);
	}
	if (ctx->out->colour)
		line_add(line, "\x1b[0m", 4);
	line_write(ctx, line);
}

static void record_write(struct cmd_ctx *ctx, struct text_line *line, const char *const *text,
			 const uint16_t *len)
{
	struct cmd_print *p = &ctx->print;
	uint32_t widest = 0;

	for (unsigned i = 0; i < p->column_count; i++)
		widest = MAX(widest, (uint32_t)strlen(p->column[i]));
	if (p->started)
		line_write(ctx, line);
	for (unsigned i = 0; i < p->column_count; i++) {
		const char *colour;

		if (!text[i])
			continue;
		line_add(line, p->column[i], strlen(p->column[i]));
		line_pad(line, widest + GAP - (uint32_t)strlen(p->column[i]));
		colour = value_colour(ctx, text[i], len[i]);
		if (colour)
			line_add(line, colour, strlen(colour));
		line_add(line, text[i], len[i]);
		if (colour)
			line_add(line, "\x1b[0m", 4);
		line_write(ctx, line);
	}
}

/* Writes one row from its encoding. */
static void row_write(struct cmd_ctx *ctx, struct text_line *line, const char *data, size_t bytes)
{
	struct cmd_print *p = &ctx->print;
	const char *text[CMD_COLUMNS_MAX] = { NULL };
	uint16_t len[CMD_COLUMNS_MAX] = { 0 };

	for (size_t pos = 0; pos < bytes; ) {
		uint16_t column, n;

		memcpy(&column, data + pos, sizeof(column));
		memcpy(&n, data + pos + 2, sizeof(n));
		text[column] = data + pos + 4;
		len[column] = n;
		pos += 4 + (size_t)n;
	}
	if (p->record) {
		record_write(ctx, line, text, len);
		return;
	}
	for (unsigned i = 0; i < p->column_count; i++)
		cell_write(ctx, line, i, text[i] ? text[i] : "", len[i], i + 1 == p->column_count);
	line_write(ctx, line);
}

/* Encodes the open row at the end of held; false: no memory. */
static bool row_hold(struct cmd_print *p)
{
	size_t start = p->held.len;
	uint32_t bytes = 0;

	if (!cmd_buf_add(&p->held, (const char *)&bytes, sizeof(bytes)))
		return false;
	for (unsigned i = 0; i < p->row.count; i++) {
		const struct cmd_cell *c = &p->row.cell[i];
		uint16_t head[2] = { c->column, (uint16_t)MIN(c->len, UINT16_MAX) };
		uint32_t width = text_width(p->row.text.data + c->offset, head[1]);

		if (!cmd_buf_add(&p->held, (const char *)head, sizeof(head)) ||
		    !cmd_buf_add(&p->held, p->row.text.data + c->offset, head[1])) {
			p->held.len = start;
			return false;
		}
		if (!p->header_done) {
			p->width[c->column] = MAX(p->width[c->column], width);
			p->number[c->column] = c->kind != KIND_TEXT && c->kind != KIND_BOOL;
		}
	}
	bytes = (uint32_t)(p->held.len - start - sizeof(bytes));
	memcpy(p->held.data + start, &bytes, sizeof(bytes));
	return true;
}

void cmd_table_row(struct cmd_ctx *ctx)
{
	struct cmd_print *p = &ctx->print;

	if (row_hold(p) && (p->header_done || p->held.len >= CMD_HOLD_BYTES))
		cmd_table_flush(ctx);
}

void cmd_table_flush(struct cmd_ctx *ctx)
{
	struct cmd_print *p = &ctx->print;
	struct text_line line;

	if (p->held.len == 0)
		return;
	line.len = 0;
	if (!p->header_done) {
		for (unsigned i = 0; i < p->column_count; i++)
			p->width[i] = MAX(p->width[i], (uint32_t)strlen(p->column[i]));
		header_write(ctx, &line);
	}
	for (size_t pos = 0; pos < p->held.len; ) {
		uint32_t bytes;

		memcpy(&bytes, p->held.data + pos, sizeof(bytes));
		row_write(ctx, &line, p->held.data + pos + sizeof(bytes), bytes);
		pos += sizeof(bytes) + bytes;
	}
	p->held.len = 0;
}
