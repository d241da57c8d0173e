/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes to keys, and the frames of the console socket: what is right, and everything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/console.h"
#include "boot/console_frame.h"

/* The codes of the keys in BYTES, and the text of the characters. */
static unsigned decode(const char *bytes, size_t len, enum key_code codes[], char *text)
{
	struct key_decoder d = { 0 };
	struct key key;
	unsigned count = 0;

	text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		if (key_decode(&d, (unsigned char)bytes[i], &key)) {
			codes[count++] = key.code;
			if (key.code == KEY_CHAR)
				memcpy(text + strlen(text), key.text,
				       strlen(key.text) + 1);
		}
	return count;
}

static void expect_key(const char *bytes, enum key_code code)
{
	enum key_code codes[64];
	char text[256];
	unsigned n = decode(bytes, strlen(bytes), codes, text);

	if (n != 1 || codes[0] != code)
		fail_msg("\"%s\": %u keys, the first %d, expected %d", bytes, n, codes[0], code);
}

static void test_keys_of_all_terminals(void **state)
{
	expect_key("\x1b[A", KEY_UP);
	expect_key("\x1bOA", KEY_UP);
	expect_key("\x1b[B", KEY_DOWN);
	expect_key("\x1b[C", KEY_RIGHT);
	expect_key("\x1b[D", KEY_LEFT);
	expect_key("\x1b[1;5C", KEY_WORD_RIGHT);
	expect_key("\x1b[1;3D", KEY_WORD_LEFT);
	expect_key("\x1b" "b", KEY_WORD_LEFT);
	expect_key("\x1b[H", KEY_HOME);
	expect_key("\x1b[1~", KEY_HOME);
	expect_key("\x1b[7~", KEY_HOME);
	expect_key("\x1bOH", KEY_HOME);
	expect_key("\x1b[F", KEY_END);
	expect_key("\x1b[4~", KEY_END);
	expect_key("\x1b[3~", KEY_DELETE);
	expect_key("\x1b[5~", KEY_PAGE_UP);
	expect_key("\x7f", KEY_BACKSPACE);
	expect_key("\x08", KEY_BACKSPACE);
	expect_key("\x01", KEY_HOME);
	expect_key("\x05", KEY_END);
	expect_key("\x0b", KEY_KILL_END);
	expect_key("\x15", KEY_KILL_LINE);
	expect_key("\x17", KEY_KILL_WORD);
	expect_key("\x0c", KEY_CLEAR);
	expect_key("\x12", KEY_SEARCH);
	expect_key("\x03", KEY_CANCEL);
	expect_key("\x04", KEY_EOF);
	expect_key("\r", KEY_ENTER);
	expect_key("\n", KEY_ENTER);
	expect_key("\r\n", KEY_ENTER);
	expect_key("\t", KEY_TAB);
}

static void test_a_report_has_row_and_column(void **state)
{
	const char *bytes = "\x1b[24;80R";
	struct key_decoder d = { 0 };
	struct key key;

	for (; bytes[1]; bytes++)
		assert_false(key_decode(&d, (unsigned char)*bytes, &key));
	assert_true(key_decode(&d, 'R', &key));
	assert_int_equal(key.code, KEY_REPORT);
	assert_int_equal(key.row, 24);
	assert_int_equal(key.column, 80);
}

