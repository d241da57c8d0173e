/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time and randomness come from here only, so that everything can run under a simulated clock with
 * a fixed seed (clock_simulate, for tests).
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Calibrates ticks; before threads. Later calls do nothing. */
void clock_init(void);

/* Monotonic microseconds and nanoseconds; the origin is arbitrary. */
uint64_t clock_now_us(void);
uint64_t clock_now_ns(void);
/* Microseconds since 1970. */
uint64_t clock_realtime_us(void);

/*
 * Nanoseconds per tick of the TSC, 32.32 fixed point; 0 when ticks are nanoseconds: before
 * clock_init, and in simulated time. clock.c writes it.
 */
extern uint64_t clock_tick_ns;
uint64_t clock_slow_ticks(void);

/* The calling thread's last reading of clock_ticks(). */
extern __thread uint64_t clock_ticks_last;

/* The cheapest monotonic count (TSC); for latencies. */
static inline uint64_t clock_ticks(void)
{
	if (__builtin_expect(clock_tick_ns == 0, 0))
		return clock_slow_ticks();
	clock_ticks_last = __builtin_ia32_rdtsc();
	return clock_ticks_last;
}

/*
 * As of the thread's last reading: for what happens many times between two of them. A reactor reads
 * at the start of a round, after it has slept or received, and before completions are given back.
 */
static inline uint64_t clock_ticks_recent(void)
{
	if (__builtin_expect(clock_tick_ns == 0, 0))
		return clock_slow_ticks();
	return clock_ticks_last;
}

static inline uint64_t clock_ticks_to_ns(uint64_t ticks)
{
	if (__builtin_expect(clock_tick_ns == 0, 0))
		return ticks;
	return (uint64_t)(((unsigned __int128)ticks * clock_tick_ns) >> 32);
}

/* CPU time that the calling thread has used, microseconds; never simulated. */
uint64_t clock_thread_cpu_us(void);
/* Microseconds since clock_init. */
uint64_t clock_uptime_us(void);

/* Cryptographic quality, from getrandom; deterministic when simulated. */
void clock_random(void *buf, size_t len);
uint64_t clock_random64(void);

/*
 * From now on time stands still except for clock_simulate_advance, ticks are nanoseconds,
 * randomness comes from SEED.
 */
void clock_simulate(uint64_t seed);
void clock_simulate_advance(uint64_t us);
/* Back to real time, for the next test. */
void clock_simulate_end(void);

#endif
