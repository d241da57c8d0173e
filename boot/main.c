/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process: from the command line to READY, and back.
 *
 * main() prepares what threads need (panic, clock, DMA memory, reactors) and becomes reactor 0. The
 * first task there, boot_start, initializes the modules in the order of their table, runs the
 * startup script, says READY and leaves. boot_end() starts the way back: a task walks the table
 * backwards, so that drives are flushed and shut down after everybody who used them, and stops the
 * reactors; main() returns the exit status by which init knows what is wanted.
 *
 * A second SIGTERM or SIGINT does not wait for any of that.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "boot/boot.h"
#include "boot/build.h"
#include "boot/heart.h"
#include "boot/life.h"
#include "boot/options.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/util.h"
#include "core/clock.h"
#include "core/cmd.h"
#include "core/config.h"
#include "core/dma.h"
#include "core/module.h"
#include "core/reactor.h"
#include "core/resv.h"
#include "core/task.h"

enum {
	MODULES_MAX = 64,
	BOOT_MEMORY_MIB_MIN = 16,       /* with fewer hugepages: ordinary ones, no drives */
};

struct boot_facts boot_facts;

static struct {
	struct boot_options opt;
	uint64_t main_ns;               /* CLOCK_BOOTTIME when main() began */
	struct fd_source signals;
	bool ending;
	enum boot_end how;
	struct event started;           /* boot_start has ended */
	bool up[MODULES_MAX];
} boot;

/* Since kernel start: the only clock that tells how long a boot took. */
static uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t boot_ms_since(uint64_t from_ns)
{
	return (boot_ns() - from_ns) / 1000000;
}

/* ---- start ---- */

/*
 * Logs why the karst before this one ended, as init and its panic have told. The panic's copy of
 * the log would bring the deaths before that one again and again.
 */
static void boot_log_death(void)
{
	char line[LOG_TEXT_BYTES];
	FILE *f = fopen(LIFE_DEATH_PATH, "re");

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (boot_facts.last_death[0] == '\0') {
			snprintf(boot_facts.last_death, sizeof(boot_facts.last_death), "%.127s",
				 line);
			log_error("boot: last karst: %s", line);
		} else if (line[0] && !strstr(line, "last karst: ")) {
			log_info("boot: last karst: %s", line);
		}
	}
	fclose(f);
}

static void boot_modules(void)
{
	for (unsigned i = 0; modules[i].name && !boot.ending; i++) {
		int rc;

		ASSERT(i < MODULES_MAX);
		if (modules[i].cmds)
			cmd_register(modules[i].cmds);
		rc = modules[i].init ? modules[i].init() : 0;
		boot.up[i] = rc == 0;
		if (rc) {
			log_error("%s: cannot start: %s; going on without it", modules[i].name,
				  strerror(-rc));
			boot_facts.modules_failed++;
		}
	}
}

/* Before anything can bring a disk. */
static void boot_reservations(void)
{
	int rc = resv_init(karst_run.rescue ? NULL : &state_resv_store);

	if (rc)
		log_error("reservations: what was kept cannot be used: %s; disks are not reserved "
			  "that were", strerror(-rc));
}

static void boot_say_ready(void)
{
	char line[200];
	int n;

	boot_facts.ready_ms = boot_ms_since(karst_run.appliance ? 0 : boot.main_ns);
	n = snprintf(line, sizeof(line), "READY t_ms=%" PRIu64 " kernel=%" PRIu64 " init=%" PRIu64
		     " dma=%" PRIu64 " modules=%" PRIu64 " script=%" PRIu64, boot_facts.ready_ms,
		     boot_facts.kernel_ms, boot_facts.init_ms, boot_facts.dma_ms,
		     boot_facts.modules_ms, boot_facts.script_ms);
	if (boot_facts.modules_failed || boot_facts.commands_failed)
		snprintf(line + n, sizeof(line) - (size_t)n, " failed=%u",
			 boot_facts.modules_failed + boot_facts.commands_failed);
	/* whatever the boot loader and the kernel have left on the line */
	if (karst_run.appliance)
		console_print("");
	console_print(line);
	console_ready();
}

/* The first task. */
static void boot_start(void *arg)
{
	uint64_t t = boot_ns();
	int failed;

	if (karst_run.appliance)
		heart_start();
	boot_reservations();
	boot_modules();
	boot_facts.modules_ms = boot_ms_since(t);
	if (karst_run.appliance)
		log_sink_remove(&log_sink_stderr);
	t = boot_ns();
	failed = boot.ending ? 0 : startup_run();
	boot_facts.script_ms = boot_ms_since(t);
	if (failed < 0 && !karst_run.appliance)
		boot_end(BOOT_END_FAILED);
	else
		boot_facts.commands_failed = failed < 0 ? 1 : (unsigned)failed;
	if (!boot.ending)
		boot_say_ready();
	event_signal(&boot.started);
}

/* ---- end ---- */

static void boot_stop(void *arg)
{
	unsigned count = 0;

	task_wait(&boot.started);
	while (modules[count].name)
		count++;
	while (count-- > 0) {
		if (boot.up[count] && modules[count].fini)
			modules[count].fini();
	}
	resv_fini();
	reactor_stop();
}

