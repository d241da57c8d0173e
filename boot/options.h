/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of a karst that serves, parsed and checked, and the environment init gives. */
#ifndef BOOT_OPTIONS_H
#define BOOT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reactor.h"

struct boot_options {
	unsigned reactor_count;
	bool pinned;
	int cpu[REACTOR_MAX];           /* of each reactor, when pinned */
	unsigned memory_mib;
	bool no_huge;
	/* from init */
	unsigned starts;                /* 0: not started by init */
	uint64_t init_ms;
};

/* options.c */

/*
 * Fills OPT and karst_run. Returns -1 to go on, or the exit status after --help, --version or a
 * mistake, which has been explained on stderr.
 */
int options_parse(int argc, char **argv, struct boot_options *opt);
/* The console socket that `karst` and `karst ctl` use unless told; in BUF. */
const char *options_default_socket(char *buf, size_t len);

#endif
