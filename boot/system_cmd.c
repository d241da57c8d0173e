/* SPDX-License-Identifier: BSD-3-Clause */
/* `system version|boot|uptime|reboot|poweroff`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "boot/boot.h"
#include "boot/build.h"
#include "core/base/log.h"
#include "core/clock.h"
#include "core/cmd.h"
#include "core/config.h"
#include "core/reactor.h"

enum { NS_PER_MS = 1000000 };

static int system_version(struct cmd_ctx *ctx)
{
	struct utsname u;

	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "version", "%s", build_version);
	cmd_col(ctx, "date", "%s", build_date);
	cmd_col(ctx, "configuration", "%s", build_config);
	cmd_col(ctx, "mode", "%s", karst_run.rescue ? "rescue" :
		karst_run.appliance ? "appliance" : "hosted");
	cmd_col_u64(ctx, "reactors", reactor_count());
	if (uname(&u) == 0) {
		cmd_col(ctx, "kernel", "%s", u.release);
		cmd_col(ctx, "machine", "%s", u.machine);
	}
	return 0;
}

static int system_boot(struct cmd_ctx *ctx)
{
	const struct boot_facts *f = &boot_facts;
	const char *text;

	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col(ctx, "commands_from", "%s", startup_source());
	cmd_col_u64(ctx, "commands_failed", f->commands_failed);
	cmd_col_u64(ctx, "modules_failed", f->modules_failed);
	cmd_col_time(ctx, "ready", f->ready_ms * NS_PER_MS);
	if (karst_run.appliance) {
		cmd_col_time(ctx, "kernel", f->kernel_ms * NS_PER_MS);
		cmd_col_time(ctx, "init", f->init_ms * NS_PER_MS);
	}
	cmd_col_time(ctx, "memory", f->dma_ms * NS_PER_MS);
	cmd_col_time(ctx, "modules", f->modules_ms * NS_PER_MS);
	cmd_col_time(ctx, "script", f->script_ms * NS_PER_MS);
	if (f->starts > 0)
		cmd_col_u64(ctx, "starts", f->starts);
	if (f->last_death[0])
		cmd_col(ctx, "last_death", "%s", f->last_death);
	for (unsigned i = 0; (text = startup_failure(i)); i++)
		cmd_line(ctx, "failed: %s", text);
	return 0;
}

static int system_uptime(struct cmd_ctx *ctx)
{
	uint64_t s = clock_uptime_us() / 1000000;

	cmd_as_record(ctx);
	cmd_row(ctx);
	cmd_col_u64(ctx, "seconds", s);
	cmd_col(ctx, "uptime", "%llud %02u:%02u:%02u", (unsigned long long)(s / 86400),
		(unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60), (unsigned)(s % 60));
	return 0;
}

static int system_reboot(struct cmd_ctx *ctx)
{
	if (!karst_run.appliance)
		return cmd_fail(ctx, -EOPNOTSUPP, "system: hosted, there is no machine to reboot; "
				"`system poweroff` ends karst");
	log_warn("system: reboot, by command");
	boot_end(BOOT_END_REBOOT);
	cmd_line(ctx, "rebooting");
	return 0;
}

static int system_poweroff(struct cmd_ctx *ctx)
{
	log_warn("system: power off, by command");
	boot_end(karst_run.appliance ? BOOT_END_POWEROFF : BOOT_END_EXIT);
	cmd_line(ctx, karst_run.appliance ? "powering off" : "ending");
	return 0;
}

const struct cmd system_cmds[] = {
	{ .noun = "system", .verb = "version", .help = "what runs here", .run = system_version,
	  .flags = CMD_RESCUE },
	{ .noun = "system", .verb = "boot", .help = "how the start went, and what failed",
	  .run = system_boot, .flags = CMD_RESCUE },
	{ .noun = "system", .verb = "uptime", .help = "how long karst has been running",
	  .run = system_uptime, .flags = CMD_RESCUE },
	{ .noun = "system", .verb = "reboot", .help = "flushes and shuts drives down, then reboots",
	  .run = system_reboot, .flags = CMD_RESCUE },
	{ .noun = "system", .verb = "poweroff", .help = "flushes and shuts drives down, then ends",
	  .run = system_poweroff, .flags = CMD_RESCUE },
	{ 0 },
};
