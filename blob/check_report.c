/* SPDX-License-Identifier: BSD-3-Clause */
/* What a check has found: counted all, kept in words the first thousand. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob/md.h"

static const char *const names[FIND_KINDS] = {
	[FIND_CRC] = "checksum",
	[FIND_CHAIN] = "chain",
	[FIND_CONTENT] = "content",
	[FIND_CLUSTER_TWICE] = "cluster twice",
	[FIND_PAGE_TWICE] = "page twice",
	[FIND_CLUSTER_LEAKED] = "cluster leaked",
	[FIND_PAGE_LEAKED] = "page leaked",
	[FIND_MASK] = "mask",
	[FIND_PARENT] = "parent",
	[FIND_NAME] = "name",
	[FIND_MEMORY] = "memory",
};

const char *finding_kind_name(enum finding_kind kind)
{
	return (unsigned)kind < FIND_KINDS ? names[kind] : "unknown";
}

void check_report_init(struct check_report *report)
{
	memset(report, 0, sizeof(*report));
	list_init(&report->findings);
}

void check_report_fini(struct check_report *report)
{
	struct finding *f;

	while ((f = list_pop_entry(&report->findings, struct finding, link)))
		free(f);
}

struct finding *check_report_add(struct check_report *report, enum finding_kind kind,
				 uint64_t blob, uint64_t first, uint64_t count,
				 const char *fmt, ...)
{
	struct finding *f = NULL;
	uint64_t all = 0;
	va_list args;

	report->counts[kind]++;
	for (unsigned k = 0; k < FIND_KINDS; k++)
		all += report->counts[k];
	if (all <= CHECK_FINDINGS_MAX)
		f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->kind = kind;
	f->blob = blob;
	f->first = first;
	f->count = count;
	va_start(args, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, args);
	va_end(args);
	list_push(&report->findings, &f->link);
	return f;
}
