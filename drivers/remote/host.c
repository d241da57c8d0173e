/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own name towards targets: made from what the firmware or the operating system calls this
 * machine, so that it is the same after every start and may stand in the targets' lists.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/util.h"
#include "drivers/remote/remote.h"

enum { ID_BYTES = 64 };

static char hostnqn[NVME_NQN_BYTES];

static void id_read(void *arg)
{
	static const char *const paths[] = { "/sys/class/dmi/id/product_uuid", "/etc/machine-id" };
	char *text = arg;

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		FILE *f = fopen(paths[i], "re");
		size_t n = f ? fread(text, 1, ID_BYTES - 1, f) : 0;

		if (f)
			fclose(f);
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		if (text[0])
			return;
	}
}

const char *remote_hostnqn(void)
{
	char text[ID_BYTES] = "", id[UUID_TEXT_BYTES];
	struct uuid uuid;

	if (hostnqn[0])
		return hostnqn;
	task_block(id_read, text);
	if (text[0]) {
		uuid = uuid_from_name("karst-host", text, strlen(text));
	} else {
		uuid = uuid_random();
		log_warn("remote: this machine has no name of its own; give hostnqn= where targets "
			 "allow only certain hosts");
	}
	uuid_format(&uuid, id);
	snprintf(hostnqn, sizeof(hostnqn), "nqn.2014-08.org.nvmexpress:uuid:%s", id);
	return hostnqn;
}
