/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time and randomness. Ticks are the TSC, whose rate is measured against CLOCK_MONOTONIC at start:
 * every processor that this firmware accepts counts at a constant rate, and ticks are compared on
 * one core only. Conversions multiply by a 32.32 fixed-point factor.
 *
 * Simulated time is one global count that moves in clock_simulate_advance only; it is for tests,
 * which run one reactor in one thread.
 */
#include "core/clock.h"

#include <stdbool.h>
#include <sys/random.h>
#include <time.h>
#include <x86intrin.h>

#include "core/base/panic.h"

enum { CALIBRATION_NS = 5 * 1000 * 1000 };

uint64_t clock_tick_ns;
__thread uint64_t clock_ticks_last;
static uint64_t measured_tick_ns;       /* also while time is simulated */
static uint64_t start_us;

static bool simulated;
static uint64_t simulated_ns, simulated_random;

static uint64_t time_of(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void clock_init(void)
{
	uint64_t ns0, ns1, ticks0, ticks1;

	if (measured_tick_ns)
		return;
	ns0 = time_of(CLOCK_MONOTONIC);
	ticks0 = __rdtsc();
	do {
		ns1 = time_of(CLOCK_MONOTONIC);
		ticks1 = __rdtsc();
	} while (ns1 - ns0 < CALIBRATION_NS);
	ASSERT(ticks1 > ticks0);
	measured_tick_ns = (uint64_t)(((unsigned __int128)(ns1 - ns0) << 32) / (ticks1 - ticks0));
	clock_tick_ns = simulated ? 0 : measured_tick_ns;
	start_us = ns0 / 1000;
}

uint64_t clock_now_ns(void)
{
	return simulated ? simulated_ns : time_of(CLOCK_MONOTONIC);
}

uint64_t clock_now_us(void)
{
	return clock_now_ns() / 1000;
}

uint64_t clock_realtime_us(void)
{
	return simulated ? simulated_ns / 1000 : time_of(CLOCK_REALTIME) / 1000;
}

uint64_t clock_uptime_us(void)
{
	uint64_t now = clock_now_us();

	return now > start_us ? now - start_us : 0;
}

uint64_t clock_slow_ticks(void)
{
	return clock_now_ns();
}

uint64_t clock_thread_cpu_us(void)
{
	return time_of(CLOCK_THREAD_CPUTIME_ID) / 1000;
}

/* splitmix64 */
static uint64_t simulated_random64(void)
{
	uint64_t z = simulated_random += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void clock_random(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (simulated && len) {
		*p++ = (uint8_t)simulated_random64();
		len--;
	}
	while (len) {
		ssize_t n = getrandom(p, len, 0);

		/* the kernel's pool is ready long before us; only a signal interrupts */
		if (n < 0)
			continue;
		p += n;
		len -= (size_t)n;
	}
}

uint64_t clock_random64(void)
{
	uint64_t v;

	clock_random(&v, sizeof(v));
	return v;
}

void clock_simulate(uint64_t seed)
{
	if (!simulated)
		simulated_ns = time_of(CLOCK_MONOTONIC) / 1000 * 1000;
	simulated = true;
	clock_tick_ns = 0;
	simulated_random = seed;
}

void clock_simulate_advance(uint64_t us)
{
	ASSERT(simulated);
	simulated_ns += us * 1000;
}

void clock_simulate_end(void)
{
	simulated = false;
	clock_tick_ns = measured_tick_ns;
}
