/* SPDX-License-Identifier: BSD-3-Clause */
/* The target's console commands: handlers by file, and what they share. */
#ifndef NVMF_CMD_H
#define NVMF_CMD_H

struct cmd_complete;
struct cmd_ctx;
struct nvmf_listener;
struct nvmf_subsystem;

/* cmd_subsystem.c */
/* The one that argument NQN names; NULL after an error message. */
struct nvmf_subsystem *nvmf_cmd_subsystem(struct cmd_ctx *ctx);
/* An error for the discovery subsystem, else 0. */
int nvmf_cmd_fixed(struct cmd_ctx *ctx, const struct nvmf_subsystem *subsys);
void nvmf_complete_subsystem(struct cmd_complete *c);
int nvmf_cmd_subsystem_create(struct cmd_ctx *ctx);
int nvmf_cmd_subsystem_delete(struct cmd_ctx *ctx);
int nvmf_cmd_subsystem_list(struct cmd_ctx *ctx);
int nvmf_cmd_subsystem_show(struct cmd_ctx *ctx);
int nvmf_cmd_host_allow(struct cmd_ctx *ctx);
int nvmf_cmd_host_deny(struct cmd_ctx *ctx);
int nvmf_cmd_host_list(struct cmd_ctx *ctx);

/* cmd_namespace.c */
int nvmf_cmd_namespace_add(struct cmd_ctx *ctx);
int nvmf_cmd_namespace_remove(struct cmd_ctx *ctx);
int nvmf_cmd_namespace_list(struct cmd_ctx *ctx);
int nvmf_cmd_namespace_show(struct cmd_ctx *ctx);
int nvmf_cmd_namespace_grant(struct cmd_ctx *ctx);
int nvmf_cmd_namespace_revoke(struct cmd_ctx *ctx);

/* cmd_referral.c */
int nvmf_cmd_referral_add(struct cmd_ctx *ctx);
int nvmf_cmd_referral_remove(struct cmd_ctx *ctx);
int nvmf_cmd_referral_list(struct cmd_ctx *ctx);

/* cmd_ana.c */
int nvmf_cmd_ana_create(struct cmd_ctx *ctx);
int nvmf_cmd_ana_delete(struct cmd_ctx *ctx);
int nvmf_cmd_ana_set(struct cmd_ctx *ctx);
int nvmf_cmd_ana_list(struct cmd_ctx *ctx);

/* cmd_listener.c */
/* The one that transport, address and port name; NULL after an error message. */
struct nvmf_listener *nvmf_cmd_listener(struct cmd_ctx *ctx, struct nvmf_subsystem *subsys);
int nvmf_cmd_listener_add(struct cmd_ctx *ctx);
int nvmf_cmd_listener_remove(struct cmd_ctx *ctx);
int nvmf_cmd_listener_list(struct cmd_ctx *ctx);

/* cmd_session.c */
void nvmf_complete_session(struct cmd_complete *c);
int nvmf_cmd_session_list(struct cmd_ctx *ctx);
int nvmf_cmd_session_show(struct cmd_ctx *ctx);
int nvmf_cmd_session_close(struct cmd_ctx *ctx);
int nvmf_cmd_session_move(struct cmd_ctx *ctx);

#endif
