/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA adapters: devices, registered memory, queue pairs and their connections. rdma_verbs*.c:
 * libibverbs and librdmacm. rdma_plain.c: the host flavour has no adapter, until a test brings one.
 * (The prefix is rnic_, because rdma_ is librdmacm's.)
 *
 * A connection belongs to one reactor: it is posted to, polled and told events there. The
 * connection manager has one event channel, on reactor 0; its events travel as messages. Calls on
 * a connection are made on its reactor. Devices, domains and the calls that make and end them may
 * be used by any reactor; they take a lock and are not for the data path.
 *
 * Events come on the connection's reactor, never inside a call of its owner. After rnic_close() no
 * event comes but exactly one RNIC_CLOSED; then the connection does not exist any more. Work that
 * is posted ends in completions, also by rnic_disconnect(); the owner waits for them (or, after
 * RNIC_REMOVED, for as long as it likes) before it calls rnic_close().
 */
#ifndef CORE_RDMA_H
#define CORE_RDMA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/base/list.h"
#include "core/reactor.h"

enum {
	RNIC_NAME_BYTES = 64,
	RNIC_PRIVATE_MAX = 196,         /* bytes of private data that an event brings at most */
	RNIC_REQUEST_PRIVATE_MAX = 56,  /* that a request can take over InfiniBand and RoCE */
	RNIC_RETRIES = 7,
	RNIC_RNR_FOREVER = 7,           /* retries while the peer has no receive posted */
};

/* The module. Adapters that come later are found when they are needed. */
int rnic_init(void);
void rnic_fini(void);

/* ---- devices ---- */

/* An adapter that is in use. The limits are the device's. */
struct rnic_device {
	struct list link;
	char name[RNIC_NAME_BYTES];
	bool iwarp;
	bool invalidates;               /* send with invalidate is offered */
	uint32_t send_max, recv_max;    /* work requests of a queue pair, either way */
	uint32_t sge_max;               /* pieces of a send, or of a write or read on our side */
	uint32_t read_sge_max;
	uint32_t srq_max, srq_sge_max;  /* entries of a shared receive queue; 0: has none */
	uint32_t cq_max;                /* entries of a completion queue */
	uint32_t reads_in_max;          /* reads of the peer in flight, per queue pair */
	uint32_t reads_out_max;         /* our own */
	atomic_bool removed;            /* gone, or about to: nothing new on it */
};

/* An adapter of the machine, used or not. */
struct rnic_device_info {
	char name[RNIC_NAME_BYTES];
	char driver[RNIC_NAME_BYTES];   /* "rxe", "mlx5" … */
	char netdev[32];
	const char *state;              /* "active", "down" … */
	const char *link;               /* "Ethernet", "InfiniBand" */
	bool used;
};
/* Fills at most MAX; returns how many there are. */
unsigned rnic_devices(struct rnic_device_info *out, unsigned max);

/* ---- memory ---- */

enum rnic_access {
	RNIC_LOCAL,                     /* peers cannot name our memory */
	RNIC_REMOTE,                    /* peers that are told the key can read and write it */
	RNIC_ACCESS_COUNT,
};

/*
 * A protection domain with all DMA memory registered in it, once per stretch of contiguous pages.
 * Targets use a local one, hosts a remote one: so the key that a host gives away is of no use to
 * those who connect to the target.
 */
struct rnic_region {
	uintptr_t begin, end;
	uint32_t lkey, rkey;
};

struct rnic_domain {
	struct rnic_device *device;
	enum rnic_access access;
	unsigned region_count;
	struct rnic_region *regions;    /* not changed while the domain lives */
};

/* A reference to the device's domain, made by the first. NULL: errno. May take milliseconds. */
struct rnic_domain *rnic_domain_get(struct rnic_device *device, enum rnic_access access);
void rnic_domain_put(struct rnic_domain *domain);

/* Where LEN bytes at VA are registered; NULL: nowhere, or not in one piece. */
static inline const struct rnic_region *rnic_region_of(const struct rnic_domain *domain,
						       const void *va, size_t len)
{
	uintptr_t first = (uintptr_t)va;

	for (unsigned i = 0; i < domain->region_count; i++) {
		const struct rnic_region *region = &domain->regions[i];

		if (first >= region->begin && first < region->end && len <= region->end - first)
			return region;
	}
	return NULL;
}

/* ---- work: laid out as in libibverbs (rdma_verbs.c asserts it): posting copies nothing ---- */

struct rnic_sge {
	uint64_t addr;
	uint32_t len;
	uint32_t lkey;
};

enum rnic_op {
	RNIC_OP_WRITE = 0,
	RNIC_OP_SEND = 2,
	RNIC_OP_READ = 4,
	RNIC_OP_SEND_INVALIDATE = 9,
};

enum rnic_flag {
	RNIC_FENCE = 1 << 0,            /* not before earlier reads are done */
	RNIC_SIGNALED = 1 << 1,         /* completes visibly even when it succeeds */
	RNIC_SOLICITED = 1 << 2,
	RNIC_INLINE = 1 << 3,
};

struct rnic_send {
	uint64_t id;
	struct rnic_send *next;
	struct rnic_sge *sge;
	int32_t sge_count;
	uint32_t op;                    /* enum rnic_op */
	uint32_t flags;                 /* enum rnic_flag */
	uint32_t invalidate;            /* SEND_INVALIDATE: the peer's key */
	uint64_t remote_addr;           /* WRITE, READ */
	uint32_t rkey;
	uint32_t rsvd52;
	uint64_t rsvd56[9];
};

struct rnic_recv {
	uint64_t id;
	struct rnic_recv *next;
	struct rnic_sge *sge;
	int32_t sge_count;
};

enum rnic_status {
	RNIC_OK = 0,
	RNIC_FLUSHED = 5,               /* the queue pair has failed before, or was disconnected */
	RNIC_REMOTE_ACCESS = 10,        /* a bad key, address or length of the peer's */
};

enum rnic_done_flag { RNIC_DONE_INVALIDATED = 1 << 3 };

/* A completion. When it failed only id, status and qp are valid. */
struct rnic_done {
	uint64_t id;
	uint32_t status;                /* enum rnic_status, or another of enum ibv_wc_status */
	uint32_t op;
	uint32_t vendor;
	uint32_t len;                   /* bytes received */
	uint32_t invalidated;           /* with RNIC_DONE_INVALIDATED: our key */
	uint32_t qp;                    /* conn->qp of the connection */
	uint32_t src_qp;
	uint32_t flags;                 /* enum rnic_done_flag */
	uint64_t rsvd40;
};

const char *rnic_status_text(uint32_t status);

/* ---- completion queues and shared receive queues ---- */

struct rnic_cq;

/* Of the calling reactor, which it can wake. NULL: errno. */
struct rnic_cq *rnic_cq_create(struct rnic_device *device, unsigned entries);
/* No connection uses it any more. */
void rnic_cq_destroy(struct rnic_cq *cq);
/* Fills at most MAX; -errno: the device has failed. */
int rnic_cq_poll(struct rnic_cq *cq, struct rnic_done *done, int max);
/* For poller.arm: the next completion wakes the reactor. */
enum poller_arm rnic_cq_arm(struct rnic_cq *cq);

struct rnic_srq;

struct rnic_srq *rnic_srq_create(struct rnic_domain *domain, unsigned entries, unsigned sges);
void rnic_srq_destroy(struct rnic_srq *srq);
/* A chain. -errno: none of it may be relied on, the device has failed or ENTRIES are posted. */
int rnic_srq_post(struct rnic_srq *srq, struct rnic_recv *first);

/* ---- connections ---- */

enum rnic_event_type {
	RNIC_ROUTED,                    /* ours: conn->device is known; make the queue, connect */
	RNIC_ESTABLISHED,
	RNIC_FAILED,                    /* error; refused by the peer: -ECONNREFUSED, private */
	RNIC_DISCONNECTED,              /* by the peer or by us: posted work is being flushed */
	RNIC_REMOVED,                   /* the device goes: completions may never come */
	RNIC_CLOSED,
	RNIC_EVENT_COUNT,
};

struct rnic_conn;

struct rnic_event {
	enum rnic_event_type type;
	int error;                      /* FAILED: -errno */
	unsigned reason;                /* FAILED: of a reject, as the fabric says */
	unsigned reads_in, reads_out;   /* request, ESTABLISHED: what the peer asks, offers */
	const void *private;            /* request, ESTABLISHED, FAILED; may be padded with 0 */
	size_t private_len;
};

struct rnic_conn {
	void (*event)(struct rnic_conn *conn, const struct rnic_event *event);
	void *owner;
	struct rnic_device *device;     /* NULL before ROUTED */
	struct net_addr local, peer;
	unsigned reactor;
	uint32_t qp;                    /* number, once there is a queue */
};

struct rnic_queue {
	struct rnic_domain *domain;
	struct rnic_cq *cq;             /* of the connection's reactor */
	struct rnic_srq *srq;           /* NULL: receives are posted to the connection */
	unsigned sends, recvs;          /* work requests in flight */
	unsigned send_sges, recv_sges;
};

/* A queue pair for CONN, on its reactor. -errno. */
int rnic_queue_create(struct rnic_conn *conn, const struct rnic_queue *queue);

struct rnic_param {
	unsigned reads_in, reads_out;   /* in flight: the peer's, ours */
	const void *private;
	size_t private_len;
};

/*
 * A new connection of the calling reactor: RNIC_ROUTED or RNIC_FAILED follows. LOCAL may be NULL.
 * NULL: errno, ENODEV when there is no adapter.
 */
struct rnic_conn *rnic_resolve(const struct net_addr *peer, const struct net_addr *local,
			       uint64_t timeout_us,
			       void (*event)(struct rnic_conn *conn,
					     const struct rnic_event *event), void *owner);
/* With a queue: ESTABLISHED or FAILED follows. -errno. */
int rnic_connect(struct rnic_conn *conn, const struct rnic_param *param);
/* Of a listener's request, with a queue: ESTABLISHED or FAILED follows. -errno. */
int rnic_accept(struct rnic_conn *conn, const struct rnic_param *param);
/* Of a listener's request. rnic_close() follows. */
void rnic_reject(struct rnic_conn *conn, const void *private, size_t private_len);
/* Takes the queue into its error state: posted work ends in completions. In any state. */
void rnic_disconnect(struct rnic_conn *conn);
/* Frees the queue and the connection; RNIC_CLOSED follows, later. */
void rnic_close(struct rnic_conn *conn);

/* A chain. -errno: what was not posted does not complete; the connection has failed. */
int rnic_post_send(struct rnic_conn *conn, struct rnic_send *first);
int rnic_post_recv(struct rnic_conn *conn, struct rnic_recv *first);

/* A listening address, of reactor 0. */
struct rnic_listener {
	struct net_addr addr;           /* port 0 is filled in */
	/*
	 * A connection of reactor 0, or, after rnic_give() inside of this call, of another: accept
	 * it, or reject and close it. Its event and owner are set here.
	 */
	void (*request)(struct rnic_listener *listener, struct rnic_conn *conn,
			const struct rnic_event *event);
	/* The device goes: nothing comes in any more. Unlisten. */
	void (*removed)(struct rnic_listener *listener);
	void *priv;                     /* the layer's */
};

/* On reactor 0. -ENODEV: no adapter has the address; -EADDRINUSE … */
int rnic_listen(struct rnic_listener *listener);
void rnic_unlisten(struct rnic_listener *listener);
/* CONN is REACTOR's from now on; tell that reactor by a message. */
void rnic_give(struct rnic_conn *conn, unsigned reactor);

#endif
