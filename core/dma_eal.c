/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA memory from DPDK's environment layer (EAL): hugepages mapped into VFIO's container, or plain
 * pages without devices.
 *
 * EAL is told as little as it takes: one lcore, which is the calling thread, whose CPU affinity is
 * put back afterwards (the reactors are our own threads); no files and no sockets of its own; no
 * PCI device is probed until a driver asks for it by address (an allow-list with an address that
 * cannot exist). What it logs goes into our log.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <rte_vfio.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* DPDK and <sys/queue.h> have their own; ours are wanted from here on. */
#undef container_of
#undef LIST_INIT
#include "core/base/log.h"
#include "core/base/util.h"
#include "core/dma.h"

enum { DMA_ALIGN_LEAST = 64, EAL_ARGS = 16 };

static struct {
	bool huge;
	uint64_t total_bytes, used_bytes, peak_bytes;
} eal;

/* ---- the log ---- */

static enum log_level level_of(unsigned rte_level)
{
	if (rte_level <= RTE_LOG_ERR)
		return LOG_WARN;
	return rte_level <= RTE_LOG_WARNING ? LOG_INFO : LOG_DEBUG;
}

static ssize_t eal_log_write(void *cookie, const char *text, size_t len)
{
	size_t line = len;

	while (line > 0 && text[line - 1] == '\n')
		line--;
	if (line > 0)
		log_write(level_of((unsigned)rte_log_cur_msg_loglevel()), "dpdk: %.*s",
			  (int)line, text);
	return len;
}

static void eal_log_open(void)
{
	cookie_io_functions_t functions = { .write = eal_log_write };
	FILE *f = fopencookie(NULL, "w", functions);

	if (!f)
		return;
	setvbuf(f, NULL, _IOLBF, LOG_TEXT_BYTES);
	rte_openlog_stream(f);
}

/* ---- start ---- */

/* The first CPU that this thread may use: EAL wants to know one. */
static int first_cpu(const cpu_set_t *cpus)
{
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, cpus))
			return i;
	}
	return 0;
}

/* Whether the first character of the file at PATH is C. */
static bool file_says(const char *path, int c)
{
	FILE *f = fopen(path, "re");
	int got = f ? fgetc(f) : EOF;

	if (f)
		fclose(f);
	return got == c;
}

/*
 * Devices without an IOMMU, as VFIO's no-IOMMU mode gives them: EAL takes the groups of that mode
 * for an IOMMU's, so it has to be told.
 */
static bool iommu_missing(void)
{
	DIR *dir = opendir("/sys/class/iommu");
	bool found = false;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		found |= entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return !found && file_says("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", 'Y');
}

static int eal_start(const struct dma_opts *opts, const cpu_set_t *cpus)
{
	char program[32], memory[16], cpu[24];
	char *argv[EAL_ARGS];
	int argc = 0;

	snprintf(program, sizeof(program), "%s", opts->program ? opts->program : "karst");
	snprintf(memory, sizeof(memory), "%u", opts->memory_mib);
	snprintf(cpu, sizeof(cpu), "0@%d", first_cpu(cpus));
	argv[argc++] = program;
	/* "In memory" is for hugepages and excludes --no-huge, which needs half of it. */
	argv[argc++] = opts->no_huge ? "--no-shconf" : "--in-memory";
	argv[argc++] = "--no-telemetry";
	/* low: an IOMMU may take no more than 39 bits, and bus addresses are virtual ones */
	argv[argc++] = "--base-virtaddr=0x100000000";
	argv[argc++] = "--lcores";
	argv[argc++] = cpu;
	argv[argc++] = "-m";
	argv[argc++] = memory;
	if (opts->no_huge)
		argv[argc++] = "--no-huge";
	else if (iommu_missing())
		argv[argc++] = "--iova-mode=pa";
	if (opts->no_pci) {
		argv[argc++] = "--no-pci";
	} else {
		argv[argc++] = "-a";
		argv[argc++] = "ffff:ff:1f.7";
	}
	return rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
}

int dma_init(const struct dma_opts *opts)
{
	cpu_set_t cpus;
	int rc;

	if (pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) != 0)
		CPU_ZERO(&cpus);
	eal_log_open();
	rc = eal_start(opts, &cpus);
	if (CPU_COUNT(&cpus) > 0)
		pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	if (rc < 0) {
		if (opts->no_huge)
			log_error("dma: no %u MiB of memory: %s; give less with -m",
				  opts->memory_mib, rte_strerror(-rc));
		else
			log_error("dma: no %u MiB of hugepages: %s; reserve them (echo %u > "
				  "/proc/sys/vm/nr_hugepages), give less with -m, or use --no-huge",
				  opts->memory_mib, rte_strerror(-rc), opts->memory_mib / 2);
		return rc < 0 ? rc : -ENOMEM;
	}
	eal.huge = !opts->no_huge;
	eal.total_bytes = rte_eal_get_physmem_size();
	log_info("dma: %" PRIu64 " MiB of %s, bus addresses are %s", eal.total_bytes >> 20,
		 eal.huge ? "hugepages" : "plain pages",
		 rte_eal_iova_mode() == RTE_IOVA_VA ? "virtual" : "physical");
	return 0;
}

