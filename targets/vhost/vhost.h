/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user: disks of virtual machines on the same host, through shared memory. This is the whole
 * back end, from the UNIX socket to the rings; a device (blk.c, scsi.c) gets requests whose memory
 * is checked and translated, and gives them back.
 *
 * Who owns what. A device and its session (the connected monitor) belong to reactor 0; each message
 * is handled there, in the session's task, from its first byte to its reply. A queue that runs
 * belongs to its reactor, which is chosen when it starts: queues of one device are spread over all.
 * Starting, stopping and changing memory visit that reactor with task_call, so a queue meets
 * neither lock nor half a change.
 *
 * Guest memory is hostile: it may change at any moment. Whatever is read from it is copied once,
 * checked, and only the copy is used. What is wrong in a ring breaks that queue and nothing else.
 *
 * A request goes through vh_queue_poll -> ring pop -> ops->exec -> (bdev) -> vh_req_done -> ring
 * push -> one notification a round.
 *
 * device.c   sockets and devices        session.c  a connection, its messages' bytes
 * message.c  what each message means    vring.c    messages about one ring
 * memory.c   guest memory, dirty log    map.c      files of the front end, mapped
 * fault.c    memory whose file was cut  call.c     telling the guest
 * queue.c    a ring that runs           split.c, packed.c  the two formats
 * inflight.c requests that outlive us   chain.c    descriptors to memory
 * blk.c      virtio-blk                 scsi.c, scsi_control.c  virtio-scsi
 */
#ifndef VHOST_VHOST_H
#define VHOST_VHOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/base/list.h"
#include "core/base/util.h"
#include "core/buf.h"
#include "core/reactor.h"
#include "core/spec/vhost_user.h"
#include "core/spec/virtio.h"
#include "core/task.h"

enum {
	VH_NAME_BYTES = 64,
	VH_PATH_BYTES = 104,
	VH_REQUEST_QUEUES_MAX = 64,
	VH_QUEUES_MAX = VH_REQUEST_QUEUES_MAX + 2,      /* the two others of SCSI */
	VH_REGIONS_MAX = 64,            /* memory slots offered to a front end */
	VH_IOV_MAX = 320,               /* pieces of memory in one request */
	VH_CHAIN_MAX = 1024,            /* descriptors in one chain */
	VH_POLL_BUDGET = 32,            /* requests taken from one ring in one round */
	VH_POLL_BYTES = 1 << 20,        /* none is taken any more when they move so much */
	VH_WHY_BYTES = 96,
	VH_MESSAGE_MS = 10000,          /* to finish a message once begun */
};

/* Address space that one session may take. */
#define VH_MAPPED_MAX (8ull << 40)

struct cmd_ctx;
struct config_out;
struct vh_device;
struct vh_session;
struct vh_queue;

/* ---- guest memory ---- */

/* A part of a file of the front end: map.c. */
struct vh_map {
	struct vh_session *session;
	void *base;                     /* NULL: none */
	size_t bytes;
	void *at;                       /* where the part begins */
	bool huge;                      /* of huge pages */
	int slot;                       /* of fault.c */
};

/* A mapped piece of guest memory; shared by the tables that name it. */
struct vh_region {
	uint64_t guest, user, size;     /* guest address, the front end's address, bytes */
	char *host;                     /* ours */
	struct vh_map map;
	uint64_t dev, ino, offset;      /* of the file: the same memory again is not mapped again */
	bool dma;                       /* devices reach it */
	unsigned users;                 /* tables */
};

/* Immutable once published; sorted by guest address, without overlaps. */
struct vh_memory {
	unsigned count;
	bool dma;                       /* all of it */
	struct vh_region *region[VH_REGIONS_MAX];
};

/* The dirty log of a migration. */
struct vh_log {
	struct vh_map map;
	_Atomic uint8_t *bits;          /* NULL: none */
	size_t bytes;
};

/* ---- requests ---- */

/* Embedded by the device's request, first. */
struct vh_req {
	struct vh_queue *queue;
	struct list link;               /* the queue's free ones, or those at the device */
	uint16_t head;                  /* split: first descriptor; packed: buffer ID */
	uint16_t descs;                 /* packed: slots that the chain takes in the ring */
	uint16_t inflight;              /* packed: its first entry in the in-flight memory */
	uint16_t out_count, in_count;   /* pieces that the device reads, then ones that it writes */
	uint32_t out_bytes, in_bytes;
	struct iovec *out, *in;         /* what is left of the parts, in iov */
	struct iovec iov[VH_IOV_MAX];   /* out, then in */
};

