/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI devices through VFIO. DPDK EAL owns the VFIO container and maps all DMA memory into it;
 * rte_vfio_setup_device() adds the device's group (with an IOMMU, or in no-IOMMU mode) and gives
 * its file descriptor. The rest is done on that descriptor: BAR 0, configuration space, interrupts
 * as eventfds, reset, and the kernel's request to give the device back.
 */
#include "drivers/pci/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <rte_vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "core/reactor.h"

static const char sysfs_devices[] = "/sys/bus/pci/devices";

enum { VECTORS_MAX = REACTOR_MAX + 1, REGION_INFO_BYTES = 1024, CAPABILITIES_MAX = 48 };

struct vfio_dev {
	struct pci_dev dev;
	int fd;
	uint64_t config_offset;
	bool can_reset;
	bool bar_holes;                 /* the vector table is not mapped */
	struct fd_source request;       /* the kernel wants the device back */
};

static struct vfio_dev *vfio_dev_of(struct pci_dev *dev)
{
	return container_of(dev, struct vfio_dev, dev);
}

static int vfio_config_read(struct pci_dev *dev, unsigned offset, void *buf, size_t len)
{
	struct vfio_dev *v = vfio_dev_of(dev);
	ssize_t n = pread(v->fd, buf, len, v->config_offset + offset);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

static int vfio_config_write(struct pci_dev *dev, unsigned offset, const void *buf, size_t len)
{
	struct vfio_dev *v = vfio_dev_of(dev);
	ssize_t n = pwrite(v->fd, buf, len, v->config_offset + offset);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

/* COUNT 0 takes all vectors of the index away. */
static int irqs_set(struct vfio_dev *v, unsigned index, const int *fds, unsigned count)
{
	struct {
		struct vfio_irq_set set;
		int fds[VECTORS_MAX];
	} arg = {
		.set = {
			.argsz = sizeof(arg.set) + count * sizeof(int),
			.flags = VFIO_IRQ_SET_ACTION_TRIGGER |
				 (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
			.index = index,
			.count = count,
		},
	};

	if (count > VECTORS_MAX)
		return -EINVAL;
	memcpy(arg.set.data, fds, count * sizeof(int));
	return ioctl(v->fd, VFIO_DEVICE_SET_IRQS, &arg) < 0 ? -errno : 0;
}

static int vfio_vectors_set(struct pci_dev *dev, const int *fds, unsigned count)
{
	irqs_set(vfio_dev_of(dev), VFIO_PCI_MSIX_IRQ_INDEX, NULL, 0);
	return irqs_set(vfio_dev_of(dev), VFIO_PCI_MSIX_IRQ_INDEX, fds, count);
}

static void vfio_vectors_clear(struct pci_dev *dev)
{
	irqs_set(vfio_dev_of(dev), VFIO_PCI_MSIX_IRQ_INDEX, NULL, 0);
}

static int vfio_reset(struct pci_dev *dev)
{
	struct vfio_dev *v = vfio_dev_of(dev);

	if (!v->can_reset)
		return -ENOTSUP;
	return ioctl(v->fd, VFIO_DEVICE_RESET) < 0 ? -errno : 0;
}

static void vfio_close(struct pci_dev *dev)
{
	struct vfio_dev *v = vfio_dev_of(dev);

	if (v->request.fd >= 0) {
		fd_source_remove(&v->request);
		irqs_set(v, VFIO_PCI_REQ_IRQ_INDEX, NULL, 0);
		close(v->request.fd);
	}
	pci_bus_master(dev, false);
	if (dev->bar)
		munmap((void *)dev->bar, dev->bar_bytes);
	rte_vfio_release_device(sysfs_devices, dev->name, v->fd);
	free(v);
}

static const struct pci_dev_ops vfio_ops = {
	.config_read = vfio_config_read,
	.config_write = vfio_config_write,
	.vectors_set = vfio_vectors_set,
	.vectors_clear = vfio_vectors_clear,
	.reset = vfio_reset,
	.close = vfio_close,
};

/* ---- opening ---- */

/* Maps the parts of the region that may be mapped, at their places in one range of addresses. */
static int region_map(struct vfio_dev *v, struct vfio_region_info *info)
{
	uint8_t *base = mmap(NULL, info->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_region_info_cap_sparse_mmap *sparse = NULL;
	struct vfio_region_sparse_mmap_area whole = { .offset = 0, .size = info->size };
	unsigned areas = 1;

	if (base == MAP_FAILED)
		return -errno;
	for (uint32_t at = info->flags & VFIO_REGION_INFO_FLAG_CAPS ? info->cap_offset : 0;
	     at && at + sizeof(*sparse) <= REGION_INFO_BYTES;) {
		struct vfio_info_cap_header *cap = (void *)((char *)info + at);

		if (cap->id == VFIO_REGION_INFO_CAP_SPARSE_MMAP) {
			sparse = (void *)cap;
			areas = sparse->nr_areas;
		}
		at = cap->next;
	}
	for (unsigned i = 0; i < areas; i++) {
		const struct vfio_region_sparse_mmap_area *a = sparse ? &sparse->areas[i] : &whole;

		if (a->size && mmap(base + a->offset, a->size, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_FIXED, v->fd,
				    info->offset + a->offset) == MAP_FAILED) {
			int rc = -errno;

			munmap(base, info->size);
			return rc;
		}
	}
	v->dev.bar = base;
	v->dev.bar_bytes = info->size;
	/* With holes, the registers' page must be there, and the vector table is the hole. */
	if (sparse && (areas == 0 || sparse->areas[0].offset != 0))
		return -ENOTSUP;
	v->bar_holes = sparse;
	return 0;
}

static int regions_open(struct vfio_dev *v)
{
	union {
		struct vfio_region_info info;
		char bytes[REGION_INFO_BYTES];
	} bar = { .info = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX } };
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};

	if (ioctl(v->fd, VFIO_DEVICE_GET_REGION_INFO, &config) < 0 ||
	    ioctl(v->fd, VFIO_DEVICE_GET_REGION_INFO, &bar) < 0)
		return -errno;
	v->config_offset = config.offset;
	if (!(bar.info.flags & VFIO_REGION_INFO_FLAG_MMAP) || bar.info.size == 0)
		return -ENOTSUP;
	return region_map(v, &bar.info);
}

/* Finds the MSI-X capability: how many vectors, and where their table is. */
static void vectors_find(struct vfio_dev *v)
{
	uint8_t at = 0;
	uint16_t status = 0;

	if (vfio_config_read(&v->dev, PCI_STATUS, &status, sizeof(status)) < 0 ||
	    !(status & PCI_STATUS_CAP_LIST) ||
	    vfio_config_read(&v->dev, PCI_CAPABILITY_LIST, &at, sizeof(at)) < 0)
		return;
	for (unsigned i = 0; i < CAPABILITIES_MAX && at >= PCI_STD_HEADER_SIZEOF; i++) {
		struct { uint8_t id, next; uint16_t control; uint32_t table; } cap;
		size_t offset;

		at &= ~3;
		if (vfio_config_read(&v->dev, at, &cap, sizeof(cap)) < 0)
			return;
		if (cap.id != PCI_CAP_ID_MSIX) {
			at = cap.next;
			continue;
		}
		v->dev.vector_count = MIN((cap.control & PCI_MSIX_FLAGS_QSIZE) + 1, VECTORS_MAX);
		offset = cap.table & PCI_MSIX_TABLE_OFFSET;
		if ((cap.table & PCI_MSIX_TABLE_BIR) == 0 && !v->bar_holes &&
		    offset + v->dev.vector_count * PCI_VECTOR_BYTES <= v->dev.bar_bytes)
			v->dev.vector_table = (volatile uint32_t *)
				((volatile char *)v->dev.bar + offset);
		return;
	}
}

static void request_event(struct fd_source *src, uint32_t events)
{
	struct vfio_dev *v = container_of(src, struct vfio_dev, request);

	if (v->dev.removed)
		v->dev.removed(&v->dev);
}

/* Edge triggered: the kernel asks again and again until the device is closed. */
static void request_open(struct vfio_dev *v)
{
	struct vfio_irq_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_REQ_IRQ_INDEX,
	};

	if (ioctl(v->fd, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0 || info.count == 0)
		return;
	v->request.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (v->request.fd < 0)
		return;
	v->request.event = request_event;
	if (irqs_set(v, VFIO_PCI_REQ_IRQ_INDEX, &v->request.fd, 1) == 0 &&
	    fd_source_add(&v->request, EPOLLIN | EPOLLET) == 0)
		return;
	close(v->request.fd);
	v->request.fd = -1;
	log_warn("pci %s: the kernel cannot ask for it back", v->dev.name);
}

int pci_open(const struct pci_addr *addr, struct pci_dev **dev)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_dev *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return -ENOMEM;
	v->dev.addr = *addr;
	v->dev.ops = &vfio_ops;
	v->request.fd = -1;
	pci_addr_format(addr, v->dev.name);
	rc = rte_vfio_setup_device(sysfs_devices, v->dev.name, &v->fd, &info);
	if (rc != 0) {
		log_error("pci %s: VFIO does not give the device; bind it and everything of its "
			  "IOMMU group to vfio-pci", v->dev.name);
		free(v);
		return -ENODEV;
	}
	v->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	rc = regions_open(v);
	if (rc == 0)
		rc = vfio_config_read(&v->dev, PCI_VENDOR_ID, &v->dev.vendor, 2);
	if (rc == 0)
		rc = vfio_config_read(&v->dev, PCI_DEVICE_ID, &v->dev.device, 2);
	if (rc == 0)
		rc = pci_bus_master(&v->dev, false);
	if (rc < 0) {
		log_error("pci %s: cannot map its registers: %s", v->dev.name, strerror(-rc));
		vfio_close(&v->dev);
		return rc;
	}
	vectors_find(v);
	request_open(v);
	*dev = &v->dev;
	return 0;
}

int pci_scan(uint32_t class, struct pci_found *found, unsigned max)
{
	return pci_sysfs_scan(class, found, max);
}

int pci_claim(const struct pci_addr *addr, char why[PCI_WHY_BYTES])
{
	return pci_sysfs_bind_vfio(addr, why);
}
