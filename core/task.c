/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks: stacks, switching, and what operators see of them. core/task_wait.c is what they wait for.
 *
 * A stack is a mapping with an unreadable page below; struct task lies at its top, so that a task
 * is one piece of memory. Ended tasks leave their stacks in a short list for the next ones. The
 * scheduler is the reactor's own stack: a task is entered from tasks_run only and always returns
 * to it, so that no task ever runs inside another.
 *
 * READY tasks are on reactor.ready; RUNNING is reactor.running; WAITING ones are on the list of
 * what they wait for, or on none when a timer or another part of this file holds them.
 */
#include "core/task.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/panic.h"
#include "core/clock.h"
#include "core/runtime.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
/* redzones around every variable make frames several times as large */
enum { STACK_BYTES = 4 * TASK_STACK_BYTES };
#else
enum { STACK_BYTES = TASK_STACK_BYTES };
#endif

enum {
	/* more than one page, because a function may reach over one with a large buffer */
	GUARD_BYTES = 64 * 1024,
	FREE_STACKS_MAX = 16,
};

/* What task_switch.S takes off a stack. */
struct switch_frame {
	uint32_t mxcsr;
	uint16_t x87_control, reserved;
	uint64_t r15, r14, r13, r12, rbx, rbp;
	void (*ret)(void);
	uint64_t end;                   /* no caller: backtraces stop here */
};

_Static_assert(sizeof(struct switch_frame) == 9 * 8, "as task_switch.S pops it");

static uint64_t last_id;

/* ---- stacks ---- */

static char *stack_low(struct task *t)
{
	return (char *)t + sizeof(*t) - STACK_BYTES;
}

static void stack_free(struct task *t)
{
#ifdef WITH_ASAN
	/* what the last frame left marked would be found by the next user of the addresses */
	__asan_unpoison_memory_region(stack_low(t), STACK_BYTES);
#endif
	munmap(stack_low(t) - GUARD_BYTES, GUARD_BYTES + STACK_BYTES);
}

static struct task *stack_get(struct reactor *r)
{
	struct task *t = list_pop_entry(&r->free_stacks, struct task, link);
	char *map;

	if (t) {
		r->free_stack_count--;
		return t;
	}
	map = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	if (mprotect(map, GUARD_BYTES, PROT_NONE) < 0) {
		munmap(map, GUARD_BYTES + STACK_BYTES);
		return NULL;
	}
	return (struct task *)(map + GUARD_BYTES + STACK_BYTES - sizeof(*t));
}

static void stack_put(struct reactor *r, struct task *t)
{
	if (r->free_stack_count == FREE_STACKS_MAX) {
		stack_free(t);
		return;
	}
#ifdef WITH_ASAN
	__asan_unpoison_memory_region(stack_low(t), STACK_BYTES - sizeof(*t));
#endif
	list_push_front(&r->free_stacks, &t->link);
	r->free_stack_count++;
}

/* ---- switching ---- */

void task_leave(struct task *t)
{
	struct reactor *r = t->reactor;

#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(t->state == TASK_ENDED ? NULL : &t->fake_stack,
				       r->scheduler_stack, r->scheduler_stack_bytes);
#endif
	task_switch(&t->sp, r->scheduler_sp);
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(t->fake_stack, &r->scheduler_stack,
					&r->scheduler_stack_bytes);
#endif
}

static void task_enter(struct reactor *r, struct task *t)
{
	t->state = TASK_RUNNING;
	r->running = t;
	trace(TRACE_TASK_SWITCH, t->id, 0);
#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(&r->scheduler_fake_stack, stack_low(t),
				       STACK_BYTES - sizeof(*t));
#endif
	task_switch(&r->scheduler_sp, t->sp);
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(r->scheduler_fake_stack, NULL, NULL);
#endif
	r->running = NULL;
}

static void task_main(void)
{
	struct reactor *r = reactor_current;
	struct task *t = r->running;

#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(NULL, &r->scheduler_stack, &r->scheduler_stack_bytes);
#endif
	t->fn(t->arg);
	t->state = TASK_ENDED;
	task_leave(t);
	__builtin_unreachable();
}

