/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that are to end before their time, and commands that run on reactor 0. */
#ifndef NVMF_ABORT_H
#define NVMF_ABORT_H

#include <stdint.h>

#include "core/base/uuid.h"
#include "core/resv.h"
#include "targets/nvmf/req.h"

enum { NVMF_ABORT_MAX = 4 };            /* Abort commands of a controller at once: ACL */

/* abort.c */

/* The Abort command. */
void nvmf_abort_exec(struct nvmf_req *req);
/* On the queue's reactor, when its connection ends: what is at a disk is aborted there. */
void nvmf_abort_queue(struct nvmf_queue *queue);
/* In a task on reactor 0: aborts what these hosts have at the disk; returns when all has ended. */
void nvmf_abort_hosts(const struct uuid *disk, const struct resv_host *const *hosts,
		      unsigned count);
/*
 * As req->exec: the command ends with req->status when its data is there. Of a command at a disk it
 * is the mark that it is being aborted: one that has several steps does not begin another.
 */
void nvmf_aborted_exec(struct nvmf_req *req);
/* Once per process. -ENOMEM. */
int nvmf_abort_init(void);
void nvmf_abort_fini(void);

/* call.c */

/*
 * From exec: FN runs in a task on reactor 0, and what it returns is the command's status. Its data
 * may be filled there.
 */
void nvmf_req_call(struct nvmf_req *req, uint16_t (*fn)(struct nvmf_req *req));
/* As req->exec: the mark of such a command. */
void nvmf_req_called(struct nvmf_req *req);

#endif
