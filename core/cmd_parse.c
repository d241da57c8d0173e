/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Typed values: sizes, times, numbers, addresses, choices. Strict: a value is taken whole or
 * refused with the reason and the form that would be right; nothing is clamped.
 */
#include "core/cmd_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/util.h"

struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "", 1 }, { "K", 1ull << 10 }, { "M", 1ull << 20 }, { "G", 1ull << 30 },
	{ "T", 1ull << 40 }, { "P", 1ull << 50 }, { NULL, 0 },
};

static const struct unit time_units[] = {
	{ "us", 1 }, { "ms", 1000 }, { "s", 1000000 }, { "m", 60000000 }, { "h", 3600000000ull },
	{ NULL, 0 },
};

static const char *const bool_words[] = { "off", "on", "no", "yes", "false", "true", NULL };

/* Digits at *text; moves it past them. -EINVAL: none, -ERANGE: more than 64 bits. */
static int digits_parse(const char **text, uint64_t *v)
{
	const char *p = *text;
	bool over = false;

	*v = 0;
	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		over = over || mul_overflows(*v, 10u, v) ||
			add_overflows(*v, (uint64_t)(*p - '0'), v);
	*text = p;
	return over ? -ERANGE : 0;
}

static int units_parse(const char *text, const struct unit *units, uint64_t *v)
{
	int rc = digits_parse(&text, v);

	if (rc == -EINVAL)
		return rc;
	for (; units->suffix; units++) {
		char lower[2] = { (char)(units->suffix[0] | 0x20), '\0' };

		if (strcmp(text, units->suffix) != 0 &&
		    (units->suffix[0] == '\0' || strcmp(text, lower) != 0))
			continue;
		if (rc == 0 && mul_overflows(*v, units->factor, v))
			rc = -ERANGE;
		return rc;
	}
	return -EINVAL;
}

/* 4096 → "4K": the largest unit that says it exactly. */
static void units_format(uint64_t v, const struct unit *units, char *buf, size_t buf_bytes)
{
	const struct unit *best = units;

	for (; units->suffix; units++)
		if (v != 0 && v % units->factor == 0)
			best = units;
	snprintf(buf, buf_bytes, "%llu%s", (unsigned long long)(v / best->factor), best->suffix);
}

static int range_check(const struct cmd_arg *arg, int rc, uint64_t v, char *why, size_t why_bytes)
{
	const struct unit *units = arg->type == CMD_SIZE ? size_units :
				   arg->type == CMD_TIME ? time_units : NULL;
	char lo[32], hi[32];

	if (rc == 0 && v >= arg->min && (arg->max == 0 || v <= arg->max))
		return 0;
	if (units) {
		units_format(arg->min, units, lo, sizeof(lo));
		units_format(arg->max, units, hi, sizeof(hi));
	} else {
		snprintf(lo, sizeof(lo), "%llu", (unsigned long long)arg->min);
		snprintf(hi, sizeof(hi), "%llu", (unsigned long long)arg->max);
	}
	if (arg->max != 0)
		snprintf(why, why_bytes, "out of range; give %s to %s", lo, hi);
	else if (rc != 0)
		snprintf(why, why_bytes, "does not fit 64 bits; give less");
	else
		snprintf(why, why_bytes, "out of range; give at least %s", lo);
	return -ERANGE;
}

static int number_parse(const struct cmd_arg *arg, const char *text, uint64_t *v, char *why,
			size_t why_bytes)
{
	int rc;

	if (arg->type == CMD_SIZE) {
		rc = units_parse(text, size_units, v);
		if (rc == -EINVAL)
			snprintf(why, why_bytes, "not a size; write it like 512, 4K, 16M or 2T");
	} else if (arg->type == CMD_TIME) {
		rc = strcmp(text, "0") == 0 ? 0 : units_parse(text, time_units, v);
		if (rc == -EINVAL)
			snprintf(why, why_bytes, "not a time; write it like 500us, 20ms, 3s or 2m");
	} else {
		rc = digits_parse(&text, v);
		if (*text)
			rc = -EINVAL;
		if (rc == -EINVAL)
			snprintf(why, why_bytes, "not a number; write it in decimal digits");
	}
	return rc == -EINVAL ? rc : range_check(arg, rc, *v, why, why_bytes);
}

