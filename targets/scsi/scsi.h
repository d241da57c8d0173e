/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SCSI disks (SAM-5, SPC-4, SBC-3): CDBs in, status and sense data out. A front end (vhost-scsi)
 * fills a struct scsi_task and calls scsi_exec; this layer knows no transport.
 *
 * A logical unit here is one initiator's view of a disk: its unit attentions, mode pages and tasks
 * are its own, and what several initiators share (the data, reservations) belongs to the disk
 * below. Tasks run on the reactor where they came in; lists of them are per reactor. A target is an
 * immutable snapshot of logical units by number: a change makes a new one, publishes it, waits for
 * task_barrier and frees the old.
 *
 * task.c     a CDB from arrival to status          table.c     which commands there are
 * lu.c       logical units, unit attention         tmf.c       task management
 * sense.c    why a command failed                  walk.c      ranges, a piece after the other
 * inquiry.c  INQUIRY and vital product data        mode.c      mode pages
 * report.c   what a device says of itself          block.c     reads, writes, verification
 * unmap.c    UNMAP, WRITE SAME, LBA status         persist.c   persistent reservations
 */
#ifndef SCSI_SCSI_H
#define SCSI_SCSI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/base/list.h"
#include "core/base/util.h"
#include "core/base/uuid.h"
#include "core/bdev.h"
#include "core/buf.h"
#include "core/io.h"
#include "core/reactor.h"
#include "core/resv.h"
#include "core/spec/scsi.h"
#include "core/task.h"

enum {
	SCSI_LUNS_MAX = 256,            /* of a target: one byte of peripheral addressing */
	SCSI_PORT_NAME_BYTES = 64,
	SCSI_TRANSPORT_ID_BYTES = 24,
	SCSI_REPLY_BYTES = 4096,        /* longest reply that is built in memory */
	SCSI_XFER_BYTES_MAX = 16 * 1024 * 1024,
	SCSI_WRITE_SAME_BLOCKS = 65535, /* of one WRITE SAME, in both its forms */
	SCSI_UNMAP_RANGES = 256,        /* of one UNMAP */
	SCSI_CAW_BLOCKS = 255,          /* of one COMPARE AND WRITE */
	SCSI_SENSE_BYTES_MAX = 8 + SCSI_SENSE_INFORMATION_BYTES + SCSI_SENSE_SPECIFIC_BYTES,
};

struct scsi_cmd;
struct scsi_lu;
struct scsi_target;

/* ---- tasks ---- */

/* How a task ended, beside its status: what a front end tells its own way. */
enum scsi_outcome {
	SCSI_OUTCOME_OK,                /* status and sense are valid */
	SCSI_OUTCOME_ABORTED,           /* by a task management function: no status */
	SCSI_OUTCOME_RESET,             /* by a reset: no status */
	SCSI_OUTCOME_OVERRUN,           /* the CDB moves more than there is memory for */
};

/* What a walk over a range does, walk.c. */
enum scsi_walk {
	SCSI_WALK_WRITE,                /* the initiator's first block, everywhere */
	SCSI_WALK_COMPARE,              /* with that block */
	SCSI_WALK_DIFFER,               /* looks for the first byte that is not the initiator's */
};

/* Embedded by the front end's request. */
struct scsi_task {
	struct io io;
	/* the front end's, valid until done */
	const struct scsi_target *target;
	uint16_t lun;
	uint64_t tag;
	uint8_t cdb[SCSI_CDB_BYTES];
	/* data from and to the initiator; the arrays are the task's to shorten */
	struct iovec *out, *in;
	uint16_t out_count, in_count;
	uint32_t out_bytes, in_bytes;
	bool foreign;                   /* that memory is not for devices: IO_FOREIGN */
	/* May come inside scsi_exec. On the same reactor. */
	void (*done)(struct scsi_task *task);

	/* the result */
	uint8_t outcome;                /* enum scsi_outcome */
	uint8_t status;                 /* enum scsi_status */
	uint8_t sense_len;
	uint8_t sense[SCSI_SENSE_BYTES_MAX];
	uint32_t moved;                 /* bytes of data taken or given */

