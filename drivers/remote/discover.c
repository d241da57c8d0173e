/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * remote discover: what a target offers, from its discovery log page (base 2.0c 5.16.1.23), by an
 * admin connection that lives as long as the command. The log may change while it is read: then it
 * is read again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/spec/nvme_log.h"
#include "drivers/remote/remote.h"

/* 16 MiB of log: each of a target's 1024 subsystems on several addresses */
enum { RECORDS_MAX = 16 * 1024, READS_MAX = 5 };

/* Text padded with blanks or NULs, printable. */
static void text_take(const char *field, size_t len, char *text)
{
	size_t n = 0;

	for (; n < len && field[n] && field[n] != ' '; n++)
		text[n] = field[n] > ' ' && field[n] <= '~' ? field[n] : '?';
	text[n] = '\0';
}

static const char *subtype_name(uint8_t subtype)
{
	switch (subtype) {
	case NVMF_SUBTYPE_REFERRAL:
		return "referral";
	case NVMF_SUBTYPE_NVM:
		return "nvm";
	case NVMF_SUBTYPE_CURRENT_DISCOVERY:
		return "discovery";
	default:
		return "unknown";
	}
}

static const char *trtype_name(uint8_t trtype)
{
	switch (trtype) {
	case NVMF_TRTYPE_RDMA:
		return "rdma";
	case NVMF_TRTYPE_FC:
		return "fc";
	case NVMF_TRTYPE_TCP:
		return "tcp";
	case NVMF_TRTYPE_LOOP:
		return "loop";
	default:
		return "unknown";
	}
}

static void entry_row(struct cmd_ctx *ctx, const struct nvmf_discovery_entry *e)
{
	char nqn[NVME_NQN_BYTES + 1], addr[sizeof(e->traddr) + 1], port[sizeof(e->trsvcid) + 1];

	text_take(e->subnqn, sizeof(e->subnqn), nqn);
	text_take(e->traddr, sizeof(e->traddr), addr);
	text_take(e->trsvcid, sizeof(e->trsvcid), port);
	cmd_row(ctx);
	cmd_col(ctx, "subtype", "%s", subtype_name(e->subtype));
	cmd_col(ctx, "transport", "%s", trtype_name(e->trtype));
	cmd_col(ctx, "address", "%s", addr);
	cmd_col(ctx, "port", "%s", port);
	cmd_col(ctx, "nqn", "%s", nqn);
}

/* The whole log of one generation, allocated; -EAGAIN: it changed meanwhile. */
static int log_take(struct remote_ctrl *c, struct nvmf_discovery_entry **entries, unsigned *count)
{
	struct nvmf_discovery_log head, after;
	int rc = remote_log(c, NVME_LID_DISCOVERY, 0, &head, sizeof(head));

	*entries = NULL;
	if (rc < 0)
		return rc;
	if (le64_get(head.numrec) > RECORDS_MAX)
		return -E2BIG;
	*count = le64_get(head.numrec);
	*entries = calloc(*count + 1, sizeof(**entries));
	if (!*entries)
		return -ENOMEM;
	for (unsigned i = 0; rc == 0 && i < *count; i++)
		rc = remote_log(c, NVME_LID_DISCOVERY,
				sizeof(head) + i * sizeof(struct nvmf_discovery_entry),
				&(*entries)[i], sizeof(**entries));
	if (rc == 0)
		rc = remote_log(c, NVME_LID_DISCOVERY, 0, &after, sizeof(after));
	if (rc == 0 && le64_get(head.genctr) != le64_get(after.genctr))
		rc = -EAGAIN;
	if (rc < 0) {
		free(*entries);
		*entries = NULL;
	}
	return rc;
}

static int log_rows(struct cmd_ctx *ctx, struct remote_ctrl *c)
{
	struct nvmf_discovery_entry *entries;
	unsigned count = 0, reads = 0;
	int rc;

	do {
		rc = log_take(c, &entries, &count);
	} while (rc == -EAGAIN && ++reads < READS_MAX);
	if (rc < 0) {
		snprintf(c->why, sizeof(c->why), "the discovery log cannot be read: %.200s",
			 c->admin->why[0] ? c->admin->why : rc == -E2BIG ?
			 "it claims more entries than can be" : strerror(-rc));
		return rc;
	}
	for (unsigned i = 0; i < count; i++)
		entry_row(ctx, &entries[i]);
	free(entries);
	return 0;
}

int remote_cmd_discover(struct cmd_ctx *ctx)
{
	struct remote_options opt = {
		.name = "discover",
		.addr = *cmd_addr(ctx, "address"),
	};
	const char *hostnqn = cmd_str(ctx, "hostnqn");
	char addr[ADDR_TEXT_BYTES];
	struct remote_ctrl *c;
	int rc = remote_transport_given(ctx, &opt.transport);

	if (rc < 0)
		return rc;
	opt.addr.port = cmd_u64(ctx, "port", NVMF_PORT);
	addr_format_port(&opt.addr, addr);
	snprintf(opt.nqn, sizeof(opt.nqn), "%s", NVMF_DISCOVERY_NQN);
	snprintf(opt.hostnqn, sizeof(opt.hostnqn), "%s", hostnqn ? hostnqn : remote_hostnqn());
	c = remote_ctrl_create(&opt);
	if (!c)
		return cmd_fail(ctx, -ENOMEM, "remote %s: no memory; see memory show", addr);
	rc = remote_bring_admin(c);
	if (rc == 0)
		rc = log_rows(ctx, c);
	if (rc < 0)
		cmd_fail(ctx, rc, "remote %s: %s; see that a target listens there", addr, c->why);
	remote_bring_down(c, rc == 0, "discovered");
	while (__atomic_load_n(&c->wake_sent, __ATOMIC_ACQUIRE))
		task_yield();
	remote_ctrl_free(c);
	return rc;
}
