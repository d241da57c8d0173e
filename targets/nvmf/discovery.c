/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The discovery subsystem and its log page (base 2.0c 5.16.1.23): it is offered on every port and
 * shows a host what it may connect to: for each subsystem that it may use an entry for each address
 * that listens, and the discovery services elsewhere that referrals name. Any change of subsystems,
 * hosts, listeners or referrals raises the generation counter; a discovery controller is told when
 * its own host sees something else than before.
 */
#include "targets/nvmf/nvmf.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "core/base/crc32c.h"
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

/* ---- addresses ---- */

/* IP of an interface's address of FAMILY that other machines can use; NULL: it is none. */
static const void *discovery_ip(const struct ifaddrs *ifa, uint8_t family)
{
	const struct sockaddr_in6 *six = (const void *)ifa->ifa_addr;
	const struct sockaddr_in *four = (const void *)ifa->ifa_addr;

	if (!ifa->ifa_addr || !(ifa->ifa_flags & IFF_UP) || (ifa->ifa_flags & IFF_LOOPBACK))
		return NULL;
	if (family == 4)
		return ifa->ifa_addr->sa_family == AF_INET ? &four->sin_addr : NULL;
	return ifa->ifa_addr->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr)
	       ? &six->sin6_addr : NULL;
}

/* This machine's first such address. */
static bool discovery_own_ip(struct net_addr *addr)
{
	struct ifaddrs *all, *ifa;
	bool found = false;

	if (getifaddrs(&all))
		return false;
	for (ifa = all; ifa && !found; ifa = ifa->ifa_next) {
		const void *ip = discovery_ip(ifa, addr->family);

		found = ip;
		if (ip)
			memcpy(addr->ip, ip, addr->family == 4 ? 4 : 16);
	}
	freeifaddrs(all);
	return found;
}

/*
 * Where the host that asks on QUEUE finds the port. Who listens on any address is found where the
 * host has reached us, or, in the other address family, by an address of this machine. False:
 * nowhere.
 */
static bool discovery_addr(const struct nvmf_queue *queue, const struct nvmf_port *port,
			   struct net_addr *addr)
{
	*addr = port->listener.addr;
	if (port->state != NVMF_PORT_LISTENING)
		return false;
	if (!addr_is_any(addr))
		return true;
	if (queue->local_addr.family != addr->family)
		return discovery_own_ip(addr);
	memcpy(addr->ip, queue->local_addr.ip, sizeof(addr->ip));
	return true;
}

/* ---- entries ---- */

static void discovery_text(char *field, size_t len, const char *text)
{
	size_t n = MIN(strlen(text), len);

	memcpy(field, text, n);
	memset(field + n, ' ', len - n);
}

static void discovery_entry(struct nvmf_discovery_entry *entry, uint8_t subtype, const char *nqn,
			    uint8_t trtype, const struct net_addr *addr)
{
	char text[ADDR_TEXT_BYTES];

	memset(entry, 0, sizeof(*entry));
	entry->trtype = trtype;
	entry->adrfam = addr->family == 6 ? NVMF_ADRFAM_IPV6 : NVMF_ADRFAM_IPV4;
	entry->subtype = subtype;
	entry->treq = NVMF_TREQ_SECURE_NOT_REQUIRED | NVMF_TREQ_NO_SQ_FLOW;
	entry->cntlid = le16_make(NVMF_CNTLID_DYNAMIC);
	entry->asqsz = le16_make((uint16_t)MAX(config.nvmf_queue_depth_max,
					       NVMF_ADMIN_SQSIZE_MIN));
	if (subtype == NVMF_SUBTYPE_CURRENT_DISCOVERY)
		entry->eflags = le16_make(NVMF_EFLAGS_EPCSD | NVMF_EFLAGS_DUPRETINFO);
	snprintf(text, sizeof(text), "%u", addr->port);
	discovery_text(entry->trsvcid, sizeof(entry->trsvcid), text);
	addr_format(addr, text);
	discovery_text(entry->traddr, sizeof(entry->traddr), text);
	memcpy(entry->subnqn, nqn, strlen(nqn));
	if (trtype == NVMF_TRTYPE_RDMA) {
		entry->rdma.qptype = NVMF_RDMA_QPTYPE_CONNECTED;
		entry->rdma.prtype = NVMF_RDMA_PRTYPE_NONE;
		entry->rdma.cms = NVMF_RDMA_CMS_CM;
	}
}