/* ---- rings ---- */

enum vh_queue_state {
	VH_QUEUE_STOPPED,
	VH_QUEUE_RUNNING,
	VH_QUEUE_DRAINING,              /* takes nothing more, waits for what is in flight */
	VH_QUEUE_BROKEN,                /* the guest wrote nonsense: until it is stopped */
};

struct vh_ring_ops {
	/* Takes one chain into REQ: 1; 0: none there; -EPROTO: the ring is broken. */
	int (*pop)(struct vh_queue *queue, struct vh_req *req);
	/* Gives a request back, WRITTEN bytes of it written; the guest sees it after publish. */
	void (*push)(struct vh_queue *queue, struct vh_req *req, uint32_t written);
	/* Shows what was pushed; true: the guest wants a notification. */
	bool (*publish)(struct vh_queue *queue);
	/* Asks for kicks (true), or for none. True when there is work already. */
	bool (*want_kicks)(struct vh_queue *queue, bool want);
	/* Checks the addresses of a ring that starts. 0, -EFAULT. */
	int (*map)(struct vh_queue *queue);
};

extern const struct vh_ring_ops vh_split_ops, vh_packed_ops;

struct vh_queue {
	/* of the running queue's reactor */
	const struct vh_ring_ops *ring;
	struct vh_session *session;
	const struct vh_memory *memory;
	const struct vh_region *region; /* of memory: where the last address was; of no bytes */
	uint8_t state;                  /* enum vh_queue_state */
	bool event_idx, indirect;
	bool polling;                   /* no kicks wanted now */
	bool avail_wrap, used_wrap;     /* packed */
	uint16_t size, mask;            /* mask: split rings are powers of two */
	uint16_t last_avail, last_used; /* split: free-running; packed: positions */
	uint16_t signalled;             /* last_used when the guest last was or could be told */
	uint16_t pushed;                /* since the last publish */
	union {
		struct {
			struct virtq_desc *desc;
			struct virtq_avail *avail;
			struct virtq_used *used;
		};
		struct {
			struct virtq_packed_desc *packed;
			struct virtq_packed_event *driver_event, *device_event;
		};
	};
	uint16_t first_head;            /* packed: first of the batch, its flags come last */
	uint16_t first_flags;
	const struct vh_log *log;       /* NULL: what is written need not be logged */
	uint64_t used_guest;            /* guest addresses of what we write, for the log: */
	uint64_t event_guest;           /* used or packed ring; packed: our event structure */
	struct list free, busy;         /* requests */
	void *requests;
	uint16_t *batch;                /* what was pushed since the last publish, for inflight.c */
	uint32_t inflight_count;
	struct event drained;
	struct poller poller;
	struct fd_source kick_source;
	uint64_t served, kicks, calls;  /* figures; others read them */
	/* in-flight memory; NULL: none */
	void *inflight;
	uint64_t inflight_counter;
	uint16_t *again;                /* what our last life left, oldest first: entries */
	unsigned again_next, again_count;

	/* reactor 0's */
	unsigned index, reactor;
	bool enabled, started;
	bool has_addr;
	uint16_t base_avail, base_used; /* SET_VRING_BASE; packed: with wrap counters */
	uint16_t num;
	struct vhost_user_vring_addr addr;
	int kick_fd, call_fd, err_fd;   /* -1: none */
	bool kick_given;                /* also when it polls without one */
	char why[VH_WHY_BYTES];         /* it is broken */
};

/* ---- devices ---- */

