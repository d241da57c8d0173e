/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host side of NVMe over Fabrics, over TCP and RDMA: namespaces of remote controllers as disks.
 * What the files of this folder show each other, and at the end the module.
 *
 * A controller (struct remote_ctrl) lives on reactor 0, where its keeper, one task, connects it,
 * keeps it alive, connects it again, and ends it. Its I/O queues (struct remote_queue), each a
 * connection of its own, belong to one reactor each. A disk (struct remote_disk) is a namespace; it
 * has one or more paths (struct remote_path), each through another controller. The data path sees
 * copies of the paths in its channel (struct remote_route), which the keepers publish.
 *
 * Specifications: NVMe base 2.0c, NVM command set 1.0c, NVMe/TCP transport 1.0c, NVMe/RDMA
 * transport 1.0b.
 */
#ifndef REMOTE_REMOTE_H
#define REMOTE_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/base/list.h"
#include "core/base/uuid.h"
#include "core/bdev.h"
#include "core/cmd.h"
#include "core/io.h"
#include "core/reactor.h"
#include "core/spec/nvme.h"
#include "core/spec/nvme_identify.h"
#include "core/spec/nvmf.h"
#include "core/stream.h"
#include "core/task.h"
#include "drivers/nvme/decode.h"
#include "drivers/remote/pdu.h"
#include "drivers/remote/transport.h"

struct remote_ctrl;
struct remote_disk;

enum {
	REMOTE_NAME_BYTES = 32,
	REMOTE_WHY_BYTES = 320,
	REMOTE_PATHS_MAX = 8,           /* of a disk */
	REMOTE_NS_MAX = 1024,           /* of a controller */
	REMOTE_ADMIN_DEPTH = 32,
	REMOTE_INDEX_BITS = 10,         /* of a cid: slot; above: generation */
	REMOTE_DEPTH_MAX = 1 << REMOTE_INDEX_BITS,
	REMOTE_R2T_MAX = 4,             /* outstanding for one command; announced as MAXR2T */
	REMOTE_TX_IOVS = 512,           /* pieces waiting to be sent, per connection */
	REMOTE_IOV_MAX = 64,            /* of an io */
	REMOTE_XFER_MAX = 1024 * 1024,
	REMOTE_RX_BYTES = 64 * 1024,    /* a reactor's receive buffer */
	REMOTE_TRIES_MAX = 8,           /* of one io */
	REMOTE_RETRY_MS = 100,
	/* for each of: a connection, ICResp, an answer while connecting */
	REMOTE_CONNECT_MS = 5000,
	REMOTE_KATO_MS = 5000,
	REMOTE_TERM_MS = 1000,          /* for the target to take our H2CTermReq */
	REMOTE_BACKOFF_MAX_US = 10 * 1000 * 1000,
	REMOTE_LOST = 0xffff,           /* instead of an NVMe status: the connection went away */
};

/* ---- queue.c: commands outstanding on a connection ---- */

enum remote_dir { REMOTE_NONE, REMOTE_IN, REMOTE_OUT };

enum remote_slot_state {
	REMOTE_SLOT_FREE,
	REMOTE_SLOT_BUSY,
	REMOTE_SLOT_DONE,               /* answered, but the transport still holds its memory */
};

/* A command that a task waits for; on the reactor of its queue. */
struct remote_req {
	struct event done;
	void (*answered)(struct remote_req *req);       /* not NULL: called instead */
	uint32_t dw0, dw1;
	uint16_t sqhd;
	uint16_t status;                /* or REMOTE_LOST */
	bool finished;
};

/* One outstanding command. Its cid is index | generation << REMOTE_INDEX_BITS. */
struct remote_slot {
	struct io *io;
	struct remote_req *req;         /* one of the two is NULL */
	const struct iovec *iov;
	uint32_t len;                   /* of the data */
	/* bytes received (in), or handed to the stream (out); and where in iov that is */
	uint32_t done_bytes;
	uint32_t asked;                 /* out: bytes that R2Ts have asked for */
	uint16_t iov_at;
	uint16_t cid;
	size_t iov_off;
	uint8_t state, dir;
	bool in_capsule, last, digest_bad;
	uint8_t r2t_head, r2t_count;
	struct nvme_cqe cqe;
	uint64_t tx_end;                /* its memory is free when *queue->released is this many */
	uint64_t posted_us;
	struct list link;               /* queue->pending */
	struct {
		uint16_t ttag;
		uint32_t left;
	} r2t[REMOTE_R2T_MAX];
	uint8_t h2c[sizeof(struct nvme_tcp_data) + NVME_TCP_DIGEST_BYTES];
	le32 ddgst;
	struct nvme_dsm_range range;
	struct iovec range_iov;
};

