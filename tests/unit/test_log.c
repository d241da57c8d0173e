/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/clock.h"

struct sink {
	struct log_sink sink;
	unsigned count;
	struct log_record last;
};

static void sink_write(struct log_sink *sink, const struct log_record *rec)
{
	struct sink *s = container_of(sink, struct sink, sink);

	s->count++;
	s->last = *rec;
}

static void test_records_come_in_order_with_times(void **state)
{
	uint64_t seq = log_seq(), first = seq;
	struct log_record rec;

	clock_simulate(1);
	log_error("disk a: %s", "gone");
	clock_simulate_advance(5);
	log_info("disk b: back");
	assert_int_equal(log_read(&seq, &rec), 0);
	assert_int_equal(rec.seq, first);
	assert_int_equal(rec.level, LOG_ERROR);
	assert_string_equal(rec.text, "disk a: gone");
	assert_int_equal(rec.uptime_us + 5, clock_uptime_us());
	assert_int_equal(log_read(&seq, &rec), 0);
	assert_int_equal(rec.realtime_us, clock_realtime_us());
	assert_string_equal(rec.text, "disk b: back");
	assert_int_equal(log_read(&seq, &rec), -ENOENT);
	assert_int_equal(seq, first + 2);
	clock_simulate_end();
}

static void test_oldest_records_are_overwritten(void **state)
{
	uint64_t seq, end, count = 0;
	struct log_record rec;
	char want[32];

	for (unsigned i = 0; i < LOG_RECORDS + 100; i++)
		log_info("record %u", i);
	end = log_seq();
	for (seq = 0; log_read(&seq, &rec) == 0; count++) {
		assert_int_equal(rec.seq, end - LOG_RECORDS + count);
		snprintf(want, sizeof(want), "record %u", 100 + (unsigned)count);
		assert_string_equal(rec.text, want);
	}
	assert_int_equal(count, LOG_RECORDS);
	assert_null(log_peek(end));
	assert_null(log_peek(end - LOG_RECORDS - 1));
	assert_non_null(log_peek(end - 1));
	assert_non_null(log_peek(end - LOG_RECORDS));
}

static void test_levels_filter_before_and_at_sinks(void **state)
{
	struct sink all = { .sink = { LOG_DEBUG, sink_write } };
	struct sink errors = { .sink = { LOG_ERROR, sink_write } };
	enum log_level level;

	log_sink_add(&all.sink);
	log_sink_add(&errors.sink);
	log_debug("not at this level");
	assert_int_equal(all.count, 0);
	log_level_set(LOG_DEBUG);
	log_debug("now");
	log_error("always");
	assert_int_equal(all.count, 2);
	assert_int_equal(errors.count, 1);
	assert_string_equal(errors.last.text, "always");
	log_sink_remove(&all.sink);
	log_sink_remove(&errors.sink);
	log_level_set(LOG_INFO);
	log_error("not seen");
	assert_int_equal(all.count, 2);

	assert_int_equal(log_level_parse("warn", &level), 0);
	assert_int_equal(level, LOG_WARN);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
	assert_string_equal(log_level_name(LOG_DEBUG), "debug");
}

static void last_text(const char *fed, const char *want)
{
	uint64_t seq = log_seq();
	struct log_record rec;

	log_info("%s", fed);
	assert_int_equal(log_read(&seq, &rec), 0);
	assert_string_equal(rec.text, want);
}

static void test_control_characters_never_come_out(void **state)
{
	last_text("a\x1b[31mb\nc\td\x7f", "a?[31mb?c?d?");
	last_text("8-bit: \x9b" "1m", "8-bit: ?1m");
	last_text("C1 in UTF-8: \xc2\x9b" "1m", "C1 in UTF-8: ??1m");
	last_text("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		  "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
	last_text("cut: \xe2\x82", "cut: ??");
	last_text("stray: \x80 \xff", "stray: ? ?");
}

static void test_long_text_is_cut(void **state)
{
	char text[LOG_TEXT_BYTES * 2];
	uint64_t seq = log_seq();
	struct log_record rec;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	assert_int_equal(log_read(&seq, &rec), 0);
	assert_int_equal(strlen(rec.text), LOG_TEXT_BYTES - 1);
}

enum { WRITERS = 4, PER_WRITER = 400 };

static void *writer(void *arg)
{
	for (unsigned i = 0; i < PER_WRITER; i++)
		log_info("writer %u: %u", *(unsigned *)arg, i);
	return NULL;
}

/* No record is lost, torn or out of its writer's order. */
static void test_threads_write_at_once(void **state)
{
	unsigned id[WRITERS], next[WRITERS] = { 0 };
	uint64_t seq = log_seq();
	pthread_t thread[WRITERS];
	struct log_record rec;

	for (unsigned i = 0; i < WRITERS; i++) {
		id[i] = i;
		assert_int_equal(pthread_create(&thread[i], NULL, writer, &id[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(thread[i], NULL);
	while (log_read(&seq, &rec) == 0) {
		unsigned who, count;

		assert_int_equal(sscanf(rec.text, "writer %u: %u", &who, &count), 2);
		assert_true(who < WRITERS);
		assert_int_equal(count, next[who]);
		next[who]++;
	}
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(next[i], PER_WRITER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records_come_in_order_with_times),
		cmocka_unit_test(test_oldest_records_are_overwritten),
		cmocka_unit_test(test_levels_filter_before_and_at_sinks),
		cmocka_unit_test(test_control_characters_never_come_out),
		cmocka_unit_test(test_long_text_is_cut),
		cmocka_unit_test(test_threads_write_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
