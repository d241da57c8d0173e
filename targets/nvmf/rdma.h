/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe/RDMA, private to targets/nvmf/rdma*.c: capsules on queue pairs (transport specification
 * 1.0).
 *
 * Each reactor has a group: the connections that live there, and one poller. Connections of a group
 * and a device share lanes: a completion queue, and a shared receive queue with as many receives as
 * the hosts may have commands in flight, so that no host ever finds none. What is to be posted is
 * gathered during a round and posted at its end, first the receives, then one chain a connection.
 *
 * A connection is given its reactor when it asks for one, by the queue identifier that it brings,
 * and stays there. Its Connect command is lent to reactor 0.
 */
#ifndef NVMF_RDMA_H
#define NVMF_RDMA_H

#include "core/rdma.h"
#include "core/spec/nvme_rdma.h"
#include "targets/nvmf/nvmf.h"

enum {
	NVMF_RDMA_BLOCKS_MAX = 16,      /* data blocks of one command: MSDBD */
	NVMF_RDMA_SLOTS_EXTRA = 8,      /* requests whose answers are still being sent */
	NVMF_RDMA_SRQ_ENTRIES = 4096,   /* of a lane, if the device has as many */
	NVMF_RDMA_CQ_ENTRIES = 8192,
	NVMF_RDMA_SENDS_EXTRA = 40,     /* above two a request: one request of many pieces */
	NVMF_RDMA_SENDS_MIN = 64,       /* a device with less is of no use */
	NVMF_RDMA_WRS = 256,            /* work requests that a reactor gathers */
	NVMF_RDMA_DONES = 64,           /* completions taken in a round and lane */
	NVMF_RDMA_QP_HASH = 64,
	NVMF_RDMA_SCAN_MS = 250,        /* how often timeouts are looked for */
	NVMF_RDMA_LINGER_MS = 2000,     /* for last answers */
	NVMF_RDMA_FLUSH_MS = 2000,      /* for the device to give work back */
	NVMF_RDMA_KEEP_MS = 1000,       /* how often kept domains are looked at */
};

struct nvmf_rdma_conn;
struct nvmf_rdma_group;

/* ---- decoding ---- */

/* What a host asks for in its connection request. */
struct nvmf_rdma_ask {
	uint16_t qid;
	uint16_t cntlid;
	unsigned depth;                 /* commands in flight */
};

/* Memory of the host. */
struct nvmf_rdma_block {
	uint64_t addr;
	uint32_t len;
	uint32_t key;
};

/* What the SGL of a command says. */
struct nvmf_rdma_sgl {
	uint16_t status;                /* why it is bad; 0 */
	bool in_capsule;                /* data at OFFSET of what follows the command */
	bool invalidate;                /* the answer invalidates KEY */
	uint32_t key;
	uint32_t offset;
	uint32_t len;                   /* of all data */
	unsigned block_count;
	struct nvmf_rdma_block blocks[NVMF_RDMA_BLOCKS_MAX];
};

/* ---- receives ---- */

struct nvmf_rdma_pool;

struct nvmf_rdma_recv {
	struct rnic_recv wr;
	struct rnic_sge sge[2];         /* command, in-capsule data */
	struct nvmf_rdma_pool *pool;
	struct list link;               /* conn->held */
	uint8_t *cmd, *data;
	uint32_t len;                   /* received */
};

/* Receives of a lane, or of a connection whose device has no shared receive queue. */
struct nvmf_rdma_pool {
	struct rnic_srq *srq;           /* NULL: they are posted to CONN */
	struct nvmf_rdma_conn *conn;
	struct list chunks;             /* their memory */
	unsigned total, need;           /* there are; must be */
	struct rnic_recv *first, **last;        /* to be posted */
	struct list posting;            /* group->pools */
};

struct nvmf_rdma_lane {
	struct list link;               /* group->lanes */
	struct rnic_device *device;
	struct rnic_domain *domain;
	struct rnic_cq *cq;
	unsigned cq_size, cq_used;
	unsigned srq_size;              /* 0: none */
	unsigned conn_count;
	struct nvmf_rdma_pool pool;
	struct list qps[NVMF_RDMA_QP_HASH];     /* connections by queue pair number */
};

/* ---- requests ---- */

enum nvmf_rdma_phase {
	NVMF_RDMA_FREE,
	NVMF_RDMA_IDLE,                 /* in the hands of the target */
	NVMF_RDMA_WAIT_TURN,            /* to read: conn->turn_wait */
	NVMF_RDMA_WAIT_BUF,             /* for memory */
	NVMF_RDMA_WAIT_READ,            /* for room to post its reads: conn->read_wait */
	NVMF_RDMA_READING,
	NVMF_RDMA_WAIT_SEND,            /* for room to post its answer: conn->send_wait */
	NVMF_RDMA_SENDING,
};