enum remote_queue_state {
	REMOTE_QUEUE_DOWN,              /* no connection, no commands */
	REMOTE_QUEUE_IC,                /* it is being connected; TCP: ICResp is awaited */
	REMOTE_QUEUE_UP,                /* commands of tasks; live: io too */
	REMOTE_QUEUE_TERM,              /* H2CTermReq goes out; what comes in is dropped */
	REMOTE_QUEUE_CLOSING,           /* until the transport says that it is down */
};

enum remote_rx_state { REMOTE_RX_HEADER, REMOTE_RX_DATA, REMOTE_RX_DIGEST };

struct remote_lane;

struct remote_queue {
	/* data path */
	bool live;                      /* takes io */
	bool readable, tx_blocked;
	uint8_t state;                  /* enum remote_queue_state */
	uint8_t rx;                     /* enum remote_rx_state */
	uint16_t qid, count;            /* slots */
	uint16_t free_head, free_count;
	unsigned reactor;
	unsigned hot_tries;             /* left, see recv.c */
	uint32_t maxh2cdata, in_capsule_max;
	unsigned tx_head, tx_tail;
	uint32_t large_reads;           /* outstanding; they decide how much one readv asks for */
	uint32_t header_bytes, header_stride;   /* of a command: with digest; in headers */
	uint32_t data_start;            /* of in-capsule data in its PDU */
	struct remote_framing framing;
	struct remote_slot *slots;
	uint8_t *headers;               /* header_stride for each slot: where its SQE is made */
	uint16_t *free;                 /* ring of slot indexes: oldest first */
	const struct remote_transport *transport;
	struct stream *stream;          /* TCP's */
	struct remote_rdma *rdma;       /* RDMA's */
	/* memory that was handed over and is free again: bytes of the stream, or sends */
	uint64_t tx_queued;
	const uint64_t *released;
	struct remote_lane *lane;
	struct list ready, sending;     /* the lane's */
	struct list waiting;            /* io without a slot, in order */
	struct list pending;            /* slots: data to send, or memory not released */
	struct remote_ctrl *ctrl;

	/* receiving */
	struct remote_pdu pdu;
	struct remote_slot *rx_slot;    /* whose data comes */
	uint32_t rx_pad, rx_left, rx_crc;
	unsigned header_have, digest_have;
	uint8_t header[REMOTE_HEADER_MAX];
	uint8_t digest[NVME_TCP_DIGEST_BYTES];

	/* off the data path */
	struct event changed;           /* state, for the task that connects or closes */
	struct timer scan;              /* timeouts; the end of TERM */
	uint8_t cpda;
	char why[REMOTE_WHY_BYTES];     /* it went down */
	uint64_t commands, bytes_in;
	struct nvme_tcp_ic_req ic;
	uint8_t term[sizeof(struct nvme_tcp_term) + NVME_TCP_TERM_DATA_MAX];
	struct iovec tx[REMOTE_TX_IOVS];
};

/* COUNT slots; those there were go. -ENOMEM. */
int remote_queue_alloc(struct remote_queue *q, unsigned count);
void remote_queue_free(struct remote_queue *q);
/* Takes an io, now or when there is room; on the queue's reactor. */
void remote_queue_submit(struct remote_queue *q, struct io *io);
/* Posts what waits while there is room. */
void remote_queue_pump(struct remote_queue *q);
/*
 * A task's command: LEN bytes at IOV stay until req->done, which always comes. False: the queue is
 * not up, or full.
 */
bool remote_queue_post(struct remote_queue *q, struct nvme_sqe *sqe, enum remote_dir dir,
		       const struct iovec *iov, uint32_t len, struct remote_req *req);