/* The frame that makes the first switch return into task_main, with the stack as after a call. */
static void *stack_prepare(struct task *t)
{
	uintptr_t top = ALIGN_DOWN((uintptr_t)t, 16);
	struct switch_frame *f = (struct switch_frame *)(top - sizeof(*f));
	uint32_t mxcsr;
	uint16_t x87_control;

	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87_control));
	*f = (struct switch_frame){
		.mxcsr = mxcsr, .x87_control = x87_control, .ret = task_main
	};
	return f;
}

struct task *task_start(const char *name, task_fn *fn, void *arg)
{
	struct reactor *r = reactor_current;
	struct task *t = stack_get(r);

	if (!t)
		return NULL;
	*t = (struct task){
		.reactor = r,
		.fn = fn,
		.arg = arg,
		.id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED),
		.started_us = clock_now_us(),
	};
	snprintf(t->name, sizeof(t->name), "%s", name);
	t->sp = stack_prepare(t);
	list_push(&r->tasks, &t->all);
	list_push(&r->ready, &t->link);
	r->task_count++;
	return t;
}

struct task *task_self(void)
{
	return reactor_current ? reactor_current->running : NULL;
}

struct task *task_running(void)
{
	struct task *t = task_self();

	ASSERT_MSG(t, "waiting outside of a task");
	return t;
}

int tasks_run(struct reactor *r)
{
	struct list batch = LIST_INIT(batch);
	struct task *t;
	int count = 0;

	if (list_empty(&r->ready))
		return 0;
	list_splice(&batch, &r->ready);
	while ((t = list_pop_entry(&batch, struct task, link))) {
		task_enter(r, t);
		count++;
		if (t->state == TASK_ENDED) {
			list_del(&t->all);
			r->task_count--;
			stack_put(r, t);
		}
	}
	return count;
}

void tasks_init(struct reactor *r)
{
	list_init(&r->tasks);
	list_init(&r->ready);
	list_init(&r->io_waits);
	list_init(&r->free_stacks);
}

/* Tasks that have not ended are dropped where they are. */
void tasks_fini(struct reactor *r)
{
	struct task *t;

	while ((t = list_pop_entry(&r->tasks, struct task, all)))
		stack_free(t);
	while ((t = list_pop_entry(&r->free_stacks, struct task, link)))
		stack_free(t);
}

void task_report(const struct reactor *r, const void *fault_addr)
{
	const struct task *t = r->running;
	const char *low;

	if (!t) {
		panic_print(", no task\n");
		return;
	}
	panic_print(", task ");
	panic_print_dec(t->id);
	panic_print(" ");
	panic_print(t->name);
	panic_print("\n");
	low = (const char *)t + sizeof(*t) - STACK_BYTES;
	if ((const char *)fault_addr >= low - GUARD_BYTES && (const char *)fault_addr < low)
		panic_print("the task has run out of stack\n");
}

/* ---- long work ---- */

void task_describe(const char *fmt, ...)
{
	struct task *t = task_running();
	va_list args;

	va_start(args, fmt);
	vsnprintf(t->what, sizeof(t->what), fmt, args);
	va_end(args);
	t->described = true;
}

void task_progress(uint64_t done, uint64_t total)
{
	struct task *t = task_running();

	t->done = done;
	t->total = total;
}

bool task_cancelled(void)
{
	return task_running()->cancelled;
}

unsigned task_list(struct task_info *info, unsigned max)
{
	unsigned count = 0;
	struct task *t;

	list_for_each(t, &reactor_current->tasks, all) {
		if (!t->described)
			continue;
		if (count == max)
			break;
		info[count] = (struct task_info){
			.id = t->id, .reactor = t->reactor->index, .done = t->done,
			.total = t->total, .started_us = t->started_us, .cancelled = t->cancelled,
		};
		memcpy(info[count].name, t->name, sizeof(t->name));
		memcpy(info[count].what, t->what, sizeof(t->what));
		count++;
	}
	return count;
}

int task_cancel(uint64_t id)
{
	struct task *t;

	list_for_each(t, &reactor_current->tasks, all) {
		if (t->id == id && t->described) {
			t->cancelled = true;
			return 0;
		}
	}
	return -ENOENT;
}
