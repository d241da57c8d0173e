/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/boot_double.h"

struct boot_facts boot_facts;
unsigned boot_end_calls;
enum boot_end boot_end_how;

void boot_end(enum boot_end how)
{
	boot_end_calls++;
	boot_end_how = how;
}