/* The busy slot with this cid; NULL. */
struct remote_slot *remote_slot_find(struct remote_queue *q, uint16_t cid);
/* The target has answered SLOT, in slot->cqe: gives the command back when its memory is free. */
void remote_slot_answered(struct remote_queue *q, struct remote_slot *slot);
void remote_slot_finish(struct remote_queue *q, struct remote_slot *slot);
/* Finishes the answered ones whose memory is free now. */
void remote_slots_release(struct remote_queue *q);
/* No more than COUNT commands at a time; before the first. */
void remote_queue_limit(struct remote_queue *q, unsigned count);
/* The connection is gone: every command is lost. */
void remote_queue_lost(struct remote_queue *q);
/* Looks for commands without an answer. */
void remote_queue_scan(struct remote_queue *q);

/* ---- lane.c: a reactor's share ---- */

struct remote_lane {
	struct poller poller;
	struct list ready, sending;
	uint8_t *rx;                    /* REMOTE_RX_BYTES; empty between two visits */
};

struct remote_lane *remote_lane_here(void);
void remote_lane_ready(struct remote_queue *q);
void remote_lane_send(struct remote_queue *q);
/* In a task on reactor 0. */
int remote_lanes_init(void);
void remote_lanes_fini(void);

/* ---- conn.c: the life of a connection; on the queue's reactor ---- */

/* In a task: closes, waits until it is down. No effect when it is. */
void remote_conn_close(struct remote_queue *q, const char *why);
/* It cannot go on: says why, closes, and asks the keeper for a new start. */
__attribute__((format(printf, 2, 3)))
void remote_conn_fail(struct remote_queue *q, const char *fmt, ...);
/* For transports: before a connection; when it is gone; and, in a task, until it is. */
void remote_conn_reset(struct remote_queue *q);
void remote_conn_down(struct remote_queue *q);
void remote_conn_down_wait(struct remote_queue *q);
/* The reason of an end, which the log has too when the controller was live. */
__attribute__((format(printf, 2, 3)))
void remote_conn_why(struct remote_queue *q, const char *fmt, ...);

/* ---- admin.c: commands of tasks ---- */

struct remote_result {
	uint32_t dw0, dw1;
	uint16_t sqhd;
	uint16_t status;
};

/*
 * Executes a command in a task on the queue's reactor. 0; -errno of a failed status (result, if not
 * NULL, has it); -ETIMEDOUT (the connection was closed for it), -ENOTCONN.
 */
int remote_exec(struct remote_queue *q, struct nvme_sqe *sqe, enum remote_dir dir, void *data,
		uint32_t len, unsigned timeout_ms, struct remote_result *result);
int remote_connect_cmd(struct remote_queue *q, uint16_t *cntlid);
int remote_property_get(struct remote_ctrl *c, unsigned reg, bool wide, uint64_t *value);
int remote_property_set(struct remote_ctrl *c, unsigned reg, uint32_t value);
int remote_identify(struct remote_ctrl *c, uint8_t cns, uint32_t nsid, uint8_t csi, void *data);
int remote_log(struct remote_ctrl *c, uint8_t lid, uint64_t offset, void *data, uint32_t len);
int remote_feature(struct remote_ctrl *c, uint8_t fid, uint32_t value,
		   struct remote_result *result);
int remote_keep_alive(struct remote_ctrl *c);
/* Posts the asynchronous event request (again); its answer wakes the keeper. */
void remote_aer_post(struct remote_ctrl *c);

/* ---- ctrl.c: controllers and their keepers; reactor 0 ---- */

enum remote_ctrl_state {
	REMOTE_CTRL_CONNECTING,         /* for the first time */
	REMOTE_CTRL_LIVE,
	REMOTE_CTRL_RECONNECTING,
	REMOTE_CTRL_LOST,               /* given up after loss_us */
	REMOTE_CTRL_ENDING,
};

enum remote_want {
	REMOTE_WANT_RESET = 1 << 0,
	REMOTE_WANT_SCAN = 1 << 1,
	REMOTE_WANT_ANA = 1 << 2,
};

enum remote_policy { REMOTE_ROUND_ROBIN, REMOTE_QUEUE_DEPTH };

