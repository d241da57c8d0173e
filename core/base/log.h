/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one log. A record goes into a bounded ring (the oldest is overwritten, the loss is counted)
 * and to the sinks. Writers never block: sinks copy into their own bounded buffers. Every message
 * names its object first: log_error("nvmf/tcp c%u q%u: H2CData ttag %u is not open", ...). No
 * trailing newline.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/list.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum { LOG_TEXT_BYTES = 240, LOG_RECORDS = 2048 };

struct log_record {
	uint64_t seq;                   /* counts from 1 */
	uint64_t realtime_us;           /* since 1970 */
	uint64_t uptime_us;             /* since process start */
	enum log_level level;
	/* NUL-terminated, cut when longer; control characters replaced by '?' */
	char text[LOG_TEXT_BYTES];
};

/* Called by any thread, under the log's lock: must not block, log or allocate. */
struct log_sink {
	enum log_level level;           /* records up to and including this one */
	void (*write)(struct log_sink *sink, const struct log_record *rec);
	struct list link;
};

__attribute__((format(printf, 2, 3)))
void log_write(enum log_level level, const char *fmt, ...);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/* Records above LEVEL are not even formatted. Default LOG_INFO. */
void log_level_set(enum log_level level);
enum log_level log_level_get(void);
const char *log_level_name(enum log_level level);
/* -EINVAL when NAME is no level. */
int log_level_parse(const char *name, enum log_level *level);

void log_sink_add(struct log_sink *sink);
void log_sink_remove(struct log_sink *sink);
/* A sink that writes lines to stderr; for hosted runs and tests. */
extern struct log_sink log_sink_stderr;

/*
 * Copies the oldest record with seq >= *seq into REC and sets *seq to the next one; -ENOENT when
 * there is none.
 */
int log_read(uint64_t *seq, struct log_record *rec);
/* Sequence number that the next record will have. */
uint64_t log_seq(void);
/*
 * Record SEQ as it lies in the ring, without the lock: for panics only, where a torn text is better
 * than a deadlock. NULL when it is not there (any more).
 */
const struct log_record *log_peek(uint64_t seq);

#endif