void boot_end(enum boot_end how)
{
	if (boot.ending)
		return;
	boot.ending = true;
	boot.how = how;
	ASSERT(task_start("boot end", boot_stop, NULL));
}

static int boot_exit_status(void)
{
	switch (boot.how) {
	case BOOT_END_FAILED:
		return LIFE_EXIT_FAILED;
	case BOOT_END_REBOOT:
		return LIFE_EXIT_REBOOT;
	case BOOT_END_POWEROFF:
		return LIFE_EXIT_POWEROFF;
	default:
		return LIFE_EXIT_RESTART;
	}
}

static void boot_signal(struct fd_source *src, uint32_t events)
{
	struct signalfd_siginfo info;

	while (read(src->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (boot.ending)
			_exit(128 + (int)info.ssi_signo);
		log_info("boot: %s: ending", strsignal((int)info.ssi_signo));
		boot_end(BOOT_END_EXIT);
	}
}

/* ---- before threads ---- */

/* Blocked here, before any thread, so that every thread inherits it. -1 or the descriptor. */
static int boot_block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* One karst per console socket: a lock beside it that ends with the process. */
static int boot_lock(void)
{
	char path[128];
	int fd;

	if (!karst_run.socket_path)
		return 0;
	if (strncmp(karst_run.socket_path, LIFE_RUN_DIR "/", sizeof(LIFE_RUN_DIR)) == 0)
		mkdir(LIFE_RUN_DIR, 0755);
	snprintf(path, sizeof(path), "%s.lock", karst_run.socket_path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		fprintf(stderr, "karst: %s: %s; name another socket with -s\n", path,
			strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		fprintf(stderr, "karst: %s: another karst is running on this socket; stop it or "
			"name another with -s\n", karst_run.socket_path);
		close(fd);
		return -1;
	}
	return 0;
}

/* MiB of hugepages that nobody has taken. */
static unsigned boot_free_huge_mib(void)
{
	unsigned pages = 0;
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%u", &pages) != 1)
		pages = 0;
	fclose(f);
	return 2 * pages;
}

static int boot_dma(void)
{
	unsigned huge_mib = boot_free_huge_mib();
	struct dma_opts opts = { .memory_mib = boot.opt.memory_mib, .program = "karst" };
	uint64_t t = boot_ns();
	int rc;

	if (karst_run.appliance && huge_mib < opts.memory_mib) {
		log_warn("boot: %u MiB of hugepages, configured are %u; using what is there",
			 huge_mib, opts.memory_mib);
		opts.memory_mib = MAX(huge_mib, (unsigned)BOOT_MEMORY_MIB_MIN);
	}
	opts.no_huge = boot.opt.no_huge || huge_mib < opts.memory_mib;
	opts.no_pci = opts.no_huge || karst_run.rescue;
	rc = dma_init(&opts);
	boot_facts.dma_ms = boot_ms_since(t);
	return rc;
}

static int boot_prepare(void)
{
	int fd, rc;

	boot.main_ns = boot_ns();
	karst_run.version = build_version;
	panic_init();
	clock_init();
	if (karst_run.appliance) {
		panic_record_set(LIFE_PANIC_PATH);
		boot_facts.starts = boot.opt.starts;
		boot_facts.kernel_ms = boot.opt.init_ms;
		boot_facts.init_ms = boot.main_ns / 1000000 - boot.opt.init_ms;
	}
	if (boot_lock())
		exit(LIFE_EXIT_FAILED);
	fd = boot_block_signals();
	if (fd < 0)
		return -errno;
	/* of an appliance's early messages only what an operator has to see on the serial port */
	log_sink_stderr.level = karst_run.appliance ? LOG_WARN : LOG_INFO;
	log_sink_add(&log_sink_stderr);
	log_info("karst %s (%s) starts", build_version, build_config);
	if (karst_run.appliance)
		boot_log_death();
	rc = boot_dma();
	if (rc == 0)
		rc = reactor_init(boot.opt.reactor_count, boot.opt.pinned ? boot.opt.cpu : NULL);
	if (rc)
		return rc;
	event_init(&boot.started);
	boot.signals = (struct fd_source){ .fd = fd, .event = boot_signal };
	return 0;
}

/* Signals are reactor 0's as soon as it runs. */
static void boot_run(void *arg)
{
	int rc = fd_source_add(&boot.signals, EPOLLIN);

	ASSERT_MSG(rc == 0, "boot: signalfd: %d", rc);
	boot_start(arg);
}

int main(int argc, char **argv)
{
	int status, rc;

	if (argc > 1 && strcmp(argv[1], "ctl") == 0)
		return ctl_main(argc - 1, argv + 1);
	status = options_parse(argc, argv, &boot.opt);
	if (status >= 0)
		return status;
	rc = boot_prepare();
	if (rc) {
		fprintf(stderr, "karst: cannot start: %s\n", strerror(-rc));
		return LIFE_EXIT_FAILED;
	}
	reactor_run(boot_run, NULL);
	reactor_fini();
	dma_fini();
	return boot_exit_status();
}
