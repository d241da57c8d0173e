/* SPDX-License-Identifier: BSD-3-Clause */
/* The NVMe over Fabrics target as a module of the appliance (boot/modules.c). */
#ifndef NVMF_MODULE_H
#define NVMF_MODULE_H

#include "core/cmd.h"

int nvmf_module_init(void);
void nvmf_module_fini(void);
/* subsystem, namespace, listener, host, session */
extern const struct cmd nvmf_cmds[];
void nvmf_config(struct config_out *out);

/* Its TCP transport, a module of its own, after the target. */
int nvmf_tcp_init(void);
void nvmf_tcp_fini(void);

/* And its RDMA transport. */
int nvmf_rdma_init(void);
void nvmf_rdma_fini(void);

#endif
