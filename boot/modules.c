/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The modules, in order of life: each may use what stands above it, and goes before it. Options
 * leave lines out; nothing else in the tree knows which modules there are.
 */
#include "core/module.h"

#include "blob/module.h"
#include "boot/boot.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/cmd.h"
#include "core/rdma.h"
#include "drivers/null/null.h"
#include "drivers/nvme/nvme.h"
#include "drivers/port/port.h"
#include "drivers/ram/ram.h"
#include "drivers/remote/module.h"
#include "drivers/sock/sock.h"
#include "drivers/uring/uring.h"
#include "karst/autoconf.h"
#include "targets/nvmf/module.h"
#include "targets/vhost/module.h"

const struct module modules[] = {
	{ "buf", buf_init, buf_fini },
	{ "bdev", bdev_init, bdev_fini, NULL, disk_config },
#ifdef CONFIG_DRIVER_SOCK
	{ "sock", sock_init, sock_fini },
#endif
#ifdef CONFIG_RDMA
	{ "rdma", rnic_init, rnic_fini },
#endif
#ifdef CONFIG_DRIVER_PORT
	{ "port", port_init, port_fini, port_cmds, port_config },
#endif
#ifdef CONFIG_DRIVER_RAM
	{ "ram", ram_init, ram_fini, ram_cmds },
#endif
#ifdef CONFIG_DRIVER_NULL
	{ "null", null_init, null_fini, null_cmds },
#endif
#ifdef CONFIG_DRIVER_URING
	{ "uring", uring_init, uring_fini, uring_cmds },
#endif
#ifdef CONFIG_DRIVER_NVME
	{ "nvme", nvme_init, nvme_fini, nvme_cmds, nvme_config },
#endif
#ifdef CONFIG_DRIVER_REMOTE
	{ "remote", remote_init, remote_fini, remote_cmds, remote_config },
#endif
#if defined(CONFIG_DRIVER_REMOTE) && defined(CONFIG_RDMA)
	{ "remote-rdma", remote_rdma_init },
#endif
#ifdef CONFIG_BLOBSTORE
	{ "blob", blob_init, blob_fini, blob_cmds, blob_config },
#endif
#ifdef CONFIG_NVMF_TARGET
	{ "nvmf", nvmf_module_init, nvmf_module_fini, nvmf_cmds, nvmf_config },
#endif
#ifdef CONFIG_NVMF_TCP
	{ "nvmf-tcp", nvmf_tcp_init, nvmf_tcp_fini },
#endif
#if defined(CONFIG_NVMF_TARGET) && defined(CONFIG_RDMA)
	{ "nvmf-rdma", nvmf_rdma_init, nvmf_rdma_fini },
#endif
#ifdef CONFIG_VHOST
	{ "vhost", vh_init, vh_fini, vh_cmds, vh_config },
#endif
	{ "console", console_init, console_fini },
	{ 0 },
};
