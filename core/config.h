/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every limit and tunable as data: defaults from Kconfig (core/config.c is the only reader of
 * CONFIG_ numbers), asserted against each other at compile time.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

struct karst_config {
	uint32_t reactors_max;          /* 0: one per CPU */
	uint32_t idle_spin_us;          /* work-free time before a reactor sleeps */
	uint32_t memory_mib;            /* DMA memory reserved at start */
	uint32_t buf_small_count;       /* 4 KiB buffers, all reactors together */
	uint32_t buf_medium_count;      /* 16 KiB */
	uint32_t buf_large_count;       /* 128 KiB */
	uint32_t nvme_queue_depth;      /* entries of each I/O queue of a drive */
	uint32_t nvme_timeout_ms;       /* I/O timeout before Abort */
	uint32_t remote_queue_depth;    /* entries of each I/O queue of a remote controller */
	uint32_t remote_timeout_ms;     /* I/O timeout before the connection is reset */
	uint32_t nvmf_queues_max;       /* I/O queues per controller */
	uint32_t nvmf_queue_depth_max;  /* entries per I/O queue */
	uint32_t nvmf_mdts_bytes;       /* largest transfer */
	uint32_t nvmf_in_capsule_bytes; /* I/O command capsule data */
	uint32_t nvmf_subsystems_max, nvmf_namespaces_max;
	uint32_t nvmf_ana_groups_max;   /* of a subsystem */
	uint32_t nvmf_ready_timeout_ms; /* CAP.TO: CSTS.RDY follows CC.EN within this */
	uint32_t nvmf_controllers_max, nvmf_connections_max;
	/* from accept to Connect done; also a PDU once begun */
	uint32_t nvmf_connect_timeout_ms;
	uint32_t nvmf_balance_ms;       /* how often loads are compared; 0: never */
	uint32_t console_baud;
};

extern const struct karst_config config;

/* How this process runs: filled by boot/main.c from the command line, constant after that. */
struct karst_run {
	bool appliance;                 /* started by init on a flashed machine; otherwise hosted */
	bool rescue;                    /* console only, nothing attached */
	const char *state_path;         /* hosted: where `config save` writes; NULL: nowhere */
	const char *socket_path;        /* console socket; NULL: none */
	const char *script_path;        /* -f */
	const char *version;            /* of the build; NULL: unknown */
};

extern struct karst_run karst_run;

#endif
