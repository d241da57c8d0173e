/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI devices in sysfs: finding them by class, seeing whether the kernel uses their disks, and
 * moving them from the kernel's driver to vfio-pci by driver_override. Everything here blocks in
 * system calls and touches no reactor.
 */
#include "drivers/pci/pci.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/util.h"

static const char *root_sys = "/sys", *root_proc = "/proc", *root_dev = "/dev";

void pci_sysfs_roots(const char *sys, const char *proc, const char *dev)
{
	root_sys = sys;
	root_proc = proc;
	root_dev = dev;
}

/* The file's text without the newline; -errno. */
static int text_read(const char *path, char *text, size_t text_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, text_bytes - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

static int text_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static int device_number(const char *name, const char *file, unsigned long *v)
{
	char path[PATH_MAX], text[32];
	int rc;

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", root_sys, name, file);
	rc = text_read(path, text, sizeof(text));
	if (rc < 0)
		return rc;
	*v = strtoul(text, NULL, 16);
	return 0;
}

/* Name of the kernel's driver, "" when there is none. */
static void device_driver(const char *name, char *driver, size_t driver_bytes)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t n;
	const char *base;

	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/driver", root_sys, name);
	n = readlink(path, target, sizeof(target) - 1);
	target[MAX(n, 0)] = '\0';
	base = strrchr(target, '/');
	snprintf(driver, driver_bytes, "%.*s", (int)driver_bytes - 1, base ? base + 1 : target);
}

static int found_fill(const char *name, struct pci_found *found)
{
	unsigned long vendor, device;

	if (pci_addr_parse(name, &found->addr) < 0 ||
	    device_number(name, "vendor", &vendor) < 0 ||
	    device_number(name, "device", &device) < 0)
		return -ENOENT;
	found->vendor = vendor;
	found->device = device;
	device_driver(name, found->driver, sizeof(found->driver));
	return 0;
}

static int found_compare(const void *a, const void *b)
{
	const struct pci_found *x = a, *y = b;

	return pci_addr_compare(&x->addr, &y->addr);
}

int pci_sysfs_scan(uint32_t class, struct pci_found *found, unsigned max)
{
	char path[PATH_MAX];
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/bus/pci/devices", root_sys);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		struct pci_found f;
		unsigned long v;

		if (device_number(entry->d_name, "class", &v) < 0 || v != class ||
		    found_fill(entry->d_name, &f) < 0)
			continue;
		if (n < max)
			found[n] = f;
		n++;
	}
	closedir(dir);
	qsort(found, MIN(n, max), sizeof(*found), found_compare);
	return n;
}

int pci_sysfs_find(const struct pci_addr *addr, struct pci_found *found)
{
	char name[PCI_NAME_BYTES];

	pci_addr_format(addr, name);
	return found_fill(name, found);
}

/* ---- what the kernel does with the disks of a device ---- */

static bool folder_empty(const char *path)
{
	struct dirent *entry;
	bool empty = true;
	DIR *dir = opendir(path);

	if (!dir)
		return true;
	while (empty && (entry = readdir(dir)))
		empty = entry->d_name[0] == '.';
	closedir(dir);
	return empty;
}

/* Whether a line of FILE below /proc has WORD between white space. */
static bool proc_has_word(const char *file, const char *word)
{
	char path[PATH_MAX], *line = NULL;
	size_t line_bytes = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root_proc, file);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && getline(&line, &line_bytes, f) > 0) {
		char *save = NULL;

		for (char *w = strtok_r(line, " \t\n", &save); w;
		     w = strtok_r(NULL, " \t\n", &save))
			found |= strcmp(w, word) == 0;
	}
	free(line);
	fclose(f);
	return found;
}

/* One disk or partition: its folder in sysfs and its name. */
static int block_in_use(const char *folder, const char *name, char *why)
{
	char path[PATH_MAX], number[32], node[NAME_MAX + 16];
	int fd;

	snprintf(path, sizeof(path), "%.3000s/holders", folder);
	if (!folder_empty(path)) {
		snprintf(why, PCI_WHY_BYTES, "the kernel uses %.64s for another device", name);
		return -EBUSY;
	}
	snprintf(node, sizeof(node), "/dev/%s", name);
	snprintf(path, sizeof(path), "%.3000s/dev", folder);
	if ((text_read(path, number, sizeof(number)) == 0 &&
	     proc_has_word("self/mountinfo", number)) || proc_has_word("self/mountinfo", node)) {
		snprintf(why, PCI_WHY_BYTES, "%.64s is mounted", name);
		return -EBUSY;
	}
	if (proc_has_word("swaps", node)) {
		snprintf(why, PCI_WHY_BYTES, "%.64s is swap space", name);
		return -EBUSY;
	}
	snprintf(path, sizeof(path), "%s/%s", root_dev, name);
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	else if (errno == EBUSY) {
		snprintf(why, PCI_WHY_BYTES, "%.64s is open exclusively", name);
		return -EBUSY;
	}
	return 0;
}