struct vh_device_ops {
	const char *kind;
	unsigned queues_min;            /* that are not requests: SCSI's two */
	size_t request_bytes;           /* struct vh_req first */
	uint64_t (*features)(const struct vh_device *dev);
	/* The configuration space; returns its length. NULL: it has none here. */
	size_t (*config_get)(const struct vh_device *dev, uint8_t space[VHOST_USER_CONFIG_MAX]);
	/* 0, -EINVAL. */
	int (*config_set)(struct vh_device *dev, unsigned offset, const uint8_t *data, size_t len);
	/* On the queue's reactor: ends in vh_req_done, at once or later. */
	void (*exec)(struct vh_req *req);
	/* How many requests should be taken from this queue now; NULL: all. */
	unsigned (*wants)(const struct vh_queue *queue);
	/* The driver set its features, or the session ended (0). In the session's task. */
	void (*negotiated)(struct vh_device *dev, uint64_t features);
	/* The device was reset by the guest, or its front end went. May wait. May be NULL. */
	void (*reset)(struct vh_device *dev);
	/* Lets go of its disks and frees itself: no session. In a task. */
	void (*destroy)(struct vh_device *dev);
	/* Options of `vhost create` beyond the common ones, and what makes the targets. */
	void (*config)(const struct vh_device *dev, struct config_out *out);
	/* Rows of `vhost show`. */
	void (*show)(const struct vh_device *dev, struct cmd_ctx *ctx);
};

struct vh_options {
	char name[VH_NAME_BYTES], path[VH_PATH_BYTES];
	bool path_given, mode_given, owner_given;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	unsigned queues;                /* request queues offered; 0: as many as there may be */
};

/* Embedded by blk's and SCSI's. Reactor 0. */
struct vh_device {
	const struct vh_device_ops *ops;
	struct vh_options options;
	unsigned queue_count;           /* all of them */
	struct list link;
	struct fd_source listener;
	bool listening;
	struct timer resume;            /* when taking a front end failed */
	ino_t socket_ino;               /* of the socket file that is ours */
	int lock_fd;
	struct vh_session *session;     /* NULL: no front end */
	struct event session_gone;
	bool deleting;
	uint64_t sessions;              /* so far */
};

/* ---- sessions ---- */

struct vh_session {
	struct vh_device *dev;
	int fd;
	struct fd_source source;
	struct event readable;
	atomic_bool cut;                /* fault.c: the guest's memory is no longer there */
	atomic_bool blocks;             /* call.c: it made a reactor wait */
	bool closing;
	char why[VH_WHY_BYTES];
	uint32_t id;
	uint64_t features, protocol;
	bool features_set;
	struct vh_memory *memory;       /* NULL: none yet */
	struct vh_log log;
	uint64_t mapped;                /* bytes of the front end's files */
	int backend_fd;                 /* channel to the front end, -1 */
	uint8_t status;
	struct vh_map inflight;         /* in-flight memory */
	size_t inflight_bytes;
	uint16_t inflight_queues, inflight_size;
	struct vh_queue queue[VH_QUEUES_MAX];
};

/* A message as it came. */
struct vh_message {
	uint32_t request, flags, size;
	union vhost_user_payload payload;
	int fd[VHOST_USER_FDS_MAX];
	unsigned fds;
	uint64_t deadline_us;           /* for the rest of it; 0: nothing of it has come */
};

/* ---- words that the guest may change while they are looked at: read once, then ours ---- */

static inline uint16_t vh_load(const le16 *p, int order)
{
	return __atomic_load_n(&p->raw, order);
}

static inline void vh_store(le16 *p, uint16_t v, int order)
{
	__atomic_store_n(&p->raw, v, order);
}

/* A descriptor, of 16 bytes, wherever it lies. */
static inline void vh_copy_desc(void *desc, const void *from)
{
	typedef uint64_t __attribute__((aligned(1), may_alias)) word;
	const volatile word *words = from;
	uint64_t copy[2] = { words[0], words[1] };

	memcpy(desc, copy, sizeof(copy));
}

/* ---- functions, by file ---- */

/* device.c */
/* Listens. -EEXIST (name or live socket), -EINVAL, and what bind, chmod, chown say. In a task. */
int vh_device_start(struct vh_device *dev, const struct vh_device_ops *ops,
		    const struct vh_options *options);
