/* SPDX-License-Identifier: BSD-3-Clause */
/* The reservation engine over one disk, a store in memory, four hosts, and somebody who is told. */
#ifndef TESTS_RESV_BOX_H
#define TESTS_RESV_BOX_H

#include <stdint.h>

#include "core/resv.h"
#include "tests/unit/fake_bdev.h"
#include "tests/unit/loop.h"

enum { RBOX_HOSTS = 4 };

extern struct resv_host rbox_hosts[RBOX_HOSTS];
extern struct fake_bdev *rbox_disk;
extern char *rbox_kept;                 /* what the store holds */
extern int rbox_save_rc;                /* what saving ends with */
extern unsigned rbox_saves;
/* since the last verb; aborts since the start, and how many hosts the last one named */
extern unsigned rbox_told_count, rbox_aborts, rbox_abort_hosts;

int rbox_setup(void **state);
int rbox_teardown(void **state);
#define rbox_test(name) cmocka_unit_test_setup_teardown(name, rbox_setup, rbox_teardown)

/* Tasks: the disk comes and goes. */
void rbox_disk_open(void *arg);
void rbox_disk_close(void *arg);
/* The engine reads its store; what that says. */
int rbox_load(void);

/* A request by HOST on the disk; RBOX_HOSTS: by nobody. */
int rbox_run(struct resv_request req, unsigned host);
int rbox_register(unsigned host, uint64_t key);
int rbox_verb(unsigned host, enum resv_verb v, uint64_t key, enum resv_type type,
	      uint64_t other_key);
/* Hosts 0, 1, 2 register with keys 10, 11, 12; host 3 does not. */
void rbox_three(void);

const struct resv_state *rbox_now(void);
int rbox_index(unsigned host);
/* HOST was told of EVENT, or of none, by the last verb. */
void rbox_told_is(unsigned host, enum resv_event event);

#endif
