/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding and taking over PCI devices, in a tree of files that looks like sysfs, proc and dev. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/util.h"
#include "drivers/pci/pci.h"

static char top[64], sys[96], proc[96], dev[96];
static char why[PCI_WHY_BYTES];

/* ---- the tree ---- */

static void folder(const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s/%s", top, path);
	for (char *p = full + strlen(top) + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
	assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
}

static void file(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void file_is(const char *path, const char *text)
{
	char full[512], got[64] = "";
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", top, path);
	f = fopen(full, "r");
	assert_non_null(f);
	assert_true(fgets(got, sizeof(got), f) || !*text);
	fclose(f);
	assert_string_equal(got, text);
}

static void link_to(const char *path, const char *target)
{
	char full[512];

	snprintf(full, sizeof(full), "%s/%s", top, path);
	unlink(full);
	assert_int_equal(symlink(target, full), 0);
}

static void device(const char *name, const char *class, const char *driver)
{
	char path[256], target[256];

	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s", name);
	folder(path);
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/class", name);
	file(path, class);
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/vendor", name);
	file(path, "0x1b36\n");
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/device", name);
	file(path, "0x0010\n");
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/driver_override", name);
	file(path, "");
	if (!driver)
		return;
	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s", driver);
	folder(path);
	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s/unbind", driver);
	file(path, "");
	snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/driver", name);
	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	link_to(path, target);
}

/* nvme0n1 with a partition, of device 0000:01:00.0. */
static void disk(void)
{
	folder("sys/devices/pci0/0000:01:00.0/nvme/nvme0/nvme0n1/holders");
	folder("sys/devices/pci0/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1/holders");
	file("sys/devices/pci0/0000:01:00.0/nvme/nvme0/nvme0n1/dev", "259:0\n");
	file("sys/devices/pci0/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1/dev", "259:1\n");
	file("sys/devices/pci0/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1/partition", "1\n");
	folder("sys/block");
	link_to("sys/block/nvme0n1", "../devices/pci0/0000:01:00.0/nvme/nvme0/nvme0n1");
}

static int tree_setup(void **state)
{
	snprintf(top, sizeof(top), "/tmp/test_pci_sysfs.XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(sys, sizeof(sys), "%s/sys", top);
	snprintf(proc, sizeof(proc), "%s/proc", top);
	snprintf(dev, sizeof(dev), "%s/dev", top);
	folder("sys/bus/pci/drivers");
	folder("proc/self");
	folder("dev");
	file("proc/self/mountinfo", "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
	file("proc/swaps", "Filename Type Size Used Priority\n");
	file("sys/bus/pci/drivers_probe", "");
	pci_sysfs_roots(sys, proc, dev);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int tree_teardown(void **state)
{
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	pci_sysfs_roots("/sys", "/proc", "/dev");
	return 0;
}

/* ---- addresses ---- */

static void test_addresses(void **state)
{
	static const char *const bad[] = {
		"", "1", "01:00", "01:00.8", "01:20.0", "0000:01:00.0x", "00001:01:00.0", "01:00.",
		":01:00.0", "a:b:c:d", "zz:00.0",
	};
	struct pci_addr a, b;
	char name[PCI_NAME_BYTES];

	assert_int_equal(pci_addr_parse("0001:aF:1f.7", &a), 0);
	pci_addr_format(&a, name);
	assert_string_equal(name, "0001:af:1f.7");
	assert_int_equal(pci_addr_parse("af:1f.7", &b), 0);
	assert_true(pci_addr_compare(&a, &b) > 0);
	assert_true(pci_addr_compare(&b, &a) < 0);
	assert_int_equal(pci_addr_compare(&a, &a), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pci_addr_parse(bad[i], &a), -EINVAL);
}

/* ---- scan ---- */

static void test_scan_is_in_address_order(void **state)
{
	struct pci_found found[2];

	device("0000:05:00.0", "0x010802\n", "vfio-pci");
	device("0000:01:00.0", "0x010802\n", "nvme");
	device("0000:00:1f.2", "0x010601\n", "ahci");
	device("0000:03:00.0", "0x010802\n", NULL);
	assert_int_equal(pci_sysfs_scan(PCI_CLASS_NVME, found, 0), 3);
	assert_int_equal(pci_sysfs_scan(PCI_CLASS_NVME, found, 2), 3);
	device("0000:03:00.0", "0x020000\n", NULL);
	assert_int_equal(pci_sysfs_scan(PCI_CLASS_NVME, found, 2), 2);
	assert_int_equal(found[0].addr.bus, 1);
	assert_string_equal(found[0].driver, "nvme");
	assert_int_equal(found[0].vendor, 0x1b36);
	assert_int_equal(found[1].addr.bus, 5);
	assert_string_equal(found[1].driver, "vfio-pci");
}

/* ---- in use ---- */

static const struct pci_addr drive = { 0, 1, 0, 0 };

static void test_a_drive_that_nobody_uses(void **state)
{
	device("0000:01:00.0", "0x010802\n", "nvme");
	assert_int_equal(pci_sysfs_in_use(&drive, why), 0);
	disk();
	assert_int_equal(pci_sysfs_in_use(&drive, why), 0);
}

static void test_mounted(void **state)
{
	struct pci_addr other = { 0, 2, 0, 0 };

	disk();
	file("proc/self/mountinfo", "22 1 259:1 / /data rw - ext4 /dev/root rw\n");
	assert_int_equal(pci_sysfs_in_use(&drive, why), -EBUSY);
	assert_string_equal(why, "nvme0n1p1 is mounted");
	assert_int_equal(pci_sysfs_in_use(&other, why), 0);
	file("proc/self/mountinfo", "22 1 0:33 / /data rw - btrfs /dev/nvme0n1 rw\n");
	assert_int_equal(pci_sysfs_in_use(&drive, why), -EBUSY);
	assert_string_equal(why, "nvme0n1 is mounted");
}

static void test_swap_and_holders(void **state)
{
	disk();
	file("proc/swaps", "Filename Type\n/dev/nvme0n1p1 partition 1 0 -2\n");
	assert_int_equal(pci_sysfs_in_use(&drive, why), -EBUSY);
	assert_string_equal(why, "nvme0n1p1 is swap space");
	file("proc/swaps", "");
	folder("sys/devices/pci0/0000:01:00.0/nvme/nvme0/nvme0n1/nvme0n1p1/holders/md0");
	assert_int_equal(pci_sysfs_in_use(&drive, why), -EBUSY);
	assert_non_null(strstr(why, "for another device"));
}

static void test_native_multipath(void **state)
{
	const char *head = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
	char path[256];

	folder("sys/devices/pci0/0000:01:00.0/nvme/nvme0");
	folder("sys/block");
	snprintf(path, sizeof(path), "%s/nvme0n1/holders", head);
	folder(path);
	snprintf(path, sizeof(path), "%s/nvme0n1/dev", head);
	file(path, "259:4\n");
	snprintf(path, sizeof(path), "%s/nvme0", head);
	link_to(path, "../../../pci0/0000:01:00.0/nvme/nvme0");
	link_to("sys/block/nvme0n1", "../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1");
	assert_int_equal(pci_sysfs_in_use(&drive, why), 0);
	file("proc/self/mountinfo", "22 1 259:4 / /data rw - ext4 /dev/root rw\n");
	assert_int_equal(pci_sysfs_in_use(&drive, why), -EBUSY);
}

/* ---- binding ---- */

static void test_bind(void **state)
{
	assert_int_equal(pci_sysfs_bind_vfio(&drive, why), -ENOENT);
	device("0000:01:00.0", "0x010802\n", "nvme");
	assert_int_equal(pci_sysfs_bind_vfio(&drive, why), -ENODEV);
	assert_non_null(strstr(why, "no vfio-pci driver"));
	folder("sys/bus/pci/drivers/vfio-pci");
	/* nobody binds here: everything was asked for, and the outcome is checked */
	assert_int_equal(pci_sysfs_bind_vfio(&drive, why), -ENODEV);
	assert_non_null(strstr(why, "did not take it"));
	file_is("sys/bus/pci/devices/0000:01:00.0/driver_override", "vfio-pci");
	file_is("sys/bus/pci/drivers/nvme/unbind", "0000:01:00.0");
	file_is("sys/bus/pci/drivers_probe", "0000:01:00.0");
	device("0000:01:00.0", "0x010802\n", "vfio-pci");
	assert_int_equal(pci_sysfs_bind_vfio(&drive, why), 0);
}

static void test_a_mounted_drive_is_not_taken(void **state)
{
	device("0000:01:00.0", "0x010802\n", "nvme");
	folder("sys/bus/pci/drivers/vfio-pci");
	disk();
	file("proc/self/mountinfo", "22 1 259:1 / /data rw - ext4 /dev/root rw\n");
	assert_int_equal(pci_sysfs_bind_vfio(&drive, why), -EBUSY);
	file_is("sys/bus/pci/drivers/nvme/unbind", "");
}

int main(void)
{
#define tree_test(name) cmocka_unit_test_setup_teardown(name, tree_setup, tree_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		tree_test(test_scan_is_in_address_order),
		tree_test(test_a_drive_that_nobody_uses),
		tree_test(test_mounted),
		tree_test(test_swap_and_holders),
		tree_test(test_native_multipath),
		tree_test(test_bind),
		tree_test(test_a_mounted_drive_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
