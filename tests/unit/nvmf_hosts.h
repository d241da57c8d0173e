/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several hosts at several listeners of the box (nvmf_box.h), with their commands by name, and the
 * changes of the target that need a task.
 */
#ifndef TESTS_NVMF_HOSTS_H
#define TESTS_NVMF_HOSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "targets/nvmf/nvmf.h"
#include "tests/unit/nvmf_box.h"

#define HOSTS_OTHER "nqn.2026-01.io.karst.test:other"

/* The box's address, and that of a second listener. */
extern const struct net_addr hosts_addr, hosts_far_addr;
/* What the last command that reads has read. */
extern uint8_t hosts_page[8192], hosts_data[4096];

struct hosts_host {
	struct tbox_conn admin, io;
	uint16_t cntlid;
};

struct nvmf_subsystem *hosts_subsystem(void);
/* Made when it is not there. */
struct nvmf_listener *hosts_far_listener(void);

struct tbox_end hosts_connect(struct tbox_conn *c, const char *hostnqn, uint16_t qid,
			      uint16_t cntlid);
/* An enabled controller with an I/O queue. */
void hosts_up(struct hosts_host *h, const char *hostnqn, const struct net_addr *addr);
void hosts_down(struct hosts_host *h);
uint16_t hosts_read(struct hosts_host *h, uint32_t nsid);
uint16_t hosts_identify(struct hosts_host *h, uint8_t cns, uint32_t nsid);
/* BITS: of cdw10, beside the page and its length. */
uint16_t hosts_log(struct hosts_host *h, uint8_t lid, uint32_t len, uint64_t offset,
		   uint32_t bits);
/* Sets what events are wanted and sends one request for them. */
void hosts_want_events(struct hosts_host *h, uint32_t bits, uint16_t *cid);
uint32_t hosts_event(struct hosts_host *h, uint16_t cid);
/* Nothing comes from the controller. */
bool hosts_silent(struct hosts_host *h);

struct hosts_change {
	enum { HOSTS_ADD, HOSTS_REMOVE, HOSTS_GRANT, HOSTS_REVOKE, HOSTS_ANA } what;
	uint32_t nsid;
	const char *host;
	struct nvmf_ns_spec spec;
	unsigned group;
	struct nvmf_listener *listener;
	uint8_t state;
	int rc;
};

/* A task that makes the change. */
void hosts_change_task(void *arg);
int hosts_change(struct hosts_change c);

#define hosts_ns_add(n, ...) \
	hosts_change((struct hosts_change){ .what = HOSTS_ADD, .nsid = (n), \
					    .spec = { __VA_ARGS__ } })
#define hosts_ns_remove(n) \
	hosts_change((struct hosts_change){ .what = HOSTS_REMOVE, .nsid = (n) })
#define hosts_grant(n, h) \
	hosts_change((struct hosts_change){ .what = HOSTS_GRANT, .nsid = (n), .host = (h) })
#define hosts_revoke(n, h) \
	hosts_change((struct hosts_change){ .what = HOSTS_REVOKE, .nsid = (n), .host = (h) })
#define hosts_ana_set(g, l, s) \
	hosts_change((struct hosts_change){ .what = HOSTS_ANA, .group = (g), .listener = (l), \
					    .state = (s) })

#endif
