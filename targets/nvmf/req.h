/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands, requests and queues: what a transport and the commands share.
 */
#ifndef NVMF_REQ_H
#define NVMF_REQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/base/list.h"
#include "core/buf.h"
#include "core/io.h"
#include "core/reactor.h"
#include "core/spec/nvme.h"
#include "core/spec/nvme_log.h"
#include "core/spec/nvmf.h"

struct nvmf_req;
struct nvmf_queue;
struct nvmf_ctrl;
struct nvmf_ns;
struct nvmf_port;
struct nvmf_subsystem;

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
	union {
		struct io io;
		struct {                /* while it is on reactor 0: call.c */
			struct msg msg;
			uint16_t (*fn)(struct nvmf_req *req);
			unsigned reactor;       /* where it lives */
			uint16_t status;
		} call;
	};
	struct nvmf_queue *queue;
	/* of an I/O command; NULL once the namespace was taken away before exec */
	struct nvmf_ns *ns;
	void (*exec)(struct nvmf_req *req);
	uint8_t state;                  /* enum nvmf_req_state */
	uint8_t dir;                    /* enum nvmf_dir */
	uint16_t iov_count;
	uint16_t range;                 /* next range or namespace of a command with several */
	uint16_t status;                /* SCT, SC, DNR: enum nvme_status */
	uint16_t sgl_status;            /* what the transport thinks of the SGL */
	uint32_t sgl_len;               /* bytes that the SGL describes */
	uint32_t data_len;              /* bytes to move */
	uint32_t dw0, dw1;              /* of the completion */
	struct nvmf_req *partner;       /* of a fused half: fused.c */
	struct nvme_sqe sqe;
	struct iovec iov[BUF_IOV_MAX];
};

/* ---- queues ---- */

struct nvmf_queue_ops {
	const char *name;
	uint8_t trtype;                 /* enum nvmf_trtype */
	uint32_t sgls;                  /* kinds of SGL: enum nvme_sgls */
	uint8_t msdbd;                  /* data blocks that a command may have */
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
	 * On reactor 0, any time later: the connection is to live on REACTOR as soon as nothing of
	 * it is in flight. nvmf_queue_moved() follows. NULL: queues of this transport stay.
	 */
	void (*shift)(struct nvmf_queue *queue, unsigned reactor);
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
	bool fused_failed;              /* what precedes was a first half, and failed */
	struct nvmf_req *fused;         /* what precedes is a first half: fused.c */
	uint32_t executing;
	/* since the start; other reactors look at them */
	uint64_t commands, errors;
	uint64_t work;                  /* commands, and 1 for each 16 KiB of their data */
	struct list local;              /* queues of this reactor */
	/* an error on its way to the controller's log, see ctrl_error.c */
	struct msg error_msg;
	atomic_bool error_busy;
	struct nvme_log_error error;

	/* reactor 0's */
	struct nvmf_ctrl *ctrl;         /* NULL before Connect */
	struct nvmf_port *port;         /* where it came in */
	struct net_addr local_addr, peer_addr;
	unsigned reactor;               /* where it lives */
	unsigned placed;                /* where it is counted: where it lives or moves to */
	bool counted;                   /* in nvmf_target.reactor_queues */
	bool told;                      /* the transport knows from elsewhere what Connect says: */
	uint16_t told_qid, told_sqsize; /* its queue, and at most its size */
	bool closing;
	bool moving;                    /* on its way between reactors, see balance.c */
	unsigned moves;
	uint64_t shift_us, work_seen;   /* when it was moved last, 0: never; work until then */
	struct list link;               /* ctrl->queues */
};

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
/*
 * In a task on reactor 0: no request of any reactor refers to NS when it returns; those that had
 * not reached exec will fail. HOST: only those of this host; NULL: all.
 */
void nvmf_queue_revoke_ns(struct nvmf_ns *ns, const char *host);
/* FN(queue) for each queue that lives on the calling reactor. */
void nvmf_queue_each_local(void (*fn)(struct nvmf_queue *queue, void *arg), void *arg);
/* "c3 q1" for messages. */
const char *nvmf_queue_text(const struct nvmf_queue *queue, char text[32]);
/* Lists of queues, once per process. */
void nvmf_queue_setup(void);

/* balance.c: on reactor 0 */
/* The reactor for a new I/O queue, which is counted there from now on. */
unsigned nvmf_queue_place(struct nvmf_queue *queue);
/* The queue lives on REACTOR from now on. */
void nvmf_queue_settle(struct nvmf_queue *queue, unsigned reactor);
/* -EOPNOTSUPP, -EBUSY: it ends or moves already. */
int nvmf_queue_shift(struct nvmf_queue *queue, unsigned reactor);
/* Where it lives is certain again; false: it has stayed. */
void nvmf_queue_moved(struct nvmf_queue *queue, bool moved);

/* What a balance is found from: shares of reactors in per mille, work of queues. */
struct nvmf_load {
	unsigned reactor;
	uint64_t work;
	bool may_move;
};

/* Index of the load that should move, and where to; -1: all is well as it is. */
int nvmf_balance_pick(const unsigned *busy, unsigned reactors, const struct nvmf_load *loads,
		      unsigned count, unsigned *to);
void nvmf_balance_init(void);
void nvmf_balance_start(void);
void nvmf_balance_stop(void);

/* error_log.c */
/* On the queue's reactor: records a request that failed. */
void nvmf_error_record(struct nvmf_req *req);
void nvmf_error_init(struct nvmf_queue *queue);

#endif
