/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ASSERT means a bug of ours: it is always on, prints what it was about and stops the process.
 * Nothing that a peer, a guest, a disk or an operator can send may reach one.
 */
#ifndef BASE_PANIC_H
#define BASE_PANIC_H

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
