/* SPDX-License-Identifier: BSD-3-Clause */
/* The vhost-user target as boot sees it. */
#ifndef VHOST_MODULE_H
#define VHOST_MODULE_H

#include "core/cmd.h"

int vh_init(void);
void vh_fini(void);
void vh_config(struct config_out *out);
extern const struct cmd vh_cmds[];

#endif
