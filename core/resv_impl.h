/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the reservation engine share.
 *
 * resv.c       states of disks, publishing, watches
 * resv_rule.c  what each verb makes of a state
 * resv_keep.c  states as text
 */
#ifndef CORE_RESV_IMPL_H
#define CORE_RESV_IMPL_H

#include "core/resv.h"

/* resv_rule.c */

/* What a verb leads to. */
struct resv_change {
	struct resv_state *next;        /* the caller's; NULL: nothing changes */
	/* of the old state's registrants, enum resv_event */
	uint8_t event[RESV_REGISTRANTS_MAX];
};

/* 0 and the change, or the errors of resv_run. */
int resv_rule_apply(const struct resv_state *old, const struct resv_request *req,
		    struct resv_change *change);
/* A state with nothing in it, and room for COUNT registrants. NULL: no memory. */
struct resv_state *resv_state_new(const struct uuid *disk, unsigned count);
/* Fills in what follows from the rest: access, slots. */
void resv_state_seal(struct resv_state *state);

/* resv_keep.c */

/* Those of the states that have PTPL, as text; NULL: no memory. */
char *resv_keep_format(const struct resv_state *const *list, unsigned count);
/* The state that begins at *text, which moves on; NULL at the end, or with *rc set. */
struct resv_state *resv_keep_parse(const char **text, int *rc);
/* Whether the text is one that resv_keep_format made; moves on to its first state. */
int resv_keep_begin(const char **text);

#endif