/* What `disk attach remote` says. */
struct remote_options {
	char name[REMOTE_NAME_BYTES];
	struct net_addr addr;
	const struct remote_transport *transport;
	char nqn[NVME_NQN_BYTES], hostnqn[NVME_NQN_BYTES];
	bool hostnqn_given;
	bool hdgst, ddgst;
	unsigned queues, depth;         /* 0: as many as there are reactors; the default */
	uint64_t reconnect_us, loss_us, fast_fail_us;   /* fast_fail 0: never */
	enum remote_policy policy;
};

struct remote_ctrl {
	struct remote_options opt;
	uint8_t hostid[16];
	enum remote_ctrl_state state;
	struct list link;

	/* as of this connection */
	uint64_t cap;
	uint16_t cntlid;
	struct nvme_ctrl_info info;
	uint16_t awupf;
	uint32_t in_capsule_max;        /* of I/O queues */
	uint32_t xfer_bytes_max;
	bool ana;
	uint8_t ana_groups_max;
	char subnqn[NVME_NQN_BYTES];
	char serial[21];                /* of the first connection; the same ever after */

	struct remote_queue *admin;
	struct remote_queue **queues;   /* queue_count; queues[i] is reactor i's */
	unsigned queue_count;           /* allocated */
	unsigned queue_live;            /* connected */
	struct remote_req aer_req;
	bool aer_posted, aer;
	uint32_t aer_dw0;

	struct list paths;
	struct task_lock paths_lock;    /* around publishing, and around taking paths off */
	unsigned path_count;

	/* the keeper's orders */
	struct event wake, attached, ended;
	int attach_rc;
	bool leave;
	bool persist;                   /* goes on when the first connection fails */
	unsigned refs;                  /* of others than the keeper */
	unsigned want;                  /* enum remote_want, from any reactor */
	bool wake_sent;                 /* wake_msg is under way */
	struct msg wake_msg;
	uint64_t down_us, up_us;        /* since when */
	uint64_t backoff_us, retry_us;  /* between attempts, and when the next one is due */
	uint64_t alive_us;              /* the last keep-alive */
	unsigned reconnects;
	char why[REMOTE_WHY_BYTES];     /* the last failure */
};

/* Any reactor: enum remote_want bits for the keeper. */
void remote_ctrl_want(struct remote_ctrl *c, unsigned want);
/* On reactor 0. */
void remote_ctrl_wake(struct remote_ctrl *c);
/* In a task. Waits for the first connection. -EEXIST, -errno with WHY; persist: it stays. */
int remote_ctrl_attach(const struct remote_options *opt, bool persist,
		       char why[REMOTE_WHY_BYTES]);
/* Waits until its disks are closed and it is gone. */
void remote_ctrl_detach(struct remote_ctrl *c);
struct remote_ctrl *remote_ctrl_next(const struct remote_ctrl *prev);
struct remote_ctrl *remote_ctrl_find(const char *name);
const char *remote_ctrl_state_name(const struct remote_ctrl *c);
/* Without a keeper and not listed: for discovery. NULL: no memory. */
struct remote_ctrl *remote_ctrl_create(const struct remote_options *opt);
void remote_ctrl_free(struct remote_ctrl *c);

/* ---- bring.c: from nothing to a controller that answers ---- */

/* The admin queue up to Identify Controller. -errno, c->why; remote_bring_down follows. */
int remote_bring_admin(struct remote_ctrl *c);
/* All of it: I/O queues too. */
int remote_bring_up(struct remote_ctrl *c);
/* Closes all connections. ORDERLY: shuts the controller down first. */
void remote_bring_down(struct remote_ctrl *c, bool orderly, const char *why);

/* ---- path.c: which way an io goes ---- */

enum remote_ana { REMOTE_ANA_OPTIMIZED = 1, REMOTE_ANA_NON_OPTIMIZED = 2,
		  REMOTE_ANA_INACCESSIBLE = 3, REMOTE_ANA_LOSS = 4, REMOTE_ANA_CHANGE = 15 };

/* Reactor 0's. */
struct remote_path {
	struct remote_ctrl *ctrl;
	struct remote_disk *disk;
	unsigned index;                 /* in disk->paths */
	uint32_t nsid;
	uint32_t ana_group;
	uint8_t ana;                    /* enum remote_ana */
	bool withdrawn;                 /* not to be used any more */
	bool stale;                     /* likewise, while its disk leaves: it is there no more */
	bool seen;                      /* by the scan that runs */
	struct list link;               /* ctrl->paths */
};

