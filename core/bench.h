/* SPDX-License-Identifier: BSD-3-Clause */
/* `disk bench`: the load that bench.c makes on every reactor, told and reported by cmd_bench.c. */
#ifndef CORE_BENCH_H
#define CORE_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bdev.h"
#include "core/stat.h"
#include "core/task.h"

enum {
	BENCH_SLICE_US = 1000 * 1000,
	BENCH_QD_MAX = 256,
	BENCH_FOUND_BYTES = 160,
};


enum bench_rw { BENCH_READ, BENCH_WRITE, BENCH_RANDREAD, BENCH_RANDWRITE, BENCH_RANDRW };

struct bench_reactor;

struct bench_slot {
	struct io io;
	struct iovec iov;
	struct bench_reactor *reactor;
	uint64_t start_ticks;
	uint64_t place;
	uint32_t generation;            /* verify: what is written, or has to be found */
};

struct bench_reactor {
	struct bench *bench;
	uint64_t deadline_us, random, first, next;      /* places, in units of a request */
	unsigned inflight;
	struct event ended;
	uint64_t ops;
	enum io_status status;          /* the first that was not IO_OK */
	struct stat_hist latency;
	uint64_t verified;              /* requests whose blocks were all as they must be */
	char found[BENCH_FOUND_BYTES];        /* the first that were not */
	uint32_t *generation;           /* verify: of each place, 0 when not written in this run */
	uint8_t *memory;
	struct bench_slot slot[BENCH_QD_MAX];
};

struct bench {
	struct bdev_user user;
	enum bench_rw rw;
	uint32_t io_bytes, io_blocks;
	unsigned qd;
	uint64_t time_us, run_us;
	unsigned parts;                 /* 1 when the reactors share the whole disk */
	uint64_t places;                /* requests that fit on the disk, of each reactor */
	bool verify, checking;          /* checking: the time is over, all is read once more */
	uint64_t run;
	bool gone;
	struct bench_reactor *reactor[REACTOR_MAX];
};

static inline bool bench_writes(const struct bench *b)
{
	return b->rw != BENCH_READ && b->rw != BENCH_RANDREAD;
}

/*
 * A slice: until its time is over, a request fails, the disk goes or, when checking, all is read.
 * ARG is the struct bench; in a task of each reactor. Nothing is in flight when it returns.
 */
void bench_slice(void *arg);

#endif
