/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NVMe drives over PCI: what the files of this folder show each other, and at the end the module.
 *
 * A controller (struct nvme_ctrl) lives on reactor 0, where its keeper, one task, attaches it,
 * watches it, recovers it and ends it. Each reactor that has an I/O queue pair (struct nvme_queue)
 * owns it alone; reactors without one send their io to an owner in batches (struct nvme_forward).
 * Each active namespace is a struct bdev. Specifications: NVMe base 2.0c, NVM command set 1.0c,
 * PCIe transport 1.0c.
 */
#ifndef NVME_NVME_H
#define NVME_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/list.h"
#include "core/base/uuid.h"
#include "core/bdev.h"
#include "core/cmd.h"
#include "core/io.h"
#include "core/reactor.h"
#include "core/spec/nvme.h"
#include "core/spec/nvme_identify.h"
#include "core/spec/nvme_log.h"
#include "core/task.h"
#include "drivers/nvme/decode.h"
#include "drivers/pci/pci.h"

struct nvme_ctrl;

enum {
	NVME_CTRL_MAX = 64,             /* drives in one machine */
	NVME_NAME_BYTES = 32,
	NVME_ADMIN_DEPTH = 32,
	NVME_ADMIN_TIMEOUT_MS = 10 * 1000,
	NVME_RETRY_MAX = 5,             /* of one io */
	NVME_RESET_MAX = 5,             /* resets in a row before a controller is given up */
	NVME_RESET_CALM_MS = 30 * 1000, /* without a reset: the next one is the first in a row */
	NVME_HEALTH_MS = 1000,          /* how often the registers are looked at */
	NVME_REAP_BUDGET = 64,          /* completions of a queue in one round */
	NVME_NS_MAX = 256,              /* namespaces of a controller that are served */
	NVME_INDEX_BITS = 12,           /* of a cid: slot; above: generation */
	NVME_DEPTH_MAX = 1 << NVME_INDEX_BITS,
	NVME_REASON_BYTES = 96,
};

/* ---- prp.c: how data is described to the controller ---- */

/*
 * Sets prp1 and prp2 for the bytes of IOV. PAGE_BYTES is CC.MPS. VA: bus addresses are virtual
 * ones. LIST has room for LIST_MAX entries and does not cross a page; LIST_IOVA is its bus address.
 * 0; -EINVAL: not of PRP shape; -EFAULT: memory that devices cannot reach; -E2BIG.
 */
int nvme_prp_build(const struct iovec *iov, unsigned iov_count, size_t page_bytes, bool va,
		   le64 *list, unsigned list_max, uint64_t list_iova, struct nvme_sqe *sqe);
/* The same with an SGL; only where bus addresses are virtual ones. 0, -E2BIG. */
int nvme_sgl_build(const struct iovec *iov, unsigned iov_count, struct nvme_sgl *list,
		   unsigned list_max, uint64_t list_iova, struct nvme_sqe *sqe);

/* ---- queue.c: a submission and a completion queue, owned by one reactor ---- */

enum nvme_slot_state {
	NVME_SLOT_FREE,
	NVME_SLOT_BUSY,
	NVME_SLOT_LATE,         /* timed out, Abort wanted */
	NVME_SLOT_ABORTED,      /* Abort was sent; the next time-out resets the controller */
};

/* One outstanding command. Its cid is index | generation << NVME_INDEX_BITS. */
struct nvme_slot {
	union {
		struct io *io;
		struct nvme_admin_req *req;     /* NULL: nobody waits any more */
	};
	uint64_t posted_us;
	uint64_t list_iova;
	void *list;                     /* PRP list, SGL or DSM range: list_bytes of the queue */
	uint16_t cid;
	uint8_t state;
};

/* A shadow doorbell (base 2.0c 5.8); value NULL: none. */
struct nvme_shadow {
	uint32_t *value;
	volatile uint32_t *event;
};

struct nvme_queue {
	/* data path */
	bool live;                      /* commands may be posted and completions taken */
	bool unmasked;                  /* the vector may raise an interrupt */
	uint8_t phase;
	uint16_t qid, depth;
	uint16_t sq_tail, sq_rung;      /* next entry; what the controller was told */
	uint16_t cq_head;
	uint16_t free_count;
	struct nvme_sqe *sq;
	struct nvme_cqe *cq;
	struct nvme_slot *slots;        /* depth - 1 of them */
	uint16_t *free;                 /* stack of slot indexes */
	volatile uint32_t *sq_doorbell, *cq_doorbell;
	struct nvme_shadow sq_shadow, cq_shadow;
	struct nvme_ctrl *ctrl;
	struct list waiting;            /* io without a slot, in order */
	struct poller poller;

