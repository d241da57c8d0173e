/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Controllers (associations of a host with a subsystem) and the events that they are told. All
 * of it belongs to reactor 0.
 */
#ifndef NVMF_CTRL_H
#define NVMF_CTRL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/reactor.h"
#include "core/resv.h"
#include "core/spec/nvme_log.h"
#include "core/spec/nvme_resv.h"
#include "targets/nvmf/req.h"
#include "targets/nvmf/subsystem.h"
#include "targets/nvmf/view.h"

enum {
	NVMF_ANATT_S = 10,              /* longest time in ANA state change */
	NVMF_AER_MAX = 4,               /* outstanding asynchronous event requests */
	NVMF_ERROR_LOG_MAX = 64,        /* entries */
	NVMF_RESV_NOTES_MAX = 255,
	NVMF_KAS_MS = 100,              /* granularity of the keep alive timer */
	NVMF_DISCOVERY_IDLE_MS = 120000,        /* of a discovery controller without KATO */
};

enum nvmf_event {
	NVMF_EVENT_NS_CHANGED,
	NVMF_EVENT_ANA,
	NVMF_EVENT_SPARE,
	NVMF_EVENT_TEMPERATURE,
	NVMF_EVENT_RELIABILITY,
	NVMF_EVENT_DISCOVERY,
	NVMF_EVENT_RESERVATION,
	NVMF_EVENT_COUNT,
};

/* A reservation notification that the host has not read. */
struct nvmf_resv_note {
	uint64_t count;
	uint32_t nsid;
	uint8_t type;                   /* enum nvme_resv_note */
};

struct nvmf_resv_log {
	uint64_t count;                 /* that there ever were */
	unsigned first, used;           /* ring */
	struct nvmf_resv_note notes[NVMF_RESV_NOTES_MAX];
};

struct nvmf_ctrl {
	struct nvmf_subsystem *subsys;
	struct list link;               /* subsys->ctrls */
	uint32_t session;               /* number shown to operators, never used twice */
	uint16_t cntlid;
	uint16_t portid;                /* where its queues come in: one port for all */
	_Atomic(struct nvmf_view *) view;       /* never NULL */
	atomic_bool write_through;      /* the host has turned the volatile cache off */
	struct nvmf_view *view_next;    /* view.c */
	char hostnqn[NVMF_NQN_BYTES];
	uint8_t hostid[16];
	struct resv_host resv_host;     /* who that is to reservations; constant */
	struct nvmf_queue *admin;       /* NULL once its connection is gone */
	struct list queues;             /* I/O queues */
	unsigned queue_count;           /* I/O queues */
	uint32_t cc, csts;
	bool dying;                     /* the association ends: see ctrl.c */
	bool queues_set;                /* Number of Queues was set: not again after I/O Connect */
	unsigned queues_granted;
	uint32_t kato_ms;
	struct timer kato_timer;
	uint64_t traffic, traffic_us;   /* commands seen, and when that changed */
	uint64_t connected_us;

	struct nvmf_req *aer[NVMF_AER_MAX];
	unsigned aer_count;
	uint32_t aec;                   /* Asynchronous Event Configuration */
	uint32_t events_pending;        /* bits of enum nvmf_event: to be sent */
	uint32_t events_masked;         /* sent, and its log page not read since */
	uint32_t discovery_digest;      /* of the discovery log that its host sees */

	uint32_t arbitration, atomicity;
	uint16_t error_recovery;        /* of all, unless there are */
	uint16_t *error_recovery_ns;    /* each namespace's own, by NSID - 1 */
	uint32_t temperature[2];        /* thresholds, kelvin: over, under */
	uint8_t smart_told;             /* warnings that are known to the host */
	uint8_t host_behavior[512];
	unsigned abort_count;           /* Abort commands under way */
	struct nvmf_resv_log resv_log;
	uint8_t *resv_mask;             /* by NSID - 1: what is not wanted; NULL: all is */
	uint64_t error_count;
	struct nvme_log_error errors[NVMF_ERROR_LOG_MAX];       /* ring by error_count */
	uint32_t changed_count;         /* over 1024: all */
	uint32_t changed[1024];         /* ascending NSIDs */
};

static inline const struct nvmf_view *nvmf_view(const struct nvmf_ctrl *ctrl)
{
	return atomic_load_explicit(&ctrl->view, memory_order_acquire);
}

