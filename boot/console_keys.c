/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes from a terminal to keys: control characters, UTF-8, and the escape sequences of ECMA-48 and
 * xterm. Total: a sequence that never ends, a broken character or a NUL is left out, and the next
 * byte that cannot belong to it starts afresh.
 */
#include "boot/console.h"

#include <string.h>

#include "core/base/util.h"

enum { NUL = 0, ESC = 0x1b, DEL = 0x7f, REPORT_MAX = 9999 };

static const uint8_t controls[32] = {
	[1] = KEY_HOME,                 /* Ctrl-A */
	[2] = KEY_LEFT,                 /* Ctrl-B */
	[3] = KEY_CANCEL,               /* Ctrl-C */
	[4] = KEY_EOF,                  /* Ctrl-D */
	[5] = KEY_END,                  /* Ctrl-E */
	[6] = KEY_RIGHT,                /* Ctrl-F */
	[7] = KEY_CANCEL,               /* Ctrl-G */
	[8] = KEY_BACKSPACE,
	[9] = KEY_TAB,
	[10] = KEY_ENTER,
	[11] = KEY_KILL_END,            /* Ctrl-K */
	[12] = KEY_CLEAR,               /* Ctrl-L */
	[13] = KEY_ENTER,
	[14] = KEY_DOWN,                /* Ctrl-N */
	[16] = KEY_UP,                  /* Ctrl-P */
	[18] = KEY_SEARCH,              /* Ctrl-R */
	[21] = KEY_KILL_LINE,           /* Ctrl-U */
	[23] = KEY_KILL_WORD,           /* Ctrl-W */
};

/* Decimal at *p, at most REPORT_MAX; moves it. */
static unsigned parameter(const char **p)
{
	unsigned v = 0;

	for (; **p >= '0' && **p <= '9'; (*p)++)
		v = MIN(v * 10 + (unsigned)(**p - '0'), (unsigned)REPORT_MAX);
	return v;
}

/* The end of `ESC [ parameters FINAL`. */
static enum key_code csi_end(struct key_decoder *d, unsigned char final, struct key *key)
{
	static const struct {
		unsigned number;
		enum key_code code;
	} tilde[] = {
		{ 1, KEY_HOME }, { 3, KEY_DELETE }, { 4, KEY_END }, { 5, KEY_PAGE_UP },
		{ 6, KEY_PAGE_DOWN }, { 7, KEY_HOME }, { 8, KEY_END },
	};
	const char *p = d->buf;
	unsigned first, second = 0;
	bool modified;

	d->buf[d->len] = '\0';
	first = parameter(&p);
	if (*p == ';') {
		p++;
		second = parameter(&p);
	}
	if (*p != '\0')
		return KEY_NONE;
	modified = second == 3 || second == 5;  /* Alt or Ctrl */
	switch (final) {
	case 'A':
		return KEY_UP;
	case 'B':
		return KEY_DOWN;
	case 'C':
		return modified ? KEY_WORD_RIGHT : KEY_RIGHT;
	case 'D':
		return modified ? KEY_WORD_LEFT : KEY_LEFT;
	case 'H':
		return KEY_HOME;
	case 'F':
		return KEY_END;
	case 'R':
		key->row = first;
		key->column = second;
		return first > 0 && second > 0 ? KEY_REPORT : KEY_NONE;
	case '~':
		for (unsigned i = 0; i < ARRAY_SIZE(tilde); i++)
			if (tilde[i].number == first)
				return tilde[i].code;
		return KEY_NONE;
	default:
		return KEY_NONE;
	}
}

static enum key_code ss3_end(unsigned char byte)
{
	switch (byte) {
	case 'A':
		return KEY_UP;
	case 'B':
		return KEY_DOWN;
	case 'C':
		return KEY_RIGHT;
	case 'D':
		return KEY_LEFT;
	case 'H':
		return KEY_HOME;
	case 'F':
		return KEY_END;
	case 'M':
		return KEY_ENTER;
	default:
		return KEY_NONE;
	}
}