	/* off the data path */
	struct list delayed;            /* io to be tried again at their due_us */
	struct timer retry, scan;
	unsigned reactor;
	size_t list_bytes;
	void *lists;
	int vector;                     /* -1: no interrupts */
	bool maskable;
	struct fd_source irq;
	struct list *back;              /* per reactor: io done, to be sent back */
	uint64_t back_reactors;         /* bits: whose list is not empty */
	bool aborting;                  /* a task sends Aborts */
	uint64_t warn_us;               /* start of the second in which warn_count were logged */
	unsigned warn_count;
	uint64_t posted, timeouts, retries;     /* figures */
};

/* The driver's part of an io (io->scratch), from submit until it is given back. */
struct nvme_io {
	struct msg msg;                 /* used in the first io of a batch between reactors */
	uint64_t due_us;
	uint16_t tries;
	uint16_t unwanted;              /* its owner asked for its end: not tried again */
	enum io_status status;          /* on the way back to its reactor */
};

static inline struct nvme_io *nvme_io_of(struct io *io)
{
	return (struct nvme_io *)io->scratch;
}

/* Memory for a queue of DEPTH entries; LIST_BYTES per slot, 0 for none. -ENOMEM. */
int nvme_queue_init(struct nvme_queue *q, struct nvme_ctrl *ctrl, uint16_t qid, unsigned depth,
		    size_t list_bytes);
void nvme_queue_fini(struct nvme_queue *q);
/* Empties rings and slots for a new start; nothing may be outstanding in the controller. */
void nvme_queue_clear(struct nvme_queue *q);
/* A free slot, or NULL. The caller fills the entry at sq_tail and calls nvme_queue_post. */
struct nvme_slot *nvme_slot_take(struct nvme_queue *q);
void nvme_slot_put(struct nvme_queue *q, struct nvme_slot *slot);
void nvme_queue_post(struct nvme_queue *q, struct nvme_slot *slot);
/* Tells the controller of everything posted. */
void nvme_queue_ring(struct nvme_queue *q);
/* Takes an io, now or when there is room; on the queue's reactor. */
void nvme_queue_submit(struct nvme_queue *q, struct io *io);
/* Posts what waits while there is room. */
void nvme_queue_pump(struct nvme_queue *q);
/* Handles new completions, returns how many. */
int nvme_queue_reap(struct nvme_queue *q);
/* Gives an io back, on whichever reactor it came from. */
void nvme_queue_give_back(struct nvme_queue *q, struct io *io, enum io_status status);

/* ---- lane.c: what each reactor does with its queue ---- */

/* Start and stop polling, interrupts and timers; in a task on the queue's reactor. */
void nvme_lane_open(struct nvme_queue *q);
void nvme_lane_close(struct nvme_queue *q);
/* The controller is up again: the queue goes on. */
void nvme_lane_start(struct nvme_queue *q);
/* Whether one more warning about an io may be logged: a few a second. */
bool nvme_lane_may_warn(struct nvme_queue *q);
/* Ends an io early: taken out of the line, or by Abort. On the queue's reactor. */
void nvme_lane_abort(struct nvme_queue *q, struct io *io);
/* Looks for late commands in a while. */
void nvme_lane_scan_later(struct nvme_queue *q);
/* Sends completed io of other reactors home. */
void nvme_lane_flush(struct nvme_queue *q);
/*
 * Every io of the queue goes back in line (tries are counted) or, out of tries, fails. The
 * controller is disabled.
 */
void nvme_lane_requeue(struct nvme_queue *q);
/* Every io of the queue fails with STATUS. The controller cannot reach memory any more. */
void nvme_lane_fail(struct nvme_queue *q, enum io_status status);

/* ---- forward.c: reactors without a queue ---- */

struct nvme_forward {
	struct poller poller;
	struct list out;                /* submitted in this round */
	struct nvme_queue *to;
};

void nvme_forward_open(struct nvme_forward *f, struct nvme_queue *to);
void nvme_forward_close(struct nvme_forward *f);
void nvme_forward_submit(struct nvme_forward *f, struct io *io);
/* Sends the io of LIST home; they are all of one reactor. */
void nvme_forward_back(struct list *list, unsigned reactor);

/* ---- admin.c ---- */

struct nvme_admin_req {
	struct event done;
	uint32_t dw0;
	uint16_t status;                /* nvme_cqe_status */
	int rc;                         /* of the way there: -ECANCELED, -ENODEV, … */
	bool finished;
	void (*event)(struct nvme_ctrl *ctrl, uint32_t dw0);    /* AER: called instead */
};

struct nvme_admin_result {
	uint32_t dw0;
	uint16_t status;
};

