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

#endif
