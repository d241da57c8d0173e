/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that core itself has: from reactor to memory. NULL ends the list of tables. */
#ifndef CORE_CMD_CORE_H
#define CORE_CMD_CORE_H

#include "core/cmd.h"

extern const struct cmd *const cmd_core_tables[];

extern const struct cmd cmd_reactor_table[];    /* cmd_reactor.c */
extern const struct cmd cmd_log_table[];        /* cmd_log.c */
extern const struct cmd cmd_task_table[];       /* cmd_task.c */
extern const struct cmd cmd_top_table[];        /* cmd_top.c */
extern const struct cmd cmd_disk_table[];       /* cmd_disk.c */
extern const struct cmd cmd_resv_table[];       /* cmd_resv.c */
extern const struct cmd cmd_bench_table[];      /* cmd_bench.c */
extern const struct cmd cmd_stats_table[];      /* cmd_stats.c: stats, memory */

#endif
