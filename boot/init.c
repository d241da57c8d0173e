/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * init: PID 1 of the appliance, a program of its own. It prepares the machine (mounts, console,
 * hugepages, drives to VFIO), then keeps one karst running until karst asks for a reboot or a
 * power-off. It never exits, allocates nothing after start and depends on nothing of karst but
 * boot/life.h, so that it outlives every bug there.
 *
 * A karst that dies, by signal or exit status, is started again at once; when it keeps dying
 * young, after a delay that doubles up to half a minute. Why it died is written to LIFE_DEATH_PATH
 * for the next one to log. A karst whose heartbeat stops is made to panic (SIGABRT), then killed.
 * The hardware watchdog is fed only when the heartbeat has advanced, or while init waits on
 * purpose: what init cannot kill, the watchdog resets.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/input.h>
#include <linux/watchdog.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "boot/life.h"
#include "core/base/util.h"

enum {
	TICK_MS = 250,
	YOUNG_MS = 10 * 1000,           /* dying before this age counts towards the back-off */
	YOUNG_FREE = 5,                 /* so many young deaths in a row cost no delay */
	DELAY_MAX_MS = 30 * 1000,
	ABORT_MS = 2000,                /* from SIGABRT to SIGKILL */
	STOP_MS = 30 * 1000,            /* for an orderly end before SIGKILL */
	WATCHDOG_S = 60,
	BOOT_DISK_WAIT_MS = 5000,
	KERNEL_MIB = 64,                /* never taken for hugepages */
	PATH_BYTES = 128,
	NVME_CLASS = 0x010802,
};

static struct {
	char cmdline[2048];
	char start[16], init_ms[24];    /* values for karst's environment */
	struct life_page *page;
	int watchdog;                   /* -1: none */
	pid_t karst;                    /* 0: none runs */
	unsigned starts, young_deaths;
	uint64_t started_ms;            /* of the running karst */
	uint64_t start_at_ms;           /* of the next one, when none runs */
	uint64_t deadline_ms;           /* the next beat, or the end asked for, comes before */
	uint64_t kill_ms;               /* SIGKILL then; 0: not under way */
	uint64_t beats;
	bool hung;                      /* it is being killed because it made no beat */
	int end;                        /* asked for from outside: RB_*, 0: nothing */
	int button;                     /* the power button's events, -1: none */
} self = { .watchdog = -1, .button = -1 };

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

#define say(fmt, ...) fprintf(stderr, "init: " fmt "\n", ##__VA_ARGS__)

/* The file's text, at most len - 1 bytes of it; its length, or -errno. */
static int read_text(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	buf[0] = '\0';
	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = '\0';
	return (int)n;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* ---- the kernel's command line ---- */

/* The value of the last NAME= on it, in VALUE; NULL when there is none. */
static const char *cmdline_value(const char *name, char *value, size_t len)
{
	const char *p = self.cmdline, *found = NULL;
	size_t name_len = strlen(name);

	while (*p) {
		p += strspn(p, " \n");
		if (strncmp(p, name, name_len) == 0 && p[name_len] == '=')
			found = p + name_len + 1;
		p += strcspn(p, " \n");
	}
	if (!found)
		return NULL;
	snprintf(value, len, "%.*s", (int)strcspn(found, " \n"), found);
	return value;
}

/* ---- mounts, console, memory ---- */

static void mount_all(void)
{
	static const struct {
		const char *type, *dir, *options;
		unsigned long flags;
	} mounts[] = {
		{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "devtmpfs", "/dev", "mode=0755", MS_NOSUID },
		{ "devpts", "/dev/pts", "mode=0600", MS_NOSUID | MS_NOEXEC },
		{ "tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV },
		{ "tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV },
		{ "hugetlbfs", "/dev/hugepages", "pagesize=2M", MS_NOSUID | MS_NODEV },
	};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].dir, 0755);
		if (mount(mounts[i].type, mounts[i].dir, mounts[i].type, mounts[i].flags,
			  mounts[i].options) && errno != EBUSY)
			say("%s: cannot mount: %s", mounts[i].dir, strerror(errno));
	}
	mkdir(LIFE_RUN_DIR, 0755);
}

/* stdin, stdout and stderr on the port of console=; the kernel has set the speed that it says. */
static void open_console(void)
{
	char value[64], path[80];
	int fd;

	if (!cmdline_value("console", value, sizeof(value)))
		snprintf(value, sizeof(value), "ttyS0");
	value[strcspn(value, ",")] = '\0';
	snprintf(path, sizeof(path), "/dev/%s", value);
	fd = open(path, O_RDWR | O_NOCTTY);
	if (fd < 0)
		fd = open("/dev/console", O_RDWR | O_NOCTTY);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	setvbuf(stderr, NULL, _IOLBF, 0);
}

static uint64_t available_mib(void)
{
	char text[512];
	const char *p;

	read_text("/proc/meminfo", text, sizeof(text));
	p = strstr(text, "MemAvailable:");
	return p ? strtoull(p + sizeof("MemAvailable:") - 1, NULL, 10) / 1024 : 0;
}

