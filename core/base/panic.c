/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Panics and fatal signals: one report, to stderr and to the record file, then the default end.
 *
 * The report may be made in a signal handler on an alternate stack, with the heap and any lock in
 * any state. So it is built with write(2) and own number formatting; the log ring is read without
 * its lock, and every address is tested with a system call before it is followed. One thread
 * reports; a second one that fails meanwhile waits for the end, and a failure inside the report
 * itself ends it at once.
 */
#include "core/base/panic.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/util.h"

enum {
	RECORD_BYTES = 4096,
	LOG_SHOWN = 16,
	FRAMES_SHOWN = 48,
	ALT_STACK_BYTES = 64 * 1024,
	TEXT_BYTES = 512,
};

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
static struct sigaction old_actions[ARRAY_SIZE(fatal_signals)];

static char record_path[PATH_MAX];
static int record_fd = -1;
static size_t record_left;

/* thread id of the one that reports, 0: nobody */
static int reporter;
/* the record is made: what comes now is the end of it */
static int reported;

static struct panic_hook *hooks;
static struct panic_fault *faults;

static __thread void *alt_stack;

/* ---- output ---- */

static void write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		p += n;
		len -= (size_t)n;
	}
}

static void print_bytes(const char *text, size_t len)
{
	write_all(STDERR_FILENO, text, len);
	if (record_fd >= 0) {
		len = MIN(len, record_left);
		write_all(record_fd, text, len);
		record_left -= len;
	}
}

void panic_print(const char *text)
{
	print_bytes(text, strlen(text));
}

