/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery subsystem and its log page (base 2.0c 5.16.1.23): it is offered on every port and
 * shows a host what it may connect to. Any change of subsystems, hosts or listeners raises the
 * generation counter and tells the discovery controllers that asked for it.
 */
#include "targets/nvmf/nvmf.h"

#include <stdio.h>
#include <string.h>

#include "core/config.h"

int nvmf_discovery_init(void)
{
	struct nvmf_subsystem *subsys;
	int rc = nvmf_subsystem_create(NVMF_DISCOVERY_NQN, true, &subsys);

	if (rc)
		return rc;
	subsys->allow_any = true;
	nvmf_target.discovery = subsys;
	return 0;
}

void nvmf_discovery_changed(void)
{
	struct nvmf_ctrl *ctrl;

	nvmf_target.genctr++;
	if (!nvmf_target.discovery)
		return;
	list_for_each(ctrl, &nvmf_target.discovery->ctrls, link)
		nvmf_event_raise(ctrl, NVMF_EVENT_DISCOVERY);
}

static void discovery_text(char *field, size_t len, const char *text)
{
	size_t n = MIN(strlen(text), len);

	memcpy(field, text, n);
	memset(field + n, ' ', len - n);
}

static void discovery_entry(const struct nvmf_queue *queue, const struct nvmf_subsystem *subsys,
			    const struct nvmf_port *port, struct nvmf_discovery_entry *entry)
{
	struct net_addr addr = port->listener.addr;
	char text[ADDR_TEXT_BYTES];

	/* listening on any address: the one that the host has reached us by */
	if (addr_is_any(&addr) && queue->local_addr.family == addr.family)
		memcpy(addr.ip, queue->local_addr.ip, sizeof(addr.ip));
	memset(entry, 0, sizeof(*entry));
	entry->trtype = port->transport->trtype;
	entry->adrfam = addr.family == 6 ? NVMF_ADRFAM_IPV6 : NVMF_ADRFAM_IPV4;
	entry->subtype = subsys->discovery ? NVMF_SUBTYPE_CURRENT_DISCOVERY : NVMF_SUBTYPE_NVM;
	entry->treq = NVMF_TREQ_SECURE_NOT_REQUIRED | NVMF_TREQ_NO_SQ_FLOW;
	entry->portid = le16_make(port->portid);
	entry->cntlid = le16_make(NVMF_CNTLID_DYNAMIC);
	entry->asqsz = le16_make((uint16_t)MAX(config.nvmf_queue_depth_max,
					       NVMF_ADMIN_SQSIZE_MIN));
	if (subsys->discovery)
		entry->eflags = le16_make(NVMF_EFLAGS_EPCSD | NVMF_EFLAGS_DUPRETINFO);
	snprintf(text, sizeof(text), "%u", addr.port);
	discovery_text(entry->trsvcid, sizeof(entry->trsvcid), text);
	addr_format(&addr, text);
	discovery_text(entry->traddr, sizeof(entry->traddr), text);
	memcpy(entry->subnqn, subsys->nqn, sizeof(subsys->nqn));
}

/* Emits the entries in order into REQ, or only counts them when it is NULL. */
static uint64_t discovery_walk(struct nvmf_req *req, const struct nvmf_queue *queue)
{
	const struct nvmf_ctrl *ctrl = queue->ctrl;
	struct nvmf_discovery_entry entry;
	struct nvmf_subsystem *subsys;
	struct nvmf_listener *listener;
	uint64_t count = 0;

	if (queue->port) {
		count++;
		if (req) {
			discovery_entry(queue, ctrl->subsys, queue->port, &entry);
			nvmf_req_emit(req, nvmf_log_offset(req), sizeof(struct nvmf_discovery_log),
				      &entry, sizeof(entry));
		}
	}
	list_for_each(subsys, &nvmf_target.subsystems, link) {
		if (subsys->discovery || subsys->deleting ||
		    !nvmf_host_allowed(subsys, ctrl->hostnqn))
			continue;
		list_for_each(listener, &subsys->listeners, link) {
			uint64_t at = sizeof(struct nvmf_discovery_log) + count++ * sizeof(entry);

			if (!req)
				continue;
			discovery_entry(queue, subsys, listener->port, &entry);
			nvmf_req_emit(req, nvmf_log_offset(req), at, &entry, sizeof(entry));
		}
	}
	return count;
}

uint64_t nvmf_discovery_log_len(const struct nvmf_req *req)
{
	return sizeof(struct nvmf_discovery_log) +
	       discovery_walk(NULL, req->queue) * sizeof(struct nvmf_discovery_entry);
}

void nvmf_discovery_log_emit(struct nvmf_req *req)
{
	struct nvmf_discovery_log head;

	memset(&head, 0, sizeof(head));
	head.genctr = le64_make(nvmf_target.genctr);
	head.numrec = le64_make(discovery_walk(req, req->queue));
	nvmf_req_emit(req, nvmf_log_offset(req), 0, &head, sizeof(head));
}