/* Half of what is free, in pages of 2 MiB, unless karst.hugepages_mib= says otherwise. */
static void reserve_hugepages(void)
{
	uint64_t free_mib = available_mib(), want_mib = free_mib / 2;
	char value[32], text[32];

	if (cmdline_value("karst.hugepages_mib", value, sizeof(value)))
		want_mib = strtoull(value, NULL, 10);
	if (free_mib < KERNEL_MIB || want_mib > free_mib - KERNEL_MIB)
		want_mib = free_mib < KERNEL_MIB ? 0 : free_mib - KERNEL_MIB;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)want_mib / 2);
	if (write_text("/proc/sys/vm/nr_hugepages", text))
		say("memory: cannot reserve %s hugepages", text);
}

/* ---- drives to VFIO ---- */

/*
 * The sysfs path of a partition of the boot disk, if any: named karst-*. The kernel finds disks in
 * its own time: karst.boot=disk, from the boot menu, says that there is one to wait for.
 */
static void find_boot_disk(char real[PATH_MAX])
{
	char value[16], text[512];
	bool wait = cmdline_value("karst.boot", value, sizeof(value));
	uint64_t end_ms = now_ms() + (wait ? BOOT_DISK_WAIT_MS : 0);

	for (;;) {
		glob_t g = { 0 };
		bool found = false;

		glob("/sys/block/*/*/uevent", 0, NULL, &g);
		for (size_t i = 0; i < g.gl_pathc && !found; i++) {
			read_text(g.gl_pathv[i], text, sizeof(text));
			found = strstr(text, "PARTNAME=karst-") && realpath(g.gl_pathv[i], real);
		}
		globfree(&g);
		if (found || now_ms() >= end_ms)
			return;
		usleep(20 * 1000);
	}
}

static void bind_drive(const char *name)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", name);
	if (write_text(path, "vfio-pci")) {
		say("drive %s: the kernel has no driver_override for it; it is left alone", name);
		return;
	}
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", name);
	write_text(path, name);
	if (write_text("/sys/bus/pci/drivers_probe", name))
		say("drive %s: vfio-pci does not take it", name);
}

/* Every NVMe drive but the one that holds the boot disk. */
static void bind_drives(void)
{
	static const char devices[] = "/sys/bus/pci/devices/";
	char boot_disk[PATH_MAX] = "";
	glob_t g = { 0 };

	find_boot_disk(boot_disk);
	if (glob("/sys/kernel/iommu_groups/*", 0, NULL, &g)) {
		say("WARNING: no IOMMU: drives can reach all memory of this machine; switch on "
		    "VT-d or AMD-Vi in its setup");
		write_text("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y");
	}
	globfree(&g);
	glob("/sys/bus/pci/devices/*/class", 0, NULL, &g);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		char *name = g.gl_pathv[i] + sizeof(devices) - 1, text[32];

		read_text(g.gl_pathv[i], text, sizeof(text));
		if (strtoul(text, NULL, 16) != NVME_CLASS)
			continue;
		name[strcspn(name, "/")] = '\0';
		if (!strstr(boot_disk, name))
			bind_drive(name);
	}
	globfree(&g);
}

/* ---- one karst ---- */

static void make_life_page(void)
{
	int fd = open(LIFE_PAGE_PATH, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0 && ftruncate(fd, 4096) == 0)
		self.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!self.page || self.page == MAP_FAILED) {
		self.page = NULL;
		say("heartbeat: no page (%s): a wedged karst stays", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
}

static void open_watchdog(void)
{
	int timeout_s = WATCHDOG_S;

	self.watchdog = open("/dev/watchdog", O_WRONLY | O_CLOEXEC);
	if (self.watchdog >= 0)
		ioctl(self.watchdog, WDIOC_SETTIMEOUT, &timeout_s);
}

static void feed_watchdog(void)
{
	if (self.watchdog >= 0)
		ioctl(self.watchdog, WDIOC_KEEPALIVE, 0);
}

/* In the child; does not return. */
static void exec_karst(void)
{
	char config[256], rescue[8];
	char *args[4] = { "karst" };
	struct rlimit files = { 65536, 65536 }, core = { 0, 0 };
	sigset_t none;

	if (cmdline_value("karst.config", config, sizeof(config))) {
		args[1] = "-f";
		args[2] = config;
	}
	if (cmdline_value("karst.rescue", rescue, sizeof(rescue)))
		setenv(LIFE_ENV_RESCUE, rescue, 1);
	setenv("RUNTIME_DIRECTORY", "/run", 1);         /* DPDK's */
	setenv(LIFE_ENV_START, self.start, 1);
	setenv(LIFE_ENV_INIT_MS, self.init_ms, 1);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_CORE, &core);
	write_text("/proc/self/oom_score_adj", "-1000");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	execv(LIFE_KARST_PATH, args);
	say("%s: %s", LIFE_KARST_PATH, strerror(errno));
	_exit(127);
}

