/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What runs at boot: the saved configuration when there is one, else the script of -f, else the
 * script that was built in. A command that fails is logged and kept for `system boot`; the others
 * run all the same: a missing disk must not take the network with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/boot.h"
#include "boot/build.h"
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/cmd.h"
#include "core/config.h"
#include "core/task.h"

enum { FAILURES_KEPT = 32, FAILURE_BYTES = 256, SCRIPT_MAX = 1024 * 1024, SOURCE_BYTES = 160 };

static struct {
	char failure[FAILURES_KEPT][FAILURE_BYTES];
	unsigned failures;
	char source[SOURCE_BYTES];
	struct cmd_out out;
	char line[FAILURE_BYTES];       /* of the output, so far */
	size_t line_len;
} startup;

const char *startup_failure(unsigned index)
{
	return index < MIN(startup.failures, (unsigned)FAILURES_KEPT) ?
		startup.failure[index] : NULL;
}

const char *startup_source(void)
{
	return startup.source;
}

__attribute__((format(printf, 1, 2)))
static void failure_add(const char *fmt, ...)
{
	char text[FAILURE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("boot: %s", text);
	if (startup.failures < FAILURES_KEPT)
		memcpy(startup.failure[startup.failures], text, sizeof(text));
	startup.failures++;
}

/* The output of the commands, line by line: errors are kept, the rest goes to the log. */
static void startup_write(struct cmd_out *out, const char *text, size_t len)
{
	static const char error[] = "error: ";

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n') {
			if (startup.line_len + 1 < sizeof(startup.line))
				startup.line[startup.line_len++] = text[i];
			continue;
		}
		startup.line[startup.line_len] = '\0';
		startup.line_len = 0;
		if (strncmp(startup.line, error, sizeof(error) - 1) == 0)
			failure_add("%s", startup.line + sizeof(error) - 1);
		else
			log_debug("boot: %s", startup.line);
	}
}

/* The script of -f, read in a helper thread. */
struct script_read {
	const char *path;
	char *text;
	int rc;
};

static void script_read(void *arg)
{
	struct script_read *r = arg;
	size_t len = 0;
	int fd = open(r->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		r->rc = -errno;
		return;
	}
	r->text = malloc(SCRIPT_MAX + 1);
	r->rc = r->text ? 0 : -ENOMEM;
	while (r->rc == 0) {
		ssize_t n = read(fd, r->text + len, SCRIPT_MAX + 1 - len);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			r->rc = -errno;
		len += n > 0 ? (size_t)n : 0;
		if (len > SCRIPT_MAX)
			r->rc = -EFBIG;
	}
	close(fd);
	if (r->rc == 0 && memchr(r->text, '\0', len))
		r->rc = -EBADMSG;
	if (r->rc == 0) {
		r->text[len] = '\0';
	} else {
		free(r->text);
		r->text = NULL;
	}
}

static int run(const char *name, const char *text)
{
	int failed;

	startup.out = (struct cmd_out){ .write = startup_write, .exact = true, .at_boot = true };
	log_info("boot: running %s", startup.source);
	failed = cmd_script(name, text, CMD_SCRIPT_GO_ON, &startup.out);
	return failed;
}

/* 1: it was run, *failed commands of it failed; 0: there is none. */
static int run_saved(int *failed)
{
	char where[SOURCE_BYTES / 2];
	char *text;
	int rc = state_load(&text, where, sizeof(where));

	if (rc != 0 && (rc != -ENODEV || karst_run.appliance))
		failure_add("config: %s: %s; the saved configuration is not used", where[0] ?
			    where : "no partition karst-config", strerror(-rc));
	if (rc != 0)
		*failed += rc != -ENODEV || karst_run.appliance;
	if (rc != 0 || !text)
		return 0;
	snprintf(startup.source, sizeof(startup.source), "saved configuration (%s)", where);
	*failed = run("saved", text);
	free(text);
	return 1;
}

int startup_run(void)
{
	struct script_read r = { .path = karst_run.script_path };
	int failed = 0;

	if (karst_run.rescue) {
		snprintf(startup.source, sizeof(startup.source), "nothing: rescue mode");
		return 0;
	}
	if (run_saved(&failed))
		return failed;
	if (r.path) {
		snprintf(startup.source, sizeof(startup.source), "%s", r.path);
		task_block(script_read, &r);
		if (r.rc != 0) {
			failure_add("%s: %s; no commands were run", r.path, strerror(-r.rc));
			return r.rc;
		}
		failed += run(r.path, r.text);
		free(r.text);
		return failed;
	}
	snprintf(startup.source, sizeof(startup.source), "built-in script (%s)", build_config);
	return failed + run(build_config, build_script);
}
