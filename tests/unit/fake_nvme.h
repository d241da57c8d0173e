/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An emulated NVMe controller behind struct pci_dev. Its registers and doorbells are memory; the
 * test steps it: fake_nvme_step() looks at what the driver wrote, fetches commands, executes them
 * on a model in memory and posts completions, as crookedly as the knobs say. It touches the
 * driver's memory by plain pointers, so that a sanitizer sees every access that should not be, and
 * fails the test when it would without bus master or outside of what its rules allow.
 *
 * There is a second, independent description of PRPs and SGLs here: the walker.
 */
#ifndef TESTS_FAKE_NVME_H
#define TESTS_FAKE_NVME_H

#include <stdbool.h>
#include <stdint.h>

#include "core/spec/nvme.h"
#include "core/spec/nvme_identify.h"
#include "core/spec/nvme_log.h"
#include "drivers/pci/pci.h"

enum {
	FAKE_QUEUES = 9,                /* admin and 8 I/O */
	FAKE_NS = 4,
	FAKE_HELD = 1024,
	FAKE_VECTORS = 16,
	FAKE_BAR_BYTES = 0x2000,
	FAKE_SEGMENTS = 600,
};

struct fake_nvme;

struct fake_ring {
	bool live;
	uint64_t addr;
	uint32_t size, head, tail;
	uint16_t cqid;                  /* of a submission queue */
	bool phase;                     /* of a completion queue */
	bool irq;
	uint16_t vector;
	uint32_t seen;                  /* last value of the doorbell register */
	bool asleep;                    /* with shadow doorbells: waits for the register */
};

struct fake_ns {
	bool active;
	uint32_t block_bytes;
	uint64_t block_count;
	uint16_t metadata;
	uint8_t dlfeat, nsattr;
	uint8_t fpi;
	uint8_t *data;
};

struct fake_held {
	uint16_t sqid;
	struct nvme_sqe sqe;
};

/* What to do with a command: a status, or one of these. */
enum fake_verdict { FAKE_DO = -1, FAKE_HOLD = -2, FAKE_DROP = -3 };

struct fake_segment {
	uint8_t *p;
	size_t len;
};

struct fake_nvme {
	struct pci_dev dev;

	/* knobs, set before attach */
	uint64_t cap;
	uint32_t version;
	unsigned queues_max;            /* granted pairs */
	uint16_t oacs, oncs;
	uint32_t sgls, oaes;
	uint8_t mdts, vwc;
	uint8_t cntrltype;
	uint16_t crdt1;
	/* knobs, at any time */
	bool dead;                      /* every register reads as all ones */
	bool fatal;                     /* CSTS.CFS */
	bool stuck;                     /* RDY does not change any more */
	bool mute;                      /* fetches nothing, answers nothing */
	bool reset_fails;
	unsigned ready_steps;           /* until RDY follows EN */
	unsigned disorder;              /* not 0: completions come in random order; seed */
	/* decides about each command, NULL: FAKE_DO */
	int (*rule)(struct fake_nvme *f, uint16_t sqid, const struct nvme_sqe *sqe);
	void *rule_arg;

	/* state */
	volatile uint8_t *bar;
	uint32_t vector_table[FAKE_VECTORS * 4];
	int vector_fds[FAKE_VECTORS];
	unsigned vector_fd_count;
	uint32_t pending;               /* vectors that fire when unmasked */
	uint16_t pci_command;
	struct fake_ring sq[FAKE_QUEUES], cq[FAKE_QUEUES];
	uint32_t cc;
	unsigned steps_left;
	uint64_t shadow, shadow_events; /* addresses, 0: none */
	struct fake_ns ns[FAKE_NS];
	struct fake_held held[FAKE_HELD];
	unsigned held_count;
	bool aer_waiting;
	uint16_t aer_cid;
	bool cache_dirty;               /* written since the last flush */

	/* figures */
	unsigned commands[256], admin_commands[256];
	unsigned interrupts, enables, shutdowns, function_resets, closes, doorbells;
	unsigned aborts_seen;
	uint16_t last_abort_cid, last_abort_sqid;
};

/* A drive with one namespace of 512-byte blocks; installed for pci_open. */
void fake_nvme_init(struct fake_nvme *f, const char *pci);
void fake_nvme_fini(struct fake_nvme *f);
void fake_nvme_ns_add(struct fake_nvme *f, uint32_t nsid, uint32_t block_bytes,
		      uint64_t block_count);
/* One look; returns how much was done. */
int fake_nvme_step(struct fake_nvme *f);
/* Answers a held command with STATUS, FAKE_DO: executes it; INDEX into held. */
void fake_nvme_release(struct fake_nvme *f, unsigned index, int verdict);
void fake_nvme_release_all(struct fake_nvme *f, int verdict);
/* Posts any completion whatever. */
void fake_nvme_post(struct fake_nvme *f, uint16_t cqid, const struct nvme_cqe *cqe);
/* Completes the AER, if one waits. */
void fake_nvme_event(struct fake_nvme *f, uint32_t dw0);

/*
 * The pieces of memory that a command describes for LEN bytes; count, or -1 when the description
 * breaks a rule.
 */
int fake_nvme_walk(const struct nvme_sqe *sqe, size_t len, struct fake_segment *segments);

/* fake_nvme_cmd.c: STATUS of the command; dw0 of its completion. */
int fake_nvme_admin(struct fake_nvme *f, const struct nvme_sqe *sqe, uint32_t *dw0);
int fake_nvme_io(struct fake_nvme *f, const struct nvme_sqe *sqe);

#endif