/*
 * The namespace of an I/O command, on the queue's reactor: 0, or the status that the command ends
 * with. The controller outlives its queues.
 */
static inline uint16_t nvmf_view_get(const struct nvmf_queue *queue, uint32_t nsid,
				     struct nvmf_ns **ns)
{
	const struct nvmf_view *view = nvmf_view(queue->ctrl);

	*ns = nsid - 1 < view->nn ? view->slots[nsid - 1].ns : NULL;
	return *ns ? view->slots[nsid - 1].status : NVME_SC_INVALID_NS;
}

/* What writes of the queue's host are beside what they say: enum io_flag. */
static inline unsigned nvmf_write_flags(const struct nvmf_queue *queue)
{
	return atomic_load_explicit(&queue->ctrl->write_through, memory_order_relaxed) ? IO_FUA : 0;
}

/* ---- functions, by file ---- */

/* ctrl.c */
/* The association of an admin queue; NULL when there is no room. */
struct nvmf_ctrl *nvmf_ctrl_create(struct nvmf_subsystem *subsys, struct nvmf_queue *admin,
				   const char *hostnqn, const uint8_t hostid[16], uint32_t kato_ms);
struct nvmf_ctrl *nvmf_ctrl_find(struct nvmf_subsystem *subsys, uint16_t cntlid);
struct nvmf_ctrl *nvmf_ctrl_next(const struct nvmf_ctrl *prev);
void nvmf_ctrl_queue_add(struct nvmf_ctrl *ctrl, struct nvmf_queue *queue);
/* A queue's connection is over; frees the controller after its last one. */
void nvmf_ctrl_queue_gone(struct nvmf_ctrl *ctrl, struct nvmf_queue *queue);
/* Ends the association: closes every connection. */
void nvmf_ctrl_kill(struct nvmf_ctrl *ctrl, const char *why);
void nvmf_ctrl_cc_set(struct nvmf_ctrl *ctrl, uint32_t cc);
uint64_t nvmf_ctrl_cap(const struct nvmf_ctrl *ctrl);
void nvmf_ctrl_kato_set(struct nvmf_ctrl *ctrl, uint32_t kato_ms);

/* event.c */
/* Holds an Asynchronous Event Request, or ends it. */
void nvmf_event_request(struct nvmf_ctrl *ctrl, struct nvmf_req *req);
void nvmf_event_raise(struct nvmf_ctrl *ctrl, enum nvmf_event event);
/* The log page of EVENT was read without Retain Asynchronous Event. */
void nvmf_event_read(struct nvmf_ctrl *ctrl, enum nvmf_event event);
/* The events that a controller of SUBSYS can be told of, as bits of AEC and OAES. */
uint32_t nvmf_event_supported(const struct nvmf_subsystem *subsys);
/* Which events are wanted has changed. */
void nvmf_event_configure(struct nvmf_ctrl *ctrl, uint32_t aec);
/* Gives all held requests back with STATUS. */
void nvmf_event_drop(struct nvmf_ctrl *ctrl, uint16_t status);
/* Abort: whether the request with CID was held; it is then given back. */
bool nvmf_event_abort(struct nvmf_ctrl *ctrl, uint16_t cid);
/* Those who see the namespace are told that it has changed. */
void nvmf_event_ns_changed(struct nvmf_subsystem *subsys, uint32_t nsid);
/* Those who see the namespace are told that the space behind it runs out. */
void nvmf_event_space_low(struct nvmf_subsystem *subsys, uint32_t nsid);
/* One controller is told; all are noted first, then raised. */
void nvmf_event_ns_note(struct nvmf_ctrl *ctrl, uint32_t nsid);

/* resv_log.c */
void nvmf_resv_init(void);
void nvmf_resv_fini(void);
/* The oldest notification; it is forgotten unless RETAIN. */
void nvmf_resv_log_read(struct nvmf_ctrl *ctrl, bool retain, struct nvme_log_resv *page);
void nvmf_resv_log_reset(struct nvmf_ctrl *ctrl);
/* Features 82h and 83h. */
uint16_t nvmf_resv_mask_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl);
uint16_t nvmf_resv_mask_set(struct nvmf_req *req, struct nvmf_ctrl *ctrl, uint32_t cdw11);
uint16_t nvmf_resv_persist_get(struct nvmf_req *req, struct nvmf_ctrl *ctrl);
void nvmf_resv_persist_exec(struct nvmf_req *req);

#endif