	/* this layer's */
	uint8_t kill;                   /* enum scsi_outcome that a management function wants */
	bool abort_asked;               /* by that function, tmf.c */
	uint8_t walk;                   /* enum scsi_walk */
	bool one_block;                 /* the initiator's data is one block for all */
	uint16_t range, ranges;         /* UNMAP: next descriptor, how many */
	const struct scsi_cmd *cmd;
	struct scsi_lu *lu;
	struct list link;               /* lu->chan[].tasks */
	uint64_t lba, compared;         /* of walks: next block, bytes of the initiator's data */
	uint64_t locate_until_us;
	uint32_t blocks_left;
	struct iovec iov[BUF_IOV_MAX];  /* memory of our own, from core/buf.h */
	struct iovec part[BUF_IOV_MAX]; /* the beginning of it, for a last shorter step */
	unsigned iov_count;
	struct buf_wait wait;
	struct msg msg;
};

/*
 * Runs the task. TARGET is a snapshot that the caller read in this round. done comes exactly once.
 */
void scsi_exec(struct scsi_task *task);

/* ---- logical units ---- */

/* Unit attention conditions, by priority: reported lowest first. */
enum scsi_attention {
	SCSI_UA_POWER_ON,
	SCSI_UA_LU_RESET,
	SCSI_UA_NEXUS_LOSS,
	SCSI_UA_RESERVATIONS_PREEMPTED,
	SCSI_UA_RESERVATIONS_RELEASED,
	SCSI_UA_REGISTRATIONS_PREEMPTED,
	SCSI_UA_CAPACITY_CHANGED,
	SCSI_UA_LUNS_CHANGED,
	SCSI_UA_THIN_THRESHOLD,
	SCSI_UA_COUNT,
};

/* Where an initiator comes in: a front end has one. Made by scsi_port_init. */
struct scsi_port {
	char name[SCSI_PORT_NAME_BYTES];        /* unique on this machine */
	uint8_t transport_id[SCSI_TRANSPORT_ID_BYTES];
	struct resv_host initiator;             /* for reservations */
};

void scsi_port_init(struct scsi_port *port, const char *name);

struct scsi_lu_chan {
	struct list tasks;
	unsigned killed;                /* tasks that a management function waits for */
	struct event settled;           /* the last of them has ended, or the last task at all */
} CACHE_ALIGNED;

/* What a front end does when a unit changes by itself. In a task on reactor 0. */
struct scsi_lu_ops {
	/* The disk goes away: scsi_lu_destroy it, out of this call. */
	void (*gone)(struct scsi_lu *lu);
	/* UA was established: a front end may tell the initiator at once. */
	void (*attention)(struct scsi_lu *lu, enum scsi_attention ua);
};

struct scsi_lu {
	struct bdev *bdev;
	struct bdev_user user;
	const struct scsi_port *port;
	const struct scsi_lu_ops *ops;
	void *owner;                    /* the front end's */
	uint16_t target_id, lun;
	/* any reactor's */
	_Atomic uint32_t attention;     /* bits 1 << enum scsi_attention */
	atomic_bool stopped;            /* START STOP UNIT */
	atomic_bool write_protect;      /* SWP of the control mode page */
	atomic_bool descriptor_sense;   /* and D_SENSE */
	struct scsi_lu_chan *chan;      /* by reactor */
	/* reactor 0's */
	struct list link;               /* all units */
	uint64_t abort_round;           /* persist.c: the last that has visited it */
};

/* An immutable set of logical units. */
struct scsi_target {
	struct scsi_lu *lu[SCSI_LUNS_MAX];
};

/*
 * In a task on reactor 0. Opens DISK for the initiator of PORT; PORT and OPS stay valid as long as
 * the unit. Codes of bdev_open, -ENOMEM.
 */
int scsi_lu_create(const char *disk, const struct scsi_port *port, const struct scsi_lu_ops *ops,
		   struct scsi_lu **lu);
/*
 * In a task on reactor 0; no snapshot names the unit any more, and task_barrier was called: ends
 * its tasks (they are answered as aborted by a reset), closes the disk, frees.
 */
