/* SPDX-License-Identifier: BSD-3-Clause */
/* What check.c and repair.c share: a store, and a shadow of it that was read from the disk. */
#ifndef BLOB_CHECK_H
#define BLOB_CHECK_H

#include "blob/scan.h"

struct check {
	struct store *s;
	struct store *shadow;
	struct check_report *report;
	unsigned left;                  /* damaged blobs after the repair */
};

/* ---- repair.c ---- */

/*
 * Mends all blobs that can be mended, and says in the findings what was done and what is lost.
 * -errno of the disk.
 */
int repair_blobs(struct check *check);
/* After a second look: frees what nobody has. */
void repair_space(struct check *check, const struct check *again);
/* Adds to what was found about a blob what was done about it; LOST: and something is lost. */
__attribute__((format(printf, 4, 5)))
void repair_told(struct check *check, uint64_t blob, bool lost, const char *fmt, ...);

/* ---- repair_name.c ---- */

void names_check(struct check *check);
int repair_names(struct check *check);
/* "recovered-ID" for a volume that has none; in memory. */
int repair_name_give(struct blob *b);

#endif