static enum key_code escape_next(struct key_decoder *d, unsigned char byte)
{
	d->state = KEYS_GROUND;
	d->len = 0;
	switch (byte) {
	case '[':
		d->state = KEYS_CSI;
		return KEY_NONE;
	case 'O':
		d->state = KEYS_SS3;
		return KEY_NONE;
	case ESC:
		d->state = KEYS_ESCAPE;
		return KEY_ESCAPE;
	case 'b':
		return KEY_WORD_LEFT;
	case 'f':
		return KEY_WORD_RIGHT;
	case 8:
	case DEL:
		return KEY_KILL_WORD;
	default:
		return KEY_NONE;
	}
}

static enum key_code csi_next(struct key_decoder *d, unsigned char byte, struct key *key)
{
	if (byte >= 0x20 && byte <= 0x3f && d->len + 1 < sizeof(d->buf)) {
		d->buf[d->len++] = (char)byte;
		return KEY_NONE;
	}
	d->state = KEYS_GROUND;
	if (byte >= 0x40 && byte <= 0x7e)
		return csi_end(d, byte, key);
	if (byte == ESC)
		d->state = KEYS_ESCAPE;
	return KEY_NONE;
}

/* Whether the bytes so far begin a character: no overlong form, no surrogate, at most U+10FFFF. */
static bool utf8_begins(const char *buf, unsigned len)
{
	unsigned char a = (unsigned char)buf[0], b = (unsigned char)buf[1];

	if (len < 2)
		return true;
	if ((b & 0xc0) != 0x80)
		return false;
	return !(a == 0xe0 && b < 0xa0) && !(a == 0xed && b >= 0xa0) &&
	       !(a == 0xf0 && b < 0x90) && !(a == 0xf4 && b >= 0x90) && !(a == 0xc2 && b < 0xa0);
}

static enum key_code ground_next(struct key_decoder *d, unsigned char byte, struct key *key)
{
	bool after_cr = d->after_cr;

	d->after_cr = byte == '\r';
	if (byte == '\n' && after_cr)
		return KEY_NONE;
	if (byte == ESC) {
		d->state = KEYS_ESCAPE;
		return KEY_NONE;
	}
	if (byte < 0x20)
		return controls[byte];
	if (byte == DEL)
		return KEY_BACKSPACE;
	if (byte < 0x80) {
		key->text[0] = (char)byte;
		key->text[1] = '\0';
		return KEY_CHAR;
	}
	if (byte < 0xc2 || byte > 0xf4)
		return KEY_NONE;
	d->state = KEYS_UTF8;
	d->buf[0] = (char)byte;
	d->len = 1;
	d->want = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
	return KEY_NONE;
}

static enum key_code utf8_next(struct key_decoder *d, unsigned char byte, struct key *key)
{
	if ((byte & 0xc0) != 0x80) {
		d->state = KEYS_GROUND;
		return ground_next(d, byte, key);
	}
	d->buf[d->len++] = (char)byte;
	if (!utf8_begins(d->buf, d->len)) {
		d->state = KEYS_GROUND;
		return KEY_NONE;
	}
	if (d->len < d->want)
		return KEY_NONE;
	d->state = KEYS_GROUND;
	memcpy(key->text, d->buf, d->len);
	key->text[d->len] = '\0';
	return KEY_CHAR;
}

bool key_decode(struct key_decoder *d, unsigned char byte, struct key *key)
{
	key->code = KEY_NONE;
	switch (d->state) {
	case KEYS_GROUND:
		key->code = ground_next(d, byte, key);
		break;
	case KEYS_ESCAPE:
		key->code = escape_next(d, byte);
		break;
	case KEYS_CSI:
		key->code = csi_next(d, byte, key);
		break;
	case KEYS_SS3:
		d->state = byte == ESC ? KEYS_ESCAPE : KEYS_GROUND;
		key->code = ss3_end(byte);
		break;
	case KEYS_UTF8:
		key->code = utf8_next(d, byte, key);
		break;
	}
	return key->code != KEY_NONE;
}
