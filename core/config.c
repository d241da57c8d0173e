/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The values of core/config.h, from Kconfig. Options of a part that is configured away do not exist
 * in autoconf.h; its code is compiled all the same and gets the smallest sensible value from the
 * table below. What depends on each other is checked at compile time.
 */
#include "core/config.h"

#include "core/base/util.h"
#include "core/buf.h"
#include "core/reactor.h"
#include "karst/autoconf.h"

#ifndef CONFIG_NVME_QUEUE_DEPTH
#define CONFIG_NVME_QUEUE_DEPTH 32
#define CONFIG_NVME_TIMEOUT_MS 10000
#endif
#ifndef CONFIG_REMOTE_QUEUE_DEPTH
#define CONFIG_REMOTE_QUEUE_DEPTH 32
#define CONFIG_REMOTE_TIMEOUT_MS 10000
#endif
#ifndef CONFIG_NVMF_QUEUES_MAX
#define CONFIG_NVMF_QUEUES_MAX 1
#define CONFIG_NVMF_QUEUE_DEPTH_MAX 32
#define CONFIG_NVMF_MDTS_BYTES 131072
#define CONFIG_NVMF_IN_CAPSULE_BYTES 4096
#define CONFIG_NVMF_SUBSYSTEMS_MAX 1
#define CONFIG_NVMF_NAMESPACES_MAX 1
#define CONFIG_NVMF_ANA_GROUPS_MAX 1
#define CONFIG_NVMF_READY_TIMEOUT_MS 15000
#define CONFIG_NVMF_CONTROLLERS_MAX 1
#define CONFIG_NVMF_CONNECTIONS_MAX 2
#define CONFIG_NVMF_CONNECT_TIMEOUT_MS 10000
#endif

const struct karst_config config = {
	.reactors_max = CONFIG_REACTORS_MAX,
	.idle_spin_us = CONFIG_IDLE_SPIN_US,
	.memory_mib = CONFIG_MEMORY_MIB,
	.buf_small_count = CONFIG_BUF_SMALL_COUNT,
	.buf_medium_count = CONFIG_BUF_MEDIUM_COUNT,
	.buf_large_count = CONFIG_BUF_LARGE_COUNT,
	.nvme_queue_depth = CONFIG_NVME_QUEUE_DEPTH,
	.nvme_timeout_ms = CONFIG_NVME_TIMEOUT_MS,
	.remote_queue_depth = CONFIG_REMOTE_QUEUE_DEPTH,
	.remote_timeout_ms = CONFIG_REMOTE_TIMEOUT_MS,
	.nvmf_queues_max = CONFIG_NVMF_QUEUES_MAX,
	.nvmf_queue_depth_max = CONFIG_NVMF_QUEUE_DEPTH_MAX,
	.nvmf_mdts_bytes = CONFIG_NVMF_MDTS_BYTES,
	.nvmf_in_capsule_bytes = CONFIG_NVMF_IN_CAPSULE_BYTES,
	.nvmf_subsystems_max = CONFIG_NVMF_SUBSYSTEMS_MAX,
	.nvmf_namespaces_max = CONFIG_NVMF_NAMESPACES_MAX,
	.nvmf_ana_groups_max = CONFIG_NVMF_ANA_GROUPS_MAX,
	.nvmf_ready_timeout_ms = CONFIG_NVMF_READY_TIMEOUT_MS,
	.nvmf_controllers_max = CONFIG_NVMF_CONTROLLERS_MAX,
	.nvmf_connections_max = CONFIG_NVMF_CONNECTIONS_MAX,
	.nvmf_connect_timeout_ms = CONFIG_NVMF_CONNECT_TIMEOUT_MS,
	.nvmf_balance_ms = CONFIG_NVMF_BALANCE_MS,
	.console_baud = CONFIG_CONSOLE_BAUD,
};

struct karst_run karst_run;

#define BUF_TOTAL_BYTES (CONFIG_BUF_SMALL_COUNT * 4096ull + CONFIG_BUF_MEDIUM_COUNT * 16384ull + \
			 CONFIG_BUF_LARGE_COUNT * 131072ull)

_Static_assert(CONFIG_REACTORS_MAX <= REACTOR_MAX,
	       "REACTORS_MAX: more than a bdev has channels for (REACTOR_MAX)");
_Static_assert(BUF_TOTAL_BYTES < CONFIG_MEMORY_MIB * 1048576ull,
	       "MEMORY_MIB: the buffers (BUF_*_COUNT) need more, and queues some besides");
_Static_assert(IS_POWER_OF_2(CONFIG_NVMF_MDTS_BYTES),
	       "NVMF_MDTS_BYTES: MDTS is a power of two on the wire");
_Static_assert(CONFIG_NVMF_MDTS_BYTES <= BUF_REQUEST_MAX,
	       "NVMF_MDTS_BYTES: more than one request can get buffers for (BUF_REQUEST_MAX)");
_Static_assert(CONFIG_NVMF_MDTS_BYTES <= CONFIG_BUF_LARGE_COUNT * 131072ull,
	       "NVMF_MDTS_BYTES: one transfer must fit into the large buffers");
_Static_assert(CONFIG_NVMF_IN_CAPSULE_BYTES <= CONFIG_NVMF_MDTS_BYTES,
	       "NVMF_IN_CAPSULE_BYTES: more than a command may transfer (NVMF_MDTS_BYTES)");
_Static_assert(CONFIG_NVMF_IN_CAPSULE_BYTES % 16 == 0,
	       "NVMF_IN_CAPSULE_BYTES: IOCCSZ counts in 16 bytes");
_Static_assert(CONFIG_NVMF_CONNECTIONS_MAX >= CONFIG_NVMF_CONTROLLERS_MAX,
	       "NVMF_CONNECTIONS_MAX: every controller has an admin connection");
