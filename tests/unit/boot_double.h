/* SPDX-License-Identifier: BSD-3-Clause */
/* What boot/main.c gives the rest of boot/, for tests, which have a main of their own. */
#ifndef UNIT_BOOT_DOUBLE_H
#define UNIT_BOOT_DOUBLE_H

#include "boot/boot.h"

extern unsigned boot_end_calls;
extern enum boot_end boot_end_how;      /* of the last call */

#endif
