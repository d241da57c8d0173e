/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of boot/ show each other, grouped by the file that defines it. Boot is the top
 * layer: nothing below includes this.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "core/cmd.h"

struct resv_store;

/* main.c */

/* How the process is to end; the exit status tells init (boot/life.h). */
enum boot_end {
	BOOT_END_EXIT,          /* hosted: leave; appliance: init starts a new karst */
	BOOT_END_FAILED,        /* hosted: leave with status 1 */
	BOOT_END_REBOOT,
	BOOT_END_POWEROFF,
};

/*
 * Starts the orderly end: modules backwards, drives flushed and shut down. Returns at once; on
 * reactor 0. The first call counts.
 */
void boot_end(enum boot_end how);

/* How this start went, for `system boot`; times in milliseconds. */
struct boot_facts {
	/* kernel start to init, init to main; 0 when hosted */
	uint64_t kernel_ms, init_ms;
	uint64_t dma_ms, modules_ms, script_ms;
	/* since kernel start, hosted: since process start; 0 until ready */
	uint64_t ready_ms;
	unsigned modules_failed, commands_failed;
	unsigned starts;                /* which start since power-on this is, from 1 */
	char last_death[128];           /* why the one before ended; "" when this is the first */
};

extern struct boot_facts boot_facts;

/* startup.c */

/*
 * In a task on reactor 0, all modules are up: runs the saved configuration, or -f's script, or the
 * embedded one. How many commands failed (logged already), or -errno when there is no script to run
 * although one was named: a hosted karst ends then.
 */
int startup_run(void);
/* What failed then, one error line each; NULL after the last (of those that are kept). */
const char *startup_failure(unsigned index);
/* Where the commands came from: "saved configuration (…)", "startup.rc", "built-in script". */
const char *startup_source(void);

/* state.c, state_disk.c: the saved configuration */

/*
 * Reads it: *text is the caller's (free), NULL when nothing is saved. WHERE says in which file or
 * partition. 0; -ENODEV: there is nowhere to save; -EBADMSG: there is something, and it is broken.
 * In a task.
 */
int state_load(char **text, char *where, size_t where_bytes);
/* Makes TEXT durable; a power cut at any moment leaves the old or the new. In a task. */
int state_save(const char *text, char *where, size_t where_bytes);
/* Forgets it. In a task. */
int state_clear(char *where, size_t where_bytes);
/* Where reservations that persist are kept, beside it. */
extern const struct resv_store state_resv_store;

/* state_cmd.c, system_cmd.c */
extern const struct cmd config_cmds[], system_cmds[];

/* ctl.c */

/* `karst ctl …`: argv[0] is "ctl". The exit status. */
int ctl_main(int argc, char **argv);

/* console.c: a module, last in the table. */

/* Opens the serial port (appliance) or the UNIX socket (hosted, with -s). */
int console_init(void);
void console_fini(void);
/*
 * A line of text for whoever looks at the terminal: the serial console of the appliance, stdout
 * when hosted. Never blocks. Works from console_init on.
 */
void console_print(const char *text);
/* The start is over: prompts from now on, with what failed at boot above the first. */
void console_ready(void);

#endif