static void start_karst(void)
{
	uint64_t now = now_ms();

	snprintf(self.start, sizeof(self.start), "%u", ++self.starts);
	self.hung = false;
	self.kill_ms = 0;
	self.started_ms = now;
	self.deadline_ms = now + LIFE_START_MS;
	feed_watchdog();
	self.karst = fork();
	if (self.karst == 0)
		exec_karst();
	if (self.karst > 0)
		return;
	say("karst: cannot fork: %s", strerror(errno));
	self.karst = 0;
	self.start_at_ms = now + 1000;
}

/* Tells the next karst, and whoever looks at the console, why this one is gone. */
static void save_death(int status)
{
	unsigned lived_s = (unsigned)((now_ms() - self.started_ms) / 1000);
	char why[160], record[4096];
	FILE *f;

	if (self.hung)
		snprintf(why, sizeof(why), "wedged, no heartbeat for %d s", LIFE_HUNG_MS / 1000);
	else if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(why, sizeof(why), "exit status %d", WEXITSTATUS(status));
	say("karst: %s, after %u s; starting it again", why, lived_s);
	read_text(LIFE_PANIC_PATH, record, sizeof(record));
	unlink(LIFE_PANIC_PATH);
	f = fopen(LIFE_DEATH_PATH, "we");
	if (!f)
		return;
	fprintf(f, "%s, after %u s\n%s", why, lived_s, record);
	fclose(f);
}

/* Does not return. */
static void end_machine(int how)
{
	kill(-1, SIGTERM);
	kill(-1, SIGKILL);
	sync();
	feed_watchdog();
	reboot(how);
	say("the kernel does not %s: %s", how == RB_POWER_OFF ? "power off" : "reboot",
	    strerror(errno));
	for (;;)
		pause();
}

static void karst_ended(int status)
{
	bool exited = WIFEXITED(status);
	unsigned shift;

	self.karst = 0;
	if (self.end)
		end_machine(self.end);
	if (exited && WEXITSTATUS(status) == LIFE_EXIT_REBOOT)
		end_machine(RB_AUTOBOOT);
	if (exited && WEXITSTATUS(status) == LIFE_EXIT_POWEROFF)
		end_machine(RB_POWER_OFF);
	save_death(status);
	if (now_ms() - self.started_ms >= YOUNG_MS)
		self.young_deaths = 0;
	self.start_at_ms = now_ms();
	if (++self.young_deaths > YOUNG_FREE) {
		shift = MIN(self.young_deaths - YOUNG_FREE - 1, 5);
		self.start_at_ms += MIN(1000u << shift, DELAY_MAX_MS);
	}
}

/* ---- watching ---- */

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == self.karst)
			karst_ended(status);
	}
}

/* The heartbeat, its deadline, and what follows when it passes. */
static void watch_karst(void)
{
	uint64_t now = now_ms();

	if (self.page && self.page->beats != self.beats) {
		self.beats = self.page->beats;
		feed_watchdog();
		if (!self.end)
			self.deadline_ms = now + LIFE_HUNG_MS;
	}
	if (self.kill_ms && now >= self.kill_ms) {
		kill(self.karst, SIGKILL);
		self.kill_ms = now + ABORT_MS;
	} else if (!self.kill_ms && now >= self.deadline_ms && (self.page || self.end)) {
		self.hung = true;
		kill(self.karst, SIGABRT);
		self.kill_ms = now + ABORT_MS;
	}
}

/* From outside karst: Ctrl-Alt-Del or the power button. It has STOP_MS to end in order. */
static void end_wanted(int how)
{
	if (self.end)
		return;
	self.end = how;
	if (!self.karst)
		end_machine(how);
	self.deadline_ms = now_ms() + STOP_MS;
	kill(self.karst, SIGTERM);
}

static void watch_button(void)
{
	struct input_event e;

	while (read(self.button, &e, sizeof(e)) == (ssize_t)sizeof(e)) {
		if (e.type == EV_KEY && e.code == KEY_POWER && e.value == 1)
			end_wanted(RB_POWER_OFF);
	}
}

int main(void)
{
	struct timespec tick = { .tv_nsec = TICK_MS * 1000000 };
	sigset_t set;
	int sig;

	snprintf(self.init_ms, sizeof(self.init_ms), "%llu", (unsigned long long)now_ms());
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	mount_all();
	read_text("/proc/cmdline", self.cmdline, sizeof(self.cmdline));
	open_console();
	reboot(RB_DISABLE_CAD);
	reserve_hugepages();
	bind_drives();
	make_life_page();
	open_watchdog();
	self.button = open("/dev/input/event0", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	for (;;) {
		if (!self.karst && now_ms() >= self.start_at_ms)
			start_karst();
		sig = sigtimedwait(&set, NULL, &tick);
		reap();
		if (sig == SIGINT || sig == SIGTERM)
			end_wanted(RB_AUTOBOOT);
		watch_button();
		if (self.karst)
			watch_karst();
		else
			feed_watchdog();
	}
}
