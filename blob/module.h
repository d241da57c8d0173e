/* SPDX-License-Identifier: BSD-3-Clause */
/* What the module table sees of stores and volumes. */
#ifndef BLOB_MODULE_H
#define BLOB_MODULE_H

#include "core/cmd.h"

/* Stores on disks that arrive are loaded from now on. */
int blob_init(void);
/* Unloads all stores: their metadata is clean afterwards. */
void blob_fini(void);
/* cmd_store.c, cmd_volume.c: one table. */
extern const struct cmd blob_cmds[];
/* Nothing to make again: stores are found on their disks. Thresholds. */
void blob_config(struct config_out *out);

#endif
