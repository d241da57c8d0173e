/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log: a ring of records in static memory and a list of sinks, under one mutex that is held for
 * the copy of a record and the sinks' copies only. Formatting is done outside of it. Characters
 * that a terminal would act on are replaced on entry, so that nothing a peer sends in a name can
 * reach a terminal through the log; UTF-8 passes.
 */
#include "core/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_record ring[LOG_RECORDS];
static uint64_t next_seq = 1;
static struct list sinks = LIST_INIT(sinks);
static enum log_level level_max = LOG_INFO;

/*
 * C0 and DEL become '?', as do the C1 controls in their UTF-8 form (C2 80 … C2 9F), which some
 * terminals obey, and a sequence that the cut has left incomplete.
 */
static void text_clean(char *text)
{
	unsigned char *p = (unsigned char *)text;

	for (; *p; p++) {
		if (*p < 0x20 || *p == 0x7f) {
			*p = '?';
		} else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
			p[0] = p[1] = '?';
			p++;
		} else if (*p >= 0x80) {
			unsigned more = *p >= 0xf0 && *p < 0xf8 ? 3 : *p >= 0xe0 && *p < 0xf0 ? 2 :
					*p >= 0xc2 && *p < 0xe0 ? 1 : 0;
			unsigned i = 0;

			while (i < more && (p[1 + i] & 0xc0) == 0x80)
				i++;
			if (more == 0 || i < more)
				*p = '?';
			else
				p += more;
		}
	}
}

void log_write(enum log_level level, const char *fmt, ...)
{
	struct log_record rec = { .level = level };
	struct log_sink *sink;
	va_list args;

	if (level > __atomic_load_n(&level_max, __ATOMIC_RELAXED))
		return;
	rec.realtime_us = clock_realtime_us();
	rec.uptime_us = clock_uptime_us();
	va_start(args, fmt);
	vsnprintf(rec.text, sizeof(rec.text), fmt, args);
	va_end(args);
	text_clean(rec.text);

	pthread_mutex_lock(&lock);
	rec.seq = next_seq;
	ring[rec.seq % LOG_RECORDS] = rec;
	__atomic_store_n(&next_seq, rec.seq + 1, __ATOMIC_RELEASE);
	list_for_each(sink, &sinks, link)
		if (level <= sink->level)
			sink->write(sink, &rec);
	pthread_mutex_unlock(&lock);
}

void log_level_set(enum log_level level)
{
	__atomic_store_n(&level_max, level, __ATOMIC_RELAXED);
}

enum log_level log_level_get(void)
{
	return __atomic_load_n(&level_max, __ATOMIC_RELAXED);
}

const char *log_level_name(enum log_level level)
{
	return level < ARRAY_SIZE(level_names) ? level_names[level] : "?";
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (unsigned i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_sink_add(struct log_sink *sink)
{
	pthread_mutex_lock(&lock);
	list_push(&sinks, &sink->link);
	pthread_mutex_unlock(&lock);
}

void log_sink_remove(struct log_sink *sink)
{
	pthread_mutex_lock(&lock);
	list_del(&sink->link);
	pthread_mutex_unlock(&lock);
}

/* One write per line: whole lines even when processes share the terminal. A failure loses it. */
static void stderr_write(struct log_sink *sink, const struct log_record *rec)
{
	char line[LOG_TEXT_BYTES + 48];
	int len = snprintf(line, sizeof(line), "[%5llu.%06llu] %s: %s\n",
			   (unsigned long long)(rec->uptime_us / 1000000),
			   (unsigned long long)(rec->uptime_us % 1000000),
			   log_level_name(rec->level), rec->text);

	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		return;
}

struct log_sink log_sink_stderr = {
	.level = LOG_DEBUG,
	.write = stderr_write,
	.link = LIST_INIT(log_sink_stderr.link),
};

int log_read(uint64_t *seq, struct log_record *rec)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&lock);
	/* the slot of next_seq still holds the oldest record */
	if (*seq == 0)
		*seq = 1;
	if (next_seq > LOG_RECORDS && *seq < next_seq - LOG_RECORDS)
		*seq = next_seq - LOG_RECORDS;
	if (*seq < next_seq) {
		*rec = ring[*seq % LOG_RECORDS];
		++*seq;
		rc = 0;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

uint64_t log_seq(void)
{
	return __atomic_load_n(&next_seq, __ATOMIC_ACQUIRE);
}

const struct log_record *log_peek(uint64_t seq)
{
	const struct log_record *rec = &ring[seq % LOG_RECORDS];

	return seq && rec->seq == seq ? rec : NULL;
}