void scsi_lu_destroy(struct scsi_lu *lu);
/* The unit is as when it was powered on, and reports UA. Any reactor. */
void scsi_lu_reset(struct scsi_lu *lu, enum scsi_attention ua);
/* Establishes a unit attention condition. Any reactor. */
void scsi_lu_attention(struct scsi_lu *lu, enum scsi_attention ua);
/* The first condition, cleared; -1: none. */
int scsi_lu_attention_take(struct scsi_lu *lu);
uint16_t scsi_attention_asc(enum scsi_attention ua);

/*
 * In a task on reactor 0. Ends or looks for tasks of LU; those that it ends have been answered when
 * it returns. How many there were; -ENOTSUP.
 */
int scsi_tmf(struct scsi_lu *lu, enum scsi_tmf function, uint64_t tag);
/* Ends every task of LU with OUTCOME; waits for them. In a task on reactor 0. */
unsigned scsi_tasks_end(struct scsi_lu *lu, enum scsi_outcome outcome);
/* The same for what reads and writes the medium, aborted. */
void scsi_transfers_abort(struct scsi_lu *lu);
/* First or next of all units. Reactor 0. */
struct scsi_lu *scsi_lu_next(const struct scsi_lu *prev);

/* ---- the command table ---- */

enum scsi_cmd_flag {
	SCSI_CMD_ANY_LUN = 1 << 0,      /* works where there is no logical unit */
	SCSI_CMD_NO_UA = 1 << 1,        /* neither reports nor clears unit attention */
	SCSI_CMD_MEDIUM = 1 << 2,       /* wants a started unit */
	SCSI_CMD_WRITES = 1 << 3,       /* wants a unit that may be written */
	/* reservations, SPC-4 table 66 and SBC-3 table 13: which conflict */
	SCSI_CMD_PR_FREE = 1 << 4,      /* allowed whatever is reserved */
	SCSI_CMD_PR_READ = 1 << 5,      /* allowed under write exclusive types */
};

enum { SCSI_NO_SA = 0xff };

struct scsi_cmd {
	const char *name;
	uint8_t opcode;
	uint8_t sa;                     /* service action, or SCSI_NO_SA */
	uint8_t len;                    /* of the CDB */
	uint8_t flags;
	/*
	 * Bits of each byte that the command knows; others must be 0. Byte 0 is the opcode, and a
	 * service action's bits are its value: as REPORT SUPPORTED OPERATION CODES gives it.
	 */
	uint8_t usage[16];
	void (*exec)(struct scsi_task *task);
};

/* Once per process, before the first task. */
void scsi_setup(void);
/* NULL: none; *SA_UNKNOWN: the operation code is known, its service action is not. */
const struct scsi_cmd *scsi_cmd_find(const uint8_t *cdb, bool *sa_unknown);
/* The table, ending with name == NULL. */
extern const struct scsi_cmd scsi_cmds[];
/* By opcode and service action; SCSI_NO_SA. NULL. */
const struct scsi_cmd *scsi_cmd_lookup(uint8_t opcode, uint8_t sa);
/* Whether the disk of LU can do what CMD wants. */
bool scsi_cmd_offered(const struct scsi_cmd *cmd, const struct scsi_lu *lu);
/* Whether OPCODE has service actions. */
bool scsi_opcode_has_sa(uint8_t opcode);

/* ---- sense data, sense.c ---- */

struct scsi_sense {
	enum scsi_sense_key key;
	uint16_t asc;
	bool informs;                   /* INFORMATION is valid: an LBA, an offset in data */
	uint64_t information;
	uint8_t specific[3];            /* sense key specific; zeroes: none */
};

/* Writes at most SCSI_SENSE_BYTES_MAX bytes; how many. */
size_t scsi_sense_put(const struct scsi_sense *sense, bool descriptors, uint8_t *p);