/* A path as a reactor sees it. */
struct remote_route {
	struct remote_queue *queue;     /* NULL: there is no such path */
	uint32_t nsid;
	uint32_t inflight;
	uint16_t gen;                   /* of what was published last */
	uint8_t ana;
	bool usable;
	uint64_t fail_us, gone_us;      /* when waiting for it is over; 0: not yet known */
	uint64_t ios, errors, lost, latency_us;
};

/* Of bdev_chan.priv. */
struct remote_chan {
	struct bdev_chan *chan;
	unsigned best_count, next;
	bool by_depth;
	struct remote_route *best[REMOTE_PATHS_MAX];
	struct remote_route routes[REMOTE_PATHS_MAX];
	struct list waiting;            /* io without a path, or to be tried again later */
	struct timer tick;
	bool open;
};

/* The driver's part of an io (io->scratch), from submit until it is given back. */
struct remote_io {
	struct msg msg;                 /* between reactors */
	struct remote_route *route;
	uint64_t due_us;                /* waiting: not before */
	uint32_t taken_us;              /* posted, low half */
	uint16_t status;                /* on the way back to its reactor */
	uint8_t tries;
	uint8_t gen;                    /* of the route, low half */
};

static inline struct remote_io *remote_io_of(struct io *io)
{
	return (struct remote_io *)io->scratch;
}

void remote_chan_open(struct remote_chan *rc, struct bdev_chan *chan);
void remote_chan_close(struct remote_chan *rc);
void remote_chan_submit(struct remote_chan *rc, struct io *io);
/* The queue gives IO back with an NVMe status or REMOTE_LOST; on the queue's reactor. */
void remote_io_end(struct remote_queue *q, struct io *io, uint16_t status);
/* In a task on reactor 0: every channel learns how the controller's paths are. */
void remote_paths_publish(struct remote_ctrl *c);
/* Copies one path into a channel; for remote_chan_open. */
void remote_route_set(struct remote_chan *rc, const struct remote_path *path);

/* ---- disk.c: a namespace as bdev ---- */

struct remote_disk {
	struct bdev bdev;
	struct nvme_ns_info info;
	enum remote_policy policy;
	char subnqn[NVME_NQN_BYTES], serial[21];
	struct remote_path *paths[REMOTE_PATHS_MAX];
	bool leaving;                   /* a task unregisters it */
	bool resizing;                  /* a task brings it to want_blocks */
	uint64_t want_blocks;
	struct list link;
};

/* Fills in opcode, range, flags; *DIR, *IOV and *LEN say what data there is. */
bool remote_disk_encode(struct remote_slot *slot, struct io *io, struct nvme_sqe *sqe);
/* NULL when the bdev is another driver's. */
struct remote_disk *remote_disk_of(struct bdev *bdev);
struct remote_disk *remote_disk_next(const struct remote_disk *prev);
/*
 * Adds a path for NSID to the disk that has its identity, or makes a new disk. In the keeper.
 * -errno, logged.
 */
int remote_disk_join(struct remote_ctrl *c, uint32_t nsid, const struct nvme_ns_info *info,
		     uint32_t ana_group);
/*
 * The path ends: at once, or, when it is the only one, once a task has unregistered the disk.
 */
void remote_disk_part(struct remote_path *path);
void remote_disk_resize(struct remote_disk *d, uint64_t block_count);
unsigned remote_disk_paths(const struct remote_disk *d);

/* ---- scan.c: namespaces appear, change and go; ANA ---- */

/* -errno when the controller could not tell. */
int remote_scan(struct remote_ctrl *c);
/* Reads the ANA log page into c->paths. */
int remote_scan_ana(struct remote_ctrl *c);

/* ---- cmd.c ---- */

extern const char *const remote_transport_names[];
/* The argument transport; TCP when it is left out. 0, or what cmd_fail returned. */
int remote_transport_given(struct cmd_ctx *ctx, const struct remote_transport **transport);
/* RDMA is there: its module's. */
void remote_rdma_offer(const struct remote_transport *rdma);

/* ---- discover.c ---- */

int remote_cmd_discover(struct cmd_ctx *ctx);

/* ---- host.c ---- */

/* In a task. This machine's name, for when none is given; the same after every start. */
const char *remote_hostnqn(void);

#endif
