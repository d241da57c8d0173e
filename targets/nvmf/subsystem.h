/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subsystems and what they hold: namespaces and hosts. Reactor 0 owns all of it; the table of
 * namespaces is an immutable snapshot that every reactor reads.
 */
#ifndef NVMF_SUBSYSTEM_H
#define NVMF_SUBSYSTEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/base/uuid.h"
#include "core/bdev.h"
#include "core/spec/nvmf.h"
#include "core/task.h"

enum {
	NVMF_NQN_BYTES = NVME_NQN_TEXT_MAX + 1,
	NVMF_MODEL_BYTES = 41,
	NVMF_SERIAL_BYTES = 21,
};

struct nvmf_subsystem;

struct nvmf_ns {
	struct nvmf_subsystem *subsys;
	uint32_t nsid;
	uint8_t lba_shift;
	bool removing;
	uint32_t blocks_max;            /* of one command: MDTS */
	struct bdev *bdev;
	struct bdev_user user;
	struct uuid uuid;
	uint8_t nguid[16], eui64[8];
	bool uuid_given, nguid_given;   /* by the operator: config writes them back */
};

/*
 * Immutable: a change makes a new one, publishes it, waits for task_barrier and frees the old.
 * Readers take subsys->table once per request.
 */
struct nvmf_ns_table {
	uint32_t nn;                    /* highest NSID */
	struct nvmf_ns *ns[];           /* by NSID - 1; NULL: none */
};

struct nvmf_host {
	struct list link;
	char nqn[NVMF_NQN_BYTES];
};

/* A namespace of the configuration whose disk is not there yet: namespace_wait.c. */
struct nvmf_absent {
	struct list link;               /* subsys->absent */
	uint32_t nsid;
	char disk[BDEV_NAME_BYTES + sizeof("serial:")];
	bool due, uuid_given, nguid_given;      /* due: its disk may be there now */
	struct uuid uuid, nguid;
};

struct nvmf_subsystem {
	struct list link;
	char nqn[NVMF_NQN_BYTES];
	char serial[NVMF_SERIAL_BYTES], model[NVMF_MODEL_BYTES];
	bool serial_given, model_given;
	bool discovery;
	bool allow_any;
	bool deleting;
	_Atomic(struct nvmf_ns_table *) table;
	struct list hosts, listeners, ctrls;
	struct list absent;             /* struct nvmf_absent, changed under the lock */
	unsigned ctrl_count;
	uint16_t cntlid_next;
	struct task_lock lock;          /* changes of the table, one at a time */
	struct event ctrl_gone;
};

/* ---- functions, by file ---- */

/* subsystem.c */
struct nvmf_subsystem *nvmf_subsystem_find(const char *nqn);
/* -EEXIST, -EINVAL (NQN), -ENOSPC, -ENOMEM. */
int nvmf_subsystem_create(const char *nqn, bool discovery, struct nvmf_subsystem **subsys);
/* In a task. -EBUSY when hosts are connected and not FORCE. */
int nvmf_subsystem_delete(struct nvmf_subsystem *subsys, bool force);
bool nvmf_nqn_valid(const char *nqn);

/* namespace.c */
/* In a task. NSID 0: the lowest free. -EEXIST, -ENOSPC, -EINVAL, and what bdev_open says. */
int nvmf_ns_add(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		const struct uuid *uuid, const uint8_t *nguid);
bool nvmf_ns_taken(struct nvmf_subsystem *subsys, uint32_t nsid);
/* nvmf_ns_add under the subsystem's lock. */
int nvmf_ns_add_locked(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		       const struct uuid *uuid, const uint8_t *nguid);
/* In a task: waits for what is in flight. One that waits for its disk goes too. -ENOENT. */
int nvmf_ns_remove(struct nvmf_subsystem *subsys, uint32_t nsid);

static inline struct nvmf_ns_table *nvmf_ns_table(struct nvmf_subsystem *subsys)
{
	return atomic_load_explicit(&subsys->table, memory_order_acquire);
}

/* NULL: not active. */
static inline struct nvmf_ns *nvmf_ns_find(struct nvmf_subsystem *subsys, uint32_t nsid)
{
	struct nvmf_ns_table *table = nvmf_ns_table(subsys);

	return nsid - 1 < table->nn ? table->ns[nsid - 1] : NULL;
}

/* namespace_wait.c */
void nvmf_absent_init(void);
void nvmf_absent_fini(void);
/* In a task: NSID is added as soon as there is DISK. Codes as of nvmf_ns_add. */
int nvmf_absent_add(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		    const struct uuid *uuid, const struct uuid *nguid);
struct nvmf_absent *nvmf_absent_find(struct nvmf_subsystem *subsys, uint32_t nsid);
void nvmf_absent_drop(struct nvmf_absent *absent);

/* host.c */
bool nvmf_host_allowed(const struct nvmf_subsystem *subsys, const char *nqn);
/* -EEXIST, -EINVAL, -ENOMEM. */
int nvmf_host_allow(struct nvmf_subsystem *subsys, const char *nqn);
/* Disconnects the host. -ENOENT. */
int nvmf_host_deny(struct nvmf_subsystem *subsys, const char *nqn);

#endif
