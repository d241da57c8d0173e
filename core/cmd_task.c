/* SPDX-License-Identifier: BSD-3-Clause */
/* `task list|show|cancel`: long work of all reactors that has said what it is. */
#include "core/cmd_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/clock.h"
#include "core/reactor.h"
#include "core/task.h"

enum { TASKS_MAX = 256 };

struct task_ask {
	struct task_info *info;         /* room for TASKS_MAX */
	unsigned count;
	uint64_t id;
	int rc;
};

/* On each reactor in turn. */
static void ask_list(void *arg)
{
	struct task_ask *ask = arg;

	ask->count += task_list(ask->info + ask->count, TASKS_MAX - ask->count);
}

static void ask_cancel(void *arg)
{
	struct task_ask *ask = arg;

	if (ask->rc != 0)
		ask->rc = task_cancel(ask->id);
}

static void ask_all(task_fn *fn, struct task_ask *ask)
{
	for (unsigned i = 0; i < reactor_count(); i++)
		task_call(reactor_at(i), fn, ask);
}

static void task_row(struct cmd_ctx *ctx, const struct task_info *info)
{
	uint64_t now = clock_now_us();

	cmd_row(ctx);
	cmd_col_u64(ctx, "id", info->id);
	cmd_col(ctx, "name", "%s", info->name);
	cmd_col_u64(ctx, "reactor", info->reactor);
	cmd_col_time(ctx, "age", now > info->started_us ? (now - info->started_us) * 1000 : 0);
	cmd_col_percent(ctx, "percent", info->total > 0 ?
			(double)MIN(info->done, info->total) * 100 / (double)info->total : 0);
	cmd_col_bool(ctx, "cancelled", info->cancelled);
	cmd_col(ctx, "what", "%s", info->what);
}

static int tasks_show(struct cmd_ctx *ctx, bool one, uint64_t id)
{
	struct task_ask ask = { .info = calloc(TASKS_MAX, sizeof(struct task_info)) };
	bool found = false;

	if (!ask.info)
		return cmd_fail(ctx, -ENOMEM, "task: no memory for the list; try again");
	ask_all(ask_list, &ask);
	if (one)
		cmd_as_record(ctx);
	for (unsigned i = 0; i < ask.count; i++) {
		if (one && ask.info[i].id != id)
			continue;
		found = true;
		task_row(ctx, &ask.info[i]);
		if (one) {
			cmd_col_u64(ctx, "done", ask.info[i].done);
			cmd_col_u64(ctx, "total", ask.info[i].total);
		}
	}
	free(ask.info);
	if (one && !found)
		return cmd_fail(ctx, -ENOENT, "task %llu: there is none; see `task list`",
				(unsigned long long)id);
	return 0;
}

static int run_list(struct cmd_ctx *ctx)
{
	return tasks_show(ctx, false, 0);
}

static int run_show(struct cmd_ctx *ctx)
{
	return tasks_show(ctx, true, cmd_u64(ctx, "ID", 0));
}

static int run_cancel(struct cmd_ctx *ctx)
{
	struct task_ask ask = { .id = cmd_u64(ctx, "ID", 0), .rc = -ENOENT };

	ask_all(ask_cancel, &ask);
	if (ask.rc != 0)
		return cmd_fail(ctx, ask.rc, "task %llu: there is none; see `task list`",
				(unsigned long long)ask.id);
	cmd_line(ctx, "task %llu is asked to end; it does at its next safe point",
		 (unsigned long long)ask.id);
	return 0;
}

static const struct cmd_arg id_args[] = {
	{ .name = "ID", .type = CMD_U64, .required = true, .help = "its number in the list" },
	{ 0 },
};

const struct cmd cmd_task_table[] = {
	{ .noun = "task", .verb = "list", .help = "long work that is under way",
	  .run = run_list },
	{ .noun = "task", .verb = "show", .help = "one of them", .args = id_args,
	  .run = run_show },
	{ .noun = "task", .verb = "cancel", .help = "asks one to end", .args = id_args,
	  .run = run_cancel, .flags = CMD_RESCUE },
	{ 0 },
};
