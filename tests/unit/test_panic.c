/* SPDX-License-Identifier: BSD-3-Clause */
/* Every case dies in a child; what it wrote to stderr and to the record is read here. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/pool.h"
#include "core/reactor.h"
#include "core/task.h"
#include "core/trace.h"

static char output[64 * 1024], record[8192];
static char record_path[] = "/tmp/karst-test-panic-XXXXXX";

static void read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
}

/* cmocka catches them, to go on with the next test. */
static void forget_handlers(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
}

/* Runs DIE in a child that has panic_init behind it; it must not end well. */
static void expect_death(void (*die)(void), int want_signal)
{
	const struct rlimit no_core = { 0, 0 };
	int out[2], fd, status;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		forget_handlers();
		panic_record_set(record_path);
		panic_init();
		die();
		_exit(0);
	}
	close(out[1]);
	read_all(out[0], output, sizeof(output));
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), want_signal);
	fd = open(record_path, O_RDONLY);
	assert_true(fd >= 0);
	read_all(fd, record, sizeof(record));
	close(fd);
}

static void expect(const char *text)
{
	if (!strstr(output, text))
		fail_msg("\"%s\" is not in:\n%s", text, output);
	if (!strstr(record, text))
		fail_msg("\"%s\" is not in the record:\n%s", text, record);
}

static void die_by_panic(void)
{
	log_error("disk a: on fire");
	panic("pump %d stands", 7);
}

static void test_panic_says_what_where_and_what_was_before(void **state)
{
	expect_death(die_by_panic, SIGABRT);
	expect("PANIC tests/unit/test_panic.c:");
	expect(": pump 7 stands\n");
	expect("backtrace: 0x");
	expect("error: disk a: on fire\n");
}

static void die_by_assert(void)
{
	int zero = 0;

	ASSERT(zero == 0);
	ASSERT(zero == 1);
}

static void test_assert_names_its_condition(void **state)
{
	expect_death(die_by_assert, SIGABRT);
	expect("assertion failed: zero == 1\n");
}

static void die_by_pool(void)
{
	struct pool p;

	if (pool_init(&p, "leaky", 8, 2) == 0)
		pool_get(&p);
	pool_fini(&p);
}

static void test_a_pool_with_objects_outside_is_a_bug(void **state)
{
	expect_death(die_by_pool, SIGABRT);
	expect("pool leaky: 1 of 2 objects are missing");
}

static void die_by_segv(void)
{
	*(volatile int *)(uintptr_t)0x123450 = 1;
}

static void test_segv_is_reported_with_its_address(void **state)
{
	expect_death(die_by_segv, SIGSEGV);
	expect("PANIC SIGSEGV at 0x123450 pc 0x");
	expect("backtrace: 0x");
}

static void die_by_abort(void)
{
	abort();
}

static void test_abort_is_reported_and_kills(void **state)
{
	expect_death(die_by_abort, SIGABRT);
	expect("PANIC SIGABRT");
}

static void die_by_bus(void)
{
	char name[] = "/tmp/karst-test-bus-XXXXXX";
	int fd = mkstemp(name);
	char *map;

	unlink(name);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*(volatile char *)map = 1;
}

static void test_bus_error_is_reported(void **state)
{
	expect_death(die_by_bus, SIGBUS);
	expect("PANIC SIGBUS at 0x");
}

/* Frame pointers that lead to nowhere, to themselves and to unreadable memory. */
static void die_with_garbage(void)
{
	uintptr_t loop[2], wild[2] = { 0xdead0000beef0008, 0x1111 }, end[2] = { 0, 0x2222 };
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(page + 4096, 4096, PROT_NONE);
	loop[0] = (uintptr_t)loop;
	loop[1] = 0x3333;
	panic_print_frames(loop);
	panic_print_frames(wild);
	panic_print_frames(end);
	panic_print_frames(NULL);
	panic_print_frames((void *)(uintptr_t)3);
	panic_print_frames(page + 4096 - 8);
	panic_print_frames(page + 4096);
	panic_print_frames((void *)(uintptr_t)0xffff800000000000);
	panic("still here");
}

static void test_backtrace_survives_garbage(void **state)
{
	expect_death(die_with_garbage, SIGABRT);
	expect("still here");
	assert_non_null(strstr(output, " 0x3333 0x1111 0x2222"));
}

static void die_hook(const void *fault_addr)
{
	panic_print("hook says ");
	panic_print_dec(18446744073709551615u);
	panic_print(" ");
	panic_print_hex(0xabc0);
	panic_print("\n");
	*(volatile int *)(uintptr_t)0x10 = 1;
}

static void die_in_hook(void)
{
	static struct panic_hook hook = { .print = die_hook };

	panic_hook_add(&hook);
	panic_hook_add(&hook);
	panic("first");
}

/* The report is cut short, and the process ends all the same. */
static void test_failing_in_the_report_ends_it(void **state)
{
	expect_death(die_in_hook, SIGSEGV);
	expect("first\n");
	expect("hook says 18446744073709551615 0xabc0\n");
	assert_null(strstr(output, "PANIC SIGSEGV"));
}

/* ---- faults that have a meaning ---- */

static char *mended_page;