/*
 * Whether the block device at FOLDER (real path) is one of device NAME: it lies below it, or below
 * a subsystem of which one of its controllers is a member (native multipath).
 */
static bool block_of_device(const char *folder, const char *name)
{
	char part[PCI_NAME_BYTES + 2], path[PATH_MAX], target[PATH_MAX];
	struct dirent *entry;
	bool found = false;
	char *slash;
	DIR *dir;

	snprintf(part, sizeof(part), "/%s/", name);
	if (strstr(folder, part))
		return true;
	if (!strstr(folder, "/nvme-subsystem/"))
		return false;
	snprintf(path, sizeof(path), "%s", folder);
	slash = strrchr(path, '/');
	*slash = '\0';
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		char link[PATH_MAX];

		snprintf(link, sizeof(link), "%.3000s/%s", path, entry->d_name);
		found = entry->d_type == DT_LNK && realpath(link, target) && strstr(target, part);
	}
	closedir(dir);
	return found;
}

static int disk_in_use(const char *folder, const char *name, char *why)
{
	struct dirent *entry;
	int rc = block_in_use(folder, name, why);
	DIR *dir = opendir(folder);

	while (rc == 0 && dir && (entry = readdir(dir))) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%.3000s/%s/partition", folder, entry->d_name);
		if (access(path, F_OK) != 0)
			continue;
		path[strlen(path) - strlen("/partition")] = '\0';
		rc = block_in_use(path, entry->d_name, why);
	}
	if (dir)
		closedir(dir);
	return rc;
}

int pci_sysfs_in_use(const struct pci_addr *addr, char why[PCI_WHY_BYTES])
{
	char name[PCI_NAME_BYTES], path[PATH_MAX], folder[PATH_MAX];
	struct dirent *entry;
	int rc = 0;
	DIR *dir;

	pci_addr_format(addr, name);
	snprintf(path, sizeof(path), "%s/block", root_sys);
	dir = opendir(path);
	while (rc == 0 && dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/block/%s", root_sys, entry->d_name);
		if (realpath(path, folder) && block_of_device(folder, name))
			rc = disk_in_use(folder, entry->d_name, why);
	}
	if (dir)
		closedir(dir);
	return rc;
}

/* ---- handing over ---- */

static int step_failed(int rc, const char *what, char *why)
{
	snprintf(why, PCI_WHY_BYTES, "%s: %s", what, strerror(-rc));
	return rc;
}

int pci_sysfs_bind_vfio(const struct pci_addr *addr, char why[PCI_WHY_BYTES])
{
	char name[PCI_NAME_BYTES], path[PATH_MAX];
	struct pci_found found;
	int rc;

	pci_addr_format(addr, name);
	if (pci_sysfs_find(addr, &found) < 0) {
		snprintf(why, PCI_WHY_BYTES, "there is no such device");
		return -ENOENT;
	}
	if (strcmp(found.driver, "vfio-pci") == 0)
		return 0;
	rc = pci_sysfs_in_use(addr, why);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "%s/bus/pci/drivers/vfio-pci", root_sys);
	if (access(path, F_OK) != 0) {
		snprintf(why, PCI_WHY_BYTES, "the kernel has no vfio-pci driver; load vfio-pci");
		return -ENODEV;
	}
	snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/driver_override", root_sys, name);
	rc = text_write(path, "vfio-pci");
	if (rc < 0)
		return step_failed(rc, "cannot choose vfio-pci for it", why);
	if (found.driver[0]) {
		snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/driver/unbind", root_sys, name);
		rc = text_write(path, name);
		if (rc < 0)
			return step_failed(rc, "cannot take it from the kernel's driver", why);
	}
	snprintf(path, sizeof(path), "%s/bus/pci/drivers_probe", root_sys);
	rc = text_write(path, name);
	if (rc < 0)
		return step_failed(rc, "cannot give it to vfio-pci", why);
	pci_sysfs_find(addr, &found);
	if (strcmp(found.driver, "vfio-pci") != 0) {
		snprintf(why, PCI_WHY_BYTES, "vfio-pci did not take it; see the kernel's log");
		return -ENODEV;
	}
	return 0;
}