void dma_fini(void)
{
	rte_eal_cleanup();
}

/* ---- memory ---- */

void *dma_alloc(size_t len, size_t align)
{
	void *va = rte_zmalloc("karst", len, MAX(align, (size_t)DMA_ALIGN_LEAST));
	size_t bytes = 0;
	uint64_t used;

	if (!va)
		return NULL;
	rte_malloc_validate(va, &bytes);
	used = __atomic_add_fetch(&eal.used_bytes, bytes, __ATOMIC_RELAXED);
	if (used > eal.peak_bytes)
		eal.peak_bytes = used;
	return va;
}

void dma_free(void *va)
{
	size_t bytes = 0;

	if (!va)
		return;
	rte_malloc_validate(va, &bytes);
	__atomic_sub_fetch(&eal.used_bytes, bytes, __ATOMIC_RELAXED);
	rte_free(va);
}

uint64_t dma_iova(const void *va)
{
	const struct rte_memseg *ms = rte_mem_virt2memseg(va, NULL);

	if (!ms)
		return DMA_IOVA_BAD;
	/* Registered memory has none of its own: it was mapped by its virtual address. */
	if (ms->iova == RTE_BAD_IOVA)
		return (uintptr_t)va;
	return ms->iova + ((uintptr_t)va - (uintptr_t)ms->addr);
}

bool dma_iova_is_va(void)
{
	return rte_eal_iova_mode() == RTE_IOVA_VA;
}

int dma_register(void *va, size_t len)
{
	if (!IS_ALIGNED((uintptr_t)va | len, (uintptr_t)DMA_PAGE_BYTES) || len == 0)
		return -EINVAL;
	/* With physical addresses each page would need its own, and to be pinned. */
	if (!dma_iova_is_va())
		return -ENOTSUP;
	if (rte_extmem_register(va, len, NULL, 0, DMA_PAGE_BYTES) < 0)
		return -rte_errno;
	if (rte_vfio_is_enabled("vfio") &&
	    rte_vfio_container_dma_map(RTE_VFIO_DEFAULT_CONTAINER_FD, (uintptr_t)va,
				       (uintptr_t)va, len) < 0) {
		rte_extmem_unregister(va, len);
		return -ENOMEM;
	}
	return 0;
}

void dma_unregister(void *va, size_t len)
{
	if (rte_vfio_is_enabled("vfio"))
		rte_vfio_container_dma_unmap(RTE_VFIO_DEFAULT_CONTAINER_FD, (uintptr_t)va,
					     (uintptr_t)va, len);
	if (rte_extmem_unregister(va, len) < 0)
		log_error("dma: %p: cannot be given back: %s", va, rte_strerror(rte_errno));
}

struct each {
	int (*fn)(void *va, size_t len, void *arg);
	void *arg;
	char *begin, *end;              /* contiguous so far */
};

/* In ascending order of addresses within a list of segments. */
static int each_segment(const struct rte_memseg_list *list, const struct rte_memseg *segment,
			void *arg)
{
	struct each *each = arg;
	char *va = segment->addr;
	int rc = 0;

	if (list->external)
		return 0;
	if (va != each->end) {
		if (each->begin != each->end)
			rc = each->fn(each->begin, (size_t)(each->end - each->begin), each->arg);
		each->begin = va;
	}
	each->end = va + segment->len;
	return rc;
}

int dma_each(int (*fn)(void *va, size_t len, void *arg), void *arg)
{
	struct each each = { .fn = fn, .arg = arg };
	int rc = rte_memseg_walk(each_segment, &each);

	if (rc || each.begin == each.end)
		return rc;
	return fn(each.begin, (size_t)(each.end - each.begin), arg);
}

void dma_stats(struct dma_stats *out)
{
	*out = (struct dma_stats){
		.total_bytes = eal.total_bytes,
		.used_bytes = eal.used_bytes,
		.peak_bytes = eal.peak_bytes,
		.huge = eal.huge,
		.iova_mode = dma_iova_is_va() ? "va" : "pa",
	};
}