struct nvmf_rdma_req {
	struct nvmf_req req;
	struct nvmf_rdma_req *next;     /* conn->free */
	struct list link;
	struct buf_wait wait;
	uint8_t phase;                  /* enum nvmf_rdma_phase */
	uint8_t turns;                  /* counted in conn->turns */
	uint16_t posted;                /* work requests, counted in conn->sends_used */
	struct nvmf_rdma_recv *recv;    /* holds its in-capsule data */
	struct nvme_cqe *cqe;           /* registered memory */
	struct nvmf_rdma_sgl sgl;
};

/* ---- connections ---- */

enum nvmf_rdma_state {
	NVMF_RDMA_ACCEPTED,             /* the host has not confirmed */
	NVMF_RDMA_LIVE,
	NVMF_RDMA_LINGER,               /* no new commands; answers go out */
	NVMF_RDMA_FLUSHING,             /* disconnected: the device gives work back */
	NVMF_RDMA_CLOSING,              /* the queue pair is destroyed, requests end */
	NVMF_RDMA_GONE,                 /* reactor 0 has been told */
};

struct nvmf_rdma_conn {
	struct nvmf_queue queue;
	struct nvmf_rdma_group *group;
	struct nvmf_rdma_lane *lane;    /* NULL before, and once closed */
	struct rnic_conn *rnic;         /* NULL once closed */
	enum nvmf_rdma_state state;
	struct nvmf_rdma_ask ask;
	struct list link;               /* group->conns */
	struct list hash;               /* lane->qps */
	unsigned cq_share;              /* of lane->cq */

	/* receiving */
	struct nvmf_rdma_pool own;      /* without shared receive queue */
	struct nvmf_rdma_pool *pool;
	struct list held;               /* receives that wait for a request */
	unsigned owed;                  /* commands that are not answered */
	uint16_t sqhd;                  /* told to the host: see rdma_send.c */
	bool lent;                      /* Connect is on reactor 0 */
	bool left;                      /* the queue is not its controller's any more */
	struct nvmf_req *lent_req;

	/* requests */
	struct nvmf_rdma_req *reqs, *free;
	unsigned req_count, active;     /* there are; not free */
	struct nvme_cqe *cqes;
	struct list turn_wait, read_wait, send_wait;
	unsigned turns, turns_max;      /* reads in flight */
	unsigned sends_used, sends_max; /* work requests */
	unsigned pending;               /* requests whose last completion is to come */

	/* sending: the chain of this round */
	struct list posting;            /* group->posting */
	struct rnic_send *first, **last;

	/* time */
	uint64_t deadline_us;           /* of connecting, lingering or flushing; 0: none */

	/* between reactors */
	struct msg begin_msg, lend_msg, return_msg, close_msg, left_msg, gone_msg;
	char close_why[NVMF_WHY_BYTES];
	/* reactor 0's */
	bool close_asked, gone;
	unsigned out;                   /* messages of reactor 0 under way */
	struct list all;
};

struct nvmf_rdma_wr {
	struct rnic_send send;
	struct rnic_sge sge[BUF_IOV_MAX];
};

struct nvmf_rdma_group {
	struct poller poller;
	unsigned index;
	struct list conns, lanes;
	unsigned conn_count;
	struct list pools, posting;     /* with receives, with sends to be posted */
	struct timer scan;
	unsigned wr_used;
	struct nvmf_rdma_wr *wrs;
};

static inline struct nvmf_rdma_conn *nvmf_rdma_conn_of(struct nvmf_queue *queue)
{
	return container_of(queue, struct nvmf_rdma_conn, queue);
}

static inline struct nvmf_rdma_req *nvmf_rdma_req_of(struct nvmf_req *req)
{
	return container_of(req, struct nvmf_rdma_req, req);
}

/* rdma.c */
struct nvmf_rdma_group *nvmf_rdma_group_at(unsigned reactor);
/* Handles all completions that the lane has. Returns work done. */
int nvmf_rdma_lane_poll(struct nvmf_rdma_lane *lane);

/* rdma_capsule.c: total, no side effects */
/* Private data of a connection request. 0, or enum nvme_rdma_status to refuse it with. */
unsigned nvmf_rdma_ask_decode(const void *private, size_t len, struct nvmf_rdma_ask *ask);
/* LEN bytes of DATA follow the command in its capsule. */
void nvmf_rdma_sgl_decode(const struct nvme_sqe *sqe, const void *data, uint32_t len,
			  struct nvmf_rdma_sgl *sgl);

