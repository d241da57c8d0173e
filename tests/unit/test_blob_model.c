/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stores against a model: random operations on random disks, each compared with arrays in memory;
 * the store is loaded again every few hundred, sometimes as if it had not been unloaded. The seed
 * is printed when something is wrong: KARST_SEED=n runs that one alone. KARST_LONG=1 does 10^5
 * operations, otherwise fewer.
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

enum { STEPS = 2500, SEEDS = 4, SEEDS_LONG = 40, RELOAD_STEPS = 250 };

static const unsigned weight[BOX_OPS] = {
	[BOX_WRITE] = 40, [BOX_READ] = 24, [BOX_ZERO] = 4, [BOX_UNMAP] = 5, [BOX_FLUSH] = 3,
	[BOX_CREATE] = 5, [BOX_DELETE] = 7, [BOX_RESIZE] = 4, [BOX_RENAME] = 1,
	[BOX_SNAPSHOT] = 4, [BOX_CLONE] = 4, [BOX_INFLATE] = 1, [BOX_DECOUPLE] = 2,
	[BOX_READONLY] = 1,
};

static struct blob_box box;

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
	return BOX_READ;
}

/* Unloaded, or as if power had been lost with nothing in the disk's cache. */
static void reload(bool clean)
{
	size_t len = box.disk->bdev.block_count * BOX_BLOCK;
	struct store_figures was, is;
	uint8_t *medium = malloc(len);

	assert_non_null(medium);
	memcpy(medium, box.disk->view, len);
	store_figures(box.store, &was);
	box_unload(&box);
	if (!clean)
		fake_fill(box.disk, medium);
	free(medium);
	box_load(&box, "disk");
	snprintf(box.said, sizeof(box.said), "a %s load", clean ? "clean" : "dirty");
	store_figures(box.store, &is);
	if (is.recovered == clean)
		box_fail(&box, "recovered is %d", is.recovered);
	if (is.clusters_free != was.clusters_free || is.blobs != was.blobs)
		box_fail(&box, "%lu clusters free, were %lu; %lu blobs, were %lu",
			 (unsigned long)is.clusters_free, (unsigned long)was.clusters_free,
			 (unsigned long)is.blobs, (unsigned long)was.blobs);
	box_verify(&box);
	box_check(&box);
}

static void model_task(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;
	unsigned next = RELOAD_STEPS;

	box_begin(&box, FAKE_INSTANT, seed);
	for (unsigned step = 1; step <= STEPS; step++) {
		while (!box_do(&box, op_choose()))
			;
		if (step == next || step == STEPS) {
			box_verify(&box);
			box_check(&box);
			reload(box_below(&box, 2));
			next += RELOAD_STEPS / 2 + box_below(&box, RELOAD_STEPS);
		}
	}
	box_end(&box);
}

static void test_a_store_is_what_the_model_says(void **state)
{
	const char *one = getenv("KARST_SEED");
	unsigned count = getenv("KARST_LONG") ? SEEDS_LONG : SEEDS;
	unsigned done[BOX_OPS] = { 0 }, nospc = 0;
	uint64_t first = one ? strtoull(one, NULL, 10) : 1;

	(void)state;
	for (uint64_t seed = first; seed < first + (one ? 1 : count); seed++) {
		loop_task(model_task, &seed);
		for (unsigned i = 0; i < BOX_OPS; i++)
			done[i] += box.done[i];
		nospc += box.nospc;
	}
	print_message("seeds %lu…%lu, %u operations each; out of space %u times\n",
		      (unsigned long)first, (unsigned long)(first + (one ? 0 : count - 1)), STEPS,
		      nospc);
	for (unsigned i = 0; i < BOX_OPS && !one; i++)
		assert_true(done[i] > 10);
	assert_true(one || nospc > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_test(test_a_store_is_what_the_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
