/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows as one JSON object on one line: {"ok":true,"rows":[…]} or {"ok":false,"code":"ENOSPC",
 * "error":"…"} (RFC 8259). Rows are held until the command ends or CMD_HOLD_BYTES are reached; from
 * there on they are streamed, and "ok" comes after them.
 */
#include "core/cmd_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/util.h"

static void json_char(struct cmd_buf *buf, unsigned char c)
{
	char text[8];

	if (c == '"' || c == '\\')
		snprintf(text, sizeof(text), "\\%c", c);
	else if (c == '\n')
		snprintf(text, sizeof(text), "\\n");
	else if (c == '\t')
		snprintf(text, sizeof(text), "\\t");
	else
		snprintf(text, sizeof(text), "\\u%04x", c);
	cmd_buf_text(buf, text);
}

static void json_string(struct cmd_buf *buf, const char *text, size_t len)
{
	cmd_buf_add(buf, "\"", 1);
	for (size_t i = 0, n; i < len; i += MAX(n, 1)) {
		unsigned char c = (unsigned char)text[i];

		n = cmd_utf8_len(text + i, len - i);
		if (n == 0)
			cmd_buf_text(buf, "\\ufffd");
		else if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
			json_char(buf, c);
		else
			cmd_buf_add(buf, text + i, n);
	}
	cmd_buf_add(buf, "\"", 1);
}

static void json_value(struct cmd_buf *buf, const struct cmd_row *row, const struct cmd_cell *c)
{
	char text[32];

	switch ((enum cmd_kind)c->kind) {
	case KIND_TEXT:
		json_string(buf, row->text.data + c->offset, c->len);
		break;
	case KIND_U64:
	case KIND_SIZE:
	case KIND_TIME:
		snprintf(text, sizeof(text), "%llu", (unsigned long long)c->raw);
		cmd_buf_text(buf, text);
		break;
	case KIND_PERCENT:
		cmd_buf_add(buf, row->text.data + c->offset, c->len);
		break;
	case KIND_BOOL:
		cmd_buf_text(buf, c->raw ? "true" : "false");
		break;
	}
}

/* A failed command that has streamed nothing starts with {"ok":false; see cmd_json_end. */
static void stream_start(struct cmd_ctx *ctx)
{
	ctx->print.streaming = true;
	cmd_write(ctx, "{\"rows\":[", 9);
}

void cmd_json_row(struct cmd_ctx *ctx)
{
	struct cmd_print *p = &ctx->print;
	const struct cmd_row *row = &p->row;
	size_t start = p->held.len;

	if (p->rows > 1)
		cmd_buf_add(&p->held, ",", 1);
	cmd_buf_add(&p->held, "{", 1);
	for (unsigned i = 0; i < row->count; i++) {
		const char *name = p->column[row->cell[i].column];

		if (i > 0)
			cmd_buf_add(&p->held, ",", 1);
		json_string(&p->held, name, strlen(name));
		cmd_buf_add(&p->held, ":", 1);
		json_value(&p->held, row, &row->cell[i]);
	}
	cmd_buf_add(&p->held, "}", 1);
	if (p->held.lost) {
		p->held.len = start;
		return;
	}
	if (!p->streaming && p->held.len >= CMD_HOLD_BYTES)
		stream_start(ctx);
	if (p->streaming) {
		cmd_write(ctx, p->held.data, p->held.len);
		p->held.len = 0;
	}
}

static void error_add(struct cmd_ctx *ctx, struct cmd_buf *buf)
{
	char text[CMD_ERROR_BYTES * 2];

	cmd_buf_text(buf, "\"ok\":false,\"code\":");
	json_string(buf, cmd_errno_name(ctx->rc), strlen(cmd_errno_name(ctx->rc)));
	cmd_buf_text(buf, ",\"error\":");
	snprintf(text, sizeof(text), "%s%s%s", ctx->where ? ctx->where : "",
		 ctx->where ? ": " : "", ctx->error);
	json_string(buf, text, strlen(text));
}

void cmd_json_end(struct cmd_ctx *ctx)
{
	struct cmd_print *p = &ctx->print;
	struct cmd_buf buf = { 0 };
	char text[64];

	if ((p->held.lost || p->row.text.lost) && ctx->rc == 0)
		cmd_fail(ctx, -ENOMEM, "console: memory was short, some rows are missing; ask for "
			 "less with | match TEXT");
	cmd_buf_text(&buf, p->streaming ? "]," : "{");
	if (ctx->rc != 0)
		error_add(ctx, &buf);
	else
		cmd_buf_text(&buf, "\"ok\":true");
	if (ctx->count) {
		snprintf(text, sizeof(text), ",\"count\":%llu", (unsigned long long)p->rows);
		cmd_buf_text(&buf, text);
	} else if (!p->streaming && (ctx->rc == 0 || p->rows > 0)) {
		cmd_buf_text(&buf, ",\"rows\":[");
		cmd_buf_add(&buf, p->held.data, p->held.len);
		cmd_buf_text(&buf, "]");
	}
	cmd_buf_text(&buf, "}\n");
	if (!buf.lost)
		cmd_write(ctx, buf.data, buf.len);
	cmd_buf_free(&buf);
}

const char *cmd_errno_name(int rc)
{
#define NAME(e) { e, #e }
	static const struct {
		int code;
		const char *name;
	} names[] = {
		NAME(EPERM), NAME(ENOENT), NAME(EINTR), NAME(EIO), NAME(ENXIO), NAME(E2BIG),
		NAME(EBADF), NAME(EAGAIN), NAME(ENOMEM), NAME(EACCES), NAME(EFAULT), NAME(EBUSY),
		NAME(EEXIST), NAME(EXDEV), NAME(ENODEV), NAME(ENOTDIR), NAME(EISDIR), NAME(EINVAL),
		NAME(EMFILE), NAME(EFBIG), NAME(ENOSPC), NAME(EROFS), NAME(EPIPE), NAME(ERANGE),
		NAME(ENAMETOOLONG), NAME(ENOSYS), NAME(ENOTEMPTY), NAME(EOVERFLOW), NAME(EILSEQ),
		NAME(EPROTO), NAME(EBADMSG), NAME(EMSGSIZE), NAME(EOPNOTSUPP), NAME(EADDRINUSE),
		NAME(EADDRNOTAVAIL), NAME(ENETDOWN), NAME(ENETUNREACH), NAME(ECONNABORTED),
		NAME(ECONNRESET), NAME(ENOBUFS), NAME(EISCONN), NAME(ENOTCONN), NAME(ETIMEDOUT),
		NAME(ECONNREFUSED), NAME(EHOSTUNREACH), NAME(EALREADY), NAME(ECANCELED),
		NAME(ENODATA), NAME(ESHUTDOWN), NAME(ESTALE), NAME(EUCLEAN), NAME(ESRCH),
		NAME(ENFILE), NAME(ENOTBLK), NAME(ELOOP), NAME(EDQUOT), NAME(ETXTBSY),
		NAME(EINPROGRESS), NAME(EPROTONOSUPPORT), NAME(EAFNOSUPPORT),
	};
#undef NAME

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].code == -rc)
			return names[i].name;
	return "EUNKNOWN";
}
