/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI devices that this process owns. A driver sees a struct pci_dev: BAR 0 in memory, MSI-X
 * vectors as eventfds, a few operations. pci_eal.c makes them of VFIO devices (DPDK EAL holds the
 * VFIO container, so that all DMA memory is reachable), pci_plain.c has only what a test installs.
 *
 * Functions that are said to block are called in task_block(); the rest on reactor 0.
 */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PCI_NAME_BYTES = 16,            /* "0000:01:00.0" */
	PCI_WHY_BYTES = 160,
	PCI_CLASS_NVME = 0x010802,
	PCI_VECTOR_BYTES = 16,          /* MSI-X table entry */
	PCI_VECTOR_CONTROL = 3,         /* dword of the entry; bit 0: masked */
};

struct pci_addr {
	uint16_t domain;
	uint8_t bus, device, function;
};

struct pci_dev;

struct pci_dev_ops {
	/* Configuration space; 0/-errno. */
	int (*config_read)(struct pci_dev *dev, unsigned offset, void *buf, size_t len);
	int (*config_write)(struct pci_dev *dev, unsigned offset, const void *buf, size_t len);
	/* Vector i signals eventfd fds[i], unmasked; replaces what was set before. 0/-errno. */
	int (*vectors_set)(struct pci_dev *dev, const int *fds, unsigned count);
	void (*vectors_clear)(struct pci_dev *dev);
	/* Function level reset, blocks; BAR and vectors stay as they are. 0/-errno. */
	int (*reset)(struct pci_dev *dev);
	void (*close)(struct pci_dev *dev);
};

struct pci_dev {
	struct pci_addr addr;
	char name[PCI_NAME_BYTES];
	uint16_t vendor, device;
	volatile void *bar;             /* BAR 0 */
	size_t bar_bytes;
	unsigned vector_count;          /* MSI-X vectors, 0: none */
	/* the MSI-X table, NULL: vectors cannot be masked from here */
	volatile uint32_t *vector_table;
	const struct pci_dev_ops *ops;
	/*
	 * The driver's, may be NULL: the device is going or gone, close it soon. On reactor 0,
	 * perhaps more than once.
	 */
	void (*removed)(struct pci_dev *dev);
	void *owner;                    /* the driver's */
};

/* A device as it is found, owned or not. */
struct pci_found {
	struct pci_addr addr;
	uint16_t vendor, device;
	char driver[32];                /* of the kernel, "" when none */
};

/* pci.c */

/* "0000:01:00.0" or "01:00.0"; -EINVAL. */
int pci_addr_parse(const char *text, struct pci_addr *addr);
void pci_addr_format(const struct pci_addr *addr, char name[PCI_NAME_BYTES]);
int pci_addr_compare(const struct pci_addr *a, const struct pci_addr *b);
/* Lets the device read and write memory, or stops it. 0/-errno. */
int pci_bus_master(struct pci_dev *dev, bool on);
/* No system call; vector_table is there. */
static inline void pci_vector_mask(struct pci_dev *dev, unsigned vector, bool masked)
{
	dev->vector_table[vector * (PCI_VECTOR_BYTES / 4) + PCI_VECTOR_CONTROL] = masked;
}

/* pci_sysfs.c */

/*
 * Devices of CLASS in address order; how many there are, of which at most MAX are filled; -errno.
 * Blocks.
 */
int pci_sysfs_scan(uint32_t class, struct pci_found *found, unsigned max);
/* One device; -ENOENT. Blocks. */
int pci_sysfs_find(const struct pci_addr *addr, struct pci_found *found);
/*
 * Whether the kernel uses a disk of this device (mounted, swap, held by md or dm, opened
 * exclusively): -EBUSY and WHY says by what; 0. Blocks.
 */
int pci_sysfs_in_use(const struct pci_addr *addr, char why[PCI_WHY_BYTES]);
/*
 * Takes the device from the kernel's driver and gives it to vfio-pci. -EBUSY, -ENOENT, -EACCES, …,
 * and WHY. Blocks.
 */
int pci_sysfs_bind_vfio(const struct pci_addr *addr, char why[PCI_WHY_BYTES]);
/* For tests: other folders than /sys, /proc and /dev. */
void pci_sysfs_roots(const char *sys, const char *proc, const char *dev);

/* pci_eal.c or pci_plain.c */

/* As pci_sysfs_scan, over the devices that pci_open could open. Blocks. */
int pci_scan(uint32_t class, struct pci_found *found, unsigned max);
/*
 * Makes sure that pci_open can have it: binds it to vfio-pci when it is not, as
 * pci_sysfs_bind_vfio. Blocks.
 */
int pci_claim(const struct pci_addr *addr, char why[PCI_WHY_BYTES]);
/* Maps BAR 0, bus master is off. -errno, logged. Ended by dev->ops->close(). */
int pci_open(const struct pci_addr *addr, struct pci_dev **dev);

/* pci_plain.c, for tests: pci_scan and pci_open find DEV from now on; NULL: none any more. */
void pci_plain_install(struct pci_dev *dev, uint32_t class);

#endif
