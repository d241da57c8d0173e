/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring of the last few thousand data-path steps of each reactor, always on, printed by a panic:
 * what led to it. Times are those of the last reading of the clock: to read it for each record
 * would cost more than the record.
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include <stdint.h>

#include "core/clock.h"

enum { TRACE_RECORDS = 4096 };

/*
 * What happened; A and B are an identity and a value, as the name says (core/trace.c prints them).
 */
enum trace_event {
	TRACE_NONE,
	TRACE_IO_SUBMIT,        /* io, op */
	TRACE_IO_DONE,          /* io, status */
	TRACE_NVME_POST,        /* qid, cid */
	TRACE_NVME_REAP,        /* qid, cid */
	TRACE_NVMF_RECV,        /* connection, PDU type */
	TRACE_NVMF_EXEC,        /* request, opcode */
	TRACE_NVMF_DONE,        /* request, status */
	TRACE_NVMF_STATE,       /* connection, state */
	TRACE_TASK_SWITCH,      /* task id, 0 */
	TRACE_EVENT_COUNT,
};

struct trace_record {
	uint64_t ticks;
	uint64_t a;
	uint32_t b;
	uint32_t event;
};

struct trace_ring {
	uint64_t next;
	struct trace_record rec[TRACE_RECORDS];
};

/* The calling reactor's ring; NULL outside of reactors. Set by reactor.c. */
extern __thread struct trace_ring *trace_ring;

/* With a time that the caller has anyway. */
static inline void trace_at(uint64_t ticks, enum trace_event event, uint64_t a, uint32_t b)
{
	struct trace_ring *r = trace_ring;
	struct trace_record *rec;

	if (!r)
		return;
	rec = &r->rec[r->next++ % TRACE_RECORDS];
	rec->ticks = ticks;
	rec->a = a;
	rec->b = b;
	rec->event = event;
}

static inline void trace(enum trace_event event, uint64_t a, uint32_t b)
{
	trace_at(clock_ticks_recent(), event, a, b);
}

const char *trace_event_name(enum trace_event event);

#endif
