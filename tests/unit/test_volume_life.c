/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on volumes that do not get to their end: the disk goes away, or a request fails, at
 * each request of each operation, while a user of the volume reads and writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blob/serve.h"
#include "core/base/util.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/volume_box.h"

enum { MIB = 1 << 20, CLUSTER = BOX_CLUSTER_BYTES, ROUNDS_MAX = 100 * 1000 };

/* ---- the operations ---- */

static int op_create_thick(struct store_box *box)
{
	return volume_create(box->store, "new", 3 * CLUSTER, false, NULL, NULL, &box->why);
}

static int op_create_thin(struct store_box *box)
{
	return volume_create(box->store, "new", 3 * CLUSTER, true, NULL, NULL, &box->why);
}

static int op_delete(struct store_box *box)
{
	return volume_delete(volume_box_find("other"), &box->why);
}

static int op_delete_snapshot(struct store_box *box)
{
	return volume_delete(volume_box_find("s"), &box->why);
}

static int op_grow(struct store_box *box)
{
	return volume_resize(volume_box_find("v"), 540 * CLUSTER, &box->why);
}

static int op_grow_thick(struct store_box *box)
{
	return volume_resize(volume_box_find("other"), 12 * CLUSTER, &box->why);
}

static int op_shrink(struct store_box *box)
{
	return volume_resize(volume_box_find("v"), 9 * CLUSTER, &box->why);
}

static int op_rename(struct store_box *box)
{
	return volume_rename(volume_box_find("other"), "new", &box->why);
}

static int op_snapshot(struct store_box *box)
{
	return volume_snapshot(volume_box_find("v"), "new", NULL, &box->why);
}

static int op_clone(struct store_box *box)
{
	return volume_clone(volume_box_find("s"), "new", NULL, &box->why);
}

static int op_inflate(struct store_box *box)
{
	return volume_inflate(volume_box_find("v"), &box->why);
}

static int op_decouple(struct store_box *box)
{
	return volume_decouple(volume_box_find("v"), &box->why);
}

static int op_readonly(struct store_box *box)
{
	return volume_readonly_set(volume_box_find("other"), true, &box->why);
}

static int op_store_rename(struct store_box *box)
{
	return store_rename(box->store, "pool", &box->why);
}

typedef int op_fn(struct store_box *box);

static op_fn *const ops[] = {
	op_create_thick, op_create_thin, op_delete, op_delete_snapshot, op_grow, op_grow_thick,
	op_shrink, op_rename, op_snapshot, op_clone, op_inflate, op_decouple, op_readonly,
};

/* ---- a user of volume v ---- */

enum { USER_IOS = 6 };

struct user {
	struct bdev_user bdev_user;
	struct bench_io io[USER_IOS];
	uint8_t *data;
	bool told, open;
};

static bool user_waits(const struct user *u)
{
	for (unsigned i = 0; i < USER_IOS; i++)
		if (!u->io[i].done)
			return true;
	return false;
}

static void user_event(struct bdev_user *bdev_user, enum bdev_event event)
{
	if (event == BDEV_REMOVED)
		container_of(bdev_user, struct user, bdev_user)->told = true;
}

/* Mapped and not mapped, of its own and beneath, and what gives clusters back. */
static void user_start(struct user *u)
{
	static const struct {
		enum io_op op;
		uint64_t cluster;
	} what[USER_IOS] = {
		{ IO_WRITE, 0 }, { IO_READ, 2 }, { IO_WRITE, 2 }, { IO_WRITE, 5 },
		{ IO_UNMAP, 4 }, { IO_FLUSH, 0 },
	};

	u->data = calloc(USER_IOS, 4096);
	assert_non_null(u->data);
	u->told = false;
	u->bdev_user = (struct bdev_user){ .who = "user", .event = user_event, .write = true };
	assert_int_equal(bdev_open("box/v", &u->bdev_user), 0);
	u->open = true;
	for (unsigned i = 0; i < USER_IOS; i++) {
		bool data = what[i].op <= IO_WRITE;

		memset(&u->io[i], 0, sizeof(u->io[i]));
		bench_fill(&u->io[i], what[i].op, what[i].cluster * (CLUSTER / 4096),
			   what[i].op == IO_UNMAP ? 16 : what[i].op == IO_FLUSH ? 0 : 1,
			   data ? u->data + i * 4096 : NULL, data ? 4096 : 0);
		bench_submit(bdev_chan(u->bdev_user.bdev), &u->io[i]);
	}
}

static void user_close(struct user *u)
{
	if (!u->open || user_waits(u))
		return;
	bdev_close(&u->bdev_user);
	u->open = false;
	free(u->data);
}

/* ---- an operation that is looked at request by request ---- */

struct run {
	struct store_box box;
	op_fn *op;
	struct user user;
	int rc;
	bool done, removed;
};

static void op_task(void *arg)
{
	struct run *run = arg;

	run->rc = run->op(&run->box);
	run->done = true;
}

