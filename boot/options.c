/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line (docs/console.md, "The executable") and what init says through the environment.
 *
 * How many reactors: the appliance owns the machine and takes one per CPU, up to
 * config.reactors_max. A hosted karst is a guest on somebody's machine and takes one, not pinned,
 * unless -c names CPUs: then one pinned to each.
 */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/build.h"
#include "boot/life.h"
#include "boot/options.h"
#include "core/base/util.h"
#include "core/config.h"

enum { OPT_STATE = 256, OPT_NO_HUGE, OPT_VERSION, OPT_HELP, MEMORY_MIB_MIN = 16 };

static const char options_help[] =
	"usage: karst [-f SCRIPT] [--state FILE] [-s SOCKET] [-c CPULIST] [-m MIB] [--no-huge]\n"
	"       karst ctl [-s SOCKET] [-j] COMMAND...\n"
	"       karst --version | --help\n"
	"\n"
	"  -f SCRIPT      console commands to run at start\n"
	"  --state FILE   where `config save` writes, and what is run at start when it exists\n"
	"  -s SOCKET      UNIX socket of the console\n"
	"  -c CPULIST     one reactor on each of these CPUs, like 0,2-3; without: one reactor\n"
	"  -m MIB         memory for data buffers and queues\n"
	"  --no-huge      ordinary pages even when there are hugepages; no VFIO devices then\n";

const char *options_default_socket(char *buf, size_t len)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		snprintf(buf, len, "%s/karst.sock", LIFE_RUN_DIR);
	else if (dir && *dir)
		snprintf(buf, len, "%s/karst.sock", dir);
	else
		snprintf(buf, len, "/tmp/karst-%u.sock", (unsigned)geteuid());
	return buf;
}

static int options_u64(const char *text, uint64_t min, uint64_t max, uint64_t *v)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*v = strtoull(text, &end, 10);
	if (errno || *end || *v < min || *v > max)
		return -EINVAL;
	return 0;
}

static int options_add_cpu(struct boot_options *opt, const cpu_set_t *allowed, unsigned cpu)
{
	if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, allowed)) {
		fprintf(stderr, "karst: -c: CPU %u is not available to this process\n", cpu);
		return -EINVAL;
	}
	if (opt->reactor_count == REACTOR_MAX) {
		fprintf(stderr, "karst: -c: more than %d CPUs\n", REACTOR_MAX);
		return -EINVAL;
	}
	for (unsigned i = 0; i < opt->reactor_count; i++) {
		if (opt->cpu[i] == (int)cpu) {
			fprintf(stderr, "karst: -c: CPU %u is named twice\n", cpu);
			return -EINVAL;
		}
	}
	opt->cpu[opt->reactor_count++] = (int)cpu;
	return 0;
}

/* "0,2-3" */
static int options_cpu_list(struct boot_options *opt, const cpu_set_t *allowed, const char *text)
{
	const char *p = text;
	char *end;

	opt->reactor_count = 0;
	opt->pinned = true;
	for (;;) {
		unsigned long first, last;

		if (*p < '0' || *p > '9')
			break;
		first = last = strtoul(p, &end, 10);
		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, &end, 10);
		if (last < first || last >= CPU_SETSIZE)
			break;
		for (; first <= last; first++) {
			if (options_add_cpu(opt, allowed, (unsigned)first))
				return -EINVAL;
		}
		if (*end == '\0')
			return 0;
		if (*end != ',')
			break;
		p = end + 1;
	}
	fprintf(stderr, "karst: -c %s: not a list of CPUs like 0,2-3\n", text);
	return -EINVAL;
}

static void options_all_cpus(struct boot_options *opt, const cpu_set_t *allowed)
{
	unsigned most = config.reactors_max ? MIN(config.reactors_max, REACTOR_MAX) : REACTOR_MAX;

	opt->pinned = true;
	for (int cpu = 0; cpu < CPU_SETSIZE && opt->reactor_count < most; cpu++) {
		if (CPU_ISSET(cpu, allowed))
			opt->cpu[opt->reactor_count++] = cpu;
	}
}

static void options_from_init(struct boot_options *opt)
{
	const char *start = getenv(LIFE_ENV_START), *ms = getenv(LIFE_ENV_INIT_MS);
	const char *rescue = getenv(LIFE_ENV_RESCUE);
	uint64_t v;

	if (!start || options_u64(start, 1, UINT32_MAX, &v))
		return;
	opt->starts = (unsigned)v;
	karst_run.appliance = true;
	karst_run.rescue = rescue && strcmp(rescue, "1") == 0;
	if (ms && options_u64(ms, 0, UINT64_MAX, &v) == 0)
		opt->init_ms = v;
}

/* -1 to go on, or an exit status. */
static int options_one(int c, struct boot_options *opt, const cpu_set_t *allowed)
{
	uint64_t v;

	switch (c) {
	case 'f':
		karst_run.script_path = optarg;
		return -1;
	case 's':
		karst_run.socket_path = optarg;
		return -1;
	case OPT_STATE:
		karst_run.state_path = optarg;
		return -1;
	case OPT_NO_HUGE:
		opt->no_huge = true;
		return -1;
	case 'c':
		return options_cpu_list(opt, allowed, optarg) ? 2 : -1;
	case 'm':
		if (options_u64(optarg, MEMORY_MIB_MIN, 16 * 1024 * 1024, &v)) {
			fprintf(stderr, "karst: -m %s: not a number of MiB from %d\n", optarg,
				MEMORY_MIB_MIN);
			return 2;
		}
		opt->memory_mib = (unsigned)v;
		return -1;
	case OPT_VERSION:
		printf("karst %s (%s, %s)\n", build_version, build_config, build_date);
		return 0;
	case OPT_HELP:
		fputs(options_help, stdout);
		return 0;
	default:
		fputs(options_help, stderr);
		return 2;
	}
}

int options_parse(int argc, char **argv, struct boot_options *opt)
{
	static const struct option longs[] = {
		{ "state", required_argument, NULL, OPT_STATE },
		{ "no-huge", no_argument, NULL, OPT_NO_HUGE },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	static char socket_path[108];
	cpu_set_t allowed;
	int c, status;

	*opt = (struct boot_options){ .memory_mib = config.memory_mib };
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		CPU_ZERO(&allowed);
	options_from_init(opt);
	while ((c = getopt_long(argc, argv, "f:s:c:m:h", longs, NULL)) != -1) {
		status = options_one(c == 'h' ? OPT_HELP : c, opt, &allowed);
		if (status >= 0)
			return status;
	}
	if (optind < argc) {
		fprintf(stderr, "karst: %s: no such argument; karst --help lists them\n",
			argv[optind]);
		return 2;
	}
	if (!karst_run.appliance && !karst_run.socket_path)
		karst_run.socket_path = options_default_socket(socket_path, sizeof(socket_path));
	if (opt->reactor_count == 0 && karst_run.appliance)
		options_all_cpus(opt, &allowed);
	if (opt->reactor_count == 0) {
		opt->reactor_count = 1;
		opt->pinned = false;
	}
	return -1;
}