static bool mend(struct panic_fault *f, int sig, void *addr)
{
	if ((char *)addr < mended_page || (char *)addr >= mended_page + 4096)
		return false;
	return mprotect(mended_page, 4096, PROT_READ | PROT_WRITE) == 0;
}

static void die_after_mending(void)
{
	static struct panic_fault fault = { .handle = mend };

	mended_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	panic_fault_add(&fault);
	*(volatile char *)mended_page = 5;
	panic("the page holds %d", *mended_page);
}

static void test_a_fault_may_be_handled(void **state)
{
	expect_death(die_after_mending, SIGABRT);
	expect("the page holds 5");
	assert_null(strstr(output, "SIGSEGV"));
}

/* ---- on reactors ---- */

static void die_beside_reactors(void)
{
	if (reactor_init(1, NULL) == 0)
		panic("outside");
}

static void test_panic_outside_of_reactors_says_so(void **state)
{
	expect_death(die_beside_reactors, SIGABRT);
	expect("not on a reactor");
}

static void panic_task(void *arg)
{
	ASSERT(task_self());
	trace(TRACE_NVME_POST, 0xfeed, 3);
	panic("in a task");
}

static void die_in_task(void)
{
	if (reactor_init(1, NULL) == 0) {
		reactor_enter(reactor_at(0));
		task_start("doomed", panic_task, NULL);
		reactor_round();
	}
}

static void test_panic_in_a_task_names_it_and_shows_the_trace(void **state)
{
	expect_death(die_in_task, SIGABRT);
	expect("in a task\n");
	expect("reactor 0, task ");
	expect(" doomed\n");
	expect(" nvme-post 0xfeed 0x3\n");
}

static void segv_task(void *arg)
{
	*(volatile int *)(uintptr_t)0x123450 = 1;
}

static void call_segv(void *arg)
{
	task_call(reactor_at(1), segv_task, NULL);
}

static void die_on_another_thread(void)
{
	if (reactor_init(2, NULL) == 0)
		reactor_run(call_segv, NULL);
}

/* Other threads block signals, but not those of faults. */
static void test_a_fault_on_another_reactor_is_reported(void **state)
{
	expect_death(die_on_another_thread, SIGSEGV);
	expect("PANIC SIGSEGV at 0x123450");
	expect("reactor 1, task ");
}

static void segv_helper(void *arg)
{
	task_block(segv_task, NULL);
}

static void die_in_helper(void)
{
	if (reactor_init(1, NULL) == 0)
		reactor_run(segv_helper, NULL);
}

static void test_a_fault_in_a_helper_thread_is_reported(void **state)
{
	expect_death(die_in_helper, SIGSEGV);
	expect("PANIC SIGSEGV at 0x123450");
	expect("not on a reactor");
}

static unsigned deeper(volatile unsigned *depth)
{
	volatile unsigned here[64];

	here[0] = *depth + 1;
	if (here[0] == 0)
		return 0;
	return deeper(here) + here[0];
}

static void overflow_task(void *arg)
{
	volatile unsigned depth = 1;

	depth = deeper(&depth);
}

static void die_by_stack(void)
{
	if (reactor_init(1, NULL) == 0) {
		reactor_enter(reactor_at(0));
		task_start("deep", overflow_task, NULL);
		reactor_round();
	}
}

static void test_running_out_of_stack_is_named(void **state)
{
	expect_death(die_by_stack, SIGSEGV);
	expect("PANIC SIGSEGV");
	expect(" deep\n");
	expect("the task has run out of stack\n");
}

static void die_with_long_log(void)
{
	for (unsigned i = 0; i < 100; i++)
		log_error("%0239u", i);
	panic("much to say");
}

static void test_the_record_is_at_most_4_kib(void **state)
{
	expect_death(die_with_long_log, SIGABRT);
	assert_int_equal(strlen(record), 4096);
	assert_non_null(strstr(record, "much to say"));
}

static int record_setup(void **state)
{
	int fd = mkstemp(record_path);

	close(fd);
	return fd < 0;
}

static int record_teardown(void **state)
{
	return unlink(record_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_panic_says_what_where_and_what_was_before),
		cmocka_unit_test(test_assert_names_its_condition),
		cmocka_unit_test(test_a_pool_with_objects_outside_is_a_bug),
		cmocka_unit_test(test_segv_is_reported_with_its_address),
		cmocka_unit_test(test_abort_is_reported_and_kills),
		cmocka_unit_test(test_bus_error_is_reported),
		cmocka_unit_test(test_backtrace_survives_garbage),
		cmocka_unit_test(test_failing_in_the_report_ends_it),
		cmocka_unit_test(test_a_fault_may_be_handled),
		cmocka_unit_test(test_panic_outside_of_reactors_says_so),
		cmocka_unit_test(test_panic_in_a_task_names_it_and_shows_the_trace),
		cmocka_unit_test(test_a_fault_on_another_reactor_is_reported),
		cmocka_unit_test(test_a_fault_in_a_helper_thread_is_reported),
		cmocka_unit_test(test_running_out_of_stack_is_named),
		cmocka_unit_test(test_the_record_is_at_most_4_kib),
	};

	return cmocka_run_group_tests(tests, record_setup, record_teardown);
}
