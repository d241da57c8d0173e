/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ASSERT means a bug of ours: it is always on, prints what it was about and stops the process.
 * Nothing that a peer, a guest, a disk or an operator can send may reach one.
 */
#ifndef BASE_PANIC_H
#define BASE_PANIC_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Prints the message, the task and reactor, a backtrace of addresses and the last log and trace
 * records to stderr and to the crash record (panic_record_open), then aborts. Never returns; safe
 * in any thread.
 */
__attribute__((noreturn, format(printf, 3, 4)))
void panic_at(const char *file, int line, const char *fmt, ...);

/*
 * Catches fatal signals (SEGV, BUS, ILL, FPE, ABRT) and prints the same as a panic before the
 * default action.
 */
void panic_init(void);

/*
 * Where panics are also written, so that the next start can tell why this one ended (NULL:
 * nowhere). The file is overwritten by each panic; at most 4 KiB of text.
 */
void panic_record_set(const char *path);

/*
 * An alternate signal stack for the calling thread, so that running out of stack is reported too.
 * Before the thread ends: panic_thread_fini.
 */
void panic_thread_init(void);
void panic_thread_fini(void);

/*
 * What a subsystem adds to a report. PRINT writes with panic_print_* only, takes no lock and trusts
 * no pointer that may be half written. FAULT_ADDR is the address of a SEGV or BUS, NULL otherwise.
 */
struct panic_hook {
	void (*print)(const void *fault_addr);
	struct panic_hook *next;
};

/* Once per hook, for good; hooks print in order of registration. */
void panic_hook_add(struct panic_hook *hook);

/* For hooks: async-signal-safe output. */
void panic_print(const char *text);
void panic_print_dec(uint64_t v);
void panic_print_hex(uint64_t v);
/* Return addresses by frame pointers, from frame FP on; survives any garbage. */
void panic_print_frames(const void *fp);

/*
 * Memory whose faults have a meaning (a guest's, whose file was cut): HANDLE is called in the
 * signal handler for SEGV and BUS, returns true when the access may be tried again.
 */
struct panic_fault {
	bool (*handle)(struct panic_fault *f, int sig, void *addr);
	struct panic_fault *next;
};

void panic_fault_add(struct panic_fault *f);

#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)

#define ASSERT(cond) \
	do { \
		if (__builtin_expect(!(cond), 0)) \
			panic_at(__FILE__, __LINE__, "assertion failed: %s", #cond); \
	} while (0)

/* The same with the object: ASSERT_MSG(x->state == OPEN, "nvmf/tcp c%u q%u: state %d", ...). */
#define ASSERT_MSG(cond, ...) \
	do { \
		if (__builtin_expect(!(cond), 0)) \
			panic_at(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

#endif