static void remove_task(void *arg)
{
	struct run *run = arg;

	bdev_unregister(&run->box.disk->bdev);
	run->removed = true;
}

/* v: some clusters of its own above snapshot s; other: thick, alone. */
static void prepare(struct run *run, bool with_user)
{
	struct blob *b;

	memset(run, 0, sizeof(*run));
	volume_box_open(&run->box, 8 * MIB, 4096);
	volume_box_make(&run->box, "other", 5, false);
	b = volume_box_make(&run->box, "v", 20, true);
	volume_box_fill("v", 0, 8 * CLUSTER, 0x11);
	assert_int_equal(volume_snapshot(b, "s", NULL, &run->box.why), 0);
	volume_box_fill("v", 0, CLUSTER, 0x22);
	volume_box_fill("v", 15 * CLUSTER, CLUSTER, 0x22);
	if (with_user) {
		run->box.disk->mode = FAKE_HELD;
		user_start(&run->user);
	}
	run->box.disk->mode = FAKE_HELD;
}

/* Lets STEPS requests through; false: the operation has ended before. */
static bool step(struct run *run, unsigned steps)
{
	unsigned rounds = 0;

	assert_non_null(task_start("op", op_task, run));
	while (steps > 0 && !run->done) {
		steps -= fake_release(run->box.disk, 1);
		task_yield();
		assert_true(++rounds < ROUNDS_MAX);
	}
	return !run->done;
}

static void finish(struct run *run, enum io_status status)
{
	unsigned rounds = 0;

	while (!run->done || (run->user.open && user_waits(&run->user))) {
		while (run->box.disk->held_count > 0)
			fake_release_one(run->box.disk, list_first_entry(&run->box.disk->held,
					 struct io, link), status);
		task_yield();
		assert_true(++rounds < ROUNDS_MAX);
	}
	user_close(&run->user);
}

static bool needs_alone(op_fn *op)
{
	return op == op_store_rename;
}

/* The disk goes after STEPS requests. */
static bool vanish_at(op_fn *op, unsigned steps)
{
	struct run run;
	bool under_way;
	unsigned rounds = 0;

	prepare(&run, !needs_alone(op));
	run.op = op;
	under_way = step(&run, steps);
	assert_non_null(task_start("remove", remove_task, &run));
	while (!run.removed) {
		while (run.box.disk->held_count > 0)
			fake_release_one(run.box.disk, list_first_entry(&run.box.disk->held,
					 struct io, link), IO_ERR_GONE);
		if (run.user.told)
			user_close(&run.user);
		task_yield();
		assert_true(++rounds < ROUNDS_MAX);
	}
	while (!run.done)
		task_yield();
	if (under_way)
		assert_true(run.rc == -ENODEV || run.rc == -EIO || run.rc == 0);
	assert_false(run.user.open);
	assert_null(store_next(NULL));
	assert_null(bdev_find("box/v"));
	fake_free(run.box.disk);
	return under_way;
}

static void test_the_disk_goes_in_the_middle_of_any_operation(void *arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++)
		for (unsigned k = 0; vanish_at(ops[i], k); k++)
			;
	for (unsigned k = 0; vanish_at(op_store_rename, k); k++)
		;
}

static void load_again(struct store_box *box)
{
	assert_int_equal(volumes_stop(box->store, &box->why), 0);
	assert_int_equal(store_unload(box->store, &box->why), 0);
	assert_int_equal(store_load("d0", &box->store, &box->why), 0);
	assert_int_equal(volumes_start(box->store, &box->why), 0);
}

/* Request STEPS of those of kind OP fails. */
static bool fail_at(op_fn *op, enum io_op kind, unsigned steps)
{
	struct run run;
	struct fake_rule rule = { .op = kind, .lba_count = UINT64_MAX, .skip = steps, .count = 1,
				  .status = IO_ERR_MEDIA_WRITE };
	bool hit;

	prepare(&run, false);
	run.op = op;
	fake_fail(run.box.disk, &rule);
	step(&run, 0);
	finish(&run, IO_OK);
	hit = run.box.disk->rules[0].count == 0;
	run.box.disk->rule_count = 0;
	run.box.disk->mode = FAKE_INSTANT;
	if (!hit)
		assert_int_equal(run.rc, 0);
	load_again(&run.box);
	store_box_sound(&run.box);
	/* A shrink may have been done, or not. */
	volume_box_is("v", 0, CLUSTER, 0x22);
	volume_box_is("v", 7 * CLUSTER, CLUSTER, 0x11);
	volume_box_close(&run.box);
	return hit;
}

static void test_a_request_fails_in_the_middle_of_any_operation(void *arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		for (unsigned k = 0; fail_at(ops[i], IO_WRITE, k); k++)
			;
		for (unsigned k = 0; fail_at(ops[i], IO_FLUSH, k); k++)
			;
		for (unsigned k = 0; fail_at(ops[i], IO_WRITE_ZEROES, k); k++)
			;
	}
}

