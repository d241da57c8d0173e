/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The console as a module: the serial port of the appliance, the UNIX socket, the waking of
 * sessions by the log, and the commands that are everybody's.
 */
#include "boot/console.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "boot/boot.h"
#include "core/base/util.h"
#include "core/cmd_core.h"
#include "core/config.h"

enum { STOP_STEP_US = 10000, STOP_STEPS = 200, LEAVE_STEPS = 50 };

static struct {
	bool ready;
	struct log_sink sink;
	struct msg msg;
	atomic_bool posted;             /* msg is on its way */
} console;

/* ---- logs ---- */

static void logs_arrived(struct msg *msg)
{
	atomic_store(&console.posted, false);
	session_wake_all();
}

/* Any thread, under the log's lock. The record itself is read from the log's ring. */
static void sink_write(struct log_sink *sink, const struct log_record *rec)
{
	if (!atomic_exchange(&console.posted, true))
		reactor_send(reactor_at(0), &console.msg, logs_arrived);
}

/* ---- the start ---- */

bool console_is_ready(void)
{
	return console.ready;
}

const char *console_boot_note(char *buf, size_t buf_bytes)
{
	unsigned modules = boot_facts.modules_failed, commands = boot_facts.commands_failed;
	size_t n = 0;

	buf[0] = '\0';
	if (karst_run.rescue)
		n += (size_t)snprintf(buf, buf_bytes, "rescue mode: nothing is attached; ");
	if (commands > 0 && n < buf_bytes)
		n += (size_t)snprintf(buf + n, buf_bytes - n, "%u command%s failed at boot; ",
				      commands, commands == 1 ? "" : "s");
	if (modules > 0 && n < buf_bytes)
		n += (size_t)snprintf(buf + n, buf_bytes - n, "%u module%s did not start; ",
				      modules, modules == 1 ? "" : "s");
	if (n > 0 && n < buf_bytes)
		snprintf(buf + n - 2, buf_bytes - n + 2, ": see `system boot`");
	return buf;
}

void console_ready(void)
{
	console.ready = true;
	session_wake_all();
}

void console_print(const char *text)
{
	struct pollfd pfd = { .fd = STDOUT_FILENO, .events = POLLOUT };
	char line[512];
	int n;

	if (karst_run.appliance) {
		console_tty_print(text);
		return;
	}
	/* a writable pipe takes PIPE_BUF bytes at once; one that nobody reads gets nothing */
	n = snprintf(line, sizeof(line), "%.500s\n", text);
	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLOUT) &&
	    write(STDOUT_FILENO, line, (size_t)n) < 0)
		log_debug("console: stdout: %s", strerror(errno));
}

int console_init(void)
{
	int rc = 0;

	for (unsigned i = 0; cmd_core_tables[i]; i++)
		cmd_register(cmd_core_tables[i]);
	cmd_register(config_cmds);
	cmd_register(system_cmds);
	console.sink = (struct log_sink){ .level = LOG_WARN, .write = sink_write };
	log_sink_add(&console.sink);
	if (karst_run.appliance)
		console_tty_open();
	if (karst_run.socket_path)
		rc = console_socket_open(karst_run.socket_path);
	if (rc == 0)
		return 0;
	log_error("console: %s: %s; name another socket with -s", karst_run.socket_path,
		  strerror(-rc));
	/* the appliance has its serial console all the same */
	return karst_run.appliance ? 0 : rc;
}

/* Commands get some time to end and to tell so: it may be one of them that ends karst. */
void console_fini(void)
{
	job_cancel_all();
	for (unsigned i = 0; i < STOP_STEPS && job_count() > 0; i++)
		task_sleep(STOP_STEP_US);
	for (unsigned i = 0; i < LEAVE_STEPS && console_socket_leaving(); i++)
		task_sleep(STOP_STEP_US);
	log_sink_remove(&console.sink);
	console_socket_close();
	console_tty_close();
	while (session_count() > 0 || atomic_load(&console.posted))
		task_yield();
}
