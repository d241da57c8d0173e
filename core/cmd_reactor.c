/* SPDX-License-Identifier: BSD-3-Clause */
/* `reactor show`: what the cores do, and the list of core's command tables. */
#include "core/cmd_core.h"

#include "core/reactor.h"

static int reactor_show(struct cmd_ctx *ctx)
{
	for (unsigned i = 0; i < reactor_count(); i++) {
		struct reactor_stats st;

		reactor_stats(reactor_at(i), &st);
		cmd_row(ctx);
		cmd_col_u64(ctx, "reactor", st.index);
		if (st.cpu >= 0)
			cmd_col(ctx, "core", "%d", st.cpu);
		else
			cmd_col(ctx, "core", "any");
		cmd_col(ctx, "state", "%s", st.asleep ? "asleep" : "awake");
		cmd_col_percent(ctx, "busy", st.busy_percent);
		cmd_col_percent(ctx, "cpu", st.cpu_percent);
		cmd_col_u64(ctx, "pollers", st.pollers);
		cmd_col_u64(ctx, "tasks", st.tasks);
		cmd_col_u64(ctx, "fds", st.fds);
		cmd_col_u64(ctx, "timers", st.timers);
		cmd_col_u64(ctx, "messages", st.messages);
		cmd_col_u64(ctx, "sleeps", st.sleeps);
		cmd_col_u64(ctx, "heartbeat", st.heartbeat);
	}
	return 0;
}

const struct cmd cmd_reactor_table[] = {
	{ .noun = "reactor", .verb = "show", .help = "each core: busy %, sleeping, messages",
	  .run = reactor_show },
	{ 0 },
};

const struct cmd *const cmd_core_tables[] = {
	cmd_reactor_table, cmd_log_table, cmd_task_table, cmd_top_table,
	cmd_disk_table, cmd_resv_table, cmd_bench_table, cmd_stats_table, NULL,
};
