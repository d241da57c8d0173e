/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the referral commands: discovery services elsewhere that ours names. */
#include <errno.h>
#include <string.h>

#include "core/cmd.h"
#include "targets/nvmf/cmd.h"
#include "targets/nvmf/nvmf.h"

static uint8_t referral_trtype(struct cmd_ctx *ctx)
{
	return strcmp(cmd_str(ctx, "transport"), "rdma") == 0 ? NVMF_TRTYPE_RDMA
							      : NVMF_TRTYPE_TCP;
}

static struct net_addr referral_addr(struct cmd_ctx *ctx, char text[ADDR_TEXT_BYTES])
{
	struct net_addr addr = *cmd_addr(ctx, "address");

	addr.port = (uint16_t)cmd_u64(ctx, "port", NVMF_DISCOVERY_PORT);
	addr_format_port(&addr, text);
	return addr;
}

int nvmf_cmd_referral_add(struct cmd_ctx *ctx)
{
	char text[ADDR_TEXT_BYTES];
	struct net_addr addr = referral_addr(ctx, text);
	int rc = nvmf_referral_add(referral_trtype(ctx), &addr);

	if (rc == -EEXIST)
		return cmd_fail(ctx, rc, "referral %s: exists already", text);
	if (rc == -EINVAL)
		return cmd_fail(ctx, rc, "referral %s: wants the address of another machine", text);
	return rc ? cmd_fail(ctx, rc, "referral %s: %s", text, strerror(-rc)) : 0;
}

int nvmf_cmd_referral_remove(struct cmd_ctx *ctx)
{
	char text[ADDR_TEXT_BYTES];
	struct net_addr addr = referral_addr(ctx, text);
	int rc = nvmf_referral_remove(referral_trtype(ctx), &addr);

	return rc ? cmd_fail(ctx, rc, "referral %s: there is none; referral list shows them", text)
		  : 0;
}

int nvmf_cmd_referral_list(struct cmd_ctx *ctx)
{
	const struct nvmf_referral *referral;
	char text[ADDR_TEXT_BYTES];

	list_for_each(referral, &nvmf_target.referrals, link) {
		addr_format(&referral->addr, text);
		cmd_row(ctx);
		cmd_col(ctx, "transport", "%s", nvmf_referral_transport(referral));
		cmd_col(ctx, "address", "%s", text);
		cmd_col_u64(ctx, "port", referral->addr.port);
	}
	return 0;
}