/* All of the disk's requests in an order of chance, with a user meanwhile. */
static void test_operations_end_whatever_the_order_of_requests(void *arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		for (unsigned seed = 1; seed < 8; seed++) {
			struct run run;
			unsigned rounds = 0;

			prepare(&run, true);
			run.op = ops[i];
			run.box.disk->random = seed * 0x9e3779b97f4a7c15;
			assert_non_null(task_start("op", op_task, &run));
			while (!run.done || user_waits(&run.user)) {
				fake_release_all(run.box.disk);
				task_yield();
				assert_true(++rounds < ROUNDS_MAX);
			}
			assert_int_equal(run.rc, 0);
			for (unsigned n = 0; n < USER_IOS; n++)
				assert_int_equal(run.user.io[n].io.status, IO_OK);
			user_close(&run.user);
			run.box.disk->mode = FAKE_INSTANT;
			store_box_sound(&run.box);
			volume_box_crash(&run.box);
			store_box_sound(&run.box);
			volume_box_close(&run.box);
		}
	}
}

static void test_a_store_is_not_unloaded_while_its_volumes_are_used(void *arg)
{
	struct run run;

	prepare(&run, true);
	assert_int_equal(volumes_stop(run.box.store, &run.box.why), -EBUSY);
	assert_int_equal(store_unload(run.box.store, &run.box.why), -EBUSY);
	run.done = true;
	finish(&run, IO_OK);
	run.done = false;
	/* Nor while one is being made. */
	run.op = op_create_thick;
	assert_true(step(&run, 1));
	assert_int_equal(volumes_stop(run.box.store, &run.box.why), -EBUSY);
	assert_int_equal(volume_create(run.box.store, "new", CLUSTER, true, NULL, NULL,
				       &run.box.why), -EEXIST);
	finish(&run, IO_OK);
	assert_int_equal(run.rc, 0);
	run.box.disk->mode = FAKE_INSTANT;
	volume_box_close(&run.box);
}

static void test_a_store_on_a_volume_of_another_store(void *arg)
{
	struct store_opts opts = { .cluster_bytes = BOX_CLUSTER_BYTES };
	struct bdev_user user = { .who = "test", .write = true };
	uint8_t *data = malloc(3 * CLUSTER);
	struct iovec iov = { data, 3 * CLUSTER };
	struct io io = { .op = IO_WRITE, .lba = 5, .lba_count = 3 * CLUSTER / 4096, .iov = &iov,
			 .iov_count = 1 };
	struct store_box box;
	struct store *inner;
	struct blob *b;

	volume_box_open(&box, 64 * MIB, 4096);
	volume_box_make(&box, "v", 300, true);
	assert_int_equal(store_create("inner", "box/v", &opts, &inner, &box.why), 0);
	assert_int_equal(volumes_start(inner, &box.why), 0);
	assert_int_equal(volume_create(inner, "w", 100 * CLUSTER, true, NULL, &b, &box.why), 0);
	assert_int_equal(bdev_open("inner/w", &user), 0);
	memset(data, 0x5a, 3 * CLUSTER);
	assert_int_equal(task_io(bdev_chan(user.bdev), &io), IO_OK);
	assert_int_equal(volume_snapshot(volume_box_find("v"), "s", NULL, &box.why), 0);
	memset(data, 0x5b, 3 * CLUSTER);
	io.lba = 20 * 16 - 1;
	assert_int_equal(task_io(bdev_chan(user.bdev), &io), IO_OK);
	memset(data, 0, 3 * CLUSTER);
	io.op = IO_READ;
	io.lba = 5;
	assert_int_equal(task_io(bdev_chan(user.bdev), &io), IO_OK);
	for (unsigned i = 0; i < 3 * CLUSTER; i++)
		assert_int_equal(data[i], 0x5a);
	/* The one beneath cannot go first. */
	assert_int_equal(volumes_stop(box.store, &box.why), -EBUSY);
	assert_int_equal(volume_delete(volume_box_find("v"), &box.why), -EBUSY);
	bdev_close(&user);
	assert_int_equal(volumes_stop(inner, &box.why), 0);
	assert_int_equal(store_unload(inner, &box.why), 0);
	store_box_sound(&box);
	volume_box_crash(&box);
	assert_int_equal(store_load("box/v", &inner, &box.why), 0);
	assert_int_equal(blob_map_mapped(blob_next(inner, blob_next(inner, NULL))->map), 8);
	assert_int_equal(store_unload(inner, &box.why), 0);
	volume_box_close(&box);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_task(test_the_disk_goes_in_the_middle_of_any_operation),
		bench_task(test_a_request_fails_in_the_middle_of_any_operation),
		bench_task(test_operations_end_whatever_the_order_of_requests),
		bench_task(test_a_store_on_a_volume_of_another_store),
		bench_task(test_a_store_is_not_unloaded_while_its_volumes_are_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
