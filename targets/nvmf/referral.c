/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Referrals: discovery services elsewhere that the discovery log names, so that a host that knows
 * one of a group of appliances finds all. Reactor 0. Nobody asks whether one is there.
 */
#include "targets/nvmf/nvmf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct nvmf_referral *referral_find(uint8_t trtype, const struct net_addr *addr)
{
	struct nvmf_referral *referral;

	list_for_each(referral, &nvmf_target.referrals, link)
		if (referral->trtype == trtype && referral->addr.port == addr->port &&
		    addr_equal(&referral->addr, addr))
			return referral;
	return NULL;
}

int nvmf_referral_add(uint8_t trtype, const struct net_addr *addr)
{
	struct nvmf_referral *referral;

	if (addr_is_any(addr))
		return -EINVAL;
	if (referral_find(trtype, addr))
		return -EEXIST;
	referral = calloc(1, sizeof(*referral));
	if (!referral)
		return -ENOMEM;
	referral->trtype = trtype;
	referral->addr = *addr;
	list_push(&nvmf_target.referrals, &referral->link);
	nvmf_discovery_changed();
	return 0;
}

static void referral_drop(struct nvmf_referral *referral)
{
	list_del(&referral->link);
	free(referral);
}

int nvmf_referral_remove(uint8_t trtype, const struct net_addr *addr)
{
	struct nvmf_referral *referral = referral_find(trtype, addr);

	if (!referral)
		return -ENOENT;
	referral_drop(referral);
	nvmf_discovery_changed();
	return 0;
}

void nvmf_referral_clear(void)
{
	struct nvmf_referral *referral, *tmp;

	list_for_each_safe(referral, tmp, &nvmf_target.referrals, link)
		referral_drop(referral);
}
