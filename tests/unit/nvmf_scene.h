/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * States that a host can be in, and ways in which a connection ends, as tables: tests go through
 * each state × end.
 */
#ifndef TESTS_NVMF_SCENE_H
#define TESTS_NVMF_SCENE_H

#include "tests/unit/nvmf_box.h"

struct scene {
	struct tbox_conn admin, io;
	bool admin_up, io_up;
	uint16_t cntlid;
};

struct scene_row {
	const char *name;               /* NULL: the end of the table */
	void (*fn)(struct scene *s);
};

/* Bring a host into a state; end what it has. */
extern const struct scene_row scene_states[], scene_ends[];

void end_target_stops(struct scene *s);
void state_read_at_the_disk(struct scene *s);
void state_write_at_the_disk(struct scene *s);

#endif
