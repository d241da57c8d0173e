/* SPDX-License-Identifier: BSD-3-Clause */
/* The heartbeat of an appliance's karst; see heart.c. */
#ifndef BOOT_HEART_H
#define BOOT_HEART_H

/* On reactor 0. -errno, logged. */
int heart_start(void);

#endif
