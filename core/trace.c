/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of trace events. The rings belong to the reactors (core/reactor.c), which print them. */
#include "core/trace.h"

#include "core/base/util.h"

__thread struct trace_ring *trace_ring;

static const char *const names[] = {
	[TRACE_NONE] = "none",
	[TRACE_IO_SUBMIT] = "io-submit",
	[TRACE_IO_DONE] = "io-done",
	[TRACE_NVME_POST] = "nvme-post",
	[TRACE_NVME_REAP] = "nvme-reap",
	[TRACE_NVMF_RECV] = "nvmf-recv",
	[TRACE_NVMF_EXEC] = "nvmf-exec",
	[TRACE_NVMF_DONE] = "nvmf-done",
	[TRACE_NVMF_STATE] = "nvmf-state",
	[TRACE_TASK_SWITCH] = "task-switch",
};

_Static_assert(ARRAY_SIZE(names) == TRACE_EVENT_COUNT, "every trace event has a name");

const char *trace_event_name(enum trace_event event)
{
	return event < TRACE_EVENT_COUNT ? names[event] : "?";
}
