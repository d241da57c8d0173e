/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers: a hierarchical wheel with microsecond slots. Level n has 64 slots of 64^n us; a timer
 * lies on the lowest level on which its deadline is less than 64 slots away, so that arming,
 * arming anew and cancelling are a list insertion and a list removal, whatever their number. When
 * time reaches a slot above level 0 its timers move down. A bit per slot finds the next one that
 * matters without looking at empty ones.
 *
 * Invariant: on every level the slot of the current time is empty, and deadlines on the wheel are
 * later than wheel.now_us; what is due already goes on the due list and is called in the next
 * round.
 */
#include "core/base/panic.h"
#include "core/clock.h"
#include "core/runtime.h"

enum { SCAN_MAX = 64 };

/* Longer than this is practically never; it fits on the wheel with room to spare. */
static const uint64_t timer_us_max = 1ull << 46;

void timer_setup(struct timer *t, void (*fn)(struct timer *t))
{
	*t = (struct timer){ .fn = fn };
	list_init(&t->link);
}

bool timer_armed(const struct timer *t)
{
	return list_linked(&t->link);
}

static unsigned level_of(uint64_t now_us, uint64_t deadline_us)
{
	unsigned level = log2_floor((deadline_us - now_us) | 1) / WHEEL_SLOT_BITS;
	unsigned shift = level * WHEEL_SLOT_BITS;

	/* the distance in slots can round up to a whole turn */
	if ((deadline_us >> shift) - (now_us >> shift) >= WHEEL_SLOTS)
		level++;
	return level;
}

static void wheel_insert(struct wheel *w, struct timer *t)
{
	unsigned level, shift, slot;

	if (t->deadline_us <= w->now_us) {
		list_push(&w->due, &t->link);
		return;
	}
	level = level_of(w->now_us, t->deadline_us);
	shift = level * WHEEL_SLOT_BITS;
	slot = (unsigned)(t->deadline_us >> shift) & (WHEEL_SLOTS - 1);
	list_push(&w->slot[level][slot], &t->link);
	w->occupied[level] |= 1ull << slot;
	w->next_us = MIN(w->next_us, t->deadline_us >> shift << shift);
}

void timer_arm(struct timer *t, uint64_t us)
{
	struct reactor *r = reactor_current;

	if (list_linked(&t->link))
		list_del(&t->link);
	else
		r->wheel.count++;
	t->deadline_us = reactor_clock_us(r) + MIN(us, timer_us_max);
	wheel_insert(&r->wheel, t);
}

void timer_cancel(struct timer *t)
{
	if (!list_linked(&t->link))
		return;
	list_del(&t->link);
	reactor_current->wheel.count--;
}

/*
 * The first slot of LEVEL after the current one that has timers: the time at which it starts, and
 * its list; UINT64_MAX when there is none. Bits that cancelled timers have left are dropped.
 */
static uint64_t level_first(struct wheel *w, unsigned level, struct list **list)
{
	unsigned shift = level * WHEEL_SLOT_BITS;
	uint64_t cursor = w->now_us >> shift;

	while (w->occupied[level]) {
		unsigned turn = (unsigned)(cursor + 1) & (WHEEL_SLOTS - 1);
		uint64_t bits = w->occupied[level];
		unsigned ahead, slot;

		bits = bits >> turn | bits << (-turn & 63);
		ahead = (unsigned)__builtin_ctzll(bits) + 1;
		slot = (unsigned)(cursor + ahead) & (WHEEL_SLOTS - 1);
		if (!list_empty(&w->slot[level][slot])) {
			*list = &w->slot[level][slot];
			return (cursor + ahead) << shift;
		}
		w->occupied[level] &= ~(1ull << slot);
	}
	return UINT64_MAX;
}

/* The slots that begin now: due timers to the due list, the others down. */
static void wheel_enter(struct wheel *w)
{
	for (unsigned level = WHEEL_LEVELS; level-- > 0;) {
		unsigned slot = (unsigned)(w->now_us >> (level * WHEEL_SLOT_BITS)) &
				(WHEEL_SLOTS - 1);
		struct list moved = LIST_INIT(moved);
		struct timer *t;

		if (!(w->occupied[level] & 1ull << slot))
			continue;
		w->occupied[level] &= ~(1ull << slot);
		list_splice(&moved, &w->slot[level][slot]);
		while ((t = list_pop_entry(&moved, struct timer, link)))
			wheel_insert(w, t);
	}
}

static void wheel_advance(struct wheel *w, uint64_t now_us)
{
	while (now_us >= w->next_us) {
		uint64_t next = UINT64_MAX;
		struct list *list;

		for (unsigned level = 0; level < WHEEL_LEVELS; level++)
			next = MIN(next, level_first(w, level, &list));
		w->next_us = next;
		if (next <= now_us) {
			w->now_us = next;
			wheel_enter(w);
		}
	}
	w->now_us = MAX(w->now_us, now_us);
}

int timers_run(struct reactor *r)
{
	struct list batch = LIST_INIT(batch);
	struct timer *t;
	int count = 0;

	wheel_advance(&r->wheel, r->now_us);
	/* a timer that is armed with 0 by one of these is for the next round */
	list_splice(&batch, &r->wheel.due);
	while ((t = list_pop_entry(&batch, struct timer, link))) {
		r->wheel.count--;
		t->fn(t);
		count++;
	}
	return count;
}

uint64_t timers_next_us(struct reactor *r)
{
	struct wheel *w = &r->wheel;
	uint64_t first = UINT64_MAX;

	if (!list_empty(&w->due))
		return 0;
	for (unsigned level = 0; level < WHEEL_LEVELS && w->count; level++) {
		struct list *list, *l;
		uint64_t start = level_first(w, level, &list), earliest = UINT64_MAX;
		unsigned scanned = 0;

		if (start >= first)
			continue;
		/* look for the exact deadline, unless the slot is crowded */
		for (l = list->next; l != list && scanned < SCAN_MAX; l = l->next, scanned++)
			earliest = MIN(earliest, list_entry(l, struct timer, link)->deadline_us);
		first = MIN(first, l == list ? earliest : start);
	}
	return first;
}

void wheel_init(struct wheel *w, uint64_t now_us)
{
	w->now_us = now_us;
	w->next_us = UINT64_MAX;
	list_init(&w->due);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
			list_init(&w->slot[level][slot]);
}
