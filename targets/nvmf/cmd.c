/* SPDX-License-Identifier: BSD-3-Clause */
/* Console: the table of the target's commands and their arguments. */
#include "targets/nvmf/cmd.h"

#include "core/cmd.h"
#include "core/spec/nvmf.h"
#include "targets/nvmf/ana.h"
#include "targets/nvmf/module.h"

#define ARG_NQN { \
	"NQN", CMD_NAME, .required = true, .help = "name of the subsystem", \
	.complete = nvmf_complete_subsystem, \
}
#define ARG_NSID { \
	"NSID", CMD_U64, .required = true, .help = "namespace identifier", .min = 1, .max = 1024, \
}
#define ARG_GROUP { \
	"GROUP", CMD_U64, .required = true, .help = "number of the group", .min = 1, .max = 256, \
}
#define ARG_SESSION { \
	"SESSION", CMD_NAME, .required = true, .help = "session, as in session list", \
	.complete = nvmf_complete_session, \
}

static const struct cmd_arg subsystem_create_args[] = {
	{ "NQN", CMD_NAME, .required = true, .help = "its name: nqn.…" },
	{ "serial", CMD_TEXT, .keyed = true, .help = "serial number that hosts see" },
	{ "model", CMD_TEXT, .keyed = true, .help = "model that hosts see" },
	{ "allow-any", CMD_FLAG, .help = "any host may connect" },
	{ "cntlid-min", CMD_U64, .keyed = true, .help = "lowest controller identifier; 1",
	  .min = 1, .max = NVME_CNTLID_MAX },
	{ "cntlid-max", CMD_U64, .keyed = true, .help = "highest controller identifier; 65519",
	  .min = 1, .max = NVME_CNTLID_MAX },
	{ 0 },
};

static const struct cmd_arg subsystem_delete_args[] = {
	ARG_NQN,
	{ "force", CMD_FLAG, .help = "disconnect its hosts" },
	{ 0 },
};

static const struct cmd_arg subsystem_args[] = { ARG_NQN, { 0 } };

static const struct cmd_arg namespace_add_args[] = {
	ARG_NQN,
	{ "disk", CMD_NAME, .keyed = true, .required = true, .help = "disk to serve",
	  .complete = cmd_complete_disk },
	{ "nsid", CMD_U64, .keyed = true, .help = "namespace identifier; the next free one",
	  .min = 1, .max = 1024 },
	{ "uuid", CMD_UUID, .keyed = true, .help = "UUID that hosts see; the disk's" },
	{ "nguid", CMD_UUID, .keyed = true, .help = "NGUID that hosts see; the disk's" },
	{ "ana-group", CMD_U64, .keyed = true, .help = "group of paths, see ana list; 1",
	  .min = 1, .max = 256 },
	{ "private", CMD_FLAG, .help = "only hosts that it is granted to see it" },
	{ 0 },
};

static const struct cmd_arg namespace_args[] = { ARG_NQN, ARG_NSID, { 0 } };

static const struct cmd_arg namespace_host_args[] = {
	ARG_NQN,
	ARG_NSID,
	{ "HOSTNQN", CMD_NAME, .required = true, .help = "name of the host" },
	{ 0 },
};

static const struct cmd_arg ana_create_args[] = {
	ARG_NQN,
	ARG_GROUP,
	{ "state", CMD_CHOICE, .keyed = true, .help = "state of its paths; optimized",
	  .choices = nvmf_ana_names },
	{ 0 },
};

static const struct cmd_arg ana_delete_args[] = { ARG_NQN, ARG_GROUP, { 0 } };

static const struct cmd_arg host_args[] = {
	ARG_NQN,
	{ "HOSTNQN", CMD_NAME, .required = true, .help = "name of the host, or any" },
	{ 0 },
};

static const char *const transports[] = { "tcp", "rdma", NULL };

static const struct cmd_arg listener_args[] = {
	{ "NQN", CMD_NAME, .required = true, .help = "name of the subsystem, or discovery",
	  .complete = nvmf_complete_subsystem },
	{ "transport", CMD_CHOICE, .keyed = true, .required = true, .help = "how hosts connect",
	  .choices = transports },
	{ "address", CMD_ADDR, .keyed = true, .required = true,
	  .help = "own address; 0.0.0.0 or :: for all" },
	{ "port", CMD_U64, .keyed = true, .help = "TCP port; 4420", .min = 1, .max = 65535 },
	{ 0 },
};

