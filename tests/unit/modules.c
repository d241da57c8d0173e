/* SPDX-License-Identifier: BSD-3-Clause */
/* Unit tests have no modules: the table of boot/ would link the whole house into each of them. */
#include "core/module.h"

const struct module modules[] = { { 0 } };
