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

/* What the operator says of a namespace; config writes it back. */
struct nvmf_ns_spec {
	bool uuid_given, nguid_given;
	bool private;                   /* only for the hosts that it is granted to */
	uint16_t ana_group;             /* 0: the first */
	struct uuid uuid;
	uint8_t nguid[16];
};

struct nvmf_ns {
	struct nvmf_subsystem *subsys;
	uint32_t nsid;
	uint8_t lba_shift;
	uint16_t ana_group;
	uint32_t blocks_max;            /* of one command: MDTS */
	struct bdev *bdev;
	struct bdev_user user;
	struct uuid uuid;
	uint8_t nguid[16], eui64[8];
	struct nvmf_ns_spec spec;
	struct list grants;             /* struct nvmf_host, changed under the lock */
};

/*
 * All namespaces of a subsystem, on reactor 0. What a controller's host may use of them is the
 * controller's view (view.h), which is what the data path reads.
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
	bool due;                       /* its disk may be there now */
	struct nvmf_ns_spec spec;
	struct list grants;
};

/* A group of namespaces whose paths change together: ana.c. */
struct nvmf_ana_group {
	bool exists;
	uint8_t state;                  /* enum nvme_ana_state; a listener may have its own */
	uint64_t change;                /* subsys->ana_change when it last did */
};

struct nvmf_subsystem {
	struct list link;
	char nqn[NVMF_NQN_BYTES];
	char serial[NVMF_SERIAL_BYTES], model[NVMF_MODEL_BYTES];
	bool serial_given, model_given;
	bool discovery;
	bool allow_any;
	bool deleting;
	struct nvmf_ns_table *table;
	struct list hosts, listeners, ctrls;
	struct list absent;             /* struct nvmf_absent, changed under the lock */
	unsigned ctrl_count;
	uint16_t cntlid_min, cntlid_max, cntlid_next;
	struct nvmf_ana_group *ana;     /* config.nvmf_ana_groups_max, by identifier - 1 */
	uint64_t ana_change;
	struct task_lock lock;          /* changes of the table and of views, one at a time */
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
/*
 * In a task. NSID 0: the lowest free; SPEC NULL: nothing said. -EEXIST, -ENOSPC, -EINVAL (no such
 * ANA group), and what bdev_open says.
 */
int nvmf_ns_add(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		const struct nvmf_ns_spec *spec);
bool nvmf_ns_taken(struct nvmf_subsystem *subsys, uint32_t nsid);
/* nvmf_ns_add under the subsystem's lock; takes all of GRANTS (NULL: none) when it succeeds. */
int nvmf_ns_add_locked(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		       const struct nvmf_ns_spec *spec, struct list *grants);
/* In a task: waits for what is in flight. One that waits for its disk goes too. -ENOENT. */
int nvmf_ns_remove(struct nvmf_subsystem *subsys, uint32_t nsid);

/* On reactor 0. */
static inline struct nvmf_ns_table *nvmf_ns_table(const struct nvmf_subsystem *subsys)
{
	return subsys->table;
}

/* On reactor 0. NULL: there is none. */
static inline struct nvmf_ns *nvmf_ns_find(const struct nvmf_subsystem *subsys, uint32_t nsid)
{
	struct nvmf_ns_table *table = nvmf_ns_table(subsys);

	return nsid - 1 < table->nn ? table->ns[nsid - 1] : NULL;
}

/* namespace_wait.c */
void nvmf_absent_init(void);
void nvmf_absent_fini(void);
/* In a task: NSID is added as soon as there is DISK. Codes as of nvmf_ns_add. */
int nvmf_absent_add(struct nvmf_subsystem *subsys, const char *disk, uint32_t *nsid,
		    const struct nvmf_ns_spec *spec);
struct nvmf_absent *nvmf_absent_find(struct nvmf_subsystem *subsys, uint32_t nsid);
void nvmf_absent_drop(struct nvmf_absent *absent);

/* host.c */
bool nvmf_host_allowed(const struct nvmf_subsystem *subsys, const char *nqn);
/* NQN NULL: any host. -EEXIST, -EINVAL, -ENOMEM. */
int nvmf_host_allow(struct nvmf_subsystem *subsys, const char *nqn);
/* Disconnects who may not any more. NQN NULL: any host that is not allowed by name. -ENOENT. */
int nvmf_host_deny(struct nvmf_subsystem *subsys, const char *nqn);
/* Whether the host may see the namespace. */
bool nvmf_host_sees(const struct nvmf_ns *ns, const char *nqn);
/*
 * In a task: a private namespace becomes visible to a host. -ENOENT (no such namespace), -EPERM
 * (it is not private), -EEXIST, -EINVAL, -ENOMEM.
 */
int nvmf_ns_grant(struct nvmf_subsystem *subsys, uint32_t nsid, const char *nqn);
/* In a task: no request of the host refers to it when it returns. The same, but -ESRCH: was not. */
int nvmf_ns_revoke(struct nvmf_subsystem *subsys, uint32_t nsid, const char *nqn);
/* The grants of a namespace that is there or waits for its disk; NULL: there is none. */
struct list *nvmf_ns_grants(struct nvmf_subsystem *subsys, uint32_t nsid, bool *is_private);
void nvmf_grants_free(struct list *grants);

#endif
