/* SPDX-License-Identifier: BSD-3-Clause */
/* Null disks: what boot needs of them. The rest is a bdev. */
#ifndef DRIVERS_NULL_NULL_H
#define DRIVERS_NULL_NULL_H

#include "core/cmd.h"

extern const struct cmd null_cmds[];

int null_init(void);
/* Deletes every null disk. */
void null_fini(void);

#endif
