/* SPDX-License-Identifier: BSD-3-Clause */
/* RAM disks: what boot needs of them. The rest is a bdev. */
#ifndef DRIVERS_RAM_RAM_H
#define DRIVERS_RAM_RAM_H

#include "core/cmd.h"

extern const struct cmd ram_cmds[];

int ram_init(void);
/* Deletes every RAM disk. */
void ram_fini(void);

#endif
