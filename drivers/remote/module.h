/* SPDX-License-Identifier: BSD-3-Clause */
/* The module: what boot/modules.c needs of drivers/remote. */
#ifndef REMOTE_MODULE_H
#define REMOTE_MODULE_H

#include "core/cmd.h"

int remote_init(void);
void remote_fini(void);
/* Offers RDMA, where it is built in. */
int remote_rdma_init(void);
void remote_config(struct config_out *out);
extern const struct cmd remote_cmds[];

#endif