/* Ends the session, removes the socket, calls destroy. In a task. */
void vh_device_delete(struct vh_device *dev);
/* Its session has ended: it takes the next front end. LATE: not at once. Reactor 0. */
void vh_device_free(struct vh_device *dev, bool late);
/* The same as delete in a task of its own. Reactor 0. */
void vh_device_delete_soon(struct vh_device *dev);
struct vh_device *vh_device_find(const char *name);
struct vh_device *vh_device_next(const struct vh_device *prev);
/* The configuration space has changed: tells the guest. */
void vh_device_config_changed(struct vh_device *dev);
/* The defaults of OPTIONS for NAME: socket path and mode. */
void vh_options_init(struct vh_options *options, const char *name);
/* As they are typed, with a space in front: "" when all is as it begins. */
void vh_options_text(const struct vh_options *options, char *text, size_t text_bytes);

/* session.c */
/* A descriptor that came from a front end, of whatever kind, without waiting. -1: no effect. */
void vh_fd_close(int fd);
/* Takes FD over. -ENOMEM. */
int vh_session_start(struct vh_device *dev, int fd);
/* Ends the session soon. Reactor 0. */
void vh_session_close(struct vh_session *session, const char *why);
/* Every queue runs what it has to its end, and then FN(queue) on the queue's reactor. In a task. */
void vh_session_each(struct vh_session *session, void (*fn)(struct vh_queue *queue));

/* message.c */
/* 0; -errno: the session is to be closed, with session->why. MSG's descriptors not taken are -1. */
int vh_message_handle(struct vh_session *session, struct vh_message *msg);
int vh_message_refuse(struct vh_session *session, const struct vh_message *msg, const char *why);
/* -EPIPE. FD -1: none. */
int vh_message_reply(struct vh_session *session, const struct vh_message *msg, const void *payload,
		     size_t len, int fd);

/* vring.c: handlers; codes as of vh_message_handle */
typedef int vh_handler(struct vh_session *session, struct vh_message *msg);
vh_handler vh_set_vring_num, vh_set_vring_addr, vh_set_vring_base, vh_get_vring_base;
vh_handler vh_set_vring_kick, vh_set_vring_call, vh_set_vring_err, vh_set_vring_enable;
/* Starts or stops every queue as its state now wants. In a task. */
void vh_vrings_update(struct vh_session *session);
void vh_vrings_stop(struct vh_session *session);
/* Stopped, and not to run before they are set up anew. */
void vh_vrings_reset(struct vh_session *session);
/* All of them as a new session has them. */
void vh_vrings_init(struct vh_session *session);
void vh_vrings_fini(struct vh_session *session);

/* memory.c */
/* A table of REGIONS, whose files are FDS; regions of OLD that are the same are shared. -errno. */
int vh_memory_create(const struct vh_memory *old, const struct vhost_user_region *regions,
		     const int *fds, unsigned count, struct vh_session *session,
		     struct vh_memory **memory);
/* OLD with one region more, or less (FD -1). -errno. */
int vh_memory_change(const struct vh_memory *old, const struct vhost_user_region *region, int fd,
		     struct vh_session *session, struct vh_memory **memory);
void vh_memory_free(struct vh_memory *memory);
/*
 * The LEN bytes at GUEST as at most MAX pieces; how many, 0: not all of it is memory, or LEN is 0,
 * or they do not fit.
 */
unsigned vh_memory_translate(const struct vh_memory *memory, uint64_t guest, uint32_t len,
			     struct iovec *iov, unsigned max);
/* LEN bytes that lie in one region, by the front end's address; NULL. *GUEST: their address. */
void *vh_memory_user(const struct vh_memory *memory, uint64_t user, uint64_t len, uint64_t *guest);
/* LEN bytes in one region by guest address; NULL. */
void *vh_memory_guest(const struct vh_memory *memory, uint64_t guest, uint64_t len);
/* The region with GUEST in it; one of no bytes when there is none. */
const struct vh_region *vh_memory_region(const struct vh_memory *memory, uint64_t guest);
/* LEN bytes at GUEST, if they lie in REGION; NULL. */
static inline char *vh_region_bytes(const struct vh_region *region, uint64_t guest, uint64_t len)
{
	uint64_t at = guest - region->guest;

	return at < region->size && len <= region->size - at ? region->host + at : NULL;
}
/* Codes of vh_map_open; then the log is what it was. */
int vh_log_set(struct vh_session *session, const struct vhost_user_log *base, int fd);
void vh_log_clear(struct vh_log *log);
void vh_log_guest(const struct vh_log *log, uint64_t guest, uint64_t len);
/* What was written through our pointers. */
void vh_log_iov(const struct vh_log *log, const struct vh_memory *memory, const struct iovec *iov,
		unsigned count);

