/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of PCI functions, and the command register: what is the same for every provider. */
#include "drivers/pci/pci.h"

#include <errno.h>
#include <stdio.h>

enum { PCI_COMMAND = 0x04, PCI_COMMAND_MEMORY = 1 << 1, PCI_COMMAND_MASTER = 1 << 2 };

/* At most MAX hexadecimal digits, then END; the value, or -1. */
static long hex_take(const char **text, unsigned max, char end)
{
	long v = 0;
	unsigned digits = 0;
	const char *p = *text;

	for (;; p++, digits++) {
		int d;

		if (*p >= '0' && *p <= '9')
			d = *p - '0';
		else if (*p >= 'a' && *p <= 'f')
			d = *p - 'a' + 10;
		else if (*p >= 'A' && *p <= 'F')
			d = *p - 'A' + 10;
		else
			break;
		if (digits == max)
			return -1;
		v = v * 16 + d;
	}
	if (digits == 0 || *p != end)
		return -1;
	*text = end ? p + 1 : p;
	return v;
}

int pci_addr_parse(const char *text, struct pci_addr *addr)
{
	unsigned colons = 0;
	long domain = 0, bus, device, function;

	for (const char *p = text; *p; p++)
		colons += *p == ':';
	if (colons == 2)
		domain = hex_take(&text, 4, ':');
	if (domain < 0)
		return -EINVAL;
	bus = hex_take(&text, 2, ':');
	if (bus < 0)
		return -EINVAL;
	device = hex_take(&text, 2, '.');
	if (device < 0 || device > 31)
		return -EINVAL;
	function = hex_take(&text, 1, '\0');
	if (function < 0 || function > 7)
		return -EINVAL;
	*addr = (struct pci_addr){ domain, bus, device, function };
	return 0;
}

void pci_addr_format(const struct pci_addr *addr, char name[PCI_NAME_BYTES])
{
	snprintf(name, PCI_NAME_BYTES, "%04x:%02x:%02x.%x", addr->domain, addr->bus,
		 addr->device & 31u, addr->function & 7u);
}

static uint32_t addr_order(const struct pci_addr *a)
{
	return (uint32_t)a->domain << 16 | a->bus << 8 | (a->device & 31) << 3 | (a->function & 7);
}

int pci_addr_compare(const struct pci_addr *a, const struct pci_addr *b)
{
	uint32_t x = addr_order(a), y = addr_order(b);

	return (x > y) - (x < y);
}

int pci_bus_master(struct pci_dev *dev, bool on)
{
	uint16_t command;
	int rc = dev->ops->config_read(dev, PCI_COMMAND, &command, sizeof(command));

	if (rc < 0)
		return rc;
	command |= PCI_COMMAND_MEMORY;
	if (on)
		command |= PCI_COMMAND_MASTER;
	else
		command &= ~PCI_COMMAND_MASTER;
	return dev->ops->config_write(dev, PCI_COMMAND, &command, sizeof(command));
}