static void test_text_is_utf8_and_nothing_else(void **state)
{
	static const struct {
		const char *bytes, *text;
	} cases[] = {
		{ "aé→😀", "aé→😀" },
		{ "a\x80" "b\xff" "c\xfe", "abc" },
		{ "\xc0\xaf" "x", "x" },                /* overlong */
		{ "\xe0\x80\xaf" "x", "x" },
		{ "\xed\xa0\x80" "x", "x" },            /* a surrogate */
		{ "\xf4\x90\x80\x80" "x", "x" },        /* beyond U+10FFFF */
		{ "\xc2\x9b" "x", "x" },                /* a control of C1 */
		{ "\xe2\x86" "x", "x" },                /* cut off */
		{ "\xe2\xe2\x86\x92", "→" },
	};
	enum key_code codes[64];
	char text[256];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		decode(cases[i].bytes, strlen(cases[i].bytes), codes, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_unfinished_sequences_do_not_hold_what_follows(void **state)
{
	enum key_code codes[256];
	char text[256], endless[200];

	assert_int_equal(decode("\x1b[\x1b[A", 5, codes, text), 1);
	assert_int_equal(codes[0], KEY_UP);
	assert_int_equal(decode("\x1b[12\x1bOB", 7, codes, text), 1);
	assert_int_equal(codes[0], KEY_DOWN);
	memset(endless, '9', sizeof(endless));
	memcpy(endless, "\x1b[", 2);
	endless[sizeof(endless) - 2] = '\r';
	endless[sizeof(endless) - 1] = 'x';
	assert_true(decode(endless, sizeof(endless), codes, text) > 2);
	assert_int_equal(text[strlen(text) - 1], 'x');
	assert_int_equal(decode("\0\0a", 3, codes, text), 1);
}

/* ---- frames ---- */

static size_t frame_make(unsigned char *buf, enum ctl_type type, const void *payload, size_t len)
{
	struct ctl_head head = ctl_head_make(type, len);

	memcpy(buf, &head, sizeof(head));
	if (len > 0)
		memcpy(buf + sizeof(head), payload, len);
	return sizeof(head) + len;
}

static size_t start_make(unsigned char *buf, enum ctl_type type, const char *line)
{
	struct ctl_start start = { .magic = le32_make(CTL_MAGIC),
				   .version = le16_make(CTL_VERSION) };
	unsigned char payload[256];

	memcpy(payload, &start, sizeof(start));
	memcpy(payload + sizeof(start), line, strlen(line));
	return frame_make(buf, type, payload, sizeof(start) + strlen(line));
}

static int decode_one(const unsigned char *buf, size_t len, struct ctl_frame *frame)
{
	struct ctl_decoder *d = calloc(1, sizeof(*d));
	const char *p = (const char *)buf;
	int rc = ctl_decode(d, &p, &len, frame);

	free(d);
	return rc;
}

static void test_frames_come_in_any_pieces(void **state)
{
	struct ctl_decoder *d = calloc(1, sizeof(*d));
	unsigned char buf[512];
	size_t len = start_make(buf, CTL_RUN, "disk list"), seen = 0;
	struct ctl_frame frame;

	len += frame_make(buf + len, CTL_KEYS, "q", 1);
	for (size_t i = 0; i < len; i++) {
		const char *p = (const char *)buf + i;
		size_t one = 1;
		int rc = ctl_decode(d, &p, &one, &frame);

		assert_int_equal(one, 0);
		if (rc == 0)
			continue;
		assert_int_equal(rc, 1);
		assert_int_equal(frame.type, seen == 0 ? CTL_RUN : CTL_KEYS);
		seen++;
	}
	assert_int_equal(seen, 2);
	assert_memory_equal(frame.payload, "q", 1);
	free(d);
}

static void test_wrong_frames_are_refused(void **state)
{
	unsigned char buf[512], big[sizeof(struct ctl_head)];
	struct ctl_frame frame;
	size_t len = start_make(buf, CTL_RUN, "x");
	struct ctl_head head;

	assert_int_equal(decode_one(buf, len, &frame), 1);
	/* every bit of reserved bytes, magic and version counts */
	for (unsigned bit = 8 * offsetof(struct ctl_head, reserved); bit < 8 * 14; bit++) {
		buf[bit / 8] ^= (unsigned char)(1 << bit % 8);
		assert_int_equal(decode_one(buf, len, &frame), -EPROTO);
		buf[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	buf[4] = CTL_EXIT + 1;
	assert_int_equal(decode_one(buf, len, &frame), -EPROTO);
	buf[4] = CTL_RUN;
	buf[14] = CTL_FLAGS + 1;
	assert_int_equal(decode_one(buf, len, &frame), -EPROTO);
	buf[14] = CTL_FLAGS;
	assert_int_equal(decode_one(buf, len, &frame), 1);
	buf[len - 1] = '\0';
	assert_int_equal(decode_one(buf, len, &frame), -EPROTO);
	head = ctl_head_make(CTL_OUT, CTL_PAYLOAD_MAX + 1);
	memcpy(big, &head, sizeof(head));
	assert_int_equal(decode_one(big, sizeof(big), &frame), -EPROTO);
	head = ctl_head_make(CTL_KEYS, 0);
	memcpy(big, &head, sizeof(head));
	assert_int_equal(decode_one(big, sizeof(big), &frame), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_of_all_terminals),
		cmocka_unit_test(test_a_report_has_row_and_column),
		cmocka_unit_test(test_text_is_utf8_and_nothing_else),
		cmocka_unit_test(test_unfinished_sequences_do_not_hold_what_follows),
		cmocka_unit_test(test_frames_come_in_any_pieces),
		cmocka_unit_test(test_wrong_frames_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