/* Each of these ends the task. */
void scsi_fail(struct scsi_task *task, enum scsi_sense_key key, uint16_t asc);
/* INVALID FIELD IN CDB, with a pointer to it. BIT: the highest of the field. */
void scsi_fail_cdb(struct scsi_task *task, unsigned byte, unsigned bit);
/* INVALID FIELD IN PARAMETER LIST. */
void scsi_fail_parameter(struct scsi_task *task, unsigned byte);
/* task->io ended with STATUS: ends the task, perhaps after looking for the place. */
void scsi_fail_io(struct scsi_task *task, enum io_status status);
void scsi_fail_at(struct scsi_task *task, enum io_status status, uint64_t information);
void scsi_fail_unlocated(struct scsi_task *task, enum io_status status);

/* ---- helpers of commands, task.c: each ends the task, or gives its data ---- */

void scsi_good(struct scsi_task *task);
/* The CDB moves more than the front end has memory for. */
void scsi_overrun(struct scsi_task *task);
void scsi_status(struct scsi_task *task, enum scsi_status status);
/* Gives the first LEN bytes of DATA, at most ALLOCATION; ends the task. */
void scsi_reply(struct scsi_task *task, const void *data, size_t len, size_t allocation);
/* Copies LEN bytes of the initiator's data, from byte AT on; false: there are less. */
bool scsi_fetch(const struct scsi_task *task, size_t at, void *data, size_t len);
/* Shortens an array to BYTES in all; it has at least so many. */
void scsi_iov_cut(struct iovec *iov, uint16_t *count, uint32_t bytes);
/* Whether the task was to be ended meanwhile: then it has been. For commands between steps. */
bool scsi_killed(struct scsi_task *task);

/* ---- commands, by file ---- */

/* inquiry.c */
void scsi_inquiry(struct scsi_task *task);

/* mode.c */
void scsi_mode_sense(struct scsi_task *task);
void scsi_mode_select(struct scsi_task *task);

/* report.c */
void scsi_report_luns(struct scsi_task *task);
void scsi_report_opcodes(struct scsi_task *task);
void scsi_report_tmf(struct scsi_task *task);
void scsi_request_sense(struct scsi_task *task);
void scsi_log_sense(struct scsi_task *task);
void scsi_test_unit_ready(struct scsi_task *task);
void scsi_start_stop(struct scsi_task *task);
void scsi_send_diagnostic(struct scsi_task *task);

/* block.c */
void scsi_read_capacity_10(struct scsi_task *task);
void scsi_read_capacity_16(struct scsi_task *task);
void scsi_read(struct scsi_task *task);
void scsi_write(struct scsi_task *task);
void scsi_write_verify(struct scsi_task *task);
void scsi_verify(struct scsi_task *task);
void scsi_prefetch(struct scsi_task *task);
void scsi_sync_cache(struct scsi_task *task);
void scsi_compare_and_write(struct scsi_task *task);
/*
 * LBA and number of blocks of a CDB of any length, checked against the unit's end: false when the
 * task has been ended.
 */
bool scsi_range(struct scsi_task *task, uint64_t *lba, uint32_t *blocks);
/* Submits task->io (op, flags, lba, lba_count, iov are set) to end in DONE. */
void scsi_submit(struct scsi_task *task, void (*done)(struct io *io));

/* unmap.c */
void scsi_unmap(struct scsi_task *task);
void scsi_write_same(struct scsi_task *task);
void scsi_get_lba_status(struct scsi_task *task);

/* walk.c: each ends the task */
/* Over BLOCKS from LBA on; the initiator's first block is in task->out. */
void scsi_walk(struct scsi_task *task, enum scsi_walk walk, uint64_t lba, uint32_t blocks);
/* task->io found a difference between the medium and task->out, could not read a block. */
void scsi_locate_difference(struct scsi_task *task);
void scsi_locate_bad_block(struct scsi_task *task);

/* persist.c */
void scsi_persistent_in(struct scsi_task *task);
void scsi_persistent_out(struct scsi_task *task);
/* Whether a reservation lets the task through. */
bool scsi_persistent_allows(const struct scsi_task *task);
/* With scsi_setup: what other hosts' changes mean to ours. */
void scsi_persistent_setup(void);

#endif
