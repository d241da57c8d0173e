/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations: which hosts may read and write a disk. One engine for every protocol that knows
 * them: NVMe reservations (base 2.0c 8.19) and SCSI persistent reservations (SPC) are the same
 * thing with other names, and a disk that is served by both has one state.
 *
 * The state belongs to the disk, by its UUID: it holds on every target that serves the disk, and
 * when the disk goes and comes back. A host registers with a key; one registrant, or with the
 * all-registrants types each of them, may hold the reservation.
 *
 * Changes are made in tasks on reactor 0, one at a time (resv_run). The state is immutable: a
 * change makes a new one, publishes it in bdev->resv and waits for task_barrier. So the data path
 * pays one load and, while nobody holds a reservation, nothing more (resv_allows).
 *
 * A state with PTPL (persist through power loss) is durable before the change is acknowledged; the
 * place is provided by boot.
 */
#ifndef CORE_RESV_H
#define CORE_RESV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/base/util.h"
#include "core/base/uuid.h"
#include "core/bdev.h"

enum {
	RESV_REGISTRANTS_MAX = 256,     /* of a disk */
	RESV_SLOTS = 512,               /* of the hash table of registrants; a power of two */
	RESV_ID_BYTES = 238,            /* room for a SCSI transport ID with an iSCSI name */
};

/* NVMe's numbers. */
enum resv_type {
	RESV_NONE,
	RESV_WRITE_EXCLUSIVE,
	RESV_EXCLUSIVE_ACCESS,
	RESV_WRITE_EXCLUSIVE_REGISTRANTS,
	RESV_EXCLUSIVE_ACCESS_REGISTRANTS,
	RESV_WRITE_EXCLUSIVE_ALL,       /* every registrant is a holder */
	RESV_EXCLUSIVE_ACCESS_ALL,
	RESV_TYPE_COUNT,
};

/* What a command does to the disk; a command may do both. */
enum resv_access {
	RESV_READ = 1 << 0,
	RESV_WRITE = 1 << 1,
};

enum resv_host_kind {
	RESV_HOST_NVME = 1,             /* 16 bytes of host identifier */
	RESV_HOST_SCSI,                 /* transport ID, as in SPC */
};

/* Who somebody is, the same on every way to the disk. Made by resv_host_set. */
struct resv_host {
	uint64_t hash;
	uint8_t kind;                   /* enum resv_host_kind */
	uint8_t len;
	uint8_t id[RESV_ID_BYTES];
};

struct resv_registrant {
	struct resv_host host;
	uint64_t key;
};

/* Immutable. */
struct resv_state {
	struct uuid disk;
	uint32_t generation;            /* counts changes of registrations; wraps */
	uint8_t type;                   /* enum resv_type */
	/* what is open to everybody, and to registrants that are not holders */
	uint8_t everybody, registrants; /* enum resv_access */
	bool ptpl;
	uint16_t holder;                /* index; with an all-registrants type or none nothing */
	uint16_t count;
	uint16_t slot[RESV_SLOTS];      /* by hash, then upwards: index + 1, 0 ends */
	struct resv_registrant reg[];
};

void resv_host_set(struct resv_host *host, enum resv_host_kind kind, const void *id, size_t len);
bool resv_host_equal(const struct resv_host *a, const struct resv_host *b);

/* ---- the data path: any reactor ---- */

bool resv_state_allows(const struct resv_state *state, const struct resv_host *host,
		       unsigned access);

/* Whether HOST may do ACCESS (enum resv_access) just now: ask as late as possible. */
static inline bool resv_allows(const struct bdev *bdev, const struct resv_host *host,
			       unsigned access)
{
	const struct resv_state *state = __atomic_load_n(&bdev->resv, __ATOMIC_ACQUIRE);

	return likely(!state) || resv_state_allows(state, host, access);
}

/* ---- changes: in a task on reactor 0 ---- */

enum resv_verb {
	RESV_REGISTER,                  /* key new_key; again with the same key is fine */
	RESV_UNREGISTER,
	RESV_REPLACE,                   /* key by new_key; with ignore_key registers too */
	RESV_ACQUIRE,
	RESV_PREEMPT,                   /* the registrants with other_key */
	RESV_PREEMPT_ABORT,             /* and their commands; done when those have ended */
	RESV_RELEASE,
	RESV_CLEAR,
	RESV_EVICT,                     /* RESV_CLEAR by the operator: no host */
	RESV_PERSIST,                   /* sets ptpl only; needs no registration */
};

enum resv_ptpl { RESV_PTPL_KEEP, RESV_PTPL_CLEAR, RESV_PTPL_SET };

struct resv_request {
	struct uuid disk;
	const struct resv_host *host;
	enum resv_verb verb;
	bool ignore_key;                /* the host's current key need not be known */
	uint64_t key;                   /* the host's current one */
	uint64_t new_key, other_key;
	enum resv_type type;            /* acquire, preempt, release */
	enum resv_ptpl ptpl;            /* register, unregister, replace, persist */
};

/*
 * 0, -EBUSY: reservation conflict; -EINVAL: makes no sense; -ENOSPC: too many registrants;
 * -EOPNOTSUPP: PTPL, and no place to keep it; -ENOMEM; what keeping the state failed with, and then
 * nothing has changed.
 */
int resv_run(const struct resv_request *req);
/* The state of a disk, valid until the caller waits; NULL: never any. */
const struct resv_state *resv_find(const struct uuid *disk);
/* First or next of all disks that have a state. */
const struct resv_state *resv_next(const struct resv_state *prev);
/* The index of HOST among the registrants, -1: none. */
int resv_registrant(const struct resv_state *state, const struct resv_host *host);
bool resv_is_holder(const struct resv_state *state, int index);
/* Whether PTPL can be had. */
bool resv_ptpl_offered(void);

/* ---- for targets ---- */

enum resv_event {
	RESV_EVENT_NONE,
	RESV_REGISTRATION_PREEMPTED,
	RESV_RELEASED,
	RESV_PREEMPTED,                 /* the reservation: cleared by another host */
};

struct resv_watch {
	/* EVENT concerns HOST. On reactor 0; must not wait. */
	void (*event)(struct resv_watch *watch, const struct uuid *disk,
		      const struct resv_host *host, enum resv_event event);
	/*
	 * Aborts the reads and writes of these hosts on the disk, and returns when all have ended.
	 * In a task on reactor 0, after the change is in force.
	 */
	void (*abort)(struct resv_watch *watch, const struct uuid *disk,
		      const struct resv_host *const *hosts, unsigned count);
	struct list link;
};

void resv_watch_start(struct resv_watch *watch);
void resv_watch_stop(struct resv_watch *watch);

/* ---- for boot and bdev.c ---- */

/* Where states with PTPL are kept, as one text. In tasks on reactor 0. */
struct resv_store {
	/* *text is the caller's; NULL: nothing is kept. 0/-errno; -ENODEV: there is no place. */
	int (*load)(char **text);
	/* Durable when it returns 0. */
	int (*save)(const char *text);
};

/*
 * In a task, before any bdev is registered: brings the states back that STORE (NULL: no place)
 * keeps. 0, -EBADMSG and what load said; without what was kept the engine works all the same.
 */
int resv_init(const struct resv_store *store);
/* No bdev is registered any more. */
void resv_fini(void);
/* BDEV is being registered: its reservation, if there is one, is in force from the first io on. */
void resv_attach(struct bdev *bdev);

#endif