/* map.c */
/*
 * LEN bytes at OFFSET of FD, which stays the caller's. -EINVAL: not in a regular file; -E2BIG: more
 * than a session may have; -ENOMEM and the like.
 */
int vh_map_open(struct vh_map *map, struct vh_session *session, int fd, uint64_t offset,
		uint64_t len);
/* None: no effect. */
void vh_map_close(struct vh_map *map);

/* fault.c */
/* HOST…+LEN is watched: a fault in it sets *CUT and reads zeroes. A slot, or -ENOSPC. */
int vh_fault_watch(void *host, size_t len, atomic_bool *cut);
void vh_fault_unwatch(int slot);
/* How many are watched. */
unsigned vh_fault_watched(void);
/* CUT is called on reactor 0 some time after a session was marked, or after wake. -errno. */
int vh_fault_init(void (*cut)(void));
void vh_fault_wake(void);
void vh_fault_fini(void);

/* call.c */
/* As long as there are devices. -errno. */
int vh_call_init(void);
void vh_call_fini(void);
/* Before the first call of a reactor, on it. */
void vh_call_ready(void);
/* Adds one to an eventfd; 0 also when it is full. -EINTR: it would have blocked; -errno. */
int vh_call(int fd);

/* queue.c */
/* On the queue's reactor, in a task. 0, -errno with queue->why. */
int vh_queue_start(struct vh_queue *queue);
void vh_queue_stop(struct vh_queue *queue);
/* Waits until nothing is in flight, taking nothing new; go on with resume. */
void vh_queue_pause(struct vh_queue *queue);
void vh_queue_resume(struct vh_queue *queue);
/* The session's memory is another; the queue is paused. */
void vh_queue_remap(struct vh_queue *queue);
void vh_queue_break(struct vh_queue *queue, const char *why);
/* Tells the guest to look at its ring; once too often does no harm. */
void vh_queue_call(struct vh_queue *queue);
/* As vh_memory_guest, first where the last address was. */
static inline void *vh_queue_guest(const struct vh_queue *queue, uint64_t guest, uint64_t len)
{
	void *where = vh_region_bytes(queue->region, guest, len);

	return likely(where) ? where : vh_memory_guest(queue->memory, guest, len);
}

/* split.c, packed.c */
/* The chain at req->head; codes as of pop. */
int vh_split_take(struct vh_queue *queue, struct vh_req *req);
/* Adds one descriptor of the ring to REQ. NULL, or what is wrong. */
const char *vh_packed_add(struct vh_queue *queue, struct vh_req *req,
			  const struct virtq_packed_desc *desc);

/* inflight.c */
int vh_inflight_create(struct vh_session *session, uint16_t queues, uint16_t size,
		       struct vhost_user_inflight *reply, int *fd);
int vh_inflight_set(struct vh_session *session, const struct vhost_user_inflight *msg, int fd);
/* The queue starts: its part of the memory, and which requests have to be done again. -errno. */
int vh_inflight_start(struct vh_queue *queue);
/* It does not run, and begins anew where the front end says. */
void vh_inflight_forget(struct vh_queue *queue);
/* Takes the oldest of those into REQ; codes as of pop. */
int vh_inflight_again(struct vh_queue *queue, struct vh_req *req);
/* A packed ring's descriptor is part of REQ. NULL, or what is wrong. */
const char *vh_inflight_packed(struct vh_queue *queue, struct vh_req *req,
			       const struct virtq_packed_desc *desc);
/* REQ was taken; was pushed; what was pushed was published. */
void vh_inflight_taken(struct vh_queue *queue, struct vh_req *req);
void vh_inflight_pushed(struct vh_queue *queue, struct vh_req *req);
void vh_inflight_published(struct vh_queue *queue);

/* blk.c, scsi.c */
int vh_blk_create(const struct vh_options *options, const char *disk, bool readonly);
int vh_scsi_create(const struct vh_options *options);
int vh_scsi_target_add(struct vh_device *dev, unsigned target, unsigned lun, const char *disk);
int vh_scsi_target_remove(struct vh_device *dev, unsigned target, int lun);
extern const struct vh_device_ops vh_blk_ops, vh_scsi_ops;

#endif