/*
 * Executes a command in the calling task, on reactor 0; cid is filled in. 0; -errno of a failed
 * status (result, if not NULL, has it); -ETIMEDOUT (a reset is on its way), -ECANCELED (reset),
 * -ENODEV.
 */
int nvme_admin_exec(struct nvme_ctrl *c, struct nvme_sqe *sqe, unsigned timeout_ms,
		    struct nvme_admin_result *result);
/* The same with up to 4 KiB of data from the controller. */
int nvme_admin_read(struct nvme_ctrl *c, struct nvme_sqe *sqe, void *data, size_t len);
int nvme_admin_identify(struct nvme_ctrl *c, uint8_t cns, uint32_t nsid, uint8_t csi, void *data);
int nvme_admin_log(struct nvme_ctrl *c, uint8_t lid, uint32_t nsid, void *data, size_t len);
int nvme_admin_feature(struct nvme_ctrl *c, uint8_t fid, uint32_t value,
		       struct nvme_admin_result *result);
int nvme_admin_queues_create(struct nvme_ctrl *c, struct nvme_queue *q);
int nvme_admin_shadow(struct nvme_ctrl *c);
/* Posts the asynchronous event request again; its answer sets c->aer. */
void nvme_admin_aer_post(struct nvme_ctrl *c);
/* A completion of the admin queue. */
void nvme_admin_complete(struct nvme_ctrl *c, struct nvme_slot *slot, uint32_t dw0,
			 uint16_t status);
/* Everybody who waits gets RC; the controller is disabled or gone. */
void nvme_admin_cancel(struct nvme_ctrl *c, int rc);

/* ---- regs.c: enable, disable, shut down; in a task on reactor 0 ---- */

uint32_t nvme_reg_read32(const struct nvme_ctrl *c, unsigned reg);
uint64_t nvme_reg_read64(const struct nvme_ctrl *c, unsigned reg);
void nvme_reg_write32(struct nvme_ctrl *c, unsigned reg, uint32_t v);
/* Reads CAP and derives page size and doorbells. -ENODEV, -ENOTSUP, logged. */
int nvme_regs_probe(struct nvme_ctrl *c);
/* CC.EN to 0 and RDY to 0: afterwards no old command reaches memory. -ETIMEDOUT, -ENODEV. */
int nvme_regs_disable(struct nvme_ctrl *c);
/* Admin queue, CC.EN, RDY. -ETIMEDOUT, -ENODEV, -EIO (CFS). */
int nvme_regs_enable(struct nvme_ctrl *c);
/* CC.SHN normal, until SHST says complete. */
int nvme_regs_shutdown(struct nvme_ctrl *c);

/* ---- disk.c: a namespace as bdev ---- */

struct nvme_ns {
	struct bdev bdev;
	struct nvme_ctrl *ctrl;
	uint32_t nsid;
	struct nvme_ns_info info;
	bool leaving;                   /* a task unregisters it */
	bool seen;                      /* by the scan that runs */
	struct list link;
};

/* Of bdev_chan.priv: exactly one is not NULL. */
struct nvme_chan {
	struct nvme_queue *queue;
	struct nvme_forward *forward;
};

/* The SQE of an io, without cid; 0, or -errno when its memory cannot be described. */
int nvme_disk_encode(const struct nvme_queue *q, struct nvme_slot *slot, struct io *io,
		     struct nvme_sqe *sqe);
/* NULL when the bdev is another driver's. */
struct nvme_ns *nvme_disk_ns(struct bdev *bdev);
/* Makes and registers the bdev. -errno, logged. */
int nvme_disk_create(struct nvme_ctrl *c, uint32_t nsid, const struct nvme_ns_info *info);
/* In a task of its own: unregisters; at the end c->wake is signalled. */
void nvme_disk_leave(struct nvme_ns *ns);
void nvme_health_decode(const struct nvme_log_smart *s, struct bdev_health *health);

/* ---- scan.c: namespaces appear, change and go ---- */

/* Compares the active namespaces with the disks. -errno when the controller could not tell. */
int nvme_scan(struct nvme_ctrl *c);
struct nvme_ns *nvme_scan_find(struct nvme_ctrl *c, uint32_t nsid);
/* Identify, descriptors, decoding; why it cannot be served in WHY. */
int nvme_scan_identify(struct nvme_ctrl *c, uint32_t nsid, struct nvme_ns_info *info,
		       const char **why);

/* ---- ctrl.c ---- */

enum nvme_ctrl_state {
	NVME_CTRL_ATTACHING,
	NVME_CTRL_LIVE,
	NVME_CTRL_RESETTING,
	NVME_CTRL_GONE,         /* removed, dead or given up: every io fails */
	NVME_CTRL_ENDING,       /* shut down */
};

