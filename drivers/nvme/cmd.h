/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files with console commands show each other, grouped by file. */
#ifndef NVME_CMD_H
#define NVME_CMD_H

#include "core/cmd.h"
#include "drivers/nvme/nvme.h"

/* cmd.c */

/* The namespace that the argument "name" means; 0, or what cmd_fail returned. */
int nvme_cmd_disk(struct cmd_ctx *ctx, struct nvme_ns **ns);

/* format.c */

int nvme_cmd_format(struct cmd_ctx *ctx);

#endif