/* rdma_lane.c */
/* Finds or makes a lane with room for CONN, and joins it. 0 or -errno. */
int nvmf_rdma_lane_join(struct nvmf_rdma_conn *conn);
void nvmf_rdma_lane_leave(struct nvmf_rdma_conn *conn);
/* CONN has its queue pair. */
void nvmf_rdma_lane_bind(struct nvmf_rdma_conn *conn);
struct nvmf_rdma_conn *nvmf_rdma_lane_find(struct nvmf_rdma_lane *lane, uint32_t qp);
/* Receives for CONN's commands, in its pool. 0 or -ENOMEM. */
int nvmf_rdma_pool_join(struct nvmf_rdma_conn *conn);
void nvmf_rdma_pool_leave(struct nvmf_rdma_conn *conn);
/* RECV is to be posted again, in this round. */
void nvmf_rdma_recv_put(struct nvmf_rdma_group *group, struct nvmf_rdma_recv *recv);
/* Posts what the round has gathered. */
void nvmf_rdma_pools_post(struct nvmf_rdma_group *group);

/* rdma_req.c */
int nvmf_rdma_req_alloc(struct nvmf_rdma_conn *conn);
void nvmf_rdma_req_free(struct nvmf_rdma_conn *conn);
/* A capsule has come. */
void nvmf_rdma_recv(struct nvmf_rdma_conn *conn, struct nvmf_rdma_recv *recv);
/* Goes on with receives that were held. */
void nvmf_rdma_resume(struct nvmf_rdma_conn *conn);
/* The connection ends: gives up what TR waits for. What executes or is posted goes on. */
void nvmf_rdma_req_abandon(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr);
void nvmf_rdma_req_put(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr);
/* The last of TR's reads has completed, with success. */
void nvmf_rdma_req_read(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr);
void nvmf_rdma_respond(struct nvmf_req *req);
/* On the connection's reactor. */
void nvmf_rdma_answer(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr);

/* rdma_send.c */
enum nvmf_rdma_kind {                   /* of a completion, in its id's low bits */
	NVMF_RDMA_KIND_RECV,
	NVMF_RDMA_KIND_READ,            /* the last read of a request */
	NVMF_RDMA_KIND_SEND,            /* its answer */
	NVMF_RDMA_KIND_PART,            /* any other: seen only when it fails */
	NVMF_RDMA_KIND_MASK = 3,
};

/* Posts TR's reads. False: there is no room now. */
bool nvmf_rdma_send_reads(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr);
/* Posts TR's data to the host, if any, and its answer. */
bool nvmf_rdma_send_answer(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr);
/* TR's last completion has come, good or bad: its room is free. */
void nvmf_rdma_send_done(struct nvmf_rdma_conn *conn, struct nvmf_rdma_req *tr);
/* Work requests that TR's data takes; 0: its memory cannot be reached. */
unsigned nvmf_rdma_send_count(struct nvmf_rdma_conn *conn, const struct nvmf_rdma_req *tr);
/* Posts the chain of CONN. */
void nvmf_rdma_send_post(struct nvmf_rdma_conn *conn);
void nvmf_rdma_sends_post(struct nvmf_rdma_group *group);

/* rdma_conn.c */
extern const struct nvmf_queue_ops nvmf_rdma_queue_ops;
/* On reactor 0. */
void nvmf_rdma_request(struct nvmf_port *port, struct rnic_conn *rnic,
		       const struct rnic_event *event);
void nvmf_rdma_port_forget(struct nvmf_port *port);
/* In a task on reactor 0: closes every connection and waits until they are gone. */
void nvmf_rdma_close_all(void);
__attribute__((format(printf, 2, 3)))
void nvmf_rdma_close(struct nvmf_rdma_conn *conn, const char *fmt, ...);
/* Posting has failed: nothing that is posted can be relied on to complete. */
void nvmf_rdma_broken(struct nvmf_rdma_conn *conn);
/* Something of a closing connection has ended: perhaps the last that held it. */
void nvmf_rdma_check(struct nvmf_rdma_conn *conn);
void nvmf_rdma_scan(struct nvmf_rdma_conn *conn, uint64_t now);

/* rdma_listen.c */
int nvmf_rdma_listen(struct nvmf_port *port);
void nvmf_rdma_unlisten(struct nvmf_port *port);
/* On reactor 0: DEVICE's memory stays registered while anybody listens. */
void nvmf_rdma_keep(struct rnic_device *device);
void nvmf_rdma_keep_none(void);

#endif
