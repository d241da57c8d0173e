/* SPDX-License-Identifier: BSD-3-Clause */
/* What tests of drivers/remote stand on: a bench, the driver, and the target of remote_box.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/remote/module.h"
#include "tests/unit/bdev_bench.h"
#include "tests/unit/remote_box.h"

struct remote_options far_options(void)
{
	struct remote_options opt = {
		.transport = &remote_tcp,
		.name = "far", .nqn = FAR_NQN, .hostnqn = "nqn.2026-01.io.karst.test:us",
		.reconnect_us = 100 * 1000, .loss_us = 600 * 1000 * 1000,
	};

	addr_parse("10.0.0.5", false, &opt.addr);
	opt.addr.port = NVMF_PORT;
	return opt;
}

struct attach_call {
	const struct remote_options *opt;
	bool persist;
	int rc;
};

static void attach_task(void *arg)
{
	struct attach_call *call = arg;
	char why[REMOTE_WHY_BYTES];

	call->rc = remote_ctrl_attach(call->opt, call->persist, why);
}

int far_attach_remote(const struct remote_options *opt, bool persist)
{
	struct attach_call call = { opt, persist, 0 };

	loop_task(attach_task, &call);
	return call.rc;
}

static void detach_task(void *arg)
{
	remote_ctrl_detach(remote_ctrl_find("far"));
}

void far_detach(void)
{
	loop_task(detach_task, NULL);
}

static void init_task(void *arg)
{
	assert_int_equal(remote_init(), 0);
	assert_int_equal(stream_listen(&far.listener), 0);
}

static void fini_task(void *arg)
{
	remote_fini();
	stream_unlisten(&far.listener);
}

int far_setup(void **state)
{
	int rc = bench_setup(state);

	if (rc)
		return rc;
	memset(&far, 0, sizeof(far));
	far.r2ts = far.pieces = 1;
	far.maxh2cdata = 65536;
	far.ioccsz = 4096;
	far.blocks = FAR_BLOCKS;
	far.nguid = 0xb0;
	far.listener.accept = far_accept;
	far.listener.addr = far_options().addr;
	fake_provider_start();
	loop_task(init_task, NULL);
	return 0;
}

int far_teardown(void **state)
{
	far.mute = far.refuse = false;
	loop_task(fini_task, NULL);
	loop_drain();
	fake_provider_stop();
	return bench_teardown(state);
}