static int choice_parse(const char *const *choices, const char *text, uint64_t *v, char *why,
			size_t why_bytes)
{
	size_t n;

	for (*v = 0; choices[*v]; (*v)++)
		if (strcmp(choices[*v], text) == 0)
			return 0;
	n = (size_t)snprintf(why, why_bytes, "not one of the choices; take ");
	for (unsigned i = 0; choices[i] && n < why_bytes; i++)
		n += (size_t)snprintf(why + n, why_bytes - n, "%s%s", i == 0 ? "" :
				      choices[i + 1] ? ", " : " or ", choices[i]);
	return -EINVAL;
}

static int name_check(const char *text, char *why, size_t why_bytes)
{
	size_t len = strlen(text);

	if (len == 0) {
		snprintf(why, why_bytes, "a name is empty; give at least one letter");
		return -EINVAL;
	}
	if (len > CMD_NAME_MAX) {
		snprintf(why, why_bytes, "a name of %zu bytes; at most %d", len, CMD_NAME_MAX);
		return -ERANGE;
	}
	for (const char *p = text; *p; p++) {
		bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');

		if (letter || (*p >= '0' && *p <= '9') || strchr("-_./:", *p))
			continue;
		snprintf(why, why_bytes, "not a name; use letters, digits and - _ . / :");
		return -EINVAL;
	}
	return 0;
}

static int text_check(const char *text, char *why, size_t why_bytes)
{
	size_t len = strlen(text);

	for (size_t i = 0, n; i < len; i += n) {
		n = cmd_utf8_len(text + i, len - i);
		if (n == 0 || (unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
			snprintf(why, why_bytes, "byte %zu is no text; write UTF-8 without control "
				 "characters", i + 1);
			return -EINVAL;
		}
	}
	return 0;
}

int cmd_value_parse(const struct cmd_arg *arg, const char *text, struct cmd_value *value,
		    char *why, size_t why_bytes)
{
	int rc = -EINVAL;

	value->text = text;
	value->u64 = 0;
	switch (arg->type) {
	case CMD_TEXT:
		return text_check(text, why, why_bytes);
	case CMD_NAME:
		return name_check(text, why, why_bytes);
	case CMD_U64:
	case CMD_SIZE:
	case CMD_TIME:
		return number_parse(arg, text, &value->u64, why, why_bytes);
	case CMD_ADDR:
		rc = addr_parse(text, false, &value->addr);
		if (rc != 0)
			snprintf(why, why_bytes, "not an IP address; write 10.0.0.5 or fd00::5");
		return rc;
	case CMD_PREFIX:
		rc = addr_parse(text, true, &value->addr);
		if (rc != 0)
			snprintf(why, why_bytes, "not an address with its length; write "
				 "10.0.0.5/24 or fd00::5/64");
		return rc;
	case CMD_UUID:
		rc = uuid_parse(text, &value->uuid);
		if (rc != 0)
			snprintf(why, why_bytes, "not a UUID; write 8-4-4-4-12 hexadecimal digits");
		return rc;
	case CMD_CHOICE:
		return choice_parse(arg->choices, text, &value->u64, why, why_bytes);
	case CMD_BOOL:
		rc = choice_parse(bool_words, text, &value->u64, why, why_bytes);
		value->u64 &= 1;        /* bool_words alternate */
		if (rc != 0)
			snprintf(why, why_bytes, "neither on nor off; write on or off");
		return rc;
	case CMD_FLAG:
		value->u64 = 1;
		return 0;
	}
	return rc;
}

const char *cmd_type_name(enum cmd_type type)
{
	static const char *const names[] = {
		[CMD_TEXT] = "TEXT", [CMD_NAME] = "NAME", [CMD_U64] = "NUMBER",
		[CMD_SIZE] = "SIZE", [CMD_TIME] = "TIME", [CMD_ADDR] = "ADDRESS",
		[CMD_PREFIX] = "ADDRESS/LEN", [CMD_UUID] = "UUID", [CMD_CHOICE] = "CHOICE",
		[CMD_BOOL] = "on|off", [CMD_FLAG] = "",
	};

	return names[type];
}

unsigned cmd_distance(const char *a, const char *b)
{
	enum { MAX_BYTES = 32 };
	size_t la = strnlen(a, MAX_BYTES), lb = strnlen(b, MAX_BYTES);
	unsigned d[3][MAX_BYTES + 1];

	for (size_t j = 0; j <= lb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *now = d[i % 3], *prev = d[(i + 2) % 3], *prev2 = d[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned v = prev[j - 1] + (a[i - 1] != b[j - 1]);

			v = MIN(v, MIN(prev[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				v = MIN(v, prev2[j - 2] + 1);
			now[j] = v;
		}
	}
	return d[la % 3][lb];
}
