/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user as a module: its start, its end, and its configuration as commands. */
#include "targets/vhost/module.h"

#include <errno.h>
#include <sys/stat.h>

#include "targets/scsi/scsi.h"
#include "targets/vhost/vhost.h"

/* Front ends that cut memory away, or made a reactor wait. Reactor 0. */
static void end_sessions(void)
{
	struct vh_device *dev = NULL;

	while ((dev = vh_device_next(dev))) {
		if (dev->session && atomic_load(&dev->session->cut))
			vh_session_close(dev->session, "its memory was cut away");
		if (dev->session && atomic_load(&dev->session->blocks))
			vh_session_close(dev->session, "one of its descriptors blocks");
	}
}

int vh_init(void)
{
	static bool ready;

	if (!ready)
		scsi_setup();
	ready = true;
	return vh_fault_init(end_sessions);
}

void vh_fini(void)
{
	struct vh_device *dev;

	while ((dev = vh_device_next(NULL))) {
		if (dev->deleting)
			task_yield();
		else
			vh_device_delete(dev);
	}
	vh_fault_fini();
}

void vh_config(struct config_out *out)
{
	struct vh_device *dev = NULL;

	while ((dev = vh_device_next(dev)))
		dev->ops->config(dev, out);
}
