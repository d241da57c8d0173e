/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host flavour's PCI: no devices but the ones that a test installs. Such a device belongs to
 * the test, closing it only tells it.
 */
#include "drivers/pci/pci.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PLAIN_MAX = 8 };

static struct {
	struct pci_dev *dev;
	uint32_t class;
} plain[PLAIN_MAX];
static unsigned plain_count;

void pci_plain_install(struct pci_dev *dev, uint32_t class)
{
	if (!dev) {
		plain_count = 0;
	} else if (plain_count < PLAIN_MAX) {
		plain[plain_count].dev = dev;
		plain[plain_count++].class = class;
	}
}

int pci_scan(uint32_t class, struct pci_found *found, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < plain_count; i++) {
		const struct pci_dev *dev = plain[i].dev;

		if (plain[i].class != class)
			continue;
		if (n < max)
			found[n] = (struct pci_found){ .addr = dev->addr, .vendor = dev->vendor,
						       .device = dev->device,
						       .driver = "vfio-pci" };
		n++;
	}
	return n;
}

static struct pci_dev *plain_find(const struct pci_addr *addr)
{
	for (unsigned i = 0; i < plain_count; i++)
		if (pci_addr_compare(&plain[i].dev->addr, addr) == 0)
			return plain[i].dev;
	return NULL;
}

int pci_claim(const struct pci_addr *addr, char why[PCI_WHY_BYTES])
{
	if (plain_find(addr))
		return 0;
	snprintf(why, PCI_WHY_BYTES, "there is no such device");
	return -ENOENT;
}

int pci_open(const struct pci_addr *addr, struct pci_dev **dev)
{
	*dev = plain_find(addr);
	if (!*dev)
		return -ENOENT;
	pci_addr_format(addr, (*dev)->name);
	return 0;
}