static const struct cmd_arg referral_args[] = {
	{ "transport", CMD_CHOICE, .keyed = true, .required = true, .help = "how hosts get there",
	  .choices = transports },
	{ "address", CMD_ADDR, .keyed = true, .required = true, .help = "of the other machine" },
	{ "port", CMD_U64, .keyed = true, .help = "of its discovery service; 8009", .min = 1,
	  .max = 65535 },
	{ 0 },
};

static const struct cmd_arg ana_set_args[] = {
	ARG_NQN,
	ARG_GROUP,
	{ "state", CMD_CHOICE, .keyed = true, .required = true, .help = "state of its paths",
	  .choices = nvmf_ana_names },
	{ "transport", CMD_CHOICE, .keyed = true, .help = "of the listener; tcp",
	  .choices = transports },
	{ "address", CMD_ADDR, .keyed = true, .help = "of the listener; all listeners" },
	{ "port", CMD_U64, .keyed = true, .help = "of the listener; 4420", .min = 1, .max = 65535 },
	{ 0 },
};

static const struct cmd_arg session_args[] = { ARG_SESSION, { 0 } };

static const struct cmd_arg session_close_args[] = {
	ARG_SESSION,
	{ "force", CMD_FLAG, .help = "understood; the host may connect again anyway" },
	{ 0 },
};

static const struct cmd_arg session_move_args[] = {
	ARG_SESSION,
	{ "QUEUE", CMD_U64, .required = true, .help = "I/O queue", .min = 1, .max = 65535 },
	{ "REACTOR", CMD_U64, .required = true, .help = "where it is to live", .max = 63 },
	{ 0 },
};

const struct cmd nvmf_cmds[] = {
	{ "subsystem", "create", "Make a subsystem that hosts can connect to",
	  subsystem_create_args, nvmf_cmd_subsystem_create },
	{ "subsystem", "delete", "Delete a subsystem", subsystem_delete_args,
	  nvmf_cmd_subsystem_delete },
	{ "subsystem", "list", "List the subsystems", NULL, nvmf_cmd_subsystem_list },
	{ "subsystem", "show", "Show a subsystem", subsystem_args, nvmf_cmd_subsystem_show },
	{ "namespace", "add", "Serve a disk as a namespace", namespace_add_args,
	  nvmf_cmd_namespace_add },
	{ "namespace", "remove", "Take a namespace away", namespace_args,
	  nvmf_cmd_namespace_remove },
	{ "namespace", "grant", "Let a host see a private namespace", namespace_host_args,
	  nvmf_cmd_namespace_grant },
	{ "namespace", "revoke", "Hide a private namespace from a host", namespace_host_args,
	  nvmf_cmd_namespace_revoke },
	{ "namespace", "list", "List the namespaces", NULL, nvmf_cmd_namespace_list },
	{ "namespace", "show", "List the hosts that see a namespace", namespace_args,
	  nvmf_cmd_namespace_show },
	{ "ana", "create", "Make a group of namespaces with paths of their own", ana_create_args,
	  nvmf_cmd_ana_create },
	{ "ana", "delete", "Delete a group", ana_delete_args, nvmf_cmd_ana_delete },
	{ "ana", "set", "Change the state of a group's paths, everywhere or at one listener",
	  ana_set_args, nvmf_cmd_ana_set },
	{ "ana", "list", "List the groups and their states", NULL, nvmf_cmd_ana_list },
	{ "listener", "add", "Offer a subsystem on an address", listener_args,
	  nvmf_cmd_listener_add },
	{ "listener", "remove", "Offer it there no more", listener_args,
	  nvmf_cmd_listener_remove },
	{ "listener", "list", "List where subsystems are offered", NULL,
	  nvmf_cmd_listener_list },
	{ "referral", "add", "Name a discovery service elsewhere", referral_args,
	  nvmf_cmd_referral_add },
	{ "referral", "remove", "Name it no more", referral_args, nvmf_cmd_referral_remove },
	{ "referral", "list", "List the discovery services elsewhere", NULL,
	  nvmf_cmd_referral_list },
	{ "host", "allow", "Let a host connect", host_args, nvmf_cmd_host_allow },
	{ "host", "deny", "Let it no more, and disconnect it", host_args, nvmf_cmd_host_deny },
	{ "host", "list", "List who may connect", NULL, nvmf_cmd_host_list },
	{ "session", "list", "List the connected hosts and their queues", NULL,
	  nvmf_cmd_session_list },
	{ "session", "show", "Show a session", session_args,
	  nvmf_cmd_session_show },
	{ "session", "move", "Let another reactor serve a queue", session_move_args,
	  nvmf_cmd_session_move },
	{ "session", "close", "Disconnect a host", session_close_args, nvmf_cmd_session_close },
	{ 0 },
};
