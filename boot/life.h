/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What init and karst agree on. init (PID 1) starts karst with LIFE_ENV_* in its environment and
 * the serial console as stdin, stdout and stderr; karst says by its exit status what shall happen
 * next and shows by a counter in a shared page that all its reactors live.
 */
#ifndef BOOT_LIFE_H
#define BOOT_LIFE_H

#include <stdint.h>

#define LIFE_KARST_PATH "/bin/karst"
#define LIFE_RUN_DIR "/run/karst"
/* One page, made by init: struct life_page. */
#define LIFE_PAGE_PATH LIFE_RUN_DIR "/life"
/* Written by a panicking karst (panic_record_set), read and removed by init. */
#define LIFE_PANIC_PATH LIFE_RUN_DIR "/panic"
/* Why the karst before this one ended: first line a summary, then its panic record. */
#define LIFE_DEATH_PATH LIFE_RUN_DIR "/death"

/* Set by init; karst is an appliance when it is there. Value: which start this is, from 1. */
#define LIFE_ENV_START "KARST_START"
/* Milliseconds since kernel start at which init began. */
#define LIFE_ENV_INIT_MS "KARST_INIT_MS"
/* "1": karst.rescue=1 is on the kernel's command line. */
#define LIFE_ENV_RESCUE "KARST_RESCUE"

/* Exit statuses of karst under init. Any other one, and any signal, is a death: start again. */
enum life_exit {
	LIFE_EXIT_RESTART = 0,
	LIFE_EXIT_FAILED = 1,
	LIFE_EXIT_REBOOT = 10,
	LIFE_EXIT_POWEROFF = 11,
};

enum {
	LIFE_BEAT_MS = 500,             /* karst beats this often */
	LIFE_HUNG_MS = 10 * 1000,       /* without a beat: karst is killed */
	LIFE_START_MS = 40 * 1000,      /* until the first beat of a new karst; below WATCHDOG_S */
};

struct life_page {
	/* goes up while every reactor's heartbeat advances; written by karst only */
	volatile uint64_t beats;
};

#endif
