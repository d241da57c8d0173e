/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asymmetric namespace access: base 2.0c 8.1. Each namespace is in a group of its subsystem; a
 * group has a state, which a listener may have otherwise. Group 1 is always there. Reactor 0.
 */
#ifndef NVMF_ANA_H
#define NVMF_ANA_H

#include <stdbool.h>
#include <stdint.h>

struct nvmf_listener;
struct nvmf_req;
struct nvmf_subsystem;

enum { NVMF_ANA_DEFAULT = 1 };          /* the group of who names none */

/* -ENOMEM. */
int nvmf_ana_init(struct nvmf_subsystem *subsys);
void nvmf_ana_fini(struct nvmf_subsystem *subsys);
bool nvmf_ana_exists(const struct nvmf_subsystem *subsys, unsigned group);
/* STATE: enum nvme_ana_state. -EEXIST, -ENOSPC (past the limit). */
int nvmf_ana_create(struct nvmf_subsystem *subsys, unsigned group, uint8_t state);
/* -ENOENT, -EPERM (the first), -EBUSY (namespaces are in it). */
int nvmf_ana_delete(struct nvmf_subsystem *subsys, unsigned group);
/*
 * In a task: the group's state at LISTENER, or, NULL, at all of them. Hosts are told; commands that
 * begin after it follow the new state. -ENOENT, -ENOMEM.
 */
int nvmf_ana_set(struct nvmf_subsystem *subsys, unsigned group, struct nvmf_listener *listener,
		 uint8_t state);
/* For who came in at PORTID. */
uint8_t nvmf_ana_state(const struct nvmf_subsystem *subsys, uint16_t portid, unsigned group);
/* What commands end with; 0: they may go on. */
uint16_t nvmf_ana_status(uint8_t state);
/* Namespaces of GROUP have changed. */
void nvmf_ana_touch(struct nvmf_subsystem *subsys, unsigned group);
/* Names for the console, in the order of the indices that these two translate. */
extern const char *const nvmf_ana_names[];
uint8_t nvmf_ana_of_index(unsigned index);
const char *nvmf_ana_name(uint8_t state);

/* Log page 0Ch. */
uint64_t nvmf_ana_log_len(const struct nvmf_req *req);
void nvmf_ana_log_emit(struct nvmf_req *req);

#endif
