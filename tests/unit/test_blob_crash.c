/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power is lost, at every write of every operation: a run of random operations is recorded on a
 * tape (fake_tape.h), and for each place on it the disk is made as the crash may have left it: all
 * that no flush has made durable lost, all kept, some of it, or torn between blocks. Each such disk
 * is loaded: what had been acknowledged is there, the operation under way is done or not done, no
 * cluster is lost, and none shows what it held before. A failure prints seed, place and kind:
 * KARST_SEED=n runs that seed alone. KARST_LONG=1 is the long mode.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/blob_box.h"
#include "tests/unit/fake_tape.h"

enum { STEPS = 30, SEEDS = 4, SEEDS_LONG = 40, PROBES = 40 };

static const unsigned weight[BOX_OPS] = {
	[BOX_WRITE] = 14, [BOX_ZERO] = 1, [BOX_UNMAP] = 3, [BOX_FLUSH] = 2,
	[BOX_CREATE] = 6, [BOX_DELETE] = 6, [BOX_RESIZE] = 5, [BOX_RENAME] = 2,
	[BOX_SNAPSHOT] = 5, [BOX_CLONE] = 5, [BOX_INFLATE] = 2, [BOX_DECOUPLE] = 2,
	[BOX_READONLY] = 1,
};

struct history {
	struct box_state state[STEPS + 1];
	char said[STEPS + 2][sizeof(((struct blob_box *)0)->said)];
	unsigned count;
};

struct trial {
	uint64_t seed;
	unsigned done[BOX_OPS];
	unsigned cases, old, new, again;
};

static struct blob_box box, after;
static struct fake_tape tape;
static struct history history;

static const char *const losses[TAPE_LOSSES] = { "lost", "kept", "some", "torn" };

/* ---- the run that is recorded ---- */

static enum box_op op_choose(void)
{
	unsigned total = 0, at;

	for (unsigned i = 0; i < BOX_OPS; i++)
		total += weight[i];
	at = box_below(&box, total);
	for (unsigned i = 0; i < BOX_OPS; i++) {
		if (at < weight[i])
			return i;
		at -= weight[i];
	}
	return BOX_WRITE;
}

static void record(struct trial *trial)
{
	enum fake_mode mode = trial->seed & 1 ? FAKE_INSTANT : FAKE_RANDOM;

	box_begin(&box, mode, trial->seed);
	tape_start(&tape, box.disk);
	history.count = 0;
	history.state[0] = box.now;
	while (history.count < STEPS) {
		if (!box_do(&box, op_choose()))
			continue;
		history.state[++history.count] = box.now;
		memcpy(history.said[history.count], box.said, sizeof(box.said));
		tape_mark(&tape, history.count);
	}
	for (unsigned i = 0; i < BOX_OPS; i++)
		trial->done[i] += box.done[i];
	/* the unload is an operation too, that changes nothing */
	snprintf(history.said[history.count + 1], sizeof(box.said), "unload");
	box_unload(&box);
}

/* ---- crashes ---- */

/* The store works on: as if nothing had been. */
static void go_on(const struct box_state *state)
{
	box_adopt(&after, state);
	after.random = after.seed | 1;
	for (unsigned i = 0; i < 12; i++)
		box_do(&after, 1 + box_below(&after, BOX_OPS - 1));
	box_verify(&after);
	box_check(&after);
	box_unload(&after);
	box_load(&after, "crash");
	box_verify(&after);
	box_check(&after);
}

static void recover(struct trial *trial, const struct tape_crash *crash, enum tape_loss loss)
{
	uint64_t mark = crash->mark;
	const struct box_state *was = &history.state[mark];
	const struct box_state *will = &history.state[MIN(mark + 1, (uint64_t)history.count)];
	unsigned atomic = after.disk->bdev.atomic_blocks;
	static uint8_t medium[BOX_DISK_CLUSTERS * BOX_CLUSTER];
	char old[200], new[200];
	bool is_new = false;

	crash_medium(crash, loss, atomic, trial->seed * 1000003 + trial->cases, medium);
	fake_fill(after.disk, medium);
	after.seed = trial->seed;
	snprintf(after.said, sizeof(after.said), "crash at %zu (%s) in %.80s", crash->at,
		 losses[loss], history.said[mark + 1]);
	box_load(&after, "crash");
	if (!box_may_be(&after, was, will, old, sizeof(old))) {
		is_new = true;
		if (!box_may_be(&after, will, will, new, sizeof(new)))
			box_fail(&after, "neither old (%s) nor new (%s)", old, new);
	}
	box_check(&after);
	if (trial->cases % PROBES == 0) {
		go_on(is_new ? will : was);
		trial->again++;
	}
	box_unload(&after);
	trial->cases++;
	trial->old += !is_new;
	trial->new += is_new;
}

static void crash_task(void *arg)
{
	struct trial *trial = arg;
	struct bdev shape = box_shape("crash", trial->seed);
	struct tape_crash crash;

	record(trial);
	after.disk = fake_create(&shape, FAKE_INSTANT, trial->seed);
	crash_start(&crash, &tape);
	recover(trial, &crash, TAPE_LOST);
	while (crash_next(&crash)) {
		if (crash.pending_count == 0) {
			recover(trial, &crash, TAPE_LOST);
			continue;
		}
		for (unsigned loss = 0; loss < TAPE_LOSSES; loss++)
			recover(trial, &crash, loss);
	}
	crash_end(&crash);
	fake_remove(after.disk);
	tape_free(&tape);
	box_end(&box);
}

static void test_what_was_acknowledged_survives_a_crash_at_any_write(void **state)
{
	const char *one = getenv("KARST_SEED");
	unsigned count = one ? 1 : getenv("KARST_LONG") ? SEEDS_LONG : SEEDS;
	uint64_t first = one ? strtoull(one, NULL, 10) : 1;
	struct trial trial = { 0 };

	(void)state;
	for (uint64_t seed = first; seed < first + count; seed++) {
		trial.seed = seed;
		loop_task(crash_task, &trial);
	}
	print_message("seeds %lu…%lu: %u crashes; %u left the old state, %u the new one; %u went "
		      "on working\n", (unsigned long)first, (unsigned long)(first + count - 1),
		      trial.cases, trial.old, trial.new, trial.again);
	for (unsigned i = 0; i < BOX_OPS && !one; i++)
		assert_true(weight[i] < 5 || trial.done[i] > 0);
	assert_true(trial.old > 100 && trial.new > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_test(test_what_was_acknowledged_survives_a_crash_at_any_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