enum nvme_want { NVME_WANT_NOTHING, NVME_WANT_WRITING, NVME_WANT_RESET };

struct nvme_ctrl {
	char name[NVME_NAME_BYTES];     /* nvme0 */
	unsigned index;
	enum nvme_ctrl_state state;
	struct pci_dev *pci;
	struct list link;

	uint64_t cap;
	size_t page_bytes;              /* CC.MPS */
	bool va;                        /* bus addresses are virtual ones */
	struct nvme_ctrl_info info;
	struct nvme_nvm_limits limits;
	uint16_t awupf;
	uint32_t xfer_bytes_max;
	bool sgl;

	struct nvme_queue admin;
	bool admin_live;
	unsigned admin_users;           /* tasks that are in an admin command */
	struct task_lock page_lock;
	void *page;                     /* 4 KiB of DMA memory for admin data */
	uint32_t *shadow;               /* two pages: values and event indexes; NULL: none */
	bool shadow_on;
	struct nvme_admin_req aer_req;
	bool aer;                       /* an event arrived: aer_dw0 */
	uint32_t aer_dw0;

	unsigned queue_count, queue_depth;
	struct nvme_queue *queues;      /* queue_count of them; reactor i owns queues[i] */
	struct nvme_forward *forwards;  /* per reactor */
	int *vector_fds;
	unsigned vector_fd_count;

	struct list namespaces;
	unsigned ns_count;
	uint32_t formatting;            /* NSID that `disk format` is at work on, 0: none */

	/* the keeper's orders */
	struct event wake, attached, ended;
	int attach_rc;
	bool leave, removed, want_scan;
	bool scanning;
	unsigned scans;                 /* that have ended */
	unsigned refs;                  /* of others than the keeper */
	/* any reactor asks for a reset, enum nvme_want; the keeper makes it NVME_WANT_NOTHING */
	int want_reset;
	char reason[NVME_REASON_BYTES];
	bool wake_sent;                 /* wake_msg is under way */
	struct msg wake_msg;
	unsigned resets, resets_in_row;
	uint64_t reset_us;
};

/* Any reactor: asks the keeper for a reset and says why; the first reason counts. */
__attribute__((format(printf, 2, 3)))
void nvme_ctrl_want_reset(struct nvme_ctrl *c, const char *fmt, ...);
/* On reactor 0: wakes the keeper. */
void nvme_ctrl_wake(struct nvme_ctrl *c);
/* FN(queue) as a task on the reactor of every I/O queue, all at once; waits. */
void nvme_ctrl_each_queue(struct nvme_ctrl *c, void (*fn)(struct nvme_queue *q));
/* Attaches the device at ADDR, waits for the outcome. In a task. -EEXIST, -errno, logged. */
int nvme_ctrl_attach(const struct pci_addr *addr);
/* Lets it go: waits until its disks are closed, shuts it down. In a task. */
void nvme_ctrl_detach(struct nvme_ctrl *c);
/* Keeps the struct's memory; the controller itself may end meanwhile. */
void nvme_ctrl_get(struct nvme_ctrl *c);
void nvme_ctrl_put(struct nvme_ctrl *c);
struct nvme_ctrl *nvme_ctrl_next(const struct nvme_ctrl *prev);
struct nvme_ctrl *nvme_ctrl_find(const char *name);

/* ---- bring.c: bringing a controller up, the first time and again ---- */

/* Opens the device at ADDR, queues, Identify. -errno, logged; nvme_bring_down follows anyway. */
int nvme_bring_up(struct nvme_ctrl *c, const struct pci_addr *addr);
/*
 * Enables a disabled controller and creates its I/O queues there; the rings are empty. The first
 * time it also learns what it is and allocates the queues. -errno, logged.
 */
int nvme_bring_enable(struct nvme_ctrl *c);
/*
 * Gives everything back, also of a half-done bring-up. The disks are closed; a controller that
 * still runs is shut down.
 */
void nvme_bring_down(struct nvme_ctrl *c);

/* ---- reset.c ---- */

/* In the keeper: stops all queues, resets, starts again or declares the controller gone. */
void nvme_reset(struct nvme_ctrl *c);
/* Every io fails from here on. */
void nvme_reset_give_up(struct nvme_ctrl *c, const char *why);
/* Looks at the registers: asks for a reset, or finds it gone. */
void nvme_reset_health(struct nvme_ctrl *c);

/* ---- module ---- */

int nvme_init(void);
void nvme_fini(void);
void nvme_config(struct config_out *out);
extern const struct cmd nvme_cmds[];

#endif
