/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/nvmf_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct net_addr hosts_addr = {
	.family = 4, .prefix_len = 32, .port = TBOX_PORT, .ip = { 10, 0, 0, 1 },
};
const struct net_addr hosts_far_addr = {
	.family = 4, .prefix_len = 32, .port = TBOX_PORT, .ip = { 10, 0, 0, 2 },
};

uint8_t hosts_page[8192], hosts_data[4096];

struct nvmf_subsystem *hosts_subsystem(void)
{
	return nvmf_subsystem_find(TBOX_NQN);
}

struct nvmf_listener *hosts_far_listener(void)
{
	struct nvmf_transport *tcp = nvmf_transport_find("tcp");
	struct nvmf_subsystem *subsys = hosts_subsystem();

	if (!nvmf_listener_find(subsys, tcp, &hosts_far_addr))
		assert_int_equal(nvmf_listener_add(subsys, tcp, &hosts_far_addr), 0);
	return nvmf_listener_find(subsys, tcp, &hosts_far_addr);
}

struct tbox_end hosts_connect(struct tbox_conn *c, const char *hostnqn, uint16_t qid,
			      uint16_t cntlid)
{
	struct nvmf_connect_data d = tbox_connect_data(TBOX_NQN, cntlid);
	struct nvme_sqe sqe = tbox_connect_sqe(qid, 31, 0);

	memset(d.hostnqn, 0, sizeof(d.hostnqn));
	memcpy(d.hostnqn, hostnqn, strlen(hostnqn));
	return tbox_run(c, &sqe, &d, sizeof(d), true, NULL, 0);
}

void hosts_up(struct hosts_host *h, const char *hostnqn, const struct net_addr *addr)
{
	struct tbox_end end;

	tbox_dial_at(&h->admin, addr);
	tbox_ic(&h->admin, false, false);
	end = hosts_connect(&h->admin, hostnqn, 0, NVMF_CNTLID_DYNAMIC);
	assert_int_equal(end.status, 0);
	h->cntlid = (uint16_t)end.dw0;
	tbox_enable(&h->admin);
	tbox_dial_at(&h->io, addr);
	tbox_ic(&h->io, false, false);
	assert_int_equal(hosts_connect(&h->io, hostnqn, 1, h->cntlid).status, 0);
}

void hosts_down(struct hosts_host *h)
{
	tbox_hangup(&h->io);
	tbox_hangup(&h->admin);
}

uint16_t hosts_read(struct hosts_host *h, uint32_t nsid)
{
	struct nvme_sqe sqe = tbox_rw(NVME_NVM_READ, 0, 8);

	sqe.nsid = le32_make(nsid);
	return tbox_run(&h->io, &sqe, NULL, 0, false, hosts_data, sizeof(hosts_data)).status;
}

uint16_t hosts_identify(struct hosts_host *h, uint8_t cns, uint32_t nsid)
{
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_IDENTIFY, nsid, cns, 0);

	return tbox_run(&h->admin, &sqe, NULL, 0, false, hosts_page, 4096).status;
}

uint16_t hosts_log(struct hosts_host *h, uint8_t lid, uint32_t len, uint64_t offset, uint32_t bits)
{
	uint32_t numd = len / 4 - 1;
	struct nvme_sqe sqe = tbox_sqe(NVME_ADM_GET_LOG_PAGE, 0, lid | bits | numd << 16,
				       numd >> 16);

	sqe.cdw12 = le32_make((uint32_t)offset);
	memset(hosts_page, 0xee, sizeof(hosts_page));
	return tbox_run(&h->admin, &sqe, NULL, 0, false, hosts_page, len).status;
}

void hosts_want_events(struct hosts_host *h, uint32_t bits, uint16_t *cid)
{
	struct nvme_sqe set = tbox_sqe(NVME_ADM_SET_FEATURES, 0, NVME_FEAT_AEC, bits);
	struct nvme_sqe aer = tbox_sqe(NVME_ADM_ASYNC_EVENT, 0, 0, 0);

	assert_int_equal(tbox_run(&h->admin, &set, NULL, 0, false, NULL, 0).status, 0);
	*cid = tbox_cmd(&h->admin, &aer, NULL, 0);
}

uint32_t hosts_event(struct hosts_host *h, uint16_t cid)
{
	struct tbox_end end = tbox_wait(&h->admin, cid, NULL, 0, NULL, 0);

	assert_int_equal(end.status, 0);
	return end.dw0;
}

bool hosts_silent(struct hosts_host *h)
{
	struct tbox_pdu pdu;

	return !tbox_recv(&h->admin, &pdu);
}

void hosts_change_task(void *arg)
{
	struct nvmf_subsystem *subsys = hosts_subsystem();
	struct hosts_change *c = arg;

	switch (c->what) {
	case HOSTS_ADD:
		c->rc = nvmf_ns_add(subsys, "box", &c->nsid, &c->spec);
		break;
	case HOSTS_REMOVE:
		c->rc = nvmf_ns_remove(subsys, c->nsid);
		break;
	case HOSTS_GRANT:
		c->rc = nvmf_ns_grant(subsys, c->nsid, c->host);
		break;
	case HOSTS_REVOKE:
		c->rc = nvmf_ns_revoke(subsys, c->nsid, c->host);
		break;
	case HOSTS_ANA:
		c->rc = nvmf_ana_set(subsys, c->group, c->listener, c->state);
		break;
	}
}

int hosts_change(struct hosts_change c)
{
	c.rc = 1;
	loop_task(hosts_change_task, &c);
	return c.rc;
}