/* Emits the entries in order into REQ, or only counts them when it is NULL. */
struct discovery_walk {
	struct nvmf_req *req;
	const struct nvmf_queue *queue;
	uint64_t count;
	uint32_t digest;                /* of the entries, when nothing is emitted */
};

static void walk_entry(struct discovery_walk *walk, const struct nvmf_discovery_entry *entry)
{
	uint64_t at = sizeof(struct nvmf_discovery_log) + walk->count++ * sizeof(*entry);

	if (walk->req)
		nvmf_req_emit(walk->req, nvmf_log_offset(walk->req), at, entry, sizeof(*entry));
	else
		walk->digest = crc32c(entry, sizeof(*entry)) + walk->digest * 31;
}

static void walk_port(struct discovery_walk *walk, const struct nvmf_subsystem *subsys,
		      const struct nvmf_port *port)
{
	struct nvmf_discovery_entry entry;
	struct net_addr addr;

	if (!discovery_addr(walk->queue, port, &addr))
		return;
	discovery_entry(&entry, subsys->discovery ? NVMF_SUBTYPE_CURRENT_DISCOVERY
						  : NVMF_SUBTYPE_NVM,
			subsys->nqn, port->transport->trtype, &addr);
	entry.portid = le16_make(port->portid);
	walk_entry(walk, &entry);
}

static struct discovery_walk discovery_walk(struct nvmf_req *req, const struct nvmf_queue *queue)
{
	struct discovery_walk walk = { .req = req, .queue = queue };
	const struct nvmf_referral *referral;
	const struct nvmf_listener *listener;
	struct nvmf_discovery_entry entry;
	struct nvmf_subsystem *subsys;

	if (queue->port)
		walk_port(&walk, queue->ctrl->subsys, queue->port);
	list_for_each(subsys, &nvmf_target.subsystems, link) {
		if (subsys->discovery || subsys->deleting ||
		    !nvmf_host_allowed(subsys, queue->ctrl->hostnqn))
			continue;
		list_for_each(listener, &subsys->listeners, link)
			walk_port(&walk, subsys, listener->port);
	}
	list_for_each(referral, &nvmf_target.referrals, link) {
		discovery_entry(&entry, NVMF_SUBTYPE_REFERRAL, NVMF_DISCOVERY_NQN,
				referral->trtype, &referral->addr);
		walk_entry(&walk, &entry);
	}
	return walk;
}

/* Whether it sees something else than when this was asked last. */
static bool discovery_news(struct nvmf_ctrl *ctrl)
{
	uint32_t before = ctrl->discovery_digest;

	/* without its admin queue it is about to end */
	if (ctrl->admin)
		ctrl->discovery_digest = discovery_walk(NULL, ctrl->admin).digest;
	return ctrl->discovery_digest != before;
}

void nvmf_discovery_start(struct nvmf_ctrl *ctrl)
{
	discovery_news(ctrl);
}

void nvmf_discovery_changed(void)
{
	struct nvmf_ctrl *ctrl;

	nvmf_target.genctr++;
	if (!nvmf_target.discovery)
		return;
	list_for_each(ctrl, &nvmf_target.discovery->ctrls, link)
		if (discovery_news(ctrl))
			nvmf_event_raise(ctrl, NVMF_EVENT_DISCOVERY);
}

uint64_t nvmf_discovery_log_len(const struct nvmf_req *req)
{
	return sizeof(struct nvmf_discovery_log) +
	       discovery_walk(NULL, req->queue).count * sizeof(struct nvmf_discovery_entry);
}

void nvmf_discovery_log_emit(struct nvmf_req *req)
{
	struct nvmf_discovery_log head;

	memset(&head, 0, sizeof(head));
	head.genctr = le64_make(nvmf_target.genctr);
	head.numrec = le64_make(discovery_walk(req, req->queue).count);
	nvmf_req_emit(req, nvmf_log_offset(req), 0, &head, sizeof(head));
}