static void print_number(uint64_t v, unsigned base)
{
	char digits[24], *p = digits + sizeof(digits);

	do {
		*--p = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	print_bytes(p, (size_t)(digits + sizeof(digits) - p));
}

void panic_print_dec(uint64_t v)
{
	print_number(v, 10);
}

void panic_print_hex(uint64_t v)
{
	panic_print("0x");
	print_number(v, 16);
}

/*
 * Whether 16 bytes at FP can be read, by letting the kernel try: it copies the set before it looks
 * at the nonsense HOW, and says EFAULT or EINVAL.
 */
static bool frame_readable(uintptr_t fp)
{
	for (unsigned i = 0; i < 2; i++)
		if (syscall(SYS_rt_sigprocmask, -1, fp + 8 * i, NULL, 8) == 0 || errno != EINVAL)
			return false;
	return true;
}

void panic_print_frames(const void *frame)
{
	uintptr_t fp = (uintptr_t)frame;

	for (unsigned i = 0; i < FRAMES_SHOWN && fp && fp % 8 == 0 && frame_readable(fp); i++) {
		uintptr_t next = ((const uintptr_t *)fp)[0], ret = ((const uintptr_t *)fp)[1];

		if (ret == 0)
			break;
		panic_print(" ");
		panic_print_hex(ret);
		/* stacks grow down: a caller's frame lies above */
		if (next <= fp)
			break;
		fp = next;
	}
}

/* ---- the report ---- */

static void print_log(void)
{
	uint64_t end = log_seq(), seq = end > LOG_SHOWN ? end - LOG_SHOWN : 1;

	panic_print("last log records:\n");
	for (; seq < end; seq++) {
		const struct log_record *rec = log_peek(seq);

		if (!rec)
			continue;
		panic_print("  ");
		panic_print_dec(rec->uptime_us);
		panic_print("us ");
		panic_print(log_level_name(rec->level));
		panic_print(": ");
		print_bytes(rec->text, strnlen(rec->text, sizeof(rec->text)));
		panic_print("\n");
	}
}

/* Makes the calling thread the reporter, or does not return. False: it is already, and failed. */
static bool report_begin(void)
{
	int tid = (int)syscall(SYS_gettid), nobody = 0;

	if (!__atomic_compare_exchange_n(&reporter, &nobody, tid, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST)) {
		if (nobody == tid)
			return false;
		for (;;)
			pause();
	}
	if (record_path[0]) {
		record_fd = open(record_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		record_left = RECORD_BYTES;
	}
	return true;
}

static void report_rest(const void *fp, uintptr_t pc, const void *fault_addr)
{
	panic_print("backtrace:");
	if (pc) {
		panic_print(" ");
		panic_print_hex(pc);
	}
	panic_print_frames(fp);
	panic_print("\n");
	for (struct panic_hook *h = hooks; h; h = h->next)
		h->print(fault_addr);
	print_log();
	if (record_fd >= 0) {
		fsync(record_fd);
		close(record_fd);
		record_fd = -1;
	}
	__atomic_store_n(&reported, 1, __ATOMIC_SEQ_CST);
}

void panic_at(const char *file, int line, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	if (report_begin()) {
		va_start(args, fmt);
		vsnprintf(text, sizeof(text), fmt, args);
		va_end(args);
		panic_print("PANIC ");
		panic_print(file);
		panic_print(":");
		panic_print_dec((uint64_t)line);
		panic_print(": ");
		panic_print(text);
		panic_print("\n");
		report_rest(__builtin_frame_address(0), 0, NULL);
	}
	abort();
}

/* ---- signals ---- */

static const char *signal_name(int sig)
{
	switch (sig) {
	case SIGSEGV:
		return "SIGSEGV";
	case SIGBUS:
		return "SIGBUS";
	case SIGILL:
		return "SIGILL";
	case SIGFPE:
		return "SIGFPE";
	default:
		return "SIGABRT";
	}
}

static void report_signal(int sig, const siginfo_t *info, const ucontext_t *uc)
{
	bool has_addr = (sig == SIGSEGV || sig == SIGBUS) && info->si_code > 0;
	const greg_t *regs = uc->uc_mcontext.gregs;

	panic_print("PANIC ");
	panic_print(signal_name(sig));
	if (has_addr) {
		panic_print(" at ");
		panic_print_hex((uintptr_t)info->si_addr);
	}
	panic_print(" pc ");
	panic_print_hex((uint64_t)regs[REG_RIP]);
	panic_print(" sp ");
	panic_print_hex((uint64_t)regs[REG_RSP]);
	panic_print("\n");
	report_rest((const void *)regs[REG_RBP], (uintptr_t)regs[REG_RIP],
		    has_addr ? info->si_addr : NULL);
}

/*
 * Afterwards the action from before panic_init is back: a fault happens again on return and meets
 * it, a signal that somebody sent is raised again. That way sanitizers and core dumps work.
 */
static void on_signal(int sig, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	if ((sig == SIGSEGV || sig == SIGBUS) && info->si_code > 0) {
		for (struct panic_fault *f = faults; f; f = f->next) {
			if (f->handle(f, sig, info->si_addr)) {
				errno = saved_errno;
				return;
			}
		}
	}
	if (!__atomic_load_n(&reported, __ATOMIC_SEQ_CST) && report_begin())
		report_signal(sig, info, context);
	for (unsigned i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		sigaction(fatal_signals[i], &old_actions[i], NULL);
	if (info->si_code <= 0)
		raise(sig);
	errno = saved_errno;
}

void panic_thread_init(void)
{
	stack_t stack = { .ss_size = ALT_STACK_BYTES }, old;

	/* a sanitizer has made one already */
	if (sigaltstack(NULL, &old) == 0 && !(old.ss_flags & SS_DISABLE))
		return;
	stack.ss_sp = mmap(NULL, ALT_STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* without one everything but a stack overflow is still reported */
	if (stack.ss_sp == MAP_FAILED)
		return;
	sigaltstack(&stack, NULL);
	alt_stack = stack.ss_sp;
}

void panic_thread_fini(void)
{
	stack_t stack = { .ss_flags = SS_DISABLE };

	if (!alt_stack)
		return;
	sigaltstack(&stack, NULL);
	munmap(alt_stack, ALT_STACK_BYTES);
	alt_stack = NULL;
}

void panic_init(void)
{
	struct sigaction action = {
		.sa_sigaction = on_signal,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
	};
	struct sigaction old;

	panic_thread_init();
	for (unsigned i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		sigaction(fatal_signals[i], &action, &old);
		if (old.sa_sigaction != on_signal)
			old_actions[i] = old;
	}
}

void panic_record_set(const char *path)
{
	snprintf(record_path, sizeof(record_path), "%s", path ? path : "");
}

/* ---- what others add ---- */

static pthread_mutex_t add_lock = PTHREAD_MUTEX_INITIALIZER;

void panic_hook_add(struct panic_hook *hook)
{
	struct panic_hook **at = &hooks;

	pthread_mutex_lock(&add_lock);
	while (*at && *at != hook)
		at = &(*at)->next;
	if (!*at) {
		hook->next = NULL;
		__atomic_store_n(at, hook, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&add_lock);
}

void panic_fault_add(struct panic_fault *f)
{
	struct panic_fault **at = &faults;

	pthread_mutex_lock(&add_lock);
	while (*at && *at != f)
		at = &(*at)->next;
	if (!*at) {
		f->next = NULL;
		__atomic_store_n(at, f, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&add_lock);
}
