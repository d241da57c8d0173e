/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Modules: what boot starts, in the order of boot/modules.c, and stops in the reverse order. An
 * explicit table: no constructors, no linker sections.
 */
#ifndef CORE_MODULE_H
#define CORE_MODULE_H

struct cmd;
struct config_out;

struct module {
	const char *name;
	/*
	 * In a task on reactor 0; 0/-errno. A module that fails is logged and left out; the rest
	 * goes on.
	 */
	int (*init)(void);
	/*
	 * In a task on reactor 0, only if init was 0: ends everything of this module, waits for
	 * what is in flight.
	 */
	void (*fini)(void);
	const struct cmd *cmds;         /* registered before init; may be NULL */
	/*
	 * Writes the commands that make the running configuration again; called in table order. May
	 * be NULL.
	 */
	void (*config)(struct config_out *out);
};

/* boot/modules.c: ends with name == NULL. */
extern const struct module modules[];

#endif
