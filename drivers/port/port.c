/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The port module. In the appliance it starts from a clean network: names in order, every port up,
 * no addresses but link-local ones (the kernel makes those), no RDMA links; the configuration adds
 * the rest. A hosted karst changes nothing.
 */
#include <errno.h>
#include <string.h>

#include "core/base/log.h"
#include "core/cmd.h"
#include "core/config.h"
#include "drivers/port/port.h"
#include "drivers/port/rdma_link.h"

enum { LOOPBACK_INDEX = 1 };

int port_init(void)
{
	struct port ports[PORT_MAX];
	int count, rc;

	if (!karst_run.appliance)
		return 0;
	rlink_flush();
	rc = port_set_up(LOOPBACK_INDEX, true);
	if (rc)
		log_warn("port lo: cannot be set up: %s", strerror(-rc));
	address_flush();
	port_name_all();
	count = port_list(ports, PORT_MAX);
	if (count < 0)
		return count;
	for (int i = 0; i < count; i++) {
		rc = port_set_up(ports[i].index, true);
		if (rc)
			log_warn("port %s: cannot be set up: %s", ports[i].name, strerror(-rc));
	}
	return 0;
}

void port_fini(void)
{
	lease_fini();
	address_fini();
	rlink_fini();
}

void port_config(struct config_out *out)
{
	struct lease *l;

	list_for_each(l, &leases, link)
		config_line(out, "address dhcp %s", l->port);
	address_config(out);
	rlink_config(out);
}
