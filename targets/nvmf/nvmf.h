/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe over Fabrics target: everything between the transports (tcp*.c) and the block devices.
 *
 * Who owns what. Reactor 0 owns the configuration (subsystems, namespaces, hosts, ports) and the
 * associations (controllers, admin queues, the list of a controller's queues). A connection is born
 * on reactor 0, runs its Connect there, and an I/O queue then moves once to the reactor that serves
 * it; admin queues stay. So all of Connect, the admin commands and the console run on one thread,
 * and an I/O queue's requests touch nothing but their own reactor and one immutable snapshot, the
 * subsystem's namespace table.
 *
 * A request goes through three verbs: the transport decodes a capsule and calls nvmf_req_start; it
 * moves the data that start asked for; nvmf_req_exec runs the command; nvmf_req_done gives the
 * answer to the transport's respond.
 */
#ifndef NVMF_NVMF_H
#define NVMF_NVMF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/base/list.h"
#include "core/base/uuid.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/io.h"
#include "core/reactor.h"
#include "core/spec/nvme.h"
#include "core/spec/nvme_identify.h"
#include "core/spec/nvme_log.h"
#include "core/spec/nvmf.h"
#include "core/stream.h"
#include "core/task.h"

enum {
	NVMF_AER_MAX = 4,               /* outstanding asynchronous event requests */
	NVMF_ERROR_LOG_MAX = 64,        /* entries */
	NVMF_KAS_MS = 100,              /* granularity of the keep alive timer */
	NVMF_DISCOVERY_IDLE_MS = 120000,        /* of a discovery controller without KATO */
	NVMF_NQN_BYTES = NVME_NQN_TEXT_MAX + 1,
	NVMF_MODEL_BYTES = 41,
	NVMF_SERIAL_BYTES = 21,
	NVMF_WHY_BYTES = 96,
};

struct cmd_ctx;
struct config_out;
struct nvmf_req;
struct nvmf_queue;
struct nvmf_ctrl;
struct nvmf_subsystem;
struct nvmf_port;

/* ---- commands ---- */

enum nvmf_dir {
	NVMF_DIR_NONE,
	NVMF_DIR_H2C,                   /* host to controller */
	NVMF_DIR_C2H,
};

enum nvmf_cmd_flag {
	NVMF_CMD_READY = 1 << 0,        /* only while CSTS.RDY */
};

/*
 * One command of a command set; a set is an array indexed by opcode, from which dispatch, Identify
 * and the Commands Supported and Effects log page are all made. No exec: not supported.
 */
struct nvmf_cmd {
	const char *name;
	enum nvmf_dir dir;
	unsigned flags;
	uint32_t effects;               /* enum nvme_effects, besides CSUPP */
	/*
	 * Checks the fields and sets req->data_len (and what exec needs). Returns an NVMe status.
	 * May replace req->exec and req->dir. NULL: nothing to check, no data.
	 */
	uint16_t (*parse)(struct nvmf_req *req);
	/* Ends in nvmf_req_done, at once or later on the same reactor. */
	void (*exec)(struct nvmf_req *req);
};

/* ---- requests ---- */

enum nvmf_req_state {
	NVMF_REQ_FREE,
	NVMF_REQ_STARTED,               /* the transport gets memory and moves data */
	NVMF_REQ_EXEC,
	NVMF_REQ_DONE,                  /* the transport sends the answer */
};

/* Embedded by the transport's request. */
struct nvmf_req {
	struct io io;
	struct nvmf_queue *queue;
	/* of an I/O command; NULL once the namespace was taken away before exec */
	struct nvmf_ns *ns;
	void (*exec)(struct nvmf_req *req);
	uint8_t state;                  /* enum nvmf_req_state */
	uint8_t dir;                    /* enum nvmf_dir */
	uint16_t iov_count;
	uint16_t range;                 /* DSM: next range */
	uint16_t status;                /* SCT, SC, DNR: enum nvme_status */
	uint16_t sgl_status;            /* what the transport thinks of the SGL */
	uint32_t sgl_len;               /* bytes that the SGL describes */
	uint32_t data_len;              /* bytes to move */
	uint32_t dw0, dw1;              /* of the completion */
	struct nvme_sqe sqe;
	struct iovec iov[BUF_IOV_MAX];
};

/* ---- queues ---- */

struct nvmf_queue_ops {
	const char *name;
	uint8_t trtype;                 /* enum nvmf_trtype */
	/* Sends req's answer; takes the request back. On the queue's reactor. */
	void (*respond)(struct nvmf_req *req);
	/*
	 * The queue was connected: makes room for DEPTH requests. In the middle of the Connect
	 * request. 0 or -ENOMEM.
	 */
	int (*connected)(struct nvmf_queue *queue, unsigned depth);
	/* On reactor 0, after Connect: the connection goes on living on REACTOR. */
	void (*move)(struct nvmf_queue *queue, unsigned reactor);
	/*
	 * From reactor 0: ends the connection, wherever it lives. nvmf_queue_gone() follows, later,
	 * when nothing of it is in flight. May be called again.
	 */
	void (*close)(struct nvmf_queue *queue, const char *why);
	/* On the queue's reactor: no new request; close when the answers are sent. */
	void (*drain)(struct nvmf_queue *queue, const char *why);
	/* On the queue's reactor: calls FN for each request that is not free. */
	void (*each)(struct nvmf_queue *queue, void (*fn)(struct nvmf_req *req, void *arg),
		     void *arg);
};

/* Embedded by the transport's connection. */
struct nvmf_queue {
	/* the queue's reactor's */
	const struct nvmf_queue_ops *ops;
	const struct nvmf_cmd *cmds;    /* 256 entries */
	struct nvmf_subsystem *subsys;  /* NULL before Connect */
	uint16_t qid;
	uint16_t sqsize;                /* 0-based, as in Connect */
	uint16_t sqhd;
	bool sq_flow;                   /* SQ flow control is on */
	uint32_t executing;
	uint64_t commands, errors;      /* since the start; other reactors look at them */
	struct list local;              /* queues of this reactor */
	/* an error on its way to the controller's log, see ctrl_error.c */
	struct msg error_msg;
	atomic_bool error_busy;
	struct nvme_log_error error;

	/* reactor 0's */
	struct nvmf_ctrl *ctrl;         /* NULL before Connect */
	struct nvmf_port *port;         /* where it came in */
	struct net_addr local_addr, peer_addr;
	unsigned reactor;
	bool closing;
	struct list link;               /* ctrl->queues */
};

/* ---- controllers: reactor 0 ---- */

enum nvmf_event {
	NVMF_EVENT_NS_CHANGED,
	NVMF_EVENT_DISCOVERY,
	NVMF_EVENT_COUNT,
};

struct nvmf_ctrl {
	struct nvmf_subsystem *subsys;
	struct list link;               /* subsys->ctrls */
	uint32_t session;               /* number shown to operators, never used twice */
	uint16_t cntlid;
	char hostnqn[NVMF_NQN_BYTES];
	uint8_t hostid[16];
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

	uint32_t arbitration, error_recovery, atomicity;
	uint32_t temperature[2];        /* thresholds, kelvin: over, under */
	uint8_t host_behavior[512];
	uint64_t error_count;
	struct nvme_log_error errors[NVMF_ERROR_LOG_MAX];       /* ring by error_count */
	uint32_t changed_count;         /* over 1024: all */
	uint32_t changed[1024];         /* ascending NSIDs */
};

/* ---- subsystems and what they hold: reactor 0, but for the namespace table ---- */

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

/* A transport, as the target sees it: registered by its module. Functions on reactor 0. */
struct nvmf_transport {
	const char *name;
	uint8_t trtype;
	/* On port->listener.addr. 0 or -errno. */
	int (*listen)(struct nvmf_port *port);
	void (*unlisten)(struct nvmf_port *port);
	/* The port goes away; connections that came in there go on without. */
	void (*forget)(struct nvmf_port *port);
	struct list link;
};

/* A listening address, shared by all subsystems that are offered on it. */
enum nvmf_port_state { NVMF_PORT_STOPPED, NVMF_PORT_LISTENING, NVMF_PORT_RETRYING };

struct nvmf_port {
	struct list link;
	uint16_t portid;
	struct nvmf_transport *transport;
	unsigned users;                 /* nvmf_listeners */
	enum nvmf_port_state state;
	int error;                      /* of the last attempt */
	uint64_t retry_us;              /* back-off */
	struct timer retry;
	struct stream_listener listener;
};

struct nvmf_listener {
	struct list link;               /* subsys->listeners */
	struct nvmf_port *port;
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

/* The whole target. */
struct nvmf_target {
	struct list subsystems;
	struct nvmf_subsystem *discovery;
	struct list transports, ports;
	uint16_t portid_next;
	uint32_t session_next;
	unsigned ctrl_count, conn_count;
	uint64_t genctr;                /* of the discovery log */
	unsigned reactor_queues[REACTOR_MAX];   /* I/O queues placed on each */
	struct event conn_gone;
};

extern struct nvmf_target nvmf_target;

/* ---- functions, by file ---- */

/* req.c */
/*
 * sqe, queue, sgl_len and sgl_status are filled. True: get data_len bytes of memory into iov (dir
 * not NONE), fetch them from the host (H2C), then nvmf_req_exec. False: status says why; call
 * nvmf_req_done.
 */
bool nvmf_req_start(struct nvmf_req *req);
void nvmf_req_exec(struct nvmf_req *req);
/* STATUS 0 or enum nvme_status, with NVME_STATUS_DNR where a retry cannot help. */
void nvmf_req_done(struct nvmf_req *req, uint16_t status);
/* Answers without data having reached exec. */
void nvmf_req_cqe(struct nvmf_req *req, struct nvme_cqe *cqe);
uint16_t nvmf_status_of_io(enum io_status status);
/*
 * Copies LEN bytes of SRC, which is the data from byte AT on, to the part of it that the request
 * returns: WINDOW is the first byte that the host wants.
 */
void nvmf_req_emit(struct nvmf_req *req, uint64_t window, uint64_t at, const void *src, size_t len);
/* Zeroes all of the request's data. */
void nvmf_req_clear(struct nvmf_req *req);
/* Copies LEN bytes from the start of the request's data. */
void nvmf_req_fetch(const struct nvmf_req *req, void *dst, size_t len);

/* queue.c */
void nvmf_queue_init(struct nvmf_queue *queue, const struct nvmf_queue_ops *ops);
/* The queue joins or leaves the calling reactor. */
void nvmf_queue_enter(struct nvmf_queue *queue);
void nvmf_queue_leave(struct nvmf_queue *queue);
/* On the queue's reactor, first thing when its connection ends: held requests are given back. */
void nvmf_queue_closing(struct nvmf_queue *queue);
/* On reactor 0: the connection is over and nothing of it is in flight. The transport frees it. */
void nvmf_queue_gone(struct nvmf_queue *queue);
/* The reactor with the fewest I/O queues. */
unsigned nvmf_queue_place(void);
/*
 * In a task on reactor 0: no request of any reactor refers to NS when it returns; those that had
 * not reached exec will fail.
 */
void nvmf_queue_revoke_ns(struct nvmf_ns *ns);
/* "c3 q1" for messages. */
const char *nvmf_queue_text(const struct nvmf_queue *queue, char text[32]);
/* Lists of queues, once per process. */
void nvmf_queue_setup(void);

/* connect.c */
extern const struct nvmf_cmd nvmf_unconnected_cmds[256];
uint16_t nvmf_connect_parse(struct nvmf_req *req);
void nvmf_connect_exec(struct nvmf_req *req);

/* fabrics.c */
uint16_t nvmf_fabrics_parse(struct nvmf_req *req);
void nvmf_fabrics_exec(struct nvmf_req *req);

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
/* Gives all held requests back with STATUS. */
void nvmf_event_drop(struct nvmf_ctrl *ctrl, uint16_t status);
/* Abort: whether the request with CID was held; it is then given back. */
bool nvmf_event_abort(struct nvmf_ctrl *ctrl, uint16_t cid);
void nvmf_event_ns_changed(struct nvmf_subsystem *subsys, uint32_t nsid);

/* error_log.c */
/* On the queue's reactor: records a request that failed. */
void nvmf_error_record(struct nvmf_req *req);
void nvmf_error_init(struct nvmf_queue *queue);

/* admin.c */
extern const struct nvmf_cmd nvmf_admin_cmds[256];
extern const struct nvmf_cmd nvmf_discovery_cmds[256];

/* identify.c */
/* The version of the firmware, for FR; hosts see its first 8 characters. */
const char *nvmf_firmware_text(void);
uint16_t nvmf_identify_parse(struct nvmf_req *req);
void nvmf_identify_exec(struct nvmf_req *req);

/* feature.c */
uint16_t nvmf_feature_set_parse(struct nvmf_req *req);
void nvmf_feature_set_exec(struct nvmf_req *req);
uint16_t nvmf_feature_get_parse(struct nvmf_req *req);
void nvmf_feature_get_exec(struct nvmf_req *req);
void nvmf_feature_reset(struct nvmf_ctrl *ctrl);

/* log_page.c */
uint16_t nvmf_log_parse(struct nvmf_req *req);
void nvmf_log_exec(struct nvmf_req *req);
/* First byte that Get Log Page asks for. */
uint64_t nvmf_log_offset(const struct nvmf_req *req);

/* nvm.c */
extern const struct nvmf_cmd nvmf_nvm_cmds[256];

/* discovery.c */
int nvmf_discovery_init(void);
/* What a host may see has changed. */
void nvmf_discovery_changed(void);
uint64_t nvmf_discovery_log_len(const struct nvmf_req *req);
void nvmf_discovery_log_emit(struct nvmf_req *req);

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

/* listener.c */
void nvmf_transport_register(struct nvmf_transport *transport);
/* Its listeners stay configured, but nothing more comes in. */
void nvmf_transport_unregister(struct nvmf_transport *transport);
/* NULL: not built in. */
struct nvmf_transport *nvmf_transport_find(const char *name);
/* -EEXIST; an address that cannot be bound is no error: it is tried again and again. */
int nvmf_listener_add(struct nvmf_subsystem *subsys, struct nvmf_transport *transport,
		      const struct net_addr *addr);
/* -ENOENT. Connections that came in there stay. */
int nvmf_listener_remove(struct nvmf_subsystem *subsys, struct nvmf_transport *transport,
			 const struct net_addr *addr);
/* Whether SUBSYS is offered where QUEUE came in. */
bool nvmf_listener_offers(const struct nvmf_subsystem *subsys, const struct nvmf_port *port);
void nvmf_listener_clear(struct nvmf_subsystem *subsys);
/* Why a listener of SUBSYS does not listen; 0: it does. */
int nvmf_listener_error(const struct nvmf_subsystem *subsys,
			const struct nvmf_transport *transport, const struct net_addr *addr);

#endif
