/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/resv_box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/dma.h"
#include "tests/unit/loop.h"

struct resv_host rbox_hosts[RBOX_HOSTS];
struct fake_bdev *rbox_disk;
char *rbox_kept;
int rbox_save_rc;
unsigned rbox_saves;
static struct { uint8_t host, event; } told[32];
unsigned rbox_told_count, rbox_aborts, rbox_abort_hosts;

/* ---- the house ---- */

static int store_load(char **text)
{
	*text = rbox_kept ? strdup(rbox_kept) : NULL;
	return 0;
}

static int store_save(const char *text)
{
	if (rbox_save_rc)
		return rbox_save_rc;
	free(rbox_kept);
	rbox_kept = strdup(text);
	rbox_saves++;
	return 0;
}

static const struct resv_store store = { store_load, store_save };

static void watch_event(struct resv_watch *watch, const struct uuid *uuid,
			const struct resv_host *host, enum resv_event event)
{
	assert_true(uuid_equal(uuid, &rbox_disk->bdev.uuid));
	told[rbox_told_count].host = host->id[0];
	told[rbox_told_count++].event = (uint8_t)event;
}

static void watch_abort(struct resv_watch *watch, const struct uuid *uuid,
			const struct resv_host *const *gone, unsigned count)
{
	rbox_aborts++;
	rbox_abort_hosts = count;
}

static struct resv_watch watch = { .event = watch_event, .abort = watch_abort };

void rbox_disk_open(void *arg)
{
	struct bdev shape = {
		.name = "r", .block_bytes = 512, .block_count = 64,
		.ops_supported = 1 << IO_READ | 1 << IO_WRITE,
	};

	rbox_disk = fake_create(&shape, FAKE_INSTANT, 1);
}

void rbox_disk_close(void *arg)
{
	fake_remove(rbox_disk);
}

static void engine_start(void *arg)
{
	*(int *)arg = resv_init(&store);
}

int rbox_load(void)
{
	int rc;

	loop_task(engine_start, &rc);
	return rc;
}

int rbox_setup(void **state)
{
	struct dma_opts opts = { .memory_mib = 16, .no_huge = true, .program = "test" };

	assert_int_equal(dma_init(&opts), 0);
	loop_setup(NULL);
	assert_int_equal(bdev_init(), 0);
	for (unsigned i = 0; i < RBOX_HOSTS; i++) {
		uint8_t id[16] = { (uint8_t)i, 7 };

		resv_host_set(&rbox_hosts[i], RESV_HOST_NVME, id, sizeof(id));
	}
	rbox_save_rc = 0;
	rbox_saves = rbox_told_count = rbox_aborts = 0;
	assert_int_equal(rbox_load(), 0);
	resv_watch_start(&watch);
	loop_task(rbox_disk_open, NULL);
	return 0;
}

int rbox_teardown(void **state)
{
	loop_task(rbox_disk_close, NULL);
	resv_watch_stop(&watch);
	resv_fini();
	free(rbox_kept);
	rbox_kept = NULL;
	bdev_fini();
	loop_teardown(NULL);
	dma_fini();
	return 0;
}

/* ---- verbs ---- */

struct run {
	struct resv_request req;
	int rc;
};

static void run_task(void *arg)
{
	struct run *run = arg;

	run->rc = resv_run(&run->req);
}

int rbox_run(struct resv_request req, unsigned host)
{
	struct run r = { .req = req, .rc = 1 };

	r.req.disk = rbox_disk->bdev.uuid;
	r.req.host = host < RBOX_HOSTS ? &rbox_hosts[host] : NULL;
	rbox_told_count = 0;
	loop_task(run_task, &r);
	return r.rc;
}

int rbox_register(unsigned host, uint64_t key)
{
	return rbox_run((struct resv_request){ .verb = RESV_REGISTER, .new_key = key }, host);
}

int rbox_verb(unsigned host, enum resv_verb v, uint64_t key, enum resv_type type,
	      uint64_t other_key)
{
	return rbox_run((struct resv_request){ .verb = v, .key = key, .type = type,
					  .other_key = other_key }, host);
}

const struct resv_state *rbox_now(void)
{
	return resv_find(&rbox_disk->bdev.uuid);
}

int rbox_index(unsigned host)
{
	return resv_registrant(rbox_now(), &rbox_hosts[host]);
}

void rbox_three(void)
{
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(rbox_register(i, 10 + i), 0);
}

void rbox_told_is(unsigned host, enum resv_event event)
{
	for (unsigned i = 0; i < rbox_told_count; i++)
		if (told[i].host == host) {
			assert_int_equal(told[i].event, event);
			return;
		}
	assert_int_equal(event, RESV_EVENT_NONE);
}
